"""What is changed in an export is found, where nothing but its proofs and counts can tell."""

from __future__ import annotations

from dataclasses import replace

from muniment.core import exports
from muniment.core.exports import Tally
from muniment.core.verdicts import Kind
from tests.core.test_exports import NEW, OLD, as_json_lines, export_of, first_fault, of_moment, proven, saying, stored

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
