"""Before its first node, a run asks whether it may load and save everything that it will.

One question, one ledger row, a verdict with its reason for each. A name that may not be
known of gets the words of a name that was never there, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import EVALUATOR, Wanted
from muniment.core.environments import checked_known
from muniment.core.explanations import UNKNOWN, command, explain
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.visibility import find, visible_successor
from muniment.flows.house import House, aside

#: How many names one run can ask about.
MOST_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run may do one thing, and why. ``known`` is false where nothing may be said."""

    dataset: str
    action: Action
    allowed: bool
    known: bool
    reason: str
    because: tuple[str, ...] = ()
    owner: str | None = None
    explain: str | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Preflight:
    """The verdicts on one run, in the order asked: what it loads, then what it saves."""

    verdicts: tuple[Verdict, ...]
    revision: int
    receipt: UUID

    @property
    def allowed(self) -> bool:
        """Whether the run may begin."""
        return all(verdict.allowed for verdict in self.verdicts)


async def preflight(
    house: House, occasion: Occasion, wanted: Wanted, load: Sequence[str], save: Sequence[str]
) -> Preflight:
    """Decide everything that a run will do; the refusal is written down before it is given."""
    if len(load) + len(save) > MOST_NAMES:
        message = f"At most {MOST_NAMES:,} names can be asked about at once."
        raise Invalid(message, [Fault("load", message)])
    realm = await house.realms.current()
    checked_known([wanted.environment], realm.environment_names)
    asked = [*((name, Action.LOAD) for name in load), *((name, Action.SAVE) for name in save)]
    verdicts = await aside(lambda: tuple(_verdicts(realm, occasion, wanted, asked)))
    answer = Preflight(verdicts, realm.revision, occasion.receipt)
    await house.ledger.record(
        row(
            occasion,
            Event.PREFLIGHT_ALLOWED if answer.allowed else Event.ACCESS_DENIED,
            Outcome.ALLOWED if answer.allowed else Outcome.DENIED,
            receipt=answer.receipt,
            revision=realm.revision,
            environment=wanted.environment,
            project=wanted.project,
            purpose=wanted.purpose,
            datasets=tuple(sorted({*load, *save})),
            policies=tuple(sorted({id_ for verdict in verdicts for id_ in verdict.because})),
            evaluator=EVALUATOR,
            details={"refused": [f"{v.action} {v.dataset}" for v in verdicts if not v.allowed]},
        )
    )
    return answer


def _verdicts(
    realm: Realm, occasion: Occasion, wanted: Wanted, asked: Iterable[tuple[str, Action]]
) -> Iterable[Verdict]:
    known: dict[str, Dataset | None] = {}
    for name, action in asked:
        if name not in known:
            known[name] = find(realm, occasion.asker, occasion.at, name, wanted)
        found = known[name]
        if found is None:
            yield Verdict(name, action, allowed=False, known=False, reason=UNKNOWN)
        else:
            yield _verdict(realm, occasion, wanted, action, found)


def _verdict(realm: Realm, occasion: Occasion, wanted: Wanted, action: Action, dataset: Dataset) -> Verdict:
    explained = explain(realm, occasion.asker, wanted, occasion.at, action, dataset)
    successor = visible_successor(realm, occasion.asker, occasion.at, dataset)
    absent = _absent(dataset, wanted, successor)
    allowed = explained.decision.allowed and absent is None
    return Verdict(
        dataset.name,
        action,
        allowed=allowed,
        known=True,
        reason=absent if explained.decision.allowed and absent else explained.reason,
        because=explained.decision.because,
        owner=explained.owner,
        explain=None if allowed else command(action, dataset.name, wanted.environment),
        notice=_notice(dataset, successor),
    )


def _absent(dataset: Dataset, wanted: Wanted, successor: str | None) -> str | None:
    """Why nobody gets this dataset here, whatever the policies say."""
    if not dataset.served:
        after = f"; use {successor}" if successor else ""
        return f"it is {dataset.lifecycle.value}{after}"
    if dataset.definition(wanted.environment) is None:
        return f"it has no definition in {wanted.environment}"
    return None


def _notice(dataset: Dataset, successor: str | None) -> str | None:
    if dataset.lifecycle is not Lifecycle.DEPRECATED:
        return None
    return "deprecated" + (f"; use {successor} instead" if successor else "")
