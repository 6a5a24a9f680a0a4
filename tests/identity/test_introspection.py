"""Tokens that say nothing themselves: the issuer that knows them is asked, and its answer is held to every check."""

from __future__ import annotations

import asyncio
import json
import traceback
from base64 import b64decode
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from muniment.app import create_app
from muniment.core.problems import Busy, CannotStart, TokenRefused, Unavailable
from muniment.identity.bearer import STRANGER, Bearer
from muniment.identity.introspection import Allowance
from muniment.identity.issuers import Introspection, issuers_from
from muniment.settings import Settings, in_force, read
from tests.identity.conftest import Answer, refused

pytestmark = pytest.mark.anyio

DISCOVERY, ENDPOINT = "/.well-known/openid-configuration", "/introspect"
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"
#: With what must be written otherwise in a form, and so in the header (RFC 6749, 2.3.1).
SECRET = "s:e/c r%e+t"


def configured(site, **changes):
    asked = {"client_id": "muniment-api", "client_secret": SECRET, **changes}
    given = {"name": "site", "issuer": site.url, "audience": "muniment", "default": True, "introspection": asked}
    return issuers_from([given])


def says(site, now, **changes):
    """The issuer answers so, whatever token it is asked about."""
    seconds = int(now.timestamp())
    usual = {
        "active": True,
        "iss": site.url,
        "sub": "ann",
        "aud": "muniment",
        "client_id": "kedro-muniment",
        "token_type": "Bearer",
        "exp": seconds + 3600,
        "iat": seconds - 5,
        "groups": ["analysts"],
    }
    body = {name: value for name, value in {**usual, **changes}.items() if value is not ...}
    site.publish(introspection_endpoint=site.url + ENDPOINT)
    site.answers[ENDPOINT] = Answer(body=json.dumps(body).encode())


async def test_an_opaque_token_is_its_subjects_that_the_issuer_names(site, http, now):
    says(site, now, auth_time=int(now.timestamp()) - 900)
    sign_in = await Bearer(configured(site), http).verify(OPAQUE, now)
    assert str(sign_in.state.subject) == "user:ann"
    assert sign_in.state.groups == {"analysts"}
    assert sign_in.since == now.replace(microsecond=0) - timedelta(minutes=15)
    assert sign_in.until == now.replace(microsecond=0) + timedelta(hours=1)


async def test_the_issuer_is_asked_as_the_client_that_the_settings_name(site, http, now):
    says(site, now)
    await Bearer(configured(site), http).verify(OPAQUE, now)
    (headers, body), *_ = site.received[ENDPOINT]
    assert parse_qs(body) == {"token": [OPAQUE], "token_type_hint": ["access_token"]}
    assert b64decode(headers["authorization"].removeprefix("Basic ")) == b"muniment-api:s%3Ae%2Fc+r%25e%2Bt"
    assert OPAQUE not in str(site.asked)


async def test_the_client_can_be_named_in_the_form(site, http, now):
    says(site, now)
    await Bearer(configured(site, auth="post"), http).verify(OPAQUE, now)
    (headers, body), *_ = site.received[ENDPOINT]
    assert "authorization" not in headers
    assert parse_qs(body)["client_secret"] == [SECRET]


async def test_the_endpoint_can_be_given_and_then_nothing_is_discovered(site, http, now):
    says(site, now)
    await Bearer(configured(site, endpoint=site.url + ENDPOINT), http).verify(OPAQUE, now)
    assert site.asked == {ENDPOINT: 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"active": ...},
        {"iss": "https://other.example"},
        {"iss": None},
        {"iss": ["x"]},
    ],
    ids=repr,
)
async def test_a_token_that_its_issuer_does_not_hold_good_is_a_strangers(site, http, now, changes):
    says(site, now, **changes)
    with refused("No issuer knows"):
        await Bearer(configured(site), http).verify(OPAQUE, now)


