"""The signature of a lease: over what was asked, for whom, until when, and the very body; with every answer anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import httpx
import pytest
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry, deserialize_compact

from demo.issuer import RunningIssuer
from tests.api.running import Caller, Running, dataset, found_company, grant, running

pytestmark = pytest.mark.anyio

URL = "https://muniment.example.org"
LEASE = "/v1/leases?environment=dev&project=revenue&purpose=q"


@pytest.fixture(scope="module")
async def signing(issuer: RunningIssuer, module_database: str) -> AsyncIterator[Running]:
    async with running(issuer, module_database, public_url=f"{URL}/") as service:
        await found_company(service)
        yield service


@pytest.fixture(autouse=True)
def _older_name_of_the_algorithm() -> Iterator[None]:
    with catch_warnings():
        simplefilter("ignore")
        yield


async def keys_of(service: Running) -> KeySet:
    """The service's key set, as somebody reads it who is not signed in."""
    told = (await service.nobody.get("/.well-known/muniment")).json()
    assert told["lease_issuer"] == URL
    assert told["lease_keys"].startswith(URL)
    answer = await service.nobody.get(told["lease_keys"].removeprefix(URL))
    assert answer.headers["content-type"] == "application/jwk-set+json"
    return KeySet.import_key_set(answer.json())


async def claims_of(service: Running, answer: httpx.Response) -> dict[str, Any]:
    """The claims of the lease in an answer, whose signature must hold."""
    token = answer.headers["muniment-lease"]
    read = deserialize_compact(token, await keys_of(service), registry=JWSRegistry(algorithms=["EdDSA"]))
    claims: dict[str, Any] = json.loads(read.payload)
    return claims


async def test_a_lease_says_for_whom_it_is_what_was_asked_and_over_which_body(signing: Running) -> None:
    before = int(datetime.now(UTC).timestamp())
    answer = await signing.ann.get(LEASE)
    claims = await claims_of(signing, answer)
    begun = claims.pop("iat")
    assert before <= begun <= datetime.now(UTC).timestamp()
    assert claims == {
        "iss": URL,
        "sub": "user:ann",
        "aud": "kedro",
        "exp": begun + 12 * 3600,
        "environment": "dev",
        "project": "revenue",
        "purpose": "q",
        "revision": int(answer.headers["muniment-revision"]),
        "receipt": answer.headers["muniment-receipt"],
        "body_sha256": hashlib.sha256(answer.content).hexdigest(),
    }


async def test_what_was_left_out_is_null_and_services_have_longer_leases(signing: Running) -> None:
    claims = await claims_of(signing, await signing.nightly.get("/v1/leases?environment=dev"))
    assert (claims["sub"], claims["project"], claims["purpose"]) == ("service:nightly", None, None)
    assert claims["exp"] - claims["iat"] == 72 * 3600
    assert "names" not in claims


