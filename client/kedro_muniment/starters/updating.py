"""``kedro muniment update``: what changed in the templates since a project was started, put into the project.

The service makes the project twice, of the templates that it began with and of those of now, both with the answers that
``.muniment-project.yml`` holds. The difference is merged into the files as they are here, by ``git merge-file``: what
was changed on one side alone is taken, what was changed on both is left with git's own marks. A file that was removed
here stays away, and one that was changed here is not removed. Nothing is committed.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from kedro_muniment.problems import BadConfig
from kedro_muniment.starters.archives import Project

RECORD: Final = ".muniment-project.yml"
#: What ``git merge-file`` exits with from here on is no number of conflicts.
_FAULT: Final = 128


class Kind(StrEnum):
    """What becomes of a file."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    CONFLICT = "conflict"
    #: What the templates did to a file that was removed, or changed, here.
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Change:
    """A file that an update concerns: as it is here, and as it will be; ``None`` is no file."""

    path: str
    kind: Kind
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """How a project was started."""

    version: str
    answers: Mapping[str, str]


def read_record(project: Path) -> Record:
    """What a project says of its beginning; raises :class:`BadConfig` where it says nothing that can be used."""
    import yaml

    file = project / RECORD
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        version, answers = said["version"], said["answers"]
        told = {str(key): _told(value) for key, value in answers.items()}
    except FileNotFoundError:
        raise BadConfig(f"There is no {file}: this project was not started by Muniment, or it was removed.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        raise BadConfig(f"{file} cannot be read: it needs `version` and `answers`, as they were written.") from None
    return Record(str(version), told)


def _told(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise TypeError
    return value


def refuse_unsaved(project: Path) -> None:
    """Refuse where work would be mixed with an update that is not in git: it could not be told apart again."""
    answer = _git(["status", "--porcelain", "--untracked-files=all", "--", "."], project)
    if answer.returncode:
        raise BadConfig(
            "This project is in no git repository, so an update could not be undone. Use --patch, or git init."
        )
    if answer.stdout.strip():
        raise BadConfig("There are changes here that are not committed. Commit or stash them, or use --patch.")


def changes(project: Path, before: Project, after: Project) -> list[Change]:
    """What an update does to the files of a project, in the order of their paths."""
    paths = sorted(before.files.keys() | after.files.keys())
    found = (_change(project, path, before.files.get(path), after.files.get(path)) for path in paths)
    return [change for change in found if change is not None]


def _change(project: Path, path: str, base: bytes | None, theirs: bytes | None) -> Change | None:
    file = project / path
    if _is_no_file(project, file):
        return None if theirs == base else Change(path, Kind.KEPT, None, None)
    mine = file.read_bytes() if file.exists() else None
    base, theirs = _as_here(mine, base), _as_here(mine, theirs)
    if path == RECORD:
        return Change(path, Kind.CHANGED, mine, theirs)
    if theirs in (base, mine):
        return None
    if mine == base:
        kind = Kind.ADDED if base is None else Kind.REMOVED if theirs is None else Kind.CHANGED
        return Change(path, kind, mine, theirs)
    if mine is None or theirs is None:
        return Change(path, Kind.KEPT, mine, mine)
    merged, conflicts = _merged(mine, base or b"", theirs)
    return Change(path, Kind.CONFLICT if conflicts else Kind.CHANGED, mine, merged)


def _is_no_file(project: Path, file: Path) -> bool:
    """Whether something else stands there or above: a folder, or a link, which would lead out of the project."""
    above = file.relative_to(project).parents
    if any((project / each).is_symlink() or (project / each).is_file() for each in above if each.parts):
        return True
    return file.is_symlink() or (file.exists() and not file.is_file())


def _as_here(mine: bytes | None, held: bytes | None) -> bytes | None:
    """What the templates say, with the ends of lines that the file has here: on Windows git may make them two."""
    if mine is None or held is None or mine.count(b"\r\n") != mine.count(b"\n") or b"\n" not in mine:
        return held
    return held.replace(b"\n", b"\r\n")


def _merged(mine: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bool]:
    """A three-way merge, and whether both sides changed the same."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("yours", "before", "now")}
        for file, held in zip(files.values(), (mine, base, theirs), strict=True):
            file.write_bytes(held)
        labels = [part for label in ("yours", "the templates before", "the templates now") for part in ("-L", label)]
        answer = _git(["merge-file", "--stdout", *labels, *map(str, files.values())], Path(folder))
    if answer.returncode < 0 or answer.returncode >= _FAULT:
        raise BadConfig(f"git could not merge the files: {answer.stderr.decode(errors='replace').strip()}")
    return answer.stdout, answer.returncode > 0


def apply(project: Path, made: list[Change]) -> None:
    """Write what an update does; files that it keeps are not touched."""
    for change in made:
        if change.kind is Kind.KEPT:
            continue
        file = project / change.path
        try:
            if change.after is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(change.after)
        except OSError as error:
            raise BadConfig(
                f"{file} cannot be written: {error.strerror}. The update is not whole: go back with git checkout ."
            ) from error


def patch(made: list[Change]) -> bytes:
    """The same as a patch, which ``git apply`` takes: byte for byte, whatever the files are written in."""
    return b"".join(line for change in made for line in _lines(change))


def _lines(change: Change) -> Iterator[bytes]:
    if change.before == change.after:
        return
    before, after = (_parts(held) for held in (change.before, change.after))
    path = change.path.encode()
    was = b"/dev/null" if change.before is None else b"a/" + path
    will_be = b"/dev/null" if change.after is None else b"b/" + path
    yield b"diff --git a/%b b/%b\n" % (path, path)
    if change.before is None:
        yield b"new file mode 100644\n"
    if change.after is None:
        yield b"deleted file mode 100644\n"
    for line in difflib.diff_bytes(difflib.unified_diff, before, after, was, will_be):
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _parts(held: bytes | None) -> list[bytes]:
    """The lines as git counts them: by line feeds alone."""
    *lines, rest = (held or b"").split(b"\n")
    return [*(line + b"\n" for line in lines), *([rest] if rest else [])]


def _git(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None:
        raise BadConfig("git is not installed, and files are merged by it. Install it, then run this again.")
    # The program is the user's own git, the arguments are ours, and no shell reads them.
    return subprocess.run([git, *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S603
