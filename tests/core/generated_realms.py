"""Realms with policies of every kind, those who ask in them, and the changes that they undergo."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from random import Random

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Wanted
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group, ancestors
from muniment.core.policies import Policy, PolicyKind
from muniment.core.realm import Change, Realm
from muniment.core.schema import DATA_ACTIONS, Action, schema_text
from muniment.core.subjects import Attribute, Subject, SubjectState
from tests.core.generated import (
    ATTRIBUTES,
    DOMAINS,
    ENVIRONMENTS,
    LAYERS,
    LIFECYCLES,
    LOCAL,
    LONGS,
    MADE,
    NAMES,
    NOON,
    OWNERS,
    SERVICES,
    TOLD,
    USERS,
    WORDS,
    Writer,
)
from tests.core.oracle import Case

SCHEMA = schema_text(ATTRIBUTES)
SUBJECTS = (*(f"user:{name}" for name in USERS), *(f"service:{name}" for name in SERVICES))
PAYLOADS = {
    PolicyKind.MASK: {"columns": ["amount"], "action": "replace-with-null"},
    PolicyKind.ROW_FILTER: {"type": "eq", "term": "region", "value": "eu"},
}
KINDS = {PolicyKind.ACCESS: 84, PolicyKind.MASK: 8, PolicyKind.ROW_FILTER: 8}
_MILLISECOND = timedelta(milliseconds=1)


def case_of(
    random: Random,
    *,
    most_datasets: int = 55,
    most_policies: int = 22,
    time: bool = True,
    plain: float = 0.6,
    timely: float = 0,
) -> Case:
    """A realm, and somebody who asks. ``time``: policies may compute with ``context.now``."""
    names = random.sample(NAMES, random.randint(most_datasets // 2, most_datasets) if random.random() < 0.7 else 8)
    written = [
        policy_of(random, f"p{number}", time=time, plain=plain, timely=timely)
        for number in range(random.randint(6, most_policies))
    ]
    grants = [grant_of(random, f"g{number}") for number in range(random.randint(0, 3))]
    realm = Realm(
        revision=1,
        schema=SCHEMA,
        datasets={name: dataset_of(random, name) for name in names},
        domains={name: Domain(name, random.choice(OWNERS)) for name in DOMAINS},
        environments={name: Environment(name) for name in ENVIRONMENTS},
        groups=_groups(random),
        policies={policy.id: policy for policy in written},
        grants={grant.id: grant for grant in grants},
    )
    return Case(realm, (), asker_of(random), wanted_of(random), moment_of(random), MADE)


def timed_cases(first: int, *, computed: bool) -> Iterator[tuple[int, Case]]:
    """Small cases by their seeds in which policies look at the time.

    ``computed``: some in another way than comparing it with a literal.
    """
    looking = re.compile(r"(?<![=<>] )context\.now(?! [=<>!])" if computed else r"context\.now").search
    for seed in count(first):
        case = case_of(
            Random(seed), most_datasets=8, most_policies=9, time=computed, plain=0, timely=0.2 if computed else 0
        )
        if any(looking(policy.cedar) for policy in case.realm.policies.values()):
            yield seed, case


def wanted_of(random: Random) -> Wanted:
    return Wanted(
        random.choice(ENVIRONMENTS), random.choice([None, "churn", "public"]), random.choice([None, "audit", "a*u*t"])
    )


def moment_of(random: Random) -> datetime:
    """Noon, a moment beside it, or any other in the weeks around."""
    beside = random.choice([0, 0, -1, 1, 2, random.randint(-3_000_000_000, 3_000_000_000)])
    return NOON + beside * _MILLISECOND + timedelta(microseconds=random.choice([0, 0, 500, 999]))


def dataset_of(random: Random, name: str) -> Dataset:
    return Dataset(
        name=name,
        owner=random.choice(OWNERS),
        tags=frozenset(word for word in WORDS if random.random() < 0.3),
        classification=random.choice(WORDS),
        sensitivity=random.choice(LONGS),
        layer=random.choice([None, *LAYERS]),
        lifecycle=Lifecycle(random.choice([*LIFECYCLES, "active", "retired"])),
        environments={"base": {"type": "pandas.CSVDataset", "filepath": f"{name}.csv"}},
        version=1,
    )


def asker_of(random: Random) -> SubjectState:
    attributes: dict[str, Attribute] = {}
    if random.random() < 0.8:
        attributes["clearance"] = random.choice(LONGS)
    if random.random() < 0.7:
        attributes["team"] = random.choice(WORDS)
    if random.random() < 0.7:
        attributes["skills"] = frozenset(word for word in WORDS if random.random() < 0.4)
    if random.random() < 0.7:
        attributes["staff"] = random.random() < 0.7
    told = frozenset(group for group in (*TOLD, "office", "user:boss") if random.random() < 0.5)
    return SubjectState(Subject.parse(random.choice(SUBJECTS)), random.choice(["corp", "public"]), told, attributes)


def grant_of(random: Random, id_: str) -> Grant:
    one, data = random.random() < 0.4, random.random() < 0.7
    actions = DATA_ACTIONS if data else (Action.DECLARE, Action.CLASSIFY, Action.GRANT, Action.AUDIT)
    return Grant(
        id_,
        random.choice(OWNERS),
        frozenset(random.sample(actions, 2)),
        random.choice([name for name in NAMES if "{" not in name]) if one else random.choice((*DOMAINS, "all")),
        frozenset(random.sample(ENVIRONMENTS, random.choice([0, 0, 1, 2]) if data else 0)),
        random.choice([None, NOON + timedelta(hours=random.randint(-2, 48))]),
        "for a while",
        kind="dataset" if one else "domain",
    )


def policy_of(random: Random, id_: str, *, time: bool = True, plain: float = 0.6, timely: float = 0) -> Policy:
    """A policy: most permit data, a fifth forbid, some oblige, some are about governing. ``plain`` is how often."""
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    effect = "permit" if kind is not PolicyKind.ACCESS or random.random() < 0.8 else "forbid"
    governing = kind is PolicyKind.ACCESS and random.random() < 0.25
    action = 'action == Action::"load"' if kind is not PolicyKind.ACCESS else _action(random, governing=governing)
    actions = "any" if governing else "data"
    simply = random.random() < plain
    forgets = 0.5 if simply and (effect == "forbid" or kind is not PolicyKind.ACCESS) else 0.1
    writer = Writer(random, actions=actions, time=time, plain=simply, forgets=forgets, timely=timely)
    count = random.choice([0, 0, 0, 1, 1, 2] if effect == "permit" and kind is PolicyKind.ACCESS else [1, 1, 2])
    asked = [writer.guarded(writer.condition(random.choice([0, 1, 2, 2]))) for _ in range(count)]
    clauses = [f"{random.choice(['when', 'when', 'unless'])} {{ {condition} }}" for condition in asked]
    if random.random() < 0.2:  # As the simple form writes several groups.
        clauses.append(f"when {{ principal in [{_group(random)}, {_group(random)}] }}")
    text = f"{effect} ({_principal(random)}, {action}, {_resource(random)}) {' '.join(clauses)};"
    scope = random.choice(("all", "all", "all", *DOMAINS))
    return Policy(id_, text, scope=scope, kind=kind, obligation=PAYLOADS.get(kind))


def _group(random: Random) -> str:
    return f'Group::"{random.choice((*OWNERS, "nobody"))}"'


def _principal(random: Random) -> str:
    group = _group(random)
    return random.choice(
        [
            *["principal"] * 5,
            "principal is User",
            "principal is Service",
            *[f"principal in {group}"] * 4,
            f"principal is User in {group}",
            f'principal == User::"{random.choice(USERS)}"',
            f'principal == Service::"{random.choice(SERVICES)}"',
            'principal in User::"ann"',
        ]
    )


def _action(random: Random, *, governing: bool) -> str:
    if governing:
        some = ", ".join(f'Action::"{action}"' for action in random.sample(list(Action), 4))
        return random.choice(["action", "action", f"action in [{some}]", 'action == Action::"grant"'])
    some = ", ".join(f'Action::"{action}"' for action in random.sample(DATA_ACTIONS, random.randint(1, 3)))
    one = random.choice(DATA_ACTIONS)
    return random.choice([f'action == Action::"{one}"', f'action in Action::"{one}"', *[f"action in [{some}]"] * 3])


def _resource(random: Random) -> str:
    domain = random.choice((*DOMAINS, *DOMAINS, "nowhere", "all"))
    return random.choice(
        [
            *["resource"] * 9,
            "resource is Dataset",
            f'resource in Domain::"{domain}"',
            f'resource in Domain::"{domain}"',
            f'resource is Dataset in Domain::"{domain}"',
            f'resource == Dataset::"{random.choice((*NAMES, *MADE))}"',
            f'resource in Dataset::"{random.choice(NAMES)}"',
        ]
    )


def _groups(random: Random) -> dict[str, Group]:
    """A ladder of groups with shortcuts: each may be a part of the later ones."""
    found: dict[str, Group] = {}
    for index, name in enumerate(LOCAL):
        above = {later for later in LOCAL[index + 1 :] if random.random() < 0.3}
        above |= set(LOCAL[index + 1 : index + 2]) if random.random() < 0.7 else set()
        found[name] = Group(name, _members(random), frozenset(above))
    return found


def _members(random: Random) -> frozenset[Subject]:
    return frozenset(Subject.parse(text) for text in SUBJECTS if random.random() < 0.25)


# --- changes ---------------------------------------------------------------------------------------


def changes_of(random: Random, standing: Realm, *, time: bool = True) -> list[Change]:
    """What one revision changes: one thing, or several together, one of them twice at most."""
    kinds: list[Callable[[Random, Realm], Iterable[Change]]] = [
        lambda random, standing: _policy_changes(random, standing, time=time),
        _grant_changes,
        _dataset_changes,
        _dataset_changes,
        _exchanges,
        _group_changes,
        _group_changes,
        _domain_changes,
    ]
    found: list[Change] = []
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        made = random.choice(kinds)(random, standing)
        found.extend(made)
        standing = replace(standing).after(standing.revision, made)
    return found


def _policy_changes(random: Random, standing: Realm, *, time: bool) -> Sequence[Change]:
    id_ = random.choice([*standing.policies, "p0", f"p{random.randint(0, 30)}"])
    ended = id_ in standing.policies and random.random() < 0.4
    return [Change(Policy, id_, None if ended else policy_of(random, id_, time=time))]


def _grant_changes(random: Random, standing: Realm) -> Sequence[Change]:
    id_ = random.choice([*standing.grants, f"g{random.randint(0, 4)}"])
    return [Change(Grant, id_, None if id_ in standing.grants and random.random() < 0.5 else grant_of(random, id_))]


def _dataset_changes(random: Random, standing: Realm) -> Sequence[Change]:
    """One dataset new, gone, retired, or with one attribute changed."""
    name = random.choice([*standing.datasets, random.choice(NAMES)])
    old, new = standing.datasets.get(name), dataset_of(random, name)
    if old is None or random.random() < 0.2:
        return [Change(Dataset, name, new)]
    attribute = random.choice(["owner", "tags", "classification", "sensitivity", "layer", "lifecycle"])
    moved = replace(old, **{attribute: getattr(new, attribute), "version": old.version + 1})
    return [Change(Dataset, name, random.choice([moved, moved, moved, None]))]


def _exchanges(random: Random, standing: Realm) -> Sequence[Change]:
    """Some datasets leave and others come in the same revision: whatever numbers them may give a number anew."""
    gone = random.sample(sorted(standing.datasets), min(3, len(standing.datasets)))
    come = random.sample([name for name in NAMES if name not in gone], 3)
    found = [Change(Dataset, name, None) for name in gone]
    found += [Change(Dataset, name, dataset_of(random, name)) for name in come]
    random.shuffle(found)
    return found


def _group_changes(random: Random, standing: Realm) -> Sequence[Change]:
    """A group with other members, with other groups above it, gone, or come back."""
    name = random.choice(LOCAL)
    group = standing.groups.get(name, Group(name))
    above = [other for other in LOCAL if other != name and name not in ancestors(frozenset({other}), standing.groups)]
    after = random.choice(
        [
            replace(group, members=_members(random)),
            replace(group, parents=frozenset(random.sample(above, min(2, len(above))))),
            replace(group, parents=frozenset()),
            None,
        ]
    )
    return [Change(Group, name, after)]


def _domain_changes(random: Random, standing: Realm) -> Sequence[Change]:
    """A domain with another owner; a domain that no policy names, come or gone."""
    name = random.choice((*DOMAINS, "sales.lab"))
    if name in standing.domains and name not in DOMAINS:
        return [Change(Domain, name, None)]
    return [Change(Domain, name, Domain(name, random.choice(OWNERS)))]
