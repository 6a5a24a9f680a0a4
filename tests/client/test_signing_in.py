"""``login``, ``logout`` and ``whoami`` as commands: what they choose, what they refuse, and what goes before what."""

from __future__ import annotations

import io
import json
import sys
import webbrowser
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

import kedro_muniment
from kedro_muniment.command_line.commands import commands
from kedro_muniment.problems import ServiceRefused
from kedro_muniment.sign_in import keeping, people
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.signing_in import token
from kedro_muniment.sign_in.tokens import Token
from tests.client.conftest import token_of
from tests.client.third_parties import Provider, running

CLOSED = "http://127.0.0.1:9"
NOW = datetime.now(UTC)


class Devices(Provider):
    """A provider whose people sign in at once."""

    def __init__(self, url):
        super().__init__(url)
        self.offer(device_authorization_endpoint=f"{url}/device_authorization")
        self.answers["/revoke"] = (200, {}, {})
        self.answers["/device_authorization"] = (
            200,
            {},
            {"device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": f"{url}/device", "interval": 0.01},
        )
        self.give(access_token=token_of("ann"), refresh_token="never-to-be-seen-refresh")

    def offer(self, **endpoints):
        self.publish(revocation_endpoint=f"{self.url}/revoke", scopes_supported=["openid", "email"], **endpoints)


@pytest.fixture
def provider():
    with running(Devices) as made:
        yield made


@pytest.fixture
def corp(provider, service):
    """The service believes the provider."""
    service.issuers = [{"name": "corp", "issuer": provider.url, "client_id": "kedro-muniment", "default": True}]
    return service


@pytest.fixture
def muniment(project, monkeypatch, corp):
    """The command line in this process, in a folder that is no project; nobody is signed in."""
    monkeypatch.chdir(project.path.parent)
    monkeypatch.delenv("MUNIMENT_TOKEN")

    def run(*arguments, **env):
        return CliRunner().invoke(commands, ["muniment", *arguments], env=env)

    return run


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def kept(url, subject="user:ann", access=None, **other):
    sign_in = SignIn(keeping.normalised(url), "https://id.example.org", "c", subject, (), None, NOW)
    with keeping.alone(sign_in):
        return keeping.keep(sign_in, Tokens(Token(access or token_of("ann")), None, NOW + timedelta(days=1)))


def test_outside_of_a_project_the_address_is_given(muniment, corp, provider):
    told = answer(muniment("login", "--url", corp.url + "/", "--json"))
    assert (told["service"], told["issuer"], told["subject"]) == (corp.url, provider.url, "user:ann")
    assert answer(muniment("whoami", "--json", MUNIMENT_URL=corp.url))["subject"] == "user:ann"
    assert answer(muniment("logout", "--url", corp.url, "--json"))["signed_out"][0]["revoked"]
    assert muniment("whoami", "--url", corp.url).exit_code == 3


def test_inside_a_project_it_is_the_projects(muniment, governed, corp, monkeypatch):
    monkeypatch.delenv("MUNIMENT_TOKEN", raising=False)
    monkeypatch.chdir(governed.path)
    assert answer(muniment("login", "--json"))["service"] == corp.url
    assert governed.context().catalog.load("orders") == [1, 2]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://muniment.example.org", "plain HTTP"),
        ("https://user:secret@muniment.example.org", "holds a user or a password"),
        ("muniment", "--url must be an address"),
    ],
)
def test_an_address_that_is_none_is_refused(muniment, url, told):
    result = muniment("login", "--url", url)
    assert result.exit_code == 5
    assert told in result.output
    assert "secret@" not in result.output


def test_without_any_address_it_says_where_to_write_one(muniment):
    assert muniment("login").exit_code == 2


def test_a_service_that_cannot_be_reached_is_told(muniment):
    result = muniment("login", "--url", CLOSED)
    assert result.exit_code == 4
    assert CLOSED in result.output


@pytest.mark.parametrize("command", ["login", "whoami"])
def test_an_address_that_no_host_can_have_is_told_like_one_that_does_not_answer(muniment, command):
    result = muniment(command, "--url", "https://a..example", MUNIMENT_TOKEN=token_of("ann"))
    assert result.exit_code == 4
    assert "no host can have that name" in result.output


