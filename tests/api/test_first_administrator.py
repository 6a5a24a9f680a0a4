"""The first start: a link that the start gives makes one subject the administrator, once; no setting, no password.

Seen to fail with the digest of the secret not compared, with the end of a link not looked at, and with
the links left behind when the realm begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from demo.issuer import RunningIssuer
from muniment.app import create_app, prepare
from muniment.flows import begin_realm
from muniment.store.databases import Database
from tests.api.running import Running, refusal, running, settings_for

pytestmark = pytest.mark.anyio

DOOR = "/v1/first-administrator"
SECRETS = ["", "a", "a" * 43, "ä" * 43, "\x00"]


@asynccontextmanager
async def begun(issuer: RunningIssuer, url: str) -> AsyncIterator[tuple[Running, str]]:
    """A service that nobody administers yet, and the secret of the link that its start gave."""
    settings = settings_for(issuer, bootstrap_admin=None)
    link = await prepare(settings, url)
    assert link is not None
    app = create_app(settings, url)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Running(app, http, issuer, settings, url), parse_qs(urlsplit(link).query)["link"][0]


async def test_whoever_follows_the_link_administers_and_can_use_no_data(issuer: RunningIssuer, database: str) -> None:
    async with begun(issuer, database) as (service, secret):
        refusal(await service.ann.put("/v1/environments/prod", {"description": "where it happens"}, after=0), 403)
        answer = await service.ann.post(DOOR, {"secret": secret})
        assert answer.status_code == 201
        assert answer.json() == {"subject": "user:ann", "revision": 1}
        await service.ann.make("/v1/environments/prod", {"description": "where it happens"})
        told = await service.ann.read("/v1/ledger?event=realm.bootstrapped")
        assert [row["details"]["administrator"] for row in told["items"]] == ["user:ann"]
        assert secret not in str(told)


async def test_it_works_once_and_every_other_link_ends_with_it(issuer: RunningIssuer, database: str) -> None:
    earlier = await prepare(settings_for(issuer, bootstrap_admin=None), database)
    assert earlier is not None
    async with begun(issuer, database) as (service, secret):
        assert (await service.ann.post(DOOR, {"secret": secret})).status_code == 201
        for known in (secret, parse_qs(urlsplit(earlier).query)["link"][0]):
            refusal(await service.eve.post(DOOR, {"secret": known}), 404)
        assert await prepare(settings_for(issuer, bootstrap_admin=None), database) is None


@pytest.mark.parametrize("secret", SECRETS)
async def test_a_secret_that_was_never_given_begins_nothing(issuer: RunningIssuer, database: str, secret: str) -> None:
    async with begun(issuer, database) as (service, true):
        refusal(await service.eve.post(DOOR, {"secret": secret}), 404, 422)
        refusal(await service.eve.post(DOOR, {"secret": true[:-1]}), 404)
        refusal(await service.nobody.post(DOOR, {"secret": true}), 401)
        assert (await service.ann.post(DOOR, {"secret": true})).status_code == 201


async def test_a_link_ends_after_a_day(issuer: RunningIssuer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin_realm, "LINK_LASTS", timedelta(0))
    async with begun(issuer, database) as (service, secret):
        refusal(await service.ann.post(DOOR, {"secret": secret}), 404)


async def test_a_link_made_before_the_setting_named_somebody_is_worth_nothing_afterwards(
    issuer: RunningIssuer, database: str
) -> None:
    link = await prepare(settings_for(issuer, bootstrap_admin=None), database)
    assert link is not None
    async with running(issuer, database) as service:
        secret = parse_qs(urlsplit(link).query)["link"][0]
        refusal(await service.eve.post(DOOR, {"secret": secret}), 404)


async def test_the_database_holds_no_secret(issuer: RunningIssuer, database: str) -> None:
    link = await prepare(settings_for(issuer, bootstrap_admin=None), database)
    assert link is not None
    db = Database.open(database)
    try:
        async with db.begin() as tx:
            (kept,) = (await tx.exec_driver_sql("SELECT secret_sha256 FROM beginnings")).scalars()
    finally:
        await db.close()
    assert len(kept) == 32
    assert bytes(kept) not in link.encode()
