"""The test of the tests: an engine with a fault in it does not pass the comparison with Cedar.

Each fault is one that an engine of this kind may well have: something skipped, something
kept that no longer holds, an error taken for an answer, an end that is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from itertools import islice
from random import Random

import pytest
from cedarpy import pst

from muniment.core import conditions, decisions, policies, realm, rules, shelves
from muniment.core.decisions import Decided, Decision, decide_governing
from muniment.core.policies import PolicyKind
from muniment.core.realm import Change, Realm
from muniment.core.rules import Role, Rule
from muniment.core.schema import Action
from tests.core.comparisons import differences_of_listing, differences_over_time, expected_of
from tests.core.generated_realms import asker_of, case_of, changes_of, timed_cases
from tests.core.oracle import Case, Oracle

Fault = Callable[[pytest.MonkeyPatch], None]


def _instead(owner: object, name: str, change: Callable[[Callable[..., object]], Callable[..., object]]) -> Fault:
    """A fault that stands where a function of the engine stood, and may call it."""

    def put(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, change(getattr(owner, name)))

    put.__name__ = f"{name.strip('_')}"
    return put


def _always(owner: object, name: str, value: object) -> Fault:
    return _instead(owner, name, lambda _: lambda *_args, **_named: value)


def _rules_with(**parts: object) -> Fault:
    """Rules that have lost some of their parts."""
    return _instead(rules, "_rule", lambda right: lambda *args: replace(right(*args), **parts))


def _policies_with(**parts: object) -> Fault:
    return _instead(realm, "compiled", lambda right: lambda policy: replace(right(policy), **parts))


def _forgetting_forbids(right: Callable[..., object]) -> Callable[..., object]:
    return lambda rule, *asked: (0, 0) if rule.role is Role.FORBID else right(rule, *asked)


def _taking_errors_for_no(right: Callable[..., shelves.Marks]) -> Callable[..., object]:
    def satisfied(rule: Rule, *asked: object) -> shelves.Marks:
        bits, erred = right(rule, *asked)
        return bits & ~erred, 0

    return satisfied


def _erring_behind_what_is_false(_: object) -> Callable[..., object]:
    def both(left: Callable[..., shelves.Marks], right: Callable[..., shelves.Marks]) -> object:
        def marks(*asked: object) -> shelves.Marks:
            (true, erred), (too, errs) = left(*asked), right(*asked)
            return true & too, erred | errs

        return marks

    return both


def _filtering_no_rows(right: Callable[..., Role]) -> Callable[..., object]:
    return lambda policy: Role.PERMIT if policy.kind is PolicyKind.ROW_FILTER else right(policy)


def _climbing_no_tree(right: Callable[..., conditions.Reads]) -> Callable[..., object]:
    return lambda expression: replace(right(expression), climbs=False)


def _keeping_who_is_asked_out_of_the_key(right: Callable[..., object]) -> Callable[..., object]:
    def key(part: conditions.Part, scene: conditions.Scene) -> object:
        return right(part, replace(scene, principal=replace(scene.principal, attributes={})))

    return key


def _anchoring_at_one_of_several(right: Callable[..., frozenset[shelves.Uid] | None]) -> Callable[..., object]:
    def who(expression: pst.Expr) -> object:
        found = right(expression)
        return frozenset(sorted(found)[:1]) if found else found

    return who


def _swapping(right: Callable[..., object]) -> Callable[..., object]:
    return lambda asked, then, otherwise: right(asked, otherwise, then)


def _keeping_what_has_gone(_: object) -> Callable[..., object]:
    def begin(mend: shelves._Mend, gone: object, come: list[int]) -> None:
        mend._come, mend._keep = come, ~shelves._bitmap(come)

    return begin


def _reaching_as_before(right: Callable[..., shelves.Shelf]) -> Callable[..., object]:
    def after(shelf: shelves.Shelf, changes: object) -> shelves.Shelf:
        made = right(shelf, changes)
        made.reaches = dict(shelf.reaches)
        return made

    return after


def _remembering(name: str) -> Fault:
    """A derived value that changes of anything leave as it was."""

    def put(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(realm._DERIVED, name, ())

    put.__name__ = name
    return put


def _ordering_by(name: str, other: str) -> Fault:
    def put(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(conditions._ORDERS, name, conditions._ORDERS[other])

    return put


def _setting_by(name: str, other: str) -> Fault:
    def put(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(conditions._ON_SETS, name, conditions._ON_SETS[other])

    return put


def _no_tick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "TICK", timedelta(0))


AS_THINGS_STAND = {
    "forbids are forgotten": _instead(Rule, "satisfied", _forgetting_forbids),
    "an error is taken for no": _instead(Rule, "satisfied", _taking_errors_for_no),
    "nothing can err": _always(conditions, "_certain", value=True),
    "what is not looked at errs": _instead(conditions, "_marks_and", _erring_behind_what_is_false),
    "nothing is ever missing": _always(shelves.Shelf, "lacking", 0),
    "joins are skipped": _rules_with(joins=()),
    "what only Cedar can tell is skipped": _rules_with(slow=(), ordered=False),
    "what reads the resource alone is skipped": _rules_with(fold=()),
    "what reads no resource is skipped": _rules_with(checks=()),
    "< stands for <=": _ordering_by("less_eq", "less"),
    "> stands for >=": _ordering_by("greater_eq", "greater"),
    "containsAll stands for containsAny": _setting_by("contains_any", "contains_all"),
    "then stands for else": _instead(conditions, "_marks_if", _swapping),
    "a star is no star": _instead(shelves, "alike", lambda _: lambda literals, text: "".join(literals) == text),
    "a type is not looked at": _instead(
        conditions, "_typed", lambda _: lambda _type: lambda shelf, _: (shelf.every, 0)
    ),
    "groups above are forgotten": _instead(Realm, "all_groups_of", lambda _: Realm.groups_of),
    "what groups are in is forgotten": _instead(
        conditions.GroupTree, "above", lambda _: lambda _tree, group: frozenset({("Group", group)})
    ),
    "domains above are forgotten": _instead(realm, "_domains_above", lambda right: lambda domain: right(domain)[:1]),
    "scopes are forgotten": _instead(
        realm, "compiled", lambda right: lambda policy: right(replace(policy, scope="all"))
    ),
    "one of several anchors is forgotten": _instead(rules, "_who", _anchoring_at_one_of_several),
    "every action is load": _instead(rules, "about_action", lambda right: lambda asked, _action: right(asked, "load")),
    "row filters are permits": _instead(rules, "_role", _filtering_no_rows),
    "what is hidden may be loaded": _instead(decisions, "_union", lambda _: lambda first, *_others: first),
}

AFTER_CHANGES = {
    "bits are not mended": _instead(shelves._Mend, "bitmap", lambda _: lambda _mend, known, _come: known),
    "bits of what has gone are kept": _instead(shelves._Mend, "__init__", _keeping_what_has_gone),
    "rules reach as before": _instead(shelves.Shelf, "after", _reaching_as_before),
    "answers hold for everybody": _instead(conditions.Part, "_key", _keeping_who_is_asked_out_of_the_key),
    "answers outlive the tree of groups": _instead(conditions, "_reads", _climbing_no_tree),
    "the tree stands for ever": _always(realm, "_parents", None),
    "memberships are remembered": _remembering("memberships"),
    "postings are remembered": _instead(realm._Patch, "_rule_postings", lambda _: lambda p, _: p._before.rule_postings),
    "ended policies are remembered": _instead(
        realm._Patch, "_rules", lambda right: lambda patch, now: {**patch._before.rules, **right(patch, now)}
    ),
}

OVER_TIME = {
    "the tick after is forgotten": _no_tick,
    "moments are forgotten": _policies_with(boundaries=()),
    "times of day are forgotten": _policies_with(clocks=()),
    "what reckons with time is held for steady": _policies_with(unsteady=False),
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What was compiled by a faulty engine is not seen by another."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for compiling in (policies._compiled, conditions.part, realm._domains_above):
        compiling.cache_clear()


#: How many cases, and lines of changes, a fault has to show itself.
_CASES, _LINES = 160, 50


@cache
def _standing(seed: int) -> tuple[Case, Mapping[str, Decided], Sequence[Decision]]:
    """A case, and what Cedar says in it: found once, for no fault can change it."""
    case = case_of(Random(seed), most_datasets=24, most_policies=30)
    governing = Oracle(case.realm, case.asker).governing(Action.DECLARE, sorted(case.realm.domains), case.at)
    return case, expected_of(case), governing


@pytest.mark.parametrize("fault", AS_THINGS_STAND)
def test_a_fault_is_caught_as_things_stand(monkeypatch, fault):
    known = [_standing(seed) for seed in range(_CASES)]
    AS_THINGS_STAND[fault](monkeypatch)
    assert any(_caught(_differs, replace(case, realm=replace(case.realm)), *said) for case, *said in known)


def _differs(case: Case, data: Mapping[str, Decided], governing: Sequence[Decision]) -> bool:
    now = decide_governing(case.realm, case.asker, Action.DECLARE, sorted(case.realm.domains), case.at)
    return list(now) != governing or bool(differences_of_listing(case, data))


@dataclass(frozen=True)
class _Step:
    """Some changes, and what Cedar says to each of those who ask after them."""

    changes: Sequence[Change]
    said: Sequence[tuple[Case, Mapping[str, Decided]]]


@cache
def _line(seed: int) -> tuple[Realm, Sequence[_Step]]:
    """A realm, and what becomes of it."""
    random = Random(seed)
    case = case_of(random, most_datasets=20, most_policies=24)
    cases = [case, replace(case, asker=asker_of(random)), replace(case, asker=asker_of(random))]
    standing, steps = case.realm, []
    for revision in range(2, 7):
        changes = changes_of(random, standing) if revision > 2 else ()
        standing = standing.after(revision, changes)
        now = [replace(each, realm=standing) for each in cases]
        steps.append(_Step(changes, [(each, expected_of(each)) for each in now]))
    return case.realm, steps


@pytest.mark.parametrize("fault", AFTER_CHANGES)
def test_a_fault_is_caught_after_changes(monkeypatch, fault):
    known = [_line(seed) for seed in range(_LINES)]
    AFTER_CHANGES[fault](monkeypatch)
    assert any(_caught(_differs_on_the_way, *line) for line in known)


def _caught(differs: Callable[..., bool], *known: object) -> bool:
    """Whether the answers differ, or the fault shows itself in there being none."""
    try:
        return differs(*known)
    except (KeyError, ValueError):
        return True


def _differs_on_the_way(standing: Realm, steps: Sequence[_Step]) -> bool:
    standing = replace(standing)
    for step in steps:
        standing = standing.after(standing.revision + 1, step.changes)
        if any(differences_of_listing(replace(case, realm=standing), expected) for case, expected in step.said):
            return True
    return False


@pytest.mark.parametrize("fault", OVER_TIME)
def test_a_fault_is_caught_over_time(monkeypatch, fault):
    OVER_TIME[fault](monkeypatch)
    assert any(differences_over_time(Random(seed), case) for seed, case in islice(timed_cases(0, computed=True), 120))


def test_without_a_fault_nothing_is_caught():
    assert not any(_differs(*_standing(seed)) for seed in range(_CASES))
    assert not any(_differs_on_the_way(*_line(seed)) for seed in range(_LINES))
