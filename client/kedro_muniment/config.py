"""What the project says about Muniment: ``conf/<env>/muniment.yml`` and three environment variables.

The file is plain YAML. No resolver runs on it, so that reading it can neither run code nor read the
environment. Kedro's rule for environments holds: a key in the run's environment replaces the one in base.
``MUNIMENT_URL`` and ``MUNIMENT_ENVIRONMENT`` win over the file; the token is never in it (``signing_in.py``).

No file: the plugin is not configured, whatever the variables say, and :func:`read` answers ``None`` cheaply.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from kedro_muniment import credential_sources
from kedro_muniment.problems import BadConfig

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader

Precedence = Literal["error", "warn", "local", "governed"]
Fetched = Literal["all", "needed"]

FILE_NAMES: Final = ("muniment.yml", "muniment.yaml")
PRECEDENCES: Final = ("error", "warn", "local", "governed")
FETCHED: Final = ("all", "needed")
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_WILD: Final = re.compile(r"\*|\?|\{\w*\}")
_REMOTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Config:
    """One project's settings, checked."""

    url: str
    project: str | None = None
    purpose: str | None = None
    environments: Mapping[str, str] = field(default_factory=dict)
    default_environment: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    #: ``None``: every name that begins with a domain that the lease knows is governed.
    governed: tuple[str, ...] | None = None
    default_precedence: Precedence = "error"
    precedence: Mapping[str, Precedence] = field(default_factory=dict)
    #: The keys of ``precedence`` that are patterns, the most specific first.
    precedence_by_pattern: tuple[tuple[re.Pattern[str], Precedence], ...] = ()
    types: frozenset[str] = frozenset()
    allow_code_formats: frozenset[str] = frozenset()
    project_paths: bool = False
    #: What ``kedro run`` asks for; ``None``: it is not said, and that is all.
    fetch: Fetched | None = None
    #: Where credentials come from that are not in the project's credentials.yml.
    credentials: tuple[credential_sources.Source, ...] = ()

    def environment(self, kedro_env: str) -> str:
        """The service's environment for Kedro's; an unmapped one is refused rather than guessed."""
        chosen = (
            os.environ.get("MUNIMENT_ENVIRONMENT", "").strip()
            or self.environments.get(kedro_env)
            or self.default_environment
        )
        if chosen is None:
            raise BadConfig(
                f"Kedro's environment {kedro_env!r} is mapped to none of the service's. Write it under `environments:` "
                f"in muniment.yml (for example `environments: {{{kedro_env}: dev}}`), set `default_environment:`, "
                "or set MUNIMENT_ENVIRONMENT."
            )
        return chosen

    def asking(self, kedro_env: str, environment: str | None = None) -> dict[str, str]:
        """What every question to the service says of this project: environment, and project and purpose if any."""
        environment = environment or self.environment(kedro_env)
        said = {"environment": environment, "project": self.project, "purpose": self.purpose}
        return {key: value for key, value in said.items() if value is not None}

    def precedence_of(self, local: str, governed: str) -> Precedence:
        """Who wins when the project defines a governed name itself: said of the name, of a pattern, or of all."""
        said = self.precedence.get(local) or self.precedence.get(governed)
        if said is not None:
            return said
        matching = (each for pattern, each in self.precedence_by_pattern if _matches(pattern, local, governed))
        return next(matching, self.default_precedence)


def _matches(pattern: re.Pattern[str], *names: str) -> bool:
    return any(pattern.fullmatch(name) for name in names)


def read(loader: AbstractConfigLoader) -> Config | None:
    """The project's settings, or ``None`` where it has none."""
    source = _local(str(loader.conf_source))
    url = os.environ.get("MUNIMENT_URL", "").strip()
    if _REMOTE.match(source):
        return _of_remote(source, url)
    documents = list(_documents(loader, source))
    found = {key: (where, value) for where, document in documents for key, value in document.items()}
    if url and documents:
        found["url"] = ("MUNIMENT_URL", url)
    return _checked(found) if found else None


def _local(source: str) -> str:
    """A conf source as a path, where it is one: Kedro takes ``file://`` addresses too."""
    from urllib.request import url2pathname  # with it come http.client and ssl

    return url2pathname(urlsplit(source).path) if source.lower().startswith("file://") else source


def _of_remote(source: str, url: str) -> Config | None:
    """Settings behind a remote address are not read; only ``MUNIMENT_URL`` can say that the project is governed."""
    if url:
        return _checked({"url": ("MUNIMENT_URL", url)})
    logger.warning(
        "Muniment governs nothing in this run: the conf source %s is remote, and muniment.yml is not read from there. "
        "Set MUNIMENT_URL and MUNIMENT_ENVIRONMENT to have the run governed, or use a local or packaged conf.",
        source.partition("?")[0],
    )
    return None


def kedro_env(loader: AbstractConfigLoader) -> str:
    """The Kedro environment of this run, by the loader's own rule."""
    return loader.env or getattr(loader, "default_run_env", "") or "local"


