"""Asking for access on pages, seeing where it stands, and deciding on it; in somebody's place too."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from demo.issuer import RunningIssuer
from muniment.core.requests import AccessRequest, Terms, id_floor
from muniment.core.schema import Action
from muniment.core.subjects import Kind, Subject
from muniment.store import requests
from tests.api.running import Running, dataset, grant, running
from tests.web.letting_in import Visitor, let_in, said

pytestmark = pytest.mark.anyio

numbers = count(1)
DAY = "%Y-%m-%d"


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company: analysts may know of all in sales; Sam and Theo approve there, and Vera in none of it."""
    async with running(issuer, module_company, escalation_hours=24) as started:
        root = started.root
        await root.make("/v1/grants/analysts-know-sales", grant("group:analysts", ["discover"], on={"domain": "sales"}))
        for name in ("sam", "theo"):
            approving = grant(f"user:{name}", ["approve", "discover"], on={"domain": "sales"})
            await root.make(f"/v1/grants/{name}-approves", approving)
        await root.make("/v1/grants/vera-knows", grant("user:vera", ["discover"], on={"domain": "sales"}))
        for name in ("theo", "vera"):
            await started.somebody("sam", sub=name).read("/v1/whoami")
        for caller in (started.ann, started.eve, started.audrey, started.hugo):
            await caller.read("/v1/whoami")
        yield started


@pytest.fixture(scope="module")
async def people(service: Running) -> Mapping[str, Visitor]:
    names = ("ann", "sam", "theo", "vera", "eve", "hugo", "audrey")
    return {name: await let_in(service, f"user:{name}") for name in names}


@pytest.fixture
def ann(people: Mapping[str, Visitor]) -> Visitor:
    return people["ann"]


@pytest.fixture
def sam(people: Mapping[str, Visitor]) -> Visitor:
    return people["sam"]


async def declared(service: Running, domain: str = "sales", **more: Any) -> str:
    name = f"{domain}.wished_for_{next(numbers)}"
    await service.sam.make(f"/v1/datasets/{name}", dataset(f"s3://lake/sales/{name}.csv", **more))
    return name


def wish(*names: str, **more: Any) -> dict[str, Any]:
    usual = {"action": ["load"], "environment": ["dev"], "because": "the quarterly report", "days": "90"}
    return {"dataset": "\n".join(names), **usual, "until": "", "purpose": "", **more}


async def asked(visitor: Visitor, *names: str, **more: Any) -> str:
    """The address of the request that somebody made with the form."""
    answer = await visitor.post("/requests", wish(*names, **more))
    assert answer.status_code == 303, said(answer)
    return str(answer.headers["location"]).partition("?")[0]


async def decided(visitor: Visitor, path: str, *, status: int = 303, **fields: Any) -> str:
    """Approve with the form as it stands, but for these fields; what the page says then."""
    page = await visitor.read(path)
    form = re.findall(r'<form[^>]+/approve".*?</form>', page, re.DOTALL)[0]
    given: dict[str, Any] = {}
    for name, value, chosen in re.findall(r'name="(\w+)" value="([^"]*)"( checked)?', form):
        if name in {"dataset", "action", "environment"} and (chosen or 'type="hidden" name="' + name in form):
            given.setdefault(name, []).append(value)
        elif name in {"version", "until", "comment"}:
            given[name] = value
    answer = await visitor.post(f"{path}/approve", {**given, **fields})
    assert answer.status_code == status, said(answer)
    return said(answer) if status != 303 else await visitor.read(str(answer.headers["location"]))


# --- asking ---------------------------------------------------------------------------------------------------------


