"""Notices: what people are told without having asked, in words for the one who reads them.

A notice holds no words. It says what it is about (a request, a grant, a rule, a row of the ledger), and is put into
words for its reader when it is sent or looked at, by what that reader may know *then*: whoever has lost a right since
is told nothing by it (:func:`words`). So nothing stands in a mail or an inbox that its reader might not have asked for.

All words are here, and each text that others wrote is cut and cleaned before it stands among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from muniment.core.approvers import deciders
from muniment.core.deputies import Deputyship
from muniment.core.grants import Grant
from muniment.core.groups import write_group
from muniment.core.ledger import Event, Row
from muniment.core.moments import write_moment
from muniment.core.oversight import may_read_row
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.requests import OF_REQUESTS, REQUESTABLE, AccessRequest, State, standings
from muniment.core.reviews import due, reason_of
from muniment.core.rulebook import Written, domains_known, readable, written
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each, may_govern

#: How long before a grant ends, or a rule is to be looked at again, people are told.
AHEAD: Final = timedelta(days=7)

#: For how long after its day a rule that nobody has looked at is still told of.
OVERDUE: Final = timedelta(days=30)

#: For how long after a request expired its requester is still told of it.
LATE: Final = timedelta(days=2)

#: How long a notice is kept in the inbox.
KEPT: Final = timedelta(days=90)

#: How long somebody may take to confirm an address.
TIME_TO_CONFIRM: Final = timedelta(days=2)

#: When on each day (UTC) those are told who chose to be told once a day.
DAILY_AT: Final = time(7, tzinfo=UTC)

#: How often it is tried to send something, and how long is waited after the first failure; each wait doubles.
MOST_ATTEMPTS: Final = 20
MOST_CALLS: Final = 10
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(hours=6)

#: How many notices stand in one mail, and how many names in one sentence.
MOST_IN_A_MAIL: Final = 50
MOST_NAMES: Final = 10

#: How much of a text that somebody else wrote stands in a notice, in characters.
LONGEST_QUOTE: Final = 300
_SHORT: Final = 60
_LONGEST_TITLE: Final = 200

#: What the ledger tells of that people are told of at once.
EVENTS: Final = (Event.REQUEST_MADE, Event.REQUEST_APPROVED, Event.REQUEST_DENIED, Event.USE_REPORTED)

#: The attribute of a subject (``MUNIMENT_ISSUERS``) that is its address, where its provider says one.
ATTRIBUTE: Final = "email"

#: Characters that could change what stands around them, or that nobody sees.
_UNREADABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]+"
)

#: A mailbox without quotes, comments or letters beyond ASCII (RFC 5321, 4.1.2: Dot-string "@" Domain).
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAILBOX: Final = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*\Z")


class NoticeKind(StrEnum):
    """What somebody is told."""

    ASKED = "asked"
    DECIDED = "decided"
    ENDS = "ends"
    REVIEW = "review"
    FIRST_USE = "first_use"
    ADDRESS = "address"
    TEST = "test"


#: The kinds that people choose among; the others answer what they did themselves a moment ago.
CHOSEN: Final = (NoticeKind.ASKED, NoticeKind.DECIDED, NoticeKind.ENDS, NoticeKind.REVIEW, NoticeKind.FIRST_USE)


class Pace(StrEnum):
    """How soon somebody is told by mail."""

    AT_ONCE = "at_once"
    DAILY = "daily"
    OFF = "off"


#: How soon people are told who have not chosen.
USUAL: Final[Mapping[NoticeKind, Pace]] = {
    NoticeKind.ASKED: Pace.AT_ONCE,
    NoticeKind.DECIDED: Pace.AT_ONCE,
    NoticeKind.ENDS: Pace.DAILY,
    NoticeKind.REVIEW: Pace.DAILY,
    NoticeKind.FIRST_USE: Pace.DAILY,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What one subject chose: how soon each kind goes by mail, which go to its webhook; quiet, none goes for now."""

    mail: Mapping[NoticeKind, Pace] = field(default_factory=lambda: dict(USUAL))
    webhook: Mapping[NoticeKind, bool] = field(default_factory=lambda: dict.fromkeys(CHOSEN, True))
    quiet: bool = False
    version: int = 0

    def pace(self, kind: NoticeKind) -> Pace:
        """How soon a notice of a kind goes by mail."""
        if kind not in CHOSEN:
            return Pace.AT_ONCE
        return Pace.OFF if self.quiet else self.mail.get(kind, USUAL[kind])

    def calls(self, kind: NoticeKind) -> bool:
        """Whether a notice of a kind goes to the webhook, where there is one."""
        return kind not in CHOSEN or (not self.quiet and self.webhook.get(kind, True))

    def without(self, kinds: Collection[NoticeKind]) -> Choice:
        """The choice of somebody who wants no more mails of these kinds."""
        return replace(
            self, mail={kind: Pace.OFF if kind in kinds else self.mail.get(kind, USUAL[kind]) for kind in USUAL}
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody's mails go: confirmed by them, or as their provider says."""

    mailbox: str
    confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell one subject. ``thing`` is what it is about: nobody is told twice of one thing in one kind.

    ``about`` names what its words are made of: a request, a grant, a rule, a row of the ledger, an address.
    """

    id: UUID
    recipient: Subject
    kind: NoticeKind
    thing: str
    at: datetime
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Words:
    """A notice as its reader may know it now, and the datasets that it names.

    ``open`` says whether there is still something to do about it, ``page`` at which address of ours, if at any.
    """

    title: str
    text: str
    datasets: tuple[str, ...] = ()
    open: bool = True
    page: str = ""


#: What a notice is about, as it stands in the database; a grant and a rule are the realm's own.
Matter = AccessRequest | Row | None


# --- whom to tell ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tidings:
    """Something that somebody may be told of: what, and which subjects it concerns."""

    kind: NoticeKind
    thing: str
    about: Mapping[str, str]
    recipients: tuple[Subject, ...]


def of_request(
    realm: Realm,
    states: Sequence[SubjectState],
    at: datetime,
    request: AccessRequest,
    deputies: Sequence[Deputyship] = (),
) -> Tidings | None:
    """Whom a request concerns as it stands: those to whom it has come, with their deputies, or its requester at last.

    ``states`` are of those to whom it may have come (:func:`muniment.core.approvers.meant`), and of the deputies.
    """
    state = request.state(at)
    about = {"request": request.id}
    match state:
        case State.PENDING:
            may = [each for each in states if _may_decide_something(realm, each)]
            due_to = {each.subject: None for each in deciders(realm, may, at, request)}
            due_to |= dict.fromkeys(_deputies_of(realm, states, at, request, deputies))
            return Tidings(NoticeKind.ASKED, request.id, about, tuple(due_to))
        case State.WITHDRAWN:
            return None
        case _:
            return Tidings(NoticeKind.DECIDED, f"{request.id} {state.value}", about, (request.requester,))


def _deputies_of(
    realm: Realm,
    states: Sequence[SubjectState],
    at: datetime,
    request: AccessRequest,
    deputies: Sequence[Deputyship],
) -> Iterable[Subject]:
    """Those who decide on a request in the place of others."""
    known = {state.subject: state for state in states}
    for each in deputies:
        deputy, principal = known.get(each.deputy), known.get(each.principal)
        if deputy is None or principal is None or not each.stands(at) or not request.awaits(each.deputy, at):
            continue
        (standing,) = standings(realm, deputy, at, [request], [principal])
        if standing.due:
            yield each.deputy


def _may_decide_something(realm: Realm, reader: SubjectState) -> bool:
    """Whether any rule could let somebody decide on requests: for most it ends here."""
    deciding = {Action.APPROVE, Action.ADMINISTER}
    return any(policy.effect == "permit" and policy.actions & deciding for policy in realm.concerning(reader))


def of_use(realm: Realm, states: Sequence[SubjectState], row: Row) -> Tidings | None:
    """Whom the first use of a dataset by a subject concerns: its owners."""
    name = row.datasets[0] if row.datasets else ""
    dataset = realm.resolve(name) if name else None
    if dataset is None:
        return None
    owners = tuple(each.subject for each in states if dataset.owner in realm.all_groups_of(each))
    others = tuple(each for each in owners if str(each) != row.subject)
    return Tidings(NoticeKind.FIRST_USE, str(row.id), {"row": str(row.id)}, others)


def of_days(realm: Realm, states: Sequence[SubjectState], at: datetime) -> Iterable[Tidings]:
    """What the calendar tells: grants that end soon, and rules that are to be looked at again."""
    members = _members(realm, states)
    for id_, grant in sorted(realm.grants.items()):
        if grant.until is not None and at < grant.until <= at + AHEAD:
            told = {*members.get(grant.to, ()), *members.get(_owner_of(realm, grant), ())}
            about = {"grant": id_, "until": grant.until.isoformat()}
            yield Tidings(NoticeKind.ENDS, f"{id_} {grant.until.isoformat()}", about, tuple(sorted(told)))
    today = at.astimezone(UTC).date()
    for each in due(realm, written(realm).values(), by=today + AHEAD, today=today):
        if each.review_by >= today - OVERDUE:
            about = {"rule": each.id, "review_by": each.review_by.isoformat()}
            told = set(members.get(each.owner, ())) or _stewards(realm, states, at, each.rule)
            yield Tidings(NoticeKind.REVIEW, f"{each.id} {each.review_by.isoformat()}", about, tuple(sorted(told)))


def _members(realm: Realm, states: Iterable[SubjectState]) -> Mapping[str, tuple[Subject, ...]]:
    """The known members of each group, the built-in groups of one subject among them."""
    found: dict[str, list[Subject]] = {}
    for state in states:
        for group in realm.all_groups_of(state):
            found.setdefault(group, []).append(state.subject)
    return {group: tuple(subjects) for group, subjects in found.items()}


def _stewards(realm: Realm, states: Iterable[SubjectState], at: datetime, rule: Written) -> set[Subject]:
    """Who hands out rights in a rule's scope: those who are told where no owner is known."""
    return {each.subject for each in states if may_govern(realm, each, at, Action.GRANT, rule.scope)}


def _owner_of(realm: Realm, grant: Grant) -> str:
    dataset = realm.resolve(grant.on) if grant.on_dataset else None
    return dataset.owner if dataset is not None else realm.owner_of(grant.scope)


# --- when -----------------------------------------------------------------------------------------------------------


def due_at(pace: Pace, at: datetime) -> datetime:
    """When something that came up at a moment is sent."""
    if pace is not Pace.DAILY:
        return at
    today = datetime.combine(at.astimezone(UTC).date(), DAILY_AT)
    return today if at <= today else today + timedelta(days=1)


def wait_after(attempts: int) -> timedelta:
    """How long is waited after so many failures before it is tried again."""
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(max(0, attempts - 1), MOST_ATTEMPTS)))


