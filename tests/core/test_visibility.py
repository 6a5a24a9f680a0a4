"""What one may not see does not exist, whichever way one looks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset, Lifecycle
from muniment.core.decisions import Wanted, decide, decide_governing
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.policies import Policy
from muniment.core.realm import Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import (
    administers,
    known,
    knows,
    may_govern,
    readable_scopes,
    roles,
    sees_definitions,
)
from tests.core.oracle import ENVIRONMENTS, NOON, SCHEMA, case_of

ANN = SubjectState(Subject.parse("user:ann"), "corp")
DEFINITION = {"type": "pandas.CSVDataset", "filepath": "orders.csv"}


def house(*policies: str, **orders: object) -> Realm:
    dataset = Dataset("sales.orders", "team", environments={"base": DEFINITION, "prod": DEFINITION})
    return Realm(
        1,
        SCHEMA,
        datasets={"sales.orders": replace(dataset, **orders), "hr.people": Dataset("hr.people", "team")},
        domains={name: Domain(name, "team") for name in ("sales", "sales.emea", "hr")},
        environments={name: Environment(name) for name in ("dev", "prod")},
        policies={f"p{number}": Policy(f"p{number}", text) for number, text in enumerate(policies)},
    )


def know(realm: Realm) -> tuple[str, ...]:
    return known(realm, ANN, NOON, realm.environment_names)


DISCOVER_IN_DEV = """permit (principal, action == Action::"discover", resource in Domain::"sales")
when { context.environment == "dev" };"""
LOAD_IN_DEV = DISCOVER_IN_DEV.replace("discover", "load")
DECLARE = 'permit (principal, action == Action::"declare", resource in Domain::"sales");'


@given(st.randoms(use_true_random=False))
def test_the_list_of_what_is_known_holds_each_dataset_that_is_known_by_itself(random):
    case = case_of(random)
    one_by_one = [
        name for name, dataset in case.realm.datasets.items() if knows(case.realm, case.asker, case.at, dataset)
    ]
    listed = known(case.realm, case.asker, case.at, ENVIRONMENTS)
    assert listed == tuple(sorted(one_by_one))
    assert known(case.realm, case.asker, case.at, ENVIRONMENTS, only=listed[::2]) == listed[::2]


@given(st.randoms(use_true_random=False))
def test_whoever_reads_a_definition_may_use_the_dataset_or_declares_there(random):
    case = case_of(random)
    for dataset in case.realm.datasets.values():
        usable = any(decide(case.realm, case.asker, Wanted(name), case.at, dataset).actions for name in ENVIRONMENTS)
        declares = may_govern(case.realm, case.asker, case.at, Action.DECLARE, dataset.domain)
        if sees_definitions(case.realm, case.asker, case.at, dataset):
            assert declares or (usable and dataset.lifecycle is not Lifecycle.DRAFT)


def test_nobody_knows_of_anything_without_a_policy():
    assert know(house()) == ()


def test_to_be_discoverable_in_one_environment_is_to_be_known():
    assert know(house(DISCOVER_IN_DEV)) == ("sales.orders",)


def test_whoever_declares_in_a_domain_knows_all_in_it_and_reads_its_definitions():
    realm = house(DECLARE, 'forbid (principal, action == Action::"discover", resource);')
    assert know(realm) == ("sales.orders",)
    assert sees_definitions(realm, ANN, NOON, realm.datasets["sales.orders"]) == {"base", "prod"}


def test_a_draft_is_known_to_those_who_declare_there_and_to_nobody_else():
    assert know(house(LOAD_IN_DEV, lifecycle=Lifecycle.DRAFT)) == ()
    assert know(house(DECLARE, lifecycle=Lifecycle.DRAFT)) == ("sales.orders",)


def test_knowing_of_a_dataset_shows_no_definition():
    realm = house(DISCOVER_IN_DEV)
    assert sees_definitions(realm, ANN, NOON, realm.datasets["sales.orders"]) == frozenset()


def test_a_definition_is_read_where_the_dataset_is_used_and_nowhere_else():
    in_dev, in_prod = house(LOAD_IN_DEV), house(LOAD_IN_DEV.replace("dev", "prod"))
    assert sees_definitions(in_dev, ANN, NOON, in_dev.datasets["sales.orders"]) == {"base"}
    assert sees_definitions(in_prod, ANN, NOON, in_prod.datasets["sales.orders"]) == {"prod"}


def test_roles_name_each_domain_in_which_something_may_be_governed():
    realm = house(DECLARE, 'permit (principal, action == Action::"administer", resource == Domain::"hr");')
    assert roles(realm, ANN, NOON) == {
        "sales": (Action.DECLARE,),
        "sales.emea": (Action.DECLARE,),
        "hr": (Action.ADMINISTER,),
    }


@given(st.randoms(use_true_random=False))
def test_roles_are_the_governing_decisions(random):
    case = case_of(random)
    domains = ["all", *case.realm.domains]
    found = roles(case.realm, case.asker, case.at)
    for action in GOVERNING_ACTIONS:
        answers = [answer.allowed for answer in decide_governing(case.realm, case.asker, action, domains, case.at)]
        everywhere = action is Action.ADMINISTER and answers[0]
        expected = [everywhere or answer for answer in answers]
        assert [action in found.get(domain, ()) for domain in domains] == expected


ADMINISTER = 'permit (principal, action == Action::"administer", resource);'


def locked(administering: str) -> Realm:
    """A realm in which a steward of sales has forbidden everybody everything there."""
    realm = house(administering)
    lock = Policy("lock", "forbid (principal, action, resource);", "sales")
    return replace(realm, policies={**realm.policies, "lock": lock})


def test_who_administers_everything_administers_a_domain_that_a_steward_has_locked():
    realm = locked(ADMINISTER)
    assert not may_govern(realm, ANN, NOON, Action.ADMINISTER, "sales")
    assert administers(realm, ANN, NOON, "sales")
    assert Action.ADMINISTER in roles(realm, ANN, NOON)["sales.emea"]
    assert readable_scopes(realm, ANN, NOON, ["sales", "hr"]) == {"sales", "hr"}


def test_who_administers_one_domain_is_shut_out_by_its_rules():
    only_sales = ADMINISTER.replace("resource)", 'resource in Domain::"sales")')
    assert administers(house(only_sales), ANN, NOON, "sales.emea")
    assert not administers(house(only_sales), ANN, NOON, "hr")
    assert not administers(locked(only_sales), ANN, NOON, "sales.emea")
    assert readable_scopes(locked(only_sales), ANN, NOON, ["sales", "sales.emea", "hr"]) == frozenset()


def test_a_domain_that_is_not_there_is_decided_on_as_it_might_be():
    realm = house(DECLARE, 'forbid (principal, action, resource in Domain::"sales.secret");')
    assert may_govern(realm, ANN, NOON, Action.DECLARE, "sales.new.newer")
    assert not may_govern(realm, ANN, NOON, Action.DECLARE, "sales.secret")
    assert not may_govern(realm, ANN, NOON, Action.DECLARE, "law")
