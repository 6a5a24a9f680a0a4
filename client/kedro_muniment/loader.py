"""The governed catalog for tools that run no hooks: a config loader that asks by itself.

``kedro viz`` without ``--include-hooks``, ``kedro.inspection`` and editors read a project's catalog through its config
loader and nothing else. With this one they see what the user may use::

    # settings.py
    from kedro_muniment.loader import GovernedConfigLoader
    CONFIG_LOADER_CLASS = GovernedConfigLoader

A project with a loader class of its own puts :class:`Governing` before it: ``class Loader(Governing, TheirLoader)``.

The service is asked when ``catalog`` is read for the first time, once for each loader; where hooks run as well, they
take what the loader has. Unconfigured, it is the loader that it extends.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import AbstractConfigLoader, OmegaConfigLoader
from typing_extensions import override

if TYPE_CHECKING:
    from kedro_muniment.governing import Governed


class Governing(AbstractConfigLoader):
    """What any config loader needs in front of it to give the governed catalog."""

    _governed: Governed | None = None
    _asking = False
    _asked = False

    @override
    def __getitem__(self, key: str) -> Any:
        if key == "catalog" and not self._asking:
            self.muniment()
        return super().__getitem__(key)

    def muniment(self) -> Governed | None:
        """What governs this loader's catalog; ``None`` where Muniment is not configured. The first call asks."""
        if not self._asked:
            self._asking = True
            try:
                self._governed = self._govern()
                self._asked = True
            finally:
                self._asking = False
        return self._governed

    def _govern(self) -> Governed | None:
        from kedro_muniment import config

        settings = config.read(self)
        if settings is None:
            return None
        from kedro_muniment.governing import govern
        from kedro_muniment.use import reporting

        governed = govern(self, _project(str(self.conf_source)), settings)
        reporting.answering(governed.service, governed.lease.subject)
        return governed


class GovernedConfigLoader(Governing, OmegaConfigLoader):
    """Kedro's own config loader, and the governed catalog in it."""


def _project(conf_source: str) -> Path:
    """The project that a conf belongs to. A packaged one lies anywhere: then it is the one around here, if there is."""
    from kedro.utils import find_kedro_project

    for place in (Path(conf_source), Path.cwd()):
        found = find_kedro_project(place)
        if found is not None:
            return Path(found)
    return Path.cwd()
