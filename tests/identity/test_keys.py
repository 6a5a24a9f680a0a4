"""An issuer's keys over time: rotated, withdrawn, out of reach, and published where they should not be."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import timedelta

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from demo.issuer import running_issuer
from muniment.core.problems import TokenRefused, Unavailable
from muniment.identity.bearer import Bearer
from muniment.identity.discovery import LONGEST_DOCUMENT
from muniment.identity.issuers import Issuer
from muniment.identity.keys import key_set_from
from tests.identity.conftest import Answer, refused

pytestmark = pytest.mark.anyio

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def own():
    """An issuer whose keys the test may change."""
    with running_issuer({"ann": {}}, algorithm="Ed25519") as issuer:
        yield issuer


@pytest.fixture
def bearer(own, http):
    return Bearer([Issuer(name="own", issuer=own.url, audience="muniment", default=True)], http)


async def test_a_new_key_is_found_by_the_first_token_that_it_signed(bearer, own, now):
    earlier = own.token("ann")
    await bearer.verify(earlier, now)
    own.rotate()
    await bearer.verify(own.token("ann"), now + timedelta(seconds=11))
    await bearer.verify(earlier, now + timedelta(seconds=11))


async def test_a_key_may_change_again_and_again_without_a_wait(bearer, own, now):
    for _ in range(3):
        own.rotate()
        await bearer.verify(own.token("ann"), now)


async def test_a_new_key_waits_for_a_while_once_the_issuer_was_asked_in_vain(bearer, own, now):
    forged = own.sign({"kid": "a"}, {"iss": own.url, "sub": "ann", "aud": "muniment", "exp": now.timestamp() + 60})
    await bearer.verify(own.token("ann"), now)
    with refused("does not publish"):
        await bearer.verify(forged, now)
    own.rotate()
    later = own.token("ann")
    with refused("does not publish"):
        await bearer.verify(later, now + timedelta(seconds=9))
    await bearer.verify(later, now + timedelta(seconds=10))


async def test_a_withdrawn_key_dies_with_the_next_fetch_for_remembered_tokens_too(bearer, own, now):
    stolen = own.token("ann")
    await bearer.verify(stolen, now)
    own.rotate(withdraw=True)
    await bearer.verify(own.token("ann"), now + timedelta(seconds=11))
    with refused("does not publish"):
        await bearer.verify(stolen, now + timedelta(seconds=12))


async def test_a_withdrawn_key_dies_in_minutes_without_any_other_token(bearer, own, now):
    stolen = own.token("ann")
    await bearer.verify(stolen, now)
    own.rotate(withdraw=True)
    await bearer.verify(stolen, now + timedelta(minutes=4))
    with refused("does not publish"):
        await bearer.verify(stolen, now + timedelta(minutes=6))


async def test_tokens_hold_while_their_issuer_is_down_for_less_than_a_day(bearer, own, now):
    token = own.token("ann", exp=int(now.timestamp()) + 100_000)
    await bearer.verify(token, now)
    own.stop()
    for hours in (1, 23):
        assert (await bearer.verify(token, now + timedelta(hours=hours))).state.subject.id == "ann"
    with pytest.raises(Unavailable, match="could not be reached"):
        await bearer.verify(token, now + timedelta(hours=25))


async def test_without_any_keys_an_issuer_that_is_down_is_no_fault_of_the_token(bearer, own, now):
    token = own.token("ann")
    own.stop()
    with pytest.raises(Unavailable, match="could not be reached") as refusal:
        await bearer.verify(token, now)
    assert token.split(".")[2] not in refusal.value.detail


async def test_a_key_that_may_be_new_is_not_refused_while_its_issuer_is_down(bearer, own, now):
    await bearer.verify(own.token("ann"), now)
    own.rotate()
    token = own.token("ann")
    own.stop()
    with pytest.raises(Unavailable):
        await bearer.verify(token, now + timedelta(seconds=11))


async def test_an_issuer_that_comes_back_is_believed_again(site, http, now):
    bearer = site.bearer(http)
    with pytest.raises(Unavailable, match="status 404"):
        await bearer.verify(site.token(now), now)
    site.publish()
    with pytest.raises(Unavailable, match="status 404"):
        await bearer.verify(site.token(now), now + timedelta(seconds=9))
    await bearer.verify(site.token(now), now + timedelta(seconds=10))


async def test_strangers_with_unknown_keys_cannot_make_us_knock(site, http, now):
    site.publish()
    bearer = site.bearer(http)
    await bearer.verify(site.token(now), now)
    for second in range(30):
        for key_id in ("a", "b", "c"):
            with refused("does not publish"):
                await bearer.verify(site.token(now, kid=key_id), now + timedelta(seconds=second))
    assert site.asked == {DISCOVERY: 4, "/jwks": 4}  # at first, and in each ten seconds once


async def test_strangers_from_unknown_issuers_make_us_ask_nobody(site, http, now):
    site.publish()
    bearer = Bearer([Issuer(name="site", issuer=site.url + "/realm", audience="muniment", default=True)], http)
    with refused("does not know"):
        await bearer.verify(site.token(now), now)
    assert not site.asked


async def test_many_who_come_at_once_wait_for_one_fetch(site, http, now):
    site.publish()
    bearer = site.bearer(http)
    states = await asyncio.gather(*(bearer.verify(site.token(now), now) for _ in range(20)))
    assert {sign_in.state.subject.id for sign_in in states} == {"ann"}
    assert site.asked == {DISCOVERY: 1, "/jwks": 1}


async def test_the_first_who_comes_may_leave_without_harm_to_the_others(site, http, now):
    site.publish()
    answer, gate = site.hold("/jwks")
    bearer = site.bearer(http)
    first = asyncio.create_task(bearer.verify(site.token(now), now))
    second = asyncio.create_task(bearer.verify(site.token(now), now))
    assert await asyncio.to_thread(answer.reached.wait, 5)
    first.cancel()
    gate.set()
    assert (await second).state.subject.id == "ann"
    assert first.cancelled()


async def test_while_requests_come_nobody_waits_for_newer_keys(site, http, now):
    site.publish()
    bearer = site.bearer(http)
    await bearer.verify(site.token(now), now)
    answer, gate = site.hold("/jwks")
    assert (await bearer.verify(site.token(now), now + timedelta(minutes=4))).state.subject.id == "ann"
    assert await asyncio.to_thread(answer.reached.wait, 5)
    await bearer.verify(site.token(now), now + timedelta(minutes=4, seconds=1))
    assert site.asked == {DISCOVERY: 2, "/jwks": 2}
    gate.set()
    await bearer._keys[site.url]._renewing
    await bearer.verify(site.token(now), now + timedelta(minutes=7))
    assert site.asked == {DISCOVERY: 2, "/jwks": 2}


async def test_after_a_silence_keys_that_may_be_withdrawn_are_not_believed(bearer, own, now):
    stolen = own.token("ann", exp=int(now.timestamp()) + 100_000)
    await bearer.verify(stolen, now)
    own.rotate(withdraw=True)
    first, second = await asyncio.gather(
        *(bearer.verify(stolen, now + timedelta(hours=3)) for _ in range(2)), return_exceptions=True
    )
    assert isinstance(first, TokenRefused)
    assert isinstance(second, TokenRefused)


async def test_an_issuer_that_has_just_not_answered_is_waited_for_by_nobody(site, http, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.keys.PATIENCE_SECONDS", 0.3)
    site.publish()
    bearer = site.bearer(http)
    await bearer.verify(site.token(now), now)
    _, gate = site.hold(DISCOVERY)
    later = now + timedelta(minutes=10)
    await bearer.verify(site.token(now), later)
    assert bearer._keys[site.url]._failure == "it did not answer within 0 seconds"
    monkeypatch.setattr("muniment.identity.keys.PATIENCE_SECONDS", 60)
    for seconds in (1, 11, 59):
        await bearer.verify(site.token(now), later + timedelta(seconds=seconds))
    gate.set()
    await bearer.aclose()


async def test_what_goes_on_behind_the_requests_ends_with_the_service(site, http, now):
    site.publish()
    bearer = site.bearer(http)
    await bearer.verify(site.token(now), now)
    answer, gate = site.hold("/jwks")
    await bearer.verify(site.token(now), now + timedelta(minutes=4))
    assert await asyncio.to_thread(answer.reached.wait, 5)
    await bearer.aclose()
    gate.set()
    assert bearer._keys[site.url]._renewing.cancelled()


async def test_an_issuer_that_hangs_is_not_waited_for_without_end(site, http, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.keys.PATIENCE_SECONDS", 0.2)
    site.publish()
    _, gate = site.hold("/jwks")
    with pytest.raises(Unavailable, match="did not answer"):
        await site.bearer(http).verify(site.token(now), now)
    gate.set()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "https://attacker.example"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": None}, "no safe address"),
        ({"jwks_uri": "http://keys.example/jwks"}, "no safe address"),
        ({"jwks_uri": "file:///etc/passwd"}, "no safe address"),
        ({"jwks_uri": "http://127.0.0.1@attacker.example/jwks"}, "no safe address"),
        ({"jwks_uri": "http://169.254.169.254/latest"}, "no safe address"),
        ({"jwks_uri": ["https://keys.example"]}, "no safe address"),
    ],
    ids=str,
)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(site, http, now, changes, reason):
    site.publish(**changes)
    with pytest.raises(Unavailable, match=reason):
        await site.bearer(http).verify(site.token(now), now)
    assert site.asked == {DISCOVERY: 1}


async def test_a_discovery_document_of_another_issuer_with_a_slash_is_refused(site, http, now):
    site.publish(issuer=site.url + "/")
    with pytest.raises(Unavailable, match="another issuer"):
        await site.bearer(http).verify(site.token(now), now)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(302, headers={"Location": "/elsewhere"}), "status 302"),
        (Answer(500), "status 500"),
        (Answer(body=b"<html>"), "not a JSON object"),
        (Answer(body=b"[]"), "not a JSON object"),
        (Answer(body=b'{"keys": [], "keys": []}'), "each name stands once"),
        (Answer(body=b'{"keys": {}}'), "not a list"),
        (Answer(body=json.dumps({"keys": [{}] * 101}).encode()), "at most 100 keys"),
        (Answer(body=b'{"keys": [' + b" " * LONGEST_DOCUMENT + b"]}"), "longer than"),
        (Answer(body=gzip.compress(b'{"keys": []}'), headers={"Content-Encoding": "gzip"}), "not a JSON object"),
    ],
    ids=["redirect", "broken", "html", "list", "twice", "object", "many", "long", "compressed"],
)
async def test_a_key_set_is_read_only_as_it_should_be_sent(site, http, now, answer, reason):
    site.publish()
    site.answers["/jwks"] = answer
    with pytest.raises(Unavailable, match=reason):
        await site.bearer(http).verify(site.token(now), now)
    assert "/elsewhere" not in site.asked


async def test_a_token_without_a_key_id_needs_exactly_one_key_that_suits(site, http, now):
    site.publish()
    bearer, anonymous = site.bearer(http), site.token(now, kid=None)
    assert (await bearer.verify(anonymous, now)).state.subject.id == "ann"
    second = OKPKey.generate_key(parameters={"kid": "two"})
    both = [key.as_dict(private=False) for key in (site.key, second)]
    site.answers["/jwks"].body = json.dumps({"keys": both}).encode()
    with refused("does not publish"):
        await bearer.verify(anonymous, now + timedelta(minutes=6))
    assert (await bearer.verify(site.token(now), now + timedelta(minutes=6))).state.subject.id == "ann"


def test_only_strong_public_signing_keys_are_taken_from_a_key_set(now):
    good = [
        RSAKey.generate_key(2048, parameters={"kid": "rsa"}),
        ECKey.generate_key("P-256", parameters={"kid": "ec", "use": "sig"}),
        OKPKey.generate_key(parameters={"kid": "okp", "key_ops": ["verify"]}),
    ]
    public = [key.as_dict(private=False) for key in good]
    for_encryption = {**public[0], "kid": "enc", "use": "enc"}
    for_signing_only = {**public[2], "kid": "ops", "key_ops": ["sign"]}
    given_away = good[1].as_dict(private=True, kid="private")
    shared = OctKey.import_key("a" * 32).as_dict(private=True, kid="oct")
    short = {**public[0], "kid": "short", "n": public[0]["n"][:171]}
    broken = [{"kty": "RSA", "n": "!", "e": "AQAB"}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "A", "y": "A"}]
    odd = [None, 7, {}, {"kty": ["RSA"]}, {"kty": "OKP", "crv": "X25519", "x": public[2]["x"], "kid": "exchange"}]
    others = [for_encryption, for_signing_only, given_away, shared, short, *broken, *odd]
    taken = key_set_from({"keys": [*others, *public]}, now)
    assert {key.kid for key in taken.keys} == {"rsa", "ec", "okp"}
    assert [key.kid for key in taken.suiting("Ed25519", None)] == ["okp"]
    assert taken.suiting("EdDSA", "exchange") == ()
    assert taken.suiting("ES384", "ec") == ()
    assert taken.suiting("RS256", "ec") == ()
