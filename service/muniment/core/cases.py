"""Examples that a policy carries, and that every change is held against.

A case says what somebody may or may not do: *Ann may load sales.orders in prod*, *no
member of contractors may discover what is in hr*. It is about the rules alone: who is meant is
written in the case itself, groups and attributes included, so a case is a function of the
realm and the moment, and no token makes one fail.

A case is judged where a change can matter to it, whatever was changed. One that held
before and would not hold afterwards refuses the change. One that failed already is not the
change's doing. One that is written, or whose policy is worded anew, must hold at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cedarpy import pst

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decision, Listing, Wanted, decide_each, decide_governing, list_all
from muniment.core.environments import checked_known
from muniment.core.groups import Group, is_builtin, parse_group, write_group
from muniment.core.moments import read_datetime
from muniment.core.names import ROOT, alike, domain_of, is_dataset, is_domain, lineage
from muniment.core.policies import Compiled, Policy
from muniment.core.problems import CaseFails, Fault, Invalid, InvalidPolicy
from muniment.core.realm import Change, Realm
from muniment.core.rulebook import readable, tellable
from muniment.core.schema import DATA_ACTIONS, Action, attributes
from muniment.core.subjects import Attribute, Kind, Subject, SubjectState, readable_id
from muniment.core.visibility import find, imagined, may_govern, readable_scopes

#: The most cases that one policy carries.
MOST_CASES = 20

#: The longest name of a case, and the longest purpose or project in one, in characters.
_LONGEST = 200

#: How many failing cases a refusal names.
_MOST_NAMED = 10

#: How many datasets are decided about one by one; of more, all are decided about at once.
_FEW = 20

#: The whole numbers that an attribute can be.
_LONGS = range(-(2**63), 2**63)

#: The leaf under which a dataset is imagined where none is declared that a case speaks of.
_TO_COME = "to_come"

#: The fields that a case may have.
FIELDS = frozenset(
    {
        *("name", "subject", "group", "groups", "attributes", "action", "dataset", "datasets", "domain"),
        *("environment", "purpose", "project", "at", "allowed", "obliged"),
    }
)


@dataclass(frozen=True, slots=True)
class Case:
    """One example. Of ``subject`` and ``group`` one is given; ``on`` is a dataset, a pattern of names, or a domain.

    ``groups`` and ``attributes`` are what a token would say. Without an environment every
    one is meant, without ``at`` the present. ``obliged`` says whether what is loaded is
    masked or filtered; none leaves it open.
    """

    policy: str
    number: int
    action: Action
    allowed: bool
    on: str
    kind: Literal["dataset", "datasets", "domain"]
    name: str = ""
    subject: Subject | None = None
    group: str | None = None
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    environment: str | None = None
    purpose: str | None = None
    project: str | None = None
    at: datetime | None = None
    obliged: bool | None = None

    @property
    def title(self) -> str:
        """What the case is called: its name, else its place among the policy's."""
        return self.name or f"case {self.number}"

    @property
    def says(self) -> str:
        """The case as a sentence."""
        act = f"{self.action} {self.on}{f' in {self.environment}' if self.environment else ''}"
        only = {None: "", True: ", masked or filtered alone", False: ", neither masked nor filtered"}[self.obliged]
        if self.subject is not None:
            return f"{self.subject} may {'' if self.allowed else 'not '}{act}{only}"
        whose = f"member of {write_group(self.group or '')}"
        return f"a {whose} may {act}{only}" if self.allowed else f"no {whose} may {act}"

    @property
    def place(self) -> str | None:
        """The domain in which all lies that the case speaks of; none where that may be any."""
        if self.kind == "domain":
            return self.on
        return domain_of(self.on.partition("*")[0]) or None

    @property
    def actions(self) -> frozenset[Action]:
        """The actions on which the answer may depend."""
        return frozenset(DATA_ACTIONS) if self.action in DATA_ACTIONS else frozenset({self.action})


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that does not hold: for whom, on what, where, and what is so instead."""

    case: Case
    who: str
    resource: str
    environment: str | None
    decision: Decision

    @property
    def found(self) -> str:
        """What is so, as a sentence."""
        return self.told(self.resource)

    def told(self, resource: str) -> str:
        """What is so, with another name for what it is so of."""
        may = "could" if self.decision.allowed else "could not"
        obliged = ""
        if self.decision.allowed and self.case.allowed:
            obliged = " masked or filtered alone" if self.decision.obligations else " neither masked nor filtered"
        where = f" in {self.environment}" if self.environment else ""
        return f"{self.who} {may} {self.case.action} {resource}{where}{obliged}"


def check_cases(before: Realm, after: Realm, asker: SubjectState, at: datetime) -> None:
    """Refuse a change by which a case comes to fail, or that writes one which does not hold."""
    written = tuple(_written(before, after, asker, at))
    new = {(case.policy, case.number) for case in written}
    standing = [case for case in _standing(after) if (case.policy, case.number) not in new]
    change = _Change.between(before, after) if standing else None
    touched = [case for case in standing if change is not None and change.concerns(case)]
    told = tellable(after, asker, at) if written else frozenset()
    failures = [*failing(after, written, at, told), *failing(after, touched, at)]
    if not failures:
        return
    doubtful = [failure.case for failure in failures if (failure.case.policy, failure.case.number) not in new]
    already = {(failure.case.policy, failure.case.number) for failure in failing(before, doubtful, at)}
    failures = [failure for failure in failures if (failure.case.policy, failure.case.number) not in already]
    if failures:
        raise _refusal(before, after, asker, at, failures)


def failing(
    realm: Realm, cases: Iterable[Case], at: datetime, told: AbstractSet[str] | None = None
) -> tuple[Failure, ...]:
    """The cases that do not hold, each with the first thing that shows it.

    A case about a pattern of names is judged on the declared datasets in ``told``; none means on all.
    """
    listed = tuple(cases)
    witnesses = {number: tuple(_witnesses(realm, case)) for number, case in enumerate(listed)}
    peopled = _peopled(realm, (witness for found in witnesses.values() for witness in found))
    found = (_failure(peopled, case, witnesses[number], at, told) for number, case in enumerate(listed))
    return tuple(failure for failure in found if failure is not None)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case of a policy that stands, and what is so instead where it does not hold."""

    case: Case
    instead: str | None

    @property
    def holds(self) -> bool:
        """Whether what the case says is so."""
        return self.instead is None


