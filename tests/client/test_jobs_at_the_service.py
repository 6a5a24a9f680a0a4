"""A job from its variables to the service's answer: a provider, a platform and `muniment serve`, each for real.

Only what GitHub itself does is done by servers of the tests: the runner's token service, and the issuer behind it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from demo.issuer import running_issuer
from kedro_muniment.command_line.commands import commands
from kedro_muniment.sign_in import jobs
from tests.api.running import serving
from tests.client.third_parties import Runner, running
from tests.providers import oidc_provider
from tests.providers.oidc_provider import JOB, JOB_SECRET, KEY_JOB, KEY_JOB_KEY, RESOURCE

AUDIENCE = "https://muniment.example.org"


@pytest.fixture(scope="module")
def real(module_database, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The service believes the certified provider, and one workflow of one repository."""
    said = tmp_path_factory.mktemp("service") / "said"
    with oidc_provider.running() as provider, running_issuer({}) as github, running(Runner) as runner:
        corp = {"name": "corp", "default": True, "issuer": provider.issuer, "audience": "muniment",
                "kind": {"services_where": {"kind": "service"}}, "client_id": "kedro-muniment", "scopes": ["catalog"],
                "resource": RESOURCE}  # fmt: skip
        workflow = {"repository_id": "718293645", "ref": "refs/heads/main"}
        platform = {"name": "github", "issuer": github.url, "audience": AUDIENCE,
                    "workloads": [{"as": "nightly", "where": workflow}]}  # fmt: skip
        issuers = json.dumps([corp, platform])
        with serving(github, said, "--upgrade", database_url=module_database, issuers=issuers) as served:
            yield SimpleNamespace(url=served.base, provider=provider, github=github, runner=runner, said=said)


@pytest.fixture
def muniment(real, project, monkeypatch):
    """The command line of a job with these variables, in a process that has asked for nothing yet."""
    project.configure(real.url)
    monkeypatch.chdir(project.path)

    def run(*arguments, **variables):
        monkeypatch.setattr(jobs, "_kept", {})
        return CliRunner().invoke(commands, ["muniment", *arguments], env={"MUNIMENT_TOKEN": None, **variables})

    return run


@pytest.fixture
def whoami(muniment):
    """What a job with these variables is to the service."""

    def ask(**variables):
        done = muniment("whoami", "--json", **variables)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def at_github(real, **changes):
    """The variables of a job on GitHub, and a runner that has this said of it."""

    def signed(audience):
        now = int(time.time())
        said = {"iss": real.github.url, "sub": "repo:example/revenue:ref:refs/heads/main", "aud": audience, "iat": now,
                "exp": now + 300, "repository_id": "718293645", "ref": "refs/heads/main"}  # fmt: skip
        return real.github.sign({"typ": "JWT"}, {**said, **changes})

    real.runner.signed = signed
    return {
        "MUNIMENT_WORKLOAD": "github",
        "MUNIMENT_AUDIENCE": AUDIENCE,
        "ACTIONS_ID_TOKEN_REQUEST_URL": real.runner.url + real.runner.ADDRESS,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": real.runner.BEARER,
    }


def test_a_client_with_a_secret_is_its_service_identity(real, whoami):
    told = whoami(MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET=JOB_SECRET)
    assert (told["subject"], told["groups"]) == (f"service:{JOB}", ["group:jobs"])
    assert told["credential"] == f"the client {JOB}, by its secret (MUNIMENT_CLIENT_SECRET)"
    assert told["until"]


def test_a_client_with_a_private_key_is_its_service_identity(real, whoami, tmp_path):
    key = tmp_path / "weekly.pem"
    key.write_bytes(KEY_JOB_KEY.as_pem(private=True))
    told = whoami(MUNIMENT_CLIENT_ID=KEY_JOB, MUNIMENT_CLIENT_KEY_FILE=str(key))
    assert told["subject"] == f"service:{KEY_JOB}"


def test_a_job_on_github_needs_nothing_stored(real, project):
    project.configure(real.url)
    done = project.kedro("muniment", "whoami", MUNIMENT_TOKEN=None, **at_github(real))
    assert "subject: service:github|nightly" in done.stdout, done.stdout + done.stderr


def test_a_job_of_another_repository_is_told_what_it_asked_with_and_not_why_it_is_refused(real, muniment):
    done = muniment("whoami", **at_github(real, repository_id="314159265358"))
    assert done.exit_code == 3
    assert "this service does not let its workload in" in done.output
    assert "GitHub's token for this job (MUNIMENT_WORKLOAD=github)" in done.output
    for hidden in ("718293645", "314159265358", real.runner.BEARER, "refs/heads/main"):
        assert hidden not in done.output


def test_a_token_in_a_file_is_the_platforms_own(real, whoami, tmp_path):
    file = tmp_path / "token"
    at_github(real)
    file.write_text(real.runner.signed(AUDIENCE))
    told = whoami(MUNIMENT_WORKLOAD="file", MUNIMENT_TOKEN_FILE=str(file))
    assert told["subject"] == "service:github|nightly"


def test_no_secret_of_a_job_is_written_anywhere(real, muniment, tmp_path):
    done = muniment("doctor", MUNIMENT_CLIENT_ID=JOB, MUNIMENT_CLIENT_SECRET=JOB_SECRET)
    assert f"ok  sign-in: the client {JOB}, by its secret" in done.output
    assert f"knows you as service:{JOB}" in done.output
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    held = [real.said.read_bytes(), done.output.encode(), *(file.read_bytes() for file in written)]
    assert not [text for text in held if JOB_SECRET.encode() in text or b"eyJ" in text]
