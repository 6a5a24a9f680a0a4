"""The directory of datasets: how they are found, by words and by what they are, and how many there are of each kind.

All of it is bitmaps over the places of the datasets' shelf. What somebody knows of is one too
(:class:`Known`), and nothing outside of that is found, counted or named: a value that only
hidden datasets have is a value that nothing has.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import reduce
from itertools import islice
from operator import or_
from types import MappingProxyType
from typing import Any, Final

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.environments import BASE
from muniment.core.groups import write_group
from muniment.core.names import ROOT
from muniment.core.shelves import Shelf


class Facet(StrEnum):
    """What datasets are told apart by. Values of one narrow each other's datasets together: either will do."""

    MAY = "may"
    DOMAIN = "domain"
    TAG = "tag"
    OWNER = "owner"
    CLASSIFICATION = "classification"
    LAYER = "layer"
    TYPE = "type"
    LIFECYCLE = "lifecycle"
    ENVIRONMENT = "environment"


class May(StrEnum):
    """What whoever looks may do to a dataset; of what they neither use nor steward they know, and may ask for it."""

    USE = "use"
    ASK = "ask"
    STEWARD = "steward"


class Order(StrEnum):
    """In which order datasets are found."""

    BEST = "best"
    NAME = "name"
    SENSITIVE = "sensitive"


#: How many words are looked for, at most; further ones are not heard.
MOST_WORDS: Final = 20

#: Texts are words after spaces, in sections: the name's first, then labels', the description's, the columns'.
_SECTION: Final = "\n"
_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

#: The type of a definition that names none.
_UNTYPED: Final = "–"

