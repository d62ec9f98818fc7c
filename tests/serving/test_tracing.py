"""Spans where OpenTelemetry is configured, and nothing where it is not."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from holdfast.serving.tracing import Tracing, configured
from tests.serving.gateways import FunctionModel, raising, running, table_with

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


def test_spans_continue_the_clients_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with running(table_with(FunctionModel("1"), FunctionModel("2", raising), 1.0), more={"tracing": tracing}) as server:
        answer = server.infer(unit="somebody", traceparent=PARENT)
        server.request("POST", "/invocations", "{", {"traceparent": "nonsense"})
    canary, champion, request, wrong = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in (canary, champion, request)} == {PARENT[3:35]}
    assert request.name == "POST /v2/models/{name}/infer"
    assert request.parent is not None and f"{request.parent.span_id:016x}" == PARENT[36:52]
    said = dict(request.attributes or {})
    assert (said["http.response.status_code"], said["holdfast.variant"], said["holdfast.version"]) == (
        200,
        "canary",
        "1",
    )
    assert said["holdfast.prediction-id"] == answer.headers["x-holdfast-prediction-id"]
    for span, version, fault in ((canary, "2", "raised"), (champion, "1", None)):
        assert span.parent is not None and span.parent.span_id == request.context.span_id
        assert dict(span.attributes or {}).get("error.type") == fault
        assert dict(span.attributes or {})["holdfast.version"] == version
    assert not wrong.parent and dict(wrong.attributes or {})["http.response.status_code"] == 400
    assert "somebody" not in str([span.to_json() for span in exporter.get_finished_spans()])


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_is_on_where_the_environment_names_an_endpoint(environ: dict[str, str], on: bool) -> None:
    found = configured(environ)
    assert (found is not None) is on
    if found is not None:
        found.close()
