"""A row begins with its occasion, and the catalogue of events is closed."""

from __future__ import annotations

import dataclasses
from uuid import UUID

import pytest

from muniment.core.ledger import Event, Outcome, Rest, Row, row
from muniment.core.occasions import Occasion
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON

ANN = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}), {"clearance": 3})
OCCASION = Occasion(ANN, NOON, UUID(int=7), address="10.0.0.1", client="kedro-muniment/1")


def test_a_row_begins_with_who_asked_when_and_in_which_request():
    made = row(OCCASION, Event.LEASE_SERVED, Outcome.ALLOWED, datasets=("sales.orders",), revision=4)
    assert (made.subject, made.issuer, made.subject_state) == ("user:ann", "corp", ANN.digest)
    assert (made.id, made.receipt) == (OCCASION.row_id, OCCASION.receipt)
    assert (made.at, made.request_id, made.address, made.client) == (NOON, UUID(int=7), "10.0.0.1", "kedro-muniment/1")
    assert (made.datasets, made.revision, made.environment) == (("sales.orders",), 4, None)


def test_what_an_event_may_tell_of_its_own_is_what_a_row_has_beside_its_occasion():
    of_the_occasion = {"id", "at", "event", "outcome", "subject", "issuer", "subject_state", "address", "client"}
    fields = {field.name for field in dataclasses.fields(Row)}
    assert set(Rest.__annotations__) == fields - of_the_occasion - {"credential", "request_id", "receipt"}


def test_a_row_does_not_change():
    made = row(OCCASION, Event.LEDGER_READ, Outcome.DONE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.subject = "user:bob"


def test_events_are_named_by_a_thing_and_what_befell_it():
    assert all(len(event.value.split(".")) == 2 and event.value == event.value.lower() for event in Event)


def test_a_subject_state_is_addressed_by_all_that_it_says_and_by_nothing_else():
    same = SubjectState(Subject.parse("user:ann"), "corp", frozenset({"analysts"}), {"clearance": 3})
    others = [
        dataclasses.replace(same, issuer="other"),
        dataclasses.replace(same, groups=frozenset()),
        dataclasses.replace(same, attributes={"clearance": "3"}),
        dataclasses.replace(same, subject=Subject.parse("service:ann")),
    ]
    assert same.digest == ANN.digest
    assert len({ANN.digest, *(other.digest for other in others)}) == 5
