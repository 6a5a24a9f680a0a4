"""Deputies: who may name one, and what a deputy may decide on, never more than the approver."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.approvers import deciders, meant
from muniment.core.deputies import LONGEST, Deputyship, checked
from muniment.core.domains import Domain
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.notices import Notice, NoticeKind, letter, of_request, words
from muniment.core.policies import Policy
from muniment.core.problems import Conflict, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.renewals import AGAIN, asked_again
from muniment.core.requests import (
    AccessRequest,
    Approval,
    Ending,
    State,
    Turn,
    approved,
    check_another,
    grants_of,
    right_to_decide,
    standings,
    steps_of,
    still_counted,
)
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON
from tests.core.test_requests import (
    ANN,
    BOSS,
    BOTH,
    DECIDER,
    LOAD,
    NAMES,
    NOTHING,
    OLGA,
    SAM,
    realm,
    request_of,
    state_of,
    terms_of,
)

THEO, EVE = state_of("theo"), state_of("eve")
FOR_SAM = replace(DECIDER, deputy_of=SAM.subject)


def standing(there, who, request, principals=(), after=timedelta()):
    (found,) = standings(there, who, NOON + after, [request], principals)
    return found


# --- naming ---------------------------------------------------------------------------------------------------------


def named(**more: object) -> Deputyship:
    return replace(Deputyship(SAM.subject, THEO.subject, NOON, NOON + timedelta(days=9)), **more)


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"deputy": SAM.subject}, "deputy"),
        ({"deputy": Subject.parse("service:nightly")}, "deputy"),
        ({"until": NOON}, "until"),
        ({"until": NOON + LONGEST + timedelta(seconds=1)}, "until"),
    ],
)
def test_a_deputy_is_another_person_for_a_time(more, at):
    assert checked(realm(), SAM, named()) == named()
    with pytest.raises(Invalid) as refused:
        checked(realm(), SAM, named(**more))
    assert [fault.at for fault in refused.value.faults] == [at]


def test_whoever_approves_nothing_names_nobody():
    with pytest.raises(NotAllowed, match="You decide on no requests"):
        checked(realm(), EVE, named(principal=EVE.subject))


# --- deciding -------------------------------------------------------------------------------------------------------


def test_what_has_come_to_the_approver_has_come_to_the_deputy():
    assert standing(realm(), THEO, request_of()) == NOTHING
    assert standing(realm(), THEO, request_of(), [SAM]) == FOR_SAM


def test_a_deputy_has_no_more_right_than_the_approver_has_now():
    there = realm().after(2, [Change(Grant, "sam", None)])
    assert standing(there, THEO, request_of(), [SAM]) == NOTHING
    assert standing(realm(), THEO, request_of(), [BOSS]) == NOTHING
    assert standing(realm(), THEO, request_of(), [BOSS], timedelta(days=3)).deputy_of == BOSS.subject


def test_the_right_to_administer_is_not_handed_on():
    assert standing(realm(), OLGA, request_of(), after=timedelta(days=20)).decides
    assert standing(realm(), THEO, request_of(), [OLGA], timedelta(days=20)) == NOTHING


def test_neither_the_deputys_requests_nor_the_approvers_are_decided_so():
    theirs = replace(request_of(), requester=SAM.subject)
    assert standing(realm(), THEO, theirs, [SAM]) == NOTHING
    own = replace(request_of(), requester=THEO.subject)
    assert not standing(realm(), THEO, own, [SAM]).decides


def test_a_deputy_who_may_not_know_of_a_dataset_is_told_of_no_request_for_it():
    hidden = f'forbid (principal == User::"theo", action == Action::"discover", resource == Dataset::"{NAMES[0]}");'
    assert standing(realm(hidden), THEO, request_of(), [SAM]) == NOTHING
    assert standing(realm(hidden), THEO, request_of(NAMES[1]), [SAM]) == FOR_SAM


def test_a_rule_that_forbids_the_deputy_to_approve_stops_them():
    forbid = f'forbid (principal == User::"theo", action == Action::"approve", resource == Dataset::"{NAMES[0]}");'
    assert standing(realm(forbid), THEO, request_of(), [SAM]) == NOTHING


def test_whoever_may_decide_by_a_right_of_their_own_does_so_in_their_own_name():
    there = realm(grants=(Grant("theo", "user:theo", frozenset({Action.APPROVE}), "sales"),))
    assert standing(there, THEO, request_of(), [SAM]) == DECIDER


def test_the_right_of_a_deputy_is_recorded_by_what_the_rules_say_of_the_approver():
    (line,) = right_to_decide(realm(), THEO, NOON, request_of(), [SAM])
    assert (line.allowed, line.because) == (True, ("grant:sam",))
    (line,) = right_to_decide(realm(), THEO, NOON, request_of())
    assert not line.allowed


def test_an_approver_and_their_deputy_are_one_pair_of_eyes():
    for_sam = Approval(THEO.subject, NOON, deputy_of=SAM.subject)
    request = approved(request_of(), terms_of(), for_sam, eyes=2)
    for who, deputy_of in ((THEO, None), (SAM, None), (EVE, SAM.subject)):
        with pytest.raises(NotAllowed, match="somebody else must approve it too"):
            check_another(request, who.subject, deputy_of)
    check_another(request, BOSS.subject)
    assert not request.awaits(SAM.subject, NOON)
    assert not request.awaits(THEO.subject, NOON)


def test_a_yes_in_somebodys_place_counts_as_long_as_that_one_may_decide():
    for_sam = Approval(THEO.subject, NOON, deputy_of=SAM.subject)
    request = approved(request_of(), terms_of(), for_sam, eyes=2)
    known = {THEO.subject: THEO, SAM.subject: SAM}
    assert still_counted(realm(), NOON, request, known).approvals == (for_sam,)
    gone = realm().after(2, [Change(Grant, "sam", None)])
    assert still_counted(gone, NOON, request, known).approvals == ()
    assert still_counted(realm(), NOON, request, {THEO.subject: THEO}).approvals == ()


# --- who decides ----------------------------------------------------------------------------------------------------

_PEOPLE = [ANN, SAM, BOSS, OLGA, THEO, EVE, SubjectState(Subject.parse("user:gil"), "corp", frozenset({"gil-group"}))]
_ANYBODY = 'permit (principal, action == Action::"approve", resource) when { resource.owner == Group::"team" };'


@given(
    st.lists(
        st.sampled_from(
            [
                Grant("direct", "user:eve", frozenset({Action.APPROVE}), "sales"),
                Grant("grouped", "gil-group", frozenset({Action.APPROVE}), "sales.emea"),
                Grant("local", "inner", frozenset({Action.APPROVE}), "all"),
                Grant("elsewhere", "user:theo", frozenset({Action.APPROVE}), "hr"),
                Grant("administers", "outer", frozenset({Action.ADMINISTER}), "sales"),
            ]
        ),
        unique=True,
    ),
    st.booleans(),
    st.integers(0, 12),
)
def test_nobody_who_decides_is_left_out_by_what_the_rules_name(grants, anybody, days):
    there = realm(*([_ANYBODY] if anybody else []), grants=tuple(grants)).after(
        2,
        [
            Change(Domain, "hr", Domain("hr", "team")),
            Change(Group, "inner", Group("inner", frozenset({THEO.subject}), frozenset({"outer"}))),
            Change(Group, "outer", Group("outer")),
        ],
    )
    at = NOON + timedelta(days=days)
    among = meant(there, ["sales.emea"])
    every = [each.subject for each in deciders(there, _PEOPLE, at, request_of())]
    assert every == [each.subject for each in deciders(there, filter(among.includes, _PEOPLE), at, request_of())]
    assert among.anybody == anybody


def test_those_whom_no_rule_names_are_not_asked_about():
    among = meant(realm(), ["sales.emea"])
    assert [each.subject.id for each in _PEOPLE if among.includes(each)] == ["sam", "boss", "olga"]
    assert not meant(realm(), ["hr"]).includes(SAM)


# --- being told -----------------------------------------------------------------------------------------------------

FOR_SAM_NOW = Deputyship(SAM.subject, THEO.subject, NOON, NOON + timedelta(days=9))
TOLD = Notice(
    id=UUID("0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"),
    recipient=THEO.subject,
    kind=NoticeKind.ASKED,
    thing="r",
    at=NOON,
    about={"request": "r"},
)


def recipients(*deputies: Deputyship, at: timedelta = timedelta(), there: Realm | None = None) -> set[str]:
    found = of_request(there or realm(), _PEOPLE, NOON + at, request_of(), deputies)
    return {each.id for each in found.recipients} if found else set()


def test_the_deputy_is_told_beside_the_approver_for_as_long_as_that_stands():
    assert recipients() == {"sam"}
    assert recipients(FOR_SAM_NOW) == {"sam", "theo"}
    assert recipients(FOR_SAM_NOW, at=timedelta(days=9)) == {"sam", "boss", "olga"}
    gone = realm().after(2, [Change(Grant, "sam", None)])
    assert recipients(FOR_SAM_NOW, there=gone) == set()


def test_what_a_deputy_reads_says_in_whose_place_and_leads_to_the_page():
    told = words(realm(), THEO, NOON, TOLD, request_of(), [SAM])
    assert told is not None
    assert "You decide in the place of user:sam." in told.text
    assert told.page == "/requests/r"
    assert words(realm(), THEO, NOON, TOLD, request_of()) is None
    mail = letter([told], link="https://muniment.example/notices", unsubscribe=None, public="https://muniment.example")
    assert "https://muniment.example/requests/r\n" in mail.text


# --- going on -------------------------------------------------------------------------------------------------------


def given_before(*names: str, **more: object) -> tuple[Grant, ...]:
    request = replace(request_of(*names), id="0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a")
    terms = terms_of(*(names or NAMES[:1]), until=NOON + timedelta(days=5), actions=LOAD)
    return tuple(replace(grant, version=3, **more) for grant in grants_of(request, terms))


def test_an_approval_lets_an_earlier_grant_go_on_that_gives_no_more():
    (old,) = given_before()
    (new,) = grants_of(request_of(actions=BOTH), terms_of(actions=BOTH), [old])
    assert (new.id, new.version, new.actions) == (old.id, 3, BOTH)
    assert new.until == terms_of().until
    ended = approved(request_of(), terms_of(), Approval(SAM.subject, NOON), 1, [old])
    assert ended.grants == (old.id,)


@pytest.mark.parametrize(
    "more",
    [
        {"actions": BOTH},
        {"environments": frozenset({"dev", "prod"})},
        {"environments": frozenset()},
        {"until": NOON + timedelta(days=91)},
        {"until": None},
        {"purposes": frozenset({"forecasting"})},
        {"on": NAMES[1]},
        {"to": "user:eve"},
        {"to": "analysts"},
        {"id": "by-hand"},
    ],
)
def test_what_gives_more_or_other_things_is_left_as_it_is(more):
    (old,) = given_before(**more)
    (new,) = grants_of(request_of(), terms_of(), [old])
    assert (new.id, new.version) == ("req-r", 0)


def test_what_one_approval_gave_is_asked_for_again_together():
    names = NAMES[:2]
    there = realm(grants=given_before(*names))
    again = asked_again(there, ANN.subject, "req-0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a-1", NOON, None)
    assert (again.terms.datasets, again.terms.actions, again.because) == (names, LOAD, "the report")
    assert again.terms.until == NOON + AGAIN
    assert asked_again(
        there, ANN.subject, "req-0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a-1", NOON, NOON + AGAIN / 2
    ).terms.until


def test_only_ones_own_is_asked_for_again():
    mine, of_group = given_before()[0], Grant("g", "analysts", LOAD, NAMES[0], kind="dataset", because="they count")
    there = realm(grants=(mine, of_group))
    for id_ in (mine.id, "g", "nothing"):
        with pytest.raises(NotFound):
            asked_again(there, EVE.subject, id_, NOON, None)
    everywhere = realm(grants=(replace(mine, environments=frozenset()),))
    assert asked_again(everywhere, ANN.subject, mine.id, NOON, None).terms.environments == {"dev", "prod"}


@pytest.mark.parametrize(
    ("grant", "match"),
    [
        (Grant("g", "user:ann", LOAD, "sales"), "whole domain"),
        (Grant("g", "user:ann", frozenset({Action.DISCOVER}), NAMES[0], kind="dataset"), "neither load nor save"),
        (Grant("g", "user:ann", LOAD, NAMES[0], kind="dataset", purposes=frozenset({"a", "b"})), "several purposes"),
    ],
)
def test_what_cannot_be_asked_for_says_why(grant, match):
    with pytest.raises(Conflict, match=match):
        asked_again(realm(grants=(grant,)), ANN.subject, "g", NOON, None)


@pytest.mark.parametrize("to", ["user:ann", "analysts"])
def test_the_notice_of_an_end_leads_to_asking_again_and_gives_no_name_that_others_chose(to):
    until = NOON + timedelta(days=5)
    (own,) = given_before()
    by_hand = replace(own, id="until-she-leaves", to=to)
    there, reader = realm(grants=(own, by_hand)), replace(ANN, groups=frozenset({"analysts"}))
    pages = []
    for grant in (own, by_hand):
        about = {"grant": grant.id, "until": until.isoformat()}
        ends = replace(TOLD, recipient=ANN.subject, kind=NoticeKind.ENDS, about=about)
        told = words(there, reader, NOON, ends, None)
        assert told is not None
        pages.append(told.page)
    filled = f"/requests/new?dataset={NAMES[0]}&action=load&environment=dev"
    assert pages == [f"/requests/new?renews={own.id}", filled]


# --- how it goes ----------------------------------------------------------------------------------------------------


def turns(request: AccessRequest) -> list[Turn]:
    return [step.turn for step in steps_of(request)]


def test_the_way_of_a_request_shows_what_is_to_come_until_somebody_decides():
    rising = [Turn.ASKED, Turn.ROSE, Turn.ROSE, Turn.ADMINISTRATORS, Turn.EXPIRED]
    assert turns(request_of()) == rising
    assert [step.to for step in steps_of(request_of())][1:3] == ["sales", "all"]
    denied = replace(request_of(), ending=Ending(State.DENIED, SAM.subject, NOON + timedelta(days=4), "no"))
    assert turns(denied) == [Turn.ASKED, Turn.ROSE, Turn.DENIED]
    first = approved(request_of(), terms_of(), Approval(SAM.subject, NOON + timedelta(hours=1)), eyes=2)
    given_ = approved(first, terms_of(), Approval(BOSS.subject, NOON + timedelta(days=1)), eyes=2)
    assert turns(given_) == [Turn.ASKED, Turn.SECONDED, Turn.APPROVED, Turn.ENDS]


def test_a_request_waits_at_each_level_as_long_as_was_set_when_it_was_made():
    quick = replace(request_of(), escalates_after=timedelta(hours=2))
    assert quick.escalated_to(NOON + timedelta(hours=3)) == ("sales",)
    assert request_of().escalated_to(NOON + timedelta(hours=3)) == ()


def test_policies_that_err_decide_nothing_in_anybodys_place():
    erring = Policy(
        "errs", 'forbid (principal, action == Action::"approve", resource) when { principal.clearance > 1 };'
    )
    assert standing(realm(erring), THEO, request_of(), [SAM]) == NOTHING