# --- addresses ------------------------------------------------------------------------------------------------------


def checked_mailbox(text: str) -> str:
    """The address, if mail can be sent to it; else :class:`Invalid`."""
    if _MAILBOX.match(text):
        return text
    message = "Write one address, such as ann@example.org: at most 254 letters of ASCII, without a name or quotes."
    raise Invalid(message, [Fault("address", message)])


def address_of(confirmed: str | None, state: SubjectState) -> Address | None:
    """Where somebody's mails go: what they confirmed stands before what their provider says; neither, nowhere."""
    if confirmed is not None:
        return Address(confirmed, confirmed=True)
    told = state.attributes.get(ATTRIBUTE)
    return Address(told, confirmed=False) if isinstance(told, str) and _MAILBOX.match(told) else None


# --- words ----------------------------------------------------------------------------------------------------------

#: What is said, in English, each sentence by its name. What stands in braces is put there cleaned (:func:`_plain`).
SAYS: Final[Mapping[str, str]] = {
    "asked.title": "{who} asks for {first}",
    "asked": "{who} asks to {actions} {names} in {environments}, until {until}.",
    "asked.deputy": "You decide in the place of {principal}.",
    "asked.waits": "Request {request}. It waits for your decision.",
    "asked.over": "Request {request}. It is {state} now.",
    "decided.title": "Your request for {first} is {state}",
    "decided": "{by} has {state} your request for {names}.",
    "decided.nobody": "Nobody has decided on your request for {names}, and it has expired. If you still need it, ask "
    "again.",
    "decided.gives": "You may {actions} in {environments}, until {until}, as long as no other rule stands against it.",
    "decided.request": "Request {request}, of {day}.",
    "decided.access": "access",
    "decided.what": "what you asked for",
    "ends": "ends on {moment}",
    "ended": "ended on {moment}",
    "ends.in": "{actions} {on} in {environments}",
    "ends.anywhere": "{actions} {on}",
    "ends.yours.title": "Your access to {on} {ends}",
    "ends.yours": "What lets you {what} {ends}.",
    "ends.group": "You have it as a member of {group}.",
    "ends.again": "Ask for it again if you still need it.",
    "ends.owned.title": "A grant on {on} {ends}",
    "ends.owned": "The grant {grant}, by which {group} may {what}, {ends}.",
    "review.title": "{rule} is to be reviewed by {day}",
    "review": "The {kind} {rule} in {scope} is to be looked at again by {day}: is it still needed? Keep it until "
    "another day, or end it.",
    "first_use.title": "{who} used {name} for the first time",
    "first_use": "{who} says that it used {name} in {environment} on {moment}. The record knows of no use of it by "
    "them before.",
    "first_use.doubt": "It is a first, and no more than that: nothing says that it was not meant to be.",
    "address.title": "Confirm your address",
    "address": "{who} wants to be told by mail at this address. If that is you, follow the link and confirm it. If it "
    "is not, do nothing: then nothing is sent here.",
    "test.title": "A test",
    "test": "You asked for this. What Muniment has to tell you comes this way.",
    "purpose": "For the purpose: {text}",
    "why": "Why: {text}",
    "because": "It is there because: {text}",
    "more": "{names} and {more} more",
    "letter.title": "Muniment: {title}",
    "letter.several": "{count} notices",
    "letter.unsubscribe": "No more mails like this one: {address}",
}


