"""A dataset's form as it is sent: its fields and the YAML beside it, of which one follows the other.

The page keeps, hidden, the entry on which both agreed last. So it is known which of the two somebody changed: that one
holds. Where both were changed, nothing is thrown away: the page says so, and a button says which one shall hold.
What cannot be read stays in its field as it was typed, with what is wrong beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from muniment.core.bodies import body_of
from muniment.core.dataset_forms import (
    Argument,
    Body,
    Editor,
    alike,
    arguments,
    begun,
    definition_of,
    entry_text,
    read_argument,
    read_entry,
    read_words,
    write_words,
)
from muniment.core.dataset_types import RUNS_CODE, KnownTypes
from muniment.core.datasets import Dataset
from muniment.core.environments import BASE
from muniment.core.names import is_environment
from muniment.core.problems import Fault, Invalid
from muniment.web.words import WORDS

#: Of a dataset with more columns than this the columns are edited in the YAML alone: a form of hundreds is no form.
MOST_ROWS: Final = 60

#: How many environments, and how many arguments of each, are read from a form.
_MOST_LAYERS: Final = 50

_IN_LAYER = re.compile(r"environments\.([^. ]+)(?: \(in [^)]*\))?(?:\.(.*))?\Z", re.DOTALL)
_IN_COLUMN = re.compile(r"columns\.(\d+)(?:\.(\w+))?.*\Z", re.DOTALL)
_OF_A_CHANGE = re.compile(r"\Achanges\.\d+(?: \([^)]*\))?[.:] ?")
_PLAIN: Final = ("owner", "tags", "classification", "sensitivity", "layer", "lifecycle", "successor", "description")
_WORDS: Final = WORDS["draft"]


@dataclass(frozen=True)
class Draft:
    """A dataset as somebody is declaring it.

    ``entry`` is the YAML on which both sides agreed last, ``yaml`` what stands in its field; ``raw`` holds what could
    not be read, by its field, and ``errors`` what is wrong there.
    """

    name: str
    version: int
    body: Body
    entry: str
    yaml: str
    raw: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def wrong(self, errors: Mapping[str, str]) -> Draft:
        """The same, with more that is wrong."""
        return replace(self, errors=_together(self.errors, errors))


@dataclass(frozen=True)
class Layer:
    """The definition for one environment, as its part of the form shows it."""

    place: int
    environment: str
    type: str
    fields: tuple[tuple[str, Argument], ...]
    #: Whether the type's arguments are known; and why loading it can run code, where it can.
    known: bool
    runs_code: str

    @property
    def first(self) -> tuple[tuple[str, Argument], ...]:
        """What must be said, and what is."""
        return tuple(each for each in self.fields if each[1].first)

    @property
    def further(self) -> tuple[tuple[str, Argument], ...]:
        """What else its type takes."""
        return tuple(each for each in self.fields if not each[1].first)


@dataclass(frozen=True)
class Row:
    """A column, as a row of the form shows it."""

    place: int
    name: str
    type: str
    tags: str
    description: str


# --- beginnings -----------------------------------------------------------------------------------


def new_draft(name: str, type_: str) -> Draft:
    """The draft of a dataset that nobody declared yet."""
    return _in_step(name, 0, begun(type_))


def draft_of(dataset: Dataset) -> Draft:
    """A dataset as it stands, to be changed."""
    return _in_step(dataset.name, dataset.version, body_of(dataset))


def draft_from(name: str, version: int, body: Body) -> Draft:
    """A draft that says this."""
    return _in_step(name, version, body)


def _in_step(name: str, version: int, body: Body) -> Draft:
    text = entry_text(name, body)
    return Draft(name, version, body, text, text)


# --- what was sent ----------------------------------------------------------------------------------


def read_draft(name: str, fields: Mapping[str, str], types: KnownTypes) -> Draft:
    """The draft that a form says; which side holds is asked for by ``do``, or is the one that was changed."""
    version = _number(fields.get("version", "")) or 0
    entry = _lines(fields.get("entry", ""))
    yaml = _lines(fields.get("yaml", entry))
    before, _ = _read(name, entry, types)
    told, raw, errors = _told(fields, before or begun(""))
    typed, wrong = _read(name, yaml, types)
    form_moved = bool(errors) or not alike(told, before or begun(""))
    asked = fields.get("do", "")
    if asked == "form" or (asked != "yaml" and yaml != entry and not form_moved):
        if typed is None:
            return Draft(name, version, told, entry, yaml, raw, {**errors, "yaml": wrong})
        return Draft(name, version, typed, yaml, yaml)
    if asked != "yaml" and yaml != entry:
        return Draft(name, version, told, entry, yaml, raw, {**errors, "yaml": str(_WORDS["both"])})
    text = entry if before is not None and alike(told, before) else entry_text(name, told)
    return Draft(name, version, told, text, text, raw, errors)


def _read(name: str, text: str, types: KnownTypes) -> tuple[dict[str, Any] | None, str]:
    """The body that an entry says; or nothing, and why it cannot be read."""
    try:
        return read_entry(name, text, types), ""
    except Invalid as refused:
        told = [_lined(fault) for fault in refused.faults] or [refused.detail]
        return None, " ".join(dict.fromkeys(told))


def _lined(fault: Fault) -> str:
    return fault.message if fault.line is None else str(_WORDS["line"]).format(line=fault.line, said=fault.message)


def _told(fields: Mapping[str, str], before: Body) -> tuple[Body, dict[str, str], dict[str, str]]:
    """What the fields say of a dataset; and of those that cannot be read, what stands there and what is wrong."""
    raw: dict[str, str] = {}
    errors: dict[str, str] = {}
    body = dict(before)
    if "description" in fields:
        body["description"] = _lines(fields["description"])
    for name in ("classification", "lifecycle"):
        body[name] = fields.get(name, str(body[name])).strip()
    for name in ("layer", "successor"):
        body[name] = fields.get(name, body[name] or "").strip() or None
    if "owner" in fields:
        owner = fields["owner"].strip()
        body["owner"] = owner if not owner or ":" in owner else f"group:{owner}"
    if "tags" in fields:
        body["tags"] = sorted(read_words(fields["tags"]))
    if "sensitivity" in fields:
        sensitivity = _number(fields["sensitivity"])
        if sensitivity is None:
            raw["sensitivity"] = fields["sensitivity"]
            errors["sensitivity"] = str(_WORDS["number"])
        else:
            body["sensitivity"] = sensitivity
    if "columns" in fields:
        body["columns"] = [*_columns(fields)]
    if "layer.0.name" in fields or "layers" in fields:
        body["environments"] = _layers(fields, body["environments"], raw, errors)
    return body, raw, errors


def _columns(fields: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    for place in range(MOST_ROWS + 1):
        name, type_, tags, description = (
            fields.get(f"column.{place}.{part}", "") for part in ("name", "type", "tags", "description")
        )
        if any(map(str.strip, (name, type_, tags, description))):
            yield {
                "name": name.strip(),
                "type": type_.strip(),
                "description": _lines(description),
                "tags": read_words(tags),
            }


def _layers(
    fields: Mapping[str, str], before: Mapping[str, Any], raw: dict[str, str], errors: dict[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place in range(_MOST_LAYERS):
        name = fields.get(f"layer.{place}.name")
        if name is None:
            break
        held = before.get(name)
        said = dict(_arguments(f"layer.{place}.", fields, raw, errors))
        found[name] = definition_of(
            held if isinstance(held, Mapping) else {}, fields.get(f"layer.{place}.type", "").strip(), said
        )
    return found


def _arguments(
    prefix: str, fields: Mapping[str, str], raw: dict[str, str], errors: dict[str, str]
) -> Iterable[tuple[str, object]]:
    """What is said of each argument that has a field; of one that cannot be read nothing, so that it stays."""
    for key, text in fields.items():
        editor, dot, argument = key.removeprefix(prefix).partition(".")
        if not key.startswith(prefix) or not dot or editor not in set(Editor) or argument == "type":
            continue
        try:
            yield argument, read_argument(Editor(editor), text)
        except Invalid as refused:
            raw[key] = text
            errors[key] = refused.detail


# --- what is done to a draft -----------------------------------------------------------------------


def pressed(draft: Draft, do: str, environment: str) -> Draft:
    """The draft after what a button does: an environment or a column more or less."""
    verb, _, at = do.partition(":")
    place = _number(at)
    body = dict(draft.body)
    match verb:
        case "add-column" if len(body["columns"]) < MOST_ROWS:
            return draft
        case "drop-column" if place is not None:
            body["columns"] = [each for number, each in enumerate(body["columns"]) if number != place]
        case "add-environment" if is_environment(environment) and environment not in body["environments"]:
            usual = body["environments"].get(BASE)
            body["environments"] = {**body["environments"], environment: dict(usual) if usual else {"type": ""}}
        case "drop-environment" if place is not None:
            kept = [pair for number, pair in enumerate(body["environments"].items()) if number != place]
            body["environments"] = dict(kept)
        case _:
            return draft
    text = entry_text(draft.name, body)
    moved = "layer." if verb == "drop-environment" else "column." if verb == "drop-column" else "\n"
    raw, errors = (
        {key: said for key, said in held.items() if not key.startswith(moved)} for held in (draft.raw, draft.errors)
    )
    return replace(draft, body=body, entry=text, yaml=text, raw=raw, errors=errors)


# --- what is wrong -----------------------------------------------------------------------------------


def errors_of(draft: Draft, faults: Iterable[Fault], types: KnownTypes) -> dict[str, str]:
    """What is wrong, by the field beside which it is said; under no field, for what has none."""
    found: dict[str, str] = {}
    for fault in faults:
        found = _together(found, {_field(draft, plain(fault.at), types): fault.message})
    return found


def plain(detail: str) -> str:
    """What a refusal says, without the place of the change: here there is one."""
    return _OF_A_CHANGE.sub("", detail, count=1)


def _field(draft: Draft, at: str, types: KnownTypes) -> str:
    if at in _PLAIN:
        return at
    column = _IN_COLUMN.match(at)
    if column is not None:
        shown = len(draft.body["columns"]) <= MOST_ROWS
        return f"column.{column[1]}.{column[2] or 'name'}" if shown else "yaml"
    if at == "columns":
        return "columns"
    layer = _IN_LAYER.match(at)
    if layer is None:
        return "environment" if at == "environments" else ""
    environments = list(draft.body["environments"])
    if layer[1] not in environments:
        return ""
    place = environments.index(layer[1])
    return _argument_at(draft.body["environments"][layer[1]], place, layer[2] or "type", types)


def _argument_at(definition: object, place: int, at: str, types: KnownTypes) -> str:
    """The field of an argument, or of the one inside of which something is wrong."""
    if isinstance(definition, Mapping) and at != "type":
        for argument in arguments(definition, types):
            if at == argument.name or at.startswith(f"{argument.name}."):
                return f"layer.{place}.{argument.editor.value}.{argument.name}"
    return f"layer.{place}.type"


def _together(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    found = dict(one)
    for name, text in other.items():
        said = found.get(name, "")
        found[name] = text if not said or said == text else f"{said} {text}"
    return found


# --- what is shown -----------------------------------------------------------------------------------


def layers(draft: Draft, types: KnownTypes) -> tuple[Layer, ...]:
    """The definitions as parts of the form."""
    found: list[Layer] = []
    for place, (environment, definition) in enumerate(draft.body["environments"].items()):
        held = definition if isinstance(definition, Mapping) else {}
        type_ = str(held.get("type", ""))
        known = types.find(type_)
        fields = tuple(
            (key, replace(each, text=draft.raw.get(key, each.text)))
            for each in arguments(held, types)
            for key in (f"layer.{place}.{each.editor.value}.{each.name}",)
        )
        runs = RUNS_CODE.get(known.name, "") if known is not None else ""
        found.append(Layer(place, environment, type_, fields, known is not None, runs))
    return tuple(found)


def rows(draft: Draft, *, one_more: bool = False) -> tuple[Row, ...] | None:
    """The columns as rows of the form, and an empty one to write in; nothing, where there are too many for a form."""
    columns: Sequence[Mapping[str, Any]] = draft.body["columns"]
    if len(columns) > MOST_ROWS:
        return None
    found = [
        Row(place, each["name"], each.get("type", ""), write_words(each.get("tags", [])), each.get("description", ""))
        for place, each in enumerate(columns)
    ]
    further = (one_more or not found) and len(found) < MOST_ROWS
    return (*found, Row(len(found), "", "", "", "")) if further else tuple(found)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _number(text: str) -> int | None:
    """A whole number of a sane length, written in plain digits."""
    held = text.strip()
    return int(held) if re.fullmatch(r"[0-9]{1,9}", held) else None
