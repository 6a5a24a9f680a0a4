"""The second key: where a mistake costs most, Cedar itself has to say the same as the engine.

It shares with the engine only how a policy is read: which policies are asked is found by
their heads, and every condition is Cedar's own to evaluate. One question for each effect and
action, on one resource.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import cedarpy

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, Decision, Wanted, context_of, entity_of, json_of, subject_entity
from muniment.core.moments import ticked
from muniment.core.names import domain_of, lineage
from muniment.core.policies import Compiled, PolicyKind, policy_set
from muniment.core.problems import Unconfirmed
from muniment.core.realm import Realm, domain_row, row_of, uid
from muniment.core.schema import Action
from muniment.core.shelves import Row, Value
from muniment.core.subjects import SubjectState

#: How Cedar tells that a policy erred; what follows quotes the policy's own words.
_ERRED = re.compile(r"error while evaluating policy `([^`]+)`: ")


def check_save(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, dataset: Dataset, decided: Decided
) -> None:
    """Refuse (:class:`Unconfirmed`) when Cedar decides otherwise about saving, or for other reasons."""
    cedar = _Cedar(realm, asker, context_of(wanted, at), row_of(dataset))
    forbids = {*cedar.hit("forbid", Action.SAVE), *cedar.hit("forbid", Action.DISCOVER), *cedar.obligations()}
    _agree(decided.save, _decision(cedar.hit("permit", Action.SAVE), forbids), f"{asker.subject} saves {dataset.name}")


def check_governing(
    realm: Realm, asker: SubjectState, action: Action, resource: str | Dataset, at: datetime, decision: Decision
) -> None:
    """The same for a governing action on a domain (by name) or a dataset."""
    row = domain_row(realm, resource) if isinstance(resource, str) else row_of(resource)
    cedar = _Cedar(realm, asker, {"now": ticked(at)}, row)
    found = _decision(cedar.hit("permit", action), cedar.hit("forbid", action))
    _agree(decision, found, f"{asker.subject} does {action} on {row.uid[1]}")


def _agree(engine: Decision, cedar: Decision, about: str) -> None:
    if engine != cedar:
        raise Unconfirmed(
            "Two ways to decide this do not agree, so it is refused; tell the people who run this service.",
        ) from Disagreement(f"{about}: the engine says {engine}, Cedar {cedar}")


class Disagreement(Exception):
    """What the engine and Cedar say, for the log: it names what the asker may not know."""


def _decision(permits: Iterable[str], forbids: Iterable[str]) -> Decision:
    allowing, denying = tuple(sorted(permits)), tuple(sorted(forbids))
    if denying:
        return Decision(allowed=False, because=denying, beaten=allowing)
    return Decision(allowed=bool(allowing), because=allowing)


class _Cedar:
    """Cedar, asked about one subject in one context and one resource."""

    def __init__(self, realm: Realm, asker: SubjectState, context: dict[str, Value], row: Row) -> None:
        type_, id_ = row.uid
        above = frozenset(lineage(id_ if type_ == "Domain" else domain_of(id_)))
        self._policies = [p for p in realm.concerning(asker) if p.within is None or p.within in above]
        added = [subject_entity(realm, asker)]
        if not (type_ == "Domain" and id_ in realm.domain_tree):
            added.append(entity_of(row.uid, row))
        self._entities = realm.base_entities.with_added_json_str(json.dumps(added))
        self._question = {
            "principal": uid(asker.subject.kind.entity_type, asker.subject.id),
            "resource": uid(*row.uid),
            "context": json.dumps({name: json_of(value) for name, value in context.items()}),
        }

    def hit(self, effect: str, action: Action) -> set[str]:
        """The satisfied policies of an effect; a forbid that errs is satisfied."""
        found = [p for p in self._policies if p.kind is PolicyKind.ACCESS and p.effect == effect]
        return self._asked(found, action, erring=effect == "forbid")

    def obligations(self) -> set[str]:
        """The masks and row filters that apply, those that err among them."""
        return self._asked([p for p in self._policies if p.kind is not PolicyKind.ACCESS], Action.LOAD, erring=True)

    def _asked(self, policies: Sequence[Compiled], action: Action, *, erring: bool) -> set[str]:
        speaking = [policy for policy in policies if action in policy.actions]
        if not speaking:
            return set()
        asked = {**self._question, "action": uid("Action", action)}
        answer = cedarpy.is_authorized(asked, policy_set(speaking), self._entities)
        erred = (_ERRED.match(error) for error in answer.diagnostics.errors) if erring else ()
        return {*answer.diagnostics.reasons, *(found[1] if found else "error" for found in erred)}
