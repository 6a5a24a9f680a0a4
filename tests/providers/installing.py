"""Identity providers that others wrote are installed once, from locks of their own, beside the tests' environment.

A provider is a program to run, not a library to import: its packages stay out of the
environment that Muniment is tested in. It is installed when a test first asks for it, into
a folder that is named by its lock, so a lock that changed is installed anew and an
environment that was removed takes its providers along.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Never

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
_INSTALLED = Path(sys.prefix) / "providers"
_INSTALL_SECONDS = 300


def lack(reason: str) -> Never:
    """Leave a test out because a provider can't run here, and say why. In CI that is a failure, never silence."""
    if os.environ.get("CI"):
        pytest.fail(f"CI runs every provider, and this one can't run: {reason}", pytrace=False)
    pytest.skip(reason)


def installed(name: str, made_from: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """The folder in which a provider stands; it is installed there if it is not yet.

    Several processes may ask at once: one installs, the others wait. A folder is there
    whole or not at all.
    """
    content = hashlib.sha256(b"".join(file.read_bytes() for file in made_from)).hexdigest()
    folder = _INSTALLED / f"{name}-{content[:12]}"
    _INSTALLED.mkdir(exist_ok=True)
    with FileLock(_INSTALLED / f"{name}.lock"):
        if not folder.exists():
            unfinished = _INSTALLED / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            install(unfinished)
            unfinished.replace(folder)
    return folder


def run(command: Sequence[str | Path], cwd: Path) -> None:
    """One step of an installation; whatever keeps it from its end leaves the test out."""
    try:
        subprocess.run(
            command, cwd=cwd, env=_environment(), check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
        )
    except subprocess.CalledProcessError as failed:
        reason = f"{Path(command[0]).name} could not install the provider:\n{failed.stdout}\n{failed.stderr}"
    except (OSError, subprocess.TimeoutExpired) as failed:
        reason = f"the provider could not be installed: {failed}"
    else:
        return
    lack(reason)


def _environment() -> dict[str, str]:
    """That of the tests; and Node trusts whom the machine trusts, as pip and uv do: it has authorities of its own."""
    trusted = {"NODE_USE_SYSTEM_CA": "1"}
    if "SSL_CERT_FILE" in os.environ:
        trusted["NODE_EXTRA_CA_CERTS"] = os.environ["SSL_CERT_FILE"]
    return {**trusted, **os.environ}
