"""In an emergency those whom the operator named give themselves access: for hours, with a reason, and loudly.

Seen to fail with the membership not looked at, and with the limit of hours taken out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.issuer import RunningIssuer
from tests.api.running import Running, refusal, running

pytestmark = pytest.mark.anyio

DOOR = "/v1/break-glass"
SALARIES = {"dataset": "hr.salaries"}


def emergency(**more: Any) -> dict[str, Any]:
    return {"actions": ["load"], "on": SALARIES, "hours": 2, "because": "payroll fails, nobody of hr answers", **more}


@pytest.fixture
async def service(issuer: RunningIssuer, company_database: str) -> AsyncIterator[Running]:
    """The company, in which the platform group may break the glass."""
    async with running(issuer, company_database, break_glass="group:platform") as service:
        yield service


async def test_one_who_is_named_gains_what_nobody_gave_them_until_its_end(service: Running) -> None:
    assert "hr.salaries" not in await service.root.catalog("prod")
    before = datetime.now(UTC)
    answer = await service.root.post(DOOR, emergency())
    assert answer.status_code == 201
    until = datetime.fromisoformat(answer.json()["until"])
    assert before + timedelta(hours=2, seconds=-1) <= until <= datetime.now(UTC) + timedelta(hours=2)
    assert "hr.salaries" in await service.root.catalog("prod")
    lease = await service.root.read("/v1/leases?environment=prod")
    assert lease["ends"]["hr.salaries"] == answer.json()["until"]


async def test_it_is_loud(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="muniment"):
        made = (await service.root.post(DOOR, emergency())).json()
    assert [record.levelname for record in caplog.records if "GLASS" in record.message] == ["CRITICAL"]
    (told,) = (await service.audrey.read("/v1/ledger?event=glass.broken"))["items"]
    assert told["subject"] == "user:root"
    assert told["datasets"] == ["hr.salaries"]
    assert told["details"]["until"] == made["until"]
    assert told["details"]["reason"] == emergency()["because"]


async def test_the_same_grant_by_the_ordinary_door_is_refused(service: Running) -> None:
    body = {"to": {"subject": "user:root"}, "actions": ["load"], "on": SALARIES, "because": "I want it"}
    refusal(await service.root.put("/v1/grants/mine", body, after=0), 403)


@pytest.mark.parametrize("who", ["sam", "hugo", "eve", "nightly"])
async def test_nobody_else_can(service: Running, who: str) -> None:
    refusal(await getattr(service, who).post(DOOR, emergency()), 403)
    told = (await service.audrey.read(f"/v1/ledger?event=change.refused&subject={who}"))["items"]
    assert len(told) == 1


async def test_nobody_can_where_nobody_is_named(company: Running) -> None:
    refusal(await company.root.post(DOOR, emergency()), 403)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hours": 0}, {"hours": 8.01}, {"hours": -1}, {"because": ""}, {"because": "  "}, {"actions": []},
        {"on": {"dataset": "hr.nothing"}}, {"on": {"domain": "nowhere"}}, {"on": {}}, {"environments": ["prd"]},
        {"to": {"subject": "user:eve"}},
    ],
)  # fmt: skip
async def test_it_has_an_end_a_reason_and_a_place(service: Running, wrong: dict[str, Any]) -> None:
    refusal(await service.root.post(DOOR, emergency(**wrong)), 422)
    assert "hr.salaries" not in await service.root.catalog("prod")


async def test_a_forbid_stands_above_it(service: Running) -> None:
    forbid = {"cedar": 'forbid (principal, action == Action::"load", resource == Dataset::"hr.salaries");'}
    await service.root.make("/v1/policies/closed", forbid)
    assert (await service.root.post(DOOR, emergency())).status_code == 201
    assert "hr.salaries" not in await service.root.catalog("prod")


async def test_who_may_break_it_tries_no_name_without_a_record(service: Running) -> None:
    """That a dataset is there they can learn so (how-hidden-stays-hidden.md); nobody else can, and each try is told."""
    nothing = emergency(on={"dataset": "hr.nothing"})
    told = [refusal(await service.eve.post(DOOR, asked), 403) for asked in (nothing, emergency())]
    assert told[0] == told[1]
    before = len((await service.audrey.read("/v1/ledger?event=change.refused"))["items"])
    refusal(await service.root.post(DOOR, nothing), 422)
    rows = (await service.audrey.read("/v1/ledger?event=change.refused"))["items"]
    assert len(rows) == before + 1
    assert rows[0]["subject"] == "user:root"
