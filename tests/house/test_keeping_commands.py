"""The commands of whoever keeps the ledger: what they say, and that a service that could change it does not start."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from muniment.app import prepare
from muniment.cli import main
from muniment.core.problems import CannotStart
from muniment.identity.seal_keys import SealKeys
from muniment.sealing import sealed_beside
from muniment.settings import Settings
from tests.core.test_exports import as_json_lines, export_of, stored
from tests.owning import libpq, owned

BECAUSE = ("--because", "case 4711")


class Keeper:
    """Runs commands on one database, as the settings say who owns it and who serves."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url, self.owner_url = url, owned(url)
        self.data_dir = data_dir
        SealKeys(data_dir / "seals.key").made()

    def run(self, *arguments: str, **other: str) -> Result:
        given = {
            "DATABASE_URL": self.url,
            "DATABASE_OWNER_URL": self.owner_url,
            "DATA_DIR": str(self.data_dir),
            **other,
        }
        return CliRunner().invoke(main, arguments, env={f"MUNIMENT_{name}": value for name, value in given.items()})

    def told(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout


@pytest.fixture
def keeper(database: str, tmp_path: Path) -> Keeper:
    return Keeper(database, tmp_path)


def test_the_roles_are_shown_and_nothing_is_too_much(keeper: Keeper) -> None:
    told = keeper.told("database", "roles")
    assert told.startswith("The ledger belongs to muniment; the service works as muniment_service.")
    assert re.search(r"^ledger +SELECT, INSERT$", told, re.MULTILINE)
    assert told.endswith("The service may do what it needs, and nothing else.\n")


def test_what_is_too_much_is_told_with_the_statement_that_mends_it(keeper: Keeper) -> None:
    with psycopg.connect(libpq(keeper.url), autocommit=True) as owner:
        owner.execute("GRANT UPDATE ON ledger TO muniment_service")
    done = keeper.run("database", "roles", "--json")
    (difference,) = json.loads(done.stdout)["differences"]
    assert done.exit_code == 1
    assert difference["sql"] == ["REVOKE UPDATE ON ledger FROM PUBLIC, muniment_service"]
    assert "muniment database upgrade mends" in keeper.run("database", "roles").stdout
    keeper.told("database", "upgrade")
    assert json.loads(keeper.told("database", "roles", "--json"))["differences"] == []


def test_one_role_for_everything_is_told_how_to_become_two(keeper: Keeper) -> None:
    done = keeper.run("database", "roles", DATABASE_URL=keeper.owner_url)
    assert done.exit_code == 1
    assert "owns the ledger" in done.stdout
    assert "CREATE ROLE muniment_service LOGIN" in done.stdout


def test_who_said_two_roles_and_has_one_does_not_start(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    """Who never said so goes on as before, and is told loudly at each start. Seen to fail with the look left out."""
    plain = {"database_url": keeper.owner_url, "data_dir": keeper.data_dir}
    with pytest.raises(CannotStart, match=r"owns the ledger.*muniment database roles.*MUNIMENT_INSECURE"):
        asyncio.run(prepare(Settings(**plain, database_owner_url=keeper.owner_url), keeper.owner_url))
    for settings in (Settings(**plain), Settings(**plain, database_owner_url=keeper.owner_url, insecure=True)):
        caplog.clear()
        asyncio.run(prepare(settings, keeper.owner_url))
        (loud,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
        assert "WHOEVER HOLDS THIS SERVICE'S DATABASE ROLE CAN CHANGE WHAT IS RECORDED" in loud.message
    caplog.clear()
    asyncio.run(prepare(Settings(**{**plain, "database_url": keeper.url}), keeper.url))
    assert not [each for each in caplog.records if each.levelno == logging.CRITICAL]


def test_a_role_that_lacks_something_is_told_which_command_gives_it(keeper: Keeper) -> None:
    with psycopg.connect(libpq(keeper.url), autocommit=True) as owner:
        owner.execute("REVOKE INSERT ON ledger FROM muniment_service")
    with pytest.raises(CannotStart, match=r"lacks INSERT on ledger\..*muniment database upgrade"):
        asyncio.run(prepare(Settings(database_url=keeper.url, data_dir=keeper.data_dir), keeper.url))


def test_a_hold_is_put_shown_and_released(keeper: Keeper) -> None:
    assert keeper.told("audit", "holds") == "Nothing is held.\n"
    id_ = keeper.told("audit", "hold", *BECAUSE, "--subject", "user:ann", "--since", "2026-01-01T00:00:00Z").strip()
    (hold,) = json.loads(keeper.told("audit", "holds", "--json"))
    assert (hold["id"], hold["because"], hold["subject"]) == (id_, "case 4711", "user:ann")
    refused = keeper.run("audit", "erase", "user:ann", *BECAUSE)
    assert refused.exit_code == 1
    assert f"user:ann is held ({id_}: case 4711)" in refused.stderr
    assert keeper.told("audit", "release", id_, *BECAUSE).startswith("Released: the rows of user:ann from 2026-01-01")
    assert keeper.told("audit", "holds") == "Nothing is held.\n"


def test_what_would_go_is_said_before_it_goes(keeper: Keeper) -> None:
    assert json.loads(keeper.told("audit", "erase", "user:ann", *BECAUSE, "--dry-run", "--json")) == {
        "who": 0,
        "details": 0,
        "records": 0,
        "beside": {},
        "remaining": {},
    }
    with psycopg.connect(libpq(keeper.url), autocommit=True) as owner:
        owner.execute("SELECT ledger_partition('2020-01-01')")
    assert keeper.told("audit", "retire", "--before", "2020-02", "--dry-run") == "2020-01: 0 rows\n"
    assert keeper.told("audit", "retire", "--before", "2020-01") == "Nothing before 2020-01 is there any more.\n"
    kept = keeper.data_dir / "kept"
    keeper.told("audit", "release", keeper.told("audit", "hold", *BECAUSE).strip(), *BECAUSE)
    told = keeper.told("audit", "retire", "--before", "2020-02", "--to", str(kept))
    file = kept / "muniment-ledger-2020-01.jsonl"
    assert told == f"2020-01 is retired: 0 rows. They are kept in {file}\n"
    assert "0 rows are as they were sealed" in keeper.told("audit", "verify", str(file))


def test_a_format_without_a_folder_retires_nothing(keeper: Keeper) -> None:
    done = keeper.run("audit", "retire", "--before", "2020-02", "--format", "csv")
    assert (done.exit_code, "say where they go" in done.stderr) == (2, True)


def test_nothing_is_retired_unless_somebody_says_how_long_rows_are_kept(keeper: Keeper) -> None:
    assert "Set MUNIMENT_RETENTION" in keeper.run("audit", "retire").stderr
    kept = {"RETENTION": '{"months": 1200}'}
    assert keeper.run("audit", "retire", "--dry-run", **kept).exit_code == 0
    assert "keeps rows for 1200 months" in keeper.run("audit", "retire", "--before", "2020-01", **kept).stderr


def test_who_is_named_nowhere_is_perhaps_written_otherwise(keeper: Keeper) -> None:
    assert keeper.told("audit", "erase", "user:an", *BECAUSE).startswith("Nothing here names user:an.")


def test_a_witness_that_cannot_be_reached_from_here_is_told_with_what_it_lacks(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before anything is served, where a sealer would die of it again and again. Seen to fail without the look."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    bucket = '[{"kind": "s3", "bucket": "audit"}]'
    for command, code in ((("audit", "verify"), 2), (("audit", "seal", "--once"), 1), (("audit", "holds"), 1)):
        done = keeper.run(*command, WITNESSES=bucket)
        assert done.exit_code == code
        assert done.stderr == "muniment: The witness s3://audit/ needs boto3. Install it: pip install 'muniment[s3]'\n"
    settings = Settings(database_url=keeper.url, witnesses=json.loads(bucket))
    with pytest.raises(CannotStart, match="needs boto3"), sealed_beside(settings):
        pytest.fail("a service began to serve")


def test_of_a_file_that_cannot_be_looked_at_nothing_is_found_out(keeper: Keeper, tmp_path: Path) -> None:
    """Which is another exit code than that a file does not hold."""
    events = tmp_path / "events.ocsf"
    events.write_bytes(b'{"activity_id":1,"activity_name":"Create"}\n')
    for arguments, words in (
        ((events,), "holds events of OCSF, which carry no proof. Export as jsonl, csv or parquet."),
        ((tmp_path / "none",), "cannot be read: No such file or directory."),
        ((events, "--key", "a key"), "as GET /v1/ledger/keys tells it."),
    ):
        done = keeper.run("audit", "verify", *map(str, arguments))
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr


@pytest.mark.parametrize("name", ["\ud800", "\x1b[2J\x1b[HThe ledger holds.\x1b[8m", "\u202eevil"])
def test_what_stands_in_a_file_is_shown_as_a_terminal_may_show_it(tmp_path: Path, name: str) -> None:
    told = export_of([stored(0), stored(1)])
    lines = as_json_lines(told)
    absent = {"id": name, "leaf": told[2].leaf.hex()}
    lines[2] = json.dumps({"position": 1, "absent": absent, "path": json.loads(lines[2])["path"]}).encode() + b"\n"
    file = tmp_path / "file.jsonl"
    file.write_bytes(b"".join(lines))
    for arguments in ((), ("--json",)):
        done = CliRunner().invoke(main, ["audit", "verify", str(file), *arguments], color=True)
        assert done.exit_code == 1, done.exception
        assert all(character.isprintable() for character in done.stdout.replace("\n", ""))


def test_the_first_start_of_what_seals_makes_the_key_where_the_settings_name_it_and_says_so(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = keeper.data_dir / "elsewhere" / "seals.key"
    given = {"database_url": keeper.url, "data_dir": keeper.data_dir, "seal_key_file": path}
    asyncio.run(prepare(Settings(**given, sealing=False), keeper.url))
    assert not path.exists()
    asyncio.run(prepare(Settings(**given), keeper.url))
    assert path.stat().st_mode & 0o777 == 0o600
    (told,) = [each.message for each in caplog.records if "seals the ledger was made" in each.message]
    assert str(path) in told
    assert told.endswith(SealKeys(path).current.public.text)


@pytest.mark.parametrize(
    "command", [("erase", "user:ann", *BECAUSE), ("hold", *BECAUSE), ("holds",), ("retire", "--before", "2020-01")]
)
def test_who_does_not_own_the_ledger_is_told_as_whom_it_is_kept(keeper: Keeper, command: tuple[str, ...]) -> None:
    done = keeper.run("audit", *command, DATABASE_OWNER_URL="")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "muniment_service does not: set MUNIMENT_DATABASE_OWNER_URL" in done.stderr
