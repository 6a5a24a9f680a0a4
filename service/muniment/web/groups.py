"""``/policies/groups``: the local groups, and changing one with its consequences in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Request, Response

from muniment.core.groups import Group, parse_group, write_group
from muniment.core.problems import Problem, StaleEdit
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_realm import list_groups
from muniment.flows.edit_group import edit_group, end_group, plan_group_end, planner_of_group
from muniment.flows.sign_in import Visit
from muniment.web.drafts import Typed, View, sealed_at
from muniment.web.pages import go, page_router, show, status_of
from muniment.web.policies import errors_in, house_of, moved_on, version_in, weigh
from muniment.web.rules import REFUSALS, Weighed, failing_of, with_query
from muniment.web.typed import Reading
from muniment.web.visiting import Posting, Visiting, form_for, form_of
from muniment.web.words.policies import GROUPS_SAID

router = page_router()

_GROUPS: Final = 100
_FIELDS: Final = ("name", "description", "members", "parents")
_DONE: Final = frozenset({"kept", "ended"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A group in the list, and where it stands."""

    group: Group
    address: str


@router.get("/policies/groups")
async def get_groups(
    request: Request,
    visiting: Visiting,
    after: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    done: str = "",
) -> Response:
    """The local groups, for those who write or audit rules somewhere."""
    shelf = await list_groups(house_of(request), visiting.occasion)
    found, following = shelf.page(_GROUPS, after)
    return show(
        "policies/groups.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        groups=[Listed(each, _address(each.name)) for each in found],
        later=with_query("/policies/groups", after=following) if following else None,
        writes=_writes(visiting),
        done=done if done in _DONE else "",
    )


@router.get("/policies/groups/new")
async def get_new(request: Request, visiting: Visiting) -> Response:
    """An empty draft."""
    return _edit_page(request, visiting, Typed(), None)


@router.post("/policies/groups/new")
async def post_new(request: Request, visiting: Posting) -> Response:
    """A draft on its way: what it would do, or that it is kept."""
    return await _drafted(request, visiting, None)


@router.get("/policies/groups/edit")
async def get_edit(
    request: Request, visiting: Visiting, name: Annotated[str, Query(max_length=LONGEST_ASKED)]
) -> Response:
    """A group, as a draft of its next version for those who may change it."""
    group = await _group(request, visiting, name)
    return _edit_page(request, visiting, _typed(group), group, version=group.version)


@router.post("/policies/groups/edit")
async def post_edit(
    request: Request, visiting: Posting, name: Annotated[str, Query(max_length=LONGEST_ASKED)]
) -> Response:
    """The draft of a next version on its way."""
    return await _drafted(request, visiting, await _group(request, visiting, name))


@router.get("/policies/groups/end")
async def get_end(
    request: Request, visiting: Visiting, name: Annotated[str, Query(max_length=LONGEST_ASKED)]
) -> Response:
    """What the end of a group would do."""
    return await _end_page(request, visiting, await _group(request, visiting, name), moved=False)


@router.post("/policies/groups/end")
async def post_end(
    request: Request, visiting: Posting, name: Annotated[str, Query(max_length=LONGEST_ASKED)]
) -> Response:
    """End a group, as it was shown."""
    group = await _group(request, visiting, name)
    tried = sealed_at((await form_of(request)).get("seal", ""), group.name, group.version)
    if tried is not None:
        try:
            await end_group(house_of(request), visiting.occasion, group.name, group.version, tried)
        except StaleEdit as stale:
            if not moved_on(stale):
                raise
        else:
            return go("/policies/groups", done="ended")
    return await _end_page(request, visiting, group, moved=True)


async def _group(request: Request, visiting: Visit, name: str) -> Group:
    return (await list_groups(house_of(request), visiting.occasion.beside("read"))).one(name)


async def _drafted(request: Request, visiting: Visit, standing: Group | None) -> Response:
    """One step of a draft: to what it would do, or to its end: that it is kept."""
    house, fields = house_of(request), await form_of(request)
    typed, step, version = Typed(View.FORM, fields), fields.get("step", ""), version_in(fields)
    try:
        group = _proposed(typed, standing)
        if step == "back":
            return _edit_page(request, visiting, typed, standing, version=version)
        tried = sealed_at(fields.get("seal", ""), group, version) if step == "keep" else None
        if tried is None:
            return await _check_page(request, visiting, group, typed, standing, version, moved=step == "keep")
        try:
            await edit_group(house, visiting.occasion, group, version, tried)
        except StaleEdit as stale:
            if not moved_on(stale):
                raise
            return await _check_page(request, visiting, group, typed, standing, version, moved=True)
        return go("/policies/groups", done="kept")
    except REFUSALS as refused:
        return _edit_page(request, visiting, typed, standing, version=version, refused=refused)


