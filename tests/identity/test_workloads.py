"""Workloads without secrets: which tokens of GitHub, GitLab and Kubernetes are which service, by exact conditions."""

from __future__ import annotations

import json

import pytest

from muniment.core.problems import CannotStart, TokenRefused
from muniment.core.subjects import Kind
from muniment.identity.bearer import Bearer
from muniment.identity.claims import subject_state
from muniment.identity.issuers import doubts, issuers_from
from muniment.identity.workloads import GITHUB, Glob, OneOf, Workload

CORP = {"name": "corp", "issuer": "https://corp.example", "audience": "muniment", "default": True}

#: What GitHub says of a job (the claims of its documentation), but for what no rule speaks of.
JOB = {
    "sub": "repo:acme/etl:ref:refs/heads/main",
    "repository": "acme/etl",
    "repository_id": "7401",
    "repository_owner": "acme",
    "repository_owner_id": "65",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "event_name": "push",
    "run_attempt": "1",
}
MAIN = {"as": "nightly-etl", "where": {"repository_id": "7401", "ref": "refs/heads/main"}}


def github(*rules, **changes):
    given = {"name": "gh", "issuer": GITHUB, "audience": "muniment", "workloads": list(rules), **changes}
    return issuers_from([CORP, given])[1]


def known_as(issuer, claims):
    return str(subject_state(claims, issuer, {"corp", "gh"}).subject)


def test_a_job_that_meets_every_condition_is_the_service_that_the_rule_names():
    state = subject_state(JOB, github(MAIN), {"corp", "gh"})
    assert (state.subject.kind, state.subject.id) == (Kind.SERVICE, "gh|nightly-etl")
    assert state.groups == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"repository_id": "7402"},
        {"repository_id": 7401},
        {"repository_id": None},
        {"repository_id": ["7401"]},
        {"repository_id": "7401 "},
        {"repository_id": "74010"},
        {"ref": "refs/heads/main2"},
        {"ref": "refs/heads/Main"},
        {"ref": "refs/pull/7/merge"},
        {"ref": "refs/tags/refs/heads/main"},
        {"ref": "refs/heads/main\n"},
        {"ref": ...},
    ],
    ids=str,
)
def test_a_job_that_misses_a_condition_by_anything_is_nobody(changes):
    claims = {name: value for name, value in {**JOB, **changes}.items() if value is not ...}
    with pytest.raises(TokenRefused, match="does not let its workload in"):
        known_as(github(MAIN), claims)


def test_a_re_registered_repository_of_the_same_name_is_nobody():
    taken_over = {**JOB, "repository_id": "990017", "repository_owner_id": "8"}
    with pytest.raises(TokenRefused):
        known_as(github(MAIN), taken_over)


def test_any_of_a_list_holds_and_nothing_beside_it():
    rule = {"as": "etl", "where": {"repository_id": "7401", "event_name": ["push", "schedule"]}}
    assert known_as(github(rule), JOB) == "service:gh|etl"
    with pytest.raises(TokenRefused):
        known_as(github(rule), {**JOB, "event_name": "pull_request"})


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        ("refs/heads/release/*", "refs/heads/release/1.2", True),
        ("refs/heads/release/*", "refs/heads/release/", False),
        ("refs/heads/release/*", "refs/heads/release/1/2", False),
        ("refs/heads/release/*", "x/refs/heads/release/1", False),
        ("refs/heads/release/*", "refs/heads/release", False),
        ("refs/tags/v*.*", "refs/tags/v1.2", True),
        ("refs/tags/v*.*", "refs/tags/v12", False),
        ("refs/tags/v*", "refs/tags/V1", False),
        ("repo:acme/*:environment:prod", "repo:acme/etl:environment:prod", True),
        ("repo:acme/*:environment:prod", "repo:acme/evil/etl:environment:prod", False),
        ("a.c*", "abcd", False),
        ("*", 7, False),
        ("v*", None, False),
        ("v*", ["v1"], False),
        ("v*", True, False),
    ],
)
def test_a_star_stands_for_some_characters_of_one_segment(pattern, value, holds):
    assert Glob(pattern).holds(value) is holds


