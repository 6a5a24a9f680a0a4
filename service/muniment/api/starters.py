"""``/v1/projects``: what a new Kedro project can be made of, its files, and the project to take away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field, StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.versions import HEADERS, stamp
from muniment.core.schema import Action
from muniment.core.starters.answers import Wish
from muniment.core.starters.offers import Choice
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.start_project import (
    MOST_SHOWN,
    Choices,
    Looked,
    Mine,
    Project,
    offer_project,
    preview_project,
    start_project,
)

router = APIRouter(prefix="/v1/projects", tags=["projects"])

ZIP = "application/zip"

Word = Annotated[str, StringConstraints(max_length=LONGEST_ASKED)]
Words = Annotated[list[Word], Field(max_length=100)]


class ProjectBody(Body):
    """What a project is to be: what is not said is left to the offer. ``version`` is of templates given out before."""

    name: Word
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    package: Word | None = None
    starter: Word | None = None
    kedro: Word | None = None
    python: Word | None = None
    tools: Words | None = None
    packages: Words | None = None
    ci: Word | None = None
    environment: Word | None = None
    datasets: Words | None = None
    version: Word | None = None

    def as_core(self) -> Wish:
        """The same, as the generator takes it."""
        return Wish(**self.model_dump())


class AskedProject(ProjectBody):
    """The same in an address: a list is repeated, or its items stand between commas."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    tools: Annotated[list[Annotated[str, StringConstraints(max_length=4000)]] | None, Field(max_length=100)] = None
    packages: Annotated[list[Annotated[str, StringConstraints(max_length=4000)]] | None, Field(max_length=100)] = None
    datasets: Annotated[list[Annotated[str, StringConstraints(max_length=20_000)]] | None, Field(max_length=100)] = None

    def as_core(self) -> Wish:
        """The same, as the generator takes it."""
        lists = {name: split(getattr(self, name)) for name in ("tools", "packages", "datasets")}
        return Wish(**{**self.model_dump(), **lists})


def split(given: Iterable[str] | None) -> list[str] | None:
    """The items of a list in an address; an empty one is a list of nothing."""
    return None if given is None else [part.strip() for each in given for part in each.split(",") if part.strip()]


class ChoiceBody(Body):
    """One thing to choose."""

    id: str
    title: str
    description: str


class PackageGroupBody(Body):
    """Packages that belong together; of an exclusive group at most one is taken."""

    id: str
    title: str
    exclusive: bool


class PackageBody(Body):
    """A package that a project may have; one that is `always` there need not be asked for."""

    name: str
    title: str
    description: str
    group: str
    versions: str
    pinned: str
    always: bool


class UsableBody(Body):
    """A dataset, with what the asker may do to it there."""

    name: str
    description: str
    actions: list[Action]


class OfferBody(Body):
    """All there is to choose; `mine` are the first of the asker's `of` datasets, `others` can be asked for."""

    version: str
    kedro: list[str]
    python: list[str]
    starters: list[ChoiceBody]
    tools: list[ChoiceBody]
    ci: list[ChoiceBody]
    groups: list[PackageGroupBody]
    packages: list[PackageBody]
    environments: list[str]
    environment: str | None
    mine: list[UsableBody]
    of: int
    others: list[UsableBody]


class FileBody(Body):
    """One file of a project."""

    path: str
    size: int
    text: str


class PreviewBody(Body):
    """A project's files, and its answers as they are told again."""

    folder: str
    version: str
    answers: dict[str, str | list[str]]
    files: list[FileBody]


@router.get("/offer")
async def get_offer(
    house: Housed,
    asking: Asking,
    response: Response,
    environment: Annotated[Word | None, Query(description="Where the datasets are to be used.")] = None,
    q: Annotated[Word, Query(description="A part of the names or descriptions of datasets.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_SHOWN, description="How many datasets at most.")] = 20,
) -> OfferBody:
    """What can be chosen for a new project, and the datasets that are the asker's now."""
    found = await offer_project(house, asking, Looked(environment, q, limit))
    stamp(response, revision=found.revision)
    return _offer(found)


@router.post("/preview")
async def post_preview(house: Housed, asking: Asking, response: Response, body: ProjectBody) -> PreviewBody:
    """The files of a project, to be looked at; nothing is kept but the record that they were."""
    project = await preview_project(house, asking, body.as_core())
    stamp(response, revision=project.revision)
    return _preview(project)


@router.get(
    "/new.zip",
    response_class=Response,
    responses={200: {"description": "The project, in a folder of its name.", "content": {ZIP: {}}}},
)
async def get_new(house: Housed, asking: Asking, asked: Annotated[AskedProject, Query()]) -> Response:
    """A new project as a zip: the same bytes for the same answers, as long as nothing that it names has changed."""
    archive = await start_project(house, asking, asked.as_core())
    headers = {
        **HEADERS,
        "Content-Disposition": f'attachment; filename="{archive.name}"',
        "Muniment-Revision": str(archive.revision),
        "Muniment-Receipt": str(asking.receipt),
    }
    return Response(archive.content, media_type=ZIP, headers=headers)


def _offer(found: Choices) -> OfferBody:
    offer = found.offer
    return OfferBody(
        version=offer.version,
        kedro=list(offer.kedro),
        python=list(offer.python),
        starters=_choices(offer.starters),
        tools=_choices(offer.tools),
        ci=_choices(offer.ci),
        groups=[PackageGroupBody(id=each.id, title=each.title, exclusive=each.exclusive) for each in offer.groups],
        packages=[
            PackageBody(
                name=each.name,
                title=each.title,
                description=each.description,
                group=each.group,
                versions=each.versions,
                pinned=each.pinned,
                always=each.always,
            )
            for each in offer.packages
        ],
        environments=list(found.environments),
        environment=found.environment or None,
        mine=_datasets(found.mine),
        of=found.of,
        others=_datasets(found.others),
    )


def _choices(listed: Iterable[Choice]) -> list[ChoiceBody]:
    return [ChoiceBody(id=each.id, title=each.title, description=each.description) for each in listed]


def _datasets(listed: Iterable[Mine]) -> list[UsableBody]:
    return [UsableBody(name=each.name, description=each.description, actions=list(each.actions)) for each in listed]


def _preview(project: Project) -> PreviewBody:
    told: Mapping[str, Any] = project.told
    return PreviewBody(
        folder=project.answers.slug,
        version=project.answers.version,
        answers=dict(told),
        files=[FileBody(path=file.path, size=file.size, text=file.text) for file in project.files],
    )
