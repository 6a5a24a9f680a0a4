"""What masks and row filters demand: read hard, composed to the strictest, never lost for not being understood."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Column, Dataset
from muniment.core.masks import Mask, MaskAction, read_mask, strictest, write_mask
from muniment.core.obligations import Restrictions, read_restrictions, restrictions
from muniment.core.policies import Policy, PolicyKind, checked
from muniment.core.problems import InvalidPolicy
from muniment.core.realm import Realm
from muniment.core.row_filters import DEEPEST, MOST_PARTS, OPERATORS, conjunction, read_row_filter, write_row_filter
from tests.core.oracle import SCHEMA

LOADERS = 'permit (principal in Group::"analysts", action == Action::"load", resource);'
ORDERS = Dataset(
    "sales.orders",
    "team",
    columns=(Column("id"), Column("email", tags=("pii",)), Column("phone", tags=("pii", "contact")), Column("region")),
)
IN_EUROPE = {"type": "eq", "term": "region", "value": "EU"}


def mask(id_: str, action: str, **named: list[str]) -> Policy:
    return Policy(id_, LOADERS, kind=PolicyKind.MASK, obligation={**named, "action": action})


def row_filter(id_: str, predicate: Mapping[str, object]) -> Policy:
    return Policy(id_, LOADERS, kind=PolicyKind.ROW_FILTER, obligation=predicate)


def demanded(*policies: Policy, dataset: Dataset = ORDERS, erring: tuple[str, ...] = ()) -> Mapping[str, object]:
    realm = Realm(1, SCHEMA, policies={policy.id: policy for policy in policies})
    return read_restrictions(realm, dataset, [policy.id for policy in policies], erring)


def masked(*policies: Policy, erring: tuple[str, ...] = ()) -> dict[str, str]:
    projections = demanded(*policies, erring=erring)["required-column-projections"]
    assert isinstance(projections, list)
    return {projection["column"]: projection["action"] for projection in projections}


def faults_of(policy: Policy) -> list[str]:
    with pytest.raises(InvalidPolicy) as refused:
        checked(policy, schema=SCHEMA, environments=["dev"])
    return [fault.at for fault in refused.value.faults]


# --- masks ----------------------------------------------------------------------------------------------------------


def test_a_mask_by_name_hits_a_column_that_nobody_declared():
    assert masked(mask("m", "mask-alphanum", columns=["fax"])) == {"fax": "mask-alphanum"}


def test_a_mask_by_tag_hits_the_columns_that_carry_it():
    found = masked(mask("m", "replace-with-null", column_tags=["pii"]))
    assert found == {"email": "replace-with-null", "phone": "replace-with-null"}


def test_where_several_masks_meet_on_a_column_the_strictest_holds():
    tail, none = mask("a", "show-last-4", column_tags=["pii"]), mask("b", "replace-with-null", columns=["phone"])
    assert masked(tail, none) == masked(none, tail) == {"email": "show-last-4", "phone": "replace-with-null"}


def test_a_mask_that_errs_is_the_strictest_on_all_its_columns():
    assert masked(mask("m", "show-first-4", columns=["email"]), erring=("m",)) == {"email": "replace-with-null"}


def test_a_mask_that_finds_no_column_of_its_tag_lets_no_row_through():
    assert demanded(mask("m", "mask-alphanum", column_tags=["secret"])) == {"required-row-filter": False}


@given(st.lists(st.sampled_from(MaskAction), min_size=1), st.sampled_from(MaskAction))
def test_another_mask_never_leaves_more_of_a_column(actions, another):
    assert strictest([strictest(actions), strictest([*actions, another])]) is strictest([*actions, another])


def test_the_order_of_strictness_is_the_documented_one():
    assert [action.value for action in MaskAction] == [
        "replace-with-null",
        "mask-to-fixed-value",
        "sha-256-query-local",
        "mask-alphanum",
        "sha-256-global",
        "truncate-to-year",
        "truncate-to-month",
        "show-last-4",
        "show-first-4",
    ]
    assert strictest(reversed(MaskAction)) is MaskAction.REPLACE_WITH_NULL


def test_a_mask_is_kept_in_one_spelling():
    read = read_mask({"action": "show-last-4", "columns": ["b", "a", "a"], "column_tags": []})
    assert read == Mask(MaskAction.SHOW_LAST_4, ("a", "b"))
    assert write_mask(read) == {"columns": ["a", "b"], "action": "show-last-4"}


@pytest.mark.parametrize(
    ("payload", "at"),
    [
        ({"columns": ["a"], "action": "blur"}, "obligation.action"),
        ({"columns": ["a"], "action": ["show-last-4"]}, "obligation.action"),
        ({"columns": ["a"]}, "obligation.action"),
        ({"action": "show-last-4"}, "obligation.columns"),
        ({"columns": [], "column_tags": [], "action": "show-last-4"}, "obligation.columns"),
        ({"columns": "email", "action": "show-last-4"}, "obligation.columns"),
        ({"columns": [""], "action": "show-last-4"}, "obligation.columns"),
        ({"column_tags": [3], "action": "show-last-4"}, "obligation.column_tags"),
        ({"columns": ["a"], "action": "show-last-4", "unless": "x"}, "obligation.unless"),
    ],
)
def test_a_mask_that_cannot_be_understood_is_refused_where_it_is_wrong(payload, at):
    assert faults_of(Policy("m", LOADERS, kind=PolicyKind.MASK, obligation=payload)) == [at]


# --- row filters ----------------------------------------------------------------------------------------------------


def test_several_filters_hold_together():
    region, year = row_filter("a", IN_EUROPE), row_filter("b", {"type": "gt-eq", "term": "year", "value": 2025})
    assert demanded(region, year)["required-row-filter"] == {
        "type": "and",
        "left": read_row_filter(IN_EUROPE),
        "right": read_row_filter({"type": "gt-eq", "term": "year", "value": 2025}),
    }


def test_a_filter_that_errs_lets_no_row_through():
    assert demanded(row_filter("f", IN_EUROPE), erring=("f",)) == {"required-row-filter": False}


def test_a_filter_without_rows_outweighs_all_others():
    assert conjunction([read_row_filter(IN_EUROPE), False]) is False


def test_the_same_filter_twice_is_said_once():
    once = read_row_filter(IN_EUROPE)
    assert conjunction([once, True, once]) == once


REGION = {"type": "reference", "name": "region"}
EUROPE, UNITED_KINGDOM = ({"type": "literal", "value": value} for value in ("EU", "UK"))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (IN_EUROPE, {"type": "eq", "left": REGION, "right": EUROPE}),
        ({"type": "is-null", "term": "region"}, {"type": "is-null", "child": REGION}),
        (
            {"type": "in", "term": "region", "values": ["EU", "UK"]},
            {"type": "in", "child": REGION, "values": [EUROPE, UNITED_KINGDOM]},
        ),
    ],
)
def test_the_older_spelling_is_kept_in_the_newer_one(older, newer):
    assert read_row_filter(older) == newer


#: One predicate of each operator, in the spelling in which it is kept.
EACH = {
    "and": {"left": True, "right": {"type": "is-null", "child": {"type": "reference", "name": "a"}}},
    "or": {"left": False, "right": {"type": "is-nan", "child": {"type": "reference", "name": "a"}}},
    "not": {"child": {"type": "not-nan", "child": {"type": "reference", "name": "a"}}},
    **{type_: {"child": {"type": "reference", "name": "a"}} for type_ in ("is-null", "not-null", "is-nan", "not-nan")},
    **{
        type_: {"left": {"type": "reference", "name": "a"}, "right": {"type": "literal", "value": "x"}}
        for type_ in ("eq", "not-eq", "lt", "lt-eq", "gt", "gt-eq", "starts-with", "not-starts-with")
    },
    **{
        type_: {
            "child": {"type": "reference", "name": "a"},
            "values": {"type": "literals", "values": ["2026-01-01"], "data-type": "date"},
        }
        for type_ in ("in", "not-in")
    },
}


@pytest.mark.parametrize("type_", sorted(EACH))
def test_each_operator_is_read_and_comes_back_as_it_is_kept(type_):
    predicate = {"type": type_, **EACH[type_]}
    assert read_row_filter(predicate) == predicate
    assert read_row_filter(write_row_filter(read_row_filter(predicate))) == predicate


def test_every_operator_is_tried():
    assert {*EACH, "true", "false"} == set(OPERATORS)


@pytest.mark.parametrize("constant", [True, False])
def test_a_constant_is_kept_as_an_object(constant):
    assert write_row_filter(constant) == {"type": str(constant).lower()}
    assert read_row_filter(write_row_filter(constant)) is constant


def nested(depth: int) -> object:
    return IN_EUROPE if depth == 0 else {"type": "not", "child": nested(depth - 1)}


@pytest.mark.parametrize(
    ("predicate", "at"),
    [
        ({"type": "matches", "term": "a", "value": ".*"}, "obligation.type"),
        ({"type": ["eq"]}, "obligation.type"),
        ({}, "obligation.type"),
        ({"type": "eq", "term": "a"}, "obligation.value"),
        ({"type": "eq", "term": "a", "value": None}, "obligation.value"),
        ({"type": "eq", "term": "a", "value": 2**63}, "obligation.value"),
        ({"type": "eq", "term": "a", "value": float("inf")}, "obligation.value"),
        ({"type": "eq", "term": "a", "value": {"type": "reference", "name": "b"}}, "obligation.value"),
        ({"type": "eq", "left": {"type": "reference", "id": 3}, "right": 1}, "obligation.left"),
        ({"type": "eq", "term": "", "value": 1}, "obligation.term"),
        ({"type": "eq", "left": "a", "right": 1}, "obligation.left"),
        ({"type": "eq", "term": "a", "value": 1, "case": False}, "obligation.case"),
        (
            {"type": "eq", "term": {"type": "transform", "transform": "year", "term": "a"}, "value": 1},
            "obligation.term",
        ),
        ({"type": "eq", "left": {"type": "apply", "function": "f", "arguments": []}, "right": 1}, "obligation.left"),
        ({"type": "starts-with", "term": "a", "value": 3}, "obligation.value"),
        ({"type": "in", "term": "a", "values": []}, "obligation.values"),
        ({"type": "in", "term": "a", "values": "EU"}, "obligation.values"),
        ({"type": "in", "term": "a", "values": list(range(MOST_PARTS))}, "obligation.values"),
        ({"type": "and", "left": IN_EUROPE}, "obligation.right"),
        ({"type": "not", "child": "region = 'EU'"}, "obligation.child"),
        (
            {"type": "eq", "term": "a", "value": {"type": "literal", "value": 1, "data-type": "money"}},
            "obligation.value.data-type",
        ),
        (nested(DEEPEST), "obligation" + ".child" * DEEPEST),
        ({"type": "true"}, "obligation"),
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused_where_it_is_wrong(predicate, at):
    assert faults_of(Policy("f", LOADERS, kind=PolicyKind.ROW_FILTER, obligation=predicate)) == [at]


# --- the policies that carry them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PolicyKind.MASK, PolicyKind.ROW_FILTER])
@pytest.mark.parametrize(
    "text",
    [
        'forbid (principal, action == Action::"load", resource);',
        'permit (principal, action == Action::"save", resource);',
        'permit (principal, action in [Action::"load", Action::"discover"], resource);',
        "permit (principal, action, resource);",
    ],
)
def test_an_obligation_lies_on_loading_alone(kind, text):
    assert faults_of(Policy("m", text, kind=kind, obligation={"columns": ["a"], "action": "show-last-4"})) == ["cedar"]


@pytest.mark.parametrize("kind", [PolicyKind.MASK, PolicyKind.ROW_FILTER])
def test_a_mask_or_a_filter_says_what_it_demands(kind):
    assert faults_of(Policy("m", LOADERS, kind=kind)) == ["obligation"]


def test_a_policy_about_access_demands_nothing():
    assert faults_of(Policy("p", LOADERS, obligation={"columns": ["a"], "action": "show-last-4"})) == ["obligation"]


def test_a_sound_mask_is_kept_with_what_it_demands():
    kept = checked(mask("m", "show-last-4", columns=["b", "a"]), schema=SCHEMA, environments=["dev"])
    assert kept.obligation == {"columns": ["a", "b"], "action": "show-last-4"}
    assert kept.kind is PolicyKind.MASK


# --- all of them at once --------------------------------------------------------------------------------------------


def test_what_is_not_known_lets_no_row_through():
    assert read_restrictions(Realm(1, SCHEMA), ORDERS, ["gone"]) == {"required-row-filter": False}
    broken = Policy("m", LOADERS, kind=PolicyKind.MASK, obligation={"action": "blur"})
    assert demanded(broken) == {"required-row-filter": False}


def test_no_obligation_restricts_nothing():
    assert read_restrictions(Realm(1, SCHEMA), ORDERS, []) == {}


POLICIES = [
    mask("email-null", "replace-with-null", columns=["email"]),
    mask("email-tail", "show-last-4", columns=["email"]),
    mask("pii-alpha", "mask-alphanum", column_tags=["pii"]),
    mask("nothing", "mask-alphanum", column_tags=["unheard-of"]),
    row_filter("europe", IN_EUROPE),
    row_filter("open", {"type": "not-null", "term": "id"}),
]


@given(st.sets(st.sampled_from([p.id for p in POLICIES])), st.sampled_from([p.id for p in POLICIES]))
def test_one_more_obligation_is_never_less_strict_and_the_order_means_nothing(some, another):
    realm = Realm(1, SCHEMA, policies={policy.id: policy for policy in POLICIES})
    fewer, more = restrictions(realm, ORDERS, some), restrictions(realm, ORDERS, {*some, another})
    assert more.as_strict_as(fewer)
    assert restrictions(realm, ORDERS, sorted(some, reverse=True)) == fewer


def test_a_lighter_mask_or_a_filter_less_is_less_strict():
    realm = Realm(1, SCHEMA, policies={policy.id: policy for policy in POLICIES})

    def of(*ids: str) -> Restrictions:
        return restrictions(realm, ORDERS, ids)

    assert not of("email-tail").as_strict_as(of("email-null"))
    assert not of("europe").as_strict_as(of("europe", "open"))
    assert not of().as_strict_as(of("email-tail"))
