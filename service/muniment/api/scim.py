"""``/scim/v2`` and ``/scim/{issuer}/v2``: an identity provider keeps its people and groups here (RFC 7644).

The first is the directory of the default issuer, the other that of any issuer by its name. SCIM's
own shapes are spoken in both directions, refusals included (``api/problems.py``). Several changes
in one message (Bulk) and ``/Me`` are not offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from scim2_models import Context, ListResponse, PatchOp, Resource, ResponseParameters, SearchRequest
from starlette.responses import JSONResponse

from muniment.api import scim_resources
from muniment.api.asking import Asking, Housed
from muniment.api.problems import SCIM_MEDIA
from muniment.api.scim_resources import (
    RESOURCE_TYPES,
    SCHEMAS,
    Group,
    User,
    described,
    group_record,
    group_resource,
    matches,
    page_of,
    patched,
    read,
    sought,
    user_record,
    user_resource,
    version_of,
    wants_members,
)
from muniment.api.versions import HEADERS
from muniment.core import provisioning
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid, NotFound
from muniment.core.provisioning import Directory, GroupRecord, Sought, UserRecord
from muniment.flows import provision
from muniment.flows.house import House, aside

_TAG = re.compile(r'(?:W/)?"([1-9][0-9]{0,8})"\Z')

Handler = TypeVar("Handler", bound=Callable[..., Any])

#: A message of SCIM as it is sent: a JSON object.
Message = dict[str, Any]


class MessageBody(BaseModel):
    """A message of SCIM as it comes: what stands in it is SCIM's to say (``api/scim_resources.py``)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def members(self) -> Message:
        """All that stands in it."""
        return dict(self.model_extra or {})


class ScimResponse(JSONResponse):
    """An answer in SCIM's own media type (RFC 7644, 8.1)."""

    media_type = SCIM_MEDIA


@dataclass(frozen=True, slots=True)
class Place:
    """The directory that an address is of, with the address itself."""

    directory: Directory
    base: str


def _place(request: Request, _asking: Asking) -> Place:
    """Which directory is asked; there is none for an issuer that has no people, or that there is not."""
    directories: dict[str, Directory] = request.app.state.directories
    named = request.path_params.get("issuer")
    default = next((each.issuer for each in directories.values() if each.default), "")
    directory = directories.get(default if named is None else named)
    if directory is None:
        raise NotFound
    base: str = request.app.state.public_url.rstrip("/")
    return Place(directory, f"{base}/scim/v2" if named is None else f"{base}/scim/{named}/v2")


def _search(
    filter: Annotated[str | None, Query(description="RFC 7644, 3.4.2.2.")] = None,  # noqa: A002  the standard's name
    sort_by: Annotated[str | None, Query(alias="sortBy")] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder")] = None,
    start_index: Annotated[int | None, Query(alias="startIndex", description="Of the first result, from 1.")] = None,
    count: Annotated[int | None, Query(description="How many results at most.")] = None,
    attributes: str | None = None,
    excluded_attributes: Annotated[str | None, Query(alias="excludedAttributes")] = None,
) -> Message:
    """What the query of an address looks for, as the message that would look for the same."""
    said = {
        "filter": filter,
        "sortBy": sort_by,
        "sortOrder": sort_order,
        "startIndex": start_index,
        "count": count,
        "attributes": attributes,
        "excludedAttributes": excluded_attributes,
    }
    schemas = [str(SearchRequest.__schema__)]
    return {"schemas": schemas, **{name: value for name, value in said.items() if value is not None}}


def _shown(
    attributes: str | None = None,
    excluded_attributes: Annotated[str | None, Query(alias="excludedAttributes")] = None,
) -> Message:
    """Which attributes an answer shall have (RFC 7644, 3.9)."""
    said = {"attributes": attributes, "excludedAttributes": excluded_attributes}
    return {name: value for name, value in said.items() if value is not None}


