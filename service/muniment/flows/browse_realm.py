"""Somebody with a right there looks at the rules: domains, environments, groups, policies, grants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.kept import Kept
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import lineage
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import NotFound
from muniment.core.realm import Realm
from muniment.core.rulebook import readable
from muniment.core.schema import Action
from muniment.core.visibility import known, roles
from muniment.flows.house import House, aside
from muniment.store import kept

Thing = TypeVar("Thing", Domain, Environment, Group, Policy, Grant)
Rule = TypeVar("Rule", Policy, Grant)

#: Who reads rules: those who grant, audit or administer there.
_READERS = (Action.GRANT, Action.AUDIT, Action.ADMINISTER)


@dataclass(frozen=True, slots=True)
class Myself:
    """Who the asker is to this service: as signed in, with local groups and the roles on domains."""

    groups: frozenset[str]
    roles: Mapping[str, tuple[Action, ...]]
    revision: int


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Thing]):
    """The things of one kind that the asker may read, by key, at a revision; and what of them is kept in files."""

    things: Mapping[str, Thing]
    revision: int
    kept: Mapping[str, Kept]

    def one(self, key: str) -> Thing:
        """The thing of this key, or the answer for what is not there or may not be known of."""
        if key not in self.things:
            raise NotFound
        return self.things[key]

    def page(self, limit: int, after: str) -> tuple[Sequence[Thing], str | None]:
        """A page in the order of keys, and where the next begins."""
        keys = [key for key in sorted(self.things) if key > after]
        return [self.things[key] for key in keys[:limit]], keys[limit - 1] if len(keys) > limit else None


async def whoami(house: House, occasion: Occasion) -> Myself:
    """Who the service takes the asker for."""
    realm = await house.realms.current()
    held = await aside(lambda: roles(realm, occasion.asker, occasion.at))
    await house.ledger.record(row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision))
    groups = realm.all_groups_of(occasion.asker) - {str(occasion.subject)}
    return Myself(groups, held, realm.revision)


async def list_domains(house: House, occasion: Occasion) -> Shelf[Domain]:
    """The domains in which the asker has a right or knows of a dataset, and those above them."""
    return await _read(house, occasion, "domain", _domains)


async def list_environments(house: House, occasion: Occasion) -> Shelf[Environment]:
    """All environments: their names are no secret; their variables are the governors'."""
    return await _read(house, occasion, "environment", _environments)


async def list_groups(house: House, occasion: Occasion) -> Shelf[Group]:
    """The local groups, for those who write or audit rules somewhere."""
    return await _read(house, occasion, "group", _groups)


async def list_policies(house: House, occasion: Occasion) -> Shelf[Policy]:
    """The policies of the scopes whose rules the asker may read, but for those that tell of hidden datasets."""
    return await _read(house, occasion, "policy", lambda realm, who: readable(realm, who.asker, who.at, realm.policies))


async def list_grants(house: House, occasion: Occasion) -> Shelf[Grant]:
    """The grants of the scopes whose rules the asker may read, but for those on hidden datasets."""
    return await _read(house, occasion, "grant", lambda realm, who: readable(realm, who.asker, who.at, realm.grants))


async def _read(
    house: House, occasion: Occasion, kind: str, cut: Callable[[Realm, Occasion], dict[str, Thing]]
) -> Shelf[Thing]:
    realm = await house.realms.current()
    found = await aside(lambda: cut(realm, occasion))
    async with house.db.begin() as tx:
        held = await kept.standing(tx, kind)
    await house.ledger.record(row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision))
    return Shelf(found, realm.revision, {key: each for (_, key), each in held.items() if key in found})


def _domains(realm: Realm, occasion: Occasion) -> dict[str, Domain]:
    held = roles(realm, occasion.asker, occasion.at)
    names = known(realm, occasion.asker, occasion.at, realm.environment_names)
    seen = {above for name in names for above in lineage(realm.datasets[name].domain)}
    seen.update(above for domain in held for above in lineage(domain))
    return {
        name: domain if {Action.DECLARE, Action.ADMINISTER} & set(held.get(name, ())) else _without_means(domain)
        for name, domain in realm.domains.items()
        if name in seen
    }


def _environments(realm: Realm, occasion: Occasion) -> dict[str, Environment]:
    governs = any({Action.DECLARE, Action.ADMINISTER} & set(held) for held in _roles(realm, occasion).values())
    return {
        name: environment if governs else replace(environment, variables={})
        for name, environment in realm.environments.items()
    }


def _groups(realm: Realm, occasion: Occasion) -> dict[str, Group]:
    if not any(set(_READERS) & set(held) for held in _roles(realm, occasion).values()):
        return {}
    return dict(realm.groups)


def _roles(realm: Realm, occasion: Occasion) -> Mapping[str, tuple[Action, ...]]:
    return roles(realm, occasion.asker, occasion.at)


def _without_means(domain: Domain) -> Domain:
    return replace(domain, variables={}, locations=(), types=())
