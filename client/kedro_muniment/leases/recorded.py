"""A governed catalog from a file: for a project's own tests, where no service is asked.

``MUNIMENT_CATALOG_FROM`` names the file. It is written by ``kedro muniment record``, or by hand: Kedro's own catalog
syntax under governed names, and beside it what may be done with each, under the key ``_muniment`` that Kedro ignores.
Names, precedence, the list of allowed types and the refusals before the first node work from it as from a lease.

It widens nothing. No service is asked, so none gives anything, no credential of Muniment's is read, and every start
says so at the level WARNING. Where the environment names a credential as well, the start is refused: whether a run is
governed must not depend on a variable that somebody forgot. A recording of one environment is not used for another.
Decision: 0037.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NoReturn

from typing_extensions import override

from kedro_muniment.entries.definitions import is_name, most_specific
from kedro_muniment.entries.paths import PATH_KEY
from kedro_muniment.leases.lease import ACTIONS, Lease
from kedro_muniment.naming import NAMED
from kedro_muniment.problems import BadConfig, Unusable, plain
from kedro_muniment.service import Service
from kedro_muniment.sign_in.tokens import Token

if TYPE_CHECKING:
    from kedro_muniment.entries.merging import Entry
    from kedro_muniment.governing import Governed

#: What is said of the recording itself stands under this key.
HEAD: Final = "_muniment"
HEAD_KEYS: Final = ("subject", "environment", "revision", "actions", "ends", "notices", "withheld")
#: How a file begins that ``kedro muniment record`` wrote.
WRITTEN: Final = """\
# Written by `kedro muniment record`: for tests that run without the service (MUNIMENT_CATALOG_FROM). No secrets.
# Kedro's own catalog syntax; under _muniment stands what may be done with each dataset.
"""
NOBODY: Final = "nobody (no service was asked)"

_given: ContextVar[Path | None] = ContextVar("kedro_muniment_recorded", default=None)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file gives, checked for shape; what is in it is checked as what a service serves is."""

    file: Path
    catalog: Mapping[str, Any]
    actions: Mapping[str, Sequence[str]]
    subject: str = NOBODY
    #: The service's environment that it was recorded for; ``None`` holds for each.
    environment: str | None = None
    revision: str = "unknown"
    ends: Mapping[str, datetime] = field(default_factory=dict)
    notices: Mapping[str, str] = field(default_factory=dict)
    #: Names that are given under an obligation, and so without a definition.
    withheld: frozenset[str] = frozenset()

    def lease(self, asked: Mapping[str, str]) -> Lease:
        """What a service would give: everything but patterns, which are told by name; or names that are asked for."""
        environment = asked["environment"]
        if self.environment not in {None, environment}:
            raise BadConfig(
                f"{self.file} was recorded in {self.environment}, and this is {environment}. Record it there too: "
                "kedro muniment record --help"
            )
        wanted = asked["names"].split(",") if "names" in asked else [name for name in self.catalog if "{" not in name]
        names = [name for name in wanted if self._source(name) is not None]
        return Lease(
            catalog={name: self._definition(name) for name in names if name not in self.withheld},
            actions={name: self._allows(name) for name in names},
            ends=dict(self.ends),
            environment=environment,
            subject=self.subject,
            revision=self.revision,
            receipt="",
            obliged=self.withheld,
            patterns={name: actions for name, actions in self.actions.items() if "{" in name},
            notices=dict(self.notices),
        )

    def _source(self, name: str) -> str | None:
        """The entry that gives a name: its own, else the most specific of the patterns that make it."""
        return name if name in self.catalog else most_specific([*self.catalog], name)

    def _definition(self, name: str) -> Any:
        """The definition of a name that is given, with the placeholders of its pattern filled."""
        import parse  # type: ignore[import-untyped]

        source = self._source(name)
        if source is None or source == name:
            return self.catalog[name]
        return _filled(self.catalog[source], parse.parse(source, name).named)

    def _allows(self, name: str) -> Sequence[str]:
        source = self._source(name)
        return () if source is None else self.actions[source]

    def preflight(self, load: Iterable[str], save: Iterable[str]) -> dict[str, Any]:
        """A verdict on each use, in the words that the service has for it."""
        asked = [*((name, "load") for name in load), *((name, "save") for name in save)]
        verdicts = [self._verdict(name, action) for name, action in asked]
        return {"allowed": all(each["allowed"] for each in verdicts), "verdicts": verdicts}

    def _verdict(self, name: str, action: str) -> dict[str, Any]:
        actions = self._allows(name)
        given = " and ".join(actions) or "nothing"
        return {
            "dataset": name,
            "action": action,
            "allowed": action in actions and name not in self.withheld,
            "known": bool(actions) or name in self.withheld,
            "reason": f"the recorded catalog lets you {given} it",
            "notice": self.notices.get(name),
        }

    def banner(self) -> str:
        """What every start says."""
        return (
            f"No service was asked: the governed catalog comes from {self.file} (MUNIMENT_CATALOG_FROM). "
            "That is for tests; unset it to run with what is yours."
        )


