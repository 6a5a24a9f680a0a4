"""What a subject's reading of a dataset is bound to: columns masked, rows left out.

The obligations of a decision are policies; here they become what a reader has to do, in
the words of the Iceberg REST catalog's read restrictions: first the rows are filtered by
their original values, then the columns masked. One thing differs: Iceberg finds a column
by the id of its field, which a dataset of Kedro does not have, so a column has its name.

Nothing is left out because it cannot be understood: what is not known, or cannot be told
for this dataset, lets no row through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from muniment.core.datasets import Dataset
from muniment.core.masks import STRICTEST, Mask, MaskAction, read_mask, strictest
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import InvalidPolicy
from muniment.core.realm import Realm
from muniment.core.row_filters import Predicate, conjunction, read_row_filter


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What a reader has to do: ``columns`` are masked, and every predicate of ``rows`` holds for what is left."""

    columns: Mapping[str, MaskAction]
    rows: tuple[Predicate, ...]

    def as_strict_as(self, other: Restrictions) -> bool:
        """Whether nobody learns more under these than under the others."""
        if False in self.rows:
            return True
        masked = all(
            column in self.columns and strictest([action, self.columns[column]]) is self.columns[column]
            for column, action in other.columns.items()
        )
        return masked and all(predicate in self.rows for predicate in other.rows)

    def written(self) -> Mapping[str, object]:
        """As read restrictions; an empty object restricts nothing."""
        projections = [{"column": name, "action": action.value} for name, action in sorted(self.columns.items())]
        rows = conjunction(self.rows)
        return {
            **({"required-column-projections": projections} if projections else {}),
            **({"required-row-filter": rows} if rows is not True else {}),
        }


def restrictions(
    realm: Realm, dataset: Dataset, obligations: Iterable[str], erring: Collection[str] = ()
) -> Restrictions:
    """What the obligations of these ids demand of whoever reads this dataset.

    ``erring`` are those that could not be evaluated: a mask is then the strictest on all its
    columns, a filter lets no row through.
    """
    masked: defaultdict[str, list[MaskAction]] = defaultdict(list)
    rows: list[Predicate] = []
    for id_ in sorted(obligations):
        demanded = _demanded(realm.policy(id_))
        if not isinstance(demanded, Mask):
            rows.append(False if id_ in erring else demanded)
            continue
        hit = demanded.hits(dataset)
        for column in hit:
            masked[column].append(STRICTEST if id_ in erring else demanded.action)
        if not hit:
            rows.append(False)
    return Restrictions({name: strictest(actions) for name, actions in masked.items()}, tuple(rows))


def read_restrictions(
    realm: Realm, dataset: Dataset, obligations: Iterable[str], erring: Collection[str] = ()
) -> Mapping[str, object]:
    """The same as JSON, in Iceberg's words."""
    return restrictions(realm, dataset, obligations, erring).written()


def _demanded(policy: Policy | None) -> Mask | Predicate:
    """What an obligation demands; no row of anything where that cannot be told."""
    try:
        match policy:
            case Policy(kind=PolicyKind.MASK, obligation=Mapping() as payload):
                return read_mask(payload)
            case Policy(kind=PolicyKind.ROW_FILTER, obligation=Mapping() as payload):
                return read_row_filter(payload)
            case _:
                return False
    except InvalidPolicy:
        return False