def _versions(
    if_match: Annotated[str | None, Header(description='The version that is changed, as `W/"7"`.')] = None,
) -> frozenset[int] | None:
    """The versions from which a change may begin; nothing where any will do (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = [_TAG.match(part.strip()) for part in if_match.split(",")]
    if not all(found):
        message = 'If-Match holds versions, as the ETag says them: W/"7".'
        raise Invalid(message, [Fault("If-Match", message)])
    return frozenset(int(each[1]) for each in found if each)


Placed = Annotated[Place, Depends(_place)]
Searched = Annotated[Message, Depends(_search)]
Shown = Annotated[Message, Depends(_shown)]
Versions = Annotated[frozenset[int] | None, Depends(_versions)]
IfNoneMatch = Annotated[str | None, Header(description="The version that is held already.")]

_REFUSAL: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A refusal (RFC 7644, 3.12).", "content": {SCIM_MEDIA: {"schema": {"type": "object"}}}}
}
_default = APIRouter(prefix="/scim/v2", tags=["scim"], default_response_class=ScimResponse, responses=_REFUSAL)
#: The same doors, which are described once.
_of_issuer = APIRouter(
    prefix="/scim/{issuer}/v2",
    tags=["scim"],
    default_response_class=ScimResponse,
    responses=_REFUSAL,
    include_in_schema=False,
)


def _door(method: str, path: str, **more: Any) -> Callable[[Handler], Handler]:
    """A route of both addresses: put into each, since a router that is included loses sight of its prefix."""

    def open_(handler: Handler) -> Handler:
        for doors in (_default, _of_issuer):
            doors.add_api_route(path, handler, methods=[method], **more)
        return handler

    return open_


# --- what there is ---------------------------------------------------------------------------------------------------


@_door("GET", "/ServiceProviderConfig")
async def get_service_provider_config(place: Placed) -> Message:
    """What of SCIM is offered here."""
    return _written(scim_resources.service_provider_config(place.base))


@_door("GET", "/Schemas")
async def get_schemas(place: Placed) -> Message:
    """The attributes that people and groups have here."""
    return _all(list(described(SCHEMAS, "Schema", place.base).values()))


@_door("GET", "/Schemas/{id}")
async def get_schema(place: Placed, id: str) -> Message:  # noqa: A002
    """The attributes of one kind of resource."""
    return _written(_one(described(SCHEMAS, "Schema", place.base), id))


@_door("GET", "/ResourceTypes")
async def get_resource_types(place: Placed) -> Message:
    """The kinds of resources: users and groups."""
    return _all(list(described(RESOURCE_TYPES, "ResourceType", place.base).values()))


@_door("GET", "/ResourceTypes/{name}")
async def get_resource_type(place: Placed, name: str) -> Message:
    """One kind of resource."""
    return _written(_one(described(RESOURCE_TYPES, "ResourceType", place.base), name))


# --- people ----------------------------------------------------------------------------------------------------------


@_door("GET", "/Users")
async def get_users(house: Housed, asking: Asking, place: Placed, query: Searched) -> Message:
    """The people of the directory."""
    return await _users(house, asking, place, query)


@_door("POST", "/Users/.search")
async def search_users(house: Housed, asking: Asking, place: Placed, said: MessageBody) -> Message:
    """The same, with the question in the body."""
    return await _users(house, asking, place, said.members)


@_door("POST", "/Users", status_code=201)
async def post_user(
    house: Housed, asking: Asking, place: Placed, response: Response, said: MessageBody, shown: Shown
) -> Message:
    """Tell of somebody."""
    parameters = _parameters(User, shown)
    record = user_record(read(User, said.members, Context.RESOURCE_CREATION_REQUEST), active=True)
    made = await provision.create_user(house, asking, place.directory, record)
    return _answer(response, user_resource(made, place.base), Context.RESOURCE_CREATION_RESPONSE, parameters)


@_door("GET", "/Users/{id}", response_model=None)
async def get_user(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    shown: Shown,
    if_none_match: IfNoneMatch = None,
) -> Message | Response:
    """One person."""
    parameters = _parameters(User, shown)
    found = await provision.read_user(house, asking, place.directory, id)
    told = _answer(response, user_resource(found, place.base), Context.RESOURCE_QUERY_RESPONSE, parameters)
    return told if if_none_match != version_of(found) else _unchanged(response)


@_door("PUT", "/Users/{id}")
async def put_user(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    said: MessageBody,
    versions: Versions,
    shown: Shown,
) -> Message:
    """Tell all of somebody anew. Of whom it is not said whether they are active, that stays as it was."""
    parameters = _parameters(User, shown)
    told = read(User, said.members, Context.RESOURCE_REPLACEMENT_REQUEST)

    def change(before: provisioning.User) -> UserRecord:
        return user_record(told, active=before.record.active)

    after = await provision.change_user(house, asking, place.directory, id, versions, change)
    return _answer(response, user_resource(after, place.base), Context.RESOURCE_REPLACEMENT_RESPONSE, parameters)


@_door("PATCH", "/Users/{id}")
async def patch_user(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    said: MessageBody,
    versions: Versions,
    shown: Shown,
) -> Message:
    """Tell some of somebody otherwise (RFC 7644, 3.5.2)."""
    parameters = _parameters(User, shown)
    message = read(PatchOp[User], said.members, Context.RESOURCE_PATCH_REQUEST)

    def change(before: provisioning.User) -> UserRecord:
        return user_record(patched(message, user_resource(before, place.base)), active=None)

    after = await provision.change_user(house, asking, place.directory, id, versions, change)
    return _answer(response, user_resource(after, place.base), Context.RESOURCE_PATCH_RESPONSE, parameters)


@_door("DELETE", "/Users/{id}", status_code=204)
async def delete_user(
    house: Housed,
    asking: Asking,
    place: Placed,
    id: str,  # noqa: A002
    versions: Versions,
) -> None:
    """Somebody is gone: their access ends."""
    await provision.delete_user(house, asking, place.directory, id, versions)


# --- groups ----------------------------------------------------------------------------------------------------------


@_door("GET", "/Groups")
async def get_groups(house: Housed, asking: Asking, place: Placed, query: Searched) -> Message:
    """The groups of the directory."""
    return await _groups(house, asking, place, query)


@_door("POST", "/Groups/.search")
async def search_groups(house: Housed, asking: Asking, place: Placed, said: MessageBody) -> Message:
    """The same, with the question in the body."""
    return await _groups(house, asking, place, said.members)


@_door("POST", "/Groups", status_code=201)
async def post_group(
    house: Housed, asking: Asking, place: Placed, response: Response, said: MessageBody, shown: Shown
) -> Message:
    """Tell of a group: from now on it has these members, whatever credentials say."""
    parameters = _parameters(Group, shown)
    record = await aside(lambda: group_record(read(Group, said.members, Context.RESOURCE_CREATION_REQUEST)))
    made = await provision.create_group(house, asking, place.directory, record)
    return await _group(response, made, place, Context.RESOURCE_CREATION_RESPONSE, parameters)


@_door("GET", "/Groups/{id}", response_model=None)
async def get_group(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    shown: Shown,
    if_none_match: IfNoneMatch = None,
) -> Message | Response:
    """One group."""
    parameters = _parameters(Group, shown)
    found = await provision.read_group(house, asking, place.directory, id, with_members=wants_members(parameters))
    told = await _group(response, found, place, Context.RESOURCE_QUERY_RESPONSE, parameters)
    return told if if_none_match != version_of(found) else _unchanged(response)


@_door("PUT", "/Groups/{id}")
async def put_group(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    said: MessageBody,
    versions: Versions,
    shown: Shown,
) -> Message:
    """Tell all of a group anew; members that are not named are out."""
    parameters = _parameters(Group, shown)
    record = await aside(lambda: group_record(read(Group, said.members, Context.RESOURCE_REPLACEMENT_REQUEST)))
    after = await provision.change_group(house, asking, place.directory, id, versions, lambda _: record)
    return await _group(response, after, place, Context.RESOURCE_REPLACEMENT_RESPONSE, parameters)


@_door("PATCH", "/Groups/{id}", status_code=204)
async def patch_group(
    house: Housed,
    asking: Asking,
    place: Placed,
    response: Response,
    id: str,  # noqa: A002
    said: MessageBody,
    versions: Versions,
) -> None:
    """Tell some of a group otherwise. What it is then is not said: that may be ten thousand members."""
    message = await aside(lambda: read(PatchOp[Group], said.members, Context.RESOURCE_PATCH_REQUEST))

    def change(before: provisioning.Group) -> GroupRecord:
        return group_record(patched(message, group_resource(before, place.base)))

    after = await provision.change_group(house, asking, place.directory, id, versions, change)
    response.headers["ETag"] = version_of(after)


@_door("DELETE", "/Groups/{id}", status_code=204)
async def delete_group(
    house: Housed,
    asking: Asking,
    place: Placed,
    id: str,  # noqa: A002
    versions: Versions,
) -> None:
    """A group is gone; nobody is in it any more."""
    await provision.delete_group(house, asking, place.directory, id, versions)


@_door("POST", "/.search")
async def search_all(house: Housed, asking: Asking, place: Placed, said: MessageBody) -> Message:
    """People and groups together (RFC 7644, 3.4.3)."""
    search = read(SearchRequest[User | Group], said.members, Context.SEARCH_REQUEST)
    people, groups = await provision.find_all(house, asking, place.directory, with_members=wants_members(search))

    def written() -> Message:
        found: list[User | Group] = [
            *(user_resource(each, place.base) for each in people.things),
            *(group_resource(each, place.base) for each in groups.things),
        ]
        return _page(search, [each for each in found if matches(search, each)])

    return await aside(written)


# --- in SCIM's shapes ------------------------------------------------------------------------------------------------


async def _users(house: House, asking: Occasion, place: Place, said: Message) -> Message:
    search = read(SearchRequest[User], said, Context.SEARCH_REQUEST)
    found = await provision.find_users(house, asking, place.directory, _asked(search))
    return await aside(lambda: _listed(search, [user_resource(each, place.base) for each in found.things], found.total))


async def _groups(house: House, asking: Occasion, place: Place, said: Message) -> Message:
    search = read(SearchRequest[Group], said, Context.SEARCH_REQUEST)
    found = await provision.find_groups(
        house, asking, place.directory, _asked(search), with_members=wants_members(search)
    )
    return await aside(
        lambda: _listed(search, [group_resource(each, place.base) for each in found.things], found.total)
    )


async def _group(
    response: Response,
    group: provisioning.Group,
    place: Place,
    context: Context,
    parameters: ResponseParameters[Any],
) -> Message:
    """A group as an answer: it may have ten thousand members, so other requests go on meanwhile."""
    return await aside(lambda: _answer(response, group_resource(group, place.base), context, parameters))


def _asked(search: SearchRequest[Any]) -> Sought:
    """What is looked for; a page of all where all are asked for as they stand."""
    if search.filter is None and search.sort_by is None:
        start, limit = page_of(search)
        return Sought(start=start, limit=limit)
    return sought(search)


def _listed(search: SearchRequest[Any], resources: Sequence[Resource[Any]], total: int) -> Message:
    if search.filter is None and search.sort_by is None:
        return _list_response(search, resources, total)
    return _page(search, [each for each in resources if matches(search, each)])


def _page(search: SearchRequest[Any], matching: Sequence[Resource[Any]]) -> Message:
    start, limit = page_of(search)
    return _list_response(search, search.sort(matching)[start : start + limit], len(matching))


def _list_response(search: SearchRequest[Any], page: Sequence[Resource[Any]], total: int) -> Message:
    start, _ = page_of(search)
    return {
        "schemas": [str(ListResponse.__schema__)],
        "totalResults": total,
        "startIndex": start + 1,
        "itemsPerPage": len(page),
        "Resources": [each.model_dump(scim_ctx=Context.SEARCH_RESPONSE, response_parameters=search) for each in page],
    }


def _all(resources: Sequence[Resource[Any]]) -> Message:
    return {
        "schemas": [str(ListResponse.__schema__)],
        "totalResults": len(resources),
        "startIndex": 1,
        "itemsPerPage": len(resources),
        "Resources": [_written(each) for each in resources],
    }


def _written(resource: Resource[Any]) -> Message:
    return resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)


def _one(things: dict[str, Resource[Any]], name: str) -> Resource[Any]:
    if name not in things:
        raise NotFound
    return things[name]


def _parameters(model: type[Resource[Any]], shown: Message) -> ResponseParameters[Any]:
    parameters: ResponseParameters[Any] = read(
        ResponseParameters[model],  # type: ignore[valid-type]
        shown,
        Context.SEARCH_REQUEST,
    )
    return parameters


def _answer(
    response: Response, resource: Resource[Any], context: Context, parameters: ResponseParameters[Any]
) -> Message:
    """A resource as an answer, with its version and its address."""
    response.headers.update(HEADERS)
    meta = resource.meta
    if meta is not None:
        response.headers["ETag"] = meta.version or ""
        response.headers["Location"] = meta.location or ""
    return resource.model_dump(scim_ctx=context, response_parameters=parameters)


def _unchanged(response: Response) -> Response:
    """Nothing is sent of what the caller holds already."""
    return Response(status_code=304, headers=dict(response.headers))


router = APIRouter()
router.include_router(_default)
router.include_router(_of_issuer)
