"""The realm that is measured: a company of ten departments, its rules and its people, the same in every run.

Its shape is what makes the numbers worth something: a tenth of the policies join subject
and dataset (owner, clearance), a tenth forbid, and each person is meant by many of them,
yet may use neither almost nothing nor almost everything. :func:`shape_of` measures that
shape on the realm as it was loaded, and refuses another.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from muniment.core.catalog import catalog_of
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Column, Dataset, Lifecycle
from muniment.core.decisions import Wanted, list_all
from muniment.core.domains import Domain
from muniment.core.environments import BASE, Environment
from muniment.core.grants import Grant
from muniment.core.names import ROOT
from muniment.core.policies import Policy, PolicyKind, checked
from muniment.core.realm import Change, Realm
from muniment.core.schema import GOVERNING_ACTIONS, schema_text
from muniment.core.soundness import faults_of_definitions
from muniment.core.subjects import Kind, Subject, SubjectState

ISSUER = "bench"
STEWARD = "sam"
ATTRIBUTES = {"clearance": "long"}
SCHEMA = schema_text(ATTRIBUTES)
ASKED = Wanted("prod")

DEPARTMENTS = (
    "sales", "finance", "logistics", "marketing", "people", "research", "risk", "support", "procurement", "factory",
)  # fmt: skip
REGIONS = ("amer", "apac", "emea", "latam", "nordics")
TEAMS = ("analysts", "engineers", "planners", "scientists")
LAYERS = ("raw", "primary", "feature")
TAGS = ("pii", "financial", "partner", "sensor", "survey", "derived", "golden", "licensed")
SENSITIVITY = {"public": 0, "internal": 20, "confidential": 50, "restricted": 90}
SUBJECTS = (
    "orders",
    "returns",
    "prices",
    "stock",
    "visits",
    "contracts",
    "invoices",
    "forecasts",
    "shipments",
    "trials",
)

#: A tenth of the policies each.
_JOINS = 0.10
_FORBIDS = 0.10
#: How different the datasets of one domain are to a policy, beside their layer.
_PROFILES = 8
_MINIMUM_OF_A_THOUSAND = 100
_SHARE = (0.20, 0.60)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks for a catalog."""

    id: str
    groups: tuple[str, ...]
    clearance: int

    @property
    def state(self) -> SubjectState:
        """What the service knows of the person once the token is verified."""
        return SubjectState(Subject(Kind.USER, self.id), ISSUER, frozenset(self.groups), {"clearance": self.clearance})

    def as_claimed(self) -> Mapping[str, object]:
        """The person as the issuer is told of it."""
        return {"groups": list(self.groups), "claims": {"clr": self.clearance}}


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of what a listing could cost."""

    datasets: int
    policies: int

    def __str__(self) -> str:
        return f"{self.datasets:,} datasets × {self.policies:,} policies"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a realm is like for its people: the numbers that make its timings comparable."""

    classes: int
    joins: int
    forbids: int
    policies_of: Mapping[str, int]
    names_of: Mapping[str, frozenset[str]]
    datasets: int

    @property
    def median_policies(self) -> float:
        """How many policies apply to the person in the middle."""
        return median(self.policies_of.values())

    @property
    def shares(self) -> list[float]:
        """What part of the datasets each person may use, ascending."""
        return sorted(len(names) / self.datasets for names in self.names_of.values())


class Misshapen(Exception):
    """The fixture is not what it promises, so its numbers would mean nothing."""


def people(count: int) -> tuple[Person, ...]:
    """People of a few teams in four departments each; every eighth belongs to all sixteen teams of theirs."""
    rng = random.Random(20)
    return tuple(_person(rng, number) for number in range(count))


def _person(rng: random.Random, number: int) -> Person:
    homes = rng.sample(DEPARTMENTS, 4)
    teams = [f"{home}-{team}" for home in homes for team in TEAMS]
    kept = teams if number % 8 == 7 else [f"{home}-{TEAMS[0]}" for home in homes] + rng.sample(teams, 3)
    owners = f"{homes[0]}-{rng.choice(REGIONS)}-owners"
    return Person(f"person{number:02}", tuple(sorted({*kept, owners, "everyone"})), rng.choice((10, 20, 50, 90)))


def changes(size: Size) -> list[Change]:
    """The whole realm as the changes of its first revision."""
    nouns: list[Domain | Environment | Dataset | Policy | Grant] = [
        *(Environment(name) for name in ("dev", "prod")),
        *_domains(),
        *_datasets(size.datasets),
        *_policies(size),
        Grant("steward", f"user:{STEWARD}", frozenset(GOVERNING_ACTIONS), ROOT, because="administers the benchmark"),
    ]
    return [Change(type(noun), noun.id if isinstance(noun, Policy | Grant) else noun.name, noun) for noun in nouns]


