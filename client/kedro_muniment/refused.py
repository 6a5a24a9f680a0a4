"""What stands in the catalog where the project may not have the real thing: every use says why.

Left out of the catalog, a refused name would become a silent ``MemoryDataset``, or be caught by one of the
project's own patterns. Standing in it, it also answers in a notebook, where no hook fires.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from kedro.io import AbstractDataset, DatasetError

TYPE: Final = "kedro_muniment.refused.RefusedDataset"


def definition(sentence: str) -> dict[str, Any]:
    """A catalog entry that refuses with this sentence. Braces in it would be placeholders to Kedro."""
    return {"type": TYPE, "sentence": sentence.replace("{", "<").replace("}", ">")}


class RefusedDataset(AbstractDataset[Any, Any]):
    """Refuses to be loaded, saved or looked for."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def load(self) -> NoReturn:
        raise DatasetError(self._sentence)

    def save(self, data: Any) -> NoReturn:  # noqa: ARG002
        raise DatasetError(self._sentence)

    def _exists(self) -> NoReturn:
        raise DatasetError(self._sentence)

    def _describe(self) -> dict[str, Any]:
        return {"refused": self._sentence}
