"""The service as the client sees it: what it is asked over HTTP, and its refusals in words.

httpx is imported when the first question is asked, not before: a project that is not governed never pays for
it. Redirects are not followed, because the token would travel with them; and plain HTTP, which is for loopback alone,
goes through no proxy, which would read the token.

A service that *answers* may say no, and that stands. Everything else is the same as if it were away, and raises
:class:`Unreachable`: no connection, too long a wait, half a body, the page of a portal or of a proxy, an error of its
own (5xx), a redirect, and the word that it is too busy (429). A question takes a bounded time as a whole, and its
answer has a bounded length.
"""

from __future__ import annotations

import json
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from kedro_muniment import __version__, network_faults, patience
from kedro_muniment.problems import Denied, MunimentError, NotSignedIn, NotTaken, ServiceRefused, Unreachable, plain
from kedro_muniment.sign_in.tokens import Token

if TYPE_CHECKING:
    import httpx

    from kedro_muniment.leases.statements import Trust

#: How long one question may take as a whole, and its connection.
TIMEOUT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
#: A run that has its lease does not wait longer for the word on it: then the lease decides.
PREFLIGHT_SECONDS: Final = 10.0
#: The longest answer that is read, unpacked: a catalog of 10,000 entries has 3 MB.
LONGEST_ANSWER: Final = 64 * 1024 * 1024
#: For how long a service that was away is taken to be so still, by those who can do without it.
AWAY_SECONDS: Final = 30.0
JSON: Final = "application/json"
ZIP: Final = "application/zip"
OK: Final = 200
NOT_MODIFIED: Final = 304
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
REFUSALS: Final[Mapping[int, type[MunimentError]]] = {
    UNAUTHORIZED: NotSignedIn,
    403: Denied,
    NOT_FOUND: Denied,
    413: NotTaken,
    422: NotTaken,
    429: Unreachable,
}
_SERVER_ERRORS: Final = 500
_GZIP: Final = 16 + zlib.MAX_WBITS
_CODINGS: Final = frozenset({"", "identity", "gzip"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the headers, the body as bytes, and what JSON it is (``None`` on 304)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    content: bytes = b""


@dataclass(slots=True)
class Memory:
    """What one question found out for the next."""

    #: Whose statements are believed, since that was asked.
    trust: Trust | None = None
    _away: str | None = None
    _until: float = 0.0

    def note_away(self, said: str) -> None:
        """The service did not answer just now."""
        self._away, self._until = said, time.monotonic() + AWAY_SECONDS

    def away(self) -> str | None:
        """That the service did not answer a moment ago, so that it need not be waited for once more."""
        return self._away if time.monotonic() < self._until else None


@dataclass(frozen=True, slots=True)
class Service:
    """Muniment at one address, asked with one token."""

    url: str
    token: Token
    memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def lease(self, asked: Mapping[str, str], etag: str | None, within: float = TIMEOUT_SECONDS) -> Answer:
        """The catalog that the bearer may use; status 304 when it is still the one with this tag.

        A project asks for several, one after the other: where the first finds nobody, the others do not wait for it.
        """
        away = self.memory.away()
        if away is not None:
            raise Unreachable(away)
        tagged = {"If-None-Match": etag} if etag else {}
        try:
            return self._ask("GET", "/v1/leases", params=asked, headers=tagged, within=within)
        except Unreachable as problem:
            self.memory.note_away(problem.message)
            raise

    def lease_keys(self, within: float = TIMEOUT_SECONDS) -> Any:
        """The keys that sign leases, as a JSON Web Key Set."""
        return self._ask("GET", "/v1/leases/keys", within=within).body

    def preflight(self, asked: Mapping[str, str], load: Sequence[str], save: Sequence[str]) -> Any:
        body = {**asked, "load": list(load), "save": list(save)}
        return self._ask("POST", "/v1/preflight", body=body, within=PREFLIGHT_SECONDS).body

    def use(self, events: Sequence[Mapping[str, Any]], within: float = TIMEOUT_SECONDS) -> None:
        """Report what was used. Only the service's own word that it has all of it is taken for that."""
        answer = self._ask("POST", "/v1/use", body={"events": list(events)}, within=within)
        counts = [answer.body.get(name) for name in ("recorded", "repeated")]
        if not all(isinstance(count, int) for count in counts) or sum(counts) != len(events):
            raise self.strange(answer.status)

    def described(self, within: float = TIMEOUT_SECONDS) -> Answer:
        """What the service says of itself, with the headers of its answer."""
        return self._ask("GET", "/.well-known/muniment", within=within)

    def datasets(self, asked: Mapping[str, str]) -> Any:
        """A page of the datasets that the bearer may know of."""
        return self._ask("GET", "/v1/datasets", params=asked).body

    def whoami(self) -> Any:
        return self._ask("GET", "/v1/whoami").body

    def explain(self, asked: Mapping[str, str], action: str, dataset: str) -> Any:
        params = {**asked, "action": action, "dataset": dataset}
        return self._ask("GET", "/v1/explain", params=params, about=[dataset]).body

    def request(self, wished: Mapping[str, object], datasets: Sequence[str]) -> Any:
        body = {**wished, "datasets": list(datasets)}
        return self._ask("POST", "/v1/requests", body=body, about=datasets).body

    def renew(self, wished: Mapping[str, object]) -> Any:
        """Ask once more for what a grant gives."""
        return self._ask("POST", "/v1/requests/renewals", body=wished).body

    def asked(self, request: str) -> Any:
        """One request for access."""
        return self._ask("GET", f"/v1/requests/{quote(request, safe='')}").body

    def requests(self, asked: Mapping[str, str]) -> Any:
        return self._ask("GET", "/v1/requests", params=asked).body

    def offer(self, asked: Mapping[str, str]) -> Any:
        """What a new project can be made of."""
        return self._ask("GET", "/v1/projects/offer", params=asked).body

    def project(self, told: Mapping[str, str]) -> bytes:
        """A new project, as a zip."""
        return self._ask("GET", "/v1/projects/new.zip", params=told, media=ZIP).content

    def decide(self, request: str, verb: str, said: Mapping[str, object]) -> Any:
        """Approve, deny or withdraw a request."""
        return self._ask("POST", f"/v1/requests/{quote(request, safe='')}/{verb}", body=said).body

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        within: float = TIMEOUT_SECONDS,
        about: Sequence[str] = (),
        media: str = JSON,
    ) -> Answer:
        """The answer to a question, which may be about datasets: then those are named if they are not there."""
        if isinstance(self.token.problem, Unreachable):
            raise self.token.problem
        agent = f"kedro-muniment/{__version__}"
        sent = {"Accept": media, "Accept-Encoding": "gzip", "User-Agent": agent, **(headers or {})}
        response = self._sent(method, path, within, params=params, headers=sent, json=body)
        if not isinstance(response, str) and response.status == UNAUTHORIZED and self.token.is_replaced():
            response = self._sent(method, path, within, params=params, headers=sent, json=body)
        if isinstance(response, str):
            raise Unreachable(
                f"Muniment cannot be reached at {self.url} ({response}). Nothing was run. Check the address "
                "(`url:` in muniment.yml, or MUNIMENT_URL) and that the service is up."
            )
        if response.status == NOT_MODIFIED and headers is not None:
            return response
        if media != JSON and response.status == OK and response.headers.get("Content-Type") == media:
            return response
        return self._understood(response, about)

    def _sent(self, method: str, path: str, within: float, **said: Any) -> Answer | str:
        """The answer, or why there is none, in words."""
        import httpx  # noqa: F401 - before the time begins to run: the first import takes a tenth of a second

        answer = patience.within(within, partial(self._exchange, method, path, within, said))
        return f"no whole answer within {within:.0f} seconds" if answer is None else answer

    def _exchange(self, method: str, path: str, within: float, said: Mapping[str, Any]) -> Answer | str:
        """As above. What is raised there holds the request in its frames, and goes no further."""
        import httpx

        timeout = httpx.Timeout(within, connect=min(CONNECT_SECONDS, within))
        is_plain = self.url.startswith("http://")
        try:
            with (
                httpx.Client(timeout=timeout, verify=_trusted(is_plain=is_plain), trust_env=not is_plain) as client,
                client.stream(method, self.url + path, auth=self._signed, **said) as response,
            ):
                content = _whole(response)
                if isinstance(content, str):
                    return content
                return Answer(response.status_code, response.headers, None, content)
        except zlib.error:
            return "its answer broke off, or is not what it says"
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
            return network_faults.fault(error)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        self.token.authorize(request.headers)
        return request

    def _understood(self, answer: Answer, about: Sequence[str]) -> Answer:
        try:
            body = json.loads(answer.content)
        except (ValueError, RecursionError):
            body = None
        if OK <= answer.status < OK + 100 and isinstance(body, dict):
            return Answer(answer.status, answer.headers, body, answer.content)
        raise self._refusal(answer.status, body, about)

    def strange(self, status: int) -> Unreachable:
        """Somebody answered, and it was not the service."""
        return Unreachable(
            f"{self.url} answered {status}, and not as Muniment does. Nothing was run. Check the address (`url:` in "
            "muniment.yml, or MUNIMENT_URL), and that no proxy or sign-in page of the network answers in its place."
        )

    def _refusal(self, status: int, body: object, about: Sequence[str]) -> MunimentError:
        if not isinstance(body, dict) or "title" not in body:
            return self.strange(status)
        if about and status == NOT_FOUND:
            asked = plain(" or ".join(about))
            return Denied(f"{asked} does not exist, or you may not know of it. See: kedro muniment list")
        kind = Unreachable if status >= _SERVER_ERRORS else REFUSALS.get(status, ServiceRefused)
        said = f"{plain(body['title'])}: {plain(body.get('detail') or 'no reason was given')}"
        said += "".join(_faults(body))
        if kind is NotSignedIn and self.token.problem is not None:
            return self.token.problem
        if kind is NotSignedIn:
            said += f" {self.token.advice}"
        return kind(f"{said} (Muniment at {self.url})")


def _faults(body: Mapping[str, Any]) -> Iterator[str]:
    """What a refusal says of each place, a line each, unless the whole of it says the same already."""
    listed = body.get("errors")
    for fault in listed if isinstance(listed, list) else ():
        if isinstance(fault, dict) and fault.get("message") != body.get("detail"):
            yield f"\n  {plain(fault.get('at'))}: {plain(fault.get('message'))}"


def _whole(response: httpx.Response) -> bytes | str:
    """The body, unpacked; or what is wrong with it. A small one may unpack to any length: it is stopped on its way."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _CODINGS:
        return f"its answer comes packed in a way that was not asked for ({plain(coding)})"
    unpacking = zlib.decompressobj(_GZIP) if coding == "gzip" else None
    held, taken = bytearray(), 0
    for part in response.iter_raw():
        taken += len(part)
        held += part if unpacking is None else unpacking.decompress(part, LONGEST_ANSWER - len(held) + 1)
        if len(held) > LONGEST_ANSWER:
            return "its answer is longer than any catalog"
    if unpacking is not None and taken and not unpacking.eof:
        return "its answer broke off"
    return bytes(held)


@lru_cache(maxsize=2)
def _trusted(*, is_plain: bool) -> ssl.SSLContext:
    """Whom to believe over TLS: made once, because reading all authorities takes as long as a question.

    Plain HTTP needs none. It gets one that believes nobody, so that nothing could ever go over TLS with it.
    """
    import httpx

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else httpx.create_ssl_context()