def _say(sentence: str, **given: str) -> str:
    return SAYS[sentence].format(**given)


def words(
    realm: Realm,
    reader: SubjectState,
    at: datetime,
    notice: Notice,
    matter: Matter,
    principals: Sequence[SubjectState] = (),
) -> Words | None:
    """A notice in words for its reader; None where it tells of what they may not know now, or of what is no more.

    ``principals`` are those in whose place the reader decides on requests.
    """
    match notice.kind, matter:
        case NoticeKind.ASKED, AccessRequest():
            return _asked(realm, reader, at, matter, principals)
        case NoticeKind.DECIDED, AccessRequest() if matter.requester == reader.subject:
            return _decided(realm, reader, at, matter)
        case NoticeKind.ENDS, None:
            return _ends(realm, reader, at, notice)
        case NoticeKind.REVIEW, None:
            return _review(realm, reader, at, notice)
        case NoticeKind.FIRST_USE, Row():
            return _first_use(realm, reader, at, matter)
        case NoticeKind.ADDRESS, None:
            return Words(_say("address.title"), _say("address", who=_plain(str(reader.subject))))
        case NoticeKind.TEST, None:
            return Words(_say("test.title"), _say("test"))
        case _:
            return None


def _asked(
    realm: Realm, reader: SubjectState, at: datetime, request: AccessRequest, principals: Sequence[SubjectState]
) -> Words | None:
    (standing,) = standings(realm, reader, at, [request], principals)
    if not standing.decides:
        return None
    awaits = request.awaits(reader.subject, at)
    names = request.terms.datasets
    lines = [
        _say("asked", who=_plain(str(request.requester)), names=_listed(names), **_terms(request)),
        _say("purpose", text=_plain(request.purpose)) if request.purpose else "",
        _say("why", text=_plain(request.because)),
        _say("asked.deputy", principal=_plain(str(standing.deputy_of))) if standing.deputy_of and awaits else "",
        _say("asked.waits" if awaits else "asked.over", request=request.id, state=request.state(at).value),
    ]
    title = _say("asked.title", who=_plain(str(request.requester), _SHORT), first=_listed(names, 1))
    return Words(title, _text(lines), names, open=awaits, page=_page_of(request))


