"""Identifiers as they are written are the identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.identifiers import DRAWN, DRAWN_FOR_THREE, derived, made, texts

MILLISECONDS = st.integers(0, (1 << 48) - 1)
DRAWS = st.binary(min_size=DRAWN, max_size=DRAWN)


@given(MILLISECONDS, st.binary(min_size=DRAWN_FOR_THREE, max_size=DRAWN_FOR_THREE))
def test_three_that_are_written_at_once_are_what_is_made_of_each_third(milliseconds: int, drawn: bytes) -> None:
    thirds = [drawn[place : place + DRAWN] for place in range(0, DRAWN_FOR_THREE, DRAWN)]
    assert texts(milliseconds, drawn) == tuple(str(made(milliseconds, third)) for third in thirds)


@given(MILLISECONDS, DRAWS)
def test_an_identifier_is_a_uuid_of_version_7_with_its_time_before_everything_else(
    milliseconds: int, drawn: bytes
) -> None:
    for each in (made(milliseconds, drawn), derived(made(milliseconds, drawn), "row")):
        assert (each.version, each.variant, each.int >> 80) == (7, "specified in RFC 4122", milliseconds)