@pytest.mark.parametrize(
    ("expected", "value"),
    [("true", True), (True, "true"), (1, True), (True, 1), (1, 1.0), (1, "1"), ("1", 1)],
    ids=repr,
)
def test_text_number_and_boolean_are_never_taken_for_each_other(expected, value):
    assert OneOf((expected,)).holds(expected)
    assert not OneOf((expected,)).holds(value)


def test_a_kubernetes_service_account_is_found_behind_a_claim_with_dots():
    account = {"namespace": "etl", "serviceaccount": {"name": "runner", "uid": "9a1c"}}
    claims = {"sub": "system:serviceaccount:etl:runner", "kubernetes.io": account}
    rule = {"as": "etl", "where": {"kubernetes.io.namespace": "etl", "kubernetes.io.serviceaccount.uid": "9a1c"}}
    assert known_as(github(rule), claims) == "service:gh|etl"
    other = {"kubernetes.io": {**account, "serviceaccount": {"name": "runner", "uid": "other"}}}
    with pytest.raises(TokenRefused):
        known_as(github(rule), {**claims, **other})


def test_an_id_may_take_claims_of_the_token():
    rule = {"as": "ci:{repository}@{repository_id}", "where": {"repository_owner_id": "65"}}
    assert known_as(github(rule), JOB) == "service:gh|ci:acme/etl@7401"


@pytest.mark.parametrize(
    "value", ["a:b", "a@b", "a b", "", "é", "a\n", "{sub}", "|", ["acme"], None, True, 1.5, {}], ids=repr
)
def test_a_claim_that_could_be_mistaken_for_what_stands_around_it_makes_no_id(value):
    rule = {"as": "ci:{repository}@{repository_id}", "where": {"repository_owner_id": "65"}}
    with pytest.raises(TokenRefused, match="does not let its workload in"):
        known_as(github(rule), {**JOB, "repository": value})


def test_two_rules_may_give_a_token_one_id_and_not_two():
    same = {"as": "nightly-etl", "where": {"repository_owner_id": "65"}}
    other = {"as": "another", "where": {"repository_owner_id": "65"}}
    assert known_as(github(MAIN, same), JOB) == "service:gh|nightly-etl"
    with pytest.raises(TokenRefused) as two:
        known_as(github(MAIN, other), JOB)
    with pytest.raises(TokenRefused) as none:
        known_as(github(other), {**JOB, "repository_owner_id": "66"})
    assert two.value.detail == none.value.detail


def test_the_default_issuer_can_speak_of_workloads_too():
    (issuer,) = issuers_from([{**CORP, "workloads": [MAIN]}])
    assert known_as(issuer, JOB) == "service:nightly-etl"


def test_an_id_that_looks_like_another_issuers_is_refused():
    (issuer,) = issuers_from([{**CORP, "workloads": [{"as": "gh|nightly-etl", "where": {"ref": "x"}}]}])
    with pytest.raises(TokenRefused, match="another issuer"):
        known_as(issuer, {"ref": "x"})


def test_groups_of_a_workload_are_read_only_where_it_is_said():
    claims = {**JOB, "groups": ["admins"]}
    assert subject_state(claims, github(MAIN), {"gh"}).groups == frozenset()
    assert subject_state(claims, github(MAIN, groups_claim="groups"), {"gh"}).groups == {"gh|admins"}


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"as": "x"}, "“where” must name at least one claim"),
        ({"as": "x", "where": {}}, "“where” must name at least one claim"),
        ({"where": {"ref": "x"}}, "“as” is missing"),
        ({"as": "x", "where": {"ref": "x"}, "unless": {}}, "a field “unless”"),
        ({"as": "x", "where": {"ref": []}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": None}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": 1.5}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": ["a", None]}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "v*", "not": "v1"}}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": {"regex": ".*"}}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": ["v*"]}}}, "must give for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "v1"}}}, "glob for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "*"}}}, "glob for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "refs/**"}}}, "glob for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "v?*"}}}, "glob for “ref”"),
        ({"as": "x", "where": {"ref": {"glob": "v[0-9]*"}}}, "glob for “ref”"),
        ({"as": "{a}{b}", "where": {"ref": "x"}}, "between two {claim}"),
        ({"as": "{a}-{b}", "where": {"ref": "x"}}, "between two {claim}"),
        ({"as": "{a}/{b}", "where": {"ref": "x"}}, "between two {claim}"),
        ({"as": "{", "where": {"ref": "x"}}, "a brace"),
        ({"as": "{}", "where": {"ref": "x"}}, "a brace"),
        ({"as": "{a}}", "where": {"ref": "x"}}, "a brace"),
    ],
    ids=str,
)
def test_a_rule_that_is_not_clear_stops_the_start(rule, reason):
    with pytest.raises(CannotStart, match=reason):
        github(rule)


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("etl", "{repository}", True),
        ("etl-prod", "etl-{environment}", True),
        ("{a}:{b}", "{c}", True),
        ("ci:{a}", "ci:{b}", True),
        ("etl:prod", "{environment}", False),
        ("etl", "ci:{repository}", False),
        ("ci:{a}", "cd:{a}", False),
        ("etl", "etl2", False),
        ("ci:{a}", "ci:{a}", False),
    ],
)
def test_two_rules_that_could_give_two_workloads_one_id_stop_the_start(one, other, may):
    rules = [{"as": name, "where": {"ref": str(number)}} for number, name in enumerate((one, other))]
    if may:
        with pytest.raises(CannotStart, match="two workloads one id"):
            github(*rules)
    else:
        assert len(github(*rules).workloads) == 2


