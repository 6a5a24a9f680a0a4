"""A steward brings in the catalog of a Kedro project: each entry is seen with what it would become, then declared.

What an entry becomes is settled where ``muniment import`` settles it (:mod:`muniment.core.projects.governed`), and
whether it can stand by what every declaration is judged by. Nothing is dropped: an entry is taken, or it is said why
not. What came of it is told again by what the ledger keeps: which entries were chosen, and which stayed behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import decide_governing
from muniment.core.definitions import variables_of
from muniment.core.domains import Domain
from muniment.core.environments import BASE
from muniment.core.identifiers import derived
from muniment.core.ledger import Event, Outcome, Row, row
from muniment.core.names import checked_domain
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, NotFound
from muniment.core.projects.conf import Reason, read_conf
from muniment.core.projects.governed import Aim, Imported, Taken, govern
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.soundness import faults_of_definitions
from muniment.core.visibility import find_each, may_govern, visible_successor
from muniment.flows.change_together import Proposal, Put, Together
from muniment.flows.house import House, aside
from muniment.store import ledger

#: What of an import its row in the ledger names of the entries that stayed behind: how many, and how much of a name.
_MOST_LEFT: Final = 1_000
_LONGEST_NAME: Final = 200
#: The part of a request that reads what is saved.
SAVED: Final = "read"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that can be governed: the dataset that it would become, the one that stands there, and what is wrong."""

    taken: Taken
    proposed: Dataset
    standing: Dataset | None
    faults: tuple[Fault, ...]

    @property
    def name(self) -> str:
        """What the service calls it."""
        return self.proposed.name

    @property
    def same(self) -> bool:
        """Whether it stands so already."""
        return self.standing is not None and replace(self.proposed, version=0) == replace(self.standing, version=0)

    @property
    def offered(self) -> bool:
        """Whether it is to be declared unless somebody says otherwise: what stands as something else is not."""
        return self.standing is None and not self.faults