async def test_an_address_fills_the_form_in_and_it_says_beforehand_who_decides(service: Running, ann: Visitor):
    name = await declared(service)
    page = await ann.read(
        f"/requests/new?dataset={name}&action=save&environment=prod&purpose=forecasting&project=churn"
    )
    assert f">\n{name}</textarea>" in page
    assert re.search(r'name="action" value="save" checked', page)
    assert not re.search(r'name="action" value="load" checked', page)
    assert re.search(r'name="environment" value="prod" checked', page)
    assert 'value="forecasting"' in page
    assert 'value="For the project churn"' in page
    deciders = page.partition('id="deciders"')[2]
    assert "<bdi>user:sam</bdi>" in deciders
    assert "<bdi>user:theo</bdi>" in deciders
    assert "user:vera" not in page


async def test_what_is_asked_for_with_the_form_is_what_the_api_tells(service: Running, ann: Visitor):
    name = await declared(service)
    day = datetime.now(UTC) + timedelta(days=40)
    path = await asked(
        ann, name, action=["load", "save"], environment=["dev", "prod"], days="date", until=f"{day:{DAY}}"
    )
    told = await service.ann.read(f"/v1{path}")
    assert (told["asked"]["actions"], told["asked"]["environments"]) == (["load", "save"], ["dev", "prod"])
    assert told["asked"]["until"].startswith(f"{day:{DAY}}T00:00:00")
    page = await ann.read(path)
    assert "You asked for this, so others decide on it." in page
    assert "It waits for" in page
    assert "<bdi>user:theo</bdi>" in page
    assert f"<bdi><code>{name}</code></bdi>" in await ann.read("/requests")
    (row,) = (await service.audrey.read(f"/v1/ledger?dataset={name}&event=request.made"))["items"]
    assert row["subject"] == "user:ann"


async def test_datasets_of_several_domains_become_a_request_for_each(service: Running, ann: Visitor):
    names = [await declared(service), await declared(service, "sales.emea")]
    foreseen = await ann.post("/requests/new", wish(*names))
    assert "Each becomes a request of its own" in foreseen.text
    assert await asked(ann, *names) == "/requests"
    listed = await ann.read("/requests")
    assert all(name in listed for name in names)


@pytest.mark.parametrize(
    ("more", "field", "word"),
    [
        ({"because": " "}, "because", "Say why you need it."),
        ({"because": "x" * 501}, "because", "at most 500 characters"),
        ({"action": []}, "action", "Choose load, save, or both."),
        ({"environment": []}, "environment", "Choose at least one environment."),
        ({"environment": ["qa"]}, "environment", "no such environment"),
        ({"days": "date", "until": "2020-01-01"}, "until", "a time to come"),
        ({"days": "date", "until": "soon"}, "until", "Write a day"),
        ({"days": "date"}, "until", "Name the day"),
        ({"dataset": ""}, "dataset", "Name at least one dataset."),
        ({"dataset": "Sales.Orders"}, "dataset", "A dataset is named"),
        ({"dataset": "hr.salaries"}, "dataset", "you may not know of them"),
        ({"dataset": "hr.never_was"}, "dataset", "you may not know of them"),
    ],
)
async def test_a_form_that_is_refused_comes_back_as_it_was_typed(
    ann: Visitor, more: dict[str, Any], field: str, word: str
):
    typed = wish("sales.targets", **{"because": "a <b>bold</b> report", **more})
    answer = await ann.post("/requests", typed)
    assert answer.status_code in {404, 422}, said(answer)
    summary = answer.text.partition('class="errors"')[2].partition("</div>")[0]
    assert f'href="#{field}"' in summary
    assert word in summary.replace("&#39;", "'")
    assert f'id="{field}-wrong"' in answer.text
    if "because" not in more:
        assert 'value="a &lt;b&gt;bold&lt;/b&gt; report"' in answer.text
    assert f">\n{typed['dataset']}</textarea>" in answer.text


async def test_hidden_and_never_there_are_the_same_on_the_form(ann: Visitor):
    hidden = (await ann.get("/requests/new?dataset=hr.salaries")).text
    never = (await ann.get("/requests/new?dataset=hr.never_was")).text
    assert hidden == never.replace("hr.never_was", "hr.salaries")


async def test_what_one_may_do_already_is_refused_in_words(ann: Visitor):
    answer = await ann.post("/requests", wish("sales.orders"))
    assert answer.status_code == 409
    assert "You may do all of this already" in said(answer)


