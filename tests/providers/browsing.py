"""A person's browser, as far as signing in needs one: it follows redirects, fills pages in, and keeps cookies."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

#: More pages than any provider shows on the way through a sign-in.
_MOST_PAGES = 20

#: What somebody types into the fields of a page, or nothing if they leave it as it is.
Fill = Callable[["Form"], Mapping[str, str] | None]


def loopback_client() -> httpx.Client:
    """For plain HTTP on this machine: it saves reading every certificate authority of the world."""
    return httpx.Client(trust_env=False, timeout=30, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@dataclass
class Form:
    """A page's form: where it goes, and what it sends if nobody types anything."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif tag == "input" and self.forms and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")


class Browser:
    """Signs one person in at one provider. Its cookies, and so the person's session there, last as long as it does."""

    def __init__(self, provider: str, fill: Fill) -> None:
        self._provider = provider
        self._fill = fill
        self._http = loopback_client()

    def close(self) -> None:
        self._http.close()

    def walk(self, address: str) -> httpx.Response:
        """Open an address of the provider and answer its pages, until one is left or leads to somebody else.

        In the second case the answer is the redirect, which is not followed.
        """
        answer = self._http.get(address)
        for _ in range(_MOST_PAGES):
            if answer.has_redirect_location:
                address = urljoin(str(answer.url), answer.headers["location"])
                if not address.startswith(f"{self._provider}/"):
                    return answer
                answer = self._http.get(address)
                continue
            assert answer.is_success, f"{answer.url} answered {answer.status_code}: {answer.text}"
            filled = self._filled(answer.text)
            if filled is None:
                return answer
            answer = self._http.post(urljoin(str(answer.url), filled.action), data=filled.fields)
        raise AssertionError(f"the provider showed more than {_MOST_PAGES} pages; the last was {answer.url}")

    def redirected(self, address: str) -> str:
        """Open an address of the provider, and give the address that it leads to in the end: of a client."""
        answer = self.walk(address)
        assert answer.has_redirect_location, f"{answer.url} leads nowhere: {answer.text}"
        return urljoin(str(answer.url), answer.headers["location"])

    def _filled(self, page: str) -> Form | None:
        """The first form of a page that the person answers, with what they type."""
        reader = _Forms()
        reader.feed(page)
        for form in reader.forms:
            typed = self._fill(form)
            if typed is not None:
                return Form(form.action, {**form.fields, **typed})
        return None
