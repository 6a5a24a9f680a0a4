"""Keys of Muniment's own: how they look, what is kept of them, and how far they reach."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.decisions import Wanted
from muniment.core.keys import (
    LOOKS,
    Ending,
    Key,
    Pepper,
    check_bounds,
    check_end,
    check_speaks_for_itself,
    check_subject,
    confined,
    is_well_formed,
    written,
)
from muniment.core.problems import Invalid, NotAllowed, UnknownEnvironment
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Kind, Subject, SubjectState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIGHTLY = Subject(Kind.SERVICE, "nightly")
RUNS = Bounds(Use.RUNS, "prod", "forecast", "planning")

drawn = st.binary(min_size=32, max_size=32)


@given(drawn)
def test_a_key_is_recognised_by_its_prefix_length_and_checksum(bytes_: bytes) -> None:
    key = written(bytes_)
    assert re.fullmatch(r"mun_[0-9A-Za-z]{49}", key)
    assert LOOKS.fullmatch(key)
    assert is_well_formed(key)


@given(drawn, drawn)
def test_two_keys_of_different_bytes_are_different(one: bytes, other: bytes) -> None:
    assert (written(one) == written(other)) is (one == other)


@pytest.mark.parametrize("bytes_", [bytes(32), b"\xff" * 32, bytes(31) + b"\x01"])
def test_the_smallest_and_the_largest_keys_are_as_long_as_all(bytes_: bytes) -> None:
    assert len(written(bytes_)) == 53
    assert is_well_formed(written(bytes_))


@given(drawn, st.integers(4, 52), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_one_wrong_character_breaks_the_checksum(bytes_: bytes, place: int, character: str) -> None:
    key = written(bytes_)
    mistyped = key[:place] + character + key[place + 1 :]
    assert is_well_formed(mistyped) is (mistyped == key)


def test_what_only_resembles_a_key_is_none() -> None:
    key = written(bytes(range(32)))
    for other in (key.upper(), f"{key}\n", f" {key}", key[:-1], f"{key}0", key.replace("mun_", "mun-"), ""):
        assert not is_well_formed(other), other


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_is_never_made_of_fewer_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        written(bytes(length))


def test_the_checksum_is_known_outside_of_this_program_too() -> None:
    """CRC-32 of 43 zeros is 0x7849568f, which is 2CZclj in base 62: what a scanner computes."""
    assert written(bytes(32)) == "mun_" + "0" * 43 + "2CZclj"


def test_what_is_kept_of_a_key_depends_on_the_secret_and_shows_nothing_of_either() -> None:
    key = written(bytes(range(32)))
    one, other = Pepper(b"a secret of one deployment ......"), Pepper(b"a secret of another deployment ...")
    assert one.hashed(key) == one.hashed(key)
    assert one.hashed(key) != other.hashed(key)
    assert one.name != other.name
    assert "secret" not in repr(one)
    assert "deployment" not in one.name


def test_a_key_ends_at_its_end_and_when_it_is_revoked() -> None:
    key = Key(id="a", subject=NIGHTLY, bounds=RUNS, at=NOON, by=Subject(Kind.USER, "root"), because="", until=NOON)
    assert key.holds(NOON - timedelta(microseconds=1))
    assert not key.holds(NOON)
    ended = Key(**{**{name: getattr(key, name) for name in key.__slots__}, "ending": Ending("user:root", NOON, "")})
    assert not ended.holds(NOON - timedelta(days=1))


def test_a_key_says_its_subjects_name_alone_unless_it_was_made_from_a_sign_in() -> None:
    key = Key(id="a", subject=NIGHTLY, bounds=RUNS, at=NOON, by=NIGHTLY, because="", until=NOON)
    assert key.sign_in(None).state == SubjectState(NIGHTLY, "muniment")
    assert key.sign_in(None).credential == "key:a"
    assert key.sign_in(None).bounds == RUNS
    said = SubjectState(NIGHTLY, "https://id.example.org", frozenset({"jobs"}))
    assert key.sign_in(said).state == said


def test_what_a_question_leaves_out_is_what_the_key_is_bound_to() -> None:
    assert confined(RUNS, Wanted("prod")) == Wanted("prod", "forecast", "planning")
    assert confined(RUNS, Wanted("prod", "forecast", "planning")) == Wanted("prod", "forecast", "planning")


@pytest.mark.parametrize(
    "wanted",
    [Wanted("dev"), Wanted("prod", "other"), Wanted("prod", None, "marketing"), Wanted("prod", ""), Wanted("")],
)
def test_a_question_beyond_the_bounds_is_refused(wanted: Wanted) -> None:
    with pytest.raises(NotAllowed, match="made for this"):
        confined(RUNS, wanted)


@pytest.mark.parametrize("bounds", [None, Bounds(Use.CHANGES)])
def test_who_is_not_bound_asks_as_they_like(bounds: Bounds | None) -> None:
    assert confined(bounds, Wanted("dev", "p", "q")) == Wanted("dev", "p", "q")
    assert confined(bounds, Wanted("dev")) == Wanted("dev")


def test_a_key_for_runs_asks_for_its_own_service_and_for_now() -> None:
    check_speaks_for_itself(None)
    check_speaks_for_itself(Bounds(Use.CHANGES))
    with pytest.raises(NotAllowed):
        check_speaks_for_itself(RUNS)


@pytest.mark.parametrize("left_out", ["environment", "project", "purpose"])
def test_a_key_for_runs_is_bound_in_all_three_ways(left_out: str) -> None:
    given_bounds = {"environment": "prod", "project": "forecast", "purpose": "planning", left_out: None}
    with pytest.raises(Invalid) as refused:
        check_bounds(Bounds(Use.RUNS, **given_bounds), ["prod"])
    assert [fault.at for fault in refused.value.faults] == [left_out]


@pytest.mark.parametrize("use", [Use.CHANGES, Use.PROVISIONING])
def test_another_key_is_bound_in_none_of_them(use: Use) -> None:
    check_bounds(Bounds(use), ["prod"])
    with pytest.raises(Invalid) as refused:
        check_bounds(Bounds(use, "prod", "forecast", "planning"), ["prod"])
    assert [fault.at for fault in refused.value.faults] == ["environment", "project", "purpose"]


@pytest.mark.parametrize("environment", ["prd", "base"])
def test_a_key_is_for_an_environment_that_there_is(environment: str) -> None:
    with pytest.raises(UnknownEnvironment):
        check_bounds(Bounds(Use.RUNS, environment, "forecast", "planning"), ["base", "prod"])


@pytest.mark.parametrize("subject", [Subject(Kind.USER, "ann"), Subject(Kind.SERVICE, "muniment")])
def test_nobody_but_a_service_has_a_key_and_not_the_service_itself(subject: Subject) -> None:
    with pytest.raises(Invalid):
        check_subject(subject)


def test_an_id_of_another_issuer_is_a_service_as_written() -> None:
    check_subject(Subject(Kind.SERVICE, "ci|nightly"))


@pytest.mark.parametrize("until", [NOON, NOON - timedelta(days=1), NOON + timedelta(days=90, microseconds=1)])
def test_an_end_is_to_come_and_not_too_far_away(until: datetime) -> None:
    check_end(NOON + timedelta(days=90), NOON, timedelta(days=90))
    with pytest.raises(Invalid):
        check_end(until, NOON, timedelta(days=90))
