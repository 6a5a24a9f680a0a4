"""Somebody who looks after rules finds and reads them: policies and grants together, as sentences.

What they may read is the rulebook's to say (:mod:`muniment.core.rulebook`), of earlier versions too: one
that named what is hidden from them today is told without its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Final

from muniment.core.cases import CaseResult, results
from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted, list_all
from muniment.core.delegation import check_rule
from muniment.core.grants import Grant
from muniment.core.groups import is_builtin, write_group
from muniment.core.kept import Kept
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import ROOT, is_dataset, lineage
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import Invalid, NotAllowed, NotFound
from muniment.core.realm import Change, Realm
from muniment.core.rule_filters import Facets, Line, Looked, about, facets, found, line_of, means
from muniment.core.rulebook import Written, all_readable, readable
from muniment.core.schema import Action, attributes
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each, knowledge, roles
from muniment.flows.house import House, aside
from muniment.store import grants, kept, policies, subjects
from muniment.store.lines import Standing, Version

#: Who writes rules, and who reads them.
_WRITERS: Final = frozenset({Action.GRANT, Action.ADMINISTER})
_READERS: Final = _WRITERS | {Action.AUDIT}

#: How many of those whom a rule means are named.
MOST_NAMED: Final = 50

#: How many columns are offered to be masked, and of how many of the datasets that somebody named: fewer than a form has
#: fields.
MOST_COLUMNS: Final = 200
_MOST_DATASETS: Final = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the rules that were looked for, of how many, and how they divide.

    ``writes`` says whether whoever looked may write rules somewhere.
    """

    lines: tuple[Line, ...]
    count: int
    first: int
    facets: Facets
    writes: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom a rule means, of all subjects that are known: how many, and the first of them by name."""

    count: int
    named: tuple[str, ...]
    known: int


@dataclass(frozen=True, slots=True)
class Read:
    """One rule as somebody reads it: whom it means, how its cases turn out, and whether they may change it."""

    line: Line
    standing: Standing | None
    kept: Kept | None
    meant: Meant
    cases: tuple[CaseResult, ...]
    owner: str
    writes: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Past:
    """One version of a rule, which ended where it has none.

    ``hidden`` says that there is one, and that it spoke of what its reader may not know of.
    """

    version: int
    at: datetime
    by: str
    rule: Written | None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a writer of rules may know and name: ``scopes`` are the domains in which they may write rules.

    ``columns`` are those that the datasets declare which they named, each with where it is declared and its tags.
    """

    scopes: tuple[str, ...]
    domains: tuple[str, ...]
    groups: tuple[str, ...]
    environments: tuple[str, ...]
    attributes: tuple[str, ...]
    administers: bool
    columns: Mapping[str, DeclaredColumn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column that datasets declare: which of them do, and what it is tagged as there."""

    datasets: tuple[str, ...]
    tags: tuple[str, ...]


async def find_rules(house: House, occasion: Occasion, looked: Looked, limit: int, first: int) -> Found:
    """The rules that the asker reads and looks for, from the one at a place on."""
    realm = await house.realms.current()
    state = await _known(house, looked.who)
    result = await aside(lambda: _found(realm, occasion, looked, state, limit, first))
    details = {"read": "rules", "listed": len(result.lines), "first": first}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return result


async def read_rule(house: House, occasion: Occasion, id_: str) -> Read:
    """One rule, by the id that decisions name."""
    realm = await house.realms.current()
    rule = await _readable(house, realm, occasion, id_)
    line, kind = (grants.LINE, "grant") if isinstance(rule, Grant) else (policies.LINE, "policy")
    async with house.db.begin() as tx:
        versions: Sequence[Version[Policy] | Version[Grant]] = await line.history(tx, rule.id, limit=1)
        held = await kept.standing(tx, kind, [rule.id])
        seen = [each.state for each in await subjects.newest(tx)]
    standing = Standing(versions[0].at, versions[0].subject) if versions else None
    result = await aside(lambda: _read(realm, occasion, rule, seen, standing, held.get((kind, rule.id))))
    await _record(house, occasion, realm, id_)
    return result


async def read_standing_rule(house: House, occasion: Occasion, id_: str) -> Written:
    """What a rule says that somebody is about to change; by the id that decisions name."""
    realm = await house.realms.current()
    rule = await _readable(house, realm, occasion, id_)
    await _record(house, occasion, realm, id_)
    return rule


async def read_rule_history(
    house: House, occasion: Occasion, id_: str, limit: int, after: int | None
) -> tuple[Written, list[Past], int | None]:
    """The versions of a rule that stands, the newest first, and the version after which the next page begins.

    One version more than the page is given where there is one, so that the last of a page shows what changed by it.
    """
    realm = await house.realms.current()
    rule = await _readable(house, realm, occasion, id_)
    line = grants.LINE if isinstance(rule, Grant) else policies.LINE
    async with house.db.begin() as tx:
        versions: Sequence[Version[Policy] | Version[Grant]] = await line.history(
            tx, rule.id, limit=limit + 1, after=after
        )
    page = await aside(lambda: [_past(realm, occasion, version) for version in versions])
    await _record(house, occasion, realm, id_)
    return rule, page, versions[limit - 1].version if len(versions) > limit else None


async def read_vocabulary(house: House, occasion: Occasion, names: Sequence[str] = ()) -> Vocabulary:
    """What the asker may name in a rule; :class:`NotAllowed` for those who may write none.

    With the columns of the datasets of these ``names`` that they may know of; any other has none.
    """
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        words = await aside(lambda: _vocabulary(realm, occasion))
        if not words.scopes:
            raise NotAllowed("You may write rules in no domain; ask somebody who grants or administers.")
    known = await aside(lambda: _known_of(realm, occasion, names[:_MOST_DATASETS])) if names else ()
    await house.ledger.record(
        row(
            occasion,
            Event.RULES_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            datasets=tuple(each.name for each in known),
            details={"read": "vocabulary"},
        )
    )
    return replace(words, columns=_columns(known))


def _known_of(realm: Realm, occasion: Occasion, names: Sequence[str]) -> Sequence[Dataset]:
    """Those of the datasets that the asker may know of, in the order of their names."""
    found = find_each(realm, occasion.asker, occasion.at, sorted({name for name in names if is_dataset(name)}))
    return [dataset for dataset in found.values() if dataset is not None]


def _columns(datasets: Sequence[Dataset]) -> Mapping[str, DeclaredColumn]:
    """The first columns that datasets declare, by name."""
    found: dict[str, DeclaredColumn] = {}
    for dataset in datasets:
        for column in dataset.columns:
            before = found.get(column.name, DeclaredColumn((), ()))
            tags = tuple(dict.fromkeys((*before.tags, *sorted(column.tags))))
            found[column.name] = DeclaredColumn((*before.datasets, dataset.name), tags)
    return dict(islice(found.items(), MOST_COLUMNS))


async def _known(house: House, who: str | None) -> SubjectState | None:
    """What is known of a subject that rules are looked for about; nothing, where a group is meant or nobody."""
    if who is None or not is_builtin(who):
        return None
    try:
        subject = Subject.parse(who)
    except Invalid:
        return None
    async with house.db.begin() as tx:
        newest = await subjects.newest_of(tx, subject)
    return newest.state if newest is not None and newest.active else None


def _found(
    realm: Realm, occasion: Occasion, looked: Looked, state: SubjectState | None, limit: int, first: int
) -> Found:
    rules = all_readable(realm, occasion.asker, occasion.at)
    lines = [line_of(rule) for rule in rules.values()]
    concerning = about(realm, rules, looked.who, state) if looked.who is not None else frozenset[str]()
    matching = found(lines, looked, concerning, occasion.at)
    held = roles(realm, occasion.asker, occasion.at)
    return Found(
        lines=matching[first : first + limit],
        count=len(matching),
        first=first,
        facets=facets(lines, looked, concerning, occasion.at),
        writes=any(_WRITERS & set(actions) for actions in held.values()),
        revision=realm.revision,
    )


def _read(
    realm: Realm,
    occasion: Occasion,
    rule: Written,
    seen: Sequence[SubjectState],
    standing: Standing | None,
    held: Kept | None,
) -> Read:
    line = line_of(rule)
    meant = sorted(str(state.subject) for state in means(realm, line.id, seen))
    cases = results(realm, rule, occasion.asker, occasion.at) if isinstance(rule, Policy) else ()
    return Read(
        line=line,
        standing=standing,
        kept=held,
        meant=Meant(len(meant), tuple(meant[:MOST_NAMED]), len(seen)),
        cases=cases,
        owner=write_group(realm.owner_of(rule.scope)),
        writes=_may_write(realm, occasion, rule.scope),
        revision=realm.revision,
    )


def _may_write(realm: Realm, occasion: Occasion, scope: str) -> bool:
    try:
        check_rule(realm, occasion.asker, occasion.at, scope, None)
    except NotAllowed:
        return False
    return True


async def _readable(house: House, realm: Realm, occasion: Occasion, id_: str) -> Written:
    """The rule, if the asker may read it; what is hidden and what never was are one."""
    async with house.refusals_recorded(occasion, realm):
        rule = await aside(lambda: _one(realm, occasion, id_))
        if rule is None:
            raise NotFound
        return rule


def _one(realm: Realm, occasion: Occasion, id_: str) -> Written | None:
    kind, colon, name = id_.partition(":")
    if colon:
        grant = realm.grants.get(name) if kind == "grant" else None
        return readable(realm, occasion.asker, occasion.at, {grant.id: grant}).get(grant.id) if grant else None
    policy = realm.policies.get(id_)
    return readable(realm, occasion.asker, occasion.at, {id_: policy}).get(id_) if policy else None


def _past(realm: Realm, occasion: Occasion, version: Version[Policy] | Version[Grant]) -> Past:
    value = version.value
    if value is None:
        return Past(version.version, version.at, version.subject, None)
    if not _reads_past(realm, occasion, value):
        return Past(version.version, version.at, version.subject, None, hidden=True)
    return Past(version.version, version.at, version.subject, value)


def _reads_past(realm: Realm, occasion: Occasion, rule: Written) -> bool:
    """Whether the asker could read an earlier version if it stood today."""
    standing = realm.after(realm.revision, [Change(type(rule), rule.id, rule)])
    if isinstance(rule, Grant):
        return bool(readable(standing, occasion.asker, occasion.at, {rule.id: rule}))
    return bool(readable(standing, occasion.asker, occasion.at, {rule.id: rule}))


def _vocabulary(realm: Realm, occasion: Occasion) -> Vocabulary:
    held = roles(realm, occasion.asker, occasion.at)
    scopes = {domain for domain, actions in held.items() if _WRITERS & set(actions)}
    wanted = [Wanted(name) for name in realm.environment_names]
    listings = {each.environment: list_all(realm, occasion.asker, each, occasion.at) for each in wanted}
    every = knowledge(realm, occasion.asker, occasion.at, listings).every
    lived = {name for name, bits in realm.directory.domains.items() if bits & every} | held.keys()
    domains = {above for domain in lived for above in lineage(domain)} - {ROOT}
    reads = any(_READERS & set(actions) for actions in held.values())
    owners = {realm.owner_of(domain) for domain in domains}
    return Vocabulary(
        scopes=tuple(sorted(scopes)),
        domains=tuple(sorted(domains)),
        groups=tuple(sorted(group for group in owners.union(realm.groups if reads else ()) if not is_builtin(group))),
        environments=realm.environment_names,
        attributes=tuple(sorted(attributes(realm.schema)["principal"])),
        administers=Action.ADMINISTER in held.get(ROOT, ()),
    )


async def _record(house: House, occasion: Occasion, realm: Realm, id_: str) -> None:
    await house.ledger.record(
        row(
            occasion,
            Event.RULES_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            policies=(id_,),
            details={"read": "rule"},
        )
    )
