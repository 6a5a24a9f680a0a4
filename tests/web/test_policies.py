"""Rules on pages: found and read as sentences, and written with their consequences in view."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from demo.issuer import RunningIssuer
from tests.api.running import PEOPLE, Running, dataset, grant, revision_of, running
from tests.web.letting_in import Visitor, let_in, said

pytestmark = pytest.mark.anyio

READERS = 'permit (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.targets");'
SOON = datetime.now(UTC) + timedelta(days=5)

#: A form that says what the sentence below says.
FORM = {
    "view": "form",
    "version": "0",
    "scope": "sales",
    "kind": "access",
    "effect": "permit",
    "principals": "group:analysts",
    "actions": ["load"],
    "names": "sales.targets",
    "environments": "dev",
    "reason": "the plan of this year",
}
SENTENCE = "Members of analysts may load sales.targets, in dev."


@pytest.fixture(scope="module")
async def service(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company, all of whom have been here, with rules of every kind."""
    async with running(issuer, module_company) as started:
        root, hugo = started.root, started.hugo
        for name in PEOPLE:
            await getattr(started, name).read("/v1/whoami")
        await root.make(
            "/v1/policies/analysts-read-targets", {"scope": "sales", "cedar": READERS, "reason": "the plan"}
        )
        shut = 'forbid (principal, action == Action::"load", resource) unless { principal in Group::"hr-owners" };'
        await root.make("/v1/policies/hr-is-shut", {"scope": "hr", "cedar": shut})
        masked = {
            "scope": "sales",
            "kind": "mask",
            "cedar": 'permit (principal in Group::"guests", action == Action::"load", resource);',
            "obligation": {"columns": ["email"], "action": "replace-with-null"},
        }
        await root.make("/v1/policies/emails", masked)
        ending = grant("user:ann", ["load"], on={"dataset": "sales.emea.leads"}, until=SOON.isoformat())
        await root.make("/v1/grants/ann-loads-leads", ending)
        await hugo.make(
            "/v1/grants/hugo-shows-salaries", grant("user:eve", ["discover"], on={"dataset": "hr.salaries"})
        )
        yield started


@pytest.fixture(scope="module")
async def people(service: Running) -> Mapping[str, Visitor]:
    return {name: await let_in(service, f"user:{name}") for name in PEOPLE if name != "nightly"}


def hidden_in(page: str) -> dict[str, str]:
    """What the form of a page carries that nobody sees."""
    main = page.partition("<main")[2]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', main)
    return {name: html.unescape(value) for name, value in found if name != "form"}


