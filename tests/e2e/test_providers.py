"""The service believes providers that others wrote: ``oidc-provider``, which is certified, and Canaille.

Their tokens come about as in earnest: somebody signs in at the provider's own pages, a job shows
its secret or signs with its key. What the service makes of each is asked at ``/v1/whoami``.
"""

from __future__ import annotations

import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from joserfc import jwt

from muniment.app import create_app, prepare
from muniment.core.limits import rates_from
from muniment.identity.issuers import issuers_from
from muniment.settings import Settings
from tests.api.running import NO_LIMITS
from tests.providers import canaille, oidc_provider
from tests.providers.canaille import Canaille
from tests.providers.oidc_provider import (
    AUDIENCE,
    DEVICE_GRANT,
    JOB,
    JOB_SECRET,
    KEY_JOB,
    KEY_JOB_KEY,
    OPAQUE_RESOURCE,
    OTHER_RESOURCE,
    PEOPLE,
    RESOURCE,
    OidcProvider,
)

pytestmark = pytest.mark.anyio

_NOTHING = urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()


@pytest.fixture(scope="module")
def corp() -> Iterator[OidcProvider]:
    """The certified provider, as the company's own."""
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def lab() -> Iterator[Canaille]:
    """Canaille, as the one of a laboratory next door."""
    with canaille.running() as provider:
        yield provider


