"""Exports carry their proof: what was done to a file is found, and the first row that it was done to is named."""

import base64
import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from muniment.core import exports
from muniment.core.checkpoints import NONE_BEFORE, Checkpoint, Note
from muniment.core.export_proofs import prove
from muniment.core.exports import Broken, Head, Line, Tally
from muniment.core.ledger import Event, Place
from muniment.core.merkle import Tree, inclusion_spans
from muniment.core.seals import ERASED, WHO, Stored, leaf, statement, who_commitment, written
from muniment.core.verdicts import Kind
from muniment.identity.seal_keys import SealKey, holds

NINE = 1_772_442_000_000_000
KEY = SealKey("ledger", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = SealKey("ledger", Ed25519PrivateKey.from_private_bytes(b"o" * 32))


def stored(number, **fields):
    defaults = dict.fromkeys(Stored._fields) | dict.fromkeys(
        ("subject", "issuer", "subject_state", "address", "client", "credential"), ""
    )
    told = {"id": str(UUID(int=number)), "at": NINE + number, "event": Event.LEASE_SERVED.value, "outcome": "allowed"}
    rest = {
        "datasets": [],
        "policies": [],
        "details": "{}",
        "seq": number % 2**60,
        "xact": number % 2**60,
        "salt": bytes(32),
    }
    return Stored(**{**defaults, **told, **rest, **fields})


def root_over(leaves):
    tree = Tree()
    tree.grow(leaves)
    return tree.root


def export_of(rows, *, only=None, complete=True, absent=(), key=KEY, announcements=(), after=None, number=1):
    """The head and the lines of an export of these rows, of which some may be left out, and its end."""
    leaves = [leaf(row) for row in rows]
    note = (after or key).note(checkpoint(leaves, number))
    head = Head(
        made_at="2026-03-02T09:00:00Z",
        asked={},
        reader="user:audrey",
        complete=complete,
        checkpoint=note.text,
        announcements=announcements or [key.note(checkpoint([], key=key.public)).text],
    )
    lines = [
        Line(
            index,
            row.id,
            None if index in absent else row,
            leaves[index],
            [root_over(leaves[begin:end]) for begin, end in inclusion_spans(index, len(leaves))],
        )
        for index, row in enumerate(rows)
        if only is None or index in only
    ]
    tally = Tally(head)
    for line in lines:
        tally.add(line)
    return [head, *lines, tally.end]


def checkpoint(leaves, number=1, key=None):
    return Checkpoint(
        origin="ledger",
        size=len(leaves),
        root=root_over(leaves),
        number=number,
        at=datetime(2026, 3, 2, 9, tzinfo=UTC),
        ids=hashlib.sha256(b"").digest(),
        leaves=hashlib.sha256(b"").digest(),
        through=Place(1, 1, 1),
        next_xact=1,
        cluster=1,
        after_seq=0,
        previous=NONE_BEFORE,
        key=key,
    )


def as_json_lines(told):
    head, *lines, end = told
    return [exports.head_line(head), *map(exports.json_line, lines), exports.end_line(end)]


def as_csv(told):
    head, *lines, end = told
    records = [exports.COLUMNS, exports.head_cells(head), *map(exports.cells, lines), exports.end_cells(end)]
    return b"".join(map(exports.csv_record, records))


def read_csv(file):
    return exports.of_cells(csv.reader(io.StringIO(file.decode(), newline=""), strict=True))


def proven(told, pinned=KEY.public):
    return prove(told, holds, [] if pinned is None else [pinned])


def first_fault(told, pinned=KEY.public):
    fault = proven(told, pinned).faults[0]
    return fault.kind, fault.position, fault.id


ROWS = [stored(number, subject=f"user:u{number}") for number in range(21)]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["=1+1", "'", "''=x", "-1", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda each: st.lists(each, max_size=2) | st.dictionaries(TEXTS, each, max_size=2),
)
ANY_ROW = st.builds(
    stored,
    st.integers(0, 2**100),
    at=st.integers(-(2**62), 2**62),
    subject=TEXTS,
    issuer=TEXTS,
    client=TEXTS,
    revision=st.none() | st.integers(0, 2**63 - 1),
    environment=st.none() | TEXTS,
    project=st.none() | TEXTS,
    run=st.none() | TEXTS,
    datasets=st.lists(TEXTS, max_size=2),
    details=st.dictionaries(TEXTS, JSON, max_size=3).map(written),
    salt=st.none() | st.binary(min_size=32, max_size=32),
    who_sha256=st.none() | st.binary(min_size=32, max_size=32),
)


@given(st.lists(ANY_ROW, min_size=1, max_size=4))
def test_every_format_gives_back_what_was_written_into_it(rows):
    told = export_of(rows)
    assert list(exports.of_json_lines(as_json_lines(told))) == told
    assert list(read_csv(as_csv(told))) == told


@given(TEXTS)
def test_no_cell_is_taken_for_a_formula(text):
    (record,) = csv.reader(io.StringIO(exports.csv_record([text]).decode(), newline=""))
    assert not record[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("size", [1, 2, 7, 8, 21])
def test_an_untouched_export_of_everything_is_proven_whole(size):
    found = proven(export_of(ROWS[:size]))
    assert (found.faults, found.rows, found.whole, found.last) == ([], size, True, size - 1)


def test_an_export_of_some_rows_proves_each_and_says_that_it_is_not_all():
    found = proven(export_of(ROWS, only={3, 4, 17}, complete=False))
    assert (found.faults, found.rows, found.whole) == ([], 3, False)


JANUARY = 1_767_225_600_000_000


def of_moment(at, number=0):
    """An identifier that tells a moment, as those of rows do."""
    return str(UUID(int=(at // 1000 << 80) + (7 << 76) + (2 << 62) + number))


def saying(number, key=KEY, **details):
    """A row by which others may lack something."""
    unsigned = {"because": "it is over", **details}
    signature = base64.b64encode(key.sign(statement(unsigned))).decode()
    told = written({**unsigned, "signature": signature})
    return stored(number, event=Event.LEDGER_ERASED.value, at=NINE + number, details=told)


#: Three rows of January and three of March.
OLD = [stored(0, id=of_moment(JANUARY, number), at=JANUARY + number) for number in range(3)]
NEW = [stored(0, id=of_moment(NINE, number), at=NINE + number) for number in range(3)]
RETIRED = saying(20, before="2026-03-01T00:00:00Z")


def test_rows_that_a_signed_row_retired_are_counted_and_their_leaves_hold_the_tree_together():
    found = proven(export_of([*OLD, *NEW, RETIRED], absent={0, 1, 2}))
    assert (found.faults, found.rows, found.absent, found.whole) == ([], 4, 3, True)


@pytest.mark.parametrize(
    "said",
    [stored(20), saying(20, key=OTHER, before="2026-03-01T00:00:00Z"), saying(20, before="2026-01-31T00:00:00Z")],
    ids=["nobody", "another key", "of other months"],
)
def test_a_leaf_alone_is_no_row_that_was_retired_unless_a_signed_row_says_so(said):
    assert first_fault(export_of([*OLD, *NEW, said], absent={1})) == (Kind.RETIRED, 1, OLD[1].id)


def test_a_row_of_today_does_not_pass_for_one_of_a_month_that_was_retired():
    """The identifier beside a leaf is anybody's word: it is its place that tells."""
    told = export_of([*OLD, *NEW, RETIRED], absent={0, 1, 2, 4})
    assert first_fault(told) == (Kind.RETIRED, 4, NEW[1].id)
    told[5] = replace(told[5], id=OLD[0].id)
    assert first_fault(told) == (Kind.RETIRED, 4, OLD[0].id)


def test_an_export_of_some_rows_has_no_leaves_alone():
    told = export_of([*OLD, *NEW, RETIRED], absent={4}, complete=False)
    assert first_fault(told) == (Kind.REMOVED, 4, NEW[1].id)


def changed(told, place, **fields):
    line = told[place + 1]
    return [*told[: place + 1], Line.of(line.position, line.row._replace(**fields), line.path), *told[place + 2 :]]


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "user:eve"},
        {"at": NINE},
        {"details": '{"a": 1}'},
        {"salt": b"x" * 32},
        {"policies": ["more"]},
        {"revision": 7},
        {"seq": 1},
        {"who_sha256": bytes(32)},
    ],
    ids=str,
)
def test_a_row_that_was_changed_is_named(fields):
    assert first_fault(changed(export_of(ROWS), 9, **fields)) == (Kind.CHANGED, 9, ROWS[9].id)
    of_some = changed(export_of(ROWS, only={3, 9, 17}, complete=False), 1, **fields)
    assert first_fault(of_some) == (Kind.CHANGED, 9, ROWS[9].id)


def test_a_row_that_was_removed_is_told_by_its_position():
    told = export_of(ROWS)
    assert first_fault([*told[:10], *told[11:]]) == (Kind.REMOVED, 9, None)
    assert first_fault([told[0], *told[2:]]) == (Kind.REMOVED, 0, None)
    assert first_fault(export_of(ROWS, only=set(range(21)) - {9})) == (Kind.REMOVED, 9, None)


def test_rows_that_changed_places_are_named():
    told = export_of(ROWS)
    swapped = [*told[:8], told[9], told[8], *told[10:]]
    assert {fault.kind for fault in proven(swapped).faults} == {Kind.REMOVED, Kind.REORDERED}
    of_some = export_of(ROWS, only={3, 9, 17}, complete=False)
    assert first_fault([of_some[0], of_some[2], of_some[1], *of_some[3:]]) == (Kind.REORDERED, 3, ROWS[3].id)


@pytest.mark.parametrize("place", [0, 9, 20])
def test_a_row_that_was_put_there_is_named(place):
    told = export_of(ROWS)
    line = told[place + 1]
    fake = Line.of(place, stored(999), line.path)
    assert first_fault([*told[: place + 1], fake, *told[place + 1 :]]) == (Kind.INSERTED, place, stored(999).id)
    beyond = Line.of(21, stored(999), line.path)
    assert proven([*told[:-1], beyond, told[-1]]).faults[0].id == stored(999).id


def test_a_row_that_stands_twice_is_named():
    told = export_of(ROWS)
    assert first_fault([*told[:10], *told[9:]]) == (Kind.REORDERED, 8, ROWS[8].id)


def test_a_file_that_was_cut_off_is_noticed():
    told = export_of(ROWS)
    assert first_fault(told[:-1])[:2] == (Kind.TRUNCATED, 21)
    assert first_fault(told[:12])[:2] == (Kind.TRUNCATED, 11)
    assert first_fault([*told[:12], told[-1]])[:2] == (Kind.TRUNCATED, 11)
    of_some = export_of(ROWS, only={3, 9, 17}, complete=False)
    assert first_fault([*of_some[:2], of_some[-1]])[0] is Kind.TRUNCATED
    assert first_fault([])[0] is Kind.TRUNCATED
    file = b"".join(as_json_lines(told))
    cut = exports.of_json_lines(file[:-400].splitlines(keepends=True))
    assert first_fault(cut)[0] is Kind.TRUNCATED


def test_a_complete_export_is_cut_even_where_its_end_was_made_to_fit():
    shorter = export_of(ROWS, only=set(range(12)))
    assert first_fault(shorter)[:2] == (Kind.TRUNCATED, 12)


def test_a_checkpoint_that_was_changed_is_none():
    told = export_of(ROWS)
    other = checkpoint([leaf(row) for row in ROWS[:-1]])
    swapped = told[0].checkpoint.replace(checkpoint([leaf(row) for row in ROWS]).text, other.text)
    assert first_fault([replace(told[0], checkpoint=swapped), *told[1:]])[0] is Kind.SEAL_CHANGED
    assert first_fault([replace(told[0], checkpoint="x"), *told[1:]])[0] is Kind.SEAL_CHANGED


def test_a_ledger_of_somebody_elses_making_does_not_pass_for_the_pinned_one():
    forged = export_of(ROWS, key=OTHER)
    assert first_fault(forged)[0] is Kind.KEY_REPLACED
    found = proven(forged, pinned=None)
    assert (found.holds, found.pinned, found.key) == (True, False, OTHER.public)


def test_a_key_that_was_announced_follows_and_another_does_not():
    leaves = [leaf(row) for row in ROWS]
    first = KEY.note(checkpoint([], key=KEY.public))
    told = checkpoint(leaves, 2, key=OTHER.public)
    announced = Note(told, (KEY.signature(told), OTHER.signature(told)))
    followed = export_of(ROWS, after=OTHER, announcements=[first.text, announced.text], number=2)
    assert proven(followed).key == OTHER.public
    assert proven(followed).holds
    alone = export_of(ROWS, after=OTHER, announcements=[first.text, OTHER.note(told).text])
    assert first_fault(alone)[0] is Kind.KEY_REPLACED


def test_a_key_that_another_followed_proves_no_later_export():
    first = KEY.note(checkpoint([], key=KEY.public))
    told = checkpoint([], 2, key=OTHER.public)
    announcements = [first.text, Note(told, (KEY.signature(told), OTHER.signature(told))).text]
    for pinned in (KEY.public, None):
        by_the_old = export_of(ROWS, announcements=announcements, number=3)
        assert first_fault(by_the_old, pinned)[0] is Kind.KEY_REPLACED
    assert proven(export_of(ROWS, announcements=announcements, number=1)).holds
    assert proven(export_of(ROWS, after=OTHER, announcements=announcements, number=3)).holds


def test_an_erasure_that_a_key_signed_after_another_had_followed_was_none():
    hidden = ROWS[3]._replace(**dict.fromkeys(WHO, ERASED), salt=bytes(32), who_sha256=who_commitment(ROWS[3]))
    first = KEY.note(checkpoint([], key=KEY.public))
    told = checkpoint([], 2, key=OTHER.public)
    announcements = [first.text, Note(told, (KEY.signature(told), OTHER.signature(told))).text]
    rotated = {"after": OTHER, "announcements": announcements, "number": 3}
    late = saying(40, who=[hidden.id])._replace(at=NINE + 3_600_000_000)
    rows = [*ROWS[:3], hidden, *ROWS[4:]]
    assert proven(export_of([*rows, saying(40, who=[hidden.id])], **rotated)).holds
    assert first_fault(export_of([*rows, late], **rotated)) == (Kind.ERASED, 3, hidden.id)


def test_a_salt_that_was_put_back_to_what_was_erased_is_found():
    guessable = ROWS[3]._replace(**dict.fromkeys(WHO, ERASED), salt=b"x" * 32, who_sha256=who_commitment(ROWS[3]))
    told = export_of([*ROWS[:3], guessable, *ROWS[4:], saying(40, who=[guessable.id])])
    assert first_fault(told) == (Kind.CHANGED, 3, guessable.id)


#: What is done to a line of JSON or a record of a table without another value being read.
SPELLED = {
    "a name twice": (as_json_lines, b'"purpose":null', b'"purpose":"evil","purpose":null'),
    "a name twice in the details": (as_json_lines, b'"details":{}', b'"details":{"a":1,"a":2}'),
    "something beside the row": (as_json_lines, b'{"position":3', b'{"told":"evil","position":3'),
    "something beside the head": (as_json_lines, b'{"head":', b'{"position":0,"head":'),
    "the moment in another zone": (as_json_lines, b'Z","event"', b'+00:00","event"'),
    "capital letters": (as_json_lines, b'"salt":"00', b'"salt":" 00'),
    "a mark before a cell": (as_csv, b",lease.served,", b",'lease.served,"),
    "a number with a sign": (as_csv, b"row,3,", b"row,+3,"),
    "a number in other digits": (as_csv, b"row,3,", "row,\u0663,".encode()),
    "a note": (as_csv, b"\r\nrow,4,", b"evil\r\nrow,4,"),
}


@pytest.mark.parametrize("what", SPELLED)
def test_what_is_read_as_the_same_and_looks_otherwise_was_changed(what):
    write, written, other = SPELLED[what]
    file = write(export_of(ROWS))
    file = file if isinstance(file, bytes) else b"".join(file)
    read = read_csv if write is as_csv else lambda data: exports.of_json_lines(data.splitlines())
    assert proven(read(file)).holds
    assert written in file
    assert not proven(read(file.replace(written, other, 1))).holds


@pytest.mark.parametrize(
    "told",
    [
        {"checkpoint": None},
        {"announcements": [None]},
        {"announcements": "x"},
        {"asked": []},
        {"complete": "yes"},
        {"version": True},
        {"reader": 7},
    ],
)
def test_a_head_of_other_kinds_of_values_is_none(told):
    head = {**json.loads(export_of(ROWS)[0].text), **told}
    with pytest.raises(Broken, match="head"):
        Head.parse(json.dumps(head))


ANSWERING = {"subject": "user:ann", "outcome": "denied", "environment": "prod", "datasets": ["sales.emea.orders"]}


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"subject": "ann", "outcome": "denied"}, True),
        ({"subject": "user:eve"}, False),
        ({"dataset": "sales.emea.orders", "domain": "sales"}, True),
        ({"dataset": "sales.emea"}, False),
        ({"domain": "sale"}, False),
        ({"environment": "dev"}, False),
        ({"events": ["lease.served"]}, True),
        ({"events": ["access.denied"]}, False),
        ({"since": "2026-03-02 09:00:00+00:00", "until": "2026-03-02 10:00:00+00:00"}, True),
        ({"since": "2026-03-02 10:00:00+00:00"}, False),
    ],
)
def test_an_export_of_one_question_does_not_pass_for_that_of_another(asked, answered):
    rows = [stored(0), stored(1, **ANSWERING), stored(2)]
    head, *lines, _ = export_of(rows, only={1}, complete=False)
    head = replace(head, asked=asked)
    tally = Tally(head)
    for line in lines:
        tally.add(line)
    told = proven([head, *lines, tally.end])
    assert told.holds is answered
    assert answered or (told.faults[0].kind, told.faults[0].position) == (Kind.INSERTED, 1)


