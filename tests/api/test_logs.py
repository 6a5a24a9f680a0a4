"""What the service says is of one form in all of its processes, is known by its request, and holds no secret.

Seen to fail with each of the patterns of secrets taken out, and with lines of a request that did not tell its id.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.issuer import RunningIssuer
from muniment.api.logs import AsJson, AsText, of_request, without_secrets
from tests.api.running import Running, free_port, serving

pytestmark = pytest.mark.anyio

#: No certificate is looked at here; to read those of all authorities anew takes each call longer than the answer.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

KEY = "mun_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLWFubg"

#: What people and libraries write, and the part of it that nobody may read.
PLANTED = [
    (f"Authorization: Bearer {TOKEN}", TOKEN),
    (f"{{'authorization': 'Bearer {TOKEN}'}}", TOKEN),
    (f"the token {TOKEN} is refused", "c2lnbmF0dXJlLW9mLWFubg"),
    (f"key {KEY} was shown", KEY),
    ("Authorization: Basic YW5uOnMzY3IzdC12YWx1ZQ==", "YW5uOnMzY3IzdC12YWx1ZQ=="),
    ("could not connect to postgresql://muniment:s3cr3t-value@db/muniment", "s3cr3t-value"),
    ("redis://:s3cr3t-value@cache:6379/0", "s3cr3t-value"),
    ("connection failed: host=db user=muniment password=s3cr3t-value dbname=x", "s3cr3t-value"),
    ('{"client_secret": "s3cr3t-value", "scope": "openid"}', "s3cr3t-value"),
    ("GET https://idp.example.org/token?client_secret=s3cr3t-value&grant=x", "s3cr3t-value"),
    ("POST /cb?code=s3cr3t-value&state=x", "s3cr3t-value"),
    ("s3://lake/x.csv?sig=s3cr3t-value", "s3cr3t-value"),
    ("https://lake.s3.amazonaws.com/x?X-Amz-Signature=s3cr3t-value&X-Amz-Date=2027", "s3cr3t-value"),
    ("Set-Cookie: __Host-muniment=s3cr3t-value; Secure", "s3cr3t-value"),
    ("{'access_token': b's3cr3t-value'}", "s3cr3t-value"),
]

#: What is said every day, and has nothing to hide.
HARMLESS = [
    "the ledger could not write 12 rows: server closed the connection unexpectedly",
    "MUNIMENT_BOOTSTRAP_ADMIN (user:root) is ignored: the realm has begun, and says itself who administers it.",
    "Muniment serves at http://127.0.0.1:8420 (Ctrl-C stops it)",
    "postgresql://muniment@db:5432/muniment does not answer",
    "2 keys in force were made under another secret than that in /var/lib/muniment/secret",
]


@pytest.fixture
def record() -> logging.LogRecord:
    return logging.LogRecord("muniment", logging.ERROR, __file__, 1, "said", (), None)


@pytest.mark.parametrize(("text", "secret"), PLANTED, ids=[f"{number}" for number in range(len(PLANTED))])
def test_what_looks_like_a_secret_is_not_written(text: str, secret: str) -> None:
    for form in (AsText("%(message)s"), AsJson()):
        said = logging.LogRecord("muniment", logging.ERROR, __file__, 1, "%s", (text,), None)
        assert secret not in form.format(said)
        try:
            raise ValueError(text)  # noqa: TRY301
        except ValueError:
            failed = logging.LogRecord("muniment", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
        assert secret not in form.format(failed)
        assert "ValueError" in form.format(failed)


@pytest.mark.parametrize("text", HARMLESS, ids=[f"{number}" for number in range(len(HARMLESS))])
def test_what_hides_nothing_is_written_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_a_line_is_known_by_its_request_and_its_trace(record: logging.LogRecord) -> None:
    before = of_request.set({"request_id": "0199-one", "trace_id": "0af7"})
    try:
        assert AsText("%(message)s").format(record) == "said request_id=0199-one trace_id=0af7"
        line = json.loads(AsJson().format(record))
    finally:
        of_request.reset(before)
    assert {name: line[name] for name in ("level", "logger", "message", "request_id", "trace_id")} == {
        "level": "error",
        "logger": "muniment",
        "message": "said",
        "request_id": "0199-one",
        "trace_id": "0af7",
    }
    assert AsText("%(message)s").format(record) == "said"
    assert "request_id" not in json.loads(AsJson().format(record))


async def test_a_request_that_fails_is_logged_as_its_own_and_without_what_it_brought(
    fresh: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.app.state.doorkeeper = None
    written: list[str] = []
    # All tests of a process share this handler. A line is written while its request is under way.
    monkeypatch.setattr(caplog.handler, "handle", lambda said: written.append(AsJson().format(said)) is None)
    fresh.http._transport.raise_app_exceptions = False  # type: ignore[attr-defined]

    answer = await fresh.ann.get("/v1/whoami?password=s3cr3t-value", headers={"Cookie": "__Host-muniment=s3cr3t-value"})

    assert answer.status_code == 500
    (line,) = [json.loads(text) for text in written if "A request failed" in text]
    assert line["request_id"] == answer.headers["muniment-request-id"]
    assert "AttributeError" in line["exception"]
    for secret in ("s3cr3t-value", str(fresh.ann.token)[-32:]):
        assert not any(secret in text for text in written)
        assert secret not in answer.text


# --- muniment serve with several workers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def several(
    issuer: RunningIssuer, module_database: str, metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, int]]:
    """A service of two workers that logs in JSON and tells its metrics at an address of their own."""
    place = tmp_path_factory.mktemp("several")
    with serving(
        issuer,
        place / "said.log",
        workers=2,
        log_format="json",
        access_log="true",
        sealing="false",
        metrics=f"127.0.0.1:{metrics_port}",
        data_dir=place,
        database_url=module_database.replace("+psycopg", ""),
    ) as served:
        yield served.base, served.said, served.process.pid


def lines(said: Path) -> list[dict[str, object]]:
    """What was said in whole lines: the last one may be half written yet."""
    whole = said.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def told(port: int) -> dict[str, float]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=PLAIN).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def until(holds: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_each_worker_logs_in_the_same_form_and_its_numbers_outlive_it(
    several: tuple[str, Path, int], metrics_port: int, issuer: RunningIssuer
) -> None:
    base, said, parent = several
    token = issuer.token("ann")

    def answered() -> dict[object, dict[str, object]]:
        return {line["request_id"]: line for line in lines(said) if line["message"] == "answered"}

    def answered_by(times: int) -> dict[str, object]:
        """Which process answered, by the ids of requests; each comes on a connection of its own."""
        ids = set()
        for _ in range(times):
            signed_in = {"Authorization": f"Bearer {token}"}
            answer = httpx.get(f"{base}/v1/whoami", headers=signed_in, trust_env=False, verify=PLAIN)
            assert answer.status_code == 200
            ids.add(answer.headers["muniment-request-id"])
        # The line is written after the answer.
        until(lambda: ids <= answered().keys())
        found = answered()
        assert {found[each]["route"] for each in ids} == {"/v1/whoami"}
        return {str(each): found[each]["process"] for each in ids}

    workers = set(answered_by(20).values())
    assert parent not in workers
    for line in lines(said):
        assert {"time", "level", "logger", "message", "process"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(line["time"]))
    assert token[-32:] not in said.read_text(encoding="utf-8")

    until(lambda: told(metrics_port).get("muniment_http_requests_total", 0) >= 20)
    until(lambda: told(metrics_port)["muniment_workers"] == 2)
    counted = told(metrics_port)["muniment_http_requests_total"]
    os.kill(next(iter(workers)), signal.SIGKILL)  # type: ignore[call-overload]
    until(lambda: told(metrics_port)["muniment_workers"] == 1)
    assert told(metrics_port)["muniment_http_requests_total"] >= counted
    until(lambda: told(metrics_port)["muniment_workers"] == 2)
    assert told(metrics_port)["muniment_http_requests_total"] >= counted
