"""What a project used, said to the service: when, which dataset, in which run and node.

A dataset that is served says so itself, at the moment of its use, in whatever process that happens: :func:`used`. It is
spooled at once (``spool.py``) and sent by the process that ran the pipeline, when the run has ended, has failed, or as
the process exits; what a killed one left behind is sent by the next run of the same subject. None of it can fail or
delay a run: sending has a few seconds, and what was not sent waits.

In which run and node something happens is known to Kedro's hooks, which set it here for their own thread
(:func:`run_began`, :func:`node_uses`). A worker has other threads and may be another process; so a dataset remembers
the run in which it was built (:func:`run_here`) and takes that along when it is pickled.
"""

from __future__ import annotations

import atexit
import json
import logging
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from kedro_muniment.problems import MunimentError, NotTaken, Unreachable, plain
from kedro_muniment.use import spool
from kedro_muniment.use.spool import Held, Recipient

if TYPE_CHECKING:
    from kedro_muniment.entries.preflight import Refusal
    from kedro_muniment.leases.lease import Lease
    from kedro_muniment.service import Service

#: How many events the service takes at once, and how large the question may be (it takes 1 MiB).
MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 512 * 1024
#: How many files of those that wait are open at once.
MOST_FILES: Final = 100
#: The longest text of one field that it takes.
LONGEST: Final = 200
#: What is said of what could not be sent.
UNREPORTED: Final = "What was used could not be reported, and is by the next run that can"
#: How long all the sending of one run may take.
SECONDS: Final = 5.0

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline, as Kedro names it."""

    id: str
    pipeline: str | None = None
    session: str | None = None
    project: str | None = None


_run: ContextVar[Run | None] = ContextVar("muniment_run", default=None)
_node: ContextVar[str | None] = ContextVar("muniment_node", default=None)
#: The runs that go on in this process, by id; a child that is forked inherits them.
_running: dict[str, Run] = {}
#: Which node saves a dataset, for saves that happen in another thread than the hook.
_saving: dict[tuple[str | None, str], str] = {}
_services: dict[Recipient, Service] = {}
_pid = os.getpid()


def used(
    action: str,
    *,
    governed: str,
    local: str,
    receipt: str,
    environment: str,
    url: str,
    subject: str,
    outcome: str = "done",
    run: Run | None = None,
    node: str | None = None,
    version: str | None = None,
) -> None:
    """A governed dataset was loaded or saved, or this client refused it. It is written down when this returns.

    ``run`` is what the dataset remembers of the run in which it was built, if anything. A recorded catalog stands at no
    address, and nobody is told what is done with it. It never raises.
    """
    if not _has_address(url):
        return
    try:
        run = run or current_run()
        event = {
            "id": str(uuid4()),
            "at": datetime.now(UTC).isoformat(),
            "dataset": governed,
            "name": local,
            "action": action,
            "outcome": outcome,
            "receipt": receipt,
            "environment": environment,
            "version": version,
            "node": node or _node.get() or _saving.get((run.id if run else None, local)),
        }
        if run is not None:
            event |= {"run": run.id, "pipeline": run.pipeline, "session": run.session, "project": run.project}
        spool.own.add(Recipient(url, subject), {key: _short(said) for key, said in event.items() if said})
    except Exception:
        logger.debug("A use of data could not be written down.", exc_info=True)


def _short(said: str) -> str:
    """What the service takes as one line. Nearly all is one; looking at each character takes as long as all else."""
    return (said if said.isascii() and said.isprintable() else plain(said))[:LONGEST]


def run_refused(lease: Lease, url: str, run: Run, refusals: Iterable[Refusal]) -> None:
    """A run was refused by what this client knew, while the service could not be asked."""
    for refusal in refusals:
        need = refusal.need
        used(
            need.action,
            outcome="refused",
            governed=need.governed,
            local=need.local,
            receipt=lease.receipt,
            environment=lease.environment,
            url=url,
            subject=lease.subject,
            run=run,
            node=", ".join(need.nodes),
        )


def run_here() -> Run | None:
    """The run in which this thread is."""
    return _run.get()


def current_run() -> Run | None:
    """The run in which this thread is; else the only one that goes on in this process."""
    here = run_here()
    if here is not None or len(_running) != 1:
        return here
    return next(iter(_running.values()), None)


def run_began(run: Run) -> None:
    """What is used from now on in this thread, and in those without a run of their own, belongs to this run.

    An earlier one of this thread is over, though nobody said so: somebody has interrupted it.
    """
    earlier = run_here()
    if earlier is not None:
        _running.pop(earlier.id, None)
    _run.set(run)
    _node.set(None)
    _running[run.id] = run


def run_ended(run: Run) -> None:
    _running.pop(run.id, None)
    _run.set(None)
    _node.set(None)
    for place in [place for place in _saving if place[0] == run.id]:
        del _saving[place]


def node_runs(run_id: str | None) -> None:
    """A node runs in this process. In a worker nobody has said of which run before."""
    known = current_run()
    if run_id and (known is None or known.id != run_id):
        _run.set(_running.get(run_id) or Run(run_id))


def node_uses(node: str, *, saving: str | None = None) -> None:
    """What this thread uses next is used by this node; a dataset that it saves may be saved in another thread."""
    _node.set(node)
    if saving is not None:
        run = current_run()
        _saving[run.id if run else None, saving] = node


def node_used() -> None:
    """A worker keeps nothing to itself: one whose run was killed may live on for ever, with its file locked."""
    _node.set(None)
    if multiprocessing.parent_process() is not None:
        spool.own.let_go()


def answering(service: Service, subject: str) -> None:
    """The service took this sign-in for this subject's: what the subject used is sent by it when the process exits."""
    if not _services:
        atexit.register(_send_at_exit)
    if _has_address(service.url):
        _services[Recipient(service.url, subject)] = service


