"""What a change does to people: who could use what before it, and who could after it.

A decision is a pure function of a realm, a subject's state and a question, so what a
change does is found by asking both realms the same. Only where they may answer
differently are they asked: about datasets that changed, and about those in reach of a
changed rule, for the subjects whom that rule can concern.

What one may *use* is more than a decision: a dataset that is retired, or that has no
definition in an environment, is loaded by nobody there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import (
    Answers,
    Decided,
    Inquiry,
    Wanted,
    context_of,
    decide_each,
    list_all,
)
from muniment.core.delegation import within_reach
from muniment.core.divergence import Comparison
from muniment.core.moments import ticked
from muniment.core.names import domain_of, lineage
from muniment.core.policies import Compiled, occasions_of
from muniment.core.problems import Fault, Invalid
from muniment.core.realm import Realm, domain_row
from muniment.core.rules import Role
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.shelves import Shelf
from muniment.core.subjects import SubjectState

#: In how many circumstances (environments with purposes and projects) the realms are compared.
MOST_CIRCUMSTANCES = 200

#: What an obligation demands that cannot be evaluated.
_STRICTEST = "everything withheld"

#: How a rule reads an attribute of a domain that it names.
_INTO_A_DOMAIN = re.compile(r'Domain::"(?:[^"\\]|\\.)*"[\s)]*[.\[]')


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a subject may do on one side of a change and not on the other.

    Governing actions are done in no environment, to a dataset or (``on_domain``) a domain:
    both may have one name. A purpose or project is named where the effect is had for it alone.
    """

    subject: str
    action: Action
    resource: str
    environment: str | None = None
    purpose: str | None = None
    project: str | None = None
    on_domain: bool = False

    @property
    def governing(self) -> bool:
        """Whether this is a right to govern, and not to use."""
        return self.action in GOVERNING_ACTIONS

    @property
    def scope(self) -> str:
        """The domain in which it happens."""
        return self.resource if self.on_domain else domain_of(self.resource)

    @property
    def order(self) -> tuple[str, ...]:
        """By what it is done to, then by whom, where and for what."""
        circumstances = (self.environment or "", self.purpose or "", self.project or "")
        return (self.resource, self.subject, self.action, *circumstances)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a change gives and takes, in order.

    ``masked`` are loads that are allowed before and after, and after it with an obligation
    that was not there (lost too, as long as nothing enforces it for the reader);
    ``unmasked`` those that are rid of one.
    """

    gained: tuple[Effect, ...] = ()
    lost: tuple[Effect, ...] = ()
    masked: tuple[Effect, ...] = ()
    unmasked: tuple[Effect, ...] = ()


def consequences(
    before: Realm, after: Realm, states: Sequence[SubjectState], wanted: Sequence[Wanted], at: datetime
) -> Consequences:
    """What these subjects gain and lose by a change, each asked about in all of ``wanted``.

    Where the realms decide otherwise is found for all subjects together
    (:mod:`muniment.core.divergence`); only there each is asked what that gives and takes.
    """
    difference = Difference(before, after)
    comparison = Comparison(before, after, difference.otherwise)
    found: list[Consequences] = []
    for alike in comparison.kinds(states):
        for each in wanted:
            divided = comparison.compared(alike, each, at)
            names = difference.otherwise | (divided.names if divided else frozenset())
            if names and not difference.one_sided(each):
                found.append(_for_each(alike, _compared(difference, alike[0], each, at, names)))
    for state in states:
        for each in wanted:
            names = difference.besides(state, each)
            if names:
                found.append(_compared(difference, state, each, at, names))
        if difference.governs:
            found.append(_governed(difference, state, at))
    return Consequences(
        gained=_listed(each.gained for each in found),
        lost=_listed(each.lost for each in found),
        masked=_listed(each.masked for each in found),
        unmasked=_listed(each.unmasked for each in found),
    )


def _for_each(alike: Sequence[SubjectState], one: Consequences) -> Consequences:
    """The same consequences for each of several subjects who are decided on alike."""
    subjects = [str(state.subject) for state in alike]

    def told(effects: Sequence[Effect]) -> tuple[Effect, ...]:
        return tuple(
            Effect(name, each.action, each.resource, each.environment, each.purpose, each.project, each.on_domain)
            for each in effects
            for name in subjects
        )

    return Consequences(told(one.gained), told(one.lost), told(one.masked), told(one.unmasked))


def circumstances(before: Realm, after: Realm) -> tuple[Wanted, ...]:
    """Where to compare two realms: each environment, and each purpose and project that a changed rule speaks of."""
    environments = sorted({*before.environment_names, *after.environment_names})
    spoken_of = {(None, None)} | {
        (purpose, project)
        for policy in Difference(before, after).touched
        for purpose in (None, *occasions_of(policy).purposes)
        for project in (None, *occasions_of(policy).projects)
    }
    found = tuple(
        Wanted(environment, project, purpose)
        for environment in environments
        for purpose, project in sorted(spoken_of, key=lambda pair: (pair[0] or "", pair[1] or ""))
    )
    if len(found) > MOST_CIRCUMSTANCES:
        message = "These rules speak of too many purposes and projects to try them together; try them in parts."
        raise Invalid(message, [Fault("changes", message)])
    return found


def topmost(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """The same effects without what a domain above says already: a right in ``sales`` is one in all below it."""
    listed = tuple(effects)
    on_domains = {_done(each, each.resource) for each in listed if each.on_domain}
    if not on_domains:
        return listed
    return tuple(
        each for each in listed if on_domains.isdisjoint(_done(each, above) for above in lineage(each.resource)[1:])
    )


def _done(effect: Effect, resource: str) -> tuple[object, ...]:
    """All of an effect, as it would be had on another resource."""
    return effect.subject, effect.action, resource, effect.environment, effect.purpose, effect.project


class Difference:
    """Where two realms may decide differently."""

    def __init__(self, before: Realm, after: Realm) -> None:
        self.before = before
        self.after = after
        self.realms = (before, after)
        self._reaching: dict[tuple[str, bool], frozenset[str]] = {}

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the rules that changed, as decisions name them."""
        policies = _changed(self.before.policies, self.after.policies)
        grants = _changed(self.before.grants, self.after.grants)
        return frozenset([*policies, *(f"grant:{id_}" for id_ in grants)])

    @cached_property
    def touched(self) -> tuple[Compiled, ...]:
        """The rules that changed: as they were and as they are."""
        return tuple(realm.compiled[id_] for id_ in sorted(self.ids) for realm in self.realms if id_ in realm.compiled)

    @cached_property
    def datasets(self) -> frozenset[str]:
        """The datasets of which something changed that decides who uses them."""
        old, new = self.before.datasets, self.after.datasets
        return frozenset(name for name in _changed(old, new) if _use(old.get(name)) != _use(new.get(name)))

    @cached_property
    def names(self) -> frozenset[str]:
        """All that can be asked about: the datasets, and the names that some rule speaks of and a pattern makes."""
        declared = self.before.datasets.keys() | self.after.datasets.keys()
        rules = itertools.chain(self.before.compiled.values(), self.after.compiled.values())
        spoken_of = {name for policy in rules for name in policy.names} - declared
        made = {name for name in spoken_of if self.before.resolve(name) or self.after.resolve(name)}
        return frozenset(declared | made)

    @cached_property
    def everywhere(self) -> bool:
        """Whether even unchanged rules may decide otherwise about anything.

        They may where groups lie in one another otherwise, and where a rule looks into a
        domain by name and domains have changed hands.
        """
        if self.before.groups is not self.after.groups and _parents(self.before) != _parents(self.after):
            return True
        texts = (policy.cedar for realm in self.realms for policy in realm.policies.values())
        return self.reowned and any(map(_INTO_A_DOMAIN.search, texts))

    @cached_property
    def reowned(self) -> bool:
        """Whether domains came, went or changed hands, which rules about governing read."""
        return self.before.domains is not self.after.domains and _owners(self.before) != _owners(self.after)

    @cached_property
    def domain_shelves(self) -> tuple[Shelf, Shelf]:
        """The domains of either realm and those above them, as each realm has them or might."""
        domains = sorted(self.before.domain_tree | self.after.domain_tree)
        old, new = (Shelf({name: domain_row(realm, name) for name in domains}) for realm in self.realms)
        return old, new

    @cached_property
    def new_environments(self) -> bool:
        """Whether there is an environment on one side only."""
        return self.before.environment_names != self.after.environment_names

    @cached_property
    def governs(self) -> bool:
        """Whether rights to govern may differ for anybody."""
        moved = self.before.groups is not self.after.groups or self.before.domains is not self.after.domains
        touched = (action for policy in self.touched for action in policy.actions)
        return moved or any(action in GOVERNING_ACTIONS for action in touched) or self._governed_by_what_they_are

    @cached_property
    def _governed_by_what_they_are(self) -> bool:
        """Whether datasets changed, and some rule about governing reads what they are."""
        return bool(self.datasets) and any(
            part.reads.resource or part.slow
            for realm in self.realms
            for rules in realm.rules.values()
            for rule in rules
            if not rule.actions.isdisjoint(GOVERNING_ACTIONS)
            for part in rule.parts
        )

    def besides(self, state: SubjectState, wanted: Wanted) -> frozenset[str]:
        """What may be used otherwise though the realms decide alike on what is declared.

        A name may come from a pattern, and an environment may be there on one side only.
        """
        return self.names if self.one_sided(wanted) else self.told_apart(state, self._made)

    def one_sided(self, wanted: Wanted) -> bool:
        """Whether an environment is there on one side only."""
        return (wanted.environment in self.before.environments) != (wanted.environment in self.after.environments)

    @cached_property
    def otherwise(self) -> frozenset[str]:
        """The datasets that may be used otherwise though the realms decide alike: served, or obliged, otherwise."""
        return self._served_otherwise | self._obliged_otherwise

    @cached_property
    def _served_otherwise(self) -> frozenset[str]:
        old, new = self.before.datasets, self.after.datasets
        return frozenset(name for name in self.datasets if _service(old.get(name)) != _service(new.get(name)))

    @cached_property
    def _obliged_otherwise(self) -> frozenset[str]:
        old, new = self.before.policies, self.after.policies
        ids = [id_ for id_ in self.ids & old.keys() & new.keys() if old[id_].obligation != new[id_].obligation]
        reached = (within_reach(self.after.compiled[id_], self._declared) for id_ in ids)
        return frozenset(itertools.chain.from_iterable(reached))

    @cached_property
    def _made(self) -> frozenset[str]:
        """The names that only a pattern makes, on either side."""
        return frozenset(self.names - (self.before.datasets.keys() | self.after.datasets.keys()))

    def told_apart(self, state: SubjectState, names: AbstractSet[str]) -> frozenset[str]:
        """Those of the names about which the realms may answer a subject differently."""
        if not names:
            return frozenset()
        if self.everywhere or self.new_environments or self.regrouped(state):
            return frozenset(names)
        found = self._changed_among(names)
        for policy in self.touching(state):
            found |= self._reach(policy, names)
        return frozenset(found)

    def _reach(self, policy: Compiled, names: AbstractSet[str]) -> frozenset[str]:
        """Those of the names that a policy may reach; of all names it is found once."""
        if names is not self.names:
            return within_reach(policy, names)
        key = (policy.id, policy is self.before.compiled.get(policy.id))
        if key not in self._reaching:
            self._reaching[key] = within_reach(policy, names)
        return self._reaching[key]

    def _changed_among(self, names: AbstractSet[str]) -> set[str]:
        """Those of the names that changed, or the pattern that makes them."""
        if not self.datasets:
            return set()
        made = names - self._declared
        return {*(names & self.datasets), *(n for n in made if not self.datasets.isdisjoint(self._sources(n)))}

    def touching(self, state: SubjectState) -> tuple[Compiled, ...]:
        """The changed rules that may concern a subject."""
        if not self.ids:
            return ()
        return tuple(policy for realm in self.realms for policy in realm.concerning(state) if policy.id in self.ids)

    def governing(self, state: SubjectState) -> Sequence[Action]:
        """The governing actions about which the realms may answer a subject differently."""
        if self.datasets or self.everywhere or self.reowned or self.regrouped(state):
            return GOVERNING_ACTIONS
        acting = {action for policy in self.touching(state) for action in policy.actions}
        return [action for action in GOVERNING_ACTIONS if action in acting]

    def governed(self, state: SubjectState, action: Action) -> Sequence[str]:
        """The datasets of both realms over which a subject may govern differently; domains alone are administered."""
        if action is Action.ADMINISTER:
            return []
        if self.everywhere or self.regrouped(state):
            return sorted(self._declared)
        found = set(self.datasets & self._declared)
        for policy in self.touching(state):
            if action in policy.actions:
                found |= self._reach(policy, self.names) & self._declared
        return sorted(found)

    def regrouped(self, state: SubjectState) -> bool:
        """Whether a subject is in other groups than before."""
        if self.before.groups is self.after.groups:
            return False
        return self.before.all_groups_of(state) != self.after.all_groups_of(state)

    @cached_property
    def _declared(self) -> AbstractSet[str]:
        """The names that are no pattern's in either realm."""
        return self.before.datasets.keys() & self.after.datasets.keys()

    def _sources(self, name: str) -> set[str]:
        """The factory patterns, or the dataset, from which a name is made on either side."""
        sources = (realm.source_of(name) for realm in self.realms)
        return {source for source in sources if source is not None}


