"""Somebody is in front of a page of a service that the tests of the JSON doors know: with a session, and no provider.

How sessions come about is tested with real providers (``visiting.py``). Here one is put where sessions are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
from fastapi import FastAPI

from muniment.core.sessions import Session, Vouched, form_token, kept_of
from muniment.core.subjects import Subject
from muniment.store import sessions, subjects
from muniment.web.pages import Page
from tests.api.running import Running
from tests.web.visiting import SESSION


@dataclass(frozen=True)
class Visitor:
    """Somebody who is signed in with a browser."""

    http: httpx.AsyncClient
    secret: str
    origin: str

    @property
    def form(self) -> str:
        """What the forms carry that are made for this browser."""
        return form_token(self.secret)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return await self.http.get(path, headers={"Cookie": f"{SESSION}={self.secret}", **headers})

    async def read(self, path: str) -> str:
        """The text of a page, which must be there."""
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {said(answer)}"
        return answer.text

    async def post(self, path: str, fields: Mapping[str, Any]) -> httpx.Response:
        """Send a form as a browser does from a page of the service; a field of several values is a list."""
        headers = {"Cookie": f"{SESSION}={self.secret}", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        return await self.http.post(path, data={"form": self.form, **fields}, headers=headers)


async def let_in(service: Running, subject: str) -> Visitor:
    """Somebody whom the service knows, with a browser: as it last heard of them, and with the same secret each time."""
    secret, now = sha256(subject.encode()).hexdigest()[:43], datetime.now(UTC)
    async with service.app.state.house.db.begin() as tx:
        known = await subjects.newest_of(tx, Subject.parse(subject))
        assert known is not None, f"{subject} was never here"
        vouched = Vouched(known.state.issuer, known.state.subject.id)
        # The same each time, so that pages can be compared.
        session = Session(uuid5(NAMESPACE_URL, secret), known.state, vouched, now, now, now, now + timedelta(hours=12))
        if await sessions.presented(tx, kept_of(secret), now, timedelta(hours=12)) is None:
            await sessions.begin(tx, session, kept_of(secret))
    return Visitor(service.http, secret, service.app.state.public_url)


def served_pages(app: FastAPI) -> list[Page]:
    """Every route of a service that is a page; a router that is included stands among the routes as itself."""
    routers = (getattr(route, "original_router", None) for route in app.routes)
    return [route for router in routers if router for route in router.routes if isinstance(route, Page)]


def said(answer: httpx.Response) -> str:
    """What a page says, without its markup."""
    content = answer.text.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content)).strip()
