"""``/v1/datasets/{name}/lineage``: what a dataset is made from and what is made from it, as runs reported it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body
from muniment.api.versions import stamp
from muniment.core.lineages import MOST_STEPS, Neighbour, Passage, Side
from muniment.core.moments import write_moment
from muniment.flows.trace_lineage import trace_lineage

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


class PassageBody(Body):
    """A node of a project that loads the one and saves the other: in how many runs of how many subjects, and when."""

    project: str | None
    node: str | None
    environment: str | None
    subjects: int
    runs: int
    last_at: str


class NeighbourBody(Body):
    """A dataset beside another, some steps from the one asked about. Without ``passages``, it was in runs of others."""

    dataset: str
    beside: str
    side: Side
    steps: int
    passages: list[PassageBody]


class LineageBody(Body):
    """The neighbours that the asker may know of; ``of_all`` where they are told of everybody's runs.

    ``cut`` says that there are more on a step than are followed.
    """

    items: list[NeighbourBody]
    since: str
    of_all: bool
    cut: bool


@router.get("/{name}/lineage")
async def get_lineage(
    house: Housed,
    asking: Asking,
    response: Response,
    name: str,
    days: Annotated[int, Query(ge=1, le=366, description="How far back the ledger is read.")] = 90,
    steps: Annotated[int, Query(ge=1, le=MOST_STEPS, description="How many steps are followed on each side.")] = 1,
) -> LineageBody:
    """What is upstream and downstream of a dataset, by the reports of runs."""
    traced = await trace_lineage(house, asking, name, days, steps)
    stamp(response, revision=traced.revision)
    return LineageBody(
        items=[_neighbour(each) for each in traced.neighbours],
        since=write_moment(traced.since),
        of_all=traced.of_all,
        cut=traced.cut,
    )


def _neighbour(neighbour: Neighbour) -> NeighbourBody:
    passages = [_passage(each) for each in neighbour.passages]
    return NeighbourBody(
        dataset=neighbour.dataset,
        beside=neighbour.beside,
        side=neighbour.side,
        steps=neighbour.steps,
        passages=passages,
    )


def _passage(passage: Passage) -> PassageBody:
    return PassageBody(
        project=passage.project,
        node=passage.node,
        environment=passage.environment,
        subjects=len(passage.subjects),
        runs=passage.runs,
        last_at=write_moment(passage.last),
    )
