"""Somebody asks why: why this subject may, or may not, do this to that dataset.

Nobody is told anything about a dataset they may not know of; auditors may know of all
where they audit. About another subject only those are told who may grant or audit there.
What is never served is not allowed, whatever the policies say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import EVALUATOR, Wanted
from muniment.core.environments import checked_known
from muniment.core.explanations import Explanation, command, explain
from muniment.core.ledger import Event, Outcome, row
from muniment.core.names import domain_of
from muniment.core.occasions import Occasion
from muniment.core.problems import NotAllowed, NotFound
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find, knows, may_govern, may_name, not_served
from muniment.flows.house import House, aside
from muniment.store import subjects


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation, whom it is about, as of when that subject was last seen, and what to type to ask again."""

    explanation: Explanation
    allowed: bool
    reason: str
    subject: Subject
    seen_at: datetime
    command: str
    revision: int
    receipt: UUID


async def explain_access(
    house: House, occasion: Occasion, wanted: Wanted, action: Action, name: str, about: Subject | None
) -> Explained:
    """Decide again and say why; the asking is written down too."""
    realm = await house.realms.current()
    checked_known([wanted.environment], realm.environment_names)
    async with house.refusals_recorded(occasion, realm, name):
        asker, seen_at = occasion.asker, occasion.at
        if about is None or about == occasion.subject:
            dataset = await aside(lambda: find(realm, occasion.asker, occasion.at, name, wanted))
        else:
            dataset = await aside(lambda: _of_others(realm, occasion, wanted, name))
            asker, seen_at = await _newest_state(house, about)
        if dataset is None:
            raise NotFound
    explanation = await aside(lambda: explain(realm, asker, wanted, occasion.at, action, dataset))
    permitted = explanation.decision.allowed
    absent = await aside(lambda: _absent(realm, occasion, wanted, action, dataset, asker)) if permitted else None
    answer = Explained(
        explanation,
        permitted and absent is None,
        absent or explanation.reason,
        asker.subject,
        seen_at,
        command(action, name, wanted.environment),
        realm.revision,
        occasion.receipt,
    )
    await house.ledger.record(
        row(
            occasion,
            Event.ACCESS_EXPLAINED,
            Outcome.ALLOWED if answer.allowed else Outcome.DENIED,
            revision=realm.revision,
            environment=wanted.environment,
            project=wanted.project,
            purpose=wanted.purpose,
            datasets=(name,),
            policies=explanation.decision.because,
            evaluator=EVALUATOR,
            details={"action": action.value, "about": str(asker.subject)},
        )
    )
    return answer


def _of_others(realm: Realm, occasion: Occasion, wanted: Wanted, name: str) -> Dataset | None:
    """The dataset about which the asker may ask for others: who audits there asks about all that is there."""
    known = find(realm, occasion.asker, occasion.at, name, wanted)
    if not may_name(name):
        return None
    domain = domain_of(name)
    if may_govern(realm, occasion.asker, occasion.at, Action.AUDIT, domain):
        return realm.resolve(name)
    if known is None or may_govern(realm, occasion.asker, occasion.at, Action.GRANT, domain):
        return known
    raise NotAllowed(f"You may ask about yourself; about others you need grant or audit in {domain}.")


def _absent(
    realm: Realm, occasion: Occasion, wanted: Wanted, action: Action, dataset: Dataset, about: SubjectState
) -> str | None:
    """Why a subject cannot do what policies permit: nobody uses what is not served, and drafts are the stewards'."""
    absent = not_served(realm, occasion.asker, occasion.at, dataset, wanted)
    if action is not Action.DISCOVER:
        return absent
    if dataset.lifecycle is Lifecycle.DRAFT and not knows(realm, about, occasion.at, dataset):
        return absent
    return None


async def _newest_state(house: House, about: Subject) -> tuple[SubjectState, datetime]:
    async with house.db.begin() as tx:
        seen = await subjects.newest_of(tx, about)
    if seen is None:
        raise NotFound
    return seen.state, seen.seen_at
