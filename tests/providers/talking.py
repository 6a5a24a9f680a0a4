"""How a test talks with a provider that it runs: in lines of JSON, over the provider's standard input and output.

What is asked here needs no address of its own, so a provider serves nothing that a real one
would not; and a process that reads its standard input hears it when its parent is gone.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

#: How long an answer, or the end, may take on a machine that does much else.
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Talk:
    """A provider's process, and the way to tell it something."""

    issuer: str
    _process: subprocess.Popen[str]
    _errors: IO[str]
    _speaking: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, does: str, **how: object) -> dict[str, Any]:
        """Have the provider do something, and give its answer."""
        with self._speaking:
            return _answered(self._process, self._errors, {"does": does, **how})


@contextmanager
def talking(command: Sequence[str | Path], described: Mapping[str, object]) -> Iterator[Talk]:
    """Start a provider that is described so; it ends with the block, and with this process however that ends."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield Talk(_answered(process, errors, described)["issuer"], process, errors)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _answered(process: subprocess.Popen[str], errors: IO[str], told: Mapping[str, object]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    hangs = threading.Timer(_PATIENCE_SECONDS, process.kill)
    hangs.start()
    try:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    finally:
        hangs.cancel()
    if not line:
        errors.seek(0)
        raise AssertionError(f"the provider ended:\n{errors.read()}")
    answer: dict[str, Any] = json.loads(line)
    assert "error" not in answer, answer
    return answer