@dataclass(frozen=True, slots=True)
class Use:
    """What a subject may do with a dataset as things stand: whom an obligation binds loads and saves nothing yet.

    ``bound`` says what a load that is allowed demands, by the policy that does: nothing where
    it is free, and none where it is not allowed.
    """

    actions: frozenset[Action]
    bound: Mapping[str, object] | None = None


NOTHING = Use(frozenset())

#: What binds a load that nothing obliges.
_FREE: Mapping[str, object] = MappingProxyType({})


def uses(realm: Realm, state: SubjectState, wanted: Wanted, at: datetime, names: AbstractSet[str]) -> Mapping[str, Use]:
    """What a subject may do with each of the datasets, names that factory patterns make among them."""
    if wanted.environment not in realm.environment_names or not names:
        return {}
    declared = names & realm.datasets.keys()
    found: dict[str, Use] = {}
    if declared:
        shelf, among = realm.shelf, realm.shelf.bits(declared)
        answers = Answers.of(Inquiry.of(realm, state, context_of(wanted, at)), shelf, among)
        known, load, save = (set(shelf.names(answers.of_action(action) & among)) for action in DATA_ACTIONS)
        obliged = set(shelf.names(answers.obliged & among))
        free = load - obliged
        listed = list_all(realm, state, wanted, at, obliged).decided if obliged else {}
        bound = {name: _bound(realm, decided) for name, decided in listed.items()}
        for name in known | load | save:
            usable = [action for action, names_ in ((Action.LOAD, free), (Action.SAVE, save)) if name in names_]
            binding = bound.get(name, _FREE) if name in load else None
            found[name] = _used(realm.datasets[name], wanted, usable, binding, known=name in known)
    made = [dataset for name in sorted(names - declared) if (dataset := realm.resolve(name)) is not None]
    for dataset, decided in zip(made, decide_each(realm, state, wanted, at, made) if made else (), strict=True):
        binding = _bound(realm, decided) if decided.load.allowed else None
        found[dataset.name] = _used(dataset, wanted, decided.actions, binding, known=decided.discover.allowed)
    return found


