"""Checkpoints are read as they were written, and nothing else is read as one."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.checkpoints import NONE_BEFORE, Checkpoint, Note, Restored, VerifierKey
from muniment.core.ledger import Place
from muniment.core.problems import Invalid
from muniment.identity.seal_keys import SealKey, holds

KEY, OTHER = SealKey.made("muniment-a"), SealKey.made("muniment-a")

NUMBERS = st.integers(0, 2**63 - 1)
#: Of database clusters there are few: their ordinals are small integers.
CLUSTERS = st.integers(0, 2**31 - 1)
HASHES = st.binary(min_size=32, max_size=32)
CHECKPOINTS = st.builds(
    Checkpoint,
    origin=st.just("muniment-a"),
    size=NUMBERS,
    root=HASHES,
    number=NUMBERS,
    at=st.datetimes(timezones=st.just(UTC)),
    ids=HASHES,
    leaves=HASHES,
    through=st.builds(Place, cluster=CLUSTERS, xact=NUMBERS, seq=NUMBERS),
    next_xact=NUMBERS,
    cluster=CLUSTERS,
    after_seq=NUMBERS,
    previous=HASHES,
    key=st.none() | st.just(OTHER.public),
    restored=st.none() | st.builds(Restored, NUMBERS, NUMBERS, NUMBERS, st.just("ab" * 32), st.text(max_size=30)),
)
ONE = Checkpoint(
    origin="muniment-a", size=5, root=NONE_BEFORE, number=2, at=datetime(2026, 11, 23, 12, tzinfo=UTC), ids=NONE_BEFORE,
    leaves=NONE_BEFORE, through=Place(1, 7, 9), next_xact=8, cluster=1, after_seq=0, previous=NONE_BEFORE,
)  # fmt: skip


@given(CHECKPOINTS)
def test_a_note_is_read_as_it_was_written(checkpoint):
    note = KEY.note(checkpoint)
    assert Note.parse(note.text) == note
    assert note.is_signed_by(KEY.public, holds)
    assert not note.is_signed_by(OTHER.public, holds)


TEXT = KEY.note(ONE).text


@given(st.integers(0, len(TEXT) - 1), st.characters(exclude_categories=["Cs"]))
def test_whatever_is_changed_of_a_note_it_is_none_or_not_signed(position, character):
    changed = TEXT[:position] + character + TEXT[position + 1 :]
    if changed == TEXT:
        return
    try:
        read = Note.parse(changed)
    except Invalid:
        return
    assert not read.is_signed_by(KEY.public, holds)


@pytest.mark.parametrize(
    "changed",
    [
        TEXT.replace("number 2", "number 02"),
        TEXT.replace("number 2", "number -2"),
        TEXT.replace("12:00:00Z", "12:00:00.0Z"),
        TEXT.replace("next 8\n", "next 8\nnext 9\n"),
        TEXT.replace("through 1.7.9", "through 1.7"),
        TEXT.replace("\n\n", "\nrestored {}\n\n"),
        TEXT + "more",
        TEXT.partition("\n\n")[0],
        re.sub("— .*", "— nobody", TEXT),
        "",
    ],
    ids=range(10),
)
def test_another_way_to_write_it_is_refused(changed):
    with pytest.raises(Invalid, match="no signed checkpoint"):
        Note.parse(changed)


def test_a_key_is_read_as_it_was_written_and_no_other_text_is_one():
    assert VerifierKey.parse(KEY.public.text) == KEY.public
    for wrong in ("", "a+b+c", KEY.public.text[:-2], "b" + KEY.public.text[1:], KEY.public.text.replace("+A", "+B", 1)):
        with pytest.raises(Invalid, match="no key that checks seals"):
            VerifierKey.parse(wrong)


def test_the_private_key_shows_in_no_text_of_it():
    assert KEY._private.private_bytes_raw().hex() not in repr(KEY)
    assert KEY.public.text in repr(KEY)
