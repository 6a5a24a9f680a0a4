"""The realm: everything a decision depends on, at one revision.

A decision is a pure function of a realm, an asker and a request; that is what makes it
cacheable, explainable, replayable and provable. A realm never changes: a change makes
the next one (:meth:`Realm.after`), which shares with this one whatever stayed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

import cedarpy

from muniment.core.datasets import Dataset, Definition
from muniment.core.domains import Domain
from muniment.core.environments import BASE, Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group, ancestors, is_builtin
from muniment.core.names import ROOT, Pattern, alike, lineage, parent_of
from muniment.core.policies import Compiled, Policy, compiled
from muniment.core.subjects import SubjectState

#: The nouns whose lines of versions make a realm.
Noun = Dataset | Domain | Environment | Group | Policy | Grant

#: The type and id of an entity that a policy's principal must be or be in; nothing where anybody may be meant.
Anchor = tuple[str, str] | None

#: Which policies there are for each anchor.
Postings = Mapping[Anchor, tuple[str, ...]]

#: The names of datasets by all that a policy can read of one but its name.
Classes = Mapping[tuple[object, ...], tuple[str, ...]]

_Kind = TypeVar("_Kind", Dataset, Domain, Environment, Group, Policy, Grant)

#: How many rendered entries are held for each dataset before all are rendered anew.
_MOST_RENDERED = 16

#: Who owns the root until an administrator says otherwise.
ROOTS_OWNER = "administrators"


@dataclass(frozen=True, slots=True)
class Change:
    """One noun put at a key, or taken away from it."""

    kind: type[Noun]
    key: str
    after: Noun | None


@dataclass(frozen=True)
class Realm:
    """Datasets, policies, grants, groups, domains and environments as they stand at one revision."""

    revision: int
    schema: str
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    grants: Mapping[str, Grant] = field(default_factory=dict)

    def after(self, revision: int, changes: Iterable[Change]) -> Realm:
        """The realm that these changes make of this one."""
        listed = tuple(changes)
        made = Realm(
            revision=revision,
            schema=self.schema,
            datasets=_put(self.datasets, Dataset, listed),
            domains=_put(self.domains, Domain, listed),
            environments=_put(self.environments, Environment, listed),
            groups=_put(self.groups, Group, listed),
            policies=_put(self.policies, Policy, listed),
            grants=_put(self.grants, Grant, listed),
        )
        made.__dict__.update(self._kept({change.kind for change in listed}))
        made.__dict__.update(_Patch(self, made, listed).derived())
        if len(made.rendered) > _MOST_RENDERED * max(1, len(made.datasets)):
            made.rendered.clear()
        return made

    def _kept(self, changed: set[type[Noun]]) -> dict[str, object]:
        """The derived values that no changed kind of noun had a part in."""
        return {
            name: self.__dict__[name]
            for name, sources in _DERIVED.items()
            if name in self.__dict__ and changed.isdisjoint(sources)
        }

    # What follows from the nouns; each computed when first needed and shared with later realms.

    @cached_property
    def environment_names(self) -> tuple[str, ...]:
        """The environments that can be asked for, in order."""
        return tuple(sorted(set(self.environments) - {BASE}))

    @cached_property
    def compiled(self) -> Mapping[str, Compiled]:
        """Every policy and grant, read, by the id that decisions name."""
        every: list[Policy] = [*self.policies.values(), *(grant.policy() for grant in self.grants.values())]
        return MappingProxyType({policy.id: compiled(policy) for policy in every})

    def policy(self, id_: str) -> Policy | None:
        """A policy, or a grant's policy, by the id that decisions name."""
        kind, _, grant = id_.partition(":")
        if kind == "grant" and grant in self.grants:
            return self.grants[grant].policy()
        return self.policies.get(id_)

    @cached_property
    def postings(self) -> Postings:
        """The ids of policies by their anchor: the entity that a principal must be or be in."""
        found: defaultdict[Anchor, list[str]] = defaultdict(list)
        for policy in self.compiled.values():
            found[_anchor(policy)].append(policy.id)
        return {anchor: tuple(ids) for anchor, ids in found.items()}

    @cached_property
    def classes(self) -> Classes:
        """The names of datasets by all that a policy can read of one but its name."""
        found: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
        for name, dataset in self.datasets.items():
            found[dataset.access].append(name)
        return {access: tuple(names) for access, names in found.items()}

    @property
    def alike(self) -> tuple[tuple[str, ...], ...]:
        """The names of datasets, grouped by all that a policy can read of one but its name."""
        return tuple(self.classes.values())

    @cached_property
    def factories(self) -> tuple[Pattern, ...]:
        """The factory patterns, the most specific first."""
        return tuple(sorted((Pattern(name) for name, d in self.datasets.items() if d.is_pattern), key=lambda p: p.rank))

    @cached_property
    def memberships(self) -> Mapping[str, frozenset[str]]:
        """The local groups of each subject that is a member of one, by ``user:<id>``."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for group in self.groups.values():
            for member in group.members:
                found[str(member)].add(group.name)
        return {subject: frozenset(names) for subject, names in found.items()}

    @cached_property
    def domain_tree(self) -> frozenset[str]:
        """Every domain, those above the declared ones included, and the root."""
        return frozenset({ROOT, *(above for domain in self.domains for above in lineage(domain))})

    @cached_property
    def base_entities(self) -> cedarpy.Entities:
        """Groups and domains as Cedar entities; subjects and datasets are added for each question."""
        standing = [*self._group_entities(), *self.domain_entities(self.domain_tree)]
        return cedarpy.Entities.from_json_str(json.dumps(standing))

    def _group_entities(self) -> Iterator[dict[str, object]]:
        for group in self.groups.values():
            yield entity("Group", group.name, parents=[("Group", parent) for parent in sorted(group.parents)])

    def domain_entities(self, names: Iterable[str]) -> Iterator[dict[str, object]]:
        """Domains as policies see them; one that is not there, as it might be made."""
        for name in names:
            attributes = {"owner": {"__entity": uid("Group", self.owner_of(name))}}
            yield entity("Domain", name, attributes, [] if name == ROOT else [("Domain", parent_of(name))])

    def owner_of(self, domain: str) -> str:
        """The group that owns a domain, or the nearest one above that is declared."""
        return next((self.domains[name].owner for name in lineage(domain) if name in self.domains), ROOTS_OWNER)

    def locations_of(self, domain: str) -> tuple[str, ...]:
        """The locations in which definitions of a domain may lie: its own and its ancestors'."""
        return tuple(text for name in lineage(domain) if name in self.domains for text in self.domains[name].locations)

    def variables_of(self, domain: str, environment: str) -> Mapping[str, str]:
        """What ``${globals:…}`` stands for: the environment's word beats a domain's, a near domain's a far one's."""
        found: dict[str, str] = {}
        for name in reversed(lineage(domain)):
            if name in self.domains:
                found.update(self.domains[name].variables)
        for layer in (BASE, environment):
            if layer in self.environments:
                found.update(self.environments[layer].variables)
        return found

    def groups_of(self, asker: SubjectState) -> frozenset[str]:
        """The groups a subject is directly in: the token's, the local ones, and its own.

        A group in the token that has the name of a local one is not heard: the local
        group's members are listed here, and no provider can add to them. Nor can one put a
        subject into the built-in group of another.
        """
        subject = str(asker.subject)
        told = frozenset(group for group in asker.groups if group not in self.groups and not is_builtin(group))
        return told | self.memberships.get(subject, frozenset()) | {subject}

    def all_groups_of(self, asker: SubjectState) -> frozenset[str]:
        """The groups a subject is in, directly or through other groups."""
        return ancestors(self.groups_of(asker), self.groups)

    def concerning(self, asker: SubjectState) -> tuple[Compiled, ...]:
        """The policies whose anchor the subject is or is in, in the order of their ids."""
        anchors: list[tuple[str, str] | None] = [None, (asker.subject.kind.entity_type, asker.subject.id)]
        anchors.extend(("Group", group) for group in self.all_groups_of(asker))
        ids = {id_ for anchor in anchors for id_ in self.postings.get(anchor, ())}
        return tuple(self.compiled[id_] for id_ in sorted(ids))

    def resolve(self, name: str) -> Dataset | None:
        """The dataset of a name; a name that a factory pattern makes is given the pattern's values.

        An explicit name stands before every pattern, and the most specific pattern
        before the others, as in Kedro.
        """
        source, values = self._source_of(name)
        if source is None or not values:
            return source
        filled = {layer: _definition(text, values) for layer, text in source.environments.items()}
        return replace(source, name=name, environments=filled)

    def source_of(self, name: str) -> str | None:
        """The name under which the dataset of a name was declared: its own, or a factory pattern's."""
        source, _ = self._source_of(name)
        return source.name if source else None

    def _source_of(self, name: str) -> tuple[Dataset | None, Mapping[str, str]]:
        if name in self.datasets:
            return self.datasets[name], {}
        for pattern in self.factories:
            values = pattern.match(name)
            if values is not None:
                return self.datasets[pattern.name], values
        return None, {}

    @cached_property
    def rendered(self) -> dict[tuple[str, str, str], tuple[Dataset, bytes]]:
        """Entries rendered so far, by name, environment and writer (:mod:`muniment.core.catalog`).

        Shared by every realm with the same variables, those that are only supposed among
        them: so each entry is held with the very dataset that it was rendered from, and
        is good for no other.
        """
        return {}

    def matching(self, pattern: tuple[str, ...]) -> frozenset[str]:
        """The names of datasets that a policy's ``like`` matches, by its literals."""
        known: dict[tuple[str, ...], frozenset[str]] = self.__dict__.setdefault("_matching", {})
        if pattern not in known:
            known[pattern] = _alike(pattern, self.datasets)
        return known[pattern]


