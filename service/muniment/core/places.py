"""The places that definitions name, and whether two of them are one.

Rights are held on datasets, and a path is what a dataset really gives. So a second
dataset on a path gives what the first one does, to whoever may load the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.definitions import OPEN, with_parameters_open, with_variables
from muniment.core.environments import BASE
from muniment.core.names import alike
from muniment.core.problems import InvalidDefinition
from muniment.core.realm import Realm

#: A text that begins as an address does, but for the project's own.
_ADDRESS = re.compile(r"(?!project:)[a-z][a-z0-9]*://")


_PART = re.compile(r"[a-z0-9_]+\Z")
_PLACEHOLDER = re.compile(r"\{(?:\*|[a-z][a-z0-9_]*)\}")

#: Where types of which no more is known than their name say that their data lies.
_USUAL_PATHS = ("filepath", "path")


@dataclass(frozen=True, slots=True)
class _Read:
    """What a dataset's definitions write: the places that no variable stands in, and by layer the texts with one.

    It holds the dataset, so that no other one is taken for it.
    """

    dataset: Dataset
    places: frozenset[str]
    segments: tuple[Sequence[str], ...]
    texts: tuple[tuple[str, str], ...]


class Written:
    """What definitions write that may be a place; read once for each dataset, however many realms it stands in."""

    def __init__(self, types: KnownTypes) -> None:
        self._types = types
        self._paths: dict[object, tuple[str, ...]] = {}
        self._known: dict[int, _Read] = {}

    def of(self, dataset: Dataset) -> _Read:
        """What this very dataset writes."""
        known = self._known.get(id(dataset))
        if known is None:
            known = self._known[id(dataset)] = self._read(dataset)
        return known

    def _read(self, dataset: Dataset) -> _Read:
        layers = dataset.environments.items()
        found = [(layer, text) for layer, definition in layers for text in self._texts(definition)]
        places = _placed(text for _, text in found if "${" not in text)
        texts = tuple((layer, text) for layer, text in found if "${" in text)
        return _Read(dataset, places, tuple(place.split("/") for place in places), texts)

    def _texts(self, definition: Mapping[str, object]) -> Iterator[str]:
        """Whatever may be a place: the arguments that hold one, and each text that begins as an address does."""
        type_ = definition.get("type")
        paths = self._paths.get(type_)
        if paths is None:
            known = self._types.find(str(type_))
            paths = self._paths[type_] = known.path_parameters if known else _USUAL_PATHS
        for key, value in definition.items():
            if isinstance(value, str):
                if key in paths or "://" in value or value.startswith("${"):
                    yield value
            elif isinstance(value, Mapping):
                yield from self._texts(value)
            elif isinstance(value, list):
                for item in value:
                    yield from self._texts({key: item})


class Places:
    """Reads the places that the definitions of one realm name, with the variables filled in."""

    def __init__(self, realm: Realm, written: Written) -> None:
        self._realm = realm
        self._written = written
        self._variables: dict[tuple[str, str], Mapping[str, str]] = {}

    def of(self, dataset: Dataset) -> frozenset[str]:
        """Every place that the definition in force in some environment names; what runs choose in it is left open."""
        read = self._written.of(dataset)
        return read.places | self._open(read) if read.texts else read.places

    def sharing(self, places: Iterable[str], datasets: Iterable[Dataset]) -> Iterator[Dataset]:
        """Those of the datasets that name one of these places, one inside it, or one around it."""
        sought = [place.split("/") for place in places]
        for dataset in datasets if sought else ():
            read = self._written.of(dataset)
            there = [*read.segments, *(place.split("/") for place in self._open(read))] if read.texts else read.segments
            if any(_coincide(one, other) for one in sought for other in there):
                yield dataset

    def _open(self, read: _Read) -> frozenset[str]:
        """The places in which a variable stands, as they are served."""
        return _placed(filled for layer, text in read.texts for filled in self._filled(text, read.dataset, layer))

    def _filled(self, text: str, dataset: Dataset, layer: str) -> Iterator[str]:
        """The text as it is served; of a variable without a value nothing is served."""
        for environment in self._realm.environment_names if layer == BASE else (layer,):
            if layer == BASE and environment in dataset.environments:
                continue
            key = (dataset.domain, environment)
            if key not in self._variables:
                self._variables[key] = self._realm.variables_of(*key)
            try:
                yield str(with_variables({"place": text}, self._variables[key])["place"])
            except InvalidDefinition:
                continue


def _placed(texts: Iterable[str]) -> frozenset[str]:
    """Those of the texts that are places, as two are compared."""
    placed = (text for text in texts if text.startswith("/") or _ADDRESS.match(text))
    return frozenset(spelled(with_parameters_open(text)) for text in placed)


def spelled(text: str) -> str:
    """A place in the spelling in which two are compared, as careful as locations are where storages differ."""
    scheme, _, rest = (f"file://{text}" if text.startswith("/") else text).removesuffix("/").partition("://")
    if scheme == "file":
        return f"file://{rest.casefold()}"
    if scheme in {"abfs", "abfss"}:
        container, slash, path = rest.partition("/")
        return f"abfs://{container.partition('@')[0]}{slash}{path}"
    return f"{scheme}://{rest}"


def _coincide(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two places may be the same, or the longer one may lie in the shorter; by their segments.

    From the end of the shorter one on: most places begin alike.
    """
    for place in range(min(len(one), len(other)) - 1, -1, -1):
        if one[place] != other[place] and not _may_be(one[place], other[place]):
            return False
    return True


def _may_be(one: str, other: str) -> bool:
    """Whether two segments, of which one may hold placeholders, can be filled in so that they are the same."""
    if "{" not in one and "{" not in other:
        return False
    if "{" not in one or "{" not in other:
        pattern, text = (one, other) if "{" in one else (other, one)
        return _fills(pattern, text)
    (first, *_, last), (begins, *_, ends) = _PLACEHOLDER.split(one), _PLACEHOLDER.split(other)
    return (first.startswith(begins) or begins.startswith(first)) and (last.endswith(ends) or ends.endswith(last))


def _fills(pattern: str, text: str) -> bool:
    """Whether a text can be a pattern with a part of a name in each placeholder, and what is plain in an open one."""
    literals = _PLACEHOLDER.split(pattern)
    if not alike(literals, text):
        return False
    first, *_, last = literals
    between = text[len(first) : len(text) - len(last)]
    if len(literals) == 2 and OPEN not in pattern:  # noqa: PLR2004
        return _PART.match(between) is not None
    return bool(between)
