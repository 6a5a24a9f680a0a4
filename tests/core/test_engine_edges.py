"""Where an engine of bitmaps and memories could differ from plain Cedar: types, depths, times, places and people."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from muniment.core.datasets import Dataset
from muniment.core.decisions import UNSTEADY, Decided, Wanted, decide, list_all
from muniment.core.divergence import divergences
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.groups import Group
from muniment.core.leases import ends
from muniment.core.moments import read_datetime
from muniment.core.policies import Policy, checked
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action, schema_text
from muniment.core.second_key import check_save
from muniment.core.subjects import Attribute, Subject, SubjectState
from tests.core.oracle import Oracle

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROD = Wanted("prod")
SCHEMA = schema_text({"clearance": "long", "staff": "boolean"})
LOADS = 'permit (principal, action == Action::"load", resource)'
#: How deep an expression may nest for it to be read.
DEEPEST = 99


def dataset(name: str = "sales.orders", owner: str = "owners", sensitivity: int = 1) -> Dataset:
    return Dataset(name, owner, sensitivity=sensitivity, environments={"base": {"type": "pandas.CSVDataset"}})


def realm_of(*texts: str, datasets: Iterable[Dataset] = (), groups: Iterable[Group] = (), scope: str = "all") -> Realm:
    return Realm(
        revision=1,
        schema=SCHEMA,
        datasets={each.name: each for each in datasets} or {"sales.orders": dataset()},
        domains={"sales": Domain("sales", "owners"), "hr": Domain("hr", "owners")},
        environments={"prod": Environment("prod")},
        groups={group.name: group for group in groups},
        policies={f"p{number}": Policy(f"p{number}", text, scope=scope) for number, text in enumerate(texts)},
    )


def somebody(name: str = "user:ann", *groups: str, **attributes: Attribute) -> SubjectState:
    return SubjectState(Subject.parse(name), "corp", frozenset(groups), attributes)


def by_cedar(realm: Realm, asker: SubjectState) -> dict[str, Decided]:
    return Oracle(realm, asker).decided(list(realm.datasets.values()), PROD, NOON)


# --- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "[principal.clearance].contains(resource.sensitivity)",
        "[1, 5].contains(principal.clearance)",
        "[resource.sensitivity].containsAny([principal.clearance])",
        "principal.clearance == resource.sensitivity",
        "principal.clearance >= resource.sensitivity",
        "resource.sensitivity == principal.clearance",
        "principal.clearance + 0 == resource.sensitivity",
        "[principal.clearance] == [1]",
    ],
)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_true_never_stands_for_one_whoever_asked_first(effect, condition):
    """What a subject was known by may be of another type than its attribute has today."""
    realm = realm_of(
        f"{effect} (principal, action, resource) when {{ {condition} }};", "permit (principal, action, resource);"
    )
    for clearance in (1, True, 1, True, False, 0):
        asker = somebody(clearance=clearance)
        assert dict(list_all(realm, asker, PROD, NOON).decided) == by_cedar(realm, asker), clearance


@pytest.mark.parametrize("condition", ["[1, true].contains(1)", "[[1], [true]].contains([true])", "[true] == [1]"])
def test_sets_tell_booleans_from_numbers(condition):
    realm = realm_of(f"{LOADS} when {{ {condition} }};")
    assert dict(list_all(realm, somebody(), PROD, NOON).decided) == by_cedar(realm, somebody())


@pytest.mark.parametrize("condition", ['resource.tags.containsAll("x")', 'resource.tags.containsAny("x")'])
def test_a_forbid_that_takes_a_text_for_a_set_errs_and_so_forbids(condition):
    realm = realm_of(f"forbid (principal, action, resource) when {{ {condition} }};", f"{LOADS};")
    assert dict(list_all(realm, somebody(), PROD, NOON).decided) == by_cedar(realm, somebody())


# --- depths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["permit", "forbid"])
@pytest.mark.parametrize("clause", ["when", "unless"])
@pytest.mark.parametrize(
    "deep",
    [
        "(1" + " + 1" * (DEEPEST - 1) + ") == 3",
        " || ".join(["1 + 1 == 3"] * (DEEPEST - 2)),
        " || ".join(['action == Action::"save"'] * DEEPEST),
    ],
    ids=["sum", "alternatives to be asked of Cedar", "alternatives about the action"],
)
def test_whatever_is_taken_as_a_policy_can_be_decided_by(effect, clause, deep):
    text = f"{effect} (principal, action, resource) {clause} {{ {deep} }};"
    checked(Policy("p", text), schema=SCHEMA, environments=["prod"])
    realm, asker = realm_of(text, "permit (principal, action, resource);"), somebody()
    assert dict(list_all(realm, asker, PROD, NOON).decided) == by_cedar(realm, asker)
    orders = realm.datasets["sales.orders"]
    check_save(realm, asker, PROD, NOON, orders, decide(realm, asker, PROD, NOON, orders))


def test_the_deepest_policies_of_these_tests_are_the_deepest_there_are():
    text = f"{LOADS} unless {{ (1{' + 1' * DEEPEST}) == 3 }};"
    with pytest.raises(Exception, match="nesting"):
        checked(Policy("p", text), schema=SCHEMA, environments=["prod"])


# --- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", ["+0060", "-0099", "+2360"])
def test_an_offset_has_no_more_than_59_minutes(offset):
    text = f"2026-06-01T12:00:00{offset}"
    assert read_datetime(text) is None
    realm = realm_of(f'{LOADS} when {{ context.now < datetime("{text}") || true }};', f"{LOADS};")
    assert dict(list_all(realm, somebody(), PROD, NOON).decided) == by_cedar(realm, somebody())


LATER = "context.now.toTime().toMilliseconds() > 5"
GIVEN = {"sales.orders": {Action.LOAD}}


def lease_ends(realm: Realm) -> dict[str, datetime]:
    return dict(ends(realm, somebody(), PROD, NOON, NOON + timedelta(hours=12), GIVEN))


def test_a_policy_that_reckons_with_the_time_shortens_the_leases_of_those_alone_whom_it_can_mean():
    someone_else = f'{LOADS} when {{ principal in Group::"others" && {LATER} }};'
    assert lease_ends(realm_of(f"{LOADS};", someone_else)) == {}
    assert lease_ends(realm_of(f"{LOADS};", f"{LOADS} when {{ {LATER} }};")) == {"sales.orders": NOON + UNSTEADY}


def test_a_policy_that_reckons_with_the_time_shortens_the_leases_of_its_own_domain_alone():
    elsewhere = Policy("e", f"{LOADS} when {{ {LATER} }};", scope="hr")
    realm = realm_of(f"{LOADS};")
    assert lease_ends(replace(realm, policies={**realm.policies, "e": elsewhere})) == {}


def test_what_ends_before_an_unsteady_policy_would_is_told_with_its_own_end():
    moment = NOON + timedelta(minutes=1)
    ending = f'forbid (principal, action, resource) when {{ context.now >= datetime("{moment:%Y-%m-%dT%H:%M:%SZ}") }};'
    assert lease_ends(realm_of(f"{LOADS};", f"{LOADS} when {{ {LATER} }};", ending)) == {"sales.orders": moment}


# --- places ----------------------------------------------------------------------------------------


def test_what_went_and_came_again_is_compared_in_its_new_place():
    tagged = replace(dataset("sales.b"), tags=frozenset({"t"}))
    reads_tags = 'resource.tags.contains("t")'
    before = realm_of(f"{LOADS} when {{ {reads_tags} }};", datasets=[dataset("sales.a"), tagged]).ready()
    gone = before.after(2, [Change(Dataset, "sales.a", None), Change(Dataset, "sales.b", None)])
    back = gone
    for name in ("sales.a", "sales.b"):
        back = back.after(back.revision + 1, [Change(Dataset, name, before.datasets[name])])
    wider = Policy("p0", f"{LOADS} when {{ {reads_tags} || principal has staff }};")
    after = back.after(9, [Change(Policy, "p0", wider)])
    assert list(divergences(before, after, [somebody()], [PROD], NOON)) == []
    (found,) = divergences(before, after, [somebody(staff=True)], [PROD], NOON)
    assert (found.gained[Action.LOAD], dict(found.lost)) == ({"sales.a"}, {})


@pytest.mark.parametrize(
    "condition", ["principal.clearance >= resource.sensitivity", "principal.clearance + 1 > resource.sensitivity"]
)
def test_what_is_held_of_many_subjects_is_right_after_a_change(condition):
    realm = realm_of(f"{LOADS} when {{ {condition} }};").ready()
    askers = [somebody(f"user:u{number}", clearance=number) for number in range(300)]
    for asker in askers:
        list_all(realm, asker, PROD, NOON)
    changed = realm.after(2, [Change(Dataset, "sales.orders", dataset(sensitivity=150))])
    allowed = [bool(list_all(changed, asker, PROD, NOON).names(Action.LOAD)) for asker in askers]
    assert allowed == [number >= 150 for number in range(300)]


@pytest.mark.parametrize(
    "condition",
    [
        "principal.clearance >= resource.sensitivity",
        "principal.clearance + 1 > resource.sensitivity",
        "resource.sensitivity + 1 > 0",
        'resource.owner in Group::"owners"',
        "principal in resource.owner",
    ],
)
def test_what_is_held_keeps_no_realm_alive(condition):
    realm = realm_of(f"{LOADS} when {{ {condition} }};", groups=[Group("owners")]).ready()
    earlier = []
    for number in range(5):
        list_all(realm, somebody(f"user:u{number}", clearance=number), PROD, NOON)
        earlier.append(weakref.ref(realm))
        realm = realm.after(realm.revision + 1, [Change(Dataset, "sales.orders", dataset(sensitivity=number))])
    gc.collect()
    assert [each() for each in earlier] == [None] * 5


def test_what_is_tried_leaves_little_behind():
    """A change that is only tried shares with the standing realm whatever it leaves as it is."""
    realm = realm_of(f"{LOADS};").ready()
    for number in range(1_100):
        tried = Policy("tried", f'{LOADS} when {{ resource.name like "*{number}*" }};')
        realm.after(2, [Change(Policy, "tried", tried)])
    assert len(realm.shelf.index.patterns) <= 1_024
    assert realm.shelf.matching(("", "orders", "")) == realm.shelf.every


@pytest.mark.parametrize("others", ["owner", "layer"])
def test_names_are_told_apart_without_an_index_of_all(others):
    text = f"{LOADS} when {{ principal has team && (resource.name == principal.team || resource has {others}) }};"
    realm = realm_of(text, datasets=[dataset("sales.a"), dataset("sales.b")]).ready()
    assert not [attributes for attributes in realm.shelf.index.kinds if "name" in attributes]
    for team in ("sales.a", "none"):
        asker = somebody(team=team)
        assert dict(list_all(realm, asker, PROD, NOON).decided) == by_cedar(realm, asker)


# --- people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sales.orders", "sales.more"], ids=["handed over", "new"])
def test_who_is_in_the_group_of_a_new_owner_is_told_apart_from_others(name):
    before = realm_of(f"{LOADS} when {{ principal in resource.owner }};").ready()
    after = before.after(2, [Change(Dataset, name, dataset(name, owner="heirs"))])
    people = [somebody("user:cy"), somebody("user:ann", "heirs"), somebody("user:bob", "owners")]
    gained = {str(s.subject) for d in divergences(before, after, people, [PROD], NOON) for s in d.subjects if d.gained}
    assert gained == {"user:ann"}