def send(service: Service, subject: str, seconds: float = SECONDS) -> None:
    """Send what waits for a service and is of a subject, in a few seconds; what was not sent goes on waiting."""
    recipient = Recipient(service.url, subject)
    try:
        count = _Sending(service, recipient, time.monotonic() + seconds).all()
    except Unreachable:
        logger.warning("%s: Muniment at %s did not answer.", UNREPORTED, service.url)
    except MunimentError as problem:
        logger.warning("%s: %s", UNREPORTED, plain(problem.message))
    except Exception:  # whatever it is: a report of what ran never fails what ran
        logger.debug("What was used could not be reported to Muniment.", exc_info=True)
    else:
        logger.debug("%d uses of data were reported to %s.", count, service.url)


def _has_address(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _send_at_exit() -> None:
    """What was used outside of a run, or in one that ended without a word."""
    if os.getpid() != _pid:
        return
    for recipient, service in _services.items():
        if not spool.own.is_empty(recipient):
            send(service, recipient.subject)


class _Sending:
    """All that waits for a recipient, sent until the deadline."""

    def __init__(self, service: Service, recipient: Recipient, deadline: float) -> None:
        self._service = service
        self._recipient = recipient
        self._deadline = deadline
        #: How many are no longer to be sent. They are sent in their order.
        self._taken = 0

    def all(self) -> int:
        """How many were sent; raises why the rest was not."""
        self._unwritten()
        for files in _by_thousands(spool.own.held(self._recipient)):
            before = self._taken
            try:
                self._send_all([event for file in files for event in file.events])
            finally:
                taken = self._taken - before
                for file in files:
                    file.taken(taken)
                    taken = max(taken - len(file.events), 0)
        return self._taken

    def _unwritten(self) -> None:
        events = spool.own.unwritten(self._recipient)
        try:
            self._send_all(events)
        finally:
            spool.own.hold(self._recipient, events[self._taken :])

    def _send_all(self, events: Sequence[dict[str, Any]]) -> None:
        for part in _parts(events):
            self._send(part)

    def _send(self, events: Sequence[dict[str, Any]]) -> None:
        """One question. Of what the service refuses as a whole each half is asked by itself: one event is to blame."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise MunimentError("there was no time for all of it")
        try:
            self._service.use(events, seconds)
        except NotTaken as refusal:
            if len(events) == 1:
                kept = spool.set_aside(self._recipient, events[0])
                if kept is None:
                    raise
                logger.warning("Muniment does not take one report of use, now in %s: %s", kept, refusal.message)
                self._taken += 1
                return
            half = len(events) // 2
            self._send(events[:half])
            self._send(events[half:])
        else:
            self._taken += len(events)


def _by_thousands(files: Iterator[Held]) -> Iterator[list[Held]]:
    """The files in groups of about as many events as one question takes. Each is open: a process may have 256 such."""
    group: list[Held] = []
    for file in files:
        group.append(file)
        if len(group) == MOST_FILES or sum(len(each.events) for each in group) >= MOST_EVENTS:
            yield group
            group = []
    if group:
        yield group


def _parts(events: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in questions that the service takes: not too many, and not too large."""
    part: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = len(json.dumps(event))
        if part and (len(part) == MOST_EVENTS or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(event)
        size += length
    if part:
        yield part
