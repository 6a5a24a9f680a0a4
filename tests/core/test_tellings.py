"""Every event tells one thing, is an event of OCSF, and is read by those alone whom all of it concerns."""

import json
from uuid import UUID

import pytest

from muniment.core.ledger import Event, Outcome
from muniment.core.ocsf import ACTIVITIES, EVENTS, VERSION, Class, event_line, event_of
from muniment.core.seals import Stored
from muniment.core.tellings import NAMES_DATASETS_ALONE, TELLS, Telling, events_that

#: What OCSF 1.3.0 requires of every event, of metadata, and of each class beside; of some attributes one must be there.
OF_ALL = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")
OF_METADATA = ("product", "version")
OF_CLASS = {
    Class.AUTHENTICATION: (("user",), ("service", "dst_endpoint")),
    Class.ENTITY: (("entity",), ("entity",)),
    Class.API: (("actor", "api", "src_endpoint"), ("api",)),
    Class.DATASTORE: (("actor", "src_endpoint"), ("database", "databucket", "table")),
}
#: Of these objects at least one of these attributes must be there.
OF_OBJECTS = {
    "user": ("account", "name", "uid"),
    "src_endpoint": ("hostname", "ip", "name", "uid"),
    "entity": ("name", "uid"),
    "table": ("name", "uid"),
    "service": ("name", "uid"),
}
#: The activities of each class that the specification has.
OF_ACTIVITIES = {
    Class.AUTHENTICATION: range(1, 6),
    Class.ENTITY: range(1, 5),
    Class.API: range(1, 5),
    Class.DATASTORE: range(1, 11),
}


def stored(event, outcome="allowed", **fields):
    usual = dict.fromkeys(Stored._fields) | dict.fromkeys(("subject", "issuer", "address", "client", "credential"), "")
    lists = {"datasets": [], "policies": [], "details": "{}", "seq": 1, "xact": 1, "subject_state": ""}
    told = {"id": str(UUID(int=7)), "at": 1_772_442_000_123_456, "event": event.value, "outcome": outcome}
    return Stored(**{**usual, **lists, **told, **fields})


def test_every_event_tells_one_thing():
    assert TELLS.keys() == set(Event)
    assert sorted(event for telling in Telling for event in events_that(telling)) == sorted(Event)
    assert events_that(Telling.GIVEN) == (Event.LEASE_SERVED,)


def test_no_row_that_tells_of_several_things_at_once_is_told_by_its_datasets():
    several = {Event.REALM_APPLIED, Event.CHANGE_TRIED, Event.ACCESS_REVIEWED, Event.SUBJECT_HANDED_OVER}
    assert not several & NAMES_DATASETS_ALONE
    assert not {Event.ACCESS_EVALUATED, Event.ACCESS_SEARCHED, Event.GLASS_BROKEN} & NAMES_DATASETS_ALONE


def test_every_event_is_one_of_ocsf():
    assert EVENTS.keys() == set(Event)


@pytest.mark.parametrize("event", list(Event), ids=str)
@pytest.mark.parametrize("bare", [True, False])
def test_an_event_has_what_its_class_requires(event, bare):
    full = {
        "subject": "user:ann",
        "issuer": "corp",
        "address": "192.0.2.7",
        "datasets": ["sales.orders"],
        "policies": ["readers"],
        "receipt": str(UUID(int=8)),
        "details": json.dumps({"about": "user:bob", "action": "load"}),
    }
    told = event_of(stored(event, **({} if bare else full)))
    required, one_of = OF_CLASS[Class(told["class_uid"])]
    assert all(told.get(name) is not None for name in (*OF_ALL, *required))
    assert all(told["metadata"].get(name) for name in OF_METADATA)
    assert any(told.get(name) for name in one_of)
    assert told["metadata"]["version"] == VERSION == "1.3.0"
    assert told["activity_id"] in OF_ACTIVITIES[Class(told["class_uid"])]
    assert told["activity_name"] == ACTIVITIES[Class(told["class_uid"])][told["activity_id"]]
    assert told["type_uid"] == told["class_uid"] * 100 + told["activity_id"]
    assert told["category_uid"] == told["class_uid"] // 1000
    assert told["time"] == 1_772_442_000_123
    objects = {"user": told["actor"]["user"], **{name: told[name] for name in OF_OBJECTS if name in told}}
    for name, said in objects.items():
        assert any(said.get(each) for each in OF_OBJECTS[name]), name


def test_what_was_denied_failed_and_what_was_saved_was_written():
    assert event_of(stored(Event.ACCESS_DENIED, Outcome.DENIED.value))["status_id"] == 2
    saved = event_of(stored(Event.USE_REPORTED, datasets=["sales.orders"], details='{"action": "save"}'))
    assert (saved["activity_name"], saved["table"]) == ("Write", {"name": "sales.orders"})


def test_an_event_is_one_line():
    line = event_line(stored(Event.ACCESS_DENIED, purpose="a\nb"))
    assert line.count(b"\n") == 1
    assert json.loads(line)["unmapped"]["purpose"] == "a\nb"


@pytest.mark.parametrize("address", ["", "elsewhere", "2001:db8::/64"])
def test_an_address_that_is_none_is_not_said_to_be_one(address):
    assert "ip" not in event_of(stored(Event.SIGN_IN_REFUSED, address=address))["src_endpoint"]
