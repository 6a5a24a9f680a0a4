"""``/audit``: the records and what they tell, who read what and under which rule, and whether the record is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson
from fastapi import Depends, Request, Response
from fastapi.responses import StreamingResponse

from muniment.core.catalog import Page
from muniment.core.decisions import Wanted
from muniment.core.exports import Format
from muniment.core.figures import MOST_IN_A_FILE, By, Figure, Figures, every_day
from muniment.core.ledger import Outcome, Question, Row
from muniment.core.problems import Conflict, Invalid, NotFound
from muniment.core.reads import ReadBy
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.flows.count_ledger import Counted, count_ledger
from muniment.flows.export_ledger import export_ledger
from muniment.flows.fetch_catalog import Asked as AskedCatalog
from muniment.flows.fetch_catalog import Media, fetch_catalog
from muniment.flows.find_readers import find_readers
from muniment.flows.find_who import find_who_uses
from muniment.flows.keep_views import list_views, remove_view, save_view
from muniment.flows.look_at_unusual import Looked, look_at_unusual
from muniment.flows.look_up import LookedUp, find_audited, look_up
from muniment.flows.prove_rows import check_row, how_far
from muniment.flows.replay_decisions import replay_decision
from muniment.flows.review_ledger import GATHERED_SINCE, Desk, gather, read_row, reading_desk, review_ledger
from muniment.flows.sign_in import Visit
from muniment.web import charts
from muniment.web.asked import Asked, address_of, last_of, read_asked
from muniment.web.pages import go, page_router, show
from muniment.web.sheets import csv_of
from muniment.web.typed import Reading, errors_of
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of, house_of
from muniment.web.words import WORDS

router = page_router()

#: How many rows stand on a page, how many names in a row's line, and how many lines of what was decided or could be.
_MOST_ROWS: Final = 50
_MOST_NAMES: Final = 3
_MOST_LINES: Final = 200
#: How many names a chart has at most, so that its bars can be told apart.
_MOST_BARS: Final = 15
#: How many of those who read a dataset stand on a page; all of them are in the file.
_MOST_READERS: Final = 200
#: The longest text that is looked up.
_LONGEST_SEARCH: Final = 200
#: How many months can be chosen with one press: a year of them.
_MOST_MONTHS: Final = 12

_EVENTS: Final = WORDS["audit_events"]
#: What those of them say that are about no dataset here.
_ALONE: Final = WORDS["audit_events_alone"]
_CHARTS: Final = WORDS["audit_charts"]

_Done = Literal["saved", "removed"]


@dataclass(frozen=True)
class Told:
    """A row in one line."""

    row: Row
    phrase: str
    names: Sequence[str]
    others: int

    @property
    def denied(self) -> bool:
        """Whether it was refused."""
        return self.row.outcome is Outcome.DENIED

    @property
    def where(self) -> str:
        """In which environment, and for which project."""
        return " · ".join(filter(None, (self.row.environment, self.row.project)))


@dataclass(frozen=True)
class Tile:
    """A chart with where its numbers are taken out, and what is said about it."""

    name: str
    chart: charts.Chart
    export: str
    shown: int
    untold: int
    note: str
    #: Whether it is of names, by their numbers, and not of days.
    ranked: bool


def told(row: Row) -> Told:
    """A row in one line: what happened, and the first of the datasets that it is about."""
    words = _EVENTS if row.datasets or row.event.value not in _ALONE else _ALONE
    others = max(len(row.datasets) - _MOST_NAMES, 0)
    return Told(row, str(words[row.event.value]), row.datasets[:_MOST_NAMES], others)


def _at(path: str, typed: Mapping[str, str], names: Sequence[str]) -> str:
    """An address with those of these fields that are typed."""
    query = urlencode({name: typed[name] for name in names if typed.get(name)})
    return f"{path}?{query}" if query else path


def _errors(refused: Invalid, fields: Sequence[str]) -> dict[str, str]:
    """What a flow found wrong with what was typed."""
    return errors_of(refused.faults, fields) or {"": refused.detail}


def _asked(request: Request) -> Asked:
    return read_asked(dict(request.query_params))


Asking = Annotated[Asked, Depends(_asked)]


async def _shown(request: Request, visiting: Visit, desk: Desk, template: str, **values: object) -> Response:
    """A page of the audit, with what stands on top of each: where else to look, and how far the record is proven."""
    errors = values.get("errors")
    return show(
        f"audit/{template}.html",
        status=422 if errors else 200,
        here="audit",
        visiting=visiting,
        form=form_for(request),
        desk=desk,
        environments=[(each, each) for each in desk.environments],
        proof=await how_far(house_of(request)),
        address=request.app.state.public_url,
        at=visiting.occasion.at,
        **values,
    )


# --- the records ------------------------------------------------------------------------------------------------------


@router.get("/audit")
async def get_audit(
    request: Request,
    house: Housed,
    visiting: Visiting,
    asked: Asking,
    after: str | None = None,
    before: str | None = None,
    done: _Done | None = None,
) -> Response:
    """The rows that answer a question, the newest first; those of whoever asks, where they audit nothing."""
    occasion = visiting.occasion
    desk = await reading_desk(house, occasion)
    rows: Sequence[Told] = ()
    earlier = later = None
    if not asked.errors:
        question = desk.own(asked.now(occasion.at))
        page = (await review_ledger(house, occasion, question, _MOST_ROWS, after, before)).page
        rows = [told(each) for each in page.rows]
        earlier = asked.at("/audit", before=page.previous) if page.previous else None
        later = asked.at("/audit", after=page.following) if page.following else None
    values = {**_nothing(asked), "rows": rows, "earlier": earlier, "later": later, "done": done}
    return await _shown(request, visiting, desk, "rows", errors=asked.errors, **values)


@router.get("/audit/export")
async def get_audit_export(
    request: Request,
    house: Housed,
    visiting: Visiting,
    asked: Asking,
    format: Format = Format.JSONL,  # noqa: A002
) -> Response:
    """The same rows as a file with the proof of each; ``/v1/ledger/export`` gives the same."""
    desk = await reading_desk(house, visiting.occasion)
    if asked.errors:
        return await _shown(request, visiting, desk, "rows", errors=asked.errors, **_nothing(asked))
    question = desk.own(asked.now(visiting.occasion.at))
    export = await export_ledger(house, visiting.occasion, question, format)
    attached = {"Content-Disposition": f'attachment; filename="{export.name}"'}
    return StreamingResponse(export.parts, media_type=export.media, headers=attached)


def _nothing(asked: Asked) -> dict[str, object]:
    return {
        "asked": asked,
        "rows": (),
        "earlier": None,
        "later": None,
        "done": None,
        "name": "",
        "formats": tuple(Format),
    }


@router.get("/audit/rows/{id}")
async def get_audit_row(request: Request, house: Housed, visiting: Visiting, id: UUID) -> Response:  # noqa: A002
    """One row with all that it says, and its proof, checked as it is shown."""
    occasion = visiting.occasion
    desk = await reading_desk(house, occasion)
    row = await read_row(house, occasion, id)
    try:
        checked = await check_row(house, occasion.beside("proof"), id)
    except Conflict:
        checked = None
    details = orjson.dumps(dict(row.details), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    path = "\n".join(each.hex() for each in checked.proof.path) if checked else ""
    values = {"told": told(row), "row": row, "checked": checked, "path": path, "details": details}
    return await _shown(request, visiting, desk, "row", **values)


@router.get("/audit/rows/{id}/decision")
async def get_audit_decision(request: Request, house: Housed, visiting: Visiting, id: UUID) -> Response:  # noqa: A002
    """What a row says was decided, computed again, and whether it is the same."""
    desk = await reading_desk(house, visiting.occasion)
    again = await replay_decision(house, visiting.occasion, id)
    lines = again.judged[:_MOST_LINES]
    row = again.replayed.row
    return await _shown(
        request, visiting, desk, "decision", row=row, again=again, lines=lines, told=told(row), most=_MOST_LINES
    )


# --- looking something up ---------------------------------------------------------------------------------------------


@router.get("/audit/find")
async def get_audit_found(request: Request, house: Housed, visiting: Visiting) -> Response:
    """What is found by what somebody has in hand; what can only be one thing is shown at once."""
    reading = Reading(dict(request.query_params))
    search = reading.line("search", _LONGEST_SEARCH)
    errors = errors_of(reading.faults, ("search",))
    if not search and not errors:
        return go("/audit")
    desk = await reading_desk(house, visiting.occasion)
    found = None if errors else await look_up(house, visiting.occasion, search)
    only = _only(found) if found is not None else None
    if only is not None:
        return go(only)
    months = _months(visiting.occasion.at)
    return await _shown(request, visiting, desk, "found", errors=errors, search=search, found=found, months=months)


def _only(found: LookedUp) -> str | None:
    """Where the only thing is that was found. Of a dataset more than one thing can be asked, so it is none."""
    places = [
        *(f"/audit/rows/{each}" for each in found.rows),
        *(f"/audit/about/receipt/{each}" for each in found.receipts),
        *(f"/audit/about/run/{quote(each, safe='')}" for each in found.runs),
        *(f"/audit/about/subject/{quote(each, safe='')}" for each in found.subjects),
    ]
    return places[0] if len(places) == 1 and not found.datasets else None


# --- who read it ------------------------------------------------------------------------------------------------------


@router.get("/audit/readers")
async def get_audit_readers(request: Request, house: Housed, visiting: Visiting) -> Response:
    """Who read a dataset in some time, under which rules; or which dataset is meant, where words are given."""
    typed = dict(request.query_params)
    reading = Reading(typed)
    name = reading.line("dataset", 200)
    environment = reading.line("environment", 200) or None
    since, until = reading.moment("since"), last_of(reading, "until")
    errors = errors_of(reading.faults, ("dataset", "environment", "since", "until"))
    desk = await reading_desk(house, visiting.occasion)
    found, candidates = None, None
    if name and not errors:
        occasion = visiting.occasion
        try:
            if " " in name or "." not in name:
                candidates = await find_audited(house, occasion, name)
            else:
                found = await find_readers(house, occasion, name, since, until, environment)
        except Invalid as refused:
            errors = _errors(refused, ("dataset", "environment", "since", "until"))
    keep = urlencode({key: typed[key] for key in ("since", "until", "environment") if typed.get(key)})
    asks = {key: typed[key] for key in ("dataset", "environment") if typed.get(key)}
    left_until = found.left_until + timedelta(microseconds=1) if found and found.left_until else None
    going_on = (
        {**asks, "since": found.since.isoformat(), "until": left_until.isoformat()} if found and left_until else {}
    )
    return await _shown(
        request,
        visiting,
        desk,
        "readers",
        errors=errors,
        typed=typed,
        on=urlencode(going_on),
        export=_at("/audit/readers.csv", typed, ("dataset", "environment", "since", "until")),
        most=_MOST_READERS,
        found=found,
        candidates=candidates,
        keep=keep,
        asks=urlencode(asks),
        months=_months(visiting.occasion.at),
    )


@router.get("/audit/readers.csv")
async def get_audit_readers_file(request: Request, house: Housed, visiting: Visiting) -> Response:
    """All who read a dataset, as a table for other programs; its last line says whether that is all."""
    reading = Reading(dict(request.query_params))
    name, environment = reading.line("dataset", 200), reading.line("environment", 200) or None
    since, until = reading.moment("since"), last_of(reading, "until")
    if reading.faults:
        raise Invalid(reading.faults[0].message, reading.faults)
    found = await find_readers(house, visiting.occasion, name, since, until, environment)
    columns = ("subject", "loads_reported", "saves_reported", "leases", "first", "last", "rules", "where")
    whole = ("(whole)" if found.whole else "(not whole)", *[""] * (len(columns) - 1))
    return csv_of("readers", columns, chain(map(_reader_line, found.found), [whole]))


def _reader_line(each: ReadBy) -> Sequence[object]:
    times = [*each.claimed.values(), *([each.given] if each.given else [])]
    claimed = {action: of.count for action, of in each.claimed.items()}
    return (
        each.subject,
        claimed.get(Action.LOAD, 0),
        claimed.get(Action.SAVE, 0),
        each.given.count if each.given else 0,
        min(of.first for of in times).isoformat(),
        max(of.last for of in times).isoformat(),
        " ".join(rule.id for rule in each.because),
        " ".join((*each.environments, *each.projects)),
    )


def _months(at: datetime) -> list[tuple[date, str]]:
    """The first day of this month and of each before it, with how an address asks about the month."""
    found = []
    last = at.astimezone(UTC).date()
    for _ in range(_MOST_MONTHS):
        first = last.replace(day=1)
        found.append((first, urlencode({"since": first, "until": last})))
        last = first - timedelta(days=1)
    return found


# --- charts, and what is unusual --------------------------------------------------------------------------------------


@router.get("/audit/charts")
async def get_audit_charts(request: Request, house: Housed, visiting: Visiting, asked: Asking) -> Response:
    """How much was used and refused, by day, domain, team and project, each as a chart and as a table."""
    occasion = visiting.occasion
    desk = await reading_desk(house, occasion)
    errors, counted, tiles = dict(asked.errors), None, list[Tile]()
    if not errors:
        by = [By.DAY, By.DOMAIN, By.PROJECT, By.SUBJECT, *([By.TEAM] if desk.reader.everything else [])]
        try:
            counted = await count_ledger(house, occasion, desk.own(asked.now(occasion.at)), by)
            tiles = _tiles(asked, counted)
        except Invalid as refused:
            errors = _errors(refused, ("since",))
    return await _shown(request, visiting, desk, "charts", errors=errors, asked=asked, counted=counted, tiles=tiles)


@router.get("/audit/charts/{by}.csv")
async def get_audit_figures(house: Housed, visiting: Visiting, asked: Asking, by: By) -> Response:
    """The numbers of a chart, as a table for other programs."""
    if asked.errors:
        raise Invalid(next(iter(asked.errors.values())))
    desk = await reading_desk(house, visiting.occasion)
    question = desk.own(asked.now(visiting.occasion.at))
    (figures,) = (await count_ledger(house, visiting.occasion, question, [by], MOST_IN_A_FILE)).of
    return csv_of(by, (by, "given", "used", "refused"), map(astuple, figures.figures))


@router.get("/audit/unusual")
async def get_audit_unusual(request: Request, house: Housed, visiting: Visiting) -> Response:
    """What stands out in a window; for those who audit everything."""
    typed = dict(request.query_params)
    reading = Reading(typed)
    since, until = reading.moment("since"), last_of(reading, "until")
    errors = errors_of(reading.faults, ("since", "until"))
    desk = await reading_desk(house, visiting.occasion)
    looked, chart = None, None
    if not errors:
        try:
            looked = await look_at_unusual(house, visiting.occasion, since, until)
            chart = _unusual_by_day(looked)
        except Invalid as refused:
            errors = _errors(refused, ("since", "until"))
    export = _at("/audit/unusual.csv", typed, ("since", "until"))
    values = {"typed": typed, "looked": looked, "chart": chart, "export": export}
    return await _shown(request, visiting, desk, "unusual", errors=errors, **values)


@router.get("/audit/unusual.csv")
async def get_audit_unusual_file(request: Request, house: Housed, visiting: Visiting) -> Response:
    """The same as a table for other programs."""
    reading = Reading(dict(request.query_params))
    since, until = reading.moment("since"), last_of(reading, "until")
    if reading.faults:
        raise Invalid(reading.faults[0].message, reading.faults)
    found = (await look_at_unusual(house, visiting.occasion, since, until)).found
    rows = ((each.at.isoformat(), each.kind, each.subject or "", each.words) for each in found)
    return csv_of("unusual", ("at", "kind", "subject", "what"), rows)


def _unusual_by_day(looked: Looked) -> charts.Chart:
    times = Counter(each.at.astimezone(UTC).date().isoformat() for each in looked.found)
    days = every_day((Figure(day, used=count) for day, count in times.items()), looked.since, looked.until)
    words = WORDS["audit_unusual"]
    values = [(day.name, day.used) for day in days]
    return charts.bars(str(words["by_day"]), str(words["day"]), str(words["things"]), values)


def _tiles(asked: Asked, counted: Counted) -> list[Tile]:
    of = {figures.by: figures for figures in counted.of}
    shown = [
        _tile(asked, "day", of[By.DAY], "used"),
        _tile(asked, "domain", of[By.DOMAIN], "used"),
        *([_tile(asked, "team", of[By.TEAM], "used")] if By.TEAM in of else []),
        _tile(asked, "project", of[By.PROJECT], "used"),
        _tile(asked, "refused", of[By.DAY], "refused"),
        _tile(asked, "subject", of[By.SUBJECT], "refused"),
    ]
    return [tile for tile in shown if any(bar.value for bar in tile.chart.bars)]


def _tile(asked: Asked, name: str, figures: Figures, counts: Literal["used", "refused"]) -> Tile:
    values = [(each.name or str(_CHARTS["nameless"]), getattr(each, counts)) for each in figures.figures]
    if figures.by is not By.DAY:
        values = sorted((each for each in values if each[1]), key=lambda each: (-each[1], each[0]))
    most = values if figures.by is By.DAY else values[:_MOST_BARS]
    titles, over = _CHARTS["by"], _CHARTS["over"]
    assert isinstance(titles, Mapping)  # noqa: S101 - the words have these by cases
    assert isinstance(over, Mapping)  # noqa: S101
    counted = str(_CHARTS["uses" if counts == "used" else "refusals"])
    chart = charts.bars(titles[name], over[figures.by], counted, most)
    note = str(_CHARTS["team_note"]) if figures.by is By.TEAM else ""
    export = asked.at(f"/audit/charts/{figures.by}.csv")
    untold = len(values) - len(most) + figures.untold
    return Tile(name, chart, export, len(most), untold, note, ranked=figures.by is not By.DAY)


# --- everything about something, and the past -------------------------------------------------------------------------


@router.get("/audit/about/{kind}/{id:path}")
async def get_audit_about(
    request: Request,
    house: Housed,
    visiting: Visiting,
    kind: Literal["subject", "dataset", "run", "receipt"],
    id: str,  # noqa: A002 - the address names it
) -> Response:
    """The last rows about a person, a dataset, a run or a receipt: what was told, given, claimed and refused, apart."""
    occasion = visiting.occasion
    desk = await reading_desk(house, occasion)
    asked = read_asked({kind: id})
    if asked.errors or not asked.fields:
        raise NotFound
    question = desk.own(_last(asked.question, occasion.at))
    gathered = [(each, [told(row) for row in each.rows]) for each in await gather(house, occasion, question)]
    beside: Sequence[Told] = ()
    if kind == "subject" and desk.reader.audits:
        about = _last(Question(about=id), occasion.at)
        page = (await review_ledger(house, occasion.beside("about"), about, 5, None)).page
        beside = [told(row) for row in page.rows]
    values = {"kind": kind, "id": id, "gathered": gathered, "beside": beside, "asked": asked}
    return await _shown(request, visiting, desk, "about", **values)


def _last(question: Question, at: datetime) -> Question:
    return replace(question, since=at - GATHERED_SINCE)


@router.get("/audit/past")
async def get_audit_past(request: Request, house: Housed, visiting: Visiting) -> Response:
    """What somebody could use on a day, or who could load a dataset then: the rules of then, decided again."""
    occasion, typed = visiting.occasion, dict(request.query_params)
    fields = ("of", "name", "at", "environment")
    reading = Reading(typed)
    of = reading.line("of") or "subject"
    name = reading.line("name", 200)
    point = reading.moment("at")
    environment = reading.line("environment", 200)
    desk = await reading_desk(house, occasion)
    if not name and "name" in typed:
        reading.wrong("name", str(WORDS["audit_past"]["needed"]))
    errors = errors_of(reading.faults, fields)
    entries: Mapping[str, Any] | None = None
    who = None
    revision, more = 0, False
    if name and not errors:
        wanted = Wanted(environment or next(iter(desk.environments), ""))
        try:
            if of == "dataset":
                who = await find_who_uses(house, occasion, wanted, Action.LOAD, name, _MOST_LINES, "", point)
                revision, more = who.revision, who.following is not None
            else:
                about = Subject.parse(name)
                part = Page(_MOST_LINES)
                catalog = AskedCatalog(wanted, Media.JSON, about=about, point=point, page=part)
                fetched = await fetch_catalog(house, occasion, catalog)
                entries = {key: _written(value) for key, value in orjson.loads(fetched.body or b"{}").items()}
                revision, more = fetched.revision, fetched.following is not None
        except Invalid as refused:
            errors = _errors(refused, fields)
        except Conflict as refused:
            errors = {"": refused.detail}
    values = {"typed": typed, "of": of, "name": name, "entries": entries, "who": who, "more": more}
    return await _shown(
        request, visiting, desk, "past", errors=errors, revision=revision, point=point, most=_MOST_LINES, **values
    )


def _written(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


# --- saved questions --------------------------------------------------------------------------------------------------


@router.get("/audit/views")
async def get_audit_views(request: Request, house: Housed, visiting: Visiting, done: _Done | None = None) -> Response:
    """The questions that one keeps, and those that others share."""
    views = await list_views(house, visiting.occasion)
    desk = await reading_desk(house, visiting.occasion)
    return await _shown(request, visiting, desk, "views", views=views, address_of=address_of, done=done)


@router.post("/audit/views")
async def post_audit_view(request: Request, house: Housed, visiting: Posting) -> Response:
    """Keep a question by a name."""
    typed = await form_of(request)
    asked = read_asked(typed)
    errors = dict(asked.errors)
    if not errors:
        try:
            shared = typed.get("shared") == "yes"
            await save_view(house, visiting.occasion, typed.get("name", ""), asked.question, asked.days, shared=shared)
        except Invalid as refused:
            errors = _errors(refused, ("name",))
        else:
            return go("/audit/views", done="saved")
    desk = await reading_desk(house, visiting.occasion)
    values = {**_nothing(asked), "name": typed.get("name", "")}
    return await _shown(request, visiting, desk, "rows", errors=errors, **values)


@router.post("/audit/views/remove")
async def post_audit_view_removed(request: Request, house: Housed, visiting: Posting) -> Response:
    """Remove one of one's own."""
    await remove_view(house, visiting.occasion, (await form_of(request)).get("name", ""))
    return go("/audit/views", done="removed")
