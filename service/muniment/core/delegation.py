"""What a writer of rules may hand on: never more than is theirs, and never more to themselves.

A rule needs ``grant`` on its scope; it hands on only actions that its writer holds there,
or that an administrator of the scope hands on. Nobody widens their own access, and a realm
never loses its last administrator.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from cedarpy import pst

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Decided, Wanted, boundaries, decide_each, decide_governing, list_all
from muniment.core.elusive import at_worst, on_any_occasion
from muniment.core.names import ROOT, Pattern, domain_of, is_dataset, lineage
from muniment.core.obligations import restrictions
from muniment.core.policies import Compiled, Policy, PolicyKind, confined_to, occasions_of
from muniment.core.problems import NotAllowed
from muniment.core.realm import Change, Realm
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import administers, find_each, imagined, may_govern

_Case = TypeVar("_Case")

#: Cases that rules tell apart, each with the datasets for which they do.
_Cases = list[tuple[_Case, set[str]]]

#: How much is asked about one change: datasets in every circumstance, and something for each circumstance itself.
#: At the limit that takes some 5 seconds; a change by somebody whom it does not concern asks nothing.
_MOST_EFFORT = 25_000
_EFFORT_OF_ASKING = 20

#: How many of a rule's literals are tried on datasets that are yet to come.
_MOST_TEXTS = 8

#: How many gains a refusal names.
_MOST_NAMED = 5

#: The leaf under which a dataset that is yet to come is imagined.
_TO_COME = "to_come"

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Gain:
    """One thing that a subject could not do before a change and could after it."""

    action: Action
    resource: str


def check_rule(realm: Realm, asker: SubjectState, at: datetime, scope: str, handed_on: Compiled | None) -> None:
    """Refuse a writer who may not make this rule here. ``handed_on`` is what it newly lets others do, if anything."""
    if administers(realm, asker, at, scope):
        return
    if scope == ROOT:
        detail = "A rule for every domain needs administer on all; name a scope in which you may grant."
        raise NotAllowed(detail)
    if not may_govern(realm, asker, at, Action.GRANT, scope):
        detail = f"You may not grant in {scope}; its owner is group:{realm.owner_of(scope)}."
        raise NotAllowed(detail)
    missing = _not_held(realm, asker, at, scope, handed_on) if handed_on else ()
    if missing:
        detail = f"You can only hand on what you hold in {scope} yourself; you do not hold: {', '.join(missing)}."
        raise NotAllowed(detail)


def check_not_widening(before: Realm, after: Realm, asker: SubjectState, at: datetime) -> None:
    """Refuse a change by which its own author gains access. What the author may not know of is told by its domain.

    Who administers everything may lift what a steward forbade, and knows and governs again
    what was shut: else a steward could take a domain for good. To load and save again is
    a gain even so.
    """
    found = gains(before, after, asker, at)
    if found and may_govern(before, asker, at, Action.ADMINISTER, ROOT):
        anyhow = set(gains(_lifted(before, after), after, asker, at))
        found = tuple(gain for gain in found if gain in anyhow or gain.action in {Action.LOAD, Action.SAVE})
    if found:
        shown = _tellable(before, asker, at, {gain.resource for gain in found})
        named = sorted({f"{gain.action} {shown[gain.resource]}" for gain in found})
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        listed = ", ".join(named[:_MOST_NAMED])
        detail = f"This would widen your own access ({listed}{more}); somebody else must make the change."
        raise NotAllowed(detail)


def may_come_to_use(realm: Realm, asker: SubjectState, dataset: Dataset) -> bool:
    """Whether some permit may, on some occasion, let the subject load or save a dataset or a name that it makes."""
    pattern = Pattern(dataset.name) if dataset.is_pattern else None
    return any(
        policy.permits
        and not policy.actions.isdisjoint({Action.LOAD, Action.SAVE})
        and _speaks_of(policy, dataset, pattern)
        for policy in realm.concerning(asker)
    )


def _speaks_of(policy: Compiled, dataset: Dataset, pattern: Pattern | None) -> bool:
    made = pattern is not None and _one_dataset(policy) and any(map(pattern.match, policy.names))
    return made or bool(within_reach(policy, {dataset.name}))


def _lifted(before: Realm, after: Realm) -> Realm:
    """The earlier realm without those forbids of a scope that the change ends or words otherwise."""
    lifted = [
        id_
        for id_, policy in before.policies.items()
        if policy.scope != ROOT and after.policies.get(id_) is not policy and before.compiled[id_].effect == "forbid"
    ]
    return before.after(before.revision, [Change(Policy, id_, None) for id_ in lifted])


def _tellable(realm: Realm, asker: SubjectState, at: datetime, resources: Iterable[str]) -> dict[str, str]:
    """What each domain and dataset is called before somebody who may not know of all: of drafts nobody is told."""
    listed = sorted(resources)
    datasets = [name for name in listed if is_dataset(name) and name not in realm.domain_tree]
    found = find_each(realm, asker, at, datasets)
    told = {name for name, dataset in found.items() if dataset and dataset.lifecycle is not Lifecycle.DRAFT}
    return {name: name if name not in found or name in told else f"{domain_of(name)}.*" for name in listed}


def may_leave_nobody(before: Realm, after: Realm, asker: SubjectState, at: datetime) -> bool:
    """Whether a change may leave nobody who administers everything, so that :func:`check_administrator_left` must look.

    It may not where it touches no rule about that and nothing that one depends on, nor
    where the asker goes on administering.
    """
    depends = all(getattr(before, shelf) is getattr(after, shelf) for shelf in ("groups", "domains"))
    if depends and _administering(before) == _administering(after):
        return False
    return not all(
        _administered(now, [asker], moment) for _, now in _worse(before, after) for moment in _later(before, after, at)
    )


def check_administrator_left(before: Realm, after: Realm, states: Sequence[SubjectState], at: datetime) -> None:
    """Refuse a change after which, now or at a moment to come, nobody of these may administer everything.

    A moment at which nobody could have done so before is not the change's doing.
    """
    for (then, now), moment in itertools.product(_worse(before, after), _later(before, after, at)):
        if not _administered(now, states, moment) and _administered(then, states, moment):
            when = "nobody" if moment == at else f"nobody, from {moment:%Y-%m-%d %H:%M} UTC on,"
            losing = [str(state.subject) for state in states if _administered(before, [state], moment)]
            detail = (
                f"This change would leave {when} who may administer: {_enumerated(losing)} would no longer. Make "
                "somebody else an administrator first, without an end."
            )
            raise NotAllowed(detail)


def _enumerated(subjects: Iterable[str]) -> str:
    """Some subjects by name, and how many more there are."""
    listed = sorted(set(subjects))
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more


def _administering(realm: Realm) -> tuple[Compiled, ...]:
    """The policies that speak about administering everything: one of a narrower reach never does."""
    return tuple(p for p in realm.compiled.values() if Action.ADMINISTER in p.actions and p.within is None)


def _worse(before: Realm, after: Realm) -> list[tuple[Realm, Realm]]:
    """The realms as they are, and as they might turn out by rules of which it cannot be told when they hold."""
    rules = (*_administering(before), *_administering(after))
    elusive = any(occasions_of(rule).elusive for rule in rules)
    return [(before, after), *([(at_worst(before), at_worst(after))] if elusive else [])]


def _later(before: Realm, after: Realm, at: datetime) -> list[datetime]:
    return _moments([*_administering(before), *_administering(after)], at)


def _administered(realm: Realm, states: Iterable[SubjectState], at: datetime) -> bool:
    return any(may_govern(realm, state, at, Action.ADMINISTER, ROOT) for state in states)


def gains(before: Realm, after: Realm, asker: SubjectState, at: datetime) -> tuple[Gain, ...]:
    """What a subject may do after a change and not before it, now or at any moment that the rules speak of.

    Both realms are asked, in every circumstance by which a rule tells cases apart, about
    each dataset that the change may touch: those that stand, those that a factory pattern
    makes of a name in a rule, and ones that are yet to come (named ``<domain>.*``). Where a
    rule does not tell its occasions, what it may do on some occasion counts.
    """
    change = _Change.between(before, after, asker)
    if not change.touched and not change.datasets:
        return ()
    changes = [change]
    concerning = {*before.concerning(asker), *after.concerning(asker)}
    if any(occasions_of(policy).elusive for policy in concerning):
        changes.append(_Change.between(*on_any_occasion(before, after), asker))
    comparisons = [_Comparison(each, asker, at) for each in changes]
    found = {gain for each in comparisons for gain in (*each.data(), *each.governing())}
    return tuple(sorted(found, key=lambda gain: (gain.resource, gain.action)))


@dataclass(frozen=True, slots=True)
class _Change:
    """Two realms, and what may decide differently for a subject in the second.

    ``touched`` are policies (the old wording and the new one), ``datasets`` those of which
    policies read something else than before.
    """

    before: Realm
    after: Realm
    touched: tuple[Compiled, ...]
    datasets: frozenset[str]

    @classmethod
    def between(cls, before: Realm, after: Realm, asker: SubjectState) -> _Change:
        old = {policy.id: policy for policy in before.concerning(asker)}
        new = {policy.id: policy for policy in after.concerning(asker)}
        ids = old.keys() | new.keys()
        if _surroundings(before, asker) == _surroundings(after, asker):
            ids = {i for i in ids if old.get(i) != new.get(i) or _demands(before, i) != _demands(after, i)}
        touched = [policies[id_] for id_ in sorted(ids) for policies in (old, new) if id_ in policies]
        masked = any(policy.kind is PolicyKind.MASK for policy in old.values())
        datasets = frozenset(
            name
            for name, dataset in before.datasets.items()
            if after.datasets.get(name, dataset) is not dataset and _reads_otherwise(dataset, after, masked=masked)
        )
        return cls(before, after, tuple(touched), datasets)


def _demands(realm: Realm, id_: str) -> object:
    """What a policy of this id demands of a reader, if anything: not all of a mask is in its text."""
    policy = realm.policies.get(id_)
    return policy.obligation if policy else None


def _reads_otherwise(dataset: Dataset, after: Realm, *, masked: bool) -> bool:
    """Whether a policy, or a mask, finds something else in a dataset than it did."""
    now = after.datasets[dataset.name]
    return now.access != dataset.access or (masked and now.columns != dataset.columns)


def _surroundings(realm: Realm, asker: SubjectState) -> tuple[object, ...]:
    """All that a policy reads of neither the resource nor itself: the asker's groups, the groups' tree, who owns."""
    parents = {name: group.parents for name, group in realm.groups.items() if group.parents}
    return realm.all_groups_of(asker), parents, {name: domain.owner for name, domain in realm.domains.items()}


class _Comparison:
    """Two realms, asked the same about everything that a change may touch."""

    def __init__(self, change: _Change, asker: SubjectState, at: datetime) -> None:
        self._asker = asker
        self._at = at
        self._domains = sorted(_domains(change.before) & _domains(change.after))
        self._touched = change.touched
        self._imagined = _imagined(change, self._domains)
        self._before = change.before.after(change.before.revision, _declared(self._imagined, change.before))
        self._after = change.after.after(change.after.revision, _declared(self._imagined, change.after))
        standing = self._before.datasets.keys() & self._after.datasets.keys()
        self._names = change.datasets | {n for policy in change.touched for n in within_reach(policy, standing)}
        concerning = [*self._before.concerning(asker), *self._after.concerning(asker)]
        #: The policies that decide together about what is asked, and what each of them reaches.
        self._deciding = {policy: reached for policy in concerning if (reached := within_reach(policy, self._names))}

    def data(self) -> Iterable[Gain]:
        """What is gained of discover, load and save."""
        for wanted, moment, names in self._circumstances():
            then = list_all(self._before, self._asker, wanted, moment, names).decided
            now = list_all(self._after, self._asker, wanted, moment, names).decided
            for name, action in itertools.product(names, DATA_ACTIONS):
                newly = now[name][action].allowed and not then[name][action].allowed
                if newly or (action is Action.LOAD and self._loosened(name, then[name], now[name])):
                    yield Gain(action, self._shown(name))

    def _loosened(self, name: str, then: Decided, now: Decided) -> bool:
        """Whether a dataset that is read under obligations is read under lighter ones, or freely."""
        if not (then.obligations and now.load.allowed):
            return False
        bound = restrictions(self._before, self._before.datasets[name], then.obligations)
        left = restrictions(self._after, self._after.datasets[name], now.obligations)
        return not (now.obligations and left.as_strict_as(bound))

    def governing(self) -> Iterable[Gain]:
        """What is gained of the governing actions, on domains and on single datasets."""
        deciding = {action for policy in (*self._touched, *self._deciding) for action in policy.actions}
        for action in sorted(deciding.intersection(GOVERNING_ACTIONS)):
            names = [] if action is Action.ADMINISTER else sorted(self._names)
            acting = [policy for policy in (*self._touched, *self._deciding) if action in policy.actions]
            for moment in _moments(acting, self._at):
                yield from self._gained(action, names, moment)

    def _gained(self, action: Action, names: Sequence[str], moment: datetime) -> Iterable[Gain]:
        old: list[str | Dataset] = [*self._domains, *(self._before.datasets[name] for name in names)]
        new: list[str | Dataset] = [*self._domains, *(self._after.datasets[name] for name in names)]
        then = decide_governing(self._before, self._asker, action, old, moment)
        now = decide_governing(self._after, self._asker, action, new, moment)
        for resource, was, became in zip([*self._domains, *names], then, now, strict=True):
            if became.allowed and not was.allowed:
                yield Gain(action, self._shown(resource))

    def _circumstances(self) -> Sequence[tuple[Wanted, datetime, Sequence[str]]]:
        """Every environment, moment, purpose and project that some policy knows, with the datasets it is about.

        What would take too long to go through is refused before the first question is asked.
        """
        moments, purposes, projects = self._told_apart()
        found: list[tuple[Wanted, datetime, Sequence[str]]] = []
        effort = 0
        for environment in self._after.environment_names:
            for (moment, early), (purpose, meant), (project, inside) in itertools.product(moments, purposes, projects):
                names = sorted(early & meant & inside)
                if not names:
                    continue
                effort += _EFFORT_OF_ASKING + len(names)
                if effort > _MOST_EFFORT:
                    detail = (
                        "This may widen your own access, and speaks of too much to be sure that it does not; "
                        "make several changes of it, or let somebody else make it."
                    )
                    raise NotAllowed(detail)
                found.append((Wanted(environment, project, purpose), moment, names))
        return found

    def _told_apart(self) -> tuple[_Cases[datetime], _Cases[str | None], _Cases[str | None]]:
        """The moments, purposes and projects that matter, each with the datasets for which it does."""
        moments: defaultdict[datetime, set[str]] = defaultdict(set, {self._at: set(self._names)})
        purposes: defaultdict[str | None, set[str]] = defaultdict(set, {None: set(self._names)})
        projects: defaultdict[str | None, set[str]] = defaultdict(set, {None: set(self._names)})
        for policy, reached in self._deciding.items():
            read = occasions_of(policy)
            for moment in _moments([policy], self._at):
                moments[moment] |= reached
            for purpose in read.purposes:
                purposes[purpose] |= reached
            for project in read.projects:
                projects[project] |= reached
        for policy, reached in self._deciding.items():
            for moment in _on_days_of([policy], list(moments)):
                moments[moment] |= reached
        for named in (purposes, projects):
            told = [text for text in named if text is not None]
            if told:
                # One that no policy names: what is compared with literals alone is then settled for all of that kind.
                named[max(told, key=len) + "'"] |= set(self._names)
        return sorted(moments.items()), list(purposes.items()), list(projects.items())

    def _shown(self, name: str) -> str:
        return f"{domain_of(name)}.*" if name.rpartition(".")[2].startswith(_TO_COME) else name


def _moments(policies: Iterable[Compiled], at: datetime) -> list[datetime]:
    """Now, and every later moment at which one of the policies may change its mind."""
    listed = list(policies)
    moments = [at, *boundaries(listed, at)]
    return sorted({*moments, *_on_days_of(listed, moments)})


def _on_days_of(policies: Sequence[Compiled], moments: Iterable[datetime]) -> set[datetime]:
    """The times of day that policies speak of, on the day after each of the moments: from then on they come again."""
    timed = [policy for policy in policies if policy.clocks]
    return {turn for moment in moments if timed for turn in boundaries(timed, moment, moment + _DAY)}


def _domains(realm: Realm) -> set[str]:
    """The domains of a realm, those above them included."""
    return {ROOT, *(above for domain in realm.domains for above in lineage(domain))}


def within_reach(policy: Compiled, names: AbstractSet[str]) -> frozenset[str]:
    """Those of the datasets about which a policy may speak."""
    if _one_dataset(policy):
        return policy.names & names
    if policy.within is None:
        return frozenset(names)
    return frozenset(name for name in names if policy.within in lineage(domain_of(name)))


def _imagined(change: _Change, domains: Iterable[str]) -> tuple[Dataset, ...]:
    """Datasets that are not there, about which the touched policies would speak if they were.

    One has nothing that a policy looks for; the others have every tag, and each one of the
    classifications and layers, that a touched policy names.
    """
    read = [occasions_of(policy) for policy in change.touched]
    texts = sorted({text for occasions in read for text in occasions.texts})
    named = {name for occasions in read for name in occasions.names if is_dataset(name)}
    reached = [d for d in domains if d != ROOT and any(p.within in {None, *lineage(d)} for p in change.touched)]
    coming = [Dataset(name=f"{domain}.{_TO_COME}", owner=change.after.owner_of(domain)) for domain in reached]
    marked = [
        replace(
            plain, name=f"{plain.name}_{i}", tags=frozenset(texts), classification=text, layer=text, sensitivity=100
        )
        for plain in coming
        for i, text in enumerate(texts[:_MOST_TEXTS])
    ]
    spoken_of = [Dataset(name=name, owner=change.after.owner_of(domain_of(name))) for name in sorted(named)]
    known = set(domains)
    return tuple(
        dataset
        for dataset in (*coming, *marked, *spoken_of)
        if dataset.domain in known and is_dataset(dataset.name) and not _stands(change, dataset.name)
    )


def _stands(change: _Change, name: str) -> bool:
    return name in change.before.datasets or name in change.after.datasets


def _declared(imagined: Iterable[Dataset], realm: Realm) -> Iterable[Change]:
    """The imagined datasets as changes of a realm; where a pattern makes the name, it is the pattern's dataset."""
    return (Change(Dataset, dataset.name, realm.resolve(dataset.name) or dataset) for dataset in imagined)


