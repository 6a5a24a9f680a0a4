"""The schema holds the deployment's attributes, typed and optional, and nothing that it could not keep."""

from __future__ import annotations

import cedarpy
import pytest

from muniment.core.environments import checked_known
from muniment.core.policies import Policy, checked
from muniment.core.problems import CannotStart, InvalidPolicy, UnknownEnvironment
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action, parsed, schema_text


@pytest.mark.parametrize("attributes", [{}, {"a": "string", "b": "long", "c": "boolean", "d": "set"}])
def test_a_schema_is_one_that_cedar_reads(attributes):
    assert isinstance(parsed(schema_text(attributes)), cedarpy.Schema)


def test_the_order_of_attributes_makes_no_other_schema():
    assert schema_text({"a": "long", "b": "set"}) == schema_text({"b": "set", "a": "long"})


@pytest.mark.parametrize(
    "attributes", [{"issuer": "string"}, {"A": "long"}, {"a b": "long"}, {"a": "date"}, {"": "set"}]
)
def test_an_attribute_that_no_policy_could_use_stops_the_start(attributes):
    with pytest.raises(CannotStart, match="MUNIMENT_ISSUERS"):
        schema_text(attributes)


def test_an_attribute_that_is_gone_fails_the_policies_that_use_it():
    policy = Policy("p", "permit (principal, action, resource) when { principal has rank && principal.rank > 1 };")
    assert checked(policy, schema=schema_text({"rank": "long"}), environments=())
    with pytest.raises(InvalidPolicy):
        checked(policy, schema=schema_text({}), environments=())


def test_every_action_is_of_data_or_of_governing():
    assert {*DATA_ACTIONS, *GOVERNING_ACTIONS} == set(Action)
    assert not set(DATA_ACTIONS).intersection(GOVERNING_ACTIONS)


@pytest.mark.parametrize(
    ("asked", "said"), [("prd", "known ones are: dev, prod"), ("base", "ask for one of: dev, prod")]
)
def test_an_unknown_environment_is_answered_with_the_known_ones(asked, said):
    with pytest.raises(UnknownEnvironment, match=said):
        checked_known([asked], ["prod", "base", "dev"])
