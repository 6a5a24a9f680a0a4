"""What is asked of every address of the service, to see that nothing hidden shows: with hidden names and without.

``ALWAYS`` asks what names nothing hidden, ``ABOUT`` the same route about one hidden thing. Each
is by method and address template, so that a test can hold them against the service's own
description. ``{moment}``, ``{request}``, ``{key}``, ``{person}``, ``{team}``, ``{row}``, ``{receipt}`` and
``{revision}`` are filled in by the test: a time when all stood, the ids of what is somebody else's, the revision of
the service asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api.running import after_version, dataset, grant

#: The things that are hidden from everybody who walks, by what they are.
HIDDEN: Mapping[str, str] = {
    "a dataset that no policy permits": "hr.bonuses",
    "a dataset that a policy forbids": "sales.emea.mergers",
    "a draft": "sales.emea.plans",
    "a retired dataset": "sales.emea.closed",
    "a masked dataset": "sales.people",
    "a factory pattern": "hr.bonuses_of_{year}",
    "a name that a hidden pattern makes": "hr.bonuses_of_2026",
    "a name that a visible pattern would make": "sales.secret_orders",
    "a dataset in a hidden domain": "board.minutes",
    "a dataset below a governed domain": "finance.secret.deals",
    "a successor": "hr.orders_with_names",
}
HIDDEN_DOMAINS = ("board", "hr.restructuring", "finance.secret")
HIDDEN_POLICIES = (
    "board-only",
    "ann-saves-nothing-secret",
    "hugo-reads-deals",
    "secret-is-the-boards",
    "no-names-of-people",
)
HIDDEN_GRANTS = ("hugo-loads-bonuses", "hugo-stewards-secret", "fay-discovers-minutes")

#: Who was provisioned, a group that was, and a service identity that has a key: none of them signs in.
HIDDEN_PERSON = "wanda"
HIDDEN_TEAM = "the-directors"
HIDDEN_SERVICE = "board"

ON_DATA = ("discover", "load", "save")
GOVERNING = ("declare", "classify", "grant", "approve", "audit", "administer")
NOUNS = ("domains", "environments", "groups", "policies", "grants")
KINDS = ("environment", "group", "domain", "dataset", "policy", "grant")


@dataclass(frozen=True)
class Ask:
    """One question: where, with what body and headers."""

    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _gets(*paths: str) -> list[Ask]:
    return [Ask(path) for path in paths]


def _posts(path: str, *bodies: object) -> list[Ask]:
    return [Ask(path, body) for body in bodies]


def _puts(path: str, *bodies: object, after: Iterable[int] = (0, 1, 7)) -> list[Ask]:
    return [Ask(path, body, after_version(version)) for body in bodies for version in after]


def _ends(path: str) -> list[Ask]:
    return [Ask(path, None, after_version(version)) for version in (1, 7)]


def _use(name: str, number: int, **more: str) -> dict[str, str]:
    """One use, reported by whoever walks; the same number is the same report."""
    told = {"id": f"00000000-0000-4000-8000-{number:012}", "dataset": name, "action": "load"}
    return {**told, "at": "2026-01-01T00:00:00Z", **more}


def _put(kind: str, id_: str, body: object, **more: object) -> dict[str, object]:
    return {"put": {"kind": kind, "id": id_, "body": body, **more}}


def _delete(kind: str, id_: str) -> dict[str, object]:
    return {"delete": {"kind": kind, "id": id_}}


def asks_for(name: str, **more: Any) -> dict[str, Any]:
    """A request for access to one dataset."""
    return {"actions": ["load"], "datasets": [name], "environments": ["dev"], "because": "a report", **more}


def _policy(scope: str, cedar: str, **more: object) -> dict[str, object]:
    return {"scope": scope, "cedar": cedar, **more}


FORBID_SAVING = 'forbid (principal, action == Action::"save", resource);'
#: Bodies with every field that they can have, but for those that exclude one another.
_FULL_DATASET: dict[str, object] = {
    **dataset("s3://lake/finance/budget.csv", tags=["orders"], columns=[{"name": "amount"}], layer="raw"),
    "classification": "confidential",
    "sensitivity": 5,
    "owner": "group:the-board",
    "description": "What there is to spend.",
    "lifecycle": "deprecated",
}
_FULL_DOMAIN: dict[str, object] = {
    "parent": "finance",
    "owner": "group:x",
    "description": "Deals.",
    "locations": ["s3://lake/finance/secret/"],
    "types": ["acme.datasets.LedgerDataset"],
    "lease_hours": 8,
    "variables": {"year": "2026"},
}
_FORM: dict[str, object] = {
    "scope": "finance",
    "form": {"effect": "forbid", "actions": ["save"], "resources": {"domains": ["finance.secret"]}},
    "obligation": None,
    "kind": "access",
}
_KEPT = {**_FORM, "reason": "nothing is saved there", "review_by": "2030-01-01", "cases": []}
_FULL_GRANT: dict[str, object] = {
    **grant("user:ann", ["discover"], on={"dataset": "finance.budget"}, review_by="2030-01-01"),
    "until": "2030-01-01T00:00:00Z",
    "environments": ["dev"],
    "purposes": ["q"],
}
_BUDGET = {"lifecycle": "active", "description": "What there is to spend."}


def _evaluations(thing: Mapping[str, str], actions: Iterable[str]) -> Iterable[dict[str, Any]]:
    """The same of everybody who walks, and of somebody else."""
    for about in ("ann", "fay", "hugo", HIDDEN_PERSON):
        asked = {"subject": {"type": "user", "id": about}, "resource": thing, "context": {"environment": "dev"}}
        yield {**asked, "evaluations": [{"action": {"name": action}} for action in actions]}


_SEARCH_CONTEXT = {"context": {"environment": "dev"}}


def _subject(id_: str) -> dict[str, Any]:
    return {"subject": {"type": "user", "id": id_}, **_SEARCH_CONTEXT}


def _searches_of_things() -> Iterable[dict[str, Any]]:
    for about in ("ann", "bob", "fay", "hugo", HIDDEN_PERSON):
        for type_, actions in (("dataset", ("discover", "load", "declare")), ("domain", ("grant", "audit"))):
            for action in actions:
                yield {**_subject(about), "action": {"name": action}, "resource": {"type": type_}}
    yield {**_subject("fay"), "action": {"name": "declare"}, "resource": {"type": "dataset"}, "page": {"limit": 1}}


def _scim() -> dict[str, list[Ask]]:
    """What may be asked of a directory, which is nobody's who walks."""
    shown = "attributes=displayName&excludedAttributes=members"
    searched = f"filter=displayName%20pr&sortBy=displayName&sortOrder=ascending&startIndex=1&count=9&{shown}"
    removal = {"Operations": [{"op": "remove", "path": "displayName"}]}
    found: dict[str, list[Ask]] = {
        "GET /scim/v2/ServiceProviderConfig": _gets("/scim/v2/ServiceProviderConfig"),
        "GET /scim/v2/Schemas": _gets("/scim/v2/Schemas"),
        "GET /scim/v2/Schemas/{id}": _gets("/scim/v2/Schemas/nothing"),
        "GET /scim/v2/ResourceTypes": _gets("/scim/v2/ResourceTypes"),
        "GET /scim/v2/ResourceTypes/{name}": _gets("/scim/v2/ResourceTypes/User"),
        "POST /scim/v2/.search": _posts("/scim/v2/.search", {}),
    }
    for kind, name, id_, hidden in (
        ("Users", "userName", "{person}", HIDDEN_PERSON),
        ("Groups", "displayName", "{team}", HIDDEN_TEAM),
    ):
        path, named, by_name = f"/scim/v2/{kind}", {name: hidden}, f"{name}%20eq%20%22{hidden}%22"
        found |= {
            f"GET {path}": _gets(path, f"{path}?{searched}", f"{path}?filter={by_name}"),
            f"POST {path}": _posts(f"{path}?{shown}", named),
            f"POST {path}/.search": _posts(f"{path}/.search", {}, {"filter": f'{name} eq "{hidden}"'}),
            f"GET {path}/{{id}}": _gets(f"{path}/{id_}?{shown}"),
            f"PUT {path}/{{id}}": _posts(f"{path}/{id_}?{shown}", named),
            f"PATCH {path}/{{id}}": _posts(f"{path}/{id_}?{shown}", removal),
            f"DELETE {path}/{{id}}": _gets(f"{path}/{id_}"),
        }
    return found


