"""An auditor reads the ledger; anybody reads what it holds about themselves. The reading is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from muniment.core.ledger import Event, Outcome, Question, Row, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
from muniment.flows.house import House, aside
from muniment.store import ledger


async def review_ledger(
    house: House, occasion: Occasion, question: Question, limit: int, after: str | None
) -> tuple[Sequence[Row], str | None, int]:
    """A page of rows, the newest first, and where the next begins."""
    realm = await house.realms.current()
    own = question.subject == str(occasion.subject)
    async with house.refusals_recorded(occasion, realm):
        if not own and not await aside(lambda: may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, ROOT)):
            raise NotAllowed(
                f"You may read what the ledger holds about yourself (subject={occasion.subject}); "
                "to read about everybody you need audit on all."
            )
    await house.ledger.record(
        row(
            occasion,
            Event.LEDGER_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={
                name: str(value)
                for name in ("subject", "dataset", "event", "receipt", "run", "since", "until")
                if (value := getattr(question, name)) is not None
            },
        )
    )
    async with house.db.begin() as tx:
        rows, following = await ledger.reading(tx, question, limit=limit, after=after)
    return rows, following, realm.revision
