"""Where a mistake costs most the engine is not believed alone."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from muniment.core.decisions import Decision, decide, decide_governing
from muniment.core.problems import Unconfirmed
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.second_key import check_governing, check_save
from tests.core.generated_realms import case_of


@pytest.mark.parametrize("seed", range(25))
def test_cedar_confirms_what_the_engine_decides(seed):
    case = case_of(Random(seed))
    for dataset in case.realm.datasets.values():
        decided = decide(case.realm, case.asker, case.wanted, case.at, dataset)
        check_save(case.realm, case.asker, case.wanted, case.at, dataset, decided)
    for action in GOVERNING_ACTIONS:
        domains = sorted(case.realm.domain_tree)
        decisions = decide_governing(case.realm, case.asker, action, domains, case.at)
        for domain, decision in zip(domains, decisions, strict=True):
            check_governing(case.realm, case.asker, action, domain, case.at, decision)


def test_an_engine_that_allows_what_cedar_does_not_is_refused():
    case = case_of(Random(3))
    for dataset in case.realm.datasets.values():
        decided = decide(case.realm, case.asker, case.wanted, case.at, dataset)
        wrong = replace(decided, save=Decision(allowed=not decided.save.allowed, because=("p0",)))
        with pytest.raises(Unconfirmed):
            check_save(case.realm, case.asker, case.wanted, case.at, dataset, wrong)


def test_an_approval_that_cedar_does_not_confirm_is_refused():
    case = case_of(Random(5))
    with pytest.raises(Unconfirmed, match="do not agree"):
        check_governing(
            case.realm, case.asker, Action.APPROVE, "sales", case.at, Decision(allowed=True, because=("nothing",))
        )
