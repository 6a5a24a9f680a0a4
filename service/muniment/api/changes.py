"""``/v1/try`` and ``/v1/apply``: several changes at once, first to see what they would do, then all or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import Field, model_validator

from muniment.api import datasets, domains, environments, grants, groups, policies
from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Label, Limit, Line, Name
from muniment.api.versions import stamp
from muniment.core.bodies import KINDS
from muniment.core.consequences import Effect
from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.kept import Keeping
from muniment.core.moments import write_moment
from muniment.core.policies import Policy
from muniment.core.problems import Fault, Invalid, VersionNeeded
from muniment.core.realm import Noun
from muniment.core.runs import Broken, Ending
from muniment.core.schema import Action
from muniment.flows.apply_changes import apply_changes
from muniment.flows.change_realm import Edit
from muniment.flows.change_together import MOST_CHANGES, Delete, Keep, Proposal, Put, Together, naming
from muniment.flows.try_changes import Tried, try_changes

router = APIRouter(tags=["changes"])

Version = Annotated[
    int | None,
    Field(ge=0, le=10**9 - 1, description="What the change begins from: 0 makes a new one; none, whatever stands."),
]

_Fields = Annotated[list[Name], Field(max_length=1_000)]


class KeptBody(Body):
    """What ``source`` keeps from now on: ``fields`` (as ``environments.prod``), which stand as its files say.

    Those in ``otherwise`` somebody changed by hand; what the files said of them before stays remembered.
    """

    fields: _Fields = []
    otherwise: _Fields = []

    def keeping(self) -> Keeping:
        return Keeping(frozenset(self.fields), frozenset(self.otherwise))


_REVISION = re.compile(r'"(0|[1-9][0-9]{0,17})"\Z')

# --- what is asked ------------------------------------------------------------------------------


class PutDataset(Body):
    """As ``PUT /v1/datasets/{id}`` takes it."""

    kind: Literal["dataset"]
    id: Name
    body: datasets.DatasetBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return datasets.proposed(self.id, self.body)


class PutDomain(Body):
    """As ``PUT /v1/domains/{id}`` takes it."""

    kind: Literal["domain"]
    id: Name
    body: domains.DomainBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return domains.proposed(self.id, self.body)


class PutEnvironment(Body):
    """As ``PUT /v1/environments/{id}`` takes it."""

    kind: Literal["environment"]
    id: Name
    body: environments.EnvironmentBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return environments.proposed(self.id, self.body)


class PutGroup(Body):
    """As ``PUT /v1/groups/{id}`` takes it."""

    kind: Literal["group"]
    id: Name
    body: groups.GroupBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return groups.proposed(self.id, self.body)


class PutPolicy(Body):
    """As ``PUT /v1/policies/{id}`` takes it."""

    kind: Literal["policy"]
    id: Name
    body: policies.PolicyBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return policies.proposed(self.id, self.body)


class PutGrant(Body):
    """As ``PUT /v1/grants/{id}`` takes it."""

    kind: Literal["grant"]
    id: Name
    body: grants.GrantBody
    version: Version = None
    kept: KeptBody | None = None

    def noun(self) -> Noun:
        return grants.proposed(self.id, self.body)


class DeleteBody(Body):
    """What is ended; a dataset is retired."""

    kind: Literal["dataset", "group", "policy", "grant"]
    id: Name
    version: Version = None


class KeepBody(Body):
    """What stays as it stands, and which of its fields `source` keeps from now on; without any it lets go."""

    kind: Literal["dataset", "domain", "environment", "group", "policy", "grant"]
    id: Name
    version: Version = None
    kept: KeptBody | None = None


_Put = Annotated[PutDataset | PutDomain | PutEnvironment | PutGroup | PutPolicy | PutGrant, Field(discriminator="kind")]


class ChangeBody(Body):
    """One change: ``put`` or ``delete``."""

    put: _Put | None = None
    delete: DeleteBody | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.put is None) == (self.delete is None):
            raise ValueError("must be put or delete: exactly one of them")
        return self


class ChangesBody(Body):
    """Changes in the order in which each can rely on the ones before, and why they are made.

    ``source`` is the directory of files in git that they come from. It begins to keep what another one keeps only
    where it says ``take_over``.
    """

    changes: Annotated[list[ChangeBody], Field(max_length=MOST_CHANGES)] = []
    keep: Annotated[list[KeepBody], Field(max_length=MOST_CHANGES)] = []
    source: Label | None = None
    take_over: bool = False
    reason: Line = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.changes and not self.keep:
            raise ValueError("must hold a change, or something to keep")
        keeps = self.keep or any(change.put is not None and change.put.kept is not None for change in self.changes)
        if keeps and self.source is None:
            raise ValueError("says what is kept and not in which source")
        return self


# --- what is answered ---------------------------------------------------------------------------


class EffectBody(Body):
    """Something that a subject may do on one side of the change alone; ``seen_at`` is how old what is known of them is.

    A purpose or project is named where it holds for that one alone.
    """

    subject: str
    seen_at: str
    action: Action
    dataset: str
    environment: str
    purpose: str | None
    project: str | None


class EffectsBody(Body):
    """How many, of how many subjects; and the first of them."""

    count: int
    subjects: int
    items: list[EffectBody]
    more: bool


class RightBody(Body):
    """A right to govern a domain with all below it, or one dataset."""

    subject: str
    seen_at: str
    action: Action
    on: dict[Literal["dataset", "domain"], str]


class RightsBody(Body):
    """How many, of how many subjects; and the first of them."""

    count: int
    subjects: int
    items: list[RightBody]
    more: bool


class GoverningBody(Body):
    """Rights to govern that the change gives and takes."""

    gained: RightsBody
    lost: RightsBody


class FailingBody(Body):
    """What recorded runs of a subject needed and would no longer get: the last one, and how many there were."""

    subject: str
    environment: str
    project: str | None
    purpose: str | None
    action: Action
    dataset: str
    at: str
    times: int


class RunsBody(Body):
    """The recorded runs that would have failed; not ``complete`` when there were more runs than are looked at."""

    since: str
    complete: bool
    count: int
    items: list[FailingBody]
    more: bool


class EndingBody(Body):
    """A project that uses what the changes deprecate or retire: by how many subjects, and when it last ran."""

    dataset: str
    lifecycle: Lifecycle
    environment: str
    project: str | None
    purpose: str | None
    subjects: int
    at: str


class EndingsBody(Body):
    """How many, and those that ran last."""

    count: int
    items: list[EndingBody]
    more: bool


class KnownBody(Body):
    """Of how many subjects anything is known, and since when at the latest of all of them."""

    known: int
    oldest_seen_at: str | None


class ChangedBody(Body):
    """One change: the version that stood before, and the one that stands after it (none if it was ended)."""

    kind: str
    id: str
    before: int
    after: int | None


class StandingBody(Body):
    """One change, and the version that stands where it would be made: 0 where nothing does."""

    kind: str
    id: str
    version: int


class TriedAnswer(Body):
    """What the changes would do, as far as the asker may know of it."""

    revision: int
    changes: list[StandingBody]
    gained: EffectsBody
    lost: EffectsBody
    masked: EffectsBody
    unmasked: EffectsBody
    governing: GoverningBody
    runs: RunsBody
    ending: EndingsBody
    subjects: KnownBody


class AppliedAnswer(Body):
    """The revision that the changes made."""

    revision: int
    changes: list[ChangedBody]


# --- the doors ----------------------------------------------------------------------------------


def tried_revision(
    if_match: Annotated[str | None, Header(description='The revision at which it was tried, as `"412"`.')] = None,
) -> int:
    """The revision in ``If-Match``."""
    if if_match is None:
        raise VersionNeeded('Say at which revision this was tried: If-Match: "<revision>", as POST /v1/try answers it.')
    found = _REVISION.match(if_match.strip())
    if found is None:
        message = 'If-Match holds the revision that was tried: "412".'
        raise Invalid(message, [Fault("If-Match", message)])
    return int(found[1])


@router.post("/v1/try")
async def post_try(
    house: Housed,
    asking: Asking,
    body: ChangesBody,
    response: Response,
    days: Annotated[int, Query(ge=1, le=365, description="How far back recorded runs are held against it.")] = 30,
    limit: Annotated[Limit, Query()] = 100,
) -> TriedAnswer:
    """Who would gain and lose what by these changes, and which recorded runs would have failed; changes nothing."""
    tried = await try_changes(house, asking, _together(body), days)
    stamp(response, revision=tried.revision)
    return _tried(tried, limit)


@router.post("/v1/apply")
async def post_apply(
    house: Housed,
    asking: Asking,
    body: ChangesBody,
    response: Response,
    tried: Annotated[int, Depends(tried_revision)],
) -> AppliedAnswer:
    """Make these changes, all or none, as one revision: if nothing has changed since they were tried."""
    changed = await apply_changes(house, asking, _together(body), tried)
    stamp(response, revision=changed.revision)
    pairs = zip(changed.edits, changed.nouns, strict=True)
    return AppliedAnswer(
        revision=changed.revision,
        changes=[_changed(edit, after=noun.version if noun is not None else None) for edit, noun in pairs],
    )


def _together(body: ChangesBody) -> Together:
    changes = [_proposal(place, change) for place, change in enumerate(body.changes)]
    keeps = [
        Keep(KINDS[each.kind], each.id, each.kept.keeping() if each.kept is not None else None, each.version)
        for each in body.keep
    ]
    return Together((*changes, *keeps), body.reason, body.source, body.take_over)


def _proposal(place: int, change: ChangeBody) -> Proposal:
    if change.put is not None:
        with naming(place, f"put {change.put.kind} {change.put.id}"):
            kept = change.put.kept.keeping() if change.put.kept is not None else None
            return Put(change.put.noun(), change.put.version, kept)
    assert change.delete is not None  # noqa: S101 - a change is one of the two
    kinds = {"dataset": Dataset, "group": Group, "policy": Policy, "grant": Grant}
    return Delete(kinds[change.delete.kind], change.delete.id, change.delete.version)


def _changed(edit: Edit, *, after: int | None) -> ChangedBody:
    return ChangedBody(kind=_kind(edit), id=edit.change.key, before=edit.after_version or 0, after=after)


def _kind(edit: Edit) -> str:
    return edit.change.kind.__name__.lower()


def _tried(tried: Tried, limit: int) -> TriedAnswer:
    effects = tried.effects
    return TriedAnswer(
        revision=tried.revision,
        changes=[
            StandingBody(kind=_kind(edit), id=edit.change.key, version=edit.after_version or 0) for edit in tried.edits
        ],
        gained=_effects(tried, [e for e in effects.gained if not e.governing], limit),
        lost=_effects(tried, [e for e in effects.lost if not e.governing], limit),
        masked=_effects(tried, effects.masked, limit),
        unmasked=_effects(tried, effects.unmasked, limit),
        governing=GoverningBody(
            gained=_rights(tried, [e for e in effects.gained if e.governing], limit),
            lost=_rights(tried, [e for e in effects.lost if e.governing], limit),
        ),
        runs=RunsBody(
            since=write_moment(tried.since),
            complete=tried.complete,
            count=len(tried.broken),
            items=[_failing(each) for each in tried.broken[:limit]],
            more=len(tried.broken) > limit,
        ),
        ending=EndingsBody(
            count=len(tried.ending),
            items=[_ending(each) for each in tried.ending[:limit]],
            more=len(tried.ending) > limit,
        ),
        subjects=KnownBody(
            known=len(tried.seen_at),
            oldest_seen_at=write_moment(min(tried.seen_at.values())) if tried.seen_at else None,
        ),
    )


def _effects(tried: Tried, effects: Sequence[Effect], limit: int) -> EffectsBody:
    items = [
        EffectBody(
            subject=effect.subject,
            seen_at=write_moment(tried.seen_at[effect.subject]),
            action=effect.action,
            dataset=effect.resource,
            environment=effect.environment or "",
            purpose=effect.purpose,
            project=effect.project,
        )
        for effect in effects[:limit]
    ]
    return EffectsBody(count=len(effects), subjects=_subjects(effects), items=items, more=len(effects) > limit)


def _rights(tried: Tried, effects: Sequence[Effect], limit: int) -> RightsBody:
    items = [
        RightBody(
            subject=effect.subject,
            seen_at=write_moment(tried.seen_at[effect.subject]),
            action=effect.action,
            on={"domain": effect.resource} if effect.on_domain else {"dataset": effect.resource},
        )
        for effect in effects[:limit]
    ]
    return RightsBody(count=len(effects), subjects=_subjects(effects), items=items, more=len(effects) > limit)


def _subjects(effects: Sequence[Effect]) -> int:
    return len({effect.subject for effect in effects})


def _ending(ending: Ending) -> EndingBody:
    return EndingBody(
        dataset=ending.dataset,
        lifecycle=ending.lifecycle,
        environment=ending.wanted.environment,
        project=ending.wanted.project,
        purpose=ending.wanted.purpose,
        subjects=len(ending.subjects),
        at=write_moment(ending.at),
    )


def _failing(broken: Broken) -> FailingBody:
    wanted = broken.wanted
    return FailingBody(
        subject=broken.subject,
        environment=wanted.environment,
        project=wanted.project,
        purpose=wanted.purpose,
        action=broken.action,
        dataset=broken.dataset,
        at=write_moment(broken.at),
        times=broken.times,
    )
