"""Other systems ask in the words of OpenID AuthZEN 1.0: what the standard says, and what Muniment promises beside it.

The standard's own examples are asked here with Muniment's subjects, resources and actions: shapes, defaults,
semantics, paging, errors. Seen to fail with an unknown field refused, and with a token good for another search.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import httpx
import pytest

from tests.api.running import Caller, Running, dataset, grant, refusal

pytestmark = pytest.mark.anyio

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SUBJECTS = "/access/v1/search/subject"
RESOURCES = "/access/v1/search/resource"
ACTIONS = "/access/v1/search/action"

ANN = {"type": "user", "id": "ann"}
NIGHTLY = {"type": "service", "id": "nightly"}
LOAD = {"name": "load"}
SAVE = {"name": "save"}
DEV = {"environment": "dev"}
ORDERS = {"type": "dataset", "id": "sales.orders"}
TARGETS = {"type": "dataset", "id": "sales.targets"}
SALARIES = {"type": "dataset", "id": "hr.salaries"}
UNUSED = {"type": "dataset", "id": "hr.nothing_at_all"}

#: What Ann may do, and a request of every kind about it.
QUESTION = {"subject": ANN, "action": LOAD, "resource": ORDERS, "context": DEV}
ASKED: dict[str, dict[str, Any]] = {
    EVALUATION: QUESTION,
    EVALUATIONS: {**QUESTION, "evaluations": [{}, {"action": SAVE}]},
    SUBJECTS: {**QUESTION, "subject": {"type": "user"}},
    RESOURCES: {**QUESTION, "resource": {"type": "dataset"}},
    ACTIONS: {"subject": ANN, "resource": ORDERS, "context": DEV},
}


@pytest.fixture(scope="module", autouse=True)
async def _known(service: Running) -> None:
    """Ann, Eve and the job have asked something before, so they are known."""
    for caller in (service.ann, service.eve, service.nightly, service.sam):
        await caller.read("/v1/whoami")


async def ask(caller: Caller, address: str, body: object) -> dict[str, Any]:
    """The answer, which must be one."""
    answer = await caller.post(address, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    return told


async def decided(caller: Caller, **question: object) -> bool:
    """The decision on Ann loading the orders in dev, but for what is asked otherwise."""
    decision: bool = (await ask(caller, EVALUATION, {**QUESTION, **question}))["decision"]
    return decision


def ids(told: dict[str, Any]) -> list[str]:
    return [result.get("id", result.get("name")) for result in told["results"]]


# --- one evaluation -------------------------------------------------------------------------------------------------


async def test_a_permitted_deed_is_a_decision_that_says_why(service: Running) -> None:
    told = await ask(service.ann, EVALUATION, QUESTION)
    assert told["decision"] is True
    assert told["context"]["policies"] == ["grant:analysts-load-orders"]
    assert "permitted by grant:analysts-load-orders" in told["context"]["reason"]


async def test_a_denied_deed_is_a_decision_with_200(service: Running) -> None:
    told = await ask(service.ann, EVALUATION, {**QUESTION, "action": SAVE})
    assert told["decision"] is False
    assert "no policy permits it" in told["context"]["reason"]


async def test_what_explain_allows_is_true_and_nothing_else(service: Running) -> None:
    for resource in ("sales.orders", "sales.targets", "sales.emea.leads", "hr.salaries", "sales.nordic_orders"):
        for action in ("discover", "load", "save"):
            for caller, who in ((service.ann, ANN), (service.nightly, NIGHTLY), (service.sam, {**ANN, "id": "sam"})):
                explained = await caller.get(f"/v1/explain?action={action}&dataset={resource}&environment=dev")
                allowed = explained.json().get("allowed", False)
                question = {"subject": who, "action": {"name": action}, "resource": {**ORDERS, "id": resource}}
                assert await decided(caller, **question) is allowed, (resource, action, who)


async def test_an_unknown_field_is_passed_over_and_a_property_gives_nothing(service: Running) -> None:
    pretended = {**ANN, "properties": {"groups": ["platform", "stewards"], "clearance": 9}, "futureField": {"a": 1}}
    dressed = {**ORDERS, "properties": {"tags": [], "owner": "analysts"}}
    told = await ask(
        service.ann,
        EVALUATION,
        {
            "subject": pretended,
            "action": {**SAVE, "properties": {"method": "GET"}},
            "resource": dressed,
            "context": {**DEV, "time": "1985-10-26T01:22-07:00", "ip": "192.0.2.1"},
            "foo": "bar",
        },
    )
    assert told["decision"] is False
    assert await decided(service.ann, subject=pretended, resource=dressed)


async def test_project_and_purpose_come_with_the_context(company: Running) -> None:
    cedar = (
        'permit (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.targets") '
        'when { context has purpose && context.purpose == "audit" && context has project && context.project == "p" };'
    )
    await company.root.make("/v1/policies/for-a-purpose", {"cedar": cedar, "scope": "sales"})
    context = {**DEV, "purpose": "audit", "project": "p"}

    assert await decided(company.ann, resource=TARGETS, context=context)
    assert not await decided(company.ann, resource=TARGETS, context={**context, "purpose": "curiosity"})
    assert not await decided(company.ann, resource=TARGETS)


async def test_a_governing_action_needs_no_environment(service: Running) -> None:
    sam = {"type": "user", "id": "sam"}
    sales = {"type": "domain", "id": "sales"}
    for action, allowed in (("declare", True), ("grant", True), ("approve", False), ("administer", False)):
        question = {"subject": sam, "action": {"name": action}, "resource": sales}
        assert (await ask(service.sam, EVALUATION, question))["decision"] is allowed, action
    on_dataset = {"subject": sam, "action": {"name": "grant"}, "resource": ORDERS}
    assert (await ask(service.sam, EVALUATION, on_dataset))["decision"] is True
    root = {"subject": {"type": "user", "id": "root"}, "action": {"name": "administer"}, "resource": sales}
    assert (await ask(service.root, EVALUATION, root))["decision"] is True


@pytest.mark.parametrize(
    "other",
    [
        {"action": {"name": "can_read"}},
        {"action": {"name": "administer"}},
        {"resource": {"type": "document", "id": "1"}},
        {"resource": {"type": "domain", "id": "sales"}},
        {"resource": {"type": "dataset", "id": "../../etc/passwd"}},
        {"resource": {"type": "dataset", "id": ""}},
        {"subject": {"type": "group", "id": "analysts"}},
        {"subject": {"type": "user", "id": " "}},
    ],
    ids=str,
)
async def test_what_has_no_such_name_here_is_not_permitted(service: Running, other: dict[str, object]) -> None:
    assert await ask(service.audrey, EVALUATION, {**QUESTION, **other}) == {"decision": False}


# --- whom one may ask about -----------------------------------------------------------------------------------------


async def test_who_audits_or_grants_there_asks_about_others_by_their_newest_state(service: Running) -> None:
    for caller in (service.audrey, service.sam):
        assert await decided(caller)
        assert not await decided(caller, action=SAVE)
        assert await decided(caller, subject=NIGHTLY, action=SAVE, resource=TARGETS)


async def test_whoever_asks_about_others_without_a_right_there_is_refused_whatever_is_there(service: Running) -> None:
    asked = [
        await service.eve.post(EVALUATION, {**QUESTION, "resource": {"type": "dataset", "id": f"hr.{leaf}"}})
        for leaf in ("salaries", "nothing_at_all")
    ]
    standing, unused = (refusal(answer, 403) for answer in asked)
    assert standing == unused
    refusal(await service.eve.post(EVALUATION, QUESTION), 403)


async def test_a_subject_that_nobody_knows_is_not_permitted(service: Running) -> None:
    everybody = {"type": "user", "id": "whoever"}
    assert await ask(service.audrey, EVALUATION, {**QUESTION, "subject": everybody}) == {"decision": False}


async def test_a_hidden_dataset_is_answered_as_a_name_never_used(service: Running) -> None:
    """Seen to fail with the reason of the denial given for whatever the name resolves to."""
    for resource in (SALARIES, UNUSED):
        for action in ("discover", "load", "save", "grant", "audit"):
            question = {**QUESTION, "action": {"name": action}, "resource": resource}
            assert await ask(service.ann, EVALUATION, question) == {"decision": False}


async def test_who_only_grants_there_learns_nothing_of_what_they_may_not_know_of(company: Running) -> None:
    await company.root.make("/v1/grants/gil-grants-in-hr", grant("user:gil", ["grant"], on={"domain": "hr"}))
    gil = company.somebody("eve", sub="gil")
    hugo = {"subject": {"type": "user", "id": "hugo"}, "action": {"name": "discover"}}
    for resource in (SALARIES, UNUSED):
        assert await ask(gil, EVALUATION, {**QUESTION, **hugo, "resource": resource}) == {"decision": False}
        found = await ask(gil, SUBJECTS, {**QUESTION, "subject": {"type": "user"}, "resource": resource})
        assert found["results"] == []
        assert ids(await ask(gil, ACTIONS, {**hugo, "resource": resource, "context": DEV})) == []
    assert ids(await ask(gil, RESOURCES, {**QUESTION, **hugo, "resource": {"type": "dataset"}})) == []
    assert await decided(company.audrey, **hugo, resource=SALARIES)


# --- many evaluations -----------------------------------------------------------------------------------------------


async def test_without_evaluations_it_is_one_evaluation(service: Running) -> None:
    single = await ask(service.ann, EVALUATION, QUESTION)
    assert await ask(service.ann, EVALUATIONS, QUESTION) == single
    assert await ask(service.ann, EVALUATIONS, {**QUESTION, "evaluations": []}) == single


async def test_evaluations_are_answered_in_their_order(service: Running) -> None:
    told = await ask(
        service.audrey,
        EVALUATIONS,
        {
            "evaluations": [
                QUESTION,
                {**QUESTION, "action": SAVE},
                {"subject": NIGHTLY, "action": SAVE, "resource": TARGETS, "context": {"environment": "prod"}},
            ]
        },
    )
    assert [each["decision"] for each in told["evaluations"]] == [True, False, True]
    assert told.keys() == {"evaluations"}


async def test_what_an_evaluation_does_not_say_the_whole_says(service: Running) -> None:
    """A key that it says replaces the default as a whole."""
    told = await ask(
        service.audrey,
        EVALUATIONS,
        {
            "subject": {"type": "user", "id": "eve"},
            "action": LOAD,
            "resource": ORDERS,
            "context": DEV,
            "evaluations": [
                {},
                {"subject": ANN},
                {"subject": NIGHTLY, "resource": TARGETS},
                {"subject": {"id": "ann"}},
            ],
        },
    )
    assert [each["decision"] for each in told["evaluations"]] == [False, True, True, False]
    assert told["evaluations"][3]["context"]["error"]["status"] == 400


@pytest.mark.parametrize(
    ("semantic", "decisions"),
    [
        (None, [True, False, True, False]),
        ("execute_all", [True, False, True, False]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_a_semantic_says_how_far_evaluations_go(
    service: Running, semantic: str | None, decisions: list[bool]
) -> None:
    options = {"options": {"evaluations_semantic": semantic, "another_option": "value"}} if semantic else {}
    answer = await service.audrey.post(
        EVALUATIONS,
        {
            **QUESTION,
            **options,
            "evaluations": [{}, {"action": SAVE}, {"action": {"name": "discover"}}, {"action": SAVE}],
        },
    )
    assert [each["decision"] for each in answer.json()["evaluations"]] == decisions
    (row,) = (await service.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]
    assert [each["allowed"] for each in row["details"]["evaluations"]] == decisions


async def test_a_denial_before_the_first_permit_does_not_end_it(service: Running) -> None:
    options = {"options": {"evaluations_semantic": "permit_on_first_permit"}}
    body = {**QUESTION, **options, "evaluations": [{"action": SAVE}, {}, {"action": SAVE}]}
    assert [e["decision"] for e in (await ask(service.ann, EVALUATIONS, body))["evaluations"]] == [False, True]


async def test_what_is_wrong_with_one_evaluation_is_its_answer(service: Running) -> None:
    told = await ask(
        service.ann,
        EVALUATIONS,
        {
            "subject": ANN,
            "action": LOAD,
            "context": DEV,
            "evaluations": [
                {"resource": ORDERS},
                {},
                {"resource": ORDERS, "context": {}},
                {"resource": ORDERS, "context": {"environment": "prd"}},
                {"resource": ORDERS, "subject": NIGHTLY},
                {"resource": "sales.orders"},
            ],
        },
    )
    answers = told["evaluations"]
    assert [each["decision"] for each in answers] == [True, False, False, False, False, False]
    assert [each["context"]["error"]["status"] for each in answers[1:]] == [400, 400, 400, 403, 400]
    assert "resource" in answers[1]["context"]["error"]["message"]
    assert "dev, prod" in answers[2]["context"]["error"]["message"]


async def test_a_failure_is_a_denial_to_a_semantic(service: Running) -> None:
    options = {"options": {"evaluations_semantic": "deny_on_first_deny"}}
    body = {**QUESTION, **options, "evaluations": [{"context": {}}, {}]}
    assert len((await ask(service.ann, EVALUATIONS, body))["evaluations"]) == 1


async def test_more_evaluations_than_are_carried_out_are_refused(service: Running) -> None:
    refusal(await service.ann.post(EVALUATIONS, {**QUESTION, "evaluations": [{}] * 1_001}), 400)
    told = await ask(service.ann, EVALUATIONS, {**QUESTION, "evaluations": [{}] * 1_000})
    assert len(told["evaluations"]) == 1_000


# --- searches -------------------------------------------------------------------------------------------------------


async def test_subjects_of_a_type_that_may_are_found(service: Running) -> None:
    body = ASKED[SUBJECTS]
    told = await ask(service.audrey, SUBJECTS, body)
    assert told["results"] == [ANN]
    assert told["page"] == {"next_token": "", "count": 1}
    assert (await ask(service.audrey, SUBJECTS, {**body, "subject": {**ANN, "id": "eve"}}))["results"] == [ANN]
    services = {**body, "subject": {"type": "service"}, "resource": TARGETS}
    assert (await ask(service.sam, SUBJECTS, services))["results"] == [NIGHTLY]


async def test_subjects_who_govern_a_domain_are_found(service: Running) -> None:
    body = {"subject": {"type": "user"}, "action": {"name": "grant"}, "resource": {"type": "domain", "id": "sales"}}
    found = ids(await ask(service.audrey, SUBJECTS, body))
    assert {"sam", "root"} <= set(found)
    assert "ann" not in found


async def test_resources_that_a_subject_may_use_are_found(service: Running) -> None:
    own = await ask(service.ann, RESOURCES, ASKED[RESOURCES])
    assert own["results"] == [ORDERS]
    assert await ask(service.audrey, RESOURCES, ASKED[RESOURCES]) == own
    named = {**ASKED[RESOURCES], "resource": {**TARGETS, "id": "ignored"}}
    assert await ask(service.ann, RESOURCES, named) == own
    saved = {"subject": NIGHTLY, "action": SAVE, "resource": {"type": "dataset"}, "context": DEV}
    assert ids(await ask(service.sam, RESOURCES, saved)) == ["sales.targets"]


async def test_resources_that_a_subject_governs_are_found(service: Running) -> None:
    sam = {"subject": {"type": "user", "id": "sam"}, "action": {"name": "grant"}}
    assert ids(await ask(service.sam, RESOURCES, {**sam, "resource": {"type": "domain"}})) == ["sales", "sales.emea"]
    found = ids(await ask(service.sam, RESOURCES, {**sam, "resource": {"type": "dataset"}}))
    assert {"sales.orders", "sales.targets", "sales.{region}_orders", "sales.emea.leads"} <= set(found)
    assert not [name for name in found if name.startswith("hr.")]
    assert ids(await ask(service.audrey, RESOURCES, {**sam, "resource": {"type": "dataset"}})) == found


async def test_actions_that_a_subject_may_do_are_found(service: Running) -> None:
    told = await ask(service.ann, ACTIONS, ASKED[ACTIONS])
    assert told["results"] == [{"name": "discover"}, {"name": "load"}]
    on_domain = {"subject": {"type": "user", "id": "sam"}, "resource": {"type": "domain", "id": "sales"}}
    assert ids(await ask(service.sam, ACTIONS, on_domain)) == ["classify", "declare", "grant"]


async def test_what_is_found_is_permitted_when_it_is_evaluated_and_nothing_else_is(service: Running) -> None:
    found = set(ids(await ask(service.audrey, RESOURCES, {**ASKED[RESOURCES], "action": {"name": "discover"}})))
    for name in ("sales.orders", "sales.targets", "sales.{region}_orders", "sales.emea.leads", "hr.salaries"):
        question = {"action": {"name": "discover"}, "resource": {"type": "dataset", "id": name}}
        assert await decided(service.audrey, **question) is (name in found), name


async def test_a_search_for_what_has_no_such_name_here_finds_nothing(service: Running) -> None:
    for address, other in (
        (SUBJECTS, {"subject": {"type": "spaceship"}}),
        (SUBJECTS, {"action": {"name": "can_read"}}),
        (SUBJECTS, {"resource": {"type": "document", "id": "1"}}),
        (SUBJECTS, {"resource": {"type": "dataset", "id": "sales.nothing_at_all"}}),
        (RESOURCES, {"resource": {"type": "document"}}),
        (RESOURCES, {"action": {"name": "can_read"}}),
        (RESOURCES, {"subject": {"type": "user", "id": "nonexistent-user"}}),
        (RESOURCES, {"subject": {"type": "spaceship", "id": "x"}}),
        (ACTIONS, {"subject": {"type": "user", "id": "nonexistent-user"}}),
        (ACTIONS, {"subject": {"type": "spaceship", "id": "x"}}),
        (ACTIONS, {"resource": {"type": "document", "id": "1"}}),
    ):
        told = await ask(service.audrey, address, {**ASKED[address], **other})
        assert told == {"page": {"next_token": "", "count": 0}, "results": []}, (address, other)


async def test_a_search_about_others_is_for_those_who_may_ask_about_them(service: Running) -> None:
    for address in (SUBJECTS, RESOURCES, ACTIONS):
        refusal(await service.eve.post(address, ASKED[address]), 403)


async def test_a_search_for_others_finds_only_where_the_asker_may_ask(service: Running) -> None:
    """Seen to fail with every dataset that the subject may discover given to whoever may ask somewhere."""
    hugo = {"subject": {"type": "user", "id": "hugo"}, "action": {"name": "discover"}}
    await service.hugo.read("/v1/whoami")
    body = {**hugo, "resource": {"type": "dataset"}, "context": DEV}

    assert "hr.salaries" in ids(await ask(service.audrey, RESOURCES, body))
    assert ids(await ask(service.sam, RESOURCES, body)) == []


async def test_a_page_follows_the_other(service: Running) -> None:
    body = {**ASKED[RESOURCES], "subject": {"type": "user", "id": "sam"}, "action": {"name": "discover"}}
    whole = ids(await ask(service.sam, RESOURCES, body))
    assert len(whole) >= 4
    for limit in (1, 2, 3, len(whole), 5_000):
        found, token = [], None
        while token != "":
            page = {"page": {"limit": limit} if token is None else {"token": token}}
            told = await ask(service.sam, RESOURCES, {**body, **page})
            assert told["page"]["count"] == len(told["results"]) <= limit
            found += ids(told)
            token = told["page"]["next_token"]
        assert found == whole
    nothing = await ask(service.sam, RESOURCES, {**body, "page": {"limit": 0}})
    assert nothing["results"] == []
    assert nothing["page"]["next_token"]


async def test_a_pages_token_is_good_for_its_own_search_alone(service: Running) -> None:
    body = {**ASKED[RESOURCES], "subject": {"type": "user", "id": "sam"}, "action": {"name": "discover"}}
    told = await ask(service.sam, RESOURCES, {**body, "page": {"limit": 1}})
    page = {"token": told["page"]["next_token"]}

    assert (await service.sam.post(RESOURCES, {**body, "page": {**page, "limit": 1}})).status_code == 200
    for other in (
        {"action": {"name": "load"}},
        {"context": {"environment": "prod"}},
        {"resource": {"type": "domain"}},
        {"page": {**page, "limit": 2}},
        {"page": {**page, "properties": {"sort": "asc"}}},
        {"page": {"token": "bm9uc2Vuc2U="}},
        {"page": {"token": "WyJhIiwxMDAwMDAsIiJd"}},
        {"page": {"token": "ümläut"}},
    ):
        problem = refusal(await service.sam.post(RESOURCES, {**body, "page": page, **other}), 400)
        assert problem["errors"][0]["at"] == "page.token"


# --- errors and headers ---------------------------------------------------------------------------------------------


def lacking() -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests that lack something, or have it of another type."""
    for address in (EVALUATION, SUBJECTS, RESOURCES, ACTIONS):
        asked = ASKED[address]
        needed = [name for name in asked if name != "context"]
        for length in range(len(needed)):
            for names in combinations(needed, length):
                yield address, {name: asked[name] for name in names}
        for name in needed:
            yield address, {**asked, name: "alice"}
            yield address, {**asked, name: dict.fromkeys(asked[name], 123)}
            for key in asked[name]:
                yield address, {**asked, name: {k: v for k, v in asked[name].items() if k != key}}
        yield address, {**asked, "context": "dev"}
        yield address, {**asked, "context": {"environment": 7}}
        yield address, {**asked, "context": {"environment": "prd"}}
        yield address, {**asked, "context": {}}
    yield EVALUATION, {**QUESTION, "resource": {**ORDERS, "id": "sales." + "x" * 300}}
    for limit in (-1, "2", 1.5):
        yield SUBJECTS, {**ASKED[SUBJECTS], "page": {"limit": limit}}
    yield EVALUATIONS, {"evaluations": {}}
    yield EVALUATIONS, {"evaluations": ["x"]}
    yield EVALUATIONS, {**QUESTION, "subject": "alice", "evaluations": [{}]}
    yield EVALUATIONS, {**QUESTION, "evaluations": [{}], "options": {"evaluations_semantic": "some"}}
    yield EVALUATIONS, {"subject": ANN, "action": LOAD}
    yield EVALUATIONS, {}


