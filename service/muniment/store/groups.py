"""Lines of local groups."""

from __future__ import annotations

from muniment.core.groups import Group
from muniment.core.subjects import Subject
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(group: Group) -> Body:
    return {
        "members": sorted(map(str, group.members)),
        "parents": sorted(group.parents),
        "description": group.description,
    }


def _read(key: str, version: int, body: Body) -> Group:
    return Group(
        name=key,
        members=frozenset(map(Subject.parse, body["members"])),
        parents=frozenset(body["parents"]),
        description=body["description"],
        version=version,
    )


LINE = Line("group", Group, tables.groups, _write, _read)
