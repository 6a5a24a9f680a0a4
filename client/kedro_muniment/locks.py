"""A file that one process alone has, as long as it lives: the operating system gives it back, however the process ends.

The lock belongs to the open file, so a child that was forked shares it until it closes its copy (flock(2)).
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def taken(descriptor: int) -> bool:
    """Whether this process has the file now. Closing it gives it back, and so does the process's end."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
