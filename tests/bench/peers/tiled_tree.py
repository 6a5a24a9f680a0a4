"""The listing as Tiled holds it: containers with metadata, half of which the access policy lets through.

Imported by Tiled's own Python; ``ENTRIES`` says how many there are.
"""

from __future__ import annotations

import os
from typing import Any

from tiled.access_control.access_policies import DummyAccessPolicy
from tiled.adapters.mapping import MapAdapter
from tiled.queries import Eq


class Halves(DummyAccessPolicy):
    """Whoever asks may read what is of sales."""

    async def filters(self, *_: Any, **__: Any) -> list[Eq]:
        """The query that what is listed has to satisfy."""
        return [Eq("domain", "sales")]


def _entry(place: int) -> tuple[str, MapAdapter]:
    domain = ("people", "sales")[place % 2]
    metadata = {
        "domain": domain,
        "type": "pandas.ParquetDataset",
        "filepath": f"s3://lake/orders_{place:05}.parquet",
        "description": f"Orders of part {place}",
    }
    return f"{domain}_orders_{place:05}", MapAdapter({}, metadata=metadata)


tree = MapAdapter(dict(map(_entry, range(int(os.environ["ENTRIES"])))))
