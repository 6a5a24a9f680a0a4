"""A running service as a steward's commands see it: where it is, who asks, and its refusals in words.

Who asks is said by ``MUNIMENT_TOKEN``, ``MUNIMENT_TOKEN_FILE`` or ``MUNIMENT_KEY``. Any other way to sign in belongs
to kedro-muniment: a sign-in that `kedro muniment login` kept, the workload identity of a CI job. It registers itself
under the entry point group :data:`SIGN_IN`, so that nothing here has to know it. What is registered there is called
with the service's address, gives something with ``authorize(headers)``, ``source`` and ``advice``, and refuses by
raising ``click.ClickException``.

Redirects are not followed, because the credential would travel with them; and plain HTTP, which is for loopback alone,
goes through no proxy, which would read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points, version
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import click
import httpx
import orjson

from muniment.core.keys import PREFIX
from muniment.settings import Asking, asking
from muniment.steward.refusals import NotSignedIn, Refused, Stale, StewardError, Unreachable, plain

#: The entry point group of what knows further ways to sign in; the entry's name does not matter.
SIGN_IN: Final = "muniment.sign_in"

#: A trial of many changes takes a while; an answer that takes longer than this does not come.
TIMEOUT_SECONDS: Final = 120.0
CONNECT_SECONDS: Final = 5.0
#: The most that a page of a list holds.
PAGE: Final = 1_000

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_UNAUTHORIZED, _STALE = 401, 412
_WAITING: Final = frozenset({429, 503})


class Signed(Protocol):
    """A credential that writes itself into a request, and shows itself nowhere else."""

    @property
    def source(self) -> str:
        """Where it comes from."""

    @property
    def advice(self) -> str:
        """What to do when the service does not accept it."""

    def authorize(self, headers: MutableMapping[str, str], /) -> None:
        """Write it into the headers."""


@dataclass(frozen=True, slots=True)
class Given:
    """A credential that the environment holds."""

    secret: str = field(repr=False)
    source: str

    @property
    def advice(self) -> str:
        """What to do when the service does not accept it."""
        return f"It was asked with {self.source}; set a fresh one."

    def authorize(self, headers: MutableMapping[str, str], /) -> None:
        """Write it into the headers; httpx hides this one in its ``repr``."""
        headers["Authorization"] = f"Bearer {self.secret}"


@dataclass(frozen=True, slots=True)
class Connection:
    """A service at an address, asked as somebody. What its methods give is the JSON of the answer."""

    url: str
    signed: Signed
    http: httpx.Client = field(repr=False)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """What stands at an address of the service."""
        return self._ask("GET", path, params=params)

    def every(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Every item of a list, from all its pages."""
        asked = {"limit": PAGE, **(params or {})}
        while True:
            page = self.get(path, asked)
            yield from page["items"]
            if page["next"] is None:
                return
            asked["after"] = page["next"]

    def stream(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """What stands at an address, in parts as they arrive: for what is too large to hold."""
        try:
            with self.http.stream("GET", self.url + path, params=params, auth=self._authorized) as response:
                if response.is_success:
                    yield from response.iter_bytes()
                    return
                response.read()
        except httpx.ConnectError as error:
            raise self._away(plain(str(error))) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            why = plain(str(error) or type(error).__name__)
        else:
            raise self._refusal(response, _said(response))
        raise Unreachable(f"Muniment at {self.url} could not be read to the end ({why}). Try again.")

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Within it an answer is read; one that does not hold what it should is refused in words."""
        try:
            yield
        except (KeyError, TypeError):
            raise Unreachable(
                f"{self.url} answered in a way that this version of muniment does not understand. Install the version "
                "of muniment that the service has."
            ) from None

    def post(self, path: str, body: object, *, revision: int | None = None, **params: Any) -> Any:
        """Ask for something to be done; ``revision`` is the one that it was tried at."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        return self._ask("POST", path, body=body, headers=headers, params=params)

    def put(self, path: str, body: object, *, after: int) -> Any:
        """Put a thing as it shall be, after a version of it; 0 makes a new one."""
        return self._ask("PUT", path, body=body, headers=_after(after))

    def delete(self, path: str, *, after: int) -> Any:
        """End a thing that stands at a version."""
        return self._ask("DELETE", path, headers=_after(after))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Any:
        content = None if body is None else orjson.dumps(body)
        typed = {} if content is None else {"Content-Type": "application/json"}
        response = self._sent(method, path, params=params, headers={**typed, **(headers or {})}, content=content)
        if isinstance(response, str):
            raise self._away(response)
        said = _said(response)
        if response.is_success:
            if isinstance(said, dict) or not response.content:
                return said
            raise self._not_ours(response)
        raise self._refusal(response, said)

    def _sent(self, method: str, path: str, **request: Any) -> httpx.Response | str:
        """The response, or why there is none, in words: the exception's frames hold the request, and go no further."""
        try:
            return self.http.request(method, self.url + path, auth=self._authorized, **request)
        except UnicodeError:
            return "no host can have that name"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return plain(str(error) or type(error).__name__)

    def _authorized(self, request: httpx.Request) -> httpx.Request:
        self.signed.authorize(request.headers)
        return request

    def _refusal(self, response: httpx.Response, said: Any) -> StewardError:
        if not isinstance(said, dict) or "title" not in said:
            return self._not_ours(response)
        words = f"{plain(said['title'])}: {plain(said.get('detail') or 'no reason was given')}"
        listed = said.get("errors")
        places = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        told = [(plain(each.get("at")), plain(each.get("message"))) for each in places]
        # The detail is often the first of them, or the only one.
        words += "".join(f"\n  {at}: {message}" for at, message in dict.fromkeys(told) if message not in words)
        status = response.status_code
        if status == _UNAUTHORIZED:
            return NotSignedIn(f"{words} {self.signed.advice} (Muniment at {self.url})")
        if status in _WAITING:
            return Unreachable(f"{words} (Muniment at {self.url})")
        return (Stale if status == _STALE else Refused)(words, status, said)

    def _away(self, why: str) -> StewardError:
        return Unreachable(
            f"Muniment cannot be reached at {self.url} ({why}). Check the address (--url, or MUNIMENT_URL) "
            "and that the service is up."
        )

    def _not_ours(self, response: httpx.Response) -> StewardError:
        return Unreachable(
            f"{self.url} answered {response.status_code}, and not as Muniment does. Check the address (--url, or "
            "MUNIMENT_URL)."
        )


def connect(url: str | None = None) -> Connection:
    """The service at this address, else at that of ``MUNIMENT_URL``, asked as whoever the environment names.

    It is closed when the command ends; whoever connects outside of one closes its ``http``.
    """
    given = asking()
    address = _checked(url or given.url)
    timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
    agent = {"User-Agent": f"muniment/{version('muniment')}", "Accept": "application/json"}
    plain_http = address.startswith("http://")
    signed = _signed(address, given)
    http = httpx.Client(timeout=timeout, trust_env=not plain_http, headers=agent)
    command = click.get_current_context(silent=True)
    if command is not None:
        command.call_on_close(http.close)
    return Connection(address, signed, http)


def _checked(url: str | None) -> str:
    if not url:
        raise Refused("Say where Muniment is: --url https://…, or MUNIMENT_URL.")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or "@" in parts.netloc:
        raise Refused(f"{plain(url)} is no address of Muniment: it is https://…, without a name or password in it.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Refused(
            f"{plain(url)} is plain HTTP, which would show your credential to everybody on the way: https://…"
        )
    return url.rstrip("/")


def _signed(url: str, given: Asking) -> Signed:
    """Who asks. Two credentials at once are refused by name: who asks must not depend on which is looked at first."""
    named = [name for name, value in given.named.items() if value]
    if len(named) > 1:
        raise NotSignedIn(f"{' and '.join(named)} are set, and each names a credential. Leave one, and unset the rest.")
    if named and not given.elsewhere:
        return _from_environment(named[0], given)
    found = [*entry_points(group=SIGN_IN)]
    if found:
        return _registered(found[0].load, url)
    raise NotSignedIn(
        "Nobody is signed in. Set MUNIMENT_TOKEN (or MUNIMENT_TOKEN_FILE, or MUNIMENT_KEY); or install kedro-muniment, "
        "which signs people in (kedro muniment login) and lets CI jobs show who they are (MUNIMENT_WORKLOAD)."
    )


def _registered(load: Any, url: str) -> Signed:
    signed: Signed = load()(url)
    return signed


def _from_environment(name: str, given: Asking) -> Signed:
    signed = Given(given.secret_of(name), name) if name != "MUNIMENT_TOKEN_FILE" else _in_file(given)
    if not signed.secret or not (signed.secret.isascii() and signed.secret.isprintable()) or " " in signed.secret:
        raise NotSignedIn(
            f"{signed.source} holds something that is not a token. Set it again, without the word Bearer."
        )
    if name == "MUNIMENT_KEY" and not signed.secret.startswith(PREFIX):
        raise NotSignedIn(f"MUNIMENT_KEY does not hold a key of Muniment's, which begins with {PREFIX}.")
    return signed


def _in_file(given: Asking) -> Given:
    path = given.secret_of("MUNIMENT_TOKEN_FILE")
    source = f"MUNIMENT_TOKEN_FILE ({plain(path)})"
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - as the environment names it
            return Given(file.read(1 << 20).strip(), source)
    except (OSError, ValueError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else "it is no text"
        raise NotSignedIn(f"No token can be read from {source}: {why}.") from None


def _said(response: httpx.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _after(version: int) -> Mapping[str, str]:
    return {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