def results(realm: Realm, policy: Policy, asker: SubjectState, at: datetime) -> tuple[CaseResult, ...]:
    """How the cases of a policy turn out now, as somebody who reads the policy may be told."""
    cases = cases_of(policy)
    told = tellable(realm, asker, at) if any(case.kind == "datasets" for case in cases) else frozenset[str]()
    failed = {failure.case.number: failure for failure in failing(realm, cases, at, told)}
    return tuple(
        CaseResult(case, _told_instead(realm, asker, at, failed[case.number]) if case.number in failed else None)
        for case in cases
    )


def cases_of(policy: Policy) -> tuple[Case, ...]:
    """The cases of a policy; :class:`InvalidPolicy` names every place where one is not sound."""
    if len(policy.cases) > MOST_CASES:
        message = f"A policy carries at most {MOST_CASES} cases; give the others to another policy."
        raise InvalidPolicy(message, [Fault("cases", message)])
    reading = [_Reading(policy, number, raw) for number, raw in enumerate(policy.cases)]
    cases = [each.case() for each in reading]
    faults = [fault for each in reading for fault in each.faults]
    if faults:
        raise InvalidPolicy(f"A case cannot be read: {faults[0].message}", faults)
    return tuple(case for case in cases if case is not None)


# --- what a case says ------------------------------------------------------------------------------


