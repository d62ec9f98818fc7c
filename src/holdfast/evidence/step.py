"""One step of a canary from its two logs: rows are fed as they come, evidence is asked for look by look."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.evidence._meetings import meet
from holdfast.evidence._requests import Requests
from holdfast.evidence._threads import at_once
from holdfast.evidence.closed import closed_of
from holdfast.evidence.contributions import micros_of
from holdfast.evidence.faults import Faults, bursts_by_look
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Outcomes
from holdfast.evidence.rows import Rows
from holdfast.evidence.summary import Summary, evidence_of
from holdfast.evidence.sums import Closed, Evidence

MEMORY_SECONDS = 900.0


class Step:
    """The evidence of one step that began at `begin_micros` (UTC). Blocks are asked for in order, from second 0 on, gapless.

    `closing` are the planned looks in seconds of the step, `window_seconds` how long a unit is followed. With `keep` all rows
    stay in memory, which `closed` needs. Without it memory holds the requests of the longest delay and of `memory_seconds`
    (45 bytes each, and 16 for each name of outcomes) beside a fixed part, a `Summary` of at most 0.5 MB for 8 measures.

    A request that comes to light after its look counts at the next one, and an outcome that does puts its request right there,
    for `memory_seconds` after the request was final; later ones are left out and counted, because repetitions could no longer
    be told. A repeated id counts once: the first by time of those that no look has covered yet, else the one that counts.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        share: float,
        begin_micros: int,
        *,
        burst_seconds: float = 60.0,
        burst_alpha: float = 0.002,
        closing: Sequence[float] = (),
        window_seconds: float = 0.0,
        keep: bool = False,
        memory_seconds: float = MEMORY_SECONDS,
    ) -> None:
        self.frame = Frame(
            measures=dict(measures),
            share=share,
            begin_micros=begin_micros,
            burst_seconds=burst_seconds,
            burst_alpha=burst_alpha,
        )
        self.closing, self.window_seconds, self.keep = tuple(closing), window_seconds, keep
        self._requests = Requests(self.frame, None if keep else micros_of(memory_seconds))
        self._now = Summary.empty(self.frame)

    def feed(self, rows: Rows | None, outcomes: Outcomes | None = None, left_out: LeftOut | None = None) -> None:
        """Rows and outcomes that arrived, in any order and in pieces of any size; `left_out` is what cleaning them left out.

        Rows from before the step are ignored. Rows of the future wait for their look.
        """
        self._requests.feed(rows, outcomes)
        if left_out:
            self._now = dataclasses.replace(self._now, left_out=self._now.left_out + left_out)

    def block(self, begin: float, looks: int, look_seconds: float) -> Evidence:
        """The evidence at the ends of `looks` stretches of `look_seconds` each, from second `begin` of the step on.

        Look k covers (begin + k·look, begin + (k+1)·look], the first of all also the step's first moment. Everything is
        cumulative since the step began; the leading axis is looks. `sums` are over the requests whose value is final by then,
        `within` is as at the last look. Raises ValueError where blocks are not asked for in order.
        """
        span = Span.of(self.frame, begin, looks, look_seconds)
        if span.begin != self._now.until or looks < 1 or span.look < 1:
            at = (self._now.until - self.frame.begin_micros) / 1e6
            raise ValueError(f"a block begins at second {begin:g} where the next one begins at second {at:g}")
        base = self._now.books
        left_out = self._requests.settle(span.begin, base)
        arrived = self._requests.arrive(span.end)
        books, (sample, counts), fates = at_once(
            len(arrived),
            lambda: self._requests.counted(span),
            lambda: meet(self._now.sample, arrived.rows, span),
            arrived.fates,
        )
        books.onto(base)
        burst, faults = bursts_by_look(self.frame, self._now.faults, Faults.of(arrived.rows), span)
        left_out += self._requests.forget(span.end)
        self._now = Summary(
            frame=self.frame,
            until=span.end,
            books=books.last(),
            sample=sample,
            faults=faults,
            left_out=self._now.left_out + left_out + fates,
        )
        return evidence_of(books, counts, begin + look_seconds * np.arange(1.0, looks + 1), burst)

    def closed(self, number: int) -> Closed:
        """The units whose window has closed by planned look `number`; ask after the block that ends there.

        ValueError without `keep`: then `closed_sums` answers it from rows that are read from the log again.
        """
        seconds = self.closing[number]
        if not self.keep:
            raise ValueError("closed units need all rows of the step: expected keep=True, or use closed_sums")
        if self.frame.begin_micros + micros_of(seconds) > self._now.until:
            raise ValueError(f"planned look {number} is at second {seconds:g}, which no block has reached")
        all_rows = self._requests.everything()
        return closed_of(
            self.frame, all_rows.rows, all_rows.firsts, seconds=seconds, window_seconds=self.window_seconds
        )

    def summary(self) -> Summary:
        """What is known at the last look, as what adds up with other replicas' summaries."""
        return dataclasses.replace(self._now, books=self._now.books.copied(), left_out=self.left_out)

    @property
    def left_out(self) -> LeftOut:
        """What was left out so far, requests and outcomes; outcomes that still wait for their request count as unknown."""
        return self._now.left_out + self._requests.unknown()
