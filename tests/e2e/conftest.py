"""Muniment as it is run: a process of its own, on a database of its own, asked over HTTP by people with tokens."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from psycopg import sql

from demo.issuer import RunningIssuer, running_issuer
from muniment.store.embedded import EmbeddedPostgres

PEOPLE = {
    "ada": {"claims": {"name": "Ada, who administers"}},
    "sam": {"claims": {"name": "Sam the steward"}},
    "ann": {"claims": {"name": "Ann the analyst"}},
}
_START_SECONDS = 120


@dataclass
class Api:
    """The service, asked by whom the test says."""

    url: str
    issuer: RunningIssuer
    http: httpx.Client

    def ask(self, person: str, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.issuer.token(person)}", **rest.pop("headers", {})}
        return self.http.request(method, self.url + path, headers=headers, **rest)

    def get(self, person: str, path: str, **params: str) -> Any:
        answer = self.ask(person, "GET", path, params=params, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make(self, person: str, kind: str, name: str, **body: Any) -> Any:
        """Enter something that is not there yet."""
        path = f"/v1/{kind}/{quote(name, safe='')}"
        answer = self.ask(person, "PUT", path, json=body, headers={"If-None-Match": "*"})
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer(PEOPLE) as running:
        yield running


@pytest.fixture(scope="session")
def served(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[str]]:
    """Runs `muniment serve` on an empty database of that name for these issuers; gives its address."""

    @contextmanager
    def serving(database: str, *issuers: Mapping[str, object], **settings: str) -> Iterator[str]:
        maintenance = postgres.owner_database_url("postgres").replace("+psycopg", "", 1)
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        folder, port = tmp_path_factory.mktemp("service"), _free_port()
        env = _own_environment(
            MUNIMENT_DATABASE_URL=postgres.database_url(database),
            MUNIMENT_DATABASE_OWNER_URL=postgres.owner_database_url(database),
            MUNIMENT_DATA_DIR=str(folder),
            MUNIMENT_ISSUERS=json.dumps(issuers),
            MUNIMENT_PORT=str(port),
            **settings,
        )
        log = folder / "service.log"
        with log.open("wb") as said, _loopback_client() as http:
            command = [Path(sys.executable).with_name("muniment"), "serve", "--upgrade"]
            process = subprocess.Popen(command, env=env, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
            try:
                _wait_until_ready(f"http://127.0.0.1:{port}", http, process, log)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(30)

    return serving


@pytest.fixture(scope="session")
def service(issuer: RunningIssuer, served: Callable[..., AbstractContextManager[str]]) -> Iterator[Api]:
    """`muniment serve` on an empty database; Ada administers."""
    corp = {"name": "corp", "default": True, "issuer": issuer.url, "audience": "muniment"}
    with served("e2e", corp, MUNIMENT_BOOTSTRAP_ADMIN="user:ada") as url, _loopback_client() as http:
        yield Api(url, issuer, http)


def _loopback_client() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=60, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def _wait_until_ready(url: str, http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if http.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"Muniment did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """This environment without what is not the test's: settings of Muniment and Kedro, and uses to be reported."""
    return partial(_own_environment, XDG_STATE_HOME=str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port of this machine on which nobody listens."""
    return _free_port


def _own_environment(**added: str) -> dict[str, str]:
    left = {name: value for name, value in os.environ.items() if not name.startswith(("MUNIMENT_", "KEDRO_"))}
    return {**left, "DO_NOT_TRACK": "1", **added}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
