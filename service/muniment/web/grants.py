"""``/policies/grants``: access for one person, job or group: given with its consequences in view, and taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import Query, Request, Response

from muniment.core.grants import Grant
from muniment.core.problems import Problem
from muniment.core.renewals import AGAIN
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_datasets import Filter, list_datasets
from muniment.flows.browse_rules import Vocabulary, read_vocabulary
from muniment.flows.edit_policy import edit_grant, end_grant, plan_grant, plan_grant_end
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.web.drafts import GRANT_FIELDS, Typed, View, grant_of, switched_grant, typed_grant
from muniment.web.pages import page_router, show, status_of
from muniment.web.policies import choices_of
from muniment.web.proposals import Proposal, errors_in, failing_of
from muniment.web.rule_forms import RuleForm, serve
from muniment.web.rules import path_of
from muniment.web.visiting import Housed, Visiting, form_for

router = page_router()

#: How many names of datasets are offered to somebody who types one.
_OFFERED: Final = 20

#: What is a grant's own in an address that it shares with a page.
_KIND: Final = "grant:"

#: How the ids of grants begin that were given on a page.
_NEW: Final = "given-"


@router.get("/policies/names")
async def get_names(
    house: Housed, visiting: Visiting, on: Annotated[str, Query(max_length=LONGEST_ASKED)] = ""
) -> Response:
    """The first datasets that whoever types may know of and whose names or descriptions hold what was typed."""
    text = on.strip()
    wanted = Filter(text=text or None)
    found, _, _ = await list_datasets(house, visiting.occasion, wanted, _OFFERED, "")
    return show("policies/names.html", names=[each.dataset.name for each in found])


@router.get("/policies/grants/new")
async def get_new(
    request: Request,
    house: Housed,
    visiting: Visiting,
    to: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    on: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    kind: Annotated[str, Query(max_length=10)] = "dataset",
    view: Annotated[View, Query(alias="as")] = View.FORM,
) -> Response:
    """An empty draft, or one that says already to whom, and to what."""
    words = await read_vocabulary(house, visiting.occasion)
    who, colon, name = to.partition(":")
    until = (visiting.occasion.at + AGAIN + timedelta(days=1)).date()
    fields = {
        "to_kind": who if colon else "user",
        "to": name if colon else to,
        "on": on,
        "on_kind": "domain" if kind == "domain" else "dataset",
        "actions": "load",
        "until": until.isoformat(),
    }
    id_ = f"{_NEW}{visiting.occasion.request_id}"  # Nobody has to think of it; a form sent twice has it twice.
    return _edit_page(request, visiting, words, Typed(view, {"id": id_, **fields}), None)


def _change(house: House, visiting: Visit, grant: Grant, typed: Typed, version: int) -> Proposal:
    path = _path(grant)
    return Proposal(
        what="grant",
        says=lambda: sentence(grant),
        name=grant.id,
        path=path if version else "",
        address=f"{path}/edit" if version else "/policies/grants/new",
        planner=plan_grant(visiting.occasion, grant, version),
        make=lambda tried: edit_grant(house, visiting.occasion, grant, version, tried),
        leads_to=path,
        done="changed" if version else "given",
        reason=grant.because,
        hidden={**typed.shown(), "id": grant.id, "version": str(version)},
    )


def _end(house: House, visiting: Visit, grant: Grant) -> Proposal:
    path = _path(grant)
    return Proposal(
        what="grant",
        says=lambda: sentence(grant),
        name=grant.id,
        path=path,
        address=f"{path}/end",
        planner=plan_grant_end(visiting.occasion, grant.id, grant.version),
        make=lambda tried: end_grant(house, visiting.occasion, grant.id, grant.version, tried),
        leads_to="/policies",
        done="taken",
        ends=True,
    )


def _edit_page(
    request: Request,
    visiting: Visit,
    words: Vocabulary,
    typed: Typed,
    standing: Grant | None,
    *,
    version: int = 0,
    says: str | None = None,
    why: str = "",
    refused: Problem | None = None,
) -> Response:
    """The page on which a grant is written, with everything that was typed."""
    path = _path(standing) if standing is not None else ""
    return show(
        "policies/grant.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        standing=standing,
        path=path,
        address=f"{path}/edit" if path else "/policies/grants/new",
        typed=typed,
        view=typed.view.value,
        views=[each.value for each in View],
        known=words,
        environments=[(name, name) for name in words.environments],
        governing_choices=choices_of(GOVERNING_ACTIONS),
        governs=not set(typed.ticked("actions")).issubset(DATA_ACTIONS),
        version=version,
        why=why,
        says=says,
        wrong=(),
        errors=errors_in(refused, typed.view, GRANT_FIELDS[typed.view]),
        failing=failing_of(refused),
    )


def _path(grant: Grant) -> str:
    return path_of(f"{_KIND}{grant.id}")


def _id_of(text: str) -> str:
    """The id of a grant in an address, as decisions name it."""
    return f"{_KIND}{text.removeprefix(_KIND)}"


serve(
    router,
    RuleForm(
        kind=Grant,
        here="/policies/grants",
        id_in=_id_of,
        read=grant_of,
        typed=typed_grant,
        turn=switched_grant,
        change=_change,
        end=_end,
        page=_edit_page,
    ),
)
