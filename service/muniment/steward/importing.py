"""``muniment import``: a Kedro project's catalog declared, seen beforehand, and all of it or nothing.

What is sent is what :mod:`muniment.core.projects.governed` made of the conf's texts: no entry that holds a secret is
among it. The conf itself is changed only when that is asked for, and only after the service has what was taken from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from muniment.core.bodies import DEFAULTS, from_fields
from muniment.core.comparing import Compared, Live, compare
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Lifecycle
from muniment.core.environments import BASE
from muniment.core.files import Written
from muniment.core.kept import Address
from muniment.core.names import ROOT, checked_environment, lineage
from muniment.core.problems import Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.projects.conf import REASONS, Left, filled_in, is_catalog, read_conf
from muniment.core.projects.governed import Aim, Imported, govern
from muniment.core.projects.written import naming_of, settings_text, without
from muniment.steward.connection import Connection
from muniment.steward.directories import put
from muniment.steward.refusals import Refused, plain

#: What a project says about Muniment, in its base.
SETTINGS: Final = "base/muniment.yml"

_SUFFIXES: Final = frozenset({".yml", ".yaml", ".json"})
_GLOBALS: Final = "globals.yml"
#: What stands for a file that is no text: nothing can be read from it.
_NO_TEXT: Final = "\x00"
_LARGEST: Final = 8 * 1024 * 1024
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an import beside where the conf lies."""

    domain: str
    owner: str | None = None
    environments: Mapping[str, str] | None = None
    moved: Mapping[str, str] | None = None
    fills: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A conf as it lies on disk, and what becomes of it."""

    directory: Path
    texts: Mapping[str, str]
    #: The text of the project's ``muniment.yml``, if it has one.
    settings: str
    imported: Imported
    wanted: Wanted
    #: What the project's ``names:`` maps already.
    known: frozenset[str] = frozenset()


def conf_of(place: Path) -> Path:
    """The conf directory that a path means: itself, or the one of the project that it is."""
    within = place / "conf"
    if within.is_dir() and not (place / BASE).is_dir():
        return within
    if not place.is_dir():
        raise Refused(f"{place} is no directory. Name the conf of a Kedro project: muniment import PROJECT/conf.")
    return place


def read_texts(conf: Path) -> dict[str, str]:
    """The texts of those files of a conf from which Kedro reads catalogs and globals, by their paths below it."""
    texts: dict[str, str] = {}
    for file in sorted(conf.rglob("*")):
        path = file.relative_to(conf).as_posix()
        _, _, within = path.partition("/")
        if within and file.suffix in _SUFFIXES and (is_catalog(within) or within == _GLOBALS) and file.is_file():
            texts[path] = text_of(file)
    return texts


def text_of(file: Path) -> str:
    """A file's text; what cannot be read as one is no text, and is told as such."""
    try:
        if file.stat().st_size > _LARGEST:
            return _NO_TEXT
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return _NO_TEXT
    except OSError as failed:
        raise Refused(f"{file} cannot be read: {failed.strerror}.") from None


def read(place: Path, wanted: Wanted, standing: Mapping[Address, Live]) -> Read:
    """What becomes of a project's conf, where the domain stands as it does."""
    conf = conf_of(place)
    texts = read_texts(conf)
    if not texts:
        raise Refused(f"{conf} holds no catalog: no base/catalog.yml, nor any other file that Kedro would read as one.")
    _refuse_unknown_environments(conf, wanted)
    domain = _domain_in_force(standing, wanted.domain)
    file = conf / SETTINGS
    settings = text_of(file) if file.is_file() else ""
    aim = Aim(
        wanted.domain,
        KnownTypes.newest().registering(domain["types"]),
        wanted.environments or {},
        wanted.moved or {},
        tuple(domain["locations"]),
        _names_in(settings),
    )
    imported = govern(read_conf(filled_in(texts, wanted.fills or {})), aim)
    # Of an environment without entries only its name is said: `local`, in which Kedro runs, has seldom any.
    spoiled = {left.environment for left in imported.left}
    silent = {kedro: service for kedro, service in (wanted.environments or {}).items() if kedro not in spoiled}
    imported = replace(imported, environments={**silent, **imported.environments})
    return Read(conf, texts, settings, imported, wanted, frozenset(aim.names.values()))


