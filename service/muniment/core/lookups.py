"""What somebody may mean who types what they have in hand: an id, a name, or a few words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.oversight import Reader
from muniment.core.problems import Invalid
from muniment.core.realm import Realm
from muniment.core.subjects import Kind, Subject

#: How many datasets are found by words, and how many words are looked for.
MOST_FOUND: Final = 20
_MOST_WORDS: Final = 10


def as_id(text: str) -> UUID | None:
    """The id that this is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def as_subjects(text: str) -> Iterator[Subject]:
    """Whom this may name: a bare name is a user's or a service's."""
    for each in [text] if ":" in text else [f"{kind}:{text}" for kind in Kind]:
        with suppress(Invalid):
            yield Subject.parse(each)


def audited_having(realm: Realm, reader: Reader, text: str) -> Sequence[Dataset]:
    """The datasets that a reader audits and that have all of these words: those first whose names have them."""
    words = [word.removesuffix("s") for word in text.lower().split()][:_MOST_WORDS]
    if not words:
        return []
    datasets = realm.datasets
    audited = [name for name in datasets if reader.everything or datasets[name].domain in reader.audited]
    named = sorted(name for name in audited if _all_in(words, name))
    if len(named) < MOST_FOUND:
        beside = set(named)
        named += sorted(name for name in audited if name not in beside and _all_in(words, _said_of(datasets[name])))
    return [datasets[name] for name in named[:MOST_FOUND]]


def _said_of(dataset: Dataset) -> str:
    columns = [column.name for column in dataset.columns]
    return " ".join((dataset.name, dataset.description, *dataset.tags, *columns)).lower()


def _all_in(words: Sequence[str], text: str) -> bool:
    return all(word in text for word in words)