class _Reading:
    """One case as JSON says it, read field by field; what is wrong is noted with its place."""

    def __init__(self, policy: Policy, number: int, raw: Mapping[str, object]) -> None:
        self.faults: list[Fault] = []
        self._policy = policy
        self._number = number
        self._raw = raw

    def case(self) -> Case | None:
        """The case, unless something is wrong with it."""
        for name in sorted(self._raw.keys() - FIELDS):
            self._wrong(name, "There is no such field; take it away.")
        action, allowed, (kind, on) = self._action(), self._bool("allowed"), self._on()
        subject, group = self._who()
        if self._raw.get("allowed") is None:
            self._wrong("allowed", "A case says whether it is allowed: true or false.")
        case = Case(
            self._policy.id,
            self._number + 1,
            action or Action.DISCOVER,
            allowed is True,
            on,
            kind or "dataset",
            name=self._text("name") or "",
            subject=subject,
            group=group,
            groups=self._groups(of_group=group is not None),
            attributes=self._attributes(),
            environment=self._text("environment"),
            purpose=self._text("purpose"),
            project=self._text("project"),
            at=self._at(),
            obliged=self._bool("obliged"),
        )
        if action is not None and kind is not None:
            self._check_circumstances(case)
        return None if self.faults else case

    def _wrong(self, name: str, message: str) -> None:
        self.faults.append(Fault(f"cases.{self._number}.{name}", message))

    def _action(self) -> Action | None:
        given = self._raw.get("action")
        found = next((action for action in Action if action == given), None)
        if found is None:
            self._wrong("action", f"A case is about one action: {', '.join(Action)}.")
        return found

    def _bool(self, name: str) -> bool | None:
        given = self._raw.get(name)
        if given is None or isinstance(given, bool):
            return given
        self._wrong(name, "This is true or false.")
        return None

    def _text(self, name: str) -> str | None:
        given = self._raw.get(name)
        if given is None:
            return None
        if not isinstance(given, str) or not 0 < len(given) <= _LONGEST or not given.isprintable():
            self._wrong(name, f"This is a text of at most {_LONGEST} readable characters.")
            return None
        return given

    def _at(self) -> datetime | None:
        text = self._text("at")
        moment = read_datetime(text) if text is not None else None
        if text is not None and moment is None:
            self._wrong("at", "This is a moment such as 2027-03-31T00:00:00Z.")
        return moment

    def _on(self) -> tuple[Literal["dataset", "datasets", "domain"] | None, str]:
        given = [name for name in ("dataset", "datasets", "domain") if self._raw.get(name) is not None]
        if len(given) != 1:
            self._wrong("dataset", "A case is on a dataset, on datasets (a * stands for any characters) or a domain.")
            return None, ""
        (name,) = given
        text = self._text(name) or ""
        sound = {"dataset": is_dataset, "datasets": _is_pattern, "domain": is_domain}[name](text)
        if not sound:
            self._wrong(name, "This is not such a name.")
            return None, ""
        match name:
            case "dataset":
                return "dataset", text
            case "datasets":
                return "datasets", text
            case _:
                return "domain", text

    def _who(self) -> tuple[Subject | None, str | None]:
        subject, group = self._text("subject"), self._text("group")
        if (subject is None) == (group is None):
            self._wrong("subject", "A case is about a subject (user:ann) or about the members of a group: one of them.")
            return None, None
        try:
            if subject is not None:
                return Subject.parse(subject), None
            return None, parse_group(f"group:{(group or '').removeprefix('group:')}")
        except Invalid as refused:
            self._wrong("subject" if subject is not None else "group", refused.detail)
            return None, None

    def _groups(self, *, of_group: bool) -> frozenset[str]:
        given = self._raw.get("groups", [])
        if not isinstance(given, list | tuple) or not all(
            isinstance(name, str) and readable_id(name) and not is_builtin(name) for name in given
        ):
            self._wrong("groups", "These are the groups of the subject's token, by their ids.")
            return frozenset()
        if given and of_group:
            self._wrong("groups", "Only a subject has groups here; a case about a group is about every member.")
        return frozenset(given)

    def _attributes(self) -> Mapping[str, Attribute]:
        given = self._raw.get("attributes", {})
        if not isinstance(given, Mapping):
            self._wrong("attributes", "These are the attributes of the subject's token, by their names.")
            return {}
        found: dict[str, Attribute] = {}
        for name, value in given.items():
            match value:
                case str() | bool():
                    found[name] = value
                case int() if value in _LONGS:
                    found[name] = value
                case list() if all(isinstance(each, str) for each in value):
                    found[name] = frozenset(value)
                case _:
                    self._wrong(f"attributes.{name}", "An attribute is a text, a whole number, true, false or texts.")
        return found

    def _check_circumstances(self, case: Case) -> None:
        action = case.action
        if action in DATA_ACTIONS and case.kind == "domain":
            self._wrong("domain", f"{action} is done to datasets: name a dataset, or datasets.")
        if action is Action.ADMINISTER and case.kind != "domain":
            self._wrong("domain", "administer is done to domains, never to a dataset.")
        if case.obliged is not None and not (action is Action.LOAD and case.allowed):
            self._wrong("obliged", "Only what may be loaded is masked or filtered: use it with load and allowed: true.")
        for name in ("environment", "purpose", "project"):
            if action not in DATA_ACTIONS and self._raw.get(name) is not None:
                self._wrong(name, f"{action} happens in no environment, and for no purpose or project.")


