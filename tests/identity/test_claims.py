"""Claims become subjects by the mapping in the settings."""

from __future__ import annotations

import pytest

from muniment.core.problems import TokenRefused
from muniment.core.subjects import Kind
from muniment.identity.claims import subject_state
from muniment.identity.documents import value_at
from muniment.identity.issuers import AttributeClaim, Issuer, ServicesWhere

NAMES = {"corp", "lab"}


def issuer(**changes):
    return Issuer(
        **{"name": "corp", "issuer": "https://corp.example", "audience": "muniment", "default": True, **changes}
    )


def test_groups_are_found_where_the_dots_lead():
    keycloak = issuer(groups_claim="realm_access.roles")
    claims = {"sub": "ann", "realm_access": {"roles": ["analysts", "offline_access"]}}
    assert subject_state(claims, keycloak, NAMES).groups == {"analysts", "offline_access"}


def test_a_claim_whose_own_name_has_dots_is_found_too():
    claims = {"sub": "ann", "https://corp.example/groups": ["analysts"]}
    assert subject_state(claims, issuer(groups_claim="https://corp.example/groups"), NAMES).groups == {"analysts"}


@pytest.mark.parametrize("claims", [{}, {"a": 1}, {"a": {"b": None}}, {"a": ["b"]}])
def test_dots_that_lead_nowhere_lead_to_nothing(claims):
    assert value_at(claims, "a.b") is None


@pytest.mark.parametrize(
    ("claims", "path"),
    [
        ({"a": {"b": {"c": 1}}}, "a.b.c"),
        ({"a.b": {"c": 1}}, "a.b.c"),
        ({"a": {"b.c": 1}}, "a.b.c"),
        ({"a.b.c": 1, "a": {"b": {"c": 2}}}, "a.b.c"),
        ({"a.b": {"c": 1}, "a": {"b": {"c": 2}}}, "a.b.c"),
        ({"a.b": 7, "a": {"b": {"c": 1}}}, "a.b.c"),
        ({"resource_access": {"etl.acme.example": {"roles": 1}}}, "resource_access.etl.acme.example.roles"),
        ({"https://corp.example/claims": {"groups": 1}}, "https://corp.example/claims.groups"),
    ],
    ids=str,
)
def test_a_path_leads_through_names_with_dots_of_their_own(claims, path):
    assert value_at(claims, path) == 1


@pytest.mark.parametrize(
    ("claims", "path", "groups"),
    [
        ({"roles": ["Data.Read"]}, "roles", ["Data.Read"]),
        ({"scp": "load save"}, "scp", ["load", "save"]),
        ({"scp": ["load", "save"]}, "scp", ["load", "save"]),
        ({"scope": "openid load"}, "scope", ["openid", "load"]),
        ({"cognito:groups": ["eu-west-1_a/x"]}, "cognito:groups", ["eu-west-1_a/x"]),
        ({"https://acme.example/roles": ["a"]}, "https://acme.example/roles", ["a"]),
        ({"groups": ["/parent/child"]}, "groups", ["/parent/child"]),
        ({"department": "Data Office"}, "department", ["Data Office"]),
        ({"hasgroups": True}, "roles", []),
    ],
    ids=str,
)
def test_groups_are_read_as_providers_write_them(claims, path, groups):
    assert subject_state({"sub": "ann", **claims}, issuer(groups_claim=path), NAMES).groups == set(groups)


@pytest.mark.parametrize(
    "claims",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example/x"}}},
        {"_claim_names": {"groups": "src1"}, "groups": ["some"]},
        {"groups:src1": "https://graph.example/x"},
        {"hasgroups": True},
        {"hasgroups": "true"},
        {"hasgroups": True, "groups": []},
    ],
    ids=str,
)
def test_groups_that_entra_left_out_are_never_taken_for_none(claims):
    with pytest.raises(TokenRefused, match=r"too many groups \(Entra calls it overage\)"):
        subject_state({"sub": "ann", **claims}, issuer(), NAMES)


def test_an_attribute_that_is_kept_elsewhere_is_not_taken_for_absent():
    mapped = issuer(attributes={"clearance": AttributeClaim("clr", "long")})
    with pytest.raises(TokenRefused, match="attribute “clearance”, and says that it is kept elsewhere"):
        subject_state({"sub": "ann", "_claim_names": {"clr": "src1"}}, mapped, NAMES)


