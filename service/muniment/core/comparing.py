"""Files against what stands, field by field, with what the files said before as the third side.

A field in the files is theirs. Where it stands otherwise, the third side tells why: the files were changed (that is to
be applied), or somebody changed the thing by hand (*drift*: it stays until somebody decides), or both (a *conflict*).
A field that left the files goes back to what it is where nothing is said; the fields that no file ever said are the
pages', and stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from muniment.core.bodies import BY_NAME, DEFAULTS, KINDS, fields_of, from_fields
from muniment.core.files import Written
from muniment.core.kept import Address


class Absent:
    """What stands where a field is not there, or an argument that nobody said."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


class Side(StrEnum):
    """Why a field stands otherwise than files say."""

    FILES = "files"
    HAND = "hand"
    BOTH = "both"


class Verdict(StrEnum):
    """What becomes of a thing."""

    CREATE = "create"
    UPDATE = "update"
    #: Nothing changes; what is kept of it does.
    KEEP = "keep"
    END = "end"
    #: It left the files, and stays: nobody asked to end it.
    LEFT = "left"
    LET_GO = "let go"
    #: It is kept in another source's files.
    ELSEWHERE = "elsewhere"
    SAME = "same"


class Leaving(StrEnum):
    """What becomes of a thing that left the files."""

    STAY = "stay"
    PRUNE = "prune"
    LET_GO = "let go"


@dataclass(frozen=True, slots=True)
class Live:
    """A thing as it stands, or stood (``body`` none, where somebody ended it): what its source keeps, and said last.

    ``base`` is by field, of those whose last word was at another version than the one that stands.
    """

    kind: str
    key: str
    version: int
    body: Mapping[str, Any] | None
    at: str
    by: str
    source: str | None = None
    kept: Mapping[str, int] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        """What the thing is known by."""
        return self.kind, self.key

    def said(self, name: str) -> Any:
        """What the files last said of a field; absent, where they never said it."""
        if name not in self.kept:
            return ABSENT
        if self.body is not None and self.kept[name] == self.version:
            return fields_of(self.body).get(name, ABSENT)
        return self.base.get(name, ABSENT)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that stands otherwise than files say, and why."""

    name: str
    stands: Any
    wanted: Any
    side: Side


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing: what becomes of it, and the fields that differ.

    ``blocked`` says that it may not be applied as it is: somebody has to decide between the files and what stands.
    """

    kind: str
    key: str
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    written: Written | None = None
    live: Live | None = None

    @property
    def address(self) -> Address:
        """What the thing is known by."""
        return self.kind, self.key

    @property
    def blocked(self) -> bool:
        """Whether files and hands changed the same, or another source keeps it."""
        return self.verdict is Verdict.ELSEWHERE or any(each.side is Side.BOTH for each in self.differences)

    @property
    def drifted(self) -> bool:
        """Whether somebody changed by hand what the files keep."""
        return any(each.side is not Side.FILES for each in self.differences)

    @property
    def changes(self) -> bool:
        """Whether applying it changes the thing itself."""
        return self.verdict in {Verdict.CREATE, Verdict.UPDATE, Verdict.END}

    def body(self) -> dict[str, Any]:
        """The thing as it shall be: what stands, with what the files changed; what hands changed stays."""
        standing = fields_of(self.live.body) if self.live is not None and self.live.body is not None else None
        fields = dict(standing if standing is not None else fields_of(DEFAULTS[self.kind]))
        for each in self.differences:
            if each.side is not Side.FILES:
                continue
            if each.wanted is ABSENT:
                fields.pop(each.name, None)
            else:
                fields[each.name] = each.wanted
        return from_fields(fields)

    def keeping(self) -> dict[str, list[str]]:
        """The fields that are kept from now on; of those that hands changed, what was said before stays known."""
        said = self.written.fields.keys() if self.written is not None else set()
        otherwise = {each.name for each in self.differences if each.side is not Side.FILES} & said
        return {"fields": sorted(said - otherwise), "otherwise": sorted(otherwise)}


def compare(
    written: Mapping[Address, Written],
    live: Mapping[Address, Live],
    source: str,
    *,
    leaving: Leaving = Leaving.STAY,
    overwrite: bool = False,
    take_over: bool = False,
) -> tuple[Compared, ...]:
    """What becomes of each thing that files say or that this source keeps, in the order in which it can be done.

    ``overwrite``: what hands changed is put back as files say. ``take_over``: what another source keeps is this one's.
    """
    said = [_one(each, live.get(each.address), source, take_over=take_over) for each in written.values()]
    left = [_left(each, leaving) for each in live.values() if each.source == source and each.address not in written]
    settled = [_settled(each) if overwrite else each for each in (*said, *left)]
    return tuple(_in_order([each for each in settled if each.verdict is not Verdict.SAME or each.differences]))


