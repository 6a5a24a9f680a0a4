"""Settings: where each comes from, what is refused in one sentence, and what ``muniment config`` shows of secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from muniment.core.problems import CannotStart
from muniment.settings import Settings, in_force, read

ISSUER = {"name": "corp", "issuer": "https://id.example.org", "audience": "muniment", "default": True}
SECRET = "hunter2-is-secret"


Set = Callable[[Mapping[str, str]], Settings]


@pytest.fixture
def read_with(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Reads the settings from the environment of this process, with no other variables of Muniment's in it."""
    for name in [name for name in os.environ if name.startswith("MUNIMENT_")]:
        monkeypatch.delenv(name)

    def read_them(variables: Mapping[str, str]) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return read()

    return read_them


def configured(tmp_path: Path, text: str) -> str:
    file = tmp_path / "muniment.toml"
    file.write_text(text)
    return str(file)


def test_nothing_needs_to_be_set(read_with: Set) -> None:
    settings = read_with({})
    assert (settings.host, settings.port, settings.workers, settings.database_url) == ("127.0.0.1", 8420, 1, None)
    assert (settings.lease_hours.users, settings.lease_hours.services) == (12, 72)
    assert settings.issuers == ()


def test_an_empty_variable_is_not_set(read_with: Set) -> None:
    empty = {"MUNIMENT_PORT": "", "MUNIMENT_DATABASE_URL": "", "MUNIMENT_ISSUERS": "", "MUNIMENT_BOOTSTRAP_ADMIN": ""}
    assert read_with(empty) == read_with({})


