"""Every value says who gave it, and the one that is named is the one whose word is served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.catalog import resolved
from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.provenance import Origin, Source, layer_of, trace, variable_origins
from muniment.core.realm import Realm
from tests.core.oracle import SCHEMA

values = st.dictionaries(st.sampled_from(["tier", "zone", "bucket"]), st.sampled_from(["a", "b", "c"]))
TEXT = "/${globals:tier, raw}/${globals:zone, 1}/${runtime_params:day, 2}"
STOCK = Dataset(
    "sales.emea.stock",
    "team",
    environments={
        "base": {"type": "x.Y", "filepath": TEXT, "load_args": {"a.b": [1, []], "a": {"b": "${globals:zone, no}"}}},
        "prod": {"type": "x.Y", "filepath": "/prod"},
    },
    version=7,
)


def realm(all_: dict[str, str], sales: dict[str, str], emea: dict[str, str], base: dict[str, str], dev: dict[str, str]):
    domains = {"all": all_, "sales": sales, "sales.emea": emea, "sales.apac": {"tier": "never"}}
    environments = {"base": base, "dev": dev, "prod": {"tier": "never"}}
    return Realm(
        1,
        SCHEMA,
        datasets={STOCK.name: STOCK},
        domains={name: Domain(name, "team", variables=held, version=2) for name, held in domains.items()},
        environments={name: Environment(name, variables=held, version=3) for name, held in environments.items()},
    )


@given(values, values, values, values, values)
def test_who_is_named_is_who_is_heard(all_, sales, emea, base, dev):
    """A domain above, a domain, `base`, the environment: the last that has a word."""
    house = realm(all_, sales, emea, base, dev)
    origins = variable_origins(house, "sales.emea", "dev")
    assert {name: origin.value for name, origin in origins.items()} == house.variables_of("sales.emea", "dev")
    givers = {"all": all_, "sales": sales, "sales.emea": emea, "base": base, "dev": dev}
    for name, origin in origins.items():
        assert origin.name is not None
        assert givers[origin.name][name] == origin.value
        assert origin.version == (3 if origin.source is Source.ENVIRONMENT else 2)
        *_, last = (giver for giver, held in givers.items() if name in held)
        assert origin.name == last


@given(values, values, values, values, values)
def test_the_values_put_together_are_the_definition_that_is_served(all_, sales, emea, base, dev):
    house = realm(all_, sales, emea, base, dev)
    traced = trace(house, STOCK, "dev")
    served = resolved(house, STOCK, "dev")
    assert [value.at for value in traced] == ["type", "filepath", "load_args.a.b.0", "load_args.a.b.1", "load_args.a.b"]
    assert [value.value for value in traced] == ["x.Y", served["filepath"], 1, [], served["load_args"]["a"]["b"]]
    assert [value.written for value in traced][1] == TEXT


def test_a_value_that_nobody_gives_is_told_as_such():
    house = realm({}, {}, {}, {}, {})
    bare = replace(STOCK, environments={"base": {"type": "x.Y", "filepath": "/${globals:tier}"}})
    (_, path) = trace(house, bare, "dev")
    assert path.value == "/${globals:tier}"
    assert path.origins[1] == Origin(Source.NOTHING, variable="tier")


@pytest.mark.parametrize(("environment", "layer"), [("dev", "base"), ("prod", "prod")])
def test_one_layer_alone_is_in_force(environment, layer):
    house = realm({}, {}, {}, {}, {})
    assert layer_of(STOCK, environment) == layer
    assert {value.origins[0] for value in trace(house, STOCK, environment)} == {
        Origin(Source.DATASET, STOCK.name, 7, layer)
    }
