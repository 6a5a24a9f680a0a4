"""A grant, and a form, is the Cedar policy that says the same; no text breaks out of its literal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide_governing, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.forms import Form
from muniment.core.grants import Grant
from muniment.core.groups import Group, is_builtin
from muniment.core.policies import Policy, checked, compiled
from muniment.core.problems import Invalid
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import Subject, SubjectState, readable_id
from tests.core.oracle import NOON, SCHEMA

LOAD = frozenset({Action.LOAD})
ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}))
BOB = SubjectState(Subject.parse("user:bob"), "corp", frozenset({"analysts", "interns"}))
ETL = SubjectState(Subject.parse("service:etl"), "corp")

HOUSE = Realm(
    1,
    SCHEMA,
    datasets={
        "sales.orders": Dataset("sales.orders", "team", tags=frozenset({"eu", "pii"})),
        "sales.emea.rows": Dataset("sales.emea.rows", "team", tags=frozenset({"eu"}), classification="public"),
        "hr.people": Dataset("hr.people", "team", tags=frozenset({"pii"})),
        "hr.star_rows": Dataset("hr.star_rows", "team"),
    },
    domains={name: Domain(name, "team") for name in ("sales", "sales.emea", "hr")},
    environments={name: Environment(name) for name in ("dev", "prod")},
    groups={"team": Group("team", frozenset({Subject.parse("user:ann")}))},
)


def loads(form: Form, asker: SubjectState = ANN, wanted: Wanted = Wanted("prod"), after: float = 0) -> set[str]:  # noqa: B008
    """What a form alone lets somebody load."""
    policy = checked(Policy("p", form.cedar()), schema=SCHEMA, environments=["dev", "prod"])
    house = replace(HOUSE, policies={"p": policy})
    return set(list_all(house, asker, wanted, NOON + timedelta(seconds=after)).names(Action.LOAD))


EVERY = set(HOUSE.datasets)


@pytest.mark.parametrize(
    ("form", "loaded"),
    [
        (Form(LOAD), EVERY),
        (Form(LOAD, domains=("all",)), EVERY),
        (Form(LOAD, domains=("sales",)), {"sales.orders", "sales.emea.rows"}),
        (Form(LOAD, domains=("sales.emea", "hr")), {"sales.emea.rows", "hr.people", "hr.star_rows"}),
        (Form(LOAD, names=("sales.orders",)), {"sales.orders"}),
        (Form(LOAD, names=("sales.orders", "hr.people")), {"sales.orders", "hr.people"}),
        (Form(LOAD, names=("*rows",)), {"sales.emea.rows", "hr.star_rows"}),
        (Form(LOAD, names=("*rows", "hr.people")), {"sales.emea.rows", "hr.star_rows", "hr.people"}),
        (Form(LOAD, domains=("hr",), names=("*rows",)), {"hr.star_rows"}),
        (Form(LOAD, domains=("hr",), names=("sales.orders",)), set()),
        (Form(LOAD, tags_all=frozenset({"eu", "pii"})), {"sales.orders"}),
        (Form(LOAD, tags_any=frozenset({"eu", "pii"})), {"sales.orders", "sales.emea.rows", "hr.people"}),
        (Form(LOAD, tags_none=frozenset({"eu", "pii"})), {"hr.star_rows"}),
        (Form(LOAD, tags_any=frozenset({"eu"}), tags_none=frozenset({"pii"})), {"sales.emea.rows"}),
        (Form(LOAD, classifications=frozenset({"public"})), {"sales.emea.rows"}),
        (Form(LOAD, domains=("sales",), classifications=frozenset({"internal"})), {"sales.orders"}),
        (Form(LOAD, environments=frozenset({"prod", "dev"})), EVERY),
        (Form(LOAD, environments=frozenset({"dev"})), set()),
        (Form(LOAD, principals=("user:ann",)), EVERY),
        (Form(LOAD, principals=("service:ann",)), set()),
        (Form(LOAD, principals=("team",)), EVERY),
        (Form(LOAD, principals=("nobody", "user:zoe", "analysts")), EVERY),
        (Form(LOAD, principals=("nobody", "user:zoe")), set()),
        (Form(LOAD, except_groups=("interns",)), EVERY),
        (Form(LOAD, except_groups=("interns", "user:ann")), set()),
        (Form(frozenset({Action.SAVE})), set()),
        (Form(frozenset(DATA_ACTIONS)), EVERY),
    ],
)
def test_a_form_means_what_it_says(form, loaded):
    assert loads(form) == loaded


def test_those_excepted_are_left_out():
    form = Form(LOAD, principals=("analysts",), except_groups=("interns",))
    assert (loads(form, ANN), loads(form, BOB), loads(form, ETL)) == (EVERY, set(), set())


def test_a_form_for_a_purpose_holds_for_that_purpose_alone():
    form = Form(LOAD, purposes=frozenset({"audit", "churn"}))
    told = [loads(form, wanted=Wanted("prod", purpose=purpose)) for purpose in ("audit", "churn", "other", None)]
    assert told == [EVERY, EVERY, set(), set()]


def test_a_form_begins_at_its_first_moment_and_has_ended_at_its_last():
    form = Form(LOAD, valid_from=NOON, valid_to=NOON + timedelta(seconds=10))
    told = [bool(loads(form, after=seconds)) for seconds in (-0.001, 0, 9.999, 10)]
    assert told == [False, True, True, False]


def test_a_forbid_is_a_form_too():
    policies = {
        "all": Policy("all", Form(LOAD).cedar()),
        "pii": Policy("pii", Form(LOAD, effect="forbid", tags_any=frozenset({"pii"}), except_groups=("team",)).cedar()),
    }
    house = replace(HOUSE, policies=policies)
    assert list_all(house, BOB, Wanted("prod"), NOON).names(Action.LOAD) == ("hr.star_rows", "sales.emea.rows")
    assert list_all(house, ANN, Wanted("prod"), NOON).names(Action.LOAD) == tuple(sorted(EVERY))


@pytest.mark.parametrize(
    "form",
    [
        Form(frozenset()),
        Form(frozenset({Action.GRANT}), environments=frozenset({"prod"})),
        Form(frozenset({Action.GRANT}), purposes=frozenset({"audit"})),
        Form(frozenset({Action.ADMINISTER}), names=("sales.orders",)),
        Form(frozenset({Action.ADMINISTER}), tags_any=frozenset({"pii"})),
        Form(LOAD, domains=("Sales",)),
        Form(LOAD, domains=("",)),
        Form(LOAD, names=("orders",)),
        Form(LOAD, principals=("user:",)),
    ],
)
def test_a_form_that_says_nothing_sensible_is_refused(form):
    with pytest.raises(Invalid):
        form.cedar()


@pytest.mark.parametrize("count", [2, 150, 400])
def test_many_of_anything_are_still_one_policy(count):
    form = Form(
        LOAD,
        principals=("user:ann", *(f"group{number}" for number in range(count))),
        names=("hr.people", *(f"hr.table{number}" for number in range(count))),
        except_groups=tuple(f"other{number}" for number in range(count)),
    )
    assert loads(form) == {"hr.people"}


# --- hostile texts ---------------------------------------------------------------------------------

HOSTILE = [
    'x" }; permit (principal, action, resource); //',
    "x\\",
    'x\\"',
    "x\\u{22} || true",
    "\\u{61}nn",
    "x*y",
    "x\u202ey",
    "x\u2028y",
    "x\ny",
    "x\x00y",
    "x\ty",
    "é 漢 🙂",
    "\\n",
    "${x}",
    "?principal",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_group_is_a_group_of_that_name_and_nothing_else(text):
    told = SubjectState(Subject.parse("user:ann"), "corp", frozenset({text}))
    form = Form(LOAD, principals=(text,), except_groups=(text + "2",))
    assert (loads(form, told), loads(form, ANN)) == (EVERY, set())


@given(st.text(min_size=1).filter(lambda text: readable_id(text) and not is_builtin(text)), st.text(min_size=1))
def test_no_text_breaks_out_of_its_literal(group, tag):
    tag = tag.encode("utf-8", "ignore").decode() or "t"
    form = Form(LOAD, principals=(group,), tags_all=frozenset({tag}))
    tree = compiled(Policy("p", form.cedar())).tree
    assert (tree.principal.entity.id, len(tree.clauses)) == (group, 1)
    assert tree.clauses[0].expr.right.elements[0].value == tag


def test_a_hostile_subject_is_that_subject_alone():
    id_ = 'ann" || "" == "'
    told = SubjectState(Subject.parse(f"user:{id_}"), "corp")
    form = Form(LOAD, principals=(f"user:{id_}",))
    assert (loads(form, told), loads(form, ANN)) == (EVERY, set())


def test_a_backslash_in_a_pattern_is_itself_and_a_star_is_any_characters():
    assert loads(Form(LOAD, names=("hr\\.*",))) == set()
    assert loads(Form(LOAD, names=("hr.\\*",))) == set()
    assert loads(Form(LOAD, names=("hr.*",))) == {"hr.people", "hr.star_rows"}
    assert loads(Form(LOAD, names=('*"*',))) == set()


# --- grants ----------------------------------------------------------------------------------------


def test_a_grant_on_a_dataset_is_scoped_to_its_domain_and_ends():
    grant = Grant("g1", "analysts", LOAD, "sales.orders", until=NOON, because="the audit", version=3, kind="dataset")
    policy = grant.policy()
    assert (policy.id, policy.scope, policy.reason, policy.version) == ("grant:g1", "sales", "the audit", 3)
    house = replace(HOUSE, grants={"g1": grant})
    before = list_all(house, ANN, Wanted("prod"), NOON - timedelta(seconds=1))
    assert (before.names(Action.LOAD), before.until) == (("sales.orders",), NOON)
    assert list_all(house, ANN, Wanted("prod"), NOON).names(Action.LOAD) == ()


def test_a_grant_on_everything_reaches_every_domain():
    everything = Grant("g", "user:ann", frozenset({Action.ADMINISTER}), "all", because="the first")
    house = replace(HOUSE, grants={"g": everything})
    answers = decide_governing(house, ANN, Action.ADMINISTER, ["all", "hr", "sales.emea"], NOON)
    assert [answer.because for answer in answers] == [("grant:g",)] * 3


def test_a_changed_grant_is_read_anew():
    grant = Grant("g", "user:ann", LOAD, "hr")
    assert replace(grant, on="sales").policy().scope == "sales"
    assert grant.policy().scope == "hr"
