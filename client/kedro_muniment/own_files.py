"""Files that their user alone reads and writes, where each system has its users' programs keep things.

What a process was killed in is not there: a file is replaced whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

Kind = Literal["cache", "config", "state"]

#: What others than the owner may do with a file.
OTHERS: Final = 0o077

_FOLDER: Final = "kedro-muniment"
#: For each kind: the variable of the XDG base directory specification and where it points by itself; then macOS's
#: folder, and Windows's variable and folder.
_PLACES: Final[Mapping[Kind, tuple[str, str, str, str, str]]] = {
    "cache": ("XDG_CACHE_HOME", ".cache", "Library/Caches", "LOCALAPPDATA", "AppData/Local"),
    "config": ("XDG_CONFIG_HOME", ".config", "Library/Application Support", "APPDATA", "AppData/Roaming"),
    "state": ("XDG_STATE_HOME", ".local/state", "Library/Application Support", "LOCALAPPDATA", "AppData/Local"),
}


def place(kind: Kind) -> Path | None:
    """The plugin's own directory for this kind of things; a user without a home may have none."""
    variable, usual, on_macos, of_windows, on_windows = _PLACES[kind]
    chosen = os.environ.get(of_windows if sys.platform == "win32" else variable)
    if chosen and sys.platform != "darwin":
        return Path(chosen) / _FOLDER
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / {"darwin": on_macos, "win32": on_windows}.get(sys.platform, usual) / _FOLDER


def is_ours_alone(status: os.stat_result) -> bool:
    """Whether what has this status is a file that nobody else could have read or written.

    On Windows the profile that it lies in sees to that. Of a pipe nobody would see the end.
    """
    if not stat.S_ISREG(status.st_mode):
        return False
    return sys.platform == "win32" or (status.st_uid == os.getuid() and not status.st_mode & OTHERS)


def replace(file: Path, content: Callable[[], bytes], *, lasting: bool = False) -> None:
    """Replace a file whole, for its owner alone (0600), or raise :class:`OSError`.

    The content is asked for as it is written: a secret stands in no variable of what may raise. ``lasting``: the disk
    has it when this returns.
    """
    handle, beside = tempfile.mkstemp(dir=file.parent, suffix=".new")  # made 0600
    try:
        with os.fdopen(handle, "wb") as written:
            written.write(content())
            if lasting:
                written.flush()
                os.fsync(written.fileno())
        Path(beside).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise
