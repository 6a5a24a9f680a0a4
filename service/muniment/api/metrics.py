"""What the service tells those who watch over it: numbers in Prometheus' text format (exposition format 0.0.4).

The numbers are counted where the work is done and only read here. Every metric stands in
:data:`METRICS`, and its labels can only have values of a closed set: routes by their templates,
methods, statuses. Nothing here names a subject, a dataset, an address of a caller or a path that somebody made up.

Several processes serve, and a scrape reaches one of them. So each leaves what it has counted
in a directory, again and again (:class:`Shared`), and whoever is asked reads them all. A process
that has ended leaves counts behind that still count: they are added to those of all that went
before, so that no sum ever falls because a worker died.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

import orjson
from filelock import FileLock, Timeout
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from muniment.core.measures import SECONDS, SIZES, Spread

#: What a histogram holds: how many fell into each of its rooms, and the sum of all.
Spreading: TypeAlias = tuple[tuple[int, ...], float]

#: A metric and the values of its labels.
Key: TypeAlias = tuple[str, tuple[str, ...]]

#: What one process, or all of them together, can tell.
Numbers: TypeAlias = dict[Key, "float | Spreading"]

_PATIENCE_SECONDS: Final = 5
_PRIVATE: Final = 0o700


class Kind(StrEnum):
    """What a number is, in Prometheus' words; of several processes, gauges that all know alike are not added up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    KNOWN_BY_ALL = "gauge, the largest"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its full name, what it is, what it tells, and the names of its labels."""

    name: str
    kind: Kind
    words: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_COUNTER, _GAUGE, _KNOWN, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.KNOWN_BY_ALL, Kind.HISTOGRAM

#: Every metric there is.
METRICS: Final[Mapping[str, Metric]] = {
    each.name: each
    for each in (
        # requests
        Metric(
            "muniment_http_requests_total",
            _COUNTER,
            "Requests that were answered, by route, method and status; 499 where the caller left first.",
            ("route", "method", "status"),
        ),
        Metric(
            "muniment_http_request_duration_seconds",
            _HISTOGRAM,
            "Seconds from the head of a request to the beginning of its answer.",
            ("route", "method"),
            SECONDS,
        ),
        Metric(
            "muniment_http_requests_in_flight", _GAUGE, "Requests that were let in and whose answers have not ended."
        ),
        Metric(
            "muniment_answers_repeated_total",
            _COUNTER,
            "Catalogs and leases that were given again, as nothing changed.",
        ),
        # the ledger
        Metric("muniment_ledger_rows_total", _COUNTER, "Ledger rows of reads that are durable."),
        Metric("muniment_ledger_refused_total", _COUNTER, "Ledger rows of reads that could not be written."),
        Metric("muniment_ledger_batch_rows", _HISTOGRAM, "Ledger rows that were committed together.", (), SIZES),
        Metric(
            "muniment_ledger_commit_duration_seconds", _HISTOGRAM, "Seconds that a commit of rows took.", (), SECONDS
        ),
        Metric("muniment_ledger_waiting_rows", _GAUGE, "Ledger rows that wait for a commit."),
        # the realm and what is decided by it
        Metric("muniment_realm_revision", _KNOWN, "The revision of the realm by which is decided."),
        Metric("muniment_realm_patch_duration_seconds", _HISTOGRAM, "Seconds to bring the realm forward.", (), SECONDS),
        Metric(
            "muniment_listings_decided_total", _COUNTER, "Listings that were decided: everything one subject may use."
        ),
        Metric("muniment_listings_remembered_total", _COUNTER, "Listings that were asked for and had been decided."),
        Metric("muniment_bodies_held_bytes", _GAUGE, "Bytes of catalogs that are held ready to be sent."),
        # sign-ins
        Metric(
            "muniment_tokens_verified_total",
            _COUNTER,
            "Tokens whose signature was verified, or whose issuer was asked.",
        ),
        Metric("muniment_tokens_remembered_total", _COUNTER, "Tokens that had been verified."),
        # the database
        Metric("muniment_database_connections_in_use", _GAUGE, "Connections to PostgreSQL that are lent."),
        Metric("muniment_database_connections_most", _GAUGE, "Connections to PostgreSQL that can be lent."),
        # seals, and what is sent on from the ledger
        Metric("muniment_seal_rows", _KNOWN, "Ledger rows under the newest seal: the size of the tree."),
        Metric(
            "muniment_seal_lag_seconds",
            _KNOWN,
            "Age of the oldest ledger row that could be sealed and is not; 0: none.",
        ),
        Metric("muniment_witness_behind_seals", _KNOWN, "Seals that the last of the witnesses has not been told of."),
        Metric("muniment_witness_failing", _KNOWN, "Witnesses that could not be told when that was last tried."),
        Metric("muniment_notices_waiting", _KNOWN, "Notices whose time has come and that have not been sent."),
        Metric("muniment_notices_oldest_seconds", _KNOWN, "Seconds for which the oldest of those has waited."),
        Metric("muniment_webhook_rows_waiting", _KNOWN, "Rows that a webhook did not take and that are sent again."),
        Metric("muniment_webhook_oldest_seconds", _KNOWN, "Seconds since the oldest of those was first sent."),
        Metric(
            "muniment_webhooks_stopped", _KNOWN, "Webhooks that are sent nothing any more, as too much was refused."
        ),
        # the processes
        Metric("muniment_workers", _GAUGE, "Processes that serve."),
        Metric("muniment_process_cpu_seconds_total", _COUNTER, "Processor seconds of the processes that serve."),
        Metric("muniment_process_resident_memory_bytes", _GAUGE, "Memory of the processes that serve."),
        Metric(
            "muniment_loop_held_seconds",
            _HISTOGRAM,
            "For how long a worker's event loop did nothing else, looked at ten times a second.",
            (),
            SECONDS,
        ),
        Metric("muniment_build_info", _KNOWN, "1; its label is the release.", ("version",)),
    )
}

