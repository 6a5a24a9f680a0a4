"""``/policies``: the rules, policies and grants alike, found and read as sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final
from urllib.parse import quote, urlencode

from fastapi import Query, Request, Response

from muniment.core.bodies import body_of
from muniment.core.file_texts import yaml_of
from muniment.core.grants import Grant
from muniment.core.lint import Finding
from muniment.core.names import ROOT
from muniment.core.policies import Policy
from muniment.core.reviews import reason_of
from muniment.core.rule_filters import Deed, Line, Looked, Sort
from muniment.core.rulebook import Written, id_of
from muniment.core.sentences import sentence
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.browse_rules import Found, Past, Read, find_rules, read_rule, read_rule_history
from muniment.flows.house import House, aside
from muniment.flows.lint_rules import Asked, lint_rules
from muniment.flows.sign_in import Visit
from muniment.web import diffs
from muniment.web.pages import page_router, show
from muniment.web.visiting import Housed, Visiting, form_for
from muniment.web.words.policies import DEEDS, DONE, LIST, RULE, SORTS

router = page_router()

#: How many rules, and how many versions, stand on one page.
_RULES: Final = 25
_VERSIONS: Final = 10

#: The most findings that are shown beside the rules of a page.
_FINDINGS: Final = 500

#: Addresses of pages that an id would take.
_TAKEN: Final = frozenset({"new", "read", "grants", "groups", "names"})

#: From which version on, back in time, a history is shown.
After = Annotated[int | None, Query(ge=1, le=10**9)]


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


@router.get("/policies")
async def get_policies(
    request: Request,
    house: Housed,
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


async def rule_page(request: Request, house: House, visiting: Visit, id_: str, done: str) -> Response:
    """The page of one rule."""
    read = await read_rule(house, visiting.occasion, id_)
    findings = await _findings_of(house, visiting, [id_])
    return show(
        "policies/rule.html",
        here="policies",
        visiting=visiting,
        form=form_for(request),
        read=read,
        rule=read.line.rule,
        policy=policy_in(read.line.rule),
        obligation=_obligation(read.line.rule),
        meant=_meant(read),
        path=path_of(id_),
        findings=[(each, [(other, path_of(other)) for other in each.related]) for each in findings.get(id_, ())],
        done=done if done in DONE else "",
    )


async def history_page(request: Request, house: House, visiting: Visit, id_: str, after: int | None) -> Response:
    """The page of what a rule said before."""
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


# --- where a rule stands ----------------------------------------------------------------------------


def path_of(id_: str) -> str:
    """Where a rule stands, by the id that decisions name."""
    kind, colon, name = id_.partition(":")
    if colon:
        return f"/policies/grants/{f'{kind}:' if name in _TAKEN else ''}{quote(name)}"
    return f"/policies/{'policy:' if id_ in _TAKEN else ''}{quote(id_)}"


def with_query(path: str, **query: str | None) -> str:
    """An address with what of a query says something."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path


# --- in words ------------------------------------------------------------------------------------------


async def _findings_of(house: House, visiting: Visit, ids: Iterable[str]) -> Mapping[str, tuple[Finding, ...]]:
    asked = Asked(rules=frozenset(ids))
    linted = await lint_rules(house, visiting.occasion.beside("lint"), asked, _FINDINGS, "")
    found: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in linted.findings:
        found[finding.rule].append(finding)
    return {id_: tuple(each) for id_, each in found.items()}


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


def policy_in(rule: Written) -> Policy:
    """The policy that a rule is, or that a grant stands for."""
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
    cedar = str(body.pop("cedar", "")) or policy_in(rule).cedar
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
