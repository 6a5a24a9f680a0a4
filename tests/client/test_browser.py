"""Sign-in with this machine's browser: what comes back counts only for this sign-in, and from whom was asked."""

from __future__ import annotations

import base64
import hashlib
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from kedro_muniment.problems import NotSignedIn
from kedro_muniment.sign_in import browser
from kedro_muniment.sign_in.providers import Issuer, discovered
from tests.client.third_parties import Provider, running
from tests.client.tracebacks import shown

CODE = "never-to-be-seen-code"


@pytest.fixture
def provider():
    with running(Provider) as made:
        made.publish(
            authorization_endpoint=f"{made.url}/authorize", authorization_response_iss_parameter_supported=True
        )
        yield made


class Person:
    """Somebody whose browser opens the link, and brings back what a test says."""

    def __init__(self, provider):
        self.provider = provider
        self.asked = {}
        self.pages = []
        self.changes = {}
        self.before = []

    def open(self, link):
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        threading.Thread(target=self._back).start()
        return True

    def visit(self, **said):
        """Come back with this beside or instead of what belongs there; ``None`` leaves it out."""
        usual = {"code": CODE, "state": self.asked["state"], "iss": self.provider.url}
        query = urlencode({name: value for name, value in {**usual, **said}.items() if value is not None})
        return self.get(f"{self.asked['redirect_uri']}?{query}")

    @staticmethod
    def get(address):
        with httpx.Client(trust_env=False) as http:
            return http.get(address)

    def _back(self):
        for visit in self.before:
            self.pages.append(visit())
        self.pages.append(self.visit(**self.changes))


class Told:
    def __init__(self):
        self.invitations = []

    def invite(self, invitation):
        self.invitations.append(invitation)

    def say(self, line):
        raise AssertionError(line)


@pytest.fixture
def person(provider):
    return Person(provider)


@pytest.fixture
def sign_in(provider, person):
    def run(scope="openid", **options):
        issuer = Issuer("corp", provider.url, "kedro-muniment", True, (), "urn:muniment", "muniment")
        run.told = Told()
        how = {"open_browser": person.open, "seconds": 20.0, **options}
        return browser.sign_in(discovered(issuer), "https://m.example", scope, run.told, **how)

    return run


def test_the_code_is_exchanged_with_the_verifier_whose_digest_was_sent_before(provider, person, sign_in):
    sign_in()
    (exchange,) = provider.to("/token")
    digest = base64.urlsafe_b64encode(hashlib.sha256(exchange.form["code_verifier"].encode()).digest()).rstrip(b"=")
    assert (person.asked["code_challenge"], person.asked["code_challenge_method"]) == (digest.decode(), "S256")
    assert exchange.form["code"] == CODE
    assert exchange.form["redirect_uri"] == person.asked["redirect_uri"]
    assert exchange.form["client_id"] == "kedro-muniment"
    assert exchange.form["resource"] == person.asked["resource"] == "urn:muniment"
    assert len(exchange.form["code_verifier"]) >= 43


def test_a_provider_that_wants_a_nonce_for_its_id_token_has_one(provider, person, sign_in):
    """Glewlwyd refuses whoever asks for ``openid`` without it; no ID token is used here, so none is compared."""
    sign_in()
    first = person.asked["nonce"]
    sign_in()
    assert person.asked["nonce"] != first
    sign_in("muniment")
    assert "nonce" not in person.asked


def test_each_sign_in_has_a_state_and_a_verifier_of_its_own(provider, person, sign_in):
    sign_in()
    first = person.asked
    sign_in()
    assert first["state"] != person.asked["state"]
    one, other = provider.to("/token")
    assert one.form["code_verifier"] != other.form["code_verifier"]


def test_it_listens_on_loopback_alone_and_no_longer_than_it_must(person, sign_in):
    sign_in()
    back = urlsplit(person.asked["redirect_uri"])
    assert (back.scheme, back.hostname, back.path) == ("http", "127.0.0.1", "/callback")
    with pytest.raises(httpx.ConnectError):
        person.get(person.asked["redirect_uri"])


def test_the_page_shows_no_code_runs_nothing_and_tells_no_referrer(person, sign_in):
    sign_in()
    (page,) = person.pages
    assert "never-to-be-seen" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


def test_what_came_back_is_written_nowhere(sign_in, capfd):
    sign_in()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("state", ["another", "", None, "é"])
