"""``/policies``: the rules as sentences, and writing them with their consequences in view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import Query, Request, Response

from muniment.core.bodies import body_of
from muniment.core.file_texts import yaml_of
from muniment.core.grants import Grant
from muniment.core.groups import Group
from muniment.core.lint import Finding
from muniment.core.names import ROOT
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Invalid, NotFound, Problem, StaleEdit, UnknownEnvironment
from muniment.core.reviews import reason_of
from muniment.core.rule_filters import Deed, Line, Looked, Sort
from muniment.core.rulebook import Written, id_of
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_rules import (
    Found,
    Past,
    Read,
    Vocabulary,
    find_rules,
    read_rule,
    read_rule_history,
    read_vocabulary,
)
from muniment.flows.change_realm import Planner
from muniment.flows.edit_policy import edit_policy, end_policy, plan_policy, plan_policy_end
from muniment.flows.house import House, aside
from muniment.flows.lint_rules import Asked, lint_rules
from muniment.flows.read_policy import read_policy
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import try_change
from muniment.web import diffs
from muniment.web.drafts import FIELDS, Switched, Typed, View, policy_of, seal, sealed_at, switched, typed_of
from muniment.web.pages import go, page_router, show, status_of
from muniment.web.rules import REFUSALS, Weighed, failing_of, path_of, weighed, with_query
from muniment.web.typed import errors_of, said_of
from muniment.web.visiting import Posting, Visiting, all_of, form_for, form_of
from muniment.web.words.policies import ACTIONS, DEEDS, DONE, KINDS, LIST, RULE, SORTS

router = page_router()

#: How many rules, and how many versions, stand on one page.
_RULES: Final = 25
_VERSIONS: Final = 10

#: How far back recorded runs are held against a change, in days.
DAYS: Final = 30

#: The most findings that are shown beside the rules of a page.
_FINDINGS: Final = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """A rule in the list, with its address and what is doubtful about it."""

    line: Line
    path: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One version in a rule's history, and what it changed."""

    past: Past
    says: str
    why: str
    changed: tuple[diffs.Line, ...]


# --- finding and reading ------------------------------------------------------------------------


@router.get("/policies")
async def get_policies(
    request: Request,
    visiting: Visiting,
    search: Annotated[str, Query(max_length=200)] = "",
    domain: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    who: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
    deed: Deed | None = None,
    sort: Sort | None = None,
    soon: bool = False,  # noqa: FBT001, FBT002 - a query
    doubts: bool = False,  # noqa: FBT001, FBT002
    first: Annotated[int, Query(ge=0, le=10**6)] = 0,
    done: str = "",
) -> Response:
    """The rules that whoever is signed in reads, as sentences; with what is doubtful beside, if that is asked for."""
    house = house_of(request)
    looked = Looked(search, domain or None, who.strip() or None, deed, sort, soon)
    found = await find_rules(house, visiting.occasion, looked, _RULES, first)
    findings = await _findings_of(house, visiting, [line.id for line in found.lines]) if doubts else {}
    return show(
        "policies/list.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        found=found,
        rules=[Shown(line, path_of(line.id), findings.get(line.id, ())) for line in found.lines],
        looked=looked,
        keep_search=_query(replace(looked, text=""), doubts=doubts),
        keep_who=_query(replace(looked, who=None), doubts=doubts),
        about_all=with_query("/policies", **_query(replace(looked, who=None), doubts=doubts)),
        count=_count(found),
        doubts=doubts,
        with_doubts=with_query("/policies", **_query(looked, doubts=True), first=str(first) if first else None),
        facets=_facets(looked, found, doubts=doubts),
        earlier=_turned(looked, doubts=doubts, first=first - _RULES) if first else None,
        later=_turned(looked, doubts=doubts, first=first + _RULES) if first + _RULES < found.count else None,
        done=done if done in DONE else "",
    )


# --- new ones ------------------------------------------------------------------------------------


