"""``/policies/groups``: the local groups, and changing one with its consequences in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Request, Response

from muniment.core.groups import Group, parse_group, write_group
from muniment.core.problems import Problem
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_realm import list_groups
from muniment.flows.edit_group import edit_group, end_group, plan_group_end, planner_of_group
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.web.drafts import Typed, View
from muniment.web.pages import page_router, show, status_of
from muniment.web.proposals import (
    REFUSALS,
    Proposal,
    errors_in,
    failing_of,
    propose,
    propose_end,
    sealed_in,
    version_in,
)
from muniment.web.rules import with_query
from muniment.web.typed import Reading
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words.policies import GROUPS_SAID

router = page_router()

_GROUPS: Final = 100
_FIELDS: Final = ("name", "description", "members", "parents")
_DONE: Final = frozenset({"kept", "ended"})

#: Of which group an address speaks: the names of groups hold anything.
Named = Annotated[str, Query(max_length=LONGEST_ASKED)]


@dataclass(frozen=True, slots=True)
class Listed:
    """A group in the list, and where it stands."""

    group: Group
    address: str


@router.get("/policies/groups")
async def get_groups(
    request: Request,
    house: Housed,
    visiting: Visiting,
    after: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    done: str = "",
) -> Response:
    """The local groups, for those who write or audit rules somewhere."""
    shelf = await list_groups(house, visiting.occasion)
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
async def post_new(request: Request, house: Housed, visiting: Posting) -> Response:
    """A draft on its way: what it would do, or that it is kept."""
    return await _drafted(request, house, visiting, None)


@router.get("/policies/groups/edit")
async def get_edit(request: Request, house: Housed, visiting: Visiting, name: Named) -> Response:
    """A group, as a draft of its next version for those who may change it."""
    group = await _group(house, visiting, name)
    return _edit_page(request, visiting, _typed(group), group, version=group.version)


@router.post("/policies/groups/edit")
async def post_edit(request: Request, house: Housed, visiting: Posting, name: Named) -> Response:
    """The draft of a next version on its way."""
    return await _drafted(request, house, visiting, await _group(house, visiting, name))


@router.get("/policies/groups/end")
async def get_end(request: Request, house: Housed, visiting: Visiting, name: Named) -> Response:
    """What the end of a group would do."""
    group = await _group(house, visiting, name)
    return await propose_end(request, house, visiting, _end(house, visiting, group))


@router.post("/policies/groups/end")
async def post_end(request: Request, house: Housed, visiting: Posting, name: Named) -> Response:
    """End a group, as it was shown."""
    group, fields = await _group(house, visiting, name), await form_of(request)
    return await propose_end(request, house, visiting, _end(house, visiting, group), fields.get("seal", ""))


async def _group(house: House, visiting: Visit, name: str) -> Group:
    return (await list_groups(house, visiting.occasion.beside("read"))).one(name)


async def _drafted(request: Request, house: House, visiting: Visit, standing: Group | None) -> Response:
    """One step of a draft: to what it would do, or to its end: that it is kept."""
    fields = await form_of(request)
    typed, version = Typed(View.FORM, fields), version_in(fields)
    try:
        if fields.get("step") == "back":
            return _edit_page(request, visiting, typed, standing, version=version)
        change = await _change(house, visiting, _proposed(typed, standing), typed, version)
        return await propose(request, house, visiting, change, sealed_in(fields))
    except REFUSALS as refused:
        return _edit_page(request, visiting, typed, standing, version=version, refused=refused)


async def _change(house: House, visiting: Visit, group: Group, typed: Typed, version: int) -> Proposal:
    path = _address(group.name)
    return Proposal(
        what="group",
        says=lambda: _says(group),
        name=group.name,
        path=path if version else "",
        address=path if version else "/policies/groups/new",
        planner=await planner_of_group(house, visiting.occasion, group, version),
        make=lambda tried: edit_group(house, visiting.occasion, group, version, tried),
        leads_to="/policies/groups",
        done="kept",
        reason=group.description,
        hidden={**{name: typed.fields[name] for name in _FIELDS if name in typed.fields}, "version": str(version)},
    )


def _end(house: House, visiting: Visit, group: Group) -> Proposal:
    return Proposal(
        what="group",
        says=lambda: _says(group),
        name=group.name,
        path=_address(group.name),
        address=with_query("/policies/groups/end", name=group.name),
        planner=plan_group_end(visiting.occasion, group.name, group.version),
        make=lambda tried: end_group(house, visiting.occasion, group.name, group.version, tried),
        leads_to="/policies/groups",
        done="ended",
        ends=True,
    )


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
        errors=errors_in(refused, typed.view, _FIELDS),
        failing=failing_of(refused),
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
