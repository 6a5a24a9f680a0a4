"""The Kedro project around the current directory, as the commands ask about it.

Nothing here runs a pipeline. What a run would have, :func:`governed` makes: the project's context under Muniment, with
the lease fetched and the catalogs merged.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from kedro_muniment.problems import BadConfig, Denied

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader
    from kedro.pipeline import Pipeline

    from kedro_muniment.config import Config
    from kedro_muniment.governing import Governed
    from kedro_muniment.leases.recorded import Recording
    from kedro_muniment.service import Service


def here() -> Path:
    """The project around the current directory, made ready as Kedro does it."""
    from kedro.framework.startup import bootstrap_project

    found = _around()
    if found is None:
        raise click.UsageError("This is not inside a Kedro project. Change into one, and run this again.")
    bootstrap_project(found)
    return found


def _around() -> Path | None:
    from kedro.utils import find_kedro_project

    found = find_kedro_project(Path.cwd())
    return None if found is None else Path(found)


def conf_source() -> Path:
    from kedro.framework.project import settings

    return here() / str(settings.CONF_SOURCE)


def loader(env: str | None) -> AbstractConfigLoader:
    """The project's own config loader, without a context: nothing is fetched."""
    from kedro.framework.project import settings

    source = str(conf_source())
    with warnings.catch_warnings(action="ignore"):  # Kedro's loader warns of what OmegaConf calls deprecated.
        made: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
            conf_source=source,
            env=env or os.environ.get("KEDRO_ENV"),
            runtime_params=None,
            **settings.CONFIG_LOADER_ARGS,
        )
    return made


def configured(config: Config | None) -> Config:
    if config is None:
        raise BadConfig("Muniment is not configured in this project. Write its settings: kedro muniment init --url …")
    return config


def service(env: str | None, environment: str | None = None) -> tuple[Service, Config, dict[str, str]]:
    """The service that this project's settings name, without fetching a catalog from it."""
    from kedro_muniment import config as settings
    from kedro_muniment.service import Service
    from kedro_muniment.sign_in.signing_in import token

    conf = loader(env)
    config = configured(settings.read(conf))
    asked = config.asking(settings.kedro_env(conf), environment)
    return Service(config.url, token(config.url)), config, asked


def service_at(url: str | None, env: str | None) -> Service:
    """The service at an address, or at the project's: for questions that are about no project."""
    from kedro_muniment.service import Service
    from kedro_muniment.sign_in.signing_in import token

    found = address(url, env)
    return Service(found, token(found))


def meant(config: Config, name: str) -> str:
    """The governed name of what a person calls so, by the project's name for it or by its own."""
    from kedro_muniment.naming import Names

    found = Names.of(config.names).meant(name)
    if "." not in found:
        raise Denied(
            f"{name} is no governed name, which has its domain before it, and nothing under `names:` in muniment.yml "
            "maps it. See: kedro muniment list"
        )
    return found


def address(url: str | None, env: str | None) -> str:
    """The service's address: as it was given, or as the environment or the project around here says."""
    from kedro_muniment import config as settings
    from kedro_muniment.sign_in import people

    given = url or os.environ.get("MUNIMENT_URL", "").strip()
    if not given and _around() is None:
        raise click.UsageError("This is not inside a Kedro project. Say which service, with --url or MUNIMENT_URL.")
    return people.address(given or configured(settings.read(loader(env))).url)


def recording() -> Recording | None:
    """The recorded catalog that is used in the service's place, if one is."""
    from kedro_muniment.leases import recorded

    return recorded.named(here())


@contextmanager
def governed(
    env: str | None, *, params: Mapping[str, Any] | None = None, catalog_from: Path | None = None
) -> Iterator[Governed]:
    """The project's context as a run would have it. Only the command's own answer is printed meanwhile."""
    from kedro.framework.session import KedroSession

    from kedro_muniment.hooks import hooks
    from kedro_muniment.leases import recorded

    project = here()
    with (
        _quiet("kedro_muniment", logging.WARNING),
        _quiet("py.warnings", logging.ERROR),
        recorded.using(catalog_from),
        KedroSession.create(
            project_path=project, env=env, runtime_params=dict(params or {}), save_on_close=False
        ) as session,
    ):
        found = hooks.of(cast("KedroSession", session).load_context())
        if found is None:
            raise _ungoverned(env)
        yield found


def _ungoverned(env: str | None) -> BadConfig:
    """Why a context is not governed: there are no settings, or the plugin's hooks are off."""
    from kedro_muniment import config as settings

    configured(settings.read(loader(env)))
    return BadConfig(
        "This project switches the plugin off: take kedro-muniment out of DISABLE_HOOKS_FOR_PLUGINS in settings.py."
    )


@contextmanager
def _quiet(name: str, level: int) -> Iterator[None]:
    """A logger that says only what is at least so grave."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def pipeline(names: tuple[str, ...], filters: Mapping[str, Any]) -> Pipeline:
    """What ``kedro run`` would run with these selectors."""
    from kedro.framework.project import pipelines
    from kedro.pipeline import Pipeline

    selected = Pipeline([])
    for name in names or ("__default__",):
        found = pipelines.get(name)
        if found is None:
            raise click.UsageError(f"No pipeline is named {name!r}. There are: {', '.join(sorted(pipelines))}.")
        selected += found
    try:
        return selected.filter(**{key: value for key, value in filters.items() if value})
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def dataset_names() -> set[str]:
    """What the project calls its data: in its registered pipelines, as far as they can be read."""
    from kedro_muniment.entries.factories import named_in_pipelines

    return {name.partition("@")[0] for name in named_in_pipelines()}