@router.get("/policies/new")
async def get_new(
    request: Request,
    visiting: Visiting,
    view: Annotated[View, Query(alias="as")] = View.FORM,
    scope: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
) -> Response:
    """An empty draft."""
    words = await read_vocabulary(house_of(request), visiting.occasion)
    chosen = scope if scope in words.scopes else words.scopes[0]
    typed = Typed(view, {"scope": chosen, "kind": PolicyKind.ACCESS.value, "effect": "permit", "actions": "load"})
    return _edit_page(request, visiting, words, typed, None)


@router.post("/policies/new")
async def post_new(request: Request, visiting: Posting) -> Response:
    """A draft on its way: another view of it, what it would do, or that it is kept."""
    return await _drafted(request, visiting, None)


@router.post("/policies/read")
async def post_read(request: Request, visiting: Posting) -> Response:
    """What a draft says, and what is wrong with it: asked for while somebody types."""
    typed = await typed_in(request)
    try:
        policy = policy_of("draft", typed)
        draft, _ = await read_policy(house_of(request), visiting.occasion, policy)
    except Invalid as refused:
        return show("policies/preview.html", says=None, cedar=None, wrong=[said_of(each) for each in refused.faults])
    return show(
        "policies/preview.html", says=draft.sentence, cedar=draft.cedar, wrong=[said_of(each) for each in draft.faults]
    )


# --- one rule ----------------------------------------------------------------------------------


@router.get("/policies/{id}")
async def get_policy(request: Request, visiting: Visiting, id: str, done: str = "") -> Response:  # noqa: A002
    """One policy: what it says, whom it means, its cases, and what is doubtful about it."""
    return await rule_page(request, visiting, own_id(id), done)


@router.get("/policies/{id}/history")
async def get_history(
    request: Request,
    visiting: Visiting,
    id: str,  # noqa: A002
    after: Annotated[int | None, Query(ge=1, le=10**9)] = None,
) -> Response:
    """What a policy said before, what was changed, when, by whom and why."""
    return await history_page(request, visiting, own_id(id), after)


async def rule_page(request: Request, visiting: Visit, id_: str, done: str) -> Response:
    """The page of one rule."""
    house = house_of(request)
    read = await read_rule(house, visiting.occasion, id_)
    findings = await _findings_of(house, visiting, [id_])
    return show(
        "policies/rule.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        read=read,
        rule=read.line.rule,
        policy=_policy(read.line.rule),
        obligation=_obligation(read.line.rule),
        meant=_meant(read),
        path=path_of(id_),
        findings=[(each, [(other, path_of(other)) for other in each.related]) for each in findings.get(id_, ())],
        done=done if done in DONE else "",
    )


async def history_page(request: Request, visiting: Visit, id_: str, after: int | None) -> Response:
    """The page of what a rule said before."""
    house = house_of(request)
    rule, page, following = await read_rule_history(house, visiting.occasion, id_, _VERSIONS, after)
    steps = await aside(lambda: _steps(page))
    path = path_of(id_)
    return show(
        "policies/history.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        id=id_of(rule),
        says=sentence(rule),
        path=path,
        steps=steps,
        later=with_query(f"{path}/history", after=str(following)) if following else None,
        earlier=f"{path}/history" if after else None,
    )


# --- changing one ------------------------------------------------------------------------------


@router.get("/policies/{id}/edit")
async def get_edit(
    request: Request,
    visiting: Visiting,
    id: str,  # noqa: A002
    view: Annotated[View, Query(alias="as")] = View.FORM,
) -> Response:
    """A policy as a draft of its next version."""
    read = await _policy_to_edit(request, visiting, id)
    words = await read_vocabulary(house_of(request), visiting.occasion.beside("words"))
    found = await aside(lambda: typed_of(read.policy, view))
    says = sentence(read.policy)
    return _edit_page(
        request, visiting, words, found.typed, read, version=read.policy.version, says=says, why=found.why
    )


