"""Secrets that stand in files: read so that no exception passes a frame that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kedro_muniment.problems import plain
from kedro_muniment.sign_in.tokens import Token

#: The longest file that is read: a large key has some kilobytes, a token of many claims too.
LONGEST: Final = 64 * 1024


def read(path: str) -> Token | str:
    """The text of the file, without blanks around it; or why there is none, in words that follow a colon."""
    try:
        with Path(path).open("rb") as file:
            held = Token(file.read(LONGEST + 1).decode("ascii", errors="replace").strip())
    except OSError as failed:
        return plain(failed.strerror or type(failed).__name__)
    except ValueError:
        return "that is no path"
    if len(held.revealed()) > LONGEST:
        return f"it holds more than {LONGEST:,} characters"
    return held or "it is empty"