def _enrolments() -> dict[str, list[Ask]]:
    """Who may sign in. Nobody ends their own sign-ins here: they walk on; what that tells is about themselves."""
    whom = (f"user:{HIDDEN_PERSON}", f"service:{HIDDEN_SERVICE}", "user:hugo", "user:whoever")
    why = {"reason": "leaves"}
    return {
        "GET /v1/subjects/{subject}": _gets(*(f"/v1/subjects/{each}" for each in (*whom, "user:ann", "user:fay"))),
        **{
            f"POST /v1/subjects/{{subject}}/{done}": [Ask(f"/v1/subjects/{each}/{done}", why) for each in whom]
            for done in ("end", "admit", "end-sign-ins")
        },
        "POST /v1/subjects/end-sign-ins": _posts("/v1/subjects/end-sign-ins", why),
    }


def _webhooks() -> dict[str, list[Ask]]:
    """What may be asked of somebody else's webhook, and of one's own that is not there."""
    path, theirs = "/v1/webhooks/board-hook", "subject=user:root"
    body = {"url": "https://example.org/", "active": False, "description": "x"}
    named = {"events": ["use.reported"], "datasets": ["finance.budget"], "domains": ["finance"]}
    return {
        "GET /v1/webhooks": _gets("/v1/webhooks", f"/v1/webhooks?{theirs}&limit=1&after=a@b"),
        "GET /v1/webhooks/{id}": _gets(path, f"{path}?{theirs}"),
        "PUT /v1/webhooks/{id}": [
            *_puts(path, {**body, **named}, after=(7,)),
            *_puts(f"{path}?{theirs}", body),
        ],
        "DELETE /v1/webhooks/{id}": [*_ends(path), *_ends(f"{path}?{theirs}")],
        "GET /v1/webhooks/{id}/deliveries": _gets(
            f"{path}/deliveries", f"{path}/deliveries?{theirs}&state=dead&limit=1&after=7"
        ),
        **{
            f"POST /v1/webhooks/{{id}}/{done}": [
                Ask(f"{path}/{done}{query}", each) for query in ("", f"?{theirs}") for each in bodies
            ]
            for done, bodies in (
                ("secret", [{"keep_hours": 1}]),
                ("replay", [{"dead": True}, {"after": "1.1.1"}, {"since": "2026-01-01T00:00:00Z"}]),
                ("test", [None]),
            )
        },
    }


def _emergency(**on: str) -> dict[str, object]:
    """What nobody who walks may do: the operator has named others."""
    return {"actions": ["load"], "on": on, "environments": ["dev"], "hours": 1, "because": "the board meets"}


#: What is tried together, naming nothing hidden; each may be made by whoever governs finance.
TRIALS: tuple[list[dict[str, object]], ...] = (
    [_put("policy", "mine", _policy("finance", FORBID_SAVING))],
    [_put("grant", "mine", grant("user:ann", ["discover"], on={"dataset": "finance.budget"}))],
    [_put("grant", "mine", grant("user:fay", ["load"], on={"dataset": "finance.budget"}))],
    [_put("dataset", "finance.budget", dataset("s3://lake/finance/budget.csv", **_BUDGET))],
    [_put("dataset", "finance.fresh", dataset("s3://lake/finance/deals.csv", tags=["orders"]))],
    [_put("dataset", "finance.deals", dataset("s3://lake/finance/secret/deals.csv"))],
    [_put("domain", "finance", {"owner": "group:finance-owners", "variables": {"year": "2026"}})],
    [_delete("grant", "bob-loads-budget")],
    [_delete("dataset", "finance.budget")],
    [_delete("policy", "contractors-see-nothing-confidential")],
)

