"""A sentence is read back as what it says, or it is said why it cannot be."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muniment.core.forms import Form
from muniment.core.policies import Policy, PolicyKind, compiled
from muniment.core.problems import Invalid, InvalidPolicy
from muniment.core.readings import reading
from muniment.core.schema import Action
from muniment.core.sentence_readings import LONGEST, policy_said, same, sentence_to_write
from muniment.core.sentences import sentence
from tests.core.generated_forms import forms, masks, row_filters

LOADING = Form(
    frozenset({Action.LOAD}), principals=("analysts",), domains=("sales",), environments=frozenset({"dev", "prod"})
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy of any kind, with what it demands."""
    form = draw(forms())
    demanded = {PolicyKind.ACCESS: st.none(), PolicyKind.MASK: masks(), PolicyKind.ROW_FILTER: row_filters()}
    try:
        cedar = form.cedar()
    except Invalid:
        assume(False)
        raise
    scope = draw(st.sampled_from(["all", "sales", "hr"]))
    return Policy("p", cedar, scope=scope, kind=form.kind, obligation=draw(demanded[form.kind]))


def as_said(policy: Policy) -> Policy:
    """What the sentence of a policy is read as."""
    found = policy_said(sentence(policy), policy.scope)
    return Policy("p", found.cedar, scope=policy.scope, kind=found.kind, obligation=found.obligation)


@given(policies())
def test_the_sentence_of_a_policy_of_any_kind_is_read_as_all_that_the_policy_says(policy: Policy) -> None:
    again = as_said(policy)
    assert sentence(again) == sentence(policy)
    assert compiled(again).effect == compiled(policy).effect
    assert compiled(again).actions == compiled(policy).actions
    assert same(policy, again)


@pytest.mark.parametrize(
    ("said", "form"),
    [
        (
            "Members of analysts may load every dataset of sales, in dev and prod.",
            LOADING,
        ),
        (
            "  members of analysts may load\nevery dataset of sales,  in prod and dev ",
            LOADING,
        ),
        (
            "The user ann may load and save sales.orders.",
            Form(frozenset({Action.LOAD, Action.SAVE}), principals=("user:ann",), names=("sales.orders",)),
        ),
        (
            "Nobody may discover any dataset of sales tagged pii or hr, except members of privacy.",
            Form(
                frozenset({Action.DISCOVER}),
                "forbid",
                domains=("sales",),
                tags_any=frozenset({"pii", "hr"}),
                except_groups=("privacy",),
            ),
        ),
    ],
    ids=["as it is said", "spaced and ordered otherwise", "one person", "a forbid"],
)  # fmt: skip
def test_a_sentence_says_a_form(said: str, form: Form) -> None:
    assert reading(policy_said(said, "sales").cedar).form == form


def compared(column: str) -> dict[str, object]:
    return {"type": "eq", "term": column, "value": 1}


DATE = {"type": "literal", "value": "2027-01-01", "data-type": "date"}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (
            {
                "type": "and",
                "left": compared("a"),
                "right": {"type": "and", "left": compared("b"), "right": compared("c")},
            },
            "a = 1 and (b = 1 and c = 1)",
        ),
        (
            {
                "type": "and",
                "left": {"type": "and", "left": compared("a"), "right": compared("b")},
                "right": compared("c"),
            },
            "a = 1 and b = 1 and c = 1",
        ),
        ({"type": "in", "term": "day", "values": [DATE, "soon"]}, "day is one of date '2027-01-01' or 'soon'"),
        (
            {
                "type": "in",
                "term": "day",
                "values": {"type": "literals", "values": ["a", "b"], "data-type": "date"},
            },
            "day is one of date 'a' or date 'b'",
        ),
    ],
    ids=["joined at the end", "joined from the beginning", "one value with a type", "values of one type"],
)
def test_what_is_demanded_otherwise_is_said_otherwise(payload: dict[str, object], said: str) -> None:
    form = Form(frozenset({Action.LOAD}), kind=PolicyKind.ROW_FILTER)
    policy = Policy("p", form.cedar(), kind=PolicyKind.ROW_FILTER, obligation=payload)
    assert sentence(policy) == f"Everybody sees only those rows of every dataset where {said}."
    assert same(as_said(policy), policy)
    assert sentence_to_write(policy) == sentence(policy)


