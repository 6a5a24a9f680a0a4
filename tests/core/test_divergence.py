"""Where a change divides two realms: found by what changed, held against deciding everything twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muniment.core.decisions import Wanted, list_all
from muniment.core.divergence import Divergence, divergences
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import SubjectState
from tests.core.generated_realms import asker_of, case_of, changes_of

Told = Mapping[tuple[str, Wanted], tuple[set[tuple[Action, str]], set[tuple[Action, str]], set[str]]]

WANTED = (Wanted("dev"), Wanted("prod"), Wanted("prod", purpose="research"))


def people_of(random: Random) -> list[SubjectState]:
    """Some subjects, each once."""
    return list({str(state.subject): state for state in (asker_of(random) for _ in range(12))}.values())


def found(found: Iterable[Divergence]) -> Told:
    return {
        (str(state.subject), each.wanted): (
            {(action, name) for action, names in each.gained.items() for name in names},
            {(action, name) for action, names in each.lost.items() for name in names},
            set(each.obliged),
        )
        for each in found
        for state in each.subjects
    }


def plainly(before: Realm, after: Realm, states: Iterable[SubjectState], at) -> Told:
    """The same by deciding about every dataset, for every subject, in both realms."""
    told = {}
    for state in states:
        for wanted in WANTED:
            then, now = (list_all(realm, state, wanted, at) for realm in (before, after))
            old = {(action, name) for action in DATA_ACTIONS for name in then.names(action)}
            new = {(action, name) for action in DATA_ACTIONS for name in now.names(action)}
            loads = set(then.names(Action.LOAD)) & set(now.names(Action.LOAD))
            obliged = (set(then.obliged_names()) ^ set(now.obliged_names())) & loads
            if old != new or obliged:
                told[str(state.subject), wanted] = (new - old, old - new, obliged)
    return told


@settings(max_examples=settings.default.max_examples // 2)
@given(st.randoms(use_true_random=False))
def test_it_is_what_deciding_everything_twice_would_find(random):
    case = case_of(random)
    people = people_of(random)
    before = case.realm.ready()
    changes = changes_of(random, before)
    after = before.after(before.revision + 1, changes)
    assert found(divergences(before, after, people, WANTED, case.at)) == plainly(before, after, people, case.at)


@pytest.mark.parametrize("seed", range(40))
def test_several_changes_at_once_are_taken_together(seed):
    random = Random(seed)
    case = case_of(random)
    people = people_of(random)
    before = case.realm.ready()
    changes = {}
    standing = before
    for _ in range(4):
        made = changes_of(random, standing)
        standing = standing.after(standing.revision + 1, made)
        changes.update({(change.kind, change.key): change for change in made})
    after = before.after(before.revision + 1, changes.values())
    assert found(divergences(before, after, people, WANTED, case.at)) == plainly(before, after, people, case.at)


def test_where_nothing_changed_there_is_nothing_to_tell():
    random = Random(7)
    case = case_of(random)
    before = case.realm.ready()
    after = before.after(before.revision + 1, ())
    assert list(divergences(before, after, people_of(random), WANTED, case.at)) == []


@pytest.mark.parametrize("seed", range(10))
def test_realms_that_were_built_apart_are_compared_as_well(seed):
    random = Random(seed)
    one, other = case_of(random), case_of(random)
    people = people_of(random)
    assert found(divergences(one.realm, other.realm, people, WANTED, one.at)) == plainly(
        one.realm, other.realm, people, one.at
    )
