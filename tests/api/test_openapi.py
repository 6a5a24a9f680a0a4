"""``/openapi.json`` is OpenAPI 3.1, and true: schemathesis asks what it allows, and finds no lie in the answers.

Seen to fail with a lease described as having a member that it has not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from demo.issuer import RunningIssuer
from tests.api.running import Running, Served, after_version, dataset, grant, media_of_refusals, serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

#: One of each noun: what a made-up name would never hit.
FURNITURE: dict[str, dict[str, Any]] = {
    "/v1/environments/dev": {},
    "/v1/domains/sales": {"owner": "group:x", "locations": ["s3://a/"], "variables": {"a": "b"}},
    "/v1/datasets/sales.orders": dataset("s3://a/orders.csv", columns=[{"name": "id"}], tags=["gold"]),
    "/v1/groups/readers": {"members": ["user:ann"]},
    "/v1/grants/readers": grant("group:readers", ["load"], on={"dataset": "sales.orders"}),
    "/v1/policies/readers": {"form": {"effect": "forbid", "actions": ["save"], "resources": {"tags_any": ["gold"]}}},
    "/v1/webhooks/siem": {"url": "https://127.0.0.1/", "active": False},
}

#: What there is to ask about: the furniture, and somebody whom nobody here signs in as: their access is ended.
LEAVER = "leaver"
STANDING = (*FURNITURE, f"/v1/subjects/user:{LEAVER}")

#: What ends the sign-in of whoever asks it, too: asked last, by the last who asks.
ENDING_ALL = "/v1/subjects/end-sign-ins"

#: An answer that has no end, unless one is asked for.
FOLLOWING = "/v1/ledger/events"

#: A question that somebody keeps.
VIEW = "/v1/ledger/views/mine"

#: What takes no token.
OPEN = {"/v1/keys/revoke", "/v1/leases/keys", "/v1/ledger/checkpoint", "/v1/ledger/keys"}

#: What somebody has asked for: its id is the service's to give.
WISH = {"actions": ["save"], "datasets": ["sales.orders"], "environments": ["dev"], "because": "a report"}

#: Somebody who was provisioned, and a group; and what describes them.
PERSON = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "zoe"}
GROUP = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "zoes"}
DESCRIBING = ("/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User", "/scim/v2/ResourceTypes/User")

#: A key, but for its end.
KEY = {"service": "service:nightly", "use": "changes", "because": "a test"}

#: What is answered about a row that is not sealed yet.
CONFLICT = 409

#: How many requests are made up for each address and caller.
REQUESTS = 5


@pytest.fixture(scope="module")
def served(
    issuer: RunningIssuer,
    made_database: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The service in a process of its own, with an environment and a domain."""
    said = tmp_path_factory.mktemp("served") / "said"
    with made_database() as url, serving(issuer, said, database_url=url, sealing="true") as service:
        headers = {"Authorization": f"Bearer {issuer.token('root')}", **after_version(0)}
        for path, body in FURNITURE.items():
            httpx.put(f"{service.base}{path}", json=body, headers=headers, trust_env=False).raise_for_status()
        yield service
        assert "Traceback" not in said.read_text()


@pytest.fixture(scope="module")
def standing(served: Served, issuer: RunningIssuer) -> tuple[str, ...]:
    """The addresses of all that can be asked about."""
    headers = {"Authorization": f"Bearer {issuer.token('root')}"}
    with httpx.Client(base_url=served.base, headers=headers, trust_env=False) as http:
        leaver = {"Authorization": f"Bearer {issuer.token('eve', sub=LEAVER)}"}
        http.get("/v1/whoami", headers=leaver).raise_for_status()
        wished = http.post("/v1/requests", json=WISH).raise_for_status().json()["id"]
        until = (datetime.now(UTC) + timedelta(days=9)).isoformat()
        key = http.post("/v1/keys", json={**KEY, "until": until}).raise_for_status().json()["id"]
        http.get("/v1/catalog", params={"environment": "dev"}).raise_for_status()
        person = http.post("/scim/v2/Users", json=PERSON).raise_for_status().json()["id"]
        group = http.post("/scim/v2/Groups", json=GROUP).raise_for_status().json()["id"]
        rows = http.get("/v1/ledger", params={"event": "catalog.served"}).raise_for_status().json()["items"]
        while http.get("/v1/ledger/proofs/inclusion", params={"id": rows[0]["id"]}).status_code == CONFLICT:
            time.sleep(0.1)
    provisioned = (f"/scim/v2/Users/{person}", f"/scim/v2/Groups/{group}", *DESCRIBING)
    return (*STANDING, f"/v1/requests/{wished}", f"/v1/keys/{key}", f"/v1/ledger/{rows[0]['id']}", *provisioned, VIEW)