# --- deciding -------------------------------------------------------------------------------------------------------


async def test_the_page_of_a_dataset_leads_to_the_request_for_it_and_so_does_asking_twice(
    service: Running, ann: Visitor, people: Mapping[str, Visitor]
):
    """Seen to fail for requests that are withdrawn, for those of others, and for every environment."""
    name = await declared(service)
    assert f"/requests/new?dataset={name}&amp;action=load&amp;environment=dev" in await ann.read(f"/datasets/{name}")
    path = await asked(ann, name)
    page = await ann.read(f"/datasets/{name}")
    assert page.count(f'href="{path}"') == 2
    assert "You have asked for this" in page
    assert f"/requests/new?dataset={name}&amp;action=load&amp;environment=dev" not in page
    assert f"/requests/new?dataset={name}&amp;action=save&amp;environment=dev" in page
    assert path not in await people["vera"].read(f"/datasets/{name}")
    twice = await ann.post("/requests", wish(name))
    assert twice.status_code == 409, said(twice)
    assert f'href="{path}"' in twice.text
    assert (await ann.post(f"{path}/withdraw", {"version": "1"})).status_code == 303
    assert path not in await ann.read(f"/datasets/{name}")


async def test_who_decides_sees_what_it_would_give_and_approves_with_an_end(
    service: Running, ann: Visitor, sam: Visitor
):
    columns = [{"name": "email", "type": "string"}, {"name": "total", "type": "decimal"}]
    name = await declared(service, columns=columns, classification="confidential")
    path = await asked(ann, name, action=["load", "save"], environment=["dev", "prod"])
    assert name in await sam.read("/requests?which=waiting")
    page = await sam.read(path)
    gives = page.partition('id="gives"')[2].partition("</section>")[0]
    assert "confidential" in gives
    assert "<code>email</code>" in gives
    assert re.search(r"load\s*<span[^>]*>dev, prod", gives)

    day = datetime.now(UTC) + timedelta(days=9)
    done = await decided(
        sam, path, action=["load"], environment=["prod"], until=f"{day:{DAY}}", comment="prod is enough"
    )

    assert "Approved. The access stands from now on." in done
    given = await service.root.read(f"/v1/grants/req-{path.rpartition('/')[2]}")
    assert (given["actions"], given["environments"]) == (["load"], ["prod"])
    assert given["until"].startswith(f"{day:{DAY}}T00:00:00")
    seen = await ann.read(path)
    assert "prod is enough" in seen
    assert "The access ends" in seen
    assert name not in await sam.read("/requests?which=waiting")


async def test_the_part_that_is_ticked_is_weighed_and_nothing_is_decided(service: Running, ann: Visitor, sam: Visitor):
    name = await declared(service)
    path = await asked(ann, name, action=["load", "save"])
    part = {"dataset": [name], "action": ["save"], "environment": ["dev"], "until": "", "comment": "", "version": "1"}
    answer = await sam.post(f"{path}/weigh", part)
    gives = answer.text.partition('id="gives"')[2].partition("</section>")[0]
    assert "save" in gives
    assert not re.search(r"\bload\b", gives.partition("<tbody>")[2])
    assert (await service.ann.read(f"/v1{path}"))["state"] == "pending"


async def test_who_decides_sees_what_is_personal_and_nothing_of_data_that_they_may_not_know_of(
    service: Running, ann: Visitor, sam: Visitor
):
    """Zoe approves and audits in sales, and may know of no dataset there.

    Seen to fail with the datasets told to whoever decides.
    """
    columns = [{"name": "email", "type": "string", "tags": ["personal"]}]
    name = await declared(service, columns=columns, classification="confidential")
    await service.root.make("/v1/grants/zoe-approves", grant("user:zoe", ["approve", "audit"], on={"domain": "sales"}))
    await service.somebody("eve", sub="zoe").read("/v1/whoami")
    path = await asked(ann, name)
    told = {
        who: gives(await visitor.read(path))
        for who, visitor in (("sam", sam), ("zoe", await let_in(service, "user:zoe")))
    }
    assert f"{name} load dev confidential email personal" in told["sam"]
    assert f"{name} load dev not for you to see not for you to see" in told["zoe"]


