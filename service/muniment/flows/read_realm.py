"""A steward reads what they may change, as it is put, with what of it is kept in files: the live side of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from muniment.core.bodies import KINDS, body_of, fields_of, key_of
from muniment.core.datasets import Dataset
from muniment.core.kept import Kept, keepable
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.realm import Change, Noun, Realm
from muniment.core.visibility import visible_successor
from muniment.flows.house import House, aside
from muniment.store import changes, kept
from muniment.store.lines import Standing


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing as it stands: since when and by whom; what is kept of it, and what the files last said of that.

    ``base`` holds the fields that were last applied at another version than the one that stands.
    """

    noun: Noun
    since: Standing
    kept: Kept | None
    base: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gone:
    """A thing that was kept in files, as its source last applied it, and that somebody ended by hand."""

    kept: Kept
    base: Mapping[str, Any]
    since: Standing


@dataclass(frozen=True, slots=True)
class Pieces:
    """A page of the things of one kind, what is gone of those that are kept, and where the next page begins."""

    items: Sequence[Piece]
    gone: Sequence[Gone]
    next: str | None
    revision: int


async def read_realm(house: House, occasion: Occasion, kind: str, limit: int, after: str) -> Pieces:
    """A page of what the asker may put of a kind, in the order of names; ``gone`` comes with the first page."""
    realm = await house.realms.current()
    things = await aside(lambda: _shown(realm, occasion, kind))
    line = next(line for line in changes.LINES if line.kind is KINDS[kind])
    async with house.db.begin() as tx:
        since = await line.standing(tx)
        held = await kept.standing(tx, kind)
        keys = [key for key in sorted(things) if key > after and key in since]
        page = keys[:limit]
        moved = [
            wanted
            for key in page
            if (each := held.get((kind, key))) is not None
            for wanted in each.moved_from(things[key].version)
        ]
        missing = [] if after else [each for (_, key), each in sorted(held.items()) if key not in since and each.fields]
        bases = await kept.at_versions(tx, [*moved, *(wanted for each in missing for wanted in each.moved_from(0))])
        ended = await kept.endings(tx, line, [each.key for each in missing])
    known = await aside(lambda: _known(realm, occasion, kind, _last(missing, bases)))
    await house.ledger.record(
        row(
            occasion,
            Event.RULES_READ,
            Outcome.ALLOWED,
            revision=realm.revision,
            details={"read": "realm", "kind": kind, "listed": len(page), "after": after},
        )
    )
    return Pieces(
        items=[
            Piece(things[key], since[key], found := held.get((kind, key)), _base(found, things[key].version, bases))
            for key in page
        ],
        gone=[Gone(each, _base(each, 0, bases), ended[each.key]) for each in missing if each.key in known],
        next=page[-1] if len(keys) > limit else None,
        revision=realm.revision,
    )


def _base(held: Kept | None, version: int, bases: Mapping[tuple[str, str, int], Noun]) -> dict[str, Any]:
    """What the files last said, of the fields for which that is another version than the one that stands."""
    found = {}
    for field, at in (held.fields if held is not None else {}).items():
        if held is not None and at != version:
            fields = fields_of(body_of(bases[held.kind, held.key, at]))
            found.update({field: fields[field]} if field in fields else {})
    return found


def _last(missing: Sequence[Kept], bases: Mapping[tuple[str, str, int], Noun]) -> list[Noun]:
    """Each ended thing as its source last knew it."""
    return [bases[each.kind, each.key, max(each.fields.values())] for each in missing]


def _known(realm: Realm, occasion: Occasion, kind: str, ended: Sequence[Noun]) -> frozenset[str]:
    """Of things that were ended, those that the asker would be shown if they stood."""
    if not ended:
        return frozenset()
    standing = realm.after(realm.revision, [Change(KINDS[kind], key_of(noun), noun) for noun in ended])
    return frozenset({key_of(noun) for noun in ended} & _shown(standing, occasion, kind).keys())


def _shown(realm: Realm, occasion: Occasion, kind: str) -> Mapping[str, Noun]:
    found = keepable(realm, occasion.asker, occasion.at, kind)
    return {
        key: _successor_cut(realm, occasion, noun) if isinstance(noun, Dataset) else noun for key, noun in found.items()
    }


def _successor_cut(realm: Realm, occasion: Occasion, dataset: Dataset) -> Dataset:
    if dataset.successor is None:
        return dataset
    return replace(dataset, successor=visible_successor(realm, occasion.asker, occasion.at, dataset))
