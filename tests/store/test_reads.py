"""Leases between which nothing changed that matters to a dataset are told together, and what is left is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from muniment.api.identifiers import new_id
from muniment.core.decisions import Wanted
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.reads import MOST_SPANS
from muniment.store import ledger, reads
from muniment.store.databases import Database
from muniment.store.reads import Asked

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
ASKED = Asked("sales.orders", NOON - timedelta(days=1), NOON + timedelta(days=1))


def lease(second: int, revision: int, subject: str = "user:ann", *names: str, named: bool = False) -> Row:
    at = NOON + timedelta(seconds=second)
    return Row(
        id=new_id(at),
        at=at,
        event=Event.LEASE_SERVED,
        outcome=Outcome.ALLOWED,
        subject=subject,
        issuer="corp",
        subject_state=f"state of {subject}",
        address="",
        client="",
        credential="token",
        request_id=None,
        receipt=UUID(int=second),
        revision=revision,
        environment="prod",
        datasets=names,
        details={"named": True} if named else {},
    )


async def test_leases_between_changes_that_do_not_matter_are_told_together(db: Database) -> None:
    rows = [lease(n, revision) for n, revision in enumerate((3, 4, 7, 9))]
    rows += [lease(10, 9, "user:ben"), lease(11, 9, "user:eve", "sales.leads", named=True)]
    async with db.begin() as tx:
        await ledger.append(tx, [*rows, lease(12, 9, "user:sam", "sales.orders", named=True)])
    async with db.begin() as tx:
        assert await reads.lent_by(tx, ASKED) == (3, 9)
        lent = await reads.leases(tx, ASKED, [7])
        alone = await reads.leases(tx, ASKED, [])
    told = [(each.subject, each.revision, each.times) for each in lent.alike]
    assert told == [("user:sam", 9, 1), ("user:ben", 9, 1), ("user:ann", 9, 2), ("user:ann", 4, 2)]
    assert (lent.alike[-1].first, lent.alike[-1].last) == (NOON, NOON + timedelta(seconds=1))
    assert lent.alike[0].wanted == Wanted("prod")
    assert {(each.subject, each.times) for each in alone.alike} >= {("user:ann", 4)}
    assert (lent.left, lent.left_until) == (0, None)


async def test_what_is_not_looked_at_is_counted_and_found_by_asking_until_then(db: Database) -> None:
    """Seen to fail with the oldest ones left out unsaid."""
    many = MOST_SPANS + 3
    async with db.begin() as tx:
        await ledger.append(tx, [lease(n, n) for n in range(many)])
    changes = list(range(1, many))
    async with db.begin() as tx:
        lent = await reads.leases(tx, ASKED, changes)
        assert (len(lent.alike), lent.left) == (MOST_SPANS, 3)
        assert lent.left_until == NOON + timedelta(seconds=2)
        until = lent.left_until + timedelta(microseconds=1)
        rest = await reads.leases(tx, Asked(ASKED.dataset, ASKED.since, until), changes)
    assert [each.revision for each in (*lent.alike, *rest.alike)] == list(reversed(range(many)))
    assert rest.left == 0