def _page_of(request: AccessRequest) -> str:
    return f"/requests/{request.id}"


def _decided(realm: Realm, reader: SubjectState, at: datetime, request: AccessRequest) -> Words:
    state, ending = request.state(at), request.ending
    names = _known_of(realm, reader, at, request.terms.datasets)
    what = _listed(names) if names else _say("decided.what")
    by = _plain(str(ending.by)) if ending is not None else ""
    lines = [
        _say("decided" if ending is not None else "decided.nobody", by=by, state=state.value, names=what),
        _say("decided.gives", **_terms(request)) if state is State.APPROVED and names else "",
        _say("why", text=_plain(ending.reason)) if ending is not None and ending.reason else "",
        _say("decided.request", request=request.id, day=_day(request.at)),
    ]
    first = _listed(names, 1) if names else _say("decided.access")
    title = _say("decided.title", first=first, state=state.value)
    return Words(title, _text(lines), names, page=_page_of(request))


def _terms(request: AccessRequest) -> Mapping[str, str]:
    terms = request.terms
    return {
        "actions": _listed(sorted(terms.actions)),
        "environments": _listed(sorted(terms.environments)),
        "until": _day(terms.until),
    }


def _ends(realm: Realm, reader: SubjectState, at: datetime, notice: Notice) -> Words | None:
    grant = realm.grants.get(notice.about["grant"])
    if grant is None or grant.until is None or grant.until.isoformat() != notice.about["until"]:
        return None
    groups, still = realm.all_groups_of(reader), grant.until > at
    ends = _say("ends" if still else "ended", moment=_moment(grant.until))
    given = {
        "actions": _listed(sorted(grant.actions)),
        "on": grant.on,
        "environments": _listed(sorted(grant.environments)),
    }
    what, group = _say("ends.in" if grant.environments else "ends.anywhere", **given), _plain(write_group(grant.to))
    if grant.to in groups and _knows_place(realm, reader, at, grant):
        lines = [
            _say("ends.yours", what=what, ends=ends),
            _say("ends.group", group=group) if grant.to != str(reader.subject) else "",
            _say("ends.again") if still else "",
        ]
        title, again = _say("ends.yours.title", on=grant.on, ends=ends), still and grant.on_dataset
        page = _page_to_ask_again(reader, grant) if again else ""
        return Words(title, _text(lines), _named(grant), open=still, page=page)
    if _owner_of(realm, grant) in groups and readable(realm, reader, at, {grant.id: grant}):
        lines = [
            _say("ends.owned", grant=grant.id, group=group, what=what, ends=ends),
            _say("because", text=_plain(grant.because)),
        ]
        return Words(_say("ends.owned.title", on=grant.on, ends=ends), _text(lines), _named(grant), open=still)
    return None


