"""What a governed dataset means for the project that begins with it: what it needs, and whether it can be loaded.

A project allows itself what runs code and what is not of kedro-datasets: that is a decision of whoever works in it
(``allow_code_formats`` and ``types`` of ``muniment.yml``). So the example leaves such datasets out, and says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from muniment.core.dataset_types import DatasetType, KnownTypes, runs_code
from muniment.core.schema import Action
from muniment.core.starters.rendering import Drawn

#: Types of kedro-datasets for which it has no extra: they need nothing more, or what they need depends.
WITHOUT_EXTRA: Final = frozenset({
    "email.EmailMessageDataset", "ibis.FileDataset", "ibis.TableDataset", "partitions.IncrementalDataset",
    "partitions.PartitionedDataset", "spark.GBQQueryDataset", "spark.SparkDatasetV2",
})  # fmt: skip
_NESTED: Final = ("dataset", "type")


def drawn_of(name: str, actions: Sequence[Action], definition: Mapping[str, object], types: KnownTypes) -> Drawn:
    """A dataset as a project begins with it: what may be done, what it needs, whether the example loads it."""
    extras = {extra for known in _types_in(definition, types) if (extra := extra_of(known)) is not None}
    return Drawn(
        name=name,
        actions=tuple(action.value for action in actions),
        extras=tuple(sorted(extras)),
        left_out=_left_out(actions, definition, types),
    )


def extra_of(known: DatasetType) -> str | None:
    """The extra of kedro-datasets that installs what a type needs, if it has one."""
    if known.experimental or not known.module.startswith("kedro_datasets.") or known.name in WITHOUT_EXTRA:
        return None
    return known.name.lower().replace(".", "-")


def _types_in(definition: Mapping[str, object], types: KnownTypes) -> Iterator[DatasetType]:
    """The types that a definition names, those of definitions within it too."""
    for key in _NESTED:
        value = definition.get(key)
        if isinstance(value, str) and (known := types.find(value)) is not None:
            yield known
        elif isinstance(value, Mapping):
            yield from _types_in(value, types)


def _left_out(actions: Sequence[Action], definition: Mapping[str, object], types: KnownTypes) -> str:
    if Action.LOAD not in actions:
        return "no: it is saved, not loaded"
    named = str(definition.get("type"))
    known = types.find(named)
    if known is None or known.experimental:
        return "no: install its type, and allow it under `types`"
    if not known.loads:
        return "no: its type is not loaded"
    if runs_code(definition, types):
        return "no: loading it can run code; allow it under `allow_code_formats`"
    return ""