@dataclass(frozen=True, slots=True)
class ReadCatalog:
    """A project's catalog as a domain would govern it; ``variables`` are those that its entries need beside its own."""

    entries: tuple[Entry, ...]
    imported: Imported
    domain: Domain
    variables: Mapping[str, str]
    #: Where data of the domain may lie.
    locations: tuple[str, ...]
    revision: int

    def together(self, chosen: Collection[str], reason: str = "") -> Together:
        """The chosen entries as changes that are made all or none, the variables that they need before them."""
        proposals: list[Proposal] = []
        datasets = [each.proposed for each in self.entries if each.name in chosen]
        used = {name for dataset in datasets for name in variables_of(dataset.environments)}
        needed = {name: value for name, value in self.variables.items() if name in used}
        if needed:
            domain = replace(self.domain, variables={**self.domain.variables, **needed})
            proposals.append(Put(domain, domain.version))
        proposals.extend(Put(dataset, dataset.version) for dataset in datasets)
        return Together(tuple(proposals), reason)

    def told(self, chosen: Collection[str]) -> dict[str, object]:
        """What the ledger keeps of it once the chosen entries are to be declared: names, and why the others stay."""
        others = [each for each in self.entries if each.name not in chosen and not each.same]
        behind = [
            *({"name": each.taken.name[:_LONGEST_NAME], "why": "wrong" if each.faults else "left"} for each in others),
            *({"name": (each.name or "")[:_LONGEST_NAME], "why": each.reason.value} for each in self.imported.left),
        ]
        names = {each.taken.mapped: each.name for each in self.entries if each.name in chosen}
        environments = dict(self.imported.environments)
        return {"chosen": names, "environments": environments, "left": behind[:_MOST_LEFT], "left_count": len(behind)}

    def only(self, chosen: Collection[str]) -> Imported:
        """What was imported, as if the chosen entries were all."""
        return replace(self.imported, taken=tuple(each for each in self.imported.taken if each.governed in chosen))


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of an import: the entries as they stand now, and those that stayed behind, with why.

    Why is one of a conf's reasons, ``wrong`` of an entry that was to be mended, or ``left`` of one that nobody chose.
    """

    domain: str
    imported: Imported
    left: tuple[tuple[str, Reason | str], ...]
    #: How many stayed behind that are not listed.
    further: int


async def read_catalog(
    house: House, occasion: Occasion, domain: str, texts: Mapping[str, str], chosen: Collection[str] | None = None
) -> ReadCatalog:
    """What the texts of a project's conf, by their paths below it, would become in a domain; nothing is changed.

    ``chosen`` are the entries that are about to be declared, if any are: what came of it is told by them.
    """
    checked_domain(domain)
    realm = await house.realms.current()
    async with house.refusals_recorded(occasion, realm):
        found = await aside(lambda: _read(house.types, realm, occasion, domain, texts))
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            # Who reads the row reads of all that it names, what is about to be declared among it.
            datasets=tuple(
                each.name for each in found.entries if each.standing is not None or each.name in (chosen or ())
            ),
            details={"read": "import", "domain": domain} | ({} if chosen is None else found.told(chosen)),
        )
    )
    return found


async def read_brought(house: House, occasion: Occasion, request_id: UUID) -> Brought:
    """What came of an import that the asker made, by the request that saved it; :class:`NotFound` for any other.

    Told to whoever may still declare there.
    """
    realm = await house.realms.current()
    async with house.db.begin() as tx:
        read = await ledger.of_id(tx, derived(request_id, f"row{SAVED}"))
        saved = await ledger.of_id(tx, derived(request_id, "row"))
    async with house.refusals_recorded(occasion, realm):
        brought = await aside(lambda: _brought(realm, occasion, read, saved))
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            datasets=tuple(sorted(brought.imported.names.values())),
            details={"read": "what was imported", "domain": brought.domain},
        )
    )
    return brought


def _brought(realm: Realm, occasion: Occasion, read: Row | None, saved: Row | None) -> Brought:
    asker, at = occasion.asker, occasion.at
    mine = (read, saved) if read and saved and read.subject == saved.subject == str(occasion.subject) else None
    if mine is None or mine[1].outcome is not Outcome.DONE or "chosen" not in mine[0].details:
        raise NotFound
    told: Mapping[str, Any] = mine[0].details
    if told["domain"] not in realm.domains or not may_govern(realm, asker, at, Action.DECLARE, told["domain"]):
        raise NotFound
    names: Mapping[str, str] = told["chosen"]
    known = find_each(realm, asker, at, names.values())
    taken = tuple(
        Taken(mapped, mapped, name, realm.datasets[name].environments, None, {})
        for mapped, name in names.items()
        if known[name] is not None and name in realm.datasets
    )
    left: Sequence[Mapping[str, str]] = told["left"]
    return Brought(
        told["domain"],
        Imported(taken, (), {}, (), (), told["environments"], (), len(taken)),
        tuple((each["name"], _why(each["why"])) for each in left),
        told["left_count"] - len(left),
    )


def _why(said: str) -> Reason | str:
    return Reason(said) if said in set(Reason) else said


def _read(types: KnownTypes, realm: Realm, occasion: Occasion, name: str, texts: Mapping[str, str]) -> ReadCatalog:
    asker, at = occasion.asker, occasion.at
    if name not in realm.domains or not may_govern(realm, asker, at, Action.DECLARE, name):
        raise NotFound
    known = types.registering(realm.types_of(name))
    aim = Aim(name, known, locations=realm.locations_of(name))
    imported = govern(read_conf(texts), aim)
    domain = realm.domains[name]
    lacking = {key: value for key, value in imported.variables.items() if key not in domain.variables}
    otherwise = {key for key, value in imported.variables.items() if domain.variables.get(key, value) != value}
    with_them = replace(domain, variables={**domain.variables, **lacking})
    there = realm.after(realm.revision, [Change(Domain, name, with_them)]) if lacking else realm
    classifies = decide_governing(realm, asker, Action.CLASSIFY, [name], at)[0].allowed
    entries: list[Entry] = []
    for taken in imported.taken:
        standing, proposed = _proposed(there, occasion, taken, classifies=classifies)
        faults = tuple(_faults(types, there, proposed, otherwise))
        entries.append(Entry(taken, proposed, standing, faults))
    return ReadCatalog(tuple(entries), imported, domain, lacking, aim.locations, realm.revision)


def _proposed(realm: Realm, occasion: Occasion, taken: Taken, *, classifies: bool) -> tuple[Dataset | None, Dataset]:
    """The dataset that stands under an entry's name, and what it would become."""
    standing = realm.datasets.get(taken.governed)
    if standing is None:
        layer = taken.layer if classifies else None
        return None, Dataset(taken.governed, owner="", layer=layer, environments=taken.environments)
    standing = replace(standing, successor=visible_successor(realm, occasion.asker, occasion.at, standing))
    lifecycle = Lifecycle.ACTIVE if standing.lifecycle is Lifecycle.RETIRED else standing.lifecycle
    environments = {**standing.environments, **taken.environments}
    return standing, replace(standing, environments=environments, lifecycle=lifecycle)


def _faults(types: KnownTypes, realm: Realm, proposed: Dataset, otherwise: Collection[str]) -> Iterator[Fault]:
    strangers = sorted(proposed.environments.keys() - {BASE, *realm.environment_names})
    if strangers:
        yield Fault("environments", f"There is no environment {', '.join(strangers)} here; an administrator makes one.")
        return
    for name in sorted(variables_of(proposed.environments) & set(otherwise)):
        yield Fault("variables", f"{name} has another value in the domain than in the project’s globals.yml.")
    yield from faults_of_definitions(realm, types, proposed)
