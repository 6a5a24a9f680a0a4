"""A steward brings in the catalog of a Kedro project: each entry is seen with what it would become, then declared.

What an entry becomes is settled where ``muniment import`` settles it (:mod:`muniment.core.projects.governed`), and
whether it can stand by what every declaration is judged by. Nothing is dropped: an entry is taken, or it is said why
not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import decide_governing
from muniment.core.definitions import variables_of
from muniment.core.domains import Domain
from muniment.core.environments import BASE
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import checked_domain
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, NotFound
from muniment.core.projects.conf import read_conf
from muniment.core.projects.governed import Aim, Imported, Taken, govern
from muniment.core.realm import Change, Realm
from muniment.core.schema import Action
from muniment.core.soundness import faults_of_definitions
from muniment.core.visibility import may_govern, visible_successor
from muniment.flows.change_together import Proposal, Put, Together
from muniment.flows.house import House, aside


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

    def only(self, chosen: Collection[str]) -> Imported:
        """What was imported, as if the chosen entries were all."""
        return replace(self.imported, taken=tuple(each for each in self.imported.taken if each.governed in chosen))


async def read_catalog(house: House, occasion: Occasion, domain: str, texts: Mapping[str, str]) -> ReadCatalog:
    """What the texts of a project's conf, by their paths below it, would become in a domain; nothing is changed."""
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
            datasets=tuple(each.name for each in found.entries if each.standing is not None),
            details={"read": "import", "domain": domain},
        )
    )
    return found


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