#: What is asked of each route that names nothing hidden.
#: What projects are started with that name nothing hidden.
_STARTED_WITH = ((), ("sales.orders",), ("sales.orders", "finance.budget"), ("finance.accounts", "sales.apac_orders"))


def _starting(datasets: Iterable[str]) -> dict[str, object]:
    """A project that begins with some datasets, with every field that it can have."""
    chosen = {"starter": "standard", "kedro": "1.7.0", "python": "3.12", "ci": "gitlab", "version": "1"}
    lists = {"tools": ["lint"], "packages": ["polars"], "datasets": list(datasets)}
    return {"name": "Report", "description": "x", "package": "report", "environment": "dev", **chosen, **lists}


ALWAYS: dict[str, list[Ask]] = {
    "GET /v1/catalog": [
        *_gets(*(f"/v1/catalog?environment={name}" for name in ("dev", "prod", "qa", "base"))),
        *_gets("/v1/catalog?environment=dev&project=p&purpose=q", "/v1/catalog?environment=dev&names=sales.orders"),
        *_gets(*(f"/v1/catalog?environment=dev&at={at}" for at in ("1", "{moment}", "2999-01-01T00:00:00Z"))),
        *_gets(
            *(f"/v1/catalog?environment=dev&subject=user:{name}" for name in ("hugo", "bob", "whoever", HIDDEN_PERSON))
        ),
        *_gets("/v1/catalog?environment=dev&subject=user:hugo&at={moment}"),
        *_gets("/v1/catalog?environment=dev&limit=1", "/v1/catalog?environment=dev&limit=1&after=sales.emea"),
        Ask("/v1/catalog?environment=dev", headers={"Accept": "application/yaml"}),
        Ask("/v1/catalog?environment=dev", headers={"Accept-Encoding": "identity"}),
    ],
    "GET /v1/leases": [
        *_gets(*(f"/v1/leases?environment={name}" for name in ("dev", "prod", "qa", "base"))),
        *_gets("/v1/leases?environment=dev&project=p&purpose=q", "/v1/leases?environment=dev&at={moment}"),
        *_gets("/v1/leases?environment=dev&names=sales.orders,finance.budget"),
    ],
    "POST /v1/preflight": _posts(
        "/v1/preflight",
        {"environment": "dev", "load": ["sales.orders", "finance.budget"], "save": ["finance.accounts"]},
        {"environment": "dev", "load": ["sales.apac_orders", "finance.2026_closing"], "purpose": "q", "run": "r"},
    ),
    "POST /v1/use": _posts(
        "/v1/use",
        {"events": []},
        {"events": [_use("sales.orders", 1), _use("finance.budget", 2, receipt="{receipt}"), _use("sales.orders", 1)]},
        {"events": [_use("sales.orders", 2, environment="qa")]},
    ),
    "GET /v1/explain": _gets(
        *(
            f"/v1/explain?action={action}&dataset={name}&environment=dev"
            for action in ON_DATA
            for name in ("sales.orders", "finance.accounts")
        ),
        "/v1/explain?action=load&dataset=finance.budget&environment=prod&project=p&purpose=q",
        "/v1/explain?action=load&dataset=finance.budget&environment=dev&subject=user:bob",
        *(
            f"/v1/explain?action=load&dataset=finance.accounts&environment=dev&subject=user:{name}"
            for name in ("hugo", HIDDEN_PERSON)
        ),
        "/v1/explain?action=load&dataset=finance.accounts&environment=dev&at={moment}",
    ),
    "GET /v1/whoami": _gets("/v1/whoami"),
    "GET /v1/datasets": _gets(
        "/v1/datasets",
        *(f"/v1/datasets?limit={limit}" for limit in (1, 2, 3)),
        *(f"/v1/datasets?q={q}" for q in ("", "order", "deal", "board")),
        *(f"/v1/datasets?domain={domain}" for domain in ("sales", "hr", "finance", *HIDDEN_DOMAINS)),
        *(f"/v1/datasets?tag={tag}" for tag in ("orders", "board-only", "confidential")),
        *(f"/v1/datasets?owner=group:{owner}" for owner in ("the-board", "hr-owners", "finance-owners")),
        *(f"/v1/datasets?lifecycle={state}" for state in ("draft", "active", "deprecated", "retired")),
        *(f"/v1/datasets?environment={name}&limit=1" for name in ("prod", "qa")),
    ),
    "GET /v1/datasets/search": _gets(
        *(f"/v1/datasets/search?search={words}" for words in ("", "ord", "order deal", "board", "bonuses")),
        *(f"/v1/datasets/search?domain={domain}" for domain in ("sales", "hr", "finance", *HIDDEN_DOMAINS)),
        *(f"/v1/datasets/search?may={may}&sort=sensitive" for may in ("use", "ask", "steward")),
        "/v1/datasets/search?tag=board-only&owner=group:the-board&classification=secret&layer=raw",
        "/v1/datasets/search?type=pandas.CSVDataset&lifecycle=draft&lifecycle=retired&limit=1&after=1",
        *(f"/v1/datasets/search?environment={name}&sort=name" for name in ("prod", "qa")),
    ),
    "GET /v1/datasets/{name}": _gets("/v1/datasets/sales.orders", "/v1/datasets/finance.accounts"),
    "PUT /v1/datasets/{name}": [
        *_puts("/v1/datasets/finance.budget", dataset("s3://lake/finance/secret/deals.csv"), after=[7]),
        *_puts("/v1/datasets/finance.budget", dataset("s3://board/minutes.csv"), _FULL_DATASET, after=[7]),
    ],
    "DELETE /v1/datasets/{name}": [Ask("/v1/datasets/finance.budget", headers=after_version(7))],
    "GET /v1/datasets/{name}/mine": _gets("/v1/datasets/sales.orders/mine", "/v1/datasets/finance.accounts/mine"),
    "GET /v1/datasets/{name}/history": _gets(
        "/v1/datasets/finance.accounts/history",
        "/v1/datasets/finance.accounts/history?limit=1",
        "/v1/datasets/finance.accounts/history?after=2",
    ),
    "GET /v1/datasets/{name}/lineage": _gets(
        *(f"/v1/datasets/{name}/lineage?steps=5" for name in ("sales.orders", "sales.apac_orders", "finance.budget")),
    ),
    "GET /v1/datasets/{name}/use": _gets(
        *(f"/v1/datasets/{name}/use?days=366" for name in ("sales.orders", "finance.budget", "finance.{year}_closing")),
    ),
    "GET /v1/datasets/{name}/definition": _gets(
        *(
            f"/v1/datasets/{name}/definition?environment=dev"
            for name in ("sales.orders", "sales.apac_orders", "finance.accounts", "finance.2026_closing")
        ),
    ),
    **{
        f"GET /v1/{noun}": _gets(f"/v1/{noun}", f"/v1/{noun}?limit=1", *(f"/v1/{noun}?after={a}" for a in "bfh"))
        for noun in NOUNS
    },
    "GET /v1/domains/{name}": _gets("/v1/domains/finance", "/v1/domains/hr", "/v1/domains/sales.emea"),
    "PUT /v1/domains/{name}": [
        *_puts("/v1/domains/finance", {"owner": "group:finance-owners", "variables": {"year": "2026"}}, after=[7]),
        *_puts("/v1/domains/finance.secret", _FULL_DOMAIN, after=[7]),
        *_puts("/v1/domains/fresh", {"owner": "group:x", "locations": ["s3://board/deeper/"]}, after=[7]),
    ],
    "GET /v1/environments/{name}": _gets("/v1/environments/dev", "/v1/environments/qa"),
    "PUT /v1/environments/{name}": _puts(
        "/v1/environments/dev", {"variables": {"year": "2026"}, "description": "x"}, after=[7]
    ),
    "GET /v1/groups/{name}": _gets("/v1/groups/the-inner-circle", "/v1/groups/nothing"),
    "PUT /v1/groups/{name}": _puts(
        "/v1/groups/the-inner-circle", {"members": ["user:ann"], "parents": ["group:the-board"], "description": "x"}
    ),
    "DELETE /v1/groups/{name}": _ends("/v1/groups/the-inner-circle"),
    "GET /v1/policies/{id}": _gets(*(f"/v1/policies/{id_}" for id_ in (*HIDDEN_POLICIES, "nothing"))),
    "PUT /v1/policies/{id}": [
        *_puts("/v1/policies/mine", _policy("finance", FORBID_SAVING), _policy("hr", FORBID_SAVING), after=[7]),
        *_puts("/v1/policies/mine", _policy("all", FORBID_SAVING), _KEPT, after=[7]),
    ],
    "POST /v1/policies/read": [
        *_posts("/v1/policies/read", _policy("finance", FORBID_SAVING), _policy("all", "nonsense"), _FORM),
        *_posts("/v1/policies/read", *(_policy(domain, FORBID_SAVING) for domain in HIDDEN_DOMAINS)),
    ],
    "DELETE /v1/policies/{id}": [ask for id_ in HIDDEN_POLICIES for ask in _ends(f"/v1/policies/{id_}")],
    "GET /v1/grants/{id}": _gets(*(f"/v1/grants/{id_}" for id_ in (*HIDDEN_GRANTS, "nothing"))),
    "PUT /v1/grants/{id}": [
        *_puts("/v1/grants/mine", grant("user:ann", ["discover"], on={"dataset": "finance.budget"}), after=[7]),
        *_puts("/v1/grants/mine", _FULL_GRANT, after=[7]),
        *_puts("/v1/grants/mine", grant("user:ann", ["load"], on={"domain": "finance"}), after=[7]),
    ],
    "DELETE /v1/grants/{id}": [ask for id_ in HIDDEN_GRANTS for ask in _ends(f"/v1/grants/{id_}")],
    "GET /v1/realm": _gets(
        *(f"/v1/realm?kind={kind}{page}" for kind in KINDS for page in ("", "&limit=1", "&limit=1&after=f")),
    ),
    "POST /v1/try": [
        *(Ask("/v1/try", {"changes": changes}) for changes in TRIALS),
        Ask("/v1/try", {"keep": [{"kind": "dataset", "id": "finance.accounts"}], "source": "files"}),
        Ask("/v1/try?days=1&limit=1", {"changes": TRIALS[0], "reason": "to see"}),
    ],
    "POST /v1/apply": [
        *(Ask("/v1/apply", {"changes": changes, "reason": "as tried"}, {"If-Match": '"1"'}) for changes in TRIALS[:3]),
        Ask(
            "/v1/apply",
            {"keep": [{"kind": "dataset", "id": "finance.accounts"}], "source": "files", "take_over": True},
            {"If-Match": '"1"'},
        ),
    ],
    "GET /v1/requests": _gets(
        "/v1/requests",
        "/v1/requests?limit=1",
        "/v1/requests?after={request}",
        *(f"/v1/requests?mine={mine}&state=pending" for mine in ("true", "false")),
    ),
    "POST /v1/requests": _posts(
        "/v1/requests", asks_for("finance.2026_closing", environments=["qa"], purpose="q", until="2999-01-01T00:00:00Z")
    ),
    "GET /v1/requests/{id}": _gets("/v1/requests/{request}"),
    "POST /v1/requests/{id}/approve": _posts(
        "/v1/requests/{request}/approve",
        {},
        {
            "actions": ["load"],
            "datasets": ["hr.bonuses"],
            "environments": ["dev"],
            "until": "2030-01-01T00:00:00Z",
            "comment": "yes",
        },
    ),
    "POST /v1/requests/{id}/deny": _posts("/v1/requests/{request}/deny", {"because": "no"}),
    "POST /v1/requests/{id}/withdraw": _posts("/v1/requests/{request}/withdraw", {}, {"because": "no need"}),
    "POST /v1/requests/renewals": _posts(
        "/v1/requests/renewals",
        *(
            {"grant": id_, "because": "it goes on", "until": "2999-01-01T00:00:00Z"}
            for id_ in (*HIDDEN_GRANTS, "nothing")
        ),
    ),
    "GET /v1/deputy": _gets("/v1/deputy"),
    "PUT /v1/deputy": [
        Ask("/v1/deputy", {"deputy": who, "until": until, "because": "away"})
        for who in ("user:ann", "user:nobody", "service:nightly")
        for until in ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z")
    ],
    "DELETE /v1/deputy": _gets("/v1/deputy"),
    "GET /v1/projects/offer": _gets(
        "/v1/projects/offer",
        *(f"/v1/projects/offer?environment={name}&limit=1" for name in ("dev", "prod", "qa")),
        *(f"/v1/projects/offer?q={q}" for q in ("order", "deal", "board", "bonus")),
    ),
    "POST /v1/projects/preview": _posts("/v1/projects/preview", *(_starting(of) for of in _STARTED_WITH)),
    "GET /v1/projects/new.zip": _gets(
        *(f"/v1/projects/new.zip?name=Report&environment=dev&datasets={','.join(of)}" for of in _STARTED_WITH),
        "/v1/projects/new.zip?name=Report&description=x&package=report&starter=standard&kedro=1.7.0&python=3.12"
        "&tools=lint&packages=polars&ci=gitlab&environment=prod&version=1",
    ),
    "GET /v1/notices": _gets("/v1/notices", "/v1/notices?limit=1", "/v1/notices?after={request}"),
    "GET /v1/notices/preferences": _gets("/v1/notices/preferences"),
    "PUT /v1/notices/preferences": _puts(
        "/v1/notices/preferences", {"mail": {"review": "off"}, "webhook": {"review": False}, "quiet": True}, after=(7,)
    ),
    "POST /v1/notices/address": _posts("/v1/notices/address", {"address": "walker@example.org"}),
    "DELETE /v1/notices/address": _gets("/v1/notices/address"),
    "POST /v1/notices/webhook": _posts("/v1/notices/webhook", {"url": "nonsense"}),
    "DELETE /v1/notices/webhook": _gets("/v1/notices/webhook"),
    "POST /v1/notices/test": _posts("/v1/notices/test", {}),
    "GET /v1/lint": _gets(
        "/v1/lint",
        "/v1/lint?limit=1",
        "/v1/lint?soon_days=3000&unused_days=1&doubt=meets-nothing",
        *(f"/v1/lint?scope={domain}" for domain in ("finance", *HIDDEN_DOMAINS)),
        "/v1/lint?after=h",
    ),
    "GET /v1/reviews": _gets(
        "/v1/reviews",
        "/v1/reviews?due_by=2040-01-01&limit=1",
        *(f"/v1/reviews?due_by=2040-01-01&scope={domain}" for domain in ("finance", *HIDDEN_DOMAINS)),
        "/v1/reviews?due_by=2040-01-01&after=2030-01-01",
    ),
    "POST /v1/reviews": [
        Ask("/v1/reviews", {"decisions": [{"kind": kind, "id": id_, "version": 1, "end": {"reason": "old"}}]})
        for kind, ids in (("policy", HIDDEN_POLICIES), ("grant", HIDDEN_GRANTS))
        for id_ in ids
    ],
    "GET /v1/subjects/{subject}/holdings": _gets(
        *(f"/v1/subjects/user:{name}/holdings" for name in ("hugo", "ann", "bob", "fay", "whoever", HIDDEN_PERSON))
    ),
    "POST /v1/subjects/{subject}/hand-over": _posts(
        "/v1/subjects/user:hugo/hand-over",
        {"to": "group:the-board", "reason": "leaves"},
        {"to": "group:x", "reason": "leaves"},
    ),
    **_enrolments(),
    "POST /v1/first-administrator": _posts("/v1/first-administrator", {"secret": "of no link"}),
    "POST /v1/break-glass": _posts("/v1/break-glass", _emergency(dataset="finance.budget"), _emergency(domain="all")),
    "GET /v1/keys": _gets(
        "/v1/keys",
        *(f"/v1/keys?service=service:{name}&limit=1" for name in (HIDDEN_SERVICE, "nightly", "nothing")),
        "/v1/keys?after={key}",
    ),
    "POST /v1/keys": _posts(
        "/v1/keys",
        {
            "service": f"service:{HIDDEN_SERVICE}",
            "use": "runs",
            "environment": "dev",
            "project": "p",
            "purpose": "q",
            "until": "2030-01-01T00:00:00Z",
            "because": "to see",
        },
        {
            "service": f"service:{HIDDEN_SERVICE}",
            "use": "provisioning",
            "directory": "corp",
            "until": "2030-01-01T00:00:00Z",
            "because": "to see",
        },
    ),
    "GET /v1/keys/{id}": _gets("/v1/keys/{key}", "/v1/keys/{request}"),
    "DELETE /v1/keys/{id}": _gets("/v1/keys/{key}?because=x", "/v1/keys/{request}"),
    "GET /v1/leases/keys": _gets("/v1/leases/keys"),
    "POST /v1/keys/revoke": _posts("/v1/keys/revoke", {"key": "mun_nonsense"}),
    **_scim(),
    "GET /v1/ledger": _gets(
        "/v1/ledger",
        *(f"/v1/ledger?subject=user:{name}" for name in ("hugo", HIDDEN_PERSON)),
        "/v1/ledger?receipt={receipt}",
        "/v1/ledger?run=r",
        *(f"/v1/ledger?event={event}&limit=1" for event in ("dataset.declared", "preflight.allowed")),
        "/v1/ledger?since=2020-01-01T00:00:00Z&until={moment}",
        "/v1/ledger?after=nonsense",
        "/v1/ledger?before=nonsense",
        "/v1/ledger?dataset=hr.bonuses",
        *(f"/v1/ledger?domain={domain}" for domain in HIDDEN_DOMAINS),
        *(f"/v1/ledger?policy={id_}" for id_ in HIDDEN_POLICIES),
        *(f"/v1/ledger?about=user:{name}&kind=changed" for name in ("hugo", HIDDEN_PERSON)),
        "/v1/ledger?kind=given&outcome=allowed&environment=dev&project=p&purpose=q&address=127.0.0.1",
        "/v1/ledger?request_id={receipt}",
    ),
    "GET /v1/ledger/checkpoint": _gets("/v1/ledger/checkpoint"),
    "GET /v1/ledger/keys": _gets("/v1/ledger/keys"),
    "GET /v1/ledger/seals": _gets("/v1/ledger/seals", "/v1/ledger/seals?limit=1&after=1"),
    "GET /v1/ledger/proofs/inclusion": _gets(
        "/v1/ledger/proofs/inclusion?id={row}", "/v1/ledger/proofs/inclusion?receipt={receipt}"
    ),
    "GET /v1/ledger/proofs/consistency": _gets("/v1/ledger/proofs/consistency?first=1&second=2"),
    "GET /v1/ledger/holds": _gets("/v1/ledger/holds"),
    "GET /v1/ledger/export": _gets(
        "/v1/ledger/export",
        *(f"/v1/ledger/export?format={format_}&subject=user:hugo" for format_ in ("jsonl", "csv", "parquet", "ocsf")),
        *(f"/v1/ledger/export?domain={domain}" for domain in HIDDEN_DOMAINS),
        "/v1/ledger/export?dataset=hr.bonuses&since={moment}&until={moment}&about=user:hugo&policy=board-only",
        "/v1/ledger/export?kind=given&event=lease.served&outcome=allowed&environment=dev&project=p&purpose=q",
        "/v1/ledger/export?address=127.0.0.1&request_id={receipt}&receipt={receipt}&run=r",
    ),
    "GET /v1/ledger/readers": _gets(
        "/v1/ledger/readers?dataset=finance.budget",
        "/v1/ledger/readers?dataset=sales.orders&environment=dev&since={moment}",
        "/v1/ledger/readers?dataset=hr.bonuses&environment=qa&until={moment}",
    ),
    "GET /v1/ledger/figures": _gets(
        *(f"/v1/ledger/figures?by={by}" for by in ("day", "domain", "dataset", "team", "project", "subject")),
        *(f"/v1/ledger/figures?by=subject&domain={domain}" for domain in HIDDEN_DOMAINS),
        "/v1/ledger/figures?dataset=hr.bonuses&since={moment}&until={moment}&about=user:hugo&policy=board-only",
        "/v1/ledger/figures?kind=given&event=lease.served&outcome=allowed&environment=dev&project=p&purpose=q",
        "/v1/ledger/figures?address=127.0.0.1&request_id={receipt}&receipt={receipt}&run=r&subject=user:hugo",
    ),
    "GET /v1/ledger/views": _gets("/v1/ledger/views"),
    "PUT /v1/ledger/views/{name}": [
        Ask("/v1/ledger/views/mine", {"question": {"domain": domain}, "days": 7, "shared": shared})
        for domain in ("finance", *HIDDEN_DOMAINS)
        for shared in (False, True)
    ],
    "DELETE /v1/ledger/views/{name}": _gets("/v1/ledger/views/mine", "/v1/ledger/views/never"),
    "GET /v1/ledger/unusual": _gets("/v1/ledger/unusual", "/v1/ledger/unusual?since={moment}&until={moment}"),
    "GET /v1/ledger/{id}/decision": _gets("/v1/ledger/{row}/decision"),
    "GET /v1/ledger/events": _gets(
        "/v1/ledger/events?follow=false",
        "/v1/ledger/events?follow=false&after=0.0.0&event=preflight.allowed&event=grant.made",
        "/v1/ledger/events?follow=false&after=0.0.0&event=dataset.declared&dataset=sales.orders&domain=finance",
    ),
    **_webhooks(),
    "GET /v1/schema": _gets("/v1/schema"),
    "GET /v1/who": _gets(
        *(f"/v1/who?dataset=finance.accounts&environment=dev&action={action}" for action in ON_DATA),
        "/v1/who?dataset=finance.budget&environment=prod&action=load&project=p&purpose=q&limit=1&after=user:a",
        "/v1/who?dataset=finance.budget&environment=dev&action=load&at={moment}",
        *(f"/v1/who?domain={domain}&action={a}" for domain in ("finance", "sales") for a in ("grant", "approve")),
    ),
    "POST /access/v1/evaluation": _posts(
        "/access/v1/evaluation",
        {**_subject("hugo"), "action": {"name": "load"}, "resource": {"type": "dataset", "id": "finance.budget"}},
    ),
    "POST /access/v1/evaluations": _posts(
        "/access/v1/evaluations",
        *_evaluations({"type": "dataset", "id": "finance.accounts"}, (*ON_DATA, *GOVERNING)),
        *_evaluations({"type": "domain", "id": "finance"}, GOVERNING),
        {
            **_subject("ann"),
            "action": {"name": "load"},
            "evaluations": [{"resource": {"type": "dataset", "id": name}} for name in HIDDEN.values()],
            "options": {"evaluations_semantic": "deny_on_first_deny"},
        },
    ),
    "POST /access/v1/search/subject": _posts(
        "/access/v1/search/subject",
        *(
            {
                **_SEARCH_CONTEXT,
                "subject": {"type": "user"},
                "action": {"name": action},
                "resource": resource,
                "page": {},
            }
            for action, resource in (
                ("load", {"type": "dataset", "id": "finance.budget"}),
                ("discover", {"type": "dataset", "id": "finance.accounts"}),
                ("grant", {"type": "domain", "id": "finance"}),
            )
        ),
    ),
    "POST /access/v1/search/resource": _posts("/access/v1/search/resource", *_searches_of_things()),
    "POST /access/v1/search/action": _posts(
        "/access/v1/search/action",
        *(
            {**_subject(about), "resource": {"type": "dataset", "id": "finance.accounts"}, "page": {"limit": 2}}
            for about in ("bob", "fay", "hugo", HIDDEN_PERSON)
        ),
    ),
    "GET /.well-known/authzen-configuration": _gets("/.well-known/authzen-configuration"),
    "GET /healthz": _gets("/healthz"),
    "GET /readyz": _gets("/readyz"),
    "GET /.well-known/muniment": _gets("/.well-known/muniment"),
}

