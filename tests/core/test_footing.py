"""What an answer stands on: where it bears, all that is decided for a subject is decided as before.

Seen to fail with the rules not compared, with the first rule alone compared, with the ground not compared, and with the
ground kept over changes of groups, of domains and of datasets.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muniment.core.catalog import as_lease, catalog_of, patterns_of
from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, decide_governing, holding, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.footing import Footing
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.leases import ends
from muniment.core.policies import Policy, PolicyKind
from muniment.core.realm import Change, Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.core.visibility import notice, roles
from tests.core.comparisons import all_said
from tests.core.generated import NOON
from tests.core.generated_realms import SCHEMA, asker_of, case_of, changes_of
from tests.core.oracle import Case

RULES = (Policy, Grant)


def everything(case: Case, realm: Realm, asker: SubjectState) -> object:
    """All that a lease, a catalog or a refusal is made of for a subject, decided in a realm as if it were the first."""
    anew, wanted, at = replace(realm), case.wanted, case.at
    listing = list_all(anew, asker, wanted, at)
    catalog, patterns = catalog_of(anew, listing, wanted), patterns_of(anew, listing, wanted)
    until = at + timedelta(hours=12)
    ending = ends(anew, asker, wanted, at, until, catalog.by_actions(frozenset))
    notices = {name: notice(anew, asker, at, each) for name, each in anew.datasets.items()}
    governed = [decide_governing(anew, asker, action, sorted(anew.domains), at) for action in GOVERNING_ACTIONS]
    body = as_lease(anew, catalog, ending, patterns)
    times = (listing.since, listing.until, holding(anew, asker, at))
    return all_said(case, anew, asker), catalog.sha256, body, times, notices, governed, roles(anew, asker, at)


def changed(random: Random, realm: Realm, revisions: int) -> Realm:
    """A realm some revisions later: mostly rules were changed."""
    for _ in range(revisions):
        changes = changes_of(random, realm)
        if random.random() < 0.8:
            changes = [each for each in changes if each.kind in RULES]
        realm = realm.after(realm.revision + 1, changes)
    return realm


@settings(max_examples=settings.default.max_examples // 4)
@given(st.randoms(use_true_random=False))
def test_where_a_footing_bears_everything_is_decided_as_before(random: Random) -> None:
    case = case_of(random, most_datasets=24, timely=0.1)
    before = case.realm.ready()
    askers = [case.asker, *(asker_of(random) for _ in range(2))]
    footings = [Footing.of(before, asker) for asker in askers]
    after = changed(random, before, random.randint(1, 3))
    for asker, footing in zip(askers, footings, strict=True):
        if footing.bears_in(after):
            assert everything(case, after, asker) == everything(case, before, asker)


def test_it_bears_often_and_often_it_does_not() -> None:
    """Else the test above would compare nothing, or only realms that are one and the same."""
    borne = []
    for seed in range(40):
        random = Random(seed)
        before = case_of(random, most_datasets=12).realm.ready()
        footing = Footing.of(before, asker_of(random))
        after = changed(random, before, 1)
        if any(getattr(before, kind) is not getattr(after, kind) for kind in ("policies", "grants")):
            borne.append(footing.bears_in(after))
    assert 0.2 < sum(borne) / len(borne) < 0.8


ANN = SubjectState(Subject(Kind.USER, "ann"), "corp", frozenset({"analysts"}), {})
WANTED = Wanted("prod")


def rule(principal: str, rest: str = "", **fields: object) -> Change:
    text = f'permit (principal {principal}, action == Action::"load", resource in Domain::"sales"){rest};'
    return Change(Policy, "other", Policy("other", text, **fields))  # type: ignore[arg-type]


@pytest.fixture
def realm() -> Realm:
    """Ann may load what is in sales, as an analyst; analysts are in a group of all staff."""
    given = Grant("analysts", "analysts", frozenset({Action.LOAD}), "sales", because="a test")
    standing = Realm(
        revision=1,
        schema=SCHEMA,
        datasets={"sales.orders": Dataset("sales.orders", owner="team")},
        domains={"sales": Domain("sales", "team")},
        environments={"prod": Environment("prod")},
        groups={"analysts": Group("analysts", parents=frozenset({"staff"})), "staff": Group("staff")},
        policies={"other": Policy("other", 'permit (principal == User::"bob", action, resource);')},
        grants={"analysts": given},
    )
    return replace(standing, groups={"staff": Group("staff"), "office": Group("office")}).ready()


OF_OTHERS = {
    "somebody": rule('== User::"bob"'),
    "somebody, until a moment": rule('== User::"bob"', ' when { context.now > datetime("2026-06-01T18:00:00Z") }'),
    "a group": rule('in Group::"office"', ' unless { context.environment == "prod" }'),
    "users of a group": rule('is User in Group::"office"'),
    "a service of her name": rule('== Service::"ann"'),
    "a mask for somebody": rule(
        '== User::"bob"', kind=PolicyKind.MASK, obligation={"columns": ["a"], "action": "replace-with-null"}
    ),
    "the end of a rule": Change(Policy, "other", None),
    "a right to govern": Change(
        Grant, "further", Grant("further", "office", frozenset({Action.GRANT}), "all", because="a test")
    ),
}


@pytest.mark.parametrize("change", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_rule_for_others_leaves_an_answer_standing(realm: Realm, change: Change) -> None:
    footing = Footing.of(realm, ANN)
    assert footing.bears_in(realm.after(2, [change]))
    assert footing.bears_in(realm.after(2, [change]).after(3, [Change(Policy, "other", None)]))


OF_HERS = {
    "herself": rule('== User::"ann"'),
    "a group that her token names": rule('in Group::"analysts"'),
    "all users": rule("is User"),
    "herself, said in a condition": rule("is User", ' when { principal == User::"ann" }'),
    "anybody, from a moment on": rule("", ' when { context.now > datetime("2026-06-01T18:00:00Z") }'),
    "a row filter for anybody": rule(
        "", kind=PolicyKind.ROW_FILTER, obligation={"type": "eq", "term": "region", "value": "eu"}
    ),
    "the end of a grant": Change(Grant, "analysts", None),
    "a right to govern": Change(
        Grant, "further", Grant("further", "user:ann", frozenset({Action.GRANT}), "all", because="a test")
    ),
    "a group that she comes into": Change(Group, "office", Group("office", members=frozenset({ANN.subject}))),
    "a group declared": Change(Group, "analysts", Group("analysts", parents=frozenset({"staff"}))),
    "a domain's owner": Change(Domain, "sales", Domain("sales", "office")),
    "a domain's lease hours": Change(Domain, "sales", Domain("sales", "team", lease_hours=1)),
    "a variable": Change(Environment, "prod", Environment("prod", variables={"bucket": "lake"})),
    "a dataset": Change(Dataset, "sales.orders", Dataset("sales.orders", owner="team", tags=frozenset({"pii"}))),
    "one more dataset": Change(Dataset, "sales.more", Dataset("sales.more", owner="team")),
}


@pytest.mark.parametrize("change", OF_HERS.values(), ids=OF_HERS)
def test_whatever_may_have_a_part_in_it_is_decided_anew(realm: Realm, change: Change) -> None:
    assert not Footing.of(realm, ANN).bears_in(realm.after(2, [change]))


def test_a_rule_that_was_put_back_is_another_one(realm: Realm) -> None:
    """So what was decided in between, by other rules, is never taken for what is decided now."""
    footing, standing = Footing.of(realm, ANN), realm.grants["analysts"]
    ended = realm.after(2, [Change(Grant, "analysts", None)])
    assert not footing.bears_in(ended.after(3, [Change(Grant, "analysts", standing)]))


def test_a_realm_that_was_read_anew_bears_nothing(realm: Realm) -> None:
    """A database that went back may hold other nouns at the same revision."""
    footing = Footing.of(realm, ANN)
    assert footing.bears_in(realm)
    assert not footing.bears_in(replace(realm).ready())
    assert list_all(realm, ANN, WANTED, NOON).names(Action.LOAD) == ("sales.orders",)
