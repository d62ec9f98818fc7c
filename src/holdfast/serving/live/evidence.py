"""The evidence of the living canary from this replica's requests: observed as they are answered, flushed a second later.

    event loop   observe(record, inputs)   appends, nothing else
    thread       flush     outcomes from the log ─► what was answered ─► the step up to the last whole second ─► the store

The summaries of all replicas add up to what the log says, exactly:

- A request belongs to the replica that answered it, and its outcomes to the same one, whoever received them: prediction ids
  carry the replica's mark (`holdfast.evidence.own`), and every replica reads the one table of outcomes.
- What is observed is cleaned by the log's own code, and only what the log has is observed.
- A replica that comes back under its name reads its own rows since the step began out of the log before it flushes. So it
  does when more came than there was room for (memory is bounded, and the log has everything), and when its clock comes
  back from far ahead. Until that is done it flushes nothing, its old summary stands still, and the controller promotes nothing.
- While the table of outcomes cannot be read nothing is looked at: a request without its outcome would count as one that
  had none. While the store cannot be written the next flush writes more.
- A new step or release begins with nothing. A replica that is gone goes on counting in its step with what it flushed; the
  outcomes of its requests that come later are nobody's, until it comes back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.errors import HoldfastError, OutsideError, UserError
from holdfast.evidence.answered import Answered
from holdfast.evidence.log import PredictionLog
from holdfast.evidence.own import Mark
from holdfast.release.attempt import Attempt
from holdfast.release.summaries import step_key
from holdfast.serving.live.own_log import OwnLog
from holdfast.serving.live.pending import Pending
from holdfast.serving.live.profile import LiveProfile
from holdfast.serving.live.step import SECOND, LiveStep, key_of
from holdfast.serving.payload import Payload
from holdfast.serving.records import Record
from holdfast.store import Store

ROOM = 100_000  # requests between two flushes, about 400 bytes each
IDLE = 30 * SECOND  # between two looks at the log while there is no canary

logger = logging.getLogger(__name__)


@dataclass
class Counts:
    """What happened so far: summaries written, flushes that failed, and how often the step was read back from the log.

    `trouble` is what is in the way of flushing now, None where nothing is.
    """

    written: int = 0
    failed: int = 0
    read_back: int = 0
    trouble: str | None = None


class LiveEvidence:
    """Summaries of one replica's part of the living canary's step, under `step_key(model, attempt)` in `store`.

    `replica` is a name that stays when the process starts again and that no other replica has; `mark` is in its prediction ids.
    `log` is the common log as the flushing thread alone reads it, and `settle` puts into it what this replica has logged
    but not handed over yet: after it `log` must have every record that was observed before. `pause` is how many real seconds
    lie between two flushes, whatever `clock` says.
    """

    def __init__(
        self,
        replica: str,
        store: Store,
        model: str,
        log: PredictionLog,
        *,
        mark: Mark | None = None,
        settle: Callable[[], object] = lambda: None,
        profile: LiveProfile | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: float = 1.0,
        room: int = ROOM,
    ) -> None:
        if "/" in replica:
            raise UserError(f"expected a replica's name without '/', found {replica!r}.")
        self.replica, self.store, self.model, self.profile = replica, store, model, profile
        self.clock, self.pause = clock, pause
        self.counts = Counts()
        self._own = OwnLog(log, mark or Mark.of(replica), settle)
        self._answered: Pending[Answered] = Pending(room)
        self._attempt: Attempt | None = None
        self._is_told = False
        self._is_behind = False
        self._seen_lost = 0
        self._idle_since: int | None = None
        self._step: LiveStep | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """Requests for which there was no room; the log has them."""
        return self._answered.lost

    @property
    def profile_lost(self) -> int:
        """Requests that are not in the present profile of inputs, because there was no room."""
        return 0 if self.profile is None else self.profile.lost

    def tell(self, attempt: Attempt | None) -> None:
        """The living attempt as the ledger has it, None for none. Before the first request is routed by it.

        One whose step has begun before this process heard of any is one that an earlier process of this name took part in.
        """
        if not self._is_told and attempt is not None and attempt.since is not None:
            self._is_behind = True
        self._is_told, self._attempt = True, attempt

    def observe(self, record: Record, inputs: Payload | None = None) -> None:
        """A request that was answered and is in the log. On the event loop; it costs a microsecond."""
        if record.release is not None:
            self._answered.add(
                (
                    record.prediction_id,
                    record.time,
                    record.variant,
                    record.unit,
                    record.latency_ms,
                    record.fault,
                    record.override,
                    len(record.outputs),
                    record.release,
                    record.epoch,
                )
            )
        profile = self.profile
        if inputs is not None and profile is not None:
            profile.observe(record.time, record.variant, inputs)

    def use_profile(self, profile: LiveProfile | None) -> None:
        """Count inputs in another profile from now on, for another champion; what the one before has counted is written."""
        with self._lock:
            before, self.profile = self.profile, profile
            if before is not None:
                now = self._now()
                self._tell_trouble(self._tried(before.flush, now) or self._tried(before.close, now))

    def start(self) -> None:
        """Flush every `pause` seconds in a thread of its own until `close`."""
        self._thread = threading.Thread(target=self._run, name="holdfast-live", daemon=True)
        self._thread.start()

    def close(self, *, flush: bool = True) -> None:
        """The last flush, of everything that was observed; without `flush` nothing is written any more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if flush:
            self.flush(ahead=SECOND)
            self.use_profile(None)

    def flush(self, ahead: int = 0) -> None:
        """Bring the store up to now, or `ahead` microseconds further. Raises nothing: what is in the way is counted."""
        with self._lock:
            now = self._now() + ahead
            troubles = [self._tried(self._flush_step, now)]
            if self.profile is not None:
                troubles.append(self._tried(self.profile.flush, now))
            self._tell_trouble(next((trouble for trouble in troubles if trouble is not None), None))

    def _now(self) -> int:
        return round(self.clock().timestamp() * SECOND)

    def _run(self) -> None:
        while not self._ended.wait(self.pause):
            self.flush()

    def _tried(self, act: Callable[[int], None], now: int) -> str | None:
        try:
            act(now)
        except HoldfastError as error:
            self.counts.failed += 1
            return error.message
        except Exception as error:
            self.counts.failed += 1
            logger.exception("live evidence was not flushed")
            return f"{type(error).__name__}: {error}"
        return None

    def _tell_trouble(self, trouble: str | None) -> None:
        """Say so in the program's own log when it changes."""
        if trouble != self.counts.trouble:
            logger.warning("live evidence: %s", trouble or "flushed again")
        self.counts.trouble = trouble

    def _flush_step(self, now: int) -> None:
        attempt = self._attempt
        if attempt is None or attempt.since is None:
            self._wait(attempt, now)
            return
        if self._answered.lost != self._seen_lost:
            self._seen_lost, self._is_behind = self._answered.lost, True
        step = self._step
        if step is not None and step.is_ahead(now):
            self._is_behind = True
        if step is None or step.key != key_of(attempt) or self._is_behind:
            step = self._begun(attempt, now)
        for outcomes, left_out in self._own.outcomes(attempt, now):
            step.feed(None, outcomes, left_out)
        step.answer(self._answered.take())
        step.advance(now)
        self.store.put(f"{step_key(self.model, attempt)}/{self.replica}", step.to_bytes())
        self.counts.written += 1

    def _wait(self, attempt: Attempt | None, now: int) -> None:
        """Without a step. What was answered under a routing that is not confirmed yet stays: it may belong to the next step."""
        self._step = None
        if attempt is None:
            self._answered.take()
            self._seen_lost, self._is_behind = self._answered.lost, False
        if self._idle_since is None or not 0 <= now - self._idle_since < IDLE:
            self._idle_since = now
            with contextlib.suppress(OutsideError):  # there may be no log yet
                self._own.skip(now)

    def _begun(self, attempt: Attempt, now: int) -> LiveStep:
        """The step with nothing in it; or, where something is missing here, with all that the log has of this replica."""
        self._step, step = None, LiveStep(attempt)
        if self._is_behind:
            self._answered.take()  # the log has it
            for rows, outcomes, left_out in self._own.everything(attempt, now):
                if rows is not None:
                    step.read_back(rows, left_out, now)
                else:
                    step.feed(None, outcomes, left_out)
            self.counts.read_back += 1
            self._is_behind = False
        else:
            self._own.rewind(step.begin)
        self._step = step
        return step
