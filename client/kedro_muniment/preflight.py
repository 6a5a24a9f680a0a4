"""May this pipeline run as this identity? Asked once, before the first node; every obstacle in one refusal.

What is asked about are the inputs and outputs of the pipeline as it was filtered, under the governed names.
A dataset that the pipeline both makes and reads needs both permissions.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from kedro_muniment.definitions import is_name
from kedro_muniment.lease import Lease
from kedro_muniment.merging import UNKNOWN, Merged, both_names
from kedro_muniment.problems import RunRefused, ServiceRefused, plain

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline

    from kedro_muniment.service import Service

#: How many names the service answers about at once.
MOST_NAMES: Final = 2_000

logger = logging.getLogger("kedro_muniment")


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one governed dataset, the project's name for it, and the nodes that need it."""

    action: str
    governed: str
    local: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One need that is not met: why, and whom to ask, where the asker may know that."""

    need: Need
    reason: str
    owner: str | None = None
    explain: str | None = None
    request: str | None = None

    def told(self) -> str:
        lines = [f"{both_names(self.need.local, self.need.governed)}, {self.need.action}: {self.reason}"]
        lines.append(f"    needed by: {', '.join(self.need.nodes)}")
        lines += [f"    owner to ask: {self.owner}"] if self.owner else []
        lines += [f"    explained by: {self.explain}"] if self.explain else []
        lines += [f"    ask with: {self.request}"] if self.request else []
        return "\n".join(f"  {line}" for line in lines)

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told.pop("need"), **told}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked, and every refusal."""

    subject: str
    environment: str
    needs: tuple[Need, ...]
    refusals: tuple[Refusal, ...]

    def enforce(self) -> None:
        if self.refusals:
            raise RunRefused(self.told())

    def told(self) -> str:
        count = len(self.refusals)
        datasets = f"{count} use of data is" if count == 1 else f"{count} uses of data are"
        head = f"Nothing was run: as {self.subject} in {self.environment}, {datasets} refused.\n"
        return head + "\n".join(refusal.told() for refusal in self.refusals)


def needs_of(pipeline: Pipeline, merged: Merged) -> list[Need]:
    """The pipeline's governed needs, sorted. Parameters and the project's own datasets are none."""
    nodes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for node in pipeline.nodes:
        for action, names in (("load", node.inputs), ("save", node.outputs)):
            for name in names:
                nodes[action, name].add(node.name)
    needs = []
    for (action, local), used in sorted(nodes.items()):
        if local == "parameters" or local.startswith("params:") or merged.stands_in(local):
            continue
        governed = merged.naming.governed(local)
        if governed is not None:
            needs.append(Need(action, governed, local, tuple(sorted(used))))
    return needs


def ask(service: Service, asked: Mapping[str, str], lease: Lease, merged: Merged, pipeline: Pipeline) -> Verdict:
    """The service's verdict on each need, together with what this project itself may not use."""
    needs = needs_of(pipeline, merged)
    if not needs:
        return Verdict(lease.subject, lease.environment, (), ())
    verdicts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for load, save in _questions(needs):
        verdicts |= _verdicts(service.preflight(asked, load, save), service.url)
    _pass_on_notices(verdicts)
    refusals = tuple(_refusals(needs, verdicts, merged))
    return Verdict(lease.subject, lease.environment, tuple(needs), refusals)


def _questions(needs: Iterable[Need]) -> Iterator[tuple[list[str], list[str]]]:
    """What to load and to save, in as many questions as the service's limit makes of them.

    A name that no governed dataset can have is not asked about: one of them would refuse the question as a whole.
    """
    wanted = sorted({(need.action, need.governed) for need in needs if is_name(need.governed)})
    for start in range(0, len(wanted), MOST_NAMES):
        asked = wanted[start : start + MOST_NAMES]
        yield _named(asked, "load"), _named(asked, "save")


def _named(asked: Iterable[tuple[str, str]], wanted: str) -> list[str]:
    return [name for action, name in asked if action == wanted]


def _verdicts(answer: Any, url: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    try:
        return {(verdict["dataset"], verdict["action"]): dict(verdict) for verdict in answer["verdicts"]}
    except (KeyError, TypeError, ValueError):
        raise ServiceRefused(
            f"{url} gave a verdict that this version of kedro-muniment does not understand. Nothing was run."
        ) from None


def _pass_on_notices(verdicts: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """What the service wants said of a dataset that may be used: that it is deprecated, and what follows it."""
    told = {(dataset, plain(verdict["notice"])) for (dataset, _), verdict in verdicts.items() if verdict.get("notice")}
    for dataset, notice in sorted(told):
        logger.warning("%s: %s", plain(dataset), notice)


def _refusals(
    needs: Iterable[Need], verdicts: Mapping[tuple[str, str], Mapping[str, Any]], merged: Merged
) -> Iterator[Refusal]:
    for need in needs:
        verdict = verdicts.get((need.governed, need.action))
        if not is_name(need.governed):
            yield Refusal(need, UNKNOWN)
        elif verdict is None:
            yield Refusal(need, "the service gave no verdict on it")
        elif verdict.get("allowed") is not True:
            yield _denied(need, verdict)
        else:
            reason = merged.refusal_of(need.local)
            if reason is not None:
                yield Refusal(need, reason)


def _denied(need: Need, verdict: Mapping[str, Any]) -> Refusal:
    """Where the asker may not know of the dataset, one sentence and nothing else."""
    if verdict.get("known") is not True:
        return Refusal(need, UNKNOWN)
    return Refusal(
        need,
        plain(verdict.get("reason") or "no policy permits it"),
        owner=_said(verdict, "owner"),
        explain=_said(verdict, "explain"),
        request=_said(verdict, "request"),
    )


def _said(verdict: Mapping[str, Any], key: str) -> str | None:
    return plain(verdict[key]) if verdict.get(key) else None
