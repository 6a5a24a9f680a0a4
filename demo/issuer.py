"""A small OpenID Connect issuer for the demonstration and the tests, and for nothing else.

It believes whoever asks: anyone who reaches it can be anyone. So it listens on this
machine alone, runs as a process of its own, makes new keys at every start, and ends
when whoever started it ends (its standard input closes). Beside what an issuer does
(discovery, key set, tokens), it changes its keys on demand (``POST /rotate``) and signs
whatever it is given (``POST /sign``), so that tests can make tokens that no issuer would.

    python -m demo.issuer --people people.json --port 0 --port-file port

``people.json`` says who there is: ``{"ann": {"groups": ["analysts"], "claims": {"clr": 3}},
"nightly": {"kind": "service", "secret": "…"}}``.

The token endpoint is Authlib's authorization server, told here who there is, how Starlette
asks and answers, and how a token is signed.
"""

# Authlib has no types: to mypy, each of its classes that is built upon here is Any.
# mypy: allow-subclassing-any

from __future__ import annotations

import argparse
import hmac
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qs

import httpx
import uvicorn
from authlib.deprecate import AuthlibDeprecationWarning
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    BaseGrant,
    ClientCredentialsGrant,
    ClientMixin,
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
    OAuth2Request,
    TokenEndpointMixin,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc8414 import get_well_known_url
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.jwk import Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from demo import browsers
from demo.browsers import GRANT as BROWSER_GRANT
from demo.browsers import PAGES, IdToken, Pages, PagesGrant, Proof, Signed
from demo.devices import GRANT as DEVICE_GRANT
from demo.devices import CodeEndpoint, CodeGrant, Codes, Command

DEMO_GRANT = "urn:muniment:demo"
AUDIENCE = "muniment"
#: What the demonstration's tokens say was signed in with.
CLIENT = "kedro-muniment"

Algorithm = Literal["RS256", "Ed25519"]

_GRANT_TYPES = ("client_credentials", DEMO_GRANT, DEVICE_GRANT, BROWSER_GRANT)
_SECRET_METHODS = ("client_secret_basic", "client_secret_post")

_LIFETIME_SECONDS = 3600
_START_SECONDS = 20


@dataclass(frozen=True)
class Person(ClientMixin):
    """Someone, or a service, for whom tokens are made. A service is its own OAuth client."""

    id: str
    kind: Literal["user", "service"] = "user"
    groups: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict)
    secret: str | None = None

    @classmethod
    def read(cls, id_: str, given: Mapping[str, Any]) -> Person:
        """One member of ``people.json``; a field that is not known is an error."""
        return cls(id=id_, **{**given, "groups": tuple(given.get("groups", ()))})

    def get_client_id(self) -> str:
        """What the person's tokens say was signed in with."""
        return self.id if self.kind == "service" else CLIENT

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret is not None and hmac.compare_digest(client_secret.encode(), self.secret.encode())

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method in _SECRET_METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in _GRANT_TYPES

    def get_allowed_scope(self, _scope: str | None) -> str:
        """No scope at all: what somebody may do is Muniment's to say."""
        return ""

    def said(self) -> dict[str, object]:
        """What tokens say of who this is."""
        return {"kind": self.kind, "groups": list(self.groups), **self.claims}


