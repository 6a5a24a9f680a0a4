"""Groups: local ones are kept here, and no cycle leads back into one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.groups import Group, ancestors, checked, is_builtin, parse_group, write_group
from muniment.core.problems import Invalid
from muniment.core.subjects import Subject, readable_id


@pytest.mark.parametrize(
    ("text", "id_"), [("group:team", "team"), ("group:okta|team", "okta|team"), ("user:ann", "user:ann")]
)
def test_a_group_is_read_as_it_is_written(text, id_):
    assert parse_group(text) == id_
    assert write_group(id_) == text


@pytest.mark.parametrize(
    "text", ["team", "group:", "group:user:ann", "user:", "role:x", "group: team", "group:a\u202eb"]
)
def test_anything_else_is_no_group(text):
    with pytest.raises(Invalid):
        parse_group(text)


@given(st.text(min_size=1).filter(readable_id))
def test_writing_and_reading_a_group_leads_back(id_):
    if not is_builtin(id_):
        assert parse_group(write_group(id_)) == id_


def test_the_groups_above_are_found_however_deep_and_each_once():
    groups = {f"g{number}": Group(f"g{number}", parents=frozenset({f"g{number + 1}"})) for number in range(2000)}
    assert len(ancestors(frozenset({"g0"}), groups)) == 2001


@pytest.mark.parametrize(
    "group",
    [
        Group("a", parents=frozenset({"a"})),
        Group("a", parents=frozenset({"b"})),
        Group("a", parents=frozenset({"c"})),
        Group("a", parents=frozenset({"user:ann"})),
        Group("a", parents=frozenset({""})),
        Group("user:ann"),
        Group("service:etl"),
        Group("okta|team"),
        Group(""),
        Group(" a"),
        Group("a\u200b"),
    ],
)
def test_a_group_that_cannot_stand_is_refused(group):
    standing = {"b": Group("b", parents=frozenset({"c"})), "c": Group("c", parents=frozenset({"a"}))}
    with pytest.raises(Invalid):
        checked(group, standing)


def test_a_group_may_be_a_part_of_several():
    group = Group("a", frozenset({Subject.parse("user:ann")}), frozenset({"b", "c"}))
    assert checked(group, {"b": Group("b", parents=frozenset({"c"})), "c": Group("c")}) is group
