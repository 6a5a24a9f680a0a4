"""The service does not start unsafely unless it is told to, and then it says so: the real command, each time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.issuer import RunningIssuer, running_issuer
from muniment.core.problems import CannotStart
from muniment.safe_start import dangers, refuse_danger
from muniment.settings import Settings, Surroundings, read, surroundings
from tests.api.running import MUNIMENT, PEOPLE, environment_for, serving

CORP = {"name": "corp", "issuer": "https://id.example.org", "audience": "muniment", "default": True}
MAIL_IN_THE_OPEN = '{"host": "mail.example.org", "from": "m@example.org", "security": "none"}'
HERE = "postgresql://muniment@127.0.0.1:1/muniment"
THERE = "postgresql://muniment@db.example.org/muniment"


@pytest.fixture(scope="module")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as started:
        yield started


def refusal(**settings: object) -> str:
    """Why a start with these settings is refused; empty when it is not."""
    given = {"issuers": issuers(), **settings}
    environ = {(name if name.startswith("PG") else f"MUNIMENT_{name.upper()}"): str(given[name]) for name in given}
    try:
        refuse_danger(read(environ), surroundings(environ))
    except CannotStart as refused:
        return refused.detail
    return ""


def said_by(command: list[object], environment: dict[str, str]) -> str:
    """What a command that fails says: one line."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    *_, line = done.stderr.splitlines()
    return line


def issuers(**changes: object) -> str:
    return json.dumps([{name: value for name, value in {**CORP, **changes}.items() if value is not None}])


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"issuers": issuers(issuer="http://id.example.org")}, "must be an https:// URL"),
        ({"public_url": "http://muniment.example.org"}, "MUNIMENT_PUBLIC_URL is plain HTTP"),
        (
            {"smtp": MAIL_IN_THE_OPEN},
            "Mails and the password of their server (mail.example.org) can be read on the way",
        ),
        ({"host": "0.0.0.0"}, "MUNIMENT_HOST is 0.0.0.0, so other machines reach the service"),  # noqa: S104
        ({"host": "::"}, "MUNIMENT_HOST is ::, so other machines reach the service"),
        ({"database_url": f"{THERE}?sslmode=disable"}, "asked with sslmode=disable"),
        ({"database_url": THERE, "PGSSLMODE": "allow"}, "asked with sslmode=allow"),
        (
            {"database_url": HERE, "database_owner_url": f"{THERE}?sslmode=disable"},
            "write sslmode=verify-full in MUNIMENT_DATABASE_OWNER_URL",
        ),
    ],
    ids=str,
)
def test_what_travels_in_the_open_is_no_start(settings: dict[str, str], what: str) -> None:
    """Each says what mends it, too. Seen to fail with the check taken out."""
    said = refusal(**settings)
    assert what in said
    assert any(mends in said for mends in ("https://", "sslmode=verify-full", '"starttls" or "tls"'))


@pytest.mark.parametrize("audience", [None, "", " \t"])
def test_an_issuer_without_an_audience_is_no_start_whatever_one_is_told(audience: str | None) -> None:
    for insecure in ("false", "true"):
        assert "“audience” " in refusal(issuers=issuers(audience=audience), insecure=insecure)


def test_the_command_tells_every_danger_at_once_and_touches_nothing(issuer: RunningIssuer, tmp_path: Path) -> None:
    given = {"public_url": "http://muniment.example.org", "database_url": f"{THERE}?sslmode=disable"}
    said = said_by([MUNIMENT, "serve", "--upgrade"], environment_for(issuer, data_dir=tmp_path / "data", **given))
    assert said.startswith("muniment: MUNIMENT_PUBLIC_URL is plain HTTP")
    assert "sslmode=verify-full" in said
    assert said.endswith("MUNIMENT_INSECURE=true")
    assert list(tmp_path.iterdir()) == []


def test_what_others_may_read_or_write_is_no_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert f"run: chmod o-w {tmp_path}" in refusal(data_dir=tmp_path)
    tmp_path.chmod(0o755)

    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    for mode in (0o640, 0o604, 0o602):
        secret.chmod(mode)
        assert f"run: chmod 600 {secret}" in refusal(secret_file=secret)
        assert f"run: chmod 600 {secret}" in refusal(data_dir=tmp_path)
    secret.chmod(0o600)
    assert refusal(secret_file=secret, data_dir=tmp_path) == ""

    key = tmp_path / "seals.key"
    key.write_text("a key")
    key.chmod(0o640)
    assert f"run: chmod 600 {key}" in refusal(data_dir=tmp_path)
    assert f"run: chmod 600 {key}" in refusal(seal_key_file=key)


@pytest.mark.parametrize(
    "text",
    [
        'database_url = "postgresql://ann:hunter2@127.0.0.1:1/x"',
        'database_url = "postgresql://127.0.0.1:1/x?user=ann&password=hunter2"',
        """
        [[issuers]]
        name = "corp"
        issuer = "https://id.example.org"
        audience = "muniment"
        default = true
        introspection = {client_id = "muniment", client_secret = "hunter2"}
        """,
    ],
)
def test_a_file_of_settings_with_a_secret_is_not_for_everybody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "muniment.toml"
    file.write_text(text)
    file.chmod(0o644)
    said = refusal(config=file)
    assert f"run: chmod o-rw {file}" in said
    assert "hunter2" not in said
    file.chmod(0o640)
    assert refusal(config=file) == ""
    file.write_text("workers = 1")
    file.chmod(0o644)
    assert refusal(config=file) == ""


