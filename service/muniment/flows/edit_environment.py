"""An administrator makes or changes an environment of the closed list."""

from __future__ import annotations

from muniment.core.environments import Environment
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT, checked_environment
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.visibility import may_govern
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House, aside


async def draft_environment(house: House, occasion: Occasion, name: str) -> Environment | None:
    """An environment as it stands, if it does, for whoever may put it; that it was read is written down."""
    checked_environment(name)
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        await aside(lambda: _check_may(realm, occasion))
    details = {"read": "environment", "environment": name}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return realm.environments.get(name)


async def edit_environment(
    house: House, occasion: Occasion, proposed: Environment, after_version: int
) -> Kept[Environment]:
    """Put an environment as it shall be; ``base`` too has variables. What uses them must still be sound afterwards."""
    changed = await change_realm(house, occasion, plan_environment(occasion, proposed, after_version))
    return changed.only(Environment)


def plan_environment(occasion: Occasion, proposed: Environment, after_version: int | None) -> Planner:
    """Making an environment, or changing it."""

    def plan(realm: Realm) -> Plan:
        checked_environment(proposed.name)
        _check_may(realm, occasion)
        edit = Edit(Change(Environment, proposed.name, proposed), after_version)
        return Plan(Event.ENVIRONMENT_CHANGED, (edit,), details={"environment": proposed.name})

    return plan


def _check_may(realm: Realm, occasion: Occasion) -> None:
    if not may_govern(realm, occasion.asker, occasion.at, Action.ADMINISTER, ROOT):
        raise NotAllowed("Environments are an administrator's: you need administer on all.")
