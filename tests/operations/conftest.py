"""People who sign in, and the release of before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.issuer import RunningIssuer, running_issuer
from tests.api.running import PEOPLE
from tests.operations.earlier import unpack


@pytest.fixture(scope="session")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the release of before lies; skipped where the history does not reach back to it."""
    folder = tmp_path_factory.mktemp("earlier")
    if not unpack(folder):
        pytest.skip("the history of this checkout does not reach back to the release of before")
    return folder
