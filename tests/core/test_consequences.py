"""What a change does to people is exactly the difference between deciding before it and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.consequences import (
    Consequences,
    Effect,
    circumstances,
    consequences,
    topmost,
)
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Wanted, decide, decide_governing
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid
from muniment.core.realm import Change, Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.generated_realms import MADE, NOON, SCHEMA, asker_of, case_of, changes_of

ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}))
BOB = SubjectState(Subject.parse("user:bob"), "corp")
DEFINITION = {"type": "pandas.CSVDataset", "filepath": "orders.csv"}
ANALYSTS_LOAD = 'permit (principal in Group::"analysts", action == Action::"load", resource in Domain::"sales");'


def realm_of(*policies: Policy, **nouns: object) -> Realm:
    made = {name: Dataset(name, "team", environments={"base": DEFINITION}) for name in ("sales.orders", "hr.people")}
    standing = Realm(
        1,
        SCHEMA,
        datasets=made,
        domains={name: Domain(name, "team") for name in ("sales", "sales.emea", "hr")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        policies={policy.id: policy for policy in policies},
    )
    return replace(standing, **nouns)


def changed(realm: Realm, *changes: Change) -> Realm:
    return realm.after(realm.revision + 1, changes)


def put(noun: Policy | Grant | Dataset | Domain | Group | Environment) -> Change:
    return Change(type(noun), noun.id if isinstance(noun, Policy | Grant) else noun.name, noun)


def what(before: Realm, after: Realm, *states: SubjectState) -> Consequences:
    return consequences(before, after, states or (ANN, BOB), circumstances(before, after), NOON)


def told(effects: Sequence[Effect]) -> list[str]:
    return [
        f"{effect.subject} {effect.action} {effect.resource} {effect.environment or ''}".strip() for effect in effects
    ]


# --- the law ---------------------------------------------------------------------------------------


def usable(realm: Realm, state: SubjectState, wanted: Wanted, names: set[str]) -> set[Effect]:
    """What somebody may do with each of the names, each decided by itself."""
    if wanted.environment not in realm.environment_names:
        return set()
    found = set()
    for name in names:
        dataset = realm.resolve(name)
        if dataset is None:
            continue
        decided = decide(realm, state, wanted, NOON, dataset)
        free = dataset.served and dataset.definition(wanted.environment) is not None and not decided.obligations
        actions = [action for action in (Action.LOAD, Action.SAVE) if free and decided[action].allowed]
        if decided.discover.allowed and dataset.lifecycle is not Lifecycle.DRAFT:
            actions.append(Action.DISCOVER)
        found |= {
            Effect(str(state.subject), action, name, wanted.environment, wanted.purpose, wanted.project)
            for action in actions
        }
    return found


def governed(realm: Realm, state: SubjectState, names: set[str], domains: set[str]) -> set[Effect]:
    found = set()
    for action in GOVERNING_ACTIONS:
        single = [] if action is Action.ADMINISTER else sorted(names)
        resources: list[str | Dataset] = [*sorted(domains), *(realm.datasets[name] for name in single)]
        for resource, decision in zip(
            [*sorted(domains), *single], decide_governing(realm, state, action, resources, NOON), strict=True
        ):
            if decision.allowed:
                found.add(Effect(str(state.subject), action, resource, on_domain=resource in domains))
    return found


def without_circumstances(effects: set[Effect]) -> set[Effect]:
    """The effects that are not said of fewer circumstances too."""

    def plainer(effect: Effect) -> set[Effect]:
        made = product({effect.purpose, None}, {effect.project, None})
        return {replace(effect, purpose=purpose, project=project) for purpose, project in made} - {effect}

    return {effect for effect in effects if effects.isdisjoint(plainer(effect))}


@given(st.randoms(use_true_random=False))
def test_what_if_is_the_difference_between_deciding_before_and_after_one_by_one(random: Random) -> None:
    before = case_of(random, most_datasets=20, most_policies=14).realm
    after = changed(before, *changes_of(random, before))
    states = [asker_of(random) for _ in range(2)]
    asked = circumstances(before, after)
    found = consequences(before, after, states, asked, NOON)

    names = {*before.datasets, *after.datasets}
    made = {name for name in MADE if name not in names}
    gained, lost = set(), set()
    for state, wanted in product(states, asked):
        then, now = (usable(realm, state, wanted, names | made) for realm in (before, after))
        gained |= now - then
        lost |= then - now
    spoken_of = {name for realm in (before, after) for policy in realm.compiled.values() for name in policy.names}
    for told_, real in ((found.gained, gained), (found.lost, lost)):
        used = {effect for effect in told_ if not effect.governing}
        assert len(told_) == len(set(told_))
        assert used == {e for e in without_circumstances(real) if e.resource in names or e.resource in spoken_of}


@given(st.randoms(use_true_random=False))
def test_rights_to_govern_are_compared_one_by_one_too(random: Random) -> None:
    before = case_of(random, most_datasets=12, most_policies=14).realm
    after = changed(before, *changes_of(random, before))
    state = asker_of(random)
    found = consequences(before, after, [state], circumstances(before, after), NOON)

    both = set(before.datasets) & set(after.datasets)
    domains = {*before.domain_tree, *after.domain_tree}
    then, now = (governed(realm, state, both, domains) for realm in (before, after))
    moved = {(e.action, e.resource) for e in then ^ now if e.on_domain}
    for told_, real in ((found.gained, now - then), (found.lost, then - now)):
        assert {effect for effect in told_ if effect.governing} == {
            e for e in real if e.on_domain or (e.action, e.scope) not in moved
        }


@given(st.randoms(use_true_random=False))
def test_to_undo_a_change_gives_back_what_it_took_and_takes_what_it_gave(random: Random) -> None:
    before = case_of(random, most_datasets=12, most_policies=14).realm
    after = changed(before, *changes_of(random, before))
    states = [asker_of(random), asker_of(random)]
    asked = circumstances(before, after)
    there = consequences(before, after, states, asked, NOON)
    back = consequences(after, before, states, asked, NOON)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert (there.masked, there.unmasked) == (back.unmasked, back.masked)


@given(st.randoms(use_true_random=False))
def test_a_change_of_nothing_does_nothing(random: Random) -> None:
    realm = case_of(random, most_datasets=12, most_policies=14).realm
    same = changed(realm, *(put(policy) for policy in realm.policies.values()))
    states = [asker_of(random)]
    assert consequences(realm, realm, states, circumstances(realm, realm), NOON) == Consequences()
    assert consequences(realm, same, states, circumstances(realm, same), NOON) == Consequences()


# --- examples --------------------------------------------------------------------------------------


def test_a_new_rule_gives_to_those_whom_it_is_about_and_to_nobody_else() -> None:
    before = realm_of()
    found = what(before, changed(before, put(Policy("p", ANALYSTS_LOAD))))
    assert told(found.gained) == [
        "user:ann discover sales.orders dev",
        "user:ann discover sales.orders prod",
        "user:ann load sales.orders dev",
        "user:ann load sales.orders prod",
    ]
    assert found.lost == ()


def test_a_dataset_that_is_retired_is_lost_to_those_who_loaded_it() -> None:
    before = realm_of(Policy("p", ANALYSTS_LOAD))
    retired = replace(before.datasets["sales.orders"], lifecycle=Lifecycle.RETIRED)
    found = what(before, changed(before, put(retired)))
    assert told(found.lost) == ["user:ann load sales.orders dev", "user:ann load sales.orders prod"]


def test_a_definition_that_is_taken_away_is_lost_in_its_environment_alone() -> None:
    before = realm_of(Policy("p", ANALYSTS_LOAD))
    moved = replace(before.datasets["sales.orders"], environments={"prod": DEFINITION})
    found = what(before, changed(before, put(moved)))
    assert told(found.lost) == ["user:ann load sales.orders dev"]


def test_who_joins_a_group_gains_what_the_group_has() -> None:
    before = realm_of(Policy("p", ANALYSTS_LOAD), groups={"analysts": Group("analysts")})
    joined = Group("analysts", members=frozenset({BOB.subject}))
    found = what(before, changed(before, put(joined)))
    assert {effect.subject for effect in found.gained} == {"user:bob"}


def test_a_new_environment_gives_what_rules_for_every_environment_give_there() -> None:
    before = realm_of(Policy("p", ANALYSTS_LOAD))
    found = what(before, changed(before, put(Environment("lab"))))
    assert told(found.gained) == ["user:ann discover sales.orders lab", "user:ann load sales.orders lab"]


def test_what_is_had_for_one_purpose_is_told_with_it() -> None:
    before = realm_of()
    cedar = ANALYSTS_LOAD.rstrip(";") + ' when { context has purpose && context.purpose == "audit" };'
    found = what(before, changed(before, put(Policy("p", cedar))))
    assert {effect.purpose for effect in found.gained} == {"audit"}


def test_what_is_had_for_every_purpose_is_told_once() -> None:
    before = realm_of()
    cedar = ANALYSTS_LOAD.rstrip(";") + ' when { !(context has purpose) || context.purpose != "none" };'
    found = what(before, changed(before, put(Policy("p", cedar))))
    assert {effect.purpose for effect in found.gained} == {None}


def test_a_name_that_a_pattern_makes_is_lost_with_the_pattern() -> None:
    rows = Dataset("sales.{region}_rows", "team", environments={"base": DEFINITION})
    grant = Grant("g", "user:bob", frozenset({Action.LOAD}), "sales.north_rows", kind="dataset")
    before = realm_of(datasets={rows.name: rows}, grants={"g": grant})
    found = what(before, changed(before, put(replace(rows, lifecycle=Lifecycle.RETIRED))))
    assert "user:bob load sales.north_rows dev" in told(found.lost)


def test_a_right_over_a_domain_is_told_once_for_all_below_it() -> None:
    before = realm_of()
    grant = Grant("g", "user:bob", frozenset({Action.DECLARE}), "sales")
    found = what(before, changed(before, put(grant)))
    assert told(topmost(found.gained)) == ["user:bob declare sales"]
    assert told(found.gained) == ["user:bob declare sales", "user:bob declare sales.emea"]


def test_whom_a_mask_binds_is_told_apart_from_who_may_no_longer_load() -> None:
    before = realm_of(Policy("p", ANALYSTS_LOAD))
    payload = {"columns": ["amount"], "action": "replace-with-null"}
    masked = changed(before, put(Policy("m", ANALYSTS_LOAD, kind=PolicyKind.MASK, obligation=payload)))
    shut = changed(before, Change(Policy, "p", None))
    loads = ["user:ann load sales.orders dev", "user:ann load sales.orders prod"]
    assert told(what(before, masked).masked) == loads
    assert told(what(before, masked).lost) == loads
    assert told(what(masked, before).unmasked) == told(what(masked, before).gained) == loads
    assert what(before, shut).masked == ()


def test_of_two_states_of_one_subject_each_is_asked() -> None:
    """Also where only Cedar can tell whom a rule is about, and one by one. Seen to fail with both taken for one."""
    cedar = (
        'permit (principal, action == Action::"load", resource) when { principal.team == "public" && '
        "(if principal in resource.owner then {a: 0} else {a: 1}) == (if principal in resource.owner then {a: 0} else "
        "{a: 1}) };"
    )
    before = realm_of(Policy("p", cedar))
    states = replace(ANN, attributes={"team": "public"}), ANN
    for states_ in (states, states[::-1]):
        found = what(before, changed(before, Change(Policy, "p", None)), *states_)
        assert "user:ann load sales.orders dev" in told(found.lost)


def test_a_mask_that_shows_more_than_before_is_told() -> None:
    payload = {"columns": ["amount"], "action": "replace-with-null"}
    mask = Policy("m", ANALYSTS_LOAD, kind=PolicyKind.MASK, obligation=payload)
    before = realm_of(Policy("p", ANALYSTS_LOAD), mask)
    found = what(before, changed(before, put(replace(mask, obligation={**payload, "action": "show-last-4"}))))
    assert len(found.masked) == len(found.unmasked) == 2


def test_more_purposes_than_can_be_tried_together_are_refused() -> None:
    before = realm_of()
    purposes = ", ".join(f'"p{number}"' for number in range(150))
    cedar = ANALYSTS_LOAD.rstrip(";") + f" when {{ context has purpose && [{purposes}].contains(context.purpose) }};"
    with pytest.raises(Invalid, match="in parts"):
        circumstances(before, changed(before, put(Policy("p", cedar))))
