"""``/policies/grants``: access for one person, job or group: given with its consequences in view, and taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import Query, Request, Response

from muniment.core.grants import Grant
from muniment.core.problems import Invalid, NotFound, Problem, StaleEdit
from muniment.core.renewals import AGAIN
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_datasets import Filter, list_datasets
from muniment.flows.browse_rules import Read, Vocabulary, read_rule, read_vocabulary
from muniment.flows.edit_policy import edit_grant, end_grant, plan_grant, plan_grant_end
from muniment.flows.read_policy import read_policy
from muniment.flows.sign_in import Visit
from muniment.web.drafts import GRANT_FIELDS, Typed, View, grant_of, sealed_at, typed_grant
from muniment.web.pages import go, page_router, show, status_of
from muniment.web.policies import (
    choices_of,
    end_page,
    errors_in,
    history_page,
    house_of,
    moved_on,
    rule_page,
    typed_in,
    version_in,
    weigh,
)
from muniment.web.rules import REFUSALS, failing_of, path_of
from muniment.web.typed import said_of
from muniment.web.visiting import Posting, Visiting, form_for, form_of

router = page_router()

#: How many names of datasets are offered to somebody who types one.
_OFFERED: Final = 20

#: What is a grant's own in an address that it shares with a page.
_KIND: Final = "grant:"

#: How the ids of grants begin that were given on a page.
_NEW: Final = "given-"


@router.get("/policies/names")
async def get_names(
    request: Request, visiting: Visiting, on: Annotated[str, Query(max_length=LONGEST_ASKED)] = ""
) -> Response:
    """The first datasets that whoever types may know of and whose names or descriptions hold what was typed."""
    text = on.strip()
    wanted = Filter(text=text or None)
    found, _, _ = await list_datasets(house_of(request), visiting.occasion, wanted, _OFFERED, "")
    return show("policies/names.html", names=[each.dataset.name for each in found])


@router.get("/policies/grants/new")
async def get_new(
    request: Request,
    visiting: Visiting,
    to: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    on: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    kind: Annotated[str, Query(max_length=10)] = "dataset",
) -> Response:
    """An empty draft, or one that says already to whom, and to what."""
    words = await read_vocabulary(house_of(request), visiting.occasion)
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
    return _edit_page(request, visiting, words, Typed(View.FORM, fields), None, id_=id_)


@router.post("/policies/grants/new")
async def post_new(request: Request, visiting: Posting) -> Response:
    """A draft on its way: what it would do, or that it holds."""
    return await _drafted(request, visiting, None)


@router.post("/policies/grants/read")
async def post_read(request: Request, visiting: Posting) -> Response:
    """What a draft says, and what is wrong with it: asked for while somebody types."""
    try:
        grant = grant_of("draft", await typed_in(request))
        draft, _ = await read_policy(house_of(request), visiting.occasion, grant.policy())
    except Invalid as refused:
        return show("policies/preview.html", says=None, cedar=None, wrong=[said_of(each) for each in refused.faults])
    return show(
        "policies/preview.html", says=draft.sentence, cedar=None, wrong=[said_of(each) for each in draft.faults]
    )


@router.get("/policies/grants/{id}")
async def get_grant(request: Request, visiting: Visiting, id: str, done: str = "") -> Response:  # noqa: A002
    """One grant: what it says, whom it means, and what is doubtful about it."""
    return await rule_page(request, visiting, _id_of(id), done)


@router.get("/policies/grants/{id}/history")
async def get_history(
    request: Request,
    visiting: Visiting,
    id: str,  # noqa: A002
    after: Annotated[int | None, Query(ge=1, le=10**9)] = None,
) -> Response:
    """What a grant said before, what was changed, when, by whom and why."""
    return await history_page(request, visiting, _id_of(id), after)


@router.get("/policies/grants/{id}/edit")
async def get_edit(request: Request, visiting: Visiting, id: str) -> Response:  # noqa: A002
    """A grant as a draft of its next version."""
    read, grant = await _grant_to_edit(request, visiting, id)
    words = await read_vocabulary(house_of(request), visiting.occasion.beside("words"))
    return _edit_page(request, visiting, words, typed_grant(grant), grant, version=grant.version, says=read.line.says)


@router.post("/policies/grants/{id}/edit")
async def post_edit(request: Request, visiting: Posting, id: str) -> Response:  # noqa: A002
    """The draft of a next version on its way."""
    _, grant = await _grant_to_edit(request, visiting, id)
    return await _drafted(request, visiting, grant)


@router.get("/policies/grants/{id}/end")
async def get_end(request: Request, visiting: Visiting, id: str) -> Response:  # noqa: A002
    """What it would do to take the access away."""
    read, grant = await _grant_to_edit(request, visiting, id)
    planner = plan_grant_end(visiting.occasion, grant.id, grant.version)
    return await end_page(request, visiting, read, planner, moved=False)


@router.post("/policies/grants/{id}/end")
async def post_end(request: Request, visiting: Posting, id: str) -> Response:  # noqa: A002
    """Take the access away, as it was shown."""
    read, grant = await _grant_to_edit(request, visiting, id)
    tried = sealed_at((await form_of(request)).get("seal", ""), read.line.id, grant.version)
    if tried is not None:
        try:
            await end_grant(house_of(request), visiting.occasion, grant.id, grant.version, tried)
        except StaleEdit as stale:
            if not moved_on(stale):
                raise
        else:
            return go("/policies", done="taken")
    planner = plan_grant_end(visiting.occasion, grant.id, grant.version)
    return await end_page(request, visiting, read, planner, moved=True)


async def _grant_to_edit(request: Request, visiting: Visit, id_: str) -> tuple[Read, Grant]:
    read = await read_rule(house_of(request), visiting.occasion.beside("read"), _id_of(id_))
    if not isinstance(read.line.rule, Grant):
        raise NotFound
    return read, read.line.rule


async def _drafted(request: Request, visiting: Visit, standing: Grant | None) -> Response:
    """One step of a draft: to what it would do, or to its end: that it holds."""
    house, typed, fields = house_of(request), await typed_in(request), await form_of(request)
    words = await read_vocabulary(house, visiting.occasion.beside("words"))
    id_ = standing.id if standing is not None else fields.get("id", "").strip()
    step, version = fields.get("step", ""), version_in(fields)
    try:
        grant = grant_of(id_, typed)
        if step == "back":
            says = sentence(grant)
            return _edit_page(request, visiting, words, typed, standing, id_=id_, version=version, says=says)
        tried = sealed_at(fields.get("seal", ""), grant, version) if step == "keep" else None
        if tried is None:
            return await _check_page(request, visiting, grant, typed, standing, version, moved=step == "keep")
        try:
            kept = await edit_grant(house, visiting.occasion, grant, version, tried)
        except StaleEdit as stale:
            if not moved_on(stale):
                raise
            return await _check_page(request, visiting, grant, typed, standing, version, moved=True)
        return go(path_of(f"{_KIND}{kept.noun.id}"), done="changed" if version else "given")
    except REFUSALS as refused:
        return _edit_page(request, visiting, words, typed, standing, id_=id_, version=version, refused=refused)


def _edit_page(
    request: Request,
    visiting: Visit,
    words: Vocabulary,
    typed: Typed,
    standing: Grant | None,
    *,
    id_: str = "",
    version: int = 0,
    says: str | None = None,
    refused: Problem | None = None,
) -> Response:
    """The page on which a grant is written, with everything that was typed."""
    path = path_of(f"{_KIND}{standing.id}") if standing is not None else ""
    return show(
        "policies/grant.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        standing=standing,
        id=id_,
        path=path,
        address=f"{path}/edit" if path else "/policies/grants/new",
        typed=typed,
        known=words,
        environments=[(name, name) for name in words.environments],
        governing_choices=choices_of(GOVERNING_ACTIONS),
        governs=not set(typed.ticked("actions")).issubset(DATA_ACTIONS),
        version=version,
        says=says,
        cedar=None,
        wrong=(),
        errors=errors_in(refused, typed.view, GRANT_FIELDS) if refused is not None else {},
        failing=failing_of(refused) if refused is not None else (),
    )


async def _check_page(
    request: Request,
    visiting: Visit,
    grant: Grant,
    typed: Typed,
    standing: Grant | None,
    version: int,
    *,
    moved: bool,
) -> Response:
    """What a grant says and would do, with the button that gives it."""
    found = await weigh(request, visiting, plan_grant(visiting.occasion, grant, version), grant, version)
    path = path_of(f"{_KIND}{grant.id}") if standing is not None else ""
    return show(
        "policies/check.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        what="grant",
        says=sentence(grant),
        path=path,
        trail=[(grant.id, path)] if path else [],
        address=f"{path}/edit" if path else "/policies/grants/new",
        hidden={**typed.shown(), "id": grant.id, "version": str(version)},
        reason=grant.because,
        weighed=found,
        moved=moved,
    )


def _id_of(text: str) -> str:
    """The id of a grant in an address, as decisions name it."""
    return f"{_KIND}{text.removeprefix(_KIND)}"
