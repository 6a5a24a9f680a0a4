"""A project that is started through the API: what is offered, what it may begin with, what comes of it and is recorded.

Its files are proven in ``tests/core/test_starters.py``; here it is proven who is given which.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.issuer import RunningIssuer
from muniment.app import create_app, prepare
from muniment.core.problems import CannotStart
from tests.api.running import Caller, Running, grant, refusal, running, settings_for

pytestmark = pytest.mark.anyio

ORDERS = {"name": "Quarterly report", "environment": "dev", "datasets": ["sales.orders"]}
NEW = "/v1/projects/new.zip?name=Quarterly+report&environment=dev"


@pytest.fixture(scope="module")
async def company(
    issuer: RunningIssuer, module_company: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """The company, whose platform team has a folder of its own; analysts know of the targets and may not use them."""
    folder = tmp_path_factory.mktemp("starters")
    for version, python in (("1", "3.12"), ("2", "3.13")):
        (folder / version / "base").mkdir(parents=True)
        (folder / version / "starters.yml").write_text(f"python: ['{python}']\n")
        (folder / version / "base" / "PLATFORM.md").write_text(f"Version {version} of the platform.\n")
    async with running(issuer, module_company, starters=folder) as service:
        await service.root.make(
            "/v1/grants/analysts-know-targets", grant("group:analysts", ["discover"], on={"dataset": "sales.targets"})
        )
        await service.root.make(
            "/v1/grants/analysts-load-emea", grant("group:analysts", ["load"], on={"dataset": "sales.emea_orders"})
        )
        yield service


async def opened(caller: Caller, path: str) -> dict[str, str]:
    """The files of an archive."""
    answer = await caller.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {entry.filename: archive.read(entry).decode() for entry in archive.infolist()}


async def started(company: Running, who: str) -> list[dict[str, Any]]:
    """The rows of projects that somebody took, the newest first."""
    page = await company.root.read(f"/v1/ledger?event=project.started&subject=user:{who}")
    rows: list[dict[str, Any]] = page["items"]
    return rows


async def test_what_is_offered_is_the_platform_teams_list_and_the_datasets_that_are_ones_own(company: Running) -> None:
    told = await company.ann.read("/v1/projects/offer")
    assert told["version"] == "1+2"
    assert told["python"] == ["3.13"]
    assert told["environment"] == "dev"
    assert [(each["name"], each["actions"]) for each in told["mine"]] == [("sales.orders", ["load"])]
    assert told["of"] == 1
    assert [each["name"] for each in told["others"]] == ["sales.targets"]
    assert (await company.ann.read("/v1/projects/offer?q=target"))["mine"] == []
    assert [each["name"] for each in (await company.eve.read("/v1/projects/offer"))["others"]] == []


async def test_a_preview_shows_every_file_and_the_zip_holds_the_same(company: Running) -> None:
    shown = (await company.ann.post("/v1/projects/preview", ORDERS)).json()
    held = await opened(company.ann, f"{NEW}&datasets=sales.orders")
    assert held == {f"{shown['folder']}/{file['path']}": file["text"] for file in shown["files"]}
    assert all(file["size"] == len(file["text"].encode()) for file in shown["files"])
    settings = yaml.safe_load(held["quarterly-report/conf/base/muniment.yml"])
    assert settings["names"] == {"orders": "sales.orders"}
    assert settings["project"] == "quarterly-report"
    assert settings["environments"] == {"local": "dev"}
    assert "pandas-csvdataset" in held["quarterly-report/requirements.txt"]
    assert held["quarterly-report/PLATFORM.md"] == "Version 2 of the platform.\n"


async def test_equal_answers_give_equal_bytes(company: Running) -> None:
    path = f"{NEW}&datasets=sales.orders,sales.emea_orders&tools=lint,test"
    again = f"{NEW}&tools=test&tools=lint&datasets=sales.emea_orders&datasets=sales.orders"
    one, other = [await company.ann.get(each) for each in (path, again)]
    assert one.content == other.content
    assert one.headers["content-disposition"] == 'attachment; filename="quarterly-report.zip"'
    assert (await company.ann.get(f"{path}&description=x")).content != one.content


async def test_a_name_that_a_factory_pattern_makes_can_be_put_in(company: Running) -> None:
    held = await opened(company.ann, f"{NEW}&datasets=sales.emea_orders")
    assert "sales.emea_orders" in held["quarterly-report/conf/base/muniment.yml"]


async def test_a_hidden_dataset_is_refused_as_one_that_never_was_and_one_that_is_known_with_the_way_to_it(
    company: Running,
) -> None:
    """Seen to fail with what is missing left out in silence."""
    hidden = refusal(await company.ann.get(f"{NEW}&datasets=hr.salaries"), 404)
    never = refusal(await company.ann.get(f"{NEW}&datasets=hr.nothing_at_all"), 404)
    assert hidden == never
    known = refusal(await company.ann.get(f"{NEW}&datasets=sales.targets"), 403)
    assert "kedro muniment request sales.targets" in known["detail"]
    beside = refusal(await company.ann.get(f"{NEW}&datasets=sales.targets,hr.salaries"), 404)
    assert "sales" not in beside["detail"]


async def test_whoever_takes_a_project_is_recorded_with_what_it_begins_with_and_a_look_is_not_taking(
    company: Running,
) -> None:
    before = len(await started(company, "ann"))
    await company.ann.post("/v1/projects/preview", ORDERS)
    refusal(await company.ann.get(f"{NEW}&datasets=hr.salaries"), 404)
    assert len(await started(company, "ann")) == before
    await opened(company.ann, f"{NEW}&datasets=sales.orders")
    row = (await started(company, "ann"))[0]
    assert (row["datasets"], row["project"], row["environment"]) == (["sales.orders"], "quarterly-report", "dev")
    assert row["details"].keys() == {"starter", "templates", "files"}
    assert row["details"]["templates"] == "1+2"


async def test_older_templates_are_made_again_for_whoever_began_with_them(company: Running) -> None:
    held = await opened(company.ann, f"{NEW}&version=1%2B1")
    assert held["quarterly-report/PLATFORM.md"] == "Version 1 of the platform.\n"
    assert "python:3.12" in held["quarterly-report/Dockerfile"]
    assert yaml.safe_load(held["quarterly-report/.muniment-project.yml"])["version"] == "1+1"
    unknown = refusal(await company.ann.get(f"{NEW}&version=1%2B9"), 422)
    assert unknown["errors"][0]["at"] == "version"


async def test_every_answer_that_does_not_fit_is_told_at_once(company: Running) -> None:
    wrong = {"name": "<b>", "kedro": "0.18", "tools": ["x"], "environment": "qa", "datasets": ["not a name"]}
    told = refusal(await company.ann.post("/v1/projects/preview", wrong), 422)
    assert {each["at"] for each in told["errors"]} == {"name", "kedro", "tools", "environment", "datasets"}
    refusal(await company.ann.post("/v1/projects/preview", {**ORDERS, "colour": "red"}), 422)
    refusal(await company.ann.get(f"{NEW}&description={'x' * 5000}"), 422)


async def test_a_service_does_not_start_with_templates_of_which_nothing_can_be_made(
    issuer: RunningIssuer, module_database: str, tmp_path: Path
) -> None:
    (tmp_path / "1" / "base").mkdir(parents=True)
    (tmp_path / "1" / "starters.yml").write_text("{}\n")
    (tmp_path / "1" / "base" / "pyproject.toml.j2").write_text('name = "{{ description }}"\n')
    settings = settings_for(issuer, starters=tmp_path)
    with pytest.raises(CannotStart, match=r"MUNIMENT_STARTERS: pyproject\.toml"):
        await prepare(settings, module_database)
    (tmp_path / "1" / "base" / "pyproject.toml.j2").write_text("name = {{ slug }}\n")
    with pytest.raises(CannotStart, match="cannot be read"):
        await prepare(settings, module_database)
    assert create_app(settings_for(issuer, starters=None), module_database)
