"""Promise 1, both ways: what is served is what is decided, over generated realms; nothing more, and nothing less.

The oracle is Cedar itself, asked once for each dataset, action and effect, over the very rules that the service
lists, and put together as rules.md, 4 says. It shares nothing with the service but Cedar. Seen to fail with `forbids`
left out of `load` in `core/decisions.py` (more), and with drafts served (more) or deprecated ones left out (less) in
`core/catalog.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import cedarpy
import pytest

from tests.api.running import FOREVER, Caller, Running, dataset

pytestmark = pytest.mark.anyio

DOMAINS = ("sales", "sales.emea", "hr")
TAGS = ("pii", "gold", "raw")
LIFECYCLES = ("active", "active", "active", "deprecated", "draft")
GROUPS = {"ann": ["analysts"], "sam": ["stewards"], "eve": [], "nightly": ["jobs"], "hugo": ["people-and-culture"]}
ENVIRONMENTS = ("dev", "prod")


def conditions(dice: random.Random) -> str:
    """A condition of a policy, or none."""
    return dice.choice(
        [
            "",
            f'when {{ resource.tags.contains("{dice.choice(TAGS)}") }}',
            f'unless {{ resource.tags.containsAny(["{dice.choice(TAGS)}", "{dice.choice(TAGS)}"]) }}',
            f'when {{ context.environment == "{dice.choice(ENVIRONMENTS)}" }}',
            "when { resource.sensitivity > 50 }",
            "when { principal has clearance && principal.clearance >= 2 }",
            "unless { principal has clearance && principal.clearance > 3 }",
            'when { resource.name like "*_1*" }',
            'when { context has purpose && context.purpose == "billing" }',
            'when { resource.classification == "secret" }',
            "when { principal in resource.owner }",
        ]
    )


def policy(dice: random.Random) -> str:
    """A policy of Cedar text."""
    effect = dice.choice(["permit", "permit", "permit", "forbid"])
    group = dice.choice([*(name for names in GROUPS.values() for name in names), "makers"])
    who = dice.choice(["principal", f'principal in Group::"{group}"', 'principal == User::"ann"'])
    actions = dice.sample(["discover", "load", "save"], dice.randint(1, 3))
    named = ", ".join(f'Action::"{name}"' for name in actions)
    where = dice.choice(["resource", f'resource in Domain::"{dice.choice(DOMAINS)}"', "resource is Dataset"])
    # Root, who writes it, may not gain by it.
    others = 'unless { principal == User::"root" }' if effect == "permit" and who == "principal" else ""
    return f"{effect} ({who}, action in [{named}], {where}) {conditions(dice)} {others};"


async def furnish(service: Running, dice: random.Random) -> None:
    """A generated realm: datasets of all kinds, groups, grants and policies."""
    root = service.root
    for name in ENVIRONMENTS:
        await root.make(f"/v1/environments/{name}", {})
    for name in DOMAINS:
        locations = [] if "." in name else [f"s3://lake/{name}/"]
        await root.make(f"/v1/domains/{name}", {"owner": "group:stewards", "locations": locations})
    for number in range(24):
        domain = dice.choice(DOMAINS)
        body = dataset(
            f"s3://lake/{domain.partition('.')[0]}/{number}.csv",
            tags=dice.sample(TAGS, dice.randint(0, 2)),
            classification=dice.choice(["internal", "secret"]),
            sensitivity=dice.randint(0, 100),
            lifecycle=dice.choice(LIFECYCLES),
            owner=dice.choice(["group:stewards", "group:analysts", "user:ann"]),
        )
        if dice.random() < 0.3:
            body["environments"] = {dice.choice(ENVIRONMENTS): body["environments"]["base"]}
        await root.make(f"/v1/datasets/{domain}.d_{number}", body)
    await root.make("/v1/groups/makers", {"members": dice.sample([f"user:{who}" for who in ("ann", "sam", "eve")], 2)})
    for number in range(10):
        scope = dice.choice(["all", *DOMAINS])
        await root.make(f"/v1/policies/p{number}", {"cedar": policy(dice), "scope": scope})
    for number in range(4):
        rule = {
            "to": {"group": dice.choice(["group:analysts", "group:makers", "group:jobs"])},
            "actions": dice.sample(["load", "save", "discover"], 2),
            "on": {"domain": dice.choice(DOMAINS)},
            "environments": dice.choice([[], ["dev"]]),
            "because": FOREVER,
        }
        await root.make(f"/v1/grants/g{number}", rule)


class Oracle:
    """Cedar, asked about one thing at a time."""

    def __init__(self, datasets: dict[str, Any], rules: list[tuple[str, str]], members: Iterable[str]) -> None:
        self._datasets = datasets
        self._rules = rules
        self._members = frozenset(members)

    def actions(self, who: str, environment: str, name: str) -> tuple[set[str], bool]:
        """Whether the subject may load and save, and whether it may know of the dataset there."""
        asked = {action: self._found(who, environment, name, action) for action in ("discover", "load", "save")}
        (p_d, f_d), (p_l, f_l), (p_s, f_s) = asked.values()
        may = {"load"} if p_l and not f_l and not f_d else set()
        may |= {"save"} if p_s and not f_s and not f_d else set()
        return may, (p_d or p_l or p_s) and not f_d

    def _found(self, who: str, environment: str, name: str, action: str) -> tuple[bool, bool]:
        kind = "Service" if who == "nightly" else "User"
        groups = [*GROUPS[who], *(["makers"] if f"user:{who}" in self._members else []), f"{kind.lower()}:{who}"]
        clearance = {"clearance": 3} if who == "ann" else {}
        entities = [
            {
                "uid": _uid(kind, who),
                "attrs": {"issuer": "corp", **clearance},
                "parents": [_uid("Group", g) for g in groups],
            },
            self._entity(name),
            *({"uid": _uid("Domain", d), "attrs": {}, "parents": [_uid("Domain", _above(d))]} for d in DOMAINS),
        ]
        request = {
            "principal": _uid(kind, who),
            "action": _uid("Action", action),
            "resource": _uid("Dataset", name),
            "context": {"environment": environment, "now": {"__extn": {"fn": "datetime", "arg": "2027-01-01"}}},
        }
        satisfied = {"permit": False, "forbid": False}
        for effect, text in self._rules:
            answer = cedarpy.is_authorized(request, text, entities)
            erred = bool(answer.diagnostics.errors)
            satisfied[effect] |= bool(answer.diagnostics.reasons) or (erred and effect == "forbid")
        return satisfied["permit"], satisfied["forbid"]

    def _entity(self, name: str) -> dict[str, Any]:
        shown = self._datasets[name]
        attributes = {key: shown[key] for key in ("name", "tags", "classification", "sensitivity", "lifecycle")}
        owner = shown["owner"].removeprefix("group:")
        domain = _uid("Domain", name.rpartition(".")[0])
        return {
            "uid": _uid("Dataset", name),
            "attrs": {**attributes, "owner": {"__entity": _uid("Group", owner)}},
            "parents": [domain],
        }


def _uid(kind: str, id_: str) -> dict[str, str]:
    return {"type": kind, "id": id_}


def _above(domain: str) -> str:
    return domain.rpartition(".")[0] or "all"


def _scoped(rule: dict[str, Any]) -> str:
    """The rule's text, kept within its scope."""
    text = rule["cedar"].strip().removesuffix(";")
    scope = rule.get("scope", "all")
    return text + (f' when {{ resource in Domain::"{scope}" }};' if scope != "all" else ";")


