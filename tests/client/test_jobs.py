"""How a job signs in: which credential the environment names, and what is refused. Nothing here is a provider."""

from __future__ import annotations

import itertools
import os
import traceback
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from kedro_muniment.problems import NotSignedIn
from kedro_muniment.sign_in import jobs
from kedro_muniment.sign_in.providers import Granted
from kedro_muniment.sign_in.tokens import Token
from tests.client.third_parties import Runner, jwt, running

URL = "http://127.0.0.1:9"
SECRET = "never-to-be-seen"
NAMES = (
    "MUNIMENT_TOKEN",
    "MUNIMENT_TOKEN_FILE",
    "MUNIMENT_KEY",
    "MUNIMENT_CLIENT_SECRET",
    "MUNIMENT_CLIENT_SECRET_FILE",
    "MUNIMENT_CLIENT_KEY_FILE",
    "MUNIMENT_WORKLOAD",
)

CLIENT = {"MUNIMENT_CLIENT_ID": "nightly", "MUNIMENT_CLIENT_SECRET": SECRET}
KEY_CLIENT = {"MUNIMENT_CLIENT_ID": "nightly", "MUNIMENT_CLIENT_KEY_FILE": "key.pem"}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, in an environment that names no credential."""
    for name in list(os.environ):
        if name.startswith(("MUNIMENT_", "ACTIONS_", "CI_", "GITLAB_", "KUBERNETES_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(jobs, "_kept", {})

    def name(**variables):
        for variable, value in variables.items():
            monkeypatch.setenv(variable, str(value))

    return name


@pytest.fixture(scope="module")
def runner():
    with running(Runner) as served:
        yield served


def sent_by(token):
    """What stands in a request that the token goes with."""
    request = httpx.Request("GET", URL)
    token.authorize(request.headers)
    return request.headers["Authorization"].removeprefix("Bearer ")


def refused(*secrets):
    """The words of the refusal; neither they nor any frame that the refusal passed hold a secret."""
    with pytest.raises(NotSignedIn) as raised:
        jobs.found(URL)
    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    ours = shown[shown.index("kedro_muniment/sign_in/jobs.py") :]  # this test's own frames hold what it made
    assert not [secret for secret in secrets if secret in ours]
    return raised.value.message


def test_an_environment_without_our_variables_names_no_credential(environment, tmp_path):
    """What a runner or a cluster sets on a machine never changes who asks."""
    environment(
        ACTIONS_ID_TOKEN_REQUEST_URL="https://runner.example",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN=SECRET,
        CI_JOB_JWT_V2=SECRET,
        KUBERNETES_SERVICE_HOST="10.0.0.1",
        MUNIMENT_TOKEN=" ",
    )
    assert jobs.found(URL) is None
    assert jobs.described(URL) is None


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(NAMES, 2)])
def test_two_credentials_at_once_are_refused_by_name(environment, one, other):
    values = dict.fromkeys(NAMES, SECRET) | {"MUNIMENT_WORKLOAD": "gitlab"}
    environment(**{name: values[name] for name in (one, other)})
    said = refused(SECRET)
    assert said.startswith(f"{one} and {other} are set, and each names a credential.")


@pytest.mark.parametrize(
    ("variable", "needs"),
    [
        ("MUNIMENT_CLIENT_ID", "MUNIMENT_CLIENT_KEY_FILE"),
        ("MUNIMENT_CLIENT_AUTH", "MUNIMENT_CLIENT_SECRET"),
        ("MUNIMENT_CLIENT_ASSERTION_AUDIENCE", "MUNIMENT_CLIENT_KEY_FILE"),
        ("MUNIMENT_ID_TOKEN", "MUNIMENT_WORKLOAD=gitlab"),
        ("MUNIMENT_AUDIENCE", "MUNIMENT_WORKLOAD=github"),
        ("MUNIMENT_TOKEN_EXCHANGE", "MUNIMENT_WORKLOAD"),
        ("MUNIMENT_TOKEN_ISSUER", "MUNIMENT_TOKEN_EXCHANGE=1"),
        ("MUNIMENT_TOKEN_SCOPE", "MUNIMENT_CLIENT_ID"),
    ],
)
@pytest.mark.parametrize("beside", [{}, {"MUNIMENT_TOKEN": SECRET}])
def test_a_variable_that_nothing_reads_is_refused_with_what_it_needs(environment, variable, needs, beside):
    environment(**{variable: SECRET}, **beside)
    said = refused(SECRET)
    assert said.startswith(f"{variable} is set, and says nothing without")
    assert needs in said


@pytest.mark.parametrize(
    "variable", ["MUNIMENT_CLIENT_SECRET", "MUNIMENT_CLIENT_SECRET_FILE", "MUNIMENT_CLIENT_KEY_FILE"]
)
def test_a_proof_without_the_client_whose_it_is_is_refused(environment, variable):
    environment(**{variable: SECRET})
    assert refused(SECRET).startswith(f"{variable} is set, and MUNIMENT_CLIENT_ID, whose proof it is, is not.")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MUNIMENT_WORKLOAD": "jenkins"}, "There are: github, gitlab, kubernetes, file."),
        ({"MUNIMENT_WORKLOAD": "github"}, "MUNIMENT_WORKLOAD=github needs MUNIMENT_AUDIENCE"),
        ({"MUNIMENT_WORKLOAD": "gitlab"}, "id_tokens"),
        ({"MUNIMENT_WORKLOAD": "kubernetes"}, "projected serviceAccountToken"),
        ({"MUNIMENT_WORKLOAD": "file"}, "MUNIMENT_WORKLOAD=file needs MUNIMENT_TOKEN_FILE"),
        ({"MUNIMENT_WORKLOAD": "github", "MUNIMENT_AUDIENCE": "muniment"}, "id-token: write"),
        ({"MUNIMENT_WORKLOAD": "file", "MUNIMENT_TOKEN_EXCHANGE": "yes"}, "neither 1 nor 0"),
        ({**CLIENT, "MUNIMENT_CLIENT_AUTH": "none"}, "There are: client_secret_basic, client_secret_post."),
        ({**KEY_CLIENT, "MUNIMENT_CLIENT_ASSERTION_AUDIENCE": "all"}, "There are: issuer, token_endpoint."),
    ],
)
def test_what_is_missing_or_is_not_known_is_said(environment, variables, words):
    environment(**variables)
    assert words in refused(SECRET)


@pytest.mark.parametrize("workload", ["gitlab", "github"])
def test_a_workload_is_refused_beside_the_variables_of_another(environment, workload):
    environment(MUNIMENT_WORKLOAD=workload, MUNIMENT_ID_TOKEN=SECRET, MUNIMENT_AUDIENCE="muniment")
    assert "says nothing without MUNIMENT_WORKLOAD=" in refused(SECRET)


@pytest.mark.parametrize("variable", ["MUNIMENT_TOKEN", "MUNIMENT_CLIENT_SECRET", "MUNIMENT_CLIENT_ID"])
def test_bytes_that_are_no_text_are_refused_by_the_variables_name(environment, variable):
    """An environment may hold any bytes; Python's error about them repeats them."""
    odd = os.fsdecode(SECRET.encode() + b"\xff")
    environment(**{**CLIENT, variable: odd} if variable in CLIENT else {variable: odd})
    assert refused(SECRET).startswith(f"{variable} holds bytes that are no text")


