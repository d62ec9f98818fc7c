"""OpenTelemetry where it is configured by its standard environment variables; else nothing, at no cost.

A span of the server for each request, which continues the client's `traceparent`, and one for each call of a version.
No unit ids and no inputs stand in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from holdfast import __version__
from holdfast.errors import UserError

_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """Spans by `provider`, an OpenTelemetry TracerProvider."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("holdfast.serving", __version__)
        self._kinds = trace.SpanKind
        self._error = trace.Status(trace.StatusCode.ERROR)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """The span of one request; set `http.response.status_code` and what else is known on it."""
        known = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        attributes = {"http.request.method": method, "http.route": route}
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=self._propagator.extract(known),
            kind=self._kinds.SERVER,
            attributes=attributes,
        ) as span:
            yield span

    @contextmanager
    def call(self, version: str, variant: str) -> Iterator[Any]:
        """The span of one call of a version."""
        attributes = {"holdfast.version": version, "holdfast.variant": variant}
        with self._tracer.start_as_current_span("model", attributes=attributes) as span:
            yield span

    def failed(self, span: Any, fault: str) -> None:
        """Mark a span as failed by `fault`."""
        span.set_attribute("error.type", fault)
        span.set_status(self._error)

    def close(self) -> None:
        """Send what is left. Blocks for as long as the exporter's timeout."""
        self._provider.shutdown()


def configured(environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Tracing by the OTEL_ variables; None where no endpoint is named or it is switched off.

    UserError where it is asked for and OpenTelemetry is not installed.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none"
    if off or not any(environ.get(name) for name in _ASKED_BY):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UserError(
            "the environment asks for traces by OTEL_EXPORTER_OTLP_ENDPOINT, and OpenTelemetry is not installed.",
            hint="Type: pip install 'holdfast[traces]', or set OTEL_SDK_DISABLED=true.",
        ) from None
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "holdfast"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
