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
from muniment.core.sentence_readings import LONGEST, policy_said
from muniment.core.sentences import sentence
from tests.core.generated_forms import forms

LOADING = Form(
    frozenset({Action.LOAD}), principals=("analysts",), domains=("sales",), environments=frozenset({"dev", "prod"})
)


@given(forms(), st.sampled_from(["all", "sales", "hr"]))
def test_every_sentence_of_a_form_is_read_as_the_form_that_it_says(form: Form, scope: str) -> None:
    assume(form.kind is PolicyKind.ACCESS)
    try:
        policy = Policy("p", form.cedar(), scope=scope)
    except Invalid:
        assume(False)
    said = sentence(policy)
    again = Policy("p", policy_said(said, scope), scope=scope)
    assert sentence(again) == said
    assert compiled(again).effect == compiled(policy).effect
    assert compiled(again).actions == compiled(policy).actions


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
    assert reading(policy_said(said, "sales")).form == form


def test_what_has_no_words_stands_behind_when_and_unless() -> None:
    said = (
        "Everybody may load every dataset of sales, when resource.name == principal.issuer && "
        'resource.name != "a, except b", except members of guests, unless resource.sensitivity * 2 > 7.'
    )
    cedar = policy_said(said, "sales")
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
