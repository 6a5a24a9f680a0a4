"""Governed datasets as Kedro builds them: the real class, and in front of each use the word of the lease.

A dataset is built as what it is, and then becomes an instance of a subclass of its own class, under the same name. So
versions, factories, previews, ``isinstance``, nested datasets and what people see of it stay as they are, and what the
lease does not give is refused when it is used: in a notebook, where no hook fires, and in every worker process.

Kedro is told so by the definition's ``type``. It is text and equals the real type wherever it is read; only where Kedro
looks the class up does it lead here (:meth:`Kind.__radd__`). That this holds in the Kedro that is installed is tried
before a definition is given away (:func:`definition`): a guard that is not asked would be worse than none.

None of this is security: who can run code in this process can go around it. Storage refuses, and the service; this is
good manners, and the log of what was used. Decision: 0033.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from abc import ABCMeta
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast
from weakref import WeakValueDictionary

import yaml
from kedro.io import AbstractDataset, AbstractVersionedDataset, DatasetError
from kedro.io.core import parse_dataset_definition

from kedro_muniment import pages
from kedro_muniment.entries.credentials import Secrets, holds_secrets, revealed_in
from kedro_muniment.entries.refused import UseRefused
from kedro_muniment.naming import both_names
from kedro_muniment.problems import BadConfig, MunimentError

if TYPE_CHECKING:
    from kedro_muniment.leases.lease import Lease
    from kedro_muniment.use.reporting import Run

#: Where a dataset keeps what it is guarded by, among its own attributes.
HELD: Final = "_muniment"

_OPENING: Final = "opening_"


@dataclass(frozen=True, slots=True)
class Terms:
    """What all datasets of one lease have in common."""

    url: str
    subject: str
    environment: str
    receipt: str
    #: When the lease as a whole ends.
    until: datetime
    #: It is no earlier than this, whatever this machine's clock says.
    seen: datetime
    #: What the service was asked, and is again once the lease has ended; nothing: there is no service to be asked.
    asked: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, lease: Lease, url: str, asked: Mapping[str, str]) -> Self:
        said = tuple(sorted(asked.items()))
        return cls(url, lease.subject, lease.environment, lease.receipt, lease.until, lease.seen, said)

    def now(self) -> datetime:
        return max(datetime.now(UTC), self.seen)


@dataclass(frozen=True, slots=True)
class Guard:
    """One dataset's share of the lease. It holds no secret and travels with the dataset."""

    governed: str
    local: str
    actions: tuple[str, ...]
    end: datetime | None
    terms: Terms
    #: What its definition was, to tell whether a later lease still gives the same.
    fingerprint: int = 0
    #: Whether a factory pattern makes it: then it is in no lease for which its name is not asked.
    is_made: bool = False
    #: In which run the dataset was built, where it was in one: workers, and other threads, learn it from here.
    run: Run | None = None

    def in_run(self) -> Guard:
        """The guard of a dataset that is built now."""
        from kedro_muniment.use import reporting

        run = reporting.run_here()
        return self if run is None else replace(self, run=run)

    def allowing(self, action: str | None) -> Guard:
        """The guard under which this may be done now, or a refusal; ``None`` is what any permitted action includes.

        It is this one, or past its end one of the lease that follows.
        """
        if action is not None and action not in self.actions:
            allowed = " and ".join(self.actions) or "do nothing with it"
            why = f"you may {allowed}, not {action}. Ask why: kedro muniment why {self.governed}"
            self._refuse(action, why + self._asking_for(action))
        now = self.terms.now()
        if self.end is not None and self.end <= now:
            return self._following(action, f"your access ended at {_told(self.end)}")
        if self.terms.until <= now:
            return self._following(action, f"the lease that gives it ended at {_told(self.terms.until)}")
        return self

    def _following(self, action: str | None, over: str) -> Guard:
        """The same by the lease that the service gives now; a refusal where that does not give the same."""
        if not self.terms.asked:
            self._refuse(action, f"{over}, by the recorded catalog.")
        from kedro_muniment.leases import following

        asked = (*self.terms.asked, ("names", self.governed)) if self.is_made else self.terms.asked
        try:
            lease = following.lease(self.terms.url, asked, self.governed)
        except MunimentError as problem:
            said = problem.message.replace(" Nothing was run.", "")
            self._refuse(action, f"{over}, and no new lease can be had. {said}")
        if lease.subject != self.terms.subject:
            self._refuse(action, f"{over}, and it was given to {self.terms.subject}: you are {lease.subject} now.")
        given = lease.actions.get(self.governed, ()) if self.governed in lease.catalog else ()
        if lease.is_over(self.governed) or not (action in given if action else given):
            self._refuse(action, f"{over}, and is not given again. Ask why: kedro muniment why {self.governed}")
        if following.fingerprint(lease.catalog[self.governed]) != self.fingerprint:
            again = "Start again with the new one (in a notebook: %reload_kedro)."
            self._refuse(action, f"{over}, and Muniment gives it with another definition now. {again}")
        terms = Terms.of(lease, self.terms.url, dict(self.terms.asked))
        return replace(self, end=lease.ends.get(self.governed), terms=terms)

    def used(self, action: str, version: str | None = None) -> None:
        """Noted for the report of what was used, once it has succeeded."""
        self._report(action, "done", version)

    def _asking_for(self, action: str) -> str:
        """Where it can be asked for, if the service gave the catalog."""
        if not self.terms.asked:
            return ""
        return f". Or ask for it: {pages.to_ask(self.terms.url, dict(self.terms.asked), self.governed, action)}"

    def _refuse(self, action: str | None, why: str) -> NoReturn:
        if action is not None:
            self._report(action, "refused")
        raise UseRefused(f"{both_names(self.local, self.governed)}: {why}")

    def _report(self, action: str, outcome: str, version: str | None = None) -> None:
        from kedro_muniment.use import reporting

        reporting.used(
            action,
            outcome=outcome,
            governed=self.governed,
            local=self.local,
            receipt=self.terms.receipt,
            environment=self.terms.environment,
            url=self.terms.url,
            subject=self.terms.subject,
            run=self.run,
            version=version,
        )


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(slots=True)
class _Held:
    """What a guarded dataset carries, into every process."""

    guard: Guard
    #: What it was built with, where secrets are among it; they stand there by their names.
    arguments: Mapping[str, Any] | None = None
    #: Whether it came from another process and is still to be built.
    waiting: bool = False