#: What each derived value is made of: it outlives every change of anything else.
_DERIVED: Mapping[str, tuple[type[Noun], ...]] = {
    "environment_names": (Environment,),
    "compiled": (Policy, Grant),
    "postings": (Policy, Grant),
    "classes": (Dataset,),
    "factories": (Dataset,),
    "memberships": (Group,),
    "domain_tree": (Domain,),
    "base_entities": (Group, Domain),
    "_matching": (Dataset,),
    "rendered": (Domain, Environment),
}


class _Patch:
    """What some changes make of the derived values that a realm already had: cheaper than to derive them anew."""

    def __init__(self, before: Realm, after: Realm, changes: Sequence[Change]) -> None:
        self._before = before
        self._after = after
        self._policies = sorted(
            {_policy_id(change.kind, change.key) for change in changes if change.kind in {Policy, Grant}}
        )
        self._datasets = sorted({change.key for change in changes if change.kind is Dataset})

    def derived(self) -> Mapping[str, object]:
        """The patched values, by name; what was not derived before is not derived now."""
        held = self._before.__dict__
        found: dict[str, object] = {}
        if self._policies and "compiled" in held:
            found["compiled"] = compiled_ = self._compiled()
            if "postings" in held:
                found["postings"] = self._postings(compiled_)
        if self._datasets and "classes" in held:
            found["classes"] = self._classes()
        if self._datasets and "_matching" in held:
            # Threads that decide by the earlier realm may still add to what it holds.
            known = held["_matching"].copy()
            found["_matching"] = {pattern: self._matched(pattern, names) for pattern, names in known.items()}
        return found

    def _compiled(self) -> Mapping[str, Compiled]:
        found = dict(self._before.compiled)
        for id_ in self._policies:
            policy = self._after.policy(id_)
            if policy is None:
                found.pop(id_, None)
            else:
                found[id_] = compiled(policy)
        return MappingProxyType(found)

    def _postings(self, now: Mapping[str, Compiled]) -> Postings:
        found = dict(self._before.postings)
        for id_ in self._policies:
            if id_ in self._before.compiled:
                _take(found, _anchor(self._before.compiled[id_]), id_)
            if id_ in now:
                _add(found, _anchor(now[id_]), id_)
        return found

    def _classes(self) -> Classes:
        found = dict(self._before.classes)
        for name in self._datasets:
            if name in self._before.datasets:
                _take(found, self._before.datasets[name].access, name)
            if name in self._after.datasets:
                _add(found, self._after.datasets[name].access, name)
        return found

    def _matched(self, pattern: tuple[str, ...], names: frozenset[str]) -> frozenset[str]:
        changed = _alike(pattern, self._datasets)
        here = changed & self._after.datasets.keys()
        gone = changed - here
        return names if here <= names and gone.isdisjoint(names) else (names | here) - gone


