"""A whole service for the tests of the pages, and people in front of browsers who look at them.

The service runs in this process, behind an HTTPS address that nothing else answers; the provider
is a real one. What a browser does by itself (cookies, redirects, the headers of a form) is done here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from muniment.app import create_app, prepare
from muniment.core.limits import rates_from
from muniment.identity.issuers import issuers_from
from muniment.settings import Settings
from tests.api.running import NO_LIMITS
from tests.owning import libpq
from tests.providers.oidc_provider import AUDIENCE, OidcProvider

PUBLIC = "https://muniment.test"
CLIENT, SECRET = "muniment-pages", "a-secret/of:the pages"
SESSION, BEGUN = "__Host-muniment", "__Host-muniment-begun"

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True)
class Pages:
    """One service with pages, and the address of its database."""

    app: FastAPI
    settings: Settings
    url: str

    def browser(self, client: str = FIREFOX) -> Browser:
        """A browser in which nobody is signed in."""
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 40000))
        return Browser(httpx.AsyncClient(transport=transport, base_url=PUBLIC, headers={"User-Agent": client}))


@dataclass(frozen=True)
class Browser:
    """One browser, with its cookies."""

    http: httpx.AsyncClient

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(path, **more)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form as a browser does from a page of the service, but for these headers."""
        sent = {"Origin": PUBLIC, "Sec-Fetch-Site": "same-origin", **headers}
        return await self.http.post(path, data=dict(fields), headers=sent)

    async def press(self, path: str) -> httpx.Response:
        """Press the button of the account page whose form goes there."""
        return await self.post(path, {"form": await self.form()})

    async def form(self) -> str:
        """What the forms of the account page carry."""
        page = await self.get("/account")
        assert page.status_code == 200, page.text
        return re.findall(r'name="form" value="([^"]+)"', page.text)[0]

    async def begun(self, to: str = "/account", **more: str) -> str:
        """Begin to sign in: the address of the provider that the browser is sent to."""
        answer = await self.get("/sign-in", params={"to": to, **more})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def signed_in(self, provider: OidcProvider, account: str, to: str = "/account") -> httpx.Response:
        """Sign somebody in; the answer with which their session begins."""
        back = provider.sign_in_browser(await self.begun(to), account)
        answer = await self.get(back)
        assert answer.status_code == 303, answer.text
        return answer

    @property
    def session(self) -> str | None:
        """The secret of the session in the cookie."""
        return self.http.cookies.get(SESSION)

    async def is_signed_in(self) -> bool:
        """Whether the account page is shown; else it sends to sign in."""
        answer = await self.get("/account")
        assert answer.status_code in {200, 303}, answer.text
        return answer.status_code == 200


def described(issuer: str, **more: object) -> dict[str, object]:
    """An issuer whose people sign in with browsers."""
    return {
        "name": "corp",
        "issuer": issuer,
        "audience": AUDIENCE,
        "default": True,
        "kind": {"services_where": {"kind": "service"}},
        "attributes": {"clearance": {"claim": "clr", "type": "long"}},
        "browser": {"client_id": CLIENT, "client_secret": SECRET},
        **more,
    }


def register(provider: OidcProvider, client: str = CLIENT, **metadata: object) -> None:
    """Make the pages a client of the provider."""
    usual = {
        "client_secret": SECRET,
        "redirect_uris": [f"{PUBLIC}/sign-in/callback"],
        "post_logout_redirect_uris": [f"{PUBLIC}/signed-out"],
        "grant_types": ["authorization_code"],
        **metadata,
    }
    provider.register(client, **{name: value for name, value in usual.items() if value is not None})


@asynccontextmanager
async def running_pages(url: str, *issuers: dict[str, object], **other: Any) -> AsyncIterator[Pages]:
    """A service with pages on the migrated database at this address, until the block ends."""
    usual = {"bootstrap_admin": "user:root", "limits": rates_from(NO_LIMITS), "public_url": PUBLIC}
    settings = Settings(**{"issuers": issuers_from(list(issuers)), **usual, **other})
    await prepare(settings, url)
    app = create_app(settings, url)
    async with app.router.lifespan_context(app):
        yield Pages(app, settings, url)


SENTENCE = "This sign-in does not hold, so nobody was signed in. Begin again."


def refused(answer: httpx.Response, browser: Browser) -> None:
    """The one sentence, and no session."""
    assert answer.status_code == 403, answer.text
    assert SENTENCE in answer.text
    assert SESSION not in answer.headers.get("set-cookie", "")
    assert browser.session is None


def rows(pages: Pages, query: str, *values: object) -> list[Any]:
    """What stands in the database, or is changed there, as its owner; the rows if there are any."""
    with psycopg.connect(libpq(pages.url)) as connection:
        found = connection.execute(query, values)
        return found.fetchall() if found.description else []
