"""The shop's front before a small HTTP server that answers as the gateway does, and sometimes does not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from search_ranking.clock import FastClock
from search_ranking.shoppers import Query, Shoppers
from search_ranking.storefront import Storefront, ranked

QUERIES = [Query("usb cable", ("Cable", "Spoon — “wood”", "USB cable"), (2, 0, 3))]


class Gateway(ThreadingHTTPServer):
    """Ranks by the length of titles; every tenth request gets no answer at all while `is_ill`."""

    daemon_threads = True
    is_ill = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.asked: list[tuple[str, Any]] = []
        self.clicks: list[dict[str, Any]] = []
        self.lock = threading.Lock()


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            if self.path == "/outcomes":
                self.server.clicks += asked
                self.answer({})
                return
            self.server.asked.append((self.headers["x-holdfast-unit"], asked))
            number = len(self.server.asked)
        if self.server.is_ill and number % 10 == 0:
            self.close_connection = True
            return
        rows = asked["dataframe_split"]["data"]
        self.answer({"predictions": [len(title) for _, title in rows]}, f"p{number}")

    def answer(self, document: Any, name: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Holdfast-Prediction-Id", name)
        self.send_header("x-holdfast-variant", "champion")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def opened(gateway: Gateway, seconds: float = 1.0, **settings: Any) -> Storefront:
    """A front that was open for so long, at some 150 searches a second."""
    clock = FastClock(time.time(), 3600.0)
    front = Storefront(Shoppers(QUERIES, 150.0), clock, gateway.server_address[1], **settings)
    with front:
        time.sleep(seconds)
    return front


def test_every_search_is_asked_and_every_click_told_once(gateway: Gateway) -> None:
    front = opened(gateway)
    assert front.counts["answered"] == len(front.answered) == len(gateway.asked) > 20
    assert front.counts["failed"] == 0
    assert set(front.answered.values()) == {"champion"}
    assert {unit[:8] for unit, _ in gateway.asked} == {"shopper-"}
    asked = gateway.asked[0][1]["dataframe_split"]
    assert asked["columns"] == ["query", "product_title"]
    assert asked["data"][1] == ["usb cable", "Spoon — “wood”"]
    told = [click["prediction_id"] for click in gateway.clicks]
    assert len(told) == len(set(told)) == front.counts["clicks"] > 0
    assert set(told) <= front.answered.keys()
    assert all((click["name"], click["value"]) == ("click", 1) for click in gateway.clicks)


def test_who_gets_no_answer_goes_on(gateway: Gateway) -> None:
    gateway.is_ill = True
    front = opened(gateway, 1.5)
    assert front.counts["failed"] > 0
    assert front.counts["answered"] > 5 * front.counts["failed"]
    assert len(gateway.asked) == front.counts["answered"] + front.counts["failed"]


def test_a_rule_at_the_edge_loses_whole_shoppers(gateway: Gateway) -> None:
    front = opened(gateway, loses=lambda shopper: int(shopper[-1]) % 2 == 0)
    assert front.counts["lost"] > 0
    assert front.counts["answered"] > 0
    assert all(int(unit[-1]) % 2 for unit, _ in gateway.asked)


def test_a_front_opens_in_the_middle_of_the_day(gateway: Gateway) -> None:
    clock = FastClock(time.time() - 10.0, 3600.0)
    with Storefront(Shoppers(QUERIES, 150.0), clock, gateway.server_address[1]) as front:
        time.sleep(0.5)
    assert 10 <= front.begun < 10.5
    assert front.counts["answered"] < 400


def test_ranking_is_from_the_highest_score_down() -> None:
    assert ranked([0.1, 0.5, 0.5, -1.0]) == [1, 2, 0, 3]


def test_all_processes_have_the_same_clock() -> None:
    clock = FastClock(time.time() - 2.0, 1800.0)
    other = FastClock.parse(str(clock))
    assert other == clock
    assert 1.0 <= other.hours < 1.5
    assert other.seconds(2.0) == 4.0
    assert abs((other() - clock()).total_seconds()) < 300
    assert other().tzinfo is not None