#: Addresses that no description lists: those that are none, and the pages, which heed no token.
BESIDE = _gets(
    *("/openapi.json", "/", "/v1", "/v1/nothing", "/docs", "/v1/datasets/", "/v1/hidden/board.minutes"),
    *("/sign-in", "/sign-in?to=/account&at=corp", "/sign-in/callback?state=x&code=y&iss=z", "/signed-out", "/account"),
    *("/account/sessions/{request}/end", "/first-administrator", "/first-administrator?link=x", "/assets/nothing"),
    *(f"/scim/{issuer}/v2/Users" for issuer in ("corp", "nothing")),
)


def _uncased(policies: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The policies that carry no cases, for what takes none."""
    return [policy for policy in policies if "cases" not in policy]


def _about_policies(name: str, domain: str) -> list[dict[str, object]]:
    """Policies that name a dataset in their text, their cases, their scope, or by what it is called like."""
    on = f'forbid (principal, action == Action::"save", resource == Dataset::"{name}");'
    inside = f'forbid (principal, action == Action::"save", resource in Domain::"{domain}");'
    like = f'forbid (principal, action == Action::"save", resource) when {{ resource.name like "{name[:-1]}*" }};'
    case = {"subject": "user:hugo", "action": "load", "allowed": True}
    wrong = {"subject": "user:hugo", "action": "load", "allowed": False}
    return [
        _policy("finance", on),
        _policy("finance", inside),
        _policy("finance", like),
        _policy(domain, FORBID_SAVING),
        _policy(domain, "nonsense"),
        _policy(f"{domain}.deeper", FORBID_SAVING),
        *(_policy("finance", FORBID_SAVING, cases=[{**each, "dataset": name}]) for each in (case, wrong)),
        *(_policy("finance", FORBID_SAVING, cases=[{**each, "datasets": f"{name[:-1]}*"}]) for each in (case, wrong)),
        {
            **_policy("finance", f'permit (principal, action == Action::"load", resource == Dataset::"{name}");'),
            "kind": "mask",
            "obligation": {"columns": ["email"], "action": "replace-with-null"},
        },
    ]


def _about_changes(name: str, domain: str) -> list[list[dict[str, object]]]:
    """What is tried and applied about a hidden dataset."""
    return [
        [_put("dataset", name, dataset(f"s3://lake/{domain}/x.csv"))],
        [_put("dataset", "finance.budget", dataset("s3://lake/finance/budget.csv", **_BUDGET, successor=name))],
        [_delete("dataset", name)],
        [_put("grant", "mine", grant("user:ann", ["discover"], on={"dataset": name}))],
        [_put("grant", "mine", grant("user:ann", ["discover"], on={"domain": domain}))],
        [_put("domain", domain, {"owner": "group:x"})],
        *([_put("policy", "mine", policy)] for policy in _about_policies(name, domain)),
    ]


def _about(name: str) -> dict[str, list[Ask]]:
    domain, _, leaf = name.rpartition(".")
    explain = f"/v1/explain?dataset={name}&environment"
    body = dataset(f"s3://lake/{domain}/x.csv")
    thing, place = {"type": "dataset", "id": name}, {"type": "domain", "id": domain}
    to_ann = [grant("user:ann", ["discover"], on=on) for on in ({"dataset": name}, {"domain": domain})]
    changes = _about_changes(name, domain)
    subjects = {**_SEARCH_CONTEXT, "subject": {"type": "user"}}
    return {
        "GET /v1/catalog": _gets(
            f"/v1/catalog?environment=dev&names={name},sales.orders",
            f"/v1/catalog?environment=dev&names={name}&at={{moment}}",
            f"/v1/catalog?environment=dev&names={name}&subject=user:hugo",
        ),
        "GET /v1/leases": _gets(
            f"/v1/leases?environment=dev&names={name},sales.orders",
            f"/v1/leases?environment=prod&names={name}&project=p&purpose=q",
        ),
        "POST /v1/preflight": _posts(
            "/v1/preflight",
            {"environment": "dev", "load": [name]},
            {"environment": "prod", "save": [name, "sales.orders"], "load": ["sales.orders"], "project": "p"},
        ),
        "POST /v1/use": _posts(
            "/v1/use",
            {"events": [_use(name, 3), _use(name, 4, receipt="{receipt}", environment="dev", outcome="refused")]},
            {"events": [_use(name, 4, action="save", project="p")]},
        ),
        "GET /v1/projects/offer": _gets(f"/v1/projects/offer?q={name}"),
        "POST /v1/projects/preview": _posts(
            "/v1/projects/preview", _starting([name]), _starting(["finance.budget", name])
        ),
        "GET /v1/projects/new.zip": _gets(
            f"/v1/projects/new.zip?name=Report&environment=dev&datasets=sales.orders,{name}"
        ),
        "GET /v1/explain": _gets(
            *(f"{explain}=dev&action={action}" for action in ON_DATA),
            f"{explain}=qa&action=load",
            *(f"{explain}=dev&action=load&subject=user:{subject}" for subject in ("hugo", "whoever", HIDDEN_PERSON)),
            f"{explain}=dev&action=load&at={{moment}}",
        ),
        "GET /v1/datasets": _gets(
            *(f"/v1/datasets?q={q}" for q in (leaf, name)),
            *(f"/v1/datasets?limit=1&after={after}" for after in (name, f"{name}a")),
            f"/v1/datasets?domain={domain}",
        ),
        "GET /v1/datasets/search": _gets(*(f"/v1/datasets/search?search={words}" for words in (leaf, name))),
        "GET /v1/datasets/{name}": _gets(f"/v1/datasets/{name}"),
        "PUT /v1/datasets/{name}": [
            *_puts(f"/v1/datasets/{name}", body),
            *_puts(f"/v1/datasets/{name}", {"environments": {"base": {"type": "no.Such"}}}, after=[0]),
            *_puts(f"/v1/datasets/{name}", {"environments": {"qa": {}}}, {**body, "domain": "sales"}, after=[1]),
            *_puts(f"/v1/datasets/{domain}.new_one", dataset("s3://board/x.csv"), after=[0]),
            *_puts("/v1/datasets/finance.budget", {**body, "successor": name}, after=[7]),
        ],
        "DELETE /v1/datasets/{name}": _ends(f"/v1/datasets/{name}"),
        "GET /v1/datasets/{name}/mine": _gets(f"/v1/datasets/{name}/mine"),
        "GET /v1/datasets/{name}/history": _gets(
            f"/v1/datasets/{name}/history", f"/v1/datasets/{name}/history?limit=1&after=1"
        ),
        "GET /v1/datasets/{name}/definition": _gets(
            *(f"/v1/datasets/{name}/definition?environment={environment}" for environment in ("dev", "qa"))
        ),
        "GET /v1/datasets/{name}/lineage": _gets(f"/v1/datasets/{name}/lineage?days=7&steps=3"),
        "GET /v1/datasets/{name}/use": _gets(f"/v1/datasets/{name}/use?days=7"),
        "GET /v1/datasets/{name}/projects": _gets(
            f"/v1/datasets/{name}/projects", f"/v1/datasets/{name}/projects?days=7&limit=1&after=a"
        ),
        "GET /v1/domains": _gets(f"/v1/domains?after={domain}"),
        "GET /v1/domains/{name}": _gets(f"/v1/domains/{domain}"),
        "PUT /v1/domains/{name}": [
            *_puts(f"/v1/domains/{domain}", {"owner": "group:x"}, {"owner": "group:the-board"}, after=[1, 7]),
            *_puts(f"/v1/domains/{domain}.deeper", {"owner": "group:x", "locations": ["s3://board/x/"]}, after=[0]),
        ],
        "PUT /v1/policies/{id}": _puts("/v1/policies/mine", *_about_policies(name, domain), after=[7]),
        "POST /v1/policies/read": _posts("/v1/policies/read", *_uncased(_about_policies(name, domain))),
        "PUT /v1/grants/{id}": [
            *_puts("/v1/grants/mine", *to_ann, after=[7]),
            *_puts("/v1/grants/mine", {**to_ann[0], "environments": ["qa"]}, after=[7]),
        ],
        "GET /v1/realm": _gets(*(f"/v1/realm?kind={kind}&after={after}" for kind in KINDS for after in (name, domain))),
        "POST /v1/try": [
            *(Ask("/v1/try", {"changes": each}) for each in changes),
            *(
                Ask("/v1/try", {"keep": [{"kind": kind, "id": id_}], "source": "probe"})
                for kind, id_ in (("dataset", name), ("domain", domain))
            ),
            Ask("/v1/try", {"changes": changes[0], "source": "probe", "take_over": True}),
        ],
        "POST /v1/apply": [
            Ask("/v1/apply", {"changes": changes[0]}, {"If-Match": '"1"'}),
            Ask("/v1/apply", {"changes": changes[0]}, {"If-Match": '"{revision}"'}),
        ],
        "POST /v1/requests": _posts(
            "/v1/requests",
            asks_for(name),
            asks_for(name, actions=["load", "save"], environments=["prod"], purpose="q"),
            asks_for(name, environments=["qa"]),
            asks_for(name, datasets=[name, f"{domain}.leads"]),
            asks_for(name, datasets=[name, "finance.accounts"]),
        ),
        "POST /v1/break-glass": _posts("/v1/break-glass", _emergency(dataset=name), _emergency(domain=domain)),
        "GET /v1/ledger": _gets(f"/v1/ledger?dataset={name}"),
        "GET /v1/ledger/readers": _gets(f"/v1/ledger/readers?dataset={name}&environment=dev"),
        "GET /v1/ledger/figures": _gets(f"/v1/ledger/figures?dataset={name}"),
        "GET /v1/who": _gets(
            *(f"/v1/who?dataset={name}&environment=dev&action={action}" for action in ("discover", "load")),
            f"/v1/who?dataset={name}&environment=dev&action=load&at={{moment}}",
            f"/v1/who?dataset={name}&action=grant",
            *(f"/v1/who?domain={domain}&action={action}" for action in ("grant", "approve")),
        ),
        "POST /access/v1/evaluation": _posts(
            "/access/v1/evaluation",
            *({**_subject(a), "action": {"name": "load"}, "resource": thing} for a in ("ann", "hugo")),
        ),
        "POST /access/v1/evaluations": _posts(
            "/access/v1/evaluations",
            *_evaluations(thing, (*ON_DATA, *GOVERNING)),
            *_evaluations(place, GOVERNING),
        ),
        "POST /access/v1/search/subject": _posts(
            "/access/v1/search/subject",
            {**subjects, "action": {"name": "load"}, "resource": thing},
            {**subjects, "action": {"name": "declare"}, "resource": thing},
            {**subjects, "action": {"name": "grant"}, "resource": place},
        ),
        "POST /access/v1/search/action": _posts(
            "/access/v1/search/action",
            *({**_subject(a), "resource": each} for a in ("fay", "hugo") for each in (thing, place)),
        ),
    }


#: What is asked of each route about each hidden thing.
ABOUT: Mapping[str, Mapping[str, list[Ask]]] = {name: _about(name) for name in HIDDEN.values()}

#: Every route that is walked at all, as the service's own description names it.
WALKED: frozenset[str] = frozenset(ALWAYS).union(*ABOUT.values())