@dataclass(frozen=True, slots=True)
class Unasked(Service):
    """In a service's place: it answers from a recording what a run asks, and nothing else."""

    recording: Recording

    @classmethod
    def of(cls, recording: Recording) -> Unasked:
        return cls(str(recording.file), Token("", source="MUNIMENT_CATALOG_FROM"), recording)

    @override
    def preflight(self, asked: Mapping[str, str], load: Sequence[str], save: Sequence[str]) -> Any:
        return self.recording.preflight(load, save)

    @override
    def _ask(self, method: str, path: str, **said: Any) -> NoReturn:
        raise BadConfig(self.recording.banner())


@contextmanager
def using(file: Path | None) -> Iterator[None]:
    """Within this block the catalog comes from that file, if one is given."""
    before = _given.set(file.resolve()) if file is not None else None
    try:
        yield
    finally:
        if before is not None:
            _given.reset(before)


def named(project: Path) -> Recording | None:
    """The recording that is to be used, if one is; a relative path is the project's."""
    given = _given.get()
    if given is not None:  # Said with a command, which runs nothing: nobody forgot a variable.
        return read(given, project)
    text = os.environ.get("MUNIMENT_CATALOG_FROM", "").strip()
    if not text:
        return None
    file = project / text
    from kedro_muniment.sign_in import jobs

    credential = next((name for name in jobs.CREDENTIALS if os.environ.get(name, "").strip()), None)
    if credential is not None:
        raise BadConfig(
            f"The catalog is to come from {file}, and {credential} names a credential for a service. Unset "
            f"{credential} to use the recorded catalog, or unset MUNIMENT_CATALOG_FROM to ask the service."
        )
    return read(file, project)


def read(file: Path, project: Path) -> Recording:
    """The recording in a file. A relative path in it lies in the project, as in a project's own ``catalog.yml``."""
    import yaml

    try:
        document = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise BadConfig(f"The recorded catalog {file} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise BadConfig(f"The recorded catalog {file} is nested too deep.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        raise BadConfig(f"{file}{at} is not YAML: {getattr(error, 'problem', None) or error}.") from None
    if not isinstance(document, dict):
        raise BadConfig(f"{file} must hold a mapping from governed names to definitions, as a catalog.yml does.")
    try:
        return _recording(file, project, document)
    except (Unusable, ValueError) as error:
        raise BadConfig(f"{file}: {plain(error)}") from None


def refuse_by_hand(file: Path, *, force: bool) -> None:
    """What is there is written over if it is a recording as ``record`` writes them."""
    if file.exists() and not force and not file.read_text(encoding="utf-8", errors="replace").startswith(WRITTEN):
        raise BadConfig(f"{file} was not written by `kedro muniment record`. Name another file, or say --force.")


def written(governed: Governed, used: Container[str] | None, data: Path | None = None) -> tuple[str, list[str]]:
    """What the lease gives as a file's text, and the names in it: of everything, or of what a project uses.

    With ``data``, files lie in that folder of the project instead of where the service says: a test has no lake.
    """
    import yaml

    lease = governed.lease
    names = sorted(
        {
            entry.governed
            for entry in governed.merged.served()
            if entry.governed is not None and (used is None or _is_used(entry, used))
        }
    )
    given = [name for name in names if name in lease.catalog]
    head = {
        "subject": lease.subject,
        "environment": lease.environment,
        "revision": lease.revision,
        "actions": {name: list(lease.actions[name]) for name in given},
        "ends": {name: lease.ends[name].isoformat() for name in given if name in lease.ends},
        "notices": {name: lease.notices[name] for name in given if name in lease.notices},
        "withheld": [name for name in names if name in lease.obliged],
    }
    document = {
        HEAD: {key: held for key, held in head.items() if held},
        **{name: _moved(name, lease.catalog[name], data) for name in given},
    }
    return WRITTEN + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), given