@router.post("/policies/{id}/edit")
async def post_edit(request: Request, visiting: Posting, id: str) -> Response:  # noqa: A002
    """The draft of a next version on its way."""
    return await _drafted(request, visiting, await _policy_to_edit(request, visiting, id))


@router.get("/policies/{id}/end")
async def get_end(request: Request, visiting: Visiting, id: str) -> Response:  # noqa: A002
    """What the end of a policy would do."""
    standing = await _policy_to_edit(request, visiting, id)
    return await _end_page(request, visiting, standing)


@router.post("/policies/{id}/end")
async def post_end(request: Request, visiting: Posting, id: str) -> Response:  # noqa: A002
    """End a policy, as it was shown."""
    standing = await _policy_to_edit(request, visiting, id)
    fields = await form_of(request)
    tried = sealed_at(fields.get("seal", ""), standing.policy.id, standing.policy.version)
    if tried is None:
        return await _end_page(request, visiting, standing, moved=True)
    try:
        await end_policy(house_of(request), visiting.occasion, standing.policy.id, standing.policy.version, tried)
    except StaleEdit:
        return await _end_page(request, visiting, standing, moved=True)
    return go("/policies", done="ended")


@dataclass(frozen=True, slots=True)
class _Standing:
    """A policy that stands, as whoever changes it reads it."""

    policy: Policy
    read: Read


async def _policy_to_edit(request: Request, visiting: Visit, id_: str) -> _Standing:
    read = await read_rule(house_of(request), visiting.occasion.beside("read"), own_id(id_))
    if not isinstance(read.line.rule, Policy):
        raise NotFound
    return _Standing(read.line.rule, read)


async def _drafted(request: Request, visiting: Visit, standing: _Standing | None) -> Response:
    """One step of a draft: to another view, to what it would do, or to its end: that it is kept."""
    house, typed, fields = house_of(request), await typed_in(request), await form_of(request)
    words = await read_vocabulary(house, visiting.occasion.beside("words"))
    id_ = standing.policy.id if standing is not None else typed.value("id").strip()
    step, version = fields.get("step", ""), version_in(fields)
    try:
        if step in set(View) or step == "back":
            turned = Switched(typed) if step == "back" else await aside(lambda: switched(typed, View(step)))
            return _edit_page(request, visiting, words, turned.typed, standing, version=version, why=turned.why)
        policy = await aside(lambda: policy_of(id_, typed))
        tried = sealed_at(fields.get("seal", ""), policy, version) if step == "keep" else None
        if tried is None:
            return await _check_page(request, visiting, policy, typed, standing, version, moved=step == "keep")
        try:
            kept = await edit_policy(house, visiting.occasion, policy, version, tried)
        except StaleEdit as stale:
            if not moved_on(stale):
                raise
            return await _check_page(request, visiting, policy, typed, standing, version, moved=True)
        return go(path_of(kept.noun.id), done="changed" if version else "written")
    except REFUSALS as refused:
        return _edit_page(request, visiting, words, typed, standing, version=version, refused=refused)


def _edit_page(
    request: Request,
    visiting: Visit,
    words: Vocabulary,
    typed: Typed,
    standing: _Standing | None,
    *,
    version: int = 0,
    says: str | None = None,
    why: str = "",
    refused: Problem | None = None,
) -> Response:
    """The page on which a draft is written, with everything that was typed."""
    path = path_of(standing.policy.id) if standing is not None else ""
    return show(
        "policies/edit.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        standing=standing.policy if standing is not None else None,
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
        cedar=None,
        wrong=(),
        errors=errors_in(refused, typed.view) if refused is not None else {},
        failing=failing_of(refused) if refused is not None else (),
    )


async def _check_page(
    request: Request,
    visiting: Visit,
    policy: Policy,
    typed: Typed,
    standing: _Standing | None,
    version: int,
    *,
    moved: bool,
) -> Response:
    """What a draft says and would do, with the button that keeps it."""
    planner = plan_policy(visiting.occasion, policy, version)
    found = await weigh(request, visiting, planner, policy, version)
    path = path_of(policy.id) if standing is not None else ""
    return show(
        "policies/check.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        what="policy",
        says=sentence(policy),
        name=policy.id,
        path=path,
        trail=[(policy.id, path)] if path else [],
        address=f"{path}/edit" if path else "/policies/new",
        hidden={**typed.shown(), "version": str(version)},
        reason=policy.reason,
        weighed=found,
        moved=moved,
    )


