"""The steward's directory: its files read, and written back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final

from muniment.core.dataset_types import KnownTypes
from muniment.core.file_texts import entry_of_fields, policy_files, replaced
from muniment.core.files import Files, Written, is_read, read_files
from muniment.core.kept import Address
from muniment.core.problems import Fault, Invalid
from muniment.steward.refusals import BadFiles, Refused, plain

#: The most bytes of one file.
LARGEST: Final = 4 * 1024 * 1024


def read(directory: Path, source: str | None = None) -> Files:
    """What the files of a directory say. A source that nobody has named is called as its directory is."""
    if not directory.is_dir():
        raise Refused(f"{directory} is no directory.")
    try:
        files = read_files({path: _text(directory, path) for path in _paths(directory)}, KnownTypes.newest())
    except Invalid as refused:
        raise BadFiles(f"{refused.detail} Nothing was sent.", refused.faults) from None
    return Files(files.things, source or files.source or directory.resolve().name)


def write(directory: Path, texts: Mapping[str, str]) -> None:
    """Write files that were not there; an existing directory must be empty of what is read."""
    if directory.exists() and any(_paths(directory)):
        raise Refused(
            f"{directory} holds files already. Export into another directory; muniment adopt takes what was changed by "
            "hand into files that are there."
        )
    for file, text in [(inside(directory, path), text) for path, text in texts.items()]:
        put(file, text)


def inside(directory: Path, path: str) -> Path:
    """The file of that path in a directory; a path is made of names that a service gave, and may lead nowhere else."""
    if not path.isprintable() or "\\" in path or ".." in PurePath(path).parts or PurePath(path).is_absolute():
        raise Refused(f"The service gave a name that leads out of {directory}: {plain(path)}. Nothing was written.")
    return directory / path


def adopt(directory: Path, written: Written, fields: Mapping[str, object] | None) -> tuple[str, ...]:
    """Make the files say these fields of a thing, or nothing of it; gives the files that were changed.

    Only the thing's own entry is written anew. Where that would change anything else, nothing is written.
    """
    before = read(directory).things
    changes = _policy(directory, written, fields) if written.kind == "policy" else _entry(directory, written, fields)
    held = {path: _text(directory, path) for path in changes if (directory / path).exists()}
    try:
        for path, text in changes.items():
            if text is None:
                (directory / path).unlink()
            else:
                put(directory / path, text)
        _check(directory, written, fields, before)
    except (BadFiles, Refused):
        for path in changes:
            if path in held:
                put(directory / path, held[path])
            else:
                (directory / path).unlink(missing_ok=True)
        raise
    return tuple(path for path, text in changes.items() if held.get(path) != text)


def _entry(directory: Path, written: Written, fields: Mapping[str, object] | None) -> dict[str, str | None]:
    entry = None if fields is None else entry_of_fields(written.kind, fields)
    text = replaced(_text(directory, written.file), written.key, entry)
    if text is None:
        raise _by_hand(written)
    return {written.file: text}


def _policy(directory: Path, written: Written, fields: Mapping[str, object] | None) -> dict[str, str | None]:
    """A policy's text, and the entry beside it or the one that holds it whole."""
    if not written.file.endswith(".cedar"):
        return _entry(directory, written, fields)
    if fields is None:
        gone: dict[str, str | None] = {written.file: None}
        return gone if written.beside is None else {**gone, **_beside(directory, written, None)}
    texts = policy_files(written.key, fields)
    said: dict[str, str | None] = {written.file: texts.pop(f"policies/{written.key}.cedar")}
    if written.beside is None:
        return {**said, **texts}
    rest = {key: value for key, value in fields.items() if key != "cedar"}
    return {**said, **_beside(directory, written, rest)}


def _beside(directory: Path, written: Written, rest: Mapping[str, object] | None) -> dict[str, str | None]:
    assert written.beside is not None  # noqa: S101 - asked only where it is
    entry = None if rest is None else entry_of_fields("policy", rest)
    text = replaced(_text(directory, written.beside), written.key, entry)
    if text is None:
        raise _by_hand(written)
    return {written.beside: text}


def _check(
    directory: Path, written: Written, fields: Mapping[str, object] | None, before: Mapping[Address, Written]
) -> None:
    """Refuse what changed anything but this thing: an anchor in its entry may serve others."""
    try:
        after = read(directory).things
    except BadFiles:
        raise _by_hand(written) from None
    others = {address: each.fields for address, each in after.items() if address != written.address}
    stayed = {address: each.fields for address, each in before.items() if address != written.address}
    if others != stayed or (written.address in after) != (fields is not None):
        raise _by_hand(written)


def _by_hand(written: Written) -> Refused:
    return Refused(
        f"{written.place}: {written.kind} {written.key} cannot be written without changing other lines: it is not "
        "plainly an entry of its own. Change it by hand; muniment plan says what stands."
    )


def _paths(directory: Path) -> Iterator[str]:
    """The files that say something, in order; hidden directories and links to elsewhere are not looked into."""
    for folder, below, names in os.walk(directory):
        below[:] = sorted(each for each in below if not each.startswith("."))
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(directory).as_posix()
            if is_read(path):
                yield path


def _text(directory: Path, path: str) -> str:
    file = directory / path
    try:
        if file.stat().st_size > LARGEST:
            raise BadFiles("One file is too big. Nothing was sent.", [Fault(path, f"it has over {LARGEST:,} bytes.")])
        return file.read_bytes().decode()
    except OSError as failed:
        raise BadFiles("One file cannot be read. Nothing was sent.", [Fault(path, f"{failed.strerror}.")]) from None
    except UnicodeDecodeError:
        raise BadFiles("One file cannot be read. Nothing was sent.", [Fault(path, "it is no text in UTF-8.")]) from None


def put(file: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())
        unfinished.replace(file)
    except OSError as failed:
        unfinished.unlink(missing_ok=True)
        raise Refused(f"{file} cannot be written: {failed.strerror}.") from None
