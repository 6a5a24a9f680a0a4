"""What pages are made of: shapes, differences, and parts that show whatever somebody wrote as text."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.web.charts import Chart, bars
from muniment.web.diffs import Line, lines
from muniment.web.pages import show
from muniment.web.words import WORDS

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "service" / "muniment" / "web" / "assets"

# --- charts -----------------------------------------------------------------------------------------------------------

numbers = st.lists(st.integers(0, 10**9), max_size=40)


def drawn(values: list[int]) -> Chart:
    return bars("Use", "Day", "Times used", [(f"day {n}", value) for n, value in enumerate(values)])


@given(numbers)
def test_bars_are_as_high_as_what_they_stand_for_and_stay_within_the_chart(values: list[int]):
    chart = drawn(values)
    assert [bar.value for bar in chart.bars] == values
    most = max(values, default=0)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= chart.width + 0.05
        assert bar.y + bar.height == pytest.approx(chart.height, abs=0.02)
        assert (bar.height > 0) == (bar.value > 0)
        if most and bar.height > 2:
            assert bar.height == pytest.approx(chart.height * bar.value / most, abs=0.02)


@given(numbers)
def test_bars_stand_beside_each_other(values: list[int]):
    placed = drawn(values).bars
    for left, right in pairwise(placed):
        assert left.x + left.width < right.x


def test_a_chart_says_what_it_shows():
    chart = drawn([0, 5, 1])
    assert chart.said == "Times used: 6. day 0 – day 2. day 1: 5."
    assert (chart.first, chart.last) == ("day 0", "day 2")
    assert drawn([]).said == "Times used: 0."


# --- differences ------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.lists(st.sampled_from("abcdef"), max_size=30))
def test_a_difference_makes_one_text_of_the_other(before: list[str], after: list[str]):
    """Applied to the first it gives the second; what it leaves out is what stayed."""
    shown = lines("\n".join(before), "\n".join(after))
    removed = {line.before for line in shown if line.sign == "-"}
    added = {line.after: line.text for line in shown if line.sign == "+"}
    kept = iter([text for number, text in enumerate(before, 1) if number not in removed])
    assert [added[n] if n in added else next(kept) for n in range(1, len(after) + 1)] == after
    assert not shown or removed or added


def test_what_stays_far_from_a_change_is_left_out():
    before = [f"line {n}" for n in range(20)]
    after = [*before[:10], "other", *before[11:]]
    shown = lines("\n".join(before), "\n".join(after))
    assert shown[0] == shown[-1] == Line("…", "")
    assert len(shown) == 2 + 3 + 2 + 3


def test_texts_that_are_too_long_to_compare_give_way_to_each_other():
    shown = lines("a\n" * 3000, "b\n" * 10)
    assert [line.sign for line in shown] == ["-"] * 3000 + ["+"] * 10


#: The same in every language: of commands that are copied, the time that is everybody’s, and what a macro answers.
_AS_IT_IS = {"kedro", "muniment", "login", "url", "zip", "UTC", "yes"}

# --- words ------------------------------------------------------------------------------------------------------------


def test_no_text_is_named_like_what_every_mapping_can_do():
    """A template that asks for ``words.page.copy`` would be given a function. Seen to fail with such a name."""
    taken = [f"{page}.{place}" for page, places in WORDS.items() for place in places if hasattr(dict, place)]
    assert taken == ["account.keys"]


def test_every_page_has_its_texts_from_the_words():
    """What a template says itself is marks alone. Seen to fail with a word in one."""
    for template in (ASSETS.parent / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        marks = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", text, flags=re.DOTALL)
        bare = re.sub(r"<[^>]*>|&\w+;|[\w-]+=\"[^\"]*\"|/v1/[\w/]*", " ", marks)
        found = set(re.findall(r"[A-Za-z]{3,}", bare)) - _AS_IT_IS
        assert not found, f"{template.name} says {sorted(found)}"


# --- others' scripts --------------------------------------------------------------------------------------------------


def test_the_script_of_others_is_the_one_that_was_looked_at_and_brings_its_licence():
    told = (ROOT / "service" / "hatch_build.py").read_text(encoding="utf-8")
    (expected,) = re.findall(r'SCRIPT_SHA256 = "([0-9a-f]{64})"', told)
    assert hashlib.sha256((ASSETS / "htmx.min.js").read_bytes()).hexdigest() == expected
    assert "Zero-Clause BSD" in (ASSETS / "htmx.LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["service", "tests/browser/axe"])
def test_a_lock_of_scripts_pins_by_hash_and_names_no_address(folder: str):
    lock = (ROOT / folder / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    packages = json.loads(lock)["packages"]
    assert all(each["integrity"].startswith("sha512-") for name, each in packages.items() if name)
    asked = json.loads((ROOT / folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked


def test_a_page_tells_the_script_of_others_to_run_no_code_and_keep_nothing():
    page = bytes(show("signed_out.html", address=None).body).decode()
    (told,) = re.findall(r'name="htmx-config" content="([^"]+)"', page)
    told = json.loads(told.replace("&#34;", '"'))
    assert told["allowEval"] is told["allowScriptTags"] is told["includeIndicatorStyles"] is False
    assert told["selfRequestsOnly"] is True
    assert told["historyCacheSize"] == 0