def gives(page: str) -> str:
    """What a page says that an approval gives."""
    section = page.partition('id="gives"')[2].partition("</section>")[0].partition("<tbody>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", section).split())


async def test_an_unchanged_day_leaves_the_very_moment_that_was_asked_for(service: Running, ann: Visitor, sam: Visitor):
    path = await asked(ann, await declared(service))
    await decided(sam, path)
    told = await service.ann.read(f"/v1{path}")
    assert told["state"] == "approved"
    assert (await service.root.read(f"/v1/grants/{told['grants'][0]}"))["until"] == told["asked"]["until"]


async def test_a_decision_that_is_refused_comes_back_with_what_was_typed(service: Running, ann: Visitor, sam: Visitor):
    path = await asked(ann, await declared(service), action=["load", "save"])
    far = f"{datetime.now(UTC) + timedelta(days=400):{DAY}}"
    words = await decided(sam, path, status=422, until=far, comment="as you like")
    assert "no later than was asked for" in words
    answer = await sam.post(f"{path}/deny", {"because": " ", "version": "1"})
    assert answer.status_code == 422
    assert 'href="#because"' in answer.text
    stale = await sam.post(f"{path}/deny", {"because": "no", "version": "7"})
    assert (stale.status_code, "changed after version 7" in stale.text) == (412, True)
    assert 'value="no"' in stale.text


async def test_a_denial_says_why_to_whoever_asked(service: Running, ann: Visitor, sam: Visitor):
    path = await asked(ann, await declared(service))
    answer = await sam.post(f"{path}/deny", {"because": "use the <i>monthly</i> one", "version": "1"})
    assert answer.headers["location"] == f"{path}?done=denied"
    page = await ann.read(path)
    assert "use the &lt;i&gt;monthly&lt;/i&gt; one" in page
    assert "/requests/new?dataset=" in page


async def test_two_different_people_approve_what_is_restricted(
    service: Running, people: Mapping[str, Visitor], ann: Visitor, sam: Visitor
):
    name = await declared(service, classification="restricted")
    assert "Two of these must agree" in await ann.read(f"/requests/new?dataset={name}")
    path = await asked(ann, name)
    assert "One more person must approve it" in await decided(sam, path)
    assert "You have approved it. Somebody else must too." in await sam.read(path)
    again = await sam.post(
        f"{path}/approve", {"dataset": [name], "action": ["load"], "environment": ["dev"], "until": ""}
    )
    assert (again.status_code, "somebody else must approve it too" in again.text) == (403, True)
    assert "The access stands" in await decided(people["theo"], path)


async def test_whoever_asked_takes_it_back(service: Running, ann: Visitor, sam: Visitor):
    path = await asked(ann, await declared(service))
    assert (await sam.post(f"{path}/withdraw", {"version": "1"})).status_code == 403
    answer = await ann.post(f"{path}/withdraw", {"version": "1"})
    assert "You have taken it back." in await ann.read(answer.headers["location"])


async def test_a_request_of_others_is_a_page_that_never_was(
    service: Running, people: Mapping[str, Visitor], ann: Visitor
):
    path, never = await asked(ann, await declared(service)), f"/requests/{uuid4()}"
    for name in ("eve", "hugo", "vera"):
        stranger = people[name]
        for verb, fields in (("approve", {}), ("deny", {"because": "no"}), ("withdraw", {}), ("weigh", {})):
            there = await stranger.post(f"{path}/{verb}", fields)
            elsewhere = await stranger.post(f"{never}/{verb}", fields)
            assert there.status_code == elsewhere.status_code == 404
            assert said(there).partition("Request")[0] == said(elsewhere).partition("Request")[0]
        assert (await stranger.get(path)).status_code == 404
        assert path not in await stranger.read("/requests?which=all")


