"""Which rows of the ledger somebody follows as they come: those of some events, about some datasets or domains."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from muniment.core.ledger import Event, Row
from muniment.core.names import domain_of, is_domain, lineage
from muniment.core.problems import Fault, Invalid
from muniment.core.visibility import may_name

#: How many names a selection may list of each kind.
MOST_NAMES: Final = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """What is followed; each of the three narrows where it names anything.

    A row is about a dataset that it names, and about the domains which that lies in. One that names a dataset
    or a domain of those listed is taken, whatever else it names.
    """

    events: frozenset[Event] = frozenset()
    datasets: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    def takes(self, row: Row) -> bool:
        """Whether a row is among what is followed."""
        if self.events and row.event not in self.events:
            return False
        if not self.datasets and not self.domains:
            return True
        return any(name in self.datasets or not self.domains.isdisjoint(_domains(name)) for name in row.datasets)


def checked_selection(events: Iterable[Event], datasets: Collection[str], domains: Collection[str]) -> Selection:
    """A selection of what can be named; whether it exists is nobody's question here."""
    faults = [Fault("datasets", f"{name} is no dataset's name.") for name in datasets if not may_name(name)]
    faults += [Fault("domains", f"{name} is no domain's name.") for name in domains if not is_domain(name)]
    faults += [
        Fault(what, f"At most {MOST_NAMES} names.")
        for what, names in (("datasets", datasets), ("domains", domains))
        if len(names) > MOST_NAMES
    ]
    if faults:
        raise Invalid("What is to be followed cannot be named so.", faults)
    return Selection(frozenset(events), frozenset(datasets), frozenset(domains))


def _domains(name: str) -> frozenset[str]:
    """The domains that a dataset of this name lies in."""
    domain = domain_of(name)
    return frozenset(lineage(domain)) if is_domain(domain) else frozenset()
