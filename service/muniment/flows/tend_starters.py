"""Somebody looks at what projects can be made of, and where each part comes from; who administers it, adds to it.

What is offered is everybody's to see. Where it lies, what is wrong there, and how a package is added is told to whoever
administers everything. Nothing is written: the folder is the platform team's, and this service only reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Invalid
from muniment.core.starters.additions import USUAL_FOLDER, Addition, added
from muniment.core.starters.offers import Offer
from muniment.core.visibility import administers
from muniment.flows.house import House, aside
from muniment.store.starters import Standing


@dataclass(frozen=True, slots=True)
class Tended:
    """What is offered; for whoever looks after it also how the service stands to its folder, and what they add.

    Of an addition that cannot be, ``refused`` says why.
    """

    offer: Offer
    standing: Standing | None = None
    addition: Addition | None = None
    refused: Invalid | None = None


async def tend_starters(
    house: House, occasion: Occasion, said: Mapping[str, str] | None = None, *, always: bool = False
) -> Tended:
    """What is offered now; ``said`` is a package that is to be offered, for whoever may ask for that."""
    realm = await house.realms.current()
    tends = await aside(lambda: administers(realm, occasion.asker, occasion.at, ROOT))
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details={"read": "starters"})
    )
    shelf, standing = house.starters.shelf, house.starters.standing
    if not tends:
        return Tended(shelf.newest)
    if said is None:
        return Tended(shelf.newest, standing)
    try:
        folder = str(standing.folder or USUAL_FOLDER)
        addition = added(shelf.newest, folder, shelf.theirs.keys(), said, always=always)
    except Invalid as refused:
        return Tended(shelf.newest, standing, refused=refused)
    return Tended(shelf.newest, standing, addition)