def _documents(loader: AbstractConfigLoader, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each settings file with where it stands; base first, so that the run's environment replaces its keys."""
    base = getattr(loader, "base_env", "") or "base"
    for env in dict.fromkeys((base, kedro_env(loader))):
        for where, text in _texts(source, env):
            yield where, _parsed(text, where)


def _texts(source: str, env: str) -> Iterator[tuple[str, bytes]]:
    """The settings files of one environment: where each stands, and its text.

    A packaged project's conf may be an archive.
    """
    place = Path(source)
    if place.is_file():
        yield from _archived(place, env)
        return
    for name in FILE_NAMES:
        file = place / env / name
        if file.is_file():
            yield str(file), file.read_bytes()


def _archived(archive: Path, env: str) -> Iterator[tuple[str, bytes]]:
    import tarfile
    import zipfile

    wanted = {(env, name) for name in FILE_NAMES}
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for name in zipped.namelist():
                if PurePosixPath(name).parts[-2:] in wanted:
                    yield f"{archive}:{name}", zipped.read(name)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tarred:
            for member in tarred.getmembers():
                opened = tarred.extractfile(member) if PurePosixPath(member.name).parts[-2:] in wanted else None
                if opened is not None:
                    yield f"{archive}:{member.name}", opened.read()


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        raise BadConfig(f"{where}{at} is not YAML: {getattr(error, 'problem', None) or error}.") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise BadConfig(f"{where} holds {_kind(document)}; it must hold keys such as `url:` and `environments:`.")
    unknown = [str(key) for key in document if key not in KEYS]
    if unknown:
        raise BadConfig(f"{where} has unknown keys: {', '.join(sorted(unknown))}. Known are: {', '.join(KEYS)}.")
    return document


def of(said: Mapping[str, Any], where: str) -> Config:
    """Settings that a program says itself, held to the same rules; ``where`` is what a refusal calls the place."""
    return _checked({key: (where, value) for key, value in said.items()})


def _checked(found: Mapping[str, tuple[str, Any]]) -> Config:
    values: dict[str, Any] = {}
    for key, (where, value) in found.items():
        if value is None:
            raise BadConfig(f"`{key}:` in {where} is empty. Write a value, or take the line out: then base's holds.")
        if "${" in str(value):
            raise BadConfig(
                f"`{key}:` in {where} holds `${{…}}`, and nothing is resolved there: muniment.yml is plain YAML. "
                "Write the value itself, or set MUNIMENT_URL or MUNIMENT_ENVIRONMENT."
            )
        try:
            values.update(KEYS[key](value))
        except ValueError as error:
            raise BadConfig(f"`{key}:` in {where} must be {error}, not {_kind(value)}.") from None
    if "url" not in values:
        files = ", ".join(dict.fromkeys(where for where, _ in found.values()))
        raise BadConfig(f"{files} has no `url:`. Write the service's address there, or set MUNIMENT_URL.")
    return Config(**values)


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    kind = names.get(type(value), type(value).__name__)
    return f"{kind} ({value!r})" if isinstance(value, str | int | float) else kind


def _url(value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ValueError("an address such as https://muniment.example.org")  # noqa: TRY004
    text = value.strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an address such as https://muniment.example.org")
    if parts.username is not None or parts.password is not None:
        raise BadConfig("`url:` holds a user or a password. Take it out, and sign in: kedro muniment login")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise BadConfig(f"{text} is plain HTTP, which would show your token to the network. Write https://.")
    return {"url": text}


def _text(key: str) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, str) or not value.strip():
            raise ValueError("text")
        return {key: value.strip()}

    return check


def _texts_of(key: str, example: str) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(
            isinstance(part, str) and part for pair in value.items() for part in pair
        ):
            raise ValueError(f"a mapping from text to text, such as {{{example}}}")
        return {key: MappingProxyType(dict(value))}

    return check


def _list_of(key: str, example: str, made: Callable[[list[str]], object]) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
            raise ValueError(f"a list of text, such as [{example}]")
        return {key: made(value)}

    return check


def _names(value: object) -> dict[str, Any]:
    from kedro_muniment.naming import Names, is_parameter

    named = _texts_of("names", "orders: sales.orders")(value)
    for local in named["names"]:
        if is_parameter(local):
            raise BadConfig(f"`names:` maps {local!r}: parameters are the project's own. Take that line out.")
    Names.of(named["names"])
    return named


def _precedence(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and choice in PRECEDENCES for name, choice in value.items()
    ):
        raise ValueError(f"a mapping from a name, or `default`, to one of {', '.join(PRECEDENCES)}")
    by_name = dict(value)
    default = by_name.pop("default", "error")
    patterns = sorted((key for key in by_name if _WILD.search(key)), key=lambda key: (-len(_WILD.sub("", key)), key))
    return {
        "default_precedence": default,
        "precedence": MappingProxyType(by_name),
        "precedence_by_pattern": tuple((_compiled(key), by_name[key]) for key in patterns),
    }


def _compiled(key: str) -> re.Pattern[str]:
    """A name with wildcards, be they those of ``names:`` or those of ``governed:``."""
    wild = {"*": ".*", "?": "."}
    texts = [re.escape(part) for part in _WILD.split(key)]
    between = [wild.get(part, ".+?") for part in _WILD.findall(key)]
    return re.compile("".join(text + meaning for text, meaning in zip(texts, [*between, ""], strict=True)), re.DOTALL)


def _project_paths(value: object) -> dict[str, Any]:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004
    return {"project_paths": value}


def _fetch(value: object) -> dict[str, Any]:
    if value not in FETCHED:
        raise ValueError(f"one of {', '.join(FETCHED)}")
    return {"fetch": value}


KEYS: Final[Mapping[str, Callable[[object], dict[str, Any]]]] = {
    "url": _url,
    "project": _text("project"),
    "purpose": _text("purpose"),
    "environments": _texts_of("environments", "local: dev"),
    "default_environment": _text("default_environment"),
    "names": _names,
    "governed": _list_of("governed", '"sales.*"', tuple),
    "precedence": _precedence,
    "types": _list_of("types", "my_package.MyDataset", frozenset),
    "allow_code_formats": _list_of("allow_code_formats", "pickle.PickleDataset", frozenset),
    "project_paths": _project_paths,
    "fetch": _fetch,
    "credentials": credential_sources.checked,
}
