"""A small company whose rules change all the time, those who ask it for data, and what Cedar says of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import cedarpy
import psycopg
from psycopg.rows import dict_row

from muniment.core.decisions import Wanted
from muniment.core.realm import Realm
from muniment.core.schema import schema_text
from muniment.core.subjects import Subject, SubjectState
from muniment.store.databases import Database
from muniment.store.realms import Realms
from tests.core.oracle import Oracle
from tests.faults.checker import Evidence, Expected, Recorded, expected_of
from tests.faults.history import History

#: Who asks, and the groups of their tokens. Root makes the rules, and asks for nothing.
ASKING: Mapping[str, tuple[str, ...]] = {
    "user:ann": ("analysts",),
    "user:ben": ("analysts", "engineers"),
    "user:cora": ("engineers",),
    "user:dan": (),
    "service:nightly": ("jobs",),
    "service:hourly": ("jobs", "engineers"),
}
PEOPLE: Mapping[str, Mapping[str, object]] = {
    "root": {"groups": ["platform"]},
    **{
        name.partition(":")[2]: {"groups": [*groups], "kind": "service" if name.startswith("service") else "user"}
        for name, groups in ASKING.items()
    },
}
ENVIRONMENTS = ("dev", "prod")
DOMAINS = ("sales", "sales.emea", "hr")
TAGS = ("pii", "public", "golden")
_LEAVES = ("orders", "targets", "leads", "people")
_GROUPS = ("analysts", "engineers", "jobs")

#: How many policies and grants change all the time.
CHANGING = 6


def found() -> list[tuple[str, dict[str, Any]]]:
    """The addresses and bodies of all that stands before anybody asks."""
    things: list[tuple[str, dict[str, Any]]] = [
        (f"environments/{name}", {"description": f"where {name} happens"}) for name in ENVIRONMENTS
    ]
    for domain in DOMAINS:
        owned: dict[str, Any] = {"owner": "group:owners"}
        if "." not in domain:
            owned["locations"] = [f"s3://lake/{domain}/"]
        things.append((f"domains/{domain}", owned))
    for place, (domain, leaf) in enumerate((domain, leaf) for domain in DOMAINS for leaf in _LEAVES):
        path = f"s3://lake/{domain.replace('.', '/')}/{leaf}.csv"
        declared = {"environments": {"base": {"type": "pandas.CSVDataset", "filepath": path}}}
        things.append((f"datasets/{domain}.{leaf}", {**declared, "tags": [TAGS[place % 3]], "sensitivity": place % 4}))
    things.append(("policies/usual", {"scope": "all", "cedar": _USUAL}))
    return things


_USUAL = (
    'permit (principal in Group::"analysts", action == Action::"load", resource in Domain::"sales") '
    'when { context.environment == "prod" };'
)


@dataclass
class Steward:
    """Thinks of one change after the other; each carries a number, so that no two are alike."""

    random: Random
    number: int = 0

    def next(self) -> tuple[str, str, dict[str, Any] | None]:
        """What is changed next: its kind, its key, and what is to stand there; nothing ends a grant."""
        self.number += 1
        kind = self.random.choice(("policy", "policy", "grant"))
        key = f"{kind}-{self.random.randrange(CHANGING)}"
        if kind == "policy":
            return kind, key, {"scope": "all", "cedar": self._cedar(), "reason": f"change {self.number}"}
        return kind, key, None if self.random.random() < 0.3 else self._grant()

    def _cedar(self) -> str:
        random = self.random
        effect = "forbid" if random.random() < 0.4 else "permit"
        group, domain, tag = random.choice(_GROUPS), random.choice(DOMAINS), random.choice(TAGS)
        who = random.choice((f'principal in Group::"{group}"', 'principal == User::"dan"', "principal is Service"))
        what = random.choice(('action == Action::"load"', 'action in [Action::"load", Action::"save"]'))
        when = random.choice(
            (
                f'resource.tags.contains("{tag}")',
                f"resource.sensitivity < {random.randrange(4)}",
                f'context.environment == "{random.choice(ENVIRONMENTS)}"',
                f'principal in Group::"{random.choice(_GROUPS)}"',
            )
        )
        # The service keeps policies as Cedar's formatter writes them.
        text = f'{effect} ({who}, {what}, resource in Domain::"{domain}") when {{ {when} }};'
        return f"{cedarpy.format_policies(text).strip()}\n"

    def _grant(self) -> dict[str, Any]:
        random = self.random
        whom = random.choice((*ASKING, *(f"group:{group}" for group in _GROUPS)))
        on = random.choice(
            ({"domain": random.choice(DOMAINS)}, {"dataset": f"{random.choice(DOMAINS)}.{random.choice(_LEAVES)}"})
        )
        return {
            "to": {"group" if whom.startswith("group:") else "subject": whom},
            "actions": random.choice((["load"], ["load", "save"])),
            "on": on,
            "because": f"change {self.number}",
        }


async def evidence(url: str, history: History) -> Evidence:
    """What the history is held against, read from the database and asked of Cedar."""
    judge = await _judge(url, {answer.revision for answer in history.asked if answer.answered})
    return Evidence(_rows(url), judge.expected, _lines(url))


@dataclass
class _Judge:
    """Asks Cedar about each subject in each environment at each revision, once."""

    realms: Mapping[int, Realm]
    _known: dict[tuple[str, str, int], tuple[dict[str, tuple[str, ...]], dict[str, int]]] = field(default_factory=dict)

    def expected(self, who: str, event: str, environment: str, revision: int) -> Expected:
        asked = (who, environment, revision)
        if asked not in self._known:
            self._known[asked] = self._decided(*asked)
        return expected_of(*self._known[asked], lease=event == "lease.served")

    def _decided(self, who: str, environment: str, revision: int) -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
        realm = self.realms[revision]
        asker = SubjectState(Subject.parse(who), "corp", frozenset(ASKING[who]), {})
        listed = [*realm.datasets.values()]
        given: dict[str, tuple[str, ...]] = {}
        for name, said in Oracle(realm, asker).decided(listed, Wanted(environment), _NOW).items():
            load = said.load.allowed and not said.load.obligations
            actions = (*(["load"] if load else []), *(["save"] if said.save.allowed else []))
            if actions:
                given[name] = actions
        return given, {name: realm.datasets[name].version for name in given}


#: No rule of this company speaks of time.
_NOW = datetime(2027, 1, 1, tzinfo=UTC)


async def _judge(url: str, revisions: set[int]) -> _Judge:
    db = Database.open(url)
    try:
        realms = Realms(db, schema_text({}))
        async with db.begin() as tx:
            return _Judge({revision: await realms.load(tx, revision) for revision in sorted(revisions)})
    finally:
        await db.close()


def _rows(url: str) -> list[Recorded]:
    with psycopg.connect(plain(url), row_factory=dict_row) as connection:
        found = connection.execute(
            """
            SELECT id, event, subject, environment, revision, receipt, request_id, decided_sha256,
              details->>'body_sha256' AS body
            FROM ledger WHERE event IN ('lease.served', 'catalog.served')
            """
        )
        return [
            Recorded(
                str(row["id"]),
                row["event"],
                row["subject"],
                row["environment"],
                row["revision"],
                str(row["receipt"]),
                str(row["request_id"]),
                row["decided_sha256"],
                row["body"],
            )
            for row in found
        ]


def _lines(url: str) -> dict[int, tuple[str, str, Mapping[str, Any] | None]]:
    with psycopg.connect(plain(url)) as connection:
        found = connection.execute(
            """
            SELECT revision, 'policy', key, body FROM policies UNION ALL SELECT revision, 'grant', key, body FROM grants
            """
        )
        return {revision: (kind, key, body) for revision, kind, key, body in found}


def plain(url: str) -> str:
    """A URL as psycopg reads it."""
    return url.replace("+psycopg", "", 1)
