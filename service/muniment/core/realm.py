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
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TypeVar

import cedarpy

from muniment.core.conditions import GroupTree
from muniment.core.datasets import Dataset
from muniment.core.definitions import with_placeholders
from muniment.core.directory import Directory
from muniment.core.domains import Domain
from muniment.core.environments import BASE, Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group, ancestors, is_builtin
from muniment.core.names import ROOT, Pattern, lineage, parent_of
from muniment.core.policies import Compiled, Policy, compiled
from muniment.core.rules import Rule, rules_of
from muniment.core.shelves import Row, Shelf, Uid, Value
from muniment.core.subjects import SubjectState

#: The nouns whose lines of versions make a realm.
Noun = Dataset | Domain | Environment | Group | Policy | Grant

#: The type and id of an entity that a policy's principal must be or be in; nothing where anybody may be meant.
Anchor = tuple[str, str] | None

#: Which policies there are for each anchor.
Postings = Mapping[Anchor, tuple[str, ...]]

#: The rules for each entity that the principal must be or be in; those for anybody under nothing.
RulePostings = Mapping[Uid | None, tuple[Rule, ...]]

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
        if sum(map(len, made.rendered.values())) > _MOST_RENDERED * max(1, len(made.datasets)):
            made.rendered.clear()
        if sum(map(len, made.entries.values())) > _MOST_RENDERED * max(1, len(made.datasets)):
            made.entries.clear()
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
    def shelf(self) -> Shelf:
        """The datasets as conditions read them, in numbered places."""
        return Shelf({name: row_of(dataset) for name, dataset in self.datasets.items()})

    @cached_property
    def directory(self) -> Directory:
        """The datasets as people look for them, over the places of the shelf."""
        return Directory.of(self.datasets, self.shelf)

    @cached_property
    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        """Every policy and grant, ready to be decided by, by the id that decisions name."""
        return {id_: rules_of(policy) for id_, policy in self.compiled.items()}

    @cached_property
    def rule_postings(self) -> RulePostings:
        """The rules by what the principal must be or be in."""
        found: defaultdict[Uid | None, list[Rule]] = defaultdict(list)
        for rules in self.rules.values():
            for rule in rules:
                for anchor in _anchors(rule):
                    found[anchor].append(rule)
        return {anchor: tuple(rules) for anchor, rules in found.items()}

    def rules_for(self, above: Iterable[Uid]) -> Sequence[Rule]:
        """The rules that may concern a subject which is, and is in, these entities; each once."""
        postings = self.rule_postings
        found = dict.fromkeys(postings.get(None, ()))
        for uid_ in above:
            posted = postings.get(uid_)
            if posted:
                found |= dict.fromkeys(posted)
        return list(found)

    @cached_property
    def group_tree(self) -> GroupTree:
        """Which groups a group is in."""
        groups = self.groups  # Later realms keep the tree, and it is not to keep this one.
        return GroupTree(lambda name: ancestors(frozenset({name}), groups))

    @cached_property
    def standing(self) -> object:
        """Something that stays the same as long as groups and domains stand in one another as they do."""
        return object()

    @cached_property
    def ground(self) -> object:
        """Something that stays the same as long as nothing but policies and grants changes."""
        return object()

    def ready(self) -> Realm:
        """The same realm, with all worked out that a decision would otherwise wait for."""
        _prepare(self.shelf, (rule for rules in self.rules.values() for rule in rules))
        _ = self.rule_postings, self.memberships, self.base_entities, self.factories, self.environment_names
        return self

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

    def types_of(self, domain: str) -> tuple[str, ...]:
        """The dataset types that a domain has beside those that everybody knows: its own and its ancestors'."""
        return tuple(type_ for name in lineage(domain) if name in self.domains for type_ in self.domains[name].types)

    def lease_hours_of(self, domain: str) -> float | None:
        """For how many hours leases give a domain's datasets, if it or an ancestor says so: the fewest count."""
        found = (self.domains[name].lease_hours for name in lineage(domain) if name in self.domains)
        return min((hours for hours in found if hours is not None), default=None)

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
        filled = {layer: with_placeholders(text, values) for layer, text in source.environments.items()}
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
    def entries(self) -> dict[tuple[str, tuple[str, ...]], dict[str, object]]:
        """Entries of catalogs made so far (:mod:`muniment.core.catalog`), by environment and actions, then by name.

        Each holds the very dataset that it was made of, and is used for that one alone.
        """
        return {}

    @cached_property
    def rendered(self) -> dict[tuple[str, str], dict[str, tuple[Dataset, bytes]]]:
        """Entries rendered so far, by environment and writer, then by name (:mod:`muniment.core.catalog`).

        Shared by every realm with the same variables, those that are only supposed among
        them: so each entry is held with the very dataset that it was rendered from, and
        is good for no other.
        """
        return {}


