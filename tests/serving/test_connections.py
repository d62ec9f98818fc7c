"""Clients that are slow, hostile or broken: each is answered or cut in time, and nobody else notices."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from holdfast.serving.connections import MOST_PIPELINED, path_of
from holdfast.serving.limits import FREE_BODY, BodyBudget, Limits
from tests.serving.gateways import MODEL, FunctionModel, Running, body_of, running, slow, table_with
from tests.serving.raw import answers, connected, exchange, statuses, until_closed

BODY = json.dumps(body_of([[1.0, 2.0]])).encode()
INFER = f"/v2/models/{MODEL}/infer"
LIMITS = Limits(body=1 << 20, head=8 << 10, request_seconds=0.6, keep_alive=0.8, drain_seconds=5.0, connections=1500)
PING = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(body: bytes = BODY, *headers: bytes, path: str = INFER, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1".encode(), b"host: x", *headers]
    if length:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(table_with(FunctionModel("1"), FunctionModel("2"), 0.5), limits=LIMITS) as found:
        yield found


@pytest.fixture(autouse=True)
def answers_everybody_else(server: Running) -> Iterator[None]:
    """Whatever a test does to it, the server answers afterwards, and holds nothing."""
    yield
    assert server.infer(unit="somebody else").status == 200
    deadline = time.monotonic() + 5
    while server.do(lambda: server.listeners[0].held) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.do(lambda: server.listeners[0].held) == 0
    assert server.gateway.admission.under_way == 0


REFUSED = [
    b"\x00\x01\x02\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /ping HTTP/9.9\r\n\r\n",
    b"GET /ping\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
    b"get /ping HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /p\xc3\xa4 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nhost x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n folded: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nbad name: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    # what two readers could take for different requests
    post(b"0\r\n\r\n", b"transfer-encoding: chunked"),
    post(BODY, b"content-length: 5"),
    post(BODY, b"content-length: +%d" % len(BODY), length=False),
    post(BODY, b"content-length: %d " % len(BODY) + b"x", length=False),
    post(BODY, b"content-length : %d" % len(BODY), length=False),
    post(BODY, b"content-length: 0x10", length=False),
    post(BODY, b"content-length: -1", length=False),
    post(BODY, b"content-length: 99999999999999999999999", length=False),
    post(b"0\r\n\r\n", b"transfer-encoding: xchunked", length=False),
    post(b"0\r\n\r\n", b"transfer-encoding: chunked, identity", length=False),
    post(b"0\r\n\r\n", b"transfer-encoding : chunked", length=False),
    post(b"zz\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
    post(b"-1\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
    post(b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
    post(b"3\r\nabcd\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
]


@pytest.mark.parametrize("data", REFUSED)
def test_what_is_no_request_is_refused_once_and_the_connection_ends(server: Running, data: bytes) -> None:
    before = len(server.sink.payloads)
    assert statuses(exchange(server.port, data + LAST)) == [400]
    assert len(server.sink.payloads) == before


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\r\n\r\n" + LAST, [200]),
        (b"GET http://elsewhere/ping HTTP/1.1\r\nhost: x\r\n\r\n" + LAST, [200, 200]),
        (b"GET /ping?a=/v2#x HTTP/1.1\r\nhost: x\r\n\r\n" + LAST, [200, 200]),
        (b"GET /ping HTTP/1.0\r\n\r\n", [200]),
        (b"HEAD /ping HTTP/1.1\r\nhost: x\r\n\r\n" + LAST, [200, 200]),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + PING + LAST, [200] * 3),
        (post(BODY, b"connection: Upgrade", b"upgrade: websocket") + LAST, [200, 200]),
        (post(BODY, b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c") * 3 + LAST, [200] * 4),
        (post(PING, b"connection: Upgrade", b"upgrade: h2c") + LAST, [400, 200]),
        (post(b"", b"connection: Upgrade", b"upgrade: h2c") + LAST, [400, 200]),
        (
            post(
                b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
                b"transfer-encoding: chunked",
                b"connection: Upgrade",
                b"upgrade: h2c",
                length=False,
            )
            + LAST,
            [200, 200],
        ),
        (
            post(b"3\r\nabc\r\n0\r\nx-holdfast-variant: root\r\n\r\n", b"transfer-encoding: chunked", length=False)
            + LAST,
            [400, 200],
        ),
        (
            post(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), b"transfer-encoding: chunked", length=False) + LAST,
            [200, 200],
        ),
        (b"GET /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12345" + LAST, [404, 200]),
        (PING * 20 + LAST, [200] * 21),
        (post() * 10 + post(b"{") + post() + LAST, [200] * 10 + [400, 200, 200]),
        (PING + b"nonsense\r\n\r\n", [200, 400]),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + PING, [200]),
    ],
)
def test_odd_and_pipelined_requests_are_answered_in_their_order(
    server: Running, data: bytes, expected: list[int]
) -> None:
    with connected(server.port) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = statuses(until_closed(connection))
    assert found in (expected, expected[:1]) if b"nonsense" in data else found == expected


def test_a_request_in_single_bytes(server: Running) -> None:
    data = post()
    with connected(server.port) as connection:
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
        assert answers(connection, 1)[0][0] == 200


def test_a_body_in_pieces_behind_an_offer_of_another_protocol(server: Running) -> None:
    data = post(BODY, b"connection: Upgrade", b"upgrade: h2c") + PING
    with connected(server.port) as connection:
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
        assert [status for status, _ in answers(connection, 2)] == [200, 200]


def test_trailers_are_not_headers(server: Running) -> None:
    chunked = b"%x\r\n%s\r\n0\r\nx-holdfast-unit: trailing\r\n\r\n" % (len(BODY), BODY)
    with connected(server.port) as connection:
        connection.sendall(post(chunked, b"transfer-encoding: chunked", length=False))
        assert answers(connection, 1)[0][0] == 200
    assert server.sink.rows[-1]["unit"] is None


SLOW = [
    ("head", b"POST /invocations HTTP/1.1\r\n", b"x: y\r\n"),
    ("first line", b"GET /", b"a"),
    ("nothing", b"\r\n", b"\r\n"),
    ("body", b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", b"a"),
    ("chunks", b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
]


@pytest.mark.parametrize(("what", "begin", "drip"), SLOW)
def test_a_slow_client_is_cut_and_holds_nothing(server: Running, what: str, begin: bytes, drip: bytes) -> None:
    begun = time.monotonic()
    with connected(server.port) as connection:
        connection.sendall(begin)
        connection.settimeout(0.05)
        found = b""
        while time.monotonic() - begun < 5:
            try:
                connection.sendall(drip)
                chunk = connection.recv(4096)
            except TimeoutError:
                assert server.gateway.admission.under_way == 0
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
            if not chunk:
                break
            found += chunk
    assert time.monotonic() - begun < LIMITS.request_seconds + 1.5
    assert statuses(found) in ([408], [])


def test_an_idle_connection_is_closed(server: Running) -> None:
    with connected(server.port) as connection:
        connection.sendall(PING)
        assert answers(connection, 1)[0][0] == 200
        begun = time.monotonic()
        assert until_closed(connection) == b""
        assert 0.5 < time.monotonic() - begun < LIMITS.keep_alive + 1.0


def test_a_client_that_does_not_read_is_cut() -> None:
    big = {"limits": LIMITS, "queue": 4000}
    with running(table_with(FunctionModel("1")), **big) as server, connected(server.port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = post(json.dumps(body_of([[1.0]] * 20_000)).encode())
        connection.settimeout(0.3)
        try:
            while True:
                connection.sendall(request)
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        deadline = time.monotonic() + 8
        while server.do(lambda: server.listeners[0].connections) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.do(lambda: server.listeners[0].connections) == 0
        assert server.do(lambda: server.listeners[0].held) == 0


BOMBS = [
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % number for number in range(300)) + b"\r\n",
    b"GET /ping HTTP/1.1\r\n" + b"x" * 100_000,
    b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"e" * 100_000,
    b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: " + b"t" * 100_000,
]


@pytest.mark.parametrize("data", BOMBS)
def test_heads_have_an_end(server: Running, data: bytes) -> None:
    assert statuses(exchange(server.port, data)) in ([431], [])  # []: the rest was still on its way when we closed


def test_a_head_may_be_as_large_as_allowed(server: Running) -> None:
    with connected(server.port) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nx: " + b"a" * (LIMITS.head - 100) + b"\r\n\r\n")
        assert answers(connection, 1)[0][0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_and_never_held(chunked: bool) -> None:
    """100 MB are sent; the memory stays as it was, and the same connection goes on."""
    limits = Limits(body=1 << 20, request_seconds=30.0)
    piece, count = b"a" * (1 << 16), 1600
    head = [b"POST /invocations HTTP/1.1", b"host: x"]
    head += [b"transfer-encoding: chunked"] if chunked else [b"content-length: %d" % (len(piece) * count)]
    wrapped = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    with running(table_with(FunctionModel("1")), limits=limits) as server, connected(server.port) as connection:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.sendall(b"\r\n".join([*head, b"", b""]))
        for _ in range(count):
            connection.sendall(wrapped)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        connection.sendall(PING)
        (status, body), (ping, _) = answers(connection, 2)
        assert (status, ping) == (413, 200) and b"1048576" in body
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "KiB"


def test_a_refused_client_that_waits_to_be_asked_is_told_and_cut(server: Running) -> None:
    head = b"POST /invocations HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    assert statuses(exchange(server.port, head % (1 << 30))) == [413]
    with connected(server.port) as connection:
        connection.sendall(post(b"", b"expect: 100-continue", b"content-length: %d" % len(BODY), length=False))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert answers(connection, 1)[0][0] == 200


def test_bodies_of_all_clients_together_are_bounded() -> None:
    limits = Limits(body=1 << 20, request_seconds=20.0)
    with running(table_with(FunctionModel("1")), limits=limits) as server:
        head = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(30)]
        try:
            for client in clients:
                client.sendall(head + b"a" * 900_000)
            deadline = time.monotonic() + 5
            while server.do(lambda: server.listeners[0].held) < 12 << 20 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert server.do(lambda: server.listeners[0].held) <= 16 << 20
            assert server.infer().status == 200, "small bodies are not kept out by large ones"
            for client in clients:
                client.sendall(b"a" * 100_000)
            found = [answers(client, 1)[0][0] for client in clients]
            assert set(found) == {400, 503} and 10 <= found.count(503) <= 20
        finally:
            for client in clients:
                client.close()


def test_thousands_of_idle_connections_disturb_nobody(server: Running) -> None:
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(1400)]
    try:
        for client in clients:
            client.sendall(PING)
        assert [answers(client, 1)[0][0] for client in clients] == [200] * len(clients)
        assert server.infer().status == 200
        more = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(200)]
        time.sleep(0.1)
        assert server.do(lambda: server.listeners[0].connections) <= LIMITS.connections
        for client in more:
            client.close()
    finally:
        for client in clients:
            client.close()
    time.sleep(0.2)


def test_an_endless_pipeline_is_cut_and_what_was_taken_is_answered(server: Running) -> None:
    requests = 50 * MOST_PIPELINED
    with connected(server.port) as connection:
        sender = threading.Thread(target=_send, args=(connection, post() * requests))
        sender.start()
        found = statuses(until_closed(connection))
        sender.join()
    assert 1 <= len(found) <= requests and set(found) == {200}


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_clients_that_leave_in_the_middle(server: Running) -> None:
    data = post()
    for end in range(1, len(data), 7):
        with connected(server.port) as connection:
            connection.sendall(data[:end])
    for _ in range(20):
        with connected(server.port) as connection:
            connection.sendall(data)


def test_what_was_asked_is_logged_though_the_client_left() -> None:
    with running(table_with(FunctionModel("1", slow(0.1)))) as server:
        with connected(server.port) as connection:
            connection.sendall(post())
            time.sleep(0.05)
        deadline = time.monotonic() + 5
        while not server.sink.payloads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(server.sink.rows) == 1


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (b"/a", "/a"),
        (b"/a?b=/c", "/a"),
        (b"/a%2Fb%C3%A4", "/a/bä"),
        (b"/%ff", "/\ufffd"),
        (b"http://h/a?x", "/a"),
        (b"http://h", "/"),
        (b"/a#b", "/a"),
        (b"//a", "//a"),
    ],
)
def test_paths(url: bytes, path: str) -> None:
    assert path_of(url) == path


def test_the_budget_counts_what_is_beyond_the_free_part() -> None:
    budget = BodyBudget(100)
    assert budget.take(0, FREE_BODY) and budget.held == 0
    assert budget.take(FREE_BODY, FREE_BODY + 60) and budget.held == 60
    assert not budget.take(0, FREE_BODY + 41) and budget.held == 60
    assert budget.take(0, FREE_BODY + 40)
    budget.give(FREE_BODY + 60)
    budget.give(FREE_BODY + 40)
    assert budget.held == 0
