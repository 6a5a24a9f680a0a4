"""The link of the first start leads to a page: whoever signs in and agrees administers from then on."""

from __future__ import annotations

import re

import pytest

from muniment.app import prepare
from tests.providers.oidc_provider import OidcProvider
from tests.web.visiting import PUBLIC, Pages, described, rows, running_pages

pytestmark = pytest.mark.anyio


async def link_to(pages: Pages) -> str:
    """The address in the link that one more start gives, as a path."""
    link = await prepare(pages.settings, pages.url)
    assert link is not None
    assert link.startswith(f"{PUBLIC}/first-administrator?link=")
    return link.removeprefix(PUBLIC)


def administrators(pages: Pages) -> list[str]:
    """Of whom the ledger says that they were made the first administrator."""
    told = rows(pages, "SELECT details ->> 'administrator' FROM ledger WHERE event = 'realm.bootstrapped'")
    return [name for (name,) in told]


async def test_who_follows_the_link_signs_in_agrees_and_administers(provider: OidcProvider, database: str):
    async with running_pages(database, described(provider.issuer), bootstrap_admin=None) as pages:
        path = await link_to(pages)
        ann = pages.browser()
        sent = await ann.get(path)
        assert sent.status_code == 303
        back = await ann.signed_in(provider, "ann", to=path)
        assert back.headers["location"].endswith(path)
        page = await ann.get(path)
        assert page.status_code == 200
        assert administrators(pages) == []
        fields = dict(re.findall(r'name="(form|link)" value="([^"]+)"', page.text))
        begun = (await ann.post("/first-administrator", fields)).headers["location"]
        assert "You administer this Muniment now" in (await ann.get(begun)).text
        assert administrators(pages) == ["user:ann"]
        assert (await ann.post("/first-administrator", fields)).status_code == 404
        again = await ann.get(path)
        assert (again.status_code, "Nobody administers" in again.text) == (404, False)
        assert "This link leads nowhere" in again.text
        assert await prepare(pages.settings, pages.url) is None


async def test_a_link_alone_or_a_form_of_another_site_makes_nobody(provider: OidcProvider, database: str):
    async with running_pages(database, described(provider.issuer), bootstrap_admin=None) as pages:
        path = await link_to(pages)
        ann = pages.browser()
        await ann.signed_in(provider, "ann")
        secret = path.partition("link=")[2]
        for fields, headers in (
            ({"link": secret}, {}),
            ({"link": secret, "form": await ann.form()}, {"Sec-Fetch-Site": "cross-site"}),
        ):
            assert (await ann.post("/first-administrator", fields, **headers)).status_code == 403
        wrong = {"link": secret[:-1], "form": await ann.form()}
        assert (await ann.post("/first-administrator", wrong)).status_code == 404
        assert administrators(pages) == []
