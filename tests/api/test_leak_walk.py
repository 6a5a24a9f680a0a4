"""The walk: every address of the service, as everybody, with the hidden things there and without them.

Two services are alike, but that in one of them there are things that nobody who walks may know of,
and in the other they never were. Every answer must be the same, byte for byte, headers too. Not
compared is what :func:`comparable` takes out (rules.md, 7): the identifiers of requests, receipts,
the global revision, and the moments at which things happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event

from demo.issuer import RunningIssuer
from muniment.api.identifiers import new_id
from muniment.core.rules import Rule
from muniment.flows.send_notices import go_round
from tests.api.running import (
    STEWARDING,
    Caller,
    Running,
    dataset,
    found_company,
    grant,
    revision_of,
    running,
    signed_alike,
)
from tests.api.walking import (
    ABOUT,
    ALWAYS,
    BESIDE,
    HIDDEN,
    HIDDEN_DOMAINS,
    HIDDEN_PERSON,
    HIDDEN_SERVICE,
    HIDDEN_TEAM,
    ON_DATA,
    WALKED,
    Ask,
    asks_for,
)
from tests.api.walking_pages import EVERYBODYS, FOR_ANYBODY, PAGES, PAGES_ABOUT, TOLD_TO_WHO_GOVERNS, pages_of
from tests.web.letting_in import let_in, served_pages

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Walker:
    """Who walks: the groups in their token, whether they write or audit rules, and which hidden things are near them.

    All that is asked without a hidden name is asked by everybody, and of what is near by name.
    """

    near: tuple[str, ...]
    groups: tuple[str, ...] = ()
    governs: bool = False


#: Those who walk. Carl, a contractor, may load what stands in sales; nothing confidential, by a policy. He may use
#: what a pattern makes, and so can tell that ``sales.secret_orders`` is not for him (decision 0018): it is not near.
WALKERS: Mapping[str, Walker] = {
    "nobody": Walker(near=("board.minutes",)),
    "ann": Walker(near=("sales.emea.mergers", "sales.emea.plans", "sales.people"), groups=("analysts",)),
    "bob": Walker(near=("hr.orders_with_names", "hr.bonuses", "board.minutes")),
    "carl": Walker(near=("sales.emea.mergers", "sales.emea.plans", "sales.emea.closed"), groups=("contractors",)),
    "fay": Walker(near=("finance.secret.deals", "hr.orders_with_names", "hr.bonuses_of_{year}"), governs=True),
    "gil": Walker(near=("finance.secret.deals", "board.minutes"), governs=True),
    "ada": Walker(near=("finance.secret.deals", "hr.bonuses_of_2026"), governs=True),
    "abe": Walker(near=("finance.secret.deals", "sales.secret_orders"), governs=True),
    "nightly": Walker(near=("hr.bonuses_of_{year}", "hr.bonuses_of_2026", "sales.secret_orders")),
}


@dataclass(frozen=True)
class Reader:
    """Who looks at pages: which of them closely, which hidden datasets are near, the groups in their token.

    What whoever has no right at all is told of the pages for those who govern, one of them finds out for all.
    """

    closely: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    governs: bool = False
    only: tuple[str, ...] = ("/",)


#: Those who look at pages: an analyst; a stranger without any right; who may know of finance and use none of it; whose
#: only access has ended; whoever decides in another's place; a steward who writes rules; an administrator of another
#: domain; and an auditor of one domain.
READERS: Mapping[str, Reader] = {
    "ann": Reader(("/datasets", "/requests", "/projects", "/account"), ("sales.emea.mergers",), ("analysts",)),
    "una": Reader(near=("board.minutes",), only=EVERYBODYS),
    "dot": Reader(near=("finance.secret.deals",), only=EVERYBODYS),
    "pam": Reader(near=("hr.bonuses",), only=EVERYBODYS),
    "dee": Reader(("/requests",), ("sales.emea.plans",), only=EVERYBODYS),
    "fay": Reader(("/datasets", "/policies", "/reviews", "/declare"), ("hr.bonuses_of_{year}",), governs=True),
    "ada": Reader(("/declare",), ("hr.bonuses_of_2026",), governs=True),
    "abe": Reader(("/audit",), ("sales.secret_orders",), governs=True),
}


@dataclass(frozen=True)
class World:
    """A service, and what in the other one or in both is filled into a question."""

    service: Running
    walkers: Mapping[str, Caller]
    filled: Mapping[str, str]

    async def asked(self, walker: str, method: str, ask: Ask) -> httpx.Response:
        """The answer to a question, its placeholders filled in."""
        headers = dict(ask.headers)
        if headers.get("If-Match") == '"{revision}"':
            headers["If-Match"] = f'"{await revision_of(self.service)}"'
        request = {} if ask.body is None else {"json": json.loads(self.with_names(json.dumps(ask.body)))}
        return await self.walkers[walker].send(method, self.path(ask), headers=headers, **request)

    def path(self, ask: Ask) -> str:
        """The address asked."""
        return self.with_names(ask.path)

    def with_names(self, text: str) -> str:
        """A text, its placeholders filled in."""
        for name, value in self.filled.items():
            text = text.replace(f"{{{name}}}", value)
        return text


@dataclass(frozen=True)
class Pair:
    """The service in which there is something to hide, and the one in which there never was."""

    hides: World
    never: World

    async def both(self, walker: str, method: str, ask: Ask) -> tuple[httpx.Response, httpx.Response]:
        """What both answer to the same question."""
        there, elsewhere = await asyncio.gather(
            self.hides.asked(walker, method, ask), self.never.asked(walker, method, ask)
        )
        return there, elsewhere


async def furnish(service: Running) -> None:
    """What is alike in both: the company, finance with those who govern it, and a deprecated dataset."""
    await found_company(service)
    root = service.root
    finance = {"owner": "group:finance-owners", "locations": ["s3://lake/finance/"]}
    await root.make("/v1/domains/finance", finance)
    await root.make("/v1/domains/ops", {"owner": "group:ops-owners"})
    await root.make("/v1/groups/the-board", {"members": ["user:hugo"]})
    confidential = 'when { resource.tags.contains("confidential") }'
    actions = ", ".join(f'Action::"{action}"' for action in ON_DATA)
    head = f'principal in Group::"contractors", action in [{actions}], resource is Dataset'
    await root.make(
        "/v1/policies/contractors-see-nothing-confidential",
        {"cedar": f"forbid ({head}) {confidential};", "scope": "all"},
    )
    for id_, to, held, on in (
        ("analysts-load-emea", "group:analysts", ["load"], {"domain": "sales.emea"}),
        ("contractors-load-sales", "group:contractors", ["load", "discover"], {"domain": "sales"}),
        ("fay-stewards-finance", "user:fay", STEWARDING, {"domain": "finance"}),
        ("gil-grants-finance", "user:gil", ["grant", "approve", "discover"], {"domain": "finance"}),
        ("abe-audits-finance", "user:abe", ["audit"], {"domain": "finance"}),
        ("ada-administers-ops", "user:ada", ["administer", "declare"], {"domain": "ops"}),
        ("both-declare", "user:both", ["declare", "classify", "discover"], {"domain": "finance"}),
        ("both-discover-hr", "user:both", ["discover"], {"domain": "hr"}),
        ("dot-knows-finance", "user:dot", ["discover"], {"domain": "finance"}),
        ("pam-loaded-finance", "user:pam", ["load"], {"domain": "finance"}),
    ):
        await root.make(f"/v1/grants/{id_}", grant(to, held, on=on))
    both = service.somebody("eve", sub="both")
    await both.make("/v1/datasets/finance.budget", dataset("s3://lake/finance/budget.csv"))
    await both.make("/v1/datasets/finance.accounts", dataset("s3://lake/finance/accounts.csv"))
    await both.make("/v1/datasets/finance.{year}_closing", dataset("s3://lake/finance/{year}.csv"))
    for id_, to, on, environments in (
        ("bob-loads-budget", "user:bob", {"dataset": "finance.budget"}, ["dev"]),
        ("bob-loads-accounts", "user:bob", {"dataset": "finance.accounts"}, ["dev", "prod"]),
    ):
        ending = grant(to, ["load"], on=on, environments=environments, review_by="2030-01-01")
        await root.make(f"/v1/grants/{id_}", ending)


async def hide(service: Running) -> None:
    """All that nobody who walks may know of."""
    root, hugo, sam = service.root, service.hugo, service.sam
    for domain in HIDDEN_DOMAINS:
        locations = ["s3://board/"] if domain == "board" else []
        await root.make(f"/v1/domains/{domain}", {"owner": "group:the-board", "locations": locations})
    await root.make("/v1/groups/the-inner-circle", {"members": ["user:bertha"]})
    actions = ", ".join(f'Action::"{action}"' for action in ON_DATA)
    board_only = (
        f"forbid (principal, action in [{actions}], resource is Dataset) "
        'when { resource.tags.contains("board-only") } unless { principal in Group::"the-board" };'
    )
    await root.make("/v1/policies/board-only", {"cedar": board_only, "scope": "all"})
    on_secret = grant("user:hugo", STEWARDING, on={"domain": "finance.secret"}, review_by="2030-01-01")
    await root.make("/v1/grants/hugo-stewards-secret", on_secret)

    board = {"tags": ["board-only", "orders"], "description": "Every order of the board."}
    deals = dataset("s3://lake/finance/deals.csv", description="Every order of a deal.")
    await hugo.make("/v1/datasets/finance.secret.deals", deals)
    await hugo.make("/v1/datasets/hr.bonuses", dataset("s3://lake/hr/bonuses.csv", tags=["orders"]))
    await hugo.make("/v1/datasets/hr.bonuses_of_{year}", dataset("s3://lake/hr/years/{year}.csv"))
    await hugo.make("/v1/datasets/hr.orders_with_names", dataset("s3://lake/hr/orders.csv"))
    await root.make("/v1/datasets/board.minutes", dataset("s3://board/minutes.csv"))
    await sam.make("/v1/datasets/sales.emea.mergers", dataset("s3://lake/sales/m.csv", **board))
    await sam.make("/v1/datasets/sales.emea.plans", dataset("s3://lake/sales/p.csv", lifecycle="draft"))
    await sam.make("/v1/datasets/sales.emea.closed", dataset("s3://lake/sales/c.csv", lifecycle="retired", **board))
    await sam.make("/v1/datasets/sales.people", dataset("s3://lake/sales/people.csv", **board))
    await sam.make("/v1/datasets/sales.secret_orders", dataset("s3://lake/sales/secret.csv", **board))
    shut = 'forbid (principal, action, resource) unless { principal in Group::"the-board" };'
    await root.make("/v1/policies/secret-is-the-boards", {"cedar": shut, "scope": "finance.secret"})
    on_people = 'permit (principal, action == Action::"load", resource == Dataset::"sales.people");'
    hidden_mask = {"columns": ["name"], "action": "replace-with-null"}
    masking = {"kind": "mask", "scope": "sales", "cedar": on_people, "obligation": hidden_mask}
    await root.make("/v1/policies/no-names-of-people", masking)
    on_deals = (
        'permit (principal == User::"hugo", action == Action::"load", resource == Dataset::"finance.secret.deals");'
    )
    case = {"subject": "user:hugo", "action": "load", "dataset": "finance.secret.deals", "allowed": True}
    in_secret = 'forbid (principal == User::"ann", action == Action::"save", resource in Domain::"finance.secret");'
    await root.make("/v1/policies/ann-saves-nothing-secret", {"cedar": in_secret, "scope": "finance"})
    told = {"cedar": on_deals, "scope": "finance", "review_by": "2030-01-01", "cases": [case]}
    await root.make("/v1/policies/hugo-reads-deals", told)
    await root.make("/v1/grants/hugo-loads-bonuses", grant("user:hugo", ["load"], on={"dataset": "hr.bonuses"}))
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    key = {"service": f"service:{HIDDEN_SERVICE}", "use": "changes", "until": until, "because": "the board's own job"}
    assert (await root.post("/v1/keys", key)).status_code == 201
    await root.make("/v1/webhooks/board-hook", {"url": "https://board.example.org/", "active": False})
    await provision(service)
    keep = [{"kind": "dataset", "id": "hr.bonuses", "kept": {"fields": ["description"]}}]
    at = {"If-Match": f'"{await revision_of(service)}"'}
    kept = await hugo.send("POST", "/v1/apply", json={"keep": keep, "source": "hidden-files"}, headers=at)
    assert kept.status_code == 200, kept.text
    await hugo.post("/v1/preflight", {"environment": "dev", "load": ["hr.bonuses", "finance.secret.deals"]})


async def provision(service: Running) -> None:
    """Somebody, and a group with them in it, by the directory; whose access has ended since."""
    person = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": HIDDEN_PERSON}
    made = await service.root.post("/scim/v2/Users", person)
    assert made.status_code == 201, made.text
    team = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": HIDDEN_TEAM}
    made = await service.root.post("/scim/v2/Groups", {**team, "members": [{"value": made.json()["id"]}]})
    assert made.status_code == 201, made.text
    ended = await service.root.post(f"/v1/subjects/user:{HIDDEN_PERSON}/end", {"reason": "leaves"})
    assert ended.status_code == 200, ended.text


async def succeed(service: Running, name: str | None) -> None:
    """Give the accounts three versions, the first and the last with a successor that nobody who walks may know of."""
    both = service.somebody("eve", sub="both")
    accounts = dataset("s3://lake/finance/accounts.csv", description="Every account.", lifecycle="deprecated")
    for version, successor in ((1, name), (2, None), (3, name)):
        answer = await both.put("/v1/datasets/finance.accounts", {**accounts, "successor": successor}, after=version)
        assert answer.status_code == 200, answer.text


async def walkers_of(service: Running) -> Mapping[str, Caller]:
    """Those who walk, each known to the service, and what they asked before."""
    named = {name: service.somebody("eve", sub=name, groups=list(each.groups)) for name, each in WALKERS.items()}
    callers = {**named, "nobody": service.nobody, "nightly": service.nightly}
    reading = [
        service.somebody("eve", sub=name, groups=list(each.groups))
        for name, each in READERS.items()
        if name not in WALKERS
    ]
    for caller in (*callers.values(), *reading, service.hugo, service.audrey):
        await caller.get("/v1/whoami")
    assert (await service.root.delete("/v1/grants/pam-loaded-finance", after=1)).status_code == 204
    until = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    named = await callers["gil"].send("PUT", "/v1/deputy", json={"deputy": "user:dee", "until": until})
    assert named.status_code == 200, named.text
    asked = await callers["bob"].post("/v1/requests", asks_for("finance.budget", actions=["save"]))
    assert asked.status_code == 201, asked.text
    return callers


@pytest.fixture(scope="module")
async def pair(
    issuer: RunningIssuer, made_database: Callable[[], contextlib.AbstractContextManager[str]]
) -> AsyncIterator[Pair]:
    async with contextlib.AsyncExitStack() as stack:
        services = []
        for hides in (True, False):
            url = stack.enter_context(made_database())
            service = await stack.enter_async_context(running(issuer, url))
            await furnish(service)
            if hides:
                await hide(service)
            await succeed(service, "hr.orders_with_names" if hides else None)
            services.append(service)
        hiding, _ = services
        walkers = [await walkers_of(service) for service in services]
        asked = await hiding.hugo.post("/v1/requests", asks_for("hr.bonuses", actions=["save"]))
        assert asked.status_code == 201, asked.text
        for service in services:
            # Everybody is told what concerns them, as the service would soon do by itself.
            now = datetime.now(UTC)
            assert (await go_round(service.app.state.house, uuid4(), now, new_id(now))) is not None
        (row, *_) = (await hiding.audrey.read("/v1/ledger?subject=user:hugo&event=preflight.allowed"))["items"]
        filled = {
            "moment": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "request": asked.json()["id"],
            "key": (await hiding.root.read("/v1/keys"))["items"][0]["id"],
            "person": (await hiding.root.read("/scim/v2/Users"))["Resources"][0]["id"],
            "team": (await hiding.root.read("/scim/v2/Groups"))["Resources"][0]["id"],
            "row": row["id"],
            "receipt": row["receipt"],
        }
        yield Pair(*(World(*each, filled) for each in zip(services, walkers, strict=True)))


_IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_REVISION = re.compile(r'("revision":|"read_at":|at revision |made yet: the newest is )\d+')
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)")
_PLACE = re.compile(r"^id: \d+\.\d+\.\d+$", re.MULTILINE)
_CURSOR = re.compile(r'"(next|next_token|previous)":"[A-Za-z0-9_=-]{24,}"')
#: Nobody seals here; that some row has waited for long is a matter of when the address is asked.
_WAITING = ',"sealing":"behind since <moment>"'
_VARYING = {"muniment-request-id", "muniment-receipt", "muniment-revision", "muniment-lease", "date"}


def comparable(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """An answer without what varies by nature; its length is compared where nothing was taken out."""
    text = without_chance(answer.text)
    # Whether rows wait for their seal is chance, and is taken out where it is said.
    alike = text == answer.text and answer.request.url.path != "/readyz"
    if answer.request.url.path == "/v1/ledger" and answer.status_code == 200:
        # Rows of one moment come in the order of their ids, which chance has made.
        page = answer.json()
        rows = sorted(without_chance(json.dumps(row, separators=(",", ":"))) for row in page.pop("items"))
        text = f"{without_chance(json.dumps(page, separators=(',', ':')))}{rows}"
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in _VARYING)
    signed = signed_alike(answer, body=alike)
    return answer.status_code, [h for h in headers if h[0] != "content-length" or alike] + signed, text


def without_chance(text: str) -> str:
    """A text without ids, moments, revisions and places."""
    text = _MOMENT.sub("<moment>", _REVISION.sub(r"\1<revision>", _IDENTIFIER.sub("<id>", text)))
    return _CURSOR.sub(r'"\1":"<cursor>"', _PLACE.sub("id: <place>", text)).replace(_WAITING, "")


def asks_of(walker: str) -> Iterator[tuple[str, Ask]]:
    """Every question that somebody asks, with its method."""
    listed = list(ALWAYS.items())
    for name in WALKERS[walker].near:
        listed += ABOUT[name].items()
    governs = WALKERS[walker].governs
    for route, asks in listed:
        yield from ((route.split()[0], ask) for ask in asks if not (governs and told_to_who_governs(route, ask)))
    yield from (("GET", ask) for ask in BESIDE)


def told_to_who_governs(route: str, ask: Ask) -> bool:
    """Whoever writes or audits rules somewhere reads the names of all groups, and may ask about all who are known."""
    return route.startswith("GET /v1/groups") or f"&subject=user:{HIDDEN_PERSON}" in ask.path


async def pages(pair: Pair, walker: str, method: str, ask: Ask) -> AsyncIterator[tuple[httpx.Response, httpx.Response]]:
    """What both answer: all of a list that is asked for in parts, each with the cursors that it gave."""
    asked = (ask, ask)
    while True:
        there, elsewhere = await asyncio.gather(
            pair.hides.asked(walker, method, asked[0]), pair.never.asked(walker, method, asked[1])
        )
        yield there, elsewhere
        cursors = [cursor_of(answer) for answer in (there, elsewhere)]
        if None in cursors or "limit=1" not in ask.path:
            return
        begun = re.sub(r"&after=[^&]*", "", ask.path)
        asked = (replace(ask, path=f"{begun}&after={cursors[0]}"), replace(ask, path=f"{begun}&after={cursors[1]}"))


def cursor_of(answer: httpx.Response) -> str | None:
    """Where the next page begins."""
    body = answer.json() if answer.status_code == 200 and answer.headers["content-type"] == "application/json" else {}
    return body.get("next") if isinstance(body, dict) else None


@pytest.mark.parametrize("walker", WALKERS)
async def test_no_address_tells_anybody_what_is_hidden(pair: Pair, walker: str) -> None:
    told = []
    for method, ask in asks_of(walker):
        async for there, elsewhere in pages(pair, walker, method, ask):
            if comparable(there) != comparable(elsewhere):
                told.append(f"{method} {there.url}\n  {ask.body}\n  {comparable(there)}\n  {comparable(elsewhere)}")
    assert not told, f"{walker} is told, in {len(told)} answers: " + "\n".join(told[:5])


#: What varies by nature on pages: moments, cursors, which draft was shown at which revision; and the names of groups,
#: which whoever writes or audits rules somewhere reads, as through the JSON doors (:func:`told_to_who_governs`).
_VARYING_ON_PAGES = re.compile(
    r"""<time\ datetime="[^"]*">[^<]*</time>|\d{1,2}\ [A-Z][a-z]{2}\ \d{4},\ \d\d:\d\d|\d\d:\d\d:\d\d(\.\d+)?
    |(?<=after=)[A-Za-z0-9_%=-]{24,}|(?<=before=)[A-Za-z0-9_%=-]{24,}|name="seal"\ value="[^"]*"
    |<bdi><code>group:the-inner-circle</code></bdi>\ |<option\ value="the-inner-circle"></option>""",
    re.VERBOSE,
)


def page_comparable(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], list[str]]:
    """A page without what varies by nature, as :func:`comparable`; its length is that of the text that is compared.

    Rows of one moment come in the order of their ids, which chance has made: so the lines of the audit are in none.
    """
    status, headers, text = comparable(answer)
    lines = _VARYING_ON_PAGES.sub("", text).splitlines()
    sorting = answer.request.url.path.startswith("/audit")
    return status, [each for each in headers if each[0] != "content-length"], sorted(lines) if sorting else lines


@pytest.mark.parametrize("name", READERS)
async def test_no_page_tells_anybody_what_is_hidden(pair: Pair, name: str) -> None:
    worlds, reader = (pair.hides, pair.never), READERS[name]
    visitors = [await let_in(world.service, f"user:{name}") for world in worlds]
    told = []
    for path in pages_of(reader.near, governs=reader.governs, closely=reader.closely, only=reader.only):
        there, elsewhere = await asyncio.gather(
            *(visitor.get(world.with_names(path)) for visitor, world in zip(visitors, worlds, strict=True))
        )
        assert there.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, f"{path}: {there.text}"
        if page_comparable(there) != page_comparable(elsewhere):
            told.append(f"{path}\n{differences(there, elsewhere)}")
    assert not told, f"{name} is told, by {len(told)} pages: " + "\n".join(told[:5])


async def test_all_that_is_asked_of_a_page_somebody_asks(pair: Pair) -> None:
    for page in PAGES:
        assert any(page.startswith(each.closely) for each in READERS.values()) or len(PAGES[page]) == 1, page


def differences(there: httpx.Response, elsewhere: httpx.Response) -> str:
    """What stands in one page and not in the other."""
    both = [page_comparable(each) for each in (there, elsewhere)]
    heads = [[str(status), *map(str, headers)] for status, headers, _ in both]
    lines = ([*head, *text] for head, (_, _, text) in zip(heads, both, strict=True))
    return "\n".join(difflib.unified_diff(*lines, lineterm="", n=0))[:2000]


async def test_every_page_is_walked(pair: Pair) -> None:
    there = {route.path for route in served_pages(pair.never.service.app) if "GET" in route.methods}
    assert there - FOR_ANYBODY == PAGES.keys() | PAGES_ABOUT.keys() | TOLD_TO_WHO_GOVERNS.keys()


async def test_every_hidden_thing_is_near_somebody_who_may_ask() -> None:
    near = {name for walker in WALKERS.values() for name in walker.near}
    assert near == set(HIDDEN.values())


async def test_every_route_is_walked_and_every_walk_is_of_a_route(pair: Pair) -> None:
    routes = {f"{method} {path}" for method, path in pair.never.service.routes}
    assert routes == WALKED
    for route, ask in all_asks():
        template = re.escape(route.split()[1])
        pattern = re.sub(r"\\\{[a-z]+\\\}", "[^/]+", template)
        assert re.fullmatch(pattern, ask.path.partition("?")[0]), f"{ask.path} is no question to {route}"


async def test_every_parameter_is_walked(pair: Pair) -> None:
    for path, methods in pair.never.service.app.openapi()["paths"].items():
        for method, described in methods.items():
            route = f"{method.upper()} {path}"
            listed = {each["name"] for each in described.get("parameters", []) if each["in"] == "query"}
            asked = {name for of, ask in all_asks() if of == route for name in httpx.URL(ask.path).params}
            assert listed <= asked, f"{route} is walked without {sorted(listed - asked)}"


async def test_every_field_of_every_body_is_walked(pair: Pair) -> None:
    described = pair.never.service.app.openapi()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            fields = fields_of(described, operation)
            asked = {name for of, ask in all_asks() if of == route and isinstance(ask.body, dict) for name in ask.body}
            assert fields <= asked, f"{route} is walked without {sorted(fields - asked)}"


def all_asks() -> Iterator[tuple[str, Ask]]:
    """Every question there is, with its route."""
    for asks in (ALWAYS, *ABOUT.values()):
        yield from ((route, ask) for route, each in asks.items() for ask in each)


def fields_of(described: Mapping[str, Any], operation: Mapping[str, Any]) -> frozenset[str]:
    """The fields of the body that an operation takes."""
    content = operation.get("requestBody", {}).get("content", {})
    fields: set[str] = set()
    for media in content.values():
        schema = media["schema"]
        if "$ref" in schema:
            schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        fields.update(schema.get("properties", {}))
    return frozenset(fields)


async def test_a_change_that_a_hidden_case_forbids_is_refused_without_a_word_of_what_is_hidden(pair: Pair) -> None:
    """Seen to fail with all of the case told to whoever reads the scope's rules, if not this one."""
    shut = {"scope": "finance", "cedar": "forbid (principal, action, resource);"}
    for walker in ("fay", "gil"):
        refused = await pair.hides.walkers[walker].put("/v1/policies/mine", shut, after=0)
        assert refused.status_code in {403, 409}, refused.text
        assert "secret" not in refused.text
        assert "may load" not in refused.text


