"""What a replica tells Prometheus. Requests add to plain numbers on the event loop; a scrape makes families of them.

prometheus_client's own counters take a lock and a look-up for each request, which cost more than the routing itself.
"""

from __future__ import annotations

import resource
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from holdfast import __version__

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from holdfast.serving.live import LiveEvidence
    from holdfast.serving.log.housekeeping import Housekeeping
    from holdfast.serving.log.writer import LogWriter

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
MOST_OUTCOMES = 100  # names that get a series of their own: clients choose names, and each would stay in memory
_OTHER = "other"
_REQUESTS = "Requests for predictions by variant as assigned, the version that answered and the status told."
_FAULTS = "Requests that a version did not answer, by what happened."
_DURATION = "Seconds from a whole request to its answer, which is logged by then."
_MODEL = "Seconds of one call of a version."
_OUTCOMES = "Outcomes received by name and variant; their mean is sum over count."

Kind = Literal["gauge", "counter"]


class Histogram:
    """Counts of seconds by `BOUNDS`, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus's cumulative buckets."""
        found, total = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Metrics:
    """The numbers of one replica. `collect` makes it a collector for prometheus_client."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.faults: dict[tuple[str, str, str], int] = defaultdict(int)
        self.durations: dict[str, Histogram] = defaultdict(Histogram)
        self.calls: dict[str, Histogram] = defaultdict(Histogram)
        self.outcomes: dict[tuple[str, str], list[float]] = {}
        self._watched: list[tuple[Kind, str, str, Callable[[], float]]] = []
        self._names: set[str] = set()
        self._started = time.time()

    def answered(self, variant: str, version: str, code: int, seconds: float) -> None:
        """A request was answered with `code`."""
        self.requests[variant, version, code] += 1
        self.durations[variant].observe(seconds)

    def refused(self, variant: str, version: str, code: int) -> None:
        """A request was told `code` and has no answer; variant and version are "" where it was not assigned."""
        self.requests[variant, version, code] += 1

    def called(self, version: str, seconds: float) -> None:
        """A version was asked and came back, with an answer or a fault."""
        self.calls[version].observe(seconds)

    def fault(self, variant: str, version: str, fault: str) -> None:
        self.faults[variant, version, fault] += 1

    def outcome(self, name: str, variant: str, value: float) -> None:
        """An outcome that was joined with its prediction."""
        if name not in self._names and len(self._names) >= MOST_OUTCOMES:
            name = _OTHER
        self._names.add(name)
        known = self.outcomes.setdefault((name, variant), [0.0, 0.0])
        known[0] += value
        known[1] += 1

    def watch(self, kind: Kind, name: str, text: str, read: Callable[[], float]) -> None:
        """Have `read` called at each scrape for the metric `holdfast_NAME`."""
        self._watched.append((kind, f"holdfast_{name}", text, read))

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._of_requests()
        yield from self._of_outcomes()
        yield from self._of_watched()

    def _of_requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("holdfast_requests", _REQUESTS, labels=["variant", "version", "code"])
        for (variant, version, code), count in self.requests.items():
            requests.add_metric([variant, version, str(code)], count)
        faults = CounterMetricFamily("holdfast_faults", _FAULTS, labels=["variant", "version", "fault"])
        for labels, count in self.faults.items():
            faults.add_metric(list(labels), count)
        yield requests
        yield faults
        for name, text, label, found in (
            ("holdfast_request_duration_seconds", _DURATION, "variant", self.durations),
            ("holdfast_model_duration_seconds", _MODEL, "version", self.calls),
        ):
            family = HistogramMetricFamily(name, text, labels=[label])
            for value, histogram in found.items():
                family.add_metric([value], histogram.buckets(), histogram.total)
            yield family

    def _of_outcomes(self) -> Iterator[Metric]:
        from prometheus_client.core import SummaryMetricFamily

        family = SummaryMetricFamily("holdfast_outcome_value", _OUTCOMES, labels=["name", "variant"])
        for labels, (total, count) in self.outcomes.items():
            family.add_metric(list(labels), int(count), total)
        yield family

    def _of_watched(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        families = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for kind, name, text, read in self._watched:
            yield families[kind](name, text, value=read())
        yield InfoMetricFamily("holdfast_build", "The Holdfast that runs.", value={"version": __version__})
        memory = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        yield GaugeMetricFamily("holdfast_start_time_seconds", "When the replica began, UTC.", value=self._started)
        yield GaugeMetricFamily("holdfast_peak_memory_bytes", "The most memory it ever held.", value=memory)


def exposition(metrics: Metrics, accept: str = "") -> tuple[str, bytes]:
    """Content type and text of a scrape, in the format that `accept` asks for."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


def watch_log(metrics: Metrics, writer: LogWriter) -> None:
    """Have the log of predictions watched."""
    watch = metrics.watch
    watch("counter", "log_written", "Records on the disk.", lambda: writer.written)
    watch("counter", "log_dropped", "Requests answered without a record.", lambda: writer.dropped)
    watch("counter", "log_groups", "Writes, each of many records.", lambda: writer.groups)
    watch("counter", "log_bytes", "Bytes written.", lambda: writer.bytes)
    watch("gauge", "log_waiting", "Records accepted and not yet written.", lambda: writer.waiting)
    watch("gauge", "log_lag_seconds", "Age of the oldest record that is not written yet.", lambda: writer.lag)
    watch("gauge", "log_write_seconds", "How long the last write took.", lambda: writer.write_seconds)
    watch("gauge", "log_failing", "1 where records cannot be written.", lambda: writer.failing is not None)


def watch_tables(metrics: Metrics, keeper: Housekeeping) -> None:
    """Have the way from sealed segments into the tables watched."""
    watch = metrics.watch
    watch("gauge", "segments_waiting", "Sealed segments to be taken yet.", lambda: keeper.backlog.segments)
    watch("gauge", "segments_waiting_bytes", "Their bytes.", lambda: keeper.backlog.size)
    watch("gauge", "segments_oldest_seconds", "Age of the oldest of them.", lambda: keeper.backlog.age(time.time()))
    watch("counter", "tables_rows", "Predictions brought into the table.", lambda: keeper.done.rows)
    watch("gauge", "tables_trouble", "1 where something is in the way of the tables.", lambda: bool(keeper.trouble))


def watch_live(metrics: Metrics, live: LiveEvidence) -> None:
    """Have the canary's live evidence and the profile of inputs watched."""
    watch, counts = metrics.watch, live.counts
    watch("counter", "live_written", "Summaries written.", lambda: counts.written)
    watch("counter", "live_failed", "Flushes that failed.", lambda: counts.failed)
    watch("counter", "live_read_back", "Times that a step was read back from the log.", lambda: counts.read_back)
    watch("counter", "live_lost", "Requests without room, which are read back from the log.", lambda: live.lost)
    watch("gauge", "live_trouble", "1 where something is in the way of flushing.", lambda: bool(counts.trouble))
    watch("counter", "profile_lost", "Requests without room in the profile of inputs.", lambda: live.profile_lost)
