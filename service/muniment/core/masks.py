"""Masks: which columns a reader does not get as they are, and what they get instead.

The actions are the closed list of the Iceberg REST catalog's read restrictions
(``ReadRestrictions`` in ``rest-catalog-open-api.yaml``, as merged by apache/iceberg#13879
in 2026). One that is not in the list is refused: a reader could only guess what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from muniment.core.datasets import Dataset
from muniment.core.problems import Fault, InvalidPolicy

#: How many columns, and how many tags, one mask names.
MOST_NAMED = 500

#: The longest name of a column, or of its tag, in characters.
LONGEST_NAME = 200

_FIELDS = ("columns", "column_tags", "action")


class MaskAction(StrEnum):
    """What a reader gets in place of a column's value, the strictest first: the less is left of it, the stricter.

    Where several masks meet on a column this order alone decides, never which came first.
    What is left: nothing; the type, and whether there was a value; which values of one query
    are equal; the lengths and the punctuation; which values are equal, for ever; the year; the
    month; four characters at the end, and four at the beginning.
    """

    REPLACE_WITH_NULL = "replace-with-null"
    MASK_TO_FIXED_VALUE = "mask-to-fixed-value"
    SHA_256_QUERY_LOCAL = "sha-256-query-local"
    MASK_ALPHANUM = "mask-alphanum"
    SHA_256_GLOBAL = "sha-256-global"
    TRUNCATE_TO_YEAR = "truncate-to-year"
    TRUNCATE_TO_MONTH = "truncate-to-month"
    SHOW_LAST_4 = "show-last-4"
    SHOW_FIRST_4 = "show-first-4"


_STRICTNESS: Mapping[MaskAction, int] = {action: place for place, action in enumerate(reversed(MaskAction))}

#: What a mask comes down to when it cannot be told what it demands.
STRICTEST = MaskAction.REPLACE_WITH_NULL


@dataclass(frozen=True, slots=True)
class Mask:
    """An action on columns, named outright or by a tag that a steward gave them."""

    action: MaskAction
    columns: tuple[str, ...] = ()
    column_tags: tuple[str, ...] = ()

    def hits(self, dataset: Dataset) -> tuple[str, ...]:
        """The columns of a dataset that are masked, sorted.

        A column named outright is masked whether or not the dataset declares it: what is
        declared is a description, and the data may hold more.
        """
        tagged = (column.name for column in dataset.columns if not set(self.column_tags).isdisjoint(column.tags))
        return tuple(sorted({*self.columns, *tagged}))


def strictest(actions: Iterable[MaskAction]) -> MaskAction:
    """The one of several actions that leaves the least."""
    return max(actions, key=_STRICTNESS.__getitem__)


def read_mask(payload: Mapping[str, object]) -> Mask:
    """The mask that an obligation describes, or :class:`InvalidPolicy` with every fault."""
    faults = list(_faults(payload))
    if faults:
        raise InvalidPolicy(f"This is not a mask: {faults[0].message}", faults)
    return Mask(
        action=MaskAction(str(payload["action"])),
        columns=_names(payload.get("columns")),
        column_tags=_names(payload.get("column_tags")),
    )


def write_mask(mask: Mask) -> Mapping[str, object]:
    """A mask as an obligation, in its one spelling."""
    named = {"columns": list(mask.columns), "column_tags": list(mask.column_tags)}
    return {**{field: names for field, names in named.items() if names}, "action": mask.action.value}


def _faults(payload: Mapping[str, object]) -> Iterator[Fault]:
    for field in sorted(payload.keys() - set(_FIELDS)):
        yield Fault(f"obligation.{field}", f"A mask has {', '.join(_FIELDS)}; {field!r} is none of them.")
    if payload.get("action") not in list(MaskAction):
        yield Fault("obligation.action", f"A mask's action is one of {', '.join(MaskAction)}.")
    for field in ("columns", "column_tags"):
        if not _is_names(payload.get(field, [])):
            message = f"{field} is a list of at most {MOST_NAMED} texts of at most {LONGEST_NAME} characters."
            yield Fault(f"obligation.{field}", message)
    if not payload.get("columns") and not payload.get("column_tags"):
        message = "A mask names its columns, or tags of columns: give columns, column_tags, or both."
        yield Fault("obligation.columns", message)


def _is_names(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= MOST_NAMED
        and all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME for name in value)
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(sorted({str(name) for name in value})) if isinstance(value, list | tuple) else ()
