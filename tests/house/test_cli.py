"""``muniment``, run as people run it: a command in a process of its own, and what it says when it may not start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import httpx
import psutil
import psycopg
import pytest

from demo.issuer import RunningIssuer, running_issuer
from muniment.app import prepare
from muniment.cli import main as service_commands
from tests.api.running import (
    MUNIMENT,
    PEOPLE,
    Served,
    environment_for,
    free_port,
    grant,
    running,
    serving,
    settings_for,
)
from tests.owning import libpq

SECRET = "hunter2-is-secret"
#: How long a worker may take to start: a machine may be busy with other things.
PATIENCE_SECONDS = 60

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that ``nobody`` may enter, too: as root, the embedded server runs as nobody."""
    path = Path(tempfile.mkdtemp(prefix="muniment-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run(issuer: RunningIssuer) -> Run:
    """Runs a command to its end; ``port=8420`` is ``MUNIMENT_PORT``."""

    def run_it(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        environment = environment_for(issuer, **{"port": free_port(), **settings})
        return subprocess.run(
            [MUNIMENT, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run_it


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said: one sentence or few, and no trace."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("muniment: ")
    assert SECRET not in lines[0]
    return lines[0]


def execute(url: str, statement: str) -> None:
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        connection.execute(statement)


# --- config ---------------------------------------------------------------------------------------------------------


def test_config_shows_what_is_in_force_and_from_where_without_secrets(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "muniment.toml"
    file.write_text("workers = 3\n")
    url = f"postgresql://muniment:{SECRET}@db/muniment"

    done = run("config", database_url=url, config=file, port=9100)

    assert done.returncode == 0, done.stderr
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert lines["MUNIMENT_DATABASE_URL"] == "postgresql+psycopg://muniment:***@db/muniment  (environment)"
    assert lines["MUNIMENT_WORKERS"] == f"3  (file {file})"
    assert lines["MUNIMENT_PORT"] == "9100  (environment)"
    assert lines["MUNIMENT_HOST"] == "127.0.0.1  (default)"
    assert SECRET not in done.stdout + done.stderr

    as_json = json.loads(run("config", "--json", database_url=url, port=9100).stdout)
    assert {"name": "MUNIMENT_PORT", "value": "9100", "source": "environment"} in as_json
    assert SECRET not in str(as_json)


@pytest.mark.parametrize("command", [["config"], ["serve"], ["database", "upgrade"]])
def test_an_unknown_setting_is_refused_by_its_name(run: Run, command: list[str]) -> None:
    assert "There is no setting MUNIMENT_PROT" in said(run(*command, prot=1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": "many"}, "MUNIMENT_PORT: "),
        ({"issuers": "nonsense"}, "MUNIMENT_ISSUERS"),
        ({"bootstrap_admin": "ann"}, "MUNIMENT_BOOTSTRAP_ADMIN: "),
        ({"database_url": f"mysql://ann:{SECRET}@db/x"}, "MUNIMENT_DATABASE_URL: "),
        ({"database_url": f"postgresql://ann:{SECRET}@db:port/x"}, "MUNIMENT_DATABASE_URL"),
        ({"database_url": f"postgresql://ann:{SECRET}@127.0.0.1:1/x"}, "PostgreSQL does not answer"),
        ({"config": "/nowhere/at/all.toml"}, "MUNIMENT_CONFIG names /nowhere/at/all.toml"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_sentence(run: Run, settings: dict[str, str], words: str) -> None:
    assert words in said(run("serve", **settings))


# --- the database's schema ------------------------------------------------------------------------------------------


def test_an_empty_database_is_not_served_until_it_is_upgraded(run: Run, empty_database: str) -> None:
    refused = said(run("serve", database_url=empty_database))
    assert refused.endswith("Run: muniment database upgrade")

    upgraded = run("database", "upgrade", database_url=empty_database)
    assert (upgraded.returncode, upgraded.stdout) == (0, "The database is at this release's schema.\n")
    assert run("database", "upgrade", database_url=empty_database).returncode == 0


def test_serve_upgrades_a_configured_database_when_it_is_told_to(
    issuer: RunningIssuer, empty_database: str, tmp_path: Path
) -> None:
    with serving(issuer, tmp_path / "said", "--upgrade", database_url=empty_database) as served:
        ready = httpx.get(f"{served.base}/readyz", trust_env=False).json()
    assert ready["checks"] == {"database": "answers", "schema": "current"}


def test_a_database_from_which_a_newer_release_took_something_away_is_left_alone(run: Run, database: str) -> None:
    execute(database, "UPDATE alembic_version SET version_num = '9999'")
    execute(database, "COMMENT ON TABLE alembic_version IS '9998'")
    for command in (["serve"], ["serve", "--upgrade"], ["database", "upgrade"]):
        refused = said(run(*command, database_url=database))
        assert "A newer release has upgraded the database to migration 9999" in refused
        assert "Install that release again" in refused


# --- what has changed since the last start --------------------------------------------------------------------------


def test_an_issuer_that_has_moved_is_refused(run: Run, issuer: RunningIssuer, database: str) -> None:
    asyncio.run(prepare(settings_for(issuer), database))
    moved = [{"name": "corp", "issuer": "https://elsewhere.example.org", "audience": "muniment", "default": True}]

    refused = said(run("serve", database_url=database, issuers=json.dumps(moved)))

    assert f"The issuer 'corp' in MUNIMENT_ISSUERS was {issuer.url} when it was first used" in refused


@pytest.mark.anyio
async def test_an_attribute_that_a_policy_uses_cannot_be_taken_away(
    run: Run, issuer: RunningIssuer, database: str
) -> None:
    cedar = 'forbid (principal, action == Action::"load", resource) unless { principal has clearance };'
    async with running(issuer, database) as service:
        await service.root.make("/v1/policies/cleared", {"cedar": cedar})

    refused = said(run("serve", database_url=database, bootstrap_admin=""))

    assert "The policy cleared does not fit the attributes that MUNIMENT_ISSUERS maps" in refused


def test_the_first_administrator_is_made_on_an_empty_realm_alone(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    with serving(issuer, tmp_path / "first", database_url=database, bootstrap_admin="user:root") as served:
        assert domains(served.base, issuer, "root") == {
            "all": ["declare", "classify", "grant", "approve", "audit", "administer"]
        }
        assert "is ignored" not in served.said.read_text()
    with serving(issuer, tmp_path / "second", database_url=database, bootstrap_admin="user:eve") as served:
        assert domains(served.base, issuer, "eve") == {}
        assert domains(served.base, issuer, "root").keys() == {"all"}
        assert "MUNIMENT_BOOTSTRAP_ADMIN (user:eve) is ignored" in served.said.read_text()


def domains(base: str, issuer: RunningIssuer, who: str) -> dict[str, list[str]]:
    headers = {"Authorization": f"Bearer {issuer.token(who)}"}
    found: dict[str, list[str]] = httpx.get(f"{base}/v1/whoami", headers=headers, trust_env=False).json()["domains"]
    return found


# --- running and stopping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_signal_stops_the_service_and_all_that_it_started(
    issuer: RunningIssuer, place: Path, tmp_path: Path, by: signal.Signals, workers: int
) -> None:
    """The embedded PostgreSQL too. Seen to fail with the signals left to the server: SIGTERM ended it with -15."""
    with serving(issuer, tmp_path / "said", data_dir=place, workers=workers) as served:
        started = psutil.Process(served.process.pid).children(recursive=True)
        assert any("postgres" in process.name() for process in started)

        assert served.stop(by) == 0

        _, alive = psutil.wait_procs(started, timeout=5)
        assert alive == []
        text = served.said.read_text()
        for unwanted in ("Traceback", "Aborted", "ERROR"):
            assert unwanted not in text


def test_two_workers_serve_one_realm_and_one_that_dies_is_replaced(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    """A change at one is honoured at the other: connections are new, so both are asked."""
    headers = {"Authorization": f"Bearer {issuer.token('root')}"}
    with serving(issuer, tmp_path / "said", database_url=database, workers=2) as served:
        version = 0
        for turn in range(10):
            condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
            body = grant("user:x", ["load"], on={"domain": "all"}, because=f"turn {turn}")
            put = httpx.put(
                f"{served.base}/v1/grants/turns", json=body, headers={**headers, **condition}, trust_env=False
            )
            version = put.json()["version"]
            for _ in range(3):
                read = httpx.get(f"{served.base}/v1/grants/turns", headers=headers, trust_env=False)
                assert read.json()["because"] == f"turn {turn}"
        assert served.process.poll() is None

        before = workers_of(served)
        assert len(before) == 2
        psutil.Process(min(before)).kill()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not workers_of(served) - before:
            assert time.monotonic() < deadline, served.said.read_text()
            time.sleep(0.1)
        assert httpx.get(f"{served.base}/healthz", trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200


def workers_of(served: Served) -> set[int]:
    """The processes that serve: the children that live and keep no books for the others."""
    found = set()
    for child in psutil.Process(served.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def test_no_summary_of_a_command_is_cut_off() -> None:
    def summaries(group: click.Group) -> Iterator[str]:
        for command in group.commands.values():
            yield command.get_short_help_str(limit=64)
            if isinstance(command, click.Group):
                yield from summaries(command)

    told = list(summaries(service_commands))
    assert len(told) > len(service_commands.commands)
    assert [each for each in told if each.endswith("...")] == []


def test_help_names_every_command(run: Run) -> None:
    assert {"serve", "database", "config"} <= set(run("--help").stdout.split())
    assert run("--version").stdout.startswith("muniment, version ")
    assert os.access(MUNIMENT, os.X_OK)
