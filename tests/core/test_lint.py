"""What is found doubtful about rules, and what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from muniment.core import effects
from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.lint import Doubt, Finding, Report, Seen, lint
from muniment.core.policies import Policy, PolicyKind
from muniment.core.realm import Realm
from muniment.core.rulebook import id_of, written
from muniment.core.schema import Action, schema_text
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON

LOAD = frozenset({Action.LOAD})
STATES = (
    SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"})),
    SubjectState(Subject.parse("user:carl"), "corp", frozenset({"contractors"}), {"clearance": 2}),
    SubjectState(Subject.parse("service:nightly"), "corp", frozenset({"jobs"})),
)
LONG_AGO = NOON - timedelta(days=400)


def realm(*rules: Policy | Grant) -> Realm:
    datasets = [Dataset("sales.orders", "owners"), Dataset("sales.people", "owners", tags=frozenset({"pii"}))]
    datasets.append(Dataset("sales.{region}_rows", "owners"))
    return Realm(
        1,
        schema_text({"clearance": "long"}),
        datasets={dataset.name: dataset for dataset in datasets},
        domains={name: Domain(name, "owners") for name in ("sales", "hr")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        groups={"locals": Group("locals", frozenset({Subject.parse("user:ann")}))},
        policies={rule.id: rule for rule in rules if isinstance(rule, Policy)},
        grants={rule.id: rule for rule in rules if isinstance(rule, Grant)},
    )


def report(
    *rules: Policy | Grant, used: frozenset[str] = frozenset(), names: frozenset[str] | None = None, age: int = 400
) -> Report:
    of = realm(*rules)
    made = {id_of(rule): NOON - timedelta(days=age) for rule in rules}
    seen = Seen(STATES, made, dict.fromkeys(used, NOON), NOON - timedelta(days=90))
    every = frozenset(of.datasets) if names is None else names
    return lint(of, NOON, written(of), every, seen, NOON + timedelta(days=30))


def doubts(*rules: Policy | Grant, **more: frozenset[str]) -> dict[str, set[Doubt]]:
    """The doubts about each rule; all rules that permit were used."""
    found: dict[str, set[Doubt]] = {}
    for finding in report(*rules, **{"used": frozenset(map(id_of, rules)), **more}).findings:
        found.setdefault(finding.rule, set()).add(finding.doubt)
    return found


def only(reported: Report) -> Finding:
    (finding,) = reported.findings
    return finding


def grant(to: str = "analysts", on: str = "sales", **more: object) -> Grant:
    return Grant("g", to, LOAD, on, **more)


def policy(cedar: str, id_: str = "p", scope: str = "all") -> Policy:
    return Policy(id_, cedar, scope)


def test_a_rule_that_does_its_work_is_not_doubtful():
    assert doubts(grant(), policy('forbid (principal in Group::"contractors", action, resource);')) == {}


def test_a_permit_that_a_forbid_beats_everywhere_is_dead():
    closed = policy('forbid (principal in Group::"contractors", action, resource in Domain::"sales");', "closed")
    finding = only(report(grant("contractors"), closed, used=frozenset({"grant:g"})))
    assert (finding.rule, finding.doubt, finding.related) == ("grant:g", Doubt.BEATEN, ("closed",))
    assert finding.message == "Whatever it permits is forbidden by closed."


def test_a_permit_to_load_that_only_lets_one_discover_is_dead():
    closed = policy('forbid (principal, action == Action::"load", resource in Domain::"sales");')
    assert doubts(grant(), closed) == {"grant:g": {Doubt.BEATEN}}


def test_a_permit_that_a_forbid_beats_on_some_datasets_lives():
    closed = policy('forbid (principal, action, resource is Dataset) when { resource.tags.contains("pii") };')
    assert doubts(grant(), closed) == {}
    people = Grant("g", "analysts", LOAD, "sales.people", kind="dataset")
    assert doubts(people, closed) == {"grant:g": {Doubt.BEATEN}}


def test_a_beaten_permit_names_only_rules_that_its_reader_reads():
    of = realm(grant("contractors"), policy('forbid (principal in Group::"contractors", action, resource);', "closed"))
    seen = Seen(STATES, {}, {}, NOON)
    finding = only(lint(of, NOON, {"grant:g": of.grants["g"]}, frozenset(of.datasets), seen, NOON))
    assert (finding.message, finding.related) == (
        "Whatever it permits is forbidden by rules that you may not read.",
        (),
    )


def test_a_rule_for_nobody_and_one_for_a_group_that_nobody_knows_are_told_apart():
    assert doubts(grant("locals")) == {}
    assert doubts(grant("user:ben")) == {"grant:g": {Doubt.NOBODY}}
    assert doubts(grant("analists")) == {"grant:g": {Doubt.NOBODY, Doubt.UNKNOWN_GROUP}}
    named = policy('forbid (principal, action, resource) unless { principal in Group::"analists" };')
    assert doubts(named) == {"p": {Doubt.UNKNOWN_GROUP}}


def test_a_rule_about_no_dataset_meets_nothing():
    assert doubts(grant(on="hr")) == {"grant:g": {Doubt.NOTHING}}
    missing = policy('permit (principal, action == Action::"load", resource == Dataset::"sales.gone");')
    assert doubts(missing) == {"p": {Doubt.NOTHING}}
    gold = policy('forbid (principal, action, resource is Dataset) when { resource.tags.contains("gold") };')
    assert doubts(gold) == {"p": {Doubt.NOTHING}}


def test_a_rule_about_a_dataset_that_its_reader_may_not_know_of_looks_like_one_about_none():
    assert doubts(grant(), names=frozenset()) == {"grant:g": {Doubt.NOTHING}}


def test_a_rule_for_a_purpose_or_for_later_is_judged_there():
    for condition in (
        'context has purpose && context.purpose == "study"',
        'context has project && context.project == "report"',
        'context.now > datetime("2030-01-01")',
        'context.environment == "prod"',
    ):
        text = f'permit (principal, action == Action::"load", resource in Domain::"sales") when {{ {condition} }};'
        assert doubts(policy(text)) == {}, condition


def test_a_rule_about_governing_is_judged_on_domains():
    steward = Grant("g", "user:ann", frozenset({Action.DECLARE, Action.ADMINISTER}), "hr")
    assert doubts(steward) == {}
    closed = policy('forbid (principal, action, resource) unless { principal == User::"root" };')
    assert doubts(steward, closed) == {"grant:g": {Doubt.BEATEN}}


def test_a_mask_that_lies_on_somebodys_reading_does_its_work_and_takes_saving_away():
    text = 'permit (principal, action == Action::"load", resource in Domain::"sales");'
    mask = Policy("m", text, kind=PolicyKind.MASK, obligation={"columns": ["a"], "action": "replace-with-null"})
    assert doubts(grant(), mask) == {}
    saving = Grant("g", "analysts", frozenset({Action.SAVE}), "sales")
    assert doubts(saving, mask) == {"grant:g": {Doubt.BEATEN}}
    assert doubts(replace(mask, cedar=text.replace("sales", "hr"))) == {"m": {Doubt.NOTHING}}


def test_a_rule_about_a_name_that_a_factory_pattern_makes_is_judged_on_it():
    made = policy('permit (principal, action == Action::"load", resource == Dataset::"sales.eu_rows");')
    assert doubts(made) == {}


def test_a_permit_that_no_run_rested_on_is_unused_once_it_has_stood_for_a_while():
    assert only(report(grant())).doubt is Doubt.UNUSED
    assert report(grant(), used=frozenset({"grant:g"})).findings == ()
    assert report(grant(), age=10).findings == ()
    browsing = Grant("g", "analysts", frozenset({Action.DISCOVER}), "sales")
    assert report(browsing).findings == ()


def test_rules_that_say_the_same_are_found_whatever_they_are():
    text = 'permit (principal in Group::"analysts", action in [Action::"load"], resource in Domain::"sales");'
    as_policy = policy(text, scope="sales")
    assert doubts(grant(), as_policy) == {"grant:g": {Doubt.SAME}, "p": {Doubt.SAME}}
    assert doubts(grant(), grant(on="hr")).get("grant:g") != {Doubt.SAME}


def test_an_end_that_is_near_or_past_is_told():
    assert doubts(grant(until=NOON + timedelta(days=7))) == {"grant:g": {Doubt.ENDS_SOON}}
    assert doubts(grant(until=NOON - timedelta(days=7))) == {"grant:g": {Doubt.ENDED}}
    assert doubts(grant(until=NOON + timedelta(days=70))) == {}
    begins = policy('forbid (principal, action, resource) when { context.now > datetime("2026-06-10") };')
    assert doubts(begins) == {"p": {Doubt.ENDS_SOON}}


def test_a_forbid_for_those_who_have_something_lets_the_others_through():
    has = "principal has clearance && principal.clearance < 3"
    assert doubts(policy(f"forbid (principal, action, resource) when {{ {has} }};")) == {"p": {Doubt.LETS_THROUGH}}
    safe = "principal has clearance && principal.clearance >= 3"
    assert doubts(policy(f"forbid (principal, action, resource) unless {{ {safe} }};")) == {}
    assert doubts(policy(f"permit (principal, action, resource) when {{ {has} }};")) == {}


def test_a_rule_that_only_cedar_can_decide_is_slow():
    sums = policy("forbid (principal, action, resource is Dataset) when { resource.sensitivity + 1 > 0 };")
    assert doubts(sums) == {"p": {Doubt.SLOW}}


def test_a_rule_that_would_take_too_long_to_judge_is_counted_and_not_guessed_about(monkeypatch):
    monkeypatch.setattr(effects, "_MOST_FOR_ONE", 1)
    never = policy('permit (principal, action == Action::"load", resource is Dataset) when { resource.layer == "x" };')
    reported = report(never, used=frozenset({"p"}))
    assert reported == Report((), ("p",))
