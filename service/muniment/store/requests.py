"""Lines of requests for access.

Unlike the nouns of the realm they belong to no revision, and a line never ends: what was
asked stays readable. Two who decide at once collide on the next version, as two editors do.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert

from muniment.core.problems import StaleEdit
from muniment.core.requests import ESCALATES_AFTER, AccessRequest, Approval, Ending, State, Terms
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.store.databases import Transaction
from muniment.store.tables import requests


async def append(tx: Transaction, request: AccessRequest, revision: int) -> AccessRequest:
    """Add the version that follows the one this request has; gives it with its number.

    Raises :class:`StaleEdit` when somebody has added one meanwhile.
    """
    written = replace(request, version=request.version + 1)
    row = {
        "key": written.id,
        "version": written.version,
        "revision": revision,
        "requester": str(written.requester),
        "body": _write(written),
    }
    statement = insert(requests).values(row).on_conflict_do_nothing().returning(requests.c.version)
    if (await tx.execute(statement)).scalar_one_or_none() is None:
        detail = "Somebody decided on this request at the same time. Read it again, then decide."
        raise StaleEdit(detail, version=written.version)
    return written


async def newest(tx: Transaction, id_: str) -> AccessRequest | None:
    """A request as it stands."""
    question = select(requests).where(requests.c.key == id_).order_by(requests.c.version.desc()).limit(1)
    row = (await tx.execute(question)).one_or_none()
    return _read(row) if row is not None else None


async def of_version(tx: Transaction, id_: str, version: int) -> AccessRequest | None:
    """A request as it stood in one of its versions."""
    question = select(requests).where(requests.c.key == id_, requests.c.version == version)
    row = (await tx.execute(question)).one_or_none()
    return _read(row) if row is not None else None


async def older(
    tx: Transaction,
    *,
    limit: int,
    before: str | None = None,
    since: str | None = None,
    requester: Subject | None = None,
) -> list[AccessRequest]:
    """Requests as they stand, the newest first: those before an id, from another on, of one subject."""
    question = select(requests).ext(distinct_on(requests.c.key))
    if before is not None:
        question = question.where(requests.c.key < before)
    if since is not None:
        question = question.where(requests.c.key >= since)
    if requester is not None:
        question = question.where(requests.c.requester == str(requester))
    question = question.order_by(requests.c.key.desc(), requests.c.version.desc()).limit(limit)
    return [_read(row) for row in await tx.execute(question)]


def _write(request: AccessRequest) -> dict[str, object]:
    return {
        "asked": _terms(request.asked),
        "narrowed": _terms(request.narrowed) if request.narrowed else None,
        "because": request.because,
        "purpose": request.purpose,
        "at": request.at,
        "eyes": request.eyes,
        "approvals": [
            {
                "by": str(approval.by),
                "at": approval.at,
                "comment": approval.comment,
                "deputy_of": _named(approval.deputy_of),
            }
            for approval in request.approvals
        ],
        "ending": {
            "state": request.ending.state,
            "by": str(request.ending.by),
            "at": request.ending.at,
            "reason": request.ending.reason,
            "deputy_of": _named(request.ending.deputy_of),
        }
        if request.ending
        else None,
        "grants": request.grants,
        "escalates_after": request.escalates_after.total_seconds(),
    }


def _named(subject: Subject | None) -> str | None:
    return None if subject is None else str(subject)


def _terms(terms: Terms) -> dict[str, object]:
    return {
        "actions": sorted(terms.actions),
        "datasets": terms.datasets,
        "environments": sorted(terms.environments),
        "until": terms.until,
    }


def _read(row: Any) -> AccessRequest:
    body = row.body
    return AccessRequest(
        id=row.key,
        requester=Subject.parse(row.requester),
        asked=_read_terms(body["asked"]),
        narrowed=_read_terms(body["narrowed"]) if body["narrowed"] else None,
        because=body["because"],
        purpose=body["purpose"],
        at=datetime.fromisoformat(body["at"]),
        eyes=body["eyes"],
        approvals=tuple(
            Approval(
                Subject.parse(each["by"]), datetime.fromisoformat(each["at"]), each["comment"], _read_deputy_of(each)
            )
            for each in body["approvals"]
        ),
        ending=_read_ending(body["ending"]) if body["ending"] else None,
        grants=tuple(body["grants"]),
        version=row.version,
        # Those that were written before this could be set waited so long.
        escalates_after=timedelta(seconds=body.get("escalates_after", ESCALATES_AFTER.total_seconds())),
    )


def _read_terms(body: Any) -> Terms:
    return Terms(
        actions=frozenset(map(Action, body["actions"])),
        datasets=tuple(body["datasets"]),
        environments=frozenset(body["environments"]),
        until=datetime.fromisoformat(body["until"]),
    )


def _read_ending(body: Any) -> Ending:
    return Ending(
        State(body["state"]),
        Subject.parse(body["by"]),
        datetime.fromisoformat(body["at"]),
        body["reason"],
        _read_deputy_of(body),
    )


def _read_deputy_of(body: Any) -> Subject | None:
    principal = body.get("deputy_of")
    return Subject.parse(principal) if principal else None