async def test_a_token_that_names_nobody_speaks_for_its_client_and_never_for_a_person(site, http, now):
    says(site, now, sub=..., client_id="ann")
    sign_in = await Bearer(configured(site), http).verify(OPAQUE, now)
    assert str(sign_in.state.subject) == "service:ann"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "payroll"}, "not made for this service"),
        ({"aud": ["payroll"]}, "not made for this service"),
        ({"aud": None}, "not made for this service"),
        ({"aud": ...}, "for which service"),
        ({"exp": ...}, "no end"),
        ({"exp": 1}, "expired"),
        ({"exp": "9999999999"}, "not a time"),
        ({"nbf": 9999999999, "exp": 99999999999}, "does not hold yet"),
        ({"auth_time": 9999999999, "exp": 99999999999}, "in the future"),
        ({"sub": ..., "client_id": ..., "aud": "muniment"}, "whom it speaks of"),
        ({"sub": ..., "username": "ann"}, "whom it speaks of"),
        ({"sub": ""}, "whom it speaks of"),
        ({"sub": "ann\u202e"}, "id of the subject"),
        ({"token_type": ...}, "a bearer token"),
        ({"token_type": "DPoP"}, "a bearer token"),
        ({"token_type": "refresh_token"}, "a bearer token"),
        ({"token_type": None}, "a bearer token"),
        ({"typ": "Refresh"}, "a bearer token"),
        ({"token_use": "refresh_token"}, "other than an access token"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
        ({"groups": 7}, "list of texts"),
    ],
    ids=repr,
)
async def test_a_token_that_is_active_is_held_to_every_check(site, http, now, changes, reason):
    says(site, now, **changes)
    with pytest.raises(TokenRefused, match=reason) as refusal:
        await Bearer(configured(site), http).verify(OPAQUE, now)
    assert OPAQUE not in refusal.value.detail


async def test_a_token_without_an_audience_is_taken_only_from_clients_that_the_settings_list(site, http, now):
    says(site, now, aud=...)
    sign_in = await Bearer(configured(site, clients=["kedro-muniment"]), http).verify(OPAQUE, now)
    assert sign_in.state.subject.id == "ann"
    for changes in ({"client_id": "payroll"}, {"client_id": ["kedro-muniment"]}, {"client_id": ...}):
        says(site, now, aud=..., **changes)
        with pytest.raises(TokenRefused, match="for which service"):
            await Bearer(configured(site, clients=["kedro-muniment"]), http).verify(OPAQUE, now)


async def test_a_token_whose_kind_is_not_said_is_taken_where_the_issuer_speaks_of_access_tokens_alone(site, http, now):
    """LemonLDAP::NG says no ``token_type``, and knows no refresh tokens there. What is said otherwise counts."""
    says(site, now, token_type=...)
    alone = configured(site, access_tokens_only=True)
    assert (await Bearer(alone, http).verify(OPAQUE, now)).state.subject.id == "ann"
    for changes in ({"token_type": "DPoP"}, {"token_type": None}, {"token_type": ..., "typ": "Refresh"}):
        says(site, now, **changes)
        with pytest.raises(TokenRefused, match="a bearer token"):
            await Bearer(alone, http).verify(OPAQUE, now)


async def test_an_audience_of_others_is_not_mended_by_a_listed_client(site, http, now):
    says(site, now, aud="payroll")
    with pytest.raises(TokenRefused, match="not made for this service"):
        await Bearer(configured(site, clients=["kedro-muniment"]), http).verify(OPAQUE, now)


async def test_an_answer_is_remembered_for_half_a_minute_and_not_past_its_end(site, http, now):
    says(site, now, exp=int(now.timestamp()) + 40)
    bearer = Bearer(configured(site), http)
    for seconds in (0, 10, 29):
        await bearer.verify(OPAQUE, now + timedelta(seconds=seconds))
    assert site.asked[ENDPOINT] == 1
    await bearer.verify(OPAQUE, now + timedelta(seconds=30))
    assert site.asked[ENDPOINT] == 2
    says(site, now, active=False)
    with refused("No issuer knows"):
        await bearer.verify(OPAQUE, now + timedelta(seconds=41))


async def test_a_revocation_is_learnt_of_when_the_issuer_is_asked_again(site, http, now):
    says(site, now)
    bearer = Bearer(configured(site, remembered_seconds=5), http)
    await bearer.verify(OPAQUE, now)
    says(site, now, active=False)
    with refused("No issuer knows"):
        await bearer.verify(OPAQUE, now + timedelta(seconds=5))


async def test_nothing_is_remembered_where_the_settings_say_so(site, http, now):
    says(site, now)
    bearer = Bearer(configured(site, remembered_seconds=0), http)
    await bearer.verify(OPAQUE, now)
    says(site, now, active=False)
    with refused("No issuer knows"):
        await bearer.verify(OPAQUE, now)


