"""Forms read back: a text of a form's shape is that form, whoever wrote it, and no other text is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import cedarpy
import pytest
from cedarpy import pst
from hypothesis import given

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.expressions import write_expression
from muniment.core.forms import Comparison, Demand, Form
from muniment.core.policies import Policy, PolicyKind, checked, one_static
from muniment.core.readings import form_of, reading
from muniment.core.realm import Realm
from muniment.core.schema import Action, schema_text
from muniment.core.subjects import Subject, SubjectState
from tests.core.generated_forms import forms
from tests.core.generated_realms import case_of
from tests.core.oracle import NOON

SCHEMA = schema_text({"clearance": "long", "team": "string", "skills": "set", "vip": "boolean"})
LOAD = frozenset({Action.LOAD})


@given(forms())
def test_a_form_is_read_back_from_its_text(form: Form) -> None:
    assert form_of(form.cedar(), form.kind) == form


@given(forms())
def test_a_form_is_read_back_from_its_text_in_cedars_own_formatting(form: Form) -> None:
    assert form_of(cedarpy.format_policies(form.cedar()), form.kind) == form


@given(forms())
def test_every_form_is_a_policy_that_validates(form: Form) -> None:
    demanded = {"columns": ["email"], "action": "replace-with-null"}
    obligation = {
        PolicyKind.ACCESS: None,
        PolicyKind.MASK: demanded,
        PolicyKind.ROW_FILTER: {"type": "is-null", "term": "x"},
    }
    policy = Policy("p", form.cedar(), kind=form.kind, obligation=obligation[form.kind])
    checked(policy, schema=SCHEMA, environments=["dev", "prod"])


@given(forms())
def test_no_form_is_slow(form: Form) -> None:
    house = Realm(1, SCHEMA, policies={"p": Policy("p", form.cedar(), kind=form.kind)})
    assert [rule for rule in house.rules["p"] if rule.slow] == []


def rule(head: str, conditions: str = "", effect: str = "permit") -> str:
    return f"{effect} ({head}) {conditions};"


ALL = 'principal, action == Action::"load", resource'


@pytest.mark.parametrize(
    ("cedar", "form"),
    [
        (rule(ALL), Form(LOAD)),
        (rule(ALL, "when { true && false }"), None),
        (
            rule('principal in Group::"a", action in [Action::"load"], resource is Dataset'),
            Form(LOAD, principals=("a",)),
        ),
        (rule('principal == User::"ann", action == Action::"load", resource'), Form(LOAD, principals=("user:ann",))),
        (rule('principal is User, action == Action::"load", resource'), None),
        (rule('principal is User in Group::"a", action == Action::"load", resource'), None),
        (rule('principal, action == Action::"grant", resource is Domain'), None),
        (rule('principal, action == Action::"grant", resource == Domain::"sales"'), None),
        (rule('principal, action == Action::"grant", resource is Dataset'), None),
        (rule('principal, action == Action::"load", resource in Dataset::"a.b"'), Form(LOAD, names=("a.b",))),
        (
            rule(ALL, 'when { principal == User::"ann" || principal in Group::"a" }'),
            Form(LOAD, principals=("a", "user:ann")),
        ),
        (rule(ALL, 'when { principal in Group::"a" && principal in Group::"b" }'), None),
        (
            rule(ALL, 'when { resource.tags.contains("x") && resource.tags.contains("y") }'),
            Form(LOAD, tags_all={"x", "y"}),
        ),
        (
            rule(ALL, 'when { resource.tags.contains("x") || resource.tags.containsAny(["y", "z"]) }'),
            Form(LOAD, tags_any={"x", "y", "z"}),
        ),
        (rule(ALL, 'when { resource.tags.contains("x") || resource.tags.containsAll(["y", "z"]) }'), None),
        (
            rule(ALL, 'when { !resource.tags.contains("x") } unless { principal in Group::"a" }'),
            Form(LOAD, tags_none={"x"}, except_groups=("a",)),
        ),
        (rule(ALL, 'when { !resource.tags.containsAll(["x", "y"]) }'), None),
        (rule(ALL, 'unless { resource.tags.contains("x") }'), None),
        (rule(ALL, "when { resource.tags.containsAny([]) }"), None),
        (
            rule(ALL, 'when { !(principal in Group::"a" || principal == User::"b") }'),
            Form(LOAD, except_groups=("a", "user:b")),
        ),
        (rule(ALL, 'when { "prod" == context.environment }'), Form(LOAD, environments={"prod"})),
        (rule(ALL, 'when { context.environment != "prod" }'), None),
        (
            rule(ALL, 'when { context.environment == "prod" || context.environment == "dev" }'),
            Form(LOAD, environments={"prod", "dev"}),
        ),
        (rule(ALL, 'when { context.environment == "prod" || resource.classification == "dev" }'), None),
        (rule(ALL, 'when { context has purpose && context.purpose == "audit" }'), Form(LOAD, purposes={"audit"})),
        (rule(ALL, "when { context has purpose }"), None),
        (
            rule(ALL, "when { principal has clearance && principal.clearance > 2 && 9 >= principal.clearance }"),
            Form(
                LOAD,
                attributes=(Demand("clearance", Comparison.AT_LEAST, 3), Demand("clearance", Comparison.AT_MOST, 9)),
            ),
        ),
        (rule(ALL, "when { principal has clearance && principal.clearance == 2 }"), None),
        (rule(ALL, "when { principal has clearance && principal.clearance < 2 }", "forbid"), None),
        (rule(ALL, "when { (if principal has clearance then principal.clearance < 2 else true) }"), None),
        (
            rule(ALL, "when { (if principal has clearance then principal.clearance < 2 else true) }", "forbid"),
            Form(LOAD, "forbid", attributes=(Demand("clearance", Comparison.AT_MOST, 1),)),
        ),
        (rule(ALL, "when { (if principal has clearance then principal.clearance < 2 else false) }", "forbid"), None),
        (rule(ALL, "unless { principal has vip && principal.vip == true }"), None),
        (
            rule(ALL, "unless { principal has vip && principal.vip == true }", "forbid"),
            Form(LOAD, "forbid", except_attributes=(Demand("vip", Comparison.IS, True),)),
        ),
        (rule(ALL, "unless { principal has clearance && principal has vip && principal.vip }", "forbid"), None),
        (
            rule(ALL, 'when { principal.issuer == "corp" }'),
            Form(LOAD, attributes=(Demand("issuer", Comparison.ONE_OF, frozenset({"corp"})),)),
        ),
        (rule(ALL, "when { principal in resource.owner }"), None),
        (rule(ALL, 'when { resource.owner == Group::"a" }'), Form(LOAD, owners=("a",))),
        (rule(ALL, 'when { resource.name == "a.b" || resource.name like "c.*" }'), Form(LOAD, names=("a.b", "c.*"))),
        (rule(ALL, r'when { resource.name like "c.\*" }'), None),
        (rule(ALL, r'when { resource.name like "*.*b" }'), Form(LOAD, names=("*.*b",))),
        (rule(ALL, 'when { resource == Domain::"sales" }'), None),
        (
            rule(ALL, "when { resource.sensitivity < 3 && resource.sensitivity >= 0 }"),
            Form(LOAD, sensitivity_at_least=0, sensitivity_at_most=2),
        ),
        (
            rule(ALL, 'when { datetime("2027-03-31") > context.now }'),
            Form(LOAD, valid_to=datetime(2027, 3, 31, tzinfo=UTC)),
        ),
        (rule(ALL, 'when { context.now <= datetime("2027-03-31") }'), None),
    ],
)
def test_a_text_is_the_form_that_says_the_same_and_none_if_no_form_does(cedar: str, form: Form | None) -> None:
    wanted = form and Form(**{field: _frozen(getattr(form, field)) for field in Form.__dataclass_fields__})
    assert form_of(cedar) == wanted


def _frozen(value: object) -> object:
    return frozenset(value) if isinstance(value, set) else value


def test_every_action_on_datasets_is_every_one_but_what_is_never_done_to_them() -> None:
    form = form_of("forbid (principal, action, resource is Dataset) when { resource.sensitivity > 3 };")
    assert form is not None
    assert form.actions == frozenset(Action) - {Action.ADMINISTER}


def test_what_has_no_place_in_a_form_is_left_over_in_its_order() -> None:
    found = reading(
        rule(
            ALL,
            'when { principal in resource.owner && resource.tags.contains("x") && principal.issuer == "a" || false }',
        )
    )
    assert [write_expression(clause.expr) for clause in found.rest] == [
        'principal in resource.owner && resource.tags.contains("x") && principal.issuer == "a" || false'
    ]
    parts = (
        'when { principal in resource.owner && resource.tags.contains("x") && context.now.toTime() > duration("1h") }'
    )
    found = reading(rule(ALL, f'{parts} unless {{ principal in Group::"a" || resource has layer }}'))
    assert found.form == Form(LOAD, tags_all=frozenset({"x"}), except_groups=("a",))
    assert [(type(clause), write_expression(clause.expr)) for clause in found.rest] == [
        (pst.When, "principal in resource.owner"),
        (pst.When, 'context.now.toTime() > duration("1h")'),
        (pst.Unless, "resource has layer"),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_what_is_read_as_a_form_decides_as_it_did(seed: int) -> None:
    case = case_of(Random(seed))
    forms = {id_: form_of(policy.cedar, policy.kind) for id_, policy in case.realm.policies.items()}
    rendered = {
        id_: replace(policy, cedar=form.cedar() if (form := forms[id_]) else policy.cedar)
        for id_, policy in case.realm.policies.items()
    }
    again = replace(case.realm, policies=rendered)
    before, after = (list_all(realm, case.asker, case.wanted, case.at) for realm in (case.realm, again))
    assert (before.decided, before.until) == (after.decided, after.until)


def test_many_of_the_policies_that_others_write_are_forms() -> None:
    policies = [policy for seed in range(60) for policy in case_of(Random(seed)).realm.policies.values()]
    read = [form_of(policy.cedar, policy.kind) is not None for policy in policies]
    assert 0.1 < sum(read) / len(read) < 0.9


# --- whoever lacks an attribute ----------------------------------------------------------------------

UNKNOWN = SubjectState(Subject.parse("user:ann"), "corp")
TRUSTED = replace(UNKNOWN, attributes={"clearance": 50})
KEPT_OUT = replace(UNKNOWN, attributes={"clearance": 10})
AT_LEAST_50 = (Demand("clearance", Comparison.AT_LEAST, 50),)
AT_MOST_10 = (Demand("clearance", Comparison.AT_MOST, 10),)


def loads(*forms: Form) -> list[bool]:
    """Whether those of a high clearance, of a low one, and of none load, by these rules together."""
    house = Realm(
        1,
        SCHEMA,
        datasets={"sales.orders": Dataset("sales.orders", "team")},
        domains={"sales": Domain("sales", "team")},
        environments={"prod": Environment("prod")},
        policies={str(number): Policy(str(number), form.cedar(), kind=form.kind) for number, form in enumerate(forms)},
    )
    wanted = Wanted("prod")
    return [bool(list_all(house, asker, wanted, NOON).names(Action.LOAD)) for asker in (TRUSTED, KEPT_OUT, UNKNOWN)]


def test_a_permit_means_nobody_who_lacks_an_attribute_that_it_asks_for() -> None:
    assert loads(Form(LOAD, attributes=AT_LEAST_50)) == [True, False, False]
    assert loads(Form(LOAD, attributes=AT_MOST_10)) == [False, True, False]


def test_a_forbid_means_everybody_who_lacks_an_attribute_that_it_asks_for() -> None:
    assert loads(Form(LOAD), Form(LOAD, "forbid", attributes=AT_MOST_10)) == [True, False, False]
    assert loads(Form(LOAD), Form(LOAD, "forbid", except_attributes=AT_LEAST_50)) == [True, False, False]


def test_a_permit_leaves_out_those_who_lack_an_attribute_by_which_it_leaves_out() -> None:
    assert loads(Form(LOAD, except_attributes=AT_MOST_10)) == [True, False, False]


def test_a_mask_lies_on_those_who_lack_an_attribute_that_it_asks_for() -> None:
    form = Form(LOAD, kind=PolicyKind.MASK, attributes=AT_MOST_10)
    tree = one_static(form.cedar())
    assert write_expression(tree.clauses[0].expr) == (
        "if principal has clearance then principal.clearance <= 10 else true"
    )


# --- expressions as text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        r'principal.issuer == "a\"\n" && (resource.name like "x*\*" || !resource.tags.contains("x"))',
        "(true || false) && (if true then true else false) && (false || (true && !(!(1 < 2))))",
        "1 - (2 - 3) * -4 == 1 - 2 - 3 && -(5) < 3 && -9223372036854775808 < 3 && -(-resource.sensitivity) > 0",
        'principal is User in Group::"s" && resource in [Domain::"a", Domain::"b"] && principal has clearance',
        '{a: 3, "b c": {x: 1}}.a == 3 && {a: 1} has "b c" && principal["in"] == {b: 1}["b"]',
        'ip("1.1.1.1").isInRange(ip("::1/3")) && ip("::1").isIpv6() && decimal("1.0").lessThanOrEqual(decimal("2.0"))',
        'context.now.toTime() > duration("1h") && context.now.offset(duration("-1d")).toDate() < context.now',
        "context.now.durationSince(context.now).toMilliseconds() == 3 && [].isEmpty() && [1, 2].contains(1)",
        "(1 < 2) == (2 < 1) && (true && false) == (if true then false else true)",
    ],
)
def test_an_expression_is_written_as_cedar_reads_it(condition: str) -> None:
    expression = one_static(rule(ALL, f"when {{ {condition} }}")).clauses[0].expr
    again = one_static(rule(ALL, f"when {{ {write_expression(expression)} }}")).clauses[0].expr
    assert again == expression


@pytest.mark.parametrize("seed", range(40))
def test_any_expression_is_written_as_cedar_reads_it(seed: int) -> None:
    for policy in case_of(Random(seed)).realm.policies.values():
        for clause in one_static(policy.cedar).clauses:
            again = one_static(rule(ALL, f"when {{ {write_expression(clause.expr)} }}")).clauses[0].expr
            assert again == clause.expr
