"""The service as the client sees it: what it is asked over HTTP, and its refusals in words.

httpx is imported when the first question is asked, not before: a project that is not governed never pays for
it. Redirects are not followed, because the token would travel with them; and plain HTTP, which is for loopback alone,
goes through no proxy, which would read the token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from kedro_muniment import __version__
from kedro_muniment.problems import Denied, MunimentError, NotSignedIn, ServiceRefused, Unreachable, plain
from kedro_muniment.tokens import Token

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
NOT_MODIFIED: Final = 304
UNAUTHORIZED: Final = 401
REFUSALS: Final[Mapping[int, type[MunimentError]]] = {
    UNAUTHORIZED: NotSignedIn,
    403: Denied,
    404: Denied,
    429: Unreachable,
    503: Unreachable,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the headers that matter, and the JSON body (``None`` on 304)."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Service:
    """Muniment at one address, asked with one token."""

    url: str
    token: Token

    def lease(self, asked: Mapping[str, str], etag: str | None) -> Answer:
        """The catalog that the bearer may use; status 304 when it is still the one with this tag."""
        return self._ask("GET", "/v1/leases", params=asked, headers={"If-None-Match": etag} if etag else {})

    def preflight(self, asked: Mapping[str, str], load: Sequence[str], save: Sequence[str]) -> Any:
        return self._ask("POST", "/v1/preflight", body={**asked, "load": list(load), "save": list(save)}).body

    def whoami(self) -> Any:
        return self._ask("GET", "/v1/whoami").body

    def explain(self, asked: Mapping[str, str], action: str, dataset: str) -> Any:
        return self._ask("GET", "/v1/explain", params={**asked, "action": action, "dataset": dataset}).body

    def request(self, wished: Mapping[str, object]) -> Any:
        return self._ask("POST", "/v1/requests", body=wished).body

    def requests(self, asked: Mapping[str, str]) -> Any:
        return self._ask("GET", "/v1/requests", params=asked).body

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
    ) -> Answer:
        sent = {"Accept": "application/json", "User-Agent": f"kedro-muniment/{__version__}", **(headers or {})}
        response = self._sent(method, path, params=params, headers=sent, json=body)
        if not isinstance(response, str) and response.status_code == UNAUTHORIZED and self.token.is_replaced():
            response = self._sent(method, path, params=params, headers=sent, json=body)
        if isinstance(response, str):
            raise Unreachable(
                f"Muniment cannot be reached at {self.url} ({response}). Nothing was run. Check the address "
                "(`url:` in muniment.yml, or MUNIMENT_URL) and that the service is up."
            )
        return self._understood(response)

    def _sent(self, method: str, path: str, **said: Any) -> httpx.Response | str:
        """The response, or why there is none, in words: the exception's frames hold the request, and go no further."""
        import httpx

        timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
        try:
            with httpx.Client(timeout=timeout, trust_env=not self.url.startswith("http://")) as client:
                return client.request(method, self.url + path, auth=self._signed, **said)
        except UnicodeError:  # as it is looked up: a label is too long, say, or empty
            return "no host can have that name"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _cause(error)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        self.token.authorize(request.headers)
        return request

    def _understood(self, response: httpx.Response) -> Answer:
        if response.status_code == NOT_MODIFIED:
            return Answer(response.status_code, response.headers, None)
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            body = None
        if response.is_success and isinstance(body, dict):
            return Answer(response.status_code, response.headers, body)
        raise self._refusal(response.status_code, body)

    def _refusal(self, status: int, body: object) -> MunimentError:
        kind = REFUSALS.get(status, ServiceRefused)
        if not isinstance(body, dict) or "title" not in body:
            return ServiceRefused(
                f"{self.url} answered {status}, and not as Muniment does. Check the address "
                "(`url:` in muniment.yml, or MUNIMENT_URL)."
            )
        said = f"{plain(body['title'])}: {plain(body.get('detail') or 'no reason was given')}"
        faults = body.get("errors")
        if isinstance(faults, list):
            said += "".join(
                f"\n  {plain(f.get('at'))}: {plain(f.get('message'))}" for f in faults if isinstance(f, dict)
            )
        if kind is NotSignedIn:
            said += f" {self.token.advice}"
        return kind(f"{said} (Muniment at {self.url})")


def _cause(error: Exception) -> str:
    return plain(str(error) or type(error).__name__)
