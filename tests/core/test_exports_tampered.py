"""What is changed in an export is found, where nothing but its proofs and counts can tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from muniment.core import exports
from muniment.core.checkpoints import Note
from muniment.core.exports import Tally
from muniment.core.seals import leaf
from muniment.core.verdicts import Kind
from tests.core.test_exports import (
    KEY,
    NEW,
    OLD,
    OTHER,
    as_json_lines,
    checkpoint,
    export_of,
    first_fault,
    of_moment,
    proven,
    saying,
    stored,
)

COUNTED = saying(20, before="2026-03-01T00:00:00Z", month="2026-02", count=3)


def again(told):
    """With an end that fits."""
    head, *lines, _ = told
    tally = Tally(head)
    for line in lines:
        tally.add(line)
    return [head, *lines, tally.end]


def test_rows_right_behind_a_retired_month_do_not_pass_for_retired_ones():
    """The identifier beside a leaf is anybody's word: before the first row that is there, nothing else tells."""
    told = export_of([*OLD, *NEW, COUNTED], absent={0, 1, 2, 3, 4, 5})
    for place in (4, 5, 6):
        told[place] = replace(told[place], id=OLD[0].id)
    found = proven(again(told))
    assert not found.holds, (found.whole, found.absent, found.rows)


def test_digits_that_no_float_keeps_are_found_in_lines_of_json():
    row = stored(1, id=of_moment(1_772_442_000_000_000), details='{"share": 1.5}')
    lines = as_json_lines(export_of([stored(0), row, stored(2)]))
    lines[2] = lines[2].replace(b"1.5", b"1.50000000000000000000001")
    assert b"0001" in lines[2]
    assert first_fault(exports.of_json_lines(lines))[:2] == (Kind.CHANGED, 1)


def test_digits_that_no_float_keeps_and_nobody_changed_are_proven_in_lines_of_json():
    row = stored(1, details='{"share": 0.14285714285714285714}')
    found = proven(exports.of_json_lines(as_json_lines(export_of([stored(0), row]))))
    assert found.holds, found.faults


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_none_does_not_pass_for_nothing(constant):
    lines = as_json_lines(export_of([stored(0), stored(1), stored(2)]))
    assert b'"revision":null' in lines[2]
    lines[2] = lines[2].replace(b'"revision":null', b'"revision":' + constant)
    assert not proven(exports.of_json_lines(lines)).holds


def test_a_key_that_followed_at_the_end_of_every_calendar_comes_to_a_verdict():
    """Whoever makes a file of their own signs any moment with a key of their own."""
    told = replace(checkpoint([], 2, key=OTHER.public), at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    announced = Note(told, (KEY.signature(told), OTHER.signature(told)))
    first = KEY.note(checkpoint([], key=KEY.public))
    file = export_of([stored(0)], after=OTHER, announcements=[first.text, announced.text], number=3)
    assert proven(file, None).key == OTHER.public


def test_no_beginning_of_the_details_passes_for_salt():
    """In a table the details are a text, and need be no JSON for a proof."""
    row = stored(1, details='{"because": "the end", "more": {}}')
    told = export_of([stored(0), row, stored(2)])
    moved = row._replace(salt=row.salt + row.details[:13].encode(), details=row.details[13:])
    told[2] = replace(told[2], row=moved, leaf=leaf(moved))
    assert first_fault(again(told))[:2] == (Kind.CHANGED, 1)
