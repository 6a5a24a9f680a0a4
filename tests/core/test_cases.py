"""A policy's cases: what they may say, when they are looked at, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from muniment.core.cases import MOST_CASES, cases_of, check_cases, failing
from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import CaseFails, Invalid, InvalidPolicy
from muniment.core.realm import Change, Noun, Realm
from muniment.core.schema import Action, schema_text
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON

ROOT = SubjectState(Subject.parse("user:root"), "corp")
SAM = SubjectState(Subject.parse("user:sam"), "corp")
GRACE = SubjectState(Subject.parse("user:grace"), "corp")
LOAD = frozenset({Action.LOAD})

NO_CONTRACTOR = {"group": "contractors", "action": "discover", "datasets": "hr.*", "allowed": False}
ANN_LOADS = {
    "name": "Ann reports",
    "subject": "user:ann",
    "groups": ["analysts"],
    "action": "load",
    "dataset": "sales.orders",
    "environment": "prod",
    "allowed": True,
}
CLOSED = 'forbid (principal in Group::"contractors", action, resource in Domain::"hr");'
#: A rule that says nothing, for the cases that it carries.
QUIET = 'forbid (principal == User::"nobody", action == Action::"save", resource);'


def policy(*cases: dict[str, object], id_: str = "p", cedar: str = QUIET, scope: str = "all") -> Policy:
    return Policy(id_, cedar, scope, cases=cases)


def realm(*policies: Policy, grants: tuple[Grant, ...] = ()) -> Realm:
    """Analysts load sales, personnel loads hr; Root administers, Sam stewards sales, Grace only grants there."""
    steward = frozenset({Action.DECLARE, Action.GRANT, Action.DISCOVER})
    standing = [
        Grant("root", "user:root", frozenset({Action.ADMINISTER}), "all"),
        Grant("sam", "user:sam", steward, "sales"),
        Grant("grace", "user:grace", frozenset({Action.GRANT}), "sales"),
        Grant("analysts", "analysts", LOAD, "sales"),
        Grant("personnel", "personnel", LOAD, "hr"),
        *grants,
    ]
    return Realm(
        1,
        schema_text({"clearance": "long"}),
        datasets={name: Dataset(name, "owners") for name in ("sales.orders", "sales.{region}_rows", "hr.people")},
        domains={name: Domain(name, "owners") for name in ("sales", "sales.emea", "hr")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        groups={"locals": Group("locals", frozenset({Subject.parse("user:leo")}))},
        policies={each.id: each for each in policies},
        grants={grant.id: grant for grant in standing},
    )


def fails(realm_: Realm, case: dict[str, object]) -> str | None:
    """What is so instead of what a case says, if it does not hold."""
    found = failing(realm_, cases_of(policy(case)), NOON)
    return found[0].found if found else None


def change(before: Realm, *changes: Noun, by: SubjectState = ROOT) -> None:
    """Judge the cases at a change of nouns."""
    listed = [Change(type(noun), noun.name if hasattr(noun, "name") else noun.id, noun) for noun in changes]
    check_cases(before, before.after(2, listed), by, NOON)


# --- what a case means -----------------------------------------------------------------------------


def test_a_case_about_a_subject_goes_by_the_groups_and_attributes_that_it_names():
    assert fails(realm(), ANN_LOADS) is None
    assert fails(realm(), {**ANN_LOADS, "groups": []}) == "user:ann could not load sales.orders in prod"
    cleared = policy(
        cedar='forbid (principal, action == Action::"load", resource) unless { principal has clearance && '
        "principal.clearance >= 3 };"
    )
    assert fails(realm(cleared), ANN_LOADS) == "user:ann could not load sales.orders in prod"
    assert fails(realm(cleared), {**ANN_LOADS, "attributes": {"clearance": 3}}) is None


def test_a_case_without_an_environment_speaks_of_every_one():
    only_prod = Grant("eve", "user:eve", LOAD, "hr", environments=frozenset({"prod"}))
    case = {"subject": "user:eve", "action": "load", "dataset": "hr.people", "allowed": True}
    assert fails(realm(grants=(only_prod,)), case) == "user:eve could not load hr.people in dev"
    assert fails(realm(grants=(only_prod,)), {**case, "allowed": False}) == "user:eve could load hr.people in prod"
    assert fails(realm(grants=(only_prod,)), {**case, "environment": "prod"}) is None


def test_a_case_may_speak_of_another_moment_and_of_a_purpose():
    later = policy(
        cedar='permit (principal == User::"eve", action == Action::"load", resource) when '
        '{ context.now >= datetime("2030-01-01") && context has purpose && context.purpose == "audit" };'
    )
    case = {"subject": "user:eve", "action": "load", "dataset": "hr.people", "allowed": True}
    assert fails(realm(later), {**case, "purpose": "audit"}) is not None
    assert fails(realm(later), {**case, "at": "2030-01-02"}) is not None
    assert fails(realm(later), {**case, "at": "2030-01-02", "purpose": "audit"}) is None


def test_no_member_of_a_group_means_none_who_is_in_another_group_either():
    assert fails(realm(), NO_CONTRACTOR) == (
        "a member of group:contractors and group:personnel could discover hr.people in dev"
    )
    assert fails(realm(policy(cedar=CLOSED)), NO_CONTRACTOR) is None


def test_no_member_of_a_group_means_none_whose_other_group_stands_in_a_condition_or_owns_the_dataset():
    named = 'permit (principal, action == Action::"load", resource) when { principal in Group::"managers" };'
    case = {**NO_CONTRACTOR, "datasets": "sales.*", "action": "save"}
    assert fails(realm(), case) is None
    assert "group:managers" in str(fails(realm(policy(cedar=named.replace("load", "save"))), case))
    owners = 'permit (principal, action == Action::"save", resource is Dataset) when { principal in resource.owner };'
    assert "group:owners" in str(fails(realm(policy(cedar=owners)), case))


def test_no_member_of_a_group_means_none_whom_an_exception_of_a_forbid_lets_through():
    everybody = policy(cedar='permit (principal, action == Action::"discover", resource in Domain::"hr");', id_="all")
    but = CLOSED.replace(";", ' unless { principal in Group::"privacy" };')
    assert "group:privacy" in str(fails(realm(everybody, policy(cedar=but)), NO_CONTRACTOR))
    assert fails(realm(everybody, policy(cedar=CLOSED)), NO_CONTRACTOR) is None


def test_no_member_of_a_group_means_no_service_either():
    services = policy(cedar='permit (principal is Service, action == Action::"save", resource);')
    assert fails(realm(services), {**NO_CONTRACTOR, "action": "save"}) is not None


def test_a_local_group_has_members_for_a_case_though_a_token_cannot_name_it():
    to_locals = Grant("l", "locals", LOAD, "hr")
    case = {"group": "group:locals", "action": "load", "dataset": "hr.people", "allowed": True}
    assert fails(realm(), case) == "a member of group:locals could not load hr.people in dev"
    assert fails(realm(grants=(to_locals,)), case) is None
    assert "group:locals" in str(fails(realm(grants=(to_locals,)), NO_CONTRACTOR))


def test_a_dataset_need_not_be_declared_and_a_pattern_without_any_speaks_of_one_to_come():
    case = {"subject": "user:ann", "groups": ["analysts"], "action": "load", "allowed": True}
    assert fails(realm(), {**case, "dataset": "sales.not_yet"}) is None
    assert fails(realm(), {**case, "datasets": "sales.emea.*"}) is None
    assert fails(realm(), {**case, "datasets": "hr.new_*"}) == "user:ann could not load hr.new_x in dev"


def test_a_pattern_speaks_of_names_that_a_factory_makes_where_a_rule_names_them():
    eu = policy(
        cedar='permit (principal == User::"eve", action == Action::"load", resource == Dataset::"sales.eu_rows");'
    )
    case = {"subject": "user:eve", "action": "load", "datasets": "sales.*", "allowed": False}
    assert fails(realm(), case) is None
    assert fails(realm(eu), case) == "user:eve could load sales.eu_rows in dev"


def test_a_case_may_be_about_governing_a_domain_or_a_dataset():
    case = {"subject": "user:sam", "action": "declare", "domain": "sales.emea", "allowed": True}
    assert fails(realm(), case) is None
    assert fails(realm(), {**case, "domain": "hr"}) == "user:sam could not declare hr"
    on = {"subject": "user:sam", "action": "declare", "dataset": "hr.people", "allowed": False}
    assert fails(realm(), on) is None


def test_a_case_may_say_whether_what_is_loaded_is_masked():
    mask = Policy(
        "mask",
        'permit (principal, action == Action::"load", resource == Dataset::"sales.orders");',
        kind=PolicyKind.MASK,
        obligation={"columns": ["email"], "action": "replace-with-null"},
    )
    assert fails(realm(mask), ANN_LOADS) is None
    assert fails(realm(mask), {**ANN_LOADS, "obliged": True}) is None
    plain = "user:ann could load sales.orders in prod neither masked nor filtered"
    assert fails(realm(), {**ANN_LOADS, "obliged": True}) == plain
    masked = "user:ann could load sales.orders in prod masked or filtered alone"
    assert fails(realm(mask), {**ANN_LOADS, "obliged": False}) == masked
    made = {**ANN_LOADS, "dataset": "sales.eu_rows", "obliged": False}
    assert fails(realm(mask), made) is None
    nothing = {**ANN_LOADS, "groups": [], "obliged": True}
    assert fails(realm(mask), nothing) == "user:ann could not load sales.orders in prod"
    with pytest.raises(CaseFails):
        change(realm(mask, policy({**ANN_LOADS, "obliged": True}, id_="promise")), replace(mask, scope="hr"))


# --- when cases are looked at ----------------------------------------------------------------------


def test_whatever_is_changed_a_case_that_would_come_to_fail_refuses_it():
    before = realm(policy(ANN_LOADS, id_="promise"))
    orders = before.datasets["sales.orders"]
    pii = policy(
        id_="pii", cedar='forbid (principal, action, resource is Dataset) when { resource.tags.contains("x") };'
    )
    tagged = before.after(1, [Change(Policy, "pii", pii)])
    with pytest.raises(CaseFails, match=r"Ann reports of the policy promise: user:ann may load sales\.orders in prod"):
        change(before, policy(id_="q", cedar='forbid (principal == User::"ann", action, resource);'))
    with pytest.raises(CaseFails):
        change(before, replace(before.grants["analysts"], environments=frozenset({"dev"})))
    with pytest.raises(CaseFails):
        change(tagged, replace(orders, tags=frozenset({"x"})))
    with pytest.raises(CaseFails):
        change(before, Group("analysts"))
    change(before, replace(orders, tags=frozenset({"x"})))


def test_a_pattern_of_a_factory_that_is_changed_is_looked_at_for_the_names_that_it_makes():
    tagged = 'forbid (principal, action, resource is Dataset) when { resource.tags.contains("x") };'
    before = realm(policy({**ANN_LOADS, "dataset": "sales.eu_rows"}, cedar=tagged))
    with pytest.raises(CaseFails):
        change(before, replace(before.datasets["sales.{region}_rows"], tags=frozenset({"x"})))


def test_a_case_that_failed_already_refuses_no_other_change():
    broken = realm(policy({**ANN_LOADS, "groups": []}))
    change(broken, policy(id_="q", cedar='forbid (principal == User::"ann", action, resource);'))


def test_a_case_that_does_not_hold_is_not_written():
    with pytest.raises(CaseFails):
        change(realm(), policy({**ANN_LOADS, "groups": []}))


def test_a_policy_that_is_worded_anew_makes_all_its_cases_true_and_one_reviewed_does_not():
    failed = policy({**ANN_LOADS, "groups": []}, id_="promise")
    before = realm(failed)
    change(before, replace(failed, review_by=(NOON + timedelta(days=90)).date()))
    with pytest.raises(CaseFails):
        change(before, replace(failed, cedar=CLOSED))


def test_a_case_goes_with_its_policy():
    before = realm(policy(ANN_LOADS, id_="promise"))
    after = before.after(2, [Change(Policy, "promise", None), Change(Grant, "analysts", None)])
    check_cases(before, after, ROOT, NOON)


def test_a_change_that_no_case_speaks_of_asks_nothing(monkeypatch: pytest.MonkeyPatch):
    before = realm(policy(ANN_LOADS, id_="promise"))
    monkeypatch.setattr("muniment.core.cases.decide_each", None)
    monkeypatch.setattr("muniment.core.cases.list_all", None)
    change(before, replace(before.datasets["hr.people"], tags=frozenset({"x"})))
    change(before, replace(before.grants["personnel"], because="as ever"))
    change(before, Grant("new", "user:x", LOAD, "hr"))
    change(before, Grant("new", "user:x", frozenset({Action.GRANT}), "sales"))


# --- who is told what ------------------------------------------------------------------------------


def test_a_writer_who_reads_no_rules_there_learns_of_a_policy_and_of_nothing_that_it_says():
    promise = policy({**NO_CONTRACTOR, "name": "hr stays closed"}, id_="promise")
    before = realm(promise, policy(cedar=CLOSED, id_="closed"))
    ended = before.after(2, [Change(Policy, "closed", None)])
    with pytest.raises(CaseFails) as refused:
        check_cases(before, ended, SAM, NOON)
    assert refused.value.members["cases"] == [{"policy": "promise", "case": "case 1"}]
    assert "hr" not in refused.value.detail
    with pytest.raises(CaseFails) as refused:
        check_cases(before, ended, ROOT, NOON)
    (told,) = refused.value.members["cases"]
    assert told["case"] == "hr stays closed"
    assert told["says"] == "no member of group:contractors may discover hr.*"
    assert told["because"] == ["grant:personnel"]


def test_a_hidden_dataset_and_none_are_refused_in_the_same_words():
    hidden = policy(
        id_="hide", cedar='forbid (principal == User::"grace", action, resource == Dataset::"sales.orders");'
    )
    case = {"subject": "user:ann", "action": "load", "allowed": False}
    said = set()
    for name in ("sales.orders", "sales.nothing"):
        with pytest.raises(InvalidPolicy) as refused:
            change(realm(hidden), policy({**case, "dataset": name}, scope="sales"), by=GRACE)
        said.add((refused.value.detail, tuple(fault.message for fault in refused.value.faults)))
    assert len(said) == 1


def test_whoever_only_grants_writes_no_case_about_a_pattern_of_names():
    case = {"subject": "user:ann", "action": "load", "datasets": "sales.*", "allowed": False}
    with pytest.raises(InvalidPolicy, match="what you may know of"):
        change(realm(), policy(case, scope="sales"), by=GRACE)
    change(realm(), policy(case, scope="sales"), by=SAM)


def test_a_written_pattern_is_not_judged_on_datasets_that_its_writer_may_not_know_of():
    before = realm()
    secret = Dataset("sales.emea.mergers", "owners", tags=frozenset({"secret"}))
    rules = [
        policy(id_="hide", cedar='forbid (principal == User::"sam", action, resource in Domain::"sales.emea");'),
        policy(id_="x", cedar='permit (principal == User::"x", action == Action::"load", resource is Dataset) '
               'when { resource.tags.contains("secret") };'),
    ]  # fmt: skip
    case = {"subject": "user:x", "action": "load", "datasets": "sales.*", "allowed": False}
    standing = before.after(1, [Change(Policy, rule.id, rule) for rule in rules])
    shut = standing.after(1, [Change(Dataset, secret.name, secret)])
    change(standing, policy(case, scope="sales"), by=SAM)
    change(shut, policy(case, scope="sales"), by=SAM)
    with pytest.raises(CaseFails):
        change(shut, policy(case, scope="sales"), by=ROOT)


# --- what a case may say ---------------------------------------------------------------------------

SOUND = {"subject": "user:ann", "action": "load", "dataset": "sales.orders", "allowed": True}


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"colour": "red"}, "colour"),
        ({"subject": None}, "subject"),
        ({"group": "x"}, "subject"),
        ({"subject": "ann"}, "subject"),
        ({"subject": None, "group": "user:ann"}, "group"),
        ({"subject": 7}, "subject"),
        ({"action": "read"}, "action"),
        ({"action": None}, "action"),
        ({"action": ["load"]}, "action"),
        ({"allowed": None}, "allowed"),
        ({"allowed": "yes"}, "allowed"),
        ({"allowed": 1}, "allowed"),
        ({"dataset": None}, "dataset"),
        ({"datasets": "sales.*"}, "dataset"),
        ({"dataset": "sales.*"}, "dataset"),
        ({"dataset": None, "datasets": "sales.orders"}, "datasets"),
        ({"dataset": None, "datasets": "*"}, "datasets"),
        ({"dataset": None, "domain": "sales"}, "domain"),
        ({"action": "administer"}, "domain"),
        ({"action": "declare", "environment": "prod"}, "environment"),
        ({"action": "declare", "purpose": "x"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"name": "a\nb"}, "name"),
        ({"at": "tomorrow"}, "at"),
        ({"groups": "analysts"}, "groups"),
        ({"groups": ["user:ben"]}, "groups"),
        ({"subject": None, "group": "x", "groups": ["y"]}, "groups"),
        ({"attributes": []}, "attributes"),
        ({"attributes": {"clearance": 1.5}}, "attributes.clearance"),
        ({"attributes": {"team": {}}}, "attributes.team"),
        ({"attributes": {"clearance": 2**63}}, "attributes.clearance"),
        ({"obliged": "no"}, "obliged"),
        ({"obliged": True, "allowed": False}, "obliged"),
        ({"obliged": True, "action": "save"}, "obliged"),
    ],
)
def test_what_is_wrong_with_a_case_is_named_by_its_place(given: dict[str, object], at: str):
    raw = {name: value for name, value in {**SOUND, **given}.items() if value is not None}
    with pytest.raises(InvalidPolicy) as refused:
        cases_of(policy(SOUND, raw))
    assert f"cases.1.{at}" in [fault.at for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"environment": "prd"}, "cases.0.environment"),
        ({"attributes": {"shoe_size": 44}}, "cases.0.attributes.shoe_size"),
        ({"groups": ["locals"]}, "cases.0.groups"),
        ({"dataset": "hr.people"}, "cases.0.dataset"),
        ({"dataset": None, "datasets": "*.orders"}, "cases.0.datasets"),
        ({"dataset": None, "action": "grant", "domain": "sales.nowhere"}, "cases.0.domain"),
    ],
)
def test_a_case_is_about_what_there_is_in_its_policys_scope(given: dict[str, object], at: str):
    raw = {name: value for name, value in {**SOUND, **given}.items() if value is not None}
    with pytest.raises(Invalid) as refused:
        change(realm(), policy(raw, scope="sales"))
    assert [fault.at for fault in refused.value.faults] == [at]


def test_a_policy_carries_so_many_cases_and_no_more():
    assert len(cases_of(policy(*[SOUND] * MOST_CASES))) == MOST_CASES
    with pytest.raises(InvalidPolicy, match=f"at most {MOST_CASES} cases"):
        cases_of(policy(*[SOUND] * (MOST_CASES + 1)))