#: What each derived value is made of: it outlives every change of anything else.
_DERIVED: Mapping[str, tuple[type[Noun], ...]] = {
    "environment_names": (Environment,),
    "compiled": (Policy, Grant),
    "postings": (Policy, Grant),
    "shelf": (Dataset,),
    "directory": (Dataset,),
    "rules": (Policy, Grant),
    "rule_postings": (Policy, Grant),
    "group_tree": (Group,),
    "standing": (Group, Domain),
    "ground": (Dataset, Domain, Environment, Group),
    "factories": (Dataset,),
    "memberships": (Group,),
    "domain_tree": (Domain,),
    "base_entities": (Group, Domain),
    "rendered": (Domain, Environment),
    "entries": (),
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
            if "rules" in held:
                found |= self._decided_by(compiled_)
        if self._datasets and "shelf" in held:
            found["shelf"] = self._shelf
            if "directory" in held:
                found["directory"] = self._directory(self._before.directory)
        if _parents(self._before) == _parents(self._after):
            found["group_tree"] = self._before.group_tree
            if self._before.domains is self._after.domains:
                found["standing"] = self._before.standing
                found |= {name: held[name] for name in ("base_entities",) if name in held}
        return found

    def _decided_by(self, now: Mapping[str, Compiled]) -> Mapping[str, object]:
        """The rules, with where the new ones reach."""
        rules = self._rules(now)
        if "shelf" in self._before.__dict__:
            _prepare(self._shelf, (rule for id_ in self._policies for rule in rules.get(id_, ())))
            self._shelf.forget_all_but(rule for each in rules.values() for rule in each)
        posted = {"rule_postings": self._rule_postings(rules)} if "rule_postings" in self._before.__dict__ else {}
        return {"rules": rules, **posted}

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

    def _rules(self, now: Mapping[str, Compiled]) -> Mapping[str, tuple[Rule, ...]]:
        found = dict(self._before.rules)
        for id_ in self._policies:
            if id_ in now:
                found[id_] = rules_of(now[id_])
            else:
                found.pop(id_, None)
        return found

    def _rule_postings(self, now: Mapping[str, tuple[Rule, ...]]) -> RulePostings:
        found = dict(self._before.rule_postings)
        for id_ in self._policies:
            for rule in self._before.rules.get(id_, ()):
                for anchor in _anchors(rule):
                    _take(found, anchor, rule)
            for rule in now.get(id_, ()):
                for anchor in _anchors(rule):
                    _add(found, anchor, rule)
        return found

    def _directory(self, held: Directory) -> Directory:
        before, after = self._before, self._after
        return held.after(self._shelf, before.shelf, before.datasets, after.datasets, self._datasets)

    @cached_property
    def _shelf(self) -> Shelf:
        before, after = self._before.datasets, self._after.datasets
        changed = {
            name: row_of(after[name]) if name in after else None
            for name in self._datasets
            if name not in before or name not in after or before[name].access != after[name].access
        }
        return self._before.shelf.after(changed) if changed else self._before.shelf


def _prepare(shelf: Shelf, rules: Iterable[Rule]) -> None:
    """Work out where rules about data reach, so that no request has to."""
    for rule in rules:
        if rule.data_actions:
            rule.prepare(shelf)


def _anchors(rule: Rule) -> Iterable[Uid | None]:
    return (None,) if rule.anchors is None else rule.anchors


def _parents(realm: Realm) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(group.parents) for name, group in realm.groups.items()}


_Key = TypeVar("_Key")
_Posted = TypeVar("_Posted")


def _take(found: dict[_Key, tuple[_Posted, ...]], key: _Key, name: _Posted) -> None:
    left = tuple(other for other in found[key] if other != name)
    if left:
        found[key] = left
    else:
        del found[key]


def _add(found: dict[_Key, tuple[_Posted, ...]], key: _Key, name: _Posted) -> None:
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


def row_of(dataset: Dataset) -> Row:
    """A dataset as conditions read it: the values are those of :attr:`Dataset.access`, and the name."""
    attributes: dict[str, Value] = {
        "name": dataset.name,
        "owner": ("Group", dataset.owner),
        "tags": dataset.tags,
        "classification": dataset.classification,
        "sensitivity": dataset.sensitivity,
        "lifecycle": dataset.lifecycle.value,
    }
    if dataset.layer is not None:
        attributes["layer"] = dataset.layer
    return Row(("Dataset", dataset.name), _domains_above(dataset.domain), attributes)


def domain_row(realm: Realm, name: str) -> Row:
    """A domain as conditions read it; one that is not there, as it might be made."""
    return Row(("Domain", name), _domains_above(name)[1:], {"owner": ("Group", realm.owner_of(name))})


@lru_cache(maxsize=10_000)
def _domains_above(domain: str) -> tuple[Uid, ...]:
    return tuple(("Domain", above) for above in lineage(domain))


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
