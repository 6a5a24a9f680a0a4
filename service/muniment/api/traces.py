"""Traces of requests (OpenTelemetry), for whoever runs a collector; without one nothing here is even imported.

Where traces go, and how many of them, is said by OpenTelemetry's own variables
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, …). A trace that a caller has begun is
gone on with (W3C Trace Context). Spans say how long what took, on which route, with which
status: no subject, no dataset, no path, no words of an error.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muniment.api.watching import method_of, route_of
from muniment.core.tracing import Step

_FAILED: Final = 500


class Traces:
    """What one process tells of its requests; sent from a thread of its own, a batch at a time."""

    def __init__(self) -> None:
        named = Resource({SERVICE_NAME: "muniment", SERVICE_VERSION: version("muniment")})
        # What the operator calls the service (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) stands before what we do.
        self._provider = TracerProvider(
            resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer: Final = self._provider.get_tracer("muniment", version("muniment"))

    def step(self, step: Step) -> AbstractContextManager[object]:
        """A span around a step of the request that is under way."""
        return self.tracer.start_as_current_span(step.value, record_exception=False, set_status_on_exception=False)

    def follow(self, app: FastAPI) -> None:
        """Follow every request that reaches an application."""
        app.add_middleware(TraceRequests, traces=self)

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


class TraceRequests:
    """ASGI middleware: a span for each request, in the caller's trace if it sends one."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self.app = app
        self._traces = traces
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = method_of(scope)
        sent = Headers(scope=scope)
        carrier = {name: sent[name] for name in ("traceparent", "tracestate") if name in sent}
        context = self._propagator.extract(carrier)
        with self._traces.tracer.start_as_current_span(
            method, context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            scope.setdefault("state", {})["trace_id"] = f"{span.get_span_context().trace_id:032x}"

            async def traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status: int = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= _FAILED:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self.app(scope, receive, traced)
            except Exception:
                span.set_status(Status(StatusCode.ERROR))
                raise
            finally:
                route = route_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})
