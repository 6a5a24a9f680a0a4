"""JSON that others wrote: tokens, discovery documents, key sets.

One text must mean one thing to everybody who reads it. So what JSON leaves to each
reader is refused here: an object that names a member twice, NaN and Infinity,
anything that is not UTF-8, nesting without end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


class Unreadable(Exception):
    """The bytes are not one JSON object. The words never repeat them."""


def object_from(raw: bytes) -> dict[str, object]:
    """Read one JSON object; raises :class:`Unreadable`."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None  # a decoder's error carries the whole text: leave it here
    if isinstance(value, dict):
        return value
    message = "not a JSON object in which each name stands once"
    raise Unreadable(message)


def value_at(members: Mapping[str, object], path: str) -> object:
    """The member of that whole name, else the one to which its dots lead (``realm_access.roles``), else None.

    A name may have dots of its own: the longest that is there is gone into first
    (``kubernetes.io.serviceaccount.uid``).
    """
    if path in members:
        return members[path]
    name = path
    while "." in name:
        name = name.rpartition(".")[0]
        inner = members.get(name)
        if isinstance(inner, Mapping):
            return value_at(inner, path[len(name) + 1 :])
    return None


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_: str) -> object:
    raise ValueError