class Keys:
    """The keys that sign and are published: the newest signs."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self._keys: list[Key] = []
        self.rotate(withdraw=False)

    def rotate(self, *, withdraw: bool) -> None:
        """Sign with a new key; the earlier ones stay published unless they are withdrawn."""
        parameters = {"use": "sig", "alg": self.algorithm, "kid": uuid.uuid4().hex}
        new = OKPKey if self.algorithm == "Ed25519" else RSAKey
        self._keys = [new.generate_key(parameters=cast("Any", parameters)), *([] if withdraw else self._keys)]

    @property
    def newest_id(self) -> str:
        """The id of the key that signs."""
        return str(self._keys[0].kid)

    def published(self) -> dict[str, object]:
        """The JWK set: public halves only."""
        return {"keys": [key.as_dict(private=False) for key in self._keys]}

    def sign(self, header: Mapping[str, object], payload: str) -> str:
        """A compact JWS over exactly this payload."""
        head = json.dumps({"alg": self.algorithm, "kid": self.newest_id, **header})
        signed = f"{_base64url(head.encode())}.{_base64url(payload.encode())}"
        signature = JWSRegistry.algorithms[self.algorithm].sign(signed.encode(), self._keys[0])
        return f"{signed}.{_base64url(signature)}"


class TokenRequest(OAuth2Request):
    """A request to the token endpoint, with its form read."""

    def __init__(self, uri: str, request: Request, body: bytes) -> None:
        super().__init__(request.method, uri, headers=request.headers)
        values = parse_qs(body.decode(errors="replace"))
        self.payload = BasicOAuth2Payload({name: given[-1] for name, given in values.items()})

    @property
    def form(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self.payload.data)


class ServiceGrant(ClientCredentialsGrant):
    """A token for a service, by its secret."""

    TOKEN_ENDPOINT_AUTH_METHODS = _SECRET_METHODS


class DemonstrationGrant(BaseGrant, TokenEndpointMixin):
    """A token for anyone, for the asking, with the claims that are asked for; a claim that is null is left out."""

    GRANT_TYPE = DEMO_GRANT

    def validate_token_request(self) -> None:
        form = self.request.form
        person = self.server.people.get(form.get("subject"))
        if person is None:
            raise InvalidRequestError("There is nobody of that name here.")
        self.request.client = person
        self.request.user = replace(person, claims={**person.claims, **_changes(form.get("claims", "{}"))})

    def create_token_response(self) -> tuple[int, Mapping[str, object], Sequence[tuple[str, str]]]:
        token = self.generate_token(user=self.request.user, include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class TokenServer(AuthorizationServer):
    """Authlib's authorization server, for Starlette; its access tokens are those of RFC 9068.

    They are signed here: Authlib's own generator of such tokens signs with neither
    Ed25519 nor a named key, and leaves out no claim.
    """

    def __init__(self, url: str, people: Mapping[str, Person], keys: Keys) -> None:
        super().__init__()
        self.url = url
        self.people = people
        self.keys = keys
        self.register_grant(ServiceGrant)
        self.register_grant(DemonstrationGrant)
        self.codes = Codes({name: person for name, person in people.items() if person.kind == "user"})
        self.register_grant(CodeGrant)
        self.register_endpoint(CodeEndpoint)
        self.signed: dict[str, Signed] = {}
        self.register_grant(PagesGrant, [Proof(), IdToken()])
        generator = BearerTokenGenerator(self._access_token, expires_generator=_LIFETIME_SECONDS)
        self.register_token_generator("default", generator)

    def create_oauth2_request(self, request: tuple[Request, bytes]) -> TokenRequest:
        """Starlette reads a body asynchronously and Authlib does not, so it comes beside its request."""
        return TokenRequest(f"{self.url}{request[0].url.path}", *request)

    def handle_response(self, status: int, body: object, headers: Sequence[tuple[str, str]]) -> JSONResponse:
        return JSONResponse(body, status_code=status, headers=dict(headers))

    def query_client(self, client_id: str) -> Person | Command | Pages | None:
        """Services are clients, and so are the command and the pages that people sign in with; people are not."""
        if client_id == CLIENT:
            return Command(CLIENT)
        if client_id == PAGES:
            return Pages()
        person = self.people.get(client_id)
        return person if person is not None and person.kind == "service" else None

    def authenticate_client(
        self, request: TokenRequest, methods: Sequence[str], endpoint: str = "token"
    ) -> Person | Command | Pages:
        try:
            return cast("Person | Command | Pages", super().authenticate_client(request, methods, endpoint))
        except UnicodeDecodeError:
            raise InvalidClientError("The Authorization header cannot be read.", status_code=401) from None

    def save_token(self, token: Mapping[str, object], request: TokenRequest) -> None:
        """Nothing is kept: whoever knows the keys can check a token."""

    def send_signal(self, name: str, *_: object, **__: object) -> None:
        """Nobody listens."""

    def _access_token(self, *, client: Person | Command | Pages, user: Person | None, **_: object) -> str:
        person, now = user or cast("Person", client), int(time.time())
        claims = {
            "iss": self.url,
            "sub": person.id,
            "aud": AUDIENCE,
            "exp": now + _LIFETIME_SECONDS,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "client_id": client.get_client_id(),
            **person.said(),
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return self.keys.sign({"typ": "at+jwt"}, json.dumps(present))


@dataclass(frozen=True)
class SmallIssuer:
    """What the issuer answers; each method is one address."""

    url: str
    keys: Keys
    tokens: TokenServer

    def app(self) -> Starlette:
        """The issuer as an ASGI application."""
        self.metadata().validate()
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route(get_well_known_url(self.url), self.discovery),
                Route("/jwks", self.jwks),
                Route("/token", self.token, methods=["POST"]),
                Route("/authorize", self.authorize, methods=["GET", "POST"]),
                Route("/device_authorization", self.device_authorization, methods=["POST"]),
                Route("/device", self.tokens.codes.page, methods=["GET", "POST"]),
                Route("/rotate", self.rotate, methods=["POST"]),
                Route("/sign", self.sign, methods=["POST"]),
            ]
        )

    def metadata(self) -> OpenIDProviderMetadata:
        """RFC 8414, and OpenID Connect Discovery 1.0."""
        return OpenIDProviderMetadata(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "token_endpoint": f"{self.url}/token",
                "authorization_endpoint": f"{self.url}/authorize",
                "device_authorization_endpoint": f"{self.url}/device_authorization",
                "grant_types_supported": list(_GRANT_TYPES),
                "token_endpoint_auth_methods_supported": [*_SECRET_METHODS, "none"],
                "code_challenge_methods_supported": ["S256"],
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": sorted({"RS256", self.keys.algorithm}),
                "subject_types_supported": ["public"],
            }
        )

    async def discovery(self, _: Request) -> JSONResponse:
        """The metadata."""
        return JSONResponse(self.metadata())

    async def jwks(self, _: Request) -> JSONResponse:
        """The key set."""
        return JSONResponse(self.keys.published(), media_type="application/jwk-set+json")

    async def token(self, request: Request) -> Response:
        """An access token: for a service by its secret, for anyone by the demonstration's own grant."""
        return cast("Response", self.tokens.create_token_response((request, await request.body())))

    async def authorize(self, request: Request) -> Response:
        """Where a browser is sent to sign in (RFC 6749, 4.1.1); whoever presses a button is sent back with a code."""
        pressed = await request.body()
        try:
            grant = self.tokens.get_consent_grant((request, pressed or request.url.query.encode()))
        except OAuth2Error as refused:
            return HTMLResponse(browsers.refusal(refused.description or refused.error), status_code=400)
        everybody, asked = self.tokens.codes.people, grant.request.form
        person = everybody.get(asked.get("subject", ""))
        if not pressed or person is None:
            return HTMLResponse(browsers.page(everybody, asked))
        back = self.tokens.create_authorization_response(grant.request, grant_user=person, grant=grant)
        return cast("Response", back)

    async def device_authorization(self, request: Request) -> Response:
        """A code for a command that somebody signs in with (RFC 8628, 3.1)."""
        asked = (request, await request.body())
        return cast("Response", self.tokens.create_endpoint_response(CodeEndpoint.ENDPOINT_NAME, asked))

    async def rotate(self, request: Request) -> JSONResponse:
        """Sign with a new key from now on; ``?withdraw=true`` no longer publishes the old ones."""
        self.keys.rotate(withdraw=request.query_params.get("withdraw") == "true")
        return JSONResponse({"kid": self.keys.newest_id})

    async def sign(self, request: Request) -> JSONResponse:
        """Sign ``{"header": {…}, "payload": "…"}`` as it is: for tests that need a token no issuer would make."""
        wanted = await request.json()
        return JSONResponse({"token": self.keys.sign(wanted["header"], wanted["payload"])})


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _changes(text: str) -> dict[str, object]:
    """Claims that are asked to be other than usual."""
    try:
        changes = json.loads(text)
    except ValueError:
        changes = None
    if not isinstance(changes, dict):
        raise InvalidRequestError("The claims must be a JSON object.")
    return changes


