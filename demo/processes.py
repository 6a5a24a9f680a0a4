"""The processes that the demonstration starts, and ends: all of them, however it ends itself.

Each leads a session of its own, so a Ctrl-C at the keyboard reaches the demonstration alone, which
then stops them in order. Should the demonstration be killed, the kernel asks each to stop (Linux); what
outlived it all the same is stopped by the next start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a distribution of their own

from demo.place import Place

_PATIENCE_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1

Process = subprocess.Popen[bytes]


@dataclass
class Processes:
    """What runs now, the oldest first."""

    place: Place
    running: list[Process] = field(default_factory=list)

    def start(
        self,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str],
        cwd: Path,
        errors: Path | None = None,
        ends_with_input: bool = False,
    ) -> Process:
        """Start a program that writes to ``log``, and what goes wrong to ``errors`` if that is given."""
        with log.open("wb") as output, errors.open("wb") if errors else nullcontext(subprocess.STDOUT) as problems:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if ends_with_input else subprocess.DEVNULL,
                stdout=output,
                stderr=problems,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_bound_to_us(),  # noqa: PLW1509 - before any thread is started
            )
        self.running.append(process)
        self._remember()
        return process

    def stop_all(self) -> None:
        """Stop everything, the newest first."""
        while self.running:
            stop(self.running[-1])
            self.running.pop()
        self._remember()

    def stop_left_over(self) -> int:
        """Stop what a killed demonstration left behind here; how many there were."""
        left = [process for pid, at in self.place.started if (process := _still_there(pid, at))]
        for process in reversed(left):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        _, alive = psutil.wait_procs(left, timeout=_PATIENCE_SECONDS)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._remember()
        return len(left)

    def _remember(self) -> None:
        found = []
        for process in self.running:
            with suppress(psutil.NoSuchProcess):
                found.append((process.pid, psutil.Process(process.pid).create_time()))
        self.place.started = found
        self.place.remember()


def stop(process: Process) -> None:
    """Ask a program to stop, and wait; after a while, insist."""
    if process.poll() is None:
        _ask(process)
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ended(process: Process, seconds: float) -> bool:
    """Whether a program has ended within so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def wait_until(ready: Callable[[], bool], process: Process, seconds: float) -> bool:
    """Whether something came true before the program ended or the time was up."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.03)
    return False


def surroundings(**added: str) -> dict[str, str]:
    """This environment without settings of Muniment and Kedro that are not the demonstration's."""
    foreign = ("MUNIMENT_", "KEDRO_")
    left = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**left, "DO_NOT_TRACK": "1", "NO_COLOR": "1", **added}


def _ask(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    elif os.name == "posix":
        process.send_signal(signal.SIGINT)
    else:
        process.terminate()


def _still_there(pid: int, created: float) -> psutil.Process | None:
    """The process of this id, if it is the one that was created then."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 1:
            return process
    return None


def _bound_to_us() -> Callable[[], None] | None:
    """Called in the child before its program begins: it hears SIGINT when we are gone."""
    if sys.platform != "linux":
        return None
    library: Any = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def bind() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # gone already
            os.kill(os.getpid(), signal.SIGKILL)

    return bind