async def _end_page(request: Request, visiting: Visit, standing: _Standing, *, moved: bool = False) -> Response:
    """What the end of a policy would do, with the button that ends it."""
    policy = standing.policy
    planner = plan_policy_end(visiting.occasion, policy.id, policy.version)
    return await end_page(request, visiting, standing.read, planner, moved=moved)


# --- what policies and grants share -------------------------------------------------------------


async def end_page(request: Request, visiting: Visit, read: Read, planner: Planner, *, moved: bool) -> Response:
    """What the end of a rule would do; what keeps it from being ended is told in its place."""
    rule, path = read.line.rule, path_of(read.line.id)
    refused: Problem | None = None
    found: Weighed | None = None
    try:
        found = await weigh(request, visiting, planner, read.line.id, rule.version)
    except REFUSALS as problem:
        refused = problem
    return show(
        "policies/end.html",
        status=200 if refused is None else status_of(refused),
        here="policies",
        visiting=visiting,
        form=form_for(request),
        what=read.line.sort.value,
        says=read.line.says,
        name=read.line.id,
        path=path,
        address=f"{path}/end",
        weighed=found,
        moved=moved,
        errors={"": refused.detail} if refused is not None else {},
        failing=failing_of(refused) if refused is not None else (),
    )


async def weigh(
    request: Request, visiting: Visit, planner: Planner, draft: Policy | Grant | Group | str, version: int
) -> Weighed:
    """What a change would do now, sealed with the draft that it is of."""
    occasion = visiting.occasion.beside("try")
    tried, findings = await try_change(house_of(request), occasion, planner, DAYS)
    return weighed(tried, findings, seal(tried.revision, draft, version))


async def typed_in(request: Request) -> Typed:
    """What a form says of a rule."""
    fields = dict(await form_of(request))
    for name in ("actions", "environments"):
        ticked = await all_of(request, name)
        if ticked:
            fields[name] = "\n".join(ticked)
    view = fields.get("view", "")
    return Typed(View(view) if view in set(View) else View.FORM, fields)


def errors_in(refused: Problem, view: View, fields: Iterable[str] | None = None) -> dict[str, str]:
    """What is wrong with a draft, by the fields that its view shows."""
    shown = FIELDS[view] if fields is None else tuple(fields)
    if isinstance(refused, NotFound):
        return {"on" if "on" in shown else "scope": LIST["unknown_place"]}
    if not isinstance(refused, Invalid) or not refused.faults:
        return {"": refused.detail}
    instead = {View.FORM: "environments" if isinstance(refused, UnknownEnvironment) else "", View.SENTENCE: "sentence"}
    faults = [
        replace(fault, at=instead.get(view, "cedar")) if fault.at == "cedar" else fault for fault in refused.faults
    ]
    return errors_of(faults, shown)


def moved_on(stale: StaleEdit) -> bool:
    """Whether something else was changed, and not the very thing."""
    return "version" not in stale.members