def _used(
    dataset: Dataset, wanted: Wanted, usable: Sequence[Action], bound: Mapping[str, object] | None, *, known: bool
) -> Use:
    """What decisions come to: a draft is discovered by nobody, and what is not served is neither loaded nor saved."""
    given = dataset.served and dataset.definition(wanted.environment) is not None
    discovered = (Action.DISCOVER,) if known and dataset.lifecycle is not Lifecycle.DRAFT else ()
    return Use(frozenset((*discovered, *(usable if given else ()))), bound if given else None)


def _bound(realm: Realm, decided: Decided) -> Mapping[str, object]:
    """What each obligation demands; of one that errs, the strictest."""
    return {id_: _STRICTEST if id_ in decided.erring else realm.policies[id_].obligation for id_ in decided.obligations}


def _compared(
    difference: Difference, state: SubjectState, wanted: Wanted, at: datetime, names: AbstractSet[str]
) -> Consequences:
    """What one subject gains and loses of what may be used, in one circumstance."""
    then = uses(difference.before, state, wanted, at, names)
    now = uses(difference.after, state, wanted, at, names)
    changed = [
        (name, was, became) for name in names if (was := then.get(name, NOTHING)) != (became := now.get(name, NOTHING))
    ]

    def effects(told: Callable[[Use, Use], Iterable[Action]]) -> tuple[Effect, ...]:
        return tuple(
            Effect(str(state.subject), action, name, wanted.environment, wanted.purpose, wanted.project)
            for name, was, became in changed
            for action in told(was, became)
        )

    return Consequences(
        gained=effects(lambda was, became: became.actions - was.actions),
        lost=effects(lambda was, became: was.actions - became.actions),
        masked=effects(_newly_obliged),
        unmasked=effects(lambda was, became: _newly_obliged(became, was)),
    )


