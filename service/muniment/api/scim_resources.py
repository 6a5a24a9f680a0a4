"""What a directory's people and groups look like in SCIM 2.0 (RFC 7643), and what is read out of it.

Declared is what is kept. What else a provider sends (names, addresses, managers) is let go, so a
provider that maps more than it needs is served, and nothing of it is stored. The dialects of
providers that depart from the standard are read too: booleans as texts, a ``remove`` that says in
its value what goes, operations in any case of letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import Field, ValidationError
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    Context,
    Error,
    ETag,
    External,
    Filter,
    Meta,
    Mutability,
    Pagination,
    Patch,
    PatchOp,
    Reference,
    Required,
    Resource,
    ResourceType,
    SCIMException,
    ScimFilter,
    ScimPolicy,
    ScimProvider,
    SearchRequest,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator, ValuePath

from muniment.api.plain_data import UNREADABLE
from muniment.core import provisioning
from muniment.core.problems import Fault, Invalid
from muniment.core.provisioning import GroupRecord, Sought, UserRecord

#: How many resources come at most in one answer (RFC 7644, 3.4.2.4), and how many unless it is said.
MOST_RESULTS: Final = 1000
USUAL_RESULTS: Final = 100


class User(Resource[Any]):
    """A person who may sign in."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = Field(
        None, description="The name by which the identity provider knows the person."
    )
    display_name: str | None = Field(None, description="The name of the person as it is shown.")
    active: bool | None = Field(None, description="Whether the person may sign in; only true lets them.")


class Member(ComplexAttribute):
    """A person who is in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = Field(None, description="The user's id.")
    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref", description="The user's address."
    )
    type: Annotated[str | None, Mutability.immutable] = Field(
        None, examples=["User"], description="What the member is; groups have no groups."
    )


class Group(Resource[Any]):
    """A group that policies may name."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true, CaseExact.true, Uniqueness.server] = Field(
        None, description="The group's name, as policies write it."
    )
    members: list[Member] | None = Field(None, description="Those who are in the group, and nobody else.")

    Members: ClassVar[type[ComplexAttribute]] = Member


#: How much is forgiven.
POLICY: Final = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)

PROVIDER: Final = ScimProvider(models=[User, Group], policy=POLICY)

_Model = TypeVar("_Model", bound=Any)
_Resource = TypeVar("_Resource", User, Group)


# --- what is served --------------------------------------------------------------------------------------------------


def user_resource(user: provisioning.User, base: str) -> User:
    """A person, as a provider that asks at this base address is told of them."""
    record = user.record
    return User(
        id=user.id,
        external_id=record.external_id,
        user_name=record.user_name,
        display_name=record.display_name,
        active=record.active,
        meta=_meta("User", user, base),
    )


def group_resource(group: provisioning.Group, base: str) -> Group:
    """A group, with those of its members that were read."""
    record = group.record
    return Group(
        id=group.id,
        external_id=record.external_id,
        display_name=record.display_name,
        members=[_member(id_, base) for id_ in sorted(record.members)],
        meta=_meta("Group", group, base),
    )


def version_of(thing: provisioning.User | provisioning.Group) -> str:
    """The entity tag of a person or a group (RFC 7644, 3.14)."""
    return f'W/"{thing.version}"'


def _meta(kind: str, thing: provisioning.User | provisioning.Group, base: str) -> Meta:
    return Meta(
        resource_type=kind,
        created=thing.made_at,
        last_modified=thing.changed_at,
        location=f"{base}/{kind}s/{thing.id}",
        version=version_of(thing),
    )


def _member(id_: str, base: str) -> Member:
    # What stands in our own store needs no looking at again: a group may have ten thousand of these.
    return Member.model_construct(value=id_, ref=f"{base}/Users/{id_}", type="User")


def service_provider_config(base: str) -> ServiceProviderConfig:
    """What this service can do of SCIM (RFC 7643, 5)."""
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MOST_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        pagination=Pagination(
            cursor=False,
            index=True,
            default_pagination_method=Pagination.DefaultPaginationMethod.index,
            default_page_size=USUAL_RESULTS,
            max_page_size=MOST_RESULTS,
        ),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="A key for provisioning, or a token of a configured issuer.",
                spec_uri=Reference[External]("https://www.rfc-editor.org/info/rfc6750"),
                primary=True,
            )
        ],
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{base}/ServiceProviderConfig"),
    )


def described(things: Mapping[str, Resource[Any]], kind: str, base: str) -> dict[str, Resource[Any]]:
    """Schemas or resource types, each with its address, by id."""
    return {
        id_: thing.model_copy(update={"meta": Meta(resource_type=kind, location=f"{base}/{kind}s/{id_}")})
        for id_, thing in things.items()
    }


SCHEMAS: Final[Mapping[str, Resource[Any]]] = {str(schema.id): schema for schema in PROVIDER.schemas}
RESOURCE_TYPES: Final[Mapping[str, Resource[Any]]] = {
    str(kind.name): kind.model_copy(update={"id": kind.name}) for kind in PROVIDER.resource_types
}


