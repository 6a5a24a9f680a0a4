"""Names carry their domain, and a pattern makes the names that Kedro makes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.io.catalog_config_resolver import CatalogConfigResolver

from muniment.core import names
from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.problems import Invalid
from muniment.core.realm import Realm


@pytest.mark.parametrize(
    "name",
    ["sales.orders", "sales.emea.orders_2", "sales.{region}_orders", "sales.orders_{a}_{b}", "a.b", "sales.{a}x"],
)
def test_a_dataset_is_named_by_its_domain_and_a_leaf(name):
    assert names.checked_dataset(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "sales.",
        ".orders",
        "sales..orders",
        "Sales.orders",
        "sales.Orders",
        "sales.2orders",
        "sales.2{region}",
        "sales._orders",
        "sales.or-ders",
        "sales.orders@pandas",
        "sales.orders:x",
        "params.orders",
        "sales.params",
        "sales.parameters",
        "all.orders",
        "all.sales.orders",
        "{domain}.orders",
        "sales.{region}",
        "sales.{region}_",
        "sales.{a}{b}_rows",
        "sales.{a}_{a}_rows",
        "sales.{}_rows",
        "sales.{a.b}_rows",
        "sales.{a!r}_rows",
        "sales.x_{a}_{b}_{c}_{d}_{e}",
        "sales.orders\n",
        "sales.ordérs",
        "sales.٣",
        "s." + "x" * 199,
        "",
    ],
)
def test_any_other_name_is_refused(name):
    with pytest.raises(Invalid):
        names.checked_dataset(name)


@pytest.mark.parametrize("name", ["all.sales", "Sales", "sales.", "", "sales emea", "params", "sales\n"])
def test_a_domain_is_named_by_segments_and_the_root_has_no_children_by_name(name):
    with pytest.raises(Invalid):
        names.checked_domain(name)


def test_every_domain_leads_to_the_root():
    assert names.lineage("sales.emea.uk") == ("sales.emea.uk", "sales.emea", "sales", "all")
    assert names.lineage("all") == ("all",)
    assert names.parent_of("all") == names.parent_of("sales") == "all"


@pytest.mark.parametrize("text", ["p", "p-1", "0", "a.b_c", "x" * 100])
def test_an_id_is_plain(text):
    assert names.checked_id(text) == text


@pytest.mark.parametrize("text", ["", "P", "-p", "grant:1", "a b", "x" * 101, "p\n", "p`q"])
def test_an_id_that_could_be_taken_for_something_else_is_refused(text):
    with pytest.raises(Invalid):
        names.checked_id(text)


@pytest.mark.parametrize("text", ["", "Prod", "1", "x" * 41, "prod\n", "a.b"])
def test_an_environment_is_a_plain_word(text):
    with pytest.raises(Invalid):
        names.checked_environment(text)


PATTERNS = ("sales.{region}_orders", "sales.{a}_{b}_orders", "sales.emea_{kind}", "sales.{x}_o{y}s", "sales.{z}_rows")


@given(st.from_regex(r"[a-z][a-z_]{0,3}_(?:[ab]_){0,2}(?:orders|rows|oks)", fullmatch=True))
def test_a_pattern_makes_of_a_name_what_kedro_makes_of_it(leaf):
    name = f"sales.{leaf}"
    config = {
        pattern: {"type": "pandas.CSVDataset", "filepath": "/".join(["/", pattern, *_placeholders(pattern)])}
        for pattern in PATTERNS
    }
    resolver = CatalogConfigResolver(config)
    realm = Realm(
        1,
        "",
        datasets={pattern: Dataset(pattern, "team", environments={"base": config[pattern]}) for pattern in PATTERNS},
        domains={"sales": Domain("sales", "team")},
    )
    made = realm.resolve(name)
    kedros = resolver.match_dataset_pattern(name)
    assert (made is None) == (kedros is None)
    if made is not None:
        assert made.environments["base"] == resolver.resolve_pattern(name)


def _placeholders(pattern: str) -> list[str]:
    return [f"{{{name}}}" for name in names.placeholders(pattern)]


def test_a_declared_name_stands_before_every_pattern():
    declared = Dataset("sales.north_orders", "team", version=4)
    realm = Realm(1, "", {"sales.{r}_orders": Dataset("sales.{r}_orders", "team"), declared.name: declared})
    assert realm.resolve("sales.north_orders") is declared


@pytest.mark.parametrize("name", ["hr.north_orders", "sales.emea.north_orders", "sales.north.orders", "sales._orders"])
def test_a_pattern_captures_nothing_outside_its_own_domain(name):
    assert names.Pattern("sales.{region}_orders").match(name) is None


@given(
    st.lists(st.text("ab_", min_size=1, max_size=2), max_size=2),
    st.text("ab_", max_size=2),
    st.text("ab_", max_size=2),
    st.text("ab_", max_size=9),
)
def test_a_pattern_reads_a_name_as_a_lazy_expression_does(between, first, last, leaf):
    literals = [f"s.{first}", *between, last]
    name = "".join(f"{text}{{p{index}}}" for index, text in enumerate(literals[:-1])) + last
    expression = "".join(f"{re.escape(text)}(?P<p{i}>[a-z0-9_]+?)" for i, text in enumerate(literals[:-1]))
    found = re.fullmatch(expression + re.escape(last), f"s.{leaf}")
    assert names.Pattern(name).match(f"s.{leaf}") == (found.groupdict() if found else None)


@given(st.lists(st.text("ab", max_size=2), min_size=1, max_size=4), st.text("ab\n", max_size=8))
def test_like_reads_a_text_as_an_expression_does(literals, text):
    expression = re.compile(".*".join(map(re.escape, literals)), re.DOTALL)
    assert names.alike(literals, text) == (expression.fullmatch(text) is not None)


class _Searched(str):
    """A text that counts how often something is searched in it."""

    __slots__ = ("searches",)

    def find(self, *asked: str | int) -> int:
        self.searches = getattr(self, "searches", 0) + 1
        return super().find(*asked)


@pytest.mark.parametrize("count", [2, 12, 180, 5000])
def test_no_pattern_is_tried_in_more_than_one_way(count):
    """An expression tries every way to divide the name, which takes longer than anybody waits."""
    text, name = _Searched("s." + "a" * 190), _Searched("s." + "a" * 190)
    assert not names.alike(["s.", *["a"] * count, "b", "a"], text)
    assert names.Pattern("s." + "a".join(f"{{p{number}}}" for number in range(count)) + "b_a").match(name) is None
    assert text.searches <= count + 2
    assert getattr(name, "searches", 0) <= count + 2
