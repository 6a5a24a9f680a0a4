"""Another system asks whether a subject may do something (OpenID AuthZEN 1.0), once or many times in one request.

One row tells the whole request: what was asked of whom, and what was answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from muniment.core.decisions import EVALUATOR
from muniment.core.evaluations import Answer, Question, Semantic, Thing, answer_each
from muniment.core.judgements import digest_of_answers
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.recorded_questions import line_of, write_answered
from muniment.core.subjects import Subject, SubjectState
from muniment.flows.house import House, aside
from muniment.store import subjects

#: How many evaluations one request can ask for.
MOST_EVALUATIONS = 1_000


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The answers that were given, in the order asked: fewer than the questions where one settled it."""

    answers: tuple[Answer, ...]
    revision: int


async def evaluate_access(house: House, occasion: Occasion, question: Question) -> tuple[Answer, int]:
    """Answer one question; what is wrong with it is raised."""
    realm = await house.realms.current()
    named = (question.name,) if question.can_be_so and question.thing is Thing.DATASET else ()
    async with house.refusals_recorded(occasion, realm, *named):
        states = await _states(house, occasion, [question])
        (answer,) = await aside(lambda: answer_each(realm, occasion, states, [question]))
        if answer.problem is not None:
            raise answer.problem
    await _record(house, realm, occasion, states, [(question, answer)])
    return answer, realm.revision


async def evaluate_each(
    house: House, occasion: Occasion, questions: Sequence[Question | Answer], semantic: Semantic
) -> Evaluated:
    """Answer many questions, as far as the semantic goes; what is wrong with one is its answer.

    What could not even be read as a question comes as its answer.
    """
    if len(questions) > MOST_EVALUATIONS:
        message = f"At most {MOST_EVALUATIONS:,} evaluations can be asked for at once."
        raise Invalid(message, [Fault("evaluations", message)])
    realm = await house.realms.current()
    readable = [question for question in questions if isinstance(question, Question)]
    states = await _states(house, occasion, readable)
    found = iter(await aside(lambda: answer_each(realm, occasion, states, readable)))
    given = semantic.cut(each if isinstance(each, Answer) else next(found) for each in questions)
    await _record(house, realm, occasion, states, list(zip(questions, given, strict=False)))
    return Evaluated(given, realm.revision)


async def _states(house: House, occasion: Occasion, questions: Iterable[Question]) -> Mapping[Subject, SubjectState]:
    """What is known of the other subjects that are asked about."""
    others = {q.about for q in questions if q.about is not None and q.about != occasion.subject}
    if not others:
        return {}
    async with house.db.begin() as tx:
        return {known.state.subject: known.state for known in await subjects.newest_of_each(tx, others)}


async def _record(
    house: House,
    realm: Realm,
    occasion: Occasion,
    states: Mapping[Subject, SubjectState],
    answered: Sequence[tuple[Question | Answer, Answer]],
) -> None:
    questions = [(question, answer) for question, answer in answered if isinstance(question, Question)]
    wanted = {question.wanted for question, _ in questions if question.wanted is not None}
    only = wanted.pop() if len(wanted) == 1 else None
    await house.ledger.record(
        row(
            occasion,
            Event.ACCESS_EVALUATED,
            Outcome.ALLOWED if all(answer.allowed for _, answer in answered) else Outcome.DENIED,
            revision=realm.revision,
            environment=only.environment if only else None,
            project=only.project if only else None,
            purpose=only.purpose if only else None,
            datasets=tuple(sorted({q.name for q, _ in questions if q.thing is Thing.DATASET})),
            policies=tuple(sorted({id_ for _, answer in questions for id_ in answer.because})),
            decided_sha256=digest_of_answers(line_of(*each) for each in questions),
            evaluator=EVALUATOR,
            details={
                "evaluations": [write_answered(*each) for each in questions],
                "about_states": {str(subject): state.digest for subject, state in states.items()},
            },
        )
    )
