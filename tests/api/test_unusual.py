"""A first look at the unusual: what is found in a ledger's rows, by those who audit everything."""

import csv
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from muniment.core.ledger import Event, Outcome, Row
from muniment.core.subjects import Subject
from muniment.store import ledger, subjects
from tests.api.running import grant, refusal
from tests.web.letting_in import let_in

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
async def past(service):
    """Sixty usual days of Ann's and of a job's, and then a day on which much is unusual; and when that was."""
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    body = grant("user:ann", ["load"], on={"dataset": "sales.targets"}, until=(now + 30 * MINUTE).isoformat())
    await service.root.make("/v1/grants/ann-for-a-moment", body)
    await service.ann.catalog()
    house = service.app.state.house
    async with house.db.begin() as tx:
        ann = await subjects.newest_of(tx, Subject.parse("user:ann"))

    def row(at, event=Event.USE_REPORTED, **fields):
        usual = {"address": "192.0.2.1", "client": "kedro-muniment/0.1", "outcome": Outcome.DONE, "subject": "user:ann"}
        return Row(**{"id": uuid4(), "at": at, "event": event, "subject_state": ann.state.digest, **usual, **fields})

    rows = [
        row(today - ago * DAY + number * MINUTE, datasets=("sales.orders",), subject=subject)
        for ago in range(2, 50)
        for subject in ("user:ann", "service:nightly")
        for number in range(3 + ago % 3)
    ]
    rows += [row(today + number * MINUTE, datasets=("sales.orders",)) for number in range(90)]
    rows += [row(today + 100 * MINUTE, datasets=("hr.salaries",), address="198.51.100.7", client="curl/8")]
    rows += [
        row(today + (200 + number) * MINUTE, Event.ACCESS_DENIED, outcome=Outcome.DENIED, subject="user:eve")
        for number in range(6)
    ]
    rows += [row(now - 5 * MINUTE, datasets=("sales.targets",))]
    async with house.db.begin() as tx:
        await ledger.append(tx, rows)
    return today


async def looked(caller, query=""):
    return await caller.read(f"/v1/ledger/unusual{query}")


async def test_what_stands_out_is_told_with_its_numbers(service, past):
    found = (await looked(service.audrey))["items"]
    of = {(each["kind"], each["subject"], each["dataset"]): each for each in found}
    assert of["volume", "user:ann", None]["numbers"]["count"] >= 90
    assert ("first-use", "user:ann", "hr.salaries") in of
    assert of["refused-in-a-row", "user:eve", None]["numbers"]["count"] == 6
    assert of["new-address", "user:ann", None]["numbers"]["address"] == "198.51.100.7"
    assert of["new-client", "user:ann", None]["numbers"]["client"] == "curl"
    assert all(each["words"] for each in found)


async def test_whose_days_are_as_always_is_not_told_of(service, past):
    assert not [each for each in (await looked(service.audrey))["items"] if each["subject"] == "service:nightly"]


async def test_use_in_the_last_hour_of_a_grant_is_told_of_those_it_is_for(service, past):
    found = [each for each in (await looked(service.audrey))["items"] if each["kind"] == "last-hour"]
    assert [(each["policy"], each["subject"]) for each in found] == [("grant:ann-for-a-moment", "user:ann")]


async def test_a_window_before_anything_happened_tells_nothing(service, past):
    since, until = ((past - age * DAY).isoformat().replace("+", "%2B") for age in (400, 395))
    assert (await looked(service.audrey, f"?since={since}&until={until}"))["items"] == []


async def test_a_window_is_at_most_a_month_and_has_begun(service):
    refusal(await service.audrey.get("/v1/ledger/unusual?since=2020-01-01T00:00:00Z"), 422)
    refusal(await service.audrey.get("/v1/ledger/unusual?since=2999-01-01T00:00:00Z"), 422)


async def test_only_who_audits_everything_looks_and_that_they_did_is_a_row(service):
    await looked(service.audrey)
    rows = (await service.audrey.read("/v1/ledger?subject=user:audrey&event=ledger.read"))["items"]
    assert "unusual" in [row["details"].get("read") for row in rows]
    for caller in (service.ann, service.sam):
        refusal(await caller.get("/v1/ledger/unusual"), 403)


async def test_the_page_shows_it_by_day_and_gives_all_of_it_as_a_file(service, past):
    """Seen to fail with a day left out on which nothing stood out."""
    await service.audrey.read("/v1/whoami")
    audrey = await let_in(service, "user:audrey")
    page = await audrey.read("/audit/unusual")
    found = (await looked(service.audrey))["items"]
    chart = page.partition("<svg")[2].partition("</svg>")[0]
    assert chart.count("<rect") == 8
    assert f"Things: {len(found)}." in chart
    file = list(csv.reader((await audrey.get("/audit/unusual.csv")).text.splitlines()))
    assert [(row[1], row[2] or None) for row in file[1:]] == [(each["kind"], each["subject"]) for each in found]
