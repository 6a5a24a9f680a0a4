"""Notices: who is told of what, when, and in words that hold nothing of what is hidden from their reader."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from muniment.core.grants import Grant
from muniment.core.ledger import Event, Outcome, Row
from muniment.core.names import domain_of, lineage
from muniment.core.notices import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    USUAL,
    Choice,
    Matter,
    Notice,
    NoticeKind,
    Pace,
    Words,
    address_of,
    checked_mailbox,
    due_at,
    letter,
    of_days,
    of_request,
    wait_after,
    words,
)
from muniment.core.policies import Policy
from muniment.core.problems import Invalid
from muniment.core.realm import Change, Realm
from muniment.core.requests import AccessRequest, Ending, State, Terms
from muniment.core.rulebook import tellable
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import roles
from tests.core.generated_realms import asker_of, case_of
from tests.core.oracle import NOON

ID = UUID("0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a")
ANN = SubjectState(Subject.parse("user:ann"), "corp")
SOON = NOON + timedelta(days=5)
NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_{}]+)+")


def notice(kind: NoticeKind, reader: SubjectState, **about: str) -> Notice:
    return Notice(id=ID, recipient=reader.subject, kind=kind, thing="x", at=NOON, about=about)


def request_of(random: Random, realm: Realm, requester: Subject) -> AccessRequest:
    """A request for some of the datasets of one domain, in any state."""
    one = random.choice(sorted(realm.datasets))
    beside = [name for name in sorted(realm.datasets) if domain_of(name) == domain_of(one)]
    names = tuple(sorted(random.sample(beside, random.randint(1, len(beside)))))
    terms = Terms(frozenset({Action.LOAD}), names, frozenset({"dev"}), NOON + timedelta(days=90))
    made = NOON - timedelta(days=random.choice((0, 4, 8, 31)))
    asked = AccessRequest(str(ID), requester, terms, "a report", made)
    state = random.choice((None, State.DENIED, State.APPROVED))
    ending = Ending(state, Subject.parse("user:sam"), NOON, "as it is") if state else None
    return replace(asked, ending=ending)


def told(random: Random, realm: Realm, reader: SubjectState) -> Iterator[tuple[Notice, Matter]]:
    """A notice of each kind that somebody might be sent, whether it concerns them or not."""
    other = Subject.parse("user:somebody")
    yield notice(NoticeKind.ASKED, reader, request=str(ID)), request_of(random, realm, other)
    yield notice(NoticeKind.DECIDED, reader, request=str(ID)), request_of(random, realm, reader.subject)
    yield notice(NoticeKind.DECIDED, reader, request=str(ID)), request_of(random, realm, other)
    for id_, grant in realm.grants.items():
        if grant.until is not None:
            yield notice(NoticeKind.ENDS, reader, grant=id_, until=grant.until.isoformat()), None
        if grant.review_by is not None:
            yield notice(NoticeKind.REVIEW, reader, rule=f"grant:{id_}", review_by=grant.review_by.isoformat()), None
    for id_, policy in realm.policies.items():
        if policy.review_by is not None:
            yield notice(NoticeKind.REVIEW, reader, rule=id_, review_by=policy.review_by.isoformat()), None
    for name in random.sample(sorted(realm.datasets), min(8, len(realm.datasets))):
        row = Row(id=ID, at=NOON, event=Event.USE_REPORTED, outcome=Outcome.DONE, subject=str(other), datasets=(name,))
        yield notice(NoticeKind.FIRST_USE, reader, row=str(ID)), row


def ending(random: Random, realm: Realm, readers: list[SubjectState]) -> Realm:
    """The realm with rules that are to be looked at, and grants on datasets and domains that end soon."""
    day = date(NOON.year, NOON.month, NOON.day) + timedelta(days=3)
    changes = []
    for number in range(12):
        name = random.choice(sorted(realm.datasets))
        reader = random.choice(readers)
        whole = random.random() < 0.3
        grant = Grant(
            id=f"ends-{number}",
            to=random.choice([str(reader.subject), *sorted(reader.groups)]),
            actions=frozenset({random.choice((Action.LOAD, Action.GRANT, Action.AUDIT, Action.APPROVE))}),
            on=domain_of(name) if whole else name,
            kind="domain" if whole else "dataset",
            until=SOON,
            review_by=day,
            because="they need it",
        )
        changes.append(Change(Grant, grant.id, grant))
    for id_, policy in realm.policies.items():
        changes.append(Change(Policy, id_, replace(policy, review_by=day)))
    return realm.after(2, changes)


def test_no_notice_names_a_dataset_of_which_its_reader_may_not_know() -> None:
    """On generated realms, for everybody who might be sent anything. Seen to fail without each of the checks."""
    said: Counter[NoticeKind] = Counter()
    unsaid: Counter[NoticeKind] = Counter()
    for seed in range(16):
        random = Random(seed)
        case = case_of(random, most_policies=30, time=False)
        readers = [asker_of(random) for _ in range(4)]
        realm = ending(random, case.realm, readers)
        for reader in readers:
            allowed = tellable(realm, reader, NOON)
            for each, matter in told(random, realm, reader):
                text = words(realm, reader, NOON, each, matter)
                (unsaid if text is None else said)[each.kind] += 1
                if text is not None:
                    named = {*NAME.findall(f"{text.title}\n{text.text}"), *text.datasets} & realm.datasets.keys()
                    assert named <= allowed, (seed, each, text)
    for kind in USUAL:
        assert said[kind] >= 10, said
        assert unsaid[kind] >= 10, unsaid


def test_no_notice_names_a_domain_that_its_reader_has_nothing_in() -> None:
    """Of grants on domains, which name one: told to holders who know of something there, or have a right there."""
    for seed in range(8):
        random = Random(seed)
        case = case_of(random, most_policies=30, time=False)
        readers = [asker_of(random) for _ in range(4)]
        realm = ending(random, case.realm, readers)
        for reader in readers:
            lived = {above for name in tellable(realm, reader, NOON) for above in lineage(domain_of(name))}
            for id_, grant in realm.grants.items():
                if grant.kind == "dataset" or grant.actions != {Action.LOAD} or grant.until is None:
                    continue
                each = notice(NoticeKind.ENDS, reader, grant=id_, until=grant.until.isoformat())
                text = words(realm, reader, NOON, each, None)
                if text is not None and grant.to in realm.all_groups_of(reader):
                    assert text.title.startswith("Your access")
                    assert grant.on in lived or _governs_below(realm, reader, grant.on), (seed, id_)


def _governs_below(realm: Realm, reader: SubjectState, domain: str) -> bool:
    return any(domain in lineage(place) for place in roles(realm, reader, NOON))


HOSTILE = (
    "\r\nBcc: eve@example.org",
    "\u202eexe.tropeR\u202c",
    "two\u2028lines\u2029three",
    "\x1b[31mred\x00",
    "a\u200bb\ufeffc\U000e0041",
    "{who} {0} %s ${x}",
    "long " * 2_000,
    "-- \nUnsubscribe: https://evil.example",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_others_wrote_stands_on_one_line_and_changes_nothing_around_it(text: str) -> None:
    terms = Terms(frozenset({Action.LOAD}), ("sales.orders",), frozenset({"dev"}), NOON + timedelta(days=9))
    ended = Ending(State.DENIED, Subject.parse("user:sam"), NOON, text)
    request = AccessRequest(str(ID), ANN.subject, terms, text, NOON, purpose=text, ending=ended)
    realm = case_of(Random(1)).realm

    told = words(realm, ANN, NOON, notice(NoticeKind.DECIDED, ANN, request=str(ID)), request)

    assert told is not None
    written = letter([told], link="https://m.example/notices", unsubscribe="https://m.example/u")
    assert all(letter == "\n" or letter.isprintable() for letter in written.text + written.title)
    assert "\n" not in written.title
    assert len(written.title) <= 200
    lines = [line for line in told.text.split("\n") if line.startswith("Why: ")]
    assert len(lines) == 1
    assert len(lines[0]) <= 310
    assert len(told.text.split("\n")) == 3
    assert written.text.count("\n-- \n") == 1


def test_several_notices_stand_in_one_mail_each_under_its_title() -> None:
    told = [Words(f"title {number}", f"text {number}") for number in range(3)]
    written = letter(told, link="https://m.example/notices", unsubscribe=None)
    assert written.title == "Muniment: 3 notices"
    assert written.text.startswith("title 0\n\ntext 0\n\ntitle 1\n\ntext 1\n\n")
    assert "No more mails" not in written.text


def test_a_day_tells_of_what_ends_within_a_week_and_of_nothing_else() -> None:
    realm = case_of(Random(3)).realm
    for days in (-1, 0, 1, 7, 8):
        until = NOON + timedelta(days=days)
        grant = Grant("g", "user:ann", frozenset({Action.LOAD}), "sales", until=until)
        found = [
            each for each in of_days(realm.after(2, [Change(Grant, "g", grant)]), [ANN], NOON) if "g " in each.thing
        ]
        assert [each.kind for each in found] == ([NoticeKind.ENDS] if 1 <= days <= 7 else [])
        assert all(ANN.subject in each.recipients for each in found)


def test_a_withdrawn_request_concerns_nobody() -> None:
    realm = case_of(Random(3)).realm
    terms = Terms(frozenset({Action.LOAD}), (min(realm.datasets),), frozenset({"dev"}), NOON + timedelta(days=9))
    gone = AccessRequest(str(ID), ANN.subject, terms, "b", NOON, ending=Ending(State.WITHDRAWN, ANN.subject, NOON))
    assert of_request(realm, [ANN], NOON, gone) is None
    expired = of_request(realm, [ANN], NOON + timedelta(days=31), replace(gone, ending=None))
    assert expired is not None
    assert (expired.kind, expired.recipients) == (NoticeKind.DECIDED, (ANN.subject,))


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2027-03-01T06:59", "2027-03-01T07:00"),
        ("2027-03-01T07:00", "2027-03-01T07:00"),
        ("2027-03-01T07:01", "2027-03-02T07:00"),
    ],
    ids=["before", "at seven", "after"],
)
def test_what_goes_once_a_day_goes_at_seven(at: str, due: str) -> None:
    moment = datetime.fromisoformat(f"{at}+00:00")
    assert due_at(Pace.DAILY, moment) == datetime.fromisoformat(f"{due}+00:00")
    assert due_at(Pace.AT_ONCE, moment) == moment


def test_waits_double_up_to_the_longest_and_end_after_about_two_days_and_a_half() -> None:
    waits = [wait_after(attempts) for attempts in range(1, MOST_ATTEMPTS)]
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT == wait_after(10_000)
    assert timedelta(days=2) < sum(waits, timedelta()) < timedelta(days=3)


def test_quiet_silences_what_one_chooses_and_not_what_one_has_just_asked_for() -> None:
    quiet = Choice(quiet=True)
    assert {quiet.pace(kind) for kind in USUAL} == {Pace.OFF}
    assert {quiet.pace(kind) for kind in (NoticeKind.TEST, NoticeKind.ADDRESS)} == {Pace.AT_ONCE}
    less = Choice().without({NoticeKind.ASKED})
    assert (less.pace(NoticeKind.ASKED), less.pace(NoticeKind.DECIDED)) == (Pace.OFF, Pace.AT_ONCE)


def test_a_confirmed_address_stands_before_what_a_sign_in_says() -> None:
    says = replace(ANN, attributes={"email": "ann@corp.example"})
    found = address_of("ann@home.example", says)
    assert found is not None
    assert (found.mailbox, found.confirmed) == ("ann@home.example", True)
    of_sign_in = address_of(None, says)
    assert of_sign_in is not None
    assert (of_sign_in.mailbox, of_sign_in.confirmed) == ("ann@corp.example", False)
    assert address_of(None, ANN) is None
    assert address_of(None, replace(ANN, attributes={"email": "ann@corp.example\r\nBcc: x@y"})) is None
    assert address_of(None, replace(ANN, attributes={"email": frozenset({"ann@corp.example"})})) is None


@pytest.mark.parametrize("text", ["a@b", "ann.o'neil+x@mail.example.org", f"{'a' * 64}@b.example"])
def test_these_are_addresses(text: str) -> None:
    assert checked_mailbox(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a@", "@b", "a@b@c", "a b@c", "a@b c", "a@b\n", "a@b\r\nBcc: c@d", "<a@b>", "Ann <a@b>", '"a b"@c',
        "a@-b",
        "a@b..c", ".a@b", "a..b@c", "ä@b.example", "a@ü.example", f"{'a' * 65}@b", f"a@{'b' * 64}.example", "a@b,c@d",
        f"a@{'.'.join(['b' * 60] * 5)}",
    ],
    ids=range(22),
)  # fmt: skip
def test_these_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="Write one address"):
        checked_mailbox(text)
