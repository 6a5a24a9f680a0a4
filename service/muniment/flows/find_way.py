"""Somebody comes to the pages and is shown the way to those where there is something for them to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.visibility import roles
from muniment.flows.house import House, aside

#: For how long it is believed at one revision: a rule may hold at some hours alone.
_BELIEVED: Final = timedelta(minutes=1)


async def governs(house: House, occasion: Occasion) -> frozenset[Action]:
    """The governing actions that the asker may do anywhere.

    It tells what to offer and nothing else: whatever is then done is decided on when it is done.
    """
    realm = await house.realms.current(occasion.revision)
    if not _may_govern(realm, occasion):
        return frozenset()
    key = ("governs", occasion.asker.digest)
    known = house.acquainted.get(realm.revision, key, occasion.at)
    if isinstance(known, frozenset):
        return known
    held = await aside(lambda: roles(realm, occasion.asker, occasion.at))
    found = frozenset(action for actions in held.values() for action in actions)
    house.acquainted.put(realm.revision, key, found, occasion.at + _BELIEVED)
    return found


def _may_govern(realm: Realm, occasion: Occasion) -> bool:
    """Whether any rule gives the asker such an action: for most people none does, and nothing is to be decided."""
    rules = realm.concerning(occasion.asker)
    return any(rule.effect == "permit" and not rule.actions.isdisjoint(GOVERNING_ACTIONS) for rule in rules)
