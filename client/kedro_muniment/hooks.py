"""Where Kedro meets Muniment: the hooks that Kedro finds by the entry point ``kedro.hooks``.

Every ``kedro`` command imports this module, so it imports next to nothing. Unconfigured, each hook returns at
once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.pipeline import Pipeline

    from kedro_muniment.governing import Governed

logger = logging.getLogger("kedro_muniment")


class MunimentHooks:
    """One for a process. Sessions of different projects and environments may follow, or overlap, one another."""

    def __init__(self) -> None:
        self._governed: dict[tuple[str, str | None], Governed] = {}
        self._running: Governed | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        from kedro_muniment import config

        place = (context.project_path.as_posix(), context.env)
        self._governed.pop(place, None)
        settings = config.read(context.config_loader)
        if settings is None:
            logger.debug("Muniment is not configured in this project.")
            return
        from kedro_muniment.governing import govern

        self._governed[place] = govern(context, settings)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        self._running = self._governed.get((run_params["project_path"], run_params["env"]))
        if self._running is not None:
            self._running.ask(pipeline).enforce()

    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self, dataset_name: str) -> None:
        if self._running is not None:
            self._running.refuse_unless("load", dataset_name)

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self, dataset_name: str) -> None:
        if self._running is not None:
            self._running.refuse_unless("save", dataset_name)

    def of(self, context: KedroContext) -> Governed | None:
        """What governs a context that was just created, if anything does."""
        return self._governed.get((context.project_path.as_posix(), context.env))


hooks = MunimentHooks()
