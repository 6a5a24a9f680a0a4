"""Another system asks for all that may be: the subjects, the things or the actions (OpenID AuthZEN 1.0).

What is found is what :mod:`muniment.flows.evaluate_access` would answer with yes. About others only
those are told who may ask about others there, and only what they may be told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from muniment.core.decisions import EVALUATOR
from muniment.core.evaluations import Question, Thing, answer_each, checked_wanted, deeds
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversight
from muniment.core.problems import NotAllowed, Problem
from muniment.core.realm import Realm
from muniment.core.searches import Governing, datasets_used, judge_each, who_may
from muniment.core.subjects import Kind, Subject, SubjectState
from muniment.core.visibility import known
from muniment.flows.house import House, aside
from muniment.store import subjects

#: How those who are found can be written down: their names, in order, as they are asked for.
_Search = Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Results:
    """A page of names in their order, whether more follow, and the revision they were found at."""

    names: tuple[str, ...]
    more: bool
    revision: int


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

    def found() -> Iterator[str]:
        (deed,) = deeds(realm, occasion, [question])
        if isinstance(deed, Problem):
            raise deed
        if deed is not None:
            yield from (about.subject.id for about, _ in who_may(realm, asked, occasion.at, deed))

    return await _page(house, realm, occasion, question, found, limit)


async def search_things(house: House, occasion: Occasion, question: Question, limit: int, after: str) -> Results:
    """The names of the datasets or domains (the question names none) to which its subject may do what it says."""
    realm = await house.realms.current()
    about = await _state(house, occasion, question.about)
    return await _page(
        house,
        realm,
        occasion,
        question,
        lambda: (name for name in _things(realm, occasion, question, about) if name > after),
        limit,
    )


async def search_actions(house: House, occasion: Occasion, question: Question, limit: int, after: str) -> Results:
    """The actions (the question names none) that its subject may do to the thing it names, by their names."""
    realm = await house.realms.current()
    about = await _state(house, occasion, question.about)
    states = {about.subject: about} if about else {}
    actions = question.thing.actions if question.thing else ()
    asked = [replace(question, action=action) for action in sorted(actions)]

    def found() -> Iterator[str]:
        answers = answer_each(realm, occasion, states, asked)
        for problem in (answer.problem for answer in answers if answer.problem):
            raise problem
        yield from (
            action for action, answer in zip(sorted(actions), answers, strict=True) if answer.allowed and action > after
        )

    return await _page(house, realm, occasion, question, found, limit)


def _things(realm: Realm, occasion: Occasion, question: Question, about: SubjectState | None) -> Iterable[str]:
    """The names of all things for which the answer is yes, as far as the asker may be told of them, sorted."""
    if question.thing is None or question.action not in question.thing.actions:
        return ()
    wanted = checked_wanted(realm, question.wanted) if question.uses_data else None
    if question.about == occasion.subject:
        # Whatever one may use, one may know of.
        candidates = frozenset(realm.datasets) if question.uses_data else _known(realm, occasion, question.thing)
    else:
        candidates = _overseen(realm, occasion, question.thing)
    if about is None:
        return ()
    if wanted is not None:
        used = datasets_used(realm, about, occasion.at, wanted, question.action)
        return [name for name in used if name in candidates]
    names = sorted(candidates)
    things = names if question.thing is Thing.DOMAIN else [realm.datasets[name] for name in names]
    judged = judge_each(realm, about, occasion.at, [Governing(question.action, thing) for thing in things])
    return [name for name, each in zip(names, judged, strict=True) if each.allowed]


def _known(realm: Realm, occasion: Occasion, thing: Thing) -> frozenset[str]:
    """The things of which the asker may know; of domains all, for one is found only by a role that is held there."""
    if thing is Thing.DOMAIN:
        return realm.domain_tree
    return frozenset(known(realm, occasion.asker, occasion.at, realm.environment_names))


def _overseen(realm: Realm, occasion: Occasion, thing: Thing) -> frozenset[str]:
    """The things about which the asker may ask for others."""
    places = oversight(realm, occasion.asker, occasion.at, realm.domain_tree)
    if not places.audited and not places.governed:
        raise NotAllowed("You may ask about yourself; about others you need grant or audit in some domain.")
    if thing is Thing.DOMAIN:
        return places.audited | places.governed
    audited = {name for name in realm.datasets if domain_of(name) in places.audited}
    others = {name for name in realm.datasets if domain_of(name) in places.governed} - audited
    return frozenset({*audited, *known(realm, occasion.asker, occasion.at, realm.environment_names, others)})


async def _state(house: House, occasion: Occasion, about: Subject | None) -> SubjectState | None:
    """What is known of a subject; nothing, if it was never seen."""
    if about is None or about == occasion.subject:
        return occasion.asker if about else None
    async with house.db.begin() as tx:
        seen = await subjects.newest_of(tx, about)
    return seen.state if seen else None


async def _page(
    house: House, realm: Realm, occasion: Occasion, question: Question, found: _Search, limit: int
) -> Results:
    named = (question.name,) if question.thing is Thing.DATASET and question.name else ()
    async with house.refusals_recorded(occasion, realm, *named):
        page = await aside(lambda: tuple(islice(found(), limit + 1)))
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
            evaluator=EVALUATOR,
            details={
                "for": _searched(question),
                "about": str(question.about) if question.about else None,
                "action": question.action,
                "thing": question.thing,
                "name": question.name,
                "found": list(page[:limit]),
            },
        )
    )
    return Results(page[:limit], len(page) > limit, realm.revision)


def _searched(question: Question) -> str:
    """What a question that leaves something open asks for."""
    if question.action is None:
        return "actions"
    return "things" if not question.name else "subjects"
