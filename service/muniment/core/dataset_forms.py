"""A dataset as a form: a field for each argument that its type takes, the entry in YAML beside it, and back from both.

Nothing is lost on the way, and nothing is put in another order. An argument that its type does not take, or whose value
no plain field can hold, stands in its field as YAML. An argument that was said keeps its place in the definition, and a
new one comes after it. The YAML is the entry as files in git hold it (:mod:`muniment.core.files`): Kedro's catalog
syntax, with what Kedro does not know under ``muniment:``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn, cast

from muniment.core.bodies import DEFAULTS, from_fields
from muniment.core.comparing import ABSENT
from muniment.core.dataset_types import Accepts, DatasetType, KnownTypes, Parameter
from muniment.core.datasets import Column, Dataset, Lifecycle
from muniment.core.definitions import DEEPEST, canonical_json
from muniment.core.environments import BASE
from muniment.core.file_texts import entries_text, entry_of
from muniment.core.files import read_files
from muniment.core.groups import parse_group
from muniment.core.problems import Fault, Invalid, InvalidDefinition
from muniment.core.projects import texts as projects_yaml
from muniment.core.visibility import LONGEST_ASKED
from muniment.core.yaml_texts import dumped

#: A dataset as JSON puts it (:mod:`muniment.core.bodies`), whole; an owner that nobody named is an empty text.
Body = Mapping[str, Any]

_DRAFT: Final = "datasets/draft.yml"
_VERSIONED: Final = "versioned"
_CREDENTIALS: Final = "credentials"
#: Texts that seldom stand on one line.
_LONG: Final = frozenset({"sql", "query"})
_FLAGS: Final[Mapping[str, bool]] = {"yes": True, "no": False}
_NUMBERS: Final = frozenset({Accepts.INTEGER, Accepts.NUMBER})
_TEXTS: Final = frozenset({Accepts.PATH, Accepts.STRING})

_LONGEST_TEXT: Final = 10_000
_LONGEST_LINE: Final = 500
_LONGEST_LABEL: Final = 100
_LONGEST_COLUMN: Final = 200
_MOST_TAGS: Final = 100
_MOST_ENVIRONMENTS: Final = 50
_MOST_SENSITIVE: Final = 100
#: How deep a dataset may be nested, its definitions in it.
_DEEPEST: Final = DEEPEST + 4
#: How long an entry may be once its aliases are written out.
_LONGEST_ENTRY: Final = 4_000_000
_COLUMN: Final = {"name": "", "type": "", "description": "", "tags": []}


class Editor(StrEnum):
    """How a value stands in its field."""

    #: As it is, on one line.
    TEXT = "text"
    #: As it is, on several lines.
    LINES = "lines"
    #: Yes, no, or not said.
    FLAG = "flag"
    #: As YAML on one line.
    VALUE = "value"
    #: As YAML.
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Argument:
    """One field of a definition's form; an empty ``text`` says nothing."""

    name: str
    editor: Editor
    text: str
    required: bool = False
    accepts: tuple[Accepts, ...] = ()
    #: What it is where nothing is said, in words for people; empty, where that is nothing, or not known.
    usual: str = ""
    #: Whether the type is known to take it.
    known: bool = True

    @property
    def first(self) -> bool:
        """Whether it belongs to what one looks at first: what must be said, and what is."""
        return self.required or bool(self.text)


# --- a definition as fields -----------------------------------------------------------------------


def arguments(definition: Mapping[str, object], types: KnownTypes) -> tuple[Argument, ...]:
    """The fields of a definition: what its type needs, what is said in its order, and what its type takes besides."""
    known = types.find(str(definition.get("type")))
    parameters = {} if known is None else dict(_parameters(known))
    needed = [name for name, parameter in parameters.items() if parameter.required]
    said = [name for name in definition if name != "type"]
    names = dict.fromkeys((*needed, *said, *parameters))
    return tuple(_argument(name, definition.get(name, ABSENT), parameters.get(name), known) for name in names)


