"""Witnesses: where checkpoints are kept out of the reach of whoever can write to the database.

A *file*: one line of JSON for each checkpoint. An *object store* with object lock: one
object for each checkpoint, which nobody can overwrite or remove before its time, its
owner included. What a witness keeps it keeps for ever: it is only added to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import anyio.to_thread
import orjson
from filelock import FileLock

from muniment.core.checkpoints import Note
from muniment.core.problems import CannotStart, Invalid

#: The name of the witness in the data directory.
NAME: Final = "checkpoints.jsonl"

#: How much of a file's end is looked at for its last line.
_TAIL: Final = 64 * 1024
_DIGITS: Final = 19
#: How long to wait for another sealer of this machine.
_LOCK_SECONDS: Final = 10


class WitnessAway(Exception):
    """A witness cannot be read or told now; the message says why, and no secret."""


class Witness(Protocol):
    """Where checkpoints are kept."""

    @property
    def name(self) -> str:
        """What it is called where it is told of."""

    @property
    def every(self) -> timedelta:
        """How often it wants to be told."""

    @property
    def wants_all(self) -> bool:
        """Whether it keeps every checkpoint; else the newest of those that it has not been told."""

    async def newest(self) -> Note | None:
        """The newest checkpoint that it keeps."""

    async def tell(self, notes: Sequence[tuple[int, str]]) -> None:
        """Have it keep checkpoints, durably; once kept, one may be told again."""

    def notes(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint that it keeps, by number, ascending."""


@dataclass(frozen=True)
class FileWitness:
    """A file that grows, at best on another disk or where the system lets nobody take anything away."""

    path: Path
    every: timedelta = timedelta(0)
    wants_all: bool = True

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    async def newest(self) -> Note | None:
        """The checkpoint in the last whole line."""
        return await anyio.to_thread.run_sync(self._newest, abandon_on_cancel=True)

    async def tell(self, notes: Sequence[tuple[int, str]]) -> None:
        """Add lines; what another process has just added is not added again."""
        await anyio.to_thread.run_sync(partial(self._tell, notes), abandon_on_cancel=True)

    def notes(self) -> Iterator[tuple[int, str]]:
        """The checkpoints, line by line; a line that was torn when a machine stopped is passed over."""
        if not self.path.exists():
            return
        with self._readable(), self.path.open("rb") as file:
            for line in file:
                note = _of_line(line)
                if note is not None:
                    yield note

    def _newest(self) -> Note | None:
        if not self.path.exists():
            return None
        with self._readable(), self.path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            for line in reversed(file.read().splitlines()):
                note = _of_line(line)
                if note is not None:
                    return Note.parse(note[1])
        return None

    def _tell(self, notes: Sequence[tuple[int, str]]) -> None:
        with self._readable():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=_LOCK_SECONDS):
                self._add(notes)

    def _add(self, notes: Sequence[tuple[int, str]]) -> None:
        newest = self._newest()
        known = newest.checkpoint.number if newest is not None else 0
        lines = [orjson.dumps({"number": number, "note": text}) + b"\n" for number, text in notes if number > known]
        if lines:
            with self.path.open("ab+") as file:
                end = file.tell()
                if end:
                    file.seek(end - 1)
                    if file.read(1) != b"\n":
                        lines.insert(0, b"\n")
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as failed:
            raise WitnessAway(f"{self.path}: {failed.strerror or 'somebody else writes there'}") from failed
        except Invalid as failed:
            raise WitnessAway(f"{self.path}: its last line is no checkpoint") from failed