def value_in(page: str, field: str) -> str:
    """What stands in a field of a page."""
    found = re.search(rf'<textarea id="{field}"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL)
    found = found or re.search(rf'<input type="\w+" id="{field}" name="{field}" value="([^"]*)"', page)
    assert found, field
    return html.unescape(found[1])


async def kept(visitor: Visitor, path: str, fields: Mapping[str, Any]) -> httpx.Response:
    """Look at what a draft would do, and keep it."""
    looked = await visitor.post(path, {**fields, "step": "look"})
    assert looked.status_code == 200, said(looked)
    return await visitor.post(path, {**hidden_in(looked.text), "step": "keep"})


# --- finding and reading -------------------------------------------------------------------------


async def test_every_rule_that_one_reads_is_a_sentence(people: Mapping[str, Visitor]) -> None:
    page = said(await people["audrey"].get("/policies"))
    for sentence in (
        "Members of analysts may load sales.targets.",
        "Nobody may load any dataset of hr, except members of hr-owners.",
        "Members of analysts may load sales.orders.",
        "Members of guests see every dataset of sales with the column email masked (replaced with null).",
    ):
        assert sentence in page
    assert "hr" not in re.sub(r"three|their|there|through|others", "", said(await people["sam"].get("/policies")))
    assert "No rule like this" in said(await people["ann"].get("/policies"))


@pytest.mark.parametrize(
    ("query", "there", "not_there"),
    [
        ("search=load+targets", "sales.targets", "sales.orders"),
        ("search=hr-is-shut", "any dataset of hr", "sales.targets"),
        ("domain=hr", "any dataset of hr", "sales.targets"),
        ("who=user:ann", "The user ann may load sales.emea.leads", "any dataset of hr"),
        ("who=user:ann", "Members of analysts may load sales.orders", "The user sam"),
        ("who=group:analysts", "Members of analysts may load sales.orders", "The user ann"),
        ("deed=forbid", "any dataset of hr", "sales.targets"),
        ("deed=mask", "the column email masked", "sales.targets"),
        ("sort=grant", "The user ann", "any dataset of hr"),
        ("soon=true", "The user ann", "sales.targets"),
    ],
)
async def test_rules_are_found_by_what_they_say_and_about_whom(
    people: Mapping[str, Visitor], query: str, there: str, not_there: str
) -> None:
    table = (await people["root"].read(f"/policies?{query}")).partition("<tbody>")[2]
    assert there in re.sub(r"<[^>]+>", "", table)
    assert not_there not in table


async def test_what_is_doubtful_stands_beside_the_rules(people: Mapping[str, Visitor]) -> None:
    quick = await people["root"].read("/policies")
    assert "Nobody is meant" not in quick
    address = html.unescape(re.findall(r'<a href="(/policies\?[^"]*doubts=true[^"]*)"', quick)[0])
    assert "Nobody is meant: it speaks to none of the" in await people["root"].read(address)
    assert "It ends on" in await people["root"].read("/policies/grants/ann-loads-leads")


async def test_a_rule_tells_whom_it_means_why_it_stands_and_since_when(people: Mapping[str, Visitor]) -> None:
    page = said(await people["sam"].get("/policies/analysts-read-targets"))
    assert "Of 7 people and jobs that are known it means 1" in page
    assert "user:ann" in page
    assert "the plan" in page
    assert "by user:root" in page
    assert 'resource == Dataset::"sales.targets"' in html.unescape(page)


async def test_who_reads_a_rule_and_may_not_change_it_is_not_offered_to(people: Mapping[str, Visitor]) -> None:
    page = await people["audrey"].read("/policies/analysts-read-targets")
    assert "/edit" not in page
    assert "may not change it" in page
    answer = await people["audrey"].get("/policies/analysts-read-targets/edit")
    assert answer.status_code == 403


async def test_a_hidden_rule_and_one_that_never_was_are_one(people: Mapping[str, Visitor]) -> None:
    request_id = re.compile(r"<code>[0-9a-f-]{36}</code>")
    for part in ("", "/history", "/edit", "/end"):
        for hidden, never in (("hr-is-shut", "nothing"), ("grants/hugo-shows-salaries", "grants/nothing")):
            pages = [await people["sam"].get(f"/policies/{id_}{part}") for id_ in (hidden, never)]
            pages += [await people["sam"].post(f"/policies/{id_}{part}", {"step": "keep"}) for id_ in (hidden, never)]
            kinds = {(page.status_code, request_id.sub("", page.text)) for page in pages[:2]}
            assert [len(kinds), kinds.pop()[0]] == [1, 404]
            assert len({(page.status_code, request_id.sub("", page.text)) for page in pages[2:]}) == 1


async def test_an_id_that_an_address_has_taken_is_found_all_the_same(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    await service.root.make(
        "/v1/policies/new", {"scope": "sales.emea", "cedar": READERS.replace("targets", "emea.leads")}
    )
    page = await people["root"].read("/policies?search=emea.leads")
    assert 'href="/policies/policy:new"' in page
    assert "sales.emea.leads" in said(await people["root"].get("/policies/policy:new"))


# --- giving access and taking it away ------------------------------------------------------------


async def test_a_steward_gives_a_colleague_access_and_takes_it_away_in_four_pages(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    sam = people["sam"]
    assert "sales.orders" not in await service.eve.catalog()
    first = await sam.read("/policies/grants/new")
    form = {**hidden_in(first), "to_kind": "user", "to": "eve", "actions": ["discover"], "on_kind": "dataset"}
    form |= {"on": "sales.orders", "until": "2031-01-01", "because": "She helps out."}
    second = await sam.post("/policies/grants/new", {**form, "step": "look"})
    told = said(second)
    assert "The user eve may discover sales.orders, until 1 January 2031." in told
    assert "1 person or job would gain access" in told
    assert "user:eve discover sales.orders dev, prod" in told
    assert "No recorded run would have failed since" in told
    answer = await sam.post("/policies/grants/new", {**hidden_in(second.text), "step": "keep"})
    assert answer.status_code == 303, said(answer)
    third = answer.headers["location"]
    assert third.endswith("?done=given")
    page = said(await sam.get(third))
    assert "Access has been given" in page
    assert "She helps out." in page
    assert (await service.eve.get("/v1/datasets/sales.orders")).status_code == 200
    fourth = await sam.read(third.partition("?")[0] + "/end")
    assert "would lose" in fourth
    answer = await sam.post(third.partition("?")[0] + "/end", hidden_in(fourth))
    assert answer.headers["location"] == "/policies?done=taken"
    assert (await service.eve.get("/v1/datasets/sales.orders")).status_code == 404


async def test_access_for_oneself_is_refused_on_the_form_with_all_that_was_typed(people: Mapping[str, Visitor]) -> None:
    form = {"id": "for-me", "version": "0", "to_kind": "user", "to": "sam", "actions": ["load"], "on_kind": "dataset"}
    form |= {"on": "sales.orders", "until": "2031-01-01", "because": "I want to.", "step": "look"}
    answer = await people["sam"].post("/policies/grants/new", form)
    assert answer.status_code == 403
    assert "You can only hand on what you hold in sales yourself" in said(answer)
    for field in ("to", "on", "until", "because"):
        assert value_in(answer.text, field) == form[field]


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"to": ""}, "to", "Say who gets access."),
        ({"actions": []}, "actions", "Tick at least one thing"),
        ({"on": "sales.nothing"}, "on", "There is no such dataset or domain, or none that you may know of."),
        ({"on": "hr.salaries"}, "on", "There is no such dataset or domain, or none that you may know of."),
        ({"on": "No Name"}, "on", "A dataset is named"),
        ({"until": "tomorrow"}, "until", "Write a day, such as 2027-03-31"),
        ({"until": "", "because": ""}, "until", "Say when it ends"),
        ({"environments": ["prd"]}, "environments", "There is no such environment"),
    ],
    ids=["nobody", "nothing", "no dataset", "a hidden dataset", "no name", "no day", "no end", "no environment"],
)
async def test_what_is_wrong_with_a_grant_is_told_beside_its_field(
    people: Mapping[str, Visitor], change: Mapping[str, Any], field: str, told: str
) -> None:
    form = {
        "id": "wrong",
        "version": "0",
        "to_kind": "user",
        "to": "eve",
        "actions": ["discover"],
        "on": "sales.orders",
    }
    form |= {"on_kind": "dataset", "until": "2031-01-01", "because": "She helps out.", **change}
    answer = await people["sam"].post("/policies/grants/new", {**form, "step": "look"})
    assert answer.status_code in {404, 422}, said(answer)
    assert f'<a href="#{field}"><bdi>' in answer.text
    assert told in said(answer)