def _page_to_ask_again(reader: SubjectState, grant: Grant) -> str:
    """Where a subject asks for what a grant gives once more. What others called the grant is theirs to know."""
    if grant.id.startswith(OF_REQUESTS) and grant.to == str(reader.subject):
        return f"/requests/new?renews={grant.id}"
    actions = [f"action={action.value}" for action in sorted(grant.actions.intersection(REQUESTABLE))]
    environments = [f"environment={name}" for name in sorted(grant.environments)]
    return "/requests/new?" + "&".join([f"dataset={grant.on}", *actions, *environments])


def _review(realm: Realm, reader: SubjectState, at: datetime, notice: Notice) -> Words | None:
    rule = written(realm).get(notice.about["rule"])
    if rule is None or rule.review_by is None or rule.review_by.isoformat() != notice.about["review_by"]:
        return None
    looks_after = realm.owner_of(rule.scope) in realm.all_groups_of(reader)
    if not looks_after and not may_govern(realm, reader, at, Action.GRANT, rule.scope):
        return None
    if not _may_read(realm, reader, at, rule):
        return None
    day, kind = rule.review_by.isoformat(), "grant" if isinstance(rule, Grant) else "policy"
    lines = [
        _say("review", kind=kind, rule=rule.id, scope=rule.scope, day=day),
        _say("because", text=_plain(reason_of(rule))),
    ]
    return Words(_say("review.title", rule=rule.id, day=day), _text(lines), _named(rule))


