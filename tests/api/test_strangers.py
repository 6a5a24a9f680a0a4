"""What somebody may ask who is not signed in: few addresses, all known here, and none tells what is inside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from muniment.core.limits import rates_from
from muniment.store import refusals
from tests.api.running import NO_LIMITS, Caller, Running, after_version, refusal, running
from tests.web.letting_in import served_pages

pytestmark = pytest.mark.anyio

#: Those that answer a stranger with something, and with which status.
ANSWERING = {
    "GET /healthz": 200,
    "GET /readyz": 200,
    "GET /.well-known/muniment": 200,
    "GET /.well-known/authzen-configuration": 200,
    "GET /openapi.json": 200,
    "GET /v1/leases/keys": 200,
    # The keys that seal the ledger, and its newest checkpoint (404 as long as nothing is sealed).
    "GET /v1/ledger/keys": 200,
    # The same for every key, and for what is none.
    "POST /v1/keys/revoke": 204,
    # Pages on the way to the provider, and back.
    "GET /sign-in": 200,
    "GET /signed-out": 200,
}

#: What stands in the realm that a stranger must not read anywhere, and who is in it.
INSIDE = (
    "sales", "orders", "targets", "leads", "salaries", "hr", "emea", "lake", "analysts", "stewards", "platform",
    "nightly", "hugo", "audrey", "sam-stewards-sales", "audrey-audits", "dev", "prod",
)  # fmt: skip


def doors(service: Running) -> Iterator[tuple[str, str]]:
    """Every method and address template that the application routes, those of the pages too."""
    for route in every(service.app.routes):
        yield from ((method, route.path) for method in sorted(route.methods - {"HEAD"}))


def every(given: Iterable[Any]) -> Iterator[Any]:
    """The routes, those of included routers among them."""
    for each in given:
        included = getattr(each, "effective_candidates", None)
        if included is not None:
            yield from every(included())
        else:
            yield each


def filled(template: str) -> str:
    return re.sub(r"\{\w+(:\w+)?\}", "sales.orders", template)


async def knock(service: Running, method: str, template: str) -> httpx.Response:
    body = {"key": "mun_guess"} if template == "/v1/keys/revoke" else None
    return await service.nobody.send(method, filled(template), json=body, headers=after_version(0))


async def test_these_addresses_answer_a_stranger_and_no_others(service: Running) -> None:
    """All other pages send to where one signs in. Seen to fail when a page was added."""
    answered = {}
    pages = {route.path for route in served_pages(service.app)}
    for method, template in doors(service):
        answer = await knock(service, method, template)
        if method == "GET" and template in pages and answer.status_code == 303:
            assert answer.headers["location"].startswith("/sign-in?to="), template
        elif answer.status_code < 400:
            answered[f"{method} {template}"] = answer.status_code
        else:
            assert answer.status_code in {400, 401, 403, 404, 422}, f"{method} {template}: {answer.text}"
    assert answered == ANSWERING


async def test_nothing_that_a_stranger_reads_names_what_is_inside(service: Running) -> None:
    """The description of the service holds examples of its own; the company of these tests is in none."""
    whole = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, INSIDE))})(?![\w-])")
    for method, template in doors(service):
        answer = await knock(service, method, template)
        if template == "/openapi.json":
            assert not {"hr.salaries", "sales.orders", "audrey"} & set(re.findall(r"[\w.]+", answer.text))
            continue
        assert not whole.findall(answer.text), f"{method} {template}: {answer.text}"
        assert not whole.findall(str(answer.headers)), f"{method} {template}"


async def test_the_auditor_reads_who_could_not_sign_in_and_sees_no_token(service: Running) -> None:
    secret = "mun_this-was-somebodys-secret"
    for _ in range(3):
        refusal(await Caller(service.http, secret).get("/v1/whoami"), 401)
    counting: refusals.Refusals = service.app.state.doorkeeper._refusals
    await counting.flush()
    async with service.app.state.house.db.begin() as tx:
        while await refusals.tell(tx, datetime.now(UTC) + timedelta(minutes=1)):
            pass

    refusal(await service.ann.get("/v1/ledger?event=signin.refused"), 403)
    answer = await service.audrey.get("/v1/ledger?event=signin.refused")
    assert answer.status_code == 200, answer.text
    rows = answer.json()["items"]
    assert sum(row["details"]["reasons"].get("TokenRefused", 0) for row in rows) >= 3
    assert {(row["subject"], row["issuer"], row["credential"], row["outcome"]) for row in rows} == {
        ("", "", "", "denied")
    }
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert secret not in answer.text

    why = refusal(await service.audrey.get(f"/v1/ledger/{rows[0]['id']}/decision"), 422)
    assert "It counts who was not let in; no policy was asked." in why["detail"]


async def test_who_had_to_wait_is_told_too(service: Running) -> None:
    limits = rates_from({**NO_LIMITS, "failed_sign_ins": "1/hour"})
    async with running(service.issuer, service.url, limits=limits) as strict:
        for status in (401, 429):
            refusal(await Caller(strict.http, "a-guess").get("/v1/whoami"), status)
        await strict.app.state.doorkeeper._refusals.flush()
        async with strict.app.state.house.db.begin() as tx:
            while await refusals.tell(tx, datetime.now(UTC) + timedelta(minutes=1)):
                pass
    rows = (await service.audrey.read("/v1/ledger?event=signin.refused"))["items"]
    assert sum(row["details"]["reasons"].get("TooMany", 0) for row in rows) == 1
