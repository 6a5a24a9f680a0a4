"""Where nobody can sign in, whoever operates the service makes an emergency key: by the command, loudly, for hours.

Seen to fail with the reserved name let in, with the helper not admitted again, and with the realm's beginning not
looked at.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio.to_thread
import pytest

from demo.issuer import RunningIssuer
from muniment.core.keys import is_well_formed
from tests.api.running import MUNIMENT, Caller, Running, environment_for, refusal, running

pytestmark = pytest.mark.anyio

WHY = "the sign-in provider is away, and nightly must not write any more"


@pytest.fixture
async def service(company: Running) -> Running:
    return company


async def broken(issuer: RunningIssuer, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end in a process of its own."""
    run = partial(
        subprocess.run,
        [MUNIMENT, "break-glass", *arguments],
        env=environment_for(issuer, database_url=database),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return await anyio.to_thread.run_sync(run)


async def helper_of(service: Running, *arguments: str) -> Caller:
    """Whoever has a fresh emergency key."""
    done = await broken(service.issuer, service.url, "--because", WHY, *arguments)
    assert done.returncode == 0, done.stderr
    return Caller(service.http, done.stdout.strip())


async def test_its_key_governs_everything_beside_the_running_service_and_reads_no_data(service: Running) -> None:
    helper = await helper_of(service)
    assert is_well_formed(str(helper.token))
    myself = await helper.read("/v1/whoami")
    assert myself["subject"] == "service:break-glass"
    assert "administer" in myself["domains"]["all"]
    stands = await helper.read("/v1/grants/nightly-writes-targets")
    ended = await helper.delete("/v1/grants/nightly-writes-targets", after=stands["version"])
    assert ended.status_code in {200, 204}, ended.text
    refusal(await helper.get("/v1/catalog?environment=prod"), 403)
    refusal(await helper.post("/v1/keys", {}), 403)


async def test_it_is_loud_and_names_who_when_and_why(service: Running) -> None:
    before = datetime.now(UTC)
    done = await broken(service.issuer, service.url, "--because", WHY, "--hours", "2")
    assert "CRITICAL muniment: THE GLASS IS BROKEN" in done.stderr
    key = done.stdout.strip()
    assert key not in done.stderr
    (told,) = (await service.audrey.read("/v1/ledger?event=glass.broken"))["items"]
    assert (told["subject"], told["client"]) == ("service:muniment", "muniment break-glass")
    assert told["details"]["reason"] == WHY
    assert told["details"]["account"]
    assert key not in str(told)
    until = datetime.fromisoformat(told["details"]["until"])
    assert before + timedelta(hours=2, seconds=-1) <= until <= datetime.now(UTC) + timedelta(hours=2)
    (grant,) = [each for each in (await service.root.read("/v1/grants"))["items"] if each["id"].startswith("break-")]
    assert datetime.fromisoformat(grant["until"]) == until
    (held,) = (await service.root.read("/v1/keys?service=service:break-glass"))["items"]
    assert datetime.fromisoformat(held["until"]) == until
    assert told["details"]["key"] == f"key:{held['id']}"


async def test_what_is_done_with_it_names_it(service: Running) -> None:
    helper = await helper_of(service)
    await helper.make("/v1/environments/spare", {"description": "made in an emergency"})
    (told,) = (await service.audrey.read("/v1/ledger?event=environment.changed&subject=service:break-glass"))["items"]
    (held,) = (await service.root.read("/v1/keys?service=service:break-glass"))["items"]
    assert told["credential"] == f"key:{held['id']}"


async def test_its_access_is_ended_like_any_others_and_the_next_emergency_has_a_key_again(service: Running) -> None:
    first = await helper_of(service)
    ended = await service.root.post("/v1/subjects/service:break-glass/end", {"reason": "it is over"})
    assert ended.status_code == 200, ended.text
    refusal(await first.get("/v1/whoami"), 401)
    second = await helper_of(service)
    assert (await second.read("/v1/whoami"))["subject"] == "service:break-glass"
    refusal(await first.get("/v1/whoami"), 401)


@pytest.mark.parametrize("name", ["break-glass", "muniment"])
async def test_nobody_else_can_have_the_name_of_a_service_of_muniments_own(service: Running, name: str) -> None:
    await helper_of(service)
    refusal(await service.somebody("nightly", sub=name).get("/v1/whoami"), 401)
    assert (await service.somebody("ann", sub=name).read("/v1/whoami"))["subject"] == f"user:{name}"
    wish = {"service": f"service:{name}", "use": "changes", "because": "mine", "until": "2099-01-01T00:00:00Z"}
    refusal(await service.root.post("/v1/keys", wish), 422)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--because'"),
        (["--because", WHY, "--hours", "8.1"], "is not in the range"),
        (["--because", WHY, "--hours", "0"], "is not in the range"),
        (["--because", "  "], "Say why: it will be read."),
    ],
)
async def test_it_has_a_reason_and_an_end(service: Running, arguments: list[str], words: str) -> None:
    done = await broken(service.issuer, service.url, *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert words in done.stderr
    assert (await service.audrey.read("/v1/ledger?event=glass.broken"))["items"] == []
    assert (await service.root.read("/v1/keys"))["items"] == []


async def test_a_realm_that_has_not_begun_has_no_glass_to_break(issuer: RunningIssuer, database: str) -> None:
    """Else it would be begun without an administrator, and the first one's link would be dead."""
    async with running(issuer, database, bootstrap_admin=None) as service:
        done = await broken(issuer, database, "--because", WHY)
        assert done.returncode == 1
        assert "Nobody administers this realm yet" in done.stderr
        assert (await service.root.read("/v1/whoami"))["revision"] == 0


async def test_it_says_what_a_rule_forbids_all_the_same(service: Running) -> None:
    forbid = 'forbid (principal is Service, action == Action::"classify", resource);'
    await service.root.make("/v1/policies/people-classify", {"cedar": forbid})
    done = await broken(service.issuer, service.url, "--because", WHY)
    assert done.returncode == 0
    assert "A rule forbids it all the same to classify." in done.stderr
