"""Identifiers as they are written are the identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.identifiers import DRAWN, derived, made, texts

MILLISECONDS = st.integers(0, (1 << 48) - 1)
DRAWS = st.binary(min_size=DRAWN, max_size=DRAWN)


@given(MILLISECONDS, DRAWS)
def test_what_is_written_at_once_is_what_is_made_and_derived(milliseconds: int, drawn: bytes) -> None:
    request_id = made(milliseconds, drawn)
    whole = (request_id, derived(request_id, "receipt"), derived(request_id, "row"))
    assert texts(milliseconds, drawn) == tuple(str(each) for each in whole)


@given(MILLISECONDS, DRAWS)
def test_an_identifier_is_a_uuid_of_version_7_with_its_time_before_everything_else(
    milliseconds: int, drawn: bytes
) -> None:
    for each in (made(milliseconds, drawn), derived(made(milliseconds, drawn), "row")):
        assert (each.version, each.variant, each.int >> 80) == (7, "specified in RFC 4122", milliseconds)
