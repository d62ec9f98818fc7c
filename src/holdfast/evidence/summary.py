"""The evidence of one step as a small thing that adds up: what a replica of the gateway flushes, and what a look is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.errors import Damaged, UserError
from holdfast.evidence import _packing
from holdfast.evidence.books import Books
from holdfast.evidence.faults import Faults
from holdfast.evidence.frame import Frame
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.sample import UnitCounts, UnitSample
from holdfast.evidence.sums import Evidence

Array = npt.NDArray[np.float64]

VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary:
    """What one replica, or all of them, saw of a step up to the moment `until` (UTC microseconds).

    Sums of the requests whose values are final by bucket, the sample of units, the faulted units of the stretch of time that
    `until` lies in and of the one before, and the counts of what was left out. Whoever gets a request must get its outcomes.
    """

    frame: Frame
    until: int
    books: Books
    sample: UnitSample
    faults: Faults
    left_out: LeftOut

    @classmethod
    def empty(cls, frame: Frame) -> Summary:
        """Of a step that has just begun."""
        books, sample = Books(frame), UnitSample.empty()
        until, faults = frame.begin_micros, Faults.empty()
        return cls(frame=frame, until=until, books=books, sample=sample, faults=faults, left_out=LeftOut())

    def evidence(self, seconds: float | None = None) -> Evidence:
        """The evidence at one look (shapes without an axis of looks), `seconds` after the step began (None: at `until`).

        `burst` is over the remembered faults: those of the stretch that `until` lies in and of the one before.
        """
        counts = self.sample.counts()
        at = (self.until - self.frame.begin_micros) / 1e6 if seconds is None else seconds
        burst = self.faults.margins(self.frame)[1].max(initial=-np.inf)
        return evidence_of(self.books, counts, np.array([at], float), np.array([burst])).at(0)

    @property
    def size(self) -> int:
        """Bytes that `to_bytes` gives.

        With 8 measures at most about 500 kB: 8 kB for each measure's Σ value, for each one's missing (of outcomes and latency)
        and for each different delay's count, 9 bytes a sampled unit (at most 32,768: 295 kB), 17 bytes a remembered fault.
        """
        return len(self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `from_bytes` reads; checked by a digest."""
        head = {
            "version": VERSION,
            "frame": self.frame.to_json(),
            "until": self.until,
            "outside": sorted(self.books.outside),
            "level": self.sample.level,
            "capacity": self.sample.capacity,
            "left_out": self.left_out.to_json(),
        }
        arrays: dict[str, npt.NDArray[Any]] = {
            **self.books.named(),
            "sample.hashes": self.sample.hashes,
            "sample.arms": self.sample.arms,
            "faults.micros": self.faults.micros,
            "faults.unit": self.faults.unit,
            "faults.arm": self.faults.arm,
        }
        return _packing.packed(head, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Summary:
        """A summary from its bytes; Damaged where they are not what was written, or of a later version."""
        head, arrays = _packing.unpacked(content)
        if head.get("version") != VERSION:
            raise Damaged(
                f"The summary is of version {head.get('version')!r}: expected {VERSION}.",
                hint="Read it with the release of Holdfast that wrote it, or a later one.",
            )
        try:
            frame = Frame.from_json(head["frame"])
            return cls(
                frame=frame,
                until=int(head["until"]),
                books=Books.of_named(frame, arrays, set(head["outside"])),
                sample=UnitSample(arrays["sample.hashes"], arrays["sample.arms"], head["level"], head["capacity"]),
                faults=Faults(arrays["faults.micros"], arrays["faults.unit"], arrays["faults.arm"]),
                left_out=LeftOut.from_json(head["left_out"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged("The summary lacks something that a summary has.", hint="Have it written again.") from error


def merge(a: Summary, b: Summary) -> Summary:
    """The summary of what both saw, whoever comes first; UserError where they are of different steps.

    Associative and commutative. Two replicas must have seen different requests: one that both saw counts twice.
    """
    if a.frame.to_json() != b.frame.to_json():
        raise UserError(
            "Two summaries are of different steps or plans: expected the same one.", reason_code="other_step"
        )
    until = max(a.until, b.until)
    return Summary(
        frame=a.frame,
        until=until,
        books=a.books.merged(b.books),
        sample=a.sample.merged(b.sample),
        faults=a.faults.merged(a.frame, [b.faults]).recent(a.frame, until),
        left_out=a.left_out + b.left_out,
    )


def evidence_of(books: Books, counts: UnitCounts, seconds: Array, burst: Array) -> Evidence:
    """The evidence at every look of `books`, which hold totals; `counts`, `seconds` and `burst` have an axis of looks."""
    requests = books.requests()
    final = {delay: array.sum(axis=-1) for delay, array in books.final.items()}
    return Evidence(
        seconds=seconds,
        sums=books.sums(),
        units=counts.units,
        sampled=counts.sampled,
        level=counts.level,
        crossed=counts.crossed,
        requests=requests,
        burst=burst,
        open={name: requests - final[delay] for delay, names in books.frame.names_by_delay.items() for name in names},
    )
