"""The places that definitions name, and whether two of them are one.

Rights are held on datasets, and a path is what a dataset really gives. So a second
dataset on a path gives what the first one does, to whoever may load the second.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

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

#: By what places are sorted: how they begin, up to the first placeholder.
_FIXED: Callable[[_Named], str] = attrgetter("fixed")


@dataclass(frozen=True, slots=True)
class _Read:
    """What a dataset's definitions write: the places that no variable stands in, and by layer the texts with one.

    It holds the dataset, so that no other one is taken for it.
    """

    dataset: Dataset
    places: frozenset[str]
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """What variables stand for in one domain, by environment; one object for each that differs."""

    variables: Mapping[str, Mapping[str, str]]
    environments: tuple[str, ...]


class _Named(NamedTuple):
    """A place that a dataset names; where a variable stands in it, in this setting.

    ``fixed`` are the segments before the first that holds a placeholder, each with a slash behind it.
    """

    fixed: str
    place: str
    dataset: Dataset
    setting: _Setting | None


class Written:
    """What definitions write that may be a place; read once for each dataset, however many realms it stands in."""

    def __init__(self, types: KnownTypes) -> None:
        self._types = types
        self._paths: dict[object, tuple[str, ...]] = {}
        self._known: dict[int, _Read] = {}
        self._settings: dict[object, _Setting] = {}
        self._filled: dict[tuple[int, _Setting], frozenset[str]] = {}
        self._indexed: set[int | tuple[int, _Setting]] = set()
        self._index: list[_Named] = []

    def of(self, dataset: Dataset) -> _Read:
        """What this very dataset writes."""
        known = self._known.get(id(dataset))
        if known is None:
            known = self._known[id(dataset)] = self._read(dataset)
        return known

    def setting(self, realm: Realm, domain: str) -> _Setting:
        """What variables stand for in a domain of a realm: the same object wherever they stand for the same."""
        names = realm.environment_names
        variables = {name: realm.variables_of(domain, name) for name in (BASE, *names)}
        key = tuple((name, frozenset(values.items())) for name, values in variables.items())
        return self._settings.setdefault(key, _Setting(variables, names))

    def filled(self, read: _Read, setting: _Setting) -> frozenset[str]:
        """The places in which a variable stands, as they are served."""
        key = (id(read.dataset), setting)
        known = self._filled.get(key)
        if known is None:
            texts = (text for layer, text in read.texts for text in _filled(text, read.dataset, layer, setting))
            known = self._filled[key] = _placed(texts)
        return known

    def hold(self, datasets: Iterable[tuple[Dataset, _Setting]]) -> None:
        """Take care that the places of these can be met, each dataset's as they are in a setting."""
        new: list[_Named] = []
        for dataset, setting in datasets:
            if id(dataset) not in self._indexed:
                self._indexed.add(id(dataset))
                new += [_Named(_fixed(place), place, dataset, None) for place in self.of(dataset).places]
            read = self._known[id(dataset)]
            if read.texts and (id(dataset), setting) not in self._indexed:
                self._indexed.add((id(dataset), setting))
                new += [_Named(_fixed(place), place, dataset, setting) for place in self.filled(read, setting)]
        if new:
            self._index += new
            self._index.sort(key=_FIXED)

    def meeting(self, place: str) -> Iterator[_Named]:
        """Whatever may be the same place as this one, lie inside it, or around it, of all that is held.

        Where two may meet, what is fixed at the beginning of one continues what is fixed at the beginning of the
        other. So it is looked for among those that begin so, and at each place around.
        """
        segments, fixed = place.split("/"), _fixed(place)
        around = [fixed[:end] for end, character in enumerate(fixed, start=1) if character == "/"]
        for prefix in around[:-1]:
            yield from self._between(segments, prefix, bisect_right(self._index, prefix, key=_FIXED))
        yield from self._between(segments, fixed, bisect_left(self._index, f"{fixed[:-1]}0", key=_FIXED))

    def _between(self, segments: Sequence[str], first: str, end: int) -> Iterator[_Named]:
        """Those that do meet, from the first on whose fixed beginning is this one."""
        for number in range(bisect_left(self._index, first, key=_FIXED), end):
            named = self._index[number]
            if coincide(segments, named.place.split("/")):
                yield named

    def _read(self, dataset: Dataset) -> _Read:
        layers = dataset.environments.items()
        found = [(layer, text) for layer, definition in layers for text in self._texts(definition)]
        places = _placed(text for _, text in found if "${" not in text)
        return _Read(dataset, places, tuple((layer, text) for layer, text in found if "${" in text))

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
        self._settings: dict[str, _Setting] = {}
        self._held = False

    def of(self, dataset: Dataset) -> frozenset[str]:
        """Every place that the definition in force in some environment names; what runs choose in it is left open."""
        read = self._written.of(dataset)
        return read.places | self._written.filled(read, self._setting(dataset.domain)) if read.texts else read.places

    def sharing(self, places: Iterable[str], *, but: str) -> Sequence[Dataset]:
        """The datasets of the realm ``but`` one that name one of these places, one inside it, or one around it."""
        sought = list(places)
        if not sought:
            return ()
        self._hold_all()
        meeting = (named for place in sought for named in self._written.meeting(place))
        found = {named.dataset.name: named.dataset for named in meeting if self._stands(named)}
        found.pop(but, None)
        return tuple(found.values())

    def _hold_all(self) -> None:
        if not self._held:
            datasets = self._realm.datasets.values()
            self._written.hold((dataset, self._setting(dataset.domain)) for dataset in datasets)
            self._held = True

    def _stands(self, named: _Named) -> bool:
        """Whether it is named in this realm, and not only in another one that was read before."""
        dataset, setting = named.dataset, named.setting
        stands = self._realm.datasets.get(dataset.name) is dataset
        return stands and (setting is None or setting is self._setting(dataset.domain))

    def _setting(self, domain: str) -> _Setting:
        known = self._settings.get(domain)
        if known is None:
            known = self._settings[domain] = self._written.setting(self._realm, domain)
        return known


def _filled(text: str, dataset: Dataset, layer: str, setting: _Setting) -> Iterator[str]:
    """The text as it is served; of a variable without a value nothing is served."""
    for environment in setting.environments if layer == BASE else (layer,):
        if layer == BASE and environment in dataset.environments:
            continue
        # Of an environment that is none any more, only what stands for all counts.
        variables = setting.variables.get(environment, setting.variables[BASE])
        try:
            yield str(with_variables({"place": text}, variables)["place"])
        except InvalidDefinition:
            continue


def _fixed(place: str) -> str:
    """The segments before the first that holds a placeholder, each with a slash behind it."""
    placeholder = place.find("{")
    return f"{place}/" if placeholder < 0 else place[: place.rfind("/", 0, placeholder) + 1]


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


def coincide(one: Sequence[str], other: Sequence[str]) -> bool:
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
