"""Somebody asks for access to data; somebody else decides. The approval is the grant.

A request is asked, read, and decided on by those whom it has come to; whoever made it may
take it back. Nobody approves what they asked for. What an approval grants goes through
:mod:`change_realm <muniment.flows.change_realm>`, in one transaction with the request's
new state, and is written down once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

from muniment.core.approvers import deciders, meant
from muniment.core.consequences import Effect, circumstances, consequences
from muniment.core.datasets import Dataset
from muniment.core.decisions import EVALUATOR, Wanted, decide_governing
from muniment.core.environments import checked_known
from muniment.core.grants import Grant
from muniment.core.groups import write_group
from muniment.core.identifiers import derived
from muniment.core.judgements import digest
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound, Problem
from muniment.core.realm import Change, Realm
from muniment.core.renewals import Again, asked_again
from muniment.core.requests import (
    EXPIRES_AFTER,
    MOST_DATASETS,
    MOST_UNDECIDED,
    AccessRequest,
    Approval,
    Ending,
    Narrowing,
    Standing,
    State,
    Terms,
    approved,
    check_another,
    check_pending,
    check_possible,
    check_worth_asking,
    checked_terms,
    eyes_needed,
    granted_to,
    grants_of,
    id_floor,
    narrowed,
    notes,
    right_to_decide,
    standings,
    still_counted,
)
from muniment.core.schema import Action
from muniment.core.second_key import check_governing
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each
from muniment.flows.change_realm import Edit, Plan, change_realm
from muniment.flows.house import House, aside
from muniment.store import ledger, requests, subjects
from muniment.store.databases import Transaction

#: How many requests are looked at together for those that a reader may be told of.
_TOGETHER = 500

#: How many of those who decide are named beforehand.
MOST_NAMED = 5

#: The rights that concern requests of others.
_DECIDING = frozenset({Action.APPROVE, Action.AUDIT, Action.ADMINISTER})


@dataclass(frozen=True, slots=True)
class Told:
    """A request and what the reader is to it, at a revision; ``notes`` are what an approver should know."""

    request: AccessRequest
    standing: Standing
    revision: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """Which requests are listed: in this state; one's own, or those of others that have come to one."""

    state: State | None = None
    mine: bool | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """A request as it would be: the datasets of one domain, and who would decide on them.

    ``approvers`` are the first of those to whom it would come at once, ``more`` whether there are others.
    """

    domain: str
    datasets: tuple[Dataset, ...]
    owners: tuple[str, ...]
    eyes: int
    approvers: tuple[Subject, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What somebody would ask for, before they do: a request for each domain. ``unknown`` is not there for them."""

    prospects: tuple[Prospect, ...]
    unknown: tuple[str, ...]
    environments: tuple[str, ...]
    again: Again | None
    revision: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """A request before it is decided on.

    ``approvers`` are the first of those for whom it waits, ``more`` whether there are others, ``datasets`` those that
    the reader may know of. Only who may decide on it is told the rest: what an approval would let the
    requester do that they cannot do now, what to know of that, or why it cannot be approved as it is.
    """

    told: Told
    approvers: tuple[Subject, ...] = ()
    more: bool = False
    datasets: tuple[Dataset, ...] = ()
    gained: tuple[Effect, ...] = ()
    notes: tuple[str, ...] = ()
    against: str | None = None


_OWN = Standing(reads=True, decides=False, due=False)
_DECIDER = Standing(reads=True, decides=True, due=True)


async def request_access(
    house: House, occasion: Occasion, terms: Terms, because: str, purpose: str | None = None
) -> Told:
    """Ask for access. What the asker may not know of is not found, whatever it is."""
    for environment in sorted(terms.environments):
        purpose = (await house.confined(occasion, Wanted(environment, purpose=purpose))).purpose
    realm = await house.realms.current()
    if not because.strip():
        message = "Say why you need it: whoever decides reads that first."
        raise Invalid(message, [Fault("because", message)])
    sound = checked_terms(terms, occasion.at)
    checked_known(sound.environments, realm.environment_names, at="environments")
    request = AccessRequest(
        id=str(derived(occasion.request_id, f"request{occasion.part}")),
        requester=occasion.subject,
        asked=sound,
        because=because,
        purpose=purpose,
        at=occasion.at,
        eyes=eyes_needed(realm, sound.datasets),
        escalates_after=house.escalates_after,
    )
    async with house.refusals_recorded(occasion, realm, *sound.datasets):
        await aside(lambda: check_worth_asking(realm, occasion.asker, request))
    async with house.db.begin() as tx:
        await _check_not_asked_yet(tx, request)
        made = await _write_down(tx, occasion, request, Event.REQUEST_MADE, realm.revision)
    return Told(made, _OWN, realm.revision)


async def renew_access(
    house: House, occasion: Occasion, grant: str, because: str | None = None, until: datetime | None = None
) -> Told:
    """Ask for what a grant gives once more, for longer: as it was given, for the same reason, unless another is said.

    Where it is approved the grant goes on under its id.
    """
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        again = asked_again(realm, occasion.subject, grant, occasion.at, until)
    return await request_access(house, occasion, again.terms, because or again.because, again.purpose)


async def foresee_request(
    house: House, occasion: Occasion, names: Sequence[str], renews: str | None = None
) -> Foreseen:
    """Who would decide if somebody asked for these datasets, or once more for what a grant gives."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        again = asked_again(realm, occasion.subject, renews, occasion.at, None) if renews else None
    asked = dict.fromkeys([*(again.terms.datasets if again else ()), *names[:MOST_DATASETS]])
    found = await aside(lambda: find_each(realm, occasion.asker, occasion.at, asked))
    known = [dataset for dataset in found.values() if dataset is not None]
    domains = sorted({dataset.domain for dataset in known})
    states = await _meant(house, realm, domains)
    prospects = await aside(lambda: [_prospect(house, realm, occasion, each, known, states) for each in domains])
    await house.ledger.record(
        row(
            occasion,
            Event.REQUEST_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            datasets=tuple(sorted(dataset.name for dataset in known)),
        )
    )
    unknown = tuple(name for name, dataset in found.items() if dataset is None)
    return Foreseen(tuple(prospects), unknown, realm.environment_names, again, realm.revision)


def _prospect(
    house: House,
    realm: Realm,
    occasion: Occasion,
    domain: str,
    known: Sequence[Dataset],
    states: Sequence[SubjectState],
) -> Prospect:
    datasets = tuple(dataset for dataset in known if dataset.domain == domain)
    names = tuple(dataset.name for dataset in datasets)
    terms = Terms(frozenset({Action.LOAD}), names, frozenset(), occasion.at + EXPIRES_AFTER)
    supposed = AccessRequest("", occasion.subject, terms, "", occasion.at, escalates_after=house.escalates_after)
    found = [each.subject for each in islice(deciders(realm, states, occasion.at, supposed), MOST_NAMED + 1)]
    return Prospect(
        domain,
        datasets,
        tuple(sorted({write_group(dataset.owner) for dataset in datasets})),
        eyes_needed(realm, names),
        tuple(found[:MOST_NAMED]),
        more=len(found) > MOST_NAMED,
    )


async def _meant(house: House, realm: Realm, domains: Sequence[str]) -> Sequence[SubjectState]:
    """Those of all subjects whom some rule could let decide in one of these domains."""
    if not domains:
        return ()
    among = await aside(lambda: meant(realm, domains))
    async with house.db.begin() as tx:
        if among.anybody:
            found = await subjects.newest(tx)
        else:
            found = await subjects.newest_among(tx, among.subjects, among.groups)
    return [each.state for each in found]


async def list_requests(
    house: House, occasion: Occasion, wish: Wish, limit: int, after: str | None
) -> tuple[Sequence[Told], str | None, int]:
    """The asker's own requests, and those of others that have come to them or that they audit; the newest first."""
    realm = await house.realms.current()
    principals = await _principals(house, occasion)
    found: list[Told] = []
    before = after
    while len(found) <= limit:
        batch = await _older(house, realm, occasion, wish, before, alone=not principals)
        if not batch:
            break
        before = batch[-1].id
        found.extend(await aside(partial(_told, realm, occasion, wish, batch, principals)))
    await house.ledger.record(row(occasion, Event.REQUEST_READ, Outcome.ALLOWED, revision=realm.revision))
    page = found[:limit]
    return page, page[-1].request.id if len(found) > limit else None, realm.revision


async def read_request(house: House, occasion: Occasion, id_: str) -> Told:
    """One request, to whoever made it, decides on it, or audits there."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        told = await _find(house, realm, occasion, id_)
    await house.ledger.record(
        row(occasion, Event.REQUEST_READ, Outcome.ALLOWED, revision=realm.revision, details={"request": id_})
    )
    return told


async def weigh_request(house: House, occasion: Occasion, id_: str, narrowing: Narrowing | None = None) -> Weighed:
    """One request as :func:`read_request` gives it, with what an approval of it, or of a part, would do."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        told = await _find(house, realm, occasion, id_)
    weighed = Weighed(told)
    if told.request.state(occasion.at) is State.PENDING:
        weighed = await _waiting(house, realm, occasion, told)
        if told.standing.decides and told.request.awaits(occasion.subject, occasion.at):
            weighed = await _weighed(house, realm, occasion, weighed, narrowing or Narrowing())
    await house.ledger.record(
        row(occasion, Event.REQUEST_READ, Outcome.ALLOWED, revision=realm.revision, details={"request": id_})
    )
    return weighed


async def _waiting(house: House, realm: Realm, occasion: Occasion, told: Told) -> Weighed:
    """For whom a request waits, as far as the reader may know of what it is for."""
    names = told.request.terms.datasets
    found = await aside(lambda: find_each(realm, occasion.asker, occasion.at, names))
    datasets = tuple(dataset for dataset in found.values() if dataset is not None)
    if len(datasets) < len(names) and not told.standing.decides:
        return Weighed(told)
    states = await _meant(house, realm, [told.request.domain])
    waits = await aside(lambda: list(islice(deciders(realm, states, occasion.at, told.request), MOST_NAMED + 1)))
    approvers = tuple(each.subject for each in waits[:MOST_NAMED])
    return Weighed(told, approvers, more=len(waits) > MOST_NAMED, datasets=datasets)


async def _weighed(house: House, realm: Realm, occasion: Occasion, waiting: Weighed, narrowing: Narrowing) -> Weighed:
    """The same for whoever decides: what a yes would do."""
    request = waiting.told.request
    try:
        requester = await _newest_state(house, request)
        terms = narrowed(request.terms, narrowing, occasion.at)
        gained, noted = await aside(lambda: _tried(realm, occasion, request, terms, requester))
    except Problem as against:
        return replace(waiting, against=against.detail)
    return replace(waiting, gained=gained, notes=noted)


def _tried(
    realm: Realm, occasion: Occasion, request: AccessRequest, terms: Terms, requester: SubjectState
) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
    """What the grants of an approval would let the requester do that they cannot do now, and what to know of that."""
    at = occasion.at
    check_possible(realm, occasion.asker, at, request, terms, requester)
    grants = grants_of(request, terms, granted_to(realm, request.requester))
    after = realm.after(realm.revision + 1, [Change(Grant, grant.id, grant) for grant in grants])
    found = consequences(realm, after, [requester], circumstances(realm, after), at)
    return found.gained, notes(realm, after, replace(request, narrowed=terms), requester, at)


async def approve_request(
    house: House, occasion: Occasion, id_: str, narrowing: Narrowing, comment: str, after_version: int | None
) -> Told:
    """Say yes to a request, or to a part of it.

    Where it needs another's yes too, this one is kept; else the grants stand when this
    returns. Judged by the realm that the grants are put into: if the world has moved on,
    the refusal says how.
    """
    open_, realm = await _decidable(house, occasion, id_, after_version)
    request = open_.request
    yes = _Yes(
        occasion,
        open_,
        narrowed(request.terms, narrowing, occasion.at),
        await _newest_state(house, request),
        await _approvers(house, request),
        comment,
    )
    async with house.refusals_recorded(occasion, realm, *yes.terms.datasets):
        one_more = await aside(lambda: yes.said(realm))
    if one_more.ending is None:
        right = await aside(lambda: open_.right(realm, occasion))
        async with house.db.begin() as tx:
            seconded = await _write_down(tx, occasion, one_more, Event.REQUEST_SECONDED, realm.revision, right)
        return Told(seconded, Standing(reads=True, decides=True, due=False), realm.revision)

    def plan(now: Realm) -> Plan:
        _check_decides(request, open_.standing(now, occasion))
        _check_confirmed(now, occasion, open_, yes.terms)
        approved_now, grants = yes.said(now), yes.grants(now)
        if approved_now.ending is None:
            raise Conflict("Since a moment ago this takes a second approver. Approve it again: yours is the first yes.")
        right = open_.right(now, occasion)

        async def keep(tx: Transaction, revision: int) -> None:
            await requests.append(tx, approved_now, revision)

        return Plan(
            Event.REQUEST_APPROVED,
            tuple(Edit(Change(Grant, grant.id, grant), grant.version) for grant in grants),
            datasets=yes.terms.datasets,
            policies=tuple(grant.policy().id for grant in grants),
            details={**_details(approved_now), **right.details, "version": request.version},
            reason=comment or request.because,
            decided_sha256=right.digest,
            within=keep,
        )

    changed = await change_realm(house, occasion, plan)
    after = changed.before.after(changed.revision, [edit.change for edit in changed.edits])
    approved_then = await aside(lambda: yes.said(changed.before))
    kept = replace(approved_then, version=approved_then.version + 1)
    noted = await aside(lambda: notes(changed.before, after, kept, yes.requester, occasion.at))
    return Told(kept, _DECIDER, changed.revision, noted)


async def deny_request(house: House, occasion: Occasion, id_: str, reason: str, after_version: int | None) -> Told:
    """Say no, and why."""
    if not reason.strip():
        message = "Say why not, and what to do instead: whoever asked reads it."
        raise Invalid(message, [Fault("because", message)])
    open_, realm = await _decidable(house, occasion, id_, after_version)
    right = await aside(lambda: open_.right(realm, occasion))
    ended = _ended(open_.request, occasion, State.DENIED, reason, right.deputy_of)
    async with house.db.begin() as tx:
        kept = await _write_down(tx, occasion, ended, Event.REQUEST_DENIED, realm.revision, right)
    return Told(kept, _DECIDER, realm.revision)


async def withdraw_request(house: House, occasion: Occasion, id_: str, reason: str, after_version: int | None) -> Told:
    """Take one's own request back."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        told = await _find(house, realm, occasion, id_)
        if told.request.requester != occasion.subject:
            raise NotAllowed("Only whoever made a request withdraws it; you may deny it.")
    check_pending(told.request, occasion.at, after_version)
    ended = _ended(told.request, occasion, State.WITHDRAWN, reason)
    async with house.db.begin() as tx:
        kept = await _write_down(tx, occasion, ended, Event.REQUEST_WITHDRAWN, realm.revision)
    return Told(kept, _OWN, realm.revision)


def _ended(
    request: AccessRequest, occasion: Occasion, state: State, reason: str, deputy_of: Subject | None = None
) -> AccessRequest:
    return replace(request, ending=Ending(state, occasion.subject, occasion.at, reason, deputy_of))


@dataclass(frozen=True, slots=True)
class _Right:
    """The decision that the asker may decide on a request as it stands: its digest, and by whose right it is."""

    digest: str
    deputy_of: Subject | None
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Open:
    """A request that the asker may decide on, and those approvers whose deputy they are."""

    request: AccessRequest
    principals: tuple[SubjectState, ...]

    def standing(self, realm: Realm, occasion: Occasion) -> Standing:
        """What the asker is to it."""
        (found,) = standings(realm, occasion.asker, occasion.at, [self.request], self.principals)
        return found

    def acting(self, realm: Realm, occasion: Occasion) -> SubjectState:
        """By whose right the asker decides."""
        principal = self.standing(realm, occasion).deputy_of
        return next((each for each in self.principals if each.subject == principal), occasion.asker)

    def right(self, realm: Realm, occasion: Occasion) -> _Right:
        """The decision that the asker may decide on it."""
        acting = self.acting(realm, occasion)
        through = () if acting is occasion.asker else (acting,)
        lines = digest(right_to_decide(realm, occasion.asker, occasion.at, self.request, through))
        if not through:
            return _Right(lines, None, {})
        told = {"deputy_of": str(acting.subject), "about_states": {str(acting.subject): acting.digest}}
        return _Right(lines, acting.subject, told)


@dataclass(frozen=True, slots=True)
class _Yes:
    """What an approver says yes to, on this occasion."""

    occasion: Occasion
    open_: _Open
    terms: Terms
    requester: SubjectState
    approvers: Mapping[Subject, SubjectState]
    comment: str

    def said(self, realm: Realm) -> AccessRequest:
        """The request with this yes, if the realm allows for it. Whoever may no longer decide has not said yes."""
        occasion, at = self.occasion, self.occasion.at
        request = still_counted(realm, at, self.open_.request, self.approvers)
        deputy_of = self.open_.standing(realm, occasion).deputy_of
        check_another(request, occasion.subject, deputy_of)
        check_possible(realm, occasion.asker, at, request, self.terms, self.requester)
        yes = Approval(occasion.subject, at, self.comment, deputy_of)
        standing = granted_to(realm, request.requester)
        return approved(request, self.terms, yes, eyes_needed(realm, self.terms.datasets), standing)

    def grants(self, realm: Realm) -> tuple[Grant, ...]:
        """What it grants."""
        request = self.open_.request
        return grants_of(request, self.terms, granted_to(realm, request.requester))


async def _approvers(house: House, request: AccessRequest) -> Mapping[Subject, SubjectState]:
    """What was last known of those who have said yes, and of those in whose place."""
    async with house.db.begin() as tx:
        known = await subjects.newest_of_each(tx, {each for said in request.approvals for each in said.people})
    return {each.state.subject: each.state for each in known}


async def _principals(house: House, occasion: Occasion) -> tuple[SubjectState, ...]:
    """What is known of those in whose place the asker decides now."""
    async with house.db.begin() as tx:
        return tuple(each.state for each in await subjects.principals_of(tx, occasion.subject, occasion.at))


async def _decidable(house: House, occasion: Occasion, id_: str, after_version: int | None) -> tuple[_Open, Realm]:
    """The request, if the asker may decide on it now, and the realm by which they may."""
    realm = await house.realms.current()
    principals = await _principals(house, occasion)
    async with house.refusals_recorded(occasion, realm):
        told = await _found(house, realm, occasion, id_, principals)
        _check_decides(told.request, told.standing)
    check_pending(told.request, occasion.at, after_version)
    return _Open(told.request, principals), realm


def _check_decides(request: AccessRequest, standing: Standing) -> None:
    if standing.decides:
        return
    if not standing.reads:
        raise NotFound
    raise NotAllowed(
        f"You may read this request and not decide on it: that takes approve in {request.domain}, and somebody else's "
        "request."
    )


def _check_confirmed(realm: Realm, occasion: Occasion, open_: _Open, terms: Terms) -> None:
    """Cedar itself comes to the same decision about who approves."""
    acting, at = open_.acting(realm, occasion), occasion.at
    for name in terms.datasets:
        dataset = realm.resolve(name)
        if dataset is not None:
            (decision,) = decide_governing(realm, acting, Action.APPROVE, [dataset], at)
            check_governing(realm, acting, Action.APPROVE, dataset, at, decision)


async def _find(house: House, realm: Realm, occasion: Occasion, id_: str) -> Told:
    return await _found(house, realm, occasion, id_, await _principals(house, occasion))


async def _found(house: House, realm: Realm, occasion: Occasion, id_: str, principals: Sequence[SubjectState]) -> Told:
    async with house.db.begin() as tx:
        request = await requests.newest(tx, id_)
    if request is None:
        raise NotFound
    (standing,) = await aside(lambda: standings(realm, occasion.asker, occasion.at, [request], principals))
    if not standing.reads:
        raise NotFound
    return Told(request, standing, realm.revision)


async def _older(
    house: House, realm: Realm, occasion: Occasion, wish: Wish, before: str | None, *, alone: bool
) -> Sequence[AccessRequest]:
    """Some requests that may fit a wish: whoever has no right about others' requests is shown none of them.

    ``alone``: the asker is nobody's deputy.
    """
    policies = realm.concerning(occasion.asker)
    alone = alone and not any(policy.effect == "permit" and policy.actions & _DECIDING for policy in policies)
    async with house.db.begin() as tx:
        return await requests.older(
            tx,
            limit=_TOGETHER,
            before=before,
            since=id_floor(occasion.at - EXPIRES_AFTER) if wish.state is State.PENDING else None,
            requester=occasion.subject if alone or wish.mine else None,
        )


def _told(
    realm: Realm,
    occasion: Occasion,
    wish: Wish,
    batch: Sequence[AccessRequest],
    principals: Sequence[SubjectState],
) -> list[Told]:
    fitting = [request for request in batch if wish.state in {None, request.state(occasion.at)}]
    found = zip(fitting, standings(realm, occasion.asker, occasion.at, fitting, principals), strict=True)
    return [Told(each, standing, realm.revision) for each, standing in found if _fits(occasion, wish, each, standing)]


def _fits(occasion: Occasion, wish: Wish, request: AccessRequest, standing: Standing) -> bool:
    if wish.mine is None:
        return standing.reads
    return request.requester == occasion.subject if wish.mine else standing.due


async def _check_not_asked_yet(tx: Transaction, request: AccessRequest) -> None:
    """Refuse the same request twice, and more of them than anybody could decide on."""
    since = id_floor(request.at - EXPIRES_AFTER)
    own = await requests.older(tx, limit=1 + _TOGETHER, since=since, requester=request.requester)
    undecided = [each for each in own if each.state(request.at) is State.PENDING]
    if len(undecided) >= MOST_UNDECIDED:
        raise Conflict(f"You have {len(undecided)} undecided requests. Withdraw some, or wait for their decisions.")
    for each in undecided:
        if replace(each.terms, until=request.asked.until) == request.asked and each.purpose == request.purpose:
            detail = f"You have asked for this: see request {each.id}, or withdraw it and ask again."
            raise Conflict(detail, request=each.id)


async def _newest_state(house: House, request: AccessRequest) -> SubjectState:
    async with house.db.begin() as tx:
        seen = await subjects.newest_of(tx, request.requester)
    if seen is None:
        raise NotFound
    if not seen.active:
        raise Conflict(f"{request.requester} may not sign in to Muniment any more, so there is nothing to approve.")
    return seen.state


async def _write_down(
    tx: Transaction,
    occasion: Occasion,
    request: AccessRequest,
    event: Event,
    revision: int,
    right: _Right | None = None,
) -> AccessRequest:
    """Keep a version of a request that changes nothing in the realm, with its row.

    ``right`` is the decision that the asker may decide on it.
    """
    kept = await requests.append(tx, request, revision)
    told = row(
        occasion,
        event,
        Outcome.DONE,
        revision=revision,
        purpose=request.purpose,
        datasets=request.terms.datasets,
        decided_sha256=right.digest if right else None,
        evaluator=EVALUATOR if right else None,
        details={**_details(request), **(right.details if right else {}), "version": request.version},
    )
    await ledger.append(tx, [told])
    return kept


def _details(request: AccessRequest) -> dict[str, object]:
    """What the ledger tells of a request: its terms as they stand, why it was made, and why it ended so."""
    return {
        "request": request.id,
        "requester": str(request.requester),
        "actions": sorted(request.terms.actions),
        "environments": sorted(request.terms.environments),
        "until": request.terms.until.isoformat(),
        "because": request.because,
        "reason": request.ending.reason if request.ending else "",
    }
