"""Why a subject may, or may not, and what is missing: words for a person, ids for the record.

Nothing here looks at whether the reader may know of the dataset: a flow asks that first,
and gives a hidden dataset the words of :data:`UNKNOWN` and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Decision, Wanted, decide
from muniment.core.groups import write_group
from muniment.core.missing import missing as missing_of
from muniment.core.obligations import read_restrictions
from muniment.core.policies import PolicyKind
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState

#: What is said of a dataset that does not exist and of one that may not be known: the same.
UNKNOWN = "does not exist, or you may not know of it"


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy that settled a decision: its id, what it does, and why it is there.

    ``effect`` is ``permit`` or ``forbid``, or the kind of a policy that obliges.
    """

    id: str
    effect: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons. ``missing`` says what would have made the answer yes.

    ``obligations`` are the read restrictions that a reader would be bound to, where they
    are why the answer is no.
    """

    action: Action
    dataset: str
    decision: Decision
    reason: str
    rules: tuple[Rule, ...]
    missing: tuple[str, ...]
    owner: str
    obligations: Mapping[str, object] | None = None


def in_force(decided: Decided, action: Action) -> Decision:
    """The decision as it takes effect: nothing here enforces an obligation, so whom one binds neither loads nor saves.

    Such a denial is settled by the obligations; the permits are what they beat.
    """
    decision, obligations = decided[action], decided.obligations
    if action is Action.DISCOVER or not obligations:
        return decision
    permits = decision.because if decision.allowed else decision.beaten
    forbids = () if decision.allowed else tuple(id_ for id_ in decision.because if id_ not in obligations)
    if forbids:
        return Decision(allowed=False, because=forbids, beaten=permits)
    if not permits:
        return Decision(allowed=False)
    return Decision(allowed=False, because=obligations, beaten=permits, obligations=obligations)


def explain(
    realm: Realm,
    asker: SubjectState,
    wanted: Wanted,
    at: datetime,
    action: Action,
    dataset: Dataset,
    *,
    decision: Decision | None = None,
    erring: Collection[str] = (),
    thorough: bool = True,
) -> Explanation:
    """Decide, unless it is ``decision`` already (:func:`in_force`), and say why.

    ``erring`` are the obligations that could not be evaluated. To find what is missing many
    cases are tried; where many things are explained at once only the first need be ``thorough``.
    """
    if decision is None:
        decided = decide(realm, asker, wanted, at, dataset)
        decision, erring = in_force(decided, action), decided.erring
    looked_for = thorough and not (decision.allowed or decision.because)
    missing = missing_for(realm, asker, wanted, at, action, dataset) if looked_for else ()
    return Explanation(
        action=action,
        dataset=dataset.name,
        decision=decision,
        reason=_sentence(realm, asker, action, decision, missing),
        rules=tuple(_rules(realm, (*decision.because, *decision.beaten))),
        missing=missing,
        owner=write_group(dataset.owner),
        obligations=read_restrictions(realm, dataset, decision.obligations, erring) if decision.obligations else None,
    )


def why_withheld(realm: Realm, asker: SubjectState, decided: Decided) -> str | None:
    """Why somebody whom policies let load a dataset does not get it; none where no obligation is in the way."""
    decision = in_force(decided, Action.LOAD)
    return _sentence(realm, asker, Action.LOAD, decision, ()) if decision.obligations else None


def missing_for(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, action: Action, dataset: Dataset
) -> tuple[str, ...]:
    """What, alone, would have made the answer yes."""
    return missing_of(
        realm, asker, wanted, at, action, dataset, allows=lambda decided: in_force(decided, action).allowed
    )


def command(action: Action, dataset: str, environment: str) -> str:
    """What to type to be told all this again."""
    return f"kedro muniment why {dataset} --action {action} --environment {environment}"


def _sentence(realm: Realm, asker: SubjectState, action: Action, decision: Decision, missing: Iterable[str]) -> str:
    named = ", ".join(_named(realm, id_) for id_ in decision.because)
    if decision.obligations:
        return f"{asker.subject} may {action} it {_bound(realm, action, decision.obligations)}"
    if decision.allowed:
        return f"{asker.subject} may {action} it: permitted by {named}"
    if decision.because:
        return f"{asker.subject} may not {action} it: forbidden by {named}"
    needed = "; ".join(missing)
    return f"{asker.subject} may not {action} it: no policy permits it" + (f" ({needed})" if needed else "")


def _bound(realm: Realm, action: Action, obligations: Iterable[str]) -> str:
    """How somebody might do what obligations bind, and what becomes of it."""
    listed = " and ".join(f"{_way(realm, id_)} by {_named(realm, id_)}" for id_ in obligations)
    if action is Action.SAVE:
        return f"only if they read it whole; it is {listed}"
    return f"only {listed}, which nothing here enforces yet, so it is withheld"


def _way(realm: Realm, id_: str) -> str:
    policy = realm.policy(id_)
    return "filtered" if policy and policy.kind is PolicyKind.ROW_FILTER else "masked"


def _named(realm: Realm, id_: str) -> str:
    reason = _reason(realm, id_)
    return f"{id_} ({reason})" if reason else id_


def _rules(realm: Realm, ids: Iterable[str]) -> Iterable[Rule]:
    for id_ in ids:
        yield Rule(id_, _effect(realm, id_), _reason(realm, id_))


def _effect(realm: Realm, id_: str) -> str:
    read = realm.compiled.get(id_)
    if read is None:
        return "forbid"
    return read.effect if read.kind is PolicyKind.ACCESS else read.kind.value


def _reason(realm: Realm, id_: str) -> str:
    policy = realm.policy(id_)
    return policy.reason if policy else ""