def _parameters(known: DatasetType) -> Iterator[tuple[str, Parameter]]:
    yield from known.by_name.items()
    if known.versioned:
        yield _VERSIONED, Parameter(_VERSIONED, required=False, accepts=(Accepts.BOOLEAN,))


def _argument(name: str, value: object, parameter: Parameter | None, known: DatasetType | None) -> Argument:
    usual = _usual(name, parameter)
    editor = usual if value is ABSENT else _fitting(usual, value)
    return Argument(
        name,
        editor,
        "" if value is ABSENT else _shown(editor, value),
        required=parameter is not None and parameter.required,
        accepts=parameter.accepts if parameter is not None else (),
        usual=_said(parameter.default) if parameter is not None else "",
        known=parameter is not None or known is None or known.open_ended,
    )


def _usual(name: str, parameter: Parameter | None) -> Editor:
    """In what an argument is edited as long as nothing is said."""
    accepts = frozenset(parameter.accepts) if parameter is not None else frozenset()
    if name == _CREDENTIALS or (accepts and accepts <= _TEXTS):
        return Editor.LINES if name in _LONG else Editor.TEXT
    if accepts == {Accepts.BOOLEAN}:
        return Editor.FLAG
    return Editor.VALUE if accepts and accepts <= _NUMBERS else Editor.YAML


def _fitting(usual: Editor, value: object) -> Editor:
    """In what a value can be edited so that it comes back as it was; the usual one, if that can."""
    match value:
        case bool():
            return usual if usual is Editor.FLAG else Editor.YAML
        case int() | float():
            return usual if usual is Editor.VALUE else Editor.YAML
        case str() if usual in {Editor.TEXT, Editor.LINES} and value.strip():
            if usual is Editor.TEXT and value.isprintable() and value == value.strip():
                return Editor.TEXT
            return Editor.LINES if all(not line or line.isprintable() for line in value.split("\n")) else Editor.YAML
        case _:
            return Editor.YAML


def _shown(editor: Editor, value: object) -> str:
    match editor:
        case Editor.FLAG:
            return "yes" if value else "no"
        case Editor.TEXT | Editor.LINES:
            return str(value)
        case _:
            return _write_yaml(value)


def _said(default: object) -> str:
    return default if isinstance(default, str) else "" if default is None else canonical_json(default)


def _write_yaml(value: object) -> str:
    """A value as YAML, without the line that PyYAML ends a bare word with."""
    if isinstance(value, Mapping | list) and value:
        written = dumped({"value": value}).removeprefix("value:\n")
        margin = "  " if isinstance(value, Mapping) else ""
        return "\n".join(line.removeprefix(margin) for line in written.rstrip("\n").split("\n"))
    return dumped({"value": value}).removeprefix("value: ").rstrip("\n")


# --- fields as a definition -----------------------------------------------------------------------


def read_argument(editor: Editor, text: str) -> object:
    """The value that a field says, :data:`ABSENT` for none; raises :class:`Invalid`."""
    if not text.strip():
        return ABSENT
    match editor:
        case Editor.FLAG:
            return _FLAGS.get(text, ABSENT)
        case Editor.TEXT:
            return text.strip()
        case Editor.LINES:
            return text.replace("\r\n", "\n")
        case _:
            return _read_yaml(text)


def _read_yaml(text: str) -> object:
    indented = "\n".join(f"  {line}" for line in text.replace("\r\n", "\n").split("\n"))
    try:
        value = projects_yaml.parse(f"value:\n{indented}\n").get("value")
    except Invalid:
        _refuse("", "This is not YAML. A text stands as it is, a list as [a, b], a mapping as {key: value}.")
    _check_plain(value)
    return value


