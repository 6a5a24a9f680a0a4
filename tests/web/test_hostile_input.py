"""Every field of every form takes whatever somebody sends: it is shown as text, or refused with a word.

The forms are those that stand on the pages: each is found, filled, and sent, as a browser would; and then every page is
looked at again, with what was taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from urllib.parse import urlencode

import httpx
import pytest

from demo.issuer import RunningIssuer
from tests.api.running import Running, running
from tests.browser.looked_at import LOOKS
from tests.browser.town import live
from tests.web.letting_in import Visitor, let_in, said

pytestmark = pytest.mark.anyio

#: Scripts, markup, templates, statements, paths, emoji, and writing from right to left.
EVERYTHING = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7919 * 7919 }}{% raw %}${7919 * 7919}"
    "'; DROP TABLE ledger; --../../%2e%2e/\\..\\🧾👩🏽‍🚀🇺🇦\u202eevil\u202c מרחבא שלום"
)
HOSTILE = {"everything": EVERYTHING, "10,000 characters": "x" * 10_000, "no text": "a\x00b\x1b[2J\ud7ff"}
#: What must stand on no page as it was sent.
ALIVE = ("<script>alert", "<img src=x", "62710561")

#: Forms that end what the test needs, and do nothing with what is typed.
SPARED = ("/sign-out", "/account/sessions/")


@dataclass
class Form:
    """A form as it stands on a page, with what its fields hold."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """Forms alike are sent once."""
        return self.method, self.action.partition("?")[0], tuple(sorted(self.fields))


class Forms(HTMLParser):
    """The forms of a page."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._path = path
        self._open: Form | None = None
        self._text: str | None = None
        self._choice: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._open = Form(given.get("method") or "get", given.get("action") or self._path)
            self.found.append(self._open)
        if self._open is None:
            return
        name = given.get("name") or ""
        if tag == "input" and name:
            self._input(self._open, name, given)
        elif tag == "button" and name:
            self._open.fields.setdefault(name, given.get("value") or "")
        elif tag == "textarea" and name:
            self._text = name
            self._open.fields[name] = ""
            self._open.typed.append(name)
        elif tag == "select" and name:
            self._choice = name
            self._open.fields[name] = ""
        elif tag == "option" and self._choice and ("selected" in given or not self._open.fields[self._choice]):
            self._open.fields[self._choice] = given.get("value") or ""

    def _input(self, form: Form, name: str, given: dict[str, str | None]) -> None:
        kind = given.get("type") or "text"
        if kind in {"radio", "checkbox"} and "checked" not in given:
            form.fields.setdefault(name, given.get("value") or "")
            return
        form.fields[name] = given.get("value") or ""
        if kind not in {"radio", "checkbox", "hidden", "submit"}:
            form.typed.append(name)

    def handle_data(self, data: str) -> None:
        if self._open is not None and self._text is not None:
            self._open.fields[self._text] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "textarea":
            self._text = None
        elif tag == "select":
            self._choice = None


@pytest.fixture(scope="module")
async def town(issuer: RunningIssuer, module_database: str) -> AsyncIterator[tuple[Running, Mapping[str, str]]]:
    """The service in which something has happened, and the ids that stand in its addresses."""
    async with running(issuer, module_database) as started:
        yield started, await live(started)


async def forms_of(visitor: Visitor, path: str) -> list[Form]:
    """The forms that stand on a page."""
    parser = Forms(path)
    parser.feed(await visitor.read(path))
    return [form for form in parser.found if not form.action.startswith(SPARED)]


async def sent(visitor: Visitor, form: Form, text: str, only: str | None = None) -> httpx.Response:
    """The form with this text in all its fields, in what stands hidden too, or in one."""
    hostile = [name for name in form.fields if name != "form" and only in {None, name}]
    fields = {name: value for name, value in form.fields.items() if name != "form"} | dict.fromkeys(hostile, text)
    if form.method == "get":
        # A browser's own address is no longer than this, and the service says so for longer ones.
        return await visitor.get(f"{form.action.partition('?')[0]}?{urlencode(fields)[:60_000]}")
    return await visitor.post(form.action, fields)


def is_sound(answer: httpx.Response, what: str) -> None:
    """No fault of ours, nothing alive, and where it was refused a word that says why."""
    assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, f"{what}: {answer.text[-2000:]}"
    for alive in ALIVE:
        assert alive not in answer.text, f"{what} lets {alive} live"
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        assert len(said(answer)) > 20, f"{what} is refused without a word"


async def test_nothing_that_is_typed_into_a_form_breaks_a_page_or_lives_on_it(
    town: tuple[Running, Mapping[str, str]],
):
    """Every form once, by the first who comes to it."""
    service, filled = town
    known: set[tuple[str, str, tuple[str, ...]]] = set()
    visitors = {person: await let_in(service, f"user:{person}") for person in ("ann", "sam", "audrey", "root")}
    for look in LOOKS:
        visitor = visitors[look.people[0]]
        for form in await forms_of(visitor, look.at(filled)):
            if form.key not in known:
                known.add(form.key)
                await _fill(visitor, form)
    assert len(known) > len(LOOKS) / 2
    for look in LOOKS:
        is_sound(await visitors[look.people[0]].get(look.at(filled)), f"{look.path} afterwards")


async def _fill(visitor: Visitor, form: Form) -> None:
    for what, text in HOSTILE.items():
        is_sound(await sent(visitor, form, text), f"{what} in all of {form.method} {form.action}")
    for name in form.typed:
        is_sound(await sent(visitor, form, EVERYTHING, name), f"everything as {name} of {form.action}")
