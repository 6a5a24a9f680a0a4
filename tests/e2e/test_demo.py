"""``./dev demo``: from nothing, again, by a killed one's leavings, and with everything stopped in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.providers.browsing import Browser, loopback_client

ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 240


@dataclass
class Demonstrations:
    """One folder, and the demonstrations that are held in it."""

    folder: Path
    port: int
    env: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "demo", "--data-dir", str(self.folder), "--port", str(self.port), *arguments]

    def hold(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def started(self) -> list[int]:
        """The processes that stand in the folder's own record, once there are two: issuer and service."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            marked = self.folder / "demo.json"
            pids = [pid for pid, _ in json.loads(marked.read_text())["started"]] if marked.exists() else []
            if len(pids) >= 2:
                return pids
            time.sleep(0.05)
        pytest.fail("No servers were started.")


@pytest.fixture(scope="module")
def demonstrations(own_environment, free_port) -> Iterator[Demonstrations]:
    """A folder that the database's own account may enter, too: the server of root runs as nobody."""
    above = Path(tempfile.mkdtemp(prefix="muniment-demo-"))
    above.chmod(0o755)
    yield Demonstrations(above / "demo", free_port(), own_environment(PYTHONUNBUFFERED="1"))
    shutil.rmtree(above)


@pytest.fixture(scope="module")
def before() -> dict[Path, float]:
    """The example project as it was before anybody ran it."""
    return in_project()


@pytest.fixture(scope="module")
def cold(before, demonstrations) -> str:
    """What the first demonstration said, which found nothing."""
    held = demonstrations.hold()
    assert held.returncode == 0, held.stdout + held.stderr
    return held.stdout


def test_a_cold_start_shows_the_main_job_from_end_to_end(cold, demonstrations):
    assert "Everything came true" in cold
    assert "Ann Fischer, sales analyst: kedro run --env prod   (exit 0)" in cold
    assert "Cara Novak, campaign manager: kedro run --env prod   (exit 1)" in cold
    assert "as user:dan, env dev" in cold
    assert cold.count("Error: Nothing was run") == 1
    assert "targets (finance.targets), load: does not exist, or you may not know of it" in cold
    for row in ("user:ann   preflight.allowed", "user:cara  access.denied", "user:dan   preflight.allowed"):
        assert row in cold
    assert "only masked by drivers-stay-unnamed" in cold
    assert "This would contradict case 1 of the policy people-is-closed" in cold
    assert not living_in(demonstrations.folder)


def test_an_approved_request_is_in_the_next_catalog_and_not_in_the_one_before(cold):
    assert "user:ann loads finance.invoices; 0 lost" in cold
    assert re.search(r"26 datasets at=[0-9T:.-]+Z, 27 now", cold)
    assert re.search(r"user:ann +no +grant:req-", cold)


def test_who_leaves_is_refused_with_the_next_request(cold):
    assert "Your access to Muniment has been ended." in cold
    assert "The key does not hold." in cold
    assert "a new token is let in; the old one and the key are not" in cold
    assert "mun_" not in cold


def test_a_request_is_left_for_whoever_opens_the_pages(cold):
    assert re.search(r"Ann asks for one more +[0-9.]+ s  pending: http://localhost:[0-9]+/requests/", cold)


def test_a_rewritten_row_is_named_and_all_the_others_hold(cold):
    assert re.search(r"audit verify +[0-9.]+ s  changed: row [0-9a-f-]{36}", cold)
    assert "the ledger holds" in cold


def test_the_company_is_of_the_promised_size(cold):
    counts = {what: int(number) for number, what in re.findall(r"(\d+)\s+(\w+)", said_of_the_company(cold))}
    assert counts["domains"] >= 4
    assert counts["datasets"] >= 40
    assert counts["people"] == 12
    assert counts["service"] >= 3
    assert counts["policies"] >= 15
    assert counts["grants"] >= 8


