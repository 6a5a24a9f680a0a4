"""Credentials by their names: fetched when a dataset is built, and never before, nor shown.

A definition names its credentials and holds none. Kedro looks up the credentials of *all* entries when it makes a
catalog, so here a name gives a :class:`Secret`: text for what shows, compares or pickles it, and the value only for
the dataset that is built. The value comes from the project's own ``credentials.yml``, else from what the project's
muniment.yml says under ``credentials:`` (``credential_sources.py``). A name that neither knows refuses when that
dataset is built.

A worker process is sent the name and where to look, and looks there itself.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.io import DatasetError
from typing_extensions import override

from kedro_muniment.credential_sources import NotGiven, Source

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader

#: The key under which a definition names its credentials, as Kedro has it.
KEY = "credentials"


class Secret(Mapping[str, Any]):
    """Credentials as their name. Whoever looks inside gets the value of that moment.

    It is no ``dict``: Kedro walks through those when it makes a catalog, and would fetch every secret then.
    """

    def __init__(self, name: str, secrets: Secrets) -> None:
        self._name = name
        self._secrets = secrets

    def revealed(self) -> Any:
        """The value, and a copy of it: what gets it may write into it."""
        return copy.deepcopy(self._secrets.value_of(self._name))

    @override
    def __repr__(self) -> str:
        return f"<credentials {self._name!r}>"

    def __bool__(self) -> bool:
        return True  # what is empty would be dropped, and the dataset would reach for ambient credentials

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @override
    def __reduce__(self) -> tuple[type[Secret], tuple[str, Secrets]]:
        return Secret, (self._name, self._secrets)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._name == self._name and other._secrets is self._secrets

    @override
    def __hash__(self) -> int:
        return hash(self._name)

    @override
    def __getitem__(self, key: str) -> Any:
        return self._held()[key]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    @override
    def __len__(self) -> int:
        return len(self._held())

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def _held(self) -> Mapping[str, Any]:
        value = self._secrets.value_of(self._name)
        if not isinstance(value, Mapping):
            raise DatasetError(f"The credentials {self._name!r} are not a mapping, and this dataset needs one.")
        return value


class Secrets:
    """All that the project can fetch, each name once. It shows nothing, and pickles as where to look."""

    def __init__(self, own: Own, sources: tuple[Source, ...] = ()) -> None:
        self._own = own
        self._sources = sources
        self._fetched: dict[str, Any] = {}
        self._fetching = Lock()

    def __repr__(self) -> str:
        return "Secrets(hidden)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._own, self._sources)

    def named_in(self, definition: dict[str, Any]) -> dict[str, Any]:
        """The definition with every name of credentials in it, however deep, as a :class:`Secret`."""
        named: dict[str, Any] = {}
        for key, held in definition.items():
            if key == KEY and isinstance(held, str):
                named[key] = Secret(held, self)
            elif isinstance(held, dict) and (inner := self.named_in(held)) is not held:
                named[key] = inner
        return {**definition, **named} if named else definition

    def gives(self, name: str) -> bool:
        """Whether a source is configured for it."""
        return any(source.gives(name) for source in self._sources)

    def value_of(self, name: str) -> Any:
        with self._fetching:
            if name not in self._fetched:
                self._fetched[name] = self._fetch(name)
            return self._fetched[name]

    def _fetch(self, name: str) -> Any:
        # No variable here holds a value: a traceback may show them all.
        if name in self._own.names():
            return self._own.value_of(name)
        source = next((source for source in self._sources if source.gives(name)), None)
        if source is None:
            raise DatasetError(
                f"This dataset is governed and needs the credentials {name!r}, which this project does not define. "
                f"Add {name!r} to conf/local/credentials.yml, say under `credentials:` in muniment.yml where they come "
                "from, or ask the dataset's owner what to put there."
            )
        try:
            return source.fetch(name)
        except NotGiven as reason:
            why = str(reason)
        raise DatasetError(
            f"The credentials {name!r} could not be fetched: {why}. muniment.yml names that source under "
            "`credentials:`."
        )


class Own:
    """The project's own ``credentials.yml``, read when a name is first asked for."""

    def __init__(self, read: Callable[[], Mapping[str, Any]], place: tuple[Any, ...] | None = None) -> None:
        self._read = read
        self._place = place
        self._values: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, loader: AbstractConfigLoader) -> Own:
        """As this loader gives it; another process is told the place, and makes a loader of the same class."""
        own = cls(dict, _place_of(loader))
        # Not later, from the loader: by then it holds what this plugin has put there.
        own._values = _credentials_of(loader)
        return own

    @classmethod
    def none(cls) -> Own:
        return cls(dict)

    def __repr__(self) -> str:
        return "Own(hidden)"

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other._place == self._place

    @override
    def __hash__(self) -> int:
        return hash(repr(self._place))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_own_at, self._place) if self._place else (Own.none, ())

    def names(self) -> Collection[str]:
        if self._values is None:
            self._values = self._read()
        return list(self._values)

    def value_of(self, name: str) -> Any:
        return self._values[name] if self._values is not None else None