def _is_pattern(text: str) -> bool:
    return "*" in text and is_dataset(text.replace("*", "x"))


# --- whom and what a case is about -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Witness:
    """Somebody on whom a case is tried; ``joins`` are the local groups of which they are imagined a member."""

    who: str
    state: SubjectState
    joins: frozenset[str] = frozenset()


def _witnesses(realm: Realm, case: Case) -> Iterator[_Witness]:
    """The subject of a case. For a group a member who is nothing else; and where none may, each other member too.

    *No member may* is tried on those who are also in one other group to which a rule gives or
    leaves something there, or that owns something there: a person is in several groups.
    """
    if case.subject is not None:
        yield _Witness(str(case.subject), _state(case, case.subject, case.groups))
    elif case.group is not None:
        others = [] if case.allowed else sorted(_other_groups(realm, case) - {case.group})
        kinds = [Kind.USER] if case.allowed else list(Kind)
        for together in (frozenset({case.group}), *(frozenset({case.group, other}) for other in others)):
            named = " and ".join(map(write_group, sorted(together, key=lambda name: name != case.group)))
            local = frozenset(name for name in together if name in realm.groups)
            for kind in kinds:
                state = _state(case, Subject(kind, f"(a member of {named})"), together - local)
                yield _Witness(f"a member of {named}", state, local)


def _state(case: Case, subject: Subject, groups: frozenset[str]) -> SubjectState:
    return SubjectState(subject, "", groups, case.attributes)


def _other_groups(realm: Realm, case: Case) -> frozenset[str]:
    found = {dataset.owner for dataset in _matching(realm, case)}
    found.update(realm.owner_of(domain) for domain in lineage(case.place or ROOT))
    for rule in realm.compiled.values():
        if _speaks_to(rule, case):
            found |= _groups_served(rule)
    return frozenset(group for group in found if not is_builtin(group))


def _groups_served(rule: Compiled) -> frozenset[str]:
    """The groups to which a permit gives something, or to which anything else may leave something."""
    if rule.permits and rule.anchor is not None:
        return frozenset({rule.anchor.id} if str(rule.anchor.type) == "Group" else ())
    named = _groups_named(rule.tree)
    return named if rule.permits or rule.anchor is None else named - {rule.anchor.id}


@lru_cache(maxsize=20_000)
def _groups_named(tree: pst.Template) -> frozenset[str]:
    return frozenset(entity.id for entity in pst.entity_uids(tree) if str(entity.type) == "Group")


def _peopled(realm: Realm, witnesses: Iterable[_Witness]) -> Realm:
    """The realm with the imagined members in their local groups."""
    joining: dict[str, frozenset[Subject]] = {}
    for witness in witnesses:
        for name in witness.joins:
            joining[name] = joining.get(name, frozenset()) | {witness.state.subject}
    if not joining:
        return realm
    groups = ((name, realm.groups[name], members) for name, members in sorted(joining.items()))
    return realm.after(
        realm.revision,
        [Change(Group, name, replace(group, members=group.members | members)) for name, group, members in groups],
    )


