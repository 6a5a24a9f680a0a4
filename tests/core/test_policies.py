"""One id holds one static policy that says what it means, inside its scope, and can be enforced."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core import policies
from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.moments import LATEST, read_datetime, write_datetime
from muniment.core.policies import (
    LONGEST_TEXT,
    Policy,
    PolicyKind,
    checked,
    compiled,
    confined_to,
    occasions_of,
)
from muniment.core.problems import InvalidPolicy, UnknownEnvironment
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA, Oracle

ANN = SubjectState(Subject.parse("user:ann"), "corp")


def check(cedar: str, scope: str = "all") -> Policy:
    return checked(Policy("p", cedar, scope), schema=SCHEMA, environments=["dev", "prod"])


def faults(cedar: str) -> str:
    with pytest.raises(InvalidPolicy) as refused:
        check(cedar)
    return " ".join(fault.message for fault in refused.value.faults)


def permit(condition: str) -> str:
    return f'permit (principal, action == Action::"load", resource) when {{ {condition} }};'


@pytest.mark.parametrize(
    "cedar",
    [
        "",
        "// nothing but a remark",
        "permit (principal, action, resource); permit (principal, action, resource);",
        "permit (principal == ?principal, action, resource);",
        "permit (principal, action, resource in ?resource);",
        "permit (principal, action, resource) when { true } ; forbid (principal, action, resource)",
    ],
)
def test_one_id_holds_exactly_one_static_policy(cedar):
    assert faults(cedar)


@pytest.mark.parametrize(
    "cedar",
    [
        'permit (principal, action == Action::"delete", resource);',
        permit('resource.colour == "red"'),
        permit("principal.height > 3"),
        permit('context.weekday == "monday"'),
        permit("principal.clearance > 3"),
        permit("principal has clearence && principal.clearence > 3"),
        permit("resource has clearance"),
        permit('context has porpose && context.porpose == "audit"'),
        permit('resource.tags == "pii"'),
        'permit (principal, action == Action::"administer", resource is Dataset);',
    ],
)
def test_a_policy_speaks_of_what_the_schema_knows(cedar):
    assert faults(cedar)


@pytest.mark.parametrize(
    "condition",
    [
        "principal has clearance && principal.clearance > 3",
        'principal has skills && principal.skills.contains("sql")',
        'principal has team && principal.team == "risk"',
        'resource has layer && resource.layer == "raw"',
        'context has purpose && context.purpose == "audit"',
        "principal in resource.owner",
    ],
)
def test_a_policy_may_ask_for_an_attribute_and_then_use_it(condition):
    assert condition.partition(" ")[0] in check(permit(condition)).cedar


@pytest.mark.parametrize(
    "condition",
    ['context.environment == "prd"', '["prod", "prd"].contains(context.environment)', '"prd" != context.environment'],
)
def test_an_environment_that_is_not_listed_is_refused(condition):
    with pytest.raises(UnknownEnvironment):
        check(permit(condition))


def test_the_base_layer_is_no_environment_that_is_asked_for():
    with pytest.raises(UnknownEnvironment, match="layer"):
        check(permit('context.environment == "base"'))


@pytest.mark.parametrize(
    "condition",
    [
        'context.now < datetime("2027-01-01")',
        'datetime("2027-01-01T10:00:00Z") <= context.now',
        'context.now != datetime("2027-01-01T10:00:00.123+0200")',
    ],
)
def test_now_may_be_compared_with_a_moment(condition):
    assert compiled(check(permit(condition))).boundaries


@pytest.mark.parametrize(
    ("condition", "boundaries", "clocks", "unsteady"),
    [
        ('context.now.toTime() < duration("8h")', [], [0, 8], False),
        ('duration("8h") <= context.now.toTime()', [], [0, 8], False),
        ('context.now.toTime() < duration("24h")', [], [0], False),
        ('context.now.toDate() == datetime("2027-01-01")', [], [0], False),
        ('context.now.offset(duration("1h")) < datetime("2027-01-01T02:00:00Z")', [1], [], False),
        ('context.now < datetime("2027-01-01").offset(duration("1h"))', [], [], True),
        ('context.now.durationSince(datetime("2027-01-01")) < duration("1h")', [], [], True),
        ('context.now.offset(duration("106751991167d")) < datetime("2027-01-01")', [], [], True),
        ("context.now == context.now", [], [], True),
        ('[context.now].contains(datetime("2027-01-01"))', [], [], True),
        ('{a: context.now}.a < datetime("2027-01-01")', [], [], True),
        ('(if true then context.now else datetime("2027-01-01")) < datetime("2027-01-01")', [], [], True),
        ('context.now < (if resource.sensitivity > 1 then datetime("2027-01-01") else context.now)', [], [], True),
    ],
)
def test_a_policy_knows_when_it_may_change_its_mind_or_that_it_cannot_know(condition, boundaries, clocks, unsteady):
    read = compiled(check(permit(condition)))
    assert list(read.boundaries) == [datetime(2027, 1, 1, hour, tzinfo=UTC) for hour in boundaries]
    assert list(read.clocks) == [timedelta(hours=hour) for hour in clocks]
    assert read.unsteady is unsteady


@pytest.mark.parametrize(
    "condition",
    [
        'context == {environment: "prod", now: datetime("2027-01-01")}',
        'context.now < datetime("0001-01-01T00:00:00+2300")',
        'context.now < datetime("9999-12-31T23:59:59.999Z")',
        'context.now.offset(duration("3650000d")) < datetime("2027-01-01")',
    ],
)
def test_the_context_as_a_whole_and_moments_that_no_calendar_has_are_refused(condition):
    assert faults(permit(condition))


@pytest.mark.parametrize(
    "condition",
    [
        'Dataset::"hr.people".sensitivity > 3',
        'User::"bob" in Group::"team"',
        'Dataset::"hr.people" in Domain::"hr"',
        'User::"bob" has clearance',
        '(if true then resource else Dataset::"hr.people").name == "hr.people"',
    ],
)
def test_a_policy_looks_into_nobody_but_those_asked_about(condition):
    assert "principal and resource" in faults(
        f'permit (principal, action == Action::"load", resource is Dataset) when {{ {condition} }};'
    )


def test_a_text_has_a_limit():
    assert "characters" in faults(permit(f'resource.name == "{"x" * LONGEST_TEXT}"'))


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 4000 + "true" + ")" * 4000,
        "!(" * 4000 + "true" + ")" * 4000,
        "[" * 4000 + "1" + "]" * 4000 + " == [1]",
        "{a: " * 4000 + "1" + "}" * 4000 + " == 1",
        "1" + " + 1" * 7000 + " == 2",
        "principal" + ".a" * 12_000 + " == 1",
        'principal["a"]' + '["a"]' * 5000 + " == 1",
        "f(" * 4000 + "1" + ")" * 4000,
        "true" + " && true" * 3000,
        "if true then true else " * 1200 + "true",
        "-" * 20_000 + "1 == 1",
    ],
    ids=lambda condition: condition[:12],
)
def test_a_deep_text_is_refused_before_a_parser_overflows_its_stack(condition):
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(faults(permit(condition))))
    thread.start()
    thread.join()
    assert found


@pytest.mark.parametrize(
    "cedar",
    [
        permit(f'resource.name == "{"x" * 2**20}"'),
        "permit (principal, action, resource);" * 30_000,
        "// " + "x" * 2**20,
        permit("true" + " || true" * 5_000),
        permit("(" * 60 + "true" + ")" * 60),
        permit("[" * 60 + "1" + "]" * 60 + " == [1]"),
        permit("{a: " * 60 + "1" + "}" * 60 + " == 1"),
        permit('"*" like "*"' + ' && "*" like "*"' * 900),
        permit("-" * 1_001 + "1 == 1"),
    ],
    ids=lambda cedar: cedar[69:85],
)
def test_what_is_too_large_or_too_deep_is_never_shown_to_the_parser(monkeypatch, cedar):
    shown: list[str] = []
    monkeypatch.setattr(policies.cedarpy, "policies_to_pst", shown.append)
    assert faults(cedar)
    assert shown == []


@pytest.mark.parametrize(
    "condition",
    [
        f'resource.name like "{"*a" * 300}*"',
        f'resource.name like "{"*" * 5_000}"',
        'resource.name like "' + r"\*" * 5_000 + '"',
        "(" + " || ".join(f'resource.name == "sales.n{number}"' for number in range(90)) + ")",
        " && ".join(f'(resource.name like "*{number}*" || resource.sensitivity > {number})' for number in range(60)),
        f"resource.tags.containsAny([{', '.join(map(json.dumps, map(str, range(1_500))))}])",
        "!(" * 45 + "resource.sensitivity > 1" + ")" * 45,
    ],
    ids=lambda condition: condition[:40],
)
def test_what_is_large_but_not_too_large_is_decided(condition):
    house = replace(HOUSE, policies={"p": check(permit(condition))})
    found = list_all(house, ANN, Wanted("prod"), NOON).decided
    expected = Oracle(house, ANN).decided(list(house.datasets.values()), Wanted("prod"), NOON)
    assert dict(found) == expected


def test_brackets_in_a_literal_or_a_remark_are_not_nesting():
    text = f'permit (principal, action == Action::"load", resource is Dataset) // {"(" * 300}\n'
    assert check(text + f'when {{ resource.name == "{"(" * 300} // \\" {"(" * 300}" }};')


@pytest.mark.parametrize(
    "cedar",
    [
        "permit(principal,action,resource);",
        permit('resource.name like "sales.*" || (principal has clearance && principal.clearance > 3)'),
        '@reason("because")\nforbid(principal, action, resource)\n// why\nunless { principal in Group::"x" };',
    ],
)
def test_formatting_twice_changes_nothing_more_and_never_the_meaning(cedar):
    once = check(cedar)
    assert check(once.cedar).cedar == once.cedar
    assert compiled(once).tree == compiled(Policy("p", cedar)).tree


# --- scope -----------------------------------------------------------------------------------------

HOUSE = Realm(
    1,
    SCHEMA,
    datasets={name: Dataset(name, "team") for name in ("hr.people", "sales.orders", "sales.emea.orders")},
    domains={name: Domain(name, "team") for name in ("hr", "sales", "sales.emea")},
    environments={"prod": Environment("prod")},
)

ESCAPES = [
    "permit (principal, action, resource);",
    "permit (principal, action, resource) when { true } unless { false };",
    'permit (principal, action, resource in Domain::"all");',
    'permit (principal, action, resource in Domain::"hr");',
    'permit (principal, action, resource == Dataset::"hr.people");',
    'permit (principal, action, resource) when { true || resource in Domain::"hr" };',
    "permit (principal, action, resource) when { true } // ",
    "permit (principal, action, resource) when { true }; //",
    'permit (principal, action, resource) when { "} ; permit (principal, action, resource); //" == "" || true };',
    'permit (principal, action, resource) when { resource.name like "*" } /* ',
    "permit (principal, action, resource) when { true } } ; permit (principal, action, resource) when { true };",
    'permit (principal, action, resource) unless { resource in Domain::"sales.emea" };',
    '@scope("all")\npermit (principal, action, resource);',
]


@pytest.mark.parametrize("cedar", ESCAPES)
def test_no_wording_reaches_outside_the_scope(cedar):
    try:
        policy = check(cedar, scope="sales.emea")
    except InvalidPolicy:
        return
    house = Realm(1, SCHEMA, HOUSE.datasets, HOUSE.domains, HOUSE.environments, policies={"p": policy})
    decided = list_all(house, ANN, Wanted("prod"), NOON).decided
    assert [name for name, found in decided.items() if found.load.allowed] in ([], ["sales.emea.orders"])


def test_wordings_that_try_to_leave_their_scope_are_not_all_refused():
    readable = [cedar for cedar in ESCAPES if _readable(cedar)]
    assert 6 <= len(readable) < len(ESCAPES)


def _readable(cedar: str) -> bool:
    try:
        return bool(check(cedar))
    except InvalidPolicy:
        return False


@pytest.mark.parametrize(
    ("head", "scope", "within"),
    [
        ("resource", "all", None),
        ("resource", "sales", "sales"),
        ('resource in Domain::"sales.emea"', "sales", "sales.emea"),
        ('resource in Domain::"sales"', "sales.emea", "sales.emea"),
        ('resource is Dataset in Domain::"sales"', "all", "sales"),
        ('resource in Domain::"all"', "all", None),
        ('resource == Dataset::"sales.emea.orders"', "sales", "sales.emea"),
        ('resource in Domain::"hr"', "sales", "sales"),
    ],
)
def test_a_policy_knows_the_narrowest_domain_that_it_reaches(head, scope, within):
    assert compiled(Policy("p", f"permit (principal, action, {head});", scope)).within == within


# --- what a policy depends on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "condition", "environments"),
    [
        ("permit", 'context.environment == "prod"', {"prod"}),
        ("permit", 'resource.sensitivity > 1 && ["dev", "prod"].contains(context.environment)', {"dev", "prod"}),
        ("permit", 'context.environment == "prod" && context.environment == "dev"', set()),
        ("permit", 'context.environment == "prod" || resource.sensitivity > 1', None),
        ("permit", 'context.environment != "prod"', None),
        ("forbid", 'context.environment == "prod" && resource.sensitivity + 1 > 1', {"prod"}),
        ("forbid", 'resource in Domain::"sales" && context.environment == "prod"', {"prod"}),
        ("forbid", 'resource.sensitivity + 1 > 1 && context.environment == "prod"', None),
    ],
)
def test_a_policy_is_confined_to_the_environments_outside_of_which_it_is_never_satisfied(
    effect, condition, environments
):
    policy = Policy("p", f"{effect} (principal, action, resource) when {{ {condition} }};", "sales")
    assert confined_to(compiled(policy)) == environments


def test_an_obligation_that_may_err_is_confined_to_no_environment():
    def mask(condition: str) -> Policy:
        return Policy("m", permit(condition), kind=PolicyKind.MASK)

    assert confined_to(compiled(mask('context.environment == "prod" && resource.sensitivity + 1 > 1'))) == {"prod"}
    assert confined_to(compiled(mask('resource.sensitivity + 1 > 1 && context.environment == "prod"'))) is None


def test_whatever_looks_at_a_purpose_may_mean_one_that_it_does_not_name():
    read = occasions_of(compiled(Policy("p", permit('context has purpose && context.purpose != "audit"'))))
    assert set(read.purposes) == {"audit", "(another)"}
    assert read.projects == ()


# --- moments ---------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1900, 1, 2), LATEST.replace(tzinfo=None), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_moment_is_written_as_it_is_read_to_the_millisecond(moment):
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert read_datetime(write_datetime(moment)) == cut


@pytest.mark.parametrize(
    "text", ["2027", "2027-13-01", "2027-01-01T24:00:00Z", "2027-01-01T10:00:00", "٢٠٢٧-01-01", "0000-01-01", ""]
)
def test_what_cedar_does_not_read_as_a_moment_is_none(text):
    assert read_datetime(text) is None


def test_the_actions_of_a_policy_are_those_of_its_head():
    assert compiled(Policy("p", permit("true"))).actions == {Action.LOAD}
    assert compiled(Policy("p", "permit (principal, action, resource);")).actions == set(Action)
