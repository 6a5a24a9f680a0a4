"""What the service gave: the catalog for one subject in one environment, checked for shape and kept on disk.

The kept copy only saves the body's transfer: every start asks the service, which answers 304 when the copy
is still right. It holds definitions and no secret, in a file that only its owner reads. Whatever is wrong with
it (cut short, edited, another version's), it is ignored and fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeGuard

from kedro_muniment.problems import ServiceRefused, plain
from kedro_muniment.service import NOT_MODIFIED, Answer, Service

FORMAT: Final = 2

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Lease:
    """The catalog by governed name, and what may be done with each entry."""

    catalog: Mapping[str, Any]
    actions: Mapping[str, Sequence[str]]
    ends: Mapping[str, datetime]
    environment: str
    subject: str
    revision: str
    receipt: str
    #: Names that are given under a condition which this version of the plugin cannot keep.
    obliged: frozenset[str] = frozenset()
    #: Factory patterns by name, and what may be done with what is called so; what they make is asked for by name.
    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def domains(self) -> frozenset[str]:
        """The top domains that the lease knows by the names in it."""
        return top_domains([*self.catalog, *self.patterns])


def top_domains(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in names if "." in name)


def fetch(service: Service, asked: Mapping[str, str]) -> Lease:
    """The lease that holds now, from the kept copy where the service says that it is still right."""
    directory = _directory()
    kept = _Kept(directory / f"{_key(service, asked)}.json" if directory else None)
    etag, body = kept.read()
    answer = service.lease(asked, etag)
    if answer.status == NOT_MODIFIED:
        if etag is None:
            raise ServiceRefused(f"{service.url} answered that nothing has changed, and was not asked that.")
        return _lease(body, answer, asked["environment"], service)
    lease = _lease(answer.body, answer, asked["environment"], service)
    kept.write(answer.headers.get("ETag"), answer.body)
    return lease


def _lease(body: Any, answer: Answer, environment: str, service: Service) -> Lease:
    """What an answer says; refused where it is not understood, or made for another than who signed in."""
    lease = _understood(body, answer, environment, service)
    expected = service.token.subject
    if expected is not None and lease.subject != plain(expected):
        raise ServiceRefused(
            f"{service.url} gave a lease for {lease.subject}, and you signed in as {plain(expected)}. Nothing of it is "
            "used. Sign in again: kedro muniment login"
        )
    return lease


def _understood(body: Any, answer: Answer, environment: str, service: Service) -> Lease:
    try:
        return Lease(
            catalog=_mapping(body["catalog"]),
            actions={name: tuple(map(str, given)) for name, given in _mapping(body["actions"]).items()},
            ends={name: _time(end) for name, end in _mapping(body.get("ends") or {}).items()},
            environment=environment,
            subject=_subject(answer.headers.get("Muniment-Subject")),
            revision=plain(answer.headers.get("Muniment-Revision") or "unknown"),
            receipt=plain(answer.headers.get("Muniment-Receipt") or "unknown"),
            patterns={name: tuple(map(str, given)) for name, given in _mapping(body.get("patterns") or {}).items()},
            obliged=frozenset(name for name, held in _mapping(body.get("obligations") or {}).items() if held),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceRefused(
            f"{service.url} gave a lease that this version of kedro-muniment does not understand "
            f"({plain(error)}). Check the address, and whether the plugin needs an upgrade."
        ) from None


def _subject(header: str | None) -> str:
    """Who the lease is for. A header is ASCII: the service escapes what is not."""
    if not header:
        return "unnamed"
    try:
        return plain(header.encode("ascii").decode("unicode_escape"))
    except UnicodeError:
        return plain(header)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {type(value).__name__}")
    return value


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Kept:
    """One kept body and its tag. Nothing that goes wrong here stops a run."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def read(self) -> tuple[str | None, Any]:
        if self._file is None:
            return None, None
        try:
            kept = json.loads(self._file.read_bytes()) if _is_ours_alone(self._file) else {}
            etag, body = kept["etag"], kept["body"]
            if kept["format"] == FORMAT and kept["sha256"] == _digest(etag, body) and _is_tag(etag):
                return etag, body
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.debug("The kept lease %s is unusable (%s) and is fetched again.", self._file, type(error).__name__)
        return None, None

    def write(self, etag: str | None, body: Any) -> None:
        """Replaced whole or not at all, readable by its owner only."""
        if self._file is None or not _is_tag(etag):
            return
        text = json.dumps({"format": FORMAT, "etag": etag, "sha256": _digest(etag, body), "body": body})
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.parent.chmod(0o700)
            handle, beside = tempfile.mkstemp(dir=self._file.parent)  # made 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(beside).replace(self._file)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(beside).unlink()
                raise
        except OSError as error:
            logger.debug("The lease could not be kept in %s: %s", self._file.parent, error)


def _digest(etag: Any, body: Any) -> str:
    """Over the tag and the body: one without the other would keep an old catalog under a new name."""
    return hashlib.sha256(json.dumps([etag, body], sort_keys=True).encode()).hexdigest()


def _is_tag(etag: Any) -> TypeGuard[str]:
    """Whether a header can hold it."""
    return isinstance(etag, str) and bool(etag) and etag.isascii() and etag.isprintable()


def _key(service: Service, asked: Mapping[str, str]) -> str:
    parts = [service.url, service.token.bearer(), *sorted(f"{key}={value}" for key, value in asked.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _directory() -> Path | None:
    """The user's cache directory as each system means it; a user without a home has none."""
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    chosen = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    if chosen and sys.platform != "darwin":
        return Path(chosen) / "kedro-muniment"
    if home is None:
        return None
    usual = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Caches"}
    return usual.get(sys.platform, home / ".cache") / "kedro-muniment"


def _is_ours_alone(file: Path) -> bool:
    """Nobody else could have written or read it; on Windows the profile that it lies in sees to that."""
    if sys.platform == "win32":
        return True
    status = file.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o077