async def test_a_token_that_nobody_knows_is_not_asked_about_again_at_once(site, http, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.bearer.MOST_UNKNOWN", 2)
    says(site, now, active=False)
    bearer = Bearer(configured(site), http)
    for seconds in (0, 1, 4):
        with refused("No issuer"):
            await bearer.verify(OPAQUE, now + timedelta(seconds=seconds))
    assert site.asked[ENDPOINT] == 1
    for other in "abc":
        with refused("No issuer knows"):
            await bearer.verify(OPAQUE + other, now)
    assert len(bearer._unknown) == 2
    says(site, now)
    await bearer.verify(OPAQUE, now + timedelta(seconds=5))


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "a.b.c.d.e", "mun_abc", "with space", 'quo"te', "new\nline", "ünïcode", "x" * 17_000, "=", "a=b"],
    ids=lambda token: repr(token)[:20],
)
async def test_nobody_is_asked_about_what_no_issuer_of_opaque_tokens_makes(site, http, now, token):
    says(site, now)
    with pytest.raises(TokenRefused) as refusal:
        await Bearer(configured(site), http).verify(token, now)
    assert refusal.value.detail == STRANGER
    assert not site.asked


async def test_only_tokens_that_begin_as_the_settings_say_are_sent_to_the_issuer(site, http, now):
    says(site, now)
    bearer = Bearer(configured(site, prefix="ory_at_"), http)
    with refused("not a signed JSON Web Token"):
        await bearer.verify(OPAQUE, now)
    assert not site.asked
    await bearer.verify("ory_at_x.y", now)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(401), "status 401"),
        (Answer(500), "status 500"),
        (Answer(302, headers={"Location": "/elsewhere"}), "status 302"),
        (Answer(body=b"<html>"), "not a JSON object"),
        (Answer(body=b'{"active": false, "active": true}'), "each name stands once"),
    ],
    ids=["our secret is wrong", "broken", "redirect", "html", "twice"],
)
async def test_an_issuer_that_does_not_answer_is_no_fault_of_the_token(site, http, now, answer, reason):
    says(site, now)
    site.answers[ENDPOINT] = answer
    bearer = Bearer(configured(site), http)
    with pytest.raises(Unavailable, match=reason) as refusal:
        await bearer.verify(OPAQUE, now)
    assert OPAQUE not in refusal.value.detail
    assert "/elsewhere" not in site.asked
    says(site, now)
    await bearer.verify(OPAQUE, now)


