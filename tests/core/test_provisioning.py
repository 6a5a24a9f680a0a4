"""What a provider says, and what it makes of people, groups and what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.problems import Invalid, TokenRefused
from muniment.core.provisioning import (
    Directory,
    GroupRecord,
    SubjectBy,
    UserRecord,
    checked_texts,
    differing,
    folded,
    settled,
)
from muniment.core.roster import Enrolment, Place
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import Kind, Subject, SubjectState

NAMES = frozenset({"corp", "partner"})
HOME, PARTNER = Directory("corp"), Directory("partner", default=False, subject_by=SubjectBy.EXTERNAL_ID)
ANN = Subject(Kind.USER, "ann")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

GROUPS = st.frozensets(st.sampled_from(["a", "b", "c", "d", "e"]))


def test_a_person_is_the_subject_that_the_issuers_tokens_name():
    assert HOME.subject_of(UserRecord("ann"), NAMES) == ANN
    assert PARTNER.subject_of(UserRecord("ann@x", external_id="ann"), NAMES) == Subject(Kind.USER, "partner|ann")
    assert HOME.subject_of(UserRecord("elsewhere|ann"), NAMES) == Subject(Kind.USER, "elsewhere|ann")


@pytest.mark.parametrize("name", ["", " ann", "ann ", "partner|ann", "corp|ann", "a\u202eb", "a\x00", "x" * 201])
def test_nobody_is_a_subject_of_another_issuer_or_one_that_cannot_be_seen(name):
    with pytest.raises(Invalid):
        HOME.subject_of(UserRecord(name), NAMES)
    with pytest.raises(Invalid):
        HOME.group_of(GroupRecord(name), NAMES)


def test_whoever_is_known_by_an_external_id_has_one():
    with pytest.raises(Invalid, match="externalId"):
        PARTNER.subject_of(UserRecord("ann"), NAMES)


def test_no_group_is_one_of_muniments_own():
    assert PARTNER.group_of(GroupRecord("user:ann"), NAMES) == "partner|user:ann"
    for name in ("user:ann", "service:nightly"):
        with pytest.raises(Invalid):
            HOME.group_of(GroupRecord(name), NAMES)


def test_a_change_is_told_by_the_names_of_what_changed():
    before = UserRecord("ann", display_name="Ann")
    assert differing(before, UserRecord("ann", external_id="1")) == ("externalId", "displayName")
    assert differing(before, before) == ()
    assert differing(None, UserRecord("ann")) == ("userName", "active")


def test_texts_that_are_too_long_or_cannot_be_seen_are_not_kept():
    for record in (UserRecord("ann", display_name="x" * 201), UserRecord("ann", external_id="a\nb")):
        with pytest.raises(Invalid) as refused:
            checked_texts(record)
        assert refused.value.members == {"scimType": "invalidValue"}


def test_large_and_small_letters_are_alike_however_they_are_composed():
    assert folded("ANN\u00c9") == folded("anne\u0301")


@given(GROUPS, GROUPS, GROUPS)
def test_what_is_settled_is_what_the_next_sign_in_brings(brought, member_of, held):
    """A state that was settled says of provisioned groups what the roster will say of them at the next request."""
    token = SubjectState(ANN, "corp", brought, {"clearance": 3})
    member_of &= held
    place = Place(Enrolment(ANN), member_of, brought & held)
    admitted = place.admit(SignIn(token, NOON, NOON))
    assert settled(token, ANN, "corp", member_of, brought & held) == admitted
    assert admitted.groups & held == member_of
    assert admitted.groups - held == brought - held


def test_of_one_never_seen_the_provisioned_groups_are_known():
    assert settled(None, ANN, "corp", frozenset({"a"}), frozenset()) == SubjectState(ANN, "corp", frozenset({"a"}))


def test_no_group_opens_to_one_who_is_shut_out():
    with pytest.raises(TokenRefused):
        Place(Enrolment(ANN, active=False), frozenset({"a"})).admit(SignIn(SubjectState(ANN, "corp"), NOON, NOON))
