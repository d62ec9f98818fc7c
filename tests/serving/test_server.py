"""Starting and stopping, overload, and canaries that fail under real concurrency."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks import load

from holdfast.errors import OutsideError
from holdfast.serving import server as serving
from holdfast.serving.limits import Limits, most_connections
from holdfast.serving.log.encoding import table_of
from holdfast.serving.log.segments import read_payloads, sealed
from tests.serving.gateways import MODEL, FunctionModel, Infer, MemorySink, raising, row_sums, running, slow, table_with
from tests.serving.raw import answers, connected, statuses, until_closed
from tests.serving.test_connections import post
from tests.serving.test_gateway import a_matrix, dying, nan, one_row_short

REQUESTS = [load.v2(MODEL, [[1.0, 2.0]], {"x-holdfast-unit": f"u{number}"}) for number in range(500)]
ROOT = Path(__file__).parents[2]


@contextmanager
def process(folder: Path, drain: float = 10.0, sleep: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tests.serving.served_process", str(folder), str(drain), str(sleep)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as found:
        try:
            yield found, int(line(found))
        finally:
            found.kill()


def line(found: subprocess.Popen[str]) -> str:
    assert found.stdout is not None
    return found.stdout.readline().strip()


def logged(folder: Path) -> list[str]:
    """The ids of all records on the disk."""
    payloads = [payload for path in sealed(folder, "predictions") for payload in read_payloads(path)[0]]
    return table_of(payloads)["prediction_id"].to_pylist()


class Client(threading.Thread):
    """Asks one thing after the other until nobody listens any more; keeps ids of whole answers, and what went wrong."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__()
        self.port, self.request = port, REQUESTS[number]
        self.ids: list[str] = []
        self.troubles: list[Any] = []

    def run(self) -> None:
        try:
            while True:
                with connected(self.port) as connection:
                    while self._stays(connection):
                        pass
        except ConnectionRefusedError:
            return
        except OSError as error:
            self.troubles.append(error)

    def _stays(self, connection: socket.socket) -> bool:
        """One request and its answer; whether the server wants another one."""
        connection.sendall(self.request)
        data = b""
        while b"outputs" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                self.troubles.append(f"cut after {data!r}")
                return False
            data += chunk
        if statuses(data) != [200]:
            self.troubles.append(data)
        self.ids += re.findall(r"prediction-id: (\S+)", data.decode())
        return b"connection: close" not in data


def test_shutdown_under_load_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """Every answer that a client got whole is in the log, no request gets an error, and the process ends with 0."""
    with process(tmp_path, sleep=0.02) as (found, port):
        clients = [Client(port, number) for number in range(16)]
        for client in clients:
            client.start()
        time.sleep(1.0)
        found.send_signal(signal.SIGTERM)
        assert line(found) == "draining"
        for client in clients:
            client.join(10)
        ended = line(found)
        assert found.wait(10) == 0
    assert not [trouble for client in clients for trouble in client.troubles]
    ids, kept = [name for client in clients for name in client.ids], logged(tmp_path)
    assert len(ids) > 100 and set(ids) == set(kept)
    assert ended == f"ended with {len(kept)} records"


def test_what_was_accepted_is_waited_for_and_no_longer_than_the_drain_timeout(tmp_path: Path) -> None:
    with process(tmp_path / "a", sleep=0.8) as (found, port), connected(port) as connection:
        connection.sendall(REQUESTS[0])
        time.sleep(0.2)
        found.send_signal(signal.SIGTERM)
        assert line(found) == "draining"
        time.sleep(0.1)
        with pytest.raises(ConnectionRefusedError), connected(port):
            pass
        data = until_closed(connection)
        assert statuses(data) == [200] and b"connection: close" in data
        assert found.wait(5) == 0
    with process(tmp_path / "b", drain=0.5, sleep=30.0) as (found, port), connected(port) as connection:
        connection.sendall(REQUESTS[0])
        time.sleep(0.2)
        begun = time.monotonic()
        found.send_signal(signal.SIGINT)
        assert until_closed(connection) == b""
        assert found.wait(5) == 0 and time.monotonic() - begun < 3


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path, drain=60.0, sleep=30.0) as (found, port), connected(port) as connection:
        connection.sendall(REQUESTS[0])
        time.sleep(0.2)
        found.send_signal(signal.SIGTERM)
        assert line(found) == "draining"
        found.send_signal(signal.SIGTERM)
        assert found.wait(5) == -signal.SIGTERM


