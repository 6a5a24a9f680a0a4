"""An administrator makes, changes or ends a local group; the provider's groups are read-only here."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from muniment.core.groups import Group, checked
from muniment.core.ledger import Event
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House
from muniment.store import subjects
from muniment.store.databases import Transaction


async def edit_group(
    house: House, occasion: Occasion, proposed: Group, after_version: int, tried: int | None = None
) -> Kept[Group]:
    """Put a local group as it shall be. It may not take the name of a group that a provider has sent.

    ``tried``, here and below, is the revision at which its author saw what the change would do, if they did.
    """
    planner = await planner_of_group(house, occasion, proposed, after_version)
    return (await change_realm(house, occasion, planner, tried)).only(Group)


async def end_group(house: House, occasion: Occasion, name: str, after_version: int, tried: int | None = None) -> int:
    """End a local group; its members keep what other groups give them. Gives the revision."""
    return (await change_realm(house, occasion, plan_group_end(occasion, name, after_version), tried)).revision


async def planner_of_group(house: House, occasion: Occasion, proposed: Group, after_version: int) -> Planner:
    """Making a local group, or changing it, beside the names that providers have sent by now."""
    async with house.db.begin() as tx:
        providers = await subjects.provider_groups(tx, [proposed.name])
    return plan_group(occasion, proposed, after_version, providers)


def plan_group(occasion: Occasion, proposed: Group, after_version: int | None, providers: AbstractSet[str]) -> Planner:
    """Making a local group, or changing it; ``providers`` are names that providers have sent."""

    def plan(realm: Realm) -> Plan:
        _check_may(realm, occasion)
        checked(proposed, dict(realm.groups))
        new = proposed.name not in realm.groups
        if new and proposed.name in providers:
            raise _taken()
        edit = Edit(Change(Group, proposed.name, proposed), after_version)
        within = still_free if new else None
        return Plan(Event.GROUP_CHANGED, (edit,), details={"group": proposed.name}, within=within)

    async def still_free(tx: Transaction, _revision: int) -> None:
        """Provisioning takes names under the lock that this change holds."""
        if await subjects.provider_groups(tx, [proposed.name]):
            raise _taken()

    return plan


def plan_group_end(occasion: Occasion, name: str, after_version: int | None) -> Planner:
    """Ending a local group."""

    def plan(realm: Realm) -> Plan:
        _check_may(realm, occasion)
        if name not in realm.groups:
            raise NotFound
        return Plan(Event.GROUP_CHANGED, (Edit(Change(Group, name, None), after_version),), details={"group": name})

    return plan


def _taken() -> Conflict:
    return Conflict("The identity provider has a group of this name; choose another for the local one.")


def _check_may(realm: Realm, occasion: Occasion) -> None:
    if not may_govern(realm, occasion.asker, occasion.at, Action.ADMINISTER, ROOT):
        raise NotAllowed("Groups are an administrator's: you need administer on all.")