def _matching(realm: Realm, case: Case) -> list[Dataset]:
    """The declared datasets of which a case speaks, and those that a factory pattern makes of names in rules."""
    if case.kind == "domain":
        return []
    if case.kind == "dataset":
        found = realm.resolve(case.on)
        return [] if found is None else [found]
    literals = tuple(case.on.split("*"))
    declared = [dataset for name, dataset in realm.datasets.items() if alike(literals, name)]
    named = {name for rule in realm.compiled.values() for name in rule.names} - realm.datasets.keys()
    made = (realm.resolve(name) for name in sorted(named) if alike(literals, name))
    return [*declared, *(dataset for dataset in made if dataset is not None)]


def _to_come(realm: Realm, case: Case) -> list[Dataset]:
    """What a case speaks of where nothing of the kind is declared, as it might be."""
    if case.kind == "dataset":
        return [imagined(realm, case.on)]
    literals = tuple(case.on.split("*"))
    names = {f"{domain}.{_TO_COME}" for domain in realm.domain_tree if domain != ROOT} | {case.on.replace("*", "x")}
    return [imagined(realm, name) for name in sorted(names) if alike(literals, name) and is_dataset(name)]


# --- whether it holds ------------------------------------------------------------------------------


def _failure(
    realm: Realm,
    case: Case,
    witnesses: Sequence[_Witness],
    at: datetime,
    told: AbstractSet[str] | None,
) -> Failure | None:
    moment = case.at or at
    if case.kind == "domain":
        for witness in witnesses:
            (decision,) = decide_governing(realm, witness.state, case.action, [case.on], moment)
            if decision.allowed is not case.allowed:
                return Failure(case, witness.who, case.on, None, decision)
        return None
    matching = _matching(realm, case)
    if told is not None and case.kind == "datasets":
        matching = [dataset for dataset in matching if (realm.source_of(dataset.name) or dataset.name) in told]
    datasets = matching or _to_come(realm, case)
    for witness in witnesses:
        for environment in _environments(realm, case):
            found = _against(realm, case, witness.state, environment, moment, datasets)
            if found is not None:
                return Failure(case, witness.who, found[0], environment, found[1])
    return None


def _environments(realm: Realm, case: Case) -> Sequence[str | None]:
    if case.action not in DATA_ACTIONS:
        return (None,)
    return (case.environment,) if case.environment is not None else realm.environment_names


def _against(
    realm: Realm, case: Case, asker: SubjectState, environment: str | None, at: datetime, datasets: Sequence[Dataset]
) -> tuple[str, Decision] | None:
    """The first dataset on which a case does not hold, and what is decided there."""
    if environment is None:
        decisions = decide_governing(realm, asker, case.action, datasets, at)
        decided = zip((dataset.name for dataset in datasets), decisions, strict=True)
        return next(((name, decision) for name, decision in decided if decision.allowed is not case.allowed), None)
    wanted = Wanted(environment, case.project, case.purpose)
    if len(datasets) > _FEW:
        declared = {dataset.name for dataset in datasets if realm.datasets.get(dataset.name) is dataset}
        listing = list_all(realm, asker, wanted, at)
        first = min(declared - _fit(case, listing, declared), default=None)
        if first is not None:
            return first, listing.decided[first][case.action]
        datasets = [dataset for dataset in datasets if dataset.name not in declared]
    for dataset, each in zip(datasets, decide_each(realm, asker, wanted, at, datasets), strict=True):
        if each[case.action].allowed is not case.allowed or case.obliged not in {None, bool(each.obligations)}:
            return dataset.name, each[case.action]
    return None


def _fit(case: Case, listing: Listing, asked: AbstractSet[str]) -> AbstractSet[str]:
    """Those of the datasets on which a case holds."""
    allowed = set(listing.names(case.action))
    if case.obliged is not None:
        plain = {name for name, actions in listing.usable() if Action.LOAD in actions}
        return allowed - plain if case.obliged else allowed & plain
    return allowed if case.allowed else asked - allowed