def test_idle_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with process(tmp_path) as (found, port), connected(port), connected(port) as half:
        half.sendall(b"POST /invocations HTTP/1.1\r\ncontent-length: 10\r\n\r\n12345")
        with connected(port) as used:
            used.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
            assert answers(used, 1)[0][0] == 200
            begun = time.monotonic()
            found.send_signal(signal.SIGTERM)
            half.sendall(b"67890")
            assert statuses(until_closed(half)) == [400], "what was begun may be ended"
            assert found.wait(10) == 0
            assert time.monotonic() - begun < 5


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OutsideError, match="cannot be listened on") as found:
            serving.Listener(None, "127.0.0.1", taken.getsockname()[1], Limits())  # type: ignore[arg-type]
    assert "serving.port" in str(found.value)
    with pytest.raises(OutsideError, match="not known"):
        serving.Listener(None, "no.such.host.invalid", 0, Limits())  # type: ignore[arg-type]


def test_as_many_connections_as_the_system_allows() -> None:
    assert 16 <= most_connections() < 1 << 21


@pytest.mark.parametrize(
    "function", [raising, dying, nan, one_row_short, a_matrix, slow(10.0)], ids=lambda function: function.__name__
)
def test_a_faulty_canary_under_real_concurrency_costs_no_client_an_error(function: Infer) -> None:
    sink, trips = MemorySink(), []
    table = table_with(FunctionModel("1"), FunctionModel("2", function), 0.5)
    with running(table, sink=sink, timeout="100ms", more={"on_trip": trips.append}) as server:
        server.infer(unit=None)  # the champion's layout is known from its first answer on
        found = load.run("127.0.0.1", server.port, REQUESTS, 32, 0.7)
    assert found.failures == 0 and found.count > 50
    assert len(trips) == 1
    rows = sink.rows
    faults = [row for row in rows if row["fault"] not in (None, "withheld")]
    assert 5 <= len(faults) <= 40 and {row["variant"] for row in faults} == {"canary"}
    assert {row["served_by"] for row in rows} == {"1"}


def test_a_canary_that_fails_now_and_then_costs_no_client_an_error() -> None:
    calls = iter(range(10**9))

    def flaky(payload: Any) -> Any:
        return (raising, nan, row_sums, row_sums, row_sums)[next(calls) % 5](payload)

    with running(table_with(FunctionModel("1"), FunctionModel("2", flaky), 0.5), breaker_faults=10**6) as server:
        found = load.run("127.0.0.1", server.port, REQUESTS, 32, 0.7)
        rows = server.sink.rows
    assert found.failures == 0
    canary = [row for row in rows if row["variant"] == "canary"]
    assert {(row["fault"], row["served_by"]) for row in canary} == {(None, "2"), ("raised", "1"), ("nonsense", "1")}


def test_overload_is_told_at_once_and_those_who_are_served_do_not_wait() -> None:
    with running(table_with(FunctionModel("1", slow(0.05))), queue=8, timeout="5s") as server:
        alone = load.run("127.0.0.1", server.port, REQUESTS, 8, 0.5)
        found = load.apart("127.0.0.1", server.port, REQUESTS, 64, 1.5)
        probe = server.request("POST", f"/v2/models/{MODEL}/infer", "{")
    assert alone.failures == 0
    assert set(found.statuses) == {200, 503} and found.statuses[200] > 30
    assert found.p50 < 60, "most are refused, and at once"
    assert found.p99 < 10 * alone.p99 + 200
    assert probe.status in (400, 503)


def test_refusals_name_when_to_come_back() -> None:
    with (
        running(table_with(FunctionModel("1", slow(1.0))), queue=1, timeout="5s") as server,
        connected(server.port) as one,
    ):
        one.sendall(post())
        time.sleep(0.2)
        begun = time.monotonic()
        found = server.infer()
        assert time.monotonic() - begun < 0.5
        assert (found.status, found.headers["retry-after"]) == (503, "1")
        assert server.request("GET", "/v2/health/ready").status == 200
        assert answers(one, 1)[0][0] == 200


def test_a_rollback_under_load_fails_no_request_and_is_seen_at_once() -> None:
    sink = MemorySink()
    with running(table_with(FunctionModel("1"), FunctionModel("2"), 1.0), sink=sink) as server:
        changes: list[int] = []

        def roll_back() -> None:
            time.sleep(0.4)
            server.do(lambda: server.gateway.route(table_with(FunctionModel("1"), epoch=2)))
            changes.append(time.time_ns() // 1000)

        thread = threading.Thread(target=roll_back)
        thread.start()
        found = load.run("127.0.0.1", server.port, REQUESTS, 32, 0.8)
        thread.join()
    assert found.failures == 0
    last = max(row["time"].timestamp() * 1e6 for row in sink.rows if row["served_by"] == "2")
    assert last <= changes[0], "no request that came after the switch"
