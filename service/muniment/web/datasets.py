"""``/datasets``: what there is, found by words and by what it is, and everything about one of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import quote, urlencode

from fastapi import Query, Request, Response

from muniment.core.decisions import Wanted
from muniment.core.directory import Count, Facet, Looked, Order
from muniment.core.entries import Entry, text_of
from muniment.core.groups import write_group
from muniment.core.lineages import Side
from muniment.core.names import ROOT, domain_of, filled, lineage, parent_of, placeholders
from muniment.core.problems import Invalid, NotAllowed
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.uses import DayOfUse
from muniment.flows.browse_datasets import (
    FRESH,
    Seen,
    SeenVersion,
    known_environments,
    read_history,
    search_datasets,
    show_dataset,
)
from muniment.flows.explain_access import explain_access
from muniment.flows.find_projects import find_projects
from muniment.flows.find_who import find_who_uses
from muniment.flows.house import aside
from muniment.flows.look_at_use import look_at_use
from muniment.flows.sign_in import Visit
from muniment.flows.trace_lineage import trace_lineage
from muniment.web import charts, diffs
from muniment.web.lineages import drawn, sided
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Visiting, form_for, house_of
from muniment.web.words import WORDS
from muniment.web.words.texts import one_of

router = page_router()

#: How many datasets, versions and people stand on a page.
_PAGE: Final = 25
_VERSIONS: Final = 10
_PEOPLE: Final = 50
#: How many values of a facet, the most frequent.
_VALUES: Final = 100

_LONGEST_WORDS: Final = 200
_LONGEST_VALUE: Final = 220
_MOST_VALUES: Final = 20
_LAST_PAGE: Final = 100_000

#: Of how many days lineage, use and projects tell.
_DAYS: Final = 90
#: From how many days on a bar of a chart is a week.
_BY_WEEK: Final = 120
_WEEK: Final = 7

Days = Annotated[Literal["30", "90", "365"], Query()]
Steps = Annotated[Literal["1", "2", "3", "5"], Query()]


@dataclass(frozen=True)
class Hit:
    """A dataset that was found, and what the visitor may do with it."""

    seen: Seen
    owner: str
    use: str
    ask: str
    stewarded: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the address of a page of results asks for."""

    looked: Looked
    page: int
    cut: bool = False

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that there are: without words nothing matches best."""
        return tuple(order for order in Order if self.looked.words or order is not Order.BEST)

    @property
    def order(self) -> Order:
        """The order in which the results are."""
        return self.looked.order if self.looked.order in self.orders else Order.NAME

    def address(self, *, page: int = 1, order: Order | None = None, without: tuple[Facet, str] | None = None) -> str:
        """The same results, at another page, in another order, or without one value."""
        chosen = {
            facet: tuple(value for value in values if (facet, value) != without)
            for facet, values in self.looked.chosen.items()
        }
        return _address(Looked(self.looked.words, chosen, order or self.looked.order), page)

    def with_value(self, facet: Facet, value: str) -> str:
        """The results narrowed to a value too; of domains above and below one another, to that one."""
        held = self.looked.chosen.get(facet, ())
        if facet is Facet.DOMAIN:
            held = tuple(each for each in held if value not in lineage(each) and each not in lineage(value))
        chosen = {**self.looked.chosen, facet: (*held, value)}
        return _address(Looked(self.looked.words, chosen, self.looked.order), 1)


@dataclass(frozen=True)
class Which:
    """Which access is looked at, and what else could be."""

    action: str
    environment: str
    actions: tuple[tuple[str, str], ...]
    environments: tuple[tuple[str, str], ...]

    @property
    def query(self) -> str:
        """The same in an address."""
        return urlencode({"action": self.action, "environment": self.environment})


@router.get("/datasets")
async def get_datasets(request: Request, visiting: Visiting) -> Response:
    """What the visitor may know of and looks for, with what would narrow it."""
    asked = _asked(request)
    looked = asked.looked
    found = await search_datasets(house_of(request), visiting.occasion, looked, (asked.page - 1) * _PAGE, _PAGE)
    words = WORDS["datasets"]
    last = -(-found.total // _PAGE)
    return show(
        "datasets/browse.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        asked=asked,
        kept=[(name, value) for name, value in _pairs(looked, 1) if name != "search"],
        hits=[
            Hit(
                seen,
                write_group(seen.dataset.owner),
                _use(seen),
                _ask_in_list(seen),
                seen.dataset.name in found.stewarded,
                found.columns[seen.dataset.name],
            )
            for seen in found.found
        ],
        total=found.total,
        counted=_counted(found.total, (asked.page - 1) * _PAGE + 1, len(found.found)),
        facets=[
            (one_of(words["facets"], facet), _choices(asked, facet, counts))
            for facet, counts in found.facets.items()
            if any(each.chosen or each.times < found.total for each in counts)
        ],
        chosen=[
            (one_of(words["facets"], facet), _text_of(facet, value), asked.address(without=(facet, value)))
            for facet, values in looked.chosen.items()
            for value in values
        ],
        everything=_address(Looked(looked.words, {}, looked.order), 1),
        orders=[
            (one_of(words["orders"], order), asked.address(order=order), order is asked.order) for order in asked.orders
        ],
        earlier=asked.address(page=min(asked.page, last + 1) - 1) if asked.page > 1 else None,
        later=asked.address(page=asked.page + 1) if asked.page < last else None,
    )


@router.get("/datasets/{name}")
async def get_dataset(request: Request, visiting: Visiting, name: str) -> Response:
    """One dataset: what it is, what the visitor may do with it, and its entries."""
    return await _overview(request, visiting, name)


@router.get("/datasets/{name}/made")
async def get_made(request: Request, visiting: Visiting, name: str) -> Response:
    """The name that a pattern makes of what was filled in, or what is to be mended in that."""
    given = {key: request.query_params.get(key, "")[:_LONGEST_VALUE] for key in placeholders(name)}
    try:
        return go(f"/datasets/{quote(filled(name, given))}")
    except Invalid as refused:
        errors = {fault.at: fault.message for fault in refused.faults}
        return await _overview(request, visiting, name, given=given, errors=errors)


@router.get("/datasets/{name}/history")
async def get_history(
    request: Request, visiting: Visiting, name: str, before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    """The versions, and what each changed."""
    found, _, _ = await read_history(house_of(request), visiting.occasion, name, _VERSIONS + 1, before, made=True)
    before_each = [*found[1:], None]
    versions = await aside(
        lambda: [(version, _changed(version, older)) for version, older in zip(found, before_each, strict=False)]
    )
    return _tab(
        request,
        visiting,
        name,
        "history",
        versions=versions[:_VERSIONS],
        later=f"{_path(name)}/history?before={found[_VERSIONS - 1].version}" if len(found) > _VERSIONS else None,
        earlier=f"{_path(name)}/history" if before is not None else None,
    )


@router.get("/datasets/{name}/lineage")
async def get_lineage(request: Request, visiting: Visiting, name: str, steps: Steps = "2") -> Response:
    """What is upstream and downstream, drawn and in tables."""
    traced = await trace_lineage(house_of(request), visiting.occasion, name, _DAYS, int(steps))
    return _tab(
        request,
        visiting,
        name,
        "lineage",
        days=_DAYS,
        steps=steps,
        sides={side: sided(traced.neighbours, side) for side in Side},
        cut=traced.cut,
        drawing=drawn(name, traced.neighbours) if traced.neighbours else None,
    )


@router.get("/datasets/{name}/use")
async def get_use(request: Request, visiting: Visiting, name: str, days: Days = "90") -> Response:
    """How often it was loaded and saved over time."""
    many = int(days)
    used = await look_at_use(house_of(request), visiting.occasion, name, many)
    words = WORDS["dataset_use"]
    width = _WEEK if many > _BY_WEEK else 1
    over = str(words["week" if width == _WEEK else "day"])
    titles = [(str(words[what]), _bars(used.days, used.since.date(), many, width, what)) for what in ("loads", "saves")]
    return _tab(
        request,
        visiting,
        name,
        "use",
        of_all=used.of_all,
        days=days,
        periods=[(number, one_of(words["periods"], number)) for number in ("30", "90", "365")],
        charts=[charts.bars(title, over, title, values) for title, values in titles if any(n for _, n in values)],
        loads=sum(day.loads for day in used.days),
        saves=sum(day.saves for day in used.days),
        days_used=len(used.days),
        most=max((day.subjects for day in used.days), default=0),
    )


@router.get("/datasets/{name}/access")
async def get_access(
    request: Request, visiting: Visiting, name: str, action: Action = Action.LOAD, environment: str = ""
) -> Response:
    """Whether the visitor may do something with it in an environment, and why."""
    environments = await known_environments(house_of(request))
    wanted = Wanted(environment or next(iter(environments), ""))
    told = await explain_access(house_of(request), visiting.occasion, wanted, _on_data(action), name, None)
    return _tab(
        request,
        visiting,
        name,
        "access",
        which=_which(environments, wanted, action),
        told=told,
        ask=_ask(name, action, wanted.environment) if told.request else None,
    )


@router.get("/datasets/{name}/access/people")
async def get_people(
    request: Request,
    visiting: Visiting,
    name: str,
    action: Action = Action.LOAD,
    environment: str = "",
    after: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """Everybody who may do something with it in an environment, and why; for those who oversee its domain."""
    environments = await known_environments(house_of(request))
    wanted = Wanted(environment or next(iter(environments), ""))
    which = _which(environments, wanted, action)
    try:
        who = await find_who_uses(house_of(request), visiting.occasion, wanted, _on_data(action), name, _PEOPLE, after)
    except NotAllowed as refused:
        return _tab(request, visiting, name, "people", status=403, refused=refused.detail, which=which)
    here = f"{_path(name)}/access/people?{which.query}"
    return _tab(
        request,
        visiting,
        name,
        "people",
        which=which,
        refused=None,
        who=who,
        earlier=here if after else None,
        later=f"{here}&{urlencode({'after': who.following})}" if who.following else None,
    )


@router.get("/datasets/{name}/consumers")
async def get_consumers(request: Request, visiting: Visiting, name: str) -> Response:
    """The projects that run with it; for those who declare or audit there."""
    try:
        found = await find_projects(house_of(request), visiting.occasion, name, _DAYS)
    except NotAllowed as refused:
        return _tab(request, visiting, name, "consumers", status=403, refused=refused.detail, days=_DAYS)
    return _tab(request, visiting, name, "consumers", refused=None, found=found, days=_DAYS)


async def _overview(request: Request, visiting: Visit, name: str, **filling: dict[str, str]) -> Response:
    shown = await show_dataset(house_of(request), visiting.occasion, name)
    alike: dict[str, list[Entry]] = {}
    for entry in shown.entries:
        alike.setdefault(entry.text, []).append(entry)
    asking = [(each, action) for each, actions in shown.asking.items() for action in actions]
    asked = next((shown.asked[each] for each in asking if each in shown.asked), None)
    ask = next(((name, action, there) for there, action in asking if (there, action) not in shown.asked), None)
    return _tab(
        request,
        visiting,
        name,
        "overview",
        status=422 if filling else 200,
        shown=shown,
        dataset=shown.seen.dataset,
        owner=write_group(shown.seen.dataset.owner),
        entries=list(alike.values()),
        compared=shown.compared if len(alike) > 1 else (),
        fresh_days=FRESH.days,
        ask=_ask(*ask) if ask and not asked and not shown.seen.actions else None,
        asked=asked if not shown.seen.actions else None,
        edits=Action.DECLARE in shown.seen.governing,
        placeholders=placeholders(name),
        given=filling.get("given", {}),
        errors=filling.get("errors", {}),
    )


def _tab(request: Request, visiting: Visit, name: str, tab: str, *, status: int = 200, **values: object) -> Response:
    """One of the pages of a dataset."""
    _, *domains = reversed(lineage(domain_of(name)))
    return show(
        f"datasets/{tab}.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        name=name,
        path=_path(name),
        tab=tab,
        ask_for=_ask,
        trail=[
            (str(WORDS["datasets"]["title"]), "/datasets"),
            *((domain, _address(Looked(chosen={Facet.DOMAIN: (domain,)}), 1)) for domain in domains),
        ],
        **values,
    )


def _asked(request: Request) -> Asked:
    query = request.query_params
    chosen = {facet: tuple(dict.fromkeys(filter(None, query.getlist(facet.value)))) for facet in Facet}
    too_many = any(
        len(values) > _MOST_VALUES or any(len(value) > _LONGEST_VALUE for value in values) for values in chosen.values()
    )
    if too_many:
        raise Invalid(str(WORDS["datasets"]["too_many"]))
    words, page = query.get("search", ""), query.get("page", "1")
    order = query.get("sort", Order.BEST.value)
    looked = Looked(
        words[:_LONGEST_WORDS],
        {facet: values for facet, values in chosen.items() if values},
        Order(order) if order in set(Order) else Order.BEST,
    )
    number = int(page) if page.isascii() and page.isdigit() and len(page) <= len(str(_LAST_PAGE)) else 1
    return Asked(looked, max(number, 1), cut=len(words) > _LONGEST_WORDS)


def _pairs(looked: Looked, page: int) -> Iterable[tuple[str, str]]:
    if looked.words:
        yield "search", looked.words
    for facet, values in looked.chosen.items():
        for value in values:
            yield facet.value, value
    if looked.order is not Order.BEST:
        yield "sort", looked.order.value
    if page > 1:
        yield "page", str(page)


def _address(looked: Looked, page: int) -> str:
    query = urlencode(list(_pairs(looked, page)))
    return f"/datasets?{query}" if query else "/datasets"


def _choices(asked: Asked, facet: Facet, counts: Sequence[Count]) -> list[tuple[str, int, str, bool]]:
    """The values of a facet: what each is called, how often it is, and where one goes who takes or gives it back."""
    taken = asked.looked.chosen.get(facet, ())
    listed = _branches(counts, taken) if facet is Facet.DOMAIN else counts
    listed = [each for place, each in enumerate(listed) if place < _VALUES or each.chosen]
    return [
        (
            _text_of(facet, each.value),
            each.times,
            asked.address(without=(facet, each.value)) if each.chosen else asked.with_value(facet, each.value),
            each.chosen,
        )
        for each in listed
    ]


def _branches(counts: Sequence[Count], taken: Sequence[str]) -> list[Count]:
    """Of the tree of domains: the top, and what stands right below a domain that was chosen, or below one above it."""
    opened = {ROOT, *(above for domain in taken for above in lineage(domain))}
    shown = [each for each in counts if each.chosen or parent_of(each.value) in opened]
    return sorted(shown, key=lambda each: each.value)


def _counted(total: int, first: int, many: int) -> str:
    words = WORDS["datasets"]["found"]
    if many < total and many:
        return one_of(words, "of").format(first=f"{first:,}", last=f"{first + many - 1:,}", count=f"{total:,}")
    return one_of(words, "one" if total == 1 else "many").format(count=f"{total:,}")


def _text_of(facet: Facet, value: str) -> str:
    return one_of(WORDS["datasets"]["may"], value) if facet is Facet.MAY else value


def _use(seen: Seen) -> str:
    """What may be done, and where: "You may load in dev, prod"."""
    given = {each: actions for each, actions in sorted(seen.actions.items()) if seen.dataset.definition(each)}
    if not given or not seen.dataset.served:
        return ""
    actions = [action for action in DATA_ACTIONS if any(action in each for each in given.values())]
    words = str(WORDS["datasets"]["may_use"])
    return words.format(actions=", ".join(actions), environments=", ".join(given))


def _ask_in_list(seen: Seen) -> str:
    """Where one asks for what one is given nowhere, and could be."""
    could = seen.dataset.served and seen.dataset.environments and not seen.dataset.is_pattern
    return f"/requests/new?{urlencode({'dataset': seen.dataset.name})}" if could and not seen.actions else ""


def _changed(version: SeenVersion, before: SeenVersion | None) -> tuple[diffs.Line, ...]:
    return diffs.lines(_said(before), _said(version))


def _said(version: SeenVersion | None) -> str:
    return "" if version is None or version.seen is None else text_of(version.seen.dataset, version.seen.definitions)


def _bars(days: Iterable[DayOfUse], first: date, many: int, width: int, what: str) -> list[tuple[str, int]]:
    """The uses by day, or by several days together, those without any included."""
    counts = {first + timedelta(days=n): 0 for n in range(0, many, width)}
    for day in days:
        start = first + timedelta(days=(day.day - first).days // width * width)
        counts[start] = counts.get(start, 0) + getattr(day, what)
    return [(f"{day:%-d %b %Y}", count) for day, count in sorted(counts.items())]


def _which(environments: Sequence[str], wanted: Wanted, action: Action) -> Which:
    words = WORDS["dataset_access"]["actions"]
    return Which(
        action=action.value,
        environment=wanted.environment,
        actions=tuple((each.value, one_of(words, each.value)) for each in DATA_ACTIONS),
        environments=tuple((each, each) for each in environments),
    )


def _on_data(action: Action) -> Action:
    if action not in DATA_ACTIONS:
        raise Invalid("Ask whether somebody may discover, load or save it.")
    return action


def _ask(name: str, action: str, environment: str) -> str:
    """Where one asks for access."""
    asked = {"dataset": name, "action": action, "environment": environment}
    return f"/requests/new?{urlencode(asked)}"


def _path(name: str) -> str:
    return f"/datasets/{quote(name, safe='')}"
