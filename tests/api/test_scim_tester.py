"""scim2-tester, the judge of SCIM 2.0 services, asks the service all that it has to ask, and finds nothing wrong.

It goes by what the service says of itself: its schemas, its types of resources, and what it says it supports.
Seen to fail with ``active`` kept when it was removed, and with a schema that declares a name which is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from scim2_client.client import BaseSyncSCIMClient
from scim2_tester import Status, check_server

from demo.issuer import RunningIssuer
from tests.api.running import Served, serving


class Provider(BaseSyncSCIMClient):
    """An identity provider that speaks SCIM over HTTP."""

    def __init__(self, http: httpx.Client) -> None:
        super().__init__()
        self._http = http

    def _stays_under_base_url(self, endpoint: str) -> bool:
        url = self._http.build_request("GET", endpoint).url
        return str(url).startswith(str(self._http.base_url))

    def _parse_json(self, response: Any) -> Any:
        return response.json()

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        return self._http.request(method, url, **kwargs)


@pytest.fixture(scope="module")
def served(
    issuer: RunningIssuer,
    made_database: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    said: Path = tmp_path_factory.mktemp("served") / "said"
    with made_database() as url, serving(issuer, said, database_url=url) as service:
        yield service
        assert "Traceback" not in said.read_text()


@pytest.mark.parametrize("path", ["/scim/v2", "/scim/corp/v2"])
def test_scim2_tester_finds_nothing_wrong(served: Served, issuer: RunningIssuer, path: str) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('root')}"}
    with httpx.Client(base_url=f"{served.base}{path}", headers=headers, trust_env=False) as http:
        results = check_server(Provider(http))
    wrong = [f"{each.title}: {each.reason}" for each in results if each.status is not Status.SUCCESS]
    assert wrong == []
    asked = {each.title for each in results}
    assert {
        "object_creation",
        "object_query",
        "object_replacement",
        "object_deletion",
        "check_add_attribute",
        "check_remove_attribute",
        "check_replace_attribute",
        "search_with_attributes",
    } <= asked
