"""Groups: those of the identity provider arrive with the token, local ones are kept here.

Each subject is also the only member of a built-in group of its own name
(``user:ann``), so that one person can own a dataset: an owner is always a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muniment.core.problems import Fault, Invalid
from muniment.core.subjects import Kind, Subject, readable_id


@dataclass(frozen=True, slots=True)
class Group:
    """A local group: its members, and the groups of which it is a part."""

    name: str
    members: frozenset[Subject] = frozenset()
    parents: frozenset[str] = frozenset()
    description: str = ""
    version: int = 0


def parse_group(text: str) -> str:
    """Read ``group:<id>``, or a subject that stands for its built-in group; gives the group's id."""
    kind, colon, id_ = text.partition(":")
    if colon and kind == "group" and readable_id(id_) and not is_builtin(id_):
        return id_
    if colon and kind in set(Kind) and readable_id(id_):
        return text
    message = "A group is written group:<id>; one person, as a group, user:<id>."
    raise Invalid(message, [Fault("group", message)])


def write_group(id_: str) -> str:
    """The id of a group as JSON writes it: ``group:<id>``; a built-in group keeps its subject's name."""
    return id_ if is_builtin(id_) else f"group:{id_}"


def is_builtin(id_: str) -> bool:
    """Whether a group's id is that of the built-in group of one subject."""
    return id_.partition(":")[0] in set(Kind) and ":" in id_


def ancestors(names: frozenset[str], groups: Mapping[str, Group]) -> frozenset[str]:
    """The groups named and all above them."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in groups:
                waiting.extend(groups[name].parents)
    return frozenset(found)


def checked(group: Group, groups: Mapping[str, Group]) -> Group:
    """The group, if it can stand beside the others: no cycle through its parents."""
    if not readable_id(group.name) or is_builtin(group.name) or "|" in group.name:
        message = "A local group's name is at most 200 readable characters, without '|' and not user:… or service:…."
        raise Invalid(message, [Fault("name", message)])
    if not all(readable_id(parent) and not is_builtin(parent) for parent in group.parents):
        message = "A group can be a part of groups alone; the group of one subject, user:… or service:…, has no parts."
        raise Invalid(message, [Fault("parents", message)])
    if group.name in ancestors(group.parents, groups):
        message = "A group cannot be a part of itself; one of its parents leads back to it."
        raise Invalid(message, [Fault("parents", message)])
    return group