async def test_who_hands_on_a_whole_domain_is_told_that_it_is_not_wholly_theirs_and_no_more(pair: Pair) -> None:
    """What is known to show: nobody hands on what they do not hold, hidden or not (what-is-not-protected.md)."""
    handing_on = grant("user:ann", ["discover"], on={"domain": "finance"})
    refused = await pair.hides.walkers["fay"].put("/v1/grants/mine", handing_on, after=0)
    assert refused.status_code == 403
    assert "secret" not in refused.text


@contextlib.contextmanager
def counted(service: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is done while the block lasts: each statement that the database is sent, each rule that is evaluated."""
    done: list[str] = []
    really = Rule.satisfied

    def evaluated(rule: Rule, *asked: Any) -> tuple[int, int]:
        done.append("a rule")
        return really(rule, *asked)

    def sent(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if for_somebody():
            done.append(statement)

    engine = service.app.state.house.db._engine.sync_engine  # what is sent shows nowhere else
    event.listen(engine, "before_cursor_execute", sent)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Rule, "satisfied", evaluated)
            yield done
    finally:
        event.remove(engine, "before_cursor_execute", sent)


#: What a worker does by itself, whatever anybody asks.
_BY_ITSELF = {"house", "housekeeping", "notices", "webhooks", "webhooks forgotten", "webhook"}


def for_somebody() -> bool:
    """Whether what is done just now is done for a request."""
    task = asyncio.current_task()
    return task is None or task.get_name() not in _BY_ITSELF


#: The questions about one name by which a time could tell.
TIMED = (
    "/v1/datasets/{name}",
    "/v1/datasets/{name}/mine",
    "/v1/datasets/{name}/history",
    "/v1/datasets/{name}/lineage",
    "/v1/datasets/{name}/use",
    "/v1/datasets/{name}/definition?environment=dev",
    "/v1/explain?action=load&dataset={name}&environment=dev",
    "/v1/who?action=load&dataset={name}&environment=dev",
    "/v1/catalog?environment=dev&names={name}",
    "/v1/leases?environment=dev&names={name}",
)


@pytest.mark.parametrize("walker", ["ann", "bob", "carl", "gil"])
async def test_as_much_is_done_for_a_hidden_name_as_for_one_that_nobody_used(
    pair: Pair, walker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time tells: the same statements are sent and as many rules evaluated, whether something is hidden or not.

    Not when it is asked for the first time, and not when an answer is kept: nobody asked as this one before.
    """
    asker = WALKERS[walker]
    caller = pair.hides.service.somebody("eve", sub=walker, groups=[*asker.groups, "timers"])
    # What was counted of refused sign-ins is written aside, at its own times.
    await pair.hides.service.app.state.doorkeeper._refusals.stop()
    for path in TIMED:
        for hidden in asker.near:
            domain, _, leaf = hidden.rpartition(".")
            await caller.get(path.format(name=f"{domain}.nothing_before"))
            done = []
            for name in (hidden, f"{domain}.no_{leaf}_at_all"):
                with counted(pair.hides.service, monkeypatch) as first:
                    await caller.get(path.format(name=name))
                with counted(pair.hides.service, monkeypatch) as again:
                    await caller.get(path.format(name=name))
                done.append((sorted(first), sorted(again)))
            assert done[0] == done[1], f"{walker}: {path} of {hidden}"
            assert "a rule" in done[0][0], path


#: The same of what is no dataset: the id or name of something hidden, and one that nobody has.
TIMED_BESIDE = (
    ("/v1/keys/{key}", "/v1/keys/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"),
    (f"/v1/subjects/user:{HIDDEN_PERSON}", "/v1/subjects/user:nobody-at-all"),
    (f"/v1/subjects/service:{HIDDEN_SERVICE}", "/v1/subjects/service:nobody-at-all"),
    ("/scim/v2/Users/{person}", "/scim/v2/Users/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"),
    ("/scim/v2/Groups/{team}", "/scim/v2/Groups/0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a"),
)


@pytest.mark.parametrize("walker", ["ann", "gil", "nightly"])
async def test_as_much_is_done_for_a_hidden_key_or_subject_as_for_one_that_never_was(
    pair: Pair, walker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = pair.hides.walkers[walker]
    await pair.hides.service.app.state.doorkeeper._refusals.stop()
    for asked in TIMED_BESIDE:
        done = []
        for path in (pair.hides.path(Ask(each)) for each in asked):
            await caller.get(path)
            with counted(pair.hides.service, monkeypatch) as seen:
                answer = await caller.get(path)
            done.append((answer.status_code, answer.content, sorted(seen)))
        assert done[0] == done[1], asked
        assert done[0][2], asked