async def test_an_issuer_that_hangs_is_not_waited_for_without_end(site, http, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.introspection.PATIENCE_SECONDS", 0.2)
    says(site, now)
    _, gate = site.hold(ENDPOINT)
    with pytest.raises(Unavailable, match="did not answer"):
        await Bearer(configured(site), http).verify(OPAQUE, now)
    gate.set()


@pytest.mark.parametrize("address", ["http://tokens.example/introspect", "file:///etc/passwd", None, 7], ids=str)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(site, http, now, address):
    says(site, now)
    site.publish(introspection_endpoint=address)
    with pytest.raises(Unavailable, match="no safe address"):
        await Bearer(configured(site), http).verify(OPAQUE, now)


async def test_many_tokens_at_once_do_not_make_us_hammer_an_issuer(site, http, now, monkeypatch):
    monkeypatch.setattr("muniment.identity.introspection.MOST_SAVED", 3)
    monkeypatch.setattr("muniment.identity.introspection.A_SECOND", 1)
    says(site, now, active=False)
    bearer = Bearer(configured(site), http)
    for each in "abc":
        with refused("No issuer knows"):
            await bearer.verify(OPAQUE + each, now)
    with pytest.raises(Busy):
        await bearer.verify(OPAQUE + "d", now)
    assert site.asked[ENDPOINT] == 3
    with refused("No issuer knows"):
        await bearer.verify(OPAQUE + "d", now + timedelta(seconds=1))


def test_an_allowance_saves_up_to_its_limit_and_gives_nothing_for_time_that_runs_back(now):
    allowance = Allowance(2, 1)
    assert [allowance.take(now) for _ in range(3)] == [True, True, False]
    assert not allowance.take(now - timedelta(hours=1))
    assert not allowance.take(now)
    later = now + timedelta(hours=1)
    assert [allowance.take(later) for _ in range(3)] == [True, True, False]


async def test_of_two_issuers_each_is_asked_in_turn_and_none_vouches_for_the_others_token(site, other, http, now):
    issuers = both(site, other)
    says(site, now, active=False)
    says(other, now, iss=other.url, sub="nightly")
    sign_in = await Bearer(issuers, http).verify(OPAQUE, now)
    assert str(sign_in.state.subject) == "service:other|nightly"
    assert (site.asked[ENDPOINT], other.asked[ENDPOINT]) == (1, 1)
    says(other, now, iss=site.url, sub="root")
    with refused("No issuer knows"):
        await Bearer(issuers, http).verify(OPAQUE, now)


async def test_an_issuer_that_is_away_hides_no_token_of_another(site, other, http, now):
    says(site, now)
    says(other, now, iss=other.url)
    site.answers[ENDPOINT] = Answer(500)
    bearer = Bearer(both(site, other), http)
    assert (await bearer.verify(OPAQUE, now)).state.subject.id == "other|ann"
    says(other, now, active=False)
    with pytest.raises(Unavailable):
        await bearer.verify(OPAQUE + "2", now)
    assert not bearer._unknown


async def test_signed_tokens_are_never_sent_to_be_asked_about(site, http, now):
    says(site, now)
    bearer = Bearer(configured(site), http)
    assert (await bearer.verify(site.token(now), now)).state.subject.id == "ann"
    with refused("signature does not hold"):
        await bearer.verify(site.token(now)[:-10] + "AAAAAAAAAA", now)
    assert ENDPOINT not in site.asked


async def test_many_who_come_at_once_are_all_answered(site, http, now):
    says(site, now)
    bearer = Bearer(configured(site), http)
    sign_ins = await asyncio.gather(*(bearer.verify(OPAQUE, now) for _ in range(4)))
    assert {sign_in.state.subject.id for sign_in in sign_ins} == {"ann"}


def both(site, other):
    (first,) = configured(site)
    given = {"name": "other", "issuer": other.url, "audience": "muniment", "kind": "services"}
    asked = {"client_id": "muniment-api", "client_secret": SECRET}
    dummy = {"name": "x", "issuer": "https://x.example", "audience": "m", "default": True}
    return [first, issuers_from([dummy, {**given, "introspection": asked}])[1]]


def settings(**changes):
    asked = {"client_id": "muniment-api", "client_secret": SECRET, **changes}
    asked = {name: value for name, value in asked.items() if value is not ...}
    given = {"name": "corp", "issuer": "https://corp.example", "audience": "muniment", "default": True}
    return issuers_from([{**given, "introspection": asked}])[0].introspection


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": ...}, "“client_id” is missing"),
        ({"client_secret": ...}, "“client_secret” is missing"),
        ({"client_secret": ""}, "“client_secret” must be a text"),
        ({"client_secret_file": "/nowhere/at/all"}, "stands beside"),
        ({"client_secret": ..., "client_secret_file": "/nowhere/at/all"}, "can't be read"),
        ({"endpoint": "http://tokens.example"}, "“endpoint” must be an https"),
        ({"endpoint": "http://127.0.0.1:9/introspect"}, "“endpoint” must be an https"),
        ({"auth": "private_key_jwt"}, "“auth” must be"),
        ({"clients": "kedro"}, "“clients” must be a list"),
        ({"clients": [""]}, "“clients” must be a list"),
        ({"remembered_seconds": 31}, "from 0 to 30"),
        ({"remembered_second": 3}, "a field “remembered_second”"),
        ({"prefix": 7}, "“prefix” must be a text"),
    ],
    ids=repr,
)
def test_a_wrong_setting_stops_the_start_and_says_where(changes, reason):
    with pytest.raises(CannotStart, match=reason) as refusal:
        settings(**changes)
    assert "introspection" in refusal.value.detail
    assert SECRET not in refusal.value.detail


def test_the_secret_can_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    assert settings(client_secret=..., client_secret_file=str(tmp_path / "secret")).client_secret == SECRET


def test_the_secret_is_in_no_representation(site):
    introspection = settings()
    assert introspection == Introspection("muniment-api", SECRET)
    assert SECRET not in repr(introspection)
    in_all = Settings(issuers=configured(site))
    assert SECRET not in repr(in_all)
    assert SECRET not in repr(in_force(in_all, {}))
    assert SECRET not in repr(create_app(in_all, "postgresql+psycopg://nowhere").state.described_issuers)


def test_the_secret_is_in_no_refusal_of_the_settings():
    text = json.dumps([{"introspection": {"client_secret": SECRET}}])
    for broken in (text[:-1], text[1:], text.replace("{", '{"name": 7, ', 1)):
        with pytest.raises(CannotStart) as refusal:
            read({"MUNIMENT_ISSUERS": broken})
        assert SECRET not in "".join(traceback.format_exception(refusal.value))
        assert refusal.value.__context__ is None
