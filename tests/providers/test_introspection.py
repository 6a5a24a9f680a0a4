"""Opaque tokens of providers that others wrote: Muniment asks about them, and takes nothing else that they know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from muniment.core.problems import TokenRefused, Unavailable
from muniment.identity.bearer import Bearer
from muniment.identity.examination import Outcome, examine
from muniment.identity.issuers import issuers_from
from tests.providers import canaille, oidc_provider

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def certified():
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def another():
    with canaille.running() as provider:
        yield provider


@pytest.fixture
async def http():
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
def now():
    return datetime.now(UTC)


def believing(provider, of, **changes):
    asked = {"client_id": of.SERVICE, "client_secret": of.SERVICE_SECRET, **changes}
    given = {"name": "corp", "issuer": provider.issuer, "audience": "muniment", "default": True, "introspection": asked}
    return issuers_from([given])


async def test_an_opaque_token_of_a_certified_provider_signs_its_subject_in(certified, http, now):
    token = certified.token_for("ann", resource=oidc_provider.OPAQUE_RESOURCE)
    assert "." not in token
    issuers = believing(certified, oidc_provider)
    sign_in = await Bearer(issuers, http).verify(token, now)
    assert str(sign_in.state.subject) == "user:ann"
    assert sign_in.state.groups == {"analysts"}
    assert (await examine(token, issuers, http, now)).outcome is Outcome.HOLDS


async def test_a_refresh_token_is_no_access_token_though_its_provider_knows_it(certified, http, now):
    given = certified.sign_in("ann", resource=oidc_provider.OPAQUE_RESOURCE)
    bearer = Bearer(believing(certified, oidc_provider, clients=[oidc_provider.PEOPLE]), http)
    assert (await bearer.verify(given["access_token"], now)).state.subject.id == "ann"
    with pytest.raises(TokenRefused):
        await bearer.verify(given["refresh_token"], now)


async def test_a_token_for_the_providers_own_userinfo_is_not_for_us(certified, http, now):
    token = certified.sign_in("ann", resource="")["access_token"]
    with pytest.raises(TokenRefused):
        await Bearer(believing(certified, oidc_provider), http).verify(token, now)


async def test_a_sign_in_that_was_ended_is_refused_within_half_a_minute(certified, http, now):
    token = certified.token_for("sam", resource=oidc_provider.OPAQUE_RESOURCE)
    bearer = Bearer(believing(certified, oidc_provider), http)
    await bearer.verify(token, now)
    asked = certified.asked("/token/introspection")
    certified.end_sessions("sam")
    await bearer.verify(token, now + timedelta(seconds=29))
    assert certified.asked("/token/introspection") == asked
    with pytest.raises(TokenRefused):
        await bearer.verify(token, now + timedelta(seconds=30))


async def test_a_wrong_secret_of_ours_is_no_fault_of_the_token(certified, http, now):
    token = certified.token_for("ann", resource=oidc_provider.OPAQUE_RESOURCE)
    with pytest.raises(Unavailable, match="status 401"):
        await Bearer(believing(certified, oidc_provider, client_secret="another"), http).verify(token, now)


async def test_a_job_of_another_provider_signs_in_with_an_opaque_token(another, http, now):
    sign_in = await Bearer(believing(another, canaille), http).verify(another.job_token(), now)
    assert str(sign_in.state.subject) == f"service:{canaille.JOB}"


async def test_a_refresh_token_of_another_provider_is_no_access_token(another, http, now):
    given = another.sign_in("ann")
    with pytest.raises(TokenRefused):
        await Bearer(believing(another, canaille), http).verify(given["refresh_token"], now)