@dataclass(frozen=True)
class RunningIssuer:
    """An issuer that runs as a process of its own."""

    url: str
    process: subprocess.Popen[bytes]
    http: httpx.Client

    def token(self, subject: str, **claims: object) -> str:
        """An access token for this subject; claims given here replace the usual ones, None leaves one out."""
        form = {"grant_type": DEMO_GRANT, "subject": subject, "claims": json.dumps(claims)}
        return str(self._post("/token", data=form)["access_token"])

    def service_token(self, service: str, secret: str) -> str:
        """An access token as a service gets one from any issuer: by its secret. Authlib's OAuthError if refused."""
        with _oauth2_client()(service, secret, trust_env=False, timeout=10, verify=_no_authorities()) as client:
            return str(client.fetch_token(f"{self.url}/token", grant_type="client_credentials")["access_token"])

    def sign(self, header: Mapping[str, object], payload: Mapping[str, object] | str) -> str:
        """A token with exactly this payload, really signed; the header is completed with ``alg`` and ``kid``."""
        text = payload if isinstance(payload, str) else json.dumps(payload)
        return str(self._post("/sign", json={"header": dict(header), "payload": text})["token"])

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key from now on."""
        self._post(f"/rotate?withdraw={str(withdraw).lower()}")

    def stop(self) -> None:
        """End the process, and wait until it has ended."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _post(self, path: str, **body: Any) -> dict[str, object]:
        answer = self.http.post(self.url + path, **body)
        answer.raise_for_status()
        return cast("dict[str, object]", answer.json())


