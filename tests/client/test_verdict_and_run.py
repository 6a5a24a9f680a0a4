"""The verdict before a run and the run itself agree, for generated projects, rights, pipelines and slices of them.

What the verdict should be is reckoned here once more, name by name and by other means (``parse``, ``fnmatch``), from
what the service holds. Then the pipeline runs, whatever the verdict was: with real nodes, Kedro's runner and guarded
datasets.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.pipeline.pipeline import Pipeline as AnyPipeline
from kedro.runner import SequentialRunner
from parse import parse

from kedro_muniment.config import Config, _precedence
from kedro_muniment.entries.credentials import Own, Secrets
from kedro_muniment.entries.definitions import Building
from kedro_muniment.entries.factories import with_made_names
from kedro_muniment.entries.merging import merge
from kedro_muniment.governing import Governed
from kedro_muniment.leases.lease import Lease, _time
from kedro_muniment.problems import MunimentError
from kedro_muniment.service import Service
from kedro_muniment.sign_in.tokens import Token
from tests.client.conftest import StandIn
from tests.client.kept_data import HELD, TOUCHED

KEPT = "tests.client.kept_data.KeptDataset"
PAST, FUTURE = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
PATTERN = "sales.p_{x}"
#: Every governed name that a generated service may hold; the last two are made by its factory pattern.
GOVERNED = ["sales.a", "sales.b", "sales.c", "sales.ns_d", "hr.e", "sales.m1", PATTERN]
MADE = ["sales.p_x", "sales.p_y"]
#: What nodes read and write: mapped, governed as written, namespaced, factory names, the project's own, and none of it.
BASES = [
    "a", "b", "c", "ns.d", "e", "m1", "m2", "sales.a", "sales.c", "hr.e", "p_x", "sales.p_x", "sales.p_y",
    "sales.nothing", "own", "own_pattern_1", "Upper",
]  # fmt: skip
NAMES: list[dict[str, str]] = [
    {},
    {"a": "sales.a", "b": "sales.b", "e": "hr.e"},
    {"{name}": "sales.{name}"},
    {"{name}": "sales.{name}", "{space}.{name}": "sales.{space}_{name}", "e": "hr.e"},
    {"a@x": "sales.a", "a@y": "sales.b", "b": "sales.b", "ns.{name}": "sales.ns_{name}"},
]
GLOBS = [None, ("sales.*",), ("sales.*", "hr.*"), ("sales.*", "!sales.m*", "!own*"), ("sales.a", "sales.p_*"), ()]
OWN: list[dict[str, Any]] = [
    {"own": {"type": KEPT, "place": "own"}, "own_pattern_{x}": {"type": KEPT, "place": "own_pattern_{x}"}},
    {"own": {"type": KEPT, "place": "own"}, "a": {"type": KEPT, "place": "own a"}},
]


class InProcess(Service):
    """The stand-in's own answers, without the wire between."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__("in this process", Token("", source="a test"))
        object.__setattr__(self, "stand_in", stand_in)

    def preflight(self, asked, load, save):
        wanted = [(name, action) for action, names in (("load", load), ("save", save)) for name in names]
        return {"verdicts": [self.stand_in.verdict(name, action) for name, action in wanted]}

    def given(self, asked):
        body = self.stand_in.lease(asked.get("names"))
        return Lease(
            body["catalog"],
            body["actions"],
            {name: _time(end) for name, end in body["ends"].items()},
            "dev",
            "user:ann",
            "812",
            "r-1",
            obliged=frozenset(body["obligations"]),
            patterns=body["patterns"],
        )