def _newly_obliged(was: Use, became: Use) -> Iterable[Action]:
    if was.bound is None or became.bound is None:
        return ()
    then = was.bound
    newly = any(id_ not in then or then[id_] != demanded for id_, demanded in became.bound.items())
    return (Action.LOAD,) if newly else ()


def _governed(difference: Difference, state: SubjectState, at: datetime) -> Consequences:
    """What one subject gains and loses of governing: of a dataset what its domain does not say already."""
    asked = difference.governing(state)
    if not asked:
        return Consequences()
    inquiries = [Inquiry.of(realm, state, {"now": ticked(at)}) for realm in difference.realms]
    gained: set[Effect] = set()
    lost: set[Effect] = set()
    for action in asked:
        pairs = list(zip(inquiries, difference.domain_shelves, strict=True))
        domains = [_allowed(inquiry, shelf, shelf.every, action) for inquiry, shelf in pairs]
        moved = domains[0] ^ domains[1]
        names = [name for name in difference.governed(state, action) if domain_of(name) not in moved]
        shelves = [realm.shelf for realm in difference.realms]
        datasets = [
            _allowed(inquiry, shelf, shelf.bits(names), action)
            for inquiry, shelf in zip(inquiries, shelves, strict=True)
        ]
        for (then, now), on_domain in ((domains, True), (datasets, False)):
            gained |= {Effect(str(state.subject), action, name, on_domain=on_domain) for name in now - then}
            lost |= {Effect(str(state.subject), action, name, on_domain=on_domain) for name in then - now}
    return Consequences(gained=tuple(gained), lost=tuple(lost))


