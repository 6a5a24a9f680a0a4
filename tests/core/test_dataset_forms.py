"""A dataset as a form and as YAML: whatever stands in one comes back from the other, and stays where it was."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muniment.core.comparing import ABSENT
from muniment.core.dataset_forms import (
    Editor,
    alike,
    arguments,
    begun,
    dataset_of,
    definition_of,
    entry_text,
    read_argument,
    read_entry,
    read_words,
    write_words,
)
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Lifecycle
from muniment.core.definitions import canonical_json, secrets_in
from muniment.core.problems import Invalid

TYPES = KnownTypes.newest()

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n:#'\"{}[]-,&*!|> "), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["null", "yes", "1e3", "12:30", "0o7", "~", "", " x", "x ", "a: b", "- a", "# a", "2027-01-01"])
)
VALUES = st.recursive(
    SCALARS, lambda held: st.lists(held, max_size=3) | st.dictionaries(TEXTS, held, max_size=3), max_leaves=8
)
NAMES = st.sampled_from([*{p.name for t in TYPES.types.values() for p in t.parameters}, "layer", "a.b", "x-y"])


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, object]:
    """Definitions of any type, with arguments that it takes and others, in any order."""
    type_ = draw(st.sampled_from([*TYPES.types, "acme.LedgerDataset", ""]))
    known = TYPES.find(type_)
    names = st.sampled_from([parameter.name for parameter in known.parameters]) | NAMES if known else NAMES
    said: dict[str, object] = draw(st.dictionaries(names, TEXTS | VALUES, max_size=5))
    return {**said, "type": type_} if draw(st.booleans()) else {"type": type_, **said}


@given(definitions())
def test_every_argument_is_what_its_field_says(definition: dict[str, object]) -> None:
    for each in arguments(definition, TYPES):
        read = read_argument(each.editor, each.text.replace("\n", "\r\n"))
        stands = definition.get(each.name, ABSENT)
        assert read is stands or (type(read) is type(stands) and read == stands), each


@pytest.mark.parametrize(
    ("value", "editor"),
    [
        ("s3://lake/a.csv", Editor.TEXT),
        ("null", Editor.TEXT),
        (" a", Editor.LINES),
        ("a ", Editor.LINES),
        ("", Editor.YAML),
        ("a\nb\n", Editor.LINES),
        ("a\tb", Editor.YAML),
        ("a\u202eb", Editor.YAML),
        (["a"], Editor.YAML),
        (None, Editor.YAML),
    ],
    ids=[
        "a path",
        "a word",
        "a space before",
        "a space behind",
        "nothing",
        "lines",
        "a tab",
        "turned",
        "a list",
        "null",
    ],
)
def test_a_value_that_no_line_can_hold_stands_otherwise_and_comes_back(value: object, editor: Editor) -> None:
    field = arguments({"type": "pandas.CSVDataset", "filepath": value}, TYPES)[0]
    assert (field.name, field.editor) == ("filepath", editor)
    assert read_argument(field.editor, field.text.replace("\n", "\r\n")) == value


@given(definitions())
def test_a_form_that_nobody_touched_changes_nothing_and_moves_nothing(definition: dict[str, object]) -> None:
    said = {each.name: read_argument(each.editor, each.text) for each in arguments(definition, TYPES)}
    again = definition_of(definition, str(definition["type"]), said)
    assert list(again.items()) == list(definition.items())


def test_what_is_said_anew_keeps_its_place_and_what_is_new_comes_after_it() -> None:
    before = {"load_args": {"sep": ";"}, "type": "pandas.CSVDataset", "filepath": "s3://lake/a.csv", "credentials": "a"}
    said = {"filepath": "s3://lake/b.csv", "credentials": ABSENT, "versioned": True, "load_args": before["load_args"]}
    after = definition_of(before, "pandas.ParquetDataset", said)
    assert list(after) == ["load_args", "type", "filepath", "versioned"]
    assert after["filepath"] == "s3://lake/b.csv"


def test_a_field_for_every_argument_of_the_type_what_it_needs_first() -> None:
    fields = arguments({"type": "pandas.CSVDataset", "save_args": {"index": False}, "squash": 1}, TYPES)
    assert [(each.name, each.editor, each.first, each.known) for each in fields] == [
        ("filepath", Editor.TEXT, True, True),
        ("save_args", Editor.YAML, True, True),
        ("squash", Editor.YAML, True, False),
        ("load_args", Editor.YAML, False, True),
        ("credentials", Editor.TEXT, False, True),
        ("fs_args", Editor.YAML, False, True),
        ("metadata", Editor.YAML, False, True),
        ("versioned", Editor.FLAG, False, True),
    ]


def test_a_field_says_what_holds_where_nothing_is_said() -> None:
    usual = {each.name: each.usual for each in arguments({"type": "pandas.CSVDataset"}, TYPES)}
    assert usual["save_args"] == '{"index":false}'
    assert usual["filepath"] == ""


UNHEARD_OF = {
    "no YAML": "[1, 2",
    "a number as a key": "{1: a}",
    "a set": "!!set {a}",
    "bytes": "!!binary aGk=",
    "not a number": ".nan",
    "a circle": "&a [*a]",
    "twice": "a: 1\na: 2",
    "half a letter": '"\\ud800"',
    "nul": '"\\0"',
    "no number": "!!int ''",
    "neither": "!!bool x",
    "no time": "!!timestamp x",
    "too deep": "[" * 30 + "]" * 30,
}


@pytest.mark.parametrize("text", UNHEARD_OF.values(), ids=UNHEARD_OF)
def test_what_no_definition_can_hold_is_refused_in_its_field(text: str) -> None:
    with pytest.raises(Invalid):
        read_argument(Editor.YAML, text)


@given(st.lists(TEXTS.map(lambda text: " ".join(text.split())).filter(bool), unique=True, max_size=5))
def test_words_on_one_line_are_read_back(words: list[str]) -> None:
    assert read_words(write_words(words)) == words


@given(st.dictionaries(st.sampled_from(["base", "dev", "prod"]), definitions(), max_size=3), TEXTS, TEXTS)
def test_an_entry_is_read_back_from_its_text(layers: dict[str, Any], description: str, column: str) -> None:
    body = {
        **begun(""),
        "description": description,
        "owner": "group:sales",
        "tags": ["a", "b, c"],
        "columns": [{"name": column, "type": "int", "description": "", "tags": ["pii"]}],
        "environments": {name: layer for name, layer in layers.items() if layer["type"]},
    }
    # A text that looks like a secret is not even read.
    assume(not any(secrets_in(each, name="sales.orders", types=TYPES) for each in body["environments"].values()))
    read = read_entry("sales.orders", entry_text("sales.orders", body), TYPES)
    assert alike(read, body)
    assert {name: [*layer] for name, layer in read["environments"].items()} == {
        name: [*layer] for name, layer in body["environments"].items()
    }


def test_an_entry_of_another_name_is_refused() -> None:
    with pytest.raises(Invalid, match="and no other"):
        read_entry("sales.orders", "sales.targets:\n  type: pandas.CSVDataset\n", TYPES)


def test_all_that_no_dataset_can_be_is_told_at_once() -> None:
    body = {
        **begun("pandas.CSVDataset"),
        "owner": "group:",
        "description": "x" * 10_001,
        "tags": ["x" * 101],
        "classification": "",
        "sensitivity": 101,
        "layer": "two\nlines",
        "columns": [{"name": "", "type": 3, "description": "\x00", "tags": "pii"}],
        "lifecycle": "resting",
    }
    with pytest.raises(Invalid) as refused:
        dataset_of("sales.orders", body)
    assert {fault.at for fault in refused.value.faults} == {
        "owner",
        "description",
        "tags",
        "classification",
        "sensitivity",
        "layer",
        "lifecycle",
        "columns",
        "columns.0.name",
        "columns.0.type",
        "columns.0.tags",
    }


def test_a_dataset_is_what_its_body_says() -> None:
    body = {**begun("pandas.CSVDataset"), "owner": "user:ann", "lifecycle": "draft", "columns": [{"name": "id"}]}
    made = dataset_of("sales.orders", body)
    assert (made.owner, made.lifecycle, made.columns[0].name) == ("user:ann", Lifecycle.DRAFT, "id")
    assert canonical_json(made.environments) == '{"base":{"type":"pandas.CSVDataset"}}'
    assert math.isfinite(made.sensitivity)