#: The attributes of a row that facets are read from as they are.
_ATTRIBUTES: Final = frozenset({Facet.OWNER, Facet.CLASSIFICATION, Facet.LAYER, Facet.LIFECYCLE})


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for: words in any order, each the beginning of one, and values of facets."""

    words: str = ""
    chosen: Mapping[Facet, tuple[str, ...]] = field(default_factory=dict)
    order: Order = Order.BEST


@dataclass(frozen=True, slots=True)
class Known:
    """What one subject knows of, as bitmaps: by environment, what of it they use there, and what they steward."""

    environments: Mapping[str, int]
    usable: Mapping[str, int]
    stewarded: int

    @property
    def every(self) -> int:
        """All that the subject knows of."""
        return reduce(or_, self.environments.values(), self.stewarded)


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the datasets that are found otherwise have a value, and whether it is looked for."""

    value: str
    times: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The names that were found, in their order, and the counts beside them."""

    names: Sequence[str]
    facets: Mapping[Facet, tuple[Count, ...]]


@dataclass(frozen=True)
class Directory:
    """What the shelf does not know of the datasets: the words that they are found by, and the types they have."""

    texts: Mapping[str, str]
    #: By the layer of a definition, then by its type.
    types: Mapping[str, Mapping[str, int]]
    #: What stands in each domain itself, and not in one below it.
    domains: Mapping[str, int]

    @classmethod
    def of(cls, datasets: Mapping[str, Dataset], shelf: Shelf) -> Directory:
        """The directory of all datasets."""
        nothing = MappingProxyType[str, Any]({})
        empty = cls(nothing, nothing, nothing)
        return empty.after(shelf, Shelf({}), {}, datasets, datasets)

    def after(
        self,
        shelf: Shelf,
        shelf_before: Shelf,
        before: Mapping[str, Dataset],
        after: Mapping[str, Dataset],
        changed: Iterable[str],
    ) -> Directory:
        """The directory once some datasets are others, or gone; this one stays as it is."""
        texts = dict(self.texts)
        gone, come = [], list[str]()
        for name in changed:
            if name in before:
                gone.append(name)
                del texts[name]
            if name in after:
                come.append(name)
                texts[name] = _text(after[name])
        kept = ~shelf_before.bits(gone)
        standing = [after[name] for name in come]
        types = {layer: _without(by_type, kept) for layer, by_type in self.types.items()}
        for layer, by_type in _types(standing).items():
            _put(types.setdefault(layer, {}), by_type, shelf)
        domains = _without(self.domains, kept)
        _put(domains, _domains(standing), shelf)
        return Directory(texts, types, domains)

    def defined(self, environment: str) -> int:
        """The datasets that have a definition there: of its own, or that of ``base``."""
        return _all(self.types.get(environment, {})) | _all(self.types.get(BASE, {}))

    def types_in(self, environment: str) -> Iterator[tuple[str, int]]:
        """The types of the definitions in force there."""
        own = self.types.get(environment, {})
        yield from own.items()
        shadowed = ~_all(own)
        for type_, bits in self.types.get(BASE, {}).items():
            yield type_, bits & shadowed

    def find(self, shelf: Shelf, known: Known, looked: Looked) -> Found:
        """What somebody finds who knows of no more than ``known``."""
        needles = _needles(looked.words)
        matching = self._matching(shelf, needles, known.every)
        values = {facet: self._values(shelf, known, facet, matching) for facet in Facet}
        taken = {
            facet: reduce(or_, (values[facet].get(value, 0) for value in chosen), 0)
            for facet, chosen in looked.chosen.items()
            if chosen
        }
        facets = {
            facet: tuple(_counts(values[facet], _narrowed(matching, taken, but=facet), looked.chosen.get(facet, ())))
            for facet in Facet
        }
        found = _narrowed(matching, taken)
        return Found(self._ordered(shelf, found, needles, looked.order), facets)

    def worded(self, shelf: Shelf, words: str, among: int) -> Iterable[str]:
        """Those of the datasets in each of which every word is the beginning of one; none, where no word is said."""
        needles = _needles(words)
        return shelf.names(self._matching(shelf, needles, among)) if needles else ()

    def _matching(self, shelf: Shelf, needles: Sequence[str], among: int) -> int:
        if not needles:
            return among
        first, *others = needles
        texts = self.texts
        found = [name for name in shelf.names(among) if first in texts[name]]
        return shelf.bits(name for name in found if all(needle in texts[name] for needle in others))

    def _ordered(self, shelf: Shelf, found: int, needles: Sequence[str], order: Order) -> Sequence[str]:
        names = sorted(shelf.names(found))
        if order is Order.SENSITIVE:
            return sorted(names, key=lambda name: -_sensitivity(shelf, name))
        if order is Order.BEST and needles:
            return sorted(names, key=lambda name: (_distance(self.texts[name], needles), len(name)))
        return names

    def _values(self, shelf: Shelf, known: Known, facet: Facet, among: int) -> Mapping[str, int]:
        """The datasets by the values of a facet; nothing that is not ``among`` them."""
        if facet in _ATTRIBUTES:
            return dict(_attributes(shelf, facet, among))
        found = _READ[facet](self, shelf, known)
        together: defaultdict[str, int] = defaultdict(int)
        for value, bits in found:
            together[value] |= bits & among
        return {value: bits for value, bits in together.items() if bits}

    def columns_found(self, dataset: Dataset, words: str) -> tuple[str, ...]:
        """The columns by whose names a dataset was found, if by any."""
        section = self.texts[dataset.name].rpartition(_SECTION)[2]
        needles = [needle for needle in _needles(words) if needle in section]
        if not needles:
            return ()
        named = ((column.name, f" {' '.join(words_of(column.name))}") for column in dataset.columns)
        return tuple(name for name, text in named if any(needle in text for needle in needles))

    def uses(self, known: Known) -> int:
        """What a subject can use somewhere: what is defined there, and what a pattern's names are given by."""
        return reduce(or_, (bits & self.defined(name) for name, bits in known.usable.items()), 0)


def words_of(text: str) -> Iterable[str]:
    """The words of a text as they are compared: each once, without case and accents; ``orderId`` has ``order`` too."""
    plain = text
    if not text.isascii():
        plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    parted = _HUMP.sub(" ", plain)
    found = dict.fromkeys(_WORD.findall(plain.casefold()))
    return found if parted == plain else found | dict.fromkeys(_WORD.findall(parted.casefold()))


def _needles(words: str) -> list[str]:
    return [f" {word}" for word in islice(words_of(words), MOST_WORDS)]


def _text(dataset: Dataset) -> str:
    labels = " ".join([write_group(dataset.owner), *sorted(dataset.tags), dataset.classification, dataset.layer or ""])
    columns = " ".join(part for each in dataset.columns for part in (each.name, *each.tags, each.description) if part)
    sections = (dataset.name, labels, dataset.description, columns)
    return _SECTION.join(" " + " ".join(words_of(section)) for section in sections)


