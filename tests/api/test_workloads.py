"""Jobs that show a token of the platform that runs them: who is let in by the rules that the documentation gives.

The rules are those of ``docs/how-to/run-jobs.md``, to the letter, and the claims those that each platform documents.
What an attacker can have is a genuine token: anybody can run a workflow, and ask for any audience.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demo.issuer import RunningIssuer, running_issuer
from muniment.identity.issuers import issuers_from
from tests.api.running import Caller, Running, grant, refusal, running, settings_for

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-jobs.md"
AUDIENCE = "https://muniment.example.org"

#: What GitHub says of a scheduled run.
GITHUB: Mapping[str, Any] = {
    "sub": "repo:example/revenue:environment:production",
    "actor": "ann",
    "actor_id": "12",
    "base_ref": "",
    "environment": "production",
    "event_name": "schedule",
    "head_ref": "",
    "job_workflow_ref": "example/revenue/.github/workflows/nightly.yml@refs/heads/main",
    "ref": "refs/heads/main",
    "ref_protected": "true",
    "ref_type": "branch",
    "repository": "example/revenue",
    "repository_id": "718293645",
    "repository_owner": "example",
    "repository_owner_id": "5550123",
    "repository_visibility": "private",
    "run_attempt": "1",
    "run_id": "9876543210",
    "runner_environment": "github-hosted",
    "sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567",
    "workflow": "nightly",
    "workflow_ref": "example/revenue/.github/workflows/nightly.yml@refs/heads/main",
}

#: What GitLab says of a scheduled pipeline; ids and booleans are texts, but for the runner's.
GITLAB: Mapping[str, Any] = {
    "sub": "project_path:example/revenue:ref_type:branch:ref:main",
    "namespace_id": "72",
    "namespace_path": "example",
    "project_id": "4711",
    "project_path": "example/revenue",
    "user_id": "1",
    "user_login": "ann",
    "pipeline_id": "574",
    "pipeline_source": "schedule",
    "job_id": "302",
    "ref": "main",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "ref_type": "branch",
    "runner_environment": "self-hosted",
    "runner_id": 1,
    "sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567",
}


def pod(namespace: str, account: str, uid: str) -> dict[str, Any]:
    """What a cluster says of a pod, in a projected token."""
    return {
        "sub": f"system:serviceaccount:{namespace}:{account}",
        "kubernetes.io": {
            "namespace": namespace,
            "pod": {"name": f"{account}-29131560-x2x7k", "uid": "b1a5c9de-2f5e-4c57-9f64-0e8f7f1d2c3b"},
            "serviceaccount": {"name": account, "uid": uid},
        },
    }


NIGHTLY_UID = "7e0f1c52-8a3d-4f43-9a53-5a1e4d1c9b10"
CLUSTER = pod("etl", "nightly", NIGHTLY_UID)
CLAIMS = {"github": GITHUB, "gitlab": GITLAB, "lake-cluster": CLUSTER}


@pytest.fixture(scope="module")
def platforms() -> Iterator[dict[str, RunningIssuer]]:
    """An issuer in the place of each platform."""
    with ExitStack() as open_:
        yield {name: open_.enter_context(running_issuer({})) for name in CLAIMS}


@pytest.fixture(scope="module")
async def service(
    issuer: RunningIssuer, platforms: dict[str, RunningIssuer], module_company: str
) -> AsyncIterator[Running]:
    """The small company, whose service also believes three platforms, each by the rules that its how-to gives."""
    believed = issuers_from([*_documented(platforms)])
    issuers = (*settings_for(issuer).issuers, *believed[1:])
    async with running(issuer, module_company, issuers=issuers) as started:
        yield started


def _documented(platforms: Mapping[str, RunningIssuer]) -> Iterator[dict[str, Any]]:
    """The issuers that the page shows, each at the address where its stand-in is."""
    page = PAGE.read_text(encoding="utf-8")
    shown = [json.loads(text) for text in re.findall(r'```json title="MUNIMENT_ISSUERS"\n(.*?)```', page, re.DOTALL)]
    yield shown[0][0]
    yield from ({**described, "issuer": platforms[described["name"]].url} for _, described in shown)


def token(platform: RunningIssuer, claims: Mapping[str, Any], **changes: object) -> str:
    """A genuine token of the platform; a claim that is None is left out."""
    now = int(time.time())
    standard = {
        "iss": platform.url,
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now - 5,
        "exp": now + 300,
        "jti": str(time.time_ns()),
    }
    said = {**standard, **claims, **changes}
    return platform.sign(
        {"typ": "JWT", "x5t": "eBZ_cn3sXYAd0ch4THBKHIgOwOE"}, {k: v for k, v in said.items() if v is not None}
    )


async def subject_of(service: Running, shown: str) -> str:
    answer = await Caller(service.http, shown).get("/v1/whoami")
    assert answer.status_code == 200, answer.text
    subject: str = answer.json()["subject"]
    return subject


@pytest.mark.parametrize("name", CLAIMS)
async def test_the_documented_job_is_let_in_as_the_service_of_its_rule(service, platforms, name):
    assert await subject_of(service, token(platforms[name], CLAIMS[name])) == f"service:{name}|nightly"


async def test_a_job_that_is_let_in_may_do_nothing_until_somebody_grants_it(service, platforms):
    job = Caller(service.http, token(platforms["github"], GITHUB))
    assert await job.catalog() == {}
    allowed = grant("service:github|nightly", ["load"], on={"dataset": "sales.orders"})
    await service.root.make("/v1/grants/nightly-loads-orders", allowed)
    assert list(await job.catalog()) == ["sales.orders"]
    other = Caller(service.http, token(platforms["gitlab"], GITLAB))
    assert await other.catalog() == {}, "a service of the same name by another issuer is another"


async def test_each_account_of_a_namespace_is_a_service_of_its_own(service, platforms):
    shown = token(platforms["lake-cluster"], pod("reports", "monthly", "1"))
    assert await subject_of(service, shown) == "service:lake-cluster|reports:monthly"


FORK = {
    "repository": "mallory/revenue",
    "repository_id": "999",
    "repository_owner": "mallory",
    "repository_owner_id": "666",
}
MALLORYS = "mallory/revenue/.github/workflows/nightly.yml@refs/heads/main"
PULL = "example/revenue/.github/workflows/nightly.yml@refs/pull/7/merge"

#: Genuine tokens of jobs that are not the one that the rule means (T16).
OTHERS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "a fork": ("github", GITHUB, {**FORK, "workflow_ref": MALLORYS}),
    "a fork that calls our workflow": ("github", GITHUB, {**FORK, "workflow_ref": MALLORYS,
        "job_workflow_ref": GITHUB["workflow_ref"]}),
    "a pull request": ("github", GITHUB, {"event_name": "pull_request", "ref": "refs/pull/7/merge",
        "workflow_ref": PULL, "head_ref": "main"}),
    "a pull request whose branch is named like ours": ("github", GITHUB, {"event_name": "pull_request",
        "ref": "refs/pull/7/merge", "head_ref": "refs/heads/main", "base_ref": "main"}),
    "a pull_request_target, which runs on our branch": ("github", GITHUB, {"event_name": "pull_request_target"}),
    "a comment, which runs on our branch": ("github", GITHUB, {"event_name": "issue_comment"}),
    "another workflow of our branch": ("github", GITHUB, {
        "workflow_ref": "example/revenue/.github/workflows/lint.yml@refs/heads/main", "workflow": "nightly"}),
    "our workflow as another branch has it": ("github", GITHUB, {"ref": "refs/heads/mallory",
        "workflow_ref": "example/revenue/.github/workflows/nightly.yml@refs/heads/mallory"}),
    "a tag of our branch's name": ("github", GITHUB, {"ref": "refs/tags/main", "ref_type": "tag"}),
    "a repository of our name, registered anew": ("github", GITHUB, {"repository_id": "718293646"}),
    "an owner of our name, registered anew": ("github", GITHUB, {"repository_owner_id": "5550124"}),
    "an id that is a number": ("github", GITHUB, {"repository_id": 718293645}),
    "an id in a list": ("github", GITHUB, {"repository_id": ["718293645"]}),
    "an id with a blank": ("github", GITHUB, {"repository_id": "718293645 "}),
    "a job outside the environment": ("github", GITHUB, {"environment": None}),
    "a job in another environment": ("github", GITHUB, {"environment": "production-test"}),
    "a GitLab fork's merge request": ("gitlab", GITLAB, {"project_id": "9999", "namespace_id": "666",
        "pipeline_source": "merge_request_event", "ref": "main"}),
    "a merge request": ("gitlab", GITLAB, {"pipeline_source": "merge_request_event", "ref": "mallory",
        "ref_protected": "false"}),
    "an unprotected branch": ("gitlab", GITLAB, {"ref_protected": "false"}),
    "another protected branch": ("gitlab", GITLAB, {"ref": "release"}),
    "a pipeline that another project triggered": ("gitlab", GITLAB, {"pipeline_source": "pipeline"}),
    "a boolean where GitLab writes a text": ("gitlab", GITLAB, {"ref_protected": True}),
    "a GitLab tag of our branch's name": ("gitlab", GITLAB, {"ref_type": "tag"}),
    "a project of our name, made anew": ("gitlab", GITLAB, {"project_id": "4712"}),
    "a project that moved to others": ("gitlab", GITLAB, {"namespace_id": "73"}),
    "an account of our name, made anew": ("lake-cluster", pod("etl", "nightly", "other"), {}),
    "an account of our name in another namespace": ("lake-cluster", pod("mallory", "nightly", NIGHTLY_UID), {}),
    "another account": ("lake-cluster", pod("etl", "default", "other"), {}),
    "a namespace that begins like ours": ("lake-cluster", pod("reports-test", "monthly", "1"), {}),
    "an account whose name leaves its place": ("lake-cluster", pod("reports", "a|b", "1"), {}),
    "a namespace beside the cluster's own claims": ("lake-cluster", pod("mallory", "m", "1"), {"namespace": "reports"}),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
async def test_a_genuine_token_of_another_job_is_refused(service, platforms, what):
    platform, claims, changes = OTHERS[what]
    shown = token(platforms[platform], claims, **changes)
    problem = refusal(await Caller(service.http, shown).get("/v1/whoami"), 401)
    assert problem["type"] == "/problems/token-refused"


async def test_no_refusal_tells_which_condition_failed(service, platforms):
    answers = [
        await Caller(service.http, token(platforms[platform], claims, **changes)).get("/v1/whoami")
        for platform, claims, changes in OTHERS.values()
    ]
    (told,) = {answer.text for answer in answers}
    for word in ("718293645", "example", "main", "nightly", "production", "reports", "serviceaccount"):
        assert word not in told


@pytest.mark.parametrize(
    "audience", ["https://github.com/example", "sts.amazonaws.com", "muniment", f"{AUDIENCE}/", None]
)
@pytest.mark.parametrize("name", CLAIMS)
async def test_a_token_of_our_job_for_another_audience_is_refused(service, platforms, name, audience):
    """What a cloud, or another service that the job uses, could show here; ``muniment`` is the other issuer's."""
    shown = token(platforms[name], CLAIMS[name], aud=audience)
    refusal(await Caller(service.http, shown).get("/v1/whoami"), 401)


async def test_one_platform_does_not_speak_for_another(service, platforms):
    """Signed by an issuer that is believed, in the name of another that is."""
    shown = token(platforms["gitlab"], GITHUB, iss=platforms["github"].url)
    refusal(await Caller(service.http, shown).get("/v1/whoami"), 401)


async def test_a_platform_gives_nobody_a_group(service, platforms):
    """Any repository could write any group into such a token, if it could write claims at all."""
    shown = token(platforms["github"], GITHUB, groups=["platform", "analysts"])
    answer = await Caller(service.http, shown).get("/v1/whoami")
    assert answer.json()["groups"] == []


async def test_a_person_of_the_default_issuer_is_no_job_for_having_its_claims(service):
    """What a rule of one issuer says holds for no token of another."""
    ann = service.somebody("ann", **{name: GITHUB[name] for name in ("repository_id", "ref", "environment")})
    assert (await ann.get("/v1/whoami")).json()["subject"] == "user:ann"
