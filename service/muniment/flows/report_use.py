"""A client tells what was used; each use becomes a row of the ledger, once.

It is a claim, and is written down as one (:mod:`muniment.core.uses`). The rows and the memory of which reports were
taken stand in one transaction: who is told that a report was taken finds it in the ledger, and who asks again because
the answer was lost, or at two workers at once, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muniment.core.environments import checked_known
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.uses import MOST_USES, Use, row_of
from muniment.flows.house import House
from muniment.store import ledger, uses


@dataclass(frozen=True, slots=True)
class Reported:
    """How many uses were written down now, and how many had been before, or were told twice."""

    recorded: int
    repeated: int
    revision: int


async def report_use(house: House, occasion: Occasion, told: Sequence[Use]) -> Reported:
    """Write down what the asker says that it used."""
    if len(told) > MOST_USES:
        message = f"At most {MOST_USES:,} uses can be reported at once."
        raise Invalid(message, [Fault("events", message)])
    said = {use.wanted(occasion.bounds) for use in told}
    confined = {wanted: await house.confined(occasion, wanted) for wanted in said}
    realm = await house.realms.current(occasion.revision)
    checked_known({use.environment for use in told if use.environment}, realm.environment_names, at="events")
    # Of two with one id the first counts, as it would if they came one after the other.
    each = {use.id: use for use in reversed(told)}
    async with house.db.begin() as tx:
        taken = await uses.take(tx, occasion.subject, each.keys(), occasion.at)
        new = [use for use in each.values() if use.id in taken]
        receipts = {use.claimed_receipt for use in new if use.claimed_receipt}
        given = await ledger.given(tx, occasion.subject, receipts)
        rows = [row_of(occasion, use, confined[use.wanted(occasion.bounds)], use.given_by(given)) for use in new]
        await ledger.append(tx, rows)
    return Reported(len(new), len(told) - len(new), realm.revision)
