"""Forms read back: a text of a form's shape is that form, whoever wrote it, and no other text is one."""

from __future__ import annotations

from datetime import UTC, datetime

import cedarpy
import pytest
from cedarpy import pst
from hypothesis import given

from muniment.core.expressions import write_expression
from muniment.core.forms import Comparison, Demand, Form
from muniment.core.policies import Policy, PolicyKind, checked, one_static
from muniment.core.readings import form_of, reading
from muniment.core.schema import Action, schema_text
from tests.core.generated_forms import forms

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
