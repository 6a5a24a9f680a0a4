"""Somebody asks for access to data; somebody else decides. The approval is the grant.

A request is asked, read, and decided on by those whom it has come to; whoever made it may
take it back. Nobody approves what they asked for. What an approval grants goes through
:mod:`change_realm <muniment.flows.change_realm>`, in one transaction with the request's
new state, and is written down once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from muniment.core.decisions import EVALUATOR, Wanted, decide_governing
from muniment.core.environments import checked_known
from muniment.core.grants import Grant
from muniment.core.identifiers import derived
from muniment.core.judgements import digest
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.requests import (
    EXPIRES_AFTER,
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
from muniment.flows.change_realm import Edit, Plan, change_realm
from muniment.flows.house import House, aside
from muniment.store import ledger, requests, subjects
from muniment.store.databases import Transaction

#: How many requests are looked at together for those that a reader may be told of.
_TOGETHER = 500

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
        id=str(derived(occasion.request_id, "request")),
        requester=occasion.subject,
        asked=sound,
        because=because,
        purpose=purpose,
        at=occasion.at,
        eyes=eyes_needed(realm, sound.datasets),
    )
    async with house.refusals_recorded(occasion, realm, *sound.datasets):
        await aside(lambda: check_worth_asking(realm, occasion.asker, request))
    async with house.db.begin() as tx:
        await _check_not_asked_yet(tx, request)
        made = await _write_down(tx, occasion, request, Event.REQUEST_MADE, realm.revision)
    return Told(made, _OWN, realm.revision)


async def list_requests(
    house: House, occasion: Occasion, wish: Wish, limit: int, after: str | None
) -> tuple[Sequence[Told], str | None, int]:
    """The asker's own requests, and those of others that have come to them or that they audit; the newest first."""
    realm = await house.realms.current()
    found: list[Told] = []
    before = after
    while len(found) <= limit:
        batch = await _older(house, realm, occasion, wish, before)
        if not batch:
            break
        before = batch[-1].id
        found.extend(await aside(partial(_told, realm, occasion, wish, batch)))
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


async def approve_request(
    house: House, occasion: Occasion, id_: str, narrowing: Narrowing, comment: str, after_version: int | None
) -> Told:
    """Say yes to a request, or to a part of it.

    Where it needs another's yes too, this one is kept; else the grants stand when this
    returns. Judged by the realm that the grants are put into: if the world has moved on,
    the refusal says how.
    """
    request, realm = await _decidable(house, occasion, id_, after_version)
    requester = await _newest_state(house, request)
    approvers = await _approvers(house, request)
    terms = narrowed(request.terms, narrowing, occasion.at)
    async with house.refusals_recorded(occasion, realm, *terms.datasets):
        one_more = await aside(lambda: _approved(realm, occasion, request, terms, requester, approvers, comment))
    if one_more.ending is None:
        right = await aside(partial(_right, realm, occasion, request))
        async with house.db.begin() as tx:
            seconded = await _write_down(tx, occasion, one_more, Event.REQUEST_SECONDED, realm.revision, right)
        return Told(seconded, Standing(reads=True, decides=True, due=False), realm.revision)
    grants = grants_of(request, terms)

    def plan(now: Realm) -> Plan:
        (standing,) = standings(now, occasion.asker, occasion.at, [request])
        _check_decides(request, standing)
        _check_confirmed(now, occasion, terms)
        if _approved(now, occasion, request, terms, requester, approvers, comment).ending is None:
            raise Conflict("Since a moment ago this takes a second approver. Approve it again: yours is the first yes.")
        return Plan(
            Event.REQUEST_APPROVED,
            tuple(Edit(Change(Grant, grant.id, grant), 0) for grant in grants),
            datasets=terms.datasets,
            policies=tuple(grant.policy().id for grant in grants),
            details={**_details(one_more), "version": request.version},
            reason=comment or request.because,
            decided_sha256=_right(now, occasion, request),
            within=keep,
        )

    async def keep(tx: Transaction, revision: int) -> None:
        await requests.append(tx, one_more, revision)

    changed = await change_realm(house, occasion, plan)
    after = changed.before.after(changed.revision, [Change(Grant, grant.id, grant) for grant in grants])
    kept = replace(one_more, version=one_more.version + 1)
    noted = await aside(lambda: notes(changed.before, after, kept, requester, occasion.at))
    return Told(kept, _DECIDER, changed.revision, noted)


async def deny_request(house: House, occasion: Occasion, id_: str, reason: str, after_version: int | None) -> Told:
    """Say no, and why."""
    if not reason.strip():
        message = "Say why not, and what to do instead: whoever asked reads it."
        raise Invalid(message, [Fault("because", message)])
    request, realm = await _decidable(house, occasion, id_, after_version)
    right = await aside(partial(_right, realm, occasion, request))
    ended = _ended(request, occasion, State.DENIED, reason)
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


