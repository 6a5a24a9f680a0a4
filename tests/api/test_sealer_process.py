"""`muniment serve` seals beside serving, whatever happens to the process that does it, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil

from demo.issuer import RunningIssuer
from muniment.core.checkpoints import Note
from tests.api.running import MUNIMENT, environment_for, serving

_SECONDS = 60


def until(found: Callable[[], object], what: str) -> object:
    end = time.monotonic() + _SECONDS
    while not (held := found()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return held


def test_rows_are_sealed_beside_serving_and_by_another_sealer_where_one_was_killed(
    issuer: RunningIssuer, made_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    with made_database() as url:
        told = {"database_url": url, "data_dir": tmp_path / "data"}
        with serving(issuer, tmp_path / "said", sealing="true", **told) as service:

            def sealer() -> psutil.Process | None:
                children = psutil.Process(service.process.pid).children()
                return next((each for each in children if "muniment.sealing" in " ".join(each.cmdline())), None)

            def size() -> int:
                answer = httpx.get(f"{service.base}/v1/ledger/checkpoint", trust_env=False)
                return Note.parse(answer.text).checkpoint.size if answer.status_code == 200 else 0

            def ask() -> None:
                headers = {"Authorization": f"Bearer {issuer.token('root')}"}
                asked = httpx.get(f"{service.base}/v1/keys", headers=headers, trust_env=False)
                assert asked.status_code == 200, asked.text

            ask()
            until(lambda: size() > 1, "nothing was sealed")
            first = sealer()
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            before = size()
            ask()
            until(lambda: size() > before, "nothing was sealed any more")
            second = sealer()
            assert second is not None
            assert second.pid != first.pid
            # Nor does it outlive a service that has no time to stop it.
            os.kill(service.process.pid, signal.SIGKILL)
            until(lambda: not psutil.pid_exists(second.pid), "the sealer lives on")
        environment = environment_for(issuer, **told)
        verified = subprocess.run(
            [MUNIMENT, "audit", "verify", "--json"], env=environment, capture_output=True, text=True, check=False
        )
        verdict = json.loads(verified.stdout)
        assert (verified.returncode, verdict["faults"], verdict["pinned"]) == (0, [], True)
        assert verdict["rows"] >= before
        # It may have been killed after its last seal and before the witness was told of that one.
        assert verdict["seals"] - 1 <= verdict["witnesses"][0]["checkpoints"] <= verdict["seals"]
