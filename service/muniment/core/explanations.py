"""Why a subject may, or may not, and what is missing: words for a person, ids for the record.

Nothing here looks at whether the reader may know of the dataset: a flow asks that first,
and gives a hidden dataset the words of :data:`UNKNOWN` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decision, Wanted, decide
from muniment.core.groups import is_builtin, write_group
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import SubjectState

#: What is said of a dataset that does not exist and of one that may not be known: the same.
UNKNOWN = "does not exist, or you may not know of it"

#: How many groups are tried when what is missing is looked for.
_MOST_TRIED = 50


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy that settled a decision: its id, what it does, and why it is there."""

    id: str
    effect: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons. ``missing`` says what would have made the answer yes."""

    action: Action
    dataset: str
    decision: Decision
    reason: str
    rules: tuple[Rule, ...]
    missing: tuple[str, ...]
    owner: str


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether this subject may do this, to this, then and there."""

    realm: Realm
    asker: SubjectState
    wanted: Wanted
    at: datetime
    action: Action
    dataset: Dataset

    def decision(self) -> Decision:
        return decide(self.realm, self.asker, self.wanted, self.at, self.dataset)[self.action]

    def allowed_with(self, **other: Unpack[_Other]) -> bool:
        """Whether the answer is yes when something else is so."""
        return replace(self, **other).decision().allowed


class _Other(TypedDict, total=False):
    realm: Realm
    wanted: Wanted
    at: datetime


def explain(
    realm: Realm,
    asker: SubjectState,
    wanted: Wanted,
    at: datetime,
    action: Action,
    dataset: Dataset,
    *,
    decision: Decision | None = None,
    thorough: bool = True,
) -> Explanation:
    """Decide, unless it is ``decision`` already, and say why.

    To find what is missing many cases are tried; where many things are explained at once
    only the first need be ``thorough``.
    """
    question = _Question(realm, asker, wanted, at, action, dataset)
    decision = question.decision() if decision is None else decision
    missing = _missing(question) if thorough and not (decision.allowed or decision.because) else ()
    return Explanation(
        action=action,
        dataset=dataset.name,
        decision=decision,
        reason=_sentence(realm, asker, action, decision, missing),
        rules=tuple(_rules(realm, (*decision.because, *decision.beaten))),
        missing=missing,
        owner=write_group(dataset.owner),
    )


def missing_for(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, action: Action, dataset: Dataset
) -> tuple[str, ...]:
    """What, alone, would have made the answer yes: a time that is past, another environment, a group."""
    return _missing(_Question(realm, asker, wanted, at, action, dataset))


def command(action: Action, dataset: str, environment: str) -> str:
    """What to type to be told all this again."""
    return f"kedro muniment why {dataset} --action {action} --environment {environment}"


def _sentence(realm: Realm, asker: SubjectState, action: Action, decision: Decision, missing: Iterable[str]) -> str:
    named = ", ".join(_named(realm, id_) for id_ in decision.because)
    if decision.allowed:
        return f"{asker.subject} may {action} it: permitted by {named}"
    if decision.because:
        return f"{asker.subject} may not {action} it: forbidden by {named}"
    needed = "; ".join(missing)
    return f"{asker.subject} may not {action} it: no policy permits it" + (f" ({needed})" if needed else "")


def _named(realm: Realm, id_: str) -> str:
    reason = _reason(realm, id_)
    return f"{id_} ({reason})" if reason else id_


def _rules(realm: Realm, ids: Iterable[str]) -> Iterable[Rule]:
    for id_ in ids:
        read = realm.compiled.get(id_)
        yield Rule(id_, read.effect if read else "forbid", _reason(realm, id_))


def _reason(realm: Realm, id_: str) -> str:
    policy = realm.policy(id_)
    return policy.reason if policy else ""


def _missing(question: _Question) -> tuple[str, ...]:
    return (*_at_another_time(question), *_in_another_environment(question), *_in_another_group(question))


def _at_another_time(question: _Question) -> Iterable[str]:
    moments = sorted({moment for p in question.realm.concerning(question.asker) for moment in p.boundaries})
    for moment in [m for m in moments if m <= question.at][-1:]:
        if question.allowed_with(at=moment - timedelta(milliseconds=1)):
            yield f"the permission ended at {moment:%Y-%m-%d %H:%M} UTC"
    for moment in [m for m in moments if m > question.at][:1]:
        if question.allowed_with(at=moment):
            yield f"the permission begins at {moment:%Y-%m-%d %H:%M} UTC"


def _in_another_environment(question: _Question) -> Iterable[str]:
    here = question.wanted.environment
    others = [name for name in question.realm.environment_names if name != here]
    allowed = [n for n in others if question.allowed_with(wanted=replace(question.wanted, environment=n))]
    if allowed:
        yield f"permitted in {' and '.join(allowed)}, not in {here}"


def _in_another_group(question: _Question) -> Iterable[str]:
    realm, asker = question.realm, question.asker
    # A permit to load or to save makes a dataset known as well.
    giving = set(DATA_ACTIONS) if question.action is Action.DISCOVER else {question.action}
    groups = {
        policy.anchor.id
        for policy in realm.compiled.values()
        if policy.effect == "permit"
        and not giving.isdisjoint(policy.actions)
        and policy.anchor is not None
        and str(policy.anchor.type) == "Group"
        and not is_builtin(policy.anchor.id)
    }
    for group in sorted(groups - realm.all_groups_of(asker))[:_MOST_TRIED]:
        if question.allowed_with(realm=_joined(realm, group, asker)):
            yield f"members of group:{group} may"


def _joined(realm: Realm, group: str, asker: SubjectState) -> Realm:
    """The realm in which the subject is in one more group; all else is shared."""
    supposed = realm.after(realm.revision, ())
    subject = str(asker.subject)
    joined = realm.memberships.get(subject, frozenset()) | {group}
    supposed.__dict__["memberships"] = {**realm.memberships, subject: joined}
    return supposed
