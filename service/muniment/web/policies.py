"""``/policies/…``: policies, written as a form, a sentence or Cedar, and kept with their consequences in view."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request, Response

from muniment.core.masks import MaskAction
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid, Problem
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.sentences import MASKED, sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_rules import Vocabulary, read_vocabulary
from muniment.flows.edit_policy import edit_policy, end_policy, plan_policy, plan_policy_end
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.web.drafts import FIELDS, Typed, View, mask_in, policy_of, switched, typed_of
from muniment.web.pages import page_router, show, status_of
from muniment.web.proposals import Proposal, errors_in, failing_of
from muniment.web.rule_forms import RuleForm, serve
from muniment.web.rules import path_of
from muniment.web.visiting import Housed, Visiting, form_for
from muniment.web.words.policies import ACTIONS, KINDS

router = page_router()


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
        mask=_mask_offered(words, typed) if typed.view is View.FORM else None,
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


@dataclass(frozen=True)
class MaskOffered:
    """What can be picked for a mask: the columns, those that are in it, what becomes of them, and how."""

    columns: Sequence[tuple[str, str, str]]
    picked: Collection[str]
    actions: Sequence[tuple[str, str]]
    action: str


def _mask_offered(words: Vocabulary, typed: Typed) -> MaskOffered:
    """The columns of the datasets that are named, as boxes to tick."""
    try:
        mask = mask_in(typed)
    except Invalid:
        mask = None  # What stands there is told of once somebody picks, or looks.
    columns = [(name, name, ", ".join((*each.datasets, *each.tags))) for name, each in words.columns.items()]
    actions = [(each.value, MASKED[each]) for each in MaskAction]
    picked = mask.columns if mask is not None else ()
    return MaskOffered(columns, picked, actions, mask.action.value if mask is not None else "")


def choices_of(actions: Iterable[Action]) -> list[tuple[str, str]]:
    """Actions as boxes to tick."""
    return [(action.value, ACTIONS[action]) for action in actions]


def _own_id(text: str) -> str:
    """The id of a policy in an address, where one that is the name of a page is written out."""
    return text.removeprefix("policy:")


serve(
    router,
    RuleForm(
        kind=Policy,
        here="/policies",
        id_in=_own_id,
        read=policy_of,
        typed=typed_of,
        turn=switched,
        change=_change,
        end=_end,
        page=_edit_page,
    ),
)
