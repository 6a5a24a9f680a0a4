"""Shelves: resources in numbered places, and indexes that answer with bitmaps.

A bitmap is a plain ``int``; bit *n* stands for the resource in place *n*. What is found out
about all resources at once is held, and a change mends it: the changed resources make a
small shelf of their own, every held question is asked of that one, and the answers are put
in their places. So what was brought forward and what was built anew are equal by construction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import compress
from typing import Final, Protocol, TypeAlias, TypeVar, Union

from muniment.core.names import alike

#: An entity's type and id.
Uid: TypeAlias = tuple[str, str]

#: A value of Cedar's: an entity is its :data:`Uid`.
Value: TypeAlias = Union[bool, int, str, datetime, Uid, frozenset["Value"], "Truth", "_Missing"]

#: Where something is true, and where it errs.
Marks: TypeAlias = tuple[int, int]

_Key = TypeVar("_Key", bound=Hashable)
_Found = TypeVar("_Found")

#: How many reaches are kept of rules that nobody may ask for any more.
_MOST_STALE: Final = 512

#: How many answers for single subjects are held; then all are found anew.
_MOST_JOINED: Final = 4_096

#: How many patterns, sortings and answers for everybody are held: what was only tried, or ended, leaves some behind.
_MOST_PATTERNS: Final = 1_024
_MOST_SORTINGS: Final = 32
_MOST_HELD: Final = 16_384

#: How many answers for single subjects a change mends, the newest first: whoever needs the changed shelf waits.
_MOST_MENDED: Final = 256


class Truth(Enum):
    """A boolean as sets and keys hold it, where Python would take ``True`` for ``1``."""

    FALSE = 0
    TRUE = 1


def held_as(value: Value) -> Value:
    """A value as sets and keys hold it, so that values of different types never stand for one another."""
    return Truth(value) if isinstance(value, bool) else value


class _Missing:
    """The absence of an attribute."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Row:
    """A resource as conditions read it: what it is, what it is in (itself left out), its attributes."""

    uid: Uid
    above: tuple[Uid, ...]
    attributes: Mapping[str, Value]


#: What resources of a kind are told apart by: the attributes read, or nothing where each is a kind of its own.
_Attributes: TypeAlias = tuple[str, ...] | None

#: How a held answer is found on another shelf.
Find: TypeAlias = Callable[["Shelf"], Marks]


#: Answers by question and key, each with how it is found on another shelf; nothing where that costs too much.
_Held: TypeAlias = dict[tuple[Hashable, Hashable], tuple[Marks, Find | None]]


class Reaching(Hashable, Protocol):
    """Something that reaches resources by what they are, whoever asks."""

    def reach_on(self, shelf: Shelf) -> int:
        """The resources that it reaches."""


@dataclass(slots=True)
class Index:
    """What is known of all resources at once; whatever is not known yet is found when it is first asked for."""

    inside: dict[Uid, int]
    types: dict[str, int]
    tags: dict[Value, int]
    kinds: dict[tuple[str, ...], dict[tuple[Value, ...], int]] = field(default_factory=dict)
    patterns: dict[tuple[str, ...], int] = field(default_factory=dict)
    held: _Held = field(default_factory=dict)
    joined: _Held = field(default_factory=dict)


