"""A grant is read back from its sentence and from Cedar as itself, and nothing that says more is taken for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.grant_readings import grant_in, grant_said
from muniment.core.grants import Grant
from muniment.core.problems import InvalidPolicy
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.sentences import sentence
from tests.core.generated_forms import GROUPS

REST = Grant("g", "", frozenset(), "", because="why", review_by=date(2027, 1, 1))
HEAD = 'permit (principal == User::"ann", action == Action::"load", resource == Dataset::"sales.orders")'
ANN = replace(REST, to="user:ann", actions=frozenset({Action.LOAD}), on="sales.orders", kind="dataset")


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    """A grant of any kind, on data or for governing."""
    governing = draw(st.booleans())
    kind: Literal["dataset", "domain"] = "dataset" if draw(st.booleans()) else "domain"
    done = set(GOVERNING_ACTIONS if governing else DATA_ACTIONS) - ({Action.ADMINISTER} if kind == "dataset" else set())
    places = ["sales.orders", "hr.people"] if kind == "dataset" else ["sales", "sales.emea", "all"]
    moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    texts = st.frozensets(st.sampled_from(["dev", "prod", "a b", "and"]))
    return replace(
        REST,
        to=draw(st.sampled_from([*GROUPS, "user:ann", "service:nightly", "user:the or"])),
        actions=draw(st.frozensets(st.sampled_from(sorted(done)), min_size=1)),
        on=draw(st.sampled_from(places)),
        kind=kind,
        environments=frozenset() if governing else draw(texts),
        purposes=frozenset() if governing else draw(texts),
        until=draw(st.none() | moments.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))),
    )


@given(grants())
def test_a_grant_is_read_back_from_its_sentence_and_from_its_cedar(grant: Grant) -> None:
    assert grant_said(sentence(grant), REST) == grant
    assert grant_in(grant.policy().cedar, REST) == grant


@pytest.mark.parametrize(
    "cedar",
    [
        f"{HEAD};",
        'permit (principal, action, resource)\n// laid out otherwise\nwhen { principal == User::"ann" }'.replace(
            "action,", 'action == Action::"load",'
        )
        + 'when { resource == Dataset::"sales.orders" };',
    ],
    ids=["in the head", "in conditions"],
)
def test_a_grant_is_what_a_text_says_and_not_its_layout(cedar: str) -> None:
    assert grant_in(cedar, REST) == ANN


@pytest.mark.parametrize(
    ("cedar", "told"),
    [
        (f'{HEAD} when {{ resource.tags.contains("pii") }};', "This says more: tags."),
        (f"{HEAD} when {{ principal has vip && principal.vip }};", "attributes of whoever asks"),
        (f'{HEAD} unless {{ principal in Group::"guests" }};', "who is left out"),
        (f'{HEAD} when {{ context.now >= datetime("2027-01-01T00:00:00.000Z") }};', "when it begins"),
        (f"{HEAD} when {{ resource.name == principal.issuer }};", "when { resource.name == principal.issuer }"),
        (f"{HEAD};".replace("permit", "forbid"), "that it forbids"),
        (f"{HEAD};".replace('principal == User::"ann"', "principal"), "anybody else than one person"),
        (f"{HEAD};".replace('== User::"ann"', 'is User in Group::"a"'), "principal is User"),
        (
            f"{HEAD};".replace("resource ==", "resource in").replace('Dataset::"sales.orders"', 'Group::"a"'),
            'There is no Group::"a" that could be meant here.',
        ),
        (f'{HEAD} when {{ resource in Domain::"sales" }};', "anything else than one dataset or one domain"),
        (f"{HEAD};".replace("load", "laod"), 'There is no Action::"laod"'),
        (f"{HEAD};".replace("User", "Grop"), 'There is no Grop::"ann"'),
        (
            'permit (principal == User::"ann", action == Action::"audit", resource is Dataset in Domain::"sales");',
            "something that has no words",
        ),
        (f"{HEAD}; {HEAD};", "exactly one permit or forbid"),
    ],
)
def test_what_a_grant_has_no_place_for_is_refused_and_named(cedar: str, told: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        grant_in(cedar, REST)
    assert told in refused.value.detail


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Members of a or b may load sales.orders.", "anybody else than one person"),
        ("The user ann may load sales.orders and sales.items.", "anything else than one dataset"),
        ("The user ann may load every dataset of sales tagged pii.", "tags"),
        ("The user ann sees sales.orders with the column email masked (hashed).", "what columns or rows somebody sees"),
        ("The user ann may load sales.orders, in dev, in dev.", "cannot read the sentence"),
        ("The user ann may not load sales.orders.", "that it forbids"),
    ],
)
def test_a_sentence_that_says_more_than_a_grant_is_refused(said: str, told: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        grant_said(said, REST)
    assert told in refused.value.detail
