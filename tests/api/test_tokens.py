"""Who may come in: only whoever holds a token that a configured issuer signed, for this service, for now.

What the identity floor makes of crafted tokens is proven in ``tests/identity``; here it is proven that no door is
without it, and that nobody learns what stands in a token, or is given anything without one.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import psycopg
import pytest

from muniment.flows.seal_ledger import seal_once
from muniment.identity.bearer import STRANGER
from muniment.identity.seal_keys import SealKeys
from tests.api.running import Caller, Running, after_version, refusal, revision_of

pytestmark = pytest.mark.anyio

#: Whoever holds a key may revoke it; here nothing is shown.
REVOKING = "/v1/keys/revoke"
DESCRIBING = {"/.well-known/muniment", "/.well-known/authzen-configuration", "/v1/leases/keys"}
PUBLISHED = {"/v1/ledger/checkpoint", "/v1/ledger/keys"}
OPEN = {"/healthz", "/readyz", REVOKING, *DESCRIBING, *PUBLISHED}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(service: Running, **changes: object) -> dict[str, Any]:
    """What Root's token says, but for some changes."""
    now = int(time.time())
    usual = {"iss": service.issuer.url, "sub": "root", "aud": "muniment", "exp": now + 600, "iat": now,
             "jti": "1", "client_id": "kedro-muniment", "groups": ["platform"]}  # fmt: skip
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def bad_tokens(service: Running) -> dict[str, str]:
    """Tokens that say that Root asks, and do not hold."""
    sign = service.issuer.sign
    good = sign({"typ": "at+jwt"}, claims(service))
    head, said, signature = good.split(".")
    return {
        "expired": sign({"typ": "at+jwt"}, claims(service, exp=int(time.time()) - 600)),
        "not yet": sign({"typ": "at+jwt"}, claims(service, nbf=int(time.time()) + 600)),
        "endless": sign({"typ": "at+jwt"}, claims(service, exp=None)),
        "for others": sign({"typ": "at+jwt"}, claims(service, aud="grafana")),
        "for nobody": sign({"typ": "at+jwt"}, claims(service, aud=None)),
        "of others": sign({"typ": "at+jwt"}, claims(service, iss="https://id.example.org")),
        "without a signature": f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{said}.",
        "with none in capitals": f"{part({'alg': 'NONE', 'typ': 'at+jwt'})}.{said}.{signature}",
        "with a public key as a secret": f"{part({'alg': 'HS256', 'typ': 'at+jwt'})}.{said}.{signature}",
        "forged": f"{head}.{part(claims(service, sub='eve'))}.{signature}",
        "cut": f"{head}.{said}.{signature[:-8]}",
        "two parts": f"{head}.{said}",
        "with its own key": sign({"typ": "at+jwt", "jwk": {"kty": "oct", "k": "AAAA"}}, claims(service)),
        "nonsense": "nonsense",
        "huge": "e" * 20_000,
        "an ID token": sign({}, claims(service, nonce="n")),
    }


async def test_a_token_that_does_not_hold_is_refused_without_a_word_of_it(service: Running) -> None:
    before = await revision_of(service)
    assert (
        await Caller(service.http, service.issuer.sign({"typ": "at+jwt"}, claims(service))).get("/v1/whoami")
    ).status_code == 200

    for what, token in bad_tokens(service).items():
        caller = Caller(service.http, token)
        for method, path in (("GET", "/v1/leases?environment=dev"), ("PUT", "/v1/groups/mine")):
            body = {} if method == "PUT" else None
            answer = await caller.send(method, path, json=body, headers=after_version(0))
            problem = refusal(answer, 401)
            assert problem["type"] == "/problems/token-refused", what
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            for said in (token, "root", "platform", "grafana", "example.org"):
                assert said not in answer.text, what

    assert await revision_of(service) == before


#: Those of the bad tokens that an issuer has really signed: their bearer is told what is wrong.
SIGNED = {"expired", "not yet", "endless", "for others", "for nobody", "an ID token"}


async def test_who_has_no_token_that_an_issuer_signed_is_told_the_same_byte_for_byte(service: Running) -> None:
    tokens = bad_tokens(service)
    strange = [await Caller(service.http, tokens[what]).get("/v1/whoami") for what in tokens.keys() - SIGNED]
    assert len({answer.content for answer in strange}) == 1
    assert STRANGER in strange[0].text
    assert len({answer.headers["www-authenticate"] for answer in strange}) == 1
    for what in SIGNED:
        assert STRANGER not in (await Caller(service.http, tokens[what]).get("/v1/whoami")).text, what


async def test_every_token_that_does_not_hold_is_counted(service: Running) -> None:
    def counted() -> int:
        with psycopg.connect(service.url.replace("+psycopg", "")) as connection:
            (count,) = connection.execute("SELECT coalesce(sum(count), 0) FROM refused_signins").fetchone() or (0,)
            return int(count)

    refusals = service.app.state.doorkeeper._refusals
    await refusals.flush()
    before, tokens = counted(), bad_tokens(service)
    for token in tokens.values():
        refusal(await Caller(service.http, token).get("/v1/whoami"), 401)
    await refusals.flush()
    assert counted() == before + len(tokens)


async def test_no_door_but_these_opens_without_a_token(service: Running) -> None:
    """Seen to fail with `Asking` taken from a route."""
    await seal_once(service.app.state.house.db, SealKeys(service.settings.seal_key_path))
    for method, template in service.routes:
        answer = await service.nobody.send(
            method, re.sub(r"\{\w+\}", "sales.orders", template), headers=after_version(0)
        )
        if template in OPEN:
            assert answer.status_code == (422 if template == REVOKING else 200)
        else:
            refusal(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic cm9vdDpyb290", "bearer  ", "Token x", "Bearer a b c"]
)
async def test_another_header_is_no_token(service: Running, header: str) -> None:
    answer = await service.nobody.send("GET", "/v1/whoami", headers={"Authorization": header})
    refusal(answer, 401)


async def test_a_services_identity_and_a_persons_of_one_name_are_two(service: Running) -> None:
    person = service.somebody("nightly", kind="user")
    assert (await person.read("/v1/whoami"))["subject"] == "user:nightly"
    assert await person.catalog() == {}
    assert list(await service.nightly.catalog()) == ["sales.targets"]


async def test_who_is_refused_is_counted_and_fills_no_ledger(service: Running) -> None:
    def counted() -> tuple[int, int]:
        with psycopg.connect(service.url.replace("+psycopg", "")) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM ledger").fetchone() or (0,)
            (refused,) = connection.execute("SELECT coalesce(sum(count), 0) FROM refused_signins").fetchone() or (0,)
            return int(rows), int(refused)

    await service.app.state.doorkeeper._refusals.flush()
    rows, refused = counted()
    for _ in range(20):
        refusal(await service.nobody.get("/v1/whoami"), 401)
    await service.app.state.doorkeeper._refusals.flush()

    assert counted() == (rows, refused + 20)
