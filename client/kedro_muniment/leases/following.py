"""The lease after one that has ended while a process still works by it.

A training may take longer than a lease holds, and its result is to be saved all the same, if that is still allowed. So
whoever uses a dataset past the end of what gave it asks the service again, once for all datasets of a process, in
whichever process that is. What comes is verified like any other lease, and it alone says what may be done from then on:
nothing here makes a lease longer.
Decision: 0033.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from dataclasses import dataclass, field
from typing import Final

from kedro_muniment.leases import lease as leases
from kedro_muniment.leases.lease import Lease
from kedro_muniment.problems import MunimentError, Unreachable
from kedro_muniment.service import AWAY_SECONDS, Service
from kedro_muniment.sign_in.signing_in import asker

Asked = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Following:
    """What this process was given or refused since, by the service's address and what was asked."""

    leases: dict[tuple[str, Asked], Lease] = field(default_factory=dict)
    #: Why there is none, and until when nobody asks again, on the monotonic clock.
    failures: dict[tuple[str, Asked], tuple[str, float]] = field(default_factory=dict)
    #: Those who come meanwhile wait for the one answer. A handler of a signal may use data in the same thread.
    alone: threading.RLock = field(default_factory=threading.RLock)


_here = _Following()
#: One encoder for all: a start has thousands of definitions.
_written: Final = json.JSONEncoder(sort_keys=True).encode


def lease(url: str, asked: Asked, name: str) -> Lease:
    """A lease of now, as far as this dataset is concerned; the service is asked where none is known.

    Raises the problem where none can be had. A few seconds long it is not tried again then: the threads of a run that
    all come to its end must not wait one after the other.
    """
    place = (url, asked)
    with _here.alone:
        known = _here.leases.get(place)
        if known is not None and not known.is_over(name):
            return known
        said, until = _here.failures.get(place, ("", 0.0))
        if time.monotonic() < until:
            raise Unreachable(said)
        try:
            given = _here.leases[place] = leases.fetch(Service(url, asker(url)), dict(asked))
        except MunimentError as problem:
            _here.failures[place] = problem.message, time.monotonic() + AWAY_SECONDS
            raise
        return given


def fingerprint(definition: object) -> int:
    """What tells whether a dataset is still the one that was given; it is no signature, and need not be."""
    return zlib.crc32(_written(definition).encode())


def _forget_parents() -> None:
    """In a child that was forked: what is known stays known, and nobody holds the lock."""
    _here.alone = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
