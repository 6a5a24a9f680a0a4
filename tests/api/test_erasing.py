"""A person is erased from the ledger and beside it, months are held, and what is erased stays told and proven."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import RestrictViolation

from muniment.core.erasures import names_of
from muniment.core.holds import Hold
from muniment.core.problems import Conflict, Invalid
from muniment.flows.erase_person import Erased, Request, erase_person
from muniment.flows.hold_rows import hold_rows, release_rows
from muniment.keeping import Keeping, keeping
from muniment.store import postgres_binaries
from tests.api.running import Running, grant
from tests.owning import libpq, owned

pytestmark = pytest.mark.anyio

BECAUSE = "request 123"
ANN = Request("user:ann", BECAUSE, "root")


@asynccontextmanager
async def kept(service: Running) -> AsyncIterator[Keeping]:
    service.settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with keeping(service.settings, owned(service.url), "a test") as keeper:
        keeper.keys.made()
        yield keeper


async def erased(service: Running, request: Request = ANN, *, dry_run: bool = False) -> Erased:
    async with kept(service) as keeper:
        return await erase_person(keeper.db, keeper.maintenance, keeper.keys, keeper.occasion, request, dry_run=dry_run)


def told(service: Running, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(libpq(service.url)) as connection:
        return connection.execute(question).fetchall()


async def lived(service: Running) -> None:
    """Ann used what she may, asked for more, and others did things that name her."""
    await service.ann.catalog()
    await service.eve.catalog()
    await service.root.make("/v1/grants/for-ann", grant("user:ann", ["load"], on={"domain": "sales"}))
    await service.root.get("/v1/subjects/user:ann")


async def test_who_and_details_go_and_everything_else_stays(company: Running) -> None:
    await lived(company)
    plain = "SELECT id, at, event, outcome, revision, datasets, policies, decided_sha256, seq, xact::text FROM ledger"
    before = told(company, f"{plain} ORDER BY seq")
    others = told(company, "SELECT id, subject, details FROM ledger WHERE subject = 'user:eve' ORDER BY id")

    result = await erased(company)

    assert result.who >= 1
    assert result.details >= 1
    assert result.beside["subjects"] == 1
    assert told(company, f"{plain} WHERE event <> 'ledger.erased' ORDER BY seq") == before
    assert told(company, "SELECT id, subject, details FROM ledger WHERE subject = 'user:eve' ORDER BY id") == others
    who = "SELECT DISTINCT subject, subject_state, address, client, credential FROM ledger WHERE who_sha256 IS NOT NULL"
    assert told(company, who) == [("erased",) * 5]
    assert told(company, "SELECT DISTINCT details::text FROM ledger WHERE details_sha256 IS NOT NULL") == [
        ('{"erased": true}',)
    ]
    named = "SELECT count(*) FROM ledger WHERE subject = 'user:ann' OR details::text LIKE '%user:ann%'"
    assert told(company, named) == [(0,)]
    for table in ("subjects", "sessions", "use_reports"):
        assert told(company, f"SELECT count(*) FROM {table} WHERE to_jsonb({table})::text LIKE '%ann%'") == [(0,)]
    assert told(company, "SELECT count(*) FROM subject_states WHERE id = 'ann'") == [(0,)]


async def test_what_is_erased_is_told_by_signed_rows_without_the_person(company: Running) -> None:
    await lived(company)
    await erased(company)

    rows = told(company, "SELECT details FROM ledger WHERE event = 'ledger.erased' ORDER BY seq")
    signed = [details for (details,) in rows if "signature" in details]
    assert all(details["because"] == BECAUSE for details in signed)
    who = {id_ for details in signed for id_ in details["who"]}
    details_of = {id_ for details in signed for id_ in details["details"]}
    assert {(id_,) for id_ in who} == set(told(company, "SELECT id::text FROM ledger WHERE who_sha256 IS NOT NULL"))
    assert {(id_,) for id_ in details_of} == set(
        told(company, "SELECT id::text FROM ledger WHERE details_sha256 IS NOT NULL")
    )
    (copies,) = [details["copies"] for (details,) in rows if "copies" in details]
    assert set(copies) == details_of
    assert "user:ann" not in str(rows)


async def test_the_lines_of_the_realm_keep_the_name_and_it_is_said(company: Running) -> None:
    await lived(company)
    result = await erased(company)
    assert result.remaining["grants"] == 1
    assert set(result.remaining) <= {"grants", "groups", "revisions", "requests", "enrolments", "policies"}


async def test_a_dry_run_changes_nothing_and_says_the_same(company: Running) -> None:
    """A reason that names the person, and what is no person, are refused."""
    await lived(company)
    for request in (Request("user:ann", "ann asked", "root"), Request("service:nightly", BECAUSE, "root")):
        with pytest.raises(Invalid):
            await erased(company, request)
    everything = "SELECT md5(string_agg(to_jsonb(ledger)::text, ',' ORDER BY seq)) FROM ledger"
    before = told(company, everything)
    foreseen = await erased(company, dry_run=True)
    assert told(company, everything) == before
    done = await erased(company)
    assert (foreseen.who, foreseen.details) == (done.who, done.details)
    again = await erased(company)
    assert (again.who, again.details, again.beside) == (0, 0, {})


async def test_a_second_erasure_keeps_the_commitments_of_the_first(company: Running) -> None:
    """Of a row that names two, the details go once; what is left of the copy goes with the second."""
    await lived(company)
    both = "SELECT id::text, details_sha256 FROM ledger WHERE details_sha256 IS NOT NULL"
    of_two = grant("user:eve", ["load"], on={"domain": "sales"}, because="as user:ann had it")
    await company.root.make("/v1/grants/for-two", of_two)
    await erased(company)
    before = dict(told(company, both))
    await erased(company, Request("user:eve", BECAUSE, "root"))
    assert before.items() <= dict(told(company, both)).items()


async def test_nobody_who_is_held_or_still_provisioned_is_erased(company: Running) -> None:
    """Seen to fail with the looks at holds left out."""
    await lived(company)
    async with kept(company) as keeper:
        occasion = keeper.occasion
        hold = Hold(occasion.row_id, occasion.at, "a law suit", "root", subject="user:ann")
        made = await hold_rows(keeper.db, keeper.keys, occasion, hold)
    with pytest.raises(Conflict, match="a law suit"):
        await erased(company)
    async with kept(company) as keeper:
        await release_rows(keeper.db, keeper.keys, keeper.occasion, made.id, "it is over", "root")
    async with kept(company) as keeper:
        occasion = keeper.occasion
        early = Hold(occasion.row_id, occasion.at, "an audit", "root", until=occasion.at + timedelta(hours=1))
        made = await hold_rows(keeper.db, keeper.keys, occasion, early)
    with pytest.raises(Conflict, match="an audit"):
        await erased(company)
    assert (await company.ann.get("/v1/ledger/holds")).status_code == 403
    assert (await company.nobody.get("/v1/ledger/holds")).status_code == 401
    held = (await company.audrey.read("/v1/ledger/holds"))["items"]
    assert [(hold["id"], hold["because"]) for hold in held] == [(str(made.id), "an audit")]
    async with kept(company) as keeper:
        await release_rows(keeper.db, keeper.keys, keeper.occasion, made.id, "it is over", "root")
        with pytest.raises(Conflict, match="released already"):
            await release_rows(keeper.db, keeper.keys, keeper.occasion, made.id, "again", "root")
    assert (await company.audrey.read("/v1/ledger/holds"))["items"] == []
    assert (await erased(company)).who


async def test_a_decision_of_an_erased_row_says_why_it_is_not_computed_again(company: Running) -> None:
    await lived(company)
    (row,) = told(company, "SELECT id FROM ledger WHERE subject = 'user:ann' AND event = 'catalog.served' LIMIT 1")
    await erased(company)
    answer = await company.audrey.read(f"/v1/ledger/{row[0]}/decision")
    assert answer["fault"] == "Who asked was erased, so what was known of them is gone (ledger.erased says why)."
    assert not answer["equal"]


#: What the owner could try past the function, while it says that it erases.
PAST_THE_FUNCTION = {
    "another field": "UPDATE ledger SET purpose = 'x'",
    "no commitment": "UPDATE ledger SET subject = 'erased'",
    "somebody else": "UPDATE ledger SET subject = 'user:bob', who_sha256 = '\\x00'",
    "other details": "UPDATE ledger SET details = '{}', details_sha256 = '\\x00'",
    "a deletion": "DELETE FROM ledger",
}


def test_the_guard_lets_an_erasure_pass_and_nothing_else(database: str) -> None:
    columns = "id, at, event, outcome, subject, issuer, subject_state, address, client, datasets, policies, details"
    values = "gen_random_uuid(), '2026-03-02', 'x', 'done', 'user:ann', '', '', '', '', '{}', '{}', '{\"a\": 1}'"
    with psycopg.connect(libpq(database)) as owner:
        owner.execute("SELECT ledger_partition('2026-03-01')")
        owner.execute(f"INSERT INTO ledger ({columns}) VALUES ({values})")
        owner.commit()
        for statement in PAST_THE_FUNCTION.values():
            owner.execute("SELECT set_config('muniment.erasing', pg_current_xact_id()::text, true)")
            with pytest.raises(RestrictViolation):
                owner.execute(statement)
            owner.rollback()


def test_only_the_person_is_taken_from_a_text() -> None:
    names = names_of("user:ann", {"ann.lee@example.org", "d1gest"})
    kept = ["user:anna", "joann", "ann@example.org", "sales.ann_orders", "user:ann.b", "group:annals", "an"]
    assert names.without(kept) == kept
    assert names.without({"by": "user:ann", "why": "ann, and user:ann.", 'User::"ann"': ["ann.lee@example.org"]}) == {
        "by": "erased",
        "why": "erased, and erased.",
        'User::"erased"': ["erased"],
    }


def dump_of(service: Running) -> str:
    program = postgres_binaries.find(None).program("pg_dump")
    return subprocess.run([program, libpq(service.url)], capture_output=True, text=True, check=True).stdout


async def test_a_dump_of_the_database_holds_the_person_only_where_it_is_said(company: Running) -> None:
    """With a name that is no part of any other word."""
    zoe = company.somebody("eve", sub="zoe-7f3q", groups=["analysts"])
    await zoe.catalog()
    await zoe.get("/v1/whoami")
    result = await erased(company, Request("user:zoe-7f3q", BECAUSE, "root"))
    assert result.who
    assert result.remaining == {}
    assert "zoe-7f3q" not in dump_of(company)
