"""What pages of policies and of grants put alike: one rule, what it was, drafts of it, and its end.

Each of the two says in a :class:`RuleForm` what is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, TypeVar

from fastapi import APIRouter, Query, Request, Response

from muniment.core.grants import Grant
from muniment.core.policies import Policy
from muniment.core.problems import Invalid, NotFound, Problem
from muniment.core.sentences import sentence
from muniment.flows.browse_rules import Vocabulary, read_standing_rule, read_vocabulary
from muniment.flows.house import House, aside
from muniment.flows.sign_in import Visit
from muniment.web.drafts import Switched, Typed, View, masking
from muniment.web.proposals import Page, Proposal, preview, propose_end, step_on, typed_in, version_in
from muniment.web.rules import After, history_page, policy_in, rule_page
from muniment.web.visiting import Housed, Posting, Visiting, all_of, form_of

Rule = TypeVar("Rule", Policy, Grant)
#: The same, where it is only taken.
Rule_contra = TypeVar("Rule_contra", Policy, Grant, contravariant=True)


class EditPage(Protocol[Rule_contra]):
    """The page on which a draft of a rule is written, with everything that was typed."""

    def __call__(
        self,
        request: Request,
        visiting: Visit,
        words: Vocabulary,
        typed: Typed,
        standing: Rule_contra | None,
        *,
        version: int = 0,
        says: str | None = None,
        why: str = "",
        refused: Problem | None = None,
    ) -> Response:
        """Show it: ``why`` says why it stays in the view that it is in, ``refused`` why it was refused."""


@dataclass(frozen=True)
class RuleForm(Generic[Rule]):
    """What is one kind's own: where it stands, how it is read from what was typed and shown so, and its changes.

    ``id_in`` is the id that decisions name, of the one in an address; ``change`` is of what was typed, from a version.
    """

    kind: type[Rule]
    here: str
    id_in: Callable[[str], str]
    read: Callable[[str, Typed], Rule]
    typed: Callable[[Rule, View], Switched]
    turn: Callable[[Typed, View], Switched]
    change: Callable[[House, Visit, Rule, Typed, int], Proposal]
    end: Callable[[House, Visit, Rule], Proposal]
    page: EditPage[Rule]

    async def standing(self, house: House, visiting: Visit, id_: str) -> Rule:
        """The rule that somebody is about to change, if they read it; else :class:`NotFound`."""
        rule = await read_standing_rule(house, visiting.occasion.beside("read"), self.id_in(id_))
        if not isinstance(rule, self.kind):
            raise NotFound
        return rule

    async def drafted(self, request: Request, house: House, visiting: Visit, standing: Rule | None) -> Response:
        """One step of a draft: to another view, to what it would do, or to its end: that it holds."""
        sent = await typed_in(request)
        words = await read_vocabulary(house, visiting.occasion.beside("words"), sent.value("names").split())

        def change(typed: Typed, version: int) -> Proposal:
            id_ = standing.id if standing is not None else typed.value("id").strip()
            return self.change(house, visiting, self.read(id_, typed), typed, version)

        def page(typed: Typed, *, version: int, why: str = "", refused: Problem | None = None) -> Response:
            return self.page(request, visiting, words, typed, standing, version=version, why=why, refused=refused)

        if (await form_of(request)).get("step") == "mask":
            return await _masked(request, sent, words, page)
        return await step_on(request, house, visiting, turn=self.turn, change=change, page=page)


async def _masked(request: Request, typed: Typed, words: Vocabulary, page: Page) -> Response:
    """The draft with the columns that were picked in its mask; where none were offered yet, they are now."""
    fields = await form_of(request)
    version = version_in(fields)
    try:
        offered = words.columns.keys() & (await all_of(request, "mask_offered"))
        picked = words.columns.keys() & (await all_of(request, "mask_columns"))
        return page(
            masking(typed, picked, offered, fields.get("mask_action", "")) if offered else typed, version=version
        )
    except Invalid as refused:
        return page(typed, version=version, refused=refused)


def serve(router: APIRouter, form: RuleForm[Rule]) -> None:
    """Add the pages of a kind to those that its router has: the one where a draft begins is the kind's own."""

    @router.post(form.here + "/new")
    async def post_new(request: Request, house: Housed, visiting: Posting) -> Response:
        """A draft on its way: another view of it, what it would do, or that it holds."""
        return await form.drafted(request, house, visiting, None)

    @router.post(form.here + "/read")
    async def post_read(request: Request, house: Housed, visiting: Posting) -> Response:
        """What a draft says, and what is wrong with it: asked for while somebody types."""
        return await preview(request, house, visiting, lambda typed: policy_in(form.read("draft", typed)))

    @router.get(form.here + "/{id}")
    async def get_rule(
        request: Request,
        house: Housed,
        visiting: Visiting,
        id: str,  # noqa: A002 - as the address says it
        done: str = "",
    ) -> Response:
        """One rule: what it says, whom it means, its cases, and what is doubtful about it."""
        return await rule_page(request, house, visiting, form.id_in(id), done)

    @router.get(form.here + "/{id}/history")
    async def get_history(
        request: Request,
        house: Housed,
        visiting: Visiting,
        id: str,  # noqa: A002
        after: After = None,
    ) -> Response:
        """What a rule said before, what was changed, when, by whom and why."""
        return await history_page(request, house, visiting, form.id_in(id), after)

    @router.get(form.here + "/{id}/edit")
    async def get_edit(
        request: Request,
        house: Housed,
        visiting: Visiting,
        id: str,  # noqa: A002
        view: Annotated[View, Query(alias="as")] = View.FORM,
    ) -> Response:
        """A rule as a draft of its next version."""
        rule = await form.standing(house, visiting, id)
        found = await aside(lambda: form.typed(rule, view))
        named = found.typed.value("names").split()
        words = await read_vocabulary(house, visiting.occasion.beside("words"), named)
        says = sentence(rule)
        return form.page(request, visiting, words, found.typed, rule, version=rule.version, says=says, why=found.why)

    @router.post(form.here + "/{id}/edit")
    async def post_edit(request: Request, house: Housed, visiting: Posting, id: str) -> Response:  # noqa: A002
        """The draft of a next version on its way."""
        return await form.drafted(request, house, visiting, await form.standing(house, visiting, id))

    @router.get(form.here + "/{id}/end")
    async def get_end(request: Request, house: Housed, visiting: Visiting, id: str) -> Response:  # noqa: A002
        """What the end of a rule would do."""
        rule = await form.standing(house, visiting, id)
        return await propose_end(request, house, visiting, form.end(house, visiting, rule))

    @router.post(form.here + "/{id}/end")
    async def post_end(request: Request, house: Housed, visiting: Posting, id: str) -> Response:  # noqa: A002
        """End a rule, as it was shown."""
        rule, fields = await form.standing(house, visiting, id), await form_of(request)
        return await propose_end(request, house, visiting, form.end(house, visiting, rule), fields.get("seal", ""))
