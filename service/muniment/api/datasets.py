"""``/v1/datasets``: what may be known of, and declaring, changing, retiring it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import After, Body, Label, Limit, Line, Name, Page, Text
from muniment.api.kept import KeptInBody, kept_in
from muniment.api.versions import AfterVersion, stamp
from muniment.core.datasets import Column, Dataset, Lifecycle
from muniment.core.directory import Facet, Looked, May, Order
from muniment.core.groups import parse_group, write_group
from muniment.core.moments import write_moment
from muniment.core.names import domain_of
from muniment.core.problems import Fault, Invalid
from muniment.core.schema import Action
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_datasets import (
    Filter,
    Seen,
    list_datasets,
    read_dataset,
    read_history,
    search_datasets,
)
from muniment.flows.declare_dataset import declare_dataset, retire_dataset

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

#: Values of a facet.
Chosen = Annotated[list[Annotated[str, Field(max_length=LONGEST_ASKED)]], Field(max_length=20)]

#: Until credentials are vended and reads governed, no rule binds harder than the catalog does.
Enforcement = Literal["advised"]


class ColumnBody(Body):
    """One column, as the steward describes it."""

    name: Annotated[Label, Field(max_length=200)]
    type: Line = ""
    description: Text = ""
    tags: list[Label] = []


class DatasetBody(Body):
    """A dataset as a steward declares it. Its name, which carries its domain, is in the address."""

    domain: Name | None = Field(default=None, description="Must be the one that the name carries.")
    owner: Name | None = Field(
        default=None, description="`group:<id>`, or one person's `user:<id>`; else the domain's."
    )
    description: Text = ""
    tags: Annotated[list[Label], Field(max_length=100)] = []
    classification: Label = "internal"
    sensitivity: Annotated[int, Field(ge=0, le=100)] = 0
    layer: Label | None = None
    columns: list[ColumnBody] = []
    lifecycle: Lifecycle = Field(default=Lifecycle.ACTIVE, strict=False)
    successor: Name | None = None
    environments: Annotated[dict[Name, dict[str, Any]], Field(max_length=50)] = {}


class SeenBody(Body):
    """A dataset as it may be seen: definitions only of those environments where the asker may read them."""

    name: str
    domain: str
    owner: str
    description: str
    tags: list[str]
    classification: str
    sensitivity: int
    layer: str | None
    columns: list[ColumnBody]
    lifecycle: Lifecycle
    successor: str | None
    environments: list[str]
    definitions: dict[str, dict[str, Any]]
    version: int
    enforcement: Enforcement = "advised"


class KeptSeenBody(SeenBody):
    """A dataset as it may be seen, and what of it is kept in files in git."""

    kept_in: KeptInBody | None


class ListedBody(Body):
    """A dataset in a list, with what the asker may do to it in each environment.

    ``withheld`` says by environment why it is not given to somebody whom policies let load it.
    """

    name: str
    domain: str
    owner: str
    description: str
    tags: list[str]
    classification: str
    lifecycle: Lifecycle
    environments: list[str]
    actions: dict[str, list[Action]]
    withheld: dict[str, str]
    version: int
    enforcement: Enforcement = "advised"


class SearchQuery(Body):
    """What is looked for. Several values of one facet: either will do."""

    search: Annotated[str, Field(max_length=200)] = ""
    may: Annotated[list[Annotated[May, Field(strict=False)]], Field(max_length=3)] = []
    domain: Chosen = []
    tag: Chosen = []
    owner: Chosen = []
    classification: Chosen = []
    layer: Chosen = []
    type: Chosen = []
    lifecycle: Annotated[list[Annotated[Lifecycle, Field(strict=False)]], Field(max_length=4)] = []
    environment: Chosen = []
    sort: Annotated[Order, Field(strict=False)] = Order.BEST
    limit: Annotated[int, Field(ge=1, le=1000, strict=False)] = 100
    after: Annotated[str, Field(pattern=r"^[0-9]{0,6}$")] = ""


class CountBody(Body):
    """How many of what would else be found have a value."""

    value: str
    count: int


class SearchBody(Body):
    """A page of what was found, how much that is, and the counts by facet."""

    items: list[ListedBody]
    next: str | None
    total: int
    facets: dict[Facet, list[CountBody]]


class MineBody(Body):
    """What the asker may do to a dataset, by environment, and govern about it."""

    name: str
    actions: dict[str, list[Action]]
    withheld: dict[str, str]
    governing: list[Action]
    enforcement: Enforcement = "advised"


class VersionBody(Body):
    """One version of a dataset: who made it, when, and what it said (nothing where it was ended)."""

    version: int
    revision: int
    at: str
    subject: str
    dataset: SeenBody | None


_LOOKED_FOR: Final = "Words, as a search takes them; or a part of a name or a description, as it stands there."


@router.get("")
async def get_datasets(
    house: Housed,
    asking: Asking,
    response: Response,
    q: Annotated[str | None, Query(max_length=200, description=_LOOKED_FOR)] = None,
    domain: Annotated[str | None, Query(max_length=200)] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    owner: Annotated[str | None, Query(max_length=LONGEST_ASKED)] = None,
    lifecycle: Lifecycle | None = None,
    environment: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Limit, Query()] = 100,
    after: After = "",
) -> Page[ListedBody]:
    """The datasets that the asker may know of, in the order of their names."""
    wanted = Filter(q, domain, tag, parse_group(owner) if owner else None, lifecycle, environment)
    found, following, revision = await list_datasets(house, asking, wanted, limit, after)
    stamp(response, revision=revision)
    return Page(items=[_listed(seen) for seen in found], next=following)


@router.get("/search")
async def get_search(
    house: Housed,
    asking: Asking,
    response: Response,
    looked: Annotated[SearchQuery, Query()],
) -> SearchBody:
    """What is found by words and facets, the nearest first, and how many there are of each kind."""
    chosen = {facet: tuple(values) for facet in Facet if (values := getattr(looked, facet.value))}
    wanted = Looked(looked.search, chosen, looked.sort)
    first = int(looked.after or 0)
    found = await search_datasets(house, asking, wanted, first, looked.limit)
    stamp(response, revision=found.revision)
    following = first + looked.limit
    return SearchBody(
        items=[_listed(seen) for seen in found.found],
        next=str(following) if following < found.total else None,
        total=found.total,
        facets={
            facet: [CountBody(value=each.value, count=each.times) for each in counts]
            for facet, counts in found.facets.items()
        },
    )


@router.get("/{name}")
async def get_dataset(house: Housed, asking: Asking, response: Response, name: str) -> KeptSeenBody:
    """One dataset; its entity tag is its version."""
    seen = await read_dataset(house, asking, name)
    stamp(response, version=seen.dataset.version, revision=seen.revision)
    return KeptSeenBody(**dict(_body(seen)), kept_in=kept_in(seen.kept))


@router.get("/{name}/mine")
async def get_mine(house: Housed, asking: Asking, response: Response, name: str) -> MineBody:
    """What the asker may do to one dataset."""
    seen = await read_dataset(house, asking, name)
    stamp(response, revision=seen.revision)
    return MineBody(
        name=name, actions=_actions(seen), withheld=dict(sorted(seen.withheld.items())), governing=list(seen.governing)
    )


@router.get("/{name}/history")
async def get_history(
    house: Housed,
    asking: Asking,
    response: Response,
    name: str,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Page[VersionBody]:
    """The versions of a dataset, the newest first."""
    found, following, revision = await read_history(house, asking, name, limit, after)
    stamp(response, revision=revision)
    items = [
        VersionBody(
            version=version.version,
            revision=version.revision,
            at=write_moment(version.at),
            subject=version.subject,
            dataset=_body(version.seen) if version.seen else None,
        )
        for version in found
    ]
    return Page(items=items, next=str(following) if following else None)


@router.put("/{name}")
async def put_dataset(
    house: Housed, asking: Asking, response: Response, name: str, body: DatasetBody, after_version: AfterVersion
) -> SeenBody:
    """Declare a dataset, or change it from the version that the edit began from."""
    kept = await declare_dataset(house, asking, proposed(name, body), after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    response.status_code = 200 if after_version else 201
    return _body(Seen(kept.noun, kept.noun.environments))


@router.delete("/{name}")
async def delete_dataset(
    house: Housed, asking: Asking, response: Response, name: str, after_version: AfterVersion
) -> SeenBody:
    """Retire a dataset: no catalog holds it any more; its name and history stay."""
    kept = await retire_dataset(house, asking, name, after_version)
    stamp(response, version=kept.noun.version, revision=kept.revision)
    return _body(Seen(kept.noun, kept.noun.environments))


def proposed(name: str, body: DatasetBody) -> Dataset:
    """The dataset that a body says."""
    domain = domain_of(name)
    if body.domain not in {None, domain}:
        message = "The domain must be the one that the dataset's name carries; another domain is another dataset."
        raise Invalid(message, [Fault("domain", message)])
    return Dataset(
        name=name,
        owner=parse_group(body.owner) if body.owner is not None else "",
        description=body.description,
        tags=frozenset(body.tags),
        classification=body.classification,
        sensitivity=body.sensitivity,
        layer=body.layer,
        columns=tuple(Column(c.name, c.type, c.description, tuple(c.tags)) for c in body.columns),
        lifecycle=body.lifecycle,
        successor=body.successor,
        environments=body.environments,
    )


def _body(seen: Seen) -> SeenBody:
    dataset = seen.dataset
    return SeenBody(
        name=dataset.name,
        domain=dataset.domain,
        owner=write_group(dataset.owner),
        description=dataset.description,
        tags=sorted(dataset.tags),
        classification=dataset.classification,
        sensitivity=dataset.sensitivity,
        layer=dataset.layer,
        columns=[
            ColumnBody(name=c.name, type=c.type, description=c.description, tags=list(c.tags)) for c in dataset.columns
        ],
        lifecycle=dataset.lifecycle,
        successor=dataset.successor,
        environments=sorted(dataset.environments),
        definitions={name: dict(definition) for name, definition in sorted(seen.definitions.items())},
        version=dataset.version,
    )


def _listed(seen: Seen) -> ListedBody:
    dataset = seen.dataset
    return ListedBody(
        name=dataset.name,
        domain=dataset.domain,
        owner=write_group(dataset.owner),
        description=dataset.description,
        tags=sorted(dataset.tags),
        classification=dataset.classification,
        lifecycle=dataset.lifecycle,
        environments=sorted(dataset.environments),
        actions=_actions(seen),
        withheld=dict(sorted(seen.withheld.items())),
        version=dataset.version,
    )


def _actions(seen: Seen) -> dict[str, list[Action]]:
    return {environment: list(actions) for environment, actions in sorted(seen.actions.items())}