def _is_used(entry: Entry, used: Container[str]) -> bool:
    """By a pipeline, or named by itself under `names:`; a pattern there may map everything that is served."""
    return entry.name.partition("@")[0] in used or (entry.named_by is not None and "{" not in entry.named_by)


def _moved(name: str, definition: Any, data: Path | None) -> Any:
    """A definition whose file lies in a folder of the project, where no credentials are needed."""
    if data is None or not isinstance(definition, dict) or not isinstance(definition.get("filepath"), str):
        return definition
    left = {key: held for key, held in definition.items() if key not in {"credentials", "fs_args"}}
    return {**left, "filepath": (data / (name + PurePosixPath(definition["filepath"]).suffix)).as_posix()}


def _recording(file: Path, project: Path, document: Mapping[Any, Any]) -> Recording:
    catalog = {str(n): _definition(str(n), held, project) for n, held in document.items() if not str(n).startswith("_")}
    head = _mapping(HEAD, document.get(HEAD) or {})
    unknown = sorted(str(key) for key in head if key not in HEAD_KEYS)
    if unknown:
        raise Unusable(f"`{HEAD}:` has unknown keys: {', '.join(unknown)}. Known are: {', '.join(HEAD_KEYS)}.")
    withheld = head.get("withheld") or []
    if not isinstance(withheld, list):
        raise Unusable("`withheld:` must be a list of names.")
    texts = {key: str(head[key]) for key in ("subject", "environment", "revision") if head.get(key) is not None}
    told = {name: _mapping(f"{HEAD}: {name}", head.get(name) or {}) for name in ("actions", "ends", "notices")}
    _refuse_absent(told, catalog)
    return Recording(
        file,
        catalog,
        {name: _actions(name, told["actions"].get(name, list(ACTIONS))) for name in catalog},
        **texts,
        ends={name: _moment(end) for name, end in told["ends"].items()},
        notices={name: plain(notice) for name, notice in told["notices"].items()},
        withheld=frozenset(map(str, withheld)),
    )


def _refuse_absent(told: Mapping[str, Mapping[str, Any]], catalog: Mapping[str, Any]) -> None:
    """A word on a dataset that is not there is a misspelt name, which would silently give more than was meant."""
    for key, said in told.items():
        absent = sorted(name for name in said if name not in catalog)
        if absent:
            raise Unusable(f"`{HEAD}: {key}:` names {', '.join(absent)}, which the file does not define.")


def _definition(name: str, held: Any, project: Path) -> dict[str, Any]:
    if not is_name(NAMED.sub("x", name)):
        raise Unusable(f"{name!r} is no governed name, which begins with a domain (sales.orders).")
    if not isinstance(held, dict):
        raise Unusable(f"{name} must be a mapping with a `type:`.")
    if not isinstance(held.get("credentials", ""), str):
        raise Unusable(f"`credentials:` of {name} must be the name of credentials: a recording holds no secret.")
    return {str(key): _anchored(str(key), value, project) for key, value in held.items()}


def _anchored(key: str, value: Any, project: Path) -> Any:
    """A relative path means the project here, whose own file this is; served by a service it would be refused.

    Keys are text, as in what a service sends.
    """
    if isinstance(value, dict):
        return {str(inner): _anchored(str(inner), held, project) for inner, held in value.items()}
    is_relative = isinstance(value, str) and "://" not in value and "::" not in value and not Path(value).is_absolute()
    return (project / value).as_posix() if is_relative and PATH_KEY.search(key) else value


def _filled(value: Any, given: Mapping[str, Any]) -> Any:
    """A pattern's definition for one name: each placeholder is what the name has in its place."""
    if isinstance(value, dict):
        return {key: _filled(held, given) for key, held in value.items()}
    if isinstance(value, list):
        return [_filled(held, given) for held in value]
    if isinstance(value, str):
        for placeholder, text in given.items():
            value = value.replace(f"{{{placeholder}}}", str(text))
    return value


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"`{key}:` must be a mapping.")
    return {str(name): held for name, held in value.items()}


def _actions(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(action in ACTIONS for action in given):
        raise Unusable(f"`actions:` of {name} must be a list of {' and '.join(ACTIONS)}.")
    return tuple(action for action in ACTIONS if action in given)


def _moment(value: Any) -> datetime:
    """YAML reads a time itself where it is written as one, and a day as a day."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