def test_both_ways_at_once_are_wrong_usage(muniment, corp):
    assert muniment("login", "--url", corp.url, "--device", "--browser").exit_code == 2


def test_a_way_that_the_provider_does_not_offer_is_refused_with_the_one_that_it_does(muniment, corp):
    result = muniment("login", "--url", corp.url, "--browser")
    assert result.exit_code == 3
    assert "does not offer sign-in by browser. Try: kedro muniment login --device" in result.output


def test_a_provider_that_offers_neither_is_told(muniment, corp, provider):
    provider.offer()
    result = muniment("login", "--url", corp.url)
    assert result.exit_code == 3
    assert "neither by device nor by browser" in result.output


def test_the_issuer_is_chosen_by_name_and_an_unknown_one_is_refused_with_those_there_are(muniment, corp, provider):
    corp.issuers = [
        {"name": "corp", "issuer": "https://id.example.org", "client_id": "c", "default": True},
        {"name": "partners", "issuer": provider.url, "client_id": "c", "default": False},
        {"name": "github", "issuer": "https://token.example.org", "client_id": None, "default": False},
    ]
    assert answer(muniment("login", "--url", corp.url, "--issuer", "partners", "--json"))["issuer"] == provider.url
    unknown = muniment("login", "--url", corp.url, "--issuer", "github")
    assert unknown.exit_code == 3
    assert "There are: corp, partners." in unknown.output


@pytest.mark.parametrize(("default", "told"), [(False, "several sign-in providers: a, b"), (None, "no provider")])
def test_where_no_issuer_is_the_obvious_one_it_says_so(muniment, corp, default, told):
    names = ["a", "b"] if default is False else []
    corp.issuers = [{"name": name, "issuer": f"https://{name}", "client_id": "c", "default": False} for name in names]
    result = muniment("login", "--url", corp.url)
    assert result.exit_code == 3
    assert told in result.output


def test_the_scopes_are_the_services_else_those_that_make_a_sign_in_last(muniment, corp, provider):
    muniment("login", "--url", corp.url)
    corp.issuers[0]["scopes"] = ["api://muniment/.default", "offline_access"]
    muniment("login", "--url", corp.url)
    asked = [each.form["scope"] for each in provider.to("/device_authorization")]
    assert asked == ["openid", "api://muniment/.default offline_access"]


def test_what_the_environment_says_goes_before_what_is_kept_and_login_tells_it(muniment, corp):
    told = muniment("login", "--url", corp.url, MUNIMENT_TOKEN=token_of("bob"))
    assert "But MUNIMENT_TOKEN is set, and goes before it" in told.output
    assert (
        "MUNIMENT_TOKEN"
        in answer(muniment("whoami", "--url", corp.url, "--json", MUNIMENT_TOKEN=token_of("bob")))["credential"]
    )
    assert "the sign-in of" in answer(muniment("whoami", "--url", corp.url, "--json"))["credential"]


def test_logout_tells_what_is_still_used(muniment, corp):
    muniment("login", "--url", corp.url)
    told = muniment("logout", "--url", corp.url, MUNIMENT_TOKEN=token_of("bob"))
    assert "Signed out of" in told.output
    assert "MUNIMENT_TOKEN is still set, and is used: unset it to ask as nobody." in told.output
    assert "is still set" not in muniment("logout", "--url", corp.url).output


def test_the_commands_never_show_a_token(muniment, corp):
    shown = "".join(
        muniment(*command, "--url", corp.url, *as_json).output
        for command in (["login"], ["whoami"], ["logout"])
        for as_json in ([], ["--json"])
    )
    assert "never-to-be-seen" not in shown
    assert "WDJB-MJHT" in shown


