"""Records to Kafka, from the segments and not from the requests: an answer never waits for Kafka, and nothing is left out.

At least once, in order: a cursor beside the segments says what Kafka has confirmed, and whatever goes wrong, sending begins
there again. One process sends for all replicas of a folder; when it is gone, the next one takes over.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa

from holdfast.errors import HoldfastError, UserError
from holdfast.serving.log.claims import Claim
from holdfast.serving.log.cursor import Place, read_cursor, write_cursor
from holdfast.serving.log.encoding import outcomes_table_of, table_of
from holdfast.serving.log.messages import messages_of
from holdfast.serving.log.payloads import Payloads
from holdfast.serving.log.segments import count_records, make_private, place, read_payloads, sealed, unsealed

_TABLES: dict[str, Callable[[Any], pa.Table]] = {"predictions": table_of, "outcomes": outcomes_table_of}
_PURGED = ("_PURGE_QUEUE", "_PURGE_INFLIGHT")
_TOO_LARGE = ("_MSG_SIZE_TOO_LARGE", "MSG_SIZE_TOO_LARGE")
_READ_BYTES = 256 * 2**10  # of records at once
_UNDER_WAY = 8  # such reads that Kafka has not confirmed
_POLL, _SAVE, _AGAIN = 0.1, 0.5, 1.0  # seconds: between looks, between cursors, before sending again

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """Where to send: `brokers` as host:port, comma-separated, and settings of librdkafka by their own names."""

    brokers: str
    name: str
    settings: dict[str, str] = field(default_factory=dict)


def parse_topic(url: str) -> Topic:
    """The parts of `kafka://host:9092/topic?setting=value`; UserError for anything else."""
    parts = urlsplit(url)
    name = parts.path.strip("/")
    if parts.scheme != "kafka" or not parts.netloc or not name or "/" in name:
        raise UserError(f"expected a URL such as kafka://host:9092/topic, found {url!r}.", reason_code="bad_kafka_url")
    return Topic(parts.netloc, name, dict(parse_qsl(parts.query)))


@dataclass(slots=True, eq=False)
class _Chunk:
    """Records that were given to Kafka together: `left` rows of them are not confirmed, `after` is the place behind them."""

    replica: str
    after: Place
    records: int
    left: int = 0


class KafkaShipper:
    """Sends a stream of `folder` in a thread of its own, from `start` until `close`.

    Each row is a message: the key is the prediction id, the value JSON with the columns of the log table, outputs and inputs as
    JSON values. For metrics: records `shipped`, `lag` (logged and not confirmed), delivery `errors` (each is tried again),
    `skipped` rows that Kafka will never take because of their size; `failing` says why nothing goes on, or None.
    """

    def __init__(self, folder: str | Path, url: str, *, stream: str = "predictions") -> None:
        self.topic = parse_topic(url)
        self._make_producer = _producers(self.topic)
        self.folder, self.stream = Path(folder), stream
        self.within = self.folder / stream
        make_private(self.within)
        if read_cursor(self.within) is None:
            write_cursor(self.within, {})
        self.shipped = self.errors = self.skipped = self.lag = 0
        self.failing: str | None = None
        self._places: dict[str, Place] = {}
        self._read: dict[str, Place] = {}
        self._counted: dict[tuple[str, int], Place] = {}
        self._under_way: collections.deque[_Chunk] = collections.deque()
        self._producer: Any = None
        self._is_broken = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"holdfast-kafka-{stream}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self, drain: float = 5.0) -> None:
        """Send what is there for at most `drain` seconds more, and stop; the rest is sent by whoever starts next."""
        end = time.monotonic() + drain
        while self._thread.is_alive() and self.lag and time.monotonic() < end:
            time.sleep(_POLL / 4)
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        """Wait for the right to send, then send until the end. Another process may have that right for ever."""
        while not self._ending.is_set():
            claim = None
            try:
                claim = Claim.try_take(self.within, ".kafka")
                if claim is None:
                    self._look()
                else:
                    self._send()
            except Exception as error:  # noqa: BLE001 - whatever it is: say so, and begin again at the cursor
                self._fail(_sentence(error))
            finally:
                self._drop_producer()
                if claim is not None:
                    claim.release()
            self._ending.wait(_AGAIN)

    def _send(self) -> None:
        self._places = read_cursor(self.within) or {}
        self._read = dict(self._places)
        self._under_way.clear()
        self._is_broken, self._producer = False, self._make_producer(self._complained)
        saved, has_moved = time.monotonic(), False
        while not (self._ending.is_set() or self._is_broken):
            self._look()
            has_read = len(self._under_way) < _UNDER_WAY and self._read_more()
            self._producer.poll(0 if has_read else _POLL)
            has_moved |= self._advance()
            if has_moved and time.monotonic() - saved > _SAVE:
                write_cursor(self.within, self._places)
                saved, has_moved = time.monotonic(), False
        self._advance()
        write_cursor(self.within, self._places)

    def _look(self) -> None:
        """Count what is in the segments and not confirmed."""
        cursor = self._places if self._producer is not None else (read_cursor(self.within) or {})
        counted, lag = {}, 0
        for path in self._segments():
            replica, number = place(path)
            done = cursor.get(replica, Place(0))
            if number < done.number:
                continue
            before = self._counted.get((replica, number), Place(number))
            if number == done.number and before.offset <= done.offset:
                before = done
            found, end = _counted(path, before.offset)
            counted[replica, number] = Place(number, end, before.records + found)
            lag += before.records + found - (done.records if number == done.number else 0)
        self._counted, self.lag = counted, max(lag, 0)

    def _segments(self) -> list[Path]:
        found = [*sealed(self.folder, self.stream), *unsealed(self.folder, self.stream)]
        return sorted(found, key=place)

    def _read_more(self) -> bool:
        """Give the next records of each replica to the producer; whether there were any."""
        by_replica: dict[str, list[Path]] = collections.defaultdict(list)
        for path in self._segments():
            by_replica[place(path)[0]].append(path)
        return any([self._read_replica(replica, paths) for replica, paths in by_replica.items()])  # noqa: C419 - all of them

    def _read_replica(self, replica: str, paths: list[Path]) -> bool:
        at = self._read.get(replica, Place(0))
        for path in paths:
            number = place(path)[1]
            if number < at.number:
                continue
            begin = at if number == at.number else Place(number)
            try:
                payloads, end = read_payloads(path, begin.offset, most=_READ_BYTES)
            except FileNotFoundError:
                continue  # deleted since it was listed: by hand, for compaction asks the cursor
            self._read[replica] = Place(number, end, begin.records + len(payloads))
            if end > begin.offset:
                self._produce(_Chunk(replica, self._read[replica], len(payloads)), payloads)
                return bool(payloads)
        return False

    def _produce(self, chunk: _Chunk, payloads: Payloads) -> None:
        messages = list(messages_of(_TABLES[self.stream](payloads)))
        chunk.left = len(messages)
        self._under_way.append(chunk)
        for key, value in messages:
            self._produce_row(key, value, chunk)

    def _produce_row(self, key: str, value: bytes, chunk: _Chunk) -> None:
        def confirmed(error: Any, _: Any) -> None:
            self._confirmed(chunk, error)

        while not self._is_broken:
            try:
                self._producer.produce(self.topic.name, value, key, on_delivery=confirmed)
                return
            except BufferError:  # the producer's own queue is full
                self._producer.poll(_POLL)
                self._is_broken |= self._ending.is_set()
            except Exception as error:
                if not _is_too_large(error.args[0] if error.args else None):
                    raise
                self._confirmed(chunk, error.args[0])
                return

    def _confirmed(self, chunk: _Chunk, error: Any) -> None:
        """What Kafka says of one row."""
        if error is not None and error.name() in _PURGED:
            return  # by ourselves: it is sent again
        if error is not None and _is_too_large(error):
            self.skipped += 1
            logger.error("a record is larger than Kafka's topic %s takes and is left out there", self.topic.name)
        elif error is not None:
            self.errors += 1
            self._is_broken = True
            self._fail(f"Kafka did not take a record: {error.str()}.")
            return
        else:
            self.failing = None
        chunk.left -= 1

    def _advance(self) -> bool:
        """Move the cursor behind what is confirmed."""
        has_moved = False
        while self._under_way and not self._under_way[0].left:
            chunk = self._under_way.popleft()
            self._places[chunk.replica] = chunk.after
            self.shipped += chunk.records
            has_moved = True
        return has_moved

    def _complained(self, error: Any) -> None:
        self._fail(f"Kafka is not there: {error.str()}.")

    def _fail(self, message: str) -> None:
        if self.failing != message:
            logger.warning("%s", message)
        self.failing = message

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
            self._producer = None


def _producers(topic: Topic) -> Callable[[Callable[[Any], None]], Any]:
    """A function that makes a producer, given what hears complaints. UserError where the client or a setting is missing."""
    try:
        from confluent_kafka import KafkaException, Producer
    except ImportError as error:
        raise UserError(
            "serving.log.kafka needs the Kafka client, which is not installed.",
            hint='pip install "holdfast[kafka]"',
            reason_code="no_kafka_client",
        ) from error
    settings = {"enable.idempotence": True, "linger.ms": 20, "message.timeout.ms": 30_000, "compression.type": "lz4"}
    settings |= {"client.id": "holdfast", **topic.settings, "bootstrap.servers": topic.brokers}

    def make(complained: Callable[[Any], None]) -> Any:
        try:
            return Producer({**settings, "error_cb": complained}, logger=logger)
        except KafkaException as error:
            message = f"Kafka's client does not take these settings: {error.args[0].str()}."
            raise UserError(message, reason_code="bad_kafka_url") from error

    make(lambda _: None)
    return make


def _counted(path: Path, offset: int) -> tuple[int, int]:
    try:
        return count_records(path, offset)
    except FileNotFoundError:
        return 0, offset


def _is_too_large(error: Any) -> bool:
    return getattr(error, "name", lambda: "")() in _TOO_LARGE


def _sentence(error: Exception) -> str:
    if isinstance(error, HoldfastError):
        return str(error)
    return f"Records are not sent to Kafka: {getattr(error, 'strerror', None) or error}."
