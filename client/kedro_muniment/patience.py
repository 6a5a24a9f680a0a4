"""A question that takes no longer than a given time as a whole, whatever the network does.

An HTTP client's limits are for each read: who is sent one byte a second waits for ever. And looking up a name has no
limit at all. So whoever waits does it beside the question, in a thread that is left behind where it takes too long.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Said = TypeVar("Said")


def within(seconds: float, ask: Callable[[], Said]) -> Said | None:
    """What was answered, or ``None`` where that took too long. What is raised there is raised here, without its frames.

    What asks must end by itself some time, and must not matter once nobody waits for it: a renewal of tokens does.
    """
    answers: queue.SimpleQueue[Said | BaseException] = queue.SimpleQueue()

    def asking() -> None:
        try:
            answers.put(ask())
        except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
            answers.put(error.with_traceback(None))

    try:
        threading.Thread(target=asking, name="kedro-muniment", daemon=True).start()
    except RuntimeError:  # as the interpreter ends, no thread begins any more (since Python 3.12)
        asking()
    try:
        answer = answers.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        return None
    if isinstance(answer, BaseException):
        raise answer
    return answer