def _may_read(realm: Realm, reader: SubjectState, at: datetime, rule: Written) -> bool:
    if isinstance(rule, Grant):
        return bool(readable(realm, reader, at, {rule.id: rule}))
    return bool(readable(realm, reader, at, {rule.id: rule}))


def _named(rule: Written) -> tuple[str, ...]:
    return (rule.on,) if isinstance(rule, Grant) and rule.on_dataset else ()


def _first_use(realm: Realm, reader: SubjectState, at: datetime, row: Row) -> Words | None:
    dataset = realm.resolve(row.datasets[0])
    owned = dataset is not None and dataset.owner in realm.all_groups_of(reader)
    if dataset is None or not owned or not may_read_row(realm, reader, at, row):
        return None
    given = {"name": dataset.name, "environment": _plain(row.environment or "?"), "moment": _moment(row.at)}
    lines = [_say("first_use", who=_plain(row.subject), **given), _say("first_use.doubt")]
    title = _say("first_use.title", who=_plain(row.subject, _SHORT), name=dataset.name)
    return Words(title, _text(lines), (dataset.name,))


def _known_of(realm: Realm, reader: SubjectState, at: datetime, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, dataset in find_each(realm, reader, at, names).items() if dataset is not None)


def _knows_place(realm: Realm, reader: SubjectState, at: datetime, grant: Grant) -> bool:
    """Whether somebody may know of what a grant is on."""
    if grant.on_dataset:
        return bool(_known_of(realm, reader, at, [grant.on]))
    return grant.on in domains_known(realm, reader, at, [grant.on])


def _plain(text: str, longest: int = LONGEST_QUOTE) -> str:
    """A text that somebody else wrote, on one line, without what could change how the rest is read."""
    clean = _UNREADABLE.sub(" ", text).strip()
    return clean if len(clean) <= longest else f"{clean[: longest - 1].rstrip()}…"


def _listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else _say("more", names=shown, more=str(len(names) - most))


def _text(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# --- messages -------------------------------------------------------------------------------------------------------


def payload(notice: Notice, told: Words) -> bytes:
    """What a webhook is sent of a notice (Standard Webhooks 1.0): what ``GET /v1/notices`` gives of it."""
    data = {
        "id": str(notice.id),
        "kind": notice.kind.value,
        "to": str(notice.recipient),
        "title": told.title,
        "text": told.text,
        "open": told.open,
        "about": dict(notice.about),
    }
    said = {"type": f"notice.{notice.kind.value}", "timestamp": write_moment(notice.at), "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


# --- mails ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Letter:
    """What stands in a mail: its subject, and its text."""

    title: str
    text: str


def letter(told: Sequence[Words], *, link: str, unsubscribe: str | None, public: str = "") -> Letter:
    """One mail of one or several notices. ``link`` is where to go on, ``unsubscribe`` where such mails end.

    ``public`` is where our pages are reached, for what there is to do about each.
    """
    alone = len(told) == 1
    title = told[0].title if alone else _say("letter.several", count=str(len(told)))
    texts = [_text([each.text, f"{public}{each.page}" if each.page and public else ""]) for each in told]
    bodies = [text if alone else f"{each.title}\n\n{text}" for each, text in zip(told, texts, strict=True)]
    foot = ["-- ", link, _say("letter.unsubscribe", address=unsubscribe) if unsubscribe is not None else ""]
    return Letter(_plain(_say("letter.title", title=title), _LONGEST_TITLE), "\n\n".join([*bodies, _text(foot)]) + "\n")
