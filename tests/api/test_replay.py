"""Every recorded decision can be computed again, and is the same, whatever has changed since; a changed row shows.

Seen to fail with the rows of a catalog by names taken for whole ones, with the row's own time taken for the one that
was asked about, and with the subject's newest state.
"""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from muniment.cli import main
from muniment.core.ledger import Question
from muniment.flows.replay_decisions import Archive, replay_all
from muniment.store.databases import Database
from tests.api.running import MUNIMENT, Caller, Running, dataset, environment_for, grant, refusal, revision_of
from tests.api.test_past import TARGETS, now
from tests.owning import owned

pytestmark = pytest.mark.anyio

FORBID = {"cedar": 'forbid (principal, action == Action::"save", resource in Domain::"sales");', "scope": "sales"}


MASK = {
    "kind": "mask",
    "scope": "sales",
    "cedar": 'permit (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.orders");',
    "obligation": {"columns": ["email"], "action": "replace-with-null"},
}


async def receipt_of(answer: httpx.Response) -> str:
    assert answer.status_code in {200, 304}, answer.text
    receipt: str = answer.headers["muniment-receipt"]
    return receipt


async def row_of(service: Running, answer: httpx.Response) -> dict[str, Any]:
    """The ledger's row of an answer."""
    (row,) = (await service.audrey.read(f"/v1/ledger?receipt={await receipt_of(answer)}"))["items"]
    found: dict[str, Any] = row
    return found


async def decide_much(service: Running, *, past: str | None = None) -> int:
    """Ask for everything that is decided, in every way, as several people; gives how many decisions that were."""
    count = 0
    also = "project=p&purpose=q"
    for caller in (service.ann, service.sam, service.nightly, service.eve, service.somebody("ann", groups=[], clr=1)):
        reading = [
            *(f"/v1/{what}?environment={e}" for what in ("catalog", "leases") for e in ("dev", "prod")),
            *(f"/v1/{what}?environment=dev&names=sales.orders,sales.eu_orders,hr.salaries,hr.no&{also}"
              for what in ("catalog", "leases")),
            "/v1/catalog?environment=dev&names=",
            *(f"/v1/explain?action={action}&dataset={name}&environment=dev&{also}"
              for action in ("discover", "load", "save") for name in ("sales.orders", "sales.us_orders", "hr.pay")),
        ]  # fmt: skip
        for path in reading:
            count += (await caller.get(path)).status_code == 200
        names = ["sales.orders", "sales.targets", "sales.eu_orders", "hr.salaries", "no.such"]
        asked = {"environment": "dev", "project": "p", "load": names, "save": [*names, *names[:2]]}
        count += (await caller.post("/v1/preflight", asked)).status_code == 200
        asked = {"environment": "prod", "load": ["sales.orders"]}
        count += (await caller.post("/v1/preflight", asked)).status_code == 200
    for caller in (service.audrey, service.ann):
        for about in ("", "&subject=user:ann", "&subject=service:nightly"):
            for at in ("", f"&at={past}" if past else ""):
                for path in (
                    f"/v1/catalog?environment=dev{about}{at}",
                    f"/v1/catalog?environment=dev&names=sales.targets,sales.orders{about}{at}",
                    f"/v1/explain?action=load&dataset=sales.targets&environment=dev{about}{at}",
                ):
                    count += (await caller.get(path)).status_code == 200
    return count


async def change_much(service: Running, turn: int) -> None:
    """Change what decisions depend on: definitions, variables, grants, policies, masks, groups."""
    root, sam = service.root, service.sam
    orders = dataset(f"s3://lake/sales/${{globals:place,here}}/orders_{turn}.csv", tags=[f"turn-{turn}"])
    assert (await sam.put("/v1/datasets/sales.orders", orders, after=turn)).status_code == 200
    eve = {"members": ["user:eve"] if turn % 2 else []}
    assert (await root.put("/v1/groups/planners", eve, after=turn - 1)).status_code in {200, 201}
    variables = {"variables": {"place": f"place-{turn}"}}
    assert (await root.put("/v1/environments/dev", variables, after=turn)).status_code == 200
    await root.make(f"/v1/grants/ann-targets-{turn}", {**TARGETS, "actions": ["load", "save"]})
    await root.make(f"/v1/policies/no-saving-{turn}", FORBID)
    if turn == 2:
        await sam.make("/v1/policies/masked", MASK)
    await root.make(f"/v1/grants/planners-{turn}", grant("group:planners", ["load"], on={"domain": "sales"}))


async def replayed(service: Running, **question: Any) -> tuple[int, list[str]]:
    """How many decisions of the ledger were computed again, and what is said of those that are not the same."""
    db = Database.open(service.url)
    try:
        found = [each async for each in replay_all(Archive(db, service.app.state.house.realms), Question(**question))]
    finally:
        await db.close()
    return len(found), [f"{each.row.event} {each.row.subject}: {each.fault}" for each in found if not each.equal]