def definition_of(before: Mapping[str, object], type_: str, said: Mapping[str, object]) -> dict[str, object]:
    """A definition with what a form says of it; what the form has no field for stays, and all of it in its place."""
    told = {**({"type": type_} if type_ or "type" in before else {}), **said}
    held = {key: told.get(key, ABSENT if key == "type" else value) for key, value in before.items()}
    further = {key: value for key, value in told.items() if key not in held}
    together = {**({"type": further.pop("type")} if "type" in further else {}), **held, **further}
    return {key: value for key, value in together.items() if value is not ABSENT}


# --- words on one line ------------------------------------------------------------------------------


def read_words(text: str) -> list[str]:
    """The words that stand on a line with commas between them; one with a comma of its own stands in quotes."""
    found = (word.strip() for line in csv.reader(text.splitlines(), skipinitialspace=True) for word in line)
    return list(dict.fromkeys(word for word in found if word))


def write_words(words: Iterable[str]) -> str:
    """What :func:`read_words` reads."""
    return ", ".join(f'"{w.replace(chr(34), chr(34) * 2)}"' if "," in w or w[:1] == '"' else w for w in words)


# --- the entry ----------------------------------------------------------------------------------------


def begun(type_: str) -> dict[str, Any]:
    """A dataset of which nothing is said but its type."""
    return {"owner": "", **DEFAULTS["dataset"], "environments": {BASE: {"type": type_}}}


def entry_text(name: str, body: Body) -> str:
    """The entry as a file in git would hold it."""
    said = {key: value for key, value in body.items() if key != "owner" or value}
    return entries_text({name: entry_of("dataset", said)})


def read_entry(name: str, text: str, types: KnownTypes) -> dict[str, Any]:
    """The dataset that an entry says; raises :class:`Invalid` with the lines of what cannot be read."""
    things = read_files({_DRAFT: text.replace("\r\n", "\n")}, types).things
    if set(things) != {("dataset", name)}:
        _refuse("", f"Here stands the entry of {name}, and no other. Several at once can be imported.")
    body = {"owner": "", **DEFAULTS["dataset"], **from_fields(things["dataset", name].fields)}
    _check_plain(body)
    if len(canonical_json(body)) > _LONGEST_ENTRY:
        _refuse("", "It is bigger than is read here.")
    return body


def alike(one: Body, other: Body) -> bool:
    """Whether two bodies say the same."""
    return canonical_json(one) == canonical_json(other)


# --- the dataset ----------------------------------------------------------------------------------------


def dataset_of(name: str, body: Body) -> Dataset:
    """The dataset that a body says; raises :class:`InvalidDefinition` with everything that none can be."""
    faults = [*_faults(body)]
    if faults:
        count = "One thing" if len(faults) == 1 else f"{len(faults)} things"
        raise InvalidDefinition(f"{count} must change before this can be declared: {faults[0].message}", faults)
    return Dataset(
        name=name,
        owner=parse_group(body["owner"]) if body["owner"] else "",
        description=body["description"],
        tags=frozenset(body["tags"]),
        classification=body["classification"],
        sensitivity=body["sensitivity"],
        layer=body["layer"],
        columns=tuple(
            Column(each["name"], each["type"], each["description"], tuple(each["tags"]))
            for each in ({**_COLUMN, **column} for column in body["columns"])
        ),
        lifecycle=Lifecycle(body["lifecycle"]),
        successor=body["successor"],
        environments=body["environments"],
    )


