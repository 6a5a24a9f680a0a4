"""A running service on loopback, and a steward who runs commands against it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner, Result

from demo.issuer import RunningIssuer, running_issuer
from muniment.app import create_app
from muniment.cli import main
from tests.api.running import PEOPLE, after_version, found_company, running, settings_for

_START_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """The service at an address, and those who ask it."""

    url: str
    issuer: RunningIssuer

    def ask(self, person: str, method: str, path: str, body: Any = None, after: int | None = None) -> Any:
        """Ask something that succeeds."""
        headers = {"Authorization": f"Bearer {self.issuer.token(person)}"}
        headers |= after_version(after) if after is not None else {}
        answer = httpx.request(method, self.url + path, headers=headers, json=body, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def by_hand(self, person: str, path: str, **fields: Any) -> None:
        """Change some fields of a thing as the pages would."""
        kind = {"policies": "policy"}.get(path.split("/", maxsplit=1)[0], path.split("/", maxsplit=1)[0].rstrip("s"))
        (piece,) = [each for each in self.pieces(person, kind) if each["id"] == path.split("/")[1]]
        self.ask(person, "PUT", f"/v1/{path}", {**piece["body"], **fields}, after=piece["version"])

    def pieces(self, person: str, kind: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.ask(person, "GET", f"/v1/realm?kind={kind}&limit=1000")["items"]
        return listed

    def muniment(self, person: str, *arguments: object, **env: str | None) -> Result:
        """Run a command as a person, with nothing else of Muniment's in the environment."""
        given = {"MUNIMENT_URL": self.url, "MUNIMENT_TOKEN": self.issuer.token(person), **env}
        result = CliRunner().invoke(main, [str(each) for each in arguments], env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert self.issuer.token(person) not in result.output
        print(result.output)
        return result


@pytest.fixture(scope="session")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as started:
        yield started


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "TOKEN", "TOKEN_FILE", "KEY", "WORKLOAD", "CLIENT_ID"):
        monkeypatch.delenv(f"MUNIMENT_{name}", raising=False)


@pytest.fixture(scope="module")
def served(issuer: RunningIssuer, module_database: str) -> Iterator[Served]:
    """A service with a small company in it, shared by the tests of a module: each uses names of its own."""
    asyncio.run(_found(issuer, module_database))
    with serving(issuer, module_database) as url:
        yield Served(url, issuer)


async def _found(issuer: RunningIssuer, database: str) -> None:
    async with running(issuer, database) as started:
        await found_company(started)


@contextmanager
def serving(issuer: RunningIssuer, database: str) -> Iterator[str]:
    """The service in a thread of its own, at a port that was free."""
    app = create_app(settings_for(issuer), database)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (socket,) = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def written(directory: Path, **texts: str) -> Path:
    """Write files; ``datasets__sales_yml`` is ``datasets/sales.yml``."""
    for name, text in texts.items():
        stem, _, ending = name.replace("__", "/").rpartition("_")
        file = directory / f"{stem}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory
