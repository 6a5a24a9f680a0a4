"""Requests for access: who asked for what, who may decide on it, and what an approval grants.

A request is a line of versions like the nouns of the realm, but no decision about data
depends on one: only the grants that its approval makes do. What time does to a request
(it comes to further approvers, it expires) follows from when it was made, so that nothing
has to run for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Decision, Wanted, boundaries, decide_each, decide_governing
from muniment.core.grants import Grant
from muniment.core.judgements import Judged
from muniment.core.names import ROOT, checked_dataset, domain_of, is_dataset, lineage, placeholders
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound, StaleEdit
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import administers, find_each, imagined, not_served

#: How long a request waits for a decision before it expires.
EXPIRES_AFTER = timedelta(days=30)

#: How long it waits at one level before it comes to the approvers of the next domain above, where nothing else is set.
ESCALATES_AFTER = timedelta(days=3)

#: For how long access may be asked for; a request that names no end asks for this long.
LONGEST = timedelta(days=365)

#: How many datasets one request may name, and how many undecided ones a subject may have.
MOST_DATASETS = 50
MOST_UNDECIDED = 100

#: Datasets of this classification are handed on by two different approvers.
RESTRICTED = "restricted"

#: What can be asked for: knowing of a dataset is what asking begins with.
REQUESTABLE = (Action.LOAD, Action.SAVE)

#: How the ids of grants begin that approvals make, and no others.
OF_REQUESTS = "req-"

#: At how many moments to come it is looked whether what is asked for is allowed already.
_MOST_MOMENTS = 50

#: What follows the time in a UUIDv7, in bits.
_AFTER_TIME = 80


class State(StrEnum):
    """How far a request has come."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for, or granted: these actions on each of these datasets, there, until then."""

    actions: frozenset[Action]
    datasets: tuple[str, ...]
    environments: frozenset[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What an approver leaves of the terms; nothing given leaves all."""

    actions: frozenset[Action] | None = None
    datasets: tuple[str, ...] | None = None
    environments: frozenset[str] | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One approver's yes, said by the approver or, as a deputy, in the place of one."""

    by: Subject
    at: datetime
    comment: str = ""
    deputy_of: Subject | None = None

    @property
    def people(self) -> frozenset[Subject]:
        """Whose eyes have seen it: a deputy and whom they stand in for are one pair."""
        return frozenset({self.by, self.deputy_of or self.by})


@dataclass(frozen=True, slots=True)
class Ending:
    """How somebody ended a request, and why."""

    state: State
    by: Subject
    at: datetime
    reason: str = ""
    deputy_of: Subject | None = None


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One request, all of whose datasets stand in one domain.

    ``eyes`` is how many approvers it needs; it never becomes fewer. ``narrowed`` is what an
    approver has left of what was asked. ``grants`` are the ids of those that the approval made, or
    made last longer. ``escalates_after`` is how long it waits at each level.
    """

    id: str
    requester: Subject
    asked: Terms
    because: str
    at: datetime
    purpose: str | None = None
    eyes: int = 1
    narrowed: Terms | None = None
    approvals: tuple[Approval, ...] = ()
    ending: Ending | None = None
    grants: tuple[str, ...] = ()
    version: int = 0
    escalates_after: timedelta = ESCALATES_AFTER

    @property
    def terms(self) -> Terms:
        """What an approval would grant."""
        return self.narrowed or self.asked

    @property
    def domain(self) -> str:
        """The domain whose approvers decide."""
        return domain_of(self.asked.datasets[0])

    @property
    def expires_at(self) -> datetime:
        """When an undecided request is over."""
        return min(self.at + EXPIRES_AFTER, self.terms.until)

    def state(self, at: datetime) -> State:
        """How far it has come at a moment."""
        if self.ending is not None:
            return self.ending.state
        return State.PENDING if at < self.expires_at else State.EXPIRED

    def steps(self, at: datetime) -> int:
        """How many levels it has risen by a moment: no more once it is over."""
        end = self.ending.at if self.ending is not None else self.expires_at
        return int((min(at, end) - self.at) / self.escalates_after)

    def escalated_to(self, at: datetime) -> tuple[str, ...]:
        """The domains above its own whose approvers it has come to, the nearest first."""
        return lineage(self.domain)[1 : 1 + self.steps(at)]

    def with_administrators(self, at: datetime) -> bool:
        """Whether it has come to the administrators: last of all."""
        return self.steps(at) >= len(lineage(self.domain))

    def awaits(self, subject: Subject, at: datetime) -> bool:
        """Whether it is open to the decision of somebody who may decide."""
        return self.state(at) is State.PENDING and all(subject not in each.people for each in self.approvals)

    def wanted(self, environment: str) -> Wanted:
        """The question to the rules that this request is about, in an environment."""
        return Wanted(environment, purpose=self.purpose)


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is to a request: one who reads it, who may decide on it, to whom it has come.

    ``deputy_of`` is the approver in whose place they decide, where they have no right of their own.
    """

    reads: bool
    decides: bool
    due: bool
    deputy_of: Subject | None = None


# --- asking ---------------------------------------------------------------------------------------------------------


def checked_terms(terms: Terms, at: datetime) -> Terms:
    """The terms, if anybody could ask for them, in one order; else :class:`Invalid`. Looks at no dataset."""
    faults = [Fault("datasets", message) for message in _faults_of_names(terms.datasets)]
    if not terms.actions or terms.actions.difference(REQUESTABLE):
        faults.append(Fault("actions", "Ask for load, for save, or for both."))
    if not terms.environments:
        faults.append(Fault("environments", "Say in which environments."))
    if not at < terms.until <= at + LONGEST:
        faults.append(Fault("until", f"Ask for a time to come, at most {LONGEST.days} days ahead."))
    if faults:
        raise Invalid(faults[0].message, faults)
    return replace(terms, datasets=tuple(sorted(terms.datasets)))


def _faults_of_names(names: Sequence[str]) -> Iterable[str]:
    for name in names:
        checked_dataset(name)
        if placeholders(name):
            yield "A factory pattern cannot be asked for; name the datasets that it makes."
            return
    if not 0 < len(names) <= MOST_DATASETS or len(set(names)) < len(names):
        yield f"Name 1 to {MOST_DATASETS} datasets, each once."
    elif len({domain_of(name) for name in names}) > 1:
        yield "These datasets stand in several domains, whose approvers differ: make one request for each domain."


def check_worth_asking(realm: Realm, asker: SubjectState, request: AccessRequest) -> None:
    """Refuse what nobody could grant, or what the asker may do already; :class:`NotFound` for what is hidden."""
    found = find_each(realm, asker, request.at, request.asked.datasets)
    datasets = [dataset for dataset in found.values() if dataset is not None]
    if len(datasets) < len(found):
        raise NotFound
    _refuse_unserved(realm, asker, request.at, request.asked, datasets)
    moments = list(boundaries(realm.concerning(asker), request.at, request.asked.until))
    if len(moments) > _MOST_MOMENTS or any(
        not decided[action].allowed
        for moment in [request.at, *moments]
        for action, decided in _decided(realm, asker, request, datasets, moment)
    ):
        return
    if all(action in decided.actions for action, decided in _decided(realm, asker, request, datasets, request.at)):
        raise Conflict("You may do all of this already, for as long as you ask for it: there is nothing to approve.")
    raise Conflict(
        "Policies let you do this already, but for masks or row filters, which no grant lifts: ask the datasets' owner."
    )


def _refuse_unserved(
    realm: Realm, reader: SubjectState, at: datetime, terms: Terms, datasets: Iterable[Dataset]
) -> None:
    for dataset in datasets:
        for environment in sorted(terms.environments):
            why = not_served(realm, reader, at, dataset, Wanted(environment))
            if why is not None:
                raise Conflict(f"{dataset.name} cannot be given in {environment}: {why}. Leave it out.")


def _decided(
    realm: Realm, asker: SubjectState, request: AccessRequest, datasets: Sequence[Dataset], at: datetime
) -> Iterable[tuple[Action, Decided]]:
    """Each action that is asked for, with what is decided of each dataset in each environment at a moment."""
    return (
        (action, decided)
        for environment in sorted(request.terms.environments)
        for decided in decide_each(realm, asker, request.wanted(environment), at, datasets)
        for action in sorted(request.terms.actions)
    )


def eyes_needed(realm: Realm, datasets: Iterable[str]) -> int:
    """How many approvers it takes to hand these datasets on."""
    found = (realm.resolve(name) for name in datasets)
    return 2 if any(dataset is not None and dataset.classification == RESTRICTED for dataset in found) else 1


def command(action: Action, dataset: str, environment: str, decision: Decision) -> str | None:
    """What to type to ask for what was denied (the reason is asked for then); nothing where asking would not help.

    A grant helps where nothing permits it: it beats no rule that forbids, and lifts no mask.
    """
    if decision.allowed or decision.because or action not in REQUESTABLE or not is_dataset(dataset):
        return None
    return f"kedro muniment request {dataset} --{action} --environment {environment}"


# --- deciding -------------------------------------------------------------------------------------------------------


def standings(
    realm: Realm,
    reader: SubjectState,
    at: datetime,
    requests: Sequence[AccessRequest],
    principals: Sequence[SubjectState] = (),
) -> tuple[Standing, ...]:
    """What somebody is to each of some requests; to whom one is nobody's business, it does not exist.

    One decides who holds ``approve`` on every dataset asked for; where no rule forbids
    that, also who holds it on a domain above to which the request has come, and who
    administers the domain. Whoever made it reads it and decides nothing. Of others' requests only
    those are told who may know of all their datasets, or who audit or administer there.

    ``principals`` are the approvers whose deputy the reader is. What has come to one of them has come
    to the deputy, who must know of the datasets too, and whom no rule may forbid to approve
    there. A principal's own requests and right to administer are not handed on.
    """
    others = [each for each in requests if each.requester != reader.subject]
    rights = _Rights(realm, reader, at, others)
    through = _stood_in_for(realm, reader, at, others, principals, rights) if principals else {}
    return tuple(
        Standing(reads=True, decides=False, due=False)
        if each.requester == reader.subject
        else _with_deputy(rights.to(each), through.get(each.id))
        for each in requests
    )


def _with_deputy(own: Standing, principal: Subject | None) -> Standing:
    if principal is None or own.due:
        return own
    return Standing(reads=True, decides=True, due=True, deputy_of=None if own.decides else principal)


def _stood_in_for(
    realm: Realm,
    reader: SubjectState,
    at: datetime,
    requests: Sequence[AccessRequest],
    principals: Sequence[SubjectState],
    own: _Rights,
) -> dict[str, Subject]:
    """By request: the approver to whom it has come and whose deputy the reader is, the first by name."""
    found: dict[str, Subject] = {}
    for principal in sorted(principals, key=lambda each: each.subject):
        theirs = [each for each in requests if each.requester != principal.subject and each.id not in found]
        rights = _Rights(realm, principal, at, theirs)
        found |= {each.id: principal.subject for each in theirs if rights.comes(each) and not own.forbids(each)}
    named = sorted({name for each in requests if each.id in found for name in each.asked.datasets})
    known = {name for name, dataset in find_each(realm, reader, at, named).items() if dataset is not None}
    return {each.id: found[each.id] for each in requests if each.id in found and known.issuperset(each.asked.datasets)}


def right_to_decide(
    realm: Realm,
    approver: SubjectState,
    at: datetime,
    request: AccessRequest,
    principals: Sequence[SubjectState] = (),
) -> tuple[Judged, ...]:
    """Whether somebody may decide on a request, a line for each dataset: and what the rules say of approving there.

    Of a deputy they are asked about whom the deputy stands in for.
    """
    (standing,) = standings(realm, approver, at, [request], principals)
    acting = next((each for each in principals if each.subject == standing.deputy_of), approver)
    names = request.terms.datasets
    datasets = [realm.resolve(name) or imagined(realm, name) for name in names]
    decisions = decide_governing(realm, acting, Action.APPROVE, datasets, at)
    return tuple(
        Judged(name, Action.APPROVE, known=standing.reads, allowed=standing.decides, because=decision.because)
        for name, decision in zip(names, decisions, strict=True)
    )


class _Rights:
    """What one reader may do about the requests of others, decided for all of them together."""

    def __init__(self, realm: Realm, reader: SubjectState, at: datetime, requests: Sequence[AccessRequest]) -> None:
        self._realm = realm
        self._at = at
        names = sorted({name for request in requests for name in request.asked.datasets})
        domains = sorted({above for request in requests for above in lineage(request.domain)})
        resolved = [realm.resolve(name) or imagined(realm, name) for name in names]
        self._on_dataset = dict(zip(names, decide_governing(realm, reader, Action.APPROVE, resolved, at), strict=True))
        self._approves = _allowed_in(realm, reader, at, Action.APPROVE, domains)
        self._audits = _allowed_in(realm, reader, at, Action.AUDIT, domains)
        self._administers = {
            domain for domain in {request.domain for request in requests} if administers(realm, reader, at, domain)
        }
        concerned = {name for each in requests if self._concerns(each) for name in each.asked.datasets}
        self._known = {name for name, dataset in find_each(realm, reader, at, sorted(concerned)).items() if dataset}

    def to(self, request: AccessRequest) -> Standing:
        """What the reader is to one request."""
        if not self._may_be_told(request):
            return Standing(reads=False, decides=False, due=False)
        comes = self._reached(request)
        decides = comes or self._may_overrule(request)
        due = comes or (decides and request.with_administrators(self._at))
        reads = decides or request.domain in self._audits | self._administers
        return Standing(reads, decides, due)

    def comes(self, request: AccessRequest) -> bool:
        """Whether it has come to the reader as an approver who may be told of it."""
        return self._may_be_told(request) and self._reached(request)

    def forbids(self, request: AccessRequest) -> bool:
        """Whether a rule forbids the reader to approve some of it."""
        decisions = [self._on_dataset[name] for name in request.terms.datasets]
        return any(decision.because and not decision.allowed for decision in decisions)

    def _may_be_told(self, request: AccessRequest) -> bool:
        return self._concerns(request) and (
            request.domain in self._audits | self._administers or self._known.issuperset(request.asked.datasets)
        )

    def _concerns(self, request: AccessRequest) -> bool:
        """Whether the reader has a right that could be about it; else nothing more is looked at."""
        return request.domain in self._audits | self._administers or self._reached(request)

    def _reached(self, request: AccessRequest) -> bool:
        """Whether it has come to the reader as an approver."""
        above = not self._approves.isdisjoint(request.escalated_to(self._at))
        decisions = [self._on_dataset[name] for name in request.terms.datasets]
        return all(decision.allowed or (above and not decision.because) for decision in decisions)

    def _may_overrule(self, request: AccessRequest) -> bool:
        """Whether the reader administers the domain, and no rule of ``all`` forbids them to approve there."""
        return request.domain in self._administers and not any(
            self._forbidden_by_all(self._on_dataset[name]) for name in request.terms.datasets
        )

    def _forbidden_by_all(self, decision: Decision) -> bool:
        forbidding = () if decision.allowed else decision.because
        rules = [self._realm.policy(id_) for id_ in forbidding]
        return any(rule is None or rule.scope == ROOT for rule in rules)


def _allowed_in(
    realm: Realm, reader: SubjectState, at: datetime, action: Action, domains: Sequence[str]
) -> frozenset[str]:
    decisions = decide_governing(realm, reader, action, domains, at)
    return frozenset(domain for domain, decision in zip(domains, decisions, strict=True) if decision.allowed)


def narrowed(terms: Terms, narrowing: Narrowing, at: datetime) -> Terms:
    """What an approver leaves of some terms; :class:`Invalid` where that is more than was asked, or nothing."""
    left = Terms(
        actions=terms.actions if narrowing.actions is None else narrowing.actions,
        datasets=terms.datasets if narrowing.datasets is None else tuple(sorted(set(narrowing.datasets))),
        environments=terms.environments if narrowing.environments is None else narrowing.environments,
        until=terms.until if narrowing.until is None else narrowing.until,
    )
    faults = [
        Fault(field, f"Leave some of the {field} that were asked for, and add none.")
        for field, fewer, more in (
            ("actions", left.actions, terms.actions),
            ("datasets", set(left.datasets), set(terms.datasets)),
            ("environments", left.environments, terms.environments),
        )
        if not fewer or not fewer <= more
    ]
    if not at < left.until <= terms.until:
        faults.append(Fault("until", "The end must be to come, and no later than was asked for."))
    if faults:
        raise Invalid(faults[0].message, faults)
    return left


def check_possible(
    realm: Realm, approver: SubjectState, at: datetime, request: AccessRequest, terms: Terms, requester: SubjectState
) -> None:
    """Refuse an approval that the world has overtaken: a dataset is gone, or the requester may not know of it now."""
    found = find_each(realm, requester, at, terms.datasets)
    hidden = sorted(name for name, dataset in found.items() if dataset is None)
    if hidden:
        message = (
            f"{request.requester} may no longer know of {', '.join(hidden)}. Approve the rest (datasets), or deny it."
        )
        raise Conflict(message)
    _refuse_unserved(realm, approver, at, terms, [dataset for dataset in found.values() if dataset is not None])
    unknown = sorted(terms.environments.difference(realm.environment_names))
    if unknown:
        raise Conflict(f"There is no environment {', '.join(unknown)} any more. Approve the rest, or deny it.")


def grants_of(request: AccessRequest, terms: Terms, standing: Iterable[Grant] = ()) -> tuple[Grant, ...]:
    """The grants that an approval of these terms makes: one for each dataset.

    Of the grants that are ``standing``, one that an earlier approval made goes on under its id where
    these terms give all that it gives, and for longer.
    """
    alone = len(terms.datasets) == 1
    made = (
        Grant(
            id=f"{OF_REQUESTS}{request.id}" if alone else f"{OF_REQUESTS}{request.id}-{number}",
            to=str(request.requester),
            actions=terms.actions,
            on=name,
            kind="dataset",
            environments=terms.environments,
            purposes=frozenset({request.purpose} if request.purpose is not None else ()),
            until=terms.until,
            because=request.because,
        )
        for number, name in enumerate(terms.datasets, start=1)
    )
    earlier = sorted(standing, key=lambda grant: grant.id)
    return tuple(_continuing(each, next((old for old in earlier if _continues(each, old)), None)) for each in made)


def _continues(new: Grant, old: Grant) -> bool:
    """Whether a grant gives all that an earlier approval gave, and for longer."""
    same = (old.to, old.on, old.kind, old.purposes) == (new.to, new.on, new.kind, new.purposes)
    covers = old.actions <= new.actions and bool(old.environments) and old.environments <= new.environments
    lasts = old.until is not None and new.until is not None and old.until <= new.until
    return old.id.startswith(OF_REQUESTS) and same and covers and lasts


def _continuing(new: Grant, old: Grant | None) -> Grant:
    return new if old is None else replace(new, id=old.id, version=old.version, review_by=old.review_by)


def granted_to(realm: Realm, subject: Subject) -> tuple[Grant, ...]:
    """The grants that stand for one subject alone."""
    return tuple(grant for grant in realm.grants.values() if grant.to == str(subject))


def check_pending(request: AccessRequest, at: datetime, after_version: int | None) -> None:
    """Refuse to decide on what is decided, or has moved on since the version that was looked at."""
    state = request.state(at)
    if state is State.EXPIRED:
        detail = "This request has expired; whoever still needs the access asks again."
        raise StaleEdit(detail, version=request.version)
    if request.ending is not None:
        detail = f"This request is {state.value} since {request.ending.at:%Y-%m-%d %H:%M} UTC, by {request.ending.by}."
        raise StaleEdit(detail, version=request.version)
    if after_version is not None and after_version != request.version:
        detail = (
            f"This request changed after version {after_version}. It is at version {request.version} now: "
            "read it again, then decide."
        )
        raise StaleEdit(detail, version=request.version)


def still_counted(
    realm: Realm, at: datetime, request: AccessRequest, approvers: Mapping[Subject, SubjectState]
) -> AccessRequest:
    """The request with those of its approvals alone whose approver may still decide on it, as last seen."""
    kept = tuple(
        each
        for each in request.approvals
        if each.by in approvers
        and (right := approvers.get(each.deputy_of or each.by)) is not None
        and standings(realm, right, at, [request])[0].decides
    )
    return replace(request, approvals=kept)


def check_another(request: AccessRequest, approver: Subject, deputy_of: Subject | None = None) -> None:
    """Refuse a second approval by the first approver: four eyes are two people, and no two of one right."""
    said = frozenset[Subject]().union(*(approval.people for approval in request.approvals))
    if approver in said:
        raise NotAllowed("You have approved this already; somebody else must approve it too.")
    if deputy_of in said:
        raise NotAllowed(
            f"{deputy_of}, whose deputy you are, has approved this already; somebody else must approve it too."
        )


def notes(
    before: Realm, after: Realm, request: AccessRequest, requester: SubjectState, at: datetime
) -> tuple[str, ...]:
    """What an approver should know of what the grants did: what was allowed before, and what still is not."""
    datasets = [dataset for name in request.terms.datasets if (dataset := after.resolve(name)) is not None]
    return tuple(
        note
        for environment in sorted(request.terms.environments)
        for dataset, was, now in zip(
            datasets,
            decide_each(before, requester, request.wanted(environment), at, datasets),
            decide_each(after, requester, request.wanted(environment), at, datasets),
            strict=True,
        )
        for action in sorted(request.terms.actions)
        if (note := _note(f"{action} {dataset.name} in {environment}", requester, was[action], now, action))
    )


def _note(what: str, requester: SubjectState, was: Decision, now: Decided, action: Action) -> str | None:
    if not now[action].allowed:
        return f"{requester.subject} may not {what} even so: another rule stands against it."
    if action not in now.actions:
        return f"{requester.subject} may {what} only as the masks and filters leave it."
    return f"{requester.subject} may {what} already." if was.allowed else None


def approved(
    request: AccessRequest, terms: Terms, approval: Approval, eyes: int, standing: Iterable[Grant] = ()
) -> AccessRequest:
    """The request with one more yes; with the last of them it is approved, and knows its grants (:func:`grants_of`)."""
    one_more = replace(
        request,
        narrowed=terms if terms != request.asked else request.narrowed,
        approvals=(*request.approvals, approval),
        eyes=max(request.eyes, eyes),
    )
    if len(one_more.approvals) < one_more.eyes:
        return one_more
    ending = Ending(State.APPROVED, approval.by, approval.at, approval.comment, approval.deputy_of)
    grants = tuple(grant.id for grant in grants_of(request, terms, standing))
    return replace(one_more, ending=ending, grants=grants)


# --- how it went ----------------------------------------------------------------------------------------------------


class Turn(StrEnum):
    """What can happen to a request."""

    ASKED = "asked"
    ROSE = "rose"
    ADMINISTRATORS = "administrators"
    SECONDED = "seconded"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    ENDS = "ends"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a request, or will unless somebody decides: when, by whom, in which words.

    ``to`` is the domain to whose approvers it came.
    """

    turn: Turn
    at: datetime
    by: Subject | None = None
    deputy_of: Subject | None = None
    to: str | None = None
    text: str = ""


def steps_of(request: AccessRequest) -> tuple[Step, ...]:
    """The whole way of a request in order of time, with what is to come as long as nobody decides."""
    ending = request.ending
    over = ending.at if ending is not None else request.expires_at
    found = [Step(Turn.ASKED, request.at, request.requester, text=request.because)]
    levels = [*lineage(request.domain)[1:], None]
    for number, level in enumerate(levels, start=1):
        at = request.at + number * request.escalates_after
        if at < over:
            found.append(Step(Turn.ROSE if level is not None else Turn.ADMINISTRATORS, at, to=level))
    yeses = request.approvals[:-1] if ending is not None and ending.state is State.APPROVED else request.approvals
    found += [Step(Turn.SECONDED, each.at, each.by, each.deputy_of, text=each.comment) for each in yeses]
    if ending is None:
        found.append(Step(Turn.EXPIRED, request.expires_at))
    else:
        found.append(Step(Turn(ending.state.value), ending.at, ending.by, ending.deputy_of, text=ending.reason))
        if ending.state is State.APPROVED:
            found.append(Step(Turn.ENDS, request.terms.until))
    return tuple(sorted(found, key=lambda step: step.at))


def id_floor(at: datetime) -> str:
    """What the ids of requests that were made from a moment on do not precede: they sort by time (RFC 9562, 5.7)."""
    return str(UUID(int=int(at.timestamp() * 1000) << _AFTER_TIME))
