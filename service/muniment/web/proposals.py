"""A change of a rule or a group on its way: shown with all that it would do, and made as it was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

from fastapi import Request, Response

from muniment.core.policies import Policy
from muniment.core.problems import (
    CaseFails,
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    StaleEdit,
    UnknownEnvironment,
)
from muniment.flows.change_realm import Planner
from muniment.flows.house import House, aside
from muniment.flows.read_policy import read_policy
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried, try_change
from muniment.web.consequences import DAYS, Foreseen, foreseen, made_as_seen
from muniment.web.drafts import Switched, Typed, View
from muniment.web.pages import go, show, status_of
from muniment.web.typed import errors_of, said_of
from muniment.web.visiting import all_of, form_for, form_of
from muniment.web.words.policies import LIST

#: What of a refusal is told on the form that was refused; anything else is a page of its own.
REFUSALS: Final = (Invalid, NotAllowed, NotFound, StaleEdit, CaseFails, Conflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change that somebody is about to make, and what its page says of it.

    ``what`` is changed: a policy, a grant or a group; once it is known to be sound, ``says`` tells what it says. It
    stands at ``path`` under its ``name``, if it does; what is posted to ``address`` with the ``hidden`` fields is this
    change again. ``make`` makes it at the revision of the trial, and then one goes on to ``leads_to``, where it is told
    that this is ``done``.
    """

    what: str
    says: Callable[[], str]
    name: str
    path: str
    address: str
    planner: Planner
    make: Callable[[int], Awaitable[object]]
    leads_to: str
    done: str
    reason: str = ""
    hidden: Mapping[str, str] = field(default_factory=dict)
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """A case that the change contradicts, in words."""

    policy: str
    case: str
    says: str
    found: str


async def propose(
    request: Request, house: House, visiting: Visit, proposal: Proposal, sealed: str | None = None
) -> Response:
    """What a change would do; or that it was made, where ``sealed`` says that its author has seen just that."""
    try_it = partial(_tried, house, visiting, proposal)
    if sealed is None:
        return _page(request, visiting, proposal, foreseen(await try_it("tried")))
    tried = await made_as_seen(try_it, lambda tried: proposal.make(tried.revision), sealed)
    if tried is not None:
        return _page(request, visiting, proposal, foreseen(tried), moved=True)
    return go(proposal.leads_to, done=proposal.done)


async def propose_end(
    request: Request, house: House, visiting: Visit, proposal: Proposal, sealed: str | None = None
) -> Response:
    """The same of the end of something: what keeps it from being ended is told in the place of what that would do."""
    try:
        return await propose(request, house, visiting, proposal, sealed)
    except REFUSALS as refused:
        return _page(request, visiting, proposal, None, refused=refused)


class Page(Protocol):
    """The page on which a draft is written, with everything that was typed."""

    def __call__(self, typed: Typed, *, version: int, why: str = "", refused: Problem | None = None) -> Response:
        """Show it: ``why`` says why it stays in the view that it is in, ``refused`` why it was refused."""


async def step_on(
    request: Request,
    house: House,
    visiting: Visit,
    *,
    turn: Callable[[Typed, View], Switched],
    change: Callable[[Typed, int], Proposal],
    page: Page,
) -> Response:
    """One step of a draft: to another view, to what it would do, or to its end: that it is kept.

    ``turn`` shows what was typed in another view, ``change`` reads it as a change of what stands at a version.
    """
    typed, fields = await typed_in(request), await form_of(request)
    step, version = fields.get("step", ""), version_in(fields)
    try:
        if step in set(View) or step == "back":
            turned = Switched(typed) if step == "back" else await aside(lambda: turn(typed, View(step)))
            return page(turned.typed, version=version, why=turned.why)
        proposal = await aside(lambda: change(typed, version))
        return await propose(request, house, visiting, proposal, sealed_in(fields))
    except REFUSALS as refused:
        return page(typed, version=version, refused=refused)


async def preview(request: Request, house: House, visiting: Visit, read: Callable[[Typed], Policy]) -> Response:
    """What a draft says, and what is wrong with it: asked for while somebody types."""
    try:
        draft, _ = await read_policy(house, visiting.occasion, read(await typed_in(request)))
    except Invalid as refused:
        return show("policies/preview.html", says=None, wrong=[said_of(each) for each in refused.faults])
    return show("policies/preview.html", says=draft.sentence, wrong=[said_of(each) for each in draft.faults])


async def _tried(house: House, visiting: Visit, proposal: Proposal, beside: str) -> Tried:
    return await try_change(house, visiting.occasion.beside(beside), proposal.planner, DAYS)


def _page(
    request: Request,
    visiting: Visit,
    proposal: Proposal,
    would: Foreseen | None,
    *,
    moved: bool = False,
    refused: Problem | None = None,
) -> Response:
    return show(
        "policies/proposal.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        proposal=proposal,
        says=proposal.says(),
        foreseen=would,
        moved=moved,
        errors={"": refused.detail} if refused is not None else {},
        failing=failing_of(refused),
    )


# --- what forms say -------------------------------------------------------------------------------


def sealed_in(fields: Mapping[str, str]) -> str | None:
    """What its author saw of a change, as the form says that wants it made; none where it is only to be looked at."""
    return fields.get("seal", "") if fields.get("step") == "keep" else None


async def typed_in(request: Request) -> Typed:
    """What a form says of a rule."""
    fields = dict(await form_of(request))
    for name in ("actions", "environments"):
        ticked = await all_of(request, name)
        if ticked:
            fields[name] = "\n".join(ticked)
    view = fields.get("view", "")
    return Typed(View(view) if view in set(View) else View.FORM, fields)


def version_in(fields: Mapping[str, str]) -> int:
    """The version from which a draft began; 0 for a new thing."""
    said = fields.get("version", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < len(str(10**9)) else 0


def errors_in(refused: Problem | None, view: View, fields: Iterable[str]) -> dict[str, str]:
    """What is wrong with a draft, by the fields that its view shows."""
    shown = tuple(fields)
    if refused is None:
        return {}
    if isinstance(refused, NotFound):
        return {next((name for name in ("on", "scope", view.value) if name in shown), ""): LIST["unknown_place"]}
    if not isinstance(refused, Invalid) or not refused.faults:
        return {"": refused.detail}
    instead = {View.FORM: "environments" if isinstance(refused, UnknownEnvironment) else ""}.get(view, view.value)
    # What a text says has no field of its own there.
    faults = [
        replace(fault, at=instead) if fault.at == "cedar" or fault.at.partition(".")[0] not in shown else fault
        for fault in refused.faults
    ]
    return errors_of(faults, shown)


def failing_of(refused: Problem | None) -> tuple[Failing, ...]:
    """The cases that a refusal names."""
    listed = refused.members.get("cases") if isinstance(refused, CaseFails) else None
    return tuple(_failing(each) for each in listed) if isinstance(listed, list) else ()


def _failing(told: Mapping[str, object]) -> Failing:
    return Failing(*(str(told.get(name, "")) for name in ("policy", "case", "says", "found")))
