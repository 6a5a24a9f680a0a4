"""A project as the service gives it: a zip with one folder in it, which is looked at before anything is written.

What a path may be is said here and not by the service: relative, in that one folder, of plain parts. Nothing is made
executable, no link is made, and nothing is written over.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kedro_muniment.problems import BadConfig, ServiceRefused

MOST_FILES: Final = 2_000
MOST_BYTES: Final = 32 * 1024 * 1024
_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_WANTS_PYTHON: Final = re.compile(r'^requires-python = ">=([0-9]{1,2})\.([0-9]{1,3})"', re.MULTILINE)
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]*[A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Project:
    """A project's folder, and what is in it by path."""

    folder: str
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, content: bytes) -> Project:
        """The project of an archive; raises :class:`ServiceRefused` for one that no project is."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = archive.infolist()
                if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
                    raise ServiceRefused("The service sent a project that is larger than any. Nothing was written.")
                read = {_place(entry.filename): archive.read(entry) for entry in entries}
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
            raise ServiceRefused("The service sent no project that can be read. Nothing was written.") from error
        folders = {folder for folder, _ in read}
        if len(folders) != 1:
            raise _strange()
        return cls(folders.pop(), {path: held for (_, path), held in read.items()})

    def write(self, into: Path) -> Path:
        """Write it as a new folder, whole or not at all; raises :class:`BadConfig` where there is one already."""
        target = into / self.folder
        if target.exists():
            raise BadConfig(f"{target} is there already. Move it away, or choose another name for the project.")
        try:
            into.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{self.folder}-", dir=into))
        except OSError as error:
            raise BadConfig(
                f"{target} cannot be written: {error.strerror}. Choose another place with --into."
            ) from error
        try:
            for path, held in self.files.items():
                file = unfinished / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(held)
            unfinished.chmod(0o755)
            unfinished.rename(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return target

    def needs_python(self, here: tuple[int, int]) -> str | None:
        """Which Python the project asks for, if this one is older."""
        said = self.files.get("pyproject.toml", b"").decode(errors="replace")
        wanted = _WANTS_PYTHON.search(said)
        if wanted is None or (int(wanted[1]), int(wanted[2])) <= here:
            return None
        return f"{wanted[1]}.{wanted[2]}"


def _place(name: str) -> tuple[str, str]:
    """The folder of an entry, and its path in there."""
    folder, _, path = name.partition("/")
    if not _FOLDER.fullmatch(folder) or not path or not all(map(_SEGMENT.fullmatch, path.split("/"))):
        raise _strange()
    return folder, path


def _strange() -> ServiceRefused:
    return ServiceRefused("The service sent a project with paths that lead out of it. Nothing was written.")
