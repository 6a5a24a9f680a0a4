"""Uses of data, written down until the service has them: a file for each process and each recipient.

An event is one line of JSON, appended by a single write, so a process that is killed loses none that :meth:`Spool.add`
returned from. A file is locked as long as the process that writes it lives, which the operating system sees to: whoever
gets the lock of another's file knows that its writer is dead, and may send what is left. A file is removed only when
the service has all of it; whoever dies in between sends some of it twice, and the service knows an event by its id.

What is spooled holds names and no secret. It is its owner's alone (0700, 0600), and stands where the system keeps the
state of programs, or in the temporary directory where that cannot be written. Nothing is forced to the disk (fsync): a
machine that loses power may lose the last seconds.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from kedro_muniment import locks, own_files

FORMAT: Final = 1

_ENDING: Final = ".jsonl"
#: The key of a line that says how many of the events before it are no longer to be sent; no event has it.
_TAKEN: Final = "taken"
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_AS_BYTES: Final = getattr(os, "O_BINARY", 0)

#: One encoder for all: making one takes longer than using it.
_written: Final = json.JSONEncoder(separators=(",", ":")).encode

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where events go: the service at an address, by a sign-in of the subject that they are of, and by no other."""

    url: str
    subject: str

    @property
    def name(self) -> str:
        """The directory in which its events wait."""
        return hashlib.sha256(json.dumps([self.url, self.subject]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many events wait for a recipient; of those that a living process still writes it is not known."""

    recipient: Recipient
    events: int


class Held:
    """The events of one file, which nobody else can send meanwhile."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self.recipient, self.events = _read(descriptor)

    def taken(self, count: int) -> None:
        """The service has the first so many of them; the rest goes on waiting, for whoever comes next.

        That is noted in the file, or a long one would be begun anew each time, and never be sent to its end.
        """
        if count >= len(self.events):
            self.drop()
            return
        if count:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, b"\n" + json.dumps({_TAKEN: count}).encode() + b"\n")
        self.release()

    def drop(self) -> None:
        """The service has them all. It is emptied first, because a system may refuse to remove an open file."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        self.release()
        with contextlib.suppress(OSError):
            self._file.unlink()

    def release(self) -> None:
        """They go on waiting, for whoever comes next."""
        os.close(self._descriptor)


class _Writing:
    """The file to which this process appends."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.file = file
        self.descriptor = descriptor
        self._is_torn = False

    def append(self, line: bytes) -> None:
        """All of the line, or :class:`OSError`. What a full disk took half of is no line, and the next begins anew."""
        text = b"\n" + line if self._is_torn else line
        written = os.write(self.descriptor, text)
        self._is_torn = written < len(text)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Spool:
    """What this process writes, and what it finds. One for a process; threads may share it."""

    def __init__(self) -> None:
        self._writing: dict[Recipient, _Writing] = {}
        self._unwritten: dict[Recipient, list[dict[str, Any]]] = {}
        self._has_warned = False
        # A handler of a signal may use data while the same thread is within.
        self._alone = threading.RLock()

    def add(self, recipient: Recipient, event: dict[str, Any]) -> None:
        """The event is written down when this returns; where nothing can be written, it is held in memory."""
        line = _written(event).encode() + b"\n"
        with self._alone:
            try:
                self._file_for(recipient).append(line)
            except OSError as error:
                self._unwritten.setdefault(recipient, []).append(event)
                self._warn(error)

    def is_empty(self, recipient: Recipient) -> bool:
        """Whether this process itself has nothing to send; others may have left something."""
        return recipient not in self._writing and recipient not in self._unwritten

    def unwritten(self, recipient: Recipient) -> list[dict[str, Any]]:
        """The events that could not be written down, for the caller alone: they are no longer held here."""
        with self._alone:
            return self._unwritten.pop(recipient, [])

    def hold(self, recipient: Recipient, events: list[dict[str, Any]]) -> None:
        """Hold events in memory again that could not be sent."""
        if events:
            with self._alone:
                self._unwritten.setdefault(recipient, [])[:0] = events

    def held(self, recipient: Recipient) -> Iterator[Held]:
        """What waits for a recipient, file by file: this process's own, and then what dead ones left.

        Whoever takes a file from here drops it or releases it.
        """
        with self._alone:
            own = self._writing.pop(recipient, None)
        if own is not None:
            yield Held(own.file, own.descriptor)
        yield from _left_behind(recipient)

    def let_go(self) -> None:
        """What is written is for whoever comes next; this process goes on in other files."""
        with self._alone:
            written = [self._writing.pop(recipient) for recipient in [*self._writing]]
        for writing in written:
            with contextlib.suppress(OSError):
                os.close(writing.descriptor)

    def forget_parents(self) -> None:
        """In a child that was forked: what is open is the parent's, and so is what it could not write down."""
        for writing in self._writing.values():
            with contextlib.suppress(OSError):
                os.close(writing.descriptor)
        self.__init__()  # type: ignore[misc]  # as new, with a lock that nobody holds

    def _file_for(self, recipient: Recipient) -> _Writing:
        writing = self._writing.get(recipient)
        if writing is None:
            writing = self._writing[recipient] = _begun(recipient)
        return writing

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "What this run uses cannot be written down (%s). It is reported at the end of the run, if that comes.",
                error.strerror or type(error).__name__,
            )