@pytest.mark.parametrize(
    "said",
    [
        "Everybody sees every dataset with the column a, and every column tagged b, masked (hashed).",
        "Everybody sees every dataset with every column tagged masked masked (hashed).",
        "Everybody sees every dataset with every column tagged a or masked masked (hashed), in dev.",
    ],
)
def test_tags_of_columns_end_before_what_becomes_of_them(said: str) -> None:
    found = policy_said(said, "all")
    assert sentence(Policy("p", found.cedar, kind=found.kind, obligation=found.obligation)) == said


def test_a_condition_that_nests_without_end_is_refused() -> None:
    nested = "Everybody sees only those rows of every dataset where " + "not (" * 1_900
    with pytest.raises(InvalidPolicy, match="at most 20 deep"):
        policy_said(nested, "all")


def test_a_policy_whose_sentence_would_not_say_all_of_it_is_not_offered_as_one() -> None:
    every = 'permit (principal is User, action == Action::"load", resource);'
    assert sentence_to_write(Policy("p", every)) is None
    demanding = Policy("p", LOADING.cedar(), obligation={"columns": ["a"], "action": "replace-with-null"})
    assert policy_said(sentence(demanding), "all").obligation is None
    assert sentence_to_write(demanding) is None
    rows = {"type": "eq", "term": "a", "value": 1, "more": 2}
    form = Form(frozenset({Action.LOAD}), kind=PolicyKind.ROW_FILTER)
    assert sentence_to_write(Policy("p", form.cedar(), kind=PolicyKind.ROW_FILTER, obligation=rows)) is None


def test_a_value_ends_before_what_else_narrows_the_rule() -> None:
    said = "Everybody sees only those rows of every dataset where amount is one of 3, from 14:30 UTC on 1 May 2027 on."
    found = policy_said(said, "all")
    assert found.obligation == {
        "type": "in",
        "child": {"type": "reference", "name": "amount"},
        "values": [{"type": "literal", "value": 3}],
    }


def test_what_has_no_words_stands_behind_when_and_unless() -> None:
    said = (
        "Everybody may load every dataset of sales, when resource.name == principal.issuer && "
        'resource.name != "a, except b", except members of guests, unless resource.sensitivity * 2 > 7.'
    )
    cedar = policy_said(said, "sales").cedar
    assert sentence(Policy("p", cedar, scope="sales")) == said
    assert len(reading(cedar).rest) == 3


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "Write one sentence"),
        ("Ann may load everything", "cannot read the sentence at “ann”"),
        ("Members of analysts load sales.orders.", "at “load”. Here should stand “may”"),
        ("Members of analysts may load.", "at its end"),
        ("Members of analysts may load every dataset of sales, on Mondays.", "at “on”"),
        ("Members of analysts may load every dataset, in prod.", "every dataset of sales, in prod."),
        ("Members of analysts may load every dataset of sales, in prod, in dev.", "at its end"),
        ("Members of analysts may load every dataset of sales, until 31 February 2027.", "no 31 February 2027"),
        ("Everybody may load every dataset of sales, when principal ==.", "Cedar cannot read"),
        ("Everybody may load every dataset of sales, when true } unless { false.", "sales"),
        ("Any user may load every dataset of sales.", "at “any”"),
        ("x" * (LONGEST + 1), "Write one sentence"),
    ],
    ids=[
        "nothing", "no member of anything", "no may", "no dataset", "a word without a meaning", "another scope",
        "twice the same", "no such day", "broken Cedar", "Cedar that breaks out", "a type of subject", "too much",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(said: str, told: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        policy_said(said, "sales")
    assert told in refused.value.detail
    assert {fault.at for fault in refused.value.faults} == {"sentence"}
