"""Tokens that hold are believed, each for exactly what its issuer may say."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from muniment.core.problems import TokenRefused
from muniment.core.subjects import Kind
from muniment.identity.bearer import Bearer

pytestmark = pytest.mark.anyio


async def test_a_token_of_the_default_issuer_names_its_subject_bare(bearer, corp, now):
    state = (await bearer.verify(corp.token("ann"), now)).state
    assert str(state.subject) == "user:ann"
    assert state.issuer == "corp"
    assert state.groups == {"analysts"}
    assert state.attributes == {
        "clearance": 3,
        "teams": frozenset({"emea"}),
        "mail": "ann@corp.example",
        "staff": True,
    }


async def test_ids_and_groups_of_another_issuer_stand_behind_its_name(bearer, lab, now):
    state = (await bearer.verify(lab.token("nightly"), now)).state
    assert (state.subject.kind, state.subject.id) == (Kind.SERVICE, "lab|nightly")
    assert state.groups == {"lab|jobs"}


async def test_a_bare_id_that_looks_like_a_former_issuers_is_refused(issuers, http, corp, now):
    """Seen to fail: only the issuers of today were known, and rows and rules still speak of the former one's."""
    bearer = Bearer(issuers, http, held_names={"partner"})
    token = corp.sign({"typ": "JWT"}, {**_claims(corp, now), "sub": "partner|ann"})
    with pytest.raises(TokenRefused, match="another issuer"):
        await bearer.verify(token, now)


async def test_the_same_sub_from_two_issuers_is_two_subjects(bearer, corp, lab, now):
    one = (await bearer.verify(corp.token("nightly"), now)).state
    other = (await bearer.verify(lab.token("nightly"), now)).state
    assert one.subject.id != other.subject.id


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "at+jwt"},
        {"typ": "application/AT+JWT"},
        {"typ": "JWT", "x5t": "c29tZSBjZXJ0aWZpY2F0ZQ"},
    ],
    ids=str,
)
async def test_access_tokens_in_the_headers_that_providers_write_are_believed(bearer, corp, now, header):
    claims = {**_claims(corp, now), "jti": "1", "client_id": "kedro-muniment"}
    shown = {name: value for name, value in header.items() if value is not None}
    state = (await bearer.verify(corp.sign(shown, claims), now)).state
    assert state.subject.id == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["other", "muniment"]},
        {"aud": ["muniment"]},
        {"typ": "Bearer"},
        {"token_use": "access"},
        {"groups": "analysts"},
        {"groups": []},
        {"sub": "auth0|123"},
        {"sub": "Zoë Ångström"},
    ],
    ids=str,
)
async def test_claims_as_providers_write_them_are_believed(bearer, corp, now, changes):
    state = (await bearer.verify(corp.sign({"typ": "JWT"}, {**_claims(corp, now), **changes}), now)).state
    assert state.subject.id == changes.get("sub", "ann")


async def test_clocks_may_differ_by_half_a_minute_and_no_more(bearer, corp, now):
    token = corp.sign({}, {**_claims(corp, now), "iat": _seconds(now), "nbf": _seconds(now), "exp": _seconds(now) + 60})
    for offset in (-29, 0, 89):
        await bearer.verify(token, now.replace(microsecond=0) + timedelta(seconds=offset))
    for offset in (-31, 91):
        with pytest.raises(TokenRefused):
            await bearer.verify(token, now.replace(microsecond=0) + timedelta(seconds=offset))


async def test_a_remembered_token_ends_at_its_own_end(bearer, corp, now):
    token = corp.sign({}, {**_claims(corp, now), "exp": _seconds(now) + 5})
    await bearer.verify(token, now)
    with pytest.raises(TokenRefused, match="expired"):
        await bearer.verify(token, now + timedelta(seconds=36))


async def test_a_token_that_differs_from_a_remembered_one_is_not_it(bearer, corp, now):
    token = corp.token("ann")
    await bearer.verify(token, now)
    with pytest.raises(TokenRefused):
        await bearer.verify(token[:-2] + ("AA" if token[-2:] != "AA" else "BA"), now)


async def test_a_token_is_verified_once_for_as_long_as_its_issuers_keys_stand(site, http, now):
    site.publish()
    bearer, token = site.bearer(http), site.token(now)

    async def found(**later):
        await bearer.verify(token, now + timedelta(**later))
        (known,) = bearer._remembered.values()
        return known

    first = await found()
    assert await found(minutes=3, seconds=59) is first
    anew = await found(minutes=6)
    assert anew is not first
    assert await found(minutes=9, seconds=59) is anew
    assert anew.until == first.sign_in.until


async def test_only_so_many_tokens_are_remembered(bearer, corp, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.bearer.MOST_REMEMBERED", 3)
    tokens = [corp.token("ann") for _ in range(5)]
    for token in tokens:
        await bearer.verify(token, now)
    assert len(bearer._remembered) == 3
    assert (await bearer.verify(tokens[0], now)).state.subject.id == "ann"


def _seconds(at):
    return int(at.timestamp())


def _claims(corp, at):
    usual = {"iss": corp.url, "sub": "ann", "aud": "muniment", "exp": _seconds(at) + 600, "iat": _seconds(at) - 5}
    return json.loads(json.dumps(usual))


@pytest.mark.parametrize(("told", "since"), [(None, 0), (0, 0), (-900, -900)], ids=["not told", "zero", "told"])
async def test_a_sign_in_began_when_its_subject_signed_in_else_with_its_token(bearer, corp, now, told, since):
    """Glewlwyd writes ``auth_time: 0`` where it does not know."""
    issued = int(now.timestamp())
    signed_in = {} if told is None else {"auth_time": issued + told if told else 0}
    sign_in = await bearer.verify(corp.sign({"typ": "JWT"}, {**_claims(corp, now), "iat": issued, **signed_in}), now)
    assert sign_in.since is not None
    assert int(sign_in.since.timestamp()) == issued + since
