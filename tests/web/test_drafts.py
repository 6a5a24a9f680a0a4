"""A draft is one thing, whichever way it is written: what one view says, the others say."""

from __future__ import annotations

import pytest
from hypothesis import assume, given

from muniment.core.forms import Form
from muniment.core.grants import Grant
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid
from muniment.core.readings import form_of
from muniment.core.schema import Action
from muniment.web.drafts import Typed, View, grant_of, policy_of, switched, typed_grant, typed_of
from tests.core.generated_forms import forms

NULLED = {"columns": ["email"], "action": "replace-with-null"}


def of(form: Form) -> Policy:
    try:
        cedar = form.cedar()
    except Invalid:
        assume(False)
        raise
    obligation = None if form.kind is PolicyKind.ACCESS else NULLED
    cases = ({"subject": "user:ann", "action": "load", "dataset": "sales.orders", "allowed": True},)
    return Policy("p", cedar, "sales", "because", kind=form.kind, obligation=obligation, cases=cases)


@given(forms())
def test_a_form_that_is_shown_is_read_as_the_policy_that_it_shows(form: Form) -> None:
    policy = of(form)
    shown = typed_of(policy, View.FORM)
    again = policy_of("p", shown.typed)
    assert (again.scope, again.reason, again.kind, again.cases) == (
        policy.scope,
        policy.reason,
        policy.kind,
        policy.cases,
    )
    assert again.obligation == policy.obligation
    if shown.typed.view is View.FORM:
        assert form_of(again.cedar, again.kind) == form_of(policy.cedar, policy.kind)
    else:
        assert shown.why
        assert again.cedar == policy.cedar


@given(forms())
def test_what_cannot_be_said_otherwise_stays_as_it_was_typed(form: Form) -> None:
    policy = of(form)
    typed = Typed(View.CEDAR, {**typed_of(policy, View.CEDAR).typed.fields, "cedar": f"  // mine\n{policy.cedar}"})
    for view in (View.FORM, View.SENTENCE):
        turned = switched(typed, view)
        assert turned.typed.view is view or (turned.typed == typed and turned.why)


@pytest.mark.parametrize(
    "grant",
    [
        Grant("g", "user:ann", frozenset({Action.LOAD}), "sales.orders", kind="dataset", because="why"),
        Grant("g", "corp|team", frozenset({Action.LOAD, Action.SAVE}), "sales", frozenset({"dev"}), because="why"),
    ],
    ids=["a person", "a group"],
)
def test_a_grant_that_is_shown_is_read_as_itself(grant: Grant) -> None:
    for view in View:
        shown = typed_grant(grant, view)
        assert (shown.typed.view, shown.why) == (view, "")
        assert grant_of("g", shown.typed) == grant
