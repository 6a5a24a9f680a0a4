"""What a search finds: the subjects who may, the things to which one may, the actions that one may do.

Each finding is what a question about it would be answered with yes
(:mod:`muniment.core.evaluations`). About others only those are told who may ask about others
there, and only what they may be told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from muniment.core.evaluations import Question, Thing, answer_each, checked_wanted, deeds
from muniment.core.judgements import Judged
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversight
from muniment.core.problems import NotAllowed, Problem
from muniment.core.realm import Realm
from muniment.core.searches import Deed, Governing, Use, datasets_used, judge_each, who_may
from muniment.core.subjects import SubjectState
from muniment.core.visibility import known


def find_subjects(
    realm: Realm, occasion: Occasion, question: Question, states: Iterable[SubjectState]
) -> Iterator[Judged]:
    """Those of the subjects, in their order, who may do what the question says (it names no subject)."""
    (deed,) = deeds(realm, occasion, [question])
    if isinstance(deed, Problem):
        raise deed
    if deed is not None:
        yield from (found_of(deed, about, because) for about, because in _who(realm, occasion, deed, states))


def find_things(
    realm: Realm, occasion: Occasion, question: Question, about: SubjectState | None, after: str
) -> Iterator[Judged]:
    """The datasets or domains (the question names none) after a name to which its subject may do what it says."""
    for name in _things(realm, occasion, question, about):
        if name > after:
            yield _found(question, name)


def find_actions(
    realm: Realm, occasion: Occasion, question: Question, about: SubjectState | None, after: str
) -> Iterator[Judged]:
    """The actions (the question names none) after one that its subject may do to the thing that it names."""
    states = {about.subject: about} if about else {}
    asked = [replace(question, action=action) for action in sorted(question.thing.actions if question.thing else ())]
    answers = answer_each(realm, occasion, states, asked)
    for problem in (answer.problem for answer in answers if answer.problem):
        raise problem
    for each, answer in zip(asked, answers, strict=True):
        if answer.allowed and (each.action or "") > after:
            yield replace(_found(each, each.name), because=answer.because)


def found_of(deed: Deed, about: SubjectState, because: tuple[str, ...]) -> Judged:
    """That a subject may do a deed."""
    return Judged(
        deed.domain if deed.dataset is None else deed.dataset.name,
        deed.action,
        known=True,
        allowed=True,
        because=because,
        about=str(about.subject),
        wanted=deed.wanted if isinstance(deed, Use) else None,
        on_domain=deed.dataset is None,
    )


def _found(question: Question, name: str) -> Judged:
    return Judged(
        name,
        question.action,
        known=True,
        allowed=True,
        about=str(question.about) if question.about else None,
        wanted=question.wanted if question.uses_data else None,
        on_domain=question.thing is Thing.DOMAIN,
    )


def _who(
    realm: Realm, occasion: Occasion, deed: Deed, states: Iterable[SubjectState]
) -> Iterator[tuple[SubjectState, tuple[str, ...]]]:
    return ((about, decision.because) for about, decision in who_may(realm, states, occasion.at, deed))


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
