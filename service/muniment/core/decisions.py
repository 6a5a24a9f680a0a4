"""Who may do what to which dataset, and which policies settled it.

This is the one evaluator: list, serve, check, explain and delegate all decide here.
With P and F the satisfied permits and forbids of each action, the answers are

* ``discover = (P_discover or P_load or P_save) and not F_discover``
* ``load = P_load and not F_load and not F_discover``
* ``save = P_save and not F_save and not F_discover``, and no obligation

Errors fail closed, unlike in plain Cedar (which skips a forbid that errs): a forbid
that errs counts as satisfied, a permit that errs does not. Cedar itself finds P and F,
asked once for each set of datasets that no policy concerned can tell apart.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, NoReturn, TypeVar

import cedarpy

from muniment.core.datasets import Dataset
from muniment.core.names import domain_of, lineage
from muniment.core.policies import Compiled, policy_set, write_datetime
from muniment.core.realm import Realm, entity, uid
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.subjects import SubjectState

#: Which evaluator decided, for the ledger: cedarpy's release and the shape of the rules above.
EVALUATOR = "cedarpy-4.12.2/1"

#: How Cedar tells that a policy erred; what follows quotes the policy's own words.
_ERRED = re.compile(r"error while evaluating policy `([^`]+)`: ")

#: How finely Cedar's moments are told apart.
_TICK = timedelta(milliseconds=1)

Key = TypeVar("Key")
Value = TypeVar("Value")

#: How many questions go to Cedar in one call: other threads run between two calls.
_BATCH = 512


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and the policies that settled it.

    ``because`` holds the permits of an allowed decision and the forbids of a denied
    one; it is empty when nothing permits. ``beaten`` are the permits that a forbid beat.
    A decision has no truth value: ask for :attr:`allowed`.
    """

    allowed: bool
    because: tuple[str, ...] = ()
    beaten: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()

    def __bool__(self) -> NoReturn:
        detail = "A decision is not a truth value; ask for decision.allowed."
        raise TypeError(detail)


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions for all data actions on one dataset."""

    discover: Decision
    load: Decision
    save: Decision

    def __getitem__(self, action: Action) -> Decision:
        return {Action.DISCOVER: self.discover, Action.LOAD: self.load, Action.SAVE: self.save}[action]

    @property
    def actions(self) -> tuple[Action, ...]:
        """What a catalog would let the subject do: load, save, both or neither."""
        return tuple(action for action in (Action.LOAD, Action.SAVE) if self[action].allowed)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about: an environment, and for which project and purpose."""

    environment: str
    project: str | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What one subject may do to every dataset, and until when that holds.

    ``until`` is the first moment at which some policy concerned may change its mind:
    from then on this listing must not be used.
    """

    revision: int
    decided: Mapping[str, Decided]
    until: datetime | None

    def names(self, action: Action) -> tuple[str, ...]:
        """The datasets to which the action may be done, in the order of their names."""
        return tuple(sorted(name for name, decided in self.decided.items() if decided[action].allowed))


def list_all(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, only: Iterable[str] | None = None
) -> Listing:
    """Decide discover, load and save for every dataset of the realm, or for those named."""
    concerned = realm.concerning(asker)
    decided: dict[str, Decided] = {}
    for names, decision in _by_class(realm, asker, concerned, _context(wanted, at), only):
        decided.update(dict.fromkeys(names, decision))
    return Listing(realm.revision, decided, next_boundary(concerned, at))


def decide(realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, dataset: Dataset) -> Decided:
    """Decide discover, load and save for one dataset, declared in the realm or resolved from a pattern."""
    return decide_each(realm, asker, wanted, at, [dataset])[0]


def decide_each(
    realm: Realm, asker: SubjectState, wanted: Wanted, at: datetime, datasets: Sequence[Dataset]
) -> tuple[Decided, ...]:
    """The same for several datasets of different names, in their order."""
    cedar = _Cedar(realm, asker, realm.concerning(asker), datasets)
    return tuple(cedar.decide(_context(wanted, at), [dataset.name for dataset in datasets]))


def decide_governing(
    realm: Realm, asker: SubjectState, action: Action, resources: Sequence[str | Dataset], at: datetime
) -> tuple[Decision, ...]:
    """Decide a governing action on domains (by name) or datasets, one decision for each.

    A domain that is not there is decided on as it might be made, so that an answer does
    not tell whether it is.
    """
    concerned = tuple(policy for policy in realm.concerning(asker) if action in policy.actions)
    datasets = [resource for resource in resources if isinstance(resource, Dataset)]
    named = {above for r in resources if isinstance(r, str) for above in lineage(r)}
    cedar = _Cedar(realm, asker, concerned, datasets, sorted(named - realm.domain_tree))
    uids = [uid("Domain", r) if isinstance(r, str) else uid("Dataset", r.name) for r in resources]
    context = json.dumps({"now": _moment(at)})
    permits, forbids = cedar.permits(action, uids, context), cedar.forbids(action, uids, context)
    return tuple(_settled(p, f) for p, f in zip(permits, forbids, strict=True))


def next_boundary(policies: Iterable[Compiled], at: datetime) -> datetime | None:
    """The first moment after ``at`` at which one of the policies may change its mind."""
    return min((moment for moment in boundaries(policies) if moment > at), default=None)


def boundaries(policies: Iterable[Compiled]) -> tuple[datetime, ...]:
    """The moments at which policies may change their minds: each literal, and the tick after it."""
    literals = {literal for policy in policies for literal in policy.boundaries}
    return tuple(sorted({moment for literal in literals for moment in (literal, literal + _TICK)}))


def data_entity(dataset: Dataset) -> dict[str, object]:
    """A dataset as policies see it."""
    attributes: dict[str, object] = {
        "name": dataset.name,
        "owner": {"__entity": uid("Group", dataset.owner)},
        "tags": sorted(dataset.tags),
        "classification": dataset.classification,
        "sensitivity": dataset.sensitivity,
        "lifecycle": dataset.lifecycle.value,
    }
    if dataset.layer is not None:
        attributes["layer"] = dataset.layer
    return entity("Dataset", dataset.name, attributes, [("Domain", above) for above in lineage(dataset.domain)])


def subject_entity(realm: Realm, asker: SubjectState) -> dict[str, object]:
    """A subject as policies see it, with all its groups."""
    attributes: dict[str, object] = {"issuer": asker.issuer}
    for name, value in asker.attributes.items():
        attributes[name] = sorted(value) if isinstance(value, frozenset) else value
    groups = [("Group", group) for group in sorted(realm.groups_of(asker))]
    return entity(asker.subject.kind.entity_type, asker.subject.id, attributes, groups)


def _by_class(
    realm: Realm,
    asker: SubjectState,
    concerned: Sequence[Compiled],
    context: str,
    only: Iterable[str] | None,
) -> Iterable[tuple[Sequence[str], Decided]]:
    """The datasets in sets that no policy concerned can tell apart, each set decided once."""
    asked = None if only is None else frozenset(only) & realm.datasets.keys()
    sets = list(_alike(realm, concerned, asked))
    deputies = [realm.datasets[names[0]] for names in sets]
    cedar = _Cedar(realm, asker, concerned, deputies)
    return zip(sets, cedar.decide(context, [deputy.name for deputy in deputies]), strict=True)


def _alike(realm: Realm, concerned: Sequence[Compiled], asked: frozenset[str] | None) -> Iterable[Sequence[str]]:
    data = [policy for policy in concerned if policy.actions.intersection(DATA_ACTIONS)]
    if any(policy.individual for policy in data):
        yield from ((name,) for name in (realm.datasets if asked is None else asked))
        return
    named = frozenset(name for policy in data for name in policy.names)
    patterns = [realm.matching(pattern) for pattern in sorted({p for policy in data for p in policy.patterns})]
    for names in realm.alike:
        told_apart: defaultdict[object, list[str]] = defaultdict(list)
        for name in names if asked is None else filter(asked.__contains__, names):
            mark = name if name in named else tuple(name in matched for matched in patterns)
            told_apart[mark].append(name)
        yield from told_apart.values()


class _Cedar:
    """Cedar, asked about one subject and the given datasets under the policies that concern it."""

    def __init__(
        self,
        realm: Realm,
        asker: SubjectState,
        concerned: Sequence[Compiled],
        datasets: Iterable[Dataset],
        domains: Iterable[str] = (),
    ) -> None:
        self._subject = uid(asker.subject.kind.entity_type, asker.subject.id)
        delta = [subject_entity(realm, asker), *(data_entity(dataset) for dataset in datasets)]
        delta.extend(realm.domain_entities(domains))
        self._entities = realm.base_entities.with_added_json_str(json.dumps(delta))
        self._concerned = concerned

    def decide(self, context: str, names: Sequence[str]) -> Iterable[Decided]:
        """All data actions on each of the datasets."""
        uids = [uid("Dataset", name) for name in names]
        permits = {action: self.permits(action, uids, context) for action in DATA_ACTIONS}
        forbids = {action: self.forbids(action, uids, context) for action in DATA_ACTIONS}
        memo: dict[object, Decided] = {}
        for index in range(len(uids)):
            key = tuple((permits[a][index], forbids[a][index]) for a in DATA_ACTIONS)
            if key not in memo:
                memo[key] = _composed(dict(zip(DATA_ACTIONS, key, strict=True)))
            yield memo[key]

    def permits(self, action: Action, uids: Sequence[Mapping[str, str]], context: str) -> list[tuple[str, ...]]:
        """The satisfied permits, for each resource."""
        return self._ask("permit", action, uids, context, lambda answer: tuple(sorted(answer.diagnostics.reasons)))

    def forbids(self, action: Action, uids: Sequence[Mapping[str, str]], context: str) -> list[tuple[str, ...]]:
        """The satisfied forbids, for each resource; one that errs is satisfied."""
        return self._ask("forbid", action, uids, context, _forbidden)

    def _ask(
        self,
        effect: str,
        action: Action,
        uids: Sequence[Mapping[str, str]],
        context: str,
        read: Callable[[cedarpy.AuthzResult], tuple[str, ...]],
    ) -> list[tuple[str, ...]]:
        policies = [p for p in self._concerned if p.effect == effect and action in p.actions]
        answers: list[tuple[str, ...]] = [()] * len(uids)
        for indexes, reaching in _by_reach(policies, uids):
            for start in range(0, len(indexes), _BATCH):
                batch = indexes[start : start + _BATCH]
                asked = {"principal": self._subject, "action": uid("Action", action), "context": context}
                questions = [{**asked, "resource": uids[index]} for index in batch]
                found = cedarpy.is_authorized_batch(questions, reaching, self._entities)
                for index, answer in zip(batch, found, strict=True):
                    answers[index] = read(answer)
        return answers


def _forbidden(answer: cedarpy.AuthzResult) -> tuple[str, ...]:
    """The forbids that hit and those that erred; an error that names no policy forbids all the same."""
    erred = (_ERRED.match(error) for error in answer.diagnostics.errors)
    return tuple(sorted({*answer.diagnostics.reasons, *(found[1] if found else "error" for found in erred)}))


def _by_reach(
    policies: Sequence[Compiled], uids: Sequence[Mapping[str, str]]
) -> Iterable[tuple[list[int], cedarpy.PolicySet]]:
    """The resources (by index) with the policies whose domain they are in; none where no policy reaches."""
    placed: defaultdict[str, list[int]] = defaultdict(list)
    for index, resource in enumerate(uids):
        placed[resource["id"] if resource["type"] == "Domain" else domain_of(resource["id"])].append(index)
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    reaching: dict[tuple[str, ...], list[Compiled]] = {}
    for domain, indexes in placed.items():
        above = frozenset(lineage(domain))
        found = [policy for policy in policies if policy.within is None or policy.within in above]
        ids = tuple(policy.id for policy in found)
        reaching[ids] = found
        alike[ids].extend(indexes)
    return ((indexes, policy_set(reaching[ids])) for ids, indexes in alike.items() if ids)


def _composed(found: Mapping[Action, tuple[tuple[str, ...], tuple[str, ...]]]) -> Decided:
    (p_discover, f_discover), (p_load, f_load), (p_save, f_save) = (found[action] for action in DATA_ACTIONS)
    return Decided(
        discover=_settled(_union(p_discover, p_load, p_save), f_discover),
        load=_settled(p_load, _union(f_load, f_discover)),
        save=_settled(p_save, _union(f_save, f_discover)),
    )


def _settled(permits: tuple[str, ...], forbids: tuple[str, ...]) -> Decision:
    if forbids:
        return Decision(allowed=False, because=forbids, beaten=permits)
    return Decision(allowed=bool(permits), because=permits)


def _union(*ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*ids)))


def _context(wanted: Wanted, at: datetime) -> str:
    context: dict[str, object] = {"environment": wanted.environment, "now": _moment(at)}
    if wanted.project is not None:
        context["project"] = wanted.project
    if wanted.purpose is not None:
        context["purpose"] = wanted.purpose
    return json.dumps(context)


def _moment(at: datetime) -> dict[str, object]:
    return {"__extn": {"fn": "datetime", "arg": write_datetime(at)}}


class Memory(Generic[Key, Value]):
    """What was decided at the newest revision, each usable until its own moment.

    ``most`` bounds the sum of what the values weigh; the ones not asked for longest go
    first. A newer revision forgets everything: nobody asks for an older one again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._revision = -1
        self._weight = 0
        self._held: OrderedDict[Key, tuple[Value, datetime | None, int]] = OrderedDict()

    def get(self, revision: int, key: Key, at: datetime) -> Value | None:
        """The value, if it is held for this revision and ``at`` lies before its end."""
        held = self._held.get(key) if revision == self._revision else None
        if held is None or (held[1] is not None and at >= held[1]):
            return None
        self._held.move_to_end(key)
        return held[0]

    def put(self, revision: int, key: Key, value: Value, until: datetime | None, weight: int = 1) -> None:
        """Hold a value until a moment, or for as long as there is room; not one of an older revision."""
        if revision < self._revision or weight > self._most:
            return
        if revision > self._revision:
            self._held.clear()
            self._revision, self._weight = revision, 0
        self._weight += weight - (self._held.pop(key)[2] if key in self._held else 0)
        self._held[key] = (value, until, weight)
        while self._weight > self._most:
            self._weight -= self._held.popitem(last=False)[1][2]
