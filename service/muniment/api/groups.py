"""``/v1/groups``: local groups. Those of the identity provider come with each token and are not kept here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Limit, Name, Page, Text
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.groups import Group, parse_group, write_group
from muniment.core.kept import Kept
from muniment.core.subjects import Subject
from muniment.flows.browse_realm import list_groups
from muniment.flows.edit_group import edit_group, end_group

router = APIRouter(prefix="/v1/groups", tags=["groups"])


class GroupBody(Body):
    """A local group as it shall be: its members, and the groups that it is a part of."""

    description: Text = ""
    members: Annotated[list[Name], Field(max_length=10_000)] = []
    parents: Annotated[list[Name], Field(max_length=100)] = []


class GroupAnswer(Body):
    """A local group."""

    name: str
    description: str
    members: list[str]
    parents: list[str]
    source: Literal["local"] = "local"
    version: int
    kept_in: KeptInBody | None = None


@router.get("")
async def get_groups(
    house: Housed,
    asking: Asking,
    response: Response,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[GroupAnswer]:
    """The local groups, in the order of their names."""
    shelf = await list_groups(house, asking)
    found, following = shelf.page(limit, after)
    stamp(response, revision=shelf.revision)
    return Page(items=[_answer(group, shelf.kept) for group in found], next=following)


@router.get("/{name}")
async def get_group(house: Housed, asking: Asking, response: Response, name: str) -> GroupAnswer:
    """One local group."""
    shelf = await list_groups(house, asking)
    group = shelf.one(name)
    stamp(response, version=group.version, revision=shelf.revision)
    return _answer(group, shelf.kept)


@router.put("/{name}", response_model_exclude={"kept_in"})
async def put_group(
    house: Housed, asking: Asking, response: Response, name: str, body: GroupBody, after_version: AfterVersion
) -> GroupAnswer:
    """Make a local group, or change it."""
    kept = await edit_group(house, asking, proposed(name, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _answer(kept.noun)


@router.delete("/{name}", status_code=204)
async def delete_group(
    house: Housed,
    asking: Asking,
    response: Response,
    name: str,
    after_version: AfterVersion,
) -> None:
    """End a local group."""
    stamp(response, revision=await end_group(house, asking, name, after_version))


def proposed(name: str, body: GroupBody) -> Group:
    """The group that a body says."""
    return Group(
        name=name,
        members=frozenset(map(Subject.parse, body.members)),
        parents=frozenset(map(parse_group, body.parents)),
        description=body.description,
    )


def _answer(group: Group, kept: Mapping[str, Kept] | None = None) -> GroupAnswer:
    return GroupAnswer(
        name=group.name,
        description=group.description,
        members=sorted(map(str, group.members)),
        parents=sorted(map(write_group, group.parents)),
        version=group.version,
        kept_in=kept_in(kept.get(group.name)) if kept is not None else None,
    )
