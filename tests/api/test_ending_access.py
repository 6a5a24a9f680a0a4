"""What took a sign-in away is honoured by the next request that begins after it was acknowledged, at every worker.

Seen to fail with `Roster.admit` using what it remembers whatever the roster's version is, with the count left
out of `roster.put`, and with `who` reading subjects without their enrolments.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import Caller, Running, refusal, running

pytestmark = pytest.mark.anyio

WHY = {"reason": "left the company"}


@pytest.fixture
async def workers(issuer: RunningIssuer, company_database: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two workers on one database: what is decided at the first is asked for at the second."""
    async with running(issuer, company_database) as first, running(issuer, company_database) as second:
        yield first, second


def later(service: Running, subject: str) -> Caller:
    """Somebody who has signed in again since: their token is from a later second than any before it."""
    moment = int((datetime.now(UTC) + timedelta(seconds=2)).timestamp())
    return service.somebody(subject, auth_time=moment, **({"groups": ["analysts"]} if subject == "ann" else {}))


async def test_an_ended_subject_is_refused_everywhere_and_admitted_again_with_new_sign_ins_alone(
    workers: tuple[Running, Running],
) -> None:
    here, there = workers
    assert "sales.orders" in await there.ann.catalog()
    for _ in range(3):
        ended = await here.root.post("/v1/subjects/user:ann/end", WHY)
        assert ended.status_code == 200, ended.text
        assert ended.json()["active"] is False
        for path in ("/v1/catalog?environment=dev", "/v1/leases?environment=dev", "/v1/whoami", "/v1/requests"):
            refusal(await there.ann.get(path), 401)
            refusal(await later(there, "ann").get(path), 401)
        assert (await here.root.post("/v1/subjects/user:ann/admit", {"reason": "a mistake"})).status_code == 200
        refusal(await there.ann.get("/v1/whoami"), 401)
        assert "sales.orders" in await later(there, "ann").catalog()


async def test_a_request_that_begins_after_the_end_was_acknowledged_never_succeeds(
    workers: tuple[Running, Running],
) -> None:
    here, there = workers
    for _ in range(10):
        caller = later(there, "ann")
        assert (await caller.get("/v1/whoami")).status_code == 200
        await here.root.post("/v1/subjects/user:ann/end-sign-ins", WHY)
        # The token says that its sign-in was two seconds from now: only the end of the subject ends it.
        await here.root.post("/v1/subjects/user:ann/end", WHY)
        refusal(await caller.get("/v1/whoami"), 401)
        await here.root.post("/v1/subjects/user:ann/admit", WHY)


async def test_ending_ones_own_sign_ins_ends_the_tokens_that_were_issued_before(
    workers: tuple[Running, Running],
) -> None:
    here, there = workers
    assert (await there.ann.get("/v1/whoami")).status_code == 200
    assert (await here.ann.post("/v1/subjects/user:ann/end-sign-ins", {"reason": "a laptop was lost"})).json() == {
        "subject": "user:ann", "sessions": 0, "keys": [],
    }  # fmt: skip
    refusal(await there.ann.get("/v1/whoami"), 401)
    assert (await later(there, "ann").get("/v1/whoami")).status_code == 200


async def test_a_sign_in_of_which_nobody_knows_when_it_began_ends_with_the_others(
    workers: tuple[Running, Running],
) -> None:
    here, there = workers
    end = int((datetime.now(UTC) + timedelta(minutes=5)).timestamp())
    claims = {"iss": here.issuer.url, "aud": "muniment", "sub": "ann", "exp": end}
    timeless = Caller(there.http, here.issuer.sign({"typ": "JWT"}, claims))
    assert (await timeless.get("/v1/whoami")).status_code == 200
    await here.root.post("/v1/subjects/user:ann/end-sign-ins", WHY)
    refusal(await timeless.get("/v1/whoami"), 401)


async def test_everybodys_sign_ins_end_at_once_and_the_next_one_is_new(workers: tuple[Running, Running]) -> None:
    here, there = workers
    refusal(await here.sam.post("/v1/subjects/end-sign-ins", WHY), 403)
    callers = (there.ann, there.sam, there.nightly, there.root, here.root)
    assert {(await caller.get("/v1/whoami")).status_code for caller in callers} == {200}
    assert (await here.root.post("/v1/subjects/end-sign-ins", WHY)).json()["subject"] == "everybody"
    for caller in callers:
        refusal(await caller.get("/v1/whoami"), 401)
    assert (await later(there, "ann").get("/v1/whoami")).status_code == 200