class Kind(str):
    """A type in a governed definition: the real one to everybody who reads it, and this module to Kedro's look-up.

    Kedro finds a class by writing the names of its own packages before the type (``prefix + type``), and Python asks
    the right side of such a sum first if its class is the more special one.
    """

    __slots__ = ("__weakref__", "guard")

    guard: Guard

    @classmethod
    def of(cls, real: str, guard: Guard) -> Self:
        made = cls(real)
        made.guard = guard
        return made

    def __radd__(self, prefix: str) -> str:
        name = f"{_OPENING}{id(self):x}"
        _looked_up[name] = self
        return f"{__name__}.{name}"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Flat: Kedro's ParallelRunner sends the whole catalog with every task."""
        guard = self.guard
        held = (guard.governed, guard.local, guard.actions, guard.end, guard.terms)
        return _again, (str(self), *held, guard.fingerprint, guard.is_made, guard.run)

    def opening(self) -> type[AbstractDataset[Any, Any]]:
        """What Kedro takes for the class: called, it gives the real dataset under its guard.

        It lives as long as Kedro's question. A lasting subclass for each dataset would make every ``isinstance`` in
        Kedro walk through all of them.
        """
        real = _class_of(str(self))
        guard = self.guard.in_run()

        def build(_: type, *given: Any, **arguments: Any) -> Any:
            if not holds_secrets(arguments):
                return _under(_Held(guard), real(*given, **arguments))
            dataset = real(*given, **revealed_in(arguments))
            _hide(dataset, arguments)
            return _under(_Held(guard, arguments), dataset)

        shown = {name: getattr(real, name) for name in ("__module__", "__qualname__", "__doc__")}
        made: Any = ABCMeta(real.__name__, (AbstractDataset,), {**shown, "__new__": build})
        made.__abstractmethods__ = real.__abstractmethods__
        if hasattr(real, "versioned"):
            made.versioned = real.versioned
        return cast("type[AbstractDataset[Any, Any]]", made)


def _again(real: str, *held: Any) -> Kind:
    return Kind.of(real, Guard(*held))


def _class_of(name: str) -> Any:
    """The class that Kedro finds for a type. It is looked for once, and anew when its module was loaded again.

    Kedro looks for it under several packages, most of which have none, and that for each dataset of a catalog.
    """
    known = _classes.get(name)
    if known is None or getattr(sys.modules.get(known.__module__), known.__name__, None) is not known:
        known = _classes[name] = parse_dataset_definition({"type": name})[0]
    return known


_classes: dict[str, type[AbstractDataset[Any, Any]]] = {}

#: The types that Kedro has just asked for, each under the name that it was sent here with.
_looked_up: WeakValueDictionary[str, Kind] = WeakValueDictionary()

