"""The engine and Cedar give the same answers, with the same reasons and for as long, to whatever is asked.

A part of fixed seeds runs with the other tests. The deep profile compares half a million
decisions, from seeds of its own::

    HYPOTHESIS_PROFILE=deep .venv/bin/pytest -n 0 tests/core/test_equal_to_cedar.py

It prints how many it compared. A disagreement is told by the smallest realm that still has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from itertools import count, islice
from random import Random, SystemRandom
from typing import get_args

import cedarpy
import pytest
from cedarpy import pst
from hypothesis import settings

from muniment.core.decisions import list_all
from muniment.core.policies import checked
from muniment.core.problems import Problem
from muniment.core.schema import DATA_ACTIONS, parsed
from tests.core.comparisons import (
    TICK,
    differences,
    differences_after_changes,
    differences_of_futures,
    differences_over_time,
    governing_differences,
    moments_named,
)
from tests.core.generated import ENVIRONMENTS
from tests.core.generated_realms import SCHEMA, case_of, policy_of, timed_cases
from tests.core.oracle import Case, Oracle

DEEP = settings.get_current_profile_name() == "deep"

#: How many decisions are compared on realms as they stand.
DECISIONS = 500_000 if DEEP else 8_000
#: How many lines of changes are followed, and how many moments are looked at.
LINES, SPANS = (600, 2_000) if DEEP else (12, 40)
#: The first seed: every deep run looks where none has looked before, and says where that was.
FIRST = SystemRandom().randrange(1_000_000, 1_000_000_000) if DEEP else 0


@dataclass
class Tally:
    """What was compared, and how it came out."""

    decisions: int = 0
    allowed: int = 0
    forbidden: int = 0
    obliged: int = 0
    errors: int = 0
    disagreements: list[str] = field(default_factory=list)

    def add(self, case: Case) -> None:
        datasets = list(case.resources.values())
        oracle = Oracle(case.realm, case.asker, datasets)
        for decided in oracle.decided(datasets, case.wanted, case.at).values():
            self.obliged += bool(decided.obligations)
            for action in DATA_ACTIONS:
                self.decisions += 1
                self.allowed += decided[action].allowed
                self.forbidden += bool(decided[action].beaten)
        self.errors += oracle.errors


@pytest.fixture(scope="module")
def compared() -> Tally:
    """Realm after realm, until enough has been compared."""
    tally = Tally()
    for seed in count(FIRST):
        case = case_of(Random(seed))
        tally.add(case)
        if differences(case) or (seed % 3 == 0 and governing_differences(case)):
            tally.disagreements.append(f"seed {seed}: {_told(_smallest(case))}")
        if tally.decisions >= DECISIONS or len(tally.disagreements) == 3:
            return tally
    raise AssertionError


def test_the_engine_decides_as_cedar_does(compared, capsys):
    with capsys.disabled():
        print(
            f"\n{compared.decisions:,} decisions from seed {FIRST}: {compared.allowed / compared.decisions:.0%} allowed"
        )
    assert not compared.disagreements, "\n".join(compared.disagreements)


def test_what_is_compared_is_worth_comparing(compared):
    assert 0.3 <= compared.allowed / compared.decisions <= 0.7
    assert compared.forbidden > compared.decisions * 0.02
    assert compared.obliged > compared.decisions * 0.005
    assert compared.errors > compared.decisions * 0.02


def _smallest(case: Case) -> Case:
    """The case with every policy, grant and dataset taken away that the disagreement does without."""
    for nouns in ("policies", "grants", "datasets"):
        for key in list(getattr(case.realm, nouns)):
            without = {k: noun for k, noun in getattr(case.realm, nouns).items() if k != key}
            less = replace(case, realm=replace(case.realm, **{nouns: without}))
            if differences(less) or governing_differences(less):
                case = less
    return case


def _told(case: Case) -> str:
    found = [*differences(case), *governing_differences(case)]
    policies = [f"{policy.kind} in {policy.scope}: {policy.cedar}" for policy in case.realm.policies.values()]
    grants, datasets = list(case.realm.grants.values()), list(case.realm.datasets.values())[:3]
    told = [found[:5], *policies, *grants, *datasets, case.asker, case.wanted, case.at]
    return "\n  ".join(map(str, told))


# --- every operator, in every position -------------------------------------------------------------

_SIGHTINGS = 2
_OPERATORS = frozenset({*get_args(pst.BinaryOpName), *get_args(pst.UnaryOpName)} - {"get_tag", "has_tag"}) | {
    *("is", "is_in", "has", "like", "if", "set", "record", "get"),
}
#: Constructors take a literal, and so stand over nothing else.
_CONSTRUCTORS = frozenset({"datetime", "decimal", "duration", "ip"})
_SPOKEN_OF = ("nothing", "principal", "resource", "context", "principal and resource", "context and others")
_PLACES = (
    "not",
    "left of and",
    "right of and",
    "left of or",
    "right of or",
    "asked by if",
    "then",
    "else",
    "when",
    "unless",
)
_HEADS = ("ScopeAny", "ScopeEq", "ScopeIn", "ScopeIs", "ScopeIsIn")


def test_every_operator_stands_in_every_position():
    seen = _sightings()
    missing = [
        (operator, spoken)
        for operator in sorted(_OPERATORS)
        for spoken in (_SPOKEN_OF[:1] if operator in _CONSTRUCTORS else _SPOKEN_OF)
        if seen[operator, spoken] < _SIGHTINGS
    ]
    missing += [
        (operator, place) for operator in sorted(_OPERATORS) for place in _PLACES if seen[operator, place] < _SIGHTINGS
    ]
    missing += [(of, head) for of in ("principal", "resource") for head in _HEADS if seen[of, head] < _SIGHTINGS]
    assert missing == []
    assert {operator for operator, place in seen if place in _PLACES} == _OPERATORS


@cache
def _sightings() -> Counter[tuple[str, str]]:
    """How often each operator was seen over each set of variables, and in each place, where Cedar has no objection."""
    seen: Counter[tuple[str, str]] = Counter()
    for seed in range(5000):
        policy = policy_of(Random(seed), "p", plain=0)
        if cedarpy.validate_policies(policy.cedar, parsed(SCHEMA)).validation_passed:
            (tree,) = cedarpy.policies_to_pst(policy.cedar).static_policies.values()
            seen["principal", type(tree.principal).__name__] += 1
            seen["resource", type(tree.resource).__name__] += 1
            for clause in tree.clauses:
                place = "when" if isinstance(clause, pst.When) else "unless"
                _note(seen, clause.expr, frozenset({place}))
    return seen


def _note(seen: Counter[tuple[str, str]], node: object, places: frozenset[str]) -> frozenset[str]:
    """Count each operator below, with what it speaks of and all places that it stands in; gives the variables."""
    found = [_note(seen, child, places | {place} if place else places) for place, child in _children(node)]
    variables = frozenset({node.name} if isinstance(node, pst.Var) else ()).union(*found)
    operator = _operator(node)
    if operator:
        seen[operator, _spoken_of(variables - {"action"})] += 1
        seen.update((operator, place) for place in places)
    return variables


def _operator(node: object) -> str:
    match node:
        case pst.BinaryOp(op) | pst.UnaryOp(op):
            return op
        case pst.Is(_, _, inside):
            return "is" if inside is None else "is_in"
        case _:
            names = {pst.GetAttr: "get", pst.HasAttr: "has", pst.Like: "like", pst.Set: "set"}
            return {**names, pst.Record: "record", pst.IfThenElse: "if"}.get(type(node), "")


def _spoken_of(variables: frozenset[str]) -> str:
    if "context" in variables:
        return "context" if len(variables) == 1 else "context and others"
    return " and ".join(sorted(variables)) or "nothing"


def _children(node: object) -> Iterator[tuple[str, object]]:
    match node:
        case pst.BinaryOp("and" | "or" as op, left, right):
            yield from ((f"left of {op}", left), (f"right of {op}", right))
        case pst.UnaryOp("not", arg):
            yield "not", arg
        case pst.IfThenElse(cond, then_expr, else_expr):
            yield from (("asked by if", cond), ("then", then_expr), ("else", else_expr))
        case pst.Record(named):
            yield from (("", value) for value in named.values())
        case tuple():
            yield from (("", value) for value in node)
        case _ if is_dataclass(node):
            yield from (("", getattr(node, each.name)) for each in fields(node))


def test_what_cedar_validates_is_mostly_taken_and_what_it_refuses_never():
    taken: Counter[bool] = Counter()
    for seed in range(600):
        policy = policy_of(Random(seed), "p")
        valid = cedarpy.validate_policies(policy.cedar, parsed(SCHEMA)).validation_passed
        try:
            checked(policy, schema=SCHEMA, environments=ENVIRONMENTS)
        except Problem:
            taken[False] += valid
        else:
            assert valid
            taken[True] += 1
    assert taken[True] > 500
    assert taken[False] < 60


# --- until when ------------------------------------------------------------------------------------


@pytest.mark.parametrize("computed", [False, True], ids=["compared with literals", "computed with"])
def test_a_listing_holds_until_its_end(computed):
    ended = 0
    for seed, case in islice(timed_cases(FIRST, computed=computed), SPANS):
        assert differences_over_time(Random(seed), case) == [], seed
        ended += list_all(case.realm, case.asker, case.wanted, case.at).until is not None
    assert ended > SPANS * 0.5


def test_a_listing_ends_nowhere_but_at_a_moment_that_a_policy_names_or_just_after_it():
    for seed, case in islice(timed_cases(FIRST, computed=False), SPANS):
        until = list_all(case.realm, case.asker, case.wanted, case.at).until
        assert until is None or {until, until - TICK} & moments_named(case.realm), (seed, until)


# --- after changes ---------------------------------------------------------------------------------


def test_a_realm_changed_step_by_step_decides_as_one_built_anew_and_as_cedar():
    for seed in range(FIRST, FIRST + LINES):
        random = Random(seed)
        case = case_of(random, most_datasets=30, most_policies=14)
        assert differences_after_changes(random, case, revisions=6) == [], seed


def test_two_futures_of_one_realm_know_nothing_of_each_other():
    for seed in range(FIRST, FIRST + LINES):
        random = Random(seed)
        assert differences_of_futures(random, case_of(random, most_datasets=20, most_policies=12)) == [], seed