async def oracle_of(root: Caller) -> Oracle:
    """The oracle over what the service itself lists."""
    names = [seen["name"] for seen in (await root.read("/v1/datasets?limit=1000"))["items"]]
    shown = {name: await root.read(f"/v1/datasets/{name}") for name in names}
    listed = [*(await root.read("/v1/policies"))["items"], *(await root.read("/v1/grants"))["items"]]
    rules = [(rule["cedar"].partition("(")[0].strip(), _scoped(rule)) for rule in listed if rule["id"] != "bootstrap"]
    members = (await root.read("/v1/groups/makers"))["members"]
    return Oracle(shown, rules, members)


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_served_is_what_is_decided(fresh: Running, seed: int) -> None:
    dice = random.Random(seed)
    await furnish(fresh, dice)
    oracle = await oracle_of(fresh.root)
    shown = {name: await fresh.root.read(f"/v1/datasets/{name}") for name in oracle._datasets}
    served = 0
    for who in GROUPS:
        caller: Caller = getattr(fresh, who)
        knows = set()
        for environment in ENVIRONMENTS:
            decided = {name: oracle.actions(who, environment, name) for name in shown}
            alive = {
                name: actions
                for name, (actions, _) in decided.items()
                if actions
                and shown[name]["lifecycle"] != "draft"
                and {"base", environment} & set(shown[name]["environments"])
            }
            knows |= {n for n, (_, known) in decided.items() if known and shown[n]["lifecycle"] != "draft"}
            lease = await caller.read(f"/v1/leases?environment={environment}")
            assert {name: set(actions) for name, actions in lease["actions"].items()} == alive
            assert lease["catalog"].keys() == alive.keys()
            assert (await caller.catalog(environment)) == lease["catalog"]
            for name, definition in lease["catalog"].items():
                layers = shown[name]["definitions"]
                assert definition == layers.get(environment, layers.get("base"))
            asked = {"environment": environment, "load": sorted(shown), "save": sorted(shown)}
            for verdict in (await caller.post("/v1/preflight", asked)).json()["verdicts"]:
                assert verdict["allowed"] is (verdict["action"] in alive.get(verdict["dataset"], ()))
            served += len(alive)
        listed = (await caller.read("/v1/datasets?limit=1000"))["items"]
        assert {seen["name"] for seen in listed} == knows
        for name in shown:
            assert (await caller.get(f"/v1/datasets/{name}")).status_code == (200 if name in knows else 404)
    assert served
