"""What runs choose in a definition: the service takes what the client can fill, and no run leaves the location."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedro_muniment.entries.definitions import Building
from kedro_muniment.problems import Unusable
from muniment.core.dataset_types import KnownTypes
from muniment.core.definitions import check, fillings
from muniment.core.locations import canonical_path, parse_location

TYPES = KnownTypes.newest()
LOCATIONS = [parse_location("s3://lake/sales/")]

#: Parts of paths, among them those that would lead elsewhere.
LITERALS = st.sampled_from(["a", "a/", "_b", "x.csv"]) | st.sampled_from(
    ["", "/", "a", "x.csv", ".", "..", "../", "//", "_", "-", "~", "a b", "%2e", "::"]
)
VALUES = st.one_of(
    st.sampled_from(["", ".", "..", "/", "a/b", "~", "s3://other/", "1", "true", "A-b_c.d=e"]), st.text()
)
NAMES = st.sampled_from(["day", "Client", "run.id", "model-name", "_x", "a.b.C9"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A path with some parts that a run chooses, most of them written badly."""
    parts = ["s3://lake/sales/"]
    for _ in range(draw(st.integers(1, 3))):
        name, default = draw(NAMES), draw(st.none() | VALUES)
        chosen = f"${{runtime_params:{name}}}" if default is None else f"${{runtime_params:{name}, {default}}}"
        parts += [draw(LITERALS), chosen]
    return "".join([*parts, draw(LITERALS)])


def accepted(path: str) -> bool:
    definition = {"type": "pandas.CSVDataset", "filepath": path}
    return not check(definition, name="sales.x", types=TYPES, locations=LOCATIONS)


def filled(path: str, chosen: dict[str, object]) -> str:
    built = Building(Path("/project"), runtime_params=chosen).usable({"type": "pandas.CSVDataset", "filepath": path})
    return str(built["filepath"])


@given(paths(), st.lists(VALUES, min_size=3, max_size=3))
def test_whatever_a_run_says_a_path_that_was_declared_stays_in_its_location_or_is_not_built(
    path: str, said: list[str]
) -> None:
    """Seen to fail with the client's check of values taken out."""
    if not accepted(path):
        return
    names = [filling.parameter or "" for filling in fillings(path)]
    nested: dict[str, object] = {}
    for name, value in zip(names, said, strict=False):
        *above, last = name.split(".")
        inner = nested
        for step in above:
            inner = inner.setdefault(step, {})  # type: ignore[assignment]
        inner[last] = value
    try:
        place = filled(path, nested)
    except Unusable:
        return
    written = re.sub(r"\$\{[^}]*\}", "x", path)
    assert canonical_path(place).startswith("s3://lake/sales/")
    assert place.count("/") == written.count("/")


@given(paths())
def test_a_path_that_was_declared_is_built_with_its_defaults_as_they_are_written(path: str) -> None:
    """Seen to fail with the service's check of defaults taken out."""
    parts = fillings(path)
    if not accepted(path) or not all(part.has_default for part in parts):
        return
    written = re.sub(r"\$\{runtime_params:[^,}]*,\s*([^}]*?)\s*\}", r"\1", path)
    assert filled(path, {}) == written


@pytest.mark.parametrize("name", ["day", "Client", "run.id", "model-name", "_x"])
def test_every_name_that_the_service_takes_is_one_that_the_client_reads(name: str) -> None:
    path = f"s3://lake/sales/${{runtime_params:{name}, some}}/x.csv"
    assert accepted(path)
    assert filled(path, {}) == "s3://lake/sales/some/x.csv"


def test_without_a_default_and_a_value_the_run_is_told_what_to_say() -> None:
    path = "s3://lake/sales/${runtime_params:client}/x.csv"
    assert accepted(path)
    with pytest.raises(Unusable, match="--params client="):
        filled(path, {})
