"""Where a served definition may point: to absolute places and URLs, and into the project's own ``data`` folder.

The service confines absolute paths and URLs to the locations of a dataset's domain. Whatever means another place on
each machine is refused here: relative paths, ``~`` and ``..``, file systems that are chained with ``::``, and
arguments that turn a path to another server. So a definition never reaches the project's code, settings or
credentials, even if the service was talked into serving it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from kedro_muniment.problems import Unusable

PROJECT: Final = "project://"
#: The one folder of a project that definitions may reach.
DATA: Final = "data"

#: What kedro-datasets calls its paths, and what a project's own types may call theirs.
PATH_KEY: Final = re.compile(
    r"(?:^|_)(?:path|filepath|temppath|file|filename|dir|directory|folder|location|root|stylesheet)s?$", re.IGNORECASE
)
#: Arguments that choose the server, or how it is spoken to; matched in snake case.
REDIRECTING: Final = re.compile(
    r"\w*endpoint(?:_?url|_?override|s)?|\w*_host|host(?:name|s)?|port|prox(?:y|ies)|\w*base_?url|\w*api_base|servers?"
    r"|\w*bootstrap_?servers|(?:client|config|session|s3_additional)_kwargs|storage_options"
    r"|(?:target|remote)_(?:protocol|options)|fo|verify|verify_ssl|ssl_verify|cert|session|filesystem"
)
FS_ARGS: Final = frozenset({"open_args_load", "open_args_save", "auto_mkdir", "project"})
OPEN_ARGS: Final = frozenset(
    {"mode", "encoding", "errors", "newline", "compression", "block_size", "buffering"}
)  # fmt: skip
#: What an ibis connection may say; ``extensions`` are programs, and ``config`` can switch off what confines a database.
CONNECTION: Final = frozenset({
    "backend", "database", "catalog", "schema", "warehouse", "role", "project_id", "dataset_id", "read_only", "threads",
    "memory_limit",
})  # fmt: skip
FILE_DATABASES: Final = frozenset({"duckdb", "sqlite"})
#: Kedro ignores the first; a database reads the others; and a project fills in the last.
NO_PLACES: Final = frozenset({"metadata", "sql", "query", "credentials"})
#: Arguments whose keys are the data's own names: a column may be called "path" or "host".
OF_COLUMNS: Final = frozenset({
    "columns", "converters", "dtype", "dtypes", "labels", "na_values", "parse_dates", "rename", "schema",
    "schema_overrides",
})  # fmt: skip
#: Names of files within a path that is checked by itself.
NAMES_WITHIN: Final = frozenset({"data_files", "filename_suffix"})

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CHAIN: Final = re.compile(r"[A-Za-z0-9]{2}::")
_SEGMENTS: Final = re.compile(r"[/\\]")
_STYLE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[.\- ]")
_PLAIN_PART: Final = re.compile(r"[A-Za-z0-9_](?:\.?[A-Za-z0-9_=-])*", re.ASCII)


def in_project(text: str, project: Path, *, permitted: bool) -> str:
    """A ``project://data/…`` path as the project's own, if the project permits it and no link leads out of there."""
    inside = text.strip()[len(PROJECT) :]
    if not permitted:
        raise Unusable(
            f"{text!r} lies inside the project; write `project_paths: true` in muniment.yml if it may be used there"
        )
    path = PurePosixPath(inside)
    odd = "\\" in inside or ":" in inside or PureWindowsPath(inside).anchor or {"..", "~"} & {*path.parts}
    if odd or not inside.startswith(f"{DATA}/"):
        raise Unusable(f"{text!r} does not stay inside the project's {DATA} folder")
    if not (project / path).resolve().is_relative_to((project / DATA).resolve()):
        raise Unusable(f"{text!r} leads out of the project's {DATA} folder by a symbolic link")
    return (project / path).as_posix()


def check(definition: Mapping[str, Any]) -> None:
    """Refuse a definition, its nested ones aside, that points where it may not."""
    for key, value in definition.items():
        if key == "type" or value is None:
            continue
        if key == "fs_args":
            _check_fs_args(value)
        elif key == "connection":
            _check_connection(value)
        elif PATH_KEY.search(key) and key not in NAMES_WITHIN:
            _check_each_path(key, value)
        else:
            _check_argument(key, value)