def same(one: object, other: object) -> bool:
    """Whether two values are one, as JSON tells them apart: 1 is not 1.0, and the order of keys says nothing."""
    if one is ABSENT or other is ABSENT:
        return one is other
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def _one(written: Written, live: Live | None, source: str, *, take_over: bool) -> Compared:
    kind, key = written.address
    if live is not None and live.source not in {None, source}:
        if not take_over:
            return Compared(kind, key, Verdict.ELSEWHERE, written=written, live=live)
        live = replace(live, source=None, kept={}, base={})
    if live is None or (live.body is None and not live.kept):
        wanted = tuple(Difference(name, ABSENT, value, Side.FILES) for name, value in written.fields.items())
        return Compared(kind, key, Verdict.CREATE, wanted, written, live)
    if live.body is None:
        return _ended_by_hand(written, live)
    differences = (*_changed(written, live), *_taken_out(written, live))
    if any(each.side is Side.FILES for each in differences):
        return Compared(kind, key, Verdict.UPDATE, differences, written, live)
    unsettled = {each.name for each in differences}
    is_kept = live.source == source and live.kept.keys() == written.fields.keys() and not _lagging(live, unsettled)
    return Compared(kind, key, Verdict.SAME if is_kept else Verdict.KEEP, differences, written, live)


def _lagging(live: Live, unsettled: Collection[str]) -> bool:
    """Whether what the files said last is not what they say now although both agree with what stands."""
    standing = fields_of(live.body or {})
    return any(not same(live.said(name), standing.get(name, ABSENT)) for name in live.kept.keys() - unsettled)


def _ended_by_hand(written: Written, live: Live) -> Compared:
    """Somebody ended what the files say."""
    differences = tuple(
        Difference(name, ABSENT, value, Side.HAND if same(live.said(name), value) else Side.BOTH)
        for name, value in written.fields.items()
    )
    return Compared(written.kind, written.key, Verdict.SAME, differences, written, live)


def _changed(written: Written, live: Live) -> Iterator[Difference]:
    standing = fields_of(live.body or {})
    for name, wanted in written.fields.items():
        stands = standing.get(name, ABSENT)
        if not same(stands, wanted):
            yield Difference(name, stands, wanted, _side(stands, wanted, live, name))


def _side(stands: object, wanted: object, live: Live, name: str) -> Side:
    """Who moved: where the files never said a field, they do now."""
    if name not in live.kept or same(live.said(name), stands):
        return Side.FILES
    return Side.HAND if same(live.said(name), wanted) else Side.BOTH


def _taken_out(written: Written, live: Live) -> Iterator[Difference]:
    """Fields that left the files, and go back to what they are where nothing is said; unless hands changed them."""
    standing = fields_of(live.body or {})
    for name in sorted(live.kept.keys() - written.fields.keys()):
        stands = standing.get(name, ABSENT)
        if name.partition(".")[0] in BY_NAME:
            usual: Any = ABSENT
        elif name in DEFAULTS[live.kind]:
            usual = DEFAULTS[live.kind][name]
        else:
            continue
        if not same(stands, usual) and same(live.said(name), stands):
            yield Difference(name, stands, usual, Side.FILES)


def _left(live: Live, leaving: Leaving) -> Compared:
    """A thing that left the files. Domains and environments are never ended; a dataset is retired."""
    if live.body is None:
        return Compared(live.kind, live.key, Verdict.SAME, live=live)
    is_over = live.kind in {"domain", "environment"} or live.body.get("lifecycle") == "retired"
    if leaving is Leaving.LET_GO or (leaving is Leaving.PRUNE and is_over):
        return Compared(live.kind, live.key, Verdict.LET_GO, live=live)
    if leaving is Leaving.STAY:
        return Compared(live.kind, live.key, Verdict.LEFT, live=live)
    standing = fields_of(live.body)
    by_hand = tuple(
        Difference(name, standing.get(name, ABSENT), ABSENT, Side.BOTH)
        for name in sorted(live.kept)
        if not same(live.said(name), standing.get(name, ABSENT))
    )
    return Compared(live.kind, live.key, Verdict.END, by_hand, live=live)


def _settled(compared: Compared) -> Compared:
    """The same, with the files' word above that of hands."""
    if not compared.drifted:
        return compared
    differences = tuple(replace(each, side=Side.FILES) for each in compared.differences)
    if compared.verdict is Verdict.END:
        return replace(compared, differences=())
    is_gone = compared.live is not None and compared.live.body is None
    return replace(compared, verdict=Verdict.CREATE if is_gone else Verdict.UPDATE, differences=differences)


_ORDER: Final = {kind: place for place, kind in enumerate(KINDS)}


def _in_order(compared: Iterable[Compared]) -> list[Compared]:
    """Each after what it can rely on: kinds in their order, domains from the top, successors first; ends come last."""
    listed = sorted(compared, key=lambda each: (each.verdict is Verdict.END, *_rank(each)))
    return _successors_first(listed)


def _rank(each: Compared) -> tuple[int, int, str]:
    rank = _ORDER[each.kind]
    return (-rank if each.verdict is Verdict.END else rank, each.key.count("."), each.key)


def _successors_first(listed: list[Compared]) -> list[Compared]:
    datasets = {each.key: each for each in listed if each.kind == "dataset" and each.verdict is not Verdict.END}
    done: dict[str, Compared] = {}
    for key in datasets:
        chain: list[str] = []
        following: str | None = key
        while following in datasets and following not in done and following not in chain:
            chain.append(following)
            written = datasets[following].written
            following = written.fields.get("successor") if written is not None else None
        done.update((name, datasets[name]) for name in reversed(chain))
    ordered = iter(done.values())
    return [next(ordered) if each.kind == "dataset" and each.verdict is not Verdict.END else each for each in listed]
