"""``/policies/…``: policies, written as a form, a sentence or Cedar, and kept with their consequences in view."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import Query, Request, Response

from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import NotFound, Problem
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_rules import Vocabulary, read_standing_rule, read_vocabulary
from muniment.flows.edit_policy import edit_policy, end_policy, plan_policy, plan_policy_end
from muniment.flows.house import House, aside
from muniment.flows.sign_in import Visit
from muniment.web.drafts import FIELDS, Typed, View, policy_of, switched, typed_of
from muniment.web.pages import page_router, show, status_of
from muniment.web.proposals import Proposal, errors_in, failing_of, preview, propose_end, step_on
from muniment.web.rules import After, history_page, path_of, rule_page
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words.policies import ACTIONS, KINDS

router = page_router()


# --- new ones ------------------------------------------------------------------------------------


@router.get("/policies/new")
async def get_new(
    request: Request,
    house: Housed,
    visiting: Visiting,
    view: Annotated[View, Query(alias="as")] = View.FORM,
    scope: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
) -> Response:
    """An empty draft."""
    words = await read_vocabulary(house, visiting.occasion)
    chosen = scope if scope in words.scopes else words.scopes[0]
    typed = Typed(view, {"scope": chosen, "kind": PolicyKind.ACCESS.value, "effect": "permit", "actions": "load"})
    return _edit_page(request, visiting, words, typed, None)


@router.post("/policies/new")
async def post_new(request: Request, house: Housed, visiting: Posting) -> Response:
    """A draft on its way: another view of it, what it would do, or that it is kept."""
    return await _drafted(request, house, visiting, None)


@router.post("/policies/read")
async def post_read(request: Request, house: Housed, visiting: Posting) -> Response:
    """What a draft says, and what is wrong with it: asked for while somebody types."""
    return await preview(request, house, visiting, lambda typed: policy_of("draft", typed))


# --- one of them ---------------------------------------------------------------------------------


@router.get("/policies/{id}")
async def get_policy(
    request: Request,
    house: Housed,
    visiting: Visiting,
    id: str,  # noqa: A002
    done: str = "",
) -> Response:
    """One policy: what it says, whom it means, its cases, and what is doubtful about it."""
    return await rule_page(request, house, visiting, _own_id(id), done)


@router.get("/policies/{id}/history")
async def get_history(
    request: Request,
    house: Housed,
    visiting: Visiting,
    id: str,  # noqa: A002
    after: After = None,
) -> Response:
    """What a policy said before, what was changed, when, by whom and why."""
    return await history_page(request, house, visiting, _own_id(id), after)


@router.get("/policies/{id}/edit")
async def get_edit(
    request: Request,
    house: Housed,
    visiting: Visiting,
    id: str,  # noqa: A002
    view: Annotated[View, Query(alias="as")] = View.FORM,
) -> Response:
    """A policy as a draft of its next version."""
    policy = await _policy(house, visiting, id)
    words = await read_vocabulary(house, visiting.occasion.beside("words"))
    found = await aside(lambda: typed_of(policy, view))
    says = sentence(policy)
    return _edit_page(request, visiting, words, found.typed, policy, version=policy.version, says=says, why=found.why)


@router.post("/policies/{id}/edit")
async def post_edit(request: Request, house: Housed, visiting: Posting, id: str) -> Response:  # noqa: A002
    """The draft of a next version on its way."""
    return await _drafted(request, house, visiting, await _policy(house, visiting, id))


@router.get("/policies/{id}/end")
async def get_end(request: Request, house: Housed, visiting: Visiting, id: str) -> Response:  # noqa: A002
    """What the end of a policy would do."""
    policy = await _policy(house, visiting, id)
    return await propose_end(request, house, visiting, _end(house, visiting, policy))


@router.post("/policies/{id}/end")
async def post_end(request: Request, house: Housed, visiting: Posting, id: str) -> Response:  # noqa: A002
    """End a policy, as it was shown."""
    policy, fields = await _policy(house, visiting, id), await form_of(request)
    return await propose_end(request, house, visiting, _end(house, visiting, policy), fields.get("seal", ""))


async def _policy(house: House, visiting: Visit, id_: str) -> Policy:
    """The policy that somebody is about to change, if they read it."""
    rule = await read_standing_rule(house, visiting.occasion.beside("read"), _own_id(id_))
    if not isinstance(rule, Policy):
        raise NotFound
    return rule


async def _drafted(request: Request, house: House, visiting: Visit, standing: Policy | None) -> Response:
    """One step of a draft: to another view, to what it would do, or to its end: that it is kept."""
    words = await read_vocabulary(house, visiting.occasion.beside("words"))

    def change(typed: Typed, version: int) -> Proposal:
        id_ = standing.id if standing is not None else typed.value("id").strip()
        return _change(house, visiting, policy_of(id_, typed), typed, version)

    def page(typed: Typed, *, version: int, why: str = "", refused: Problem | None = None) -> Response:
        return _edit_page(request, visiting, words, typed, standing, version=version, why=why, refused=refused)

    return await step_on(request, house, visiting, turn=switched, change=change, page=page)


def _change(house: House, visiting: Visit, policy: Policy, typed: Typed, version: int) -> Proposal:
    path = path_of(policy.id)
    return Proposal(
        what="policy",
        says=lambda: sentence(policy),
        name=policy.id,
        path=path if version else "",
        address=f"{path}/edit" if version else "/policies/new",
        planner=plan_policy(visiting.occasion, policy, version),
        make=lambda tried: edit_policy(house, visiting.occasion, policy, version, tried),
        leads_to=path,
        done="changed" if version else "written",
        reason=policy.reason,
        hidden={**typed.shown(), "version": str(version)},
    )


def _end(house: House, visiting: Visit, policy: Policy) -> Proposal:
    path = path_of(policy.id)
    return Proposal(
        what="policy",
        says=lambda: sentence(policy),
        name=policy.id,
        path=path,
        address=f"{path}/end",
        planner=plan_policy_end(visiting.occasion, policy.id, policy.version),
        make=lambda tried: end_policy(house, visiting.occasion, policy.id, policy.version, tried),
        leads_to="/policies",
        done="ended",
        ends=True,
    )


def _edit_page(
    request: Request,
    visiting: Visit,
    words: Vocabulary,
    typed: Typed,
    standing: Policy | None,
    *,
    version: int = 0,
    says: str | None = None,
    why: str = "",
    refused: Problem | None = None,
) -> Response:
    """The page on which a draft is written, with everything that was typed."""
    path = path_of(standing.id) if standing is not None else ""
    return show(
        "policies/edit.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        standing=standing,
        path=path,
        address=f"{path}/edit" if standing is not None else "/policies/new",
        typed=typed,
        view=typed.view.value,
        views=[each.value for each in View],
        known=words,
        kinds=[(kind.value, KINDS[kind]) for kind in PolicyKind],
        data_choices=choices_of(DATA_ACTIONS),
        governing_choices=choices_of(GOVERNING_ACTIONS),
        governs=not set(typed.ticked("actions")).isdisjoint(GOVERNING_ACTIONS),
        version=version,
        why=why,
        says=says,
        wrong=(),
        errors=errors_in(refused, typed.view, FIELDS[typed.view]),
        failing=failing_of(refused),
    )


def choices_of(actions: Iterable[Action]) -> list[tuple[str, str]]:
    """Actions as boxes to tick."""
    return [(action.value, ACTIONS[action]) for action in actions]


def _own_id(text: str) -> str:
    """The id of a policy in an address, where one that is the name of a page is written out."""
    return text.removeprefix("policy:")
