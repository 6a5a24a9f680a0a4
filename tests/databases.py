"""What makes databases for tests; see ``tests/conftest.py``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

#: Makes the URL of a migrated database, which is there as long as the block.
MadeDatabase = Callable[[], AbstractContextManager[str]]


class Template(NamedTuple):
    """A database to be filled, and left, before there are copies of it."""

    url: str
    copied: MadeDatabase
