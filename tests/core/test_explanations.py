"""Every denial says what would have made the answer yes, and is right about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.explanations import Explanation, command, explain, missing_for
from muniment.core.grants import Grant
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA, case_of

ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}))
LOAD = frozenset({Action.LOAD})


def explained(*policies: Policy, action: Action = Action.LOAD, grants: tuple[Grant, ...] = ()) -> Explanation:
    realm = Realm(
        1,
        SCHEMA,
        datasets={"sales.orders": Dataset("sales.orders", "team")},
        domains={"sales": Domain("sales", "team")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        policies={policy.id: policy for policy in policies},
        grants={grant.id: grant for grant in grants},
    )
    return explain(realm, ANN, Wanted("prod"), NOON, action, realm.datasets["sales.orders"])


def permit(head: str, condition: str = "true", id_: str = "p") -> Policy:
    return Policy(id_, f"permit ({head}, resource) when {{ {condition} }};", reason="they plan stock")


IN_TEAM = 'principal in Group::"planners", action == Action::"load"'


def test_a_permission_names_the_policies_that_gave_it_and_why_they_are_there():
    found = explained(permit('principal in Group::"analysts", action'))
    assert found.reason == "user:ann may load it: permitted by p (they plan stock)"
    assert [(rule.id, rule.effect, rule.reason) for rule in found.rules] == [("p", "permit", "they plan stock")]
    assert found.owner == "group:team"


def test_a_denial_names_the_forbids_that_hit_and_the_permits_that_they_beat():
    forbid = Policy("no", "forbid (principal, action, resource);", reason="an incident")
    found = explained(permit("principal, action"), forbid)
    assert found.reason == "user:ann may not load it: forbidden by no (an incident)"
    assert [(rule.id, rule.effect) for rule in found.rules] == [("no", "forbid"), ("p", "permit")]
    assert found.missing == ()


def test_without_any_permit_nothing_is_invented():
    assert explained().reason == "user:ann may not load it: no policy permits it"


def test_the_group_that_one_would_have_to_be_in_is_named():
    found = explained(permit(IN_TEAM))
    assert found.missing == ("members of group:planners may",)
    assert found.reason.endswith("no policy permits it (members of group:planners may)")


def test_a_group_that_would_not_help_is_not_named():
    assert explained(permit(IN_TEAM, 'context.environment == "test"')).missing == ()


def test_whoever_may_load_may_discover_so_that_group_is_named_as_well():
    assert explained(permit(IN_TEAM), action=Action.DISCOVER).missing == ("members of group:planners may",)


def test_one_person_is_not_named_as_a_group_to_join():
    grant = Grant("g", "user:boss", LOAD, "sales")
    assert explained(grants=(grant,)).missing == ()


def test_another_environment_is_named():
    found = explained(permit("principal, action", 'context.environment == "dev"'))
    assert found.missing == ("permitted in dev, not in prod",)


def test_a_grant_that_has_ended_is_named_with_its_end():
    grant = Grant("g", "user:ann", LOAD, "sales", until=NOON - timedelta(hours=1), because="the audit")
    assert explained(grants=(grant,)).missing == ("the permission ended at 2026-06-01 11:00 UTC",)


def test_a_permission_that_is_yet_to_begin_is_named_with_its_beginning():
    found = explained(permit("principal, action", 'context.now >= datetime("2026-07-01")'))
    assert found.missing == ("the permission begins at 2026-07-01 00:00 UTC",)


def test_a_grant_gives_its_own_reason():
    found = explained(grants=(Grant("g", "user:ann", LOAD, "sales", because="the audit"),))
    assert found.reason == "user:ann may load it: permitted by grant:g (the audit)"


def test_the_command_asks_the_same_again():
    again = command(Action.LOAD, "sales.orders", "prod")
    assert again == "kedro muniment why sales.orders --action load --environment prod"


@given(st.randoms(use_true_random=False))
def test_an_explanation_is_the_decision_and_names_its_rules(random):
    case = case_of(random)
    for dataset in case.realm.datasets.values():
        decided = decide(case.realm, case.asker, case.wanted, case.at, dataset)
        for action in DATA_ACTIONS:
            found = explain(case.realm, case.asker, case.wanted, case.at, action, dataset)
            assert found.decision == decided[action]
            assert [rule.id for rule in found.rules] == [*decided[action].because, *decided[action].beaten]


@given(st.randoms(use_true_random=False))
def test_what_is_said_to_be_missing_makes_the_answer_yes(random):
    case = case_of(random)
    for dataset in case.realm.datasets.values():
        for said in missing_for(case.realm, case.asker, case.wanted, case.at, Action.LOAD, dataset):
            if said.startswith("members of group:"):
                group = said.removeprefix("members of group:").removesuffix(" may")
                told = group not in case.realm.groups
                asker = replace(case.asker, groups=case.asker.groups | {group}) if told else case.asker
                realm = case.realm if told else _joined(case.realm, group, case.asker)
                assert decide(realm, asker, case.wanted, case.at, dataset).load.allowed


def _joined(realm: Realm, group: str, asker: SubjectState) -> Realm:
    joined = replace(realm.groups[group], members=realm.groups[group].members | {asker.subject})
    return replace(realm, groups={**realm.groups, group: joined})
