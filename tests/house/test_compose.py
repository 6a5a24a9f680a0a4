"""The compose file and the image name settings, commands and files that there are, and hold no secret."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from muniment.safe_start import dangers
from muniment.settings import Settings, Surroundings

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)["services"]
DOCKERFILE = (ROOT / "service" / "Dockerfile").read_text(encoding="utf-8")


def muniment(*arguments: str) -> str:
    program = "from muniment.cli import main; main()"
    told = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_every_setting_that_is_named_exists():
    named = set(re.findall(r"\bMUNIMENT_[A-Z_]+", COMPOSE_TEXT + DOCKERFILE))
    assert named
    assert named <= {f"MUNIMENT_{field.upper()}" for field in Settings.model_fields}


def test_the_commands_that_are_called_exist():
    verb, *options = COMPOSE["muniment"]["command"]
    assert re.search(rf"^\s+{verb}\b", muniment("--help"), re.MULTILINE)
    told = muniment(verb, "--help")
    assert all(option in told for option in options)
    assert f'CMD ["{verb}"]' in DOCKERFILE
    assert muniment(*COMPOSE["owner"]["command"], "--help").splitlines()[0].endswith("database upgrade [OPTIONS]")


def test_the_service_is_never_told_the_owners_password():
    assert "POSTGRES_PASSWORD" not in str(COMPOSE["muniment"])
    users = {name: re.findall(r"//(\w+)@", str(COMPOSE[name]["environment"])) for name in ("muniment", "owner")}
    assert users == {"muniment": ["muniment_service"], "owner": ["muniment_service", "muniment"]}
    made = yaml.safe_load(COMPOSE_TEXT)["configs"]["service-role"]["content"]
    assert "CREATE ROLE muniment_service LOGIN PASSWORD :'password';" in made
    assert COMPOSE["muniment"]["depends_on"]["owner"] == {"condition": "service_completed_successfully"}


def test_what_the_image_copies_exists():
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert {"requirements.lock", "migrations/"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {source.partition("/")[0] for source in copied} == kept


def test_the_image_installs_only_what_has_its_hash():
    installs = re.findall(r"(?:pip install|uv build).*?(?= &&|\n(?! ))", DOCKERFILE.replace("\\\n", " "), re.DOTALL)
    assert len(installs) >= 3
    assert all("--require-hashes" in install or "--no-deps dist/" in install for install in installs)


def test_the_image_does_not_run_as_root():
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE) == ["muniment"]
    assert last_stage.index("\nUSER ") < last_stage.index("\nENTRYPOINT ")


@pytest.mark.parametrize("name", [name for name, one in COMPOSE.items() if one.get("restart") != "no"])
def test_every_service_that_stays_says_when_it_is_well(name):
    assert COMPOSE[name]["healthcheck"]["test"]


def test_no_password_is_written_down():
    passwords = [value for one in COMPOSE.values() for name, value in one["environment"].items() if "PASSWORD" in name]
    assert passwords
    assert all(re.fullmatch(r"\$\{[A-Z_]+:(\?.+|-)\}", value) for value in passwords)
    assert not re.search(r"://[^/\s]*:[^/\s]*@", COMPOSE_TEXT)


def test_nothing_listens_beyond_this_machine_by_default():
    ports = [port for one in COMPOSE.values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_compose_starts_is_not_refused_as_unsafe(tmp_path):
    """The port is this machine's alone, and the public address says so."""
    environment = COMPOSE["muniment"]["environment"]
    public_url = re.fullmatch(r"\$\{MUNIMENT_PUBLIC_URL:-(.+)\}", environment["MUNIMENT_PUBLIC_URL"])[1]
    host = re.search(r"MUNIMENT_HOST=(\S+)", DOCKERFILE)[1]
    database_url = environment["MUNIMENT_DATABASE_URL"]
    settings = Settings(host=host, public_url=public_url, database_url=database_url, data_dir=tmp_path)
    assert dangers(settings, Surroundings()) == ()
    assert dangers(Settings(host=host, data_dir=tmp_path), Surroundings())