# --- what a change has to do with it ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """What differs between two realms, as far as a case can depend on it."""

    after: Realm
    anything: bool
    rules: tuple[Compiled, ...]
    datasets: frozenset[str]

    @classmethod
    def between(cls, before: Realm, after: Realm) -> _Change:
        surroundings = any(
            getattr(before, shelf) is not getattr(after, shelf) for shelf in ("groups", "domains", "environments")
        )
        return cls(after, surroundings, tuple(_changed_rules(before, after)), _changed_datasets(before, after))

    def concerns(self, case: Case) -> bool:
        """Whether the change can matter to a case."""
        if self.anything or any(_speaks_to(rule, case) and self._may_mean(rule, case) for rule in self.rules):
            return True
        literals = tuple(case.on.split("*"))
        return case.kind != "domain" and any(
            alike(literals, name) or ("{" in name and domain_of(name) == case.place) for name in self.datasets
        )

    def _may_mean(self, rule: Compiled, case: Case) -> bool:
        """Whether a rule may be satisfied for whom the case is about; for a group's members any may."""
        if case.subject is None or rule.anchor is None:
            return True
        kind, id_ = str(rule.anchor.type), rule.anchor.id
        if kind == "Group":
            return id_ in self.after.all_groups_of(_state(case, case.subject, case.groups))
        return (kind, id_) == (case.subject.kind.entity_type, case.subject.id)


def _changed_rules(before: Realm, after: Realm) -> Iterator[Compiled]:
    if before.policies is after.policies and before.grants is after.grants:
        return
    old, new = before.compiled, after.compiled
    for id_ in old.keys() | new.keys():
        was, now = old.get(id_), new.get(id_)
        if was is not now and was != now:
            yield from (rule for rule in (was, now) if rule is not None)


def _changed_datasets(before: Realm, after: Realm) -> frozenset[str]:
    old, new = before.datasets, after.datasets
    if old is new:
        return frozenset()
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) is not new.get(name))


def _speaks_to(rule: Compiled, case: Case) -> bool:
    """Whether a rule may have a part in the answer to a case."""
    if rule.actions.isdisjoint(case.actions):
        return False
    if rule.within is None or case.place is None or rule.within in lineage(case.place):
        return True
    return case.kind == "datasets" and case.place in lineage(rule.within)


def _standing(realm: Realm) -> Iterator[Case]:
    for _, policy in sorted(realm.policies.items()):
        if policy.cases:
            yield from cases_of(policy)


# --- writing a case, and being refused by one ------------------------------------------------------


def _written(before: Realm, after: Realm, asker: SubjectState, at: datetime) -> Iterator[Case]:
    """The cases that a change writes, each sound; those of a policy that it words anew are written again."""
    if before.policies is after.policies:
        return
    for id_, policy in sorted(after.policies.items()):
        stood = before.policies.get(id_)
        if stood is policy or not policy.cases:
            continue
        kept = stood.cases if stood is not None and _wording(stood) == _wording(policy) else ()
        new = [case for case, raw in zip(cases_of(policy), policy.cases, strict=True) if raw not in kept]
        _check_sound(after, asker, at, policy, new)
        yield from new


def _wording(policy: Policy) -> tuple[object, ...]:
    return policy.cedar, policy.scope, policy.kind, policy.obligation


def _check_sound(realm: Realm, asker: SubjectState, at: datetime, policy: Policy, cases: Iterable[Case]) -> None:
    """Refuse a case about what is not there, lies outside the policy's scope, or may not be known to its writer."""
    faults: list[Fault] = []
    for case in cases:
        at_case = f"cases.{case.number - 1}"
        if case.environment is not None:
            checked_known([case.environment], realm.environment_names, at=f"{at_case}.environment")
        strange = sorted(case.attributes.keys() - attributes(realm.schema)["principal"])
        faults.extend(Fault(f"{at_case}.attributes.{name}", "Subjects have no such attribute.") for name in strange)
        faults.extend(
            Fault(f"{at_case}.groups", f"group:{name} is a local group: its members are listed there, not here.")
            for name in sorted(case.groups & realm.groups.keys())
        )
        if policy.scope != ROOT and (case.place is None or policy.scope not in lineage(case.place)):
            message = f"A case of a policy in {policy.scope} is about what lies in {policy.scope}."
            faults.append(Fault(f"{at_case}.{case.kind}", message))
        elif not _may_speak_of(realm, asker, at, case):
            message = "A case is about what you may know of, or about a domain where you declare, audit or administer."
            faults.append(Fault(f"{at_case}.{case.kind}", message))
    if faults:
        raise InvalidPolicy(f"A case cannot be kept: {faults[0].message}", faults)


