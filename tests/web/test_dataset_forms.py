"""The page with a dataset's form says the dataset whole: whoever sends it back untouched changes nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from muniment.core.dataset_forms import alike, begun
from muniment.core.dataset_types import KnownTypes
from muniment.core.definitions import secrets_in
from muniment.core.names import is_environment
from muniment.flows.declare_dataset import Drafted
from muniment.web.dataset_forms import MOST_ROWS, Draft, draft_from, read_draft
from muniment.web.declare import values_of
from muniment.web.pages import show
from tests.core.test_dataset_forms import TEXTS, definitions
from tests.web.sending import sent_by

TYPES = KnownTypes.newest()
DRAFTED = Drafted(None, None, TYPES, ("dev", "prod"), ("s3://lake/sales/",), {}, "sales", True, (), 1)

labels = st.text(st.characters(categories=("L", "N", "S", "P")), min_size=1, max_size=8)
columns = st.fixed_dictionaries(
    {"name": labels, "type": labels, "description": labels, "tags": st.lists(labels, unique=True, max_size=2)}
)
bodies = st.fixed_dictionaries({
    "owner": st.sampled_from(["", "group:sales", "user:ann"]),
    "description": TEXTS,
    "tags": st.lists(labels, unique=True, max_size=3).map(sorted),
    "classification": labels,
    "sensitivity": st.integers(0, 100),
    "layer": st.none() | labels,
    "columns": st.lists(columns, max_size=3),
    "lifecycle": st.sampled_from(["draft", "active", "deprecated", "retired"]),
    "successor": st.none() | labels,
    "environments": st.dictionaries(st.sampled_from(["base", "dev", "prod"]), definitions(), max_size=3),
})  # fmt: skip


def sent(draft: Draft) -> dict[str, str]:
    page = show(
        "declare/form.html", status=200, visiting=None, form="", finished=None, **values_of(draft, DRAFTED)
    ).body
    return sent_by(bytes(page).decode(), "/declare/sales.orders")


@settings(max_examples=15)
@given(bodies)
def test_a_form_that_is_sent_back_untouched_changes_nothing(body: dict[str, Any]) -> None:
    layers = body["environments"]
    assume(all(layer["type"] and is_environment(name) for name, layer in layers.items()))
    assume(not any(secrets_in(layer, name="sales.orders", types=TYPES) for layer in layers.values()))
    draft = draft_from("sales.orders", 3, {**begun(""), **body})
    fields = sent(draft)
    for do in ("check", "yaml", "form"):
        again = read_draft("sales.orders", {**fields, "do": do}, TYPES)
        assert not again.errors
        assert again.version == draft.version
        assert alike(again.body, draft.body), do
        assert again.yaml == draft.yaml


def test_columns_too_many_for_a_form_stay_as_they_are_and_are_changed_in_the_yaml() -> None:
    many = [{"name": f"c{number}", "type": "int", "description": "", "tags": []} for number in range(MOST_ROWS + 1)]
    draft = draft_from("sales.orders", 3, {**begun("pandas.CSVDataset"), "columns": many})
    fields = sent(draft)
    assert not any(name.startswith("column") for name in fields)
    changed = read_draft("sales.orders", {**fields, "description": "wide", "do": "check"}, TYPES)
    assert (changed.body["columns"], changed.body["description"]) == (many, "wide")
    fewer = read_draft("sales.orders", {**fields, "yaml": fields["yaml"].replace("c60", "last"), "do": "check"}, TYPES)
    assert fewer.body["columns"][-1]["name"] == "last"
