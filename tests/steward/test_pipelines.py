"""The pipelines of the documentation do what they say: their own commands, against a service, no secret stored."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.steward.conftest import Served, written

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-definitions-in-git.md"


def pipeline(title: str) -> Any:
    (found,) = re.findall(
        rf'^```yaml title="{re.escape(title)}"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    return yaml.safe_load(found)


def steps(job: dict[str, Any]) -> Iterator[str]:
    """The scripts of a job, without what installs and what speaks to the platform."""
    for each in [*job.get("script", ()), *(step.get("run", "") for step in job.get("steps", ()))]:
        if not each.startswith(("pip ", "gh ")) and each:
            yield each


JOBS = {
    "github": (lambda: pipeline(".github/workflows/definitions.yml")["jobs"]),
    "gitlab": (lambda: pipeline(".gitlab-ci.yml")),
}


@pytest.mark.parametrize("platform", JOBS)
def test_the_pipeline_plans_and_applies(served: Served, tmp_path: Path, platform: str) -> None:
    jobs = JOBS[platform]()
    name = f"sales.from_{platform}"
    written(tmp_path / "definitions", datasets__sales_yml=f"{name}: {{muniment: {{description: From git.}}}}\n")
    (tmp_path / "definitions" / "source.yml").write_text(f"name: {platform}\n")
    token = tmp_path / "token"
    token.write_text(served.issuer.token("sam"))
    env = {each: value for each, value in os.environ.items() if not each.startswith("MUNIMENT_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MUNIMENT_URL": served.url,
        # Neither platform is here: what it would vouch for stands in a file.
        "MUNIMENT_WORKLOAD": "file",
        "MUNIMENT_TOKEN_FILE": str(token),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_SHA": "4f5e6d",
        "CI_COMMIT_SHA": "4f5e6d",
    }

    def run(job: str) -> None:
        for script in steps(jobs[job]):
            done = subprocess.run(
                ["bash", "-e", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    run("plan")
    assert f"+ dataset {name}" in (tmp_path / "plan.md").read_text()
    run("apply")

    history = served.ask("sam", "GET", f"/v1/datasets/{name}/history")["items"]
    assert [each["dataset"]["description"] for each in history] == ["From git."]
    assert served.ask("sam", "GET", f"/v1/datasets/{name}")["kept_in"]["source"] == platform


def test_no_pipeline_holds_a_secret() -> None:
    text = "".join(str(load()) for load in JOBS.values())
    assert "secrets." not in text
    assert not re.search(r"MUNIMENT_(TOKEN|KEY|CLIENT_SECRET)\b", text)