def _faults(body: Body) -> Iterator[Fault]:
    for key, value in body.items():
        if key != "environments" and not _is_writable(value):
            yield Fault(key, "It holds a letter that cannot be written.")
    yield from _of_owner(body["owner"])
    if len(body["description"]) > _LONGEST_TEXT:
        yield Fault("description", f"A description has at most {_LONGEST_TEXT:,} characters.")
    yield from _of_tags(body["tags"], "tags")
    if not _is_label(body["classification"]):
        yield Fault("classification", f"A classification is one line of at most {_LONGEST_LABEL} characters.")
    if not isinstance(body["sensitivity"], int) or not 0 <= body["sensitivity"] <= _MOST_SENSITIVE:
        yield Fault("sensitivity", f"Sensitivity is a whole number from 0 (open) to {_MOST_SENSITIVE}.")
    if body["layer"] is not None and not _is_label(body["layer"]):
        yield Fault("layer", f"A layer is one line of at most {_LONGEST_LABEL} characters.")
    if body["lifecycle"] not in set(Lifecycle):
        yield Fault("lifecycle", f"A lifecycle is one of {', '.join(Lifecycle)}.")
    if body["successor"] is not None and not 0 < len(body["successor"]) <= LONGEST_ASKED:
        yield Fault("successor", f"A successor's name has at most {LONGEST_ASKED} characters.")
    for place, column in enumerate(body["columns"]):
        yield from _of_column(column, f"columns.{place}")
    yield from _of_environments(body["environments"])


def _of_owner(owner: str) -> Iterator[Fault]:
    try:
        if owner:
            parse_group(owner)
    except Invalid as refused:
        yield Fault("owner", refused.detail)


def _of_tags(tags: Sequence[object], at: str) -> Iterator[Fault]:
    if not isinstance(tags, list) or not all(map(_is_label, tags)):
        yield Fault(at, f"A tag is one line of at most {_LONGEST_LABEL} characters.")
    elif len(tags) > _MOST_TAGS:
        yield Fault(at, f"There can be at most {_MOST_TAGS} tags.")


def _of_column(column: Mapping[str, object], at: str) -> Iterator[Fault]:
    held = {**_COLUMN, **column}
    if not _is_label(held["name"], _LONGEST_COLUMN):
        yield Fault(f"{at}.name", f"A column's name is one line of at most {_LONGEST_COLUMN} characters.")
    if not _is_line(held["type"], _LONGEST_LINE):
        yield Fault(f"{at}.type", f"A column's type is one line of at most {_LONGEST_LINE} characters.")
    if not isinstance(held["description"], str) or len(held["description"]) > _LONGEST_TEXT:
        yield Fault(f"{at}.description", f"A description has at most {_LONGEST_TEXT:,} characters.")
    yield from _of_tags(cast("Sequence[object]", held["tags"]), f"{at}.tags")


def _of_environments(environments: Mapping[str, object]) -> Iterator[Fault]:
    if len(environments) > _MOST_ENVIRONMENTS:
        yield Fault("environments", f"There can be definitions for at most {_MOST_ENVIRONMENTS} environments.")
    for name, definition in environments.items():
        if not isinstance(definition, Mapping):
            yield Fault(f"environments.{name}", "A definition is a mapping with a type.")


def _is_label(value: object, longest: int = _LONGEST_LABEL) -> bool:
    return bool(value) and _is_line(value, longest)


def _is_line(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and "\n" not in value and "\r" not in value


def _is_writable(value: object) -> bool:
    try:
        _check_plain(value)
    except Invalid:
        return False
    return True


def _check_plain(value: object, depth: int = 0) -> None:
    """Refuse what no JSON can hold, and what no text can: YAML knows sets, bytes, and letters that nobody can write."""
    if depth > _DEEPEST:
        _refuse("", "It is nested too deep.")
    match value:
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                _refuse("", "A key in it is not text; put it in quotes.")
            for inner in (*value, *value.values()):
                _check_plain(inner, depth + 1)
        case list():
            for inner in value:
                _check_plain(inner, depth + 1)
        case _:
            _check_scalar(value)


def _check_scalar(value: object) -> None:
    match value:
        case str():
            if any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in value):
                _refuse("", "It holds a letter that cannot be written.")
        case None | bool() | int():
            pass
        case float() if value == value and abs(value) != float("inf"):  # noqa: PLR0124 - not a number is not itself
            pass
        case _:
            _refuse("", "It holds a value that JSON has no word for.")


def _refuse(at: str, message: str) -> NoReturn:
    raise Invalid(message, [Fault(at, message)])