async def test_a_grant_that_stands_is_changed(service: Running, people: Mapping[str, Visitor]) -> None:
    page = await people["root"].read("/policies/grants/ann-loads-leads/edit")
    assert value_in(page, "until").startswith(f"{SOON:%Y-%m-%d}T")
    form = {"version": "1", "to_kind": "user", "to": "ann", "actions": ["load"], "on_kind": "dataset"}
    form |= {"on": "sales.emea.leads", "until": "2031-01-01", "because": "longer"}
    answer = await kept(people["root"], "/policies/grants/ann-loads-leads/edit", form)
    assert answer.headers["location"] == "/policies/grants/ann-loads-leads?done=changed"
    history = said(await people["root"].get("/policies/grants/ann-loads-leads/history"))
    assert "Version 2" in history
    assert "+ added because: longer" in history.replace(" ", " ")


async def test_access_is_given_in_a_sentence_and_changed_as_cedar(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root = people["root"]
    first = await root.read("/policies/grants/new?as=sentence")
    said_so = "The service nightly may load sales.orders, in dev, until 1 January 2031."
    fields = {**hidden_in(first), "sentence": said_so, "because": "the nightly run"}
    assert f"<p><bdi>{said_so}</bdi></p>" in (await root.post("/policies/grants/read", fields)).text
    given = await kept(root, "/policies/grants/new", fields)
    page = given.headers["location"].partition("?")[0]
    stands = (await service.root.read(page.replace("/policies", "/v1")))["environments"]
    assert stands == ["dev"]
    as_cedar = await root.read(f"{page}/edit?as=cedar")
    cedar = value_in(as_cedar, "cedar").replace("2031", "2032")
    changed = await kept(root, f"{page}/edit", {**hidden_in(as_cedar), "cedar": cedar, "because": "a year more"})
    assert changed.headers["location"] == f"{page}?done=changed"
    as_sentence = await root.read(f"{page}/edit?as=sentence")
    assert value_in(as_sentence, "sentence") == said_so.replace("2031", "2032")
    fields = {**hidden_in(as_sentence), "sentence": said_so, "because": "a year more"}
    as_form = (await root.post(f"{page}/edit", {**fields, "step": "form"})).text
    assert [value_in(as_form, field) for field in ("to", "on", "until")] == ["nightly", "sales.orders", "2031-01-01"]


async def test_what_says_more_than_a_grant_is_refused_beside_what_was_typed(people: Mapping[str, Visitor]) -> None:
    said_so = "The user ann may load every dataset of sales tagged pii, until 1 January 2031."
    fields = {"view": "sentence", "id": "more", "version": "0", "sentence": said_so, "because": "too much"}
    for step in ("look", "form"):
        answer = await people["root"].post("/policies/grants/new", {**fields, "step": step})
        assert answer.status_code == 422
        assert '<a href="#sentence"><bdi>' in answer.text
        assert "This says more: tags." in said(answer)
        assert value_in(answer.text, "sentence") == said_so


# --- writing policies -----------------------------------------------------------------------------


async def test_a_draft_says_the_same_as_a_form_as_a_sentence_and_as_cedar(people: Mapping[str, Visitor]) -> None:
    sam = people["sam"]
    as_sentence = await sam.post("/policies/new", {**FORM, "id": "mine", "step": "sentence"})
    assert value_in(as_sentence.text, "sentence") == SENTENCE
    assert value_in(as_sentence.text, "reason") == "the plan of this year"
    fields = {"id": "mine", "scope": "sales", "reason": "the plan of this year", "version": "0"}
    as_cedar = await sam.post("/policies/new", {**fields, "view": "sentence", "sentence": SENTENCE, "step": "cedar"})
    cedar = value_in(as_cedar.text, "cedar")
    assert '["dev"].contains(context.environment)' in cedar
    as_form = await sam.post(
        "/policies/new", {**fields, "view": "cedar", "kind": "access", "cedar": cedar, "step": "form"}
    )
    for field in ("principals", "names", "environments", "scope", "reason"):
        assert value_in(as_form.text, field) == FORM[field]


async def test_a_mask_is_picked_from_the_columns_that_the_named_datasets_declare_and_of_hidden_ones_nothing_is_shown(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    """Seen to fail with what is hidden offered, and with the columns lost that were typed."""
    sam = people["sam"]
    told = [{"name": "email", "type": "string", "tags": ["personal"]}, {"name": "amount <b>", "type": "int"}]
    hidden = dataset("s3://lake/hr/badges.csv", columns=[{"name": "badge", "type": "string"}])
    await service.sam.make("/v1/datasets/sales.masked", dataset("s3://lake/sales/masked.csv", columns=told))
    await service.hugo.make("/v1/datasets/hr.badges", hidden)
    draft = {**FORM, "id": "masks", "names": "sales.masked\r\nhr.badges\r\nhr.nothing", "step": "mask"}
    shown = await sam.post("/policies/new", draft)
    assert shown.status_code == 200, said(shown)
    offered = [html.unescape(each) for each in re.findall(r'name="mask_columns" value="([^"]*)"', shown.text)]
    assert offered == ["email", "amount <b>"]
    assert "sales.masked, personal" in said(shown)
    assert "badge" not in shown.text.replace("hr.badges", "")
    assert value_in(shown.text, "obligation") == ""
    typed = "columns: [phone, email]\naction: replace-with-null\n"
    picking = {**draft, "obligation": typed, "mask_offered": offered, "mask_columns": ["amount <b>", "badge"]}
    put = await sam.post("/policies/new", {**picking, "mask_action": "show-last-4"})
    assert put.status_code == 200, said(put)
    assert value_in(put.text, "obligation") == 'columns:\n- "amount <b>"\n- phone\naction: show-last-4\n'
    assert re.findall(r'name="mask_columns" value="([^"]*)" checked', put.text) == ["amount &lt;b&gt;"]
    assert '<option value="mask" selected>' in put.text
    refused = await sam.post("/policies/new", {**picking, "obligation": "type: eq"})
    assert refused.status_code == 422, said(refused)
    assert value_in(refused.text, "obligation").strip() == "type: eq"


@pytest.mark.parametrize(
    ("sentence", "kind", "obligation"),
    [
        (
            "Members of guests see every dataset of sales with the column phone masked (hashed), in dev.",
            "mask",
            {"columns": ["phone"], "action": "sha-256-global"},
        ),
        (
            "Members of guests see only those rows of sales.orders where region = 'EU'.",
            "row_filter",
            {
                "type": "eq",
                "left": {"type": "reference", "name": "region"},
                "right": {"type": "literal", "value": "EU"},
            },
        ),
    ],
    ids=["a mask", "a row filter"],
)
async def test_masks_and_row_filters_are_written_as_sentences(
    service: Running, people: Mapping[str, Visitor], sentence: str, kind: str, obligation: Mapping[str, object]
) -> None:
    id_ = f"said-{kind.replace('_', '-')}"
    fields = {"view": "sentence", "id": id_, "scope": "sales", "version": "0", "sentence": sentence, "reason": "why"}
    answer = await kept(people["root"], "/policies/new", fields)
    assert answer.status_code == 303, said(answer)
    stands = await service.root.read(f"/v1/policies/{id_}")
    assert [stands[field] for field in ("sentence", "kind", "obligation")] == [sentence, kind, obligation]
    page = await people["root"].read(f"/policies/{id_}/edit?as=sentence")
    assert value_in(page, "sentence") == sentence


async def test_cedar_that_no_form_can_say_stays_cedar_and_says_why(people: Mapping[str, Visitor]) -> None:
    head = 'permit (principal, action == Action::"load", resource)'
    cedar = f"{head}\n// as typed\nwhen {{ resource.name == principal.issuer }};"
    fields = {"view": "cedar", "id": "odd", "scope": "sales", "kind": "access", "cedar": cedar, "version": "0"}
    answer = await people["sam"].post("/policies/new", {**fields, "step": "form"})
    assert value_in(answer.text, "cedar") == cedar
    assert "stays Cedar: when { resource.name == principal.issuer }" in html.unescape(said(answer))
    turned = await people["sam"].post("/policies/new", {**fields, "step": "sentence"})
    assert value_in(turned.text, "sentence").endswith("when resource.name == principal.issuer.")


async def test_nothing_is_kept_before_it_was_seen_what_this_very_draft_would_do(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root, before = people["root"], await revision_of(service)
    unseen = await root.post("/policies/new", {**FORM, "id": "seen", "step": "keep"})
    assert "See what this policy would do" in said(unseen)
    changed = {**hidden_in(unseen.text), "names": "sales.orders", "step": "keep"}
    other = await root.post("/policies/new", changed)
    assert other.status_code == 200
    assert "sales.orders, in dev" in said(other)
    assert await revision_of(service) == before
    await service.root.make("/v1/groups/passers-by", {})
    done = await root.post("/policies/new", {**hidden_in(other.text), "step": "keep"})
    assert done.headers["location"] == "/policies/seen?done=written"
    kept = await service.root.read("/v1/policies/seen")
    assert kept["sentence"] == "Members of analysts may load sales.orders, in dev."


async def test_what_would_do_something_else_by_now_is_shown_anew(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root = people["root"]
    draft = {**FORM, "id": "for-newcomers", "principals": "group:newcomers", "step": "look"}
    seen = await root.post("/policies/new", draft)
    assert "Nobody gains or loses anything by it now." in said(seen)
    await service.root.make("/v1/groups/newcomers", {"members": ["user:eve"]})
    before = await revision_of(service)
    moved = await root.post("/policies/new", {**hidden_in(seen.text), "step": "keep"})
    assert "Something else was changed since you looked" in said(moved)
    assert "user:eve" in said(moved)
    assert await revision_of(service) == before
    done = await root.post("/policies/new", {**hidden_in(moved.text), "step": "keep"})
    assert done.headers["location"] == "/policies/for-newcomers?done=written"


async def test_what_somebody_saw_counts_for_them_alone_and_for_that_change_alone(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    form = {**FORM, "id": "sealed", "actions": ["discover"], "step": "look"}
    seen = await people["root"].post("/policies/new", form)
    seal, before = hidden_in(seen.text)["seal"], await revision_of(service)
    replayed = {**hidden_in(seen.text), "step": "keep"}
    for visitor, change in (("sam", {}), ("root", {"id": "another"}), ("root", {"reason": "another"})):
        answer = await people[visitor].post("/policies/new", {**replayed, **change})
        assert "See what this policy would do" in said(answer)
    ended = await people["root"].post("/policies/analysts-read-targets/end", {"seal": seal})
    assert "Something else was changed since you looked" in said(ended)
    taken = await people["root"].post("/policies/grants/ann-loads-leads/end", {"seal": seal})
    assert "Something else was changed since you looked" in said(taken)
    assert await revision_of(service) == before


async def test_a_form_changes_what_its_address_names_and_nothing_that_it_slips_in(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root = people["root"]
    await service.root.make("/v1/policies/plain", {"scope": "sales", "cedar": READERS, "reason": "plain"})
    slipped = {"id": "hr-is-shut", "kind": "mask", "obligation": "columns: [x]", "cedar": "", "owner": "user:eve"}
    fields = {**slipped, "view": "sentence", "scope": "sales", "version": "1", "sentence": SENTENCE, "reason": "more"}
    answer = await kept(root, "/policies/plain/edit", fields)
    assert answer.headers["location"] == "/policies/plain?done=changed"
    stands = await service.root.read("/v1/policies/plain")
    assert [stands[each] for each in ("sentence", "kind", "obligation", "version")] == [SENTENCE, "access", None, 2]
    await service.root.make("/v1/grants/eve-knows", grant("user:eve", ["discover"], on={"dataset": "sales.targets"}))
    typed = {"view": "cedar", "id": "ann-loads-leads", "version": "1", "because": "changed", "to": "ann"}
    cedar = (await service.root.read("/v1/grants/eve-knows"))["cedar"]
    answer = await kept(root, "/policies/grants/eve-knows/edit", {**typed, "cedar": cedar})
    assert answer.headers["location"] == "/policies/grants/eve-knows?done=changed"
    assert (await service.root.read("/v1/grants/eve-knows"))["to"] == "user:eve"


async def test_two_stewards_cannot_overwrite_each_other(service: Running, people: Mapping[str, Visitor]) -> None:
    root = people["root"]
    fields = {"view": "cedar", "scope": "sales", "kind": "access", "cedar": READERS, "version": "1", "reason": "again"}
    looked = await root.post("/policies/analysts-read-targets/edit", {**fields, "step": "look"})
    answer = await service.root.put(
        "/v1/policies/analysts-read-targets", {"scope": "sales", "cedar": READERS, "reason": "the other’s"}, after=1
    )
    assert answer.status_code == 200
    refused = await root.post("/policies/analysts-read-targets/edit", {**hidden_in(looked.text), "step": "keep"})
    assert refused.status_code == 412
    assert "version 2" in said(refused)
    assert value_in(refused.text, "reason") == "again"


async def test_faults_of_cedar_are_told_with_line_and_column(people: Mapping[str, Visitor]) -> None:
    cedar = 'permit (principal, action == Action::"load", resource)\nwhen { resource.colour == "red" };'
    fields = {"view": "cedar", "id": "odd", "scope": "sales", "kind": "access", "cedar": cedar, "version": "0"}
    answer = await people["root"].post("/policies/new", {**fields, "step": "look"})
    assert answer.status_code == 422
    assert "Line 2, column 17:" in said(answer)
    assert '<a href="#cedar"><bdi>' in answer.text
    typing = await people["root"].post("/policies/read", fields)
    assert "Line 2, column 17:" in typing.text
    assert "<html" not in typing.text
    sound = await people["root"].post("/policies/read", {**fields, "cedar": READERS})
    assert "Members of analysts may load sales.targets." in sound.text


async def test_every_field_that_cannot_be_read_is_told_and_nothing_is_lost(people: Mapping[str, Visitor]) -> None:
    wrong = {
        "review_by": "soon",
        "attributes": "clearance > 3",
        "sensitivity_at_least": "much",
        "cases": "- a",
        "id": "A b",
    }
    answer = await people["root"].post("/policies/new", {**FORM, **wrong, "step": "look"})
    assert answer.status_code == 422
    for field, typed in wrong.items():
        assert f'<a href="#{field}"><bdi>' in answer.text, field
        assert value_in(answer.text, field) == typed


async def test_a_change_that_contradicts_an_example_is_refused_with_the_example(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    cases = (
        "cases:\n- {subject: 'user:ann', groups: [analysts], action: save, dataset: sales.targets, allowed: false}\n"
    )
    answer = await kept(people["root"], "/policies/new", {**FORM, "id": "with-example", "cases": cases})
    assert answer.status_code == 303, said(answer)
    page = said(await people["root"].get("/policies/with-example"))
    assert "user:ann may not save sales.targets holds" in page
    breaking = {**FORM, "id": "breaking", "actions": ["save"], "environments": ""}
    refused = await people["root"].post("/policies/new", {**breaking, "step": "look"})
    assert refused.status_code == 409
    assert "user:ann may not save sales.targets" in said(refused)
    assert "(of the policy with-example )" in said(refused)


async def test_lint_is_told_before_a_rule_is_kept(people: Mapping[str, Visitor]) -> None:
    looked = await people["root"].post(
        "/policies/new", {**FORM, "id": "no-one", "principals": "group:analists", "step": "look"}
    )
    assert "No known subject is in group:analists" in said(looked)
    assert "Nobody gains or loses anything by it now." in said(looked)


async def test_a_policy_is_ended_with_its_consequences_in_view(service: Running, people: Mapping[str, Visitor]) -> None:
    answer = await kept(people["root"], "/policies/new", {**FORM, "id": "short-lived", "names": "sales.emea.leads"})
    assert answer.status_code == 303, said(answer)
    assert "sales.emea.leads" in await service.ann.catalog()
    page = await people["root"].read("/policies/short-lived/end")
    unsealed = await people["root"].post("/policies/short-lived/end", {})
    assert unsealed.status_code == 200
    answer = await people["root"].post("/policies/short-lived/end", hidden_in(page))
    assert answer.headers["location"] == "/policies?done=ended"
    assert (await people["root"].get("/policies/short-lived")).status_code == 404


async def test_history_shows_who_changed_what_and_hides_what_is_hidden_today(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root = service.root
    first = READERS.replace("sales.targets", "hr.salaries")
    await root.make("/v1/policies/moved", {"scope": "sales", "cedar": first})
    answer = await root.put("/v1/policies/moved", {"scope": "sales", "cedar": READERS, "reason": "was wrong"}, after=1)
    assert answer.status_code == 200
    whole = said(await people["root"].get("/policies/moved/history"))
    assert "hr.salaries" in whole
    assert "was wrong" in whole
    cut = await people["sam"].get("/policies/moved/history")
    assert "salaries" not in cut.text
    assert "speaks of something that you may not know of" in said(cut)


async def test_whoever_may_write_no_rules_is_told_so(people: Mapping[str, Visitor]) -> None:
    for path in ("/policies/new", "/policies/grants/new"):
        answer = await people["ann"].get(path)
        assert answer.status_code == 403
        assert "You may write rules in no domain" in said(answer)
    assert (await people["ann"].post("/policies/new", {**FORM, "id": "mine", "step": "look"})).status_code == 403


async def test_names_are_offered_that_one_may_know_of(people: Mapping[str, Visitor]) -> None:
    offered = (await people["sam"].get("/policies/names?on=a")).text
    assert "sales.orders" in offered
    assert "hr.salaries" not in offered


# --- local groups ---------------------------------------------------------------------------------


async def test_a_group_is_made_and_ended_with_its_consequences_in_view(
    service: Running, people: Mapping[str, Visitor]
) -> None:
    root = people["root"]
    await service.root.make("/v1/grants/guests-load", grant("group:visitors", ["load"], on={"dataset": "sales.orders"}))
    fields = {"name": "visitors", "members": "user:eve", "parents": "", "description": "Who visits us.", "version": "0"}
    looked = await root.post("/policies/groups/new", {**fields, "step": "look"})
    assert "visitors: user:eve." in said(looked)
    assert "user:eve discover, load sales.orders" in said(looked)
    answer = await root.post("/policies/groups/new", {**hidden_in(looked.text), "step": "keep"})
    assert answer.headers["location"] == "/policies/groups?done=kept"
    assert "sales.orders" in await service.eve.catalog()
    assert "visitors" in said(await people["sam"].get("/policies/groups"))
    wrong = await root.post("/policies/groups/edit?name=visitors", {**fields, "version": "1", "members": "eve"})
    assert wrong.status_code == 422
    page = await root.read("/policies/groups/end?name=visitors")
    assert "would lose" in page
    answer = await root.post("/policies/groups/end?name=visitors", hidden_in(page))
    assert answer.headers["location"] == "/policies/groups?done=ended"
    assert "sales.orders" not in await service.eve.catalog()
