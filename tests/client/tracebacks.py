"""What a traceback may show: the local variables of every frame, of an error and of those that it came from."""

from __future__ import annotations

import traceback
from collections.abc import Iterator


def shown(error: BaseException) -> str:
    """All of it, but for the frames of the tests themselves, as a logger of tracebacks writes it."""
    return "\n".join(_shown(error))


def _shown(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield repr(error)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if not frame.f_globals["__name__"].startswith(("tests.", "test_", "_pytest", "pluggy")):
                yield f"{frame.f_code.co_qualname if hasattr(frame.f_code, 'co_qualname') else frame.f_code.co_name}:"
                yield from (f"  {name} = {value!r}" for name, value in frame.f_locals.items())
        error = error.__cause__ or error.__context__
