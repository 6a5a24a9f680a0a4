"""``/v1/ledger/checkpoint``, ``keys``, ``seals``, ``proofs``: how anybody can hold the ledger to what it once said."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit, Page
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.flows import prove_rows

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

#: The largest number that Postgres counts rows with.
_MOST = 2**63 - 1

Size = Annotated[int, Query(ge=1, le=_MOST, description="How many rows the tree holds.")]


class KeyBody(Body):
    """A key that seals the ledger, in C2SP's form, since a checkpoint."""

    key: str
    number: int
    since: str


class KeysBody(Body):
    """The keys of the ledger, one announced by the other; the last one seals now."""

    keys: list[KeyBody]


class SealBody(Body):
    """A seal: rows ``first`` to ``size`` of the ledger, without the last, and the signed checkpoint."""

    number: int
    at: str
    first: int
    size: int
    checkpoint: str


class InclusionBody(Body):
    """A row's place in the tree of a checkpoint (RFC 6962, 2.1.1).

    The leaf is SHA-256 of a zero byte and ``entry``, in which ``who`` and ``details`` are hidden behind SHA-256 of one
    half of ``salt`` and what they hide.
    """

    id: str
    index: int
    size: int
    seal: int
    entry: str
    salt: str | None
    path: list[str]
    checkpoint: str


class ConsistencyBody(Body):
    """That a tree grew from another (RFC 6962, 2.1.2)."""

    first: int
    second: int
    path: list[str]


@router.get(
    "/checkpoint",
    response_class=Response,
    responses={200: {"description": "A C2SP signed note.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_checkpoint(house: Housed) -> Response:
    """The newest signed checkpoint: keep it, and nothing before it can be changed unnoticed."""
    return Response(await prove_rows.newest_checkpoint(house), media_type="text/plain")


@router.get("/keys")
async def get_seal_keys(house: Housed) -> KeysBody:
    """The keys that check the ledger's signatures: note the last one where the database's owner cannot change it."""
    found = await prove_rows.seal_keys(house)
    return KeysBody(keys=[KeyBody(key=e.key.text, number=e.number, since=write_moment(e.since)) for e in found])


@router.get("/seals")
async def get_seals(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[int, Query(ge=0, le=_MOST, description="The number of a seal; those after it are given.")] = 0,
) -> Page[SealBody]:
    """Seals in their order. They name nobody; that they were read is a row."""
    found, revision = await prove_rows.list_seals(house, asking, limit, after)
    stamp(response, revision=revision)
    items = [
        SealBody(number=e.number, at=write_moment(e.at), first=e.first, size=e.size, checkpoint=e.checkpoint)
        for e in found
    ]
    return Page(items=items, next=str(found[-1].number) if len(found) == limit else None)


@router.get("/proofs/inclusion")
async def get_inclusion(
    house: Housed,
    asking: Asking,
    response: Response,
    id: UUID | None = None,  # noqa: A002
    receipt: UUID | None = None,
) -> InclusionBody:
    """Proof that a row that you may read is sealed, as it is."""
    proof = await prove_rows.prove_inclusion(house, asking, id, receipt)
    stamp(response, revision=proof.revision)
    return InclusionBody(
        id=str(proof.id),
        index=proof.index,
        size=proof.checkpoint.checkpoint.size,
        seal=proof.seal,
        entry=proof.entry.decode(),
        salt=proof.salt.hex() if proof.salt is not None else None,
        path=[each.hex() for each in proof.path],
        checkpoint=proof.checkpoint.text,
    )


@router.get("/proofs/consistency")
async def get_consistency(
    house: Housed, asking: Asking, response: Response, first: Size, second: Size
) -> ConsistencyBody:
    """Proof that the ledger of a checkpoint is that of an earlier one, grown."""
    proof = await prove_rows.prove_consistency(house, asking, first, second)
    stamp(response, revision=proof.revision)
    return ConsistencyBody(first=first, second=second, path=[each.hex() for each in proof.path])
