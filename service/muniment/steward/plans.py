"""Plans: what becomes of each thing, and of people; as the service foresees it, and as people read it.

A plan is made of changes as ``POST /v1/try`` takes them. The service says who gains and loses what, and which recorded
runs would have failed; it refuses what the steward may not do, and that refusal is told with the file and line of the
change that it is about.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from muniment.core.comparing import ABSENT, Compared, Difference, Side, Verdict
from muniment.steward.connection import Connection
from muniment.steward.refusals import Refused, Stale, plain

#: What one trial, and one application, holds at most: the service reads a body of up to 1 MiB.
MOST_CHANGES: Final = 1_000
MOST_BYTES: Final = 900_000
#: How many effects of each kind are told one by one.
MOST_TOLD: Final = 1_000
_MOST_NAMED = 3
_WIDEST = 100
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})

_SIGNS: Final = {
    Verdict.CREATE: "+",
    Verdict.UPDATE: "~",
    Verdict.END: "-",
    Verdict.ELSEWHERE: "!",
    Verdict.LEFT: "?",
    Verdict.KEEP: "!",
    Verdict.SAME: "!",
    Verdict.LET_GO: "?",
}
_CHANGE = re.compile(r"changes\.(\d+)")
_CHANGED = re.compile(r"changes\.\d+ \((?:put|delete) ([^()]+)\)")
_FIELD_OF_CHANGE = re.compile(r"changes\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Part:
    """What is tried and applied at once: changes and what else is kept, each with where in files it comes from."""

    changes: tuple[Mapping[str, Any], ...]
    keep: tuple[Mapping[str, Any], ...]
    places: tuple[str, ...]

    def body(self, source: str | None, *, take_over: bool, reason: str = "") -> dict[str, Any]:
        """As the service takes it."""
        said: dict[str, Any] = {"changes": self.changes, "keep": self.keep, "reason": reason}
        return said if source is None else {**said, "source": source, "take_over": take_over}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the service says that changes would do, at a revision; ``answer`` is all of it."""

    revision: int
    answer: Mapping[str, Any]


def change_of(compared: Compared, *, kept: bool) -> dict[str, Any]:
    """The change that makes a thing as it shall be; ``kept`` says that a source keeps it from then on."""
    live = compared.live
    version = 0 if live is None or live.body is None else live.version
    named: dict[str, Any] = {"kind": compared.kind, "id": compared.key, "version": version}
    if compared.verdict is Verdict.END:
        return {"delete": named}
    return {"put": {**named, "body": compared.body(), **({"kept": compared.keeping()} if kept else {})}}


def parts_of(compared: Iterable[Compared], *, kept: bool = True) -> list[Part]:
    """What is to be applied, in as few parts as the service takes; ``kept`` says that a source keeps it then."""
    parts: list[Part] = []
    changes: list[Mapping[str, Any]] = []
    keep: list[Mapping[str, Any]] = []
    places: tuple[list[str], list[str]] = ([], [])
    size = 0

    def close() -> None:
        nonlocal size
        if changes or keep:
            parts.append(Part(tuple(changes), tuple(keep), (*places[0], *places[1])))
        for held in (changes, keep, *places):
            held.clear()
        size = 0

    for each in compared:
        if not each.changes and each.verdict not in {Verdict.KEEP, Verdict.LET_GO}:
            continue
        item = change_of(each, kept=kept) if each.changes else _keeping(each)
        weight = len(orjson.dumps(item)) + 1
        if len(changes) + len(keep) == MOST_CHANGES or size + weight > MOST_BYTES:
            close()
        size += weight
        (changes if each.changes else keep).append(item)
        places[0 if each.changes else 1].append(place_of(each))
    close()
    return parts


def foresee(connection: Connection, part: Part, source: str | None = None, *, take_over: bool = False) -> Foreseen:
    """What a part would do; refused with the places in the files that the refusal is about."""
    try:
        answer = connection.post("/v1/try", part.body(source, take_over=take_over), limit=MOST_TOLD)
    except Refused as refused:
        raise placed(refused, part.places) from None
    with connection.understood():
        return Foreseen(answer["revision"], answer)


def carry_out(
    connection: Connection, part: Part, revision: int, source: str | None = None, *, take_over: bool, reason: str
) -> int:
    """Apply a part, all or none, at the revision that it was tried at; gives the revision that it made."""
    body = part.body(source, take_over=take_over, reason=reason)
    try:
        answer = connection.post("/v1/apply", body, revision=revision)
    except Stale as stale:
        raise Stale(f"{stale.message} Nothing was changed: plan again.", stale.status, stale.problem) from None
    except Refused as refused:
        raise placed(refused, part.places) from None
    made: int = answer["revision"]
    return made


