"""Lines of environments."""

from __future__ import annotations

from muniment.core.environments import Environment
from muniment.store import tables
from muniment.store.lines import Body, Line


def _write(environment: Environment) -> Body:
    return {"description": environment.description, "variables": environment.variables}


def _read(key: str, version: int, body: Body) -> Environment:
    return Environment(name=key, description=body["description"], variables=body["variables"], version=version)


LINE = Line("environment", Environment, tables.environments, _write, _read)
