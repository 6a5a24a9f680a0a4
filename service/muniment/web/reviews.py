"""``/reviews``: rules whose day has come, kept or ended in one sitting; and what somebody who leaves leaves behind.

One choice can be set for several rules at once, those that are marked. That saves nothing: the page comes back with it,
and each of them can still be decided otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, cast
from urllib.parse import quote

from fastapi import Request, Response

from muniment.core.grants import Grant
from muniment.core.groups import parse_group, write_group
from muniment.core.problems import Conflict, Invalid, NotAllowed, Problem, StaleEdit
from muniment.core.reviews import End, Keep, Verdict, reason_of
from muniment.core.rulebook import Written
from muniment.core.sentences import sentence
from muniment.core.subjects import Subject
from muniment.flows.hand_over import Held, hand_over, read_holdings
from muniment.flows.house import House, aside
from muniment.flows.review_access import ToReview, list_due, sit
from muniment.web.pages import go, page_router, show
from muniment.web.typed import Reading, errors_of
from muniment.web.visiting import Housed, Posting, Visiting, all_of, form_for, form_of
from muniment.web.words import WORDS
from muniment.web.words.texts import one_of

router = page_router()

#: How many rules stand on a page, the longest reason, and how many datasets are listed that somebody may use.
_MOST_RULES: Final = 50
_LONGEST_REASON: Final = 500
_MOST_USES: Final = 100

_WORDS: Final = WORDS["reviews"]
#: What can be set for several rules at once: that they are marked, or what becomes of those that are.
_SET: Final = frozenset({"mark", "keep", "end"})
#: How a field says which rule it is about, in which version: as the page showed it.
_OF: Final = re.compile(r"do\.(policy|grant)\.(\d{1,9})\.(.{1,220})", re.DOTALL)


@dataclass(frozen=True)
class Card:
    """A rule to look at: what it says and why, and what was chosen for it."""

    kind: Literal["policy", "grant"]
    id: str
    version: int
    found: ToReview
    says: str
    because: str
    cedar: str
    chosen: str
    reason: str
    marked: bool

    @property
    def key(self) -> str:
        """How the fields of this rule end."""
        return f"{self.kind}.{self.version}.{self.id}"


@dataclass(frozen=True)
class Marking:
    """Which rules are marked, and what is set for all of them at once: ``keep``, ``end``, or that they are marked."""

    keys: Collection[str] = ()
    what: str = ""

    def choice(self, key: str, typed: str) -> str:
        """What is chosen for a rule for which this was typed."""
        return self.what if self.what in {"keep", "end"} and key in self.keys else typed

    def marks(self, key: str) -> bool:
        """Whether a rule is marked from now on: what is set for it needs no mark any more."""
        return self.what == "mark" or (not self.what and key in self.keys)

    def says(self, cards: Sequence[Card]) -> str:
        """What was set for how many of the rules on the page; nothing, if nothing was."""
        count = len(cards) if self.what == "mark" else sum(card.key in self.keys for card in cards)
        return one_of(_WORDS["set"], self.what if count else "none").format(count=count) if self.what else ""


@router.get("/reviews")
async def get_reviews(request: Request, house: Housed, visiting: Visiting) -> Response:
    """What is due, the most urgent first, with a choice for each."""
    return await _due(request, house, visiting, dict(request.query_params), {})


@router.post("/reviews")
async def post_reviews(request: Request, house: Housed, visiting: Posting) -> Response:
    """What was decided in one sitting: what may be is done, and each of the others says why it is not.

    Or one choice for all that are marked: then nothing is decided yet.
    """
    typed = await form_of(request)
    marking = Marking(await all_of(request, "mark"), typed.get("all", ""))
    if marking.what in _SET:
        return await _due(request, house, visiting, typed, {}, marking=marking)
    verdicts, errors = _verdicts(typed)
    if errors:
        return await _due(request, house, visiting, typed, errors)
    try:
        sat = await sit(house, visiting.occasion, verdicts)
    except (Invalid, NotAllowed, Conflict, StaleEdit) as refused:
        detail = f"{refused.detail} {_WORDS['undone']}"
        return await _due(request, house, visiting, typed, {"": detail})
    if not sat.refused and sat.done is not None:
        kept = sum(isinstance(verdict.decision, Keep) for verdict, _ in sat.done.verdicts)
        listed = {name: typed[name] for name in ("scope", "by") if typed.get(name)}
        return go("/reviews", **listed, kept=str(kept), ended=str(len(sat.done.verdicts) - kept))
    errors = {f"do.{_key(verdict)}": _said(problem) for verdict, problem in sat.refused}
    return await _due(request, house, visiting, typed, errors, decided=len(verdicts) - len(sat.refused))


def _verdicts(typed: Mapping[str, str]) -> tuple[list[Verdict], dict[str, str]]:
    """What a sitting decides, and what is wrong with it, by field."""
    reading = Reading(typed)
    until, general = reading.day("until"), reading.line("reason", _LONGEST_REASON)
    errors: dict[str, str] = {}
    verdicts = []
    for name, choice in typed.items():
        of = _OF.fullmatch(name)
        if of is None or choice not in {"keep", "end"}:
            continue
        kind, version, id_ = cast("Literal['policy', 'grant']", of[1]), int(of[2]), of[3]
        reason = reading.line(f"why.{kind}.{version}.{id_}", _LONGEST_REASON) or general
        if not reason:
            errors[f"why.{kind}.{version}.{id_}"] = str(_WORDS["reason_needed"])
        if choice == "keep" and until is None:
            errors["until"] = str(_WORDS["until_needed"])
        decision = Keep(until or date.min, reason) if choice == "keep" else End(reason)
        verdicts.append(Verdict(kind, id_, version, decision))
    errors |= {fault.at: fault.message for fault in reading.faults}
    if not verdicts and not errors:
        errors[""] = str(_WORDS["nothing"])
    return verdicts, errors


def _key(verdict: Verdict) -> str:
    return f"{verdict.kind}.{verdict.version}.{verdict.id}"


def _said(problem: Problem) -> str:
    return str(_WORDS["changed"]) if isinstance(problem, StaleEdit) else problem.detail


async def _due(
    request: Request,
    house: House,
    visiting: Visiting,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    decided: int | None = None,
    marking: Marking | None = None,
) -> Response:
    """The page of what is due, with what was typed."""
    reading = Reading(typed)
    scope, by = reading.line("scope", 220) or None, reading.day("by")
    after = reading.line("after", 220)
    faults = {**errors, **errors_of(reading.faults, ("scope", "by"))}
    due = await list_due(house, visiting.occasion.beside("list"), scope, by, _MOST_RULES, after)
    marked = marking or Marking(await all_of(request, "mark") if request.method == "POST" else ())
    cards = await aside(lambda: [_card(each, typed, marked) for each in due.found])
    return show(
        "reviews/due.html",
        status=422 if faults else 200,
        here="reviews",
        visiting=visiting,
        form=form_for(request),
        errors=_placed(faults, cards),
        cards=cards,
        typed=typed,
        following=due.following,
        total=due.total,
        decided=decided,
        refused=len(errors),
        marking=marked.says(cards),
        kept=_count(typed, "kept"),
        ended=_count(typed, "ended"),
    )


def _count(typed: Mapping[str, str], name: str) -> int | None:
    """How many were kept or ended, where the page is told so after a sitting."""
    said = typed.get(name, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < len("1000") else None


def _placed(errors: Mapping[str, str], cards: Sequence[Card]) -> dict[str, str]:
    """Errors by fields that the page has; those of rules that are shown no more say which rule they mean."""
    shown = {f"{part}.{card.key}" for card in cards for part in ("do", "why")} | {"", "until", "reason", "scope", "by"}
    found: dict[str, str] = {}
    for field, said in errors.items():
        of = _OF.fullmatch(f"do.{field.partition('.')[2]}")
        text = said if field in shown or of is None else f"{of[3]}: {said}"
        name = field if field in shown else ""
        found[name] = f"{found[name]} {text}" if name in found else text
    return found


def _card(each: ToReview, typed: Mapping[str, str], marking: Marking) -> Card:
    rule = each.due.rule
    kind: Literal["policy", "grant"] = "grant" if isinstance(rule, Grant) else "policy"
    key = f"{kind}.{rule.version}.{rule.id}"
    return Card(
        kind,
        rule.id,
        rule.version,
        each,
        sentence(rule),
        reason_of(rule),
        _cedar(rule),
        marking.choice(key, typed.get(f"do.{key}", "")),
        typed.get(f"why.{key}", ""),
        marking.marks(key),
    )


def _cedar(rule: Written) -> str:
    return rule.policy().cedar if isinstance(rule, Grant) else rule.cedar


# --- who leaves -------------------------------------------------------------------------------------------------------


@router.get("/reviews/leavers")
async def get_leavers(request: Request, visiting: Visiting) -> Response:
    """Ask who leaves."""
    typed = dict(request.query_params)
    errors: dict[str, str] = {}
    name = typed.get("subject", "").strip()
    if name:
        try:
            return go(_address(Subject.parse(name)))
        except Invalid as refused:
            errors["subject"] = refused.detail
    return show(
        "reviews/leavers.html",
        status=422 if errors else 200,
        here="reviews",
        visiting=visiting,
        form=form_for(request),
        errors=errors,
        name=name,
    )


@router.get("/reviews/leavers/{subject:path}")
async def get_leaver(
    request: Request, house: Housed, visiting: Visiting, subject: str, owned: int = 0, groups: int = 0, ended: int = -1
) -> Response:
    """What somebody leaves behind, and the form to hand it over."""
    about = Subject.parse(subject)
    held = await read_holdings(house, visiting.occasion, about)
    done = (owned, groups, ended) if ended >= 0 else None
    return _leaver(request, visiting, about, held, {}, {}, done)


@router.post("/reviews/leavers/{subject:path}")
async def post_leaver(request: Request, house: Housed, visiting: Posting, subject: str) -> Response:
    """Hand it over, all of it or nothing."""
    about = Subject.parse(subject)
    typed = await form_of(request)
    reading = Reading(typed)
    to, reason = reading.line("to", 220), reading.line("reason", _LONGEST_REASON)
    if not to:
        reading.wrong("to", str(WORDS["leavers"]["to_hint"]))
    if not reason:
        reading.wrong("reason", str(WORDS["leavers"]["reason_hint"]))
    errors = errors_of(reading.faults, ("to", "reason"))
    if not errors:
        try:
            done = await hand_over(house, visiting.occasion, about, parse_group(to), reason)
        except (Invalid, Conflict, NotAllowed) as refused:
            faults = refused.faults if isinstance(refused, Invalid) else ()
            errors = errors_of(faults, ("to", "reason")) or {"": refused.detail}
        else:
            owned = len(done.domains) + len(done.datasets)
            counts = {"owned": str(owned), "groups": str(len(done.groups)), "ended": str(len(done.ended))}
            return go(_address(about), **counts)
    held = await read_holdings(house, visiting.occasion.beside("holdings"), about)
    return _leaver(request, visiting, about, held, typed, errors, None)


def _address(subject: Subject) -> str:
    return f"/reviews/leavers/{quote(str(subject), safe='')}"


def _leaver(
    request: Request,
    visiting: Visiting,
    about: Subject,
    held: Held,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    done: tuple[int, int, int] | None,
) -> Response:
    found = held.holdings
    rules = {id_: sentence(rule) for id_, rule in held.rules.items()}
    return show(
        "reviews/leaver.html",
        status=422 if errors else 200,
        here="reviews",
        visiting=visiting,
        form=form_for(request),
        errors=dict(errors),
        about=str(about),
        held=held,
        alone={write_group(group): names for group, names in found.alone.items()},
        groups=[write_group(group) for group in found.groups],
        token_groups=[write_group(group) for group in held.token_groups],
        rules=rules,
        uses=list(found.uses.items())[:_MOST_USES],
        most=_MOST_USES,
        typed=typed,
        done=done,
    )