@dataclass(frozen=True)
class ObjectWitness:
    """A bucket with object lock (S3): an object for each checkpoint, held for so many days.

    Who may write there is the environment's to say, as with every program that speaks to S3.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    retain_days: int = 3650
    every: timedelta = timedelta(minutes=1)
    wants_all: bool = False
    mode: str = "COMPLIANCE"
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refused where what speaks to S3 is not installed."""
        if find_spec("boto3") is None:
            raise CannotStart(f"The witness {self.name} needs boto3. Install it: pip install 'muniment[s3]'")

    @property
    def name(self) -> str:
        """The address."""
        return f"s3://{self.bucket}/{self.prefix}"

    async def newest(self) -> Note | None:
        """The checkpoint with the highest number."""
        return await anyio.to_thread.run_sync(self._newest, abandon_on_cancel=True)

    async def tell(self, notes: Sequence[tuple[int, str]]) -> None:
        """Put objects, each locked from its first moment; one that stands is never put again."""
        await anyio.to_thread.run_sync(partial(self._tell, notes), abandon_on_cancel=True)

    def notes(self) -> Iterator[tuple[int, str]]:
        """What the objects hold, by the number of each, ascending; whoever may write there can write anything."""
        with self._reached():
            for key, version in self._held():
                number = key.removeprefix(f"{self.prefix}checkpoints/").removesuffix(".txt")
                if len(number) == _DIGITS and number.isdecimal():
                    yield int(number), self._text(key, version).decode(errors="replace")

    @cached_property
    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  an extra: imported where somebody has named a bucket
        from botocore.config import Config  # noqa: PLC0415

        config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
        # A session of its own: boto3's shared one would keep whose credentials it first found, for the whole process.
        return boto3.Session().client("s3", endpoint_url=self.endpoint, region_name=self.region, config=config)

    def _newest(self) -> Note | None:
        """The last of all objects. They are listed in order, so what is known is passed by."""
        with self._reached():
            for held in self._held(after=self._kept.get("before")):
                self._kept["before"], self._kept["last"] = self._kept.get("last", ("", ""))[0], held
            last = self._kept.get("last")
            return Note.parse(self._read(*last)[1]) if last is not None else None

    def _tell(self, notes: Sequence[tuple[int, str]]) -> None:
        for number, text in notes:
            with self._reached():
                until = Note.parse(text).checkpoint.at + timedelta(days=self.retain_days)
                try:
                    self._client.put_object(
                        Bucket=self.bucket,
                        Key=self._key(number),
                        Body=text.encode(),
                        ContentType="text/plain; charset=utf-8",
                        ObjectLockMode=self.mode,
                        ObjectLockRetainUntilDate=until,
                        IfNoneMatch="*",
                        ChecksumAlgorithm="SHA256",
                    )
                except self._client.exceptions.ClientError as refused:
                    if refused.response["ResponseMetadata"]["HTTPStatusCode"] != _PRECONDITION_FAILED:
                        raise
                    if self._first(number) != text:
                        raise WitnessAway(f"{self.name} keeps another checkpoint {number}") from refused

    def _held(self, after: str | None = None) -> Iterator[tuple[str, str]]:
        """The keys in their order, each with its first version.

        Object lock keeps every version, and nobody from putting another one above it, or a mark that hides it: the
        first one alone is what was told.
        """
        pages = self._client.get_paginator("list_object_versions")
        more = {"KeyMarker": after} if after else {}
        last = None
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}checkpoints/", **more):
            # Of one key, the newest version comes first.
            for held in page.get("Versions", ()):
                if last is not None and last[0] != held["Key"]:
                    yield last
                last = held["Key"], held["VersionId"]
        if last is not None:
            yield last

    def _first(self, number: int) -> str | None:
        key = self._key(number)
        found = self._client.list_object_versions(Bucket=self.bucket, Prefix=key).get("Versions", ())
        versions = [held["VersionId"] for held in found if held["Key"] == key]
        return self._read(key, versions[-1])[1] if versions else None

    def _key(self, number: int) -> str:
        return f"{self.prefix}checkpoints/{number:0{_DIGITS}}.txt"

    def _read(self, key: str, version: str) -> tuple[int, str]:
        text = self._text(key, version).decode()
        return Note.parse(text).checkpoint.number, text

    def _text(self, key: str, version: str) -> bytes:
        held = self._client.get_object(Bucket=self.bucket, Key=key, VersionId=version)
        text: bytes = held["Body"].read(_LONGEST)
        return text

    @contextmanager
    def _reached(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  comes with boto3

        try:
            yield
        except (BotoCoreError, ClientError) as failed:
            raise WitnessAway(f"{self.name}: {failed}") from failed
        except (Invalid, UnicodeDecodeError) as failed:
            raise WitnessAway(f"{self.name}: an object there is no checkpoint") from failed


_PRECONDITION_FAILED: Final = 412
#: No checkpoint is longer, in bytes; more of an object is not read.
_LONGEST: Final = 64 * 1024


def _of_line(line: bytes) -> tuple[int, str] | None:
    try:
        told = orjson.loads(line)
        return int(told["number"]), str(told["note"])
    except (ValueError, TypeError, KeyError):
        return None


def in_data_directory(data_dir: Path) -> FileWitness:
    """The witness of a service that names none."""
    return FileWitness(data_dir / NAME)