def placed(refused: Refused, places: Sequence[str]) -> Refused:
    """A refusal about things and the places in files where they stand, instead of changes by their numbers."""
    found = {int(number) for number in _CHANGE.findall(refused.message)}
    told = [places[number] for number in sorted(found) if number < len(places)]
    if not told:
        return refused
    message = _CHANGED.sub(r"\1", refused.message)
    message = _FIELD_OF_CHANGE.sub(lambda found: _place_in(places, int(found[1])), message)
    return type(refused)(f"{message}\n  in {', '.join(told)}", refused.status, refused.problem)


def _place_in(places: Sequence[str], number: int) -> str:
    return f"{places[number]}, " if number < len(places) else f"changes.{number}."


def place_of(compared: Compared) -> str:
    """Where in the files a thing stands, or stood."""
    return compared.written.place if compared.written is not None else f"{compared.kind} {compared.key}"


def _keeping(compared: Compared) -> dict[str, Any]:
    assert compared.live is not None  # noqa: S101 - what is kept as it stands, stands
    named = {"kind": compared.kind, "id": compared.key, "version": compared.live.version}
    return named if compared.verdict is Verdict.LET_GO else {**named, "kept": compared.keeping()}


# --- for people -------------------------------------------------------------------------------------------------------


def told_things(compared: Iterable[Compared]) -> Iterator[str]:
    """What becomes of each thing, a line for it and one for each field; the first character says which way."""
    for each in compared:
        if each.verdict in {Verdict.KEEP, Verdict.SAME} and not each.differences:
            continue
        place = f"   ({plain(each.written.place)})" if each.written is not None else ""
        yield f"{_sign(each)} {each.kind} {plain(each.key)}{place}"
        yield from (f"    {plain(line)}" for line in _told_of(each))


def _sign(compared: Compared) -> str:
    return "!" if compared.blocked else _SIGNS[compared.verdict]


def _told_of(each: Compared) -> Iterator[str]:
    live = each.live
    if each.verdict is Verdict.ELSEWHERE and live is not None:
        yield f"! is kept in {live.source}: take it out of the files of one, or --take-over"
    elif each.verdict is Verdict.LEFT:
        yield "? left the files, and stays: --prune ends it, --let-go leaves it to the pages"
    elif each.verdict is Verdict.LET_GO:
        yield "? left the files: the pages keep it from now on"
    elif each.verdict is Verdict.END:
        yield "- is retired: no catalog holds it" if each.kind == "dataset" else "- is ended"
    elif live is not None and live.body is None and each.differences:
        yield f"! was ended by hand ({_by(live.by, live.at)})"
        return
    for difference in each.differences:
        if each.verdict is not Verdict.CREATE or difference.wanted not in _EMPTY:  # Of a new thing it says nothing.
            yield from _told_difference(each, difference)


def _told_difference(each: Compared, difference: Difference) -> Iterator[str]:
    name, stands, wanted = difference.name, shown(difference.stands), shown(difference.wanted)
    if difference.side is Side.FILES:
        if difference.stands is ABSENT:
            yield f"+ {name}: {wanted}"
        elif difference.wanted is ABSENT:
            yield f"- {name}: {stands}"
        else:
            yield f"~ {name}: {stands} -> {wanted}"
        return
    by = _by(each.live.by, each.live.at) if each.live is not None else ""
    both = "; the files were changed too: decide" if difference.side is Side.BOTH else ""
    yield f"! {name}: files say {wanted}, by hand it is {stands} (last changed by {by}){both}"


def _by(subject: str, at: str) -> str:
    return f"{subject}, {at[:16].replace('T', ' ')}"


def shown(value: object) -> str:
    """A value on one line, not longer than people read."""
    if value is ABSENT:
        return "nothing"
    text = plain(orjson.dumps(value).decode())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def told_people(answer: Mapping[str, Any]) -> Iterator[str]:
    """Who gains and loses what, who comes to govern what, and which recorded runs would have failed."""
    for side, sign, verb in _SIDES:
        effects = answer[side]
        yield from _told_effects(effects["items"], sign, verb)
        if effects["more"]:
            yield f"{sign}and {effects['count'] - len(effects['items'])} more, of {effects['subjects']} in all"
    for side, sign, does in (("gained", "+", "governs"), ("lost", "-", "governs no more")):
        yield from _told_rights(answer["governing"][side]["items"], sign, does)
    for run in answer["runs"]["items"]:
        project = f" of {run['project']}" if run["project"] else ""
        yield plain(
            f"! a run{project} as {run['subject']} would have failed: {run['action']} {run['dataset']} in "
            f"{run['environment']} ({run['times']} times, last {run['at'][:16].replace('T', ' ')})"
        )