# --- what is there already ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "held"), [("MUNIMENT_TOKEN", jwt(iss="i", sub="s")), ("MUNIMENT_KEY", "mun_0123456789")]
)
def test_a_token_and_a_key_are_sent_as_they_are(environment, variable, held):
    environment(**{variable: f" {held}\n"})
    assert sent_by(jobs.found(URL)) == held
    assert jobs.described(URL) == variable


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MUNIMENT_TOKEN": f"Bearer {SECRET}"}, "MUNIMENT_TOKEN holds something that is not a token"),
        ({"MUNIMENT_KEY": f"mun_ {SECRET}"}, "MUNIMENT_KEY holds something that is not a token"),
        ({"MUNIMENT_KEY": SECRET}, "begins with mun_"),
        ({"MUNIMENT_WORKLOAD": "gitlab", "MUNIMENT_ID_TOKEN": f"{SECRET} x"}, "MUNIMENT_ID_TOKEN holds something"),
    ],
)
def test_what_is_no_token_is_refused_without_repeating_it(environment, variables, words):
    environment(**variables)
    assert words in refused(SECRET)


@pytest.mark.parametrize("workload", [None, "file", "kubernetes"])
def test_a_token_in_a_file_is_read_again_at_each_use(environment, tmp_path, workload):
    file = tmp_path / "token"
    first, second = jwt(iss="cluster", sub="etl", exp=1), jwt(iss="cluster", sub="etl", exp=2)
    environment(MUNIMENT_TOKEN_FILE=file, **({"MUNIMENT_WORKLOAD": workload} if workload else {}))
    file.write_text(f"{first}\n")
    token = jobs.found(URL)
    assert sent_by(token) == first
    bearer = token.bearer()
    file.write_text(second)
    assert sent_by(token) == second
    assert token.bearer() == bearer, "the same subject finds the same lease"
    file.unlink()
    with pytest.raises(NotSignedIn, match="No such file"):
        sent_by(token)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b" \n", "it is empty"),
        (f"two {SECRET}".encode(), "it holds something that is not a token"),
        (SECRET.encode() + b"\xff\xfe", "it holds something that is not a token"),
        (SECRET.encode() * 10_000, "it holds more than 65,536 characters"),
    ],
)
def test_a_file_without_a_token_is_refused_by_its_path(environment, tmp_path, content, words):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    environment(MUNIMENT_TOKEN_FILE=file)
    assert f"No token can be read from {file}: {words}" in refused(SECRET)


