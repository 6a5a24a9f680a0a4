"""The platform team's folder of starters, as it stands: read at the start, and again when it was changed.

It is looked at in passing, by the sizes and times of its files. A change is read when two looks find the same: whoever
copies files, or has git bring them, is not met halfway. What cannot be served is not: what was, stays, and why is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from muniment.core.problems import Invalid
from muniment.core.starters.offers import Offer, Shelf, rewritten, shelf
from muniment.core.starters.rendering import check_templates

#: A file: its path, when it was changed, how large it is, and which it is.
_Print = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a worker stands to the folder: when it was read, and what is wrong with it since, if anything is.

    ``rewritten`` are versions that were given out and are not as they were, as far as this worker has seen.
    """

    folder: Path | None = None
    read: datetime | None = None
    refused: str = ""
    rewritten: tuple[int, ...] = ()


class Starters:
    """What projects can be started with now."""

    def __init__(self, folder: Path | None = None, at: datetime | None = None) -> None:
        """Read the folder; of one that cannot be served, Muniment's own is served alone, and it is told."""
        self._read = self._seen = () if folder is None else _prints(folder)
        try:
            self._held = shelf(folder), Standing(folder, at)
        except Invalid as refused:
            self._held = shelf(), Standing(folder, at, refused.detail)

    @property
    def shelf(self) -> Shelf:
        """Every version that is kept."""
        return self._held[0]

    @property
    def newest(self) -> Offer:
        """What is offered now."""
        return self.shelf.newest

    @property
    def standing(self) -> Standing:
        """How it stands to the folder."""
        return self._held[1]

    def look(self, at: datetime) -> bool:
        """Read the folder if it was changed and has come to rest; says whether it was read."""
        held, standing = self._held
        if standing.folder is None:
            return False
        before, self._seen = self._seen, _prints(standing.folder)
        if self._seen == self._read or self._seen != before:
            return False
        self._read = self._seen
        try:
            found = shelf(standing.folder)
            check_templates(found.newest)
        except Invalid as refused:
            self._held = held, replace(standing, refused=refused.detail)
        else:
            changed = sorted({*standing.rewritten, *rewritten(held, found)})
            self._held = found, Standing(standing.folder, at, rewritten=tuple(changed))
        return True


def _prints(folder: Path) -> tuple[_Print, ...]:
    """What tells whether anything in a folder's versions was changed; nothing where it cannot be looked at."""
    return tuple(sorted(_walked(folder)))


def _walked(folder: Path) -> Iterator[_Print]:
    for above, folders, files in os.walk(folder):
        if above == str(folder):
            folders[:] = [name for name in folders if name.isdecimal()]
        for name in files:
            path = os.path.join(above, name)  # noqa: PTH118 - some hundred times, every few seconds
            try:
                found = os.stat(path)  # noqa: PTH116 - the same
            except OSError:
                continue
            yield path, found.st_mtime_ns, found.st_size, found.st_ino