def test_the_checkout_stays_clean(before, cold):
    assert in_project() == before


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is Unix's")
def test_a_start_after_a_kill_finds_everything_and_changes_nothing_and_ctrl_c_leaves_nothing(cold, demonstrations):
    killed = demonstrations.begin()
    started = demonstrations.started()
    read_until(killed, "PostgreSQL, and Muniment on it")
    killed.kill()
    killed.communicate(timeout=60)
    if sys.platform == "linux":
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=30)
        assert not alive

    serving = demonstrations.begin("--keep")
    said = read_until(serving, "goes on serving at")
    assert "what a killed one left behind" in said
    assert "nothing to write" in said
    assert "asked for finance.invoices at an earlier start" in said
    assert revision_in(said) == revision_in(cold)
    pages = re.search(r"http://localhost:[0-9]+", said)[0]
    start = start_page_of("ines", pages)
    assert "Waits for you" in start
    assert "finance.cost_centres" in start
    shown = [line.strip() for line in said.partition("How to go on\n")[2].splitlines()]
    commands = [line for line in shown if line.startswith(("export", "curl", "cd ", str(Path(sys.executable).parent)))]
    assert len(commands) == 8
    tried = subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)],
        env={**demonstrations.env, "COLUMNS": "200"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert tried.returncode == 0, tried.stderr
    for found in (
        "customers.accounts:",
        '"subject":"user:ann"',
        "sales.quarterly_report: load and save",
        "Yes: ",
    ):
        assert found in tried.stdout

    started = [serving.pid, *demonstrations.started(), *(each.pid for each in living_in(demonstrations.folder))]
    serving.send_signal(signal.SIGINT)
    rest, _ = serving.communicate(timeout=60)
    assert serving.returncode == 128 + signal.SIGINT
    assert "Traceback" not in rest
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert not living_in(demonstrations.folder)


def test_being_asked_to_stop_halfway_stops_everything(cold, demonstrations):
    halfway = demonstrations.begin()
    started = demonstrations.started()
    halfway.send_signal(signal.SIGTERM)
    said, _ = halfway.communicate(timeout=60)
    assert halfway.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert not living_in(demonstrations.folder)


def test_a_taken_port_is_told_in_a_sentence(demonstrations, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        held = Demonstrations(tmp_path / "demo", port, demonstrations.env).hold()
    assert held.returncode == 1
    assert f"Port {port} is taken" in held.stderr
    assert "Traceback" not in held.stdout + held.stderr
    assert not living_in(tmp_path)


def test_a_folder_of_somebody_else_is_left_alone(demonstrations, tmp_path):
    treasure = tmp_path / "thesis.txt"
    treasure.write_text("years of work")
    held = Demonstrations(tmp_path, demonstrations.port, demonstrations.env).hold("--fresh")
    assert held.returncode == 1
    assert "no demonstration made" in held.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def start_page_of(person: str, pages: str) -> str:
    """What somebody of the company sees first, once they have said in a browser who they are."""
    with loopback_client() as http:
        begun = http.get(f"{pages}/sign-in")
        address = begun.headers["location"]
        with closing(Browser(address.partition("/authorize")[0], lambda _: {"subject": person})) as at_issuer:
            back = at_issuer.redirected(address)
        # A browser sends what is for HTTPS alone to a plain localhost, too; httpx does not.
        entered = http.get(back, headers=cookies_of(begun))
        assert entered.status_code == 303, entered.text
        page = http.get(pages, headers=cookies_of(entered))
        assert page.status_code == 200, page.text
        return page.text


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in answer.cookies.items())}


def in_project() -> dict[Path, float]:
    """Each file of the example project, and when it was last written."""
    return {file: file.stat().st_mtime for file in (ROOT / "demo" / "project").rglob("*")}


def living_in(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder or were told of it, but for this one."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(folder) in told and process.pid != os.getpid():
            found.append(process)
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a demonstration says up to the line with these words."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    pytest.fail(f"It ended before it said “{words}”:\n{said}")


def revision_in(said: str) -> int:
    """The last revision that a demonstration told of."""
    return int(re.findall(r"revision (\d+)\n", said)[-1])


def said_of_the_company(said: str) -> str:
    return re.search(r"The company has .*?grants\.", said, re.DOTALL)[0]