def test_logout_of_all_ends_each_and_of_one_leaves_the_others(muniment, corp):
    kept(corp.url)
    kept("https://second.example")
    kept("https://third.example")
    assert [each["url"] for each in answer(muniment("logout", "--url", corp.url, "--json"))["signed_out"]] == [corp.url]
    assert len(keeping.known()) == 2
    told = muniment("logout", "--all")
    assert told.exit_code == 0
    assert "Signed out of https://second.example" in told.output
    assert keeping.known() == []
    assert "You were not signed in" in muniment("logout", "--all").output


def test_who_the_service_refuses_is_told_to_sign_in_again(muniment, corp):
    kept(corp.url, access="stale")
    result = muniment("whoami", "--url", corp.url)
    assert result.exit_code == 3
    assert "Token refused: It has expired. Sign in again: kedro muniment login" in result.output


def test_a_sign_in_that_still_holds_loads_nothing_of_oauth(governed, corp, monkeypatch):
    monkeypatch.delenv("MUNIMENT_TOKEN")
    kept(corp.url)
    ran = governed.python(
        f"""
        import sys
        from kedro_muniment.service import Service
        from kedro_muniment.sign_in.signing_in import token
        print("ASKED", Service({corp.url!r}, token({corp.url!r})).whoami()["subject"], "authlib" in sys.modules)
        """,
        MUNIMENT_TOKEN=None,
    )
    assert "ASKED user:ann False" in ran.stdout, ran.stdout + ran.stderr


def test_a_lease_for_another_than_who_signed_in_is_refused(governed, corp, monkeypatch):
    monkeypatch.delenv("MUNIMENT_TOKEN")
    kept(corp.url, subject="user:bob")
    with pytest.raises(ServiceRefused, match="a lease for user:ann, and you signed in as user:bob"):
        governed.context()


def test_a_kept_lease_is_found_again_after_the_token_was_renewed(governed, corp, monkeypatch):
    monkeypatch.delenv("MUNIMENT_TOKEN")
    corp.bearers = {"opaque-1", "opaque-2"}
    for access in ("opaque-1", "opaque-2"):
        kept(corp.url, access=access)
        governed.context()
    assert [each.status for each in corp.asked if each.path == "/v1/leases"] == [200, 304]


def test_login_and_logout_are_functions_too(muniment, corp, capfd):
    kedro_muniment.login(corp.url, device=True)
    assert token(corp.url).subject == "user:ann"
    kedro_muniment.logout(corp.url)
    assert keeping.known() == []
    told = capfd.readouterr()
    assert told.out == ""
    assert f"Signed in to {corp.url} as user:ann" in told.err
    assert f"Signed out of {corp.url} (user:ann)." in told.err


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def desk(monkeypatch):
    """Somebody sits at this machine: a screen, a terminal, a browser."""
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.Mozilla("firefox"))


@pytest.fixture
def fits(desk, monkeypatch):
    """Whether a browser fits, at a terminal unless a test says otherwise: pytest's own error stream is none."""

    def asked(error=None):
        monkeypatch.setattr(sys, "stderr", error or Terminal())
        return people.a_browser_fits()

    return asked


def test_where_somebody_sits_at_the_machine_its_browser_is_used(fits):
    assert fits()


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_TTY"])
def test_over_ssh_no_browser_is_opened(fits, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not fits()


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="There is always a screen.")
def test_without_a_screen_no_browser_is_opened(fits, monkeypatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not fits()


def test_behind_a_pipe_no_browser_is_opened(fits):
    assert not fits(io.StringIO())


@pytest.mark.parametrize("name", ["lynx", "w3m", "www-browser"])
def test_a_browser_inside_the_terminal_is_not_used(fits, monkeypatch, name):
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser(name))
    assert not fits()


def test_without_a_browser_none_is_opened(fits, monkeypatch):
    def none():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert not fits()


def test_a_provider_whose_token_the_service_refuses_leaves_nothing_behind(muniment, corp, provider):
    provider.give(access_token="of-another-audience", refresh_token="its-refresh")
    result = muniment("login", "--url", corp.url)
    assert result.exit_code == 3
    assert keeping.known() == []
    assert [each.form["token"] for each in provider.to("/revoke")] == ["its-refresh", "of-another-audience"]
    assert "`muniment doctor identity` tells them why" in result.output