def version_in(fields: Mapping[str, str]) -> int:
    """The version from which a draft began; 0 for a new thing."""
    said = fields.get("version", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < len(str(10**9)) else 0


def house_of(request: Request) -> House:
    """What every flow works with."""
    house: House = request.app.state.house
    return house


def own_id(text: str) -> str:
    """The id of a policy in an address, where one that is the name of a page is written out."""
    return text.removeprefix("policy:")


async def _findings_of(house: House, visiting: Visit, ids: Iterable[str]) -> Mapping[str, tuple[Finding, ...]]:
    asked = Asked(rules=frozenset(ids))
    linted = await lint_rules(house, visiting.occasion.beside("lint"), asked, _FINDINGS, "")
    found: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in linted.findings:
        found[finding.rule].append(finding)
    return {id_: tuple(each) for id_, each in found.items()}


def choices_of(actions: Iterable[Action]) -> list[tuple[str, str]]:
    """Actions as boxes to tick."""
    return [(action.value, ACTIONS[action]) for action in actions]


def _count(found: Found) -> str:
    last = found.first + len(found.lines)
    return LIST["count"].format(first=found.first + 1, last=last, count=found.count) if found.lines else ""


def _meant(read: Read) -> str:
    meant = read.meant
    text = (
        RULE["meant_all"] if meant.count == meant.known else RULE["meant_some"] if meant.count else RULE["meant_none"]
    )
    return text.format(known=meant.known, count=meant.count)


def _obligation(rule: Written) -> str:
    return yaml_of(rule.obligation) if isinstance(rule, Policy) and rule.obligation else ""


def _policy(rule: Written) -> Policy:
    return rule.policy() if isinstance(rule, Grant) else rule


def _steps(page: Sequence[Past]) -> list[Step]:
    """The versions of a page, each beside the one before it; what was hidden in either is not compared."""
    found = []
    for place, past in enumerate(page[:_VERSIONS]):
        before = page[place + 1] if place + 1 < len(page) else None
        comparable = not past.hidden and before is not None and not before.hidden and past.rule is not None
        old = _text(before.rule) if before is not None else ""
        changed = diffs.lines(old, _text(past.rule)) if comparable else ()
        found.append(
            Step(past, sentence(past.rule) if past.rule else "", reason_of(past.rule) if past.rule else "", changed)
        )
    return found


def _text(rule: Written | None) -> str:
    """All that a rule says, as a text whose lines are compared."""
    if rule is None:
        return ""
    body = body_of(rule)
    cedar = str(body.pop("cedar", "")) or _policy(rule).cedar
    return f"{cedar.rstrip()}\n\n{yaml_of({name: value for name, value in body.items() if value})}"


def _query(looked: Looked, *, doubts: bool, **other: str | None) -> dict[str, str]:
    said = {
        "search": looked.text,
        "domain": looked.domain,
        "who": looked.who,
        "deed": looked.deed,
        "sort": looked.sort,
        "soon": "true" if looked.soon else None,
        "doubts": "true" if doubts else None,
        **other,
    }
    return {name: str(value) for name, value in said.items() if value}


def _turned(looked: Looked, *, doubts: bool, first: int) -> str:
    return with_query("/policies", **_query(looked, doubts=doubts, first=str(first) if first > 0 else None))


def _facets(looked: Looked, found: Found, *, doubts: bool) -> list[tuple[str, list[tuple[str, int, str, bool]]]]:
    """The further choices, each with how many rules it leaves and where it leads."""

    def choice(name: str, value: str, text: str, count: int) -> tuple[str, int, str, bool]:
        chosen = getattr(looked, name) == value
        return (
            text,
            count,
            with_query("/policies", **_query(looked, doubts=doubts, **{name: None if chosen else value})),
            chosen,
        )

    within = f"{looked.domain}." if looked.domain else ""
    domains = [
        (name, count)
        for name, count in found.facets.domains
        if name == looked.domain or (name.startswith(within) and "." not in name.removeprefix(within) and name != ROOT)
    ]
    listed = [
        (LIST["by_deed"], [choice("deed", each, DEEDS[each], count) for each, count in found.facets.deeds]),
        (LIST["by_domain"], [choice("domain", name, name, count) for name, count in domains]),
        (LIST["by_sort"], [choice("sort", each, SORTS[each], count) for each, count in found.facets.sorts]),
    ]
    if found.facets.soon or looked.soon:
        soon = with_query("/policies", **_query(replace(looked, soon=not looked.soon), doubts=doubts))
        listed.append((LIST["by_end"], [(LIST["soon"], found.facets.soon, soon, looked.soon)]))
    return listed
