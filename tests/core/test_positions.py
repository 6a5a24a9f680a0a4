"""Where a fault stands in a policy's text: found by asking Cedar again, never too often."""

from __future__ import annotations

import pytest

from muniment.core.policies import Policy, checked
from muniment.core.positions import Position, faults_at, position_of
from muniment.core.problems import InvalidPolicy
from tests.core.oracle import SCHEMA

CEDAR = """\
permit (
  principal in Group::"a", // who reads "é"
  action in [Action::"load", Action::"save"],
  resource is Dataset
)
when {
  resource.tags.contains("x") &&
  (resource.classification == "a" || !(resource.sensitivity > 3)) &&
  (if true then context.environment == "dev" else false)
}
unless { principal has clearance && principal.clearance >= 2 };
"""


def places(cedar: str) -> list[tuple[int | None, int | None]]:
    with pytest.raises(InvalidPolicy) as refused:
        checked(Policy("p", cedar), schema=SCHEMA, environments=["dev"])
    return [(fault.line, fault.column) for fault in refused.value.faults]


def place(text: str, word: str) -> tuple[int, int]:
    found = position_of(text, text.index(word))
    return found.line, found.column


def test_lines_and_columns_count_from_one_in_characters() -> None:
    text = "é\nab\n\n🙂c"
    told = [position_of(text, offset) for offset in range(len(text))]
    assert told == [
        Position(1, 1), Position(1, 2), Position(2, 1), Position(2, 2), Position(2, 3), Position(3, 1), Position(4, 1),
        Position(4, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "before",
    [
        "principal in",
        "action in",
        "Group",
        "]",
        "when",
        "resource.tags",
        "contains",
        "&&",
        "|| !",
        "else",
        "unless",
        "2 }",
    ],
)
def test_what_cannot_stand_there_is_found_where_it_stands(before: str) -> None:
    text = CEDAR.replace(before, f"# {before}", 1)
    assert places(text) == [place(text, f"# {before}")]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("resource.tags", "resource.tagz"),
        ("resource.classification", "resource.classifikation"),
        ("resource.sensitivity", "resource.sensitiveness"),
        ("context.environment", "context.environmint"),
        ("principal.clearance", "principal.klearance"),
    ],
)
def test_an_attribute_that_nothing_has_is_found_where_it_is_named(right: str, wrong: str) -> None:
    text = CEDAR.replace(right, wrong, 1)
    line, column = place(text, wrong)
    assert set(places(text)) == {(line, column + wrong.index(".") + 1)}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('resource.tags.contains("x")', "resource.tags.contains(3)"),
        ('resource.classification == "a"', "resource.classification == 3"),
        ("!(resource.sensitivity > 3)", '!(resource.sensitivity > "3")'),
        ("principal.clearance >= 2", 'principal.clearance >= "2"'),
    ],
)
def test_a_comparison_of_unlike_things_is_found_at_the_condition_that_makes_it(right: str, wrong: str) -> None:
    text = CEDAR.replace(right, wrong, 1)
    assert places(text) == [place(text, wrong)]


def test_a_long_text_is_not_asked_about_for_long() -> None:
    asked: list[str] = []

    def faults(text: str) -> list[str]:
        asked.append(text)
        return ["it is wrong"]

    text = f"permit (principal, action, resource) when {{ {' && '.join(['true'] * 900)} }};"
    assert faults_at(text, ["it is wrong"] * 50, faults) == [Position(1, 1)] * 50
    assert sum(map(len, asked)) <= 100_000
