"""Backups are restored as `docs/how-to/back-up-and-restore.md` says, by its commands; the record tells what is gone.

The lines of its blocks are run by a shell, as PostgreSQL's account; those of `muniment` in this process.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from demo.issuer import RunningIssuer
from muniment import cli
from muniment.flows.seal_ledger import SealingStopped, seal_once
from muniment.identity.seal_keys import SealKeys
from muniment.store import migrations
from muniment.store.databases import Database
from muniment.store.witnesses import FileWitness
from tests.api.running import Caller, Running, environment_for, found_company, grant, revision_of, running
from tests.operations.clusters import Cluster, cluster

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "back-up-and-restore.md"
BLOCKS = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))
ROLES = "CREATE ROLE muniment LOGIN; CREATE ROLE muniment_service LOGIN; CREATE DATABASE muniment OWNER muniment"
LEASE = "/v1/leases?environment=dev"


class Drill:
    """A company's server with Muniment's database in it, the commands of the page, and how far the record goes."""

    def __init__(self, server: Cluster, backup: Path, issuer: RunningIssuer, home: Path) -> None:
        self.server = server
        self.backup = backup
        self.home = home
        self._environment = environment_for(
            issuer,
            database_url=server.url("muniment_service"),
            database_owner_url=server.url("muniment"),
            data_dir=home,
        )
        self.issuer = issuer

    def follow(self, block: str, *, expected: int = 0, **named: str) -> str:
        """Run a block of the page; what its last command says, which must end with this status."""
        said = ""
        lines = BLOCKS[block].replace("/backup", str(self.backup)).splitlines(keepends=True)
        shell = "".join(line for line in lines if not line.startswith("muniment "))
        if shell:
            words = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in named.items())
            said = self.server.run(words + shell)
        own = [line for line in lines if line.startswith("muniment ")]
        for place, line in enumerate(own):
            said = self.muniment(*shlex.split(line)[1:], expected=expected if place == len(own) - 1 else 0)
        return said

    def muniment(self, *arguments: str, expected: int = 0) -> str:
        """A command of Muniment's, in this process."""
        done = CliRunner().invoke(cli.main, arguments, env=self._environment, catch_exceptions=False)
        assert done.exit_code == expected, done.output
        return done.output

    def upgrade(self) -> None:
        migrations.upgrade(self.server.url("muniment"), "muniment_service")

    async def seal(self) -> int:
        db = Database.open(self.server.url("muniment_service"))
        try:
            witness = FileWitness(self.home / "checkpoints.jsonl")
            return await seal_once(db, SealKeys(self.home / "seals.key"), [witness])
        finally:
            await db.close()

    def receipts(self, wanted: list[str]) -> list[str]:
        """Those of these receipts whose rows stand."""
        listed = ", ".join(f"'{receipt}'" for receipt in wanted)
        found = self.server.ask(f"SELECT array_agg(receipt::text) FROM ledger WHERE receipt IN ({listed})")
        return found if isinstance(found, list) else []

    def serve(self) -> AbstractAsyncContextManager[Running]:
        return running(self.issuer, self.server.url("muniment_service"), data_dir=self.home)


@pytest.fixture(scope="module")
async def drill(issuer: RunningIssuer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drill]:
    """A company's server, whose log is kept as the page says, and the company in it."""
    home = tmp_path_factory.mktemp("service")
    with cluster(BLOCKS["postgresql.conf"]) as server:
        drill = Drill(server, server.backup, issuer, home)
        server.run(f"psql --quiet postgres <<<'{ROLES}'")
        drill.upgrade()
        async with drill.serve() as service:
            await found_company(service)
            assert (await service.ann.get(LEASE)).status_code == 200
        await drill.seal()
        yield drill


async def test_a_dump_is_restored_into_a_new_server_and_the_record_is_whole_there(drill: Drill) -> None:
    await asyncio.to_thread(drill.follow, "dump")
    with cluster() as other:
        there = Drill(other, drill.backup, drill.issuer, shutil.copytree(drill.home, other.folder / "service"))
        said = await asyncio.to_thread(there.follow, "restore into a new server")
        assert "The ledger holds." in said
        async with there.serve() as service:
            assert list(await service.ann.catalog()) == ["sales.orders"]
        assert await there.seal() > 0
        await asyncio.to_thread(there.muniment, "audit", "verify")


async def test_a_moment_is_restored_and_what_was_lost_by_it_is_known_for_ever(drill: Drill) -> None:
    async with drill.serve() as service:
        await asyncio.to_thread(drill.follow, "base backup")
        kept = (await service.ann.get(LEASE)).headers["muniment-receipt"]
        await drill.seal()
        moment = str(drill.server.ask("SELECT clock_timestamp()"))
        lost = [(await service.ann.get(LEASE)).headers["muniment-receipt"] for _ in range(3)]
        await drill.seal()

    await asyncio.to_thread(drill.follow, "restore to a moment", MOMENT=moment)

    assert drill.receipts([kept, *lost]) == [kept]
    said = await asyncio.to_thread(drill.follow, "what was lost", expected=1)
    assert "restored" in said
    with pytest.raises(SealingStopped, match="accept-restore"):
        await drill.seal()
    await asyncio.to_thread(drill.follow, "go on from here")
    async with drill.serve() as service:
        assert list(await service.ann.catalog()) == ["sales.orders"]
    assert await drill.seal() > 0
    said = await asyncio.to_thread(drill.muniment, "audit", "verify")
    assert "the disk of the database failed" in said


async def test_a_service_that_was_not_stopped_goes_on_by_what_was_restored(drill: Drill) -> None:
    """The realm came to the same revision by another way, which no number tells."""
    server, copy = drill.server, 'rm -rf "$PGHOST/copy"; cp --archive "$PGDATA" "$PGHOST/copy"'
    async with drill.serve() as service:
        await asyncio.to_thread(server.run, f"pg_ctl stop --silent; {copy}; pg_ctl start --wait --silent --log log")
        other = grant("user:ann", ["load"], on={"dataset": "sales.targets"})
        await made(service, "/v1/grants/other", other)
        assert list(await service.ann.catalog()) == ["sales.orders", "sales.targets"]
        revision = await revision_of(service)
        await asyncio.sleep(1.5)  # It looks each second how far the database has come.

        restore = 'pg_ctl stop --silent --mode immediate; rm -rf "$PGDATA"; mv "$PGHOST/copy" "$PGDATA"'
        await asyncio.to_thread(server.run, f"{restore}; pg_ctl start --wait --silent --log log")
        async with drill.serve() as another:
            await another.root.make("/v1/grants/other", {**other, "on": {"dataset": "sales.emea.leads"}})
            assert await revision_of(another) == revision

        answer = await answered(service.ann, "/v1/catalog?environment=dev")
        assert list(answer.json()) == ["sales.emea.leads", "sales.orders"]


async def answered(caller: Caller, path: str) -> httpx.Response:
    """The first answer that is no 503, which must come soon."""
    async with asyncio.timeout(20):
        answer = await caller.get(path, headers={"Accept": "application/json"})
        while answer.status_code == 503:
            await asyncio.sleep(0.1)
            answer = await caller.get(path, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer


async def made(service: Running, path: str, body: object) -> None:
    await answered(service.root, "/v1/whoami")
    await service.root.make(path, body)