_Key = TypeVar("_Key")


def _take(found: dict[_Key, tuple[str, ...]], key: _Key, name: str) -> None:
    left = tuple(other for other in found[key] if other != name)
    if left:
        found[key] = left
    else:
        del found[key]


def _add(found: dict[_Key, tuple[str, ...]], key: _Key, name: str) -> None:
    found[key] = (*found.get(key, ()), name)


def _put(shelf: Mapping[str, _Kind], kind: type[_Kind], changes: Sequence[Change]) -> Mapping[str, _Kind]:
    """The nouns of one kind after the changes; the very same mapping when none is meant."""
    mine = [change for change in changes if change.kind is kind]
    if not mine:
        return shelf
    nouns = dict(shelf)
    for change in mine:
        if isinstance(change.after, kind):
            nouns[change.key] = change.after
        else:
            nouns.pop(change.key, None)
    return nouns


def _policy_id(kind: type[Noun], key: str) -> str:
    return f"grant:{key}" if kind is Grant else key


def _anchor(policy: Compiled) -> Anchor:
    return None if policy.anchor is None else (str(policy.anchor.type), policy.anchor.id)


def _alike(pattern: tuple[str, ...], names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if alike(pattern, name))


def uid(type_: str, id_: str) -> dict[str, str]:
    """An entity's identifier as Cedar's JSON writes it."""
    return {"type": type_, "id": id_}


def entity(
    type_: str,
    id_: str,
    attributes: Mapping[str, object] = MappingProxyType({}),
    parents: Iterable[tuple[str, str]] = (),
) -> dict[str, object]:
    """An entity as Cedar's JSON writes it."""
    return {"uid": uid(type_, id_), "attrs": dict(attributes), "parents": [uid(*parent) for parent in parents]}


def _definition(definition: Definition, values: Mapping[str, str]) -> Definition:
    return {key: _filled(value, values) for key, value in definition.items()}


def _filled(value: object, values: Mapping[str, str]) -> object:
    match value:
        case str():
            for name, text in values.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        case Mapping():
            return {key: _filled(inner, values) for key, inner in value.items()}
        case list() | tuple():
            return [_filled(inner, values) for inner in value]
        case _:
            return value
