"""The service's own secret: made once, read by its owner alone, and never too short."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from muniment.core.problems import CannotStart
from muniment.identity import secret


def test_the_first_start_makes_a_secret_that_its_owner_alone_reads(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    secret.made(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(secret.read(path)) == 64
    assert [file.name for file in path.parent.iterdir()] == ["secret"]


def test_a_secret_that_stands_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secret.made(path)
    stood = secret.read(path)
    secret.made(path)
    assert secret.read(path) == stood


def test_two_deployments_have_two_secrets(tmp_path: Path) -> None:
    for name in ("one", "other"):
        secret.made(tmp_path / name)
    assert secret.read(tmp_path / "one") != secret.read(tmp_path / "other")


def test_of_several_who_start_at_once_all_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def start(_: int) -> bytes:
        secret.made(path)
        return secret.read(path)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(40)))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_what_is_around_the_secret_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"\n{'s' * 32}\n\n")
    assert secret.read(tmp_path / "secret") == b"s" * 32


@pytest.mark.parametrize("held", [b"", b"\n", b"short", b"s" * 31])
def test_a_short_secret_is_refused_with_what_makes_another_and_not_shown(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "secret").write_bytes(held)
    with pytest.raises(CannotStart, match="openssl rand") as refused:
        secret.read(tmp_path / "secret")
    assert "short\n" not in refused.value.detail
    assert "sss" not in refused.value.detail


def test_without_a_secret_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="openssl rand"):
        secret.read(tmp_path / "nowhere")


def test_where_none_can_be_kept_the_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="MUNIMENT_SECRET_FILE"):
        secret.made(tmp_path / "file" / "secret")
