"""An auditor looks at what is unusual in the ledger. That they looked is recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from muniment.core import unusual as core
from muniment.core.figures import EARLIEST
from muniment.core.grants import Grant
from muniment.core.ledger import Event, Outcome, row
from muniment.core.moments import write_moment
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.unusual import Idle, LastUse, Unusual
from muniment.core.visibility import may_govern
from muniment.flows.house import House, aside
from muniment.store import grants, ledger, subjects, unusual
from muniment.store.databases import Transaction

#: The longest window that is looked at, and the one that is where none is said.
LONGEST = timedelta(days=31)
USUAL = timedelta(days=7)
#: The most things that are told, the newest ones, and the most grants whose last hour is looked at.
MOST = 1000
_MOST_GRANTS = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """What stands out in a window, the newest first; ``untold`` things are more than are told."""

    found: tuple[Unusual, ...]
    untold: int
    since: datetime
    until: datetime
    revision: int


async def look_at_unusual(house: House, occasion: Occasion, since: datetime | None, until: datetime | None) -> Looked:
    """What is unusual in a window of at most a month, for those who audit everything."""
    end = min(until or occasion.at, occasion.at)
    begin = since or max(end, EARLIEST) - USUAL
    if begin < EARLIEST or not timedelta() < end - begin <= LONGEST:
        message = f"Look at a window of at most {LONGEST.days} days that has begun."
        raise Invalid(message, [Fault("since", message)])
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        if not await aside(lambda: may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, ROOT)):
            raise NotAllowed("To look at what is unusual you need audit on all: it compares everybody's days.")
    details = {"read": "unusual", "since": write_moment(begin), "until": write_moment(end)}
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    found = await _found(house, realm, begin, end)
    told = sorted(found, key=lambda each: (each.at, each.kind, each.subject or ""), reverse=True)
    return Looked(tuple(told[:MOST]), max(len(told) - MOST, 0), begin, end, realm.revision)


async def _found(house: House, realm: Realm, since: datetime, until: datetime) -> list[Unusual]:
    async with house.db.begin() as tx:
        days = await unusual.days(tx, since, until)
        uses = await unusual.first_uses(tx, since, until)
        addresses = await unusual.first_addresses(tx, since, until)
        clients = await unusual.first_clients(tx, since, until)
        refused = await unusual.refusals_in_a_row(tx, since, until, MOST)
        last = await _last_uses(tx, realm, since, until)
        idle = await _idle(tx, realm, until)
    return await aside(
        lambda: [
            *core.of_volumes(days, since),
            *core.of_first_uses(uses),
            *core.of_addresses(addresses),
            *core.of_clients(clients),
            *core.of_refusals(refused),
            *core.of_last_hours(last),
            *core.of_idle_grants(idle, until),
        ]
    )


async def _last_uses(tx: Transaction, realm: Realm, since: datetime, until: datetime) -> list[LastUse]:
    """The uses of what a grant gives, by those it is for, in its last hour, which may be this one."""
    found = []
    for grant, end in _ending(realm, since, until + core.LAST):
        used = await unusual.last_uses(tx, grant.on, end, MOST, on_dataset=grant.on_dataset)
        states = await subjects.of_digests(tx, {each.state for each in used})
        found += [
            LastUse(f"grant:{grant.id}", each.subject, each.dataset, each.count, each.at, end)
            for each in used
            if each.state in states and _is_for(realm, grant, states[each.state])
        ]
    return found


def _ending(realm: Realm, since: datetime, until: datetime) -> list[tuple[Grant, datetime]]:
    ending = [
        (grant, grant.until)
        for grant in realm.grants.values()
        if grant.until is not None and since <= grant.until <= until
    ]
    return sorted(ending, key=lambda each: (each[1], each[0].id), reverse=True)[:_MOST_GRANTS]


def _is_for(realm: Realm, grant: Grant, state: SubjectState) -> bool:
    return grant.to == str(state.subject) or grant.to in realm.all_groups_of(state)


async def _idle(tx: Transaction, realm: Realm, now: datetime) -> Iterable[Idle]:
    """The grants that are in force, to load or save, with when a checked run last rested on each."""
    standing = await grants.LINE.standing(tx)
    used = await ledger.last_settled(tx, (Event.PREFLIGHT_ALLOWED,), now - core.UNUSED)
    return [
        Idle(f"grant:{grant.id}", grant.to, standing[grant.id].since, used.get(f"grant:{grant.id}"))
        for grant in realm.grants.values()
        if grant.id in standing
        and (grant.until is None or grant.until > now)
        and grant.actions & {Action.LOAD, Action.SAVE}
    ]