async def test_every_decision_of_a_busy_service_is_the_same_after_many_changes(company: Running) -> None:
    count = await decide_much(company)
    for turn in (1, 2, 3):
        between = now()
        await change_much(company, turn)
        count += await decide_much(company, past=between)
    for turn in (1, 3):
        assert (await company.root.delete(f"/v1/policies/no-saving-{turn}", after=1)).status_code == 204
        assert (await company.root.delete(f"/v1/grants/ann-targets-{turn}", after=1)).status_code == 204

    assert count > 200
    assert await replayed(company) == (count, [])


async def decision(caller: Caller, id_: str) -> dict[str, Any]:
    """A row's decision, computed again."""
    found: dict[str, Any] = await caller.read(f"/v1/ledger/{id_}/decision")
    return found


async def test_a_row_is_shown_with_what_was_decided_then(company: Running) -> None:
    given = await company.ann.get("/v1/catalog?environment=dev")
    row = await row_of(company, given)
    orders = dataset("s3://lake/sales/moved.csv")
    await company.sam.put("/v1/datasets/sales.orders", orders, after=1)

    again = await decision(company.audrey, row["id"])

    assert (again["equal"], again["fault"]) == (True, None)
    assert again["recorded"] == again["computed"] == row["decided_sha256"]
    assert again["evaluator"] == again["evaluator_now"] == row["evaluator"]
    assert (again["subject"], again["revision"], again["at"]) == ("user:ann", row["revision"], row["at"])
    (told,) = again["decided"]
    assert (told["dataset"], told["version"], told["action"], told["allowed"]) == ("sales.orders", 1, "load", True)


async def test_a_denied_run_is_shown_with_every_verdict_and_its_rules(company: Running) -> None:
    await company.root.make("/v1/policies/no-saving", FORBID)
    asked = {"environment": "dev", "load": ["sales.orders"], "save": ["sales.orders", "hr.salaries"]}
    row = await row_of(company, await company.ann.post("/v1/preflight", asked))
    assert row["event"] == "access.denied"

    again = await decision(company.audrey, row["id"])

    assert again["equal"] is True
    assert [(d["action"], d["dataset"], d["known"], d["allowed"], d["because"]) for d in again["decided"]] == [
        ("load", "sales.orders", True, True, ["grant:analysts-load-orders"]),
        ("save", "hr.salaries", False, False, []),
        ("save", "sales.orders", True, False, ["no-saving"]),
    ]


async def test_of_their_own_rows_everybody_is_told_what_they_may_know_of_today(company: Running) -> None:
    await company.root.make("/v1/grants/ann-targets", TARGETS)
    row = await row_of(company, await company.ann.get("/v1/catalog?environment=dev"))
    assert {d["dataset"] for d in (await decision(company.ann, row["id"]))["decided"]} == {
        "sales.orders",
        "sales.targets",
    }
    await company.root.delete("/v1/grants/ann-targets", after=1)

    again = await decision(company.ann, row["id"])

    assert again["equal"] is True
    assert {d["dataset"] for d in again["decided"]} == {"sales.orders"}
    whole = await decision(company.audrey, row["id"])
    assert {d["dataset"] for d in whole["decided"]} == {"sales.orders", "sales.targets"}


async def test_the_rows_of_others_are_as_rows_that_never_were(company: Running) -> None:
    row = await row_of(company, await company.ann.get("/v1/catalog?environment=dev"))
    for id_ in (row["id"], str(uuid4()), "00000000-0000-0000-0000-000000000000", "ffffffff-" + "ffff-" * 3 + "f" * 12):
        problem = refusal(await company.eve.get(f"/v1/ledger/{id_}/decision"), 404)
        assert problem["detail"] == "There is nothing here, or nothing that you may know of."


async def test_a_row_without_a_decision_is_refused_with_words(company: Running) -> None:
    await company.ann.get("/v1/datasets/sales.orders")
    await company.ann.get("/v1/datasets/hr.salaries")
    for event in ("dataset.read", "access.denied"):
        (row,) = (await company.audrey.read(f"/v1/ledger?subject=user:ann&event={event}"))["items"]
        problem = refusal(await company.ann.get(f"/v1/ledger/{row['id']}/decision"), 422)
        assert event in problem["detail"]


async def test_that_a_decision_was_computed_again_is_written_down(company: Running) -> None:
    row = await row_of(company, await company.ann.get("/v1/catalog?environment=dev"))
    await decision(company.audrey, row["id"])
    (reading,) = (await company.audrey.read("/v1/ledger?event=decision.replayed"))["items"]
    assert (reading["subject"], reading["details"]) == ("user:audrey", {"id": row["id"], "equal": True})


OTHER_STATE = "(SELECT digest FROM subject_states WHERE id = 'eve')"


