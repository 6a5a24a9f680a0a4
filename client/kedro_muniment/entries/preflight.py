"""May this pipeline run as this identity? Asked once, before the first node; every obstacle in one refusal.

What is asked about are the inputs and outputs of the pipeline as it was filtered, under the governed names.
A dataset that the pipeline both makes and reads needs both permissions. Whether one exists is asked by whoever may do
either, so that needs no word of its own; a run of missing outputs alone is asked about as a whole.

Where the service is away, the lease decides: it holds what the service would have said of everything that may be used,
and nothing of the rest.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from kedro_muniment import pages
from kedro_muniment.entries.definitions import is_name
from kedro_muniment.entries.merging import OBLIGED, UNKNOWN, Merged
from kedro_muniment.leases.lease import Lease
from kedro_muniment.naming import TRANSCODED, both_names, is_parameter
from kedro_muniment.problems import RunRefused, ServiceRefused, Unreachable, plain

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline

    from kedro_muniment.service import Service

#: How many names the service answers about at once.
MOST_NAMES: Final = 2_000
#: How much alike two names are of which one may be a slip for the other.
LIKE: Final = 0.85
#: How many names one line of a log gives.
MOST_SHOWN: Final = 10
NOWHERE_MADE: Final = f"{UNKNOWN}; and no node of this run makes it"
NOT_YET: Final = "it was not yours yet when the catalog was fetched; start again (in a notebook: %reload_kedro)"

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
    #: The page that asks for it, with everything filled in.
    page: str | None = None
    #: A name much like it that is given here.
    similar: str | None = None

    def told(self) -> str:
        lines = [f"{both_names(self.need.local, self.need.governed)}, {self.need.action}: {self.reason}"]
        lines += [f"    is meant perhaps: {self.similar}"] if self.similar else []
        lines.append(f"    needed by: {', '.join(self.need.nodes)}")
        lines += [f"    owner to ask: {self.owner}"] if self.owner else []
        lines += [f"    explained by: {self.explain}"] if self.explain else []
        lines += [f"    ask with: {self.request}"] if self.request else []
        lines += [f"    or here:  {self.page}"] if self.page else []
        return "\n".join(f"  {line}" for line in lines)

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told.pop("need"), **told}


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be known of a dataset that may be used: that it is deprecated, and by what to replace it."""

    governed: str
    local: str
    text: str

    def told(self) -> str:
        return f"{both_names(self.local, self.governed)}: {self.text}"


@dataclass(frozen=True, slots=True)
class Unmapped(Notice):
    """A name that stands in no catalog, while a governed dataset ends in it that may be meant."""

    @override
    def told(self) -> str:
        return f"{self.local}: {self.text}"


