"""To Kafka from the segments: everything, in order, whatever was away. The broker is librdkafka's own, on real sockets."""

from __future__ import annotations

import builtins
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from holdfast.errors import UserError
from holdfast.serving.log.cursor import drop_cursor, is_shipped, read_cursor, write_cursor
from holdfast.serving.log.encoding import encode, encode_outcome
from holdfast.serving.log.kafka import KafkaShipper, parse_topic
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.log.segments import sealed
from holdfast.serving.records import Record

QUICK = "?linger.ms=5&message.timeout.ms=1000&reconnect.backoff.max.ms=200"


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """The address of a cluster of two brokers, in this process."""
    cluster = Producer({"test.mock.num.brokers": 2, "bootstrap.servers": "ignored"})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    cluster.flush(0)  # it lives until here


def record(number: int, rows: int = 1, text: str = "") -> bytes:
    return encode(
        Record(
            prediction_id=f"p{number:05d}",
            time=1_760_000_000_000_000 + number,
            model="ranker",
            version="17",
            variant="champion",
            served_by="17",
            unit=f"user-{number % 7}",
            latency_ms=1.5,
            fault=None,
            outputs=[[number, text]] * rows,
        )
    )


def received(brokers: str, topic: str, count: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Partition, key and value of at least `count` messages and of what follows soon."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    found: list[tuple[int, str, dict[str, Any]]] = []
    end = time.monotonic() + 15
    while time.monotonic() < end:
        message = consumer.poll(0.3)
        if message is None and len(found) >= count:
            break
        if message is not None and message.error() is None:
            found.append((message.partition(), message.key().decode(), json.loads(message.value())))
    consumer.close()
    return found


def wait_for(happened: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_everything_arrives_in_order_with_its_key(brokers: str, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False, segment_bytes=2000)
    writer.append([record(number, rows=1 + number % 2) for number in range(60)])
    shipper = KafkaShipper(tmp_path, f"kafka://{brokers}/ordered{QUICK}")
    shipper.start()
    for number in range(60, 100):  # and while it grows
        writer.append([record(number, rows=1 + number % 2)])
    wait_for(lambda: shipper.shipped == 100 and shipper.lag == 0)
    shipper.close()
    writer.close()
    found = received(brokers, "ordered", 150)
    assert len(found) == 150
    assert {key for _, key, _ in found} == {f"p{number:05d}" for number in range(100)}
    for partition in {partition for partition, _, _ in found}:
        times = [value["time"] for where, _, value in found if where == partition]
        assert times == sorted(times)
    _, key, value = next(each for each in found if each[1] == "p00003")
    assert value["prediction_id"] == key and value["output"] == [3, ""] and value["inputs"] is None
    assert (shipper.errors, shipper.skipped, shipper.failing) == (0, 0, None)
    assert all(is_shipped(path) for path in sealed(tmp_path, "predictions"))


def test_a_broker_that_is_away_is_waited_for(brokers: str, tmp_path: Path) -> None:
    """Lag and errors are told; who starts next goes on where Kafka confirmed, and nothing may be deleted before."""
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False, segment_bytes=500)
    for number in range(30):
        writer.append([record(number)])
    shipper = KafkaShipper(tmp_path, f"kafka://127.0.0.1:9/away{QUICK}")
    shipper.start()
    wait_for(lambda: shipper.errors > 0 and shipper.failing)
    assert shipper.lag == 30 and shipper.shipped == 0
    assert not any(is_shipped(path) for path in sealed(tmp_path, "predictions"))
    shipper.close(drain=0.1)
    writer.append([record(30)])
    writer.close()
    after = KafkaShipper(tmp_path, f"kafka://{brokers}/away{QUICK}")
    after.start()
    wait_for(lambda: after.shipped == 31)
    after.close()
    keys = {key for _, key, _ in received(brokers, "away", 31)}  # at least once: a slow broker may get some again
    assert keys == {f"p{number:05d}" for number in range(31)}


CLUSTER = """
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
print(*(f"{each.host}:{each.port}" for each in cluster.list_topics(timeout=10).brokers.values()), flush=True)
sys.stdin.read()
"""


def test_a_broker_that_stops_answering_on_the_way(tmp_path: Path) -> None:
    """A cluster in a process that is stopped: what it did not confirm is sent again when it goes on."""
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False)
    with subprocess.Popen([sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        brokers = process.stdout.readline().decode().strip()
        shipper = KafkaShipper(tmp_path, f"kafka://{brokers}/stopped{QUICK}")
        shipper.start()
        writer.append([record(number) for number in range(50)])
        wait_for(lambda: shipper.shipped == 50)
        process.send_signal(signal.SIGSTOP)
        writer.append([record(number) for number in range(50, 100)])
        wait_for(lambda: shipper.errors > 0)
        assert shipper.failing is not None and shipper.lag == 50
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: shipper.lag == 0 and shipper.failing is None)
        shipper.close()
        found = received(brokers, "stopped", 100)
        process.stdin.close()
    writer.close()
    assert {key for _, key, _ in found} == {f"p{number:05d}" for number in range(100)}


def test_it_goes_on_at_the_cursor_when_it_is_started_again(brokers: str, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False)
    for begin in (0, 10, 20):
        writer.append([record(number) for number in range(begin, begin + 10)])
        shipper = KafkaShipper(tmp_path, f"kafka://{brokers}/again{QUICK}")
        shipper.start()
        wait_for(lambda shipper=shipper: shipper.shipped == 10 and shipper.lag == 0)
        shipper.close()
    writer.close()
    assert len(received(brokers, "again", 30)) == 30
    assert read_cursor(tmp_path / "predictions")["r"].records == 30  # type: ignore[index]


def test_one_of_two_sends_and_the_other_takes_over(brokers: str, tmp_path: Path) -> None:
    writers = [SegmentWriter(tmp_path, "predictions", "r", durable=False) for _ in range(2)]
    first = KafkaShipper(tmp_path, f"kafka://{brokers}/two{QUICK}")
    second = KafkaShipper(tmp_path, f"kafka://{brokers}/two{QUICK}")
    first.start()
    for number, writer in enumerate(writers):
        writer.append([record(number)])
    wait_for(lambda: first.shipped == 2)
    second.start()
    wait_for(lambda: read_cursor(tmp_path / "predictions"))  # saved while nothing more comes
    time.sleep(0.2)
    assert second.shipped == 0
    first.close()
    writers[0].append([record(2)])
    wait_for(lambda: second.shipped == 1)
    second.close()
    for writer in writers:
        writer.close()
    assert len(received(brokers, "two", 3)) == 3


def test_a_record_too_large_for_kafka_stops_nothing(brokers: str, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False)
    writer.append([record(0), record(1, text="x" * 5000), record(2)])
    shipper = KafkaShipper(tmp_path, f"kafka://{brokers}/large{QUICK}&message.max.bytes=2000")
    shipper.start()
    wait_for(lambda: shipper.shipped == 3)
    shipper.close()
    writer.close()
    assert shipper.skipped == 1
    assert {key for _, key, _ in received(brokers, "large", 2)} == {"p00000", "p00002"}


def test_outcomes_are_sent_too(brokers: str, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "outcomes", "r", durable=False)
    writer.append([encode_outcome("e", "p1", 1, "click", 1.0)])
    shipper = KafkaShipper(tmp_path, f"kafka://{brokers}/marks{QUICK}", stream="outcomes")
    shipper.start()
    wait_for(lambda: shipper.shipped == 1)
    shipper.close()
    writer.close()
    assert [(key, value["name"]) for _, key, value in received(brokers, "marks", 1)] == [("p1", "click")]


def test_cursors(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "r", durable=False)
    writer.append([b"one"])
    writer.close()
    (path,) = sealed(tmp_path, "predictions")
    assert is_shipped(path)  # nobody follows
    write_cursor(path.parent, {})
    assert not is_shipped(path)
    (path.parent / "kafka.cursor").write_text('{"r": "damaged"}')
    assert read_cursor(path.parent) == {}
    assert not is_shipped(path)
    drop_cursor(tmp_path, "predictions")
    assert is_shipped(path)


@pytest.mark.parametrize(
    "url", ["kafka://host:9092", "http://host/topic", "kafka:///topic", "kafka://host/a/b", "topic"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(UserError, match="expected a URL such as kafka://host:9092/topic, found"):
        parse_topic(url)


def test_a_bad_setting_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not take these settings: .*no\.such\.setting"):
        KafkaShipper(tmp_path, "kafka://host:9092/topic?no.such.setting=1")


def test_without_the_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "confluent_kafka":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r'pip install "holdfast\[kafka\]"'):
        KafkaShipper(tmp_path, "kafka://host:9092/topic")
