"""Nobody widens their own access, nobody hands on what they do not hold, and an administrator stays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Wanted, list_all
from muniment.core.delegation import (
    Gain,
    check_administrator_left,
    check_not_widening,
    check_rule,
    gains,
    may_leave_nobody,
)
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.forms import Form
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.policies import Policy, PolicyKind, compiled
from muniment.core.problems import NotAllowed
from muniment.core.realm import Change, Noun, Realm
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA, case_of, dataset_of, rule_of

SAM = SubjectState(Subject.parse("user:sam"), "corp", frozenset({"stewards"}))
ROOT_ADMIN = SubjectState(Subject.parse("user:root"), "corp")
LOAD = frozenset({Action.LOAD})
GOVERN = frozenset({Action.DECLARE, Action.CLASSIFY, Action.GRANT})
LATER = NOON + timedelta(days=30)


def realm(*policies: Policy, grants: Iterable[Grant] = ()) -> Realm:
    """Sam governs sales and may load its public datasets."""
    standing = [
        Grant("root", "user:root", frozenset({Action.ADMINISTER}), "all"),
        Grant("sam", "user:sam", GOVERN, "sales"),
        *grants,
    ]
    public = Form(LOAD, principals=("user:sam",), domains=("sales",), tags_any=frozenset({"public"}))
    every = [Policy("public", public.cedar()), *policies]
    datasets = [
        Dataset("sales.orders", "team", tags=frozenset({"public"})),
        Dataset("sales.people", "team", tags=frozenset({"pii"})),
        Dataset("sales.{region}_rows", "team"),
        Dataset("hr.people", "office", sensitivity=5),
    ]
    return Realm(
        1,
        SCHEMA,
        datasets={dataset.name: dataset for dataset in datasets},
        domains={name: Domain(name, "office") for name in ("sales", "sales.emea", "hr")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        groups={name: Group(name) for name in ("team", "office")},
        policies={policy.id: policy for policy in every},
        grants={grant.id: grant for grant in standing},
    )


def policy(text: str, id_: str = "p", scope: str = "all") -> Policy:
    return Policy(id_, text, scope)


def gained(before: Realm, *changes: tuple[type[Noun], str, Noun | None]) -> set[str]:
    after = before.after(2, [Change(*change) for change in changes])
    return {f"{gain.action} {gain.resource}" for gain in gains(before, after, SAM, NOON)}


def with_policy(text: str, *standing: Policy, grants: Iterable[Grant] = ()) -> set[str]:
    return gained(realm(*standing, grants=grants), (Policy, "p", policy(text)))


# --- widening one's own access ---------------------------------------------------------------------


def test_a_rule_for_others_widens_nothing():
    assert with_policy('permit (principal in Group::"others", action, resource);') == set()


def test_a_rule_that_takes_away_widens_nothing():
    assert with_policy("forbid (principal, action, resource);") == set()


def test_a_permit_that_includes_its_author_is_seen():
    found = with_policy('permit (principal in Group::"stewards", action == Action::"load", resource in Domain::"hr");')
    assert {"load hr.people", "discover hr.people"} <= found


def test_a_permit_on_what_one_may_do_already_widens_nothing():
    assert (
        with_policy('permit (principal == User::"sam", action == Action::"load", resource == Dataset::"sales.orders");')
        == set()
    )


def test_taking_a_forbid_away_is_seen():
    forbid = policy('forbid (principal, action == Action::"load", resource == Dataset::"sales.orders");')
    assert gained(realm(forbid), (Policy, "p", None)) == {"load sales.orders"}


def test_weakening_a_forbid_is_seen():
    forbid = policy('forbid (principal, action == Action::"load", resource in Domain::"sales");')
    weaker = policy(forbid.cedar.replace(";", ' when { context.environment == "prod" };'))
    assert gained(realm(forbid), (Policy, "p", weaker)) == {"load sales.orders"}


def test_joining_a_group_is_seen():
    standing = realm(policy('permit (principal in Group::"office", action == Action::"save", resource);'))
    joined = Group("team", frozenset({SAM.subject}), frozenset({"office"}))
    assert "save hr.people" in gained(standing, (Group, "team", joined))


def test_ending_a_local_group_that_hides_a_token_group_is_seen():
    standing = realm(policy('permit (principal in Group::"stewards", action == Action::"save", resource);'))
    hidden = standing.after(1, [Change(Group, "stewards", Group("stewards"))])
    assert "save hr.people" in gained(hidden, (Group, "stewards", None))


def test_a_group_tree_that_changes_under_an_owner_is_seen():
    text = 'permit (principal == User::"sam", action == Action::"save", resource is Dataset) when '
    standing = realm(policy(text + '{ resource.owner in Group::"team" };'))
    moved = Group("office", parents=frozenset({"team"}))
    assert "save hr.people" in gained(standing, (Group, "office", moved))


def test_changing_a_tag_is_seen():
    people = realm().datasets["sales.people"]
    public = replace(people, tags=people.tags | {"public"})
    assert gained(realm(), (Dataset, "sales.people", public)) == {"load sales.people", "discover sales.people"}


def test_removing_the_tag_that_restricts_oneself_is_seen():
    forbid = policy('forbid (principal, action, resource is Dataset) when { resource.tags.contains("pii") };')
    people = replace(realm().datasets["sales.people"], tags=frozenset({"pii", "public"}))
    standing = realm(forbid).after(1, [Change(Dataset, people.name, people)])
    freed = replace(people, tags=frozenset({"public"}))
    assert "load sales.people" in gained(standing, (Dataset, people.name, freed))


def test_a_tag_that_opens_a_dataset_for_one_purpose_alone_is_seen():
    text = """permit (principal == User::"sam", action == Action::"load", resource is Dataset)
    when { resource.tags.contains("research") && context has purpose && context.purpose == "study" };"""
    tagged = replace(realm().datasets["hr.people"], tags=frozenset({"research"}))
    assert "load hr.people" in gained(realm(policy(text)), (Dataset, "hr.people", tagged))


def test_a_tag_that_lets_one_govern_is_seen():
    text = """permit (principal == User::"sam", action == Action::"approve", resource is Dataset)
    when { resource.tags.contains("research") };"""
    tagged = replace(realm().datasets["hr.people"], tags=frozenset({"research"}))
    assert gained(realm(policy(text)), (Dataset, "hr.people", tagged)) == {"approve hr.people"}


def test_changing_an_owner_is_seen():
    standing = realm(
        policy('permit (principal, action == Action::"load", resource) when { principal in resource.owner };')
    )
    owned = replace(standing.datasets["hr.people"], owner="user:sam")
    assert "load hr.people" in gained(standing, (Dataset, "hr.people", owned))


def test_changing_the_owner_of_a_domain_is_seen():
    text = 'permit (principal, action == Action::"audit", resource) when { principal in resource.owner };'
    found = gained(realm(policy(text)), (Domain, "hr", Domain("hr", "user:sam")))
    assert found == {"audit hr"}


def test_a_permission_that_begins_later_is_seen():
    begins = f'when {{ context.now > datetime("{LATER:%Y-%m-%d}") }}'
    found = with_policy(f'permit (principal, action == Action::"load", resource in Domain::"hr") {begins};')
    assert "load hr.people" in found


def test_a_permission_that_only_lengthens_is_seen():
    short = Grant("g", "user:sam", LOAD, "hr", until=NOON + timedelta(hours=1))
    long = replace(short, until=LATER)
    assert "load hr.people" in gained(realm(grants=[short]), (Grant, "g", long))
    assert gained(realm(grants=[long]), (Grant, "g", short)) == set()


def mask(id_: str, action: str, *columns: str) -> Policy:
    """A mask that binds Sam in all of sales."""
    text = 'permit (principal == User::"sam", action == Action::"load", resource in Domain::"sales");'
    return Policy(id_, text, kind=PolicyKind.MASK, obligation={"columns": list(columns), "action": action})


def test_the_end_of_a_mask_that_binds_one_is_a_gain_and_one_more_is_none():
    bound = realm(mask("m", "show-last-4", "email"))
    assert gained(bound, (Policy, "m", None)) == {"load sales.orders"}
    assert gained(bound, (Policy, "n", mask("n", "replace-with-null", "phone"))) == set()


def test_a_mask_that_leaves_more_is_a_gain_and_one_that_leaves_less_is_none():
    bound = realm(mask("m", "mask-alphanum", "email"))
    for lighter in (mask("m", "show-last-4", "email"), mask("m", "replace-with-null", "phone")):
        assert "load sales.orders" in gained(bound, (Policy, "m", lighter))
    stricter = mask("m", "replace-with-null", "email", "phone")
    assert gained(bound, (Policy, "m", stricter)) == set()


def test_a_tag_of_a_dataset_that_keeps_a_mask_on_it_is_not_taken_by_whom_it_binds():
    text = """permit (principal == User::"sam", action == Action::"load", resource)
    when { resource.tags.contains("secret") };"""
    obligation = {"columns": ["email"], "action": "mask-alphanum"}
    standing = realm(Policy("m", text, kind=PolicyKind.MASK, obligation=obligation))
    orders = replace(standing.datasets["sales.orders"], tags=frozenset({"public", "secret"}))
    bound = standing.after(1, [Change(Dataset, "sales.orders", orders)])
    untagged = replace(orders, tags=frozenset({"public"}))
    assert gained(bound, (Dataset, "sales.orders", untagged)) == {"load sales.orders"}


def test_who_reads_masked_hands_nothing_on():
    text = """permit (principal == User::"ann", action == Action::"load", resource is Dataset in Domain::"sales")
    when { resource.name == "sales.orders" };"""
    whole = Grant("whole", "user:sam", LOAD, "sales")
    check_rule(realm(grants=[whole]), SAM, NOON, "sales", compiled(Policy("p", text, "sales")))
    bound = realm(mask("m", "show-last-4", "email"), grants=[whole])
    with pytest.raises(NotAllowed, match="you do not hold: load"):
        check_rule(bound, SAM, NOON, "sales", compiled(Policy("p", text, "sales")))


def test_a_permission_for_a_purpose_or_a_project_is_seen():
    for name in ("purpose", "project"):
        for condition in (
            f'context.{name} == "study"',
            f'context.{name} like "st*dy"',
            "true",
            f'context.{name} != "x"',
        ):
            text = f"""permit (principal, action == Action::"load", resource in Domain::"hr")
            when {{ context has {name} && {condition} }};"""
            assert "load hr.people" in with_policy(text)


def test_a_permission_that_a_standing_forbid_lets_through_for_one_purpose_is_seen():
    forbid = policy(
        """forbid (principal, action, resource in Domain::"hr")
    unless { context has purpose && context.purpose == "study" };""",
        "no",
    )
    assert "load hr.people" in with_policy(
        'permit (principal, action == Action::"load", resource in Domain::"hr");', forbid
    )


def test_a_permission_behind_a_forbid_that_ends_is_seen():
    forbid = policy(Form(LOAD, effect="forbid", domains=("hr",), valid_to=LATER).cedar(), "no")
    assert "load hr.people" in with_policy(
        'permit (principal, action == Action::"load", resource in Domain::"hr");', forbid
    )


def test_a_permission_in_one_environment_alone_is_seen():
    text = Form(LOAD, principals=("user:sam",), domains=("hr",), environments=frozenset({"dev"})).cedar()
    assert "load hr.people" in with_policy(text)


@pytest.mark.parametrize("action", GOVERNING_ACTIONS)
def test_every_governing_action_is_seen(action):
    found = with_policy(f'permit (principal == User::"sam", action == Action::"{action}", resource in Domain::"hr");')
    assert f"{action} hr" in found


def test_governing_one_dataset_is_seen():
    found = with_policy('permit (principal, action == Action::"declare", resource == Dataset::"hr.people");')
    assert found == {"declare hr.people"}


def test_a_permit_on_what_a_domain_may_yet_hold_is_seen():
    standing = realm()
    empty = standing.after(1, [Change(Dataset, "hr.people", None)])
    text = 'permit (principal == User::"sam", action == Action::"save", resource in Domain::"hr");'
    assert gained(empty, (Policy, "p", policy(text))) == {"save hr.*", "discover hr.*"}


def test_a_permit_on_a_tag_that_nothing_has_yet_is_seen():
    text = 'permit (principal, action == Action::"load", resource is Dataset in Domain::"hr") when '
    assert "load hr.*" in with_policy(
        text + '{ resource.tags.contains("gold") && resource.classification == "secret" };'
    )


def test_a_permit_on_a_name_that_a_pattern_makes_is_seen():
    name = "sales.north_rows"
    assert with_policy(f'permit (principal, action == Action::"save", resource == Dataset::"{name}");') >= {
        f"save {name}"
    }
    assert with_policy(
        'permit (principal, action == Action::"save", resource is Dataset) when { resource.name like "sales.n*_rows" };'
    ) >= {"save sales.nx_rows"}


def test_a_new_domain_gives_its_maker_nothing_that_was_there():
    admin = Grant("admin", "user:sam", frozenset({Action.ADMINISTER, Action.DECLARE}), "all")
    assert gained(realm(grants=[admin]), (Domain, "law", Domain("law", "office"))) == set()


def test_what_cannot_be_gone_through_is_refused():
    dates = " || ".join(f'context.now == datetime("2027-01-{day:02d}")' for day in range(1, 29))
    purposes = " || ".join(f'context.purpose == "{number}"' for number in range(40))
    projects = " || ".join(f'context.project == "{number}"' for number in range(40))
    texts = [f"permit (principal, action, resource) when {{ {dates} }};"]
    texts += [f"permit (principal, action, resource) when {{ context has purpose && ({purposes}) }};"]
    texts += [f"permit (principal, action, resource) when {{ context has project && ({projects}) }};"]
    changes = [(Policy, f"p{number}", policy(text, f"p{number}")) for number, text in enumerate(texts)]
    with pytest.raises(NotAllowed, match="somebody else"):
        gained(realm(), *changes)


def test_the_refusal_names_some_of_what_would_be_gained():
    after = realm().after(2, [Change(Policy, "p", policy("permit (principal, action, resource);"))])
    with pytest.raises(NotAllowed, match=r"widen your own access \(.*and \d+ more\); somebody else must"):
        check_not_widening(realm(), after, SAM, NOON)


@given(st.randoms(use_true_random=False))
def test_whatever_is_gained_is_found(random):
    """By brute force: every dataset that stands, in some of all the circumstances that the cases know."""
    case = case_of(random)
    change = random.choice(
        [
            Change(Policy, "p0", rule_of(random, "p0", random.choice(["permit", "forbid"])).policy),
            Change(Policy, "p1", None),
            Change(Dataset, "sales.orders", dataset_of(random, "sales.orders")),
            Change(Group, "team", Group("team", frozenset({case.asker.subject}), frozenset({"guild"}))),
        ]
    )
    after = case.realm.after(2, [change])
    found = gains(case.realm, after, case.asker, case.at)
    standing = case.realm.datasets.keys() & after.datasets.keys()
    circumstances = itertools.product(("dev", "prod"), (None, "churn", "else"), (None, "audit", "else"), (0, 30, 3600))
    expected = {
        Gain(action, name)
        for environment, project, purpose, seconds in random.sample(list(circumstances), 12)
        for name, action in _newly(case.realm, after, case.asker, Wanted(environment, project, purpose), seconds)
        if name in standing
    }
    assert expected <= set(found)


def _newly(before: Realm, after: Realm, asker: SubjectState, wanted: Wanted, seconds: int) -> set[tuple[str, Action]]:
    moment = NOON + timedelta(seconds=seconds, milliseconds=1)
    then, now = (_allowed(realm, asker, wanted, moment) for realm in (before, after))
    return now - then


def _allowed(realm: Realm, asker: SubjectState, wanted: Wanted, moment) -> set[tuple[str, Action]]:
    decided = list_all(realm, asker, wanted, moment).decided
    return {(name, action) for name, found in decided.items() for action in DATA_ACTIONS if found[action].allowed}


@given(st.randoms(use_true_random=False))
def test_no_change_widens_nothing(random):
    case = case_of(random)
    assert gains(case.realm, case.realm.after(2, ()), case.asker, case.at) == ()
    assert gains(case.realm, replace(case.realm), case.asker, case.at) == ()


# --- handing on ------------------------------------------------------------------------------------


def hand_on(cedar: str, scope: str = "sales", asker: SubjectState = SAM, standing: Realm | None = None) -> None:
    check_rule(standing or realm(), asker, NOON, scope, compiled(Policy("p", cedar, scope)))


def to_interns(action: str, resource: str = "resource", condition: str = "true") -> str:
    return f'permit (principal in Group::"interns", action == Action::"{action}", {resource}) when {{ {condition} }};'


def test_a_steward_hands_on_what_the_steward_holds():
    hand_on(to_interns("load", 'resource == Dataset::"sales.orders"'))
    hand_on(to_interns("declare"))
    hand_on(to_interns("grant", 'resource in Domain::"sales.emea"'))


@pytest.mark.parametrize(
    "cedar",
    [
        to_interns("load"),
        to_interns("load", 'resource == Dataset::"sales.people"'),
        to_interns("save", 'resource == Dataset::"sales.orders"'),
        to_interns("approve"),
        to_interns("administer"),
        'permit (principal in Group::"interns", action, resource);',
    ],
)
def test_a_steward_hands_on_nothing_that_the_steward_does_not_hold(cedar):
    with pytest.raises(NotAllowed, match="hand on what you hold"):
        hand_on(cedar)


def test_what_is_held_in_one_environment_is_handed_on_in_that_one_alone():
    dev = Policy(
        "dev", Form(LOAD, principals=("user:sam",), domains=("sales",), environments=frozenset({"dev"})).cedar()
    )
    standing = realm(dev)
    hand_on(to_interns("load", condition='context.environment == "dev"'), standing=standing)
    for condition in ('context.environment == "prod"', "true", 'context.environment != "prod"'):
        with pytest.raises(NotAllowed):
            hand_on(to_interns("load", condition=condition), standing=standing)


def test_what_is_withheld_in_a_domain_below_is_not_handed_on_from_above():
    loads = Policy("loads", Form(LOAD, principals=("user:sam",), domains=("sales",)).cedar())
    not_emea = Policy("no", Form(LOAD, effect="forbid", principals=("user:sam",), domains=("sales.emea",)).cedar())
    hand_on(to_interns("load"), standing=realm(loads))
    with pytest.raises(NotAllowed):
        hand_on(to_interns("load"), standing=realm(loads, not_emea))


def test_governing_that_is_withheld_below_is_not_handed_on_from_above():
    no = policy('forbid (principal == User::"sam", action == Action::"declare", resource in Domain::"sales.emea");')
    with pytest.raises(NotAllowed):
        hand_on(to_interns("declare"), standing=realm(no))


def test_a_forbid_hands_on_nothing():
    check_rule(realm(), SAM, NOON, "sales", None)


@pytest.mark.parametrize("scope", ["hr", "all"])
def test_nobody_makes_a_rule_where_they_may_not_grant(scope):
    with pytest.raises(NotAllowed):
        check_rule(realm(), SAM, NOON, scope, None)


def test_an_administrator_hands_on_what_is_not_held():
    hand_on(to_interns("load"), asker=ROOT_ADMIN)
    hand_on(to_interns("administer"), scope="all", asker=ROOT_ADMIN)


def test_a_dataset_that_nobody_declared_is_handed_on_only_by_who_would_hold_it():
    with pytest.raises(NotAllowed, match="hand on what you hold"):
        hand_on(to_interns("load", 'resource == Dataset::"sales.not_there"'))
    loads = Policy("loads", Form(LOAD, principals=("user:sam",), domains=("sales",)).cedar())
    hand_on(to_interns("load", 'resource == Dataset::"sales.not_there"'), standing=realm(loads))


def test_a_name_that_a_pattern_makes_is_handed_on_only_by_who_holds_it():
    rows = 'resource == Dataset::"sales.north_rows"'
    with pytest.raises(NotAllowed):
        hand_on(to_interns("load", rows))
    holds = policy(f'permit (principal == User::"sam", action == Action::"load", {rows});', "holds")
    hand_on(to_interns("load", rows), standing=realm(holds))


def test_nothing_is_held_where_there_are_no_environments_yet():
    loads = Policy("loads", Form(LOAD, principals=("user:sam",), domains=("sales",)).cedar())
    bare = replace(realm(loads), environments={})
    with pytest.raises(NotAllowed):
        hand_on(to_interns("load", 'resource == Dataset::"sales.orders"'), standing=bare)


def test_governing_that_is_withheld_on_one_dataset_is_not_handed_on_for_it():
    people = 'resource == Dataset::"sales.people"'
    hand_on(to_interns("declare", people))
    no = policy(f'forbid (principal == User::"sam", action == Action::"declare", {people});')
    with pytest.raises(NotAllowed):
        hand_on(to_interns("declare", people), standing=realm(no))


def test_no_rule_of_a_narrower_scope_shuts_out_who_administers_everything():
    locked = realm(Policy("lock", "forbid (principal, action, resource);", "sales"))
    hand_on(to_interns("load"), asker=ROOT_ADMIN, standing=locked)


# --- what a refusal tells --------------------------------------------------------------------------


def refused_for(standing: Realm, grant: Grant) -> str:
    after = standing.after(2, [Change(Grant, grant.id, grant)])
    with pytest.raises(NotAllowed) as refused:
        check_not_widening(standing, after, SAM, NOON)
    return refused.value.detail


def test_a_refusal_names_no_dataset_that_its_reader_may_not_know_of():
    detail = refused_for(realm(), Grant("g", "user:sam", LOAD, "hr"))
    assert "load hr.*" in detail
    assert "people" not in detail


def test_a_refusal_names_no_draft_and_names_what_is_known():
    draft = Dataset("sales.plan", "team", lifecycle=Lifecycle.DRAFT)
    detail = refused_for(realm().after(1, [Change(Dataset, draft.name, draft)]), Grant("g", "user:sam", LOAD, "sales"))
    assert "discover sales.people" in detail
    assert "plan" not in detail


def lifts(lock: Policy, *grants: Grant) -> None:
    standing = realm(lock, grants=grants)
    check_not_widening(standing, standing.after(2, [Change(Policy, "lock", None)]), ROOT_ADMIN, NOON)


def test_who_administers_everything_lifts_what_a_steward_forbade_and_gains_no_data_by_it():
    text = "forbid (principal, action, resource);"
    governs = Grant("governs", "user:root", GOVERN | {Action.DISCOVER}, "all")
    lifts(Policy("lock", text, "sales"), governs)
    with pytest.raises(NotAllowed, match="widen"):
        lifts(Policy("lock", text, "all"), governs)
    with pytest.raises(NotAllowed, match="load sales"):
        lifts(Policy("lock", text, "sales"), Grant("loads", "user:root", LOAD, "all"))


# --- the last administrator ------------------------------------------------------------------------

ADMINISTER = frozenset({Action.ADMINISTER})


def leaves(before: Realm, *changes: Change, others: Iterable[SubjectState] = (SAM,)) -> None:
    """Refuse, as a change does: only where it may leave nobody are the others looked for."""
    after = before.after(2, changes)
    if may_leave_nobody(before, after, ROOT_ADMIN, NOON):
        check_administrator_left(before, after, [ROOT_ADMIN, *others], NOON)


def test_the_last_administrator_stays():
    with pytest.raises(NotAllowed, match="nobody who may administer"):
        leaves(realm(), Change(Grant, "root", None))


def test_an_administrator_may_go_when_another_is_there():
    there = replace(SAM, groups=frozenset({"group-of-two"}))
    before = realm(grants=[Grant("other", "group-of-two", ADMINISTER, "all")])
    leaves(before, Change(Grant, "root", None), others=[there])
    with pytest.raises(NotAllowed):
        leaves(before, Change(Grant, "root", None))


def test_a_forbid_on_administering_is_a_change_that_leaves_nobody():
    no = policy('forbid (principal, action == Action::"administer", resource);')
    with pytest.raises(NotAllowed):
        leaves(realm(), Change(Policy, "p", no))


def test_an_administrator_whose_right_ends_does_not_count_as_the_last():
    ending = Grant("other", "user:sam", ADMINISTER, "all", until=NOON + timedelta(seconds=2))
    with pytest.raises(NotAllowed, match="nobody, from 2026-06-01 12:00 UTC on"):
        leaves(realm(grants=[ending]), Change(Grant, "root", None))


def test_the_last_administrator_gives_their_own_right_no_end():
    ending = Grant("root", "user:root", ADMINISTER, "all", until=LATER)
    with pytest.raises(NotAllowed):
        leaves(realm(), Change(Grant, "root", ending))


def test_a_forbid_that_begins_later_is_a_change_that_leaves_nobody():
    later = f'when {{ context.now > datetime("{LATER:%Y-%m-%d}") }}'
    no = policy(f'forbid (principal, action == Action::"administer", resource) {later};')
    with pytest.raises(NotAllowed):
        leaves(realm(), Change(Policy, "p", no))


def test_the_owner_of_the_root_stays_an_administrator():
    owners = policy(
        'permit (principal, action == Action::"administer", resource) when { principal in resource.owner };'
    )
    standing = realm(owners).after(1, [Change(Grant, "root", None), Change(Domain, "all", Domain("all", "user:root"))])
    with pytest.raises(NotAllowed):
        leaves(standing, Change(Domain, "all", Domain("all", "office")))


def test_a_change_is_not_blamed_for_an_end_that_was_coming():
    ending = Grant("root", "user:root", ADMINISTER, "all", until=LATER)
    before = realm().after(1, [Change(Grant, "root", ending)])
    leaves(before, Change(Grant, "g", Grant("g", "team", ADMINISTER, "sales")))
    leaves(before, Change(Group, "team", Group("team", frozenset({SAM.subject}))))


HIDDEN = {
    "any other purpose": 'context has purpose && context.purpose != "(another)"',
    "a purpose like a pattern": 'context has purpose && context.purpose like "x*" && context.purpose != "x"',
    "a purpose that is the dataset's": "context has purpose && context.purpose == resource.name",
    "a project that is no purpose": "context has purpose && context has project && context.project != context.purpose",
    "an hour elsewhere": 'context.now.offset(duration("1h")).toTime() < duration("2h")',
    "a day": 'context.now.toDate() == datetime("2030-01-01")',
    "a while since": 'context.now.durationSince(datetime("2030-01-01")) > duration("1h")',
    "an hour of a year": 'context.now > datetime("2030-01-01") && context.now.toTime() > duration("20h")',
}
LOADS_HR = 'permit(principal == User::"sam", action == Action::"load", resource in Domain::"hr")'


@pytest.mark.parametrize("condition", HIDDEN.values(), ids=HIDDEN)
def test_an_occasion_that_no_literal_tells_is_a_gain_all_the_same(condition: str) -> None:
    assert "load hr.people" in with_policy(f"{LOADS_HR} when {{ {condition} }};")
    assert with_policy(f"{LOADS_HR.replace('sam', 'eve')} when {{ {condition} }};") == set()


@pytest.mark.parametrize("condition", HIDDEN.values(), ids=HIDDEN)
def test_a_forbid_that_leaves_an_occasion_is_looser_than_one_that_leaves_none(condition: str) -> None:
    permit = policy(f"{LOADS_HR};", "permit")
    forbid = 'forbid(principal, action == Action::"load", resource in Domain::"hr")'
    before = realm(permit, policy(f"{forbid};"))
    assert "load hr.people" in gained(before, (Policy, "p", policy(f"{forbid} unless {{ {condition} }};")))
    loosened = realm(permit, policy(f"{forbid} unless {{ {condition} }};"))
    assert gained(loosened, (Policy, "p", policy(f"{forbid};"))) == set()


@pytest.mark.parametrize("condition", HIDDEN.values(), ids=HIDDEN)
def test_what_bars_a_permit_of_hidden_occasions_is_not_ended_by_whom_it_lets(condition: str) -> None:
    barred = policy('forbid(principal, action, resource in Domain::"hr");', "bar")
    before = realm(policy(f"{LOADS_HR} when {{ {condition} }};"), barred)
    assert "load hr.people" in gained(before, (Policy, "bar", None))


@pytest.mark.parametrize("condition", HIDDEN.values(), ids=HIDDEN)
def test_a_rule_of_hidden_occasions_that_stays_as_it_is_gives_nothing(condition: str) -> None:
    before = realm(policy(f"{LOADS_HR} when {{ {condition} }};"))
    assert gained(before, (Grant, "ann", Grant("ann", "user:ann", LOAD, "hr"))) == set()
    assert gained(before, (Policy, "p", None)) == set()


def test_a_rule_by_which_nobody_would_administer_after_a_while_is_refused() -> None:
    before = realm()
    elusive = 'context.now.durationSince(datetime("2030-01-01")) > duration("1h")'
    text = f'forbid(principal, action == Action::"administer", resource) when {{ {elusive} }};'
    after = before.after(2, [Change(Policy, "p", policy(text))])
    assert may_leave_nobody(before, after, ROOT_ADMIN, NOON)
    with pytest.raises(NotAllowed, match="nobody"):
        check_administrator_left(before, after, [ROOT_ADMIN], NOON)
