"""Whoever reads the ledger keeps questions that they ask again, and shares them with those who audit everything.

What is kept is a question and never an answer: each time it is asked, it is answered by the rights of then. To keep a
view and to remove one is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muniment.core.ledger import Event, Outcome, Question, row
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.views import MOST_VIEWS, View, checked_days, checked_name
from muniment.core.visibility import may_govern
from muniment.flows.house import House, aside
from muniment.store import ledger, views


@dataclass(frozen=True, slots=True)
class Views:
    """One's own views, and those that others share; ``shares`` says whether one may share one's own."""

    own: Sequence[View]
    shared: Sequence[View]
    shares: bool
    revision: int


async def list_views(house: House, occasion: Occasion) -> Views:
    """The views that somebody may use."""
    realm = await house.realms.current()
    everything = await _audits_all(realm, occasion)
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details={"read": "views"})
    )
    subject = str(occasion.subject)
    async with house.db.begin() as tx:
        own = await views.of_owner(tx, subject)
        shared = await views.shared(tx, but=subject) if everything else []
    return Views(own, shared, everything, realm.revision)


async def save_view(
    house: House, occasion: Occasion, name: str, question: Question, days: int | None, *, shared: bool
) -> tuple[View, int]:
    """Keep a question by a name, in the place of one's view of that name."""
    realm = await house.realms.current()
    view = View(str(occasion.subject), checked_name(name), question, checked_days(question, days), shared, occasion.at)
    async with house.refusals_recorded(occasion, realm):
        if shared and not await _audits_all(realm, occasion):
            raise NotAllowed("To share a view you need audit on all: keep it for yourself, or have it shared for you.")
    async with house.db.begin() as tx:
        if await views.of_name(tx, view.owner, name) is None and await views.count(tx, view.owner) >= MOST_VIEWS:
            message = f"You keep {MOST_VIEWS} views already; remove one first."
            raise Invalid(message, [Fault("name", message)])
        await views.put(tx, view)
        details = {"name": name, "shared": shared, "days": days, "question": question.told}
        await ledger.append(
            tx, [row(occasion, Event.VIEW_SAVED, Outcome.DONE, revision=realm.revision, details=details)]
        )
    return view, realm.revision


async def remove_view(house: House, occasion: Occasion, name: str) -> int:
    """Remove one's view of a name; gives the revision of the realm."""
    checked_name(name)
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm), house.db.begin() as tx:
        if not await views.remove(tx, str(occasion.subject), name):
            raise NotFound
        removed = row(occasion, Event.VIEW_REMOVED, Outcome.DONE, revision=realm.revision, details={"name": name})
        await ledger.append(tx, [removed])
    return realm.revision


async def _audits_all(realm: Realm, occasion: Occasion) -> bool:
    return await aside(lambda: may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, ROOT))
