"""An upgrade without a pause: the release of before and this one serve side by side on one database.

The page `docs/how-to/upgrade.md` promises it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from demo.issuer import RunningIssuer
from muniment.store import embedded, migrations
from muniment.store.embedded import EmbeddedPostgres
from tests.api.running import Caller, Running, found_company, grant, running, settings_for
from tests.operations.earlier import serving_earlier
from tests.owning import libpq, owned

pytestmark = pytest.mark.anyio

LEASE = "/v1/leases?environment=dev"


@dataclass(frozen=True)
class Both:
    """The two releases; ``before`` has Ann and Root who ask it."""

    now: Running
    before: httpx.AsyncClient
    issuer: RunningIssuer
    url: str

    def earlier(self, name: str) -> Caller:
        return Caller(self.before, self.issuer.token(name))

    def row(self, answer: httpx.Response) -> tuple[object, ...]:
        """The row of an answer, by its receipt."""
        question = "SELECT event, subject, revision FROM ledger WHERE receipt = %s"
        with psycopg.connect(libpq(self.url)) as connection:
            (found,) = connection.execute(question, [answer.headers["muniment-receipt"]]).fetchall()
        return tuple(found)


@pytest.fixture
async def both(
    issuer: RunningIssuer, earlier: Path, empty_database: str, tmp_path: Path, postgres: EmbeddedPostgres
) -> AsyncIterator[Both]:
    """The release of before has founded a company; its database is upgraded while it serves, and this one joins it."""
    secret = settings_for(issuer, data_dir=tmp_path).secret_path
    started = serving_earlier(
        earlier, issuer, tmp_path / "said", "--upgrade", database_url=owned(empty_database), data_dir=tmp_path
    )
    with started as served:
        async with httpx.AsyncClient(base_url=served.base, trust_env=False, timeout=60) as before:
            assert secret.exists()
            await found_company(_Early(before, issuer))  # type: ignore[arg-type]
            migrations.upgrade(owned(empty_database), embedded.SERVICE)
            url = postgres.database_url(empty_database.rpartition("/")[2].partition("?")[0])
            async with running(issuer, url, data_dir=tmp_path) as now:
                yield Both(now, before, issuer, url)


@dataclass(frozen=True)
class _Early:
    """As much of a service as a company is founded with."""

    http: httpx.AsyncClient
    issuer: RunningIssuer

    def __getattr__(self, name: str) -> Caller:
        return Caller(self.http, self.issuer.token(name))


async def test_both_answer_and_record_and_each_keeps_at_once_to_what_the_other_changed(both: Both) -> None:
    now, early = both.now, both.earlier
    for caller in (now.ann, early("ann")):
        answer = await caller.get(LEASE)
        assert (answer.status_code, list(answer.json()["catalog"])) == (200, ["sales.orders"])
        revision = int(answer.headers["muniment-revision"])
        assert both.row(answer) == ("lease.served", "user:ann", revision)

    more = grant("group:analysts", ["load"], on={"dataset": "sales.targets"})
    await early("root").make("/v1/grants/more", more)
    assert [*(await now.ann.get(LEASE)).json()["catalog"]] == ["sales.orders", "sales.targets"]
    ended = await now.root.delete("/v1/grants/more", after=1)
    assert ended.status_code == 204
    assert [*(await early("ann").get(LEASE)).json()["catalog"]] == ["sales.orders"]

    assert len((await early("audrey").read("/v1/ledger?event=lease.served"))["items"]) == 4
    assert len((await now.audrey.read("/v1/ledger?event=lease.served"))["items"]) == 4