@pytest.mark.parametrize(
    "tampering",
    [
        "decided_sha256 = repeat('0', 64)",
        "decided_sha256 = NULL",
        "revision = 3",
        "revision = 9999",
        "revision = NULL",
        "environment = NULL",
        "datasets = '{sales.targets}'",
        f"subject_state = {OTHER_STATE}",
        f"subject_state = {OTHER_STATE}, subject = 'user:eve'",
        "subject = 'user:eve'",
        "subject_state = repeat('0', 64)",
        "details = details || jsonb_build_object('about_state', repeat('0', 64))",
        'details = details || \'{"at": "yesterday"}\'',
        "details = details || '{\"read_at\": 1}'",
    ],
)
async def test_a_row_that_was_tampered_with_is_caught(company: Running, tampering: str) -> None:
    await company.eve.catalog()
    await company.ann.catalog()
    assert (await replayed(company, subject="user:ann"))[1] == []
    await tamper(company, tampering)

    _, differing = await replayed(company)

    assert len(differing) == 1


async def tamper(service: Running, how: str) -> None:
    """Change Ann's row as somebody could who owns the database."""
    db = Database.open(owned(service.url))
    try:
        async with db.begin() as tx:
            await tx.execute(text("ALTER TABLE ledger DISABLE TRIGGER USER"))
            changed = await tx.execute(text(f"UPDATE ledger SET {how} WHERE subject = 'user:ann'"))
            assert changed.rowcount == 1
    finally:
        await db.close()


async def test_an_altered_subject_state_is_caught(company: Running) -> None:
    await company.ann.catalog()
    db = Database.open(owned(company.url))
    try:
        async with db.begin() as tx:
            await tx.execute(text("ALTER TABLE subject_states DISABLE TRIGGER USER"))
            await tx.execute(text("UPDATE subject_states SET groups = '{analysts,stewards}' WHERE id = 'ann'"))
    finally:
        await db.close()
    _, (differing,) = await replayed(company, subject="user:ann")
    assert "subject state" in differing


async def test_a_row_of_another_evaluator_says_so(company: Running) -> None:
    row = await row_of(company, await company.ann.get("/v1/catalog?environment=dev"))
    await tamper(company, "evaluator = 'cedar-1/1'")
    again = await decision(company.audrey, row["id"])
    assert (again["equal"], again["evaluator"]) == (True, "cedar-1/1")
    assert again["evaluator_now"] == row["evaluator"]


async def audit(service: Running, *options: str) -> subprocess.CompletedProcess[str]:
    """``muniment audit replay`` beside the service, on the same database."""
    run = functools.partial(
        subprocess.run,
        [MUNIMENT, "audit", "replay", *options],
        env=environment_for(service.issuer, database_url=service.url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return await asyncio.to_thread(run)


async def test_the_command_says_that_all_is_as_it_was_recorded(company: Running) -> None:
    await company.ann.catalog()
    await company.ann.post("/v1/preflight", {"environment": "dev", "load": ["hr.salaries"]})
    done = await audit(company)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Decisions computed again: 2; different from what was recorded: 0.\n"
    assert (await audit(company, "--subject", "user:eve")).stdout.startswith("Decisions computed again: 0;")


async def test_the_command_fails_and_names_the_row_that_differs(company: Running) -> None:
    await company.eve.catalog()
    row = await row_of(company, await company.ann.get("/v1/catalog?environment=dev"))
    await tamper(company, "decided_sha256 = repeat('0', 64), evaluator = 'other'")

    done = await audit(company, "--json")
    told = await audit(company, "--since", row["at"])

    *rows, count = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, count) == (1, {"decisions": 2, "differing": 1})
    assert [(each["subject"], each["equal"]) for each in rows] == [("user:ann", False), ("user:eve", True)]
    assert (rows[0]["id"], rows[0]["computed"], rows[0]["same_evaluator"]) == (row["id"], row["decided_sha256"], False)
    assert told.returncode == 1
    line, last = told.stdout.splitlines()
    assert f"catalog.served user:ann {row['id']}: recorded {'0' * 64}, computed {row['decided_sha256']}" in line
    assert line.endswith("(it was decided by another evaluator: other)")
    assert last == "Decisions computed again: 1; different from what was recorded: 1."


def test_the_command_takes_times_with_their_zone() -> None:
    for time in ("yesterday", "2026-03-01T00:00:00"):
        done = CliRunner().invoke(main, ["audit", "replay", "--since", time])
        assert done.exit_code == 2
        assert "--since" in done.output


async def test_the_revision_of_a_past_answer_is_not_the_one_of_the_question(company: Running) -> None:
    await company.ann.catalog()
    before = await revision_of(company)
    await company.root.make("/v1/grants/ann-targets", TARGETS)
    row = await row_of(company, await company.ann.get(f"/v1/catalog?environment=dev&at={before}"))
    again = await decision(company.ann, row["id"])
    assert (again["equal"], again["revision"]) == (True, before)
    assert json.dumps(again["decided"]).count("sales.targets") == 0