@dataclass
class Case:
    """One project at one service."""

    stand_in: StandIn
    config: Config
    own: dict[str, Any]
    pipeline: AnyPipeline
    slices: list[dict[str, Any]]
    away: bool
    service: InProcess = field(init=False)

    def __post_init__(self):
        self.service = InProcess(self.stand_in)

    def governed(self) -> Governed:
        used = frozenset(self.pipeline.datasets())
        lease = with_made_names(self.service.given, {}, self.service.given({}), self.config, self.own, used)
        lease = replace(lease, away="it is away" if self.away else None)
        building = Building(Path("/project"), types=frozenset({KEPT}))
        merged = merge(self.own, lease, self.config, building, used)
        return Governed({"environment": "dev"}, self.service, lease, merged)

    # --- What should be so, reckoned once more ----------------------------------------------------

    def rights(self, name: str) -> set[str]:
        """What may be done with a governed name here and now."""
        is_over = self.stand_in.ends.get(name) == PAST or name in self.stand_in.obligations
        return set() if is_over else set(self.stand_in._actions(name))

    def is_given(self, name: str) -> bool:
        return bool(self.stand_in._actions(name)) or name in self.stand_in.obligations

    def behind(self, local: str) -> tuple[str | None, str | None]:
        """The governed name that a name stands for; and the one that a pattern would make of it, where it does not."""
        governed, left = (None, None) if is_own(local) else self._by_the_rules(local)
        own_wins = self._is_defined(local) and self.config.default_precedence == "local"
        return (None, None) if own_wins else (governed, left)

    def _by_the_rules(self, local: str) -> tuple[str | None, str | None]:
        bare = local.partition("@")[0]
        names = self.config.names
        exact = next((names[name] for name in (local, bare) if name in names), None)
        exact = exact or next((held for name, held in names.items() if name.partition("@")[0] == bare), None)
        if exact is not None:
            return exact, None
        made = self._made(bare)
        if made is not None and self.is_given(made):
            return made, None
        if self._is_said(bare, bare) or bare in names.values():
            return bare, None
        if made is not None and self.config.governed is not None and self._is_said(made, bare):
            return (bare if self.is_given(bare) else made), None
        # Of names that nothing says are governed, nobody is asked what a pattern of the service would make.
        if self.is_given(bare) and bare not in MADE and not self._is_defined(local):
            return bare, None
        return None, made

    def _made(self, bare: str) -> str | None:
        patterns = [name for name in self.config.names if "{" in name and parse(name, bare)]
        if not patterns:
            return None
        best = max(patterns, key=lambda name: len(parse("{}", name)[0].replace("{name}", "").replace("{space}", "")))
        made = self.config.names[best].format_map(parse(best, bare).named)
        return made if made.islower() else None

    def _is_said(self, name: str, bare: str) -> bool:
        globs = self.config.governed
        if globs is None:
            return name.partition(".")[0] in {"sales", "hr"} & self._known_domains() and "." in name
        out = any(fnmatchcase(each, glob[1:]) for glob in globs if glob[0] == "!" for each in (name, bare))
        return not out and any(fnmatchcase(name, glob) for glob in globs if glob[0] != "!")

    def _known_domains(self) -> set[str]:
        given = [name for name in GOVERNED if self.stand_in.actions.get(name) or name in self.stand_in.obligations]
        given += [name for name in self.stand_in.catalog if "{" not in name]
        return {name.partition(".")[0] for name in (*given, *self.config.names.values()) if "{" not in name[:1]}

    def should_refuse(self, pipeline: AnyPipeline) -> set[tuple[str, str]]:
        written = {name for node in pipeline.nodes for name in node.outputs}
        refused = set()
        for node in pipeline.nodes:
            for action, names in (("load", node.inputs), ("save", node.outputs)):
                for local in names:
                    governed, left = self.behind(local)
                    if governed is not None:
                        if action not in self.rights(governed):
                            refused.add((action, local))
                    elif left is not None and local not in written and not self._is_defined(local):
                        excepted = [glob[1:] for glob in self.config.governed or () if glob[0] == "!"]
                        if not any(
                            fnmatchcase(name, glob) for glob in excepted for name in (left, local.partition("@")[0])
                        ):
                            refused.add((action, local))
        return refused

    def _is_defined(self, local: str) -> bool:
        return local in self.own or any("{" in name and parse(name, local) for name in self.own)


# --- What is generated ---------------------------------------------------------------------------

actions = st.sampled_from([(), ("load",), ("save",), ("load", "save"), ("load", "save")])


@st.composite
def stand_ins(draw) -> StandIn:
    made = StandIn("in this process")
    for name in GOVERNED:
        given_actions = draw(actions)
        if given_actions:
            made.serve(name, {"type": KEPT, "place": name}, *given_actions)
        elif draw(st.booleans()):
            made.discoverable.add(name)
    made.denied.update(draw(st.sets(st.sampled_from(MADE), max_size=1)))
    listed = [name for name in made.catalog if "{" not in name]
    if listed:
        made.ends = draw(st.dictionaries(st.sampled_from(listed), st.sampled_from([PAST, FUTURE]), max_size=2))
        if draw(st.integers(0, 5)) == 0:
            made.obligations = {draw(st.sampled_from(listed)): {"mask": ["email"]}}
    return made


@st.composite
def pipelines(draw) -> AnyPipeline:
    """Nodes in the order in which they run: each base name is written by one of them or by none, always as one type."""
    count = draw(st.integers(1, 5))
    bases = draw(st.lists(st.sampled_from(BASES), min_size=1, max_size=7, unique=True))
    writers = {base: draw(st.integers(-2, count - 1)) for base in bases}
    coded = set(draw(st.lists(st.sampled_from(bases), max_size=1)))
    wrote = {base: f"{base}@{draw(st.sampled_from('xy'))}" if base in coded else base for base in bases}
    nodes = []
    for at in range(count):
        readable = [base for base, writer in writers.items() if writer < at]
        read = draw(st.lists(st.sampled_from(readable), max_size=3, unique=True)) if readable else []
        inputs = [f"{base}@{draw(st.sampled_from('xy'))}" if base in coded else base for base in read]
        inputs += draw(st.sampled_from([[], [], ["params:x"], ["parameters"]]))
        outputs = [wrote[base] for base, writer in writers.items() if writer == at]
        if not outputs and not inputs:
            inputs = ["params:x"]
        tags = draw(st.sets(st.sampled_from(["t", "u"]), max_size=1))
        nodes.append(Node(_does(len(outputs)), inputs=inputs, outputs=outputs or None, name=f"n{at}", tags=tags))
    return Pipeline(nodes)