def _refuse_unknown_environments(conf: Path, wanted: Wanted) -> None:
    for service in (wanted.environments or {}).values():
        if checked_environment(service) == BASE:
            raise Refused(f"{BASE} is under all environments of the service, and none of them: name another one.")
    unknown = [name for name in wanted.environments or () if name == BASE or not (conf / name).is_dir()]
    if unknown:
        known = ", ".join(sorted(each.name for each in conf.iterdir() if each.is_dir() and each.name != BASE))
        raise Refused(
            f"{conf} has no environment {', '.join(unknown)}, as --environment says. It has: {known or 'none'}."
        )


def _names_in(settings: str) -> Mapping[str, str]:
    try:
        return naming_of(projects_yaml.parse(settings)).names
    except Invalid as refused:
        raise Refused(f"{SETTINGS}: {refused.detail}") from None


def with_surroundings(connection: Connection, standing: Mapping[Address, Live], domain: str) -> dict[Address, Live]:
    """What stands, and with it what a steward may know and not change: environments, the domain and those above it."""
    found = dict(standing)
    for item in connection.every("/v1/environments"):
        known = {key: item[key] for key in DEFAULTS["environment"]}
        found.setdefault(
            ("environment", item["name"]), Live("environment", item["name"], item["version"], known, "", "")
        )
    for name in lineage(domain):
        if name == ROOT or ("domain", name) in found:
            continue
        try:
            body = dict(connection.get(f"/v1/domains/{name}"))
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise
            continue
        version = body.pop("version")
        known = {key: value for key, value in body.items() if key in {*DEFAULTS["domain"], "owner"}}
        found["domain", name] = Live("domain", name, version, known, "", "")
    return found


def _domain_in_force(standing: Mapping[Address, Live], name: str) -> dict[str, list[str]]:
    """The locations and types of a domain and those above it, as far as they are shown."""
    found: dict[str, list[str]] = {"locations": [], "types": []}
    while name:
        live = standing.get(("domain", name))
        if live is not None and live.body is not None:
            for key, held in found.items():
                held.extend(live.body.get(key, []))
        name = name.rpartition(".")[0]
    return found


def things(read: Read, standing: Mapping[Address, Live]) -> dict[Address, Written]:
    """Everything as it shall be: environments, the domain, and the datasets; only what the conf says of each."""
    imported, wanted = read.imported, read.wanted
    found: dict[Address, Written] = {}
    for kedro, service in sorted(imported.environments.items()):
        if ("environment", service) not in standing:
            _put(found, Written("environment", service, {}, f"{read.directory.name}/{kedro}"))
    domain = _domain_fields(imported, wanted, standing)
    if domain or ("domain", wanted.domain) not in standing:
        _put(found, Written("domain", wanted.domain, domain, read.directory.name))
    for taken in imported.taken:
        fields: dict[str, Any] = {f"environments.{name}": dict(each) for name, each in taken.environments.items()}
        if taken.layer is not None:
            fields["layer"] = taken.layer
        if wanted.owner is not None:
            fields["owner"] = wanted.owner
        live = standing.get(("dataset", taken.governed))
        if live is not None and live.body is not None and live.body["lifecycle"] == Lifecycle.RETIRED:
            fields["lifecycle"] = Lifecycle.ACTIVE.value
        _put(found, Written("dataset", taken.governed, fields, next(iter(taken.files.values()))))
    return found


def _put(found: dict[Address, Written], written: Written) -> None:
    found[written.address] = written


def _domain_fields(imported: Imported, wanted: Wanted, standing: Mapping[Address, Live]) -> dict[str, Any]:
    """What the domain needs beside what it has: variables, locations, types; and for a new one its owner."""
    live = standing.get(("domain", wanted.domain))
    body = live.body if live is not None and live.body is not None else None
    in_force = _domain_in_force(standing, wanted.domain)
    fields: dict[str, Any] = {f"variables.{name}": value for name, value in imported.variables.items()}
    locations = [url for url in imported.locations if not any(url.startswith(has) for has in in_force["locations"])]
    if locations:
        fields["locations"] = [*(body or DEFAULTS["domain"])["locations"], *locations]
    types = sorted(set(imported.types) - set(in_force["types"]))
    if types:
        fields["types"] = sorted({*(body or DEFAULTS["domain"])["types"], *types})
    if body is None:
        if wanted.owner is None:
            raise Refused(
                f"There is no domain {wanted.domain} that you may change, and a new one needs an owner: "
                "--owner group:NAME."
            )
        fields["owner"] = wanted.owner
    return fields