#: What a release is told by.
BUILD: Final[Numbers] = {("muniment_build_info", (version("muniment"),)): 1.0}


def spreading(spread: Spread) -> Spreading:
    """What a spread has counted so far."""
    return tuple(spread.counts), spread.total


def together(parts: Iterable[Numbers]) -> Numbers:
    """The numbers of several processes as one."""
    found: Numbers = {}
    for part in parts:
        for key, value in part.items():
            known = found.get(key)
            found[key] = value if known is None else _both(METRICS[key[0]].kind, known, value)
    return found


def lasting(numbers: Numbers) -> Numbers:
    """What still counts when the process that counted it has ended."""
    return {key: value for key, value in numbers.items() if METRICS[key[0]].kind in {_COUNTER, _HISTOGRAM}}


def _both(kind: Kind, one: float | Spreading, other: float | Spreading) -> float | Spreading:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return tuple(map(sum, zip(one[0], other[0], strict=True))), one[1] + other[1]
    assert not isinstance(one, tuple)  # noqa: S101 - a metric is of one kind
    assert not isinstance(other, tuple)  # noqa: S101
    return max(one, other) if kind is _KNOWN else one + other


class Shared:
    """Where the processes of one service leave their numbers; each file is its process's as long as its lock is held.

    ``fresh`` begins again: what other processes left there in an earlier life of the service no longer counts.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._past = directory / "past"
        directory.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        self._lock = FileLock(directory / "lock", timeout=_PATIENCE_SECONDS, thread_local=False)

    def fresh(self) -> Shared:
        """Begin again, with nothing counted."""
        self.read()
        with self._lock:
            self._past.unlink(missing_ok=True)
        return self

    def own(self) -> Own:
        """A place for the numbers of one process."""
        return Own(self, self._directory / f"{os.getpid()}-{secrets.token_hex(4)}.json")

    def read(self) -> Numbers:
        """What all processes have counted, those that have ended included."""
        with self._lock:
            living = []
            for file in sorted(self._directory.glob("*.json")):
                lock = FileLock(file.with_suffix(".owner"), timeout=0, thread_local=False)
                try:
                    with lock:
                        self._bury(file)
                except Timeout:
                    living.append(_read(file))
            return together([_read(self._past), *living])

    def bury(self, file: Path) -> None:
        """Keep what still counts of a process that ends."""
        with self._lock:
            self._bury(file)

    def _bury(self, file: Path) -> None:
        _write(self._past, together([_read(self._past), lasting(_read(file))]))
        file.unlink(missing_ok=True)
        file.with_suffix(".owner").unlink(missing_ok=True)


class Own:
    """One process's place among the shared numbers."""

    def __init__(self, shared: Shared, file: Path) -> None:
        self._shared = shared
        self._file = file
        self._held = FileLock(file.with_suffix(".owner"), thread_local=False)
        self._held.acquire()
        # Whoever asks for the metrics leaves them too, beside the round that leaves them now and then.
        self._writing = Lock()
        self.leave({})

    def leave(self, numbers: Numbers) -> None:
        """What has been counted so far; what was left before is gone."""
        with self._writing:
            _write(self._file, numbers)

    def close(self) -> None:
        """The process ends; what it counted stays."""
        self._shared.bury(self._file)
        self._held.release()


def _read(file: Path) -> Numbers:
    """The numbers in a file; of one that is not there, or that another release wrote, what is known here."""
    with suppress(FileNotFoundError, orjson.JSONDecodeError):
        listed = orjson.loads(file.read_bytes())
        return {
            (name, tuple(labels)): (tuple(value[0]), value[1]) if isinstance(value, list) else value
            for name, labels, value in listed
            if name in METRICS
        }
    return {}


def _write(file: Path, numbers: Numbers) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(orjson.dumps([[name, labels, value] for (name, labels), value in numbers.items()]))
    new.replace(file)


class _Told(Collector):
    """What Prometheus' client writes out: the shared numbers, read when it asks."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def collect(self) -> Iterator[Family]:
        """Every metric, whether it has been counted yet or not."""
        numbers = self._shared.read()
        by_name: dict[str, list[tuple[tuple[str, ...], float | Spreading]]] = {}
        for (name, labels), value in sorted(numbers.items(), key=lambda item: item[0]):
            by_name.setdefault(name, []).append((labels, value))
        for metric in METRICS.values():
            yield _family(metric, by_name.get(metric.name, []))


def _family(metric: Metric, values: Iterable[tuple[tuple[str, ...], float | Spreading]]) -> Family:
    if metric.kind is _HISTOGRAM:
        spread = HistogramMetricFamily(metric.name, metric.words, labels=metric.labels)
        for labels, value in values:
            assert isinstance(value, tuple)  # noqa: S101 - a metric is of one kind
            spread.add_metric(labels, _rooms(metric.bounds, value[0]), value[1])
        return spread
    made = CounterMetricFamily if metric.kind is _COUNTER else GaugeMetricFamily
    plain = made(metric.name, metric.words, labels=metric.labels)
    for labels, value in values:
        assert not isinstance(value, tuple)  # noqa: S101 - a metric is of one kind
        plain.add_metric(labels, value)
    return plain


def _rooms(bounds: tuple[float, ...], counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """The rooms of a histogram as they are written: each holds those before it, and the last one all."""
    found, below = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found


def registry(shared: Shared) -> CollectorRegistry:
    """What Prometheus' client serves."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Told(shared))
    return made