def test_an_issuer_of_workloads_speaks_of_services_alone():
    assert github(MAIN).kind == "services"
    with pytest.raises(CannotStart, match="“kind” must be"):
        github(MAIN, kind="users")
    with pytest.raises(CannotStart, match="“subject_claim” has no use"):
        github(MAIN, subject_claim="repository_id")


@pytest.mark.parametrize(
    ("rule", "doubted"),
    [
        (MAIN, False),
        ({"as": "x", "where": {"repository_owner_id": ["65", "66"]}}, False),
        ({"as": "x", "where": {"repository": "acme/etl"}}, True),
        ({"as": "x", "where": {"repository_id": {"glob": "74*"}}}, True),
    ],
)
def test_a_rule_for_github_by_names_alone_is_doubted(rule, doubted):
    assert bool(doubts([github(rule)])) is doubted


@pytest.mark.parametrize(("issuer", "doubted"), [(GITHUB, True), ("https://gitlab.com", True), ("https://a.b", False)])
def test_an_issuer_for_everybody_that_names_no_workload_is_doubted(issuer, doubted):
    given = {"name": "gh", "issuer": issuer, "audience": "muniment", "kind": "services"}
    assert bool(doubts(issuers_from([CORP, given]))) is doubted


def test_an_audience_for_which_id_tokens_are_made_too_is_doubted():
    (doubt,) = doubts(issuers_from([{**CORP, "client_id": "muniment"}]))
    assert "audience of its own" in doubt


@pytest.mark.anyio
async def test_a_job_presents_its_token_as_it_is(corp, http, now):
    """The issuer signs what GitHub would say."""
    rules = [MAIN, {"as": "ci:{repository_id}", "where": {"repository_owner_id": "65", "ref_type": "tag"}}]
    given = {"name": "gh", "issuer": corp.url, "audience": "muniment", "workloads": rules, "default": True}
    bearer = Bearer(issuers_from(json.dumps([given])), http)
    seconds = int(now.timestamp())
    said = {**JOB, "iss": corp.url, "aud": "muniment", "exp": seconds + 300, "iat": seconds, "nbf": seconds - 1}
    assert str((await bearer.verify(corp.sign({}, said), now)).state.subject) == "service:nightly-etl"
    tagged = {**said, "ref": "refs/tags/v1", "ref_type": "tag"}
    assert str((await bearer.verify(corp.sign({}, tagged), now)).state.subject) == "service:ci:7401"
    with pytest.raises(TokenRefused, match="does not let its workload in") as refusal:
        await bearer.verify(corp.sign({}, {**said, "ref": "refs/heads/evil"}), now)
    assert not [word for word in ("ref", "evil", "7401", "nightly", "rule") if word in refusal.value.detail]


def test_what_a_rule_misses_is_known_by_name():
    rule = Workload("x", {"a": OneOf(("1",)), "b": Glob("v*"), "c": OneOf((True,))})
    assert rule.unmet({"a": "1", "b": "w1"}) == ("b", "c")
