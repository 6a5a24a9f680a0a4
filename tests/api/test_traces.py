"""A request can be followed through the floors, by whoever runs a collector, and nothing personal travels with it.

Seen to fail with the caller's trace left aside, with the path in a span's name, and with the words of errors recorded.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from demo.issuer import RunningIssuer
from muniment.app import create_app, prepare
from muniment.core.problems import CannotStart
from muniment.settings import Settings
from tests.api.running import found_company, running, settings_for

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """What a collector was sent: spans, each with the resource that it belongs to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of_trace(self, trace: str) -> dict[str, Span]:
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    """An OTLP receiver (OpenTelemetry Protocol 1.x, over HTTP with protobuf) on this machine."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
async def collected(issuer: RunningIssuer, module_database: str) -> tuple[Collector, dict[str, str]]:
    """What a service has sent of some requests, and what it answered to them, by their traces."""
    with collecting() as collector, pytest.MonkeyPatch.context() as patched:
        patched.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        async with running(issuer, module_database) as service:
            await found_company(service)
            answers = {}
            for number, (caller, path) in enumerate(
                [
                    (service.ann, "/v1/catalog?environment=dev&purpose=secret-purpose"),
                    (service.ann, "/v1/datasets/sales.orders"),
                    (service.ann, "/v1/datasets/hr.salaries"),
                    (service.nobody, "/v1/whoami"),
                    (service.ann, "/v1/catalog?environment=dev&purpose=secret-purpose"),
                ],
                start=1,
            ):
                sent = {"traceparent": f"00-{TRACE[:-1]}{number}-{PARENT}-01"}
                answers[f"{TRACE[:-1]}{number}"] = str((await caller.get(path, headers=sent)).status_code)
    return collector, answers


async def test_a_request_goes_on_with_the_trace_that_its_caller_began(
    collected: tuple[Collector, dict[str, str]],
) -> None:
    collector, _ = collected
    spans = collector.of_trace(f"{TRACE[:-1]}1")
    door = spans["GET /v1/catalog"]
    assert door.parent_span_id.hex() == PARENT
    assert door.kind == Span.SPAN_KIND_SERVER
    assert {"sign in", "decide", "record"} <= spans.keys()
    for name in ("sign in", "decide", "record"):
        inside = spans[name]
        assert inside.parent_span_id == door.span_id
        assert door.start_time_unix_nano <= inside.start_time_unix_nano
        assert inside.end_time_unix_nano <= door.end_time_unix_nano


async def test_an_answer_that_is_given_again_is_followed_too(collected: tuple[Collector, dict[str, str]]) -> None:
    collector, _ = collected
    spans = collector.of_trace(f"{TRACE[:-1]}5")
    assert spans.keys() == {"GET /v1/catalog", "record"}
    assert spans["record"].parent_span_id == spans["GET /v1/catalog"].span_id


async def test_a_span_says_the_route_and_the_status(collected: tuple[Collector, dict[str, str]]) -> None:
    collector, answers = collected
    told = {}
    for trace in answers:
        (door,) = [span for span in collector.of_trace(trace).values() if span.kind == Span.SPAN_KIND_SERVER]
        attributes = {each.key: each.value for each in door.attributes}
        told[trace] = str(attributes["http.response.status_code"].int_value)
        assert door.name == f"GET {attributes['http.route'].string_value}"
        assert door.status.code == 0
    assert told == answers
    assert sorted(answers.values()) == ["200", "200", "200", "401", "404"]


async def test_nothing_in_a_span_names_anybody_or_anything(collected: tuple[Collector, dict[str, str]]) -> None:
    collector, _ = collected
    everything = "\n".join(str(span) for span in collector.spans)
    for word in ("ann", "sales", "orders", "salaries", "secret-purpose", "127.0.0.1", "Bearer", "Traceback"):
        assert word not in everything
    resources = [str(each.resource) for request in collector.requests for each in request.resource_spans]
    assert resources
    assert all('"muniment"' in resource for resource in resources)


async def test_a_fault_of_ours_is_an_error_without_words(issuer: RunningIssuer, database: str) -> None:
    with collecting() as collector, pytest.MonkeyPatch.context() as patched:
        patched.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
        async with running(issuer, database) as service:
            service.app.state.doorkeeper = None
            with pytest.raises(AttributeError):
                await service.ann.get("/v1/whoami")
    (door,) = [span for span in collector.spans if span.name == "GET /v1/whoami"]
    assert door.status.code == 2
    assert not door.status.message
    assert not door.events


def test_without_a_collector_nobody_is_followed(issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    def following() -> list[str]:
        app = create_app(settings_for(issuer), "postgresql://nobody@127.0.0.1:1/nothing")
        return [each.cls.__name__ for each in app.user_middleware if each.cls.__name__ == "TraceRequests"]

    assert not following()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert following()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not following()


def test_what_sends_traces_is_missed_at_the_start_and_not_by_each_worker_that_dies_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "muniment.api.traces", None)
    with pytest.raises(CannotStart, match=r"pip install 'muniment\[telemetry\]'"):
        asyncio.run(prepare(Settings(), "postgresql://127.0.0.1:1/nowhere"))