@dataclass(frozen=True, slots=True)
class Ending:
    """A permission that ends before the lease does, perhaps while the pipeline runs."""

    governed: str
    local: str
    at: datetime

    def told(self) -> str:
        return (
            f"{both_names(self.local, self.governed)}: your access ends at {moment(self.at)}. "
            "What uses it later asks again."
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked, every refusal, and what is to be known of what is allowed."""

    subject: str
    environment: str
    needs: tuple[Need, ...]
    refusals: tuple[Refusal, ...]
    notices: tuple[Notice, ...] = ()
    endings: tuple[Ending, ...] = ()
    #: Names that a pattern of ``names:`` would map, and that stay the project's own.
    own: tuple[str, ...] = ()
    #: Why the service was not asked, where the lease has decided.
    away: str | None = None

    @property
    def allowed(self) -> bool:
        return not self.refusals

    def enforce(self) -> None:
        """Stop a run that may not happen; of one that may, say what is to be known as it begins."""
        if self.refusals:
            raise RunRefused(self.told())
        for line in self._remarks():
            logger.warning("%s", line)

    def told(self) -> str:
        """The whole verdict for a person, refusals first."""
        if self.refusals:
            count = len(self.refusals)
            datasets = f"{count} use of data is" if count == 1 else f"{count} uses of data are"
            lines = [f"Nothing was run: as {self.subject} in {self.environment}, {datasets} refused."]
            lines += [refusal.told() for refusal in self.refusals]
        else:
            count = len(self.needs)
            datasets = f"{count} use of governed data" if count == 1 else f"{count} uses of governed data"
            lines = [f"It may run as {self.subject} in {self.environment}: {datasets} allowed."]
        lines += [f"  {line}" for line in self._remarks()]
        lines += [f"  {decided_by_lease(self.away)}"] if self.away is not None else []
        return "\n".join(lines)

    def _remarks(self) -> list[str]:
        return [*(each.told() for each in self.endings), *(each.told() for each in self.notices)]

    def as_json(self) -> dict[str, Any]:
        return {
            "allowed": self.allowed,
            "subject": self.subject,
            "environment": self.environment,
            "asked": [{"action": need.action, "dataset": need.governed, "name": need.local} for need in self.needs],
            "refusals": [refusal.as_json() for refusal in self.refusals],
            "notices": [{"dataset": each.governed, "name": each.local, "notice": each.text} for each in self.notices],
            "ends": [
                {"dataset": each.governed, "name": each.local, "at": each.at.isoformat()} for each in self.endings
            ],
            "own": list(self.own),
            "away": self.away,
        }


def decided_by_lease(why: str) -> str:
    return f"The lease has decided this, because the service was not there to be asked: {why}"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# --- What a pipeline needs -----------------------------------------------------------------------


def needs_of(pipeline: Pipeline, merged: Merged) -> list[Need]:
    """The pipeline's governed needs, sorted. Parameters and the project's own datasets are none."""
    needs = []
    made = _made_by(pipeline)
    for (action, local), nodes in sorted(_uses_of(pipeline).items()):
        governed = merged.governed(local) or _missing(local, merged, made)
        if governed is not None:
            needs.append(Need(action, governed, local, tuple(sorted(nodes))))
    return needs


def _uses_of(pipeline: Pipeline) -> Mapping[tuple[str, str], set[str]]:
    """Each action on each name, and the nodes that it is for."""
    uses: dict[tuple[str, str], set[str]] = defaultdict(set)
    for node in pipeline.nodes:
        for action, names in (("load", node.inputs), ("save", [*node.outputs, *node.confirms])):
            for name in names:
                if not is_parameter(name):
                    uses[action, name].add(node.name)
    return uses


def _made_by(pipeline: Pipeline) -> frozenset[str]:
    return frozenset(name for node in pipeline.nodes for name in node.outputs)


def _missing(local: str, merged: Merged, made: frozenset[str]) -> str | None:
    """The governed name for one that only a pattern maps, if it must stand in a catalog and stands in none.

    That is so where no node makes it, or none under just this transcoding: nothing can hand it on in memory.
    """
    return merged.naming.leaves(local) if local not in made and merged.entry_for(local) is None else None


def own_of(pipeline: Pipeline, merged: Merged) -> tuple[str, ...]:
    """The names that a pattern would map and that stay the project's own, though its catalog does not list them."""
    names = {name for _, name in _uses_of(pipeline)}
    unlisted = (name for name in names if name not in merged.entries and merged.naming.leaves(name) is not None)
    made = _made_by(pipeline)
    return tuple(sorted(name for name in unlisted if _missing(name, merged, made) is None))


def _unmapped(pipeline: Pipeline, merged: Merged) -> Iterator[Unmapped]:
    """What the pipeline takes from nowhere, or makes for nobody, though a governed dataset may be meant by it."""
    for name in sorted(pipeline.inputs() | pipeline.outputs()):
        if merged.entry_for(name) is None and merged.governed(name) is None:
            governed = merged.naming.perhaps(name)
            if governed is not None:
                line = f"{name.partition(TRANSCODED)[0]}: {governed}"
                text = f"stands in no catalog; if {governed} is meant, write under `names:` in muniment.yml: {line}"
                yield Unmapped(governed, name, text)


# --- The verdict ---------------------------------------------------------------------------------


def ask(service: Service, asked: Mapping[str, str], lease: Lease, merged: Merged, pipeline: Pipeline) -> Verdict:
    """The service's verdict on each need, together with what this project itself may not use."""
    needs = needs_of(pipeline, merged)
    verdict = Verdict(lease.subject, lease.environment, tuple(needs), (), own=own_of(pipeline, merged))
    if needs:
        verdict = _decided(service, asked, lease, merged, verdict)
    verdict = replace(verdict, notices=(*verdict.notices, *_unmapped(pipeline, merged)))
    if verdict.allowed:
        _say_own(verdict.own, merged)
    return verdict


def _say_own(own: tuple[str, ...], merged: Merged) -> None:
    """Once ``governed:`` says where the line is, nothing needs to be said of the names on this side of it."""
    if own and not merged.naming.is_drawn:
        shown = ", ".join(own[:MOST_SHOWN]) + (", …" if len(own) > MOST_SHOWN else "")
        logger.info(
            "The project's own, though a pattern under `names:` would map them, because Muniment gives none of them: "
            "%s. Say under `governed:` in muniment.yml which names are governed.", shown,
        )  # fmt: skip


def _decided(service: Service, asked: Mapping[str, str], lease: Lease, merged: Merged, verdict: Verdict) -> Verdict:
    said, away = _said_of(service, asked, lease, verdict.needs)
    now = lease.now()
    refusals = tuple(
        replace(each, page=pages.to_ask(service.url, asked, each.need.governed, each.need.action))
        if each.request
        else each
        for each in _refusals(verdict.needs, said, lease, merged, now)
    )
    refused = {refusal.need for refusal in refusals}
    allowed = [need for need in verdict.needs if need not in refused]
    return replace(
        verdict,
        refusals=refusals,
        notices=tuple(_notices(allowed, said)),
        endings=tuple(_endings(allowed, lease)),
        away=away,
    )


def _said_of(
    service: Service, asked: Mapping[str, str], lease: Lease, needs: Iterable[Need]
) -> tuple[dict[tuple[str, str], Mapping[str, Any]], str | None]:
    """What is said of each need, and why the lease says it and not the service, where that is so."""
    if lease.away is not None:
        return _by_lease(lease, needs), lease.away
    said: dict[tuple[str, str], Mapping[str, Any]] = {}
    try:
        for load, save in _questions(needs):
            said |= _verdicts(service.preflight(asked, load, save), service.url)
    except Unreachable as problem:
        why = plain(problem.message.partition(" Nothing was run.")[0])
        logger.warning("%s", decided_by_lease(why))
        return _by_lease(lease, needs), why
    return said, None


def _by_lease(lease: Lease, needs: Iterable[Need]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What the lease says, in the service's form."""
    said: dict[tuple[str, str], Mapping[str, Any]] = {}
    for need in needs:
        said[need.governed, need.action] = {
            "allowed": need.action in lease.actions.get(need.governed, ()),
            "known": need.governed in lease.catalog or need.governed in lease.obliged,
            "reason": _reason_of_lease(need, lease),
            "explain": f"kedro muniment why {need.governed} --action {need.action} --environment {lease.environment}",
            "notice": lease.notices.get(need.governed),
        }
    return said


def _reason_of_lease(need: Need, lease: Lease) -> str | None:
    actions = lease.actions.get(need.governed, ())
    if need.governed in lease.obliged:
        return OBLIGED
    return f"you may {' and '.join(actions)}, not {need.action}" if actions else None


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


def _notices(needs: Iterable[Need], said: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Notice]:
    told = {(need.local, need.governed): said.get((need.governed, need.action), {}).get("notice") for need in needs}
    for (local, governed), notice in sorted(told.items()):
        if notice:
            yield Notice(governed, local, plain(notice))


def _endings(needs: Iterable[Need], lease: Lease) -> Iterator[Ending]:
    for local, governed in sorted({(need.local, need.governed) for need in needs}):
        if governed in lease.ends:
            yield Ending(governed, local, lease.ends[governed])


def _refusals(
    needs: Iterable[Need],
    said: Mapping[tuple[str, str], Mapping[str, Any]],
    lease: Lease,
    merged: Merged,
    now: datetime,
) -> Iterator[Refusal]:
    for need in needs:
        verdict = said.get((need.governed, need.action))
        if not is_name(need.governed):
            stands = merged.entry_for(need.local) is not None
            yield Refusal(need, (merged.refusal_of(need.local) if stands else None) or UNKNOWN)
        elif verdict is None:
            yield Refusal(need, "the service gave no verdict on it")
        elif verdict.get("allowed") is not True:
            yield _denied(need, verdict, merged)
        else:
            reason = _refused_here(need, lease, merged, now)
            if reason is not None:
                yield Refusal(need, reason)


def _refused_here(need: Need, lease: Lease, merged: Merged, now: datetime) -> str | None:
    """Why a permitted use is refused all the same: the project cannot have it, or what it has of it is over."""
    if need.governed not in merged.naming.given:
        return NOT_YET
    reason = merged.refusal_of(need.local)
    if reason is not None:
        return reason
    end = lease.ends.get(need.governed)
    if end is not None and end <= now:
        return f"your access ended at {moment(end)}"
    if lease.until <= now:
        return f"the lease that gives it ended at {moment(lease.until)}; start again (in a notebook: %reload_kedro)"
    return None if need.action in lease.actions.get(need.governed, ()) else NOT_YET


def _denied(need: Need, verdict: Mapping[str, Any], merged: Merged) -> Refusal:
    """Where the asker may not know of the dataset, one sentence and nothing else."""
    if verdict.get("known") is not True:
        reason = UNKNOWN if merged.naming.leaves(need.local) is None else NOWHERE_MADE
        usable = {str(entry.governed) for entry in merged.served() if entry.actions}
        return Refusal(need, reason, similar=_similar(need.governed, usable - {need.governed}))
    return Refusal(
        need,
        plain(verdict.get("reason") or "no policy permits it"),
        owner=_said(verdict, "owner"),
        explain=_said(verdict, "explain"),
        request=_said(verdict, "request"),
    )


def _said(verdict: Mapping[str, Any], key: str) -> str | None:
    return plain(verdict[key]) if verdict.get(key) else None


def _similar(governed: str, given: Iterable[str]) -> str | None:
    """The name of the same domain that is most like one that is not there, if one is."""
    domain = governed.rpartition(".")[0]
    near = [name for name in given if name.rpartition(".")[0] == domain and is_name(name)]
    return next(iter(get_close_matches(governed, near, n=1, cutoff=LIKE)), None)