def test_the_environment_stands_before_the_file_and_the_file_before_what_is_usual(
    read_with: Set, tmp_path: Path
) -> None:
    file = configured(
        tmp_path,
        """
        port = 9000
        host = "0.0.0.0"
        dataset_types = ["acme.Dataset"]
        lease_hours = {users = 1}
        [[issuers]]
        name = "corp"
        issuer = "https://id.example.org"
        audience = "muniment"
        default = true
        """,
    )
    environ = {"MUNIMENT_CONFIG": file, "MUNIMENT_PORT": "9100"}

    settings = read_with(environ)

    assert (settings.host, settings.port, settings.workers) == ("0.0.0.0", 9100, 1)  # noqa: S104
    assert settings.lease_hours.users == 1
    assert [issuer.name for issuer in settings.issuers] == ["corp"]
    shown = {setting.name: setting for setting in in_force(settings)}
    assert shown["MUNIMENT_PORT"].source == "environment"
    assert shown["MUNIMENT_HOST"].source == f"file {file}"
    assert shown["MUNIMENT_WORKERS"].source == "default"
    assert shown["MUNIMENT_ISSUERS"].value == "corp=https://id.example.org"
    assert shown.keys() == {f"MUNIMENT_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"MUNIMENT_PROT": "1"}, "There is no setting MUNIMENT_PROT"),
        ({"MUNIMENT_PROT": "1", "MUNIMENT_A": "1"}, "There is no setting MUNIMENT_A, MUNIMENT_PROT"),
        ({"MUNIMENT_PORT": "many"}, "MUNIMENT_PORT: "),
        ({"MUNIMENT_PORT": "0"}, "MUNIMENT_PORT: "),
        ({"MUNIMENT_WORKERS": "-1"}, "MUNIMENT_WORKERS: "),
        ({"MUNIMENT_LEASE_HOURS": '{"users": 0}'}, "MUNIMENT_LEASE_HOURS: "),
        ({"MUNIMENT_LEASE_HOURS": '{"robots": 1}'}, "MUNIMENT_LEASE_HOURS: "),
        ({"MUNIMENT_LEASE_HOURS": "twelve"}, "MUNIMENT_LEASE_HOURS"),
        ({"MUNIMENT_DATASET_TYPES": "acme.Dataset"}, "MUNIMENT_DATASET_TYPES"),
        ({"MUNIMENT_BOOTSTRAP_ADMIN": "ann"}, "MUNIMENT_BOOTSTRAP_ADMIN: "),
        ({"MUNIMENT_DATABASE_URL": f"mysql://ann:{SECRET}@db/x"}, "MUNIMENT_DATABASE_URL: "),
        ({"MUNIMENT_ISSUERS": "corp"}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_ISSUERS": "{}"}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_ISSUERS": json.dumps([{**ISSUER, "issuer": "http://id.example.org"}])}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_ISSUERS": json.dumps([{**ISSUER, "audiense": "x"}])}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_ISSUERS": json.dumps([ISSUER, ISSUER])}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_ISSUERS": json.dumps([{**ISSUER, "default": False}])}, "MUNIMENT_ISSUERS"),
        ({"MUNIMENT_SMTP": '{"host": "mail.example.org"}'}, "MUNIMENT_SMTP: from: "),
        (
            {"MUNIMENT_SMTP": json.dumps({"host": "mail", "from": "m@example.org", "password": SECRET})},
            "MUNIMENT_SMTP: password: ",
        ),
        ({"MUNIMENT_WITNESSES": '[{"kind": "s3"}]'}, "MUNIMENT_WITNESSES: 0.s3.bucket: "),
        ({"MUNIMENT_CONFIG": "/nowhere/muniment.toml"}, "MUNIMENT_CONFIG names /nowhere/muniment.toml"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_its_name_and_without_secrets(
    read_with: Set, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(CannotStart) as refused:
        read_with(environ)
    assert words in refused.value.detail
    assert SECRET not in refused.value.detail
    assert "\n" not in refused.value.detail
    assert "pydantic" not in refused.value.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "There is no setting prot"),
        ("port = 'many'", "MUNIMENT_PORT: "),
        ("port = ", "is not TOML"),
        ("[lease_hours]\nusers = -1", "MUNIMENT_LEASE_HOURS: "),
        ("[[issuers]]\nname = 'corp'", "MUNIMENT_ISSUERS"),
    ],
)
def test_what_is_wrong_in_the_file_is_refused_by_its_name(
    read_with: Set, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(CannotStart) as refused:
        read_with({"MUNIMENT_CONFIG": configured(tmp_path, text)})
    assert words in refused.value.detail
    assert "\n" not in refused.value.detail


def test_every_wrong_setting_is_told_at_once(read_with: Set) -> None:
    with pytest.raises(CannotStart) as refused:
        read_with({"MUNIMENT_PORT": "many", "MUNIMENT_WORKERS": "none"})
    assert "MUNIMENT_PORT" in refused.value.detail
    assert "MUNIMENT_WORKERS" in refused.value.detail


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://ann:{SECRET}@db:5432/muniment", "postgresql+psycopg://ann:***@db:5432/muniment"),
        (f"postgres://ann:{SECRET}%40x@db/muniment", "postgresql+psycopg://ann:***@db/muniment"),
        ("postgresql://ann@db/muniment", "postgresql+psycopg://ann@db/muniment"),
        ("postgresql:///muniment", "postgresql+psycopg:///muniment"),
        (
            f"postgresql://db/muniment?user=ann&password={SECRET}",
            "postgresql+psycopg://db/muniment?user=ann&password=***",
        ),
        (f"postgresql://db/muniment?sslpassword={SECRET}", "postgresql+psycopg://db/muniment?sslpassword=***"),
    ],
)
def test_a_password_is_never_shown(read_with: Set, url: str, shown: str) -> None:
    environ = {"MUNIMENT_DATABASE_URL": url}
    settings = read_with(environ)
    found = {setting.name: setting.value for setting in in_force(settings)}
    assert found["MUNIMENT_DATABASE_URL"] == shown
    assert SECRET not in repr(settings) + str(settings)


def test_what_belongs_to_the_client_is_no_setting_of_the_service(read_with: Set) -> None:
    read_with({"MUNIMENT_URL": "https://m", "MUNIMENT_TOKEN": "t", "MUNIMENT_ENVIRONMENT": "dev"})
