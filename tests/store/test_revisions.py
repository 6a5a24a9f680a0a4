"""Revisions: numbered in the order of commits, and dated without running backwards."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from muniment.core.occasions import Occasion
from muniment.core.problems import Invalid
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.store import revisions

pytestmark = pytest.mark.anyio

SAM = Occasion(SubjectState(Subject(Kind.USER, "sam"), "corp"), datetime(2026, 3, 2, tzinfo=UTC), uuid4())


async def test_revision_0_is_there_from_the_beginning(tx):
    assert await revisions.newest(tx) == 0
    assert (await revisions.made(tx, 0)).reason == "The empty realm."


async def test_a_revision_tells_who_made_it_in_which_request_and_why(tx):
    number = await revisions.next(tx, SAM, "The quarter ends.")
    made = await revisions.made(tx, number)
    assert (made.revision, made.subject, made.reason) == (1, "user:sam", "The quarter ends.")
    assert (made.subject_state, made.request_id) == (SAM.asker.digest, SAM.request_id)


async def test_a_revision_that_was_never_made_is_refused(tx):
    with pytest.raises(Invalid, match="There is no revision 5; the newest is 0"):
        await revisions.made(tx, 5)


async def test_changes_at_the_same_time_get_numbers_in_the_order_of_their_commits(db):
    committed = []

    async def change():
        async with db.begin() as tx:
            number = await revisions.next(tx, SAM, "")
            await asyncio.sleep(0.01)
        committed.append(number)

    await asyncio.gather(*(change() for _ in range(8)))
    assert committed == list(range(1, 9))


async def test_a_change_that_is_undone_uses_no_number(db):
    async def fails():
        async with db.begin() as tx:
            await revisions.next(tx, SAM, "")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    async with db.begin() as tx:
        assert await revisions.next(tx, SAM, "") == 1


async def test_time_does_not_run_backwards_when_the_clock_does(db, owner_db):
    """As if the clock had been set back by an hour after the last revision."""
    async with owner_db.begin() as tx:
        await tx.execute(text("ALTER TABLE revisions DISABLE TRIGGER refuse_to_forget"))
        await tx.execute(text("UPDATE revisions SET at = clock_timestamp() + interval '1 hour'"))
    async with db.begin() as tx:
        number = await revisions.next(tx, SAM, "")
        assert (await revisions.made(tx, number)).at == (await revisions.made(tx, 0)).at


async def test_a_moment_has_the_revision_that_was_current_then(db):
    for _ in range(3):
        async with db.begin() as tx:
            await revisions.next(tx, SAM, "")
    async with db.begin() as tx:
        second = (await revisions.made(tx, 2)).at
        assert await revisions.at(tx, second) == 2
        assert await revisions.at(tx, second - timedelta(microseconds=1)) == 1
        assert await revisions.at(tx, second + timedelta(days=1)) == 3
        assert await revisions.at(tx, datetime(1999, 1, 1, tzinfo=UTC)) == 0