def _distance(text: str, needles: Sequence[str]) -> int:
    """How far from being named so a dataset is: a whole word of its name is nearest."""
    far = 0
    for needle in needles:
        at = text.find(needle)
        is_whole = text[at + len(needle) : at + len(needle) + 1] in {"", " ", _SECTION}
        far += 2 * text.count(_SECTION, 0, at) + (0 if is_whole else 1)
    return far


def _types(datasets: Iterable[Dataset]) -> Mapping[str, Mapping[str, list[str]]]:
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for dataset in datasets:
        for layer, definition in dataset.environments.items():
            found[layer][str(definition.get("type", _UNTYPED))].append(dataset.name)
    return found


def _domains(datasets: Iterable[Dataset]) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for dataset in datasets:
        found[dataset.domain].append(dataset.name)
    return found


def _without(by_value: Mapping[str, int], kept: int) -> dict[str, int]:
    return {value: bits & kept for value, bits in by_value.items() if bits & kept}


def _put(by_value: dict[str, int], names: Mapping[str, Iterable[str]], shelf: Shelf) -> None:
    for value, listed in names.items():
        by_value[value] = by_value.get(value, 0) | shelf.bits(listed)


def _all(by_value: Mapping[str, int]) -> int:
    return reduce(or_, by_value.values(), 0)


def _narrowed(matching: int, taken: Mapping[Facet, int], but: Facet | None = None) -> int:
    for facet, bits in taken.items():
        if facet is not but:
            matching &= bits
    return matching


def _counts(values: Mapping[str, int], among: int, chosen: Sequence[str]) -> Iterator[Count]:
    """The values that something found has, and those that are looked for, the most frequent first."""
    counted = {value: times for value, bits in values.items() if (times := (bits & among).bit_count())}
    for value in sorted({*counted, *chosen}, key=lambda value: (-counted.get(value, 0), value)):
        yield Count(value, counted.get(value, 0), value in chosen)


def _attributes(shelf: Shelf, facet: Facet, among: int) -> Iterator[tuple[str, int]]:
    for row, bits in shelf.kinds((facet.value,), among):
        value = row.attributes.get(facet.value)
        if isinstance(value, tuple):
            yield write_group(str(value[1])), bits & among
        elif isinstance(value, str):
            yield value, bits & among


def _sensitivity(shelf: Shelf, name: str) -> int:
    value = shelf.row(name).attributes["sensitivity"]
    return value if isinstance(value, int) else 0


def _of_domains(_: Directory, shelf: Shelf, __: Known) -> Iterable[tuple[str, int]]:
    return ((id_, bits) for (type_, id_), bits in shelf.index.inside.items() if type_ == "Domain" and id_ != ROOT)


def _of_tags(_: Directory, shelf: Shelf, __: Known) -> Iterable[tuple[str, int]]:
    return ((str(tag), bits) for tag, bits in shelf.index.tags.items())


def _of_may(directory: Directory, shelf: Shelf, known: Known) -> Iterable[tuple[str, int]]:
    used = directory.uses(known)
    alive = shelf.valued("lifecycle", Lifecycle.ACTIVE.value) | shelf.valued("lifecycle", Lifecycle.DEPRECATED.value)
    yield May.USE.value, used & alive
    yield May.ASK.value, alive & ~used
    yield May.STEWARD.value, known.stewarded


def _of_types(directory: Directory, _: Shelf, known: Known) -> Iterable[tuple[str, int]]:
    """The types where they may be seen: a definition is for those who use it, or who declare there."""
    for environment, usable in known.usable.items():
        for type_, bits in directory.types_in(environment):
            yield type_, bits & usable
    for by_type in directory.types.values():
        for type_, bits in by_type.items():
            yield type_, bits & known.stewarded


def _of_environments(directory: Directory, _: Shelf, known: Known) -> Iterable[tuple[str, int]]:
    return ((name, bits & directory.defined(name)) for name, bits in known.environments.items())


_READ: Final[Mapping[Facet, Callable[[Directory, Shelf, Known], Iterable[tuple[str, int]]]]] = MappingProxyType(
    {
        Facet.MAY: _of_may,
        Facet.DOMAIN: _of_domains,
        Facet.TAG: _of_tags,
        Facet.TYPE: _of_types,
        Facet.ENVIRONMENT: _of_environments,
    }
)
