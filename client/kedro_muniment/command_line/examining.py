"""``kedro muniment doctor``: settings, sign-in, service, lease and what is usable, one finding after the other.

It goes as far as it can. What stops it is its last finding, with what to do, and says the exit code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from kedro_muniment.command_line import describing, project, showing
from kedro_muniment.leases import kept
from kedro_muniment.leases import lease as leases
from kedro_muniment.problems import BadConfig, MunimentError, Unreachable, plain
from kedro_muniment.sign_in import jobs
from kedro_muniment.use import spool

if TYPE_CHECKING:
    from kedro_muniment.governing import Governed
    from kedro_muniment.service import Service

MARKS: Final = {"fine": "ok ", "odd": "?? ", "wrong": "NO "}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; a code other than 0 is what a command would have exited with."""

    step: str
    found: str
    state: Literal["fine", "odd", "wrong"] = "fine"
    code: int = 0

    @classmethod
    def of(cls, step: str, problem: MunimentError) -> Finding:
        return cls(step, problem.message, "wrong", problem.exit_code)

    def as_json(self) -> dict[str, Any]:
        return {"step": self.step, "fine": self.state != "wrong", "state": self.state, "found": self.found}

    def line(self) -> str:
        return f"{MARKS[self.state]} {self.step}: {self.found}"


def examined(env: str | None) -> tuple[list[Finding], int]:
    """The findings, and the exit code of the first that is wrong, or 0."""
    findings: list[Finding] = []
    try:
        for finding in _each(env):
            findings.append(finding)  # noqa: PERF402 - what was found before a problem is kept
    except MunimentError as problem:
        findings.append(Finding.of("stopped", problem))
    return findings, next((finding.code for finding in findings if finding.code), 0)


def _each(env: str | None) -> Iterator[Finding]:
    yield Finding("versions", _versions())
    yield _switched_on()
    recording = project.recording()
    if recording is None:
        yield from _of_service(env)
    else:
        yield Finding("service", recording.banner(), "odd")
    with project.governed(env) as governed:
        if recording is None:
            yield _lease(governed)
        yield from _of_catalog(governed)
        yield _reports(governed.service.url)


def _versions() -> str:
    """Of what may get into each other's way: Kedro, this plugin, and the plugins beside it."""
    import platform
    from importlib import metadata

    beside = {
        f"{entry.dist.name} {entry.dist.version}"
        for group in ("kedro.hooks", "kedro.global_commands", "kedro.project_commands")
        for entry in metadata.entry_points(group=group)
        if entry.dist is not None and entry.dist.name != "kedro-muniment"
    }
    ours = f"kedro-muniment {metadata.version('kedro-muniment')}, Kedro {metadata.version('kedro')}"
    return f"{ours}, Python {platform.python_version()}; beside it {', '.join(sorted(beside)) or 'no other plugin'}"


def _switched_on() -> Finding:
    from kedro.framework.project import settings

    project.here()
    if "kedro-muniment" in settings.DISABLE_HOOKS_FOR_PLUGINS:
        told = "are off: DISABLE_HOOKS_FOR_PLUGINS in settings.py lists kedro-muniment, so nothing governs `kedro run`"
        return Finding("hooks", told, "wrong", BadConfig.exit_code)
    return Finding("hooks", f"are on; the config loader is {settings.CONFIG_LOADER_CLASS.__name__}")


def _of_service(env: str | None) -> Iterator[Finding]:
    service, config, asked = project.service(env)
    yield Finding("settings", f"{config.url}, environment {asked['environment']}")
    yield Finding("sign-in", jobs.described(config.url) or service.token.source)
    ends = service.token.until()
    if ends is not None:
        is_over = ends <= datetime.now(UTC)
        yield Finding("token", f"{'ended' if is_over else 'ends'} {showing.moment(ends)}", "odd" if is_over else "fine")
    try:
        yield Finding("service", f"answers, and knows you as {plain(service.whoami().get('subject'))}")
        yield _clock(service)
    except Unreachable as problem:  # A run may go on all the same, from a lease that is kept.
        yield Finding.of("service", problem)


def _clock(service: Service) -> Finding:
    """This machine's clock beside the service's, by the header ``Date`` (RFC 9110, 6.6.1)."""
    before = datetime.now(UTC)
    said = service.described().headers.get("Date")
    after = datetime.now(UTC)
    try:
        theirs = parsedate_to_datetime(said or "")
    except ValueError:
        return Finding("clock", "the service does not say what time it is", "odd")
    # A second is what the header leaves out.
    behind, ahead = theirs - after, before - theirs - timedelta(seconds=1)
    if max(behind, ahead) <= leases.LEEWAY:
        return Finding("clock", "agrees with the service's")
    told = f"{behind.total_seconds():.0f} s behind" if behind > ahead else f"{ahead.total_seconds():.0f} s ahead of"
    return Finding("clock", f"is {told} the service's. Set it: leases and tokens are judged by it", "odd")


def _lease(governed: Governed) -> Finding:
    lease, service = governed.lease, governed.service
    holds = f"revision {lease.revision}, its signature holds, until {showing.moment(lease.until)}"
    if lease.away is not None:
        return Finding("lease", f"{holds}; it is the kept one, since the service is away", "odd")
    if kept.Shelf.of(service.url, service.token.bearer(), governed.asked).lease() is None:
        return Finding("lease", f"{holds}; it is not kept here: without the service nothing runs", "odd")
    return Finding("lease", f"{holds}; kept here, so a run goes on from it while the service is away")


def _reports(url: str) -> Finding:
    waiting = sum(each.events for each in spool.waiting() if each.recipient.url == url)
    if not waiting:
        return Finding("reports", "everything that was used here is told to the service")
    uses = "1 use of data waits" if waiting == 1 else f"{waiting} uses of data wait"
    return Finding("reports", f"{uses} to be told to the service; your next run does")


def _of_catalog(governed: Governed) -> Iterator[Finding]:
    yield Finding("catalog", governed.summary())
    entries = describing.governed_entries(governed)
    refused = [f"{entry.name}: {entry.refusal}" for entry in entries if entry.refusal]
    yield Finding("usable here", "; ".join(refused) or "everything that is served", "odd" if refused else "fine")
    deprecated = [f"{entry.name}: {told}" for entry in entries if (told := describing.notice(entry, governed))]
    if deprecated:
        yield Finding("deprecated", "; ".join(deprecated), "odd")
