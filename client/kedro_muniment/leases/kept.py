"""Leases on disk: what the next start compares with, and what a start without the service runs from.

One file for each service, holder and question: a line of JSON (the tag, the signed statement, and whose statements were
believed then) and the body, byte by byte as it was signed. It holds definitions and no secret, and only its owner reads
it. Nothing in it is believed for standing there: the statement's signature covers the body.

A signature cannot say that a newer lease was given since. So beside the leases stands a mark for each service and
holder: what the service calls itself, whom it last took them for, the newest time that was seen, and when the last
lease of each question was given.

Everything is replaced whole or not at all, the lease before its mark, so that a process may be killed at any moment: a
lease that is newer than its mark is fine. What is damaged is as if it were not there, and what cannot be written stops
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeGuard

from kedro_muniment import own_files
from kedro_muniment.leases.statements import Trust
from kedro_muniment.sign_in.keeping import normalised

FORMAT: Final = 3
#: For how long something is kept that no start has asked for.
_KEPT_SECONDS: Final = 40 * 24 * 3600.0
#: A place that is not to be written to is somebody's choice; everything else is a fault, which is worth a warning.
_CHOSEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT})

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Kept:
    """One lease as it was given; the digest is of the body as it is here."""

    etag: str | None
    statement: str
    trust: Trust
    body: bytes
    sha256: str

    @classmethod
    def of(cls, etag: str | None, statement: str, trust: Trust, body: bytes) -> Kept:
        return cls(etag if _is_tag(etag) else None, statement, trust, body, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class Mark:
    """What was seen last of a service by one holder."""

    issuer: str | None = None
    subject: str | None = None
    seen: datetime | None = None
    #: When the last lease of each question was given, in seconds since 1970.
    issued: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the lease of one question is kept, and the mark of who asks; ``None``: this user has no such place."""

    directory: Path | None
    holder: str
    question: str

    @classmethod
    def of(cls, url: str, bearer: str, asked: Mapping[str, str]) -> Shelf:
        question = _digest(sorted(f"{key}={value}" for key, value in asked.items()))
        return cls(directory(), _holder(url, bearer), question)

    def lease(self) -> Kept | None:
        """The kept lease, as far as it can be read."""
        text = self._read("lease")
        if text is None:
            return None
        head, _, body = text.partition(b"\n")
        try:
            said = json.loads(head)
            if said["format"] != FORMAT:
                return None
            keys = {str(name): str(point) for name, point in said["keys"].items()}
            return Kept.of(said["etag"], str(said["lease"]), Trust(str(said["issuer"]), keys), body)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logger.debug("A kept lease is unusable (%s) and is asked for again.", type(error).__name__)
            return None

    def mark(self) -> Mark:
        """The mark; an empty one where there is none."""
        try:
            said = json.loads(self._read("mark") or b"")
            seen = said["seen"]
            return Mark(
                str(said["issuer"]),
                str(said["subject"]),
                datetime.fromtimestamp(seen, UTC) if seen is not None else None,
                {str(question): float(at) for question, at in said["issued"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
            return Mark()

    def keep(self, lease: Kept) -> bool:
        """Keep it in place of the earlier one; whether that was done."""
        trust = lease.trust
        said = {
            "format": FORMAT,
            "etag": lease.etag,
            "lease": lease.statement,
            "issuer": trust.issuer,
            "keys": dict(trust.keys),
        }
        return self._write("lease", json.dumps(said).encode() + b"\n" + lease.body)

    def note(self, mark: Mark) -> None:
        """Keep the mark. Two starts at once may lose one of theirs, which weakens it and harms nobody."""
        recent = {question: at for question, at in mark.issued.items() if at > time.time() - _KEPT_SECONDS}
        seen = mark.seen.timestamp() if mark.seen else None
        said = {"issuer": mark.issuer, "subject": mark.subject, "seen": seen, "issued": recent}
        self._write("mark", json.dumps(said).encode())

    def names(self) -> list[str]:
        """The names that were asked for last in place of everything."""
        try:
            return [str(name) for name in json.loads(self._read("names") or b"[]")]
        except (ValueError, TypeError, RecursionError):
            return []

    def note_names(self, names: Sequence[str]) -> None:
        """Keep which names were asked for in place of everything, for a start without the service."""
        if self.names() != list(names):
            self._write("names", json.dumps(list(names)).encode())

    def tidy(self) -> None:
        """Remove what no start has asked for in a long time, and what a killed one left half written."""
        if self.directory is None:
            return
        with contextlib.suppress(OSError):
            for file in self.directory.iterdir():
                if file.suffix in {".lease", ".mark", ".names", ".new", ".json"} and _age(file) > _KEPT_SECONDS:
                    file.unlink(missing_ok=True)

    def _file(self, kind: str) -> Path | None:
        if self.directory is None:
            return None
        return self.directory / (f"{self.holder}.mark" if kind == "mark" else f"{self.holder}-{self.question}.{kind}")

    def _read(self, kind: str) -> bytes | None:
        file = self._file(kind)
        try:
            return file.read_bytes() if file is not None and own_files.is_ours_alone(file.stat()) else None
        except OSError:
            return None

    def _write(self, kind: str, content: bytes) -> bool:
        """Replaced whole or not at all, readable by its owner only."""
        file = self._file(kind)
        if file is None:
            return False
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.chmod(0o700)
            own_files.replace(file, lambda: content)
        except OSError as error:
            level = logging.DEBUG if error.errno in _CHOSEN else logging.WARNING
            said = "The lease cannot be kept in %s (%s): without the service, no run can start from it."
            logger.log(level, said, file.parent, error.strerror or type(error).__name__)
            return False
        return True


def names(leases: int) -> Iterator[str]:
    """The names in the newest of the leases that are kept, for who is typing one; what cannot be read has none."""
    folder = directory()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        files = [file for file in folder.glob("*.lease") if own_files.is_ours_alone(file.stat())]
        for file in sorted(files, key=_age)[:leases]:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                yield from map(str, json.loads(file.read_bytes().partition(b"\n")[2])["actions"])


def forget(url: str, bearer: str) -> None:
    """Keep nothing any more of what one holder was given by a service."""
    folder = directory()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        for file in folder.glob(f"{_holder(url, bearer)}*"):
            file.unlink(missing_ok=True)


def directory() -> Path | None:
    """Where leases are kept, if this user has such a place."""
    return own_files.place("cache")


def _holder(url: str, bearer: str) -> str:
    return _digest([normalised(url), bearer])


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _is_tag(etag: Any) -> TypeGuard[str]:
    """Whether a header can hold it."""
    return isinstance(etag, str) and bool(etag) and etag.isascii() and etag.isprintable()


def _age(file: Path) -> float:
    return time.time() - file.stat().st_mtime