def set_aside(recipient: Recipient, event: Mapping[str, Any]) -> Path | None:
    """Keep an event that the service does not take where people find it, and nobody sends it; answers where."""
    line = json.dumps(event).encode() + b"\n"
    for folder in _folders():
        file = folder / recipient.name / "not-taken.txt"
        try:
            _make_own(folder)
            _make_own(file.parent)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINK | _AS_BYTES, 0o600)
        except OSError:
            continue
        with os.fdopen(descriptor, "wb") as kept:
            kept.write(line)
        return file
    return None


def waiting() -> list[Waiting]:
    """What dead processes have left to be sent, by recipient."""
    counted: dict[Recipient, int] = {}
    for folder in _folders():
        for file in sorted(folder.glob(f"*/*{_ENDING}")):
            held = _held(file)
            if held is None:
                continue
            if held.recipient is not None and held.events:
                counted[held.recipient] = counted.get(held.recipient, 0) + len(held.events)
            held.release()
    return [Waiting(recipient, events) for recipient, events in counted.items()]


def _begun(recipient: Recipient) -> _Writing:
    """A new file of this process, in the first directory that takes one."""
    failure: OSError | None = None
    for folder in _folders():
        try:
            return _begun_in(folder, recipient)
        except OSError as error:
            failure = failure or error
    raise failure or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _begun_in(folder: Path, recipient: Recipient) -> _Writing:
    for part in (folder, folder / recipient.name):
        _make_own(part)
    while True:
        file = folder / recipient.name / f"{uuid4().hex}{_ENDING}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _NO_LINK | _AS_BYTES
        descriptor = os.open(file, flags, 0o600)
        try:
            _take(descriptor)
            # Before that somebody may have taken it for what a dead process left, and removed it.
            if os.fstat(descriptor).st_nlink:
                return _headed(_Writing(file, descriptor), recipient)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                file.unlink()
            raise
        os.close(descriptor)


def _take(descriptor: int) -> None:
    if not locks.taken(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _headed(writing: _Writing, recipient: Recipient) -> _Writing:
    head = {"format": FORMAT, "url": recipient.url, "subject": recipient.subject}
    writing.append(json.dumps(head).encode() + b"\n")
    return writing


def _left_behind(recipient: Recipient) -> Iterator[Held]:
    for folder in _folders():
        for file in sorted((folder / recipient.name).glob(f"*{_ENDING}")):
            held = _held(file)
            if held is None:
                continue
            if held.recipient is None and not held.events:
                held.drop()  # its writer died before the first line
            elif held.recipient == recipient:
                yield held
            else:
                held.release()  # of another version


def _held(file: Path) -> Held | None:
    """The file, if it is ours alone and nobody writes or sends it."""
    try:
        descriptor = os.open(file, os.O_RDWR | _NO_LINK | _AS_BYTES)
    except OSError:
        return None
    try:
        if own_files.is_ours_alone(os.fstat(descriptor)) and locks.taken(descriptor):
            return Held(file, descriptor)
    except OSError as error:
        logger.debug("%s cannot be read: %s", file, error)
    os.close(descriptor)
    return None


def _read(descriptor: int) -> tuple[Recipient | None, list[dict[str, Any]]]:
    """What a file says; the line that its writer died in is none."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        whole, _, _ = file.read().rpartition(b"\n")
    lines = [said for line in whole.split(b"\n") if (said := _said(line)) is not None]
    if not lines:
        return None, []
    head, *events = lines
    if head.get("format") != FORMAT:
        return None, events or [head]
    left: list[dict[str, Any]] = []
    for event in events:
        if isinstance(taken := event.get(_TAKEN), int):
            del left[:taken]
        else:
            left.append(event)
    return Recipient(str(head.get("url")), str(head.get("subject"))), left


def _said(line: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _folders() -> Iterator[Path]:
    """Where events may wait, the usual place first."""
    usual = own_files.place("state")
    if usual is not None:
        yield usual / "uses"
    own = os.environ.get("USERNAME", "user") if sys.platform == "win32" else str(os.getuid())
    yield Path(tempfile.gettempdir()) / f"kedro-muniment-uses-{own}"


def _make_own(folder: Path) -> None:
    """The directory is there, ours, and for us alone; in the temporary one anybody could have made it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder))
    if status.st_mode & own_files.OTHERS:
        folder.chmod(0o700)


#: The one of this process.
own = Spool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=own.forget_parents)
