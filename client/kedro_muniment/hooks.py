"""Where Kedro meets Muniment: the hooks that Kedro finds by the entry point ``kedro.hooks``.

Every ``kedro`` command imports this module, so it imports next to nothing. Unconfigured, each hook returns at
once. A worker of the ``ParallelRunner`` has hooks of its own, and no context: there they say which node uses a dataset.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

if TYPE_CHECKING:
    from types import ModuleType

    from kedro.framework.context import KedroContext
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from kedro_muniment.governing import Governed
    from kedro_muniment.use.reporting import Run

    Place = tuple[str, str | None]

logger = logging.getLogger("kedro_muniment")

_REPORTING = "kedro_muniment.use.reporting"


@dataclass(frozen=True, slots=True)
class _Running:
    governed: Governed
    run: Run


class MunimentHooks:
    """One for a process. Sessions of different projects and environments may follow, or overlap, one another."""

    def __init__(self) -> None:
        self._governed: dict[Place, Governed] = {}
        #: What this thread has governed last: of sessions that overlap each has its own.
        self._here: ContextVar[tuple[Place, Governed] | None] = ContextVar("muniment_governed", default=None)
        self._running: dict[str, _Running] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        from kedro_muniment import config

        place = (context.project_path.as_posix(), context.env)
        self._governed.pop(place, None)
        self._here.set(None)
        loader = context.config_loader
        settings = config.read(loader)
        if settings is None:
            logger.debug("Muniment is not configured in this project.")
            return
        from kedro_muniment.governing import govern

        # A loader that governs by itself has asked already, or does it now; nothing is asked twice.
        governs = getattr(loader, "muniment", None)
        governed = governs() if governs is not None else govern(loader, context.project_path, settings)
        self._governed[place] = governed
        self._here.set((place, governed))

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        governed = self._of((run_params["project_path"], run_params["env"]))
        if governed is None:
            return
        from kedro_muniment.use import reporting

        run = reporting.Run(
            _run_id(run_params),
            pipeline=", ".join(run_params.get("pipeline_names") or [run_params.get("pipeline_name") or "__default__"]),
            session=run_params.get("session_id"),
            project=governed.asked.get("project"),
        )
        verdict = governed.ask(pipeline, run.id)
        if verdict.away is not None:
            reporting.run_refused(governed.lease, governed.service.url, run, verdict.refusals)
        verdict.enforce()
        self._running[run.id] = _Running(governed, run)
        reporting.run_began(run)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        self._ended(run_params)

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any]) -> None:
        if not self._ended(run_params):
            return
        from kedro_muniment.entries import refused

        # As the one sentence that it is: Kedro has put its own error around it.
        refusal = refused.behind(error)
        if refusal is not None:
            raise refusal from None

    @hook_impl(tryfirst=True)
    def before_node_run(self, run_id: str) -> None:
        reporting = _reporting()
        if reporting is not None:
            reporting.node_runs(run_id)

    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self, node: Node) -> None:
        reporting = _reporting()
        if reporting is not None:
            reporting.node_uses(node.name)

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        reporting = _reporting()
        if reporting is not None:
            reporting.node_uses(node.name, saving=dataset_name)

    @hook_impl(trylast=True)
    def after_dataset_loaded(self) -> None:
        self._used()

    @hook_impl(trylast=True)
    def after_dataset_saved(self) -> None:
        self._used()

    def of(self, context: KedroContext) -> Governed | None:
        """What governs a context that was just created, if anything does."""
        return self._of((context.project_path.as_posix(), context.env))

    def _of(self, place: Place) -> Governed | None:
        here = self._here.get()
        return here[1] if here is not None and here[0] == place else self._governed.get(place)

    def _ended(self, run_params: dict[str, Any]) -> bool:
        """Whether it was governed."""
        running = self._running.pop(_run_id(run_params), None)
        if running is None:
            return False
        from kedro_muniment.use import reporting

        reporting.run_ended(running.run)
        reporting.send(running.governed.service, running.governed.lease.subject)
        return True

    @staticmethod
    def _used() -> None:
        reporting = _reporting()
        if reporting is not None:
            reporting.node_used()


def _run_id(run_params: dict[str, Any]) -> str:
    """The first Kedro 1 calls it the session's."""
    return str(run_params.get("run_id") or run_params["session_id"])


def _reporting() -> ModuleType | None:
    """Whatever governs a dataset in this process has imported it; where nothing does, there is nothing to say."""
    return sys.modules.get(_REPORTING)


hooks = MunimentHooks()