def is_place(value: object) -> bool:
    """Whether a value would be taken for a path or an address, wherever it stands."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return (
        "://" in text
        or "::" in text
        or text.lower().startswith(("/", "\\", "~", "file:", "project:"))
        or PureWindowsPath(text).is_absolute()
        or ".." in _SEGMENTS.split(text)
    )


def is_plain_part(value: object) -> bool:
    """Whether a value can stand within one segment of a path without leaving it."""
    return _PLAIN_PART.fullmatch(str(value)) is not None


def _check_each_path(key: str, value: object) -> None:
    if isinstance(value, list):
        for held in value:
            _check_each_path(key, held)
    elif isinstance(value, str):
        _check_path(key, value)
    else:
        raise Unusable(f"`{key}` in its definition is no path")


def _check_path(key: str, text: str) -> None:
    if "::" in text:
        raise Unusable(f"`{key}: {text}` chains file systems with '::'")
    url = _URL.fullmatch(text)
    if url is None:
        absolute = text.startswith("/")
    else:
        absolute = url[1].lower() not in {"file", "local"} or url[2].startswith("/")
    if not absolute:
        raise Unusable(f"`{key}: {text}` is a relative path, which means another place in each project")
    if {"..", "~"} & {*_SEGMENTS.split(text)}:
        raise Unusable(f"`{key}: {text}` holds '..' or '~', and could lead anywhere")


def _check_argument(key: str, value: Any) -> None:
    """An argument that is no path by its name, and everything in it."""
    if key == "credentials" and not isinstance(value, str | None):
        raise Unusable("it holds credentials itself, where it may only name some of the project's")
    if key in NO_PLACES or value is None:
        return
    if REDIRECTING.fullmatch(_STYLE.sub("_", key).lower()):
        raise Unusable(f"`{key}` in its definition says which server is asked; that belongs to the credentials")
    if isinstance(value, dict):
        for inner, held in value.items():
            if key in OF_COLUMNS:
                _check_of_columns(inner, held)
            else:
                _check_argument(key if key in NAMES_WITHIN else inner, held)
    elif isinstance(value, list):
        for held in value:
            _check_argument(key, held)
    elif isinstance(value, str):
        _check_text(key, value)


def _check_of_columns(name: str, value: Any) -> None:
    """What is said of a column may be anything; but Spark's ``schema`` may name a file."""
    if name == "filepath":
        _check_each_path(name, value)
    elif isinstance(value, dict):
        for inner, held in value.items():
            _check_of_columns(inner, held)


def _check_text(key: str, text: str) -> None:
    if key in NAMES_WITHIN:
        if is_place(text):
            raise Unusable(f"`{key}: {text}` leaves the dataset's own folder")
    elif _CHAIN.search(text) or (PATH_KEY.search(key) and ("/" in text or "\\" in text)):
        _check_path(key, text)


def _check_fs_args(value: object) -> None:
    if not isinstance(value, dict):
        raise Unusable("`fs_args` in its definition is not a mapping")
    _refuse_others("fs_args", value, FS_ARGS)
    for key in ("open_args_load", "open_args_save"):
        options = value.get(key)
        if isinstance(options, dict):
            _refuse_others(key, options, OPEN_ARGS)


def _check_connection(value: object) -> None:
    if not isinstance(value, dict):
        raise Unusable("`connection` in its definition is not a mapping")
    _refuse_others("connection", value, CONNECTION)
    database = value.get("database")
    if isinstance(database, str) and database != ":memory:":
        if value.get("backend") in FILE_DATABASES:
            _check_path("database", database)
        else:
            _check_argument("database", database)


def _refuse_others(key: str, value: Mapping[str, Any], known: frozenset[str]) -> None:
    others = sorted(str(inner) for inner in value if inner not in known)
    if others:
        raise Unusable(f"`{key}` in its definition holds {', '.join(others)}, which could lead elsewhere")
