"""The issuer and the small company that tests of the doors begin with: founded once in a process, then copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from demo.issuer import RunningIssuer, running_issuer
from tests.databases import MadeDatabase, Template


@pytest.fixture(scope="session")
def issuer() -> Iterator[RunningIssuer]:
    """The issuer of the tests of the doors. Its keys stay as they are."""
    from tests.api.running import PEOPLE

    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture(scope="session")
async def made_company(issuer: RunningIssuer, made_template: Callable[[str], Template]) -> MadeDatabase:
    """Makes the URL of a database in which a small company stands."""
    # The whole service is imported with these: only by those who ask for it.
    from tests.api.running import found_company, running

    template = made_template("small_company")
    async with running(issuer, template.url) as started:
        await found_company(started)
    return template.copied


@pytest.fixture(scope="module")
def module_company(made_company: MadeDatabase) -> Iterator[str]:
    """The URL of a database with a small company in it that the tests of a module share."""
    with made_company() as url:
        yield url
