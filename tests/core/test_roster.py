"""Whether a sign-in stands: what an end takes away, and what an admission gives back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from muniment.core.problems import TokenRefused
from muniment.core.roster import Enrolment, Place
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import Kind, Subject, SubjectState

ANN = Subject(Kind.USER, "ann")
NOON = datetime(2027, 3, 1, 12, 0, 0, 700_000, tzinfo=UTC)
SECOND = NOON.replace(microsecond=0)


def sign_in(since: datetime | None, *groups: str) -> SignIn:
    return SignIn(SubjectState(ANN, "corp", frozenset(groups)), since=since, until=NOON + timedelta(days=1))


def holds(place: Place, since: datetime | None) -> bool:
    try:
        place.admit(sign_in(since))
    except TokenRefused:
        return False
    return True


def ended(at: datetime) -> Enrolment:
    return Enrolment(ANN, active=False, tokens_since=at, at=at, by="user:root", reason="left")


def test_of_whom_nobody_said_anything_is_admitted():
    assert holds(Place(Enrolment(ANN)), NOON)
    assert holds(Place(Enrolment(ANN)), None)


def test_an_ended_subject_is_refused_whenever_it_signed_in():
    assert not holds(Place(ended(NOON)), NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("end", "since", "held"),
    [
        (NOON - timedelta(hours=1), SECOND, True),
        (NOON - timedelta(hours=1), SECOND - timedelta(seconds=1), False),
        (NOON - timedelta(hours=1), None, False),
        (NOON - timedelta(milliseconds=200), SECOND, False),
        (NOON - timedelta(milliseconds=200), SECOND + timedelta(seconds=1), True),
    ],
    ids=["of its second", "before it", "nobody knows when", "of the second of the end, too", "of the next second"],
)
def test_an_admission_lets_in_new_sign_ins_alone(end: datetime, since: datetime | None, held: bool):
    admitted = ended(end).admitted(NOON, "user:root", "came back")
    assert admitted.active
    assert holds(Place(admitted), since) is held


def test_everybodys_end_ends_those_before_it():
    place = Place(Enrolment(ANN), ended_before=NOON)
    assert not holds(place, SECOND)
    assert holds(place, SECOND + timedelta(seconds=1))


def test_a_provisioned_group_has_the_members_that_provisioning_says():
    place = Place(Enrolment(ANN), member_of=frozenset({"planners"}), provisioned=frozenset({"analysts"}))
    assert place.admit(sign_in(NOON, "analysts", "drivers")).groups == {"planners", "drivers"}