@pytest.mark.parametrize("asked", [{"since": "once"}, {"events": 7}, {"outcome": ["denied"]}])
def test_what_nobody_can_ask_was_not_asked(asked):
    head, *lines, end = export_of(ROWS)
    assert first_fault([replace(head, asked=asked), *lines, end])[0] is Kind.TRUNCATED


def test_what_a_signed_row_erased_is_counted_and_what_stands_beside_a_commitment_is_found():
    erased = ROWS[3]._replace(**dict.fromkeys(WHO, ERASED), salt=bytes(32), who_sha256=bytes(32))
    found = proven(export_of([*ROWS[:3], erased, *ROWS[4:], saying(40, who=[erased.id])]))
    assert (found.faults, found.erased) == ([], 1)
    beside = erased._replace(subject="user:eve")
    assert first_fault(export_of([*ROWS[:3], beside, *ROWS[4:]])) == (Kind.CHANGED, 3, ROWS[3].id)


@pytest.mark.parametrize(
    "said",
    [stored(40), saying(40, who=[ROWS[4].id], details=[ROWS[3].id]), saying(40, key=OTHER, who=[ROWS[3].id])],
    ids=["nobody", "of others", "another key"],
)
def test_what_no_signed_row_erased_was_hidden(said):
    hidden = ROWS[3]._replace(**dict.fromkeys(WHO, ERASED), who_sha256=who_commitment(ROWS[3]))
    assert first_fault(export_of([*ROWS[:3], hidden, *ROWS[4:], said])) == (Kind.ERASED, 3, ROWS[3].id)
    of_some = proven(export_of([*ROWS[:3], hidden, *ROWS[4:]], only={3}, complete=False))
    assert (of_some.faults, of_some.erased) == ([], 1)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"7",
        b'{"position": -1, "row": {}, "path": []}',
        b'{"position": "1", "absent": {}, "path": []}',
        b'{"head": {"version": 2}}',
        b'{"end": 1}',
        b'{"end": {"lines": "1", "sha256": null}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_line_that_is_no_part_of_an_export_is_refused_in_words(line):
    with pytest.raises(Broken, match=r"cut off|read|shape"):
        list(exports.of_json_lines([line]))


def test_an_export_says_in_its_rows_what_the_door_says():
    (line,) = [json.loads(each) for each in as_json_lines(export_of(ROWS, only={2}, complete=False))[1:-1]]
    assert line["row"]["at"] == "2026-03-02T09:00:00.000002Z"
    assert line["row"]["subject"] == "user:u2"
    assert line["row"]["details"] == {}
