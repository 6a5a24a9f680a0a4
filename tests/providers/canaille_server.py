"""Runs Canaille for the tests, on loopback: a program of its own, in an environment of its own (``canaille.py``).

Like ``oidc-provider/server.mjs`` it is told what to do in lines of JSON on standard input, answers each
with a line on standard output, and ends when standard input closes. It uses Canaille's own application,
models and settings; there is no other part of a provider in this file.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.backends.memory.backend import MemoryBackend
from flask import Flask, Request, request
from joserfc.jwk import RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server

_LOOPBACK = "127.0.0.1"


class Quiet(WSGIRequestHandler):
    """A request handler that writes no line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class Provider:
    """Canaille, and what an administrator does with it."""

    def __init__(self, address: str, told: dict[str, Any]) -> None:
        self.issuer = f"http://{address}"
        self._asked: dict[str, int] = {}
        self.app = self._application(address)
        with self.app.app_context():
            self._enter_people(told["accounts"])
            self._enter_clients(told["clients"])

    def _application(self, address: str) -> Flask:
        config = {
            "SECRET_KEY": secrets.token_urlsafe(),
            "SERVER_NAME": address,
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"DATABASE": "memory", "FORCE_HTTPS": False, "SMTP": None, "JAVASCRIPT": False},
            "CANAILLE_OIDC": {
                "ACTIVE_JWKS": [_new_key()],
                "INACTIVE_JWKS": [],
                # RFC 9700 takes PKCE for what a nonce protects against; Canaille insists on the nonce by default.
                "REQUIRE_NONCE": False,
            },
        }
        app = create_app(config, backend=MemoryBackend(config))
        app.before_request(lambda: self._count(request))
        return app

    def _count(self, asked: Request) -> None:
        self._asked[asked.path] = self._asked.get(asked.path, 0) + 1

    def _enter_people(self, accounts: dict[str, dict[str, Any]]) -> None:
        groups: dict[str, list[Any]] = {}
        for name, described in accounts.items():
            person = models.User(user_name=name, formatted_name=name, family_name=name, password=described["password"])
            Backend.instance.save(person)
            for group in described["groups"]:
                groups.setdefault(group, []).append(person)
        for name, members in groups.items():
            Backend.instance.save(models.Group(display_name=name, members=members))

    def _enter_clients(self, clients: list[dict[str, Any]]) -> None:
        entered = {}
        for metadata in clients:
            own = {name: value for name, value in metadata.items() if name != "audience"}
            entered[own["client_id"]] = models.Client(
                client_name=own["client_id"],
                # Canaille asks for no consent where a client's own page is in a domain that it trusts.
                client_uri=f"http://{_LOOPBACK}",
                client_id_issued_at=datetime.now(UTC),
                **own,
            )
            Backend.instance.save(entered[own["client_id"]])
        for metadata in clients:
            client = entered[metadata["client_id"]]
            client.audience = [entered[name] for name in metadata["audience"]]
            Backend.instance.save(client)

    # --- what tests ask for -----------------------------------------------------------------------------------------

    def rotate(self, *, withdraw: bool) -> dict[str, object]:
        """Sign with a new key; Canaille reads its keys from its settings for each token."""
        settings = self.app.config["CANAILLE_OIDC"]
        kept = [] if withdraw else [*settings["ACTIVE_JWKS"], *settings["INACTIVE_JWKS"]]
        settings.update(ACTIVE_JWKS=[_new_key()], INACTIVE_JWKS=kept)
        return {}

    def end_tokens(self, *, account: str) -> dict[str, object]:
        """Revoke every token of somebody, as its page of consents does."""
        with self.app.app_context():
            person = Backend.instance.get(models.User, user_name=account)
            for token in Backend.instance.query(models.Token, subject=person):
                token.revokation_date = datetime.now(UTC)
                Backend.instance.save(token)
        return {}

    def asked(self) -> dict[str, object]:
        return dict(self._asked)


def _new_key() -> dict[str, Any]:
    return RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)


def main() -> None:
    """Serve until standard input closes."""
    told = json.loads(sys.stdin.readline())
    listening = socket.create_server((_LOOPBACK, 0))
    port = listening.getsockname()[1]
    provider = Provider(f"{_LOOPBACK}:{port}", told)
    server = make_server(_LOOPBACK, port, provider.app, request_handler=Quiet, fd=listening.fileno())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _say({"issuer": provider.issuer})
    for line in sys.stdin:
        how = json.loads(line)
        does = how.pop("does")
        _say(getattr(provider, does)(**how))


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


main()
