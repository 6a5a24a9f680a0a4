"""The pages of the ledger: who read what and under which rule, told only to whom may know it, and proven as shown."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from demo.issuer import RunningIssuer
from muniment.core.ledger import Event
from muniment.core.tellings import Telling
from muniment.flows.seal_ledger import Sealer
from muniment.identity.seal_keys import SealKeys
from muniment.web.words import WORDS
from tests.api.running import Running, dataset, grant, refusal, running
from tests.tampering import tamper
from tests.web.letting_in import Visitor, let_in, said

pytestmark = pytest.mark.anyio

TODAY = datetime.now(UTC).date()
#: The last days, and what is to come of this one.
LATELY = urlencode({"since": (TODAY - timedelta(days=3)).isoformat(), "until": TODAY.isoformat()})

HOSTILE = {
    "markup": '<script>alert("x")</script>',
    "a quote": '"><img src=x onerror=alert(1)>',
    "much": "x" * 4_000,
    "emoji": "😀" * 300,
    "from right to left": "\u202e\u05e1\u05d3\u05e8\u2066",
    "template": "{{ 7 * 7 }}{% raw %}",
    "nothing": "\x00",
    "a day that is none": "2027-02-31",
    "the end of time": "9999-12-31",
    "its beginning": "0001-01-01",
}
PAGES = ("/audit", "/audit/readers", "/audit/charts", "/audit/unusual", "/audit/past", "/reviews", "/reviews/leavers")


@pytest.fixture(scope="module")
async def service(
    issuer: RunningIssuer, module_company: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """The company: Ann was given the orders twice and says that she loaded them; Sam audits sales, Audrey all."""
    async with running(issuer, module_company) as started:
        root, ann = started.root, started.ann
        await root.make("/v1/grants/sam-audits-sales", grant("user:sam", ["audit"], on={"domain": "sales"}))
        described = dataset("s3://lake/hr/contacts.csv", columns=[{"name": "email"}], description="Whom we write to.")
        await started.hugo.make("/v1/datasets/hr.contacts", described)
        for _ in range(2):
            lease = await ann.get("/v1/leases?environment=dev&project=spaceflights")
            assert lease.status_code == 200, lease.text
        await _says_that_it_used(started, "sales.orders", lease.headers["muniment-receipt"])
        refused = await ann.post("/v1/preflight", {"environment": "dev", "load": ["hr.salaries"], "save": []})
        assert refused.status_code == 200
        for caller in (started.audrey, started.sam, started.eve, started.hugo):
            await caller.read("/v1/whoami")
        keys = SealKeys(tmp_path_factory.mktemp("keys") / "seals.key")
        keys.made()
        await Sealer(started.app.state.house.db, keys).seal_all()
        yield started


async def _says_that_it_used(service: Running, name: str, receipt: str) -> None:
    use = {
        "id": str(uuid4()),
        "dataset": name,
        "action": "load",
        "at": datetime.now(UTC).isoformat(),
        "receipt": receipt,
        "environment": "dev",
        "run": "2027-03-03T08.15",
    }
    assert (await service.ann.post("/v1/use", {"events": [use]})).status_code == 200


@pytest.fixture(scope="module")
async def audrey(service: Running) -> Visitor:
    return await let_in(service, "user:audrey")


@pytest.fixture(scope="module")
async def sam(service: Running) -> Visitor:
    return await let_in(service, "user:sam")


@pytest.fixture(scope="module")
async def ann(service: Running) -> Visitor:
    return await let_in(service, "user:ann")


def links(page: str, beginning: str) -> list[str]:
    """Where the links of a page lead, of those that begin so."""
    found = [html.unescape(each) for each in re.findall(r'href="([^"]+)"', page)]
    return [each for each in found if each.startswith(beginning)]


# --- who read it ------------------------------------------------------------------------------------------------------


async def test_an_auditor_finds_who_read_some_data_under_which_rule_and_whether_that_is_all(audrey: Visitor) -> None:
    """The whole walk: from words, to the dataset, to people and rules, to the proof of one record."""
    found = await audrey.read(f"/audit/readers?dataset=every+orders&{LATELY}")
    (here,) = links(found, "/audit/readers?dataset=sales.orders")

    page = await audrey.read(here)

    answer = html.unescape(said(await audrey.get(here)))
    assert "Reported that they used it: 1. Were given it: 1." in answer
    assert "user:ann loaded it once" in answer
    assert "2 times" in answer
    assert "grant:analysts-load-orders Members of analysts may load sales.orders." in answer
    assert "This answer is whole" in answer
    assert "Every record of this time is sealed." not in answer  # the looking itself is not, yet
    (records,) = links(page, "/audit?subject=user%3Aann")
    rows = [each for each in links(await audrey.read(records), "/audit/rows/") if not each.endswith("decision")]
    proven = ["Proven" in said(await audrey.get(row)) for row in rows]
    assert any(proven)


async def test_words_find_columns_too(audrey: Visitor) -> None:
    found = await audrey.read("/audit/readers?dataset=contact+emails")
    assert links(found, "/audit/readers?dataset=hr.contacts")


async def test_the_api_gives_the_same_answer(service: Running) -> None:
    answer = await service.audrey.read("/v1/ledger/readers?dataset=sales.orders&environment=dev")
    assert (answer["whole"], answer["decided"], answer["undecided"]) == (True, 1, 0)
    (ann,) = answer["items"]
    assert (ann["subject"], ann["given"]["count"], ann["claimed"]["load"]["count"]) == ("user:ann", 2, 1)
    assert [rule["id"] for rule in ann["because"]] == ["grant:analysts-load-orders"]
    assert (await service.audrey.read("/v1/ledger/readers?dataset=sales.orders&environment=prod"))["items"] == []
    assert (await service.audrey.read("/v1/ledger/readers?dataset=sales.targets"))["items"] == []


async def test_a_rule_that_has_ended_since_is_still_the_one_that_let_somebody_read(service: Running) -> None:
    """What was given is decided from what was so then. Seen to fail with the realm of today."""
    await service.root.make("/v1/grants/eve-targets", grant("user:eve", ["load"], on={"dataset": "sales.targets"}))
    assert (await service.eve.get("/v1/leases?environment=dev")).status_code == 200
    assert (await service.root.delete("/v1/grants/eve-targets", after=1)).status_code == 204
    assert (await service.eve.get("/v1/leases?environment=dev")).status_code == 200

    (eve,) = (await service.audrey.read("/v1/ledger/readers?dataset=sales.targets"))["items"]

    assert (eve["subject"], eve["given"]["count"], eve["claimed"]) == ("user:eve", 1, {})
    assert [rule["says"] for rule in eve["because"]] == ["The user eve may load sales.targets."]


async def test_who_audits_the_domain_alone_is_told_of_reports_and_that_leases_were_left_out(
    service: Running, sam: Visitor
) -> None:
    answer = await service.sam.read("/v1/ledger/readers?dataset=sales.orders")
    assert (answer["whole"], answer["by_leases"]) == (False, False)
    assert [(each["subject"], each["given"]) for each in answer["items"]] == [("user:ann", None)]
    assert "leases of whole catalogs were not looked at" in said(await sam.get("/audit/readers?dataset=sales.orders"))


@pytest.mark.parametrize("name", ["hr.salaries", "hr.never_there"])
async def test_who_does_not_audit_the_domain_is_refused_whatever_is_there(service: Running, name: str) -> None:
    for caller in (service.sam, service.eve):
        problem = refusal(await caller.get(f"/v1/ledger/readers?dataset={name}"), 403)
        assert problem["detail"] == "You may ask about yourself; about others you need grant or audit in hr."


async def test_words_find_nothing_where_one_does_not_audit(service: Running, sam: Visitor, ann: Visitor) -> None:
    assert "hr.contacts" not in await sam.read("/audit/readers?dataset=contact+emails")
    assert (await ann.get("/audit/readers?dataset=contact+emails")).status_code == 403


# --- looking something up ---------------------------------------------------------------------------------------------


async def test_one_field_finds_whatever_an_auditor_has_in_hand(service: Running, audrey: Visitor) -> None:
    (row, *_) = (await service.audrey.read("/v1/ledger?subject=user:ann&event=lease.served"))["items"]
    for text, place in (
        ("ann", "/audit/about/subject/user%3Aann"),
        ("user:ann", "/audit/about/subject/user%3Aann"),
        ("2027-03-03T08.15", "/audit/about/run/2027-03-03T08.15"),
        (row["receipt"], f"/audit/about/receipt/{row['receipt']}"),
        (row["id"], f"/audit/rows/{row['id']}"),
        ("", "/audit"),
    ):
        answer = await audrey.get(f"/audit/find?{urlencode({'search': text})}")
        assert (answer.status_code, answer.headers["location"]) == (303, place), text
        assert (await audrey.get(place)).status_code == 200
    page = await audrey.read("/audit/find?search=contact+emails")
    (month, *_) = links(page, f"/audit/readers?dataset=hr.contacts&since={TODAY.replace(day=1)}")
    assert "This answer is whole" in await audrey.read(month)


async def test_nobody_finds_what_they_may_not_read(service: Running, sam: Visitor, ann: Visitor) -> None:
    """The same page for what is hidden and for what never was. Seen to fail with every row found."""
    # Of the newest of them Sam reads what was used under it.
    (_, row, *_) = (await service.audrey.read("/v1/ledger?subject=user:ann&event=lease.served"))["items"]
    hidden = ("contact emails", "hr.salaries", "hugo", row["receipt"], row["id"])
    never = ("contact nothing", "hr.nothing", "nobody", str(uuid4()), str(uuid4()))
    for one, other in zip(hidden, never, strict=True):
        found, nothing = [await sam.get(f"/audit/find?{urlencode({'search': each})}") for each in (one, other)]
        assert "Nothing was found that you may read about." in found.text, one
        assert said(found).replace(one, "") == said(nothing).replace(other, "")
    assert "Nothing was found" in await ann.read("/audit/find?search=sales.orders")
    mine = await ann.get("/audit/find?search=ann")
    assert mine.headers["location"] == "/audit/about/subject/user%3Aann"


# --- the records ------------------------------------------------------------------------------------------------------


async def test_every_filter_narrows_and_stands_in_the_form_as_it_was_typed(audrey: Visitor) -> None:
    page = await audrey.read("/audit?subject=user:ann&kind=claimed&days=7")
    assert "says that they used sales.orders" in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert 'value="user:ann"' in page
    assert re.search(r'<option value="claimed" selected>', page)
    assert "was given a lease" not in page.partition('id="results"')[2]
    assert len(links(page, "/audit/rows/")) == 1


async def test_a_page_leads_to_the_older_ones_and_back(audrey: Visitor) -> None:
    first = await audrey.read("/audit")
    (older,) = links(first, "/audit?after=")
    second = await audrey.read(older)
    (newer,) = links(second, "/audit?before=")
    shown = links(first, "/audit/rows/")
    assert set(shown).isdisjoint(links(second, "/audit/rows/"))
    # What was looked at meanwhile stands before them.
    assert set(shown) & set(links(await audrey.read(newer), "/audit/rows/"))


async def test_what_cannot_be_read_comes_back_with_what_is_so_and_all_that_was_typed(audrey: Visitor) -> None:
    answer = await audrey.get("/audit?subject=user:ann&since=sometime&receipt=none")
    assert answer.status_code == 422
    assert 'value="sometime"' in answer.text
    assert 'value="user:ann"' in answer.text
    assert 'id="since-wrong"' in answer.text
    assert 'href="#receipt"' in answer.text


async def test_who_audits_nothing_sees_what_is_recorded_of_themselves(service: Running, ann: Visitor) -> None:
    page = await ann.read("/audit")
    who = {each.rpartition("/")[2] for each in links(page, "/audit/about/subject/")}
    assert who == {"user%3Aann"}
    assert "Who read it" not in page
    assert (await ann.get("/audit?subject=user:eve")).status_code == 403


async def test_who_audits_a_domain_sees_its_rows_and_their_own(sam: Visitor) -> None:
    page = await sam.read("/audit?kind=claimed")
    assert "sales.orders" in page
    assert "hr." not in (await sam.read("/audit?kind=refused&subject=user:ann")).partition('id="results"')[2]


async def test_a_record_shows_its_proof_and_whoever_may_not_read_it_a_page_as_of_none(
    service: Running, audrey: Visitor, sam: Visitor
) -> None:
    (row, *_) = (await service.audrey.read("/v1/ledger?subject=user:ann&event=lease.served"))["items"]
    page = await audrey.read(f"/audit/rows/{row['id']}")
    assert "Its path of" in page
    assert "user:ann" in page
    assert row["receipt"] in page
    hidden = await sam.get(f"/audit/rows/{row['id']}")
    never = await sam.get(f"/audit/rows/{row['id'][:-4]}0000")
    assert (hidden.status_code, said(hidden)[:60]) == (404, said(never)[:60])


async def test_a_decision_is_computed_again_where_it_stands(service: Running, audrey: Visitor) -> None:
    (row, *_) = (await service.audrey.read("/v1/ledger?subject=user:ann&event=lease.served"))["items"]
    page = said(await audrey.get(f"/audit/rows/{row['id']}/decision"))
    assert "The same as was recorded" in page
    assert "sales.orders load yes" in page


async def test_the_records_of_exactly_this_question_are_taken_out_with_their_proof(
    service: Running, audrey: Visitor
) -> None:
    page = await audrey.read("/audit?dataset=sales.orders&kind=claimed")
    (jsonl,) = [each for each in links(page, "/audit/export?") if each.endswith("format=jsonl")]

    answer = await audrey.get(jsonl)

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "attachment" in answer.headers["content-disposition"]
    same = await service.audrey.get("/v1/ledger/export?dataset=sales.orders&kind=claimed")
    assert [len(line) for line in answer.text.splitlines()[1:]] == [len(e) for e in same.text.splitlines()[1:]]
    assert len(answer.text.splitlines()) == 3


async def test_the_top_says_up_to_when_the_record_is_proven_and_how_to_verify_it(audrey: Visitor) -> None:
    page = said(await audrey.get("/audit"))
    assert "Proven up to" in page
    assert "muniment audit verify" in page


# --- charts -----------------------------------------------------------------------------------------------------------


async def test_figures_are_of_what_the_reader_may_read_and_nothing_else(service: Running) -> None:
    def of(answer: Any) -> dict[str, tuple[int, int, int]]:
        return {each["name"]: (each["given"], each["used"], each["refused"]) for each in answer["items"]}

    mine = "&subject=user:ann"
    assert of(await service.audrey.read(f"/v1/ledger/figures?by=domain{mine}")) == {"sales": (0, 1, 0), "hr": (0, 0, 1)}
    assert of(await service.sam.read(f"/v1/ledger/figures?by=domain{mine}")) == {"sales": (0, 1, 0)}
    assert of(await service.ann.read(f"/v1/ledger/figures?by=project{mine}"))["spaceflights"] == (2, 1, 0)
    teams = of(await service.audrey.read(f"/v1/ledger/figures?by=team&project=spaceflights{mine}"))
    assert teams["analysts"] == (2, 1, 0)
    days = of(await service.audrey.read(f"/v1/ledger/figures?by=day{mine}"))
    assert len(days) == 31
    assert list(days.values())[-1][:2] == (2, 1)
    assert next(iter(days.values())) == (0, 0, 0)
    refusal(await service.sam.get("/v1/ledger/figures?by=team"), 403)
    refusal(await service.ann.get("/v1/ledger/figures?by=day"), 403)


@pytest.mark.parametrize(
    "time", ["since=2020-01-01T00:00:00Z", "until=2020-01-01T00:00:00Z&since=2021-01-01T00:00:00Z"]
)
async def test_a_time_without_bounds_or_sense_is_not_counted(service: Running, time: str) -> None:
    refusal(await service.audrey.get(f"/v1/ledger/figures?{time}"), 422)


async def test_every_chart_has_its_table_and_its_numbers_to_take_out(audrey: Visitor, sam: Visitor) -> None:
    page = await audrey.read("/audit/charts?subject=user:ann")
    assert page.count("<svg") == page.count("<table") == 6
    (team,) = links(page, "/audit/charts/team.csv")
    answer = await audrey.get(f"{team}&project=spaceflights")
    assert answer.text.splitlines() == ["team,given,used,refused", "analysts,2,1,0"]
    assert "Uses reported, by team" not in await sam.read("/audit/charts")


async def test_what_is_unusual_is_for_who_audits_everything(audrey: Visitor, sam: Visitor) -> None:
    assert "What stands out" in await audrey.read("/audit/unusual")
    for path in ("/audit/unusual", "/audit/unusual.csv"):
        assert (await sam.get(path)).status_code == 403


async def test_who_read_it_is_taken_out_as_a_table_that_says_whether_it_is_whole(audrey: Visitor, sam: Visitor) -> None:
    (export,) = links(await audrey.read("/audit/readers?dataset=sales.orders"), "/audit/readers.csv")
    file = [line.split(",") for line in (await audrey.get(export)).text.splitlines()]
    assert [line[0] for line in file] == ["subject", "user:ann", "(whole)"]
    assert file[1][1:4] == ["1", "0", "2"]
    assert "(not whole)" in (await sam.get(export)).text
    for path in ("/audit/readers.csv?dataset=hr.salaries", "/audit/readers.csv?dataset=hr.nothing"):
        assert (await sam.get(path)).status_code == 403


# --- everything about something, and the past -------------------------------------------------------------------------


async def test_everything_about_somebody_keeps_apart_what_is_often_blurred(audrey: Visitor) -> None:
    page = await audrey.read("/audit/about/subject/user:ann")
    captions = re.findall(r"<caption[^>]*>([^<]+)</caption>", page)
    assert [each for each in captions if each != "Was told of it"][:3] == [
        "Was given the means",
        "Says so itself",
        "Was refused",
    ]
    assert links(page, "/audit/past?of=subject&name=user%3Aann")


@pytest.mark.parametrize("about", ["dataset/sales.orders", "run/2027-03-03T08.15"])
async def test_everything_about_a_dataset_or_a_run(audrey: Visitor, about: str) -> None:
    assert "says that they used" in await audrey.read(f"/audit/about/{about}")


async def test_what_somebody_could_use_is_decided_by_the_rules_of_then(service: Running, audrey: Visitor) -> None:
    now = said(await audrey.get("/audit/past?of=subject&name=user:ann&environment=dev"))
    assert "Datasets that user:ann could use: 1" in now
    assert "sales.orders" in now
    who = said(await audrey.get("/audit/past?of=dataset&name=sales.orders&environment=dev"))
    assert "user:ann user:ann may load it: permitted by grant:analysts-load-orders" in who
    early = await audrey.get("/audit/past?of=subject&name=user:ann&at=2020-01-01")
    assert early.status_code == 422
    assert 'value="2020-01-01"' in early.text


# --- saved questions --------------------------------------------------------------------------------------------------


async def test_a_question_is_kept_shared_asked_again_and_removed(service: Running, audrey: Visitor) -> None:
    """Seen to fail with the views of everybody told to everybody."""
    kept = await audrey.post("/audit/views", {"dataset": "sales.orders", "kind": "claimed", "days": "7",
                                              "name": "Uses of orders", "shared": "yes"})  # fmt: skip
    assert kept.headers["location"] == "/audit/views?done=saved"
    page = await audrey.read("/audit/views")
    (address,) = links(page, "/audit?dataset=sales.orders")
    assert "kind=claimed" in address
    assert len(links(await audrey.read(address), "/audit/rows/")) == 1

    everybody = service.somebody("eve", sub="second")
    await service.root.make("/v1/grants/second-audits", grant("user:second", ["audit"], on={"domain": "all"}))
    (told,) = (await everybody.read("/v1/ledger/views"))["items"]
    assert (told["name"], told["owner"], told["days"]) == ("Uses of orders", "user:audrey", 7)
    assert told["question"]["events"] == [Event.USE_REPORTED, Event.REFUSAL_REPORTED]
    for caller in (service.sam, service.ann):
        assert (await caller.read("/v1/ledger/views"))["items"] == []
    assert (await everybody.send("DELETE", "/v1/ledger/views/Uses%20of%20orders")).status_code == 404

    await audrey.post("/audit/views/remove", {"name": "Uses of orders"})
    assert (await service.audrey.read("/v1/ledger/views"))["items"] == []
    events = [e["event"] for e in (await service.audrey.read("/v1/ledger?subject=user:audrey&kind=changed"))["items"]]
    assert events == ["view.removed", "view.saved"]


async def test_who_does_not_audit_everything_keeps_questions_for_themselves(service: Running) -> None:
    mine = {"question": {"subject": "user:ann"}}
    refusal(await service.ann.send("PUT", "/v1/ledger/views/mine", json={**mine, "shared": True}), 403)
    assert (await service.ann.send("PUT", "/v1/ledger/views/mine", json=mine)).status_code == 200
    assert [e["name"] for e in (await service.ann.read("/v1/ledger/views"))["items"]] == ["mine"]


@pytest.mark.parametrize("name", ["", " ", "a" * 81, "<b>", "a\nb", "-a"])
async def test_a_name_that_is_none_comes_back_with_the_question(audrey: Visitor, name: str) -> None:
    answer = await audrey.post("/audit/views", {"dataset": "sales.orders", "name": name})
    assert answer.status_code == 422
    assert 'id="name-wrong"' in answer.text
    assert 'value="sales.orders"' in answer.text


async def test_a_view_says_a_time_in_one_way(service: Running) -> None:
    asked = {"question": {"since": "2027-01-01T00:00:00Z"}, "days": 7}
    refusal(await service.audrey.send("PUT", "/v1/ledger/views/both", json=asked), 422)


# --- every page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", HOSTILE)
async def test_hostile_input_is_shown_as_text_or_refused(audrey: Visitor, what: str) -> None:
    fields = ("subject", "dataset", "since", "until", "event", "days", "receipt", "name", "at", "scope", "by", "of")
    asked = [(path, dict.fromkeys(fields, HOSTILE[what])) for path in PAGES]
    alone = (
        ("/audit", "dataset"),
        ("/audit/find", "search"),
        ("/audit/readers", "dataset"),
        ("/audit/readers.csv", "dataset"),
        ("/audit/past", "name"),
        ("/audit/charts", "until"),
        ("/audit/unusual", "until"),
    )
    until = ("/audit/readers", {"dataset": "sales.orders", "until": HOSTILE[what]})
    for path, query in (*asked, *((path, {field: HOSTILE[what]}) for path, field in alone), until):
        answer = await audrey.get(f"{path}?{urlencode(query)}")
        assert answer.status_code in {200, 303, 403, 404, 409, 422}, f"{path} {query}: {answer.status_code}"
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


async def test_every_event_and_kind_has_its_words() -> None:
    assert set(WORDS["audit_events"]) == {event.value for event in Event}
    assert set(WORDS["audit_kinds"]) == {telling.value for telling in Telling}


async def test_a_record_that_was_changed_since_says_so(service: Running, audrey: Visitor) -> None:
    """Seen to fail with the path taken for proof, and not followed."""
    (row, *_) = (await service.audrey.read("/v1/ledger?subject=user:ann&event=use.reported"))["items"]
    tamper(service.url, f"UPDATE ledger SET project = 'another' WHERE id = '{row['id']}'")
    assert "The proof does not hold" in await audrey.read(f"/audit/rows/{row['id']}")