def compared(read: Read, standing: Mapping[Address, Live]) -> tuple[Compared, ...]:
    """What the import changes of what stands, in the order in which it can be done."""
    return tuple(each for each in compare(things(read, standing), standing, "") if each.changes or each.blocked)


def others(read: Read, compared: Sequence[Compared]) -> tuple[Compared, ...]:
    """Datasets that stand as something else, and that this project's names do not say are its own.

    Another project's import may have declared them: what is called the same need not be the same.
    """
    return tuple(each for each in compared if each.key not in read.known and _is_something_else(each))


def _is_something_else(compared: Compared) -> bool:
    body = compared.live.body if compared.kind == "dataset" and compared.live is not None else None
    stands = body is not None and body["environments"] and body["lifecycle"] != Lifecycle.RETIRED
    return bool(stands) and any(each.name.startswith("environments.") for each in compared.differences)


def needed_of_an_administrator(compared: Sequence[Compared]) -> str:
    """What of an import only an administrator can make, in words."""
    said = []
    for each in compared:
        fields = [
            f"{d.name}: {d.wanted}" for d in each.differences if d.name != "owner" and not d.name.startswith("vari")
        ]
        if each.kind == "environment" or (each.kind == "domain" and (fields or each.live is None)):
            said.append(plain(f"{each.kind} {each.key}{' with ' if fields else ''}{'; '.join(fields)}"))
    return "\n".join(f"  {line}" for line in said)


def bodies(read: Read) -> dict[Address, Mapping[str, Any]]:
    """Everything as files in git say it, where no service is asked."""
    found: dict[Address, Mapping[str, Any]] = {}
    for address, written in things(read, {}).items():
        found[address] = {**DEFAULTS[written.kind], **from_fields(written.fields)}
    return found


def settings(read: Read, url: str, default_environment: str | None, known: Sequence[str]) -> str:
    """The project's ``muniment.yml``.

    A plain `kedro run` runs on what ``base`` says; so where nobody names its environment it is the only one of the
    service's for which the conf says nothing of its own.
    """
    others = {*known} - {BASE, *read.imported.environments.values()}
    if default_environment is None and len(others) == 1:
        (default_environment,) = others
    return settings_text(
        read.imported,
        KnownTypes.newest(),
        domain=read.wanted.domain,
        url=url,
        default_environment=default_environment,
        standing=read.settings,
    )


def rewrite(read: Read, text: str) -> Iterator[Path]:
    """Make the conf say what is governed, by ``muniment.yml`` and by cutting out its entries; gives what changed."""
    if text != read.settings:
        put(read.directory / SETTINGS, text)
        yield read.directory / SETTINGS
    governed = {taken.name for taken in read.imported.taken}
    for path, held in read.texts.items():
        _, _, within = path.partition("/")
        cut = without(held, governed) if is_catalog(within) and held != _NO_TEXT else held
        if cut != held:
            put(read.directory / path, cut)
            yield read.directory / path


# --- the report -----------------------------------------------------------------------------------


def told(read: Read) -> Iterator[str]:
    """What was taken and what was left, for people."""
    imported = read.imported
    yield f"Entries: {imported.count}; governed: {imported.taken_count}; the project's own: {len(imported.left)}."
    for taken in imported.taken:
        for note in taken.notes:
            yield plain(f"  ~ {taken.name}: {note}")
    for left in imported.left:
        yield plain(f"  ? {_named(left)}: {left.reason.value}. {left.message}")
    if imported.credentials:
        yield plain(f"Credentials that the project provides: {', '.join(imported.credentials)}.")


def _named(left: Left) -> str:
    return f"{left.name or 'entries'} ({left.file})"


def as_json(read: Read) -> dict[str, Any]:
    """The same for programs."""
    imported = read.imported
    return {
        "entries": imported.count,
        "governed": [
            {
                "name": taken.name,
                "governed": taken.governed,
                "environments": sorted(taken.environments),
                "files": sorted(taken.files.values()),
                "notes": list(taken.notes),
            }
            for taken in imported.taken
        ],
        "left": [
            {
                "name": left.name,
                "environment": left.environment,
                "file": left.file,
                "reason": left.reason.value,
                "means": REASONS[left.reason],
                "message": left.message,
            }
            for left in imported.left
        ],
        "domain": {
            "name": read.wanted.domain,
            "variables": dict(imported.variables),
            "locations": list(imported.locations),
            "types": list(imported.types),
        },
        "environments": dict(imported.environments),
        "credentials": list(imported.credentials),
    }