def _may_speak_of(realm: Realm, asker: SubjectState, at: datetime, case: Case) -> bool:
    """Whether a writer may learn how a case turns out: what is hidden from them and what is not there are one."""
    if case.kind == "domain":
        return case.on == ROOT or (case.on in realm.domains and bool(readable_scopes(realm, asker, at, [case.on])))
    if _oversees(realm, asker, at, case.place or ROOT):
        return True
    return case.kind == "dataset" and find(realm, asker, at, case.on) is not None


def _oversees(realm: Realm, asker: SubjectState, at: datetime, domain: str) -> bool:
    """Whether the subject may know of everything in a domain; in one that nobody made, as in one that is shut."""
    if may_govern(realm, asker, at, Action.ADMINISTER, ROOT):
        return True
    return domain in realm.domain_tree and any(
        may_govern(realm, asker, at, action, domain) for action in (Action.DECLARE, Action.AUDIT, Action.ADMINISTER)
    )


def _refusal(before: Realm, after: Realm, asker: SubjectState, at: datetime, failures: Sequence[Failure]) -> CaseFails:
    """The refusal: all of it to those who read the policy, and of what they may know; else where to ask."""
    scopes = {failure.case.policy: after.policies[failure.case.policy].scope for failure in failures}
    read = _read(before, asker, at, scopes)
    told = [_told(before, asker, at, f, reads=f.case.policy in read) for f in failures[:_MOST_NAMED]]
    first = told[0]
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    said = f": {first['says']}; but then {first['found']}" if "says" in first else ""
    whom = write_group(before.owner_of(scopes[failures[0].case.policy])) if said else "an administrator"
    detail = (
        f"This would contradict {first['case']} of the policy {first['policy']}{more}{said}. "
        f"If it is no longer meant, the policy's cases are changed first; ask {whom}."
    )
    return CaseFails(detail, cases=told)


def _read(before: Realm, asker: SubjectState, at: datetime, scopes: Mapping[str, str]) -> frozenset[str]:
    """Those of the policies that a subject reads: as they stand, and of new ones those of the scopes that it reads."""
    standing = readable(before, asker, at, {id_: before.policies[id_] for id_ in scopes if id_ in before.policies})
    there = readable_scopes(before, asker, at, scopes.values())
    new = {id_ for id_, scope in scopes.items() if id_ not in before.policies and scope in there}
    return frozenset(new.union(standing))


def _told(realm: Realm, asker: SubjectState, at: datetime, failure: Failure, *, reads: bool) -> dict[str, object]:
    case = failure.case
    if not reads:
        return {"policy": case.policy, "case": f"case {case.number}"}
    shown = _shown(realm, asker, at, failure)
    told: dict[str, object] = {
        "policy": case.policy,
        "case": case.title,
        "says": case.says,
        "found": failure.told(shown),
    }
    if shown == failure.resource:
        told["because"] = list(failure.decision.because)
    return told


def _told_instead(realm: Realm, asker: SubjectState, at: datetime, failure: Failure) -> str:
    return failure.told(_shown(realm, asker, at, failure))


def _shown(realm: Realm, asker: SubjectState, at: datetime, failure: Failure) -> str:
    """What a case fails on, by its name where a reader may know of it."""
    name = failure.resource
    if failure.case.kind == "datasets" and not _may_know(realm, asker, at, name):
        return f"{domain_of(name)}.*"
    return name


def _may_know(realm: Realm, asker: SubjectState, at: datetime, name: str) -> bool:
    return _oversees(realm, asker, at, domain_of(name)) or find(realm, asker, at, name) is not None
