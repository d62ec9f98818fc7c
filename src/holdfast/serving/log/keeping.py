"""Behind the answers: segments become rows of the tables every few seconds, and now and then the tables are tidied."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.evidence.delta import DeltaTables, open_tables
from holdfast.ledger import Ledger
from holdfast.serving.log.compaction import Compacted, compact
from holdfast.serving.log.forgotten import Forgotten
from holdfast.serving.log.upkeep import tidy
from holdfast.store import Store

TIDY_SECONDS = 300.0
logger = logging.getLogger(__name__)


class LogKeeper:
    """Compacts `folder` into the tables of `model` in a thread of its own, every `every` real seconds.

    Whatever is in its way is said once and tried again: segments stay where they are until their rows are in the tables.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        model: str,
        *,
        clock: Callable[[], datetime],
        every: float,
        keep: timedelta | None = None,
    ) -> None:
        self.folder, self.store, self.model = folder, store, model
        self.clock, self.every, self.keep = clock, every, keep
        self.rows = self.outcomes = self.failed = 0
        self.trouble: str | None = None
        self._ledger = Ledger(store)
        self._tables: DeltaTables | None = None
        self._tidied = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-log-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """The last compaction; call it when nothing is logged any more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self.compact()

    def compact(self) -> Compacted:
        """Bring what is sealed into the tables now. Raises nothing: what is in the way is `trouble`."""
        with self._lock:
            try:
                found = compact(self.folder, self._open(), lambda: Forgotten.of(self._ledger, self.model))
            except HoldfastError as error:
                found = Compacted(complaints=(error.message,))
            self.rows += found.rows
            self.outcomes += found.outcomes
            self._tell(next(iter(found.complaints), None))
            return found

    def _open(self) -> DeltaTables:
        if self._tables is None:
            self._tables = open_tables(self.store, self.model)
        return self._tables

    def _run(self) -> None:
        while not self._ended.wait(self.every):
            try:
                self.compact()
                self._tidy_if_due()
            except Exception as error:
                logger.exception("the log tables were not kept")
                self._tell(f"{type(error).__name__}: {error}")

    def _tidy_if_due(self) -> None:
        if time.monotonic() - self._tidied < TIDY_SECONDS:
            return
        self._tidied = time.monotonic()
        try:
            with self._lock:
                tidy(self._open(), self.clock(), self.keep)
        except HoldfastError as error:
            self._tell(error.message)

    def _tell(self, trouble: str | None) -> None:
        self.failed += trouble is not None
        if trouble != self.trouble:
            logger.warning("log tables: %s", trouble or "written again")
        self.trouble = trouble