def _not_held(realm: Realm, asker: SubjectState, at: datetime, scope: str, rule: Compiled) -> tuple[Action, ...]:
    """The actions of a rule that its writer does not hold on everything in its reach, present or to come.

    Where nothing at all can be asked about, nothing is held.
    """
    within = rule.within or scope
    domains = [within, *(name for name in sorted(realm.domains) if within in lineage(name) and name != within)]
    single = _single(realm, rule)
    held = list(_held(realm, asker, at, domains, rule)) if rule.actions.intersection(DATA_ACTIONS) else []
    missing = []
    for action in sorted(rule.actions):
        if action in DATA_ACTIONS:
            allowed = [_holds(decided, action) for decided in held]
        else:
            governed: list[str | Dataset] = [*domains]
            if single is not None and action is not Action.ADMINISTER:
                governed.append(single)
            allowed = [decision.allowed for decision in decide_governing(realm, asker, action, governed, at)]
        if not allowed or not all(allowed):
            missing.append(action)
    return tuple(missing)


def _holds(decided: Decided, action: Action) -> bool:
    """Whether a writer has something whole: who reads masked or filtered cannot hand on more than that."""
    return decided.discover.allowed if action is Action.DISCOVER else action in decided.actions


def _held(realm: Realm, asker: SubjectState, at: datetime, domains: Sequence[str], rule: Compiled) -> Iterable[Decided]:
    """What the writer may do to the datasets in a rule's reach: those that stand, and one to come in each domain.

    A rule may name its one dataset before it is declared: it is decided on as it might be.
    """
    single = _single(realm, rule)
    present = [name for name in within_reach(rule, realm.datasets.keys()) if domains[0] in lineage(domain_of(name))]
    coming = [single] if single else [imagined(realm, f"{domain}.{_TO_COME}") for domain in domains]
    for environment in _environments(realm, rule):
        if single is None:
            yield from list_all(realm, asker, Wanted(environment), at, present).decided.values()
        yield from decide_each(realm, asker, Wanted(environment), at, coming)


def _single(realm: Realm, rule: Compiled) -> Dataset | None:
    """The one dataset that a rule's own head is about, if it is about one."""
    match rule.tree.resource:
        case pst.ScopeEq(pst.EntityUid(type_, name)) if str(type_) == "Dataset":
            return realm.resolve(name) or imagined(realm, name)
        case _:
            return None


def _one_dataset(rule: Compiled) -> bool:
    """Whether the rule's own head names the one dataset it is about."""
    return isinstance(rule.tree.resource, pst.ScopeEq)


def _environments(realm: Realm, rule: Compiled) -> tuple[str, ...]:
    """The environments a rule may act in: the ones it is confined to, else all."""
    confined = confined_to(rule)
    return tuple(name for name in realm.environment_names if confined is None or name in confined)