async def test_whoever_is_admitted_again_signs_in_at_once(company: Running) -> None:
    earlier = company.ann
    await company.root.post("/v1/subjects/user:ann/end", WHY)
    # Tokens tell whole seconds: the admission is in another one than the end.
    await asyncio.sleep(1 - datetime.now(UTC).microsecond / 1e6)
    await company.root.post("/v1/subjects/user:ann/admit", WHY)
    assert (await company.somebody("ann").get("/v1/whoami")).status_code == 200
    refusal(await earlier.get("/v1/whoami"), 401)


async def test_only_administrators_decide_about_others_and_nobody_ends_their_own_access(company: Running) -> None:
    for verb in ("end", "admit", "end-sign-ins"):
        for caller in (company.sam, company.audrey, company.eve):
            refusal(await caller.post(f"/v1/subjects/user:ann/{verb}", WHY), 403)
    refusal(await company.root.post("/v1/subjects/user:root/end", WHY), 409)
    refusal(await company.root.post("/v1/subjects/user:ann/admit", WHY), 409)
    refusal(await company.root.post("/v1/subjects/user:ann/end", {"reason": ""}), 422)
    assert (await company.ann.get("/v1/whoami")).status_code == 200


async def test_who_may_sign_in_is_told_to_those_who_oversee_everything_and_to_oneself(company: Running) -> None:
    assert (await company.ann.get("/v1/whoami")).status_code == 200
    for caller in (company.root, company.audrey, company.ann):
        told = await caller.read("/v1/subjects/user:ann")
        assert told["active"] is True
        assert told["at"] is None
    for caller in (company.sam, company.eve):
        refusal(await caller.get("/v1/subjects/user:ann"), 403)
        refusal(await caller.get("/v1/subjects/user:nobody-ever"), 403)
    refusal(await company.root.get("/v1/subjects/user:nobody-ever"), 404)


async def test_whoever_may_not_sign_in_is_among_nobody_who_may(company: Running) -> None:
    await company.ann.catalog()
    who = "/v1/who?action=load&dataset=sales.orders&environment=dev"
    found = [each["subject"] for each in (await company.sam.read(who))["items"]]
    assert "user:ann" in found
    before = datetime.now(UTC)
    await company.root.post("/v1/subjects/user:ann/end", WHY)
    assert "user:ann" not in [each["subject"] for each in (await company.sam.read(who))["items"]]
    evaluation = {
        "subject": {"type": "user", "id": "ann"},
        "action": {"name": "load"},
        "resource": {"type": "dataset", "id": "sales.orders"},
        "context": {"environment": "dev"},
    }
    assert (await company.sam.post("/access/v1/evaluation", evaluation)).json()["decision"] is False
    explain = "/v1/explain?action=load&dataset=sales.orders&environment=dev&subject=user:ann"
    refusal(await company.sam.get(explain), 409)
    then = before.isoformat().replace("+00:00", "Z")
    past = await company.audrey.read(f"{who}&at={then}")
    assert "user:ann" in [each["subject"] for each in past["items"]]


async def test_the_end_of_access_is_one_row_that_names_what_ended_and_what_lives_on(company: Running) -> None:
    lease = await company.ann.get("/v1/leases?environment=dev")
    asked = await company.ann.post(
        "/v1/requests",
        {"actions": ["save"], "datasets": ["sales.orders"], "environments": ["prod"], "because": "a correction"},
    )
    await company.root.post("/v1/subjects/user:ann/end", WHY)
    (told,) = (await company.audrey.read("/v1/ledger?event=subject.access_ended"))["items"]
    assert told["subject"] == "user:root"
    assert told["details"]["about"] == "user:ann"
    assert told["details"]["reason"] == WHY["reason"]
    assert lease.headers["muniment-receipt"] in [each["receipt"] for each in told["details"]["leases"]]
    assert told["details"]["requests"] == [asked.json()["id"]]
    request = await company.root.read(f"/v1/requests/{asked.json()['id']}")
    assert request["state"] == "withdrawn"
