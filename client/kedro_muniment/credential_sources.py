"""Where a project's credentials come from, besides its ``credentials.yml``: its own ``credentials:`` in muniment.yml.

A source is named by the credentials' name, or by a pattern for several, and gives a value when a dataset is built::

    credentials:
      warehouse:
        environment: {user: WAREHOUSE_USER, password: WAREHOUSE_PASSWORD}
      lake_keys:
        keyring: {key: lake/access-key, secret: lake/secret-key}
      "*":
        callable: my_package.secrets:fetch

``environment`` names a variable for each key, or a prefix: ``LAKE_`` gives ``LAKE_KEY`` as ``key``. ``keyring`` names
an entry of the system's keyring for each key, as ``service/user``. ``callable`` is the team's own function: it is
called with the name and gives the value. What is written here holds no secret, and so does every message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from kedro_muniment.problems import BadConfig


class NotGiven(Exception):
    """A source does not give what it was asked for; the message is the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """One line of ``credentials:``. It is compared and pickled as what was written."""

    pattern: str
    kind: str
    #: What was written under it, as JSON.
    said: str

    def gives(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern)

    def fetch(self, name: str) -> Any:
        """The value; each call asks anew."""
        return _FETCHING[self.kind](name, json.loads(self.said))


def checked(value: object) -> dict[str, Any]:
    """What stands under ``credentials:``, as the settings read it (``config.py``)."""
    if not isinstance(value, dict):
        raise ValueError("a mapping from credentials' names to where they come from")  # noqa: TRY004
    return {"credentials": tuple(_source(str(name), said) for name, said in value.items())}


def _source(name: str, said: object) -> Source:
    if not isinstance(said, dict) or len(said) != 1 or next(iter(said)) not in _FETCHING:
        raise BadConfig(
            f"`credentials:` must say for {name!r} one of {', '.join(f'`{kind}:`' for kind in _FETCHING)}, and no "
            "secret itself."
        )
    kind, where = next(iter(said.items()))
    if not _SHAPES[kind](where):
        raise BadConfig(f"`credentials:` has something under `{kind}:` for {name!r} that it cannot be: {_WANTED[kind]}")
    return Source(name, kind, json.dumps(where))


def _is_texts(where: object) -> bool:
    """Text, or a mapping with text at its leaves, as the credentials themselves are nested."""
    if isinstance(where, dict):
        return bool(where) and all(isinstance(key, str) and _is_texts(held) for key, held in where.items())
    return isinstance(where, str) and bool(where)


def _is_entries(where: object) -> bool:
    if isinstance(where, dict):
        return bool(where) and all(_is_entries(held) for held in where.values())
    return isinstance(where, str) and all(where.partition("/"))


def _is_callable(where: object) -> bool:
    return isinstance(where, str) and all(where.partition(":"))


_SHAPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "environment": _is_texts,
    "keyring": _is_entries,
    "callable": _is_callable,
}
_WANTED: Final[Mapping[str, str]] = {
    "environment": "write a variable's name for each key, or a prefix of names.",
    "keyring": "write an entry as service/user for each key.",
    "callable": "write a function as my_package.my_module:function.",
}


def _from_environment(_name: str, where: Any) -> Any:
    if isinstance(where, str):
        found = {key.removeprefix(where).lower(): held for key, held in os.environ.items() if key.startswith(where)}
        if not found:
            raise NotGiven(f"no environment variable begins with {where}")
        return found
    return _filled(where, _variable)


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise NotGiven(f"the environment variable {name} is not set") from None


def _from_keyring(_name: str, where: Any) -> Any:
    return _filled(where, _entry)


def _entry(place: str) -> str:
    try:
        import keyring
    except ModuleNotFoundError:
        raise NotGiven("there is no keyring here: pip install 'kedro-muniment[keyring]'") from None
    service, _, user = place.partition("/")
    found = _tried(lambda: keyring.get_password(service, user), "the keyring")
    if found is None:
        raise NotGiven(f"the keyring has no entry of {service} for {user}")
    return str(found)


def _from_callable(name: str, where: Any) -> Any:
    from importlib import import_module

    module, _, attribute = where.partition(":")
    return _tried(lambda: getattr(import_module(module), attribute)(name), where)


def _tried(ask: Callable[[], Any], whom: str) -> Any:
    """What somebody else's code gives. Of its errors only the kind is told: the rest may hold anything."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - whatever it likes
        kind = type(error).__name__
    raise NotGiven(f"{whom} failed with {kind}")  # not in the handler: that would keep the error, and its frames


def _filled(where: Any, fetch: Callable[[str], str]) -> Any:
    if isinstance(where, dict):
        return {key: _filled(held, fetch) for key, held in where.items()}
    return fetch(where)


_FETCHING: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "environment": _from_environment,
    "keyring": _from_keyring,
    "callable": _from_callable,
}
