"""The engine decides as Cedar does, for every dataset, action and reason; and the laws that follow."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from datetime import timedelta
from random import Random

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muniment.core import decisions
from muniment.core.catalog import catalog_of
from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Decision, Memory, Wanted, boundaries, list_all
from muniment.core.domains import Domain
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.policies import Policy
from muniment.core.realm import Change, Realm
from muniment.core.schema import DATA_ACTIONS, Action
from tests.core.comparisons import differences, governing_differences
from tests.core.oracle import (
    DOMAINS,
    LOCAL,
    NAMES,
    NOON,
    SCHEMA,
    Case,
    case_of,
    dataset_of,
    rule_of,
)

RANDOMS = st.randoms(use_true_random=False)
SEEDS = range(60)


def listed(case: Case) -> dict[str, Decided]:
    return dict(list_all(case.realm, case.asker, case.wanted, case.at).decided)


def allowed(case: Case) -> set[tuple[str, Action]]:
    return {
        (name, action) for name, decided in listed(case).items() for action in DATA_ACTIONS if decided[action].allowed
    }


@given(RANDOMS)
def test_the_engine_decides_as_cedar_does_reasons_included(random):
    assert differences(case_of(random)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_engine_decides_as_cedar_does_on_realms_of_every_kind(seed):
    assert differences(case_of(Random(seed), rules=14)) == []


@settings(max_examples=15)
@given(RANDOMS)
def test_governing_is_decided_as_cedar_does(random):
    assert governing_differences(case_of(random)) == []


def test_between_a_third_and_two_thirds_of_the_generated_questions_are_allowed():
    cases = [case_of(Random(seed), rules=14) for seed in SEEDS]
    asked = sum(len(case.realm.datasets) * len(DATA_ACTIONS) for case in cases)
    share = sum(len(allowed(case)) for case in cases) / asked
    assert 0.3 <= share <= 0.7


# --- laws ------------------------------------------------------------------------------------------


@given(RANDOMS)
def test_without_policies_nothing_is_allowed(random):
    assert allowed(case_of(random).with_rules(())) == set()


@given(RANDOMS)
def test_the_order_of_policies_never_matters(random):
    case = case_of(random)
    assert listed(case) == listed(case.with_rules(reversed(case.rules)))


@given(RANDOMS)
def test_adding_a_forbid_never_grants(random):
    case = case_of(random)
    assert allowed(case.with_rules([*case.rules, rule_of(random, "new", "forbid")])) <= allowed(case)


@given(RANDOMS)
def test_adding_a_permit_never_takes_away(random):
    case = case_of(random)
    assert allowed(case.with_rules([*case.rules, rule_of(random, "new", "permit")])) >= allowed(case)


@given(RANDOMS)
def test_the_reasons_alone_give_the_same_verdict(random):
    case = case_of(random)
    for name, decided in listed(case).items():
        for action in DATA_ACTIONS:
            reasons = {*decided[action].because, *decided[action].beaten}
            alone = case.with_rules(rule for rule in case.rules if rule.id in reasons)
            again = list_all(alone.realm, case.asker, case.wanted, case.at, only=[name]).decided[name][action]
            assert again == decided[action]


@given(RANDOMS, st.floats(0, 1, exclude_max=True))
def test_a_listing_holds_until_its_end(random, part):
    case = case_of(random)
    listing = list_all(case.realm, case.asker, case.wanted, case.at)
    end = listing.until or case.at + timedelta(days=400)
    last = end - timedelta(microseconds=1)
    for moment in (min(case.at + (end - case.at) * part, last), last):
        again = list_all(case.realm, case.asker, case.wanted, moment)
        assert again.decided == listing.decided
        assert again.until == listing.until


@given(RANDOMS)
def test_a_listing_ends_where_a_policy_changes_its_mind_and_nowhere_else(random):
    case = case_of(random)
    until = list_all(case.realm, case.asker, case.wanted, case.at).until
    assert until is None or until in boundaries(case.realm.concerning(case.asker), case.at)


@given(RANDOMS)
def test_the_catalog_holds_exactly_what_may_be_used_and_is_alive(random):
    case = case_of(random)
    listing = list_all(case.realm, case.asker, case.wanted, case.at)
    usable = {name for name, action in allowed(case) if action is not Action.DISCOVER}
    catalog = catalog_of(case.realm, listing, case.wanted)
    assert set(catalog.names) == {name for name in usable if _in_catalogs(case.realm.datasets[name])}
    assert list(catalog.names) == sorted(catalog.names)


def _in_catalogs(dataset: Dataset) -> bool:
    """A factory pattern is in no catalog: what it makes is, where it is asked for."""
    return dataset.served and not dataset.is_pattern


@given(RANDOMS)
def test_a_realm_changed_step_by_step_is_the_realm_built_at_once(random):
    case = case_of(random)
    stepped = case.realm
    listed(case)  # derives everything that a step then patches
    assert stepped.postings
    for number in range(6):
        stepped = stepped.after(number + 2, [_change(random, stepped) for _ in range(random.randint(1, 3))])
    fresh = replace(stepped)
    assert stepped == fresh
    assert dict(stepped.compiled) == dict(fresh.compiled)
    assert {a: sorted(ids) for a, ids in stepped.postings.items()} == {
        a: sorted(ids) for a, ids in fresh.postings.items()
    }
    assert listed(replace(case, realm=stepped)) == listed(replace(case, realm=fresh))


def _change(random: Random, standing: Realm) -> Change:
    id_ = f"p{random.randint(0, 9)}"
    name = random.choice(NAMES)
    return random.choice(
        [
            Change(Policy, id_, rule_of(random, id_, random.choice(["permit", "forbid"])).policy),
            Change(Policy, id_, None),
            Change(Grant, "g", Grant("g", random.choice(LOCAL), frozenset({Action.LOAD}), random.choice(DOMAINS))),
            Change(Grant, "g", None),
            Change(Dataset, name, dataset_of(random, name)),
            Change(Dataset, name, None),
            Change(Domain, "hr", Domain("hr", random.choice(LOCAL))),
            Change(
                type(next(iter(standing.groups.values()))),
                "team",
                replace(standing.groups["team"], members=frozenset()),
            ),
        ]
    )


# --- by example ------------------------------------------------------------------------------------


def test_a_forbid_that_errs_forbids_and_says_which_it_was():
    case = case_of(Random(0)).with_rules(())
    dataset = dataset_of(Random(0), "sales.orders")
    erring = Policy("clearance", "forbid (principal, action, resource) when { principal.clearance > 1 };")
    quoted = Policy("purpose", 'forbid (principal, action, resource) when { context.environment == "none" };')
    allowing = Policy("all", "permit (principal, action, resource);")
    house = replace(
        case.realm, policies={p.id: p for p in (erring, quoted, allowing)}, datasets={dataset.name: dataset}
    )
    asker = replace(case.asker, attributes={})
    decided = list_all(house, asker, Wanted("prod"), NOON).decided["sales.orders"]
    assert decided.load == Decision(allowed=False, because=("clearance",), beaten=("all",))


def test_a_forbid_that_errs_reaches_no_further_than_its_scope():
    erring = Policy("p", "forbid (principal, action, resource) when { principal.clearance > 1 };", scope="hr")
    allowing = Policy("all", "permit (principal, action, resource);")
    case = case_of(Random(0))
    datasets = {name: dataset_of(Random(0), name) for name in ("sales.orders", "hr.people")}
    house = Realm(1, SCHEMA, datasets, case.realm.domains, policies={"p": erring, "all": allowing})
    listing = list_all(house, replace(case.asker, attributes={}), Wanted("prod"), NOON)
    assert listing.names(Action.LOAD) == ("sales.orders",)


@pytest.mark.parametrize(
    "condition",
    ["[principal.team].contains(resource.classification)", "resource.tags.containsAny([principal.team])"],
)
def test_a_forbid_errs_by_an_element_of_a_set(condition):
    erring = Policy("p", f'forbid (principal, action == Action::"load", resource) when {{ {condition} }};')
    allowing = Policy("all", "permit (principal, action, resource);")
    case = case_of(Random(0))
    datasets = {"hr.people": dataset_of(Random(0), "hr.people")}
    house = Realm(1, SCHEMA, datasets, case.realm.domains, policies={"p": erring, "all": allowing})
    decided = list_all(house, replace(case.asker, attributes={}), Wanted("prod"), NOON).decided["hr.people"]
    assert decided.load == Decision(allowed=False, because=("p",), beaten=("all",))


@pytest.mark.parametrize("words", ["in", "is Group in"])
def test_an_owner_that_leaves_a_group_is_in_it_no_longer(words):
    text = f'permit (principal, action, resource) when {{ resource.owner {words} Group::"guild" }};'
    owned = replace(dataset_of(Random(0), "hr.people"), owner="team")
    groups = {"team": Group("team", parents=frozenset({"guild"})), "guild": Group("guild")}
    standing = Realm(1, SCHEMA, {"hr.people": owned}, groups=groups, policies={"p": Policy("p", text)})
    asker = case_of(Random(0)).asker
    assert list_all(standing, asker, Wanted("prod"), NOON).names(Action.LOAD) == ("hr.people",)
    left = standing.after(2, [Change(Group, "team", Group("team"))])
    assert list_all(left, asker, Wanted("prod"), NOON).names(Action.LOAD) == ()


def test_a_provider_cannot_put_somebody_into_the_group_of_one_person():
    case = case_of(Random(0)).with_rules(())
    asker = replace(case.asker, groups=frozenset({"user:boss"}))
    assert "user:boss" not in case.realm.all_groups_of(asker)


def test_a_local_group_is_not_entered_by_a_token_that_names_it():
    case = case_of(Random(1))
    asker = replace(case.asker, groups=frozenset({"office"}))
    house = replace(case.realm, groups={"office": replace(case.realm.groups["office"], members=frozenset())})
    assert "office" not in house.all_groups_of(asker)


def test_a_decision_has_no_truth_value():
    with pytest.raises(TypeError, match=r"decision\.allowed"):
        bool(Decision(allowed=True))


def test_the_evaluator_that_the_ledger_names_is_the_one_that_decides():
    assert f"cedarpy-{importlib.metadata.version('cedarpy')}" == decisions.EVALUATOR.partition("/")[2]
    assert cedarpy.Decision.Deny.value == "Deny"


def test_what_is_remembered_ends_at_its_moment_and_the_oldest_goes_first():
    memory: Memory[str, int] = Memory(2)
    memory.put(7, "a", 1, NOON)
    memory.put(7, "b", 2, None)
    assert memory.get(7, "a", NOON) is None
    assert memory.get(7, "a", NOON - timedelta(microseconds=1)) == 1
    memory.put(7, "c", 3, None)
    held = (memory.get(7, "a", NOON - timedelta(1)), memory.get(7, "b", NOON), memory.get(7, "c", NOON))
    assert held == (1, None, 3)


def test_a_newer_revision_forgets_all_that_was_remembered_and_hears_of_no_older_one():
    memory: Memory[str, int] = Memory(10)
    memory.put(7, "a", 1, None)
    assert memory.get(8, "a", NOON) is None
    memory.put(8, "b", 2, None)
    memory.put(7, "a", 1, None)
    assert (memory.get(7, "a", NOON), memory.get(8, "a", NOON), memory.get(8, "b", NOON)) == (None, None, 2)


def test_what_weighs_too_much_is_not_remembered():
    memory: Memory[str, int] = Memory(10)
    memory.put(7, "a", 1, None, weight=6)
    memory.put(7, "b", 2, None, weight=6)
    memory.put(7, "c", 3, None, weight=11)
    assert [memory.get(7, key, NOON) for key in "abc"] == [None, 2, None]


def test_a_listing_is_not_used_for_a_moment_before_it_held():
    until = 'context.now < datetime("2026-06-01T12:00:00Z")'
    policy = Policy("p", f'permit (principal, action == Action::"load", resource) unless {{ {until} }};')
    house = Realm(1, SCHEMA, {"sales.orders": Dataset("sales.orders", "team")}, policies={"p": policy})
    listing = list_all(house, case_of(Random(1)).asker, Wanted("prod"), NOON)
    assert listing.names(Action.LOAD)
    assert (listing.holds(NOON), listing.holds(NOON - timedelta(milliseconds=2))) == (True, False)
    memory: Memory[str, str] = Memory(10)
    memory.put(1, "ann", "allowed", listing.until, since=listing.since)
    assert memory.get(1, "ann", NOON) == "allowed"
    assert memory.get(1, "ann", NOON - timedelta(hours=1)) is None