def _does(count):
    def work(*read):
        return [(f"made {at}", *map(str, read)) for at in range(count)] if count else None

    return work


@st.composite
def slices(draw, pipeline) -> dict[str, Any]:
    nodes = [node.name for node in pipeline.nodes]
    kind = draw(
        st.sampled_from([None, None, "from_nodes", "to_nodes", "node_names", "tags", "from_inputs", "to_outputs"])
    )
    if kind is None:
        return {}
    choices = {
        "tags": ["t", "u"],
        "from_inputs": sorted(pipeline.all_inputs()),
        "to_outputs": sorted(pipeline.all_outputs()),
    }
    chosen = choices.get(kind, nodes)
    return {kind: draw(st.lists(st.sampled_from(chosen), min_size=1, max_size=2, unique=True))} if chosen else {}


@st.composite
def cases(draw) -> Case:
    pipeline = draw(pipelines())
    precedence = draw(st.sampled_from(["governed", "local"]))
    config = Config(
        "https://muniment.example.org",
        names=draw(st.sampled_from(NAMES)),
        governed=draw(st.sampled_from(GLOBS)),
        types=frozenset({KEPT}),
        **_precedence({"default": precedence}),
    )
    sliced = [{}, *(draw(slices(pipeline)) for _ in range(4))]
    return Case(draw(stand_ins()), config, draw(st.sampled_from(OWN)), pipeline, sliced, draw(st.booleans()))


# --- The law -------------------------------------------------------------------------------------


@pytest.fixture
def quiet():
    """Thousands of runs say nothing."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@settings(max_examples=2 * settings().max_examples)
@given(cases())
def test_the_verdict_and_the_run_agree(quiet, case):
    governed = case.governed()
    for sliced in case.slices:
        try:
            pipeline = case.pipeline.filter(**sliced)
        except ValueError:  # the slice leaves nothing, as Kedro says
            continue
        verdict = governed.ask(pipeline)
        refused = {(refusal.need.action, refusal.need.local) for refusal in verdict.refusals}
        should = case.should_refuse(pipeline)
        assert should <= refused, should - refused
        assert all(is_listed_elsewhere(governed, name) for _, name in refused - should), refused - should
        fault = run(governed, pipeline)
        used = Counter(TOUCHED)
        for place, action in used:
            assert place.startswith("own") or action in case.rights(place), (place, action)
        event(f"{'refused' if refused else 'allowed'}, {type(fault).__name__}")
        if refused:
            assert fault is not None
            continue
        assert fault is None or is_unsatisfied(fault), fault
        if fault is None:
            assert wanted(case, pipeline) == {use for use in used if not use[0].startswith("own")}


def run(governed: Governed, pipeline: AnyPipeline) -> Exception | None:
    """What stops the run, if anything does. Nothing is asked beforehand."""
    HELD.clear()
    HELD.update(
        (place, f"held at {place}")
        for place in (*GOVERNED, *MADE, "own", "own a", *(f"own_pattern_1{kind}" for kind in ("", "@x", "@y")))
    )
    TOUCHED.clear()
    catalog = DataCatalog.from_config(governed.catalog(Secrets(Own.none())))
    for name in ("params:x", "parameters"):
        catalog[name] = MemoryDataset(1, copy_mode="assign")
    try:
        SequentialRunner().run(pipeline, catalog)
    except (DatasetError, ValueError, MunimentError) as fault:
        return fault
    return None


def is_listed_elsewhere(governed: Governed, local: str) -> bool:
    """Whether what is permitted has another name in this project's catalog, or stands there as another type."""
    meant = governed.merged.governed(local)
    names = {entry.name for entry in governed.merged.entries.values() if entry.governed == meant}
    return bool(names - {local}) or "@" in local


def is_unsatisfied(fault: Exception) -> bool:
    """Kedro's own refusal of what nobody made, under a name that is the project's own."""
    return "not found in the DataCatalog" in str(fault) or "MemoryDataset has not been saved yet" in str(fault)


def wanted(case: Case, pipeline: AnyPipeline) -> set[tuple[str, str]]:
    """Each governed use of a pipeline: none of them may have been of something else under the same name."""
    uses = [(node.inputs, "load") for node in pipeline.nodes] + [(node.outputs, "save") for node in pipeline.nodes]
    behind = {(case.behind(name)[0], action) for names, action in uses for name in names}
    return {(name, action) for name, action in behind if name is not None}


def is_own(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")
