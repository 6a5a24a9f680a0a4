"""The pages in a real browser: in the light and in the dark, on a telephone, by keys alone, without scripts.

The pictures are kept under ``build/pages``: whoever sees nothing else knows what there is.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.chromium import NARROW, WIDE, Window, Windows
from tests.browser.looked_at import LOOKS, NOWHERE, Look
from tests.browser.tending import a_package_is_added, a_package_is_taken
from tests.browser.town import Town
from tests.browser.walking import Signed, Walk
from tests.web.visiting import SESSION

pytestmark = pytest.mark.anyio

FIRSTS = [pytest.param(look, id=look.name) for look in LOOKS]
#: Of each make of page one: a list, a form, tabs, a timeline, a chart, a table of rows.
CLOSELY = frozenset(
    {
        "start",
        "my-things",
        "how-i-am-told",
        "datasets-searched",
        "dataset",
        "dataset-history",
        "request",
        "request-new",
        "policies",
        "policy-edit",
        "policy-history",
        "declare-dataset",
        "declare-import",
        "audit",
        "audit-readers",
        "reviews",
        "project-new",
    }
)
OTHERS = [pytest.param(look, person, id=f"{look.name}-{person}") for look in LOOKS for person in look.people[1:]]


def is_looked_at_closely(look: Look) -> bool:
    """In the dark and by keys, too: one page of each make, and all of them in the ``deep`` profile."""
    return look.name in CLOSELY or os.environ.get("HYPOTHESIS_PROFILE") == "deep"


@pytest.mark.parametrize("look", FIRSTS)
async def test_a_page_keeps_nobody_out(
    windows: Windows, plain_windows: Windows, town: Town, pictures: Path, look: Look
):
    """Nothing that axe knows of stands in the way, in the light and in the dark; on a telephone nothing stands out.

    The tabulator reaches all that can be used, and what is said is said without scripts too.
    """
    window = await windows.opened(look.people[0], look.at(town.filled))
    page, found = window.page, {}
    found["light"] = await window.barriers()
    await page.screenshot(path=pictures / f"{look.name}-light.png", full_page=True)
    if is_looked_at_closely(look):
        await page.emulate_media(color_scheme="dark")
        found["dark"] = await window.barriers(only=["color-contrast"])
        await page.screenshot(path=pictures / f"{look.name}-dark.png", full_page=True)
        await page.emulate_media(color_scheme="light")
    await page.set_viewport_size(NARROW)
    await page.screenshot(path=pictures / f"{look.name}-telephone.png", full_page=True)
    wide = await window.is_wide()
    await page.set_viewport_size(WIDE)
    unreached = await window.unreached() if is_looked_at_closely(look) else []
    said = await page.inner_text("main")
    window_without = await plain_windows.opened(look.people[0], look.at(town.filled))
    said_without = await window_without.page.inner_text("main")
    assert {where: each for where, each in found.items() if each} == {}
    assert wide == 0
    assert unreached == []
    assert look.moves or lasting(said_without) == lasting(said)
    assert window.complaints == []


async def test_a_page_that_would_keep_somebody_out_is_found(signed_in: Signed, town: Town):
    """What the test above looks with, looking at a page on which all of it is wrong."""
    window = await Window.of(signed_in["ann"], town.base)
    await window.page.set_viewport_size(NARROW)
    await window.page.set_content(
        '<main><p style="color: #bbb; background: #fff">Too pale</p><div style="width: 600px">Too wide</div>'
        '<input><a href="/" tabindex="-1">Passed over</a><button style="outline: none">Unseen</button></main>'
    )
    barriers = [each.partition(":")[0] for each in await window.barriers()]
    assert {"color-contrast", "label", "document-title"} <= set(barriers)
    assert await window.is_wide() > 0
    unreached = await window.unreached()
    assert any("Passed over" in each for each in unreached)
    assert any("Unseen" in each for each in unreached)
    await window.page.set_viewport_size(WIDE)
    await window.page.close()


#: A moment as pages write it: some say until when they looked, and a minute may end between two looks.
MOMENT = re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d")


def lasting(said: str) -> list[str]:
    """What a page says, but for the buttons that only a script can do anything with, and for moments."""
    lines = (MOMENT.sub("then", line.strip()) for line in said.splitlines())
    return [line for line in lines if line not in {"", "Copy"}]


@pytest.mark.parametrize(("look", "person"), OTHERS)
async def test_others_see_it_in_their_way(windows: Windows, town: Town, pictures: Path, look: Look, person: str):
    window = await windows.opened(person, look.at(town.filled))
    await window.page.screenshot(path=pictures / f"{look.name}-{person}.png", full_page=True)
    assert window.complaints == []


async def test_what_is_hidden_and_what_is_not_there_look_the_same(signed_in: Signed, town: Town, pictures: Path):
    texts = set()
    for path in NOWHERE:
        window = await Window.of(signed_in["ann"], town.base)
        assert await window.go(path) == 404
        assert await window.barriers() == []
        await window.page.screenshot(path=pictures / "not-found.png")
        request = await window.page.inner_text("main .small code")
        texts.add((await window.page.inner_text("main")).replace(request, ""))
        await window.page.close()
    assert len(texts) == 1, texts


async def test_the_search_is_one_key_away(windows: Windows):
    window = await windows.opened("ann", "/")
    await window.page.keyboard.press("/")
    await window.page.keyboard.type("orders")
    await window.page.keyboard.press("Enter")
    await window.page.wait_for_url("**/datasets?search=orders**")
    assert "sales.orders" in await window.page.inner_text("main")
    assert window.complaints == []


# --- what people come to do -------------------------------------------------------------------------------------------


async def test_an_analyst_finds_data_and_asks_and_a_steward_gives_it_and_takes_it_away(
    signed_in: Signed, town: Town, pictures: Path
):
    ann = await Walk.of(signed_in, town, "ann", "giving", pictures)
    await ann.page.get_by_label("Search the datasets that you may know of").last.fill("targets")
    await ann.page.keyboard.press("Enter")
    await ann.stop("sales.targets")
    await ann.follow("sales.targets")
    await ann.stop("sales.targets")
    await ann.follow("Ask to save it in prod")
    await ann.page.get_by_label("Why you need it").fill("The plan of next year goes to prod.")
    await ann.stop("user:sam")
    await ann.press("Ask")
    await ann.stop("You have asked.", "user:sam")
    asked = ann.page.url.partition("?")[0]

    sam = await Walk.of(signed_in, town, "sam", "giving", pictures)
    await sam.stop("The plan of next year goes to prod.")
    await sam.page.goto(asked)
    await sam.stop("What approving gives", "sales.targets")
    await sam.press("Approve")
    await sam.stop("Approved.")

    await ann.page.goto(f"{town.base}/account/access")
    await ann.stop("sales.targets", "prod", "save")
    assert (await town.ann.catalog("prod")).keys() >= {"sales.targets"}

    await sam.follow("Policies")
    await sam.page.locator("#find").fill("targets")
    await sam.page.keyboard.press("Enter")
    await sam.stop("The user ann may save sales.targets")
    await sam.page.get_by_role("main").get_by_role("link", name="The user ann may save sales.targets").click()
    await sam.stop("sales.targets")
    await sam.follow("Take it away")
    await sam.stop("The user ann may save sales.targets")
    await sam.press("Take it away")
    await sam.stop("Access has been taken away.")
    assert "sales.targets" not in await town.ann.catalog("prod")
    await sam.end()
    await ann.end()


async def test_a_steward_gives_a_colleague_access_and_sees_before_what_that_does(
    signed_in: Signed, town: Town, pictures: Path
):
    sam = await Walk.of(signed_in, town, "sam", "granting", pictures)
    await sam.follow("Policies")
    await sam.follow("Give somebody access")
    await sam.page.get_by_label("Their name").fill("audrey")
    await sam.page.get_by_label("Load", exact=True).uncheck()
    await sam.page.get_by_label("Know of it").check()
    await sam.page.get_by_label("Name of the dataset or domain").fill("sales.orders")
    await sam.page.get_by_label("Why?").fill("She looks after the orders.")
    await sam.stop("The user audrey may discover sales.orders")
    await sam.press("See what it would do")
    await sam.stop("1 person or job would gain access", "user:audrey", "No recorded run would have failed")
    await sam.press("Give access")
    await sam.stop("Access has been given.", "She looks after the orders.")
    await sam.follow("Take it away")
    await sam.stop("would lose")
    await sam.press("Take it away")
    await sam.stop("Access has been taken away.")
    await sam.end()


async def test_an_auditor_learns_who_read_customers_emails_under_which_rule_and_whether_that_is_whole(
    signed_in: Signed, town: Town, pictures: Path
):
    audrey = await Walk.of(signed_in, town, "audrey", "auditing", pictures)
    await audrey.follow("Audit")
    await audrey.stop()
    await audrey.page.get_by_role("searchbox", name="Look up a person").fill("orders email")
    await audrey.press("Search")
    await audrey.stop("sales.orders")
    await audrey.follow("The last 31 days")
    await audrey.stop("user:ann", "loaded it", "grant:analysts-load-orders", "This answer is whole", "Proven up to")
    await audrey.end()


async def test_a_steward_brings_a_projects_catalog_over_and_sees_what_came_of_it(
    signed_in: Signed, town: Town, pictures: Path
):
    """The page of what came over is behind the walk alone, so that it keeps nobody out is looked at here."""
    sam = await Walk.of(signed_in, town, "sam", "importing", pictures)
    await sam.follow("Datasets")
    await sam.follow("Declare a dataset")
    await sam.follow("Paste a catalog.yml")
    await sam.page.get_by_label("Domain").select_option("sales")
    await sam.page.get_by_label("conf/base/catalog.yml").fill(_CATALOG)
    await sam.stop("Each entry of a Kedro project")
    await sam.press("Read it")
    await sam.stop("sales.returns", "to be mended", "It holds a secret")
    assert await sam.window.barriers() == []
    await sam.press("See what this changes")
    await sam.stop("sales.returns")
    assert await sam.window.barriers() == []
    await sam.press("Declare them")
    await sam.stop("They are declared", "What came over", "What did not come over", "It was to be mended first.")
    assert await sam.window.barriers() == []
    await sam.page.emulate_media(color_scheme="dark")
    assert await sam.window.barriers(only=["color-contrast"]) == []
    await sam.page.emulate_media(color_scheme="light")
    await sam.page.set_viewport_size(NARROW)
    assert await sam.window.is_wide() == 0
    await sam.stop()
    await sam.page.set_viewport_size(WIDE)
    assert await sam.window.unreached() == []
    await sam.follow("sales.returns", exact=True)
    await sam.stop("s3://lake/sales/returns.csv")
    await sam.end()


_CATALOG = """returns:
  type: pandas.CSVDataset
  filepath: s3://lake/sales/returns.csv

