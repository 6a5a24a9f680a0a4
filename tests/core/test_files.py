"""Files in git: what they say of things is read as it is meant, and written back without loss."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.bodies import DEFAULTS, body_of, fields_of, from_fields, key_of, word_of
from muniment.core.comparing import ABSENT, Compared, Leaving, Live, Side, Verdict, compare
from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Column, Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.file_texts import entry_of_fields, replaced, texts_of
from muniment.core.files import Files, Written, formatted, read_files
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.policies import Policy, PolicyKind, checked
from muniment.core.problems import Invalid
from muniment.core.realm import Noun
from muniment.core.row_filters import read_row_filter, write_row_filter
from muniment.core.schema import Action
from tests.core.generated import ENVIRONMENTS
from tests.core.generated_realms import SCHEMA, case_of

TYPES = KnownTypes.newest()
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
FRACTIONS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=8,
)
DEFINITIONS = st.dictionaries(PLAIN, VALUES, max_size=4).map(lambda rest: {"type": "pandas.CSVDataset", **rest})
COLUMNS = st.builds(Column, PLAIN, PLAIN, PLAIN, st.lists(PLAIN, max_size=2).map(tuple))
DATASETS = st.builds(
    Dataset,
    name=st.sampled_from(["sales.orders", "sales.{region}_rows", "sales.emea.leads"]),
    owner=st.sampled_from(["owners", "user:ann"]),
    description=PLAIN,
    tags=st.frozensets(PLAIN.filter(bool), max_size=3),
    classification=PLAIN,
    layer=st.none() | PLAIN,
    columns=st.lists(COLUMNS, max_size=2).map(tuple),
    successor=st.none() | st.just("hr.people"),
    environments=st.dictionaries(st.sampled_from(["base", "dev", "prod"]), DEFINITIONS | st.just({})),
    version=st.just(1),
)


def read(texts: dict[str, str]) -> Files:
    return read_files(texts, TYPES)


def wrong(texts: dict[str, str]) -> list[tuple[str, int | None, str]]:
    with pytest.raises(Invalid) as refused:
        read(texts)
    return [(fault.at, fault.line, fault.message) for fault in refused.value.faults]


def live_of(noun: Noun, **more: Any) -> Live:
    return Live(
        word_of(noun), key_of(noun), noun.version or 1, body_of(noun), "2026-03-01T00:00:00Z", "user:sam", **more
    )


def written_back(*nouns: Noun) -> Files:
    bodies = {(word_of(noun), key_of(noun)): body_of(noun) for noun in nouns}
    return read(texts_of(bodies, "definitions"))


# --- without loss ---------------------------------------------------------------------------------------------------


def no_changes(*nouns: Noun) -> None:
    files = written_back(*nouns)
    live = {(word_of(noun), key_of(noun)): live_of(noun) for noun in nouns}
    found = compare(files.things, live, "definitions")
    assert [(each.key, each.differences) for each in found if each.changes or each.differences] == []
    assert files.things.keys() == live.keys()
    for address, written in files.things.items():
        body = from_fields(written.fields)
        assert {**DEFAULTS[written.kind], **body} == live[address].body


@pytest.mark.parametrize("seed", range(6))
def test_a_realm_that_is_written_and_read_again_is_the_same(seed: int) -> None:
    realm = case_of(Random(seed)).realm
    policies = [_kept(each) for each in realm.policies.values()]
    shelves = (realm.environments, realm.groups, realm.domains, realm.datasets, realm.grants)
    no_changes(*policies, *(noun for shelf in shelves for noun in shelf.values()))


def _kept(policy: Policy) -> Policy:
    """A policy in the spelling in which the service keeps it."""
    filters = policy.kind is PolicyKind.ROW_FILTER
    obligation = write_row_filter(read_row_filter(policy.obligation)) if filters else policy.obligation
    return replace(policy, cedar=formatted(policy.cedar), obligation=obligation)


@given(DATASETS)
def test_whatever_a_dataset_says_is_written_and_read_without_loss(dataset: Dataset) -> None:
    if wrong_secrets(dataset):
        return
    no_changes(dataset)


def wrong_secrets(dataset: Dataset) -> bool:
    """A text of chance can look like a secret."""
    try:
        written_back(dataset)
    except Invalid as refused:
        return "secret" in refused.faults[0].message or "credentials" in refused.faults[0].message
    return False


@given(
    PLAIN, st.dictionaries(st.sampled_from(["a", "b.c", "_x"]), PLAIN), PLAIN.filter(lambda name: bool(name.strip()))
)
def test_words_of_people_are_written_and_read_without_loss(text: str, variables: dict[str, str], name: str) -> None:
    no_changes(
        Domain(
            "sales",
            "owners",
            description=text,
            variables=variables,
            locations=("s3://lake/sales/",),
            lease_hours=8,
            version=3,
        ),
        Environment("on", description=text, variables=variables, version=1),
        Grant(
            "g.1",
            "user:ann",
            frozenset({Action.LOAD}),
            "sales.orders",
            kind="dataset",
            until=datetime(2027, 1, 1, microsecond=5, tzinfo=UTC),
            because=text,
            review_by=date(2027, 1, 2),
            version=1,
        ),
    )
    if name and name.isprintable() and not name.startswith(("user:", "service:")) and name == name.strip():
        no_changes(Group(name, description=text, version=1))


def test_an_obligation_and_cases_come_back_as_they_were() -> None:
    cedar = 'permit(principal, action == Action::"load", resource);'
    mask = Policy(
        "masked",
        cedar,
        scope="sales",
        kind=PolicyKind.MASK,
        obligation={"columns": ["amount"], "action": "replace-with-null"},
        reason="Because.",
        review_by=date(2027, 1, 2),
        cases=({"subject": "user:ann", "action": "load", "datasets": "sales.*", "allowed": True},),
    )
    no_changes(checked(mask, schema=SCHEMA, environments=ENVIRONMENTS))


# --- what files say -------------------------------------------------------------------------------------------------


def test_a_dataset_is_kedros_entry_with_a_block_beside_it() -> None:
    text = """
    _csv: &csv {type: pandas.CSVDataset, load_args: {sep: ";"}}
    sales.orders:
      <<: *csv
      filepath: s3://lake/sales/orders.csv
      muniment:
        tags: [core, core]
        columns: [{name: id}]
        environments:
          prod: {type: pandas.ParquetDataset, filepath: s3://lake/sales/orders.parquet}
    """
    found = read({"datasets/deep/in/it.yml": "\n".join(line[4:] for line in text.splitlines())}).things
    assert found["dataset", "sales.orders"].fields == {
        "tags": ["core"],
        "columns": [{"name": "id", "type": "", "description": "", "tags": []}],
        "environments.base": {
            "type": "pandas.CSVDataset",
            "load_args": {"sep": ";"},
            "filepath": "s3://lake/sales/orders.csv",
        },
        "environments.prod": {"type": "pandas.ParquetDataset", "filepath": "s3://lake/sales/orders.parquet"},
    }
    assert found.keys() == {("dataset", "sales.orders")}


@pytest.mark.parametrize(
    ("path", "text", "line", "words"),
    [
        ("datasets/a.yml", "orders: {}\n", 1, "A dataset is named <domain>.<leaf>"),
        ("datasets/a.yml", "\nsales.a:\n  muniment: {owned: x}\n", 2, "owned is nothing that a dataset has"),
        ("datasets/a.yml", "sales.a: {muniment: {tags: core}}\n", 1, "tags should be a list of texts"),
        ("datasets/a.yml", "sales.a: {type: a.B, muniment: {environments: {base: {}}}}\n", 1, "base stands both"),
        ("datasets/a.yml", "sales.a: {muniment: {domain: hr}}\n", 1, "the domain is the one that the name carries"),
        ("datasets/a.yml", "sales.a: 1\n", 1, "names with values should stand under it"),
        ("datasets/a.yml", "sales.a: {}\nsales.a: {}\n", 2, "stands twice"),
        ("datasets/a.yml", "sales.a: {x: !!binary aGk=}\n", 1, "no word for"),
        ("datasets/a.yml", "sales.a: {1: 2}\n", 1, "is not text"),
        ("datasets/a.yml", "]\n", 1, "is not YAML"),
        ("dataset/a.yml", "sales.a: {}\n", None, "No file of this name is read"),
        ("domains.yml", "sales: {lease_hours: true}\n", 1, "lease_hours should be a number of hours"),
        ("grants.yml", "g: {to: {}, actions: [load], on: {domain: all}}\n", 1, "to is group:<name>"),
        ("grants.yml", "g: {to: user:a, actions: [load], on: {domain: all}, until: tomorrow}\n", 1, "until is a time"),
        (
            "grants.yml",
            "g: {to: user:a, actions: [load], on: {domain: all}, until: 9999-12-31T23:59:59-14:00}\n",
            1,
            "until is a time",
        ),
        ("policies/p.yml", "p: {reason: Why}\n", 1, "policy has no text"),
        ("policies/P.cedar", "permit(principal, action, resource);", None, "An id is made of"),
        ("policies.yml", "p: {cedar: x, review_by: soon}\n", 1, "review_by is a day"),
        ("source.yml", "names: x\n", None, "here stand name:"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(path: str, text: str, line: int | None, words: str) -> None:
    ((at, found, message),) = wrong({path: text})
    assert (at, found) == (path, line)
    assert words in message


def test_all_that_is_wrong_is_told_at_once() -> None:
    texts = {"datasets/a.yml": "orders: {}\nsales.b: {muniment: {tags: 1}}\n", "groups.yml": "g: {people: []}\n"}
    assert [(at, line) for at, line, _ in wrong(texts)] == [
        ("datasets/a.yml", 1),
        ("datasets/a.yml", 2),
        ("groups.yml", 1),
    ]


def test_a_thing_stands_in_one_place() -> None:
    texts = {"datasets/a.yml": "sales.a: {}\n", "datasets/b.yml": "sales.a: {}\n"}
    assert wrong(texts) == [("datasets/b.yml", 1, "sales.a: it stands in datasets/a.yml:1 too.")]
    texts = {"policies/p.cedar": "x", "policies.yml": "p: {cedar: y}\n"}
    assert "has more than one text" in wrong(texts)[0][2]


@pytest.mark.parametrize(
    "entry",
    [
        "{type: pandas.SQLTableDataset, table_name: t, credentials: {con: 'postgresql://ann:hunter2@db/x'}}",
        "{type: pandas.CSVDataset, filepath: 's3://ann:hunter2@lake/x.csv'}",
        "{type: pandas.CSVDataset, filepath: s3://lake/x.csv, fs_args: {secret: hunter2}}",
        "{muniment: {environments: {prod: {type: a.B, password: hunter2}}}}",
    ],
)
def test_a_secret_is_refused_and_not_repeated(entry: str) -> None:
    ((at, line, message),) = wrong({"datasets/a.yml": f"sales.a: {entry}\n"})
    assert (at, line) == ("datasets/a.yml", 1)
    assert "secret" in message or "never the credentials themselves" in message
    assert "hunter2" not in message


def test_files_that_are_not_meant_can_be_left_out() -> None:
    files = read({"source.yml": "name: definitions\nignore: ['ci/*']\n", "ci/build.yml": "jobs: []\n"})
    assert (files.source, files.things) == ("definitions", {})


def test_words_are_words_outside_of_kedros_files() -> None:
    found = read({"grants.yml": "g: {to: analysts, actions: [load], on: {domain: sales}, because: no}\n"}).things
    assert found["grant", "g"].fields["because"] == "no"
    assert found["grant", "g"].fields["to"] == {"group": "group:analysts"}


# --- replacing one entry ------------------------------------------------------------------------------------------


def test_an_entry_is_replaced_and_all_around_it_stays() -> None:
    text = "# One.\nsales.a:\n  type: x   # of a\n\n# Two.\nsales.b: {type: y}\n# End.\n"
    entry = entry_of_fields("dataset", {"description": "New", "environments.base": {"type": "z"}})
    assert replaced(text, "sales.a", entry) == (
        "# One.\nsales.a:\n  type: z\n  muniment:\n    description: New\n\n# Two.\nsales.b: {type: y}\n# End.\n"
    )
    assert replaced(text, "sales.b", None) == "# One.\nsales.a:\n  type: x   # of a\n\n# Two.\n# End.\n"
    assert replaced(text, "sales.c", entry) is None
    assert replaced("{sales.a: {}}", "sales.a", entry) is None


# --- three sides ----------------------------------------------------------------------------------------------------

ORDERS = Dataset("sales.orders", "owners", description="Live", version=2)
SAID = {"description": 1}


def one(fields: dict[str, Any], live: Live | None, **how: Any) -> Compared | None:
    written = Written("dataset", "sales.orders", fields, "datasets/a.yml", 1)
    lives = {} if live is None else {live.address: live}
    found = compare({written.address: written}, lives, "definitions", **how)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("files", "before", "stands", "side"),
    [
        ("B", "A", "A", Side.FILES),
        ("A", "A", "B", Side.HAND),
        ("B", "A", "C", Side.BOTH),
        ("B", None, "A", Side.FILES),
    ],
)
def test_the_third_side_tells_who_moved(files: str, before: str | None, stands: str, side: Side) -> None:
    kept = {"kept": {"description": 1}, "source": "definitions", "base": {"description": before}} if before else {}
    found = one({"description": files}, live_of(replace(ORDERS, description=stands), **kept))
    assert found is not None
    assert [(each.stands, each.wanted, each.side) for each in found.differences] == [(stands, files, side)]
    assert found.body()["description"] == (files if side is Side.FILES else stands)
    assert found.blocked is (side is Side.BOTH)
    overwritten = one({"description": files}, live_of(replace(ORDERS, description=stands), **kept), overwrite=True)
    assert overwritten is not None
    assert (overwritten.body()["description"], overwritten.blocked) == (files, False)


def test_files_and_hands_that_agree_differ_in_nothing() -> None:
    kept = {"kept": SAID, "source": "definitions", "base": {"description": "Before"}}
    found = one({"description": "Live"}, live_of(ORDERS, **kept))
    assert found is None or (found.verdict, found.differences) == (Verdict.KEEP, ())


def test_a_field_that_no_file_said_is_left_as_it_stands() -> None:
    standing = replace(ORDERS, tags=frozenset({"by hand"}), environments={"base": {"type": "x"}})
    found = one(
        {"description": "New"}, live_of(standing, kept=SAID, source="definitions", base={"description": "Live"})
    )
    assert found is not None
    assert (found.body()["tags"], found.body()["environments"]) == (["by hand"], {"base": {"type": "x"}})


def test_a_field_that_left_the_files_goes_back_unless_hands_have_changed_it() -> None:
    kept = {"kept": {"description": 2, "layer": 2}, "source": "definitions"}
    found = one({"layer": None}, live_of(ORDERS, **kept))
    assert found is not None
    assert [(each.name, each.wanted) for each in found.differences] == [("description", "")]
    moved = {"kept": {"description": 1, "layer": 2}, "source": "definitions", "base": {"description": "Before"}}
    found = one({"layer": None}, live_of(ORDERS, **moved))
    assert found is not None
    assert (found.verdict, found.differences) == (Verdict.KEEP, ())


@pytest.mark.parametrize(
    ("leaving", "verdict"),
    [(Leaving.STAY, Verdict.LEFT), (Leaving.PRUNE, Verdict.END), (Leaving.LET_GO, Verdict.LET_GO)],
)
def test_a_thing_that_left_the_files_is_ended_only_when_it_is_said(leaving: Leaving, verdict: Verdict) -> None:
    live = live_of(ORDERS, kept={"description": 2}, source="definitions")
    (found,) = compare({}, {live.address: live}, "definitions", leaving=leaving)
    assert (found.verdict, found.blocked) == (verdict, False)
    assert compare({}, {live.address: live}, "others", leaving=leaving) == ()


def test_what_hands_changed_is_not_pruned_unseen() -> None:
    live = live_of(ORDERS, kept=SAID, source="definitions", base={"description": "Before"})
    (found,) = compare({}, {live.address: live}, "definitions", leaving=Leaving.PRUNE)
    assert (found.verdict, found.blocked) == (Verdict.END, True)
    (found,) = compare({}, {live.address: live}, "definitions", leaving=Leaving.PRUNE, overwrite=True)
    assert (found.verdict, found.blocked) == (Verdict.END, False)


def test_changes_come_in_an_order_in_which_each_can_be_made() -> None:
    texts = {
        "datasets/a.yml": "sales.emea.a: {muniment: {successor: sales.emea.z}}\nsales.emea.z: {}\n",
        "domains.yml": "sales.emea: {owner: x}\nsales: {owner: x}\n",
        "environments.yml": "prod: {}\n",
        "groups.yml": "x: {}\n",
        "grants.yml": "g: {to: x, actions: [load], on: {domain: sales}}\n",
        "policies/p.cedar": "permit(principal, action, resource);",
    }
    old = Grant("old", "x", frozenset({Action.LOAD}), "sales", version=1)
    live = live_of(old, kept={"because": 1}, source="definitions")
    found = compare(read(texts).things, {live.address: live}, "definitions", leaving=Leaving.PRUNE)
    assert [each.key for each in found] == [
        "prod",
        "x",
        "sales",
        "sales.emea",
        "sales.emea.z",
        "sales.emea.a",
        "p",
        "g",
        "old",
    ]


def test_one_is_not_true_and_not_a_fraction() -> None:
    def with_base(value: object) -> Dataset:
        return replace(ORDERS, environments={"base": {"type": "x", "save_args": {"index": value}}})

    for one_value, other in ((1, True), (1, 1.0), (0, False), ("1", 1)):
        found = one(fields_of(body_of(with_base(one_value))), live_of(with_base(other)))
        assert found is not None
        assert [each.name for each in found.differences] == ["environments.base"]
    assert repr(ABSENT) == "absent"
