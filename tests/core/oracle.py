"""Realms of every kind, and the slow, plain evaluator that the engine is held against.

The oracle knows nothing of anchors, indexes or bitmaps. It puts the text of every policy
before Cedar, for each dataset and action, asks for the permits, the forbids and the
obligations that are satisfied, leaves out those whose scope the dataset is not in, and
composes the answers as the rules say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random

import cedarpy

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Decided, Decision, Wanted
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.groups import Group
from muniment.core.names import lineage
from muniment.core.policies import Policy, PolicyKind
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, Action, schema_text
from muniment.core.subjects import Subject, SubjectState

SCHEMA = schema_text({"clearance": "long", "team": "string", "skills": "set"})
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DOMAINS = ("sales", "sales.emea", "sales.emea.uk", "hr", "hr.pay")
ENVIRONMENTS = ("dev", "prod")
TAGS = ("pii", "public", "eu")
LOCAL = ("team", "squad", "guild", "office")
TOLD = ("analysts", "engineers")
SUBJECTS = ("user:ann", "user:bob", "service:etl")
NAMES = tuple(f"{domain}.{leaf}" for domain in DOMAINS for leaf in ("orders", "people", "{region}_rows"))
MADE = ("sales.north_rows", "hr.pay.south_rows")
#: Domains that nobody has declared; they are decided on as they might be made.
UNDECLARED = ("unborn", "sales.unborn.below")


@dataclass(frozen=True)
class Rule:
    """A policy in the parts that it is written from."""

    id: str
    effect: str
    head: str
    clauses: tuple[str, ...]
    scope: str

    @property
    def policy(self) -> Policy:
        return Policy(self.id, f"{self.effect} ({self.head}) {' '.join(self.clauses)};", scope=self.scope)


@dataclass(frozen=True)
class Case:
    """A realm, who asks, for what and when."""

    realm: Realm
    rules: tuple[Rule, ...]
    asker: SubjectState
    wanted: Wanted
    at: datetime
    made: tuple[str, ...] = MADE

    def with_rules(self, rules: Iterable[Rule]) -> Case:
        listed = tuple(rules)
        realm = replace(self.realm, policies={rule.id: rule.policy for rule in listed})
        return replace(self, realm=realm, rules=listed)

    @property
    def resources(self) -> Mapping[str, Dataset]:
        """Every dataset that stands, and those that factory patterns make."""
        made = {name: self.realm.resolve(name) for name in self.made}
        return {**self.realm.datasets, **{name: dataset for name, dataset in made.items() if dataset}}


@dataclass(frozen=True)
class _Hit:
    """The policies that are satisfied for one resource, and those that err on it."""

    true: frozenset[str]
    erring: frozenset[str]

    @property
    def either(self) -> frozenset[str]:
        return self.true | self.erring


class Oracle:
    """What Cedar says of one subject in one realm, asked about each thing with every policy there is.

    ``errors`` counts the policies that erred in what was asked so far.
    """

    def __init__(self, realm: Realm, asker: SubjectState, more: Iterable[Dataset] = ()) -> None:
        self._realm = realm
        self._asker = asker
        self._more = tuple(more)
        self._subject = f'{asker.subject.kind.entity_type}::"{asker.subject.id}"'
        self.errors = 0

    def decided(self, datasets: Sequence[Dataset], wanted: Wanted, at: datetime) -> dict[str, Decided]:
        """Discover, load and save of each dataset, by its name."""
        context = _context(at, wanted)
        names = [dataset.name for dataset in datasets]
        permits = {action: self._hitting("permit", action, names, context) for action in DATA_ACTIONS}
        forbids = {action: self._hitting("forbid", action, names, context) for action in DATA_ACTIONS}
        obliging = self._hitting("oblige", Action.LOAD, names, context)
        return {
            name: _composed(
                {action: permits[action][index].true for action in DATA_ACTIONS},
                {action: forbids[action][index].either for action in DATA_ACTIONS},
                obliging[index],
            )
            for index, name in enumerate(names)
        }

    def governing(self, action: Action, resources: Sequence[str | Dataset], at: datetime) -> list[Decision]:
        """A governing action on each of the domains (by name) and datasets."""
        names = [resource if isinstance(resource, str) else resource.name for resource in resources]
        permits = self._hitting("permit", action, names, _context(at))
        forbids = self._hitting("forbid", action, names, _context(at))
        return [_answer(p.true, f.either) for p, f in zip(permits, forbids, strict=True)]

    def _hitting(
        self, part: str, action: Action, resources: Sequence[str], context: Mapping[str, object]
    ) -> list[_Hit]:
        """The policies that are satisfied for each resource, and those that err."""
        questions = [
            {
                "principal": self._subject,
                "action": f'Action::"{action}"',
                "resource": f'{"Domain" if name in self._domains else "Dataset"}::"{name}"',
                "context": dict(context),
            }
            for name in resources
        ]
        answers = cedarpy.is_authorized_batch(questions, self._sets[part], self._entities)
        return [self._hit(part, name, answer) for name, answer in zip(resources, answers, strict=True)]

    def _hit(self, part: str, name: str, answer: cedarpy.AuthzResult) -> _Hit:
        above = lineage(name if name in self._domains else name.rpartition(".")[0])

        def ids(numbers: Iterable[str]) -> frozenset[str]:
            policies = [self._parts[part][int(number.removeprefix("policy"))] for number in numbers]
            return frozenset(policy.id for policy in policies if policy.scope in above)

        hit = _Hit(ids(answer.diagnostics.reasons), ids(error.split("`")[1] for error in answer.diagnostics.errors))
        self.errors += len(hit.erring)
        return hit

    @cached_property
    def _parts(self) -> Mapping[str, Sequence[Policy]]:
        """Every policy and grant by what it is asked for; Cedar numbers the policies of a text in their order."""
        every = [*self._realm.policies.values(), *(grant.policy() for grant in self._realm.grants.values())]
        parts: dict[str, list[Policy]] = {"permit": [], "forbid": [], "oblige": []}
        for policy in every:
            effect = "forbid" if policy.cedar.lstrip().startswith("forbid") else "permit"
            parts[effect if policy.kind is PolicyKind.ACCESS else "oblige"].append(policy)
        return parts

    @cached_property
    def _sets(self) -> Mapping[str, cedarpy.PolicySet]:
        return {
            part: cedarpy.PolicySet.from_str("\n".join(policy.cedar for policy in policies))
            for part, policies in self._parts.items()
        }

    @cached_property
    def _domains(self) -> frozenset[str]:
        return frozenset(above for name in ("all", *UNDECLARED, *self._realm.domains) for above in lineage(name))

    @cached_property
    def _entities(self) -> cedarpy.Entities:
        realm, asker = self._realm, self._asker
        local = {name for name, group in realm.groups.items() if asker.subject in group.members}
        told = {name for name in asker.groups if name not in realm.groups and ":" not in name}
        attributes = {
            name: sorted(value) if isinstance(value, frozenset) else value for name, value in asker.attributes.items()
        }
        subject = _uid(asker.subject.kind.entity_type, asker.subject.id)
        groups = _groups({*told, *local, str(asker.subject)})
        found = [
            {"uid": subject, "attrs": {"issuer": asker.issuer, **attributes}, "parents": groups},
            *(
                {"uid": _uid("Group", g.name), "attrs": {}, "parents": _groups(g.parents)}
                for g in realm.groups.values()
            ),
            *(_domain(realm, name) for name in sorted(self._domains)),
            *(_dataset(dataset) for dataset in {**{d.name: d for d in self._more}, **realm.datasets}.values()),
        ]
        return cedarpy.Entities.from_json_str(json.dumps(found))


def case_of(random: Random, *, rules: int = 9) -> Case:
    """A realm of random nouns and policies, and somebody who asks.

    In every second realm most datasets are alike, so that it matters what tells them apart.
    """
    kinds = [dataset_of(random, "sales.orders") for _ in range(random.choice([1, 20]))]
    kinds.append(replace(kinds[0], tags=frozenset(random.sample(TAGS, 2))))
    individual = random.random() < 0.3
    count = random.randint(3, rules)
    written = tuple(_rule(random, f"p{number}", individual=individual) for number in range(count))
    groups = _local_groups(random)
    realm = Realm(
        revision=1,
        schema=SCHEMA,
        datasets={name: _named(random.choice(kinds), name) for name in NAMES if random.random() < 0.8},
        domains={name: Domain(name, random.choice(LOCAL)) for name in DOMAINS},
        environments={name: Environment(name) for name in ENVIRONMENTS},
        groups=groups,
        policies={rule.id: rule.policy for rule in written},
    )
    wanted = Wanted(
        random.choice(ENVIRONMENTS), random.choice([None, "churn", "other"]), random.choice([None, "audit", "other"])
    )
    return Case(realm, written, asker_of(random), wanted, NOON + timedelta(microseconds=random.choice([0, 500, 999])))


def _named(kind: Dataset, name: str) -> Dataset:
    return replace(kind, name=name, environments={"base": {"type": "pandas.CSVDataset", "filepath": f"{name}.csv"}})


def dataset_of(random: Random, name: str) -> Dataset:
    return Dataset(
        name=name,
        owner=random.choice((*LOCAL, *TOLD, "user:ann")),
        tags=frozenset(tag for tag in TAGS if random.random() < 0.4),
        classification=random.choice(["internal", "public"]),
        sensitivity=random.choice([0, 0, 1, 5]),
        layer=random.choice([None, "raw", "mart"]),
        lifecycle=random.choice([Lifecycle.ACTIVE, Lifecycle.ACTIVE, Lifecycle.DRAFT]),
        environments={"base": {"type": "pandas.CSVDataset", "filepath": f"{name}.csv"}},
        version=1,
    )


def asker_of(random: Random) -> SubjectState:
    attributes: dict[str, str | int | bool | frozenset[str]] = {}
    if random.random() < 0.7:
        attributes["clearance"] = random.choice([0, 1, 5])
    if random.random() < 0.5:
        attributes["skills"] = frozenset({"sql"})
    told = frozenset(group for group in TOLD if random.random() < 0.6)
    return SubjectState(Subject.parse(random.choice(SUBJECTS)), "corp", told, attributes)


def rule_of(random: Random, id_: str, effect: str) -> Rule:
    return replace(_rule(random, id_, individual=True), effect=effect)


def _local_groups(random: Random) -> dict[str, Group]:
    """Groups in a tree that cannot turn back: each is a part of later ones alone."""
    made: dict[str, Group] = {}
    for index, name in enumerate(LOCAL):
        members = frozenset(Subject.parse(text) for text in SUBJECTS if random.random() < 0.3)
        above = frozenset(later for later in LOCAL[index + 1 :] if random.random() < 0.5)
        made[name] = Group(name, members, above)
    return made


def _rule(random: Random, id_: str, *, individual: bool) -> Rule:
    effect = "forbid" if random.random() < 0.25 else "permit"
    head = f"{_principal(random)}, {_action(random)}, {_resource(random)}"
    clauses = tuple(
        f"{random.choice(['when', 'when', 'unless'])} {{ {_condition(random, 2, individual=individual)} }}"
        for _ in range(random.choice([0, 0, 1, 1, 2] if effect == "permit" else [1, 1, 2]))
    )
    return Rule(id_, effect, head, clauses, random.choice(("all", "all", "all", *DOMAINS)))


def _principal(random: Random) -> str:
    group = random.choice((*LOCAL, *TOLD, "user:ann"))
    return random.choice(
        [
            "principal",
            "principal",
            "principal is User",
            f'principal in Group::"{group}"',
            f'principal in Group::"{group}"',
            f'principal is User in Group::"{group}"',
            'principal == User::"ann"',
            'principal == Service::"etl"',
        ]
    )


def _action(random: Random) -> str:
    listed = ", ".join(f'Action::"{action}"' for action in random.sample(list(Action), random.randint(1, 4)))
    return random.choice(
        [
            "action",
            f'action == Action::"{random.choice(DATA_ACTIONS)}"',
            f"action in [{listed}]",
            'action in [Action::"load", Action::"save"]',
        ]
    )


def _resource(random: Random) -> str:
    domain, name = random.choice(DOMAINS), random.choice((*NAMES, *MADE))
    return random.choice(
        [
            "resource",
            "resource",
            'resource in Domain::"all"',
            f'resource in Domain::"{domain}"',
            f'resource is Dataset in Domain::"{domain}"',
            f'resource == Dataset::"{name}"',
        ]
    )


def _condition(random: Random, depth: int, *, individual: bool) -> str:
    if depth == 0 or random.random() < 0.4:
        return _atom(random, individual=individual)
    left, right = (_condition(random, depth - 1, individual=individual) for _ in range(2))
    return random.choice(
        [
            f"({left} && {right})",
            f"({left} || {right})",
            f"!({left})",
            f"(if {_atom(random, individual=individual)} then {left} else {right})",
        ]
    )


def _atom(random: Random, *, individual: bool) -> str:
    """Every operator in every position in which a policy can have it; some of these err.

    One ``individual`` policy makes the engine look at each dataset alone, so most realms have
    none; where there is one, few others tell datasets apart by their names.
    """
    kinds = [_looking_closely, _describing, _asking] if individual else [_naming, _naming, _describing, _asking]
    return random.choice(random.choice(kinds)(random))


def _naming(random: Random) -> list[str]:
    name, domain = random.choice((*NAMES, *MADE)), random.choice(DOMAINS)
    return [
        f'resource is Dataset && resource.name == "{name}"',
        f'resource is Dataset && "{name}" != resource.name',
        f'resource is Dataset && resource.name like "{domain}*"',
        f'resource is Dataset && resource.name like "*{random.choice(["orders", "o*e", "rows"])}"',
        f'resource is Dataset && ["{name}", "{random.choice(NAMES)}"].contains(resource.name)',
        f'resource == Dataset::"{name}"',
        f'Dataset::"{name}" == resource',
        f'resource in [Dataset::"{name}", Dataset::"{random.choice(NAMES)}"]',
        f'resource in Domain::"{domain}"',
        f'resource is Dataset in Domain::"{domain}"',
    ]


def _looking_closely(random: Random) -> list[str]:
    name = random.choice(NAMES)
    return [
        f'[Dataset::"{name}"].contains(resource)',
        f'resource is Dataset && resource.name == (if resource.sensitivity < 5 then "{name}" else "none")',
        f'resource is Dataset && (if context.environment == "prod" then resource.name else "none") == "{name}"',
        f'resource is Dataset && [resource.name].contains("{name}")',
    ]


def _describing(random: Random) -> list[str]:
    group, tag = random.choice((*LOCAL, *TOLD)), random.choice(TAGS)
    return [
        f'resource is Dataset && resource.tags.contains("{tag}")',
        f'resource is Dataset && resource.tags.containsAny(["{tag}", "none"])',
        f'resource is Dataset && !resource.tags.containsAll(["{tag}"])',
        'resource is Dataset && resource.classification == "public"',
        'resource is Dataset && resource.lifecycle == "draft"',
        'resource has layer && resource.layer == "raw"',
        'resource.layer == "raw"',
        "resource.sensitivity < 2",
        "9223372036854775807 + resource.sensitivity > 0",
        "resource.sensitivity * 4611686018427387904 >= 0",
        f'resource.owner == Group::"{group}"',
        f'resource.owner in Group::"{group}"',
        f'[resource.owner].contains(Group::"{group}")',
        "principal in resource.owner",
        "principal has clearance && principal.clearance >= resource.sensitivity",
    ]


def _asking(random: Random) -> list[str]:
    group = random.choice((*LOCAL, *TOLD))
    moment = (NOON + timedelta(milliseconds=random.choice([-5000, -1, 0, 1, 2, 60_000]))).replace(tzinfo=None)
    compared = random.choice(["<", "<=", "==", "!=", ">", ">="])
    return [
        "principal.clearance > 0",
        'principal has skills && principal.skills.contains("sql")',
        f'principal in Group::"{group}"',
        f'principal in [Group::"{group}", Group::"{random.choice(LOCAL)}"]',
        'principal == User::"ann"',
        "principal is Service",
        'action == Action::"load"',
        'context.environment == "prod"',
        '["dev", "test"].contains(context.environment)',
        'context has purpose && context.purpose == "audit"',
        'context.purpose != "audit"',
        'context has project && context.project like "ch*"',
        f'context.now {compared} datetime("{moment.isoformat(timespec="milliseconds")}Z")',
    ]


def _composed(
    permits: Mapping[Action, frozenset[str]], forbids: Mapping[Action, frozenset[str]], obliging: _Hit
) -> Decided:
    """The answers of the rules; an obligation that errs applies."""
    hidden, obligations = forbids[Action.DISCOVER], obliging.either
    load = _answer(permits[Action.LOAD], forbids[Action.LOAD] | hidden)
    if load.allowed:
        load = replace(load, obligations=tuple(sorted(obligations)))
    return Decided(
        discover=_answer(frozenset().union(*permits.values()), hidden),
        load=load,
        save=_answer(permits[Action.SAVE], forbids[Action.SAVE] | hidden | obligations),
        obligations=tuple(sorted(obligations)),
        erring=tuple(sorted(obliging.erring)),
    )


def _answer(permits: frozenset[str], forbids: frozenset[str]) -> Decision:
    if forbids:
        return Decision(allowed=False, because=tuple(sorted(forbids)), beaten=tuple(sorted(permits)))
    return Decision(allowed=bool(permits), because=tuple(sorted(permits)))


def _context(at: datetime, wanted: Wanted | None = None) -> Mapping[str, object]:
    here = at.astimezone(UTC)
    text = f"{here:%Y-%m-%dT%H:%M:%S}.{here.microsecond // 1000:03d}Z"
    context: dict[str, object] = {"now": {"__extn": {"fn": "datetime", "arg": text}}}
    if wanted:
        context |= {"environment": wanted.environment}
        context |= {"project": wanted.project} if wanted.project else {}
        context |= {"purpose": wanted.purpose} if wanted.purpose else {}
    return context


def _uid(type_: str, id_: str) -> dict[str, str]:
    return {"type": type_, "id": id_}


def _groups(names: Iterable[str]) -> list[dict[str, str]]:
    return [_uid("Group", name) for name in sorted(names)]


def _domain(realm: Realm, name: str) -> dict[str, object]:
    owner = next((realm.domains[above].owner for above in lineage(name) if above in realm.domains), "administrators")
    parents = [] if name == "all" else [_uid("Domain", lineage(name)[1])]
    return {"uid": _uid("Domain", name), "attrs": {"owner": {"__entity": _uid("Group", owner)}}, "parents": parents}


def _dataset(dataset: Dataset) -> dict[str, object]:
    attributes: dict[str, object] = {
        "name": dataset.name,
        "owner": {"__entity": _uid("Group", dataset.owner)},
        "tags": sorted(dataset.tags),
        "classification": dataset.classification,
        "sensitivity": dataset.sensitivity,
        "lifecycle": str(dataset.lifecycle),
        **({"layer": dataset.layer} if dataset.layer else {}),
    }
    parents = [_uid("Domain", dataset.name.rpartition(".")[0])]
    return {"uid": _uid("Dataset", dataset.name), "attrs": attributes, "parents": parents}