def _allowed(inquiry: Inquiry, shelf: Shelf, among: int, action: Action) -> set[str]:
    """Those of the resources to which a governing action may be done."""
    if not among:
        return set()
    hit = {Role.PERMIT: 0, Role.FORBID: 0, Role.OBLIGE: 0}
    for factor in inquiry.factors(shelf, (action,), among):
        hit[factor.rule.role] |= factor.bits
    return set(shelf.names(hit[Role.PERMIT] & ~hit[Role.FORBID] & among))


def _listed(effects: Iterable[Sequence[Effect]]) -> tuple[Effect, ...]:
    """All of them in order, without those that a purpose or project only says again."""
    found = set(itertools.chain.from_iterable(effects))
    return tuple(sorted((e for e in found if found.isdisjoint(_plainer(e))), key=lambda effect: effect.order))


def _plainer(effect: Effect) -> set[Effect]:
    """The same, said of fewer circumstances."""
    if effect.purpose is None and effect.project is None:
        return set()
    purposes, projects = {effect.purpose, None}, {effect.project, None}
    made = {replace(effect, purpose=purpose, project=project) for purpose in purposes for project in projects}
    return made - {effect}


def _changed(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """The keys at which something else stands; nothing is looked at twice that both hold."""
    if old is new:
        return []
    return sorted(key for key in old.keys() | new.keys() if old.get(key) is not new.get(key))


def _use(dataset: Dataset | None) -> object:
    """All of a dataset that decides who uses it, and where."""
    return None if dataset is None else (dataset.access, frozenset(dataset.environments))


def _service(dataset: Dataset | None) -> object:
    """All of a dataset that decides where it is served, whoever asks."""
    return None if dataset is None else (dataset.lifecycle, frozenset(dataset.environments))


def _parents(realm: Realm) -> Mapping[str, frozenset[str]]:
    return {name: group.parents for name, group in realm.groups.items() if group.parents}


def _owners(realm: Realm) -> Mapping[str, str]:
    return {name: domain.owner for name, domain in realm.domains.items()}
