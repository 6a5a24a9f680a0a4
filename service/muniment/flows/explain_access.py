"""Somebody asks why: why this subject may, or may not, do this to that dataset.

Nobody is told anything about a dataset they may not know of; auditors may know of all
where they audit. About another subject only those are told who may grant or audit there.
What is never served is not allowed, whatever the policies say. Of the past they are told
about datasets that they may know of today.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.decisions import EVALUATOR, Wanted
from muniment.core.environments import checked_known
from muniment.core.explanations import Explanation, command, explain
from muniment.core.judgements import digest, judged
from muniment.core.keys import check_speaks_for_itself
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.requests import command as ask_with
from muniment.core.schema import Action
from muniment.core.subjects import Subject
from muniment.core.visibility import find, may_govern, may_name, not_served, withheld
from muniment.flows.house import House, aside
from muniment.flows.past import Point, placed


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation, whom it is about, as of when that subject was last seen, and what to type to ask again.

    ``request`` is what to type to ask for access, where the asker may do that and it may help.
    """

    explanation: Explanation
    allowed: bool
    reason: str
    subject: Subject
    seen_at: datetime
    command: str
    request: str | None
    revision: int
    receipt: UUID


async def explain_access(
    house: House,
    occasion: Occasion,
    wanted: Wanted,
    action: Action,
    name: str,
    about: Subject | None,
    point: Point | None = None,
) -> Explained:
    """Decide again and say why; the asking is written down too. With ``point`` as of then."""
    wanted = await house.confined(occasion, wanted)
    realm = await house.realms.current()
    checked_known([wanted.environment], realm.environment_names)
    about = about or occasion.subject
    async with house.refusals_recorded(occasion, realm, name):
        if about != occasion.subject or point is not None:
            check_speaks_for_itself(occasion.bounds)
        known = await aside(lambda: _known(realm, occasion, wanted, name, about, point))
        if known is None:
            raise NotFound
        there = await placed(house, occasion, realm, about, point)
        then, asker, at = there.standpoint.realm, there.standpoint.asker, there.standpoint.at
        checked_known([wanted.environment], then.environment_names)
        dataset = known if then is realm else then.resolve(name)
        if dataset is None:
            raise NotFound
    explanation = await aside(lambda: explain(then, asker, wanted, at, action, dataset))
    decision = explanation.decision
    absent = None
    if decision.allowed and await aside(lambda: withheld(then, asker, at, dataset, wanted, action)):
        # The reader is told of a successor that they may know of today.
        absent = await aside(lambda: not_served(realm, occasion.asker, occasion.at, dataset, wanted))
    answer = Explained(
        explanation,
        decision.allowed and absent is None,
        absent or explanation.reason,
        asker.subject,
        there.seen_at,
        command(action, name, wanted.environment),
        _request(occasion, wanted, explanation, realm, dataset)
        if then is realm and about == occasion.subject
        else None,
        then.revision,
        occasion.receipt,
    )
    await house.ledger.record(
        row(
            occasion,
            Event.ACCESS_EXPLAINED,
            Outcome.ALLOWED if answer.allowed else Outcome.DENIED,
            revision=then.revision,
            environment=wanted.environment,
            project=wanted.project,
            purpose=wanted.purpose,
            datasets=(name,),
            policies=decision.because,
            decided_sha256=digest([judged(name, action, decision, allowed=answer.allowed)]),
            evaluator=EVALUATOR,
            details={"action": action.value, "about": str(asker.subject), **there.details},
        )
    )
    return answer


def _request(
    occasion: Occasion, wanted: Wanted, explanation: Explanation, realm: Realm, dataset: Dataset
) -> str | None:
    """What the asker types to ask for what they were denied, where it is served at all."""
    typed = ask_with(explanation.action, dataset.name, wanted.environment, explanation.decision)
    return typed if typed and not_served(realm, occasion.asker, occasion.at, dataset, wanted) is None else None


def _known(
    realm: Realm, occasion: Occasion, wanted: Wanted, name: str, about: Subject, point: Point | None
) -> Dataset | None:
    """The dataset as it is today, if the asker may ask this about it.

    Who audits there asks about others, and about the past, of all that is there.
    """
    known = find(realm, occasion.asker, occasion.at, name, wanted)
    if not may_name(name) or (about == occasion.subject and point is None):
        return known
    domain = domain_of(name)
    if may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, domain):
        return realm.resolve(name)
    if known is None or about == occasion.subject:
        return known
    if may_govern(realm, occasion.asker, occasion.at, Action.GRANT, domain):
        return known
    raise NotAllowed(f"You may ask about yourself; about others you need grant or audit in {domain}.")
