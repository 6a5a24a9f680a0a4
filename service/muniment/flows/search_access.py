"""Another system asks for all that may be: the subjects, the things or the actions (OpenID AuthZEN 1.0).

What is found is what :mod:`muniment.flows.evaluate_access` would answer with yes
(:mod:`muniment.core.findings`). The row says what it was looked for among, so that it can be found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from muniment.core.decisions import EVALUATOR
from muniment.core.evaluations import Question, Thing
from muniment.core.findings import find_actions, find_subjects, find_things
from muniment.core.judgements import Judged, digest_of_answers
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.realm import Realm
from muniment.core.recorded_questions import Sought, write_question
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.flows.house import House, aside
from muniment.store import subjects


@dataclass(frozen=True, slots=True)
class Results:
    """A page of names in their order, whether more follow, and the revision they were found at."""

    names: tuple[str, ...]
    more: bool
    revision: int


@dataclass(frozen=True, slots=True)
class _Search:
    """How all are found, in their order; how one is called in the answer; which page is wanted.

    ``told`` is what the row says of those who were looked at, beside the question.
    """

    sought: Sought
    found: Callable[[], Iterable[Judged]]
    name: Callable[[Judged], str]
    limit: int
    after: str
    told: Callable[[Sequence[Judged]], Mapping[str, object]]


async def search_subjects(
    house: House, occasion: Occasion, kind: Kind | None, question: Question, limit: int, after: str
) -> Results:
    """The ids of the known subjects of a kind who may do what the question says (it names no subject)."""
    realm = await house.realms.current()
    async with house.db.begin() as tx:
        states = [each.state for each in await subjects.newest(tx)]
    # In the order of their ids as texts, whatever the database's is: a page begins after one.
    seen = {state.subject.id: state for state in states if state.subject.kind is kind}
    asked = [seen[id_] for id_ in sorted(seen) if id_ > after]
    search = _Search(
        Sought.SUBJECTS,
        lambda: find_subjects(realm, occasion, question, asked),
        _id,
        limit,
        after,
        lambda found: {"kind": kind, "found_states": [seen[_id(each)].digest for each in found]},
    )
    return await _page(house, realm, occasion, question, search)


async def search_things(house: House, occasion: Occasion, question: Question, limit: int, after: str) -> Results:
    """The names of the datasets or domains (the question names none) to which its subject may do what it says."""
    realm = await house.realms.current()
    about = await _state(house, occasion, question.about)
    search = _Search(
        Sought.THINGS,
        lambda: find_things(realm, occasion, question, about, after),
        lambda each: each.dataset,
        limit,
        after,
        lambda _: _about(about),
    )
    return await _page(house, realm, occasion, question, search)


async def search_actions(house: House, occasion: Occasion, question: Question, limit: int, after: str) -> Results:
    """The actions (the question names none) that its subject may do to the thing it names, by their names."""
    realm = await house.realms.current()
    about = await _state(house, occasion, question.about)
    search = _Search(
        Sought.ACTIONS,
        lambda: find_actions(realm, occasion, question, about, after),
        lambda each: each.action or "",
        limit,
        after,
        lambda _: _about(about),
    )
    return await _page(house, realm, occasion, question, search)


async def _state(house: House, occasion: Occasion, about: Subject | None) -> SubjectState | None:
    """What is known of a subject; nothing, if it was never seen or may not sign in."""
    if about is None or about == occasion.subject:
        return occasion.asker if about else None
    async with house.db.begin() as tx:
        seen = await subjects.newest_of(tx, about)
    return seen.state if seen and seen.active else None


def _about(about: SubjectState | None) -> Mapping[str, object]:
    return {} if about is None else {"about_state": about.digest}


def _id(found: Judged) -> str:
    """The id of a subject that was found, without its kind."""
    return (found.about or "").partition(":")[2]


async def _page(house: House, realm: Realm, occasion: Occasion, question: Question, search: _Search) -> Results:
    named = (question.name,) if question.thing is Thing.DATASET and question.name else ()
    async with house.refusals_recorded(occasion, realm, *named):
        page = await aside(lambda: tuple(islice(search.found(), search.limit + 1)))
    found = page[: search.limit]
    names = tuple(search.name(each) for each in found)
    wanted = question.wanted if question.uses_data or question.action is None else None
    await house.ledger.record(
        row(
            occasion,
            Event.ACCESS_SEARCHED,
            Outcome.ALLOWED,
            revision=realm.revision,
            environment=wanted.environment if wanted else None,
            project=wanted.project if wanted else None,
            purpose=wanted.purpose if wanted else None,
            datasets=named,
            decided_sha256=digest_of_answers(found),
            evaluator=EVALUATOR,
            details={
                "for": search.sought,
                **write_question(question),
                "found": list(names),
                "limit": search.limit,
                "after": search.after,
                **search.told(found),
            },
        )
    )
    return Results(names, len(page) > search.limit, realm.revision)
