"""Before its first node, a run asks whether it may load and save everything that it will.

One question, one ledger row, a verdict with its reason for each. A name that may not be
known of gets the words of a name that was never there, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from muniment.core.datasets import Dataset
from muniment.core.decisions import EVALUATOR, Wanted, decide_each
from muniment.core.environments import checked_known
from muniment.core.explanations import UNKNOWN, Explanation, command, explain, in_force
from muniment.core.judgements import Judged, digest
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm
from muniment.core.requests import command as ask_with
from muniment.core.schema import Action
from muniment.core.second_key import check_save
from muniment.core.visibility import find_each, not_served, notice
from muniment.flows.house import House, aside

#: How many names one run can ask about.
MOST_NAMES = 2_000

#: For how many refusals of one run it is looked for what would have made them a yes.
_MOST_THOROUGH = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run may do one thing, and why. ``known`` is false where nothing may be said.

    ``obligations`` are the read restrictions that are why it may not.
    """

    dataset: str
    action: Action
    allowed: bool
    known: bool
    reason: str
    because: tuple[str, ...] = ()
    owner: str | None = None
    explain: str | None = None
    notice: str | None = None
    obligations: Mapping[str, object] | None = None
    request: str | None = None


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
    house: House,
    occasion: Occasion,
    wanted: Wanted,
    load: Sequence[str],
    save: Sequence[str],
    run: str | None = None,
) -> Preflight:
    """Decide everything that a run will do; the refusal is written down before it is given."""
    if len(load) + len(save) > MOST_NAMES:
        message = f"At most {MOST_NAMES:,} names can be asked about at once."
        raise Invalid(message, [Fault("load", message)])
    wanted = await house.confined(occasion, wanted)
    realm = await house.realms.current(occasion.revision)
    checked_known([wanted.environment], realm.environment_names)
    asked = [*((name, Action.LOAD) for name in load), *((name, Action.SAVE) for name in save)]
    async with house.refusals_recorded(occasion, realm, *sorted({*load, *save})):
        verdicts = await aside(lambda: tuple(_verdicts(realm, occasion, wanted, asked)))
    answer = Preflight(verdicts, realm.revision, occasion.receipt)
    await house.ledger.record(
        row(
            occasion,
            Event.PREFLIGHT_ALLOWED if answer.allowed else Event.ACCESS_DENIED,
            Outcome.ALLOWED if answer.allowed else Outcome.DENIED,
            revision=realm.revision,
            environment=wanted.environment,
            project=wanted.project,
            purpose=wanted.purpose,
            run=run,
            datasets=tuple(sorted({*load, *save})),
            policies=tuple(sorted({id_ for verdict in verdicts for id_ in verdict.because})),
            decided_sha256=digest(Judged(v.dataset, v.action, v.known, v.allowed, v.because) for v in verdicts),
            evaluator=EVALUATOR,
            details={
                "load": sorted(set(load)),
                "save": sorted(set(save)),
                "refused": [f"{v.action} {v.dataset}" for v in verdicts if not v.allowed],
            },
        )
    )
    return answer


def _verdicts(
    realm: Realm, occasion: Occasion, wanted: Wanted, asked: Sequence[tuple[str, Action]]
) -> Iterable[Verdict]:
    asker, at = occasion.asker, occasion.at
    known = find_each(realm, asker, at, {name: None for name, _ in asked}, wanted)
    datasets = [dataset for dataset in known.values() if dataset is not None]
    decided = {d.name: each for d, each in zip(datasets, decide_each(realm, asker, wanted, at, datasets), strict=True)}
    refused = 0
    for name, action in asked:
        dataset = known[name]
        if dataset is None:
            yield Verdict(name, action, allowed=False, known=False, reason=UNKNOWN)
            continue
        decision = in_force(decided[name], action)
        if action is Action.SAVE and decision.allowed:
            check_save(realm, asker, wanted, at, dataset, decided[name])
        explained = explain(
            realm,
            asker,
            wanted,
            at,
            action,
            dataset,
            decision=decision,
            erring=decided[name].erring,
            thorough=refused < _MOST_THOROUGH,
        )
        refused += not decision.allowed
        yield _verdict(realm, occasion, wanted, dataset, explained)


def _verdict(realm: Realm, occasion: Occasion, wanted: Wanted, dataset: Dataset, explained: Explanation) -> Verdict:
    absent = not_served(realm, occasion.asker, occasion.at, dataset, wanted)
    allowed = explained.decision.allowed and absent is None
    return Verdict(
        dataset.name,
        explained.action,
        allowed=allowed,
        known=True,
        reason=absent if explained.decision.allowed and absent else explained.reason,
        because=explained.decision.because,
        owner=explained.owner,
        explain=None if allowed else command(explained.action, dataset.name, wanted.environment),
        notice=notice(realm, occasion.asker, occasion.at, dataset),
        obligations=explained.obligations,
        request=None if absent else ask_with(explained.action, dataset.name, wanted.environment, explained.decision),
    )
