"""``/requests``: asking for access, seeing where that stands, and deciding on what others ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Request, Response

from muniment.core.consequences import Effect
from muniment.core.datasets import Dataset
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed, NotFound, Problem, StaleEdit
from muniment.core.renewals import AGAIN, Again
from muniment.core.requests import (
    LONGEST,
    MOST_DATASETS,
    REQUESTABLE,
    AccessRequest,
    Narrowing,
    State,
    Step,
    Terms,
    Turn,
    steps_of,
)
from muniment.core.schema import Action
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.request_access import (
    Foreseen,
    Told,
    Weighed,
    Wish,
    approve_request,
    deny_request,
    foresee_request,
    list_requests,
    renew_access,
    request_access,
    weigh_request,
    withdraw_request,
)
from muniment.flows.sign_in import Visit
from muniment.web.pages import go, page_router, show, status_of
from muniment.web.typed import Reading, errors_of
from muniment.web.visiting import Housed, Posting, Visiting, all_of, form_for, form_of
from muniment.web.words import WORDS
from muniment.web.words.texts import one_of

router = page_router()

#: How many requests stand on a page.
_MOST: Final = 25

#: The ends that are offered, in days from now.
_DAYS: Final = (30, 90, 180, LONGEST.days)
_USUAL: Final = 90
_ANOTHER: Final = "date"

#: How much of a text is asked for; what is typed beyond is shown again, cut.
_LONGEST_REASON: Final = 500
_LONGEST_PURPOSE: Final = 100
_LONGEST_TYPED: Final = 12_000

#: By which rights somebody decides on what others ask for, and so may name a deputy.
_DECIDING: Final = frozenset({Action.APPROVE, Action.ADMINISTER})

_FIELDS: Final = ("dataset", "action", "environment", "purpose", "because", "days", "until")

#: What a fault of the flows is about, by the name of its field here.
_PLACES: Final[Mapping[str, str]] = {
    "datasets": "dataset",
    "name": "dataset",
    "actions": "action",
    "environments": "environment",
}

_KINDS: Final[Mapping[State, str]] = {
    State.PENDING: "warn",
    State.APPROVED: "good",
    State.DENIED: "bad",
    State.WITHDRAWN: "",
    State.EXPIRED: "",
}

_Which = Literal["mine", "waiting", "all"]
_Done = Literal["asked", "approved", "seconded", "denied", "withdrawn"]


# --- lists ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A request in a list: what for, how far it has come, since how many days, and until when."""

    request: AccessRequest
    state: State
    kind: str
    days: int
    decides: bool
    deputy_of: str | None

    @classmethod
    def of(cls, told: Told, occasion: Occasion) -> Line:
        """A request as somebody sees it now."""
        request, state = told.request, told.request.state(occasion.at)
        return cls(
            request,
            state,
            _KINDS[state],
            (occasion.at - request.at).days,
            told.standing.decides and request.awaits(occasion.subject, occasion.at),
            str(told.standing.deputy_of) if told.standing.deputy_of else None,
        )


@router.get("/requests")
async def get_requests(
    request: Request,
    house: Housed,
    visiting: Visiting,
    which: _Which = "mine",
    state: State | Literal[""] = "",
    after: UUID | None = None,
    done: _Done | None = None,
) -> Response:
    """One's own requests, those that wait for one, or all that one may know of."""
    wished = State(state) if state else State.PENDING if which == "waiting" else None
    wish = Wish(wished, {"mine": True, "waiting": False, "all": None}[which])
    found, following, _ = await list_requests(house, visiting.occasion, wish, _MOST, str(after) if after else None)
    return show(
        "requests/list.html",
        here="requests",
        visiting=visiting,
        form=form_for(request),
        which=which,
        state=str(state),
        states=[each.value for each in State],
        lines=[Line.of(told, visiting.occasion) for told in found],
        later=_list_at(which, state, following) if following else None,
        first=_list_at(which, state, None) if after else None,
        after=after,
        decides=not _DECIDING.isdisjoint(visiting.governs),
        done=done,
    )


def _list_at(which: str, state: str, after: str | None) -> str:
    given = {"which": which, "state": state, "after": after}
    return f"/requests?{urlencode({name: value for name, value in given.items() if value})}"


