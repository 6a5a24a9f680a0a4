"""A dataset that keeps its data in this process, and notes each use: for tests of many small runs."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset, DatasetError

HELD: dict[str, Any] = {}
TOUCHED: list[tuple[str, str]] = []


class KeptDataset(AbstractDataset[Any, Any]):
    """Data at a place in :data:`HELD`."""

    def __init__(self, place: str) -> None:
        self._place = place

    def load(self) -> Any:
        TOUCHED.append((self._place, "load"))
        if self._place not in HELD:
            raise DatasetError(f"nothing is at {self._place}")
        return HELD[self._place]

    def save(self, data: Any) -> None:
        TOUCHED.append((self._place, "save"))
        HELD[self._place] = data

    def _describe(self) -> dict[str, Any]:
        return {"place": self._place}