@contextmanager
def running_issuer(
    people: Mapping[str, Mapping[str, object]], *, algorithm: Algorithm = "RS256", port: int = 0
) -> Iterator[RunningIssuer]:
    """Run an issuer for these people in a process of its own, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        people_file, port_file = Path(folder, "people.json"), Path(folder, "port")
        people_file.write_text(json.dumps(people))
        command = [sys.executable, "-m", "demo.issuer", "--people", str(people_file), "--algorithm", algorithm]
        command += ["--port", str(port), "--port-file", str(port_file)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[1])
        url = f"http://127.0.0.1:{_port_of(process, port_file)}"
        with httpx.Client(trust_env=False, timeout=10, verify=_no_authorities()) as http:
            issuer = RunningIssuer(url, process, http)
            try:
                yield issuer
            finally:
                issuer.stop()


def _no_authorities() -> ssl.SSLContext:
    """For plain HTTP on this machine: it saves reading every certificate authority of the world."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _oauth2_client() -> Any:
    """Authlib's client. It prefers httpx2 and says so where it finds httpx, which Muniment stays on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The httpx module is deprecated", AuthlibDeprecationWarning)
        from authlib.integrations.httpx_client import OAuth2Client
    return OAuth2Client


def _port_of(process: subprocess.Popen[bytes], port_file: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            message = f"The issuer did not start (exit status {process.returncode}); what it said stands above."
            raise RuntimeError(message)
        time.sleep(0.01)
    return int(port_file.read_text())


def serve(people: Mapping[str, Person], algorithm: Algorithm, port: int, port_file: Path | None) -> None:
    """Serve until standard input closes."""
    listening = socket.create_server(("127.0.0.1", port))
    number = listening.getsockname()[1]
    url, keys = f"http://127.0.0.1:{number}", Keys(algorithm)
    issuer = SmallIssuer(url, keys, TokenServer(url, people, keys))
    server = uvicorn.Server(uvicorn.Config(issuer.app(), log_level="warning", lifespan="off", access_log=False))
    if port_file is not None:
        unfinished = port_file.with_suffix(".unfinished")
        unfinished.write_text(str(number))
        unfinished.replace(port_file)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    print(f"issuer {issuer.url}", file=sys.stderr, flush=True)
    server.run(sockets=[listening])


def _end_with_input(server: uvicorn.Server) -> None:
    while os.read(0, 1024):
        pass
    server.should_exit = True


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m demo.issuer", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=Path, required=True, help="a JSON file that says who there is")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where the port is written once the issuer listens")
    parser.add_argument("--algorithm", choices=["RS256", "Ed25519"], default="RS256")
    chosen = parser.parse_args(arguments)
    people = {id_: Person.read(id_, given) for id_, given in json.loads(chosen.people.read_text()).items()}
    serve(people, chosen.algorithm, chosen.port, chosen.port_file)


if __name__ == "__main__":
    main()