_SIDES: Final = (
    ("gained", "+", ("gains", "gain")),
    ("lost", "-", ("loses", "lose")),
    ("masked", "-", ("is shown less of", "are shown less of")),
    ("unmasked", "+", ("is shown more of", "are shown more of")),
)


def _told_effects(items: Iterable[Mapping[str, Any]], sign: str, verb: tuple[str, str]) -> Iterator[str]:
    """Effects that are alike together: ``+3 people gain sales.orders (load, prod)``."""
    actions: defaultdict[tuple[str, str, str, str | None, str | None], set[str]] = defaultdict(set)
    for item in items:
        key = (item["dataset"], item["environment"], item["subject"], item["purpose"], item["project"])
        actions[key].add(item["action"])
    subjects: defaultdict[tuple[str, tuple[str, ...], str | None, str | None, str], set[str]] = defaultdict(set)
    for (dataset, environment, subject, purpose, project), done in actions.items():
        # Whoever loads or saves knows of it.
        told = tuple(sorted(done - {"discover"} or done))
        subjects[dataset, told, purpose, project, environment].add(subject)
    alike: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for (dataset, told, purpose, project, environment), who in subjects.items():
        alike[dataset, told, purpose, project, tuple(sorted(who))].append(environment)
    for (dataset, told, purpose, project, who), environments in alike.items():
        for_what = [f"for {purpose}"] * bool(purpose) + [f"in {project}"] * bool(project)
        how = ", ".join([*told, *sorted(environments), *for_what])
        yield plain(f"{sign}{_counted(who)} {verb[len(who) != 1]} {dataset} ({how}){_named(who)}")


def _told_rights(items: Iterable[Mapping[str, Any]], sign: str, verb: str) -> Iterator[str]:
    held: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for item in items:
        (on,) = item["on"].values()
        held[item["subject"], on].add(item["action"])
    for (subject, on), done in held.items():
        yield plain(f"{sign}{subject} {verb} {on} ({', '.join(sorted(done))})")


def _counted(who: Sequence[str]) -> str:
    jobs = sum(each.startswith("service:") for each in who)
    people = len(who) - jobs
    said = [f"{people} {'person' if people == 1 else 'people'}"] * bool(people)
    return " and ".join([*said, *([f"{jobs} {'job' if jobs == 1 else 'jobs'}"] * bool(jobs))])


def _named(who: Sequence[str]) -> str:
    return f": {', '.join(who)}" if len(who) <= _MOST_NAMED else ""


def summary(compared: Sequence[Compared]) -> str:
    """A plan in a sentence."""
    counts = {verdict: sum(each.verdict is verdict for each in compared) for verdict in Verdict}
    said = [
        f"{count} to {word}"
        for count, word in (
            (counts[Verdict.CREATE], "make"),
            (counts[Verdict.UPDATE], "change"),
            (counts[Verdict.END], "end"),
        )
        if count
    ]
    by_hand = sum(each.drifted for each in compared)
    said += [f"{by_hand} changed by hand"] * bool(by_hand)
    said += [f"{counts[Verdict.LEFT]} left the files"] * bool(counts[Verdict.LEFT])
    said += [f"{counts[Verdict.ELSEWHERE]} kept elsewhere"] * bool(counts[Verdict.ELSEWHERE])
    return f"{', '.join(said)}." if said else "No changes."


def as_json(compared: Iterable[Compared], foreseen: Foreseen | None) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "revision": foreseen.revision if foreseen is not None else None,
        "things": [_thing(each) for each in compared],
        "effects": dict(foreseen.answer) if foreseen is not None else None,
    }


def _thing(each: Compared) -> dict[str, Any]:
    live = each.live
    return {
        "kind": each.kind,
        "id": each.key,
        "verdict": each.verdict.value,
        "place": each.written.place if each.written is not None else None,
        "version": live.version if live is not None else 0,
        "changed_at": live.at if live is not None else None,
        "changed_by": live.by if live is not None else None,
        "kept_in": live.source if live is not None else None,
        "fields": [
            {
                "name": difference.name,
                "changed_by": difference.side.value,
                **({} if difference.stands is ABSENT else {"stands": difference.stands}),
                **({} if difference.wanted is ABSENT else {"wanted": difference.wanted}),
            }
            for difference in each.differences
        ],
    }
