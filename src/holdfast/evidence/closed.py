"""Units whose window has closed, with what they did inside it: the evidence of a promotion, from a full scan of a step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from holdfast.data.hashing import Hashes, as_numpy
from holdfast.evidence._arrow import arrow_numbers
from holdfast.evidence.books import Books, add
from holdfast.evidence.contributions import contribution, micros_of
from holdfast.evidence.firsts import First
from holdfast.evidence.frame import Frame
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Outcomes, join
from holdfast.evidence.rows import Rows
from holdfast.evidence.sums import ARMS, BUCKETS, Closed

Ints = npt.NDArray[np.int64]


def closed_sums(
    rows: Rows,
    outcomes: Outcomes,
    measures: Mapping[str, Measure],
    *,
    begin_micros: int,
    seconds: float,
    window_seconds: float,
) -> Closed:
    """The units of a step that began at `begin_micros` whose window has closed `seconds` later.

    A unit's window begins with its first request in the step and is `window_seconds` long, its end not included; it has closed
    when the longest delay after its end is over, so that whether a unit counts depends on its first request only. Its arm is
    that of its first request, and all its requests inside the window count there. `rows` are clean (no id twice) and may hold
    more than the step; outcomes that come later than their delay change nothing, so a look in the past is the same for ever.
    """
    frame = Frame(measures=measures, share=0.5, begin_micros=begin_micros)
    rows, _ = rows.in_order()
    firsts = {name: join(rows, outcomes.of(name))[0] for name in frame.outcomes}
    return closed_of(frame, rows, firsts, seconds=seconds, window_seconds=window_seconds)


def closed_of(
    frame: Frame, rows: Rows, firsts: Mapping[str, First], *, seconds: float, window_seconds: float
) -> Closed:
    """The same of rows, sorted by time, that have met their outcomes."""
    window = micros_of(window_seconds)
    latest = frame.begin_micros + micros_of(seconds) - frame.longest  # the last moment at which a window may end
    begin, end = (
        int(np.searchsorted(rows.micros, moment)) for moment in (frame.begin_micros, max(latest, frame.begin_micros))
    )
    codes, first = first_requests(rows.unit[begin:end])
    first += begin
    ends = rows.micros[first] + window
    closed = ends <= latest
    cells = rows.take(first).cell
    ends[~closed] = frame.begin_micros  # before all of its requests
    units, found = np.zeros((1, ARMS, BUCKETS)), Books(frame)
    add(units, cells[closed])

    def enter(books: Books, start: int, stop: int) -> None:
        unit = codes[start - begin : stop - begin]
        inside = np.flatnonzero(rows.micros[start:stop] < ends[unit])
        _enter(books, rows, firsts, inside + start, cells[unit[inside]])

    found.fill(begin, end, enter)
    return Closed(seconds=seconds, sums={name: sums.at(0) for name, sums in found.sums().items()}, units=units[0])


def first_requests(units: Hashes) -> tuple[npt.NDArray[np.int32], Ints]:
    """A number for each request's unit in the order in which units come, (n,), and where each comes first, (units,)."""
    codes: npt.NDArray[np.int32] = as_numpy(arrow_numbers(units).dictionary_encode().indices)
    highest = np.maximum.accumulate(codes)
    new = np.ones(len(codes), np.bool_)
    new[1:] = highest[1:] > highest[:-1]
    return codes, np.flatnonzero(new)


def _enter(books: Books, rows: Rows, firsts: Mapping[str, First], places: Ints, cells: Ints) -> None:
    """Add the requests at `places` to the cells of their units."""
    some = rows.take(places)
    for of_delay in books.final.values():
        add(of_delay, cells)
    for name, measure in books.frame.measures.items():
        if measure.source != "requests":
            first = firsts[str(measure.outcome)].alone(places) if measure.source == "outcome" else None
            books.enter(name, cells, contribution(measure, some, first))
