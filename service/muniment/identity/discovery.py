"""What an issuer tells about itself, and how anything is fetched from it.

What is believed of an issuer comes only from addresses that the settings name, or that
its own discovery document gives (OpenID Connect Discovery 1.0, 4; RFC 8414, 3). A document that
names another issuer is not its own, whatever address it was found at (RFC 8414, 3.3).
Nothing that is fetched is followed elsewhere, unpacked, or read without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from urllib.parse import urlsplit

import httpx

from muniment.identity.documents import Unreadable, object_from
from muniment.identity.issuers import Issuer, safe_address

#: The longest document that is read from an issuer, in bytes.
LONGEST_DOCUMENT = 256 * 1024

#: Asks for JSON as it is: what was packed could be small to send and endless to read.
PLAIN_JSON = {"Accept": "application/json", "Accept-Encoding": "identity"}


class NotPublished(Exception):
    """The issuer does not give what it should; the words say why, for whoever runs the service."""


class Declined(NotPublished):
    """The issuer understood what it was asked, and said no (RFC 6749, 5.2), with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered with status {status}")
        self.status = status


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """As long as an issuer is waited for; raises :class:`NotPublished` when it can't be reached until then."""
    try:
        async with asyncio.timeout(seconds):
            yield
            return
    except TimeoutError:
        message = f"it did not answer within {seconds:.0f} seconds"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"it could not be reached ({type(error).__name__})"
    raise NotPublished(message)


async def discovered(issuer: Issuer, http: httpx.AsyncClient) -> Mapping[str, object]:
    """The issuer's discovery document: OpenID Connect's, or RFC 8414's where it has no such.

    Raises :class:`NotPublished`, or what httpx raises.
    """
    try:
        said = await document(http, f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
    except Declined:
        said = await document(http, _before_its_path(issuer.issuer, "/.well-known/oauth-authorization-server"))
    if said.get("issuer") != issuer.issuer:
        message = "its discovery document names another issuer than the settings do"
        raise NotPublished(message)
    return said


def _before_its_path(issuer: str, well_known: str) -> str:
    """Where RFC 8414 (3.1) has the document: between the host and the path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{well_known}{parts.path.rstrip('/')}"


def address_in(said: Mapping[str, object], member: str, issuer: Issuer) -> str:
    """An address that the discovery document gives; plain HTTP only where the issuer itself has it."""
    address = said.get(member)
    plain = issuer.issuer.startswith("http://")
    if not isinstance(address, str) or not safe_address(address, plain_on_loopback=plain, plain_anywhere=issuer.plain):
        message = f"its discovery document gives no safe address as “{member}”"
        raise NotPublished(message)
    return address


async def document(http: httpx.AsyncClient, url: str, *, token: str | None = None) -> Mapping[str, object]:
    """The JSON object at an address, for whoever has the token; raises :class:`NotPublished`, or what httpx raises."""
    headers = PLAIN_JSON if token is None else {**PLAIN_JSON, "Authorization": f"Bearer {token}"}
    return await _read(http.stream("GET", url, headers=headers, follow_redirects=False))


async def answer_to(
    http: httpx.AsyncClient, url: str, form: Mapping[str, str], auth: httpx.BasicAuth | None
) -> Mapping[str, object]:
    """The JSON object that a form is answered with; raises :class:`NotPublished`, or what httpx raises."""
    return await _read(http.stream("POST", url, data=form, headers=PLAIN_JSON, auth=auth, follow_redirects=False))


async def heard(http: httpx.AsyncClient, request: httpx.Request) -> Mapping[str, object]:
    """The JSON object that a request is answered with; raises :class:`NotPublished`, or what httpx raises."""
    return await _read(aclosing(await http.send(request, stream=True, follow_redirects=False)))


async def _read(sent: AbstractAsyncContextManager[httpx.Response]) -> Mapping[str, object]:
    async with sent as response:
        if response.status_code != httpx.codes.OK:
            if response.is_client_error:
                raise Declined(response.status_code)
            message = f"it answered with status {response.status_code}"
            raise NotPublished(message)
        raw = bytearray()
        async for chunk in response.aiter_raw():
            raw += chunk
            if len(raw) > LONGEST_DOCUMENT:
                message = f"its answer is longer than {LONGEST_DOCUMENT} bytes"
                raise NotPublished(message)
    try:
        return object_from(bytes(raw))
    except Unreadable as error:
        message = f"its answer is {error}"
    raise NotPublished(message)
