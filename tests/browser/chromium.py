"""Chromium as a person has it before them: Debian's own, driven by Playwright, with nothing asked of anybody but ours.

``./dev check`` installs it where it may. Where there is none these tests are left out with a word; in CI that fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, async_playwright

from tests.providers.installing import lack
from tests.providers.node import packages

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
#: It asks nobody but us: without these it looks for updates, and for whom it could know.
_ALONE: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WIDE: Final[ViewportSize] = {"width": 1280, "height": 900}
NARROW: Final[ViewportSize] = {"width": 390, "height": 844}

#: What is looked for: WCAG 2.2 at A and AA, and what is good practice.
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def executable() -> str:
    """The browser to run; leaves the test out where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        lack("there is no Chromium; ./dev check installs it for root on Debian, else: apt install chromium")
    return found


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """One browser, until the block ends; each window of it has cookies of its own."""
    alone = [*_ALONE, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=alone)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Window:
    """A window in which somebody looks at pages, and all that the browser complained of meanwhile."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    @classmethod
    async def of(cls, context: BrowserContext, base: str) -> Window:
        """A new window."""
        window = cls(await context.new_page(), base)
        window.page.on("console", window._heard)
        window.page.on("pageerror", lambda error: window.complaints.append(f"error: {error}"))
        return window

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    async def go(self, path: str) -> int:
        """Go to an address of the service; its status."""
        answer = await self.page.goto(f"{self.base}{path}")
        assert answer is not None
        return answer.status

    async def is_wide(self) -> int:
        """How many pixels stand out on the right, so that somebody would have to scroll sideways."""
        wide: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    async def barriers(self, *, only: Sequence[str] = ()) -> list[str]:
        """What axe finds on the page, in words; ``only`` these rules."""
        if not await self.page.evaluate("'axe' in window"):
            # Through the debugger, which no policy of the page's forbids.
            await self.page.evaluate(_axe())
        chosen: Mapping[str, Any] = (
            {"type": "rule", "values": list(only)} if only else {"type": "tag", "values": _RULES}
        )
        found = await self.page.evaluate("(run) => axe.run(document, run)", {"runOnly": chosen})
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} ({node.get('failureSummary', '')[:200]})"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    async def unreached(self) -> list[str]:
        """What can be used and that the tabulator does not come to, or where one does not see that it has."""
        wanted: int = await self.page.evaluate(_MARK)
        for _ in range(wanted + 1):
            await self.page.keyboard.press("Tab")
        missed: list[str] = await self.page.evaluate(_MISSED)
        return missed


@dataclass
class Windows:
    """One window for each person, in which one page follows another: a new one costs a browser as much as its page."""

    contexts: Mapping[str, BrowserContext]
    base: str
    _kept: dict[str, Window] = field(default_factory=dict)

    async def opened(self, person: str, path: str) -> Window:
        """The window of somebody's, as it is at first, at a page that is there."""
        window = self._kept.get(person)
        if window is None:
            window = self._kept[person] = await Window.of(self.contexts[person], self.base)
        await window.page.emulate_media(color_scheme="light")
        await window.page.set_viewport_size(WIDE)
        window.complaints.clear()
        assert await window.go(path) == 200, await window.page.inner_text("main")
        return window


def _axe() -> str:
    folder = packages(Path(__file__).parent / "axe")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


#: Everything that can be used and seen is marked, and what takes the focus is unmarked. Of radio buttons of one name
#: the tabulator reaches one.
_MARK: Final = """() => {
  document.activeElement?.blur();
  window.scrollTo(0, 0);
  const alike = (each) => each.type === "radio" ? "radio " + each.name : each;
  const usable = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => !each.disabled && each.type !== "hidden" && each.checkVisibility());
  window.usable = new Map(usable.map((each) => [alike(each), each]));
  window.unseen = [];
  document.addEventListener("focusin", ({ target }) => {
    window.usable.delete(alike(target));
    const style = getComputedStyle(target);
    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (!seen) window.unseen.push(target.outerHTML.slice(0, 150));
  });
  // A date is written in three parts, and has a calendar.
  return window.usable.size + 3 * usable.filter((each) => each.type === "date").length;
}"""
_MISSED: Final = """() => [
  ...[...window.usable.values()].map((each) => "not reached: " + each.outerHTML.slice(0, 150)),
  ...window.unseen.map((html) => "not seen: " + html),
]"""