async def test_the_names_that_were_asked_for_are_signed_in_their_order_and_each_once(signing: Running) -> None:
    asked = {"names": "sales.targets, sales.orders,sales.orders,hr.salaries"}
    answer = await signing.ann.get("/v1/leases?environment=dev", params=asked | {"environment": "dev"})
    claims = await claims_of(signing, answer)
    assert claims["names"] == hashlib.sha256(b"hr.salaries,sales.orders,sales.targets").hexdigest()
    assert claims["body_sha256"] == hashlib.sha256(answer.content).hexdigest()
    none = await claims_of(signing, await signing.ann.get("/v1/leases?environment=dev&names="))
    assert none["names"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("coding", ["gzip", "zstd", "identity"])
async def test_the_body_is_signed_as_it_is_read_in_whatever_coding_it_travels(signing: Running, coding: str) -> None:
    for number in range(30):
        path = f"/v1/datasets/sales.coded_{number}"
        if (await signing.sam.get(path)).status_code == 404:
            await signing.sam.make(path, dataset(f"s3://lake/sales/coded_{number}.csv"))
    await signing.root.put("/v1/grants/sam-loads", grant("user:sam", ["load"], on={"domain": "sales"}), after=0)
    answer = await signing.sam.get(LEASE, headers={"Accept-Encoding": coding})
    assert answer.headers.get("content-encoding", "identity") == coding
    assert (await claims_of(signing, answer))["body_sha256"] == hashlib.sha256(answer.content).hexdigest()


@pytest.mark.parametrize("names", ["", "&names=sales.orders"])
async def test_an_unchanged_lease_is_signed_anew(signing: Running, names: str) -> None:
    """Seen to fail with a 304 that left the header out."""
    first = await signing.ann.get(LEASE + names)
    again = await signing.ann.get(LEASE + names, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    one, other = [await claims_of(signing, answer) for answer in (first, again)]
    assert one["body_sha256"] == other["body_sha256"]
    assert other["receipt"] == again.headers["muniment-receipt"] != one["receipt"]
    assert other["exp"] >= one["exp"]


async def test_a_worker_that_never_made_the_body_signs_an_unchanged_one(
    signing: Running, issuer: RunningIssuer
) -> None:
    """Another worker, with the same secret: its signature holds by the keys of the first."""
    first = await signing.ann.get(LEASE)
    async with running(issuer, signing.url, public_url=URL) as other:
        again = await Caller(other.http, signing.ann.token).get(LEASE, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        claims = await claims_of(signing, again)
    assert claims["body_sha256"] == hashlib.sha256(first.content).hexdigest()


async def test_a_service_with_another_secret_signs_what_nobody_believes(
    signing: Running, issuer: RunningIssuer, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * 64)
    path.chmod(0o600)
    async with running(issuer, signing.url, public_url=URL, secret_file=path) as other:
        answer = await Caller(other.http, signing.ann.token).get(LEASE)
        with pytest.raises((JoseError, ValueError)):
            await claims_of(signing, answer)


async def test_the_ledger_holds_until_when_and_which_body_was_signed(signing: Running) -> None:
    answer = await signing.ann.get(LEASE)
    claims = await claims_of(signing, answer)
    (row,) = (await signing.audrey.read(f"/v1/ledger?receipt={claims['receipt']}"))["items"]
    assert row["event"] == "lease.served"
    assert row["details"]["body_sha256"] == claims["body_sha256"]
    assert int(datetime.fromisoformat(row["details"]["until"]).timestamp()) == claims["exp"]


async def test_a_lease_of_a_key_ends_with_the_key(signing: Running) -> None:
    """Seen to fail with the length of every service's leases."""
    until = (datetime.now(UTC) + timedelta(hours=5)).replace(microsecond=0)
    bound = {"use": "runs", "environment": "dev", "project": "p", "purpose": "q", "because": "a test"}
    wished = {"service": "service:nightly", "until": until.isoformat(), **bound}
    key = (await signing.root.post("/v1/keys", wished)).json()["key"]
    answer = await replace(signing.nightly, token=key).get("/v1/leases?environment=dev")
    claims = await claims_of(signing, answer)
    assert (claims["exp"], claims["project"], claims["purpose"]) == (until.timestamp(), "p", "q")


async def test_a_catalog_for_people_carries_no_signature(signing: Running) -> None:
    assert "muniment-lease" not in (await signing.ann.get("/v1/catalog?environment=dev")).headers


async def test_a_refusal_carries_no_signature(signing: Running) -> None:
    for path in ("/v1/leases?environment=nowhere", "/v1/leases?environment=base", "/v1/leases"):
        answer = await signing.ann.get(path)
        assert answer.status_code == 422
        assert "muniment-lease" not in answer.headers


async def test_deprecated_datasets_are_noticed_with_a_successor_that_may_be_known(signing: Running) -> None:
    """Seen to fail with the successor's name told to everybody."""
    sam, root = signing.sam, signing.root
    for name in ("new_open", "new_shut", "old_open", "old_shut"):
        later = {"lifecycle": "deprecated", "successor": f"sales.{name.replace('old', 'new')}"}
        further = later if name.startswith("old") else {}
        await sam.make(f"/v1/datasets/sales.{name}", dataset(f"s3://lake/sales/{name}.csv", **further))
        if name != "new_shut":
            await root.make(f"/v1/grants/eve-{name}", grant("user:eve", ["load"], on={"dataset": f"sales.{name}"}))
    before = await signing.eve.get("/v1/leases?environment=dev")
    assert before.json()["notices"] == {
        "sales.old_open": "deprecated; use sales.new_open instead",
        "sales.old_shut": "deprecated",
    }
    await root.make("/v1/grants/eve-new", grant("user:eve", ["discover"], on={"dataset": "sales.new_shut"}))
    after = await signing.eve.get("/v1/leases?environment=dev", headers={"If-None-Match": before.headers["etag"]})
    assert after.json()["notices"]["sales.old_shut"] == "deprecated; use sales.new_shut instead"
    named = await signing.eve.read("/v1/leases?environment=dev&names=sales.old_open")
    assert named["notices"] == {"sales.old_open": "deprecated; use sales.new_open instead"}
