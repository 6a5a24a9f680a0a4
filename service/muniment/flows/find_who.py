"""Somebody asks who may do this: every known subject that may, and the policies that settled it.

Asked by those who audit, grant or administer there, about what they may ask of others
(:mod:`muniment.core.oversight`) today. Each subject is judged by its newest known state, whose age
the answer says; of the past, by the newest of then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.decisions import EVALUATOR, Wanted
from muniment.core.environments import checked_known
from muniment.core.findings import found_of
from muniment.core.judgements import Judged, digest_of_answers
from muniment.core.ledger import Event, Outcome, row
from muniment.core.moments import write_moment
from muniment.core.names import domain_of, is_domain
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversight, refusal
from muniment.core.problems import NotFound
from muniment.core.realm import Realm
from muniment.core.recorded_questions import Sought
from muniment.core.schema import Action
from muniment.core.searches import Deed, Governing, Use, permitted, who_may
from muniment.core.subjects import Subject
from muniment.core.visibility import find, may_name, not_served
from muniment.flows.house import House, aside
from muniment.flows.past import Point, all_known_then, past
from muniment.store import subjects
from muniment.store.subjects import Known


@dataclass(frozen=True, slots=True)
class Found:
    """A subject that may, why, and as of when it was last seen."""

    subject: Subject
    because: tuple[str, ...]
    reason: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Who:
    """A page of those who may, in the order of their names; ``notice`` says why nobody may, where that is so."""

    found: tuple[Found, ...]
    following: str | None
    subjects_known: int
    notice: str | None
    revision: int
    receipt: UUID


async def find_who_uses(
    house: House,
    occasion: Occasion,
    wanted: Wanted,
    action: Action,
    name: str,
    limit: int,
    after: str,
    point: Point | None = None,
) -> Who:
    """Who may discover, load or save a dataset in an environment; with ``point`` as of then."""
    realm = await house.realms.current()
    checked_known([wanted.environment], realm.environment_names)
    async with house.refusals_recorded(occasion, realm, name):
        today = await aside(lambda: _asked_of_others(realm, occasion, name, wanted))
        there = await _there(house, occasion, realm, point)
        checked_known([wanted.environment], there.realm.environment_names)
        dataset = today if there.realm is realm else there.realm.resolve(name)
        if dataset is None:
            raise NotFound
    deed = Use(action, dataset, wanted)
    # The reader is told of a successor that they may know of today.
    notice = None if action is Action.DISCOVER else await aside(lambda: _notice(realm, occasion, deed))
    return await _find(house, occasion, there, deed, limit, after, notice)


async def find_who_governs(
    house: House,
    occasion: Occasion,
    action: Action,
    on: str,
    limit: int,
    after: str,
    point: Point | None = None,
    *,
    on_dataset: bool,
) -> Who:
    """Who may do a governing action in a domain, or on a dataset; with ``point`` as of then."""
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm, *([on] if on_dataset else [])):
        await aside(lambda: _asked_of_others(realm, occasion, on) if on_dataset else _domain(realm, occasion, on))
        there = await _there(house, occasion, realm, point)
        thing = there.realm.resolve(on) if on_dataset else on
        if thing is None or (thing == on and on not in there.realm.domain_tree):
            raise NotFound
    return await _find(house, occasion, there, Governing(action, thing), limit, after, None)


@dataclass(frozen=True, slots=True)
class _There:
    """From where it is decided: a realm and a moment, and all who were known then, by their names."""

    realm: Realm
    at: datetime
    known: Mapping[str, Known]
    details: Mapping[str, object] = field(default_factory=dict)


async def _there(house: House, occasion: Occasion, realm: Realm, point: Point | None) -> _There:
    if point is None:
        async with house.db.begin() as tx:
            return _There(realm, occasion.at, _by_name(await subjects.newest(tx)))
    then = await past(house, occasion, point)
    known = _by_name(await all_known_then(house, then))
    return _There(then.realm, then.at, known, {**then.details, "until": write_moment(then.until)})


def _by_name(known: Iterable[Known]) -> Mapping[str, Known]:
    """In the order of their names as texts, whatever the database's is: a page begins after one."""
    named = {str(each.state.subject): each for each in known}
    return {name: named[name] for name in sorted(named)}


def _asked_of_others(realm: Realm, occasion: Occasion, name: str, wanted: Wanted | None = None) -> Dataset:
    """The dataset of which the asker may ask who may; the answer to others is the one to those who ask about it."""
    known = find(realm, occasion.asker, occasion.at, name, wanted)
    if not may_name(name):
        raise NotFound
    domain = domain_of(name)
    places = oversight(realm, occasion.asker, occasion.at, [domain])
    dataset = realm.resolve(name) if domain in places.audited else known
    if dataset is None:
        raise NotFound
    if not places.covers(domain):
        raise refusal(domain)
    return dataset


def _domain(realm: Realm, occasion: Occasion, domain: str) -> None:
    """Refuse those who may not ask about others in a domain, whether there is one or not.

    Below a domain about which they may ask, one that is shut to them is one that nobody made.
    """
    if not is_domain(domain):
        raise NotFound
    places = oversight(realm, occasion.asker, occasion.at, [domain])
    if not places.reaches(domain):
        raise refusal(domain)
    if not places.covers(domain):
        raise NotFound


async def _find(
    house: House, occasion: Occasion, there: _There, deed: Deed, limit: int, after: str, notice: str | None
) -> Who:
    asked = [each.state for name, each in there.known.items() if name > after]
    page = await aside(lambda: tuple(islice(who_may(there.realm, asked, there.at, deed), limit + 1)))
    given = page[:limit]
    found = tuple(
        Found(
            about.subject,
            decision.because,
            permitted(there.realm, about, deed.action, decision),
            there.known[str(about.subject)].seen_at,
        )
        for about, decision in given
    )
    lines = [found_of(deed, about, decision.because) for about, decision in given]
    told = {"found_states": [about.digest for about, _ in given], "limit": limit, "after": after}
    await _record(house, occasion, there, deed, lines, told)
    following = str(found[-1].subject) if len(page) > limit else None
    return Who(found, following, len(there.known), notice, there.realm.revision, occasion.receipt)


def _notice(realm: Realm, occasion: Occasion, use: Use) -> str | None:
    """Why nobody may, whatever the policies say: nobody uses what is not served."""
    return not_served(realm, occasion.asker, occasion.at, use.dataset, use.wanted)


async def _record(
    house: House,
    occasion: Occasion,
    there: _There,
    deed: Deed,
    found: Sequence[Judged],
    told: Mapping[str, object],
) -> None:
    wanted = deed.wanted if isinstance(deed, Use) else None
    await house.ledger.record(
        row(
            occasion,
            Event.ACCESS_SEARCHED,
            Outcome.ALLOWED,
            revision=there.realm.revision,
            environment=wanted.environment if wanted else None,
            project=wanted.project if wanted else None,
            purpose=wanted.purpose if wanted else None,
            datasets=() if deed.dataset is None else (deed.dataset.name,),
            policies=tuple(sorted({id_ for each in found for id_ in each.because})),
            decided_sha256=digest_of_answers(found),
            evaluator=EVALUATOR,
            details={
                "for": Sought.SUBJECTS,
                "action": deed.action,
                "domain": deed.domain,
                "found": [each.about for each in found],
                **told,
                **there.details,
            },
        )
    )
