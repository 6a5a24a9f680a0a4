"""A lease is believed for its signature, for who asks and for what was asked; kept, it carries runs through an outage.

Leases are fetched here as a start does it, at a time that the test chooses.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from joserfc.jwk import OKPKey

from kedro_muniment.leases import lease
from kedro_muniment.leases.lease import LEEWAY
from kedro_muniment.problems import NotSignedIn, ServiceRefused, Unreachable
from kedro_muniment.service import Service
from kedro_muniment.sign_in import jobs, keeping, people, signing_in
from kedro_muniment.sign_in.keeping import SignIn, Tokens
from kedro_muniment.sign_in.tokens import Token
from tests.client.conftest import token_of
from tests.client.third_parties import Runner, running

#: When the test began: the stand-in signs by this machine's clock, and a long suite may import this file early.
NOW = datetime.now(UTC)
ANN = Token(token_of("ann"))
BOB = Token(token_of("bob"))
DEV = {"environment": "dev"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where leases are kept; nobody is signed in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("MUNIMENT_TOKEN", "MUNIMENT_URL", "MUNIMENT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "kedro-muniment"


@pytest.fixture
def service(service):
    service.serve("sales.orders", {"type": "json.JSONDataset", "filepath": "/lake/orders.json"}, "load")
    return service


@pytest.fixture(autouse=True)
def _the_test_begins_now():
    global NOW  # noqa: PLW0603 - every moment of this file is told from it
    NOW = datetime.now(UTC)


def fetch(service, asked=DEV, token=ANN, later=timedelta()):
    return lease.fetch(Service(service.url, token), asked, NOW + later)


def away(service):
    service.instead["/v1/leases"] = (503, "text/html", "<html>upgrading</html>")


def back(service):
    del service.instead["/v1/leases"]


def refused(service, **given):
    with pytest.raises(ServiceRefused) as problem:
        fetch(service, **given)
    return problem.value.message


def unreachable(service, **given):
    with pytest.raises(Unreachable) as problem:
        fetch(service, **given)
    return problem.value.message


def one(folder, kind="lease"):
    (file,) = folder.glob(f"*.{kind}")
    return file


# --- What the service gives ------------------------------------------------------------------------------


def test_a_lease_that_is_signed_for_who_asks_is_used(service):
    given = fetch(service)
    assert list(given.catalog) == ["sales.orders"]
    assert (given.subject, given.environment, given.revision, given.receipt) == ("user:ann", "dev", "812", "r-1")
    assert given.until - given.issued == timedelta(hours=12)
    assert given.away is None


@pytest.mark.parametrize(
    ("stating", "told"),
    [
        ({"iss": "https://other.example.org"}, "it was made by another service (https://other.example.org)"),
        ({"aud": "spark"}, "it is for another program"),
        ({"aud": ["kedro"]}, "it is for another program"),
        ({"sub": "user:bob"}, "it is for user:bob, and you are user:ann"),
        ({"environment": "prod"}, "it is for the environment prod, and dev was asked for"),
        ({"names": "0" * 64}, "it is for other names than were asked for"),
        ({"body_sha256": "0" * 64}, "what came with it is not what was signed"),
        ({"body_sha256": None}, "it does not state what a lease states"),
        ({"exp": "tomorrow"}, "it does not state what a lease states"),
        ({"iat": True}, "it does not state what a lease states"),
        ({"exp": 1e300}, "it does not state what a lease states"),
        ({"exp": int(NOW.timestamp()) - 3600}, "Set the clock of this machine"),
    ],
)
def test_what_is_signed_and_not_for_this_is_refused_and_not_kept(service, folder, stating, told):
    service.stating = stating
    assert told in refused(service)
    assert not list(folder.glob("*"))


@pytest.mark.parametrize("said", ["project", "purpose"])
def test_a_lease_for_another_project_or_purpose_is_refused(service, said):
    service.stating = {said: "churn"}
    fetch(service)  # a key may be bound to one, which nobody asked for
    assert "it is for churn, and forecast was asked for" in refused(service, asked={**DEV, said: "forecast"})


def test_a_lease_without_a_signature_is_refused(service, monkeypatch):
    monkeypatch.setattr(type(service), "signed", lambda *_: None)
    assert "gave a lease that it did not sign" in refused(service)


def test_a_lease_under_a_key_that_is_not_shown_is_not_used_and_the_kept_one_is(service):
    """While hosts are given another secret, one of them may not know yet what another signs with."""
    mine = service.key
    service.shown = [OKPKey.generate_key(auto_kid=True)]
    assert "under a key that it does not show" in unreachable(service)
    service.shown = []
    fetch(service)
    service.key, service.shown = OKPKey.generate_key(auto_kid=True), [mine]
    assert "under a key that it does not show" in fetch(service).away


def test_a_lease_that_the_key_did_not_sign_is_refused_whatever_is_kept(service):
    fetch(service)
    name = service.key.kid
    service.key = OKPKey.generate_key(parameters={"kid": name})
    assert "its signature does not hold" in refused(service)


def test_a_lease_that_a_key_of_nobody_signed_is_refused(service):
    service.shown = [OKPKey.generate_key(parameters={"kid": service.key.kid})]
    assert "its signature does not hold" in refused(service)


def test_a_set_without_a_key_is_told(service):
    service.instead["/v1/leases/keys"] = (200, "application/json", '{"keys": [{"kty": "RSA"}, 7]}')
    assert "it shows no key that signs leases" in refused(service)


def test_a_new_key_is_asked_for_once_and_an_old_one_not_again(service):
    fetch(service)
    fetch(service)
    assert service.shows == 1
    service.key = OKPKey.generate_key(auto_kid=True)
    fetch(service)
    fetch(service)
    assert service.shows == 2


def test_a_service_that_took_another_name_is_believed_by_its_own_word(service):
    fetch(service)
    told = {"lease_issuer": "https://muniment.example.org"}
    service.instead["/.well-known/muniment"] = (200, "application/json", json.dumps(told))
    service.stating = {"iss": "https://muniment.example.org"}
    fetch(service)
    away(service)
    assert fetch(service).away is not None


def test_names_that_are_asked_for_are_stated_by_their_digest(service):
    service.serve("sales.{region}_orders", {"type": "json.JSONDataset", "filepath": "/lake/{region}.json"})
    given = fetch(service, {**DEV, "names": "sales.eu_orders"})
    assert list(given.catalog) == ["sales.eu_orders"]


def test_a_clock_that_is_behind_is_told_and_a_little_is_not(service, said):
    fetch(service, later=-LEEWAY / 2)
    assert said == []
    fetch(service, later=timedelta(minutes=-90))
    (told,) = said
    assert re.fullmatch(rf"WARNING This machine's clock is 9\d minutes behind {service.url}\. Set it\.", told)


# --- Without the service ---------------------------------------------------------------------------------


def test_a_run_goes_on_from_the_kept_lease_and_says_until_when(service, said):
    given = fetch(service)
    away(service)
    again = fetch(service, later=timedelta(hours=11))
    assert again.catalog == given.catalog
    assert again.until == given.until
    assert "answered 503, and not as Muniment does." in again.away
    (line,) = said
    assert f"it holds until {given.until:%Y-%m-%d %H:%M} UTC, and what has changed since is not known here" in line
    assert "Nothing was run" not in line


def test_at_its_end_it_is_refused_and_said_what_to_do(service):
    given = fetch(service)
    away(service)
    fetch(service, later=given.until - NOW - timedelta(seconds=1))
    message = unreachable(service, later=given.until - NOW)
    assert f"it ended at {given.until:%Y-%m-%d %H:%M} UTC" in message
    assert "A run starts again when the service can be reached" in message


def test_an_unchanged_lease_is_extended(service):
    fetch(service)
    service.stating = {"exp": int(NOW.timestamp()) + 20 * 3600}
    fetch(service)
    assert [asked.status for asked in service.asked] == [200, 304]
    away(service)
    assert fetch(service, later=timedelta(hours=19)).away


def test_an_answer_stands_before_what_is_kept(service):
    fetch(service)
    for status, kind in ((401, NotSignedIn), (403, Exception), (404, Exception), (422, ServiceRefused)):
        problem = json.dumps({"title": "No", "detail": "No.", "status": status})
        service.instead["/v1/leases"] = (status, "application/problem+json", problem)
        with pytest.raises(kind) as refusal:
            fetch(service)
        assert not isinstance(refusal.value, Unreachable)


def test_what_was_not_asked_for_before_is_not_there_without_the_service(service):
    fetch(service)
    away(service)
    for asked in ({"environment": "prod"}, {**DEV, "project": "churn"}, {**DEV, "names": "sales.orders"}):
        assert "kept" not in unreachable(service, asked=asked)


def test_a_service_that_is_away_is_not_waited_for_by_each_further_question(service):
    asker = Service(service.url, ANN)
    lease.fetch(asker, DEV)
    away(service)
    for _ in range(3):
        assert lease.fetch(asker, DEV).away
    assert [asked.status for asked in service.asked] == [200, 503]


def test_nothing_but_a_kept_lease_is_not_needed_from_the_service(service):
    """The keys are kept with it: nothing else of the service is asked either."""
    fetch(service)
    away(service)
    service.instead["/v1/leases/keys"] = service.instead["/.well-known/muniment"] = (500, "text/html", "")
    assert fetch(service).away


# --- Whose it is -----------------------------------------------------------------------------------------


def test_a_lease_of_another_is_never_used(service, folder):
    """Copied over one's own, even with its mark: it is signed for Bob, and Ann's own mark says who Ann is."""
    fetch(service)
    mine = one(folder)
    mark = one(folder, "mark")
    service.subject = "user:bob"
    fetch(service, token=BOB)
    his = next(file for file in folder.glob("*.lease") if file != mine)
    shutil.copy(his, mine)
    away(service)
    assert "it is for user:bob, and you are user:ann" in unreachable(service)
    mark.unlink()
    assert "nobody here knows any more whom the service takes you for" in unreachable(service)


def test_a_lease_of_another_environment_or_service_is_never_used(service, folder):
    fetch(service)
    mine = one(folder)
    fetch(service, {"environment": "prod"})
    shutil.copy(next(file for file in folder.glob("*.lease") if file != mine), mine)
    away(service)
    assert "it is for the environment prod, and dev was asked for" in unreachable(service)
    before = set(folder.glob("*.lease"))
    back(service)
    service.url = service.url.replace("127.0.0.1", "localhost")  # another service, which knows Ann too
    fetch(service)
    (others,) = set(folder.glob("*.lease")) - before
    shutil.copy(others, mine)
    service.url, name = service.url.replace("localhost", "127.0.0.1"), service.url
    away(service)
    assert f"it was made by another service ({name})" in unreachable(service)


def signed_in(url, subject="user:ann", ends=NOW + timedelta(days=1), issuer="https://id.example.org", refresh=None):
    sign_in = SignIn(url, issuer, "kedro-muniment", subject, (), None, datetime.now(UTC))
    with keeping.alone(sign_in):
        return keeping.keep(sign_in, Tokens(Token(token_of("ann")), Token(refresh) if refresh else None, ends))


def start(service):
    """As a project starts."""
    return lease.fetch(Service(service.url, signing_in.asker(service.url)), DEV)


def test_who_signed_out_has_no_lease_and_who_signs_in_as_another_neither(service, folder):
    sign_in = signed_in(service.url, issuer="http://127.0.0.1:9")
    start(service)
    away(service)
    assert start(service).away
    list(people.logout([sign_in]))
    assert not list(folder.glob("*"))
    with pytest.raises(NotSignedIn):
        start(service)
    signed_in(service.url, subject="user:bob")
    with pytest.raises(Unreachable):
        start(service)


def test_a_sign_in_that_its_provider_cannot_renew_now_runs_from_the_kept_lease(service):
    signed_in(service.url, issuer="http://127.0.0.1:9")
    start(service)
    signed_in(service.url, ends=NOW - timedelta(hours=1), issuer="http://127.0.0.1:9", refresh="spent")
    given = start(service)
    assert given.subject == "user:ann"
    assert "http://127.0.0.1:9 cannot be reached" in given.away
    assert len(service.asked) == 1
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
        Service(service.url, signing_in.asker(service.url)).whoami()


def test_a_sign_in_that_has_ended_runs_from_the_kept_lease_only_while_the_service_is_away(service):
    signed_in(service.url)
    start(service)
    signed_in(service.url, ends=NOW - timedelta(hours=1))
    with pytest.raises(NotSignedIn, match=r"has ended. Sign in again: kedro muniment login"):
        start(service)
    assert "authorization" not in service.asked[-1].headers
    away(service)
    assert start(service).away


@pytest.fixture
def provider_away(service):
    """The service names a provider at which nobody answers."""
    service.issuers = [{"name": "corp", "issuer": "http://127.0.0.1:9", "client_id": "x", "default": True}]


def given_to_the_job(service):
    """A lease from the time when the provider was there, for the job that the environment names."""
    holder = signing_in.asker(service.url).bearer()
    token = jobs.JobToken(jobs.Credential("it", lambda: jobs.Granted(ANN, None), holder, lambda: holder))
    lease.fetch(Service(service.url, token), DEV)


def test_a_client_whose_provider_is_away_runs_from_the_kept_lease(service, provider_away, monkeypatch):
    """What a job with a secret of its own is given is found again by what its environment says."""
    monkeypatch.setenv("MUNIMENT_CLIENT_ID", "nightly")
    monkeypatch.setenv("MUNIMENT_CLIENT_SECRET", "never-to-be-seen")
    given_to_the_job(service)
    assert "http://127.0.0.1:9 cannot be reached" in start(service).away
    monkeypatch.setenv("MUNIMENT_CLIENT_SECRET", "of-another")
    with pytest.raises(Unreachable):
        start(service)


def test_a_job_that_its_platform_vouches_for_is_told_by_the_platforms_token(
    service, provider_away, monkeypatch, tmp_path
):
    """The same words of an environment may stand for another job today."""
    file = tmp_path / "token"
    file.write_text(token_of("nightly"))
    monkeypatch.setenv("MUNIMENT_WORKLOAD", "file")
    monkeypatch.setenv("MUNIMENT_TOKEN_FILE", str(file))
    monkeypatch.setenv("MUNIMENT_TOKEN_EXCHANGE", "1")
    given_to_the_job(service)
    assert start(service).away
    file.write_text(token_of("weekly"))
    with pytest.raises(Unreachable):
        start(service)


def test_a_job_whose_platform_has_to_be_asked_is_nobody_without_its_token(service, provider_away, monkeypatch):
    with running(Runner) as runner:
        runner.signed = lambda _: token_of("nightly")
        monkeypatch.setenv("MUNIMENT_WORKLOAD", "github")
        monkeypatch.setenv("MUNIMENT_AUDIENCE", "https://muniment.example.org")
        monkeypatch.setenv("MUNIMENT_TOKEN_EXCHANGE", "1")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", runner.url + runner.ADDRESS)
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", runner.BEARER)
        with pytest.raises(Unreachable):
            signing_in.asker(service.url)


# --- Time ------------------------------------------------------------------------------------------------


def test_an_older_lease_in_place_of_a_newer_is_not_used(service, folder):
    service.stating = {"iat": int(NOW.timestamp()) - 3600}
    fetch(service)
    older = one(folder).read_bytes()
    service.stating = {}
    fetch(service)
    file = one(folder)
    file.write_bytes(older)
    away(service)
    assert "it is older than the last one that was given here" in unreachable(service)
    back(service)
    fetch(service)
    away(service)
    assert fetch(service).away


def test_a_clock_that_is_set_back_does_not_make_a_lease_longer(service):
    fetch(service)
    away(service)
    fetch(service, later=timedelta(hours=11))
    assert "clock says" in unreachable(service, later=timedelta(hours=2))
    a_little_back = fetch(service, later=timedelta(hours=11) - LEEWAY / 2)
    assert a_little_back.seen == NOW + timedelta(hours=11)
    assert fetch(service, later=timedelta(hours=11.5)).now() == NOW + timedelta(hours=11.5)


def test_it_is_not_earlier_than_when_the_lease_was_given(service, folder):
    """A machine that lost its clock starts years ago, perhaps without its mark."""
    given = fetch(service)
    one(folder, "mark").write_text(
        json.dumps({"issuer": service.url, "subject": "user:ann", "seen": None, "issued": {}})
    )
    away(service)
    message = unreachable(service, later=-timedelta(days=3000))
    assert f"and it was {given.issued:%Y-%m-%d %H:%M} UTC already. Set the clock" in message


def test_a_clock_that_ran_ahead_is_forgiven_by_the_services_own_time(service):
    fetch(service)
    away(service)
    fetch(service, later=timedelta(hours=11))
    back(service)
    assert fetch(service).seen < NOW + timedelta(hours=1)


def test_a_service_that_was_restored_gives_an_older_revision_and_is_believed(service):
    fetch(service)
    service.stating = {"revision": 700}
    assert fetch(service).revision == "700"
    away(service)
    assert fetch(service).revision == "700"


# --- On disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def whole(service, folder):
    """A kept lease, and the service away."""
    fetch(service)
    away(service)
    file = one(folder)
    return file, file.read_bytes()


def test_no_flipped_byte_of_a_kept_lease_gives_another_catalog(service, whole):
    """Every seventh byte, each bit in turn: what is used is what was signed, or nothing is."""
    file, text = whole
    expected = fetch(service)
    used = 0
    for number, place in enumerate(range(0, len(text), 7)):
        damaged = bytearray(text)
        damaged[place] ^= 1 << number % 8
        file.write_bytes(damaged)
        try:
            given = fetch(service)
        except Unreachable:
            continue
        used += 1
        assert (given.catalog, given.actions, given.until) == (expected.catalog, expected.actions, expected.until)
    assert used < 40, "the tag, and the names in the head that nothing depends on"


def test_no_part_of_a_kept_lease_is_used(service, whole):
    """Wherever a write had stopped, if files were not replaced whole."""
    file, text = whole
    for length in range(0, len(text), 29):
        file.write_bytes(text[:length])
        unreachable(service)
