"""What Prometheus reads, by its own parser."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from holdfast.evidence.delta_log import DeltaLog
from holdfast.ledger import Ledger
from holdfast.serving.live import LiveEvidence
from holdfast.serving.log.housekeeping import Housekeeping
from holdfast.serving.log.writer import LogWriter
from holdfast.serving.metrics import (
    BOUNDS,
    MOST_OUTCOMES,
    Histogram,
    Metrics,
    exposition,
    watch_live,
    watch_log,
    watch_tables,
)
from holdfast.store import open_store
from tests.release.test_watch import attempt
from tests.serving.gateways import FunctionModel, raising, running, table_with


def samples(text: str, parse: Any = plain) -> dict[tuple[str, ...], float]:
    """Value by name and label values."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_a_scrape_after_some_requests() -> None:
    with running(table_with(FunctionModel("1"), FunctionModel("2", raising), 0.5), queue=7) as server:
        found = [server.infer(unit=f"u{number}").headers["x-holdfast-variant"] for number in range(20)]
        server.request("POST", "/invocations", "{")
        server.request("GET", "/v2")
        answer = server.admin("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    read = samples(answer.body.decode())
    canary = found.count("canary")
    assert read["holdfast_requests_total", "200", "canary", "1"] == canary
    assert read["holdfast_requests_total", "200", "champion", "1"] == 20 - canary
    assert read["holdfast_requests_total", "400", "", ""] == 1
    assert read["holdfast_faults_total", "raised", "canary", "2"] == min(canary, 5)
    assert read["holdfast_breaker_open",] == 1 and read["holdfast_canary_share",] == 0
    assert read["holdfast_request_duration_seconds_count", "canary"] == canary
    assert read["holdfast_request_duration_seconds_bucket", "+Inf", "canary"] == canary
    assert read["holdfast_model_duration_seconds_count", "1"] == 20
    assert (read["holdfast_queue_limit",], read["holdfast_requests_under_way",], read["holdfast_routing_epoch",]) == (
        7,
        0,
        1,
    )


def test_open_metrics_where_it_is_asked_for() -> None:
    metrics = Metrics()
    metrics.answered("champion", "1", 200, 0.003)
    content_type, body = exposition(metrics, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert samples(body.decode(), open_metrics)["holdfast_requests_total", "200", "champion", "1"] == 1


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.00051, 0.1, 9.99, 10.0, 11.0, 1e9])
def test_a_bucket_holds_what_is_not_above_its_bound(seconds: float) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    assert [count for _, count in histogram.buckets()] == [float(seconds <= bound) for bound in BOUNDS] + [1.0]
    assert histogram.total == seconds


def test_outcomes_have_a_mean_and_their_names_an_end() -> None:
    metrics = Metrics()
    for value in (1.0, 0.0, 1.0):
        metrics.outcome("click", "canary", value)
    for number in range(10 * MOST_OUTCOMES):
        metrics.outcome(f"name {number}", "champion", 1.0)
    read = samples(exposition(metrics)[1].decode())
    assert read["holdfast_outcome_value_sum", "click", "canary"] == 2.0
    assert read["holdfast_outcome_value_count", "click", "canary"] == 3.0
    assert len(metrics.outcomes) <= MOST_OUTCOMES + 1


def test_the_log_is_watched(tmp_path: Any) -> None:
    metrics, writer = Metrics(), LogWriter(tmp_path / "log")
    watch_log(metrics, writer)
    writer.append_blocking(b"a record")
    writer.close()
    read = samples(exposition(metrics)[1].decode())
    assert (
        read["holdfast_log_written_total",],
        read["holdfast_log_dropped_total",],
        read["holdfast_log_failing",],
    ) == (1, 0, 0)


def test_the_way_into_the_tables_and_live_evidence_are_watched(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    metrics, said = Metrics(), list[str]()
    clock = lambda: datetime.now(UTC)  # noqa: E731
    keeper = Housekeeping(tmp_path / "log", Ledger(store, who="tests"), "m", clock=clock, complain=said.append)
    live = LiveEvidence("a", store, "m", DeltaLog(store, "m"), settle=keeper.once)
    watch_tables(metrics, keeper)
    watch_live(metrics, live)
    writer = LogWriter(tmp_path / "log")
    writer.append_blocking(b"no record, so it is never taken")
    writer.close()
    (tmp_path / "store").write_text("in the way")
    keeper.once()
    live.tell(attempt())
    live.flush()
    read = samples(exposition(metrics)[1].decode())
    assert read["holdfast_segments_waiting",] == 1 and read["holdfast_segments_waiting_bytes",] > 30
    assert 0 <= read["holdfast_segments_oldest_seconds",] < 60
    assert read["holdfast_tables_trouble",] == 1 and len(said) == 1
    assert read["holdfast_live_trouble",] == 1 and read["holdfast_live_failed_total",] == 1
    assert (
        read["holdfast_live_written_total",],
        read["holdfast_live_lost_total",],
        read["holdfast_profile_lost_total",],
    ) == (
        0,
        0,
        0,
    )
