"""Environments: a closed list, with Kedro's rule of layers.

``base`` is a layer under all of them and cannot be asked for: an environment's
definition of a dataset replaces the one of ``base``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from muniment.core.problems import Fault, UnknownEnvironment

BASE = "base"


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment of the deployment; variables serve its definitions."""

    name: str
    description: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    version: int = 0


def checked_known(names: Iterable[str], known: Iterable[str], *, at: str = "environment") -> None:
    """Refuse an environment outside the list: a policy for ``prd`` would silently never hit."""
    listed = sorted(set(known) - {BASE})
    strangers = sorted(set(names) - set(listed))
    if BASE in strangers:
        message = "base is the layer under every environment; ask for one of: " + (", ".join(listed) or "none yet")
        raise UnknownEnvironment(message, [Fault(at, message)])
    if strangers:
        message = "There is no such environment; the known ones are: " + (", ".join(listed) or "none yet")
        raise UnknownEnvironment(message, [Fault(at, message)])
