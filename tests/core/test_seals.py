"""What is sealed of a row: everything, so that whatever is changed is another leaf."""

import json
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core import seals
from muniment.core.seals import Stored

ROW = Stored(
    id="019ab000-0000-7000-8000-000000000001",
    at=1_795_430_000_000_000,
    event="lease.served",
    outcome="allowed",
    subject="user:ann",
    issuer="corp",
    subject_state="9f2c",
    address="192.0.2.7",
    client="kedro-muniment/1.0",
    credential="token",
    request_id="019ab000-0000-7000-8000-0000000000aa",
    receipt="019ab000-0000-7000-8000-0000000000bb",
    revision=17,
    environment="prod",
    project="close",
    purpose="close the month",
    run="2026-11-23T08.15.00.120Z",
    datasets=["sales.orders"],
    policies=["p1", "g2"],
    decided_sha256="ab" * 32,
    evaluator="7",
    details='{"until": "2026-11-24T00:00:00Z"}',
    seq=991,
    xact=7345,
    salt=bytes(range(32)),
    who_sha256=None,
    details_sha256=None,
)

OTHER = {
    **dict.fromkeys(Stored._fields, "other"),
    **dict.fromkeys(("at", "revision", "seq", "xact"), 1),
    "datasets": ["other"],
    "policies": ["other"],
    **dict.fromkeys(("salt", "who_sha256", "details_sha256"), bytes(32)),
}


def test_the_entry_of_a_row_is_canonical_json_that_names_nobody():
    entry = seals.entry(ROW)
    read = json.loads(entry)
    assert entry == orjson.dumps(read, option=orjson.OPT_SORT_KEYS)
    assert read["id"] == ROW.id
    assert read["at"] == ROW.at
    for hidden in ("user:ann", "192.0.2.7", "kedro-muniment", "token", "9f2c", "until"):
        assert hidden not in entry.decode()


@pytest.mark.parametrize("field", Stored._fields)
def test_whatever_is_changed_of_a_row_makes_another_leaf(field):
    assert seals.leaf(ROW._replace(**{field: OTHER[field]})) != seals.leaf(ROW)


@pytest.mark.parametrize(
    "field", ["subject", "address", "request_id", "revision", "purpose", "datasets", "details", "salt", "outcome"]
)
def test_a_column_that_somebody_emptied_makes_another_leaf(field):
    """Its NOT NULL may have been taken away first."""
    without = ROW._replace(**{field: None}) if field != "details" else ROW._replace(details="")
    assert seals.leaf(without) != seals.leaf(ROW)


def test_an_erased_row_has_the_leaf_that_it_had():
    nobody = dict.fromkeys(seals.WHO, seals.ERASED)
    commitments = {"who_sha256": seals.who_commitment(ROW), "details_sha256": seals.details_commitment(ROW)}
    erased = ROW._replace(**nobody, details=seals.ERASED_DETAILS, salt=bytes(32), **commitments)
    assert seals.leaf(erased) == seals.leaf(ROW)
    assert seals.is_erased(erased)
    assert not seals.still_there(erased)


@pytest.mark.parametrize("field", [*seals.WHO, "details"])
def test_what_stands_beside_a_commitment_in_its_place_is_noticed(field):
    """Else anything could be written there, and the leaf would still be right."""
    erased = ROW._replace(
        **dict.fromkeys(seals.WHO, seals.ERASED),
        details=seals.ERASED_DETAILS,
        who_sha256=bytes(32),
        details_sha256=bytes(32),
    )
    assert not seals.still_there(erased)
    for said in ("user:eve", "", "{}"):
        assert seals.still_there(erased._replace(**{field: said}))


def test_each_commitment_has_its_own_half_of_the_salt():
    first, second = bytes(16) + bytes(range(16, 32)), bytes(range(16)) + bytes(16)
    assert seals.who_commitment(ROW._replace(salt=second)) == seals.who_commitment(ROW)
    assert seals.details_commitment(ROW._replace(salt=first)) == seals.details_commitment(ROW)
    assert seals.who_commitment(ROW._replace(salt=first)) != seals.who_commitment(ROW)


def test_moments_are_read_as_they_were_written():
    at = datetime(2026, 11, 23, 12, 30, 59, 123_457, UTC)
    assert seals.moment(seals.microseconds(at)) == at
    assert seals.moment(2**62) is None


def test_a_statement_covers_all_but_its_signature():
    said = {"before": "2026-01-01", "ids": ["a"], "signature": "abc"}
    assert seals.statement(said) == seals.statement({**said, "signature": "other"})
    assert seals.statement(said) != seals.statement({**said, "before": "2027-01-01"})
    assert seals.statement(said).startswith(b"muniment ledger statement\n")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_read_back_is_written_as_before(number):
    text = seals.written({"n": number})
    assert float(json.loads(text)["n"]) == number
    assert seals.written(orjson.loads(text)) == text
