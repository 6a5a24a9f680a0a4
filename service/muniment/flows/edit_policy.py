"""A steward writes, changes or ends a policy or a grant: a grant *is* a policy, made from a template."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from muniment.core.delegation import check_rule
from muniment.core.environments import checked_known
from muniment.core.grants import Grant
from muniment.core.ledger import Event
from muniment.core.names import ROOT, checked_id, lineage
from muniment.core.occasions import Occasion
from muniment.core.policies import Compiled, Policy, checked, compiled
from muniment.core.problems import Fault, Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.requests import OF_REQUESTS
from muniment.core.rulebook import readable
from muniment.core.schema import Action
from muniment.core.visibility import find, readable_scopes
from muniment.flows.change_realm import Edit, Kept, Plan, Planner, change_realm
from muniment.flows.house import House

Rule = TypeVar("Rule", Policy, Grant)


async def edit_policy(
    house: House, occasion: Occasion, proposed: Policy, after_version: int, tried: int | None = None
) -> Kept[Policy]:
    """Put a policy as it shall be; its text comes back in Cedar's own formatting.

    ``tried``, here and below, is the revision at which its author saw what the change would do, if they did.
    """
    changed = await change_realm(house, occasion, plan_policy(occasion, proposed, after_version), tried)
    return changed.only(Policy)


async def end_policy(house: House, occasion: Occasion, id_: str, after_version: int, tried: int | None = None) -> int:
    """End a policy; it is never satisfied again, and its history stays. Gives the revision."""
    return (await change_realm(house, occasion, plan_policy_end(occasion, id_, after_version), tried)).revision


async def edit_grant(
    house: House, occasion: Occasion, proposed: Grant, after_version: int, tried: int | None = None
) -> Kept[Grant]:
    """Make or change a grant. It ends, or says why it does not."""
    changed = await change_realm(house, occasion, plan_grant(occasion, proposed, after_version), tried)
    return changed.only(Grant)


async def end_grant(house: House, occasion: Occasion, id_: str, after_version: int, tried: int | None = None) -> int:
    """End a grant before its time; gives the revision."""
    return (await change_realm(house, occasion, plan_grant_end(occasion, id_, after_version), tried)).revision


def plan_policy(occasion: Occasion, proposed: Policy, after_version: int | None) -> Planner:
    """Writing a policy, or changing it."""

    def plan(realm: Realm) -> Plan:
        checked_id(proposed.id)
        _check_scope(realm, occasion, proposed.scope)
        current = realm.policies.get(proposed.id)
        check_rule(realm, occasion.asker, occasion.at, proposed.scope, None)  # Nothing is read for whom it is not.
        sound = checked(proposed, schema=realm.schema, environments=realm.environment_names)
        _check_may(realm, occasion, current, sound)
        edit = Edit(Change(Policy, sound.id, sound), after_version)
        return Plan(Event.POLICY_CHANGED, (edit,), policies=(sound.id,), reason=sound.reason)

    return plan


def plan_policy_end(occasion: Occasion, id_: str, after_version: int | None) -> Planner:
    """Ending a policy."""

    def plan(realm: Realm) -> Plan:
        current = realm.policies.get(id_)
        if current is None or not _reads(realm, occasion, current):
            raise NotFound
        _check_may(realm, occasion, current, None)
        return Plan(Event.POLICY_ENDED, (Edit(Change(Policy, id_, None), after_version),), policies=(id_,))

    return plan


def plan_grant(occasion: Occasion, proposed: Grant, after_version: int | None) -> Planner:
    """Making a grant, or changing it."""

    def plan(realm: Realm) -> Plan:
        checked_id(proposed.id)
        _check_scope(realm, occasion, proposed.scope)
        current = realm.grants.get(proposed.id)
        if current is None and proposed.id.startswith(OF_REQUESTS):
            message = f"A grant {OF_REQUESTS}… is made by the approval of a request; choose another id."
            raise Invalid(message, [Fault("id", message)])
        _check_target(realm, occasion, current, proposed)
        checked_known(proposed.environments, realm.environment_names, at="environments")
        if proposed.until is None and not proposed.because.strip():
            message = "A grant ends at a time, or says why it does not: give until, or because."
            raise Invalid(message, [Fault("until", message)])
        policy = proposed.policy()
        sound = checked(replace(policy, scope=ROOT), schema=realm.schema, environments=realm.environment_names)
        standing = current.policy() if current is not None else None
        _check_may(realm, occasion, standing, replace(sound, scope=policy.scope))
        edit = Edit(Change(Grant, proposed.id, proposed), after_version)
        return Plan(Event.GRANT_MADE, (edit,), _datasets(proposed), (policy.id,), reason=proposed.because)

    return plan


def plan_grant_end(occasion: Occasion, id_: str, after_version: int | None) -> Planner:
    """Ending a grant before its time."""

    def plan(realm: Realm) -> Plan:
        current = realm.grants.get(id_)
        if current is None or not _reads(realm, occasion, current):
            raise NotFound
        _check_may(realm, occasion, current.policy(), None)
        edit = Edit(Change(Grant, id_, None), after_version)
        return Plan(Event.GRANT_ENDED, (edit,), _datasets(current), (current.policy().id,))

    return plan


def _reads(realm: Realm, occasion: Occasion, rule: Rule) -> bool:
    """Whether the asker may read a rule that stands; one that tells of what is hidden from them is not there."""
    return bool(readable(realm, occasion.asker, occasion.at, {rule.id: rule}))


def _check_scope(realm: Realm, occasion: Occasion, scope: str) -> None:
    """The scope stands, and the asker reads its rules.

    A domain that is not there and one that the asker may not know of give the same answer:
    in words to those who read the rules above it, and to anybody else there is nothing here.
    """
    if scope == ROOT:
        return
    scopes = readable_scopes(realm, occasion.asker, occasion.at, lineage(scope))
    if not scopes:
        raise NotFound
    if scope not in realm.domains or scope not in scopes:
        message = f"There is no domain {scope} in which you may make rules."
        raise Invalid(message, [Fault("scope", message)])


def _check_target(realm: Realm, occasion: Occasion, current: Grant | None, proposed: Grant) -> None:
    """A grant is on a dataset that its writer may know of; whoever may change a grant knows what it is on.

    A name that a factory pattern makes is one: nothing else could be granted to those who use it alone.
    """
    if not proposed.on_dataset:
        return
    if current is not None and current.on == proposed.on and _reads(realm, occasion, current):
        return
    known = find(realm, occasion.asker, occasion.at, proposed.on)
    if known is None:
        raise NotFound
    if known.is_pattern and not proposed.actions.isdisjoint({Action.LOAD, Action.SAVE}):
        message = (
            "A factory pattern is neither loaded nor saved: each name that it makes is decided on for itself. "
            "Grant such a name or the domain, or write a policy in which resource.name is like those names."
        )
        raise Invalid(message, [Fault("on", message)])


def _check_may(realm: Realm, occasion: Occasion, current: Policy | None, proposed: Policy | None) -> None:
    """The writer may change what stood, and may hand on what the change hands on.

    The end of a forbid, of a mask or of a row filter hands on what it withheld.

    Ids are one space for everybody, so that one is taken is told to those who could have taken it.
    """
    if proposed is not None:
        check_rule(realm, occasion.asker, occasion.at, proposed.scope, _if(proposed, permits=True))
    if current is not None:
        if not _reads(realm, occasion, current):
            raise NotAllowed("This id is taken; choose another.")
        check_rule(realm, occasion.asker, occasion.at, current.scope, _if(current, permits=False))


def _if(policy: Policy, *, permits: bool) -> Compiled | None:
    read = compiled(policy)
    return read if read.permits is permits else None


def _datasets(grant: Grant) -> tuple[str, ...]:
    return (grant.on,) if grant.on_dataset else ()
