"""``kedro muniment request``, ``requests``, ``approve``, ``deny``, ``withdraw``: against the service itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from urllib.parse import parse_qsl

import httpx
import pytest
from click.testing import CliRunner

from demo.issuer import RunningIssuer, running_issuer
from kedro_muniment.command_line.commands import commands
from tests.api.running import PEOPLE, Running, dataset, found_company, grant, serving, settings_for

numbers = count(1)


@pytest.fixture(scope="module")
def real(module_database, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """`muniment serve` with the small company; analysts may know of all in sales, where Sam and Theo approve."""
    said = tmp_path_factory.mktemp("service") / "said"
    with running_issuer(PEOPLE) as issuer, serving(issuer, said, "--upgrade", database_url=module_database) as served:
        asyncio.run(_furnished(issuer, served.base))
        yield SimpleNamespace(issuer=issuer, url=served.base)


async def _furnished(issuer: RunningIssuer, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        service = Running(None, http, issuer, settings_for(issuer), "")
        await found_company(service)
        knowing = grant("group:analysts", ["discover"], on={"domain": "sales"})
        await service.root.make("/v1/grants/analysts-know-sales", knowing)
        for name in ("sam", "theo"):
            approving = grant(f"user:{name}", ["approve", "discover"], on={"domain": "sales"})
            await service.root.make(f"/v1/grants/{name}-approves", approving)
        for number in range(9):
            await service.sam.make(f"/v1/datasets/sales.report_{number}", dataset(f"s3://lake/sales/{number}.csv"))
        secret = dataset("s3://lake/sales/secret.csv", classification="restricted")
        await service.sam.make("/v1/datasets/sales.secret", secret)


@pytest.fixture
def muniment(real, project, monkeypatch):
    """The command line of somebody, in a project of Ann's whose ``leads`` are ``sales.emea.leads``."""
    project.configure(real.url, names={"leads": "sales.emea.leads"}, governed=["sales.*"], purpose="forecasting")
    monkeypatch.chdir(project.path)

    def run(person, *arguments, said=None):
        token = real.issuer.token("sam", sub="theo") if person == "theo" else real.issuer.token(person)
        return CliRunner().invoke(commands, ["muniment", *arguments], env={"MUNIMENT_TOKEN": token}, input=said)

    return run


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def report():
    return f"sales.report_{next(numbers)}"


def asked(muniment, *arguments):
    told = answer(muniment("ann", "request", *arguments, "--because", "the quarterly report", "--json"))
    (request,) = told["requests"]
    return request


def test_what_is_asked_for_and_approved_can_be_used(muniment):
    name = report()
    assert muniment("ann", "why", name).exit_code == 1
    request = asked(muniment, name)
    assert request["asked"]["actions"] == ["load"]
    assert request["asked"]["environments"] == ["dev"]
    assert request["purpose"] == "forecasting"
    waiting = muniment("sam", "requests", "--to-decide").stdout
    assert f"user:ann to load {name} in dev" in waiting
    assert "because: the quarterly report" in waiting

    approved = muniment("sam", "approve", request["id"], "--comment", "fine")

    assert approved.exit_code == 0, approved.output
    assert "approved by user:sam: fine" in approved.stdout
    assert muniment("ann", "why", name).exit_code == 0
    assert request["id"] not in muniment("sam", "requests", "--to-decide").stdout
    assert f"{request['id']}  approved" in muniment("ann", "requests").stdout


def test_the_command_that_a_denial_names_asks_for_the_access(muniment):
    name = report()
    denied = muniment("ann", "why", name, "--action", "save", "--json")
    typed = json.loads(denied.stdout.splitlines()[-1])["request"]
    assert typed == f"kedro muniment request {name} --save --environment dev"
    made = muniment("ann", *typed.split()[2:], said="the quarterly report\n")
    assert made.exit_code == 0, made.output
    assert f"user:ann to save {name} in dev" in made.stdout


def test_a_refused_run_names_the_command_that_asks_for_access(muniment, project):
    project.nodes("sales.report_0", "own")
    refused = muniment("ann", "check", "--json")
    assert refused.exit_code == 1
    (refusal,) = json.loads(refused.stdout.splitlines()[-1])["refusals"]
    assert refusal["request"] == "kedro muniment request sales.report_0 --load --environment dev"
    assert f"ask with: {refusal['request']}" in muniment("ann", "check").stdout