def shape_of(realm: Realm, size: Size, who: Iterable[Person], at: datetime) -> Shape:
    """The shape of a realm as it was loaded; :class:`Misshapen` when it is not the one promised."""
    _check_sound(realm)
    known = tuple(who)
    listed = {person.id: catalog_of(realm, list_all(realm, person.state, ASKED, at), ASKED) for person in known}
    shape = Shape(
        classes=len({dataset.access for dataset in realm.datasets.values()}),
        joins=sum(id_.startswith("join-") for id_ in realm.policies),
        forbids=sum(policy.effect == "forbid" for policy in realm.compiled.values()),
        policies_of={person.id: len(realm.concerning(person.state)) for person in known},
        names_of={id_: frozenset(catalog.names) for id_, catalog in listed.items()},
        datasets=len(realm.datasets),
    )
    _check(shape, size)
    return shape


def _check_sound(realm: Realm) -> None:
    """Nothing stands in the realm that its doors would have refused."""
    types = KnownTypes.newest()
    for policy in realm.policies.values():
        checked(policy, schema=realm.schema, environments=realm.environment_names)
    for dataset in realm.datasets.values():
        for fault in faults_of_definitions(realm, types, dataset):
            raise Misshapen(f"{dataset.name}: {fault.at}: {fault.message}")


def _check(shape: Shape, size: Size) -> None:
    least = _MINIMUM_OF_A_THOUSAND * size.policies / 1000
    if shape.datasets != size.datasets:
        raise Misshapen(f"{shape.datasets} datasets were loaded instead of {size.datasets}.")
    if min(shape.policies_of.values()) < least:
        raise Misshapen(f"{min(shape.policies_of.values())} policies apply to somebody: at least {least:.0f} should.")
    if shape.forbids < _FORBIDS * size.policies or shape.joins < _JOINS * size.policies:
        raise Misshapen(f"{shape.forbids} policies forbid and {shape.joins} join; a tenth of {size.policies} should.")
    if shape.shares[0] < _SHARE[0] or shape.shares[-1] > _SHARE[1]:
        raise Misshapen(f"Somebody may use {shape.shares[0]:.0%}, somebody {shape.shares[-1]:.0%} of the datasets.")


def _domains() -> Iterator[Domain]:
    for department in DEPARTMENTS:
        yield Domain(department, f"{department}-stewards", locations=(f"s3://lake/{department}/",))
        for region in REGIONS:
            yield Domain(f"{department}.{region}", f"{department}-{region}-owners")


def _subdomains() -> tuple[str, ...]:
    return tuple(f"{department}.{region}" for region in REGIONS for department in DEPARTMENTS)


def _datasets(count: int) -> Iterator[Dataset]:
    rng = random.Random(21)
    domains = _subdomains()
    profiles = {domain: [_profile(rng) for _ in range(_PROFILES)] for domain in domains}
    for number in range(count):
        domain = domains[number % len(domains)]
        tags, classification = rng.choice(profiles[domain])
        yield Dataset(
            name=f"{domain}.{SUBJECTS[number // len(domains) % len(SUBJECTS)]}_{number:05}",
            owner=f"{domain.replace('.', '-')}-owners",
            description=f"What {domain} knows of number {number}, as it is delivered each night.",
            tags=tags,
            classification=classification,
            sensitivity=SENSITIVITY[classification],
            layer=rng.choice(LAYERS),
            columns=tuple(Column(f"column_{place}", "string", "As the source names it.") for place in range(8)),
            lifecycle=rng.choices((Lifecycle.ACTIVE, Lifecycle.DEPRECATED, Lifecycle.DRAFT), (95, 3, 2))[0],
            environments=_definitions(rng, domain, number),
        )


def _profile(rng: random.Random) -> tuple[frozenset[str], str]:
    (classification,) = rng.choices(tuple(SENSITIVITY), (15, 50, 25, 10))
    return frozenset(rng.sample(TAGS, rng.choice((0, 1, 1, 2)))), classification


def _definitions(rng: random.Random, domain: str, number: int) -> dict[str, dict[str, object]]:
    def parquet(place: str) -> dict[str, object]:
        return {
            "type": "pandas.ParquetDataset",
            "filepath": f"s3://lake/{domain.replace('.', '/')}/{place}/number_{number:05}.parquet",
            "load_args": {"columns": [f"column_{column}" for column in range(4)]},
            "save_args": {"compression": "zstd", "index": False},
        }

    return {BASE: parquet("nightly"), **({"prod": parquet("released")} if rng.random() < 0.3 else {})}


def _policies(size: Size) -> Iterator[Policy]:
    """Every tenth joins, every tenth forbids, and the rest permit something to a team."""
    names = _names_by_domain(size.datasets)
    for number in range(size.policies):
        place, kind = divmod(number, 10)
        if kind == 0:
            id_, cedar = f"join-{place:04}", _join(place)
        elif kind == 1:
            id_, cedar = f"forbid-{place:04}", _forbid(place)
        elif kind == 2 and place % 5 == 4:
            yield _obligation(place)
            continue
        else:
            ordinal = place * 8 + kind - 2
            id_, cedar = f"permit-{ordinal:04}", _permit(ordinal, names)
        yield Policy(id_, cedar, reason="as the steward of the domain decided")


