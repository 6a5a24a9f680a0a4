"""Whoever keeps the ledger erases a person from it, at their request (GDPR, article 17), and its proof holds.

Rows go a thousand at once, each thousand in one transaction with the signed row that tells of
it; what stands beside the ledger goes last. Interrupted anywhere, the next attempt goes on
with what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import orjson

from muniment.core.erasures import MOST_IN_ONE, Erasure, Names, copies, erasure_of, record
from muniment.core.holds import reason_checked
from muniment.core.identifiers import at_moment, derived
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid
from muniment.core.subjects import Kind, Subject
from muniment.identity.seal_keys import SealKeys
from muniment.store import erasures, holds, ledger, partitions, seals
from muniment.store.databases import Database, Transaction
from muniment.store.partitions import Maintenance, Month, Stands

Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Request:
    """Who is to be erased, and why; ``account`` is whose at the machine it was."""

    subject: str
    because: str
    account: str


@dataclass(slots=True)
class Erased:
    """What was erased, or would be: rows by what goes of them, tables beside the ledger, and what still names them."""

    who: int = 0
    details: int = 0
    records: int = 0
    beside: Mapping[str, int] = field(default_factory=dict)
    remaining: Mapping[str, int] = field(default_factory=dict)


async def erase_person(
    db: Database,
    maintenance: Maintenance,
    keys: SealKeys,
    occasion: Occasion,
    request: Request,
    *,
    dry_run: bool = False,
) -> Erased:
    """Erase a person; with ``dry_run`` only find out what that would be.

    :class:`Conflict` where a hold is on one of the rows, or a provider says that the person is still there.
    """
    months, names, digests = await _prepared(db, request)
    erased, touched = Erased(), []
    for month in months:
        async with db.begin() as tx:
            places = await erasures.naming(tx, names, month.begin, month.end)
            await _refuse_held(tx, places)
        before = erased.who + erased.details
        for begin in range(0, len(places), MOST_IN_ONE):
            await _erase(
                db, keys, occasion, request, names, places[begin : begin + MOST_IN_ONE], erased, dry_run=dry_run
            )
        touched += [month.table] if erased.who + erased.details > before else []
    if not dry_run:
        await _forget(db, keys, occasion, request, digests, erased)
        await maintenance.vacuum([*touched, *erased.beside])
    async with db.begin() as tx:
        erased.remaining = await erasures.remaining(tx, request.subject)
    return erased


async def _prepared(db: Database, request: Request) -> tuple[Sequence[Month], Names, Sequence[str]]:
    """The months, and what names the person; refused where they cannot be erased."""
    reason_checked(request.because)
    if Subject.parse(request.subject).kind is not Kind.USER:
        message = "People are erased: user:ID. A service is no person."
        raise Invalid(message, [Fault("subject", message)])
    async with db.begin() as tx:
        names, digests = await erasures.known(tx, request.subject)
        if names.in_text(request.because):
            message = (
                "The reason names the person, and it stays: write it without, such as the number of their request."
            )
            raise Invalid(message, [Fault("because", message)])
        if await erasures.is_provisioned(tx, request.subject):
            raise Conflict(
                f"A provider still provisions {request.subject}, and would tell of them again. Let it remove them, "
                "or say that they are inactive, and try again."
            )
        held = [hold for hold in await holds.in_force(tx) if hold.subject == request.subject]
        if held:
            raise Conflict(f"{request.subject} is held ({held[0].id}: {held[0].because}), so nothing of them goes.")
        months = [month for month in await partitions.months(tx) if month.stands is Stands.WHOLE]
    return months, names, digests


async def _refuse_held(tx: Transaction, places: Sequence[Place]) -> None:
    if not places:
        return
    found = await holds.touching_rows(tx, await holds.in_force(tx), places)
    if found:
        raise Conflict(
            f"A hold ({found[0].id}: {found[0].because}) is on {found[0].words}, and on rows that would be erased. "
            "Release it first, if that may be."
        )


async def _erase(
    db: Database,
    keys: SealKeys,
    occasion: Occasion,
    request: Request,
    names: Names,
    places: Sequence[Place],
    erased: Erased,
    *,
    dry_run: bool,
) -> None:
    """Erase some rows, and tell of it, in one transaction."""
    async with db.begin() as tx:
        stored = await seals.rows_placed(tx, places)
        found = [each for each in (erasure_of(one, orjson.loads(one.details), names) for one in stored) if each]
        if found and not dry_run:
            erased.records += 1
            occasion = await _now(tx, occasion)
            told = [_record(keys, occasion, request, erased.records, record(found))]
            if copied := copies(found):
                erased.records += 1
                told.append(_copy(occasion, erased.records, {"record": str(told[0].id), "copies": copied}))
            await ledger.append(tx, told)
            await _all_erased(tx, found)
    erased.who += sum(each.who is not None for each in found)
    erased.details += sum(each.told is not None for each in found)


async def _all_erased(tx: Transaction, found: Sequence[Erasure]) -> None:
    if await erasures.erase(tx, found) != len(found):
        raise Conflict("Rows went away while they were erased, so these were not. Try again.")


async def _forget(
    db: Database, keys: SealKeys, occasion: Occasion, request: Request, digests: Sequence[str], erased: Erased
) -> None:
    """Remove what stands beside the ledger, and tell how much that was."""
    async with db.begin() as tx:
        erased.beside = await erasures.forget(tx, request.subject, digests)
        if erased.beside:
            erased.records += 1
            details = {"who": [], "details": [], "beside": dict(erased.beside)}
            occasion = await _now(tx, occasion)
            await ledger.append(tx, [_record(keys, occasion, request, erased.records, details)])


async def _now(tx: Transaction, occasion: Occasion) -> Occasion:
    """The occasion as of now: to look through a ledger takes its time, and a row tells when it was written."""
    at = (await seals.snapshot(tx)).at
    return replace(occasion, at=at, request_id=at_moment(occasion.request_id, at))


def _record(keys: SealKeys, occasion: Occasion, request: Request, number: int, details: Mapping[str, object]) -> Row:
    """The signed row by which others may lack what they held."""
    told = {**details, "because": request.because, "account": request.account}
    return _copy(occasion, number, keys.signed(told))


def _copy(occasion: Occasion, number: int, details: Mapping[str, object]) -> Row:
    made = row(occasion, Event.LEDGER_ERASED, Outcome.DONE, details=details)
    return replace(made, id=derived(occasion.request_id, f"erased {number}"))