@pytest.mark.anyio
async def test_the_description_is_openapi_3_1_and_says_where_a_token_is_needed(service: Running) -> None:
    described = await service.nobody.read("/openapi.json")
    assert described["openapi"].startswith("3.1.")
    assert [scheme["scheme"] for scheme in described["components"]["securitySchemes"].values()] == ["bearer"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert media_of_refusals(path) in operation["responses"]["default"]["content"], f"{method} {path}"
            guarded = path.startswith(("/v1/", "/access/v1/", "/scim/")) and path not in OPEN
            assert bool(operation.get("security")) is guarded, f"{method} {path}"
            assert operation["description"], f"{method} {path}"


@pytest.mark.parametrize("who", ["eve", "root"])
def test_no_answer_is_other_than_described(
    served: Served, standing: tuple[str, ...], issuer: RunningIssuer, who: str
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(who)}"}
    schema = schemathesis.openapi.from_dict(httpx.get(f"{served.base}/openapi.json", trust_env=False).json())
    asked = 0
    answered: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    with httpx.Client(base_url=served.base, trust_env=False) as http:
        operations = sorted((found.ok() for found in schema.get_all_operations()), key=_ends_all)
        for operation in operations:

            @given(case=operation.as_strategy())
            @settings(
                max_examples=REQUESTS,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                if asked % 2:
                    _name_what_stands(case, standing)
                if case.path == FOLLOWING:
                    case.query = {**(case.query or {}), "follow": "false"}
                request = case.as_transport_kwargs(base_url=served.base, headers=headers)
                answer = _sent(http, request)
                case.validate_response(answer, checks=CHECKS)
                answered[case.method, case.path].add(answer.status_code)

            ask()
    assert asked >= REQUESTS * 20
    if who == "root":
        reading = {path: statuses for (method, path), statuses in answered.items() if method == "GET"}
        assert {path for path, statuses in reading.items() if 200 not in statuses} == set()
        assert answered["POST", ENDING_ALL] >= {200, 401}


def _ends_all(operation: schemathesis.schemas.APIOperation) -> bool:
    return bool(operation.path == ENDING_ALL)


def _name_what_stands(case: schemathesis.Case, standing: tuple[str, ...]) -> None:
    """Ask about what is there, as far as the address lets one."""
    place = next((path for path in standing if path.startswith(case.path.partition("{")[0])), "")
    for name in case.path_parameters or {}:
        case.path_parameters[name] = place.rpartition("/")[2]
    if case.path == "/v1/ledger/readers":
        case.query = {"dataset": "sales.orders"}
    elif case.path == "/v1/projects/new.zip":
        case.query = {"name": "Churn"}
    elif "environment" in (case.query or {}) or case.path == "/v1/who":
        case.query = {"environment": "dev"}
        if case.path in {"/v1/explain", "/v1/who"}:
            case.query |= {"action": "load", "dataset": "sales.orders"}
    elif case.path == "/v1/ledger/proofs/inclusion":
        case.query = {"id": next(path for path in standing if path.startswith("/v1/ledger/")).rpartition("/")[2]}
    elif case.path == "/v1/ledger/proofs/consistency":
        case.query = {"first": "1", "second": "1"}
    elif case.method == "GET":
        case.query = {}


def _sent(http: httpx.Client, request: dict[str, Any]) -> httpx.Response:
    """The request, sent; a name that a client would not put into an address is left to the client to write."""
    given_headers = {name: str(value).encode("utf-8", "replace") for name, value in request["headers"].items()}
    return http.request(
        request["method"],
        request["url"],
        params=request.get("params"),
        json=request.get("json"),
        content=request.get("data"),
        headers={**given_headers},
    )
