"""Who decides in whose place: one for each approver, until a moment; and who they are, as last seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from muniment.core.deputies import Deputyship
from muniment.core.subjects import Subject, SubjectState
from muniment.store import deputies, erasures, subjects
from muniment.store.subjects import Sightings

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=9)
SAM, THEO, VERA, EVE = (Subject.parse(f"user:{name}") for name in ("sam", "theo", "vera", "eve"))
FOR_SAM = Deputyship(SAM, VERA, NOON, LATER, "on holiday")
FOR_THEO = Deputyship(THEO, VERA, NOON, LATER)


async def test_an_approver_has_one_deputy_the_last_that_was_named(tx):
    await deputies.put(tx, FOR_SAM)
    await deputies.put(tx, FOR_THEO)
    assert await deputies.of(tx, SAM, NOON) == FOR_SAM
    assert await deputies.standing_for(tx, VERA, NOON) == [FOR_SAM, FOR_THEO]
    other = replace(FOR_SAM, deputy=EVE)
    await deputies.put(tx, other)
    assert await deputies.of(tx, SAM, NOON) == other
    assert await deputies.standing_for(tx, VERA, NOON) == [FOR_THEO]
    assert await deputies.standing(tx, NOON) == [other, FOR_THEO]


async def test_a_deputy_decides_until_the_end_and_no_longer(tx):
    await deputies.put(tx, FOR_SAM)
    assert await deputies.of(tx, SAM, LATER) is None
    assert await deputies.standing_for(tx, VERA, LATER) == []
    assert await deputies.end(tx, SAM) == FOR_SAM
    assert await deputies.end(tx, SAM) is None
    assert await deputies.standing(tx, NOON) == []


async def test_with_either_of_the_two_who_is_erased_it_goes(owner_tx):
    for erased in (SAM, VERA):
        await deputies.put(owner_tx, FOR_SAM)
        assert (await erasures.forget(owner_tx, str(erased), []))["deputies"] == 1
        assert await deputies.standing(owner_tx, NOON) == []


async def test_those_are_found_whom_a_rule_may_mean(db):
    states = [
        SubjectState(SAM, "corp", frozenset({"stewards"})),
        SubjectState(THEO, "corp", frozenset({"stewards", "others"})),
        SubjectState(VERA, "corp"),
    ]
    for state in states:
        await Sightings(db).note(state, NOON)
    async with db.begin() as tx:
        await deputies.put(tx, FOR_SAM)
        found = [known.state for known in await subjects.newest_among(tx, [str(VERA), "user:nobody"], ["others"])]
        assert found == states[1:]
        assert await subjects.newest_among(tx, [], []) == []
        assert [known.state for known in await subjects.principals_of(tx, VERA, NOON)] == states[:1]
        assert await subjects.principals_of(tx, VERA, LATER) == []
        assert await subjects.principals_of(tx, EVE, NOON) == []
