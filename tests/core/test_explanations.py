"""Every denial says what would have made the answer yes, and is right about it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decision, Wanted, decide
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.explanations import Explanation, command, explain, in_force, missing_for
from muniment.core.grants import Grant
from muniment.core.policies import Policy, PolicyKind
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
            assert found.decision == in_force(decided, action)
            assert [rule.id for rule in found.rules] == [*found.decision.because, *found.decision.beaten]
            assert found.decision.allowed is (action in (Action.DISCOVER, *decided.actions) and decided[action].allowed)


#: What is said to be missing, but for what has been and what begins.
SAID = re.compile(
    r"(?:members of (?P<groups>.+?)|user:\S+|service:\S+)(?: with (?P<attributes>.+?))? may"
    r"(?: in (?P<environment>\S+))?(?: in the project (?P<project>\S+))?(?: for the purpose (?P<purpose>\S+))?"
    r"(?: from (?P<begins>\S+ \S+) UTC on)?\Z"
)


@given(st.randoms(use_true_random=False))
def test_what_is_said_to_be_missing_makes_the_answer_yes(random):
    case = case_of(random)
    for dataset in case.realm.datasets.values():
        for said in missing_for(case.realm, case.asker, case.wanted, case.at, Action.LOAD, dataset):
            elsewhere = re.fullmatch(r"permitted in (.+), not in \S+", said)
            for environment in elsewhere[1].split(" and ") if elsewhere else ():
                wanted = replace(case.wanted, environment=environment)
                assert decide(case.realm, case.asker, wanted, case.at, dataset).actions
            read = SAID.match(said)
            if read is None or read["attributes"] or read["begins"]:
                continue
            realm, asker = case.realm, case.asker
            for group in (read["groups"] or "").replace("group:", "").split(" and "):
                if group in realm.groups:
                    realm = _joined(realm, group, asker)
                elif group:
                    asker = replace(asker, groups=asker.groups | {group})
            told = {name: read[name] for name in ("environment", "project", "purpose") if read[name]}
            assert Action.LOAD in decide(realm, asker, replace(case.wanted, **told), case.at, dataset).actions


def test_a_purpose_and_a_project_are_named():
    study = permit("principal, action", 'context has purpose && context.purpose == "study"')
    assert explained(study).missing == ("user:ann may for the purpose study",)
    atlas = permit("principal, action", 'context has project && ["atlas"].contains(context.project)')
    assert explained(atlas).missing == ("user:ann may in the project atlas",)
    any_purpose = permit("principal, action", "context has purpose")
    assert explained(any_purpose).missing == ("user:ann may for any purpose",)


def test_a_group_in_another_environment_is_named_with_both():
    assert explained(permit(IN_TEAM, 'context.environment == "dev"')).missing == (
        "members of group:planners may in dev",
    )


def test_the_owners_are_named():
    assert explained(permit("principal, action", "principal in resource.owner")).missing == (
        "members of group:team may",
    )


def test_a_clearance_is_named():
    cleared = permit("principal, action", "principal has clearance && principal.clearance >= 40")
    assert explained(cleared).missing == ("user:ann with clearance 40 may",)


def test_what_would_be_forbidden_all_the_same_is_not_named():
    forbid = Policy("no", 'forbid (principal in Group::"planners", action, resource);')
    assert explained(permit(IN_TEAM), forbid).missing == ()


def test_only_a_few_ways_are_named():
    teams = [permit(f'principal in Group::"team{n}", action == Action::"load"', id_=f"p{n}") for n in range(9)]
    assert explained(*teams).missing == tuple(f"members of group:team{n} may" for n in range(3))


def test_what_a_permit_for_one_person_or_an_unreadable_condition_would_take_is_not_said():
    assert explained(permit('principal == User::"boss", action == Action::"load"')).missing == ()
    assert explained(permit("principal, action", 'context.environment like "d*"')).missing == ()
    assert (
        explained(permit("principal, action", 'context.environment == "dev" && context.environment == "prod"')).missing
        == ()
    )


# --- obligations ----------------------------------------------------------------------------------------------------


def obliging(id_: str, condition: str = "true", kind: PolicyKind = PolicyKind.MASK) -> Policy:
    text = f'permit (principal, action == Action::"load", resource) when {{ {condition} }};'
    mask = {"columns": ["email"], "action": "show-last-4"}
    predicate = {"type": "eq", "term": "region", "value": "EU"}
    return Policy(id_, text, reason="privacy", kind=kind, obligation=mask if kind is PolicyKind.MASK else predicate)


ALL = permit("principal, action")


def test_a_mask_withholds_what_policies_permit_and_is_named_with_what_it_demands():
    found = explained(ALL, obliging("m"))
    assert found.reason == (
        "user:ann may load it only masked by m (privacy), which nothing here enforces yet, so it is withheld"
    )
    assert found.decision == Decision(allowed=False, because=("m",), beaten=("p",), obligations=("m",))
    assert [(rule.id, rule.effect) for rule in found.rules] == [("m", "mask"), ("p", "permit")]
    assert found.obligations == {"required-column-projections": [{"column": "email", "action": "show-last-4"}]}
    assert found.missing == ()


def test_several_obligations_are_all_named():
    found = explained(ALL, obliging("m"), obliging("f", kind=PolicyKind.ROW_FILTER))
    assert "only filtered by f (privacy) and masked by m (privacy)" in found.reason
    assert found.obligations is not None
    assert found.obligations.keys() == {"required-row-filter", "required-column-projections"}


def test_a_mask_withholds_saving_and_not_discovering():
    saving = explained(ALL, obliging("m"), action=Action.SAVE)
    assert saving.reason == "user:ann may save it only if they read it whole; it is masked by m (privacy)"
    assert explained(ALL, obliging("m"), action=Action.DISCOVER).decision.allowed


def test_a_mask_that_errs_binds_and_demands_the_strictest():
    found = explained(ALL, obliging("m", "principal has clearance || principal.clearance > 3"))
    assert found.obligations == {"required-column-projections": [{"column": "email", "action": "replace-with-null"}]}


def test_where_nothing_is_permitted_a_mask_is_not_the_reason():
    for action in DATA_ACTIONS:
        found = explained(obliging("m"), action=action)
        assert found.reason == f"user:ann may not {action} it: no policy permits it"
        assert found.obligations is None


def test_where_something_is_forbidden_the_forbid_is_the_reason_and_no_mask():
    forbid = Policy("no", "forbid (principal, action, resource);", reason="an incident")
    for action in DATA_ACTIONS:
        found = explained(ALL, forbid, obliging("m"), action=action)
        assert found.reason == f"user:ann may not {action} it: forbidden by no (an incident)"
        assert found.obligations is None


def test_a_group_that_would_be_masked_is_not_named():
    assert explained(permit(IN_TEAM), obliging("m", 'principal in Group::"planners"')).missing == ()


def _joined(realm: Realm, group: str, asker: SubjectState) -> Realm:
    joined = replace(realm.groups[group], members=realm.groups[group].members | {asker.subject})
    return replace(realm, groups={**realm.groups, group: joined})
