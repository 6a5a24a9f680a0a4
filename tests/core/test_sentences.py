"""Every rule has one plain sentence, which says what the rule says and tells it from every other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muniment.core.forms import Comparison, Demand, Form
from muniment.core.grants import Grant
from muniment.core.masks import MaskAction
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid
from muniment.core.readings import reading
from muniment.core.schema import Action
from muniment.core.sentences import sentence
from tests.core.generated_forms import forms
from tests.core.generated_realms import case_of

LOAD = frozenset({Action.LOAD})
LOAD_AND_SAVE = frozenset({Action.LOAD, Action.SAVE})
STEWARDSHIP = frozenset({Action.DECLARE, Action.CLASSIFY, Action.GRANT, Action.APPROVE, Action.AUDIT})
NULLED = {"columns": ["email"], "action": "replace-with-null"}
EUROPE = {"type": "eq", "term": "region", "value": "EU"}
NO_CLEARANCE = (Demand("clearance", Comparison.AT_MOST, 3),)
SKILLED = (
    Demand("clearance", Comparison.AT_LEAST, 3),
    Demand("skills", Comparison.ALL_OF, frozenset({"r", "sql"})),
    Demand("team", Comparison.ONE_OF, frozenset({"core", "data"})),
)


def texts(*named: str) -> frozenset[str]:
    return frozenset(named)


def says(form: Form, scope: str = "all", obligation: dict[str, object] | None = None) -> str:
    return sentence(Policy("p", form.cedar(), scope=scope, kind=form.kind, obligation=obligation))


def day(year: int, month: int, day_: int, *time: int) -> datetime:
    return datetime(year, month, day_, *time, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "scope", "said"),
    [
        (
            Form(
                LOAD,
                principals=("sales-analysts",),
                tags_all=texts("public"),
                environments=texts("dev", "prod"),
                valid_to=day(2027, 3, 31),
            ),
            "sales",
            (
                "Members of sales-analysts may load every dataset of sales tagged public, in dev and prod, "
                "until 31 March 2027."
            ),
        ),
        (Form(LOAD), "all", "Everybody may load every dataset."),
        (Form(LOAD, domains=("all",)), "all", "Everybody may load every dataset."),
        (
            Form(LOAD_AND_SAVE, "forbid", tags_any=texts("pii"), except_groups=("privacy",)),
            "sales",
            "Nobody may load or save any dataset of sales tagged pii, except members of privacy.",
        ),
        (
            Form(
                frozenset({Action.DISCOVER}),
                "forbid",
                principals=("contractors", "interns"),
                environments=texts("a", "b"),
            ),
            "hr",
            "Members of contractors or interns may not discover any dataset of hr, in a or b.",
        ),
        (
            Form(LOAD, principals=("user:ann", "service:nightly", "analysts"), names=("sales.orders", "sales.items")),
            "sales",
            "Members of analysts, the service nightly or the user ann may load sales.items and sales.orders.",
        ),
        (
            Form(LOAD, names=("sales.orders",), tags_none=texts("pii", "secret")),
            "sales",
            "Everybody may load every dataset of sales named sales.orders, and not tagged pii or secret.",
        ),
        (
            Form(LOAD, "forbid", classifications=texts("confidential"), except_attributes=SKILLED[:1]),
            "all",
            "Nobody may load any dataset classified confidential, unless their clearance is at least 3.",
        ),
        (
            Form(LOAD, principals=("analysts",), attributes=SKILLED),
            "sales",
            (
                "Members of analysts may load every dataset of sales, if their clearance is at least 3, and their "
                "skills include r and sql, and their team is core or data."
            ),
        ),
        (
            Form(LOAD, "forbid", attributes=NO_CLEARANCE),
            "sales",
            "Nobody may load any dataset of sales, if their clearance is at most 3 (or unknown).",
        ),
        (
            Form(LOAD, except_attributes=NO_CLEARANCE),
            "all",
            "Everybody may load every dataset, unless their clearance is at most 3 (or unknown).",
        ),
        (
            Form(STEWARDSHIP, principals=("stewards",), domains=("sales",)),
            "all",
            (
                "Members of stewards may declare, classify, grant access to, approve requests for and audit sales and "
                "everything in it."
            ),
        ),
        (
            Form(frozenset(Action), principals=("platform",)),
            "all",
            "Members of platform may do anything to everything.",
        ),
        (
            Form(frozenset({Action.AUDIT}), "forbid", domains=("hr", "sales"), owners=("team", "user:ann")),
            "all",
            "Nobody may audit hr, sales or anything in them, as far as owned by team or the user ann.",
        ),
        (
            Form(
                LOAD,
                domains=("sales", "hr"),
                names=("hr.*",),
                sensitivity_at_most=50,
                layers=texts("gold"),
                lifecycles=texts("active", "deprecated"),
                purposes=texts("audit", "churn"),
                projects=texts("forecast"),
                valid_from=day(2027, 1, 1, 14, 30),
            ),
            "all",
            (
                "Everybody may load every dataset of hr or sales named hr.*, and of a sensitivity of at most 50, and "
                "whose layer is gold, and whose lifecycle is active or deprecated, for the purpose audit or churn, in "
                "the project forecast, from 14:30 UTC on 1 January 2027 on."
            ),
        ),
        (
            Form(
                LOAD,
                sensitivity_at_least=3,
                sensitivity_at_most=9,
                valid_from=day(2027, 1, 1),
                valid_to=day(2027, 2, 1),
            ),
            "all",
            "Everybody may load every dataset of a sensitivity from 3 to 9, from 1 January 2027 until 1 February 2027.",
        ),
        (Form(LOAD, domains=("hr",)), "sales", "Everybody may load every dataset of hr within sales."),
        (Form(LOAD, domains=("sales.emea",)), "sales", "Everybody may load every dataset of sales.emea."),
        (
            Form(LOAD, principals=("people & culture", "or"), tags_any=texts('a "b"', "c")),
            "all",
            'Members of "or" or "people & culture" may load every dataset tagged "a \\"b\\"" or c.',
        ),
        (
            Form(LOAD, valid_to=day(2027, 3, 31, 23, 59, 59)),
            "all",
            "Everybody may load every dataset, until 23:59:59 UTC on 31 March 2027.",
        ),
    ],
)
def test_a_form_is_said_in_a_sentence(form: Form, scope: str, said: str) -> None:
    assert says(form, scope) == said


@pytest.mark.parametrize(
    ("form", "obligation", "said"),
    [
        (
            Form(LOAD, kind=PolicyKind.MASK, principals=("analysts",), except_groups=("customer-care",)),
            NULLED,
            (
                "Members of analysts see every dataset of sales with the column email masked (replaced with null), "
                "except members of customer-care."
            ),
        ),
        (
            Form(LOAD, kind=PolicyKind.MASK, environments=texts("prod")),
            {"columns": ["email", "phone"], "column_tags": ["address", "name"], "action": "show-last-4"},
            (
                "Everybody sees every dataset of sales with the columns email and phone, and every column tagged "
                "address or name, masked (but for the last four characters), in prod."
            ),
        ),
        (
            Form(LOAD, kind=PolicyKind.MASK, principals=("user:ann",)),
            {"column_tags": ["name"], "action": "sha-256-global"},
            "The user ann sees every dataset of sales with every column tagged name masked (hashed).",
        ),
        (
            Form(LOAD, kind=PolicyKind.ROW_FILTER, principals=("emea",), names=("sales.orders",)),
            EUROPE,
            "Members of emea see only those rows of sales.orders where region = 'EU'.",
        ),
        (
            Form(LOAD, kind=PolicyKind.ROW_FILTER),
            {
                "type": "and",
                "left": {"type": "or", "left": EUROPE, "right": {"type": "is-null", "term": "region"}},
                "right": {"type": "not", "child": {"type": "in", "term": "the state", "values": [1, "it's", True]}},
            },
            (
                "Everybody sees only those rows of every dataset of sales where (region = 'EU' or region is null) and "
                "not (\"the state\" is one of 1, 'it''s' or true)."
            ),
        ),
    ],
)
def test_a_mask_and_a_row_filter_say_what_is_seen(form: Form, obligation: dict[str, object], said: str) -> None:
    assert says(form, "sales", obligation) == said


@pytest.mark.parametrize(
    ("cedar", "scope", "said"),
    [
        (
            'permit (principal is User, action == Action::"load", resource) when { principal in resource.owner };',
            "all",
            "Any user may load every dataset, when principal in resource.owner.",
        ),
        (
            "forbid (principal, action, resource) when { principal has clearance && principal.clearance < 2 };",
            "hr",
            "Nobody may do anything to hr or anything in it, when principal has clearance && principal.clearance < 2.",
        ),
        (
            (
                'permit (principal in Group::"a", action == Action::"load", resource)\n'
                'when { resource.tags.contains("x") && principal in resource.owner }\n'
                'unless { context has purpose && context.purpose like "x*" || principal == User::"bob" };'
            ),
            "all",
            (
                "Members of a may load every dataset tagged x, when principal in resource.owner, except the user bob, "
                'unless context has purpose && context.purpose like "x*".'
            ),
        ),
        (
            'permit (principal is Service in Group::"jobs", action == Action::"declare", resource == Domain::"sales");',
            "all",
            "Services who are members of jobs may declare the domain sales itself.",
        ),
        (
            'permit (principal, action == Action::"grant", resource is Domain in Domain::"sales");',
            "all",
            "Everybody may grant access to every domain of sales.",
        ),
        (
            'forbid (principal is Service, action, resource is Dataset) unless { principal == User::"nobody" };',
            "all",
            "No service may do anything to any dataset, except the user nobody.",
        ),
    ],
)
def test_a_policy_that_is_no_form_is_said_as_far_as_there_are_words(cedar: str, scope: str, said: str) -> None:
    assert sentence(Policy("p", cedar, scope=scope)) == said


def test_a_grant_is_said_in_a_sentence() -> None:
    grant = Grant("g", "user:ann", LOAD, "sales", texts("prod"), day(2027, 3, 31), because="the report")
    assert sentence(grant) == "The user ann may load every dataset of sales, in prod, until 31 March 2027."
    grant = Grant("g", "analysts", LOAD_AND_SAVE, "sales.orders", kind="dataset")
    assert sentence(grant) == "Members of analysts may load and save sales.orders."


@pytest.mark.parametrize("action", MaskAction)
def test_every_mask_has_words_of_its_own(action: MaskAction) -> None:
    form = Form(LOAD, kind=PolicyKind.MASK)
    others = {says(form, "all", {**NULLED, "action": other}) for other in MaskAction if other is not action}
    assert says(form, "all", {**NULLED, "action": action}) not in others


# --- laws -------------------------------------------------------------------------------------------


def _of(form: Form) -> str:
    obligation = {PolicyKind.ACCESS: None, PolicyKind.MASK: NULLED, PolicyKind.ROW_FILTER: EUROPE}[form.kind]
    return says(form, "all", obligation)


@given(forms())
def test_a_sentence_is_one_line_that_ends_with_a_full_stop_and_is_always_the_same(form: Form) -> None:
    said = _of(form)
    assert said.isprintable()
    assert said[0].isupper()
    assert said.endswith(".")
    assert not said.endswith("..")
    assert said == _of(form)


@given(forms())
def test_a_sentence_names_whatever_the_form_speaks_of(form: Form) -> None:
    said = _of(form).replace('\\"', '"')
    people = [id_.partition(":")[2] or id_ for id_ in (*form.principals, *form.except_groups, *form.owners)]
    described = [*form.tags_all, *form.tags_any, *form.tags_none, *form.classifications, *form.layers, *form.lifecycles]
    around = [*form.environments, *form.purposes, *form.projects]
    demands = [demand.attribute for demand in (*form.attributes, *form.except_attributes)]
    for named in (*people, *form.domains, *form.names, *described, *around, *demands):
        assert named in said


@given(forms(), forms(), st.sampled_from(sorted(Form.__dataclass_fields__.keys() - {"actions", "kind", "effect"})))
def test_forms_that_differ_in_one_thing_have_sentences_that_differ(form: Form, other: Form, field: str) -> None:
    changed = replace(form, **{field: getattr(other, field)})
    assume(changed != form and _can_be_said(changed))
    assume(not _one_skill(form, changed))
    assert _of(changed) != _of(form)


@given(forms(), st.sampled_from(sorted(Action)))
def test_forms_of_other_actions_or_effect_have_sentences_that_differ(form: Form, action: Action) -> None:
    assume(form.kind is PolicyKind.ACCESS)
    assert _of(replace(form, effect="permit")) != _of(replace(form, effect="forbid"))
    more = form.actions ^ {action}
    data = {Action.DISCOVER, Action.LOAD, Action.SAVE}
    assume(more and (more <= data) == (form.actions <= data))
    assert _of(replace(form, actions=more)) != _of(form)


def _can_be_said(form: Form) -> bool:
    try:
        return bool(form.cedar())
    except Invalid:
        return False


def _one_skill(form: Form, changed: Form) -> bool:
    """Whether one thing is asked of a set, which is any and all of it."""
    demands = (*form.attributes, *form.except_attributes, *changed.attributes, *changed.except_attributes)
    return any(demand.comparison is Comparison.ANY_OF and len(demand.value) == 1 for demand in demands)


@pytest.mark.parametrize("seed", range(30))
def test_policies_of_others_that_read_differently_have_sentences_that_differ(seed: int) -> None:
    policies = case_of(Random(seed)).realm.policies.values()
    told: dict[str, Policy] = {}
    for policy in policies:
        said = sentence(policy)
        assert said.isprintable()
        assert said.endswith(".")
        other = told.setdefault(said, policy)
        assert reading(other.cedar, other.kind) == reading(policy.cedar, policy.kind)
