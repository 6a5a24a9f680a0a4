/* What makes the pages quicker to use. They do all of it without: nothing here decides or holds anything. */
(() => {
  "use strict";

  const typing = (element) => element.closest("input, select, textarea, [contenteditable]") !== null;

  // A page is searched, else all datasets are.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const field = document.getElementById("find") ?? document.getElementById("everywhere");
    if (field === null) return;
    event.preventDefault();
    field.focus();
    field.select();
  });

  // Only where a button can copy is it shown.
  const prepare = (root) => {
    if (navigator.clipboard === undefined) return;
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button === null) return;
    const said = button.textContent;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = said; }, 2000);
  });

  // What changes on a page is told to who does not see it: in one place that stays, since a screen reader does not
  // hear of one that comes with its text.
  const teller = document.createElement("p");
  teller.className = "unseen";
  teller.setAttribute("role", "status");
  document.getElementById("content").append(teller);
  const tell = (root) => {
    const said = root.closest("[data-told]") ?? root.querySelector("[data-told]");
    if (said !== null) teller.textContent = said.innerText;
  };

  // What is to be mended takes the focus, wherever it came from.
  document.addEventListener("htmx:afterSettle", (event) => {
    prepare(event.detail.elt);
    tell(event.detail.elt);
    event.detail.elt.querySelector(".errors")?.focus();
  });

  // Who presses twice means it once.
  const SOON = 2000;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (performance.now() - (Number(form.dataset.sent) || -SOON) < SOON) event.preventDefault();
    else form.dataset.sent = performance.now();
  });

  // What refuses to give a part of a page says so as a page.
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.requestConfig.verb === "get") location.assign(event.detail.pathInfo.finalRequestPath);
  });

  prepare(document);
})();
