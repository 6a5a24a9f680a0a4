"""A small OpenID Connect issuer for the demonstration and the tests, and for nothing else.

It believes whoever asks: anyone who reaches it can be anyone. So it listens on this
machine alone, runs as a process of its own, makes new keys at every start, and ends
when whoever started it ends (its standard input closes). Beside what an issuer does
(discovery, key set, tokens), it changes its keys on demand (``POST /rotate``) and signs
whatever it is given (``POST /sign``), so that tests can make tokens that no issuer would.

    python -m demo.issuer --people people.json --port 0 --port-file port

``people.json`` says who there is: ``{"ann": {"groups": ["analysts"], "claims": {"clr": 3}},
"nightly": {"kind": "service", "secret": "…"}}``.
"""

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
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qs, unquote

import httpx
import uvicorn
from joserfc.jwk import Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

DEMO_GRANT = "urn:muniment:demo"
AUDIENCE = "muniment"
#: What the demonstration's tokens say was signed in with.
CLIENT = "kedro-muniment"

Algorithm = Literal["RS256", "Ed25519"]

_LIFETIME_SECONDS = 3600
_START_SECONDS = 20


@dataclass(frozen=True)
class Person:
    """Someone, or a service, for whom tokens are made."""

    id: str
    kind: Literal["user", "service"] = "user"
    groups: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict)
    secret: str | None = None

    @classmethod
    def read(cls, id_: str, given: Mapping[str, Any]) -> Person:
        """One member of ``people.json``; a field that is not known is an error."""
        return cls(id=id_, **{**given, "groups": tuple(given.get("groups", ()))})


class NoTokenError(Exception):
    """The token request is refused, with an error code of RFC 6749."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


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


@dataclass(frozen=True)
class SmallIssuer:
    """What the issuer answers; each method is one address."""

    url: str
    people: Mapping[str, Person]
    keys: Keys

    def app(self) -> Starlette:
        """The issuer as an ASGI application."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", self.jwks),
                Route("/token", self.token, methods=["POST"]),
                Route("/rotate", self.rotate, methods=["POST"]),
                Route("/sign", self.sign, methods=["POST"]),
            ]
        )

    async def discovery(self, _: Request) -> JSONResponse:
        """OpenID Connect Discovery 1.0."""
        return JSONResponse(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "token_endpoint": f"{self.url}/token",
                "grant_types_supported": ["client_credentials", DEMO_GRANT],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "response_types_supported": [],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [self.keys.algorithm],
            }
        )

    async def jwks(self, _: Request) -> JSONResponse:
        """The key set."""
        return JSONResponse(self.keys.published(), media_type="application/jwk-set+json")

    async def token(self, request: Request) -> JSONResponse:
        """An access token: for a service by its secret, for anyone by the demonstration's own grant."""
        form = {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}
        try:
            person = self._asked_for(request, form)
            claims = {**self._claims(person), **_changes(form)}
        except NoTokenError as refusal:
            return JSONResponse({"error": refusal.error, "error_description": str(refusal)}, status_code=400)
        present = {name: value for name, value in claims.items() if value is not None}
        text = self.keys.sign({"typ": "at+jwt"}, json.dumps(present))
        answer = {"access_token": text, "token_type": "Bearer", "expires_in": _LIFETIME_SECONDS}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    async def rotate(self, request: Request) -> JSONResponse:
        """Sign with a new key from now on; ``?withdraw=true`` no longer publishes the old ones."""
        self.keys.rotate(withdraw=request.query_params.get("withdraw") == "true")
        return JSONResponse({"kid": self.keys.newest_id})

    async def sign(self, request: Request) -> JSONResponse:
        """Sign ``{"header": {…}, "payload": "…"}`` as it is: for tests that need a token no issuer would make."""
        wanted = await request.json()
        return JSONResponse({"token": self.keys.sign(wanted["header"], wanted["payload"])})

    def _asked_for(self, request: Request, form: Mapping[str, str]) -> Person:
        grant = form.get("grant_type")
        if grant == DEMO_GRANT:
            return self._person(form.get("subject", ""), "invalid_request")
        if grant != "client_credentials":
            raise NoTokenError("unsupported_grant_type", f"Only client_credentials and {DEMO_GRANT} are known here.")
        client, secret = _credentials(request, form)
        service = self._person(client, "invalid_client")
        if service.kind != "service" or not service.secret or not hmac.compare_digest(secret, service.secret):
            raise NoTokenError("invalid_client", "There is no such service, or it has another secret.")
        return service

    def _person(self, id_: str, error: str) -> Person:
        try:
            return self.people[id_]
        except KeyError:
            raise NoTokenError(error, f"There is nobody called {id_!r} here.") from None

    def _claims(self, person: Person) -> dict[str, object]:
        now = int(time.time())
        return {
            "iss": self.url,
            "sub": person.id,
            "aud": AUDIENCE,
            "exp": now + _LIFETIME_SECONDS,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "client_id": person.id if person.kind == "service" else CLIENT,
            "kind": person.kind,
            "groups": list(person.groups),
            **person.claims,
        }


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _changes(form: Mapping[str, str]) -> dict[str, object]:
    """Claims that the demonstration's grant asks to be other than usual; null leaves one out."""
    if form.get("grant_type") != DEMO_GRANT or "claims" not in form:
        return {}
    try:
        changes = json.loads(form["claims"])
    except ValueError:
        changes = None
    if not isinstance(changes, dict):
        raise NoTokenError("invalid_request", "“claims” must be a JSON object.")
    return changes


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client, _, secret = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        raise NoTokenError("invalid_client", "The Authorization header can't be read.") from None
    return unquote(client), unquote(secret)


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
        # Plain HTTP on this machine: an empty context saves reading every certificate authority of the world.
        with httpx.Client(trust_env=False, timeout=10, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
            issuer = RunningIssuer(url, process, http)
            try:
                yield issuer
            finally:
                issuer.stop()


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
    issuer = SmallIssuer(f"http://127.0.0.1:{number}", people, Keys(algorithm))
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