class Shelf:
    """Rows by name, each in a place that it keeps; indexes over what conditions read of them."""

    def __init__(
        self, rows: Mapping[str, Row], places: Mapping[str, int] | None = None, free: Sequence[int] = ()
    ) -> None:
        self._rows = rows
        self._places = {name: place for place, name in enumerate(rows)} if places is None else places
        self._free = free
        self._names: list[str] | None = None
        #: All resources.
        self.every: int = _bitmap(self._places.values())
        #: The same for all shelves that changes made of one.
        self._family: object = object()
        #: Where each rule reaches; kept by the rules themselves, and mended here.
        self.reaches: dict[Reaching, int] = {}

    @cached_property
    def index(self) -> Index:
        """What is known of all resources at once."""
        return Index(
            inside=_bitmaps((uid, place) for place, row in self._placed() for uid in row.above),
            types=_bitmaps((row.uid[0], place) for place, row in self._placed()),
            tags=_bitmaps((tag, place) for place, row in self._placed() for tag in _tags(row)),
        )

    def akin(self, other: Shelf) -> bool:
        """Whether changes made both shelves of one, and what both hold has the same places in both.

        What went and came again has another place, unless one change did both.
        """
        return self._family is other._family and all(
            other._places.get(name, place) == place for name, place in self._places.items()
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def _placed(self) -> Iterator[tuple[int, Row]]:
        places = self._places
        return ((places[name], row) for name, row in self._rows.items())

    def place(self, name: str) -> int:
        """The number of a resource's bit."""
        return self._places[name]

    def row(self, name: str) -> Row:
        """A resource as conditions read it."""
        return self._rows[name]

    def bits(self, names: Iterable[str]) -> int:
        """The bitmap of those of the names that are here."""
        return _bitmap(self._places[name] for name in names if name in self._places)

    def names(self, bits: int) -> Iterator[str]:
        """The names of the resources in a bitmap, in the order of their places."""
        return compress(self._by_place(), _ones(bits))

    def _by_place(self) -> list[str]:
        if self._names is None:
            names = [""] * (1 + max(self._places.values(), default=-1))
            for name, place in self._places.items():
                names[place] = name
            self._names = names
        return self._names

    # What an index answers.

    def inside(self, uid: Uid) -> int:
        """The resources that are an entity, or are in it."""
        return self.index.inside.get(uid, 0) | self.at(uid)

    def at(self, uid: Value) -> int:
        """The one resource that is this entity, if it is here."""
        if not isinstance(uid, tuple):
            return 0
        place = self._places.get(uid[1])
        return 1 << place if place is not None and self._rows[uid[1]].uid == uid else 0

    def typed(self, type_: str) -> int:
        """The resources of a type."""
        return self.index.types.get(type_, 0)

    def tagged(self, tag: Value) -> int:
        """The resources that carry a tag."""
        return self.index.tags.get(tag, 0)

    def valued(self, attribute: str, value: Value) -> int:
        """The resources whose attribute has a value."""
        return self._of_kinds((attribute,)).get((held_as(value),), 0)

    def lacking(self, attribute: str) -> int:
        """The resources without an attribute."""
        return self.valued(attribute, MISSING)

    def matching(self, pattern: tuple[str, ...]) -> int:
        """The resources whose name a ``like`` matches, by its literals."""
        known = self.index.patterns.get(pattern)
        if known is None:
            known = _kept(self.index.patterns, pattern, self._matched(pattern), _MOST_PATTERNS)
        return known

    def entities(self, attribute: str, among: int) -> frozenset[Uid]:
        """The entities that an attribute of some of the resources is."""
        kinds = self._of_kinds((attribute,)).items()
        return frozenset(value for (value,), bits in kinds if bits & among and isinstance(value, tuple))

    def kinds(self, attributes: _Attributes, among: int) -> Iterator[tuple[Row, int]]:
        """A row and a bitmap for each kind of resource that these attributes tell apart; nothing outside ``among``."""
        if attributes is None or "name" in attributes:
            for name in self.names(among):
                yield self._rows[name], 1 << self._places[name]
            return
        for values, bits in self._of_kinds(attributes).items():
            if bits & among:
                known = {name: value for name, value in zip(attributes, values, strict=True) if value is not MISSING}
                yield Row(("", ""), (), known), bits

    def few_kinds(self, attributes: _Attributes) -> bool:
        """Whether there are so few kinds that to ask about all of them is cheap."""
        if attributes is None or "name" in attributes:
            return False
        return len(self._of_kinds(attributes)) <= _FEW_KINDS

    def _of_kinds(self, attributes: tuple[str, ...]) -> Mapping[tuple[Value, ...], int]:
        known = self.index.kinds.get(attributes)
        if known is None:
            known = _kept(self.index.kinds, attributes, self.sorted_into(attributes), _MOST_SORTINGS)
        return known

    def sorted_into(self, attributes: tuple[str, ...]) -> dict[tuple[Value, ...], int]:
        """The resources by the values of some attributes."""
        return _bitmaps(
            (tuple(row.attributes.get(name, MISSING) for name in attributes), place) for place, row in self._placed()
        )

    def _matched(self, pattern: tuple[str, ...]) -> int:
        return _bitmap(
            place for place, row in self._placed() if "name" in row.attributes and alike(pattern, row.uid[1])
        )

    # What was found out, and is held.

    def held(self, question: Hashable, key: Hashable) -> Marks | None:
        """The answer to a question, if it was found before."""
        found = (self.index.held if key is None else self.index.joined).get((question, key))
        return None if found is None else found[0]

    def hold(self, question: Hashable, key: Hashable, answer: Marks, find: Find | None) -> None:
        """Hold an answer; ``key`` is what it depends on beside the resources.

        ``find`` finds it on another shelf, so that a change can mend it; without that, a change ends it.
        """
        if key is None:
            _kept(self.index.held, (question, key), (answer, find), _MOST_HELD)
        else:
            _kept(self.index.joined, (question, key), (answer, find), _MOST_JOINED)

    def forget_all_but(self, rules: Iterable[Reaching]) -> None:
        """Let go of where rules reach that stand no more, when they become many."""
        kept = set(rules)
        if len(self.reaches) > _MOST_STALE + len(kept):
            self.reaches = {rule: bits for rule, bits in self.reaches.copy().items() if rule in kept}

    # How it changes.

    def after(self, changes: Mapping[str, Row | None]) -> Shelf:
        """The shelf with some rows put or (with nothing) taken away; this one stays as it is."""
        gone = Shelf({name: self._rows[name] for name in changes if name in self._rows})
        come = Shelf({name: row for name, row in changes.items() if row is not None})
        made = Shelf(*self._moved(changes))
        made._family = self._family
        mend = _Mend(gone.places_in(self), come.places_in(made))
        known, old, new = self.index, gone.index, come.index
        # Threads that decide by this shelf may still add to what it knows: hence the copies.
        made.index = Index(
            inside=mend.index(known.inside, old.inside, new.inside),
            types=mend.index(known.types, old.types, new.types),
            tags=mend.index(known.tags, old.tags, new.tags),
            kinds={
                attributes: mend.index(sorted_, gone.sorted_into(attributes), come.sorted_into(attributes))
                for attributes, sorted_ in known.kinds.copy().items()
            },
            patterns={
                pattern: mend.bitmap(bits, come.matching(pattern)) for pattern, bits in known.patterns.copy().items()
            },
            held=mend.answers(known.held.copy(), come),
            joined=mend.answers(dict([*known.joined.copy().items()][-_MOST_MENDED:]), come),
        )
        made.reaches = {rule: mend.bitmap(bits, rule.reach_on(come)) for rule, bits in self.reaches.copy().items()}
        return made

    def _moved(self, changes: Mapping[str, Row | None]) -> tuple[dict[str, Row], dict[str, int], list[int]]:
        rows, places, free = dict(self._rows), dict(self._places), list(self._free)
        for name, row in changes.items():
            if row is None:
                if name in rows:
                    del rows[name]
                    free.append(places.pop(name))
                continue
            if name not in places:
                places[name] = free.pop() if free else len(rows)
            rows[name] = row
        return rows, places, free

    def places_in(self, other: Shelf) -> tuple[int, ...]:
        """Where another shelf has the resources of this one, in the order of the places here."""
        return tuple(other.place(name) for name in self._places)


class _Mend:
    """Puts the bitmaps of a small shelf into those of a large one."""

    def __init__(self, gone: Sequence[int], come: Sequence[int]) -> None:
        self._come = come
        self._keep = ~_bitmap([*gone, *come])

    def bitmap(self, known: int, come: int) -> int:
        """A bitmap with the changed resources in it."""
        return (known & self._keep) | self._spread(come)

    def _spread(self, bits: int) -> int:
        found = 0
        while bits:
            low = bits & -bits
            found |= 1 << self._come[low.bit_length() - 1]
            bits ^= low
        return found

    def index(self, known: Mapping[_Key, int], gone: Mapping[_Key, int], come: Mapping[_Key, int]) -> dict[_Key, int]:
        """An index with the changed resources in it; a key that nothing has any more is left out."""
        made = dict(known)
        for key in gone.keys() | come.keys():
            bits = self.bitmap(made.get(key, 0), come.get(key, 0))
            if bits:
                made[key] = bits
            else:
                made.pop(key, None)
        return made

    def answers(self, held: _Held, come: Shelf) -> _Held:
        """The held answers, with those on the changed resources in them."""
        made: _Held = {}
        for asked, ((true, erred), find) in held.items():
            if find is not None:
                now, errs = find(come)
                made[asked] = (self.bitmap(true, now), self.bitmap(erred, errs)), find
        return made


def _kept(known: dict[_Key, _Found], key: _Key, found: _Found, most: int) -> _Found:
    """What was found, kept with what else is known; of too much, nothing."""
    if len(known) >= most:
        known.clear()
    known[key] = found
    return found


_BITS: Final = [bytes((byte >> bit) & 1 for bit in range(8)) for byte in range(256)]


def _ones(bits: int) -> bytes:
    """A byte for each bit, the lowest first."""
    return b"".join(map(_BITS.__getitem__, bits.to_bytes((bits.bit_length() + 7) // 8, "little")))


def _bitmap(places: Iterable[int]) -> int:
    listed = list(places)
    if len(listed) < _FEW:
        found = 0
        for place in listed:
            found |= 1 << place
        return found
    room = bytearray(max(listed) // 8 + 1)
    for place in listed:
        room[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(room, "little")


#: Up to this many kinds of resources all are asked about, and the answers held.
_FEW_KINDS: Final = 64

#: Below this many bits a bitmap is put together bit by bit.
_FEW: Final = 8


def _bitmaps(found: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    places: defaultdict[_Key, list[int]] = defaultdict(list)
    for key, place in found:
        places[key].append(place)
    return {key: _bitmap(listed) for key, listed in places.items()}


def _tags(row: Row) -> frozenset[Value]:
    tags = row.attributes.get("tags")
    return tags if isinstance(tags, frozenset) else frozenset()
