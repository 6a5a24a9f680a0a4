"""The links by which somebody can become the first administrator; only the digests of their secrets are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from muniment.store.tables import beginnings


async def offer(tx: AsyncConnection, secret_sha256: bytes, ends_at: datetime) -> None:
    """Keep a link until it is taken or ends. Those of earlier starts stand beside it."""
    await tx.execute(insert(beginnings).values(secret_sha256=secret_sha256, ends_at=ends_at))


async def stands(tx: AsyncConnection, secret_sha256: bytes, at: datetime) -> bool:
    """Whether a link with this secret can be taken."""
    question = select(beginnings.c.ends_at).where(
        beginnings.c.secret_sha256 == secret_sha256, beginnings.c.ends_at > at
    )
    return (await tx.execute(question)).first() is not None


async def end_all(tx: AsyncConnection) -> None:
    """Nobody can take any of them any more."""
    await tx.execute(delete(beginnings))