def resource_types() -> tuple[ResourceType, ...]:
    """The types of resources that there are (RFC 7643, 6)."""
    return PROVIDER.resource_types


# --- what is read ----------------------------------------------------------------------------------------------------


def read(model: type[_Model], body: object, context: Context) -> _Model:
    """A message of a provider; raises :class:`Invalid` with SCIM's word for what is wrong."""
    try:
        message: _Model = model.model_validate(body, scim_ctx=context, scim_policy=POLICY)
    except ValidationError as refused:
        # Its own words would repeat what was sent.
        found = Error.from_validation_errors(refused)[0]
    else:
        return message
    raise _invalid(found.detail or "This is not read.", found.scim_type)


def user_record(resource: User, *, active: bool | None) -> UserRecord:
    """What a provider says of a person; ``active`` where it does not say whether they are."""
    return UserRecord(
        user_name=resource.user_name or "",
        external_id=resource.external_id or None,
        display_name=resource.display_name or None,
        active=active if resource.active is None else resource.active,
    )


def group_record(resource: Group) -> GroupRecord:
    """What a provider says of a group; raises :class:`Invalid` for members that are no users."""
    members = resource.members or []
    if any(member.value is None or (member.type or "User").lower() != "user" for member in members):
        message = "Members are users, each by its id as value; a group that is part of a group is not taken here."
        raise Invalid(message, [Fault("members", message)], scimType="invalidValue")
    return GroupRecord(
        display_name=resource.display_name or "",
        external_id=resource.external_id or None,
        members=frozenset(str(member.value) for member in members),
    )


def patched(message: PatchOp[_Resource], resource: _Resource) -> _Resource:
    """A resource after the operations of a message (RFC 7644, 3.5.2); raises :class:`Invalid`."""
    return forgiving(lambda: message.patch(resource, scim_policy=POLICY), resource)


def forgiving(work: Callable[[], object], outcome: _Model) -> _Model:
    """What some work leads to; what SCIM refuses in it is :class:`Invalid` with SCIM's word for that."""
    try:
        work()
    except SCIMException as refused:
        raise _invalid(refused.detail, refused.scim_type or None) from None
    return outcome


def _invalid(detail: str, scim_type: str | None) -> Invalid:
    return Invalid(detail, [Fault("body", detail)], scimType=scim_type or "invalidValue")


# --- what is looked for ----------------------------------------------------------------------------------------------


#: The attributes by which something is found at once, and not by looking at all there is.
_FOUND_BY: Final[Mapping[str, str]] = {
    "id": "id",
    "username": "user_name",
    "externalid": "external_id",
    "displayname": "display_name",
    "members": "member",
    "members.value": "member",
}


def sought(search: SearchRequest[Any]) -> Sought:
    """As much of a search as narrows it down at once; all that it finds is still to be looked at."""
    return Sought(**_narrowed(search.filter.ast)) if isinstance(search.filter, ScimFilter) else Sought()


def matches(search: SearchRequest[Any], resource: Resource[Any]) -> bool:
    """Whether a resource is one of those that a search looks for."""
    if search.filter is None:
        return True
    asked: ScimFilter[Any] = ScimFilter.__class_getitem__(type(resource))(str(search.filter))
    return bool(asked.match(resource))


def page_of(search: SearchRequest[Any]) -> tuple[int, int]:
    """Where the page that is asked for begins, counted from 0, and how many resources it has at most."""
    start = min(search.start_index_0 or 0, 2**31)
    return start, min(USUAL_RESULTS if search.count is None else search.count, MOST_RESULTS)


def wants_members(search: SearchRequest[Any] | Any) -> bool:
    """Whether the members of groups are asked for, or asked about."""
    without = {str(path).lower() for path in search.excluded_attributes or ()}
    only = [str(path).lower() for path in search.attributes or ()]
    asked_about = getattr(search, "filter", None) is not None and "members" in str(search.filter).lower()
    shown = not any(path.rpartition(":")[2] == "members" for path in without)
    if only:
        shown = any("members" in path for path in only)
    return shown or asked_about


def _narrowed(node: FilterNode) -> dict[str, Any]:
    match node:
        case LogicalExpr(op=LogicalOperator.and_):
            return {name: value for term in node.terms for name, value in _narrowed(term).items()}
        case Comparison(op=CompareOperator.eq, value=str() as value):
            return _by(_path(node), value)
        case ValuePath(val_filter=Comparison(op=CompareOperator.eq, value=str() as value) as inner):
            return _by(f"{node.attr_path.attr.lower()}.{_path(inner)}", value)
        case _:
            return {}


def _path(node: Comparison) -> str:
    """The attribute that is compared, in small letters; one of another schema finds nothing at once."""
    path = node.attr_path
    if path.uri is not None:
        return ""
    return f"{path.attr}.{path.sub_attr}".lower() if path.sub_attr else path.attr.lower()


def _by(path: str, value: str) -> dict[str, str]:
    if path not in _FOUND_BY:
        return {}
    if UNREADABLE.search(value):
        raise _invalid("The filter compares with characters that cannot be read as text.", "invalidFilter")
    return {_FOUND_BY[path]: value}
