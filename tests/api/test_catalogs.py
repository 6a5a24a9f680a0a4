"""The catalog and the lease as they travel: media, codings, tags; and Kedro itself reads what is served."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml
import zstandard

from demo.issuer import RunningIssuer
from tests.api.running import Running, dataset, grant, refusal, running

pytestmark = pytest.mark.anyio

CATALOG = "/v1/catalog?environment=prod"

#: Values that readers of YAML take for something else when they stand bare.
TRICKY = [
    "1e3",
    "0o7",
    "y",
    "No",
    "12:30",
    "2027-01-01",
    "null",
    "~",
    "1_000",
    "=",
    "<<",
    "a: b",
    "#x",
    " x ",
    "Ünïcödé",
    "🙂",
]


@pytest.fixture(scope="module")
async def rich(issuer: RunningIssuer, module_company: str) -> AsyncIterator[Running]:
    """The company, in which Ann may use a good many datasets, one of them with values that are hard to write."""
    async with running(issuer, module_company) as service:
        root, sam = service.root, service.sam
        await root.put("/v1/environments/prod", {"variables": {"zone": "eu"}}, after=1)
        for number in range(40):
            await sam.make(f"/v1/datasets/sales.many_{number}", dataset(f"s3://lake/sales/{number}.csv"))
        load_args = {
            "na_values": TRICKY,
            "sep": ";",
            "header": 0,
            "nrows": None,
            "skip_blank_lines": False,
            "decimal": ".",
        }
        layers = {
            "base": {"type": "pandas.CSVDataset", "filepath": "s3://lake/sales/base.csv"},
            "prod": {
                "type": "pandas.CSVDataset",
                "filepath": "s3://lake/sales/${globals:zone,world}/x.csv",
                "load_args": load_args,
                "versioned": True,
                "metadata": {"note": "two\nlines", "numbers": [1, -2, 3.5, True]},
            },
        }
        await sam.make("/v1/datasets/sales.tricky", {"environments": layers})
        await root.make("/v1/grants/ann-sales", grant("user:ann", ["load", "save"], on={"domain": "sales"}))
        yield service


async def raw(service: Running, path: str, **headers: str) -> httpx.Response:
    """An answer as it travels: its body is not decoded."""
    request = service.http.build_request(
        "GET", path, headers={"Authorization": f"Bearer {service.ann.token}", "Accept-Encoding": "identity", **headers}
    )
    return await service.http.send(request, stream=True)


async def body(service: Running, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    answer = await raw(service, path, **headers)
    parts = b"".join([part async for part in answer.aiter_raw()])
    await answer.aclose()
    return answer, parts


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/yaml"),
        ("*/*", "application/yaml"),
        ("application/yaml", "application/yaml"),
        ("application/json", "application/json"),
        ("application/json;q=0.5, application/yaml", "application/yaml"),
        ("application/yaml;q=0.1, application/json;q=0.9", "application/json"),
        ("application/json;q=0, */*", "application/yaml"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "application/json"),
        ("image/png", "application/yaml"),
        ("application/json;q=banana", "application/yaml"),
    ],
)
async def test_the_catalog_comes_in_the_media_that_is_asked_for(rich: Running, accept: str, media: str) -> None:
    answer = await rich.ann.get(CATALOG, headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == media


async def test_yaml_and_json_say_the_same_to_every_reader(rich: Running) -> None:
    """Seen to fail with texts written bare in `core/yaml_texts.py`: 12:30 became 750."""
    from omegaconf import OmegaConf

    as_yaml = (await rich.ann.get(CATALOG)).text
    as_json = await rich.ann.catalog("prod")

    assert yaml.safe_load(as_yaml) == as_json
    assert OmegaConf.to_container(OmegaConf.create(as_yaml)) == as_json
    tricky = as_json["sales.tricky"]
    assert tricky["filepath"] == "s3://lake/sales/eu/x.csv"
    assert tricky["load_args"]["na_values"] == TRICKY
    assert tricky["metadata"] == {"note": "two\nlines", "numbers": [1, -2, 3.5, True]}
    assert (await rich.ann.catalog("dev"))["sales.tricky"]["filepath"] == "s3://lake/sales/base.csv"


@pytest.mark.filterwarnings(r"ignore:.*dataset names? .*contains? '\.' characters:UserWarning")
async def test_kedro_itself_saves_and_loads_by_what_is_served(rich: Running, tmp_path: Path) -> None:
    from kedro.io import DataCatalog

    await rich.root.make("/v1/domains/files", {"owner": "group:sales-owners", "locations": [f"file://{tmp_path}/"]})
    await rich.root.make(
        "/v1/datasets/files.{kind}_orders", dataset(f"file://{tmp_path}/{{kind}}.csv", lifecycle="active")
    )
    await rich.root.make("/v1/grants/files", grant("user:ann", ["load", "save"], on={"domain": "files"}))

    served = (await rich.ann.get(f"{CATALOG}&names=files.big_orders")).text
    catalog = DataCatalog.from_config(yaml.safe_load(served))
    catalog.save("files.big_orders", pd.DataFrame({"a": [1, 2]}))

    assert (tmp_path / "big.csv").exists()
    assert list(catalog.load("files.big_orders")["a"]) == [1, 2]


@pytest.mark.parametrize("path", [CATALOG, "/v1/leases?environment=prod"])
async def test_every_coding_holds_the_same_body(rich: Running, path: str) -> None:
    plain, text = await body(rich, path)
    assert "content-encoding" not in plain.headers
    assert len(text) > 1024
    tags = {plain.headers["etag"]}
    for asked, coding in (
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1, zstd;q=0.1", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("br, deflate", None),
        ("gzip;q=0", None),
    ):
        answer, packed = await body(rich, path, **{"Accept-Encoding": asked})
        assert answer.headers.get("content-encoding") == coding, asked
        unpacked = {"gzip": gzip.decompress, "zstd": unzstd, None: bytes}[coding](packed)
        assert unpacked == text
        assert int(answer.headers["content-length"]) == len(packed)
        tags.add(answer.headers["etag"])
    assert len(tags) == 3  # A strong tag names bytes, so each coding has its own.


def unzstd(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


@pytest.mark.parametrize("path", [CATALOG, "/v1/leases?environment=prod"])
async def test_what_the_caller_holds_is_not_sent_again(rich: Running, path: str) -> None:
    given = await rich.ann.get(path)
    tag = given.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await rich.ann.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        for name in ("muniment-receipt", "muniment-revision", "cache-control", "vary"):
            assert answer.headers[name]
    for unknown in ('"other"', tag.strip('"'), ""):
        assert (await rich.ann.get(path, headers={"If-None-Match": unknown})).status_code == 200


async def test_a_tag_is_of_one_subject_question_and_state(rich: Running) -> None:
    asked = [
        "/v1/catalog?environment=prod",
        "/v1/catalog?environment=dev",
        "/v1/catalog?environment=prod&project=p",
        "/v1/catalog?environment=prod&purpose=p",
        "/v1/catalog?environment=prod&names=sales.orders",
        "/v1/catalog?environment=prod&names=sales.targets",
        "/v1/leases?environment=prod",
    ]
    tags = [(await rich.ann.get(path)).headers["etag"] for path in asked]
    tags.append((await rich.ann.get(CATALOG, headers={"Accept": "application/json"})).headers["etag"])
    tags.append((await rich.nightly.get(CATALOG)).headers["etag"])
    assert len(set(tags)) == len(tags)

    assert (await rich.ann.get(CATALOG)).headers["etag"] == tags[0]
    await rich.root.put("/v1/environments/prod", {"variables": {"zone": "eu", "x": "y"}}, after=2)
    changed = (await rich.ann.get(CATALOG)).headers["etag"]
    assert changed != tags[0]
    await rich.hugo.put("/v1/datasets/hr.salaries", dataset("s3://lake/hr/s.csv", classification="secret"), after=1)
    assert (await rich.ann.get(CATALOG)).headers["etag"] == changed


async def test_names_are_resolved_by_patterns_and_the_rest_is_as_if_not_asked_for(rich: Running) -> None:
    names = "sales.orders,sales.emea_orders,hr.salaries,sales.nothing, sales.orders ,,"
    held = await rich.ann.catalog(names=names)
    assert {name: definition["filepath"] for name, definition in held.items()} == {
        "sales.orders": "s3://lake/sales/orders.csv",
        "sales.emea_orders": "s3://lake/sales/emea/orders.csv",
    }
    assert await rich.ann.catalog(names="") == {}
    many = ",".join(f"sales.x{number}" for number in range(501))
    refusal(await rich.ann.get("/v1/catalog", params={"environment": "dev", "names": many}), 422)


async def test_a_lease_says_what_may_be_done_and_what_ends_sooner(rich: Running) -> None:
    """Also of a name that a pattern makes. Seen to fail with the ends of declared names alone: the pattern's lasted."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    await rich.root.make("/v1/groups/guests", {"members": ["user:eve"]})
    for name, on in (
        ("one", {"dataset": "sales.targets"}),
        ("all", {"domain": "sales.emea"}),
        ("made", {"dataset": "sales.apac_orders"}),
    ):
        until = {} if name == "one" else {"until": soon.isoformat()}
        await rich.root.make(f"/v1/grants/guests-{name}", grant("group:guests", ["load"], on=on, **until))
    likes = f'resource.name like "sales.*_orders" && context.now < datetime("{soon:%Y-%m-%dT%H:%M:%SZ}")'
    made = f'permit (principal in Group::"guests", action == Action::"load", resource) when {{ {likes} }};'
    await rich.root.make("/v1/policies/guests", {"cedar": made, "scope": "sales"})

    lease: dict[str, Any] = await rich.eve.read(
        "/v1/leases?environment=dev&names=sales.targets,sales.emea.leads,sales.apac_orders"
    )

    assert lease["actions"] == {"sales.apac_orders": ["load"], "sales.emea.leads": ["load"], "sales.targets": ["load"]}
    ends = soon.isoformat().replace("+00:00", "Z")
    assert lease["ends"] == {"sales.apac_orders": ends, "sales.emea.leads": ends}
    assert lease["obligations"] == {}
    whole = await rich.eve.read("/v1/leases?environment=dev")
    assert whole["ends"].keys() == {"sales.emea.leads"}


async def test_a_name_that_only_saves_is_served_with_that_action(rich: Running) -> None:
    await rich.root.make("/v1/grants/hugo-saves", grant("user:hugo", ["save"], on={"dataset": "sales.targets"}))
    lease = await rich.hugo.read("/v1/leases?environment=dev")
    assert lease["actions"] == {"sales.targets": ["save"]}


async def test_an_empty_catalog_is_an_empty_mapping(rich: Running) -> None:
    stranger = rich.somebody("eve", sub="stranger")
    assert (await stranger.get(CATALOG)).text == "{}\n"
    assert await stranger.catalog() == {}
    lease = (await stranger.get("/v1/leases?environment=dev")).text
    parts = ("catalog", "actions", "patterns", "obligations", "ends", "notices")
    assert json.loads(lease) == {key: {} for key in parts}
