"""Who has to wait: guessing and asking around are slow, and nobody waits for what a neighbour did."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.issuer import RunningIssuer
from muniment.api.limits import MOST_REMEMBERED, Tally
from muniment.core.addresses import owner_of
from muniment.core.limits import Rate, parse_rate, rates_from
from muniment.core.problems import Invalid
from muniment.identity.bearer import Bearer
from muniment.store import refusals
from muniment.store.databases import Database
from tests.api.running import Caller, Running, found_company, refusal, running

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def limited(issuer: RunningIssuer, url: str, **rates: str) -> AsyncIterator[Running]:
    """A service with a small company in it and with these limits."""
    async with running(issuer, url) as founding:
        await found_company(founding)
    wide = dict.fromkeys(("sign_ins", "failed_sign_ins", "refused"), "1000000/second")
    async with running(issuer, url, limits=rates_from({**wide, **rates})) as started:
        yield started


@asynccontextmanager
async def from_address(service: Running, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests come from an address."""
    transport = httpx.ASGITransport(service.app, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


def waits(answer: httpx.Response) -> int:
    """The seconds to wait that an answer names, which must say nothing else."""
    problem = refusal(answer, 429)
    assert problem["type"] == "/problems/too-many"
    seconds = int(answer.headers["retry-after"])
    assert seconds >= 1
    assert f"Try again in {seconds} second" in problem["detail"]
    return seconds


# --- a rate ---------------------------------------------------------------------------------------------------------


def test_a_rate_is_so_many_at_once_and_then_one_at_each_step():
    tally = Tally(parse_rate("30/minute"))
    for _ in range(30):
        assert tally.wait("192.0.2.7", NINE) == 0
        tally.count("192.0.2.7", NINE)
    assert tally.wait("192.0.2.7", NINE) == 2
    assert tally.wait("192.0.2.7", NINE + 1.5 * SECOND) == 0.5
    assert tally.wait("192.0.2.7", NINE + 2 * SECOND) == 0
    assert tally.wait("192.0.2.8", NINE) == 0


@given(
    rate=st.builds(Rate, st.integers(1, 1000), st.sampled_from(["second", "minute", "hour", "day"])),
    pauses=st.lists(st.floats(0, 100), max_size=50),
)
def test_in_no_period_is_there_room_for_more_than_twice_the_rate(rate: Rate, pauses: list[float]):
    """Whoever waits as told is let in; no period holds more of them than the rate and what drained meanwhile."""
    tally, now, entered = Tally(rate), NINE, []
    for pause in pauses:
        now += timedelta(seconds=pause + tally.wait("a", now)) + timedelta(microseconds=2)
        assert tally.wait("a", now) == 0
        tally.count("a", now)
        entered.append(now)
        begun = now - timedelta(seconds=rate.seconds)
        assert sum(at > begun for at in entered) <= 2 * rate.amount


def test_whoever_goes_on_knocking_owes_no_more_than_the_whole_rate():
    tally = Tally(parse_rate("30/minute"))
    for _ in range(5000):
        tally.count("192.0.2.7", NINE)
    assert tally.wait("192.0.2.7", NINE) == 2
    assert tally.wait("192.0.2.7", NINE + 2 * SECOND) == 0


def test_a_clock_that_is_set_back_locks_nobody_out():
    tally = Tally(parse_rate("1/hour"))
    tally.count("192.0.2.7", NINE)
    assert tally.wait("192.0.2.7", NINE - timedelta(days=1)) == 0


def test_many_addresses_take_a_bounded_memory_and_the_longest_quiet_is_forgotten():
    tally = Tally(parse_rate("1/hour"), most=100)
    for number in range(1000):
        tally.count(f"10.0.{number // 256}.{number % 256}", NINE)
    assert len(tally) == 100
    assert tally.wait("10.0.0.0", NINE) == 0
    assert tally.wait("10.0.3.231", NINE) == 3600
    assert len(Tally(Rate(1))) < MOST_REMEMBERED


def test_everybody_in_one_network_of_ipv6_is_one_caller():
    assert owner_of("2001:db8:1:2::1") == owner_of("2001:db8:1:2:ffff::9") != owner_of("2001:db8:1:3::1")
    assert owner_of("::ffff:192.0.2.7") == owner_of("192.0.2.7") != owner_of("192.0.2.8")


@pytest.mark.parametrize(
    "text", ["", "30", "30/min", "0/minute", "-1/minute", "30/minute;1/day", "1e9/day", None, 30], ids=repr
)
def test_what_is_no_rate_is_refused(text: object):
    with pytest.raises(Invalid, match="30/minute"):
        parse_rate(text)


# --- at the doors ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_guessing_at_credentials_is_slowed_down_and_neither_verified_nor_looked_up(
    issuer: RunningIssuer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail with the gate's check taken out."""
    async with limited(issuer, database, failed_sign_ins="3/hour") as service:
        guess = Caller(service.http, "a-guess")
        for _ in range(3):
            refusal(await guess.get("/v1/whoami"), 401)

        async def never(*_: object) -> None:
            raise AssertionError("it was verified, or the database was asked")

        with monkeypatch.context() as patched:
            patched.setattr(Bearer, "verify", never)
            patched.setattr(Database, "begin", never)
            assert 1000 < waits(await guess.get("/v1/whoami")) <= 1200
            waits(await Caller(service.http, "another").post("/v1/preflight", {"environment": "dev"}))


@pytest.mark.anyio
async def test_whoever_is_known_here_does_not_wait_for_what_a_neighbour_did(
    issuer: RunningIssuer, database: str
) -> None:
    """Seen to fail with no credential remembered."""
    async with limited(issuer, database, failed_sign_ins="3/hour") as service:
        ann = service.ann
        await ann.read("/v1/whoami")
        for _ in range(3):
            refusal(await Caller(service.http, "a-guess").get("/v1/whoami"), 401)

        await ann.read("/v1/whoami")
        waits(await service.sam.get("/v1/whoami"))
        async with from_address(service, "192.0.2.8") as elsewhere:
            await Caller(elsewhere, service.sam.token).read("/v1/whoami")
        await service.sam.read("/v1/whoami")


@pytest.mark.anyio
async def test_a_credential_that_was_good_and_fails_is_a_guess_like_any_other(
    issuer: RunningIssuer, database: str
) -> None:
    async with limited(issuer, database, failed_sign_ins="1/hour") as service:
        ann = service.ann
        await ann.read("/v1/whoami")
        issuer_keys = service.app.state.doorkeeper._bearer
        issuer_keys._issuers.clear()
        issuer_keys._remembered.clear()

        refusal(await ann.get("/v1/whoami"), 401)
        waits(await ann.get("/v1/whoami"))


@pytest.mark.anyio
async def test_whoever_asks_for_name_after_name_has_to_wait_and_nobody_else_does(
    issuer: RunningIssuer, database: str
) -> None:
    """From every address and with every token: the subject is counted. Seen to fail with that taken out."""
    async with limited(issuer, database, refused="5/hour") as service:
        eve = service.eve
        for number in range(5):
            refusal(await eve.get(f"/v1/datasets/hr.guess_{number}"), 404)

        assert 500 < waits(await eve.get("/v1/datasets/hr.salaries")) <= 720
        waits(await eve.get("/v1/whoami"))
        waits(await service.somebody("eve", jti="another token").get("/v1/whoami"))
        async with from_address(service, "192.0.2.8") as elsewhere:
            waits(await Caller(elsewhere, eve.token).get("/v1/whoami"))
        await service.ann.read("/v1/whoami")


@pytest.mark.anyio
async def test_what_is_not_allowed_is_counted_like_what_is_not_there(issuer: RunningIssuer, database: str) -> None:
    async with limited(issuer, database, refused="2/hour") as service:
        refusal(await service.ann.get("/v1/ledger"), 403)
        refusal(await service.ann.get("/v1/datasets/hr.salaries"), 404)
        waits(await service.ann.get("/v1/whoami"))


@pytest.mark.anyio
async def test_the_hidden_and_the_missing_cost_the_same(issuer: RunningIssuer, database: str) -> None:
    async with limited(issuer, database, refused="4/hour") as service:
        for name in ("hr.salaries", "hr.nothing"):
            refusal(await service.ann.get(f"/v1/datasets/{name}"), 404)
            refusal(await service.eve.get("/v1/datasets/hr.salaries"), 404)
            refusal(await service.sam.get("/v1/datasets/hr.nothing"), 404)
        tally = service.app.state.gate._refused_subjects
        owed = {tally._free[f"user:{who}"] - tally._free["user:ann"] for who in ("eve", "sam")}
        assert all(abs(difference) < 60 for difference in owed)


@pytest.mark.anyio
async def test_knocking_without_a_credential_is_slowed_down_by_address(issuer: RunningIssuer, database: str) -> None:
    async with limited(issuer, database, refused="2/hour") as service:
        refusal(await service.nobody.get("/v1/whoami"), 401)
        refusal(await service.nobody.get("/nothing/here"), 404)
        waits(await service.nobody.get("/v1/whoami"))
        waits(await service.nobody.get("/.well-known/muniment"))
        for watched in ("/healthz", "/readyz"):
            assert (await service.nobody.get(watched)).status_code == 200


@pytest.mark.anyio
async def test_a_network_of_ipv6_is_slowed_down_as_one(issuer: RunningIssuer, database: str) -> None:
    async with limited(issuer, database, failed_sign_ins="2/hour") as service:
        for address in ("2001:db8::1", "2001:db8::2"):
            async with from_address(service, address) as http:
                refusal(await Caller(http, "a-guess").get("/v1/whoami"), 401)
        async with from_address(service, "2001:db8::3") as http:
            waits(await Caller(http, "a-guess").get("/v1/whoami"))
        async with from_address(service, "2001:db8:0:1::3") as http:
            refusal(await Caller(http, "a-guess").get("/v1/whoami"), 401)


@pytest.mark.anyio
async def test_who_has_to_wait_is_counted_among_the_refused(issuer: RunningIssuer, database: str) -> None:
    async with limited(issuer, database, failed_sign_ins="1/hour") as service:
        for status in (401, 429, 429):
            refusal(await Caller(service.http, "a-guess").get("/v1/whoami"), status)
        await service.app.state.doorkeeper._refusals.flush()
        async with service.app.state.house.db.begin() as tx:
            counted = await refusals.latest(tx, since=datetime.now(UTC) - timedelta(hours=1))
    totals: Counter[str] = Counter()
    for row in counted:
        totals[row.reason] += row.count
    assert totals == {"TokenRefused": 1, "TooMany": 2}
    assert {row.address for row in counted} == {"127.0.0.1"}