def _edit_page(
    request: Request,
    visiting: Visit,
    typed: Typed,
    standing: Group | None,
    *,
    version: int = 0,
    refused: Problem | None = None,
) -> Response:
    """The page on which a group is written, with everything that was typed."""
    return show(
        "policies/group.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        standing=standing,
        address=_address(standing.name) if standing is not None else "/policies/groups/new",
        end=with_query("/policies/groups/end", name=standing.name) if standing is not None else "",
        typed=typed,
        version=version,
        writes=_writes(visiting) or standing is None,
        errors=errors_in(refused, typed.view, _FIELDS) if refused is not None else {},
        failing=failing_of(refused) if refused is not None else (),
    )


async def _check_page(
    request: Request,
    visiting: Visit,
    group: Group,
    typed: Typed,
    standing: Group | None,
    version: int,
    *,
    moved: bool,
) -> Response:
    """What a group would do as it is written, with the button that keeps it."""
    planner = await planner_of_group(house_of(request), visiting.occasion, group, version)
    found = await weigh(request, visiting, planner, group, version)
    path = _address(standing.name) if standing is not None else ""
    return show(
        "policies/check.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        what="group",
        says=_says(group),
        path=path or "/policies/groups",
        trail=[(group.name, path)] if path else [],
        address=path or "/policies/groups/new",
        hidden={**{name: typed.fields[name] for name in _FIELDS if name in typed.fields}, "version": str(version)},
        reason=group.description,
        weighed=found,
        moved=moved,
    )


async def _end_page(request: Request, visiting: Visit, group: Group, *, moved: bool) -> Response:
    """What the end of a group would do; what keeps it from being ended is told in its place."""
    planner = plan_group_end(visiting.occasion, group.name, group.version)
    found: Weighed | None = None
    refused: Problem | None = None
    try:
        found = await weigh(request, visiting, planner, group.name, group.version)
    except REFUSALS as problem:
        refused = problem
    return show(
        "policies/end.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        what="group",
        says=_says(group),
        name=group.name,
        path=_address(group.name),
        address=with_query("/policies/groups/end", name=group.name),
        weighed=found,
        moved=moved,
        errors={"": refused.detail} if refused is not None else {},
        failing=failing_of(refused) if refused is not None else (),
    )


def _proposed(typed: Typed, standing: Group | None) -> Group:
    reading = Reading(typed.fields)
    name = standing.name if standing is not None else reading.line("name", LONGEST_ASKED)
    if not name and not reading.faults:
        reading.wrong("name", GROUPS_SAID["unnamed"])
    members = reading.each("members", reading.lines("members", LONGEST_ASKED, 10_000), Subject.parse)
    parents = reading.each("parents", reading.lines("parents", LONGEST_ASKED), parse_group)
    description = reading.text("description", 10_000).strip()
    reading.check()
    return Group(name, frozenset(members), frozenset(parents), description)


def _typed(group: Group) -> Typed:
    fields = {
        "description": group.description,
        "members": "\n".join(sorted(map(str, group.members))),
        "parents": "\n".join(sorted(map(write_group, group.parents))),
    }
    return Typed(View.FORM, fields)


def _says(group: Group) -> str:
    """Who is in a group, and of which it is a part."""
    members = ", ".join(sorted(map(str, group.members))) or GROUPS_SAID["nobody"]
    parents = ", ".join(sorted(map(write_group, group.parents)))
    text = GROUPS_SAID["says_part"] if parents else GROUPS_SAID["says"]
    return text.format(name=group.name, members=members, parents=parents)


def _writes(visiting: Visit) -> bool:
    """Whether the way to write groups is shown; whether one may is the flow's to say."""
    return Action.ADMINISTER in visiting.governs


def _address(name: str) -> str:
    return with_query("/policies/groups/edit", name=name)
