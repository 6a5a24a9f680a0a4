"""The service's own secret: a file beside the database and never in it, the same at every worker and host.

Under it the keys of Muniment's own are hashed, so whoever reads the database can neither
use a key nor try one out. The first start makes it in the data directory; several hosts
are given one file, which the settings name. Whoever loses it loses the keys, and nothing else.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from muniment.core.problems import CannotStart

#: The name of the file in the data directory.
NAME: Final = "secret"

_BYTES: Final = 32
#: The least that a file holds: as many characters as 128 bits take in hexadecimal.
_SHORTEST: Final = 32


def made(path: Path) -> None:
    """Make a secret that only this user reads, where there is none; several processes may try at once."""
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Linked and not renamed: a secret that another process has just made stands.
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    except OSError as failed:
        raise CannotStart(
            f"No secret can be kept in {path} ({failed.strerror}). Let the service write there, or name a file that it "
            "may read: MUNIMENT_SECRET_FILE."
        ) from failed


def read(path: Path) -> bytes:
    """The secret in a file; raises :class:`CannotStart` where there is none, or none that nobody guesses."""
    try:
        secret = path.read_bytes().strip()
    except OSError as failed:
        raise CannotStart(
            f"The service's secret, {path}, cannot be read ({failed.strerror}). Make one with: "
            f"(umask 077; openssl rand -hex {_BYTES} > {path})"
        ) from failed
    if len(secret) < _SHORTEST:
        raise CannotStart(
            f"The service's secret, {path}, is shorter than {_SHORTEST} characters. Make another one with: "
            f"(umask 077; openssl rand -hex {_BYTES} > {path})"
        )
    return secret
