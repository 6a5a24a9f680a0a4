"""The unusual: how often nothing alarms, and how much is found, on made-up days of which the truth is known.

The figures that ``docs/how-to/look-at-the-unusual.md`` says are those that are computed here.
"""

import math
import random
import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core import unusual
from muniment.core.unusual import Day, First, Idle, Kind, LastUse, Refused

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "look-at-the-unusual.md"
FIRST_DAY = date(2026, 1, 1)
JUDGED_FROM = date(2026, 3, 2)
PLANTED_ON = date(2026, 4, 1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def poisson(source, rate):
    """A number of a Poisson distribution, by the gaps between arrivals."""
    if rate > 200:
        return max(0, round(source.gauss(rate, math.sqrt(rate))))
    count, left = -1, 1.0
    floor = math.exp(-rate)
    while left > floor:
        left *= source.random()
        count += 1
    return count


@cache
def company(seed=7, subjects=300, days=120):
    """People and jobs of many habits: weekends, ends of months, growth, and rates that vary from day to day."""
    source = random.Random(seed)
    made = {}
    for number in range(subjects):
        rate, spread, is_job = source.lognormvariate(2.2, 1.0), source.uniform(0.6, 6), number % 10 == 0
        counts = {}
        for passed in range(days):
            day = FIRST_DAY + passed * DAY
            expected = rate * (0.15 if day.weekday() > 4 and not is_job else 1) * (1.8 if day.day >= 28 else 1)
            expected *= 1 + 0.3 * passed / days
            counts[day] = poisson(source, source.gammavariate(spread, expected / spread))
        made[f"user:u{number}"] = counts
    return made


def days_of(company):
    return [Day(subject, day, count) for subject, counts in company.items() for day, count in counts.items()]


@cache
def alarms_by_nothing():
    """How many of 10,000 active days on which nothing happened are told."""
    days = days_of(company())
    judged = sum(day.day >= JUDGED_FROM and day.count > 0 for day in days)
    return 10_000 * len(list(unusual.volumes(days, JUDGED_FROM))) / judged


@cache
def found_of(times):
    """How many of a hundred days with so many times the subject's usual volume are told."""
    planted = {}
    for subject, counts in company().items():
        active = [count for day, count in counts.items() if day < PLANTED_ON and count]
        if len(active) >= unusual.LEAST_DAYS:
            before = {day: count for day, count in counts.items() if day < PLANTED_ON}
            planted[subject] = before | {PLANTED_ON: int(times * sum(active) / len(active)) + 1}
    told = {each.day.subject for each in unusual.volumes(days_of(planted), PLANTED_ON)}
    return 100 * len(told) / len(planted)


def test_the_page_says_how_often_nothing_alarms_and_how_much_is_found():
    said = re.search(
        r"([0-9.]+) of 10,000 .*? ([0-9]+) of 100 .*? ([0-9]+) of 100.*? ([0-9]+) of 100",
        PAGE.read_text().replace("\n", " "),
    )
    figures = alarms_by_nothing(), *(found_of(times) for times in (5, 10, 20))
    assert [float(each) for each in said.groups()] == [round(figures[0], 1), *(round(each) for each in figures[1:])]


def test_it_is_seldom_alarmed_by_nothing_and_finds_what_is_large():
    assert alarms_by_nothing() < 10
    assert found_of(20) > 90
    assert found_of(1) < 2


@given(st.lists(st.integers(1, 60), min_size=10, max_size=40), st.integers(1, 200))
def test_the_tail_is_a_probability_and_falls(history, count):
    assert 0 <= unusual.tail(count + 1, history) <= unusual.tail(count, history) <= 1


def test_the_tail_of_a_steady_history_is_that_of_poisson():
    history = [5] * 60
    exact = 1 - sum(math.exp(-4) * 4**number / math.factorial(number) for number in range(14))
    assert unusual.tail(15, history) == pytest.approx(exact, rel=1e-3)


def test_what_is_rare_and_small_is_not_told():
    quiet = [Day("user:ann", JUDGED_FROM - number * DAY, 1) for number in range(1, 40)]
    assert not list(unusual.volumes([*quiet, Day("user:ann", JUDGED_FROM, unusual.LEAST - 1)], JUDGED_FROM))
    assert list(unusual.volumes([*quiet, Day("user:ann", JUDGED_FROM, unusual.LEAST)], JUDGED_FROM))
    assert not list(unusual.volumes([*quiet[:9], Day("user:ann", JUDGED_FROM, 500)], JUDGED_FROM))


def test_who_is_new_uses_everything_for_the_first_time_and_is_not_told_of():
    known = [First("user:ann", "hr.pay", NOON, NOON - age * DAY) for age in (0, 13, 14, 40)]
    assert [each.numbers["known_days"] for each in unusual.of_first_uses(known)] == [14, 40]


def test_an_address_of_a_network_that_is_known_is_not_new():
    def first(address, *before):
        return First("user:ann", address, NOON, NOON - 30 * DAY, before)

    assert not list(unusual.of_addresses([first("192.0.2.9", "192.0.2.1")]))
    assert not list(unusual.of_addresses([first("2001:db8::9", "2001:db8::1")]))
    assert [each.kind for each in unusual.of_addresses([first("198.51.100.1", "192.0.2.1")])] == [Kind.NEW_ADDRESS]
    assert [each.kind for each in unusual.of_clients([first("curl", "kedro-muniment")])] == [Kind.NEW_CLIENT]


def test_refusals_are_told_from_five_in_a_row():
    found = [Refused("user:eve", count, NOON, NOON + 2 * timedelta(minutes=1)) for count in (4, 5)]
    assert [each.numbers for each in unusual.of_refusals(found)] == [{"count": 5, "seconds": 120}]


def test_use_in_the_last_hour_says_how_shortly_before_the_end():
    (told,) = unusual.of_last_hours([LastUse("grant:g", "user:ann", "hr.pay", 3, NOON, NOON + timedelta(minutes=7))])
    assert "3 times in the last hour before the end of grant:g, last 7 minutes before" in told.words


def test_a_grant_that_nobody_used_for_ninety_days_is_told():
    idle = [
        Idle("grant:old", "analysts", NOON - 100 * DAY, None),
        Idle("grant:used", "analysts", NOON - 100 * DAY, NOON - DAY),
        Idle("grant:young", "analysts", NOON - 89 * DAY, None),
        Idle("grant:long-ago", "analysts", NOON - 300 * DAY, NOON - 90 * DAY),
    ]
    found = [(each.policy, each.numbers["days"]) for each in unusual.of_idle_grants(idle, NOON)]
    assert found == [("grant:old", 100), ("grant:long-ago", 90)]