async def test_a_request_that_lacks_something_is_a_bad_request(service: Running) -> None:
    for address, body in lacking():
        problem = refusal(await service.audrey.post(address, body), 400)
        assert problem["type"] == "/problems/bad-request", body


@pytest.mark.parametrize("content", [b"", b"{not json", b"[]", b"null", b'"text"'])
async def test_a_body_that_is_no_object_is_a_bad_request(service: Running, content: bytes) -> None:
    for address in ASKED:
        headers = {"Content-Type": "application/json"}
        refusal(await service.ann.send("POST", address, content=content, headers=headers), 400)


@pytest.mark.parametrize("media", ["text/plain", "application/yaml", "application/x-www-form-urlencoded", ""])
async def test_what_does_not_say_that_it_is_json_is_a_bad_request(service: Running, media: str) -> None:
    content = httpx.Request("POST", "http://x", json=QUESTION).content
    refusal(await service.ann.send("POST", EVALUATION, content=content, headers={"Content-Type": media}), 400)
    said = {"Content-Type": "application/json; charset=utf-8"}
    assert (await service.ann.send("POST", EVALUATION, content=content, headers=said)).status_code == 200


async def test_whoever_is_not_signed_in_is_told_how(service: Running) -> None:
    for address, body in ASKED.items():
        for said in (body, {}):
            answer = await service.nobody.send("POST", address, json=said)
            refusal(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_callers_request_id_comes_back_with_every_answer(service: Running) -> None:
    theirs = {"X-Request-ID": "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}
    answered = [
        await service.ann.send("POST", EVALUATION, json=QUESTION, headers=theirs),
        await service.ann.send("POST", EVALUATION, json={}, headers=theirs),
        await service.ann.send("POST", EVALUATION, content=b"{", headers=theirs),
        await service.eve.send("POST", EVALUATION, json=QUESTION, headers=theirs),
        await service.nobody.send("POST", EVALUATION, json=QUESTION, headers=theirs),
    ]
    assert [answer.status_code for answer in answered] == [200, 400, 400, 403, 401]
    for answer in answered:
        assert answer.headers["x-request-id"] == theirs["X-Request-ID"]
        assert answer.headers["muniment-request-id"]
    assert "x-request-id" not in (await service.ann.post(EVALUATION, QUESTION)).headers


async def test_the_same_question_is_answered_alike_again_and_again(service: Running) -> None:
    for address, body in ASKED.items():
        caller = service.audrey
        answers = [await ask(caller, address, body) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]


async def test_the_configuration_names_every_address(service: Running) -> None:
    answer = await service.nobody.get("/.well-known/authzen-configuration")
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    base = told.pop("policy_decision_point")
    assert base == service.app.state.public_url
    assert told == {
        "access_evaluation_endpoint": base + EVALUATION,
        "access_evaluations_endpoint": base + EVALUATIONS,
        "search_subject_endpoint": base + SUBJECTS,
        "search_resource_endpoint": base + RESOURCES,
        "search_action_endpoint": base + ACTIONS,
    }


# --- the record -----------------------------------------------------------------------------------------------------


async def test_every_request_is_one_row(service: Running) -> None:
    for address, body in ASKED.items():
        answer = await service.audrey.post(address, body)
        (row,) = (await service.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]
        searching = "/search/" in address
        assert row["event"] == ("access.searched" if searching else "access.evaluated")
        assert row["subject"] == "user:audrey"
        assert row["environment"] == "dev"
        assert row["revision"] == int(answer.headers["muniment-revision"])
        assert row["datasets"] == ([] if address == RESOURCES else ["sales.orders"])
        assert row["evaluator"]


async def test_a_row_says_of_whom_it_was_asked_and_what_was_answered(service: Running) -> None:
    answer = await service.audrey.post(EVALUATION, {**QUESTION, "action": SAVE})
    (row,) = (await service.audrey.read(f"/v1/ledger?receipt={answer.headers['muniment-receipt']}"))["items"]
    assert row["outcome"] == "denied"
    assert row["details"]["evaluations"] == [
        {
            "about": "user:ann",
            "action": "save",
            "thing": "dataset",
            "name": "sales.orders",
            "environment": "dev",
            "allowed": False,
        }
    ]


async def test_a_refusal_is_recorded_too(service: Running) -> None:
    await service.eve.post(EVALUATION, QUESTION)
    (row,) = (await service.eve.read("/v1/ledger?subject=user:eve&event=access.denied&limit=1"))["items"]
    assert row["datasets"] == ["sales.orders"]


async def test_a_dataset_that_is_retired_is_used_by_nobody(company: Running) -> None:
    retired = dataset("s3://lake/sales/orders.csv", description="Every order.", lifecycle="retired")
    assert await decided(company.ann)
    assert (await company.sam.put("/v1/datasets/sales.orders", retired, after=1)).status_code == 200

    told = await ask(company.ann, EVALUATION, QUESTION)

    assert told["decision"] is False
    assert told["context"]["reason"] == "it is retired"
    assert ids(await ask(company.ann, RESOURCES, ASKED[RESOURCES])) == []
    assert ids(await ask(company.ann, ACTIONS, ASKED[ACTIONS])) == ["discover"]


async def test_whom_a_mask_binds_is_told_so_and_loads_nothing(company: Running) -> None:
    cedar = 'permit (principal in Group::"analysts", action == Action::"load", resource == Dataset::"sales.orders");'
    mask = {"kind": "mask", "cedar": cedar, "obligation": {"columns": ["email"], "action": "replace-with-null"}}
    await company.sam.make("/v1/policies/no-emails", {**mask, "scope": "sales"})

    told = await ask(company.ann, EVALUATION, QUESTION)

    assert told["decision"] is False
    assert told["context"]["policies"] == ["no-emails"]
    (column,) = told["context"]["obligations"]["required-column-projections"]
    assert column["action"] == "replace-with-null"
    assert ids(await ask(company.ann, RESOURCES, ASKED[RESOURCES])) == []
    assert ids(await ask(company.ann, ACTIONS, ASKED[ACTIONS])) == ["discover"]
    assert ids(await ask(company.audrey, SUBJECTS, ASKED[SUBJECTS])) == []