async def test_an_auditor_reads_and_has_no_form(service: Running, people: Mapping[str, Visitor], ann: Visitor):
    path = await asked(ann, await declared(service))
    page = await people["audrey"].read(path)
    assert "You may read this request and not decide on it." in page
    assert "/approve" not in page
    assert "/deny" not in page


async def test_a_request_waits_as_long_as_is_set_before_it_rises(service: Running, sam: Visitor):
    """The setting is 24 hours here."""
    name = await declared(service, "sales.emea")
    at = datetime.now(UTC) - timedelta(hours=30)
    terms = Terms(frozenset({Action.LOAD}), (name,), frozenset({"dev"}), datetime.now(UTC) + timedelta(days=60))
    made = AccessRequest(
        id_floor(at), Subject(Kind.USER, "ann"), terms, "the report", at, escalates_after=timedelta(hours=24)
    )
    async with service.app.state.house.db.begin() as tx:
        await requests.append(tx, made, 1)
    page = await sam.read(f"/requests/{made.id}")
    assert "Came also to those who approve in sales" in page
    assert "Comes also to those who approve in every domain" in page
    told = await service.sam.read(f"/v1/requests/{made.id}")
    assert told["escalated_to"] == ["sales"]


async def test_a_long_list_has_pages(service: Running):
    await service.somebody("ann", sub="many").read("/v1/whoami")
    many = await let_in(service, "user:many")
    at = datetime.now(UTC)
    async with service.app.state.house.db.begin() as tx:
        for number in range(27):
            terms = Terms(
                frozenset({Action.LOAD}), (f"sales.many_{number}",), frozenset({"dev"}), at + timedelta(days=60)
            )
            made = AccessRequest(str(uuid4()), Subject(Kind.USER, "many"), terms, "the report", at)
            await requests.append(tx, made, 1)
    first = await many.read("/requests")
    assert len(set(re.findall(r"sales\.many_\d+", first))) == 25
    following = re.findall(r'rel="next" href="([^"]+)"', first)[0].replace("&amp;", "&")
    assert len(set(re.findall(r"sales\.many_\d+", await many.read(following)))) == 2
    assert "many_" not in await many.read("/requests?state=denied")


# --- going on, and deputies -----------------------------------------------------------------------------------------


async def test_asking_again_lets_the_grant_go_on_under_its_id(service: Running, ann: Visitor, sam: Visitor):
    name = await declared(service)
    path = await asked(ann, name, days="30")
    await decided(sam, path)
    id_ = f"req-{path.rpartition('/')[2]}"
    page = await ann.read(f"/requests/new?renews={id_}")
    assert "Where it is approved, it goes on as it is." in page
    assert f">\n{name}</textarea>" in page
    assert 'value="the quarterly report"' in page

    answer = await service.ann.post("/v1/requests/renewals", {"grant": id_})

    assert answer.status_code == 201, answer.text
    again = answer.json()
    await decided(sam, f"/requests/{again['id']}")
    assert (await service.ann.read(f"/v1/requests/{again['id']}"))["grants"] == [id_]
    given = await service.root.read(f"/v1/grants/{id_}")
    assert (given["until"], given["version"]) == (again["asked"]["until"], 2)
    (row,) = (await service.audrey.read(f"/v1/ledger?dataset={name}&event=request.approved&limit=1"))["items"]
    assert row["details"]["versions"] == [{"kind": "grant", "key": id_, "before": 1, "after": 2}]
    for stranger in (service.eve, service.sam):
        assert (await stranger.post("/v1/requests/renewals", {"grant": id_})).status_code == 404