for _representer in (yaml.representer.SafeRepresenter, yaml.representer.Representer):
    _representer.add_representer(Kind, lambda dumper, kind: dumper.represent_str(str(kind)))


def __getattr__(name: str) -> type[AbstractDataset[Any, Any]]:
    """The module's own look-up, by which Kedro imports the class of a :class:`Kind`."""
    kind = _looked_up.get(name) if name.startswith(_OPENING) else None
    if kind is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return kind.opening()


def definition(served: dict[str, Any], guard: Guard, secrets: Secrets) -> dict[str, Any]:
    """A catalog entry for Kedro, which builds the dataset under its guard; secrets stand in it by their names."""
    _hold_the_seam()
    return {**secrets.named_in(served), "type": Kind.of(served["type"], guard)}


@cache
def _hold_the_seam() -> None:
    """Once in a process: that this Kedro asks a :class:`Kind` for the class."""
    end = datetime.max.replace(tzinfo=UTC)
    tried = Kind.of("kedro.io.MemoryDataset", Guard("", "", (), None, Terms("", "", "", "", end, end)))
    if not isinstance(AbstractDataset.from_config("tried", {"type": tried}), Guarded):
        import kedro

        raise BadConfig(
            f"kedro-muniment cannot govern datasets in Kedro {kedro.__version__}: this Kedro builds them in a way that "
            "the plugin does not know. Upgrade kedro-muniment, or install an earlier Kedro."
        )


def guard_of(dataset: object) -> Guard | None:
    """The guard that a dataset stands under, if it does."""
    return _held(dataset).guard if isinstance(dataset, Guarded) else None


# --- The subclass --------------------------------------------------------------------------------


class Guarded:
    """What every guarded dataset is an instance of, besides its own class."""

    __slots__ = ()


@cache
def guarded(real: Hashable) -> type[Any]:
    """The subclass of a dataset's class, by the same name, that asks before each use. There is one for each class."""
    kind: Any = real
    if issubclass(kind, Guarded):
        return cast("type[Any]", kind)
    shown = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    made = type(kind)(kind.__name__, (kind, Guarded), {**shown, "__slots__": ()})
    # After the class is made: Kedro puts its own wrappers around what it finds as it makes one.
    made.__init__ = kind.__init__
    made.__reduce_ex__, made.__deepcopy__, made.__getattr__ = _reduced, _copied, _missing
    made._init_config = _configured  # noqa: SLF001 - what Kedro's `to_config` asks
    for name, action in USES.items():
        method = getattr(kind, name, None)
        if callable(method):
            setattr(made, name, _asking(method, action))
    return cast("type[Any]", made)


#: What of a dataset is guarded, and the action that it is a use of; ``exists`` needs any that is given.
USES: Final[Mapping[str, str | None]] = {
    "load": "load",
    "save": "save",
    "preview": "load",
    "confirm": "save",
    "exists": None,
}


def _asking(method: Callable[..., Any], action: str | None) -> Callable[..., Any]:
    @wraps(method)
    def ask(self: Any, *given: Any, **named: Any) -> Any:
        guard = _held(self).guard.allowing(action)
        _build(self)
        done = method(self, *given, **named)
        if action is not None:
            guard.used(action, _version(self, action))
        return _parts_under(guard, done) if action == "load" else done

    # Else a subclass of this one would be given the method without its guard.
    vars(ask).pop("__loadwrapped__", None)
    vars(ask).pop("__savewrapped__", None)
    return ask


def _version(dataset: Any, action: str) -> str | None:
    """Which version was used just now; Kedro remembers it from the use.

    Of a dataset that does not look at its version Kedro asks the storage only now: what fails there fails no use.
    """
    if isinstance(dataset, AbstractVersionedDataset) and dataset._version:  # noqa: SLF001
        with contextlib.suppress(Exception):
            return dataset.resolve_load_version() if action == "load" else dataset.resolve_save_version()
    return None


def _parts_under(guard: Guard, loaded: Any) -> Any:
    """Partitions come as functions that load them later, and the guard is asked then, too."""
    if type(loaded) is not dict or not loaded or not all(_loads_later(part) for part in loaded.values()):
        return loaded
    return {name: partial(_load_part, guard, part) for name, part in loaded.items()}


def _loads_later(part: Any) -> bool:
    return callable(part) and isinstance(getattr(part, "__self__", None), AbstractDataset)


def _load_part(guard: Guard, part: Callable[[], Any]) -> Any:
    guard.allowing("load")
    return part()


