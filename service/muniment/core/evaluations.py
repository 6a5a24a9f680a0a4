"""Questions of other systems, and their answers: whether a subject may do this to that.

The words are those of OpenID AuthZEN 1.0 (https://openid.net/specs/authorization-api-1_0.html);
the decisions are the evaluator's. A question about what is not there, or about what the asker
may not know of, is answered *no* and nothing else, and so is one about a subject that nobody
knows. Whoever asks about others without any right there is refused, whatever is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted
from muniment.core.environments import checked_known
from muniment.core.explanations import explain
from muniment.core.names import domain_of, is_domain
from muniment.core.occasions import Occasion
from muniment.core.oversight import oversight, refusal
from muniment.core.problems import Fault, Invalid, Problem, UnknownEnvironment
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.searches import GOVERNED_OF_DATASETS, Deed, Governing, Judged, Use, judge_each, permitted
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each, may_name, not_served


class Thing(StrEnum):
    """The types of resources that can be asked about."""

    DATASET = "dataset"
    DOMAIN = "domain"

    @property
    def actions(self) -> tuple[Action, ...]:
        """What can be done to such a thing."""
        return (*DATA_ACTIONS, *GOVERNED_OF_DATASETS) if self is Thing.DATASET else GOVERNING_ACTIONS


class Semantic(StrEnum):
    """How far several questions are answered."""

    ALL = "execute_all"
    UNTIL_DENIED = "deny_on_first_deny"
    UNTIL_PERMITTED = "permit_on_first_permit"

    def cut(self, answers: Iterable[Answer]) -> tuple[Answer, ...]:
        """The answers up to the first that settles it."""
        given: list[Answer] = []
        for answer in answers:
            given.append(answer)
            if self is (Semantic.UNTIL_PERMITTED if answer.allowed else Semantic.UNTIL_DENIED):
                break
        return tuple(given)


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a subject may do this to that.

    What bears no such name here is none: the subject, the action, the type of the thing.
    ``wanted`` is none where no environment is said.
    """

    about: Subject | None
    action: Action | None
    thing: Thing | None
    name: str
    wanted: Wanted | None = None

    @property
    def uses_data(self) -> bool:
        """Whether it is about data, and so about an environment."""
        return self.action in DATA_ACTIONS

    @property
    def can_be_so(self) -> bool:
        """Whether such an action is ever done to a thing that is called so."""
        if self.thing is None or self.action not in self.thing.actions:
            return False
        return may_name(self.name) if self.thing is Thing.DATASET else is_domain(self.name)

    @property
    def domain(self) -> str:
        """Where it would be done."""
        return domain_of(self.name) if self.thing is Thing.DATASET else self.name


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes or no; why, where that may be said; or what is wrong with the question.

    ``obligations`` are the read restrictions that are why it is no.
    """

    allowed: bool = False
    reason: str | None = None
    because: tuple[str, ...] = ()
    obligations: Mapping[str, object] | None = None
    problem: Problem | None = None


#: What is said where nothing may be said.
NO = Answer()


def answer_each(
    realm: Realm, occasion: Occasion, states: Mapping[Subject, SubjectState], questions: Sequence[Question]
) -> tuple[Answer, ...]:
    """Answer each question in its place; ``states`` holds what is known of the other subjects who are known."""
    found = deeds(realm, occasion, questions)
    states = {**states, occasion.subject: occasion.asker}
    answers = [Answer(problem=deed) if isinstance(deed, Problem) else NO for deed in found]
    alike: defaultdict[Subject, list[tuple[int, Deed]]] = defaultdict(list)
    for index, (question, deed) in enumerate(zip(questions, found, strict=True)):
        if question.about in states and isinstance(deed, Use | Governing):
            alike[question.about].append((index, deed))
    for subject, asked in alike.items():
        about = states[subject]
        judged = judge_each(realm, about, occasion.at, [deed for _, deed in asked])
        for (index, deed), each in zip(asked, judged, strict=True):
            answers[index] = _answer(realm, occasion, about, deed, each)
    return tuple(answers)


def deeds(realm: Realm, occasion: Occasion, questions: Sequence[Question]) -> tuple[Deed | Problem | None, ...]:
    """What each question asks about: nothing, where the asker may not know of it; or why it cannot be asked.

    For every name that can be asked about the same is decided, whatever it is.
    """
    sound = [question for question in questions if question.can_be_so]
    known = _known(realm, occasion, sound)
    others = {question.domain for question in sound if question.about != occasion.subject}
    places = oversight(realm, occasion.asker, occasion.at, others)

    def deed(question: Question) -> Deed | Problem | None:
        own = question.about == occasion.subject
        if question.action is None or not question.can_be_so:
            return None
        if not own and not places.reaches(question.domain):
            return refusal(question.domain)
        told = own or places.covers(question.domain)
        if question.thing is Thing.DOMAIN:
            # Rights come down to a domain that nobody made, too: a yes there would tell it from one that is shut.
            return Governing(question.action, question.name) if told and question.name in realm.domain_tree else None
        dataset = known[question.wanted if question.uses_data else None, question.name] if told else None
        if not own and question.domain in places.audited:
            dataset = realm.resolve(question.name)
        if not question.uses_data:
            return Governing(question.action, dataset) if dataset else None
        try:
            wanted = checked_wanted(realm, question.wanted)
        except Invalid as refused:
            return refused
        return Use(question.action, dataset, wanted) if dataset else None

    return tuple(map(deed, questions))


def checked_wanted(realm: Realm, wanted: Wanted | None) -> Wanted:
    """What is asked about, with an environment that there is; raises :class:`Invalid`."""
    at = "context.environment"
    if wanted is None:
        listed = ", ".join(realm.environment_names) or "none yet"
        message = f"Say in {at} which environment is meant; the known ones are: {listed}"
        raise UnknownEnvironment(message, [Fault(at, message)])
    checked_known([wanted.environment], realm.environment_names, at=at)
    return wanted


def _known(
    realm: Realm, occasion: Occasion, questions: Iterable[Question]
) -> Mapping[tuple[Wanted | None, str], Dataset | None]:
    """The datasets of all the names that are asked about, if the asker may know of them."""
    names: defaultdict[Wanted | None, dict[str, None]] = defaultdict(dict)
    for question in questions:
        if question.thing is Thing.DATASET:
            names[question.wanted if question.uses_data else None][question.name] = None
    return {
        (wanted, name): dataset
        for wanted, asked in names.items()
        for name, dataset in find_each(realm, occasion.asker, occasion.at, asked, wanted).items()
    }


def _answer(realm: Realm, occasion: Occasion, about: SubjectState, deed: Deed, judged: Judged) -> Answer:
    decision = judged.decision
    if isinstance(deed, Governing):
        # Which rule forbids something in a domain may tell of what is hidden there.
        reason = permitted(realm, about, deed.action, decision)
        return Answer(judged.allowed, reason, decision.because) if judged.allowed else NO
    explained = explain(
        realm,
        about,
        deed.wanted,
        occasion.at,
        deed.action,
        deed.dataset,
        decision=decision,
        erring=judged.erring,
        thorough=False,
    )
    unserved = decision.allowed and not judged.allowed
    absent = not_served(realm, occasion.asker, occasion.at, deed.dataset, deed.wanted) if unserved else None
    return Answer(judged.allowed, absent or explained.reason, decision.because, explained.obligations)
