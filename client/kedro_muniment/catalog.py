"""The governed catalog without a Kedro project: in a script, a service, or somebody else's notebook."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedro.io import DataCatalog


def muniment_catalog(
    environment: str,
    *,
    url: str | None = None,
    project: str | None = None,
    purpose: str | None = None,
    names: Mapping[str, str] | None = None,
    datasets: Iterable[str] = (),
    types: Iterable[str] = (),
    allow_code_formats: Iterable[str] = (),
    credentials: Mapping[str, Any] | None = None,
    runtime_params: Mapping[str, Any] | None = None,
) -> DataCatalog:
    """What you may use in one of the service's environments, as Kedro's own catalog: ``.load("sales.orders")``.

    ``url`` is the service's address, else ``MUNIMENT_URL``. The other arguments say what a project's muniment.yml says
    under the same keys. ``datasets`` are further names to ask for: those that only a factory pattern makes. What is
    loaded and saved is reported as in a project, and refused as there, with ``DatasetError``.
    """
    from kedro.io import DataCatalog

    from kedro_muniment import config, governing
    from kedro_muniment.entries.credentials import Own, Secrets
    from kedro_muniment.entries.definitions import Building
    from kedro_muniment.problems import BadConfig
    from kedro_muniment.use import reporting

    address = url or os.environ.get("MUNIMENT_URL", "").strip()
    if not address:
        raise BadConfig("Say where Muniment is: muniment_catalog(…, url=…), or set MUNIMENT_URL.")
    said: dict[str, Any] = {
        "url": address,
        "project": project,
        "purpose": purpose,
        "names": dict(names) if names else None,
        "types": list(types),
        "allow_code_formats": list(allow_code_formats),
        "credentials": dict(credentials) if credentials else None,
    }
    settings = config.of({key: value for key, value in said.items() if value}, "muniment_catalog(…)")
    building = Building(
        Path.cwd(), settings.types, settings.allow_code_formats, runtime_params=dict(runtime_params or {})
    )
    asked = settings.asking("", environment)
    governed = governing.fetched({}, settings, asked, building, frozenset(datasets))
    reporting.answering(governed.service, governed.lease.subject)
    return DataCatalog.from_config(governed.catalog(Secrets(Own.none(), settings.credentials)))
