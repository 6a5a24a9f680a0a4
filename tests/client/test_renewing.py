"""A kept sign-in stays fresh: renewed once near its end, forgotten only by the provider's own word."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.service import Service
from kedro_muniment.sign_in import keeping, people, renewing
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.signing_in import token
from kedro_muniment.sign_in.tokens import Token
from tests.client.third_parties import Provider, running
from tests.client.tracebacks import shown

URL = "https://muniment.example.org"
ACCESS = "never-to-be-seen-access"
REFRESH = "never-to-be-seen-refresh"
NOW = datetime.now(UTC)
OVER = NOW - timedelta(hours=1)
SOON = NOW + timedelta(seconds=40)
FAR = NOW + timedelta(days=1)


class Rotating(Provider):
    """Gives a new refresh token each time; one that is used again ends the sign-in (RFC 9700, 4.14.2)."""

    def __init__(self, url):
        super().__init__(url)
        self.publish(revocation_endpoint=f"{url}/revoke")
        self.answers["/revoke"] = (200, {}, {})
        self.lasting = REFRESH
        self.renewals = 0

    def decided(self, sent):
        if sent.path != "/token" or self.answers["/token"][0] != 200:
            return super().decided(sent)
        if sent.form["refresh_token"] != self.lasting:
            self.lasting = None
            return 400, {}, {"error": "invalid_grant"}
        self.renewals += 1
        self.lasting = f"{REFRESH}-{self.renewals}"
        self.give(access_token=f"{ACCESS}-{self.renewals}", refresh_token=self.lasting)
        return super().decided(sent)


@pytest.fixture
def provider():
    with running(Rotating) as made:
        yield made


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.delenv("MUNIMENT_TOKEN", raising=False)
    return tmp_path / "kedro-muniment"


def kept(issuer, ends, refresh=REFRESH, url=URL):
    sign_in = SignIn(url, issuer, "kedro-muniment", "user:ann", ("openid",), "urn:muniment", NOW)
    with keeping.alone(sign_in):
        return keeping.keep(sign_in, Tokens(Token(ACCESS), Token(refresh) if refresh else None, ends))


def test_what_lasts_is_used_as_it_is(provider):
    kept(provider.url, FAR)
    assert token(URL).revealed() == ACCESS
    assert provider.sent == []


@pytest.mark.parametrize("ends", [OVER, SOON])
def test_what_is_near_its_end_is_renewed_and_what_was_given_is_kept(provider, ends):
    assert renewing.current(kept(provider.url, ends), NOW).revealed() == f"{ACCESS}-1"
    (asked,) = provider.to("/token")
    assert asked.form == {
        "grant_type": "refresh_token",
        "client_id": "kedro-muniment",
        "resource": "urn:muniment",
        "refresh_token": REFRESH,
    }
    held = keeping.tokens_of(keeping.known(URL)[0])
    assert held.refresh.revealed() == f"{REFRESH}-1"
    assert token(URL).revealed() == f"{ACCESS}-1"
    assert provider.renewals == 1


class Silent(Rotating):
    """Says of no token when it ends, and gives ones that say nothing themselves."""

    def decided(self, sent):
        status, headers, body = super().decided(sent)
        return status, headers, {name: value for name, value in body.items() if name != "expires_in"}


def test_a_token_of_which_nobody_says_the_end_is_renewed_after_some_minutes():
    """RFC 6749 (5.1) only recommends to say it. Seen to fail: such a token was used on and on, until it was refused."""
    with running(Silent) as provider:
        sign_in = kept(provider.url, OVER)
        assert token(URL).revealed() == f"{ACCESS}-1"
        assert token(URL).revealed() == f"{ACCESS}-1"
        later = datetime.now(UTC) + timedelta(minutes=10)
        assert renewing.current(sign_in, later).revealed() == f"{ACCESS}-2"


def test_a_token_that_the_service_refuses_before_its_end_is_renewed_once(provider, service):
    """A clock that went wrong while the machine slept, or a provider that ended the token early."""
    kept(provider.url, FAR, url=service.url)
    service.bearers.add(f"{ACCESS}-1")
    held = token(service.url)
    assert Service(service.url, held).whoami()["subject"] == "user:ann"
    assert [asked.status for asked in service.asked] == [401, 200]
    assert token(service.url).revealed() == f"{ACCESS}-1"
    Service(service.url, held).whoami()
    assert provider.renewals == 1


def test_what_the_service_refuses_renewed_too_is_told_and_not_renewed_again(provider, service):
    kept(provider.url, FAR, url=service.url)
    with pytest.raises(NotSignedIn, match="Sign in again: kedro muniment login") as refused:
        Service(service.url, token(service.url)).whoami()
    assert provider.renewals == 1
    assert "never-to-be-seen" not in shown(refused.value)


def test_what_the_service_refuses_and_nothing_renews_is_told_at_once(provider, service):
    kept(provider.url, FAR, refresh=None, url=service.url)
    with pytest.raises(NotSignedIn, match="Sign in again: kedro muniment login"):
        Service(service.url, token(service.url)).whoami()
    assert [asked.status for asked in service.asked] == [401]


def test_a_provider_that_gives_no_new_refresh_token_leaves_the_old_one(provider):
    sign_in = kept(provider.url, OVER)
    provider.give(access_token="another")
    provider.decided = lambda sent: Provider.decided(provider, sent)
    assert token(URL).revealed() == "another"
    assert keeping.tokens_of(sign_in).refresh.revealed() == REFRESH


def test_eight_processes_at_once_make_one_renewal(provider):
    kept(provider.url, OVER)
    code = (
        "import sys; from kedro_muniment.sign_in import keeping, renewing, jobs\n"
        "from kedro_muniment.sign_in.signing_in import token\n"
        "import httpx; print('ready', flush=True); sys.stdin.readline()\n"
        f"print(token({URL!r}).revealed())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert {process.communicate()[0].strip() for process in started} == {f"{ACCESS}-1"}
    assert provider.renewals == 1
    assert len(provider.to("/token")) == 1


def test_tokens_that_hardly_last_are_renewed_by_one_of_those_who_wait(provider):
    sign_in = kept(provider.url, OVER)
    seen = keeping.tokens_of(sign_in)
    with keeping.alone(sign_in):
        keeping.keep(sign_in, Tokens(Token("just-renewed"), Token("its-next"), NOW + timedelta(seconds=20)))
    assert renewing._renewed(sign_in, seen, NOW).access.revealed() == "just-renewed"
    assert provider.to("/token") == []


def test_who_signs_out_meanwhile_stays_signed_out(provider):
    sign_in = kept(provider.url, OVER)
    seen = keeping.tokens_of(sign_in)
    with keeping.alone(sign_in):
        keeping.forget(sign_in)
    with pytest.raises(NotSignedIn, match="You have signed out"):
        renewing._renewed(sign_in, seen, NOW)
    assert provider.to("/token") == []


def test_the_providers_own_word_ends_it(provider):
    kept(provider.url, OVER, refresh="never-to-be-seen-spent")
    with pytest.raises(NotSignedIn, match=r"is over.*Sign in again: kedro muniment login") as refused:
        token(URL)
    assert keeping.known(URL) == []
    assert "never-to-be-seen" not in shown(refused.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, ""), (500, ""), (503, "temporarily_unavailable"), (429, "slow_down"), (401, "invalid_client"), (302, "")],
)
def test_whatever_else_a_provider_answers_keeps_everything(provider, status, error):
    sign_in = kept(provider.url, OVER)
    provider.refuse(status, error, "never-to-be-seen")
    with pytest.raises(Unreachable, match=r"You stay signed in.*kedro muniment login") as refused:
        token(URL)
    assert keeping.tokens_of(sign_in).refresh.revealed() == REFRESH
    assert "never-to-be-seen" not in shown(refused.value)


def test_a_provider_that_is_away_keeps_everything(provider):
    sign_in = kept("http://127.0.0.1:9", OVER)
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 cannot be reached") as refused:
        token(URL)
    assert keeping.tokens_of(sign_in).refresh.revealed() == REFRESH
    assert "never-to-be-seen" not in shown(refused.value)


def test_a_provider_that_is_away_does_not_stop_what_lasts_a_little(provider):
    assert renewing.current(kept("http://127.0.0.1:9", SOON), NOW).revealed() == ACCESS


def test_a_sign_in_that_cannot_be_renewed_lasts_until_its_end(provider):
    sign_in = kept(provider.url, SOON, refresh=None)
    assert renewing.current(sign_in, NOW).revealed() == ACCESS
    with pytest.raises(NotSignedIn, match=r"has ended. Sign in again"):
        renewing.current(sign_in, SOON)


def test_an_issuer_that_speaks_for_another_gets_no_refresh_token(provider):
    kept(provider.url, OVER)
    provider.publish(issuer="https://id.example.org")
    with pytest.raises(NotSignedIn, match="speaks for another issuer"):
        token(URL)
    assert provider.to("/token") == []


def test_what_is_renewed_and_cannot_be_kept_serves_this_run_and_is_not_used_twice(provider, monkeypatch, said):
    kept(provider.url, OVER)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert token(URL).revealed() == f"{ACCESS}-1"
    assert keeping.known(URL) == []
    assert "No space left on device" in " ".join(said)
    assert "never-to-be-seen" not in " ".join(said)


def test_logout_revokes_the_refresh_token_first_and_then_the_access_token(provider):
    (ended,) = people.logout([kept(provider.url, FAR)])
    assert ended.revoked
    assert [each.form["token"] for each in provider.to("/revoke")] == [REFRESH, ACCESS]
    assert [each.form["token_type_hint"] for each in provider.to("/revoke")] == ["refresh_token", "access_token"]
    assert keeping.known() == []


def test_an_access_token_that_cannot_be_revoked_does_not_hide_that_the_sign_in_is(provider):
    provider.decided = lambda sent: (
        (400, {}, {"error": "unsupported_token_type"})
        if sent.form.get("token_type_hint") == "access_token"
        else Provider.decided(provider, sent)
    )
    (ended,) = people.logout([kept(provider.url, FAR)])
    assert ended.revoked


@pytest.mark.parametrize(
    ("publish", "answer", "told"),
    [
        ({"revocation_endpoint": None}, 200, "offers no way to revoke"),
        ({}, 503, "did not revoke it"),
        ({"revocation_endpoint": "http://127.0.0.1:9/revoke"}, 200, "did not revoke it"),
    ],
)
def test_logout_forgets_also_where_the_provider_does_not_revoke_and_says_so(provider, publish, answer, told):
    provider.publish(**{"revocation_endpoint": f"{provider.url}/revoke", **publish})
    provider.answers["/revoke"] = (answer, {}, {})
    (ended,) = people.logout([kept(provider.url, FAR)])
    assert not ended.revoked
    assert told in ended.told
    assert keeping.known() == []


def test_logout_forgets_also_where_the_provider_is_away(provider):
    (ended,) = people.logout([kept("http://127.0.0.1:9", FAR)])
    assert not ended.revoked
    assert "cannot be reached" in ended.told
    assert keeping.known() == []


def test_a_directory_that_is_no_place_to_keep_anything_is_told(folder):
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file")
    with pytest.raises(MunimentError, match="No sign-in can be kept in"):
        kept("https://id.example.org", FAR)