def test_it_is_told_which_credential_is_in_force_and_until_when(environment, tmp_path):
    held = jwt(iss="i", sub="s", exp=int(datetime(2027, 3, 31, 12, tzinfo=UTC).timestamp()))
    file = tmp_path / "token"
    file.write_text(held)
    environment(MUNIMENT_TOKEN_FILE=file, MUNIMENT_WORKLOAD="kubernetes")
    told = "the token of this pod's service account (MUNIMENT_WORKLOAD=kubernetes), until 2027-03-31 12:00:00 UTC"
    assert jobs.described(URL) == told
    assert jobs.found(URL).source == told.partition(",")[0]


# --- GitHub -------------------------------------------------------------------------------------


@pytest.fixture
def on_github(environment, runner):
    """A job on GitHub with the permission, which has named that platform."""
    runner.sent.clear()
    runner.answers.clear()
    environment(
        MUNIMENT_WORKLOAD="github",
        MUNIMENT_AUDIENCE="muniment & co",
        ACTIONS_ID_TOKEN_REQUEST_URL=runner.url + runner.ADDRESS,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN=runner.BEARER,
    )
    return environment


def test_github_is_asked_for_a_token_of_the_audience_that_the_job_names(on_github, runner):
    token = jobs.found(URL)
    assert sent_by(token) == jwt(iss="https://token.actions.githubusercontent.com", aud="muniment & co", exp=4102444800)
    assert [sent.query["audience"] for sent in runner.sent] == ["muniment & co"]


def test_githubs_token_is_kept_until_its_end_for_all_of_the_process(on_github, runner):
    for _ in range(3):
        sent_by(jobs.found(URL))
    assert (
        jobs.described(URL) == "GitHub's token for this job (MUNIMENT_WORKLOAD=github), until 2100-01-01 00:00:00 UTC"
    )
    assert len(runner.sent) == 1


def test_another_audience_is_another_token(on_github, runner):
    first = sent_by(jobs.found(URL))
    on_github(MUNIMENT_AUDIENCE="other")
    assert sent_by(jobs.found(URL)) != first


@pytest.mark.parametrize(
    "address", ["http://runner.example/token?v=2", "https://user@runner.example/token", "ftp://127.0.0.1/", "nowhere"]
)
def test_githubs_token_is_asked_for_nowhere_that_can_be_listened_to(on_github, runner, address):
    on_github(ACTIONS_ID_TOKEN_REQUEST_URL=address)
    assert "where no secret is sent" in refused(runner.BEARER)


def test_a_redirect_by_the_runner_is_not_followed(on_github, runner):
    runner.answers["/token/1/idtoken/2"] = (302, {"Location": f"{runner.url}/elsewhere"}, {})
    with pytest.raises(Exception, match="it answered 302"):
        jobs.found(URL)
    assert not runner.to("/elsewhere")


@pytest.mark.parametrize("answer", [{"value": ""}, {"value": 7}, {}, [SECRET], b"<html>", {"value": f"{SECRET} x"}])
def test_an_answer_without_a_token_is_refused_without_repeating_it(on_github, runner, answer):
    runner.answers["/token/1/idtoken/2"] = (200, {}, answer)
    with pytest.raises(Exception, match="GitHub gave no identity token") as raised:
        jobs.found(URL)
    assert SECRET not in str(raised.value)


# --- how long a token is kept -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lives", "used_for"),
    [
        (timedelta(hours=1), timedelta(minutes=59)),
        (timedelta(minutes=5), timedelta(minutes=4, seconds=30)),
        (timedelta(seconds=10), timedelta(seconds=9)),
        (None, timedelta()),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(lives, used_for):
    at = datetime(2026, 7, 1, 2, tzinfo=UTC)
    granted = Granted(Token("x"), at + lives if lives else None)
    assert jobs._last_use(granted, at) == at + used_for