elsewhere:
  type: pandas.CSVDataset
  filepath: s3://somewhere/else.csv

with_a_password:
  type: pandas.CSVDataset
  filepath: s3://lake/sales/other.csv
  credentials: {password: hush-4713}
"""


async def test_a_platform_engineer_adds_a_package_to_the_project_page(signed_in: Signed, town: Town, pictures: Path):
    await a_package_is_added(signed_in, town, pictures)
    await a_package_is_taken(signed_in, town, pictures)


# --- what scripts add, and what a session leaves behind ---------------------------------------------------------------


async def test_what_a_search_finds_is_told_to_who_does_not_see_it(windows: Windows):
    """In one place that was there before: a screen reader does not hear of one that comes with its text."""
    window = await windows.opened("ann", "/datasets")
    told = window.page.locator("#content > [role=status]").last
    await expect(told).to_have_text("")
    await window.page.evaluate("document.querySelector('#content > [role=status]:last-of-type').stayed = true")
    await window.page.locator("#find").press_sequentially("targets")
    await expect(told).to_have_text("1 dataset")
    assert await told.evaluate("(place) => place.stayed")
    assert await window.page.evaluate("document.activeElement.id") == "find"
    assert window.complaints == []


async def test_who_presses_twice_asks_once(windows: Windows):
    """While the answer is on its way: else the second press is the one that is answered, as asked for already."""
    window = await windows.opened("ann", "/requests/new?dataset=sales.emea.leads&action=save&environment=dev")
    page, sent, pressed = window.page, list[str](), asyncio.Event()

    async def held(route: Route) -> None:
        sent.append(route.request.method)
        await pressed.wait()
        await route.continue_()

    await page.route(f"{window.base}/requests", held)
    await page.get_by_label("Why you need it").fill("Leads are corrected here.")
    button = page.get_by_role("button", name="Ask", exact=True)
    await button.scroll_into_view_if_needed()
    place = await button.bounding_box()
    assert place is not None
    for _ in range(2):
        await page.mouse.click(place["x"] + 5, place["y"] + 5)
        await asyncio.sleep(0.1)
    pressed.set()
    await expect(page.locator("main")).to_contain_text("You have asked.")
    assert sent == ["POST"]
    await page.unroute(f"{window.base}/requests", held)


async def test_what_was_typed_is_sent_once_somebody_has_signed_in_again(
    signed_in: Signed, chromium: Browser, town: Town
):
    """Their session has ended meanwhile: nothing is lost, and nothing is sent before they say so."""
    context = await chromium.new_context(storage_state=await signed_in["ann"].storage_state())
    try:
        window = await Window.of(context, town.base)
        page = window.page
        await window.go("/requests/new?dataset=sales.emea.leads&action=save&environment=prod")
        await page.get_by_label("Why you need it").fill("Typed for an hour.")
        await context.clear_cookies(name=SESSION)
        await page.get_by_role("button", name="Ask", exact=True).click()
        await expect(page.locator("main")).to_contain_text("Typed for an hour.")
        async with context.expect_page() as opened:
            await page.get_by_role("link", name="Sign in").click()
        other = await opened.value
        # The provider knows her yet, and asks nothing.
        await other.wait_for_url(f"{town.base}/**")
        await page.get_by_role("main").get_by_role("button").first.click()
        await page.get_by_role("main").get_by_role("button").first.click()
        await expect(page.locator("main")).to_contain_text("You have asked.")
        await expect(page.locator("main")).to_contain_text("Typed for an hour.")
    finally:
        await context.close()