def test_a_denial_gives_the_page_where_the_same_is_filled_in(muniment, project, real):
    project.nodes("sales.report_0", "own")
    (refusal,) = json.loads(muniment("ann", "check", "--json").stdout.splitlines()[-1])["refusals"]
    place, _, query = refusal["page"].partition("?")
    assert place == f"{real.url}/requests/new"
    filled = {"dataset": "sales.report_0", "action": "load", "environment": "dev", "purpose": "forecasting"}
    assert dict(parse_qsl(query)) == filled
    assert f"or here:  {refusal['page']}" in muniment("ann", "check").stdout
    why = muniment("ann", "why", "sales.report_0", "--action", "save")
    assert f"{real.url}/requests/new?dataset=sales.report_0&action=save" in why.stdout
    assert "/requests/new" not in muniment("ann", "why", "sales.never_was").output


def test_a_run_refused_by_what_may_not_be_known_of_names_no_command(muniment, project):
    project.nodes("sales.never_was", "own")
    assert "ask with" not in muniment("ann", "check").stdout


def test_datasets_of_several_domains_are_asked_for_in_as_many_requests(muniment):
    name = report()
    told = answer(muniment("ann", "request", name, "leads", "--save", "--because", "the report", "--json"))
    assert [each["asked"]["datasets"] for each in told["requests"]] == [[name], ["sales.emea.leads"]]


def test_an_approver_gives_a_part(muniment):
    name = report()
    wider = ["--load", "--save", "--environment", "dev", "--environment", "prod", "--until", "2027-09-30"]
    request = asked(muniment, name, *wider)
    assert request["asked"]["until"].startswith("2027-09-30T00:00:00")
    part = ["--load", "--environment", "prod", "--until", "2027-06-30", "--dataset", name]
    given = answer(muniment("sam", "approve", request["id"], *part, "--json"))
    assert given["narrowed"]["actions"] == ["load"]
    assert given["narrowed"]["environments"] == ["prod"]
    assert given["narrowed"]["until"].startswith("2027-06-30")


def test_two_approve_what_is_restricted(muniment):
    request = asked(muniment, "sales.secret")
    first = muniment("sam", "approve", request["id"])
    assert "pending, 1 of 2 approvals, with the approvers of sales" in first.stdout
    assert request["id"] not in muniment("sam", "requests", "--to-decide").stdout
    again = muniment("sam", "approve", request["id"])
    assert again.exit_code == 1
    assert "somebody else must approve it too" in again.output
    assert "approved by user:theo" in muniment("theo", "approve", request["id"]).stdout


def test_a_denial_and_a_withdrawal_end_a_request(muniment):
    denied, withdrawn = asked(muniment, report()), asked(muniment, report())
    assert muniment("sam", "deny", denied["id"], said="use the monthly one\n").exit_code == 0
    assert muniment("ann", "withdraw", withdrawn["id"]).exit_code == 0
    told = muniment("ann", "requests", "--state", "denied").stdout
    assert "denied by user:sam: use the monthly one" in told
    assert withdrawn["id"] not in told
    late = muniment("sam", "approve", withdrawn["id"])
    assert late.exit_code == 6
    assert "withdrawn since" in late.output


def test_access_is_asked_for_again_as_it_was_given_and_goes_on(muniment, real):
    name = report()
    request = asked(muniment, name, "--until", "2027-01-31")
    (grant_id,) = answer(muniment("sam", "approve", request["id"], "--json"))["grants"]
    told = muniment("ann", "renew", request["id"], "--until", "2027-06-30")
    assert told.exit_code == 0, told.output
    assert f"user:ann to load {name} in dev until 2027-06-30T00:00" in told.stdout
    again = told.stdout.split()[0]
    assert f"see: {real.url}/requests/{again}" in told.stdout
    assert answer(muniment("sam", "approve", again, "--json"))["grants"] == [grant_id]
    assert (
        muniment("ann", "renew", f"grant:{grant_id}", "--until", "2027-07-31", "--because", "on and on").exit_code == 0
    )
    assert muniment("eve", "renew", grant_id).exit_code == 1
    pending = asked(muniment, report())
    refused = muniment("ann", "renew", pending["id"])
    assert (refused.exit_code, "gave no access" in refused.output) == (1, True)


def test_what_may_not_be_known_of_is_refused_in_the_same_words(muniment):
    hidden = muniment("ann", "request", "hr.salaries", "--because", "x")
    never = muniment("ann", "request", "hr.never_was", "--because", "x")
    assert hidden.exit_code == never.exit_code == 1
    assert hidden.output == never.output.replace("hr.never_was", "hr.salaries")


def test_whoever_has_nothing_to_decide_is_told_so(muniment):
    assert muniment("eve", "requests", "--to-decide").stdout == "There are none.\n"
    assert answer(muniment("eve", "requests", "--json")) == {"requests": []}
    assert muniment("eve", "approve", "nonsense/../..").exit_code == 1
