"""What people are told of a dataset: both names, what they may do and until when, where it comes from, why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro_muniment.command_line.showing import Table, moment
from kedro_muniment.entries.merging import PROVENANCE, Entry
from kedro_muniment.leases.recorded import Unasked
from kedro_muniment.naming import both_names
from kedro_muniment.problems import plain

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader

    from kedro_muniment.governing import Governed

#: Files of a conf folder that Kedro reads a catalog from, where the project says nothing else.
CATALOG_FILES: Final = ("catalog*", "catalog*/**", "**/catalog*")
ENDINGS: Final = frozenset({".yml", ".yaml", ".json"})


def governed_entries(
    governed: Governed, *, search: str = "", domain: str | None = None, action: str | None = None
) -> list[Entry]:
    """The governed entries that a person asks for, by the project's names."""
    found = (entry for entry in governed.merged.entries.values() if entry.governed is not None)
    return sorted(
        (
            entry
            for entry in found
            if search.lower() in f"{entry.name} {entry.governed} {_kind(entry.definition) or ''}".lower()
            and (not domain or str(entry.governed).startswith(f"{domain}."))
            and (not action or action in entry.actions)
        ),
        key=lambda entry: entry.name,
    )


def as_json(entry: Entry, governed: Governed) -> dict[str, Any]:
    return {
        "name": entry.name,
        "dataset": entry.governed,
        "actions": list(entry.actions),
        "type": _kind(_shown_definition(entry, governed)),
        "from": _origin(entry, governed),
        "named_by": entry.named_by,
        "made_by": entry.made_by,
        "instead_of": entry.instead_of,
        "ends": entry.end.isoformat() if entry.end else None,
        "notice": notice(entry, governed),
        "refused": entry.refusal,
    }


def _origin(entry: Entry, governed: Governed) -> str:
    is_recorded = entry.provenance == "service" and isinstance(governed.service, Unasked)
    return f"the recorded catalog {governed.service.url}" if is_recorded else PROVENANCE[entry.provenance]


def line(entry: Entry, governed: Governed) -> str:
    """A dataset in one line of a list."""
    name = both_names(entry.name, entry.governed)
    return f"  {name}: {'; '.join(_words(entry, governed))}"


def _words(entry: Entry, governed: Governed) -> Iterator[str]:
    if entry.refusal is not None:
        yield f"refused: {entry.refusal}"
    elif entry.provenance == "project":
        yield "the project's own definition is used, by `precedence:`"
    else:
        yield may(entry.actions)
    if entry.end is not None:
        yield f"until {moment(entry.end)}"
    told = notice(entry, governed)
    if told is not None:
        yield told


def may(actions: Sequence[str]) -> str:
    return plain(" and ".join(actions)) or "nothing"


def notes(entries: Sequence[Entry], governed: Governed) -> Iterator[str]:
    """What stands below a list: that it is empty because nothing matches, and the factory patterns that may be used."""
    if not entries and governed.merged.served():
        yield "  None of them is what you look for."
    for name, actions in governed.lease.patterns.items():
        yield f"  {plain(name)}: {may(actions)}, each name that it makes for itself"


def table(entries: Sequence[Entry], governed: Governed) -> Table:
    """The same in columns, for a terminal."""
    return Table(
        governed.summary(),
        ["here", "in Muniment", "you may", "until", "what to know"],
        [
            (
                entry.name,
                "" if entry.governed == entry.name else str(entry.governed),
                _standing(entry),
                moment(entry.end) if entry.end else "",
                "; ".join(filter(None, (entry.refusal, notice(entry, governed)))),
            )
            for entry in entries
        ],
        list(notes(entries, governed)),
    )


def _standing(entry: Entry) -> str:
    if entry.refusal is not None:
        return "-"
    return "as the project says" if entry.provenance == "project" else may(entry.actions)


def notice(entry: Entry, governed: Governed) -> str | None:
    """That a dataset is deprecated, and what follows it."""
    told = governed.lease.notices.get(entry.governed or "")
    return plain(told) if told else None


def in_full(name: str, entry: Entry, governed: Governed, loader: AbstractConfigLoader) -> dict[str, Any]:
    """Everything about one dataset."""
    definition = _shown_definition(entry, governed)
    file = defined_in(loader, entry.name) if entry.provenance == "project" else None
    return {
        **as_json(entry, governed),
        "instead_of": governed.merged.instead_of(entry),
        "asked": name,
        "pattern": entry.name if "{" in entry.name else None,
        "file": file,
        "definition": _without_secrets(definition),
    }


def full_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The same as a person reads it; the definition as it would stand in a ``catalog.yml``."""
    import yaml

    yield both_names(told["name"], told["dataset"])
    said = {
        "you may": may(told["actions"]) if told["actions"] else None,
        "until": moment(told["ends"]) if told["ends"] else None,
        "comes from": told["from"] + (f", {told['file']}" if told["file"] else ""),
        "by the project's pattern": told["pattern"],
        "called so by": f"{told['named_by']!r} under `names:`" if told["named_by"] else None,
        "made by": f"the factory pattern {told['made_by']} of the service" if told["made_by"] else None,
        "instead of": f"the project's own {told['instead_of']}" if told["instead_of"] else None,
        "note": told["notice"],
        "not usable here": told["refused"],
    }
    yield from (f"  {key}: {held}" for key, held in said.items() if held is not None)
    if told["definition"] is not None:
        yield ""
        name = told["asked"] if told["pattern"] else told["name"]
        yield from yaml.safe_dump(
            {name: told["definition"]}, sort_keys=False, allow_unicode=True, width=1000
        ).splitlines()


def defined_in(loader: AbstractConfigLoader, name: str) -> str | None:
    """The file and line where the project's own conf defines a name; the run's environment before base, as in Kedro."""
    from kedro_muniment.config import kedro_env

    source = Path(str(loader.conf_source))
    if not source.is_dir():
        return None
    patterns = getattr(loader, "config_patterns", {}).get("catalog", CATALOG_FILES)
    for env in dict.fromkeys((kedro_env(loader), getattr(loader, "base_env", "") or "base")):
        files = {file for pattern in patterns for file in (source / env).glob(pattern) if file.suffix in ENDINGS}
        for file in sorted(files):
            number = _line_of(file, name)
            if number is not None:
                return f"{file.relative_to(source.parent)}, line {number}"
    return None


def _line_of(file: Path, name: str) -> int | None:
    """Where a key stands in a file. It is read for its keys alone: no tag in it makes anything."""
    import yaml

    try:
        document = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(document, yaml.MappingNode):
        return None
    return next((key.start_mark.line + 1 for key, _ in document.value if key.value == name), None)


def _shown_definition(entry: Entry, governed: Governed) -> Any:
    """What was served, where a refusal stands in its place; nothing of what was not."""
    if entry.refusal is not None and entry.governed is not None:
        return governed.lease.catalog.get(entry.governed)
    return entry.definition


def _kind(definition: Any) -> str | None:
    kind = definition.get("type") if isinstance(definition, dict) else None
    return str(kind) if kind is not None else None


def _without_secrets(value: Any) -> Any:
    """A project's own entry may hold credentials themselves, which nobody asked to see on a screen."""
    if isinstance(value, dict):
        return {
            key: "(hidden)" if key == "credentials" and not isinstance(held, str) else _without_secrets(held)
            for key, held in value.items()
        }
    return [_without_secrets(held) for held in value] if isinstance(value, list) else value
