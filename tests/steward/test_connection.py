"""How a steward's command finds the service and says who asks, and what it says when that does not work."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from muniment.steward import connection
from tests.steward.conftest import Served, written

SECRET = "never-to-be-seen"


def said(served: Served, tmp_path: Path, exit_code: int, **env: str | None) -> str:
    result = served.muniment("sam", "plan", written(tmp_path, groups_yml="x: {}\n"), **env)
    assert result.exit_code == exit_code, result.output
    assert SECRET not in result.output
    assert result.output.startswith("muniment: ")
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    ("env", "exit_code", "words"),
    [
        ({"MUNIMENT_URL": None}, 1, "Say where Muniment is"),
        ({"MUNIMENT_URL": "lake"}, 1, "is no address of Muniment"),
        ({"MUNIMENT_URL": "http://muniment.example.org"}, 1, "is plain HTTP"),
        ({"MUNIMENT_URL": "https://ann:x@muniment.example.org"}, 1, "without a name or password"),
        ({"MUNIMENT_URL": "http://127.0.0.1:9"}, 4, "cannot be reached at http://127.0.0.1:9"),
        ({"MUNIMENT_TOKEN": SECRET}, 3, "It was asked with MUNIMENT_TOKEN"),
        ({"MUNIMENT_TOKEN": f"Bearer {SECRET}"}, 3, "holds something that is not a token"),
        ({"MUNIMENT_KEY": f"mun_{SECRET}"}, 3, "MUNIMENT_TOKEN and MUNIMENT_KEY are set"),
        ({"MUNIMENT_TOKEN": None, "MUNIMENT_KEY": SECRET}, 3, "does not hold a key of Muniment's"),
        ({"MUNIMENT_TOKEN": None, "MUNIMENT_TOKEN_FILE": "/nowhere/at/all"}, 3, "No token can be read from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value)[:20],
)
def test_what_stands_in_the_way_is_said_in_a_sentence(
    served: Served, tmp_path: Path, env: dict[str, str | None], exit_code: int, words: str
) -> None:
    assert words in said(served, tmp_path, exit_code, **env)


def test_a_token_can_stand_in_a_file(served: Served, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{served.issuer.token('sam')}\n")
    directory = written(tmp_path / "files", source_yml="name: nothing\n")
    result = served.muniment("sam", "plan", directory, MUNIMENT_TOKEN=None, MUNIMENT_TOKEN_FILE=str(token))
    assert result.output == "No changes.\n"


def test_the_client_signs_in_where_it_is_installed(served: Served, tmp_path: Path) -> None:
    """As a CI job does: the platform has written its token into a file."""
    assert [each.value for each in entry_points(group=connection.SIGN_IN)] == [
        "kedro_muniment.sign_in.signing_in:token"
    ]
    token = tmp_path / "token"
    token.write_text(served.issuer.token("sam"))
    directory = written(tmp_path / "files", source_yml="name: nothing\n")
    job = {"MUNIMENT_TOKEN": None, "MUNIMENT_WORKLOAD": "file", "MUNIMENT_TOKEN_FILE": str(token)}
    assert served.muniment("sam", "plan", directory, **job).output == "No changes.\n"
    wrong = {**job, "MUNIMENT_TOKEN_FILE": None}
    refused = served.muniment("sam", "plan", directory, **wrong)
    assert (refused.exit_code, "needs MUNIMENT_TOKEN_FILE" in refused.output) == (3, True)


def test_without_a_credential_and_without_the_client_it_says_what_to_do(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*, group: str) -> list[EntryPoint]:
        return []

    monkeypatch.setattr(connection, "entry_points", none)
    assert "Set MUNIMENT_TOKEN" in said(served, tmp_path, 3, MUNIMENT_TOKEN=None)


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """Something that answers everything alike; gives its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>Sign in to the hotel</html>"), (502, b"Bad gateway"), (200, b'{"items": ['), (200, b"[]")],
    ids=["portal", "gateway", "half", "list"],
)
def test_what_is_not_muniment_is_not_taken_for_it(served: Served, tmp_path: Path, status: int, body: bytes) -> None:
    with answering(status, body) as (url, _):
        assert "not as Muniment does" in said(served, tmp_path, 4, MUNIMENT_URL=url)


def test_a_redirect_is_not_followed_because_the_token_would_travel(served: Served, tmp_path: Path) -> None:
    with answering(200, b"{}") as (elsewhere, asked), answering(302, b"", Location=f"{elsewhere}/x") as (url, _):
        assert "answered 302" in said(served, tmp_path, 4, MUNIMENT_URL=url)
    assert asked == []


def test_what_the_service_says_cannot_play_with_the_terminal(served: Served, tmp_path: Path) -> None:
    body = b'{"title": "No\\u001b[2J", "detail": "way\\u202e", "errors": [{"at": "\\u0007x", "message": "y"}]}'
    with answering(403, body) as (url, _):
        told = said(served, tmp_path, 1, MUNIMENT_URL=url)
    assert not {"\x1b", "\u202e", "\x07"} & set(told)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"revision": 1, "items": [{}], "gone": [], "next": null}', b'{"revision": 1, "items": 5, "gone": []}'],
    ids=["nothing", "an empty thing", "a number"],
)
def test_what_this_version_does_not_understand_is_said_in_a_sentence(
    served: Served, tmp_path: Path, body: bytes
) -> None:
    with answering(200, body) as (url, _):
        assert "does not understand. Install the version" in said(served, tmp_path, 4, MUNIMENT_URL=url)