def _obligation(place: int) -> Policy:
    """Planners read what is tagged as somebody's own with a column masked, or some of its rows."""
    department, region = DEPARTMENTS[place // 5 % len(DEPARTMENTS)], REGIONS[place // 50 % len(REGIONS)]
    who = f'principal in Group::"{department}-planners"'
    what = f'action == Action::"load", resource in Domain::"{department}.{region}"'
    mask: dict[str, object] = {"columns": ["column_1"], "action": "replace-with-null"}
    rows: dict[str, object] = {"type": "eq", "term": "column_2", "value": "shared"}
    kind, demanded = (PolicyKind.MASK, mask) if place % 2 else (PolicyKind.ROW_FILTER, rows)
    cedar = f'permit ({who}, {what}) when {{ resource.tags.contains("pii") }};'
    return Policy(f"oblige-{place:04}", cedar, reason="personal data", kind=kind, obligation=demanded)


def _names_by_domain(count: int) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for dataset in _datasets(count):
        found.setdefault(dataset.domain, []).append(dataset.name)
    return found


def _permit(ordinal: int, names: Mapping[str, list[str]]) -> str:
    """A team's permit: the first of each team is broad, the later ones are about one domain, tag, name or time."""
    turn, place = divmod(ordinal, len(DEPARTMENTS) * len(TEAMS))
    team, index = divmod(place, len(DEPARTMENTS))
    department = DEPARTMENTS[index]
    who = f'principal in Group::"{department}-{TEAMS[team]}"'
    domain = f"{department}.{REGIONS[turn % len(REGIONS)]}"
    if turn == 0:
        return _broad(team, who, department)
    match turn % 5:
        case 1:
            what = f'action in [Action::"load", Action::"save"], resource in Domain::"{domain}"'
            return f"permit ({who}, {what}) when {{ {_layer(LAYERS[turn % 3])} }};"
        case 2:
            what = f'action == Action::"load", resource in Domain::"{department}"'
            return f'permit ({who}, {what}) when {{ resource.tags.contains("{TAGS[ordinal % len(TAGS)]}") }};'
        case 3:
            name = names[domain][ordinal % len(names[domain])]
            return f'permit ({who}, action in [Action::"load", Action::"save"], resource == Dataset::"{name}");'
        case 4:
            pattern = f"{domain}.{SUBJECTS[ordinal % len(SUBJECTS)]}_*"
            what = f'action == Action::"load", resource in Domain::"{department}"'
            return f'permit ({who}, {what}) when {{ resource.name like "{pattern}" }};'
        case _:
            when = 'context.environment == "prod" && context.now < datetime("2099-01-01")'
            return f'permit ({who}, action == Action::"load", resource in Domain::"{domain}") when {{ {when} }};'


def _broad(team: int, who: str, department: str) -> str:
    what = f'action == Action::"load", resource in Domain::"{department}"'
    conditions = (
        '["public", "internal"].contains(resource.classification)',
        _layer("primary"),
        'resource.tags.containsAny(["survey", "sensor", "golden"])',
        "resource.sensitivity <= 50",
    )
    return f"permit ({who}, {what}) when {{ {conditions[team]} }};"


def _join(place: int) -> str:
    """Owners use what they own; those with the clearance use what needs no more."""
    department, region = DEPARTMENTS[place % len(DEPARTMENTS)], REGIONS[place // 20 % len(REGIONS)]
    if place // len(DEPARTMENTS) % 2 == 0:
        what = f'action in [Action::"load", Action::"save"], resource in Domain::"{department}.{region}"'
        return f"permit (principal, {what}) when {{ principal in resource.owner }};"
    who = f'principal in Group::"{department}-{TEAMS[place % len(TEAMS)]}"'
    when = "principal has clearance && principal.clearance >= resource.sensitivity"
    return f'permit ({who}, action == Action::"load", resource in Domain::"{department}.{region}") when {{ {when} }};'


def _forbid(place: int) -> str:
    department, region = DEPARTMENTS[place % len(DEPARTMENTS)], REGIONS[place // 20 % len(REGIONS)]
    domain = f'resource in Domain::"{department}.{region}"'
    match place // len(DEPARTMENTS) % 4:
        case 0:
            enough = "principal has clearance && principal.clearance >= resource.sensitivity"
            what = f'action in [Action::"load", Action::"save"], {domain}'
            return (
                f'forbid (principal, {what}) when {{ resource.classification == "restricted" }} unless {{ {enough} }};'
            )
        case 1:
            who = f'principal in Group::"{department}-{TEAMS[place % len(TEAMS)]}"'
            what = f'action in [Action::"load", Action::"save"], {domain}'
            return f'forbid ({who}, {what}) when {{ resource.tags.contains("licensed") }};'
        case 2:
            but = f'principal in Group::"{department}-engineers"'
            what = f'action == Action::"save", {domain}'
            return f"forbid (principal, {what}) when {{ {_layer('raw')} }} unless {{ {but} }};"
        case _:
            who = f'principal in Group::"{department}-{TEAMS[place % len(TEAMS)]}"'
            return f'forbid ({who}, action == Action::"discover", {domain}) when {{ resource.lifecycle == "draft" }};'


def _layer(name: str) -> str:
    return f'resource has layer && resource.layer == "{name}"'
