"""``/v1/datasets/{name}/projects``: which projects use a dataset, as the ledger knows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Limit
from muniment.api.versions import stamp
from muniment.core.moments import write_moment
from muniment.core.runs import UsedIn, UsingProject
from muniment.flows.find_projects import find_projects

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


class UseBody(Body):
    """One environment: by how many subjects, and when it was last leased by name, checked for a run, said to be used.

    The last is a client's word, under a lease that its subject was given.
    """

    environment: str | None
    subjects: int
    last_leased_at: str | None
    last_checked_at: str | None
    last_used_at: str | None


class ProjectBody(Body):
    """A project (none: somebody who said no project), and the names under which it uses the dataset."""

    project: str | None
    datasets: list[str]
    subjects: int
    environments: list[UseBody]


class ProjectsBody(Body):
    """The projects in the order of their names; not ``complete`` where the ledger holds more rows than are read."""

    items: list[ProjectBody]
    next: str | None
    since: str
    complete: bool


@router.get("/{name}/projects")
async def get_projects(
    house: Housed,
    asking: Asking,
    response: Response,
    name: str,
    days: Annotated[int, Query(ge=1, le=366, description="How far back the ledger is read.")] = 90,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> ProjectsBody:
    """Which projects used a dataset: for those who declare or audit there."""
    found = await find_projects(house, asking, name, days)
    stamp(response, revision=found.revision)
    left = [each for each in found.projects if after is None or (each.project or "") > after]
    return ProjectsBody(
        items=[_project(each) for each in left[:limit]],
        next=(left[limit - 1].project or "") if len(left) > limit else None,
        since=write_moment(found.since),
        complete=found.complete,
    )


def _project(project: UsingProject) -> ProjectBody:
    return ProjectBody(
        project=project.project,
        datasets=list(project.datasets),
        subjects=len(project.subjects),
        environments=[_use(each) for each in project.environments],
    )


def _use(use: UsedIn) -> UseBody:
    return UseBody(
        environment=use.environment,
        subjects=len(use.subjects),
        last_leased_at=_moment(use.leased),
        last_checked_at=_moment(use.checked),
        last_used_at=_moment(use.used),
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else write_moment(at)