def test_a_start_that_was_told_to_be_unsafe_says_so_loudly(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    unsafe = {"public_url": "http://muniment.example.org", "insecure": "true", "database_url": database}
    with serving(issuer, tmp_path / "said", **unsafe) as served:
        told = served.said.read_text()
        ready = httpx.get(f"{served.base}/readyz", trust_env=False)
    assert "THIS SERVICE IS NOT SAFE" in told
    assert "MUNIMENT_PUBLIC_URL is plain HTTP (http://muniment.example.org)" in told
    # Strangers ask this too, and need not know.
    assert "safe" not in ready.text.lower()
    assert "insecure" not in ready.text.lower()


def test_each_worker_refuses_too(issuer: RunningIssuer) -> None:
    """As it may be started by another server than ours. Seen to fail with the check left to the command."""
    environment = environment_for(issuer, database_url=HERE, host="0.0.0.0")  # noqa: S104
    program = "from muniment.app import from_environment; from_environment()"
    assert "MUNIMENT_HOST is 0.0.0.0" in said_by([MUNIMENT.with_name("python"), "-c", program], environment)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0", "public_url": "https://muniment.example.org"},  # noqa: S104
        {"host": "0.0.0.0", "public_url": "http://localhost:8420"},  # noqa: S104 - as in a container
        {"host": "::1"},
        {"host": "localhost", "public_url": "http://[::1]:8420"},
        {"database_url": f"{THERE}?sslmode=verify-full"},
        {"database_url": THERE},
        {"database_url": "postgresql://muniment@127.0.0.1,[::1]:5433,localhost/muniment?sslmode=disable"},
        {"database_url": "postgresql:///muniment?host=/var/run/postgresql&sslmode=disable"},
        {"database_url": "postgresql:///muniment?sslmode=disable"},
    ],
    ids=str,
)
def test_what_is_safe_is_no_danger(tmp_path: Path, settings: dict[str, str]) -> None:
    assert dangers(Settings(data_dir=tmp_path, **settings), Surroundings()) == ()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql://muniment@127.0.0.1,db.example.org/muniment?sslmode=disable", ""),
        ("postgresql://muniment:p%40ss@db.example.org:5432/muniment?sslmode=disable", ""),
        ("postgresql:///muniment?host=db.example.org&sslmode=disable", ""),
        ("postgresql:///muniment?sslmode=disable", "db.example.org"),
        ("postgresql://[2001:db8::1]:5432/muniment?sslmode=disable", ""),
    ],
)
def test_a_database_on_another_machine_is_told_however_it_is_named(tmp_path: Path, url: str, host: str) -> None:
    settings = Settings(data_dir=tmp_path, database_url=url)
    (danger,) = dangers(settings, Surroundings(database_host=host))
    assert "sslmode=disable" in danger


def test_a_plain_issuer_elsewhere_is_believed_only_where_that_was_told(tmp_path: Path) -> None:
    plain = issuers(issuer="http://id.example.org")
    settings = read({"MUNIMENT_ISSUERS": plain, "MUNIMENT_INSECURE": "true", "MUNIMENT_DATA_DIR": str(tmp_path)})
    (danger,) = dangers(settings, Surroundings())
    assert "The issuer “corp” is asked in plain HTTP (http://id.example.org)" in danger


# --- the address of a caller ------------------------------------------------------------------------------------------


def guess(base: str, *through: str) -> int:
    headers = {"Authorization": "Bearer guess", "X-Forwarded-For": ", ".join(through)}
    return httpx.get(f"{base}/v1/whoami", headers=headers, trust_env=False).status_code


def test_nobody_chooses_an_address_by_a_header(issuer: RunningIssuer, database: str, tmp_path: Path) -> None:
    """Not from this machine either. Seen to fail with the server's own trust."""
    limits = json.dumps({"failed_sign_ins": "2/hour"})
    with serving(issuer, tmp_path / "said", database_url=database, limits=limits) as served:
        assert [guess(served.base, f"192.0.2.{number}") for number in range(3)] == [401, 401, 429]


def test_a_trusted_proxy_says_who_calls_and_believes_nobody_before_it(
    issuer: RunningIssuer, database: str, tmp_path: Path
) -> None:
    settings = {
        "limits": json.dumps({"failed_sign_ins": "2/hour"}),
        "trusted_proxies": '["127.0.0.1", "10.1.0.0/16"]',
    }
    with serving(issuer, tmp_path / "said", database_url=database, **settings) as served:
        assert [guess(served.base, f"192.0.2.{number}") for number in range(3)] == [401, 401, 401]
        assert [guess(served.base, f"192.0.2.{n}", "198.51.100.1", "10.1.2.3") for n in range(3)] == [401, 401, 429]