async def test_one_press_asks_for_longer(service: Running, ann: Visitor, sam: Visitor):
    name = await declared(service)
    path = await asked(ann, name, days="30")
    await decided(sam, path)
    (grant_id,) = re.findall(r'name="grant" value="([^"]+)"', await ann.read(path))
    again = await ann.post("/requests/renew", {"grant": grant_id})
    assert again.status_code == 303, said(again)
    page = await ann.read(again.headers["location"])
    assert name in page
    assert "the quarterly report" in page
    twice = await ann.post("/requests/renew", {"grant": grant_id})
    assert (twice.status_code, "You have asked for this" in said(twice)) == (409, True)
    assert (await ann.post("/requests/renew", {"grant": "sam-approves"})).status_code == 404


async def test_a_deputy_decides_in_the_place_of_an_approver_and_the_record_says_so(
    service: Running, people: Mapping[str, Visitor], ann: Visitor, sam: Visitor
):
    path = await asked(ann, await declared(service))
    vera = people["vera"]
    assert (await vera.get(path)).status_code == 404
    until = f"{datetime.now(UTC) + timedelta(days=5):{DAY}}"
    named = await sam.post("/requests/deputy", {"deputy": "vera", "until": until, "because": "on holiday"})
    assert "user:vera" in await sam.read(named.headers["location"])
    assert "user:sam" in await vera.read("/requests/deputy")
    assert path in await vera.read("/requests?which=waiting")
    assert "You decide in the place of" in await vera.read(path)

    await decided(vera, path)

    told = await service.ann.read(f"/v1{path}")
    assert (told["state"], told["decision"]["by"], told["decision"]["deputy_of"]) == (
        "approved",
        "user:vera",
        "user:sam",
    )
    assert "in the place of" in await ann.read(path)
    (row,) = (await service.audrey.read("/v1/ledger?event=request.approved&limit=1"))["items"]
    assert (row["subject"], row["details"]["deputy_of"]) == ("user:vera", "user:sam")
    replayed = await service.audrey.read(f"/v1/ledger/{row['id']}/decision")
    assert replayed["equal"] is True, replayed
    await sam.post("/requests/deputy/end", {})
    assert (await vera.get(await asked(ann, await declared(service)))).status_code == 404
    events = (await service.audrey.read("/v1/ledger?subject=user:sam&limit=50"))["items"]
    assert {"deputy.named", "deputy.ended"} <= {each["event"] for each in events}


async def test_naming_a_deputy_that_cannot_be_comes_back_with_a_word(service: Running, ann: Visitor, sam: Visitor):
    until = f"{datetime.now(UTC) + timedelta(days=5):{DAY}}"
    refused = await ann.post("/requests/deputy", {"deputy": "user:vera", "until": until, "because": ""})
    assert (refused.status_code, "You decide on no requests" in refused.text) == (403, True)
    for fields, field in (
        ({"deputy": "user:sam", "until": until}, "deputy"),
        ({"deputy": "service:nightly", "until": until}, "deputy"),
        ({"deputy": "\u202enobody", "until": until}, "deputy"),
        ({"deputy": "user:vera", "until": "2020-01-01"}, "until"),
        ({"deputy": "user:vera", "until": ""}, "until"),
    ):
        answer = await sam.post("/requests/deputy", {"because": "", **fields})
        assert answer.status_code == 422, said(answer)
        assert f'href="#{field}"' in answer.text
    assert "Nobody does now." in await sam.read("/requests/deputy")
    assert (await service.sam.send("DELETE", "/v1/deputy")).status_code == 404


async def test_a_deputy_by_the_api_is_the_same(service: Running):
    until = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    theo = service.somebody("sam", sub="theo")
    body = {"deputy": "user:vera", "until": until, "because": "on holiday"}
    assert (await theo.send("PUT", "/v1/deputy", json=body)).status_code == 200
    told = await theo.get("/v1/deputy")
    assert (told.json()["deputy"]["deputy"], int(told.headers["muniment-revision"]) > 0) == ("user:vera", True)
    of_others = (await service.somebody("sam", sub="vera").read("/v1/deputy"))["of_others"]
    assert [each["principal"] for each in of_others] == ["user:theo"]
    assert (await theo.send("DELETE", "/v1/deputy")).status_code == 204
    assert (await theo.read("/v1/deputy"))["deputy"] is None
