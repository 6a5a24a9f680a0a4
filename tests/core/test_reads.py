"""Who read a dataset follows from leases that are decided again, and from what clients say; the two stay apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.figures import By, Figure, every_day
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.ledger import Event, Outcome, Question
from muniment.core.policies import Policy
from muniment.core.problems import Invalid
from muniment.core.reads import Alike, Because, Claimed, Gave, Times, gave, matters, read_by, spans
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.views import View, checked_days, checked_name, read_question
from tests.core.oracle import NOON, SCHEMA

ANN = SubjectState(Subject.parse("user:ann"), "corp")
HOUR = timedelta(hours=1)


ORDERS = Dataset("sales.orders", "team", environments={"prod": {"type": "pandas.CSVDataset"}})


def house(*grants: Grant, **policies: str) -> Realm:
    return Realm(
        7,
        SCHEMA,
        datasets={
            "sales.orders": Dataset("sales.orders", "team", environments={"prod": {"type": "pandas.CSVDataset"}})
        },
        domains={"sales": Domain("sales", "team")},
        environments={"prod": Environment("prod")},
        policies={id_: Policy(id_, text) for id_, text in policies.items()},
        grants={grant.id: grant for grant in grants},
    )


def loads(until: datetime | None = None) -> Grant:
    return Grant("g", "user:ann", frozenset({Action.LOAD}), "sales.orders", until=until, kind="dataset")


def alike(first: datetime = NOON, last: datetime = NOON, times: int = 1) -> Alike:
    return Alike("user:ann", ANN.digest, 7, Wanted("prod"), times, first, last)


def test_a_lease_gave_what_its_subject_might_load_then_and_names_the_rule():
    found = gave(house(loads()), ANN, alike(), "sales.orders")
    assert found == Gave(alike(), (Because("grant:g", "The user ann may load sales.orders."),))
    assert gave(house(), ANN, alike(), "sales.orders") is None
    assert gave(house(loads()), ANN, alike(), "sales.leads") is None


def test_leases_between_which_a_rule_ended_gave_it_partly():
    """Seen to fail with the first of them decided alone."""
    ending = house(loads(until=NOON + HOUR))
    before, after = alike(NOON, NOON), alike(NOON, NOON + 2 * HOUR)
    assert [found.partly for each in (before, after) if (found := gave(ending, ANN, each, "sales.orders"))] == [
        False,
        True,
    ]
    assert gave(ending, ANN, alike(NOON + 2 * HOUR, NOON + 3 * HOUR), "sales.orders") is None


def test_what_was_given_in_between_alone_is_found():
    """Seen to fail with the first and the last of alike leases decided alone."""
    begins, ends = (f'datetime("{(NOON + n * HOUR).isoformat()[:19]}Z")' for n in (1, 2))
    when = f"when {{ context.now >= {begins} && context.now < {ends} }}"
    between = house(then=f'permit (principal == User::"ann", action == Action::"load", resource) {when};')
    found = gave(between, ANN, alike(NOON, NOON + 3 * HOUR), "sales.orders")
    assert found is not None
    assert ([rule.id for rule in found.because], found.partly) == (["then"], True)
    assert gave(between, ANN, alike(NOON + 3 * HOUR, NOON + 4 * HOUR), "sales.orders") is None


def test_only_what_can_reach_a_dataset_parts_the_revisions():
    """Seen to fail with a grant's scope of today taken for all that it ever had."""
    of = matters("sales.emea.orders")
    assert of(Dataset, "sales.emea.orders", [])
    assert of(Dataset, "sales.{region}_orders", [])
    assert not of(Dataset, "sales.emea.leads", [])
    elsewhere, here = replace(loads(), on="hr.salaries"), replace(loads(), on="sales.orders")
    assert not of(Grant, "g", [elsewhere])
    assert of(Grant, "g", [here, elsewhere])
    assert of(Policy, "p", [Policy("p", "", "all")])
    assert of(Group, "g", [])
    assert (of(Domain, "sales", []), of(Domain, "hr", [])) == (True, False)
    assert spans([3, 4, 9, 12], [5, 12]) == [[12], [9], [4, 3]]


def test_a_forbid_beats_what_a_lease_would_have_given():
    forbid = 'forbid (principal == User::"ann", action == Action::"load", resource);'
    assert gave(house(loads(), no=forbid), ANN, alike(), "sales.orders") is None


def test_what_was_given_and_what_is_said_stay_apart_and_those_who_say_most_come_first():
    rule = Because("g", "")
    given = [Gave(alike(NOON, NOON, 2), (rule,)), Gave(alike(NOON - HOUR, NOON - HOUR), (rule,), partly=True)]
    said = [
        Claimed("user:ben", "load", "prod", "p", 1, NOON, NOON),
        Claimed("user:ben", "load", "dev", None, 2, NOON, NOON + HOUR),
    ]
    ben, ann = read_by(given, said)
    assert (ben.subject, ben.given, ben.claimed) == ("user:ben", None, {"load": Times(3, NOON, NOON + HOUR)})
    assert (ben.environments, ben.projects, ben.because) == (("dev", "prod"), ("p",), ())
    assert (ann.given, ann.claimed, ann.because, ann.partly) == (Times(3, NOON - HOUR, NOON), {}, (rule,), True)


def test_every_day_of_a_time_has_its_figure():
    since = datetime(2027, 2, 27, 18, tzinfo=UTC)
    found = every_day([Figure("2027-02-28", 1)], since, since + timedelta(days=2, hours=6))
    assert [(each.name, each.given) for each in found] == [
        ("2027-02-27", 0),
        ("2027-02-28", 1),
        ("2027-03-01", 0),
    ]
    assert By("day") is By.DAY


@pytest.mark.parametrize(
    "question",
    [
        Question(),
        Question(subject="user:ann", events=(Event.USE_REPORTED, Event.LEASE_SERVED), outcome=Outcome.DONE),
        Question(since=NOON, until=NOON + HOUR, receipt=UUID(int=7)),
    ],
    ids=["all", "some", "in a time"],
)
def test_a_question_is_read_as_it_was_written(question: Question):
    assert read_question(question.told) == question


def test_a_view_of_the_last_days_asks_about_those_before_it_is_asked():
    view = View("user:ann", "mine", Question(dataset="sales.orders"), 7, shared=False, at=NOON)
    assert view.asked(NOON).since == NOON - timedelta(days=7)
    assert view.asked(NOON).dataset == "sales.orders"


@pytest.mark.parametrize("name", ["", " x", "a" * 81, "a/b", "a\nb", "<b>", "\u202ex"])
def test_what_is_no_name_of_a_view_is_refused(name: str):
    with pytest.raises(Invalid):
        checked_name(name)
    assert checked_name("Wer las die Bestellungen?"[:-1]) == "Wer las die Bestellungen"


def test_a_view_is_about_the_last_days_or_about_a_time():
    for days in (0, 3661):
        with pytest.raises(Invalid):
            checked_days(Question(), days)
    with pytest.raises(Invalid):
        checked_days(Question(since=NOON), 7)
    assert checked_days(Question(since=NOON), None) is None
