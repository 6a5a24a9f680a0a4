"""Lines of datasets."""

from __future__ import annotations

from muniment.core.datasets import Column, Dataset, Lifecycle
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(dataset: Dataset) -> Body:
    return {
        "owner": dataset.owner,
        "description": dataset.description,
        "tags": sorted(dataset.tags),
        "classification": dataset.classification,
        "sensitivity": dataset.sensitivity,
        "layer": dataset.layer,
        "columns": [
            {"name": column.name, "type": column.type, "description": column.description, "tags": column.tags}
            for column in dataset.columns
        ],
        "lifecycle": dataset.lifecycle,
        "successor": dataset.successor,
        "environments": dataset.environments,
    }


def _read(key: str, version: int, body: Body) -> Dataset:
    return Dataset(
        name=key,
        owner=body["owner"],
        description=body["description"],
        tags=frozenset(body["tags"]),
        classification=body["classification"],
        sensitivity=body["sensitivity"],
        layer=body["layer"],
        columns=tuple(_read_column(column) for column in body["columns"]),
        lifecycle=Lifecycle(body["lifecycle"]),
        successor=body["successor"],
        environments=body["environments"],
        version=version,
    )


def _read_column(column: Body) -> Column:
    return Column(
        name=column["name"], type=column["type"], description=column["description"], tags=tuple(column["tags"])
    )


LINE = Line("dataset", Dataset, tables.datasets, _write, _read)
