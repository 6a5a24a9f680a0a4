"""Saved views of the ledger, by their owners and names."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from muniment.core.views import View, read_question
from muniment.store.databases import Transaction
from muniment.store.tables import ledger_views


async def of_owner(tx: Transaction, owner: str) -> list[View]:
    """The views of a subject, by name."""
    return await _found(tx, ledger_views.c.owner == owner)


async def shared(tx: Transaction, *, but: str) -> list[View]:
    """The views that others than this subject share, by name."""
    return await _found(tx, ledger_views.c.shared & (ledger_views.c.owner != but))


async def of_name(tx: Transaction, owner: str, name: str) -> View | None:
    """One view of a subject."""
    found = await _found(tx, (ledger_views.c.owner == owner) & (ledger_views.c.name == name))
    return found[0] if found else None


async def count(tx: Transaction, owner: str) -> int:
    """How many views a subject keeps."""
    asked = select(func.count()).select_from(ledger_views).where(ledger_views.c.owner == owner)
    return int((await tx.execute(asked)).scalar_one())


async def put(tx: Transaction, view: View) -> None:
    """Keep a view, in the place of one of the same name."""
    values = {
        "owner": view.owner,
        "name": view.name,
        "question": view.question.told,
        "days": view.days,
        "shared": view.shared,
        "at": view.at,
    }
    adding = insert(ledger_views).values(values)
    kept = {name: adding.excluded[name] for name in ("question", "days", "shared", "at")}
    await tx.execute(adding.on_conflict_do_update(index_elements=["owner", "name"], set_=kept))


async def remove(tx: Transaction, owner: str, name: str) -> bool:
    """Remove a view; whether there was one."""
    gone = delete(ledger_views).where(ledger_views.c.owner == owner, ledger_views.c.name == name)
    return (await tx.execute(gone.returning(ledger_views.c.name))).one_or_none() is not None


async def _found(tx: Transaction, which: ColumnElement[bool]) -> list[View]:
    asked = select(ledger_views).where(which).order_by(ledger_views.c.name, ledger_views.c.owner)
    return [
        View(each.owner, each.name, read_question(each.question), each.days, each.shared, each.at)
        for each in await tx.execute(asked)
    ]