def _ended(request: AccessRequest, occasion: Occasion, state: State, reason: str) -> AccessRequest:
    return replace(request, ending=Ending(state, occasion.subject, occasion.at, reason))


def _right(realm: Realm, occasion: Occasion, request: AccessRequest) -> str:
    """The digest of the decision that the asker may decide on a request as it stands."""
    return digest(right_to_decide(realm, occasion.asker, occasion.at, request))


def _approved(
    realm: Realm,
    occasion: Occasion,
    request: AccessRequest,
    terms: Terms,
    requester: SubjectState,
    approvers: Mapping[Subject, SubjectState],
    comment: str,
) -> AccessRequest:
    """The request with this yes, if the realm still allows for it. Whoever may no longer decide has not said yes."""
    request = still_counted(realm, occasion.at, request, approvers)
    check_another(request, occasion.subject)
    check_possible(realm, occasion.asker, occasion.at, request, terms, requester)
    yes = Approval(occasion.subject, occasion.at, comment)
    return approved(request, terms, yes, eyes_needed(realm, terms.datasets))


async def _approvers(house: House, request: AccessRequest) -> Mapping[Subject, SubjectState]:
    """What was last known of those who have said yes."""
    async with house.db.begin() as tx:
        known = await subjects.newest_of_each(tx, [approval.by for approval in request.approvals])
    return {each.state.subject: each.state for each in known}


async def _decidable(
    house: House, occasion: Occasion, id_: str, after_version: int | None
) -> tuple[AccessRequest, Realm]:
    """The request, if the asker may decide on it now, and the realm by which they may."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        told = await _find(house, realm, occasion, id_)
        _check_decides(told.request, told.standing)
    check_pending(told.request, occasion.at, after_version)
    return told.request, realm


def _check_decides(request: AccessRequest, standing: Standing) -> None:
    if standing.decides:
        return
    if not standing.reads:
        raise NotFound
    raise NotAllowed(
        f"You may read this request and not decide on it: that takes approve in {request.domain}, and somebody else's "
        "request."
    )


def _check_confirmed(realm: Realm, occasion: Occasion, terms: Terms) -> None:
    """Cedar itself comes to the same decision about who approves."""
    asker, at = occasion.asker, occasion.at
    for name in terms.datasets:
        dataset = realm.resolve(name)
        if dataset is not None:
            (decision,) = decide_governing(realm, asker, Action.APPROVE, [dataset], at)
            check_governing(realm, asker, Action.APPROVE, dataset, at, decision)


async def _find(house: House, realm: Realm, occasion: Occasion, id_: str) -> Told:
    async with house.db.begin() as tx:
        request = await requests.newest(tx, id_)
    if request is None:
        raise NotFound
    (standing,) = await aside(lambda: standings(realm, occasion.asker, occasion.at, [request]))
    if not standing.reads:
        raise NotFound
    return Told(request, standing, realm.revision)


async def _older(
    house: House, realm: Realm, occasion: Occasion, wish: Wish, before: str | None
) -> Sequence[AccessRequest]:
    """Some requests that may fit a wish: whoever has no right about others' requests is shown none of them."""
    policies = realm.concerning(occasion.asker)
    alone = not any(policy.effect == "permit" and policy.actions & _DECIDING for policy in policies)
    async with house.db.begin() as tx:
        return await requests.older(
            tx,
            limit=_TOGETHER,
            before=before,
            since=id_floor(occasion.at - EXPIRES_AFTER) if wish.state is State.PENDING else None,
            requester=occasion.subject if alone or wish.mine else None,
        )


def _told(realm: Realm, occasion: Occasion, wish: Wish, batch: Sequence[AccessRequest]) -> list[Told]:
    fitting = [request for request in batch if wish.state in {None, request.state(occasion.at)}]
    found = zip(fitting, standings(realm, occasion.asker, occasion.at, fitting), strict=True)
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
            raise Conflict(f"You have asked for this: see request {each.id}, or withdraw it and ask again.")


async def _newest_state(house: House, request: AccessRequest) -> SubjectState:
    async with house.db.begin() as tx:
        seen = await subjects.newest_of(tx, request.requester)
    if seen is None:
        raise NotFound
    if not seen.active:
        raise Conflict(f"{request.requester} may not sign in to Muniment any more, so there is nothing to approve.")
    return seen.state


async def _write_down(
    tx: Transaction, occasion: Occasion, request: AccessRequest, event: Event, revision: int, right: str | None = None
) -> AccessRequest:
    """Keep a version of a request that changes nothing in the realm, with its row.

    ``right`` is the digest of the decision that the asker may decide on it.
    """
    kept = await requests.append(tx, request, revision)
    told = row(
        occasion,
        event,
        Outcome.DONE,
        revision=revision,
        purpose=request.purpose,
        datasets=request.terms.datasets,
        decided_sha256=right,
        evaluator=EVALUATOR if right else None,
        details={**_details(request), "version": request.version},
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
