"""Which issuer each name means: stored at first use, and the same ever after.

Ids of subjects and groups carry the name, and the ledger speaks of them; a name that
came to mean another issuer would hand one person's rights to another.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.core.problems import CannotStart
from muniment.store.tables import issuers


async def hold(tx: AsyncConnection, configured: Mapping[str, str]) -> None:
    """Store the names that are new, with their URLs; :class:`CannotStart` when a pair has changed."""
    held = {row.name: row.issuer for row in await tx.execute(select(issuers).order_by(issuers.c.name))}
    for name, issuer in configured.items():
        _refuse_moved(name, issuer, held)
        _refuse_renamed(name, issuer, held, configured)
    new = [{"name": name, "issuer": issuer} for name, issuer in sorted(configured.items()) if name not in held]
    if new:
        await tx.execute(insert(issuers).on_conflict_do_nothing(), new)


async def names(tx: AsyncConnection) -> frozenset[str]:
    """Every name that was ever used, those no longer configured included."""
    return frozenset(await tx.scalars(select(issuers.c.name)))


def _refuse_moved(name: str, issuer: str, held: Mapping[str, str]) -> None:
    if held.get(name, issuer) != issuer:
        message = (
            f"The issuer {name!r} in MUNIMENT_ISSUERS was {held[name]} when it was first used, and is {issuer} now. "
            f"The ids of its subjects are known under that name: set {held[name]} again, or give the new issuer a "
            "name of its own."
        )
        raise CannotStart(message)


def _refuse_renamed(name: str, issuer: str, held: Mapping[str, str], configured: Mapping[str, str]) -> None:
    before = next((known for known, url in held.items() if url == issuer and known not in configured), None)
    if name not in held and before is not None:
        message = (
            f"The issuer {issuer} in MUNIMENT_ISSUERS was named {before!r} when it was first used, and is named "
            f"{name!r} now. The ids of its subjects are known under the first name: name it {before!r} again."
        )
        raise CannotStart(message)