# --- asking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form by which one asks, as it was typed or as an address fills it in."""

    dataset: str = ""
    action: tuple[str, ...] = (Action.LOAD.value,)
    environment: tuple[str, ...] = ()
    purpose: str = ""
    because: str = ""
    days: str = str(_USUAL)
    until: str = ""

    @property
    def names(self) -> list[str]:
        """The datasets, each once."""
        return list(dict.fromkeys(self.dataset.replace(",", " ").split()))

    @classmethod
    def of(cls, again: Again, at: datetime) -> Asked:
        """What somebody has who wants to go on with it."""
        days = str((again.terms.until - at).days)
        return cls(
            dataset="\n".join(again.terms.datasets),
            action=tuple(sorted(again.terms.actions)),
            environment=tuple(sorted(again.terms.environments)),
            purpose=again.purpose or "",
            because=again.because,
            days=days if int(days) in _DAYS else _ANOTHER,
            until="" if int(days) in _DAYS else f"{again.terms.until:%Y-%m-%d}",
        )


@router.get("/requests/new")
async def get_new(
    request: Request,
    house: Housed,
    visiting: Visiting,
    dataset: Annotated[list[str], Query(max_length=MOST_DATASETS)] = [],  # noqa: B006 - FastAPI copies it
    action: Annotated[list[str], Query(max_length=2)] = [],  # noqa: B006
    environment: Annotated[list[str], Query(max_length=MOST_DATASETS)] = [],  # noqa: B006
    purpose: Annotated[str, Query(max_length=_LONGEST_PURPOSE)] = "",
    project: Annotated[str, Query(max_length=_LONGEST_PURPOSE)] = "",
    because: Annotated[str, Query(max_length=_LONGEST_REASON)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
    renews: Annotated[str, Query(max_length=LONGEST_ASKED)] = "",
) -> Response:
    """The form by which one asks, filled in as the address says; and who decides."""
    typed = Asked(
        dataset="\n".join(dataset),
        action=tuple(action) or (Action.LOAD.value,),
        environment=tuple(environment),
        purpose=purpose,
        because=because or (str(WORDS["request_new"]["of_project"]).format(project=project) if project else ""),
        days=_ANOTHER if until else str(_USUAL),
        until=until[:10],
    )
    foreseen = await foresee_request(house, visiting.occasion, typed.names, renews or None)
    if foreseen.again is not None:
        typed = Asked.of(foreseen.again, visiting.occasion.at)
    return _asking(request, visiting, typed, foreseen)


@router.post("/requests/new")
async def post_new(request: Request, house: Housed, visiting: Posting) -> Response:
    """The same form as it was typed so far, and who decides; nothing is asked for yet."""
    typed = await _typed(request)
    return _asking(request, visiting, typed, await foresee_request(house, visiting.occasion, typed.names))


@router.post("/requests")
async def post_requests(request: Request, house: Housed, visiting: Posting) -> Response:
    """Ask: one request for each domain that the datasets stand in."""
    typed, made = await _typed(request), list[Told]()
    left = typed.names
    try:
        wanted = _read(typed, visiting.occasion)
        for number, names in enumerate(_by_domain(left)):
            occasion = visiting.occasion.beside(f" {number}" if number else "")
            made.append(await request_access(house, occasion, wanted.of(names), wanted.because, wanted.purpose))
            left = [name for name in left if name not in names]
    except (Invalid, NotFound, Conflict, NotAllowed) as refused:
        typed = replace(typed, dataset="\n".join(left)) if made else typed
        foreseen = await foresee_request(house, visiting.occasion.beside(" seen"), typed.names)
        return _asking(request, visiting, typed, foreseen, refused, made=[told.request for told in made])
    if len(made) == 1:
        return go(f"/requests/{made[0].request.id}", done="asked")
    return go("/requests", done="asked")


@router.post("/requests/renew")
async def post_renewal(request: Request, house: Housed, visiting: Posting) -> Response:
    """Ask once more for what a grant gives; where that cannot be so, the form, to ask for something else."""
    grant = (await form_of(request)).get("grant", "")
    try:
        told = await renew_access(house, visiting.occasion, grant)
    except (Invalid, Conflict, NotAllowed) as refused:
        foreseen = await foresee_request(house, visiting.occasion.beside(" seen"), [])
        return _asking(request, visiting, Asked(), foreseen, refused)
    return go(f"/requests/{told.request.id}", done="asked")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, but for the datasets."""

    actions: frozenset[Action]
    environments: frozenset[str]
    until: datetime
    because: str
    purpose: str | None

    def of(self, names: Sequence[str]) -> Terms:
        """The same of these datasets."""
        return Terms(self.actions, tuple(names), self.environments, self.until)


def _by_domain(names: Sequence[str]) -> list[list[str]]:
    """The datasets in as many requests as they have domains; nothing is one request, which says what is missing."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name.rpartition(".")[0]].append(name)
    return list(found.values()) or [[]]


def _read(typed: Asked, occasion: Occasion) -> _Wanted:
    """What was typed, as values; raises :class:`Invalid` with every field that is wrong."""
    reading = Reading({"purpose": typed.purpose, "because": typed.because, "until": typed.until})
    words = WORDS["request_new"]
    because, purpose = reading.line("because", _LONGEST_REASON), reading.line("purpose", _LONGEST_PURPOSE)
    if not because and not reading.faults:
        reading.wrong("because", str(words["because_missing"]))
    known = {action.value: action for action in REQUESTABLE}
    actions = frozenset(known[each] for each in typed.action if each in known)
    if not typed.names:
        reading.wrong("dataset", str(words["dataset_missing"]))
    if not actions:
        reading.wrong("action", str(words["action_missing"]))
    if not typed.environment:
        reading.wrong("environment", str(words["environment_missing"]))
    until = _end_of(typed, occasion, reading)
    reading.check()
    return _Wanted(actions, frozenset(typed.environment), until, because, purpose or None)


def _end_of(typed: Asked, occasion: Occasion, reading: Reading) -> datetime:
    if typed.days != _ANOTHER:
        days = int(typed.days) if typed.days in {str(each) for each in _DAYS} else _USUAL
        return occasion.at + timedelta(days=days)
    day = reading.moment("until")
    if day is None and not any(fault.at == "until" for fault in reading.faults):
        reading.wrong("until", str(WORDS["request_new"]["until_missing"]))
    return day or occasion.at


async def _typed(request: Request) -> Asked:
    said = {name: text[:_LONGEST_TYPED] for name, text in (await form_of(request)).items()}
    return Asked(
        dataset=said.get("dataset", ""),
        action=await all_of(request, "action"),
        environment=await all_of(request, "environment"),
        purpose=said.get("purpose", ""),
        because=said.get("because", ""),
        days=said.get("days", ""),
        until=said.get("until", ""),
    )


def _asking(
    request: Request,
    visiting: Visit,
    typed: Asked,
    foreseen: Foreseen,
    refused: Problem | None = None,
    made: Sequence[AccessRequest] = (),
) -> Response:
    """The form, and beside it who would decide."""
    words = WORDS["request_new"]
    environments = [(name, name) for name in foreseen.environments]
    if len(environments) == 1 and not typed.environment:
        typed = replace(typed, environment=(environments[0][0],))
    return show(
        "requests/new.html",
        here="requests",
        visiting=visiting,
        form=form_for(request),
        status=200 if refused is None else status_of(refused),
        typed=typed,
        foreseen=foreseen,
        actions=[(each.value, one_of(words["actions"], each.value)) for each in (Action.LOAD, Action.SAVE)],
        environments=environments,
        ends=[*((str(days), one_of(words["ends"], str(days))) for days in _DAYS), (_ANOTHER, words["another"])],
        first_day=f"{visiting.occasion.at + timedelta(days=1):%Y-%m-%d}",
        last_day=f"{visiting.occasion.at + LONGEST:%Y-%m-%d}",
        made=made,
        asked_before=refused.members.get("request") if refused is not None else None,
        errors=_errors(refused, _FIELDS),
    )


def _errors(refused: Problem | None, fields: Sequence[str]) -> dict[str, str]:
    """What is to be mended, by field."""
    match refused:
        case None:
            return {}
        case Invalid() if refused.faults:
            faults = [Fault(_PLACES.get(fault.at, fault.at), fault.message) for fault in refused.faults]
            return errors_of(faults, fields)
        case NotFound() if "dataset" in fields:
            return {"dataset": str(WORDS["request_new"]["unknown"])}
        case _:
            return {"": refused.detail}


# --- one request ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A step on the way of a request; ``to_come`` where it has not happened yet."""

    text: str
    at: datetime
    by: str
    deputy_of: str
    said: str
    to_come: bool


@dataclass(frozen=True, slots=True)
class Gain:
    """What somebody could do that they cannot do now: with one dataset, each action and where.

    ``about`` is the dataset, where the reader may know of it: what it holds is told to nobody else.
    """

    dataset: str
    about: Dataset | None
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Deciding:
    """What stands in the form by which one decides."""

    dataset: tuple[str, ...]
    action: tuple[str, ...]
    environment: tuple[str, ...]
    until: str
    comment: str = ""
    because: str = ""

    @classmethod
    def of(cls, terms: Terms) -> Deciding:
        """All that is asked for."""
        return cls(
            terms.datasets, tuple(sorted(terms.actions)), tuple(sorted(terms.environments)), f"{terms.until:%Y-%m-%d}"
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision that was refused: why, and what had been typed."""

    problem: Problem
    typed: Deciding | None = None
    reason: str = ""
    fields: tuple[str, ...] = ("dataset", "action", "environment", "until", "comment")


@router.get("/requests/{id}")
async def get_request(
    request: Request,
    house: Housed,
    visiting: Visiting,
    id: UUID,  # noqa: A002 - the address names it
    done: _Done | None = None,
) -> Response:
    """Where a request stands; for who decides on it, what an approval would give, and the forms to decide."""
    return await _one(request, house, visiting, str(id), done=done)


@router.post("/requests/{id}/weigh")
async def post_weighing(
    request: Request,
    house: Housed,
    visiting: Posting,
    id: UUID,  # noqa: A002
) -> Response:
    """The same page, with what an approval of the part that is ticked would give; nothing is decided yet."""
    return await _one(request, house, visiting, str(id), typed=await _deciding(request))


@router.post("/requests/{id}/approve")
async def post_approval(
    request: Request,
    house: Housed,
    visiting: Posting,
    id: UUID,  # noqa: A002
) -> Response:
    """Approve what is ticked, until the day that is named."""
    typed = await _deciding(request)
    try:
        reading = Reading({"until": typed.until, "comment": typed.comment})
        comment, until = reading.line("comment", _LONGEST_REASON), reading.moment("until")
        reading.check()
        seen = await weigh_request(house, visiting.occasion.beside(" seen"), str(id))
        part = _part(typed, seen.told.request.terms, until)
        told = await approve_request(house, visiting.occasion, str(id), part, comment, await _version(request))
    except (Invalid, Conflict, StaleEdit, NotAllowed) as refused:
        return await _one(request, house, visiting, str(id), refusal=Refusal(refused, typed))
    return go(f"/requests/{id}", done="approved" if told.request.ending is not None else "seconded")


@router.post("/requests/{id}/deny")
async def post_denial(
    request: Request,
    house: Housed,
    visiting: Posting,
    id: UUID,  # noqa: A002
) -> Response:
    """Deny it, and say why."""
    typed = (await form_of(request)).get("because", "")[:_LONGEST_TYPED]
    try:
        reading = Reading({"because": typed})
        because = reading.line("because", _LONGEST_REASON)
        reading.check()
        await deny_request(house, visiting.occasion, str(id), because, await _version(request))
    except (Invalid, Conflict, StaleEdit, NotAllowed) as refused:
        refusal = Refusal(refused, reason=typed, fields=("because",))
        return await _one(request, house, visiting, str(id), refusal=refusal)
    return go(f"/requests/{id}", done="denied")


@router.post("/requests/{id}/withdraw")
async def post_withdrawal(
    request: Request,
    house: Housed,
    visiting: Posting,
    id: UUID,  # noqa: A002
) -> Response:
    """Take one's own request back."""
    try:
        await withdraw_request(house, visiting.occasion, str(id), "", await _version(request))
    except (StaleEdit, NotAllowed) as refused:
        return await _one(request, house, visiting, str(id), refusal=Refusal(refused))
    return go(f"/requests/{id}", done="withdrawn")


async def _deciding(request: Request) -> Deciding:
    fields = await form_of(request)
    return Deciding(
        dataset=await all_of(request, "dataset"),
        action=await all_of(request, "action"),
        environment=await all_of(request, "environment"),
        until=fields.get("until", "")[:_LONGEST_TYPED],
        comment=fields.get("comment", "")[:_LONGEST_TYPED],
    )


def _part(typed: Deciding, terms: Terms, until: datetime | None) -> Narrowing:
    """What is left of the terms. A day that is the one that was asked for leaves its very moment."""
    known = {action.value: action for action in REQUESTABLE}
    same_day = until is not None and until == datetime.combine(terms.until.astimezone(UTC).date(), time(tzinfo=UTC))
    return Narrowing(
        actions=frozenset(known[each] for each in typed.action if each in known),
        datasets=typed.dataset,
        environments=frozenset(typed.environment),
        until=None if same_day else until,
    )


async def _version(request: Request) -> int | None:
    """The version of the request that was looked at."""
    text = (await form_of(request)).get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("999999") else None


async def _one(
    request: Request,
    house: Housed,
    visiting: Visit,
    id_: str,
    *,
    done: str | None = None,
    typed: Deciding | None = None,
    refusal: Refusal | None = None,
) -> Response:
    """The page of one request, as it stands now."""
    occasion = visiting.occasion.beside(" shown") if refusal else visiting.occasion
    part, refused = typed or (refusal.typed if refusal else None), refusal.problem if refusal else None
    weighed = await weigh_request(house, occasion, id_)
    asked = weighed.told.request
    if part is not None and weighed.against is None and refusal is None:
        reading = Reading({"until": part.until})
        narrowing = _part(part, asked.terms, reading.moment("until"))
        weighed = await weigh_request(house, visiting.occasion.beside(" part"), id_, narrowing)
    at = visiting.occasion.at
    standing, state = weighed.told.standing, asked.state(at)
    ends_soon = state is State.APPROVED and asked.terms.until <= at + AGAIN
    decides = standing.decides and asked.awaits(visiting.occasion.subject, at)
    return show(
        "requests/show.html",
        here="requests",
        visiting=visiting,
        form=form_for(request),
        status=200 if refused is None else status_of(refused),
        asked=asked,
        terms=asked.terms,
        state=state,
        kind=_KINDS[state],
        steps=_steps(asked, at),
        weighed=weighed,
        gains=_gains(weighed),
        decides=decides,
        own=asked.requester == visiting.occasion.subject,
        deputy_of=str(standing.deputy_of) if standing.deputy_of and decides else None,
        typed=part or Deciding.of(asked.terms),
        reason=refusal.reason if refusal else "",
        again=_again(asked) if state not in {State.PENDING, State.APPROVED} or ends_soon else None,
        renews=asked.grants[0] if asked.grants and at < asked.terms.until and ends_soon else None,
        first_day=f"{at + timedelta(days=1):%Y-%m-%d}",
        done=done,
        errors=_errors(refused, refusal.fields if refusal else ()),
    )


def _again(request: AccessRequest) -> str:
    """Where one asks for the same once more."""
    given = [("dataset", name) for name in request.asked.datasets]
    given += [("action", action.value) for action in sorted(request.asked.actions)]
    given += [("environment", name) for name in sorted(request.asked.environments)]
    given += [("because", request.because)]
    return f"/requests/new?{urlencode([*given, *([('purpose', request.purpose)] if request.purpose else [])])}"


def _steps(request: AccessRequest, at: datetime) -> list[Shown]:
    words = WORDS["request_steps"]
    return [
        Shown(
            text=one_of(words["to_come" if step.at > at else "done"], _turn(step)).format(to=step.to or ""),
            at=step.at,
            by=str(step.by) if step.by else "",
            deputy_of=str(step.deputy_of) if step.deputy_of else "",
            said=step.text,
            to_come=step.at > at,
        )
        for step in steps_of(request)
        if step.turn is not Turn.EXPIRED or request.ending is None
    ]


def _turn(step: Step) -> str:
    """What happened, as the words tell it apart: those who approve in ``all`` do in every domain."""
    return "rose_all" if step.turn is Turn.ROSE and step.to == ROOT else step.turn.value


def _gains(weighed: Weighed) -> list[Gain]:
    """What the requester would gain, by dataset; a dataset of which nothing is gained is there too."""
    effects: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in weighed.gained:
        if not effect.on_domain:
            effects[effect.resource].append(effect)
    known = {dataset.name: dataset for dataset in weighed.datasets}
    return [
        Gain(name, known.get(name), _actions(effects.get(name, []))) for name in weighed.told.request.terms.datasets
    ]


def _actions(effects: Sequence[Effect]) -> tuple[tuple[str, str], ...]:
    """Each action, and where it is done: in which environments, and for which purposes."""
    found: dict[str, list[Effect]] = {}
    for effect in effects:
        found.setdefault(effect.action.value, []).append(effect)
    return tuple(
        (action, " · ".join(filter(None, (_listed(e.environment for e in each), _listed(e.purpose for e in each)))))
        for action, each in found.items()
    )


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(filter(None, names)))
