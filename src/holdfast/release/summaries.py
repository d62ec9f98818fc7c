"""The evidence of a running attempt from what the gateway's replicas flush: read, added up, judged as if it were the log's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from holdfast.errors import Damaged, OutsideError
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.log import PredictionLog
from holdfast.evidence.summary import Summary, merge
from holdfast.evidence.sums import Evidence
from holdfast.release.attempt import Attempt
from holdfast.release.sources import Counts, LogSource, begin_of, new_step
from holdfast.release.watch import LAG_SECONDS, EvidenceWatch
from holdfast.store import Store

STILL_SECONDS = 10.0
_FIRST = 3  # times as long a step waits for its first summary
_GONE = 30  # times as long a replica stands still before it counts as gone
_SLACK = 0.001  # of the log's requests may be unknown to the summaries

SUMMARIES, LOG = b"summaries", b"log"


def step_key(model: str, attempt: Attempt) -> str:
    """Where the summaries of the attempt's step are; a step that begins anew is another one."""
    return f"live/{model}/{attempt.id}-{attempt.shifted}"


class SummarySource:
    """The sum of the replicas' summaries of a step.

    **One source a step.** α is spent once on one sequence of evidence. Summaries and log give the same numbers, but at one
    moment they differ by what has not arrived yet, and whoever looked at both would look twice. So each step is judged from
    one of them to its end: from summaries as soon as there is one, from the log if there is none after `_FIRST` times
    `still_seconds`; until then nothing is known. The choice is a key that is written once, so it outlives this controller
    and binds another. Summaries that come later change nothing, and summaries that get lost are a complaint, not a reason
    to change over.

    **Different moments.** Replicas cut a step at the same whole seconds, but not all have flushed the latest one. The sum
    lacks the last second or two of some of them, as the log lacks requests whose answers are on their way. What is lacking
    depends on when a replica flushed, not on what its users did, so every prefix is as good as another; it is there at the
    next look. A replica's summary is always all that it saw up to its own `until`.

    **Standing still.** A summary that is `still_seconds` away from this controller's clock, cannot be read, or is of another
    plan is a complaint: what is known still counts, and harm in it is acted upon, but nothing is promoted. A replica that has
    stood still `_GONE` times as long while others have not is gone: what it saw goes on counting. Should it still answer
    requests, or overwrite another's summary, the log has more requests than the sum when a planned look reads it, and
    then that look stays open and nothing is promoted either.
    """

    def __init__(self, log: PredictionLog, store: Store, model: str, still_seconds: float = STILL_SECONDS) -> None:
        self.store, self.model, self.still = store, model, still_seconds
        self._log = LogSource(log)

    @property
    def complaints(self) -> tuple[str, ...]:
        return tuple(self._complaints)

    @property
    def left_out(self) -> LeftOut:
        return self._log.left_out if self._chosen == LOG else self._sum.left_out

    def begin(self, attempt: Attempt) -> None:
        self._log.begin(attempt)
        self._sum = new_step(attempt).summary()
        self._known: dict[str, Summary] = {}
        self._chosen: bytes | None = None
        self._seconds = 0
        self._complaints: list[str] = []

    def blocks(self, attempt: Attempt, seconds: int) -> Iterator[Evidence]:
        self._complaints = []
        if self._chosen is None:
            self._chosen = self._choose(attempt, seconds)
        if self._chosen == LOG:
            yield from self._log.blocks(attempt, seconds)
        elif self._chosen == SUMMARIES and seconds > self._seconds:
            self._read(attempt, seconds)
            self._seconds = seconds
            yield self._sum.evidence(seconds).at(None)

    def lacking(self, logged: Counts) -> str | None:
        if self._chosen == LOG:
            return None
        known = self._sum.evidence().requests
        if (logged <= known * (1 + _SLACK)).all():
            return None
        return (
            f"the log of this step has {logged.sum():,} requests where the replicas' summaries have {int(known.sum()):,}: "
            "expected no more. Check that every replica has a name of its own and flushes."
        )

    def _choose(self, attempt: Attempt, seconds: int) -> bytes | None:
        """What the step is judged from; None where that is open."""
        key = f"{step_key(self.model, attempt)}.source"
        known = self.store.get(key)
        if known is not None:
            return known
        there = bool(self.store.list(f"{step_key(self.model, attempt)}/"))
        if not there and seconds <= _FIRST * self.still:
            return None
        self.store.put_if_absent(key, SUMMARIES if there else LOG)
        return self.store.get(key)

    def _read(self, attempt: Attempt, seconds: int) -> None:
        """Add up what the replicas have flushed; of one that cannot be read the last that could counts."""
        prefix, begin = f"{step_key(self.model, attempt)}/", begin_of(attempt)
        names = {key.removeprefix(prefix) for key in self.store.list(prefix)}
        for name in sorted(names | self._known.keys()):
            why = self._take(name, self.store.get(prefix + name))
            if why is not None:
                self._complaints.append(f"the summary of replica {name} {why}; nothing is promoted on it.")
        if not self._known:
            why = "; ".join(self._complaints) or "there is none"
            raise OutsideError(
                f"no summary of this step can be used (under {prefix} in the store {self.store.url}): {why}",
                hint="Look at the log of the gateway's replicas.",
                reason_code="no_summaries",
            )
        self._sum = reduce(merge, self._known.values())
        behind = {name: seconds - (found.until - begin) / 1e6 for name, found in self._known.items()}
        self._complaints += _still(behind, self.still)

    def _take(self, name: str, content: bytes | None) -> str | None:
        """Remember the summary of one replica; or why it cannot be used."""
        if content is None:
            return "is lost"
        try:
            found = Summary.from_bytes(content)
        except Damaged:
            return "is damaged"
        if found.frame.to_json() != self._sum.frame.to_json():
            return "is of another step or plan"
        self._known[name] = found
        return None


class SummaryWatch(EvidenceWatch):
    """Reads what the replicas of the gateway flush to `store`, and `log` at planned looks. See `SummarySource`."""

    def __init__(
        self,
        log: PredictionLog,
        store: Store,
        model: str,
        still_seconds: float = STILL_SECONDS,
        lag_seconds: float = LAG_SECONDS,
    ) -> None:
        super().__init__(SummarySource(log, store, model, still_seconds), log, store, model, lag_seconds)


def _still(behind: dict[str, float], still: float) -> list[str]:
    """Sentences about replicas whose summary is not of now, from seconds by which each is behind. Pure."""
    moving = any(abs(seconds) <= still for seconds in behind.values())
    found = []
    for name, seconds in sorted(behind.items()):
        if abs(seconds) <= still or (moving and seconds > _GONE * still):
            continue
        said = f"stands still for {seconds:,.0f} s" if seconds > 0 else f"is {-seconds:,.0f} s ahead of this clock"
        found.append(f"the summary of replica {name} {said} (expected at most {still:g} s); nothing is promoted on it.")
    return found