def test_an_answer_to_another_sign_in_is_not_taken_and_this_one_goes_on(provider, person, sign_in, state):
    person.before = [lambda: person.visit(state=state, code="somebody-elses-code")]
    sign_in()
    assert [page.status_code for page in person.pages] == [400, 200]
    assert [each.form["code"] for each in provider.to("/token")] == [CODE]


def test_what_a_browser_asks_besides_is_not_an_answer(person, sign_in):
    root = lambda: person.asked["redirect_uri"].removesuffix("/callback")  # noqa: E731
    person.before = [lambda: person.get(f"{root()}/favicon.ico"), lambda: person.get(f"{root()}/")]
    sign_in()
    assert [page.status_code for page in person.pages] == [404, 404, 200]


def test_a_state_given_twice_is_none(person, sign_in):
    person.before = [lambda: person.get(f"{person.asked['redirect_uri']}?code=x&state={person.asked['state']}&state=y")]
    sign_in()
    assert [page.status_code for page in person.pages] == [400, 200]


@pytest.mark.parametrize("issuer", ["https://evil.example", "", None])
def test_an_answer_of_another_issuer_is_refused_and_its_code_is_sent_nowhere(provider, person, sign_in, issuer):
    person.changes = {"iss": issuer}
    with pytest.raises(NotSignedIn, match=r"not from http://127\.0\.0\.1") as refused:
        sign_in()
    assert provider.to("/token") == []
    assert "never-to-be-seen" not in shown(refused.value)


def test_a_provider_that_does_not_name_itself_is_believed_unless_it_names_another(provider, person, sign_in):
    provider.publish(authorization_endpoint=f"{provider.url}/authorize")
    person.changes = {"iss": None}
    assert sign_in().token
    person.changes = {"iss": "https://evil.example"}
    with pytest.raises(NotSignedIn, match="not from"):
        sign_in()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("access_denied", "was refused"),
        ("invalid_scope", "did not sign you in: invalid_scope"),
        ("\x1b[2J", "you in: "),
    ],
)
def test_a_no_is_told_in_words(provider, person, sign_in, error, told):
    person.changes = {"error": error, "code": None}
    with pytest.raises(NotSignedIn, match=told) as refused:
        sign_in()
    assert "\x1b" not in refused.value.message
    assert provider.to("/token") == []


def test_what_the_provider_says_of_its_no_is_told_as_it_may_be_shown(person, sign_in):
    person.changes = {"error": "invalid_request", "error_description": "nonce\x1b[2J required", "code": None}
    with pytest.raises(NotSignedIn, match=r"invalid_request \(nonce.* required\)") as refused:
        sign_in()
    assert "\x1b" not in refused.value.message


def test_an_answer_without_a_code_is_refused(provider, person, sign_in):
    person.changes = {"code": None}
    with pytest.raises(NotSignedIn, match="no reason"):
        sign_in()
    assert provider.to("/token") == []


def test_a_refused_code_is_told_without_it(provider, person, sign_in):
    provider.refuse(400, "invalid_grant", f"the code {CODE} was used before")
    with pytest.raises(NotSignedIn, match="invalid_grant") as refused:
        sign_in()
    assert "never-to-be-seen" not in shown(refused.value)


def test_consent_is_asked_for_where_a_lasting_sign_in_needs_it(person, sign_in):
    sign_in("openid offline_access")
    assert person.asked["prompt"] == "consent"
    sign_in("openid")
    assert "prompt" not in person.asked


def test_nobody_who_comes_back_is_the_end_of_it(sign_in):
    with pytest.raises(NotSignedIn, match="before the time was over"):
        sign_in(open_browser=None, seconds=0.01)
    (invitation,) = sign_in.told.invitations
    assert not invitation.opened


def test_a_connection_that_says_nothing_keeps_nobody_waiting(person, sign_in):
    import socket

    silent = []

    def connect():
        silent.append(socket.create_connection(("127.0.0.1", urlsplit(person.asked["redirect_uri"]).port)))

    person.before = [connect]
    assert sign_in().token
    silent[0].close()


def test_a_port_that_is_taken_is_told(sign_in, provider):
    taken = urlsplit(provider.url).port
    with pytest.raises(NotSignedIn, match=f"127.0.0.1:{taken}.*--port"):
        sign_in(port=taken)


def test_the_port_can_be_chosen_for_a_provider_that_wants_the_whole_address(person, sign_in):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sign_in(port=port)
    assert person.asked["redirect_uri"] == f"http://127.0.0.1:{port}/callback"