@pytest.mark.parametrize("sub", ["ann", "a b", "auth0|5f7c", "repo:acme/etl", "été", "山田", "8f1@clients", "a" * 200])
def test_any_text_that_can_be_seen_names_a_subject(sub):
    assert subject_state({"sub": sub}, issuer(), NAMES).subject.id == sub


def test_without_a_groups_claim_nobody_has_groups():
    claims = {"sub": "ann", "groups": ["analysts"], "hasgroups": True}
    assert subject_state(claims, issuer(groups_claim=None), NAMES).groups == frozenset()


def test_groups_that_were_left_out_are_noticed_at_the_end_of_dots_too():
    claims = {"sub": "ann", "_claim_names": {"realm_access": "elsewhere"}}
    with pytest.raises(TokenRefused, match="too many groups"):
        subject_state(claims, issuer(groups_claim="realm_access.roles"), NAMES)


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"idtyp": "app", "gty": "cc"}, Kind.SERVICE),
        ({"idtyp": "app"}, Kind.USER),
        ({"idtyp": "user", "gty": "cc"}, Kind.USER),
        ({}, Kind.USER),
    ],
    ids=str,
)
def test_a_service_is_who_carries_every_claim_of_services(claims, kind):
    mixed = issuer(kind=ServicesWhere({"idtyp": "app", "gty": "cc"}))
    assert subject_state({"sub": "x", **claims}, mixed, NAMES).subject.kind is kind


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"client_id": "nightly"}, Kind.SERVICE),
        ({"client_id": "kedro-muniment"}, Kind.USER),
        ({"client_id": None}, Kind.USER),
        ({}, Kind.USER),
    ],
    ids=str,
)
def test_a_client_that_speaks_for_itself_is_no_person_of_that_name(claims, kind):
    """RFC 9068, 5: whoever may name clients could else be anybody."""
    assert subject_state({"sub": "nightly", **claims}, issuer(), NAMES).subject.kind is kind


def test_a_claim_that_does_not_say_what_asks_is_refused():
    with pytest.raises(TokenRefused, match="idtyp"):
        subject_state({"sub": "x", "idtyp": ["app"]}, issuer(kind=ServicesWhere({"idtyp": "app"})), NAMES)


def test_another_claim_can_name_the_subject():
    by_name = issuer(subject_claim="preferred_username")
    assert subject_state({"sub": "8f1", "preferred_username": "ann"}, by_name, NAMES).subject.id == "ann"
    with pytest.raises(TokenRefused, match="preferred_username"):
        subject_state({"sub": "8f1"}, by_name, NAMES)


def test_an_id_behind_its_issuers_name_is_not_longer_than_an_id_may_be():
    lab = issuer(name="lab", default=False)
    assert subject_state({"sub": "a" * 196}, lab, NAMES).subject.id == "lab|" + "a" * 196
    with pytest.raises(TokenRefused, match="id of the subject"):
        subject_state({"sub": "a" * 197}, lab, NAMES)


def test_another_issuer_can_neither_name_nor_fill_what_is_bare():
    lab = issuer(name="lab", default=False)
    state = subject_state({"sub": "corp|ann", "groups": ["user:sam", "corp|x"]}, lab, NAMES)
    assert state.subject.id == "lab|corp|ann"
    assert state.groups == {"lab|user:sam", "lab|corp|x"}


def test_an_attribute_that_the_token_leaves_out_is_left_out():
    mapped = issuer(
        attributes={"clearance": AttributeClaim("clr", "long"), "staff": AttributeClaim("staff", "boolean")}
    )
    assert dict(subject_state({"sub": "ann", "clr": None, "staff": False}, mapped, NAMES).attributes) == {
        "staff": False
    }


def test_one_state_has_one_digest_however_the_claims_are_ordered():
    one = subject_state({"sub": "ann", "groups": ["a", "b", "b"]}, issuer(), NAMES)
    other = subject_state({"groups": ["b", "a"], "sub": "ann"}, issuer(), NAMES)
    assert one.digest == other.digest