# --- Building, copying, and building anew ---------------------------------------------------------


def _reduced(dataset: Any, protocol: Any) -> Any:
    """By name, as the class has none that pickle could find; with secrets: by its arguments, to be built anew."""
    held = _held(dataset)
    if held.arguments is not None:
        return _waiting, (_real(type(dataset)), held.guard, held.arguments)
    return _by_real_class(dataset, protocol)


def _copied(dataset: Any, memo: dict[int, Any]) -> Any:
    """A copy in this process keeps its state, secrets and all."""
    _build(dataset)
    real: Any = _real(type(dataset))
    if hasattr(real, "__deepcopy__"):
        return _under(_held(dataset), real.__deepcopy__(dataset, memo))
    remake, given, *rest = _by_real_class(dataset, 4)
    made: Any = remake(*copy.deepcopy(given, memo))
    memo[id(dataset)] = made
    _set_state(made, copy.deepcopy(rest[0] if rest else None, memo))
    return made


def _configured(dataset: Any) -> dict[str, Any]:
    """For ``to_config``: what a catalog builds of that again stands under the same guard."""
    config: dict[str, Any] = _real(type(dataset))._init_config(dataset)  # noqa: SLF001
    return {**config, "type": Kind.of(config["type"], _held(dataset).guard)}


def _missing(dataset: Any, name: str) -> Any:
    """Called for an attribute that is not there: in a worker, the dataset may not have been built yet."""
    if not name.startswith("__") and _build(dataset):
        return getattr(dataset, name)
    inherited = getattr(_real(type(dataset)), "__getattr__", None)
    if inherited is not None:
        return inherited(dataset, name)
    raise AttributeError(f"{type(dataset).__name__!r} object has no attribute {name!r}")


def _held(dataset: Any) -> _Held:
    """Nothing is used by a guard that got lost."""
    held: _Held | None = vars(dataset).get(HELD)
    if held is None:
        raise UseRefused(
            f"This {type(dataset).__name__} was made from a governed dataset, and its permissions did not come along: "
            "take it from the catalog."
        )
    return held


def _under(held: _Held, dataset: Any) -> Any:
    kind: Any = type(dataset)
    dataset.__class__ = guarded(kind)
    vars(dataset)[HELD] = held
    return dataset


def _real(made: type[Any]) -> type[Any]:
    """The class that a guarded one is of."""
    return made.__mro__[1]


def _waiting(real: Any, guard: Guard, arguments: Mapping[str, Any]) -> Any:
    """A dataset from another process, whose secrets did not come with it: it is built at its first use."""
    made = object.__new__(guarded(real))
    vars(made)[HELD] = _Held(guard, arguments, waiting=True)
    return made


def _build(dataset: Any) -> bool:
    """Whether it had been waiting for it."""
    held = vars(dataset).get(HELD)
    if held is None or not held.waiting:
        return False
    held.waiting = False
    build: Any = _real(type(dataset)).__init__
    try:
        build(dataset, **revealed_in(held.arguments))
    except Exception as error:
        held.waiting = True
        raise DatasetError(f"{error}\nFailed to instantiate dataset {held.guard.local!r} in this process.") from error
    _hide(dataset, held.arguments)
    return True


def _hide(dataset: Any, arguments: Mapping[str, Any]) -> None:
    """What Kedro remembers of the arguments, for ``to_config``: secrets by their names, as they were given."""
    remembered = getattr(dataset, "_init_args", None)
    if isinstance(remembered, dict):
        further = remembered.get("kwargs")
        for place in (remembered, further if isinstance(further, dict) else {}):
            place.update({name: held for name, held in arguments.items() if name in place and holds_secrets(held)})


def _by_real_class(dataset: Any, protocol: Any) -> Any:
    """How pickle would do it, with the real class in place of the one that nobody can import."""
    kind = type(dataset)
    real: Any = _real(kind)
    function, given, *rest = real.__reduce_ex__(dataset, protocol)
    function, *sent = (_Real if part is kind else part for part in (function, *given))
    return _remade, (real, _held(dataset), function, tuple(sent)), *rest


class _Real:
    """Stands in a pickle where the guarded class stood."""


def _remade(real: Any, held: _Held, function: Any, sent: tuple[Any, ...]) -> Any:
    kind = guarded(real)
    function, *given = (kind if part is _Real else part for part in (function, *sent))
    return _under(held, function(*given))


def _set_state(dataset: Any, state: Any) -> None:
    if hasattr(dataset, "__setstate__"):
        dataset.__setstate__(state)
    elif state:
        vars(dataset).update(state)
