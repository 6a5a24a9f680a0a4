"""What stands in the catalog where the project may not have the real thing: every use says why.

Left out of the catalog, a refused name would become a silent ``MemoryDataset``, or be caught by one of the
project's own patterns. Standing in it, it also answers in a notebook, where no hook fires.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from kedro.io import AbstractDataset, DatasetError

from kedro_muniment.problems import RunRefused

TYPE: Final = "kedro_muniment.entries.refused.RefusedDataset"


class UseRefused(RunRefused, DatasetError):
    """A dataset may not be used so. It is what Kedro expects of a dataset, and one sentence on a command line."""


def definition(sentence: str) -> dict[str, Any]:
    """A catalog entry that refuses with this sentence. Braces in it would be placeholders to Kedro."""
    return {"type": TYPE, "sentence": sentence.replace("{", "<").replace("}", ">")}


def behind(error: BaseException) -> UseRefused | None:
    """The refusal that an error of Kedro's came from, if it came from one.

    Kedro writes the dataset's name before it (``DatasetError(…) from refusal``); from a worker process only the text of
    a refusal comes back.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UseRefused):
            return cause
        if isinstance(error, DatasetError) and f"\n{UseRefused.__module__}.{UseRefused.__name__}: " in str(cause):
            return UseRefused(str(error))
        cause = cause.__cause__
    return None


class RefusedDataset(AbstractDataset[Any, Any]):
    """Refuses to be loaded, saved or looked for."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def load(self) -> NoReturn:
        raise UseRefused(self._sentence)

    def save(self, data: Any) -> NoReturn:  # noqa: ARG002
        raise UseRefused(self._sentence)

    def exists(self) -> NoReturn:
        raise UseRefused(self._sentence)

    def _describe(self) -> dict[str, Any]:
        return {"refused": self._sentence}