@pytest.fixture(scope="module")
async def service(corp: OidcProvider, lab: Canaille, module_database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service that believes both."""
    async with believing(module_database, as_corp(corp), as_lab(lab)) as http:
        yield http


@pytest.fixture(scope="module")
async def asking(corp: OidcProvider, lab: Canaille, module_database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service that asks both about tokens that say nothing themselves, each time anew."""
    at_corp = {"client_id": oidc_provider.SERVICE, "client_secret": oidc_provider.SERVICE_SECRET}
    at_lab = {"client_id": canaille.SERVICE, "client_secret": canaille.SERVICE_SECRET}
    described = (
        as_corp(corp, introspection={**at_corp, "remembered_seconds": 0}),
        as_lab(lab, introspection={**at_lab, "remembered_seconds": 0}),
    )
    async with believing(module_database, *described) as http:
        yield http


@pytest.fixture(params=[oidc_provider, canaille], ids=["oidc-provider", "canaille"])
def own(request: pytest.FixtureRequest) -> Iterator[OidcProvider | Canaille]:
    """A provider whose keys the test may change."""
    with request.param.running() as provider:
        yield provider


@pytest.fixture
async def believer(own: OidcProvider | Canaille, database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service that believes that one."""
    async with believing(
        database, {"name": "own", "issuer": own.issuer, "audience": AUDIENCE, "default": True}
    ) as http:
        yield http


def as_corp(corp: OidcProvider, **more: object) -> dict[str, object]:
    return {
        "name": "corp",
        "issuer": corp.issuer,
        "audience": AUDIENCE,
        "default": True,
        "kind": {"services_where": {"kind": "service"}},
        "attributes": {"clearance": {"claim": "clr", "type": "long"}},
        **more,
    }


def as_lab(lab: Canaille, **more: object) -> dict[str, object]:
    return {"name": "lab", "issuer": lab.issuer, "audience": canaille.SERVICE, **more}


@asynccontextmanager
async def believing(database: str, *issuers: dict[str, object]) -> AsyncIterator[httpx.AsyncClient]:
    """A service on this database that believes these issuers."""
    settings = Settings(issuers=issuers_from(list(issuers)), bootstrap_admin="user:root", limits=rates_from(NO_LIMITS))
    await prepare(settings, database)
    app = create_app(settings, database)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
    ):
        yield http


async def asked_with(service: httpx.AsyncClient, token: str) -> httpx.Response:
    return await service.get("/v1/whoami", headers={"Authorization": f"Bearer {token}"})


async def known_as(service: httpx.AsyncClient, token: str) -> dict[str, Any]:
    """Whom the service takes the bearer of the token for."""
    answer = await asked_with(service, token)
    assert answer.status_code == 200, answer.text
    myself: dict[str, Any] = answer.json()
    return myself


async def refused(service: httpx.AsyncClient, token: str) -> str:
    """Why the service does not believe a token, in words that hold nothing of it."""
    answer = await asked_with(service, token)
    assert answer.status_code == 401, answer.text
    assert not any(part and part in answer.text for part in token.split("."))
    detail: str = answer.json()["detail"]
    return detail


# --- people and jobs --------------------------------------------------------------------------------------------------


async def test_a_person_who_signs_in_by_code_is_known_with_groups_and_attributes(service, corp):
    myself = await known_as(service, corp.sign_in("ann")["access_token"])

    assert myself["subject"] == "user:ann"
    assert myself["issuer"] == "corp"
    assert myself["groups"] == ["group:analysts"]
    assert myself["attributes"] == {"clearance": 3}


async def test_a_person_who_signs_in_by_a_device_is_known(service, corp):
    device = corp.device_code()
    waits = {
        "grant_type": DEVICE_GRANT,
        "client_id": PEOPLE,
        "device_code": device["device_code"],
        "resource": RESOURCE,
    }
    assert corp.token(**waits)["error"] == "authorization_pending"

    corp.approve_device(device["user_code"], "sam")

    myself = await known_as(service, corp.token(**waits)["access_token"])
    assert (myself["subject"], myself["groups"]) == ("user:sam", ["group:stewards"])


async def test_a_refreshed_token_says_what_the_provider_knows_by_then(service, corp):
    corp.put_account("mia", groups=["analysts"])
    first = corp.sign_in("mia")
    assert (await known_as(service, first["access_token"]))["groups"] == ["group:analysts"]

    corp.put_account("mia", groups=["stewards"])
    refresh = {"grant_type": "refresh_token", "client_id": PEOPLE, "resource": RESOURCE}
    second = corp.token(refresh_token=first["refresh_token"], **refresh)

    assert (await known_as(service, second["access_token"]))["groups"] == ["group:stewards"]


async def test_a_job_with_a_secret_is_a_service(service, corp):
    myself = await known_as(service, corp.job_token())

    assert (myself["subject"], myself["groups"]) == (f"service:{JOB}", ["group:jobs"])


async def test_a_job_that_signs_with_its_key_is_a_service(service, corp):
    now = int(time.time())
    claims = {"iss": KEY_JOB, "sub": KEY_JOB, "aud": corp.issuer, "jti": uuid.uuid4().hex, "iat": now, "exp": now + 60}
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "ES256", "kid": "weekly-1"}, claims, KEY_JOB_KEY),
    }
    given = corp.token(grant_type="client_credentials", resource=RESOURCE, **proof)

    assert (await known_as(service, given["access_token"]))["subject"] == f"service:{KEY_JOB}"


async def test_a_client_that_is_named_like_a_person_is_not_taken_for_her(corp, database):
    for_itself = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []}
    corp.register("ann", client_secret="the-secret-of-another-ann", **for_itself)
    given = corp.token(("ann", "the-secret-of-another-ann"), grant_type="client_credentials", resource=RESOURCE)

    async with believing(database, as_corp(corp, kind="users")) as service:
        assert (await known_as(service, given["access_token"]))["subject"] == "service:ann"
        assert (await known_as(service, corp.sign_in("ann")["access_token"]))["subject"] == "user:ann"


# --- keys that change -------------------------------------------------------------------------------------------------


async def test_keys_may_change_in_the_middle_of_a_run(believer, own):
    before = own.sign_in("ann")["access_token"]
    assert (await known_as(believer, before))["subject"] == "user:ann"

    own.rotate()

    after = own.sign_in("ann")["access_token"]
    assert (await known_as(believer, after))["subject"] == "user:ann"
    assert (await known_as(believer, before))["subject"] == "user:ann"


async def test_a_key_that_was_withdrawn_is_believed_no_more_once_its_successor_was_seen(believer, own):
    before = own.sign_in("ann")["access_token"]
    await known_as(believer, before)

    own.rotate(withdraw=True)

    await known_as(believer, own.sign_in("ann")["access_token"])
    await refused(believer, before)


# --- tokens that are not for the service ------------------------------------------------------------------------------


async def test_a_token_for_another_service_is_refused(service, corp, lab):
    assert "not made for this service" in await refused(service, corp.sign_in("ann", OTHER_RESOURCE)["access_token"])
    there = lab.sign_in("ann", client=canaille.OTHER)
    assert "not made for this service" in await refused(service, there["access_token"])


async def test_an_id_token_is_no_access_token(service, corp, lab):
    await refused(service, corp.sign_in("ann")["id_token"])
    # Canaille's has the right audience, the right key and the right subject: what tells it is `at_hash`.
    assert "ID token" in await refused(service, lab.sign_in("ann")["id_token"])


async def test_a_provider_that_lists_the_algorithm_none_can_still_not_be_forged(service, lab):
    discovery = lab.http.get(f"{lab.issuer}/.well-known/openid-configuration").json()
    assert "none" in discovery["id_token_signing_alg_values_supported"]
    good = lab.sign_in("ann")["access_token"]
    assert (await known_as(service, good))["subject"] == "user:lab|ann"
    _, claims, signature = good.split(".")

    await refused(service, f"{_NOTHING}.{claims}.")
    await refused(service, f"{_NOTHING}.{claims}.{signature}")


async def test_a_token_that_is_bound_to_its_holders_key_is_refused(service, corp):
    endpoint = f"{corp.issuer}/token"
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY_JOB_KEY.as_dict(private=False)}
    claims = {"jti": uuid.uuid4().hex, "htm": "POST", "htu": endpoint, "iat": int(time.time())}
    answer = corp.http.post(
        endpoint,
        data={"grant_type": "client_credentials", "resource": RESOURCE},
        auth=(JOB, JOB_SECRET),
        headers={"DPoP": jwt.encode(head, claims, KEY_JOB_KEY)},
    )
    assert answer.json()["token_type"] == "DPoP"

    # Whoever stole it could not use it where it was meant to be used; here they could (RFC 9449).
    assert "bound to a key of its holder" in await refused(service, answer.json()["access_token"])


# --- tokens that say nothing themselves -------------------------------------------------------------------------------


async def test_an_opaque_token_is_known_by_what_its_provider_says_of_it(asking, corp):
    myself = await known_as(asking, corp.sign_in("ann", OPAQUE_RESOURCE)["access_token"])

    assert (myself["subject"], myself["groups"]) == ("user:ann", ["group:analysts"])
    assert myself["attributes"] == {"clearance": 3}


async def test_an_opaque_token_of_a_job_speaks_for_its_client(asking, corp, lab):
    # Neither provider names a subject: there is none but the client (RFC 7662, section 2.2).
    assert (await known_as(asking, corp.job_token(OPAQUE_RESOURCE)))["subject"] == f"service:{JOB}"
    assert (await known_as(asking, lab.job_token()))["subject"] == f"service:lab|{canaille.JOB}"


async def test_an_opaque_token_is_refused_once_its_session_was_ended_at_the_provider(asking, corp):
    given = corp.sign_in("sam", OPAQUE_RESOURCE)
    await known_as(asking, given["access_token"])

    corp.end_sessions("sam")

    await refused(asking, given["access_token"])
    again = {"grant_type": "refresh_token", "client_id": PEOPLE, "refresh_token": given["refresh_token"]}
    assert corp.token(**again)["error"] == "invalid_grant"


async def test_an_opaque_token_that_its_holder_revoked_is_refused(asking, corp):
    token = corp.sign_in("ann", OPAQUE_RESOURCE)["access_token"]
    await known_as(asking, token)

    revoked = corp.http.post(f"{corp.issuer}/token/revocation", data={"token": token, "client_id": PEOPLE})
    assert revoked.status_code == 200

    await refused(asking, token)


async def test_a_refresh_token_is_no_access_token(asking, corp, lab):
    await refused(asking, corp.sign_in("ann", OPAQUE_RESOURCE)["refresh_token"])
    await refused(asking, lab.sign_in("ann")["refresh_token"])


async def test_a_token_for_the_providers_own_pages_is_refused(asking, corp):
    device = corp.device_code()
    corp.approve_device(device["user_code"], "ann")
    without_resource = {"grant_type": DEVICE_GRANT, "client_id": PEOPLE, "device_code": device["device_code"]}

    await refused(asking, corp.token(**without_resource)["access_token"])


async def test_an_opaque_token_is_nothing_to_a_service_that_asks_nobody(service, corp):
    await refused(service, corp.sign_in("ann", OPAQUE_RESOURCE)["access_token"])


# --- two providers at once --------------------------------------------------------------------------------------------


async def test_two_providers_never_speak_of_one_subject(service, corp, lab):
    here, there = corp.sign_in("ann")["access_token"], lab.sign_in("ann")["access_token"]

    at_home = await known_as(service, here)
    next_door = await known_as(service, there)

    assert (at_home["subject"], at_home["groups"]) == ("user:ann", ["group:analysts"])
    assert (next_door["subject"], next_door["groups"]) == ("user:lab|ann", ["group:lab|analysts"])


async def test_a_token_of_one_provider_is_nothing_to_a_service_that_believes_the_other(corp, lab, database):
    async with believing(database, as_corp(corp)) as service:
        await refused(service, lab.sign_in("ann")["access_token"])


async def test_a_default_provider_cannot_name_somebody_of_the_other(service, corp):
    corp.put_account("lab|ann", groups=["analysts"])

    assert "another issuer" in await refused(service, corp.sign_in("lab|ann")["access_token"])
