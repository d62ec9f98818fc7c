"""Compaction and upkeep again and again, for as long as something is logged. Best in a process of its own.

Decoding segments is work for the interpreter: in the gateway's own process it would make answers wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.evidence.delta import DeltaTables, open_tables
from holdfast.ledger import Ledger
from holdfast.release.reconcile import read_state
from holdfast.serving.live.sweeping import sweep
from holdfast.serving.log.compaction import OUTCOMES, PREDICTIONS, Compacted, compact
from holdfast.serving.log.forgotten import Forgotten
from holdfast.serving.log.segments import Backlog, backlog
from holdfast.serving.log.upkeep import tidy

TIDY_EVERY = 600.0  # seconds
STREAMS = (PREDICTIONS, OUTCOMES)


class Housekeeping:
    """Keeps the tables of `model` up with the segments in `folder`; `keep` is how long days are kept, None for ever.

    What is kept under `live/` of releases that are over goes too.

    `complain` is told what goes wrong, the same thing once until it is over. Nothing that is away ends it. `done` adds up what
    was done, without complaints; `trouble` is what is in the way now, `backlog` the segments that wait, by the last look.
    Any thread may call `once`.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        model: str,
        *,
        clock: Callable[[], datetime],
        complain: Callable[[str], None],
        keep: timedelta | None = None,
    ) -> None:
        self.folder, self.ledger, self.model, self.keep = folder, ledger, model, keep
        self._clock, self._complain = clock, complain
        self._tables: DeltaTables | None = None
        self._tidied: float | None = None
        self._said: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self.done = Compacted()
        self.backlog = Backlog()

    @property
    def trouble(self) -> str | None:
        return next(iter(self._said), None)

    def run(self, every: timedelta, stop: threading.Event) -> None:
        """Until `stop` is set, and once more then, so that nothing is left."""
        while not stop.wait(every.total_seconds()):
            self.once()
        self.once()

    def once(self) -> Compacted:
        """Compact now, and tidy up tables and what is kept of live evidence where that is due."""
        with self._lock:
            self.backlog = backlog(self.folder, STREAMS)  # first: a store that is away may take its time
            done = self._once()
            self.backlog = backlog(self.folder, STREAMS)
            self.done += replace(done, complaints=(), damaged=())
        return done

    def _once(self) -> Compacted:
        done = Compacted()
        try:
            if self._tables is None:
                self._tables = open_tables(self.ledger.store, self.model)
            done = compact(self.folder, self._tables, lambda: Forgotten.of(self.ledger, self.model))
            if self._tidied is None or time.monotonic() - self._tidied >= TIDY_EVERY:
                tidy(self._tables, self._clock(), self.keep)
                sweep(self.ledger.store, self.model, self._living, self._clock(), self.keep)
                self._tidied = time.monotonic()
        except HoldfastError as error:
            done += Compacted(complaints=(str(error),))
        self._tell(done)
        return done

    def _living(self) -> str | None:
        living = read_state(self.ledger, self.model).living
        return None if living is None else living.id

    def _tell(self, done: Compacted) -> None:
        for sentence in done.complaints:
            if sentence not in self._said:
                self._complain(sentence)
        self._said = done.complaints
