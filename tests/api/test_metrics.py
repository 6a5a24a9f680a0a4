"""The metrics tell how the service does, to those who may read them, and nobody's name.

Seen to fail with the path in place of the route's template, with the door open to every network, with the numbers of
a process that ended thrown away, and with a gauge of it kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.issuer import RunningIssuer
from muniment.api.metrics import METRICS, Kind, Shared, registry, together
from muniment.core.measures import SECONDS, Spread
from muniment.core.problems import Invalid
from muniment.core.watchers import parse_watchers
from muniment.flows.watch_over import known_to_database
from tests.api.running import Running, found_company, refusal, running

pytestmark = pytest.mark.anyio

HERE = "127.0.0.0/8"


@pytest.fixture(scope="module")
async def counting(
    issuer: RunningIssuer, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A service whose metrics may be read from this machine."""
    place = tmp_path_factory.mktemp("counting")
    async with running(issuer, module_database, metrics=HERE, data_dir=place) as started:
        await found_company(started)
        yield started


async def told(service: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample that is told, by its name and labels."""
    answer = await service.nobody.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def answered(route: str, status: int, method: str = "GET") -> tuple[str, tuple[tuple[str, str], ...]]:
    return "muniment_http_requests_total", (("method", method), ("route", route), ("status", str(status)))


async def test_each_request_is_counted_by_its_route_and_answer(counting: Running) -> None:
    before = await told(counting)
    await counting.ann.catalog()
    await counting.ann.get("/v1/datasets/sales.orders")
    await counting.ann.get("/v1/datasets/hr.salaries")
    await counting.nobody.get("/v1/whoami")
    await counting.nobody.send("BREW", "/coffee")
    after = await told(counting)

    for key in (
        answered("/v1/catalog", 200),
        answered("/v1/datasets/{name}", 200),
        answered("/v1/datasets/{name}", 404),
        answered("/v1/whoami", 401),
        answered("none", 404, "OTHER"),
    ):
        assert after[key] == before.get(key, 0) + 1, key
    count = ("muniment_http_request_duration_seconds_count", (("method", "GET"), ("route", "/v1/catalog")))
    assert after[count] == before.get(count, 0) + 1


async def test_no_name_path_or_address_of_anybody_is_a_label(counting: Running) -> None:
    await counting.ann.catalog()
    for path in ("/v1/datasets/hr.salaries", "/made-up/by-somebody", "/v1/who/sales.orders?subject=user:ann"):
        await counting.ann.get(path)
    labels = {text for name, given in await told(counting) for label, text in given if label not in {"le", "version"}}
    templates = {path for _, path in counting.routes} | {"/metrics", "none", "/openapi.json"}
    allowed = templates | {"GET", "PUT", "POST", "DELETE", "OTHER"} | {str(status) for status in range(200, 600)}
    assert labels <= allowed
    for name in ("ann", "salaries", "made-up", "127.0.0.1"):
        assert not any(name in label for label in labels)


async def test_rows_sign_ins_and_decisions_are_counted_where_they_happen(counting: Running) -> None:
    await counting.sam.catalog()
    before = await told(counting)
    for _ in range(3):
        await counting.sam.catalog()
    after = await told(counting)

    def grown(name: str) -> float:
        return after[name, ()] - before[name, ()]

    assert grown("muniment_ledger_rows_total") == 3
    assert grown("muniment_ledger_commit_duration_seconds_count") == 3
    assert grown("muniment_tokens_remembered_total") >= 3
    assert grown("muniment_tokens_verified_total") == 0
    assert grown("muniment_listings_decided_total") == 0
    assert after["muniment_workers", ()] == 1
    assert after["muniment_realm_revision", ()] > 10
    assert after["muniment_database_connections_most", ()] >= after["muniment_database_connections_in_use", ()]


async def test_what_waits_is_asked_of_the_database(counting: Running) -> None:
    await counting.ann.catalog()
    known = await known_to_database(counting.app.state.house, datetime.now(UTC) + timedelta(minutes=1))
    assert known.keys() <= METRICS.keys()
    assert known["muniment_seal_rows"] == 0  # no sealer works on this database
    assert known["muniment_seal_lag_seconds"] >= 60
    assert known["muniment_webhook_rows_waiting"] == known["muniment_webhooks_stopped"] == 0
    assert (await told(counting))["muniment_seal_lag_seconds", ()] > 0


async def test_every_metric_is_told_from_the_first_scrape_on(counting: Running) -> None:
    answer = await counting.nobody.get("/metrics")
    families = {family.name: family.type for family in text_string_to_metric_families(answer.text)}
    for metric in METRICS.values():
        kind = "gauge" if metric.kind is Kind.KNOWN_BY_ALL else metric.kind.value
        assert families[metric.name.removesuffix("_total")] == kind
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("metrics", ["off", "10.0.0.0/8", "127.0.0.1:9420"])
async def test_from_elsewhere_nothing_is_there(
    counting: Running, issuer: RunningIssuer, tmp_path: Path, metrics: str
) -> None:
    missing = await counting.root.get("/no-such-page-anywhere")
    async with running(issuer, counting.url, metrics=metrics, data_dir=tmp_path) as other:
        for caller in (other.nobody, other.root):
            assert refusal(await caller.get("/metrics"), 404) == refusal(missing, 404)


def spread(*values: float) -> tuple[tuple[int, ...], float]:
    counted = Spread()
    for value in values:
        counted.add(value)
    return tuple(counted.counts), counted.total


def test_a_value_that_equals_a_bound_is_below_it() -> None:
    counts, total = spread(0.001, 0.0011, 99.0)
    assert counts[:2] == (1, 1)
    assert counts[-1] == 1
    assert len(counts) == len(SECONDS) + 1
    assert total == pytest.approx(99.0021)


def test_what_several_processes_counted_is_told_as_one(tmp_path: Path) -> None:
    shared = Shared(tmp_path / "metrics")
    one, other = shared.own(), shared.own()
    one.leave({
        ("muniment_ledger_rows_total", ()): 3.0,
        ("muniment_ledger_commit_duration_seconds", ()): spread(0.5),
        ("muniment_realm_revision", ()): 7.0,
        ("muniment_workers", ()): 1.0,
    })  # fmt: skip
    other.leave({
        ("muniment_ledger_rows_total", ()): 4.0,
        ("muniment_ledger_commit_duration_seconds", ()): spread(0.5, 64.0),
        ("muniment_realm_revision", ()): 8.0,
        ("muniment_workers", ()): 1.0,
    })  # fmt: skip
    assert shared.read() == {
        ("muniment_ledger_rows_total", ()): 7.0,
        ("muniment_ledger_commit_duration_seconds", ()): spread(0.5, 0.5, 64.0),
        ("muniment_realm_revision", ()): 8.0,
        ("muniment_workers", ()): 2.0,
    }
    told = {
        sample.name + sample.labels["le"]: sample.value
        for family in registry(shared).collect()
        for sample in family.samples
        if sample.labels.keys() == {"le"}
    }
    assert told["muniment_ledger_commit_duration_seconds_bucket0.5"] == 2
    assert told["muniment_ledger_commit_duration_seconds_bucket+Inf"] == 3
    one.close()
    other.close()


def test_what_a_process_counted_outlives_it_and_what_it_held_does_not(tmp_path: Path) -> None:
    shared = Shared(tmp_path / "metrics")
    killed, ended, living = shared.own(), shared.own(), shared.own()
    for each in (killed, ended, living):
        each.leave({("muniment_ledger_rows_total", ()): 5.0, ("muniment_ledger_waiting_rows", ()): 2.0})
    killed._held.release()  # what the system does for a process that is killed
    ended.close()

    for _ in range(2):
        assert shared.read() == {
            ("muniment_ledger_rows_total", ()): 15.0,
            ("muniment_ledger_waiting_rows", ()): 2.0,
        }
    left = {file.suffix for file in (tmp_path / "metrics").glob("*-*")}
    assert left == {".json", ".owner"}
    assert len(list((tmp_path / "metrics").glob("*.json"))) == 1
    living.close()


def test_a_process_may_leave_its_numbers_twice_at_once(tmp_path: Path) -> None:
    """A scrape leaves them, beside the round that does so now and then."""
    own = Shared(tmp_path / "metrics").own()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(own.leave, [{("muniment_ledger_rows_total", ()): 1.0}] * 400))
    own.close()


def test_a_service_that_starts_again_begins_to_count_again(tmp_path: Path) -> None:
    before = Shared(tmp_path / "metrics").own()
    before.leave({("muniment_ledger_rows_total", ()): 5.0})
    before.close()
    assert Shared(tmp_path / "metrics").read() == {("muniment_ledger_rows_total", ()): 5.0}
    assert Shared(tmp_path / "metrics").fresh().read() == {}


def test_numbers_of_one_process_alone_stay_as_they_are() -> None:
    numbers = {("muniment_ledger_rows_total", ()): 5.0, ("muniment_ledger_batch_rows", ()): spread(1)}
    assert together([{}, numbers, {}]) == numbers


@pytest.mark.parametrize(
    ("text", "address", "caller", "may"),
    [
        ("off", None, "127.0.0.1", False),
        ("127.0.0.1:9420", ("127.0.0.1", 9420), "127.0.0.1", False),
        ("[::1]:9420", ("::1", 9420), "::1", False),
        ("10.0.0.0/8, 192.168.1.7", None, "10.9.8.7", True),
        ("10.0.0.0/8, 192.168.1.7", None, "192.168.1.8", False),
        ("::1", None, "::1", True),
        ("10.0.0.0/8", None, "", False),
    ],
)
def test_the_setting_says_who_may_read(text: str, address: tuple[str, int] | None, caller: str, may: bool) -> None:
    watchers = parse_watchers(text)
    assert watchers.address == address
    assert watchers.may_ask_from(caller) is may
    assert watchers.any is (text != "off")


@pytest.mark.parametrize(
    "text", ["on", "9420", ":9420", "example.org:9420", "127.0.0.1:0", "127.0.0.1:65536", "10.0.0.1/8"]
)
def test_a_setting_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="off, an address with a port"):
        parse_watchers(text)