class Credentials(dict[str, Any]):
    """The project's own credentials for its own entries; a name that only a source knows is a :class:`Secret`."""

    def __init__(self, own: Mapping[str, Any], secrets: Secrets) -> None:
        super().__init__(own)
        self._secrets = secrets

    def __missing__(self, name: str) -> Secret:
        if not self._secrets.gives(name):
            raise KeyError(name)
        return Secret(name, self._secrets)

    def __bool__(self) -> bool:
        return True  # Kedro drops an empty one, and the sources with it

    @override
    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self))})"


def revealed_in(arguments: Any) -> Any:
    """What a dataset is built with: the values of the secrets in it, in copies of what holds them."""
    if isinstance(arguments, Secret):
        return arguments.revealed()
    if isinstance(arguments, dict):
        return {key: revealed_in(held) for key, held in arguments.items()}
    return arguments


def holds_secrets(arguments: Any) -> bool:
    if isinstance(arguments, Secret):
        return True
    return isinstance(arguments, dict) and any(holds_secrets(held) for held in arguments.values())


def _credentials_of(loader: AbstractConfigLoader) -> Mapping[str, Any]:
    try:
        return dict(loader[KEY])
    except MissingConfigException:
        return {}


def _place_of(loader: AbstractConfigLoader) -> tuple[Any, ...]:
    """All that another process needs for a loader like this one; resolvers that cannot be sent are left behind."""
    said = {name: getattr(loader, name, None) for name in ("base_env", "default_run_env")}
    patterns = getattr(loader, "config_patterns", None) or {}
    said["config_patterns"] = {KEY: patterns[KEY]} if KEY in patterns else None
    resolvers = getattr(loader, "_custom_resolvers", None)
    if resolvers and _can_be_sent(resolvers):
        said["custom_resolvers"] = resolvers
    return type(loader), loader.conf_source, loader.env, tuple((key, held) for key, held in said.items() if held)


def _can_be_sent(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - pickling calls whatever the value likes
        return False
    return True


def _own_at(kind: Any, source: str, env: str | None, said: tuple[tuple[str, Any], ...]) -> Own:
    def read() -> Mapping[str, Any]:
        try:
            return _credentials_of(kind(source, env, **dict(said)))
        except Exception as error:  # noqa: BLE001 - a project's loader is the project's own code
            why = type(error).__name__
        raise DatasetError(
            f"This worker process cannot read the project's credentials ({why}). Name where they come from under "
            "`credentials:` in muniment.yml, or use the SequentialRunner or the ThreadRunner."
        )

    return Own(read, (kind, source, env, said))


@cache
def _again(own: Own, sources: tuple[Source, ...]) -> Secrets:
    """One for all that are sent to this process, so that each name is fetched once."""
    return Secrets(own, sources)
