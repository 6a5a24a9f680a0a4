"""Sign-in on any device (RFC 8628), at a provider that answers what providers may answer, and what they may not."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.sign_in import device
from kedro_muniment.sign_in.providers import Issuer, discovered
from tests.client.third_parties import Provider, running
from tests.client.tracebacks import shown

DEVICE_CODE = "never-to-be-seen-device-code"
PENDING = (400, {}, {"error": "authorization_pending"})


class Devices(Provider):
    """Answers each question for a token in turn; the last answer stands."""

    def __init__(self, url):
        super().__init__(url)
        self.publish(device_authorization_endpoint=f"{url}/device_authorization")
        self.offer()
        self.turns = []

    def offer(self, **changes):
        given = {
            "device_code": DEVICE_CODE,
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.url}/device",
            "expires_in": 600,
            **changes,
        }
        self.answers["/device_authorization"] = (200, {}, {k: v for k, v in given.items() if v is not None})

    def decided(self, sent):
        if sent.path == "/token" and self.turns:
            self.answers["/token"] = self.turns.pop(0)
        return super().decided(sent)

    def in_turn(self, *answers):
        self.turns = [*answers, self.answers["/token"]]


class Told:
    def invite(self, invitation):
        self.invitation = invitation

    def say(self, line):
        raise AssertionError(line)


@pytest.fixture
def devices():
    with running(Devices) as running_devices:
        yield running_devices


@pytest.fixture
def sign_in(devices):
    """Signs in without waiting; the waits are kept, and so is what was told."""

    def run():
        issuer = Issuer("corp", devices.url, "kedro-muniment", True, ("openid",), "urn:muniment", "muniment")
        run.told, run.waits = Told(), []
        return device.sign_in(discovered(issuer), "https://m.example", "openid", run.told, run.waits.append)

    return run


def test_it_asks_as_often_as_the_provider_says_until_the_person_is_done(devices, sign_in):
    devices.offer(interval=7)
    devices.in_turn(PENDING, PENDING)
    granted = sign_in()
    assert sign_in.waits == [7, 7, 7]
    assert granted.until is not None
    first = devices.to("/device_authorization")[0].form
    assert first == {"client_id": "kedro-muniment", "scope": "openid", "resource": "urn:muniment"}
    asked = devices.to("/token")[-1].form
    assert asked == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "kedro-muniment",
        "device_code": DEVICE_CODE,
        "resource": "urn:muniment",
    }


def test_it_waits_five_seconds_where_the_provider_does_not_say(sign_in):
    sign_in()
    assert sign_in.waits == [5]


def test_slow_down_means_five_seconds_more_from_then_on(devices, sign_in):
    devices.in_turn((400, {}, {"error": "slow_down"}), PENDING, (400, {}, {"error": "slow_down"}), PENDING)
    sign_in()
    assert sign_in.waits == [5, 10, 10, 15, 15]


def test_a_provider_that_is_away_or_busy_is_asked_less_often_and_not_given_up(devices, sign_in):
    devices.in_turn((503, {}, {}), (429, {}, {}), PENDING)
    sign_in()
    assert sign_in.waits == [5, 10, 20, 20]


def test_nobody_is_asked_more_often_than_once_a_second(devices, sign_in):
    devices.offer(interval=0.001)
    devices.in_turn(PENDING)
    sign_in()
    assert sign_in.waits == [1, 1]


@pytest.mark.parametrize("interval", [10**30, float("inf")])
def test_an_interval_beyond_all_reason_is_a_minute(devices, sign_in, interval):
    devices.offer(interval=interval)
    sign_in()
    assert sign_in.waits == [60]


@pytest.mark.parametrize("expires_in", [10**30, float("inf")])
def test_no_code_is_waited_for_longer_than_an_hour(devices, sign_in, expires_in):
    devices.offer(expires_in=expires_in, interval=60)
    devices.refuse(400, "authorization_pending", "")
    with pytest.raises(NotSignedIn, match="before the code expired"):
        sign_in()
    assert sum(sign_in.waits) == 3600


@pytest.mark.parametrize("code", [f"{DEVICE_CODE}\ud800", f"{DEVICE_CODE}\n", 7])
def test_a_code_that_no_form_can_hold_is_none(devices, sign_in, code):
    devices.offer(device_code=code)
    with pytest.raises(NotSignedIn, match="gave no code to sign in with") as refused:
        sign_in()
    assert "never-to-be-seen" not in shown(refused.value)


@pytest.mark.parametrize("refresh", ["never-to-be-seen\ud800", "", 7])
def test_what_can_get_no_next_token_is_not_kept_for_that(devices, sign_in, refresh):
    devices.give(refresh_token=refresh)
    assert sign_in().refresh is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("expired_token", "before the code expired. Start again: kedro muniment login"),
        ("access_denied", "was refused"),
        ("invalid_client", "ended the sign-in: it answered 400, invalid_client"),
    ],
)
def test_each_end_is_told_in_words(devices, sign_in, error, told):
    devices.in_turn(PENDING)
    devices.refuse(400, error, DEVICE_CODE)
    devices.in_turn(PENDING)
    with pytest.raises(NotSignedIn, match=told) as refused:
        sign_in()
    assert "never-to-be-seen" not in shown(refused.value)


def test_it_ends_by_itself_when_the_code_has_expired(devices, sign_in):
    devices.offer(expires_in=12)
    devices.refuse(400, "authorization_pending", "")
    with pytest.raises(NotSignedIn, match="before the code expired"):
        sign_in()
    assert sign_in.waits == [5, 5, 5]


def test_a_400_without_an_error_is_no_token(devices, sign_in):
    devices.give(400)
    with pytest.raises(NotSignedIn, match="it answered 400, without a reason") as refused:
        sign_in()
    assert "never-to-be-seen" not in shown(refused.value)


@pytest.mark.parametrize(
    "link", ["http://evil.example/device", "javascript:alert(1)", "file:///etc/passwd", "https://user@evil.example/x"]
)
def test_a_link_that_is_no_safe_address_is_not_shown(devices, sign_in, link):
    devices.offer(verification_uri_complete=link)
    with pytest.raises(NotSignedIn, match="link to sign in"):
        sign_in()
    assert not hasattr(sign_in.told, "invitation")


class Interrupted(Devices):
    """Somebody loses patience while the provider thinks."""

    def decided(self, sent):
        if sent.path == "/token":
            os.kill(os.getpid(), signal.SIGINT)
        return super().decided(sent)


@pytest.mark.skipif(sys.platform == "win32", reason="There a signal to itself ends the process.")
def test_who_interrupts_it_sees_no_secret_in_the_traceback():
    with running(Interrupted) as devices:
        provider = discovered(Issuer("corp", devices.url, "kedro-muniment", True, (), None, None))
        with pytest.raises(KeyboardInterrupt) as interrupted:
            device.sign_in(provider, "https://m.example", "openid", Told(), lambda _: None)
    assert "never-to-be-seen" not in shown(interrupted.value)


def test_a_code_cannot_write_on_the_terminal(devices, sign_in):
    devices.offer(user_code="WDJB\x1b[2J-MJHT")
    sign_in()
    assert sign_in.told.invitation.code == "WDJB[2J-MJHT"


@pytest.mark.parametrize("missing", ["device_code", "user_code", "verification_uri"])
def test_an_answer_without_what_is_needed_is_refused(devices, sign_in, missing):
    devices.offer(**{missing: None})
    with pytest.raises(NotSignedIn, match="gave no code to sign in with") as refused:
        sign_in()
    assert "never-to-be-seen" not in shown(refused.value)


def test_a_provider_that_cannot_be_reached_is_told_with_its_address(devices, sign_in):
    devices.publish(device_authorization_endpoint="http://127.0.0.1:9/device")
    with pytest.raises(Unreachable, match=devices.url):
        sign_in()


def test_a_device_endpoint_over_plain_http_elsewhere_is_refused(devices, sign_in):
    devices.publish(device_authorization_endpoint="http://id.example.org/device")
    with pytest.raises(MunimentError, match="no secret is sent"):
        sign_in()


def test_a_redirect_is_not_followed(devices, sign_in):
    devices.answers["/token"] = (307, {"Location": f"{devices.url}/elsewhere"}, {})
    with pytest.raises(NotSignedIn, match="it answered 307"):
        sign_in()
    assert devices.to("/elsewhere") == []
