"""A lease says of each dataset when it ends sooner, and never grows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset
from muniment.core.decisions import UNSTEADY, Listing, Wanted, decide, list_all
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.leases import Lengths, ends, own_ends_hold_until
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA, case_of

ANN = SubjectState(Subject.parse("user:ann"), "corp")
PROD = Wanted("prod")
HOUR = timedelta(hours=1)
BOTH = frozenset({Action.LOAD, Action.SAVE})


def house(*grants: Grant, **policies: str) -> Realm:
    names = ("sales.orders", "sales.people", "sales.{region}_rows")
    return Realm(
        1,
        SCHEMA,
        datasets={name: Dataset(name, "team") for name in names},
        domains={"sales": Domain("sales", "team")},
        environments={"prod": Environment("prod")},
        policies={id_: Policy(id_, text) for id_, text in policies.items()},
        grants={grant.id: grant for grant in grants},
    )


def on(name: str, hours: float, actions: frozenset[Action] = BOTH) -> Grant:
    return Grant(f"g{name}{hours}", "user:ann", actions, name, until=NOON + hours * HOUR, kind="dataset")


def given_by(listing: Listing) -> dict[str, set[Action]]:
    return {name: set(actions) for name, actions in listing.usable()}


def ending(realm: Realm, hours: float = 12) -> dict[str, float]:
    listing = list_all(realm, ANN, PROD, NOON)
    found = ends(realm, ANN, PROD, NOON, NOON + hours * HOUR, given_by(listing))
    return {name: (moment - NOON) / HOUR for name, moment in found.items()}


def test_a_dataset_ends_with_its_grant_and_the_others_do_not():
    assert ending(house(on("sales.orders", 2), on("sales.people", 40))) == {"sales.orders": 2}


def test_what_ends_with_the_lease_or_after_it_needs_no_end_of_its_own():
    assert ending(house(on("sales.orders", 12))) == {}


def test_a_dataset_ends_when_only_one_of_its_actions_does():
    saving = frozenset({Action.SAVE})
    assert ending(house(on("sales.orders", 20), on("sales.orders", 3, saving))) == {}
    assert ending(house(on("sales.orders", 20, saving), on("sales.orders", 3))) == {"sales.orders": 3}


def test_a_forbid_that_begins_ends_a_dataset():
    text = 'forbid (principal, action, resource) when { context.now >= datetime("2026-06-01T17:00:00Z") };'
    assert ending(house(on("sales.orders", 20), night=text)) == {"sales.orders": 5}


def test_a_permission_that_begins_later_does_not_make_a_lease_grow():
    text = 'permit (principal, action, resource) when { context.now >= datetime("2026-06-01T17:00:00Z") };'
    assert ending(house(on("sales.orders", 2), later=text)) == {"sales.orders": 2}


def test_a_name_that_a_pattern_makes_ends_as_its_permission_does():
    until = 'context.now < datetime("2026-06-01T15:00:00Z")'
    realm = house(p=f'permit (principal, action, resource == Dataset::"sales.north_rows") when {{ {until} }};')
    made = realm.resolve("sales.north_rows")
    assert made is not None
    given = {made.name: set(decide(realm, ANN, PROD, NOON, made).actions)}
    assert ends(realm, ANN, PROD, NOON, NOON + 12 * HOUR, given) == {"sales.north_rows": NOON + 3 * HOUR}


def test_what_is_given_in_office_hours_ends_with_them():
    hours = 'context.now.toTime() >= duration("8h") && context.now.toTime() < duration("17h30m")'
    realm = house(p=f'permit (principal, action == Action::"load", resource) when {{ {hours} }};')
    assert ending(realm) == {"sales.orders": 5.5, "sales.people": 5.5, "sales.{region}_rows": 5.5}


def test_what_is_given_on_one_day_ends_at_midnight():
    today = 'context.now.toDate() == datetime("2026-06-01")'
    realm = house(p=f'permit (principal, action == Action::"load", resource) when {{ {today} }};')
    assert set(ending(realm, 20).values()) == {12}


def test_what_reckons_with_the_time_in_another_way_is_given_for_some_minutes():
    odd = 'context.now.durationSince(datetime("2026-01-01")).toMinutes() > 10'
    realm = house(p=f'permit (principal, action == Action::"load", resource) when {{ {odd} }};')
    assert set(ending(realm).values()) == {UNSTEADY / HOUR}


def test_beyond_many_moments_nothing_is_promised():
    other = [replace(on("sales.people", number / 10), id=f"n{number}") for number in range(1, 60)]
    found = ending(house(on("sales.orders", 20), *other))
    assert found["sales.orders"] <= 6


def test_people_and_services_have_leases_of_their_own_lengths():
    etl = SubjectState(Subject.parse("service:etl"), "corp")
    lengths = Lengths(users=8, services=100)
    assert (lengths.of(ANN), lengths.of(etl)) == (8 * HOUR, 100 * HOUR)


def test_a_lease_ends_with_the_key_that_asked_for_it_and_not_with_a_token():
    soon = NOON + 2 * HOUR
    token = Occasion(ANN, NOON, UUID(int=0), until=soon)
    key = replace(token, bounds=Bounds(Use.RUNS))
    assert Lengths().end(token) == NOON + 12 * HOUR
    assert Lengths().end(key) == soon
    assert Lengths().end(replace(key, until=NOON + 90 * HOUR)) == NOON + 12 * HOUR


@given(st.floats(0.25, 12), st.floats(0, 100), st.floats(0, 0.99))
def test_the_hours_of_a_domain_end_its_datasets_in_steps_of_an_eighth(hours, begun, part):
    """At every moment at least seven eighths are left and never more than all; until the step they end alike."""
    realm = replace(
        house(on("sales.orders", 2000)), domains={"sales": Domain("sales", "team", lease_hours=hours)}, revision=2
    )
    at = NOON + begun * HOUR
    end = found_at(realm, at)
    slack = timedelta(milliseconds=1)
    assert at + hours * HOUR * 7 / 8 - slack <= end <= at + hours * HOUR + slack
    holds = own_ends_hold_until(realm, at)
    assert at < holds <= at + hours * HOUR / 8 + slack
    assert found_at(realm, at + (holds - at) * part) == end
    assert found_at(realm, holds + slack) > end


def found_at(realm: Realm, at: datetime) -> datetime:
    """When the orders end in a lease that is given at a moment and lasts for long."""
    return ends(realm, ANN, PROD, at, at + 14 * HOUR, {"sales.orders": {Action.LOAD}})["sales.orders"]


def test_of_the_hours_of_several_domains_the_fewest_count():
    deep = {"sales": Domain("sales", "team", lease_hours=4), "sales.emea": Domain("sales.emea", "team", lease_hours=9)}
    realm = replace(house(), domains=deep)
    assert (realm.lease_hours_of("sales.emea"), realm.lease_hours_of("sales")) == (4, 4)
    assert realm.lease_hours_of("hr") is None
    assert own_ends_hold_until(house(), NOON) is None


@given(st.randoms(use_true_random=False), st.floats(0, 1, exclude_max=True))
def test_until_its_end_a_dataset_may_be_used_as_the_lease_says(random, part):
    case = case_of(random)
    until = case.at + timedelta(minutes=5)
    listing = list_all(case.realm, case.asker, case.wanted, case.at)
    found = ends(case.realm, case.asker, case.wanted, case.at, until, given_by(listing))
    for name, decided in listing.decided.items():
        end = found.get(name, until)
        moment = min(case.at + (end - case.at) * part, end - timedelta(microseconds=1))
        then = list_all(case.realm, case.asker, case.wanted, moment, only=[name]).decided[name]
        assert set(decided.actions) <= set(then.actions)
    if any(policy.unsteady for policy in case.realm.concerning(case.asker)):
        return
    for name, end in found.items():
        then = list_all(case.realm, case.asker, case.wanted, end, only=[name]).decided[name]
        assert not set(listing.decided[name].actions) <= set(then.actions)
