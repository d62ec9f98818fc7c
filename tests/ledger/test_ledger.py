"""The ledger: one winner for each number, and every change is found."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Conflict, Damaged
from holdfast.ledger import Event, Ledger
from holdfast.ledger.ledger import event_key
from holdfast.ledger.verify import problems_of
from holdfast.store import open_store
from holdfast.verdict import Verdict

STREAM = "release/m"


def ledger_at(url: str | Path, who: str = "me") -> Ledger:
    return Ledger(open_store(url), who=who, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_events_are_numbered_and_chained(any_store_url: str) -> None:
    ledger = ledger_at(any_store_url)
    first = ledger.append(STREAM, "registered", {"a": 1}, expected=0)
    second = ledger.append(STREAM, "promoted", {}, evidence={"report": "sha256:x"}, expected=1)
    assert [event.number for event in ledger.read(STREAM)] == [0, 1]
    assert (first.previous, second.previous) == (None, first.digest)
    assert ledger_at(any_store_url).read(STREAM) == [first, second]
    assert ledger.streams() == [STREAM]
    assert ledger.store.list("ledger/") == ["ledger/release/m/00000000.json", "ledger/release/m/00000001.json"]


def test_a_lost_race_names_the_winner(any_store_url: str) -> None:
    ledger_at(any_store_url, "anna").append(STREAM, "promoted", {}, expected=0)
    with pytest.raises(Conflict, match="anna was first: event 0 of release/m is promoted of 2026-01-01"):
        ledger_at(any_store_url, "bert").append(STREAM, "rolled_back", {}, expected=0)


def test_more_expected_than_there_is_means_a_cut_tail(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="tail was cut"):
        ledger_at(tmp_path).append(STREAM, "promoted", {}, expected=3)


def race(url: str, who: str, results: multiprocessing.Queue) -> None:
    try:
        ledger_at(url, who).append(STREAM, "promoted", {"by": who}, expected=0)
        results.put("won")
    except Conflict as error:
        results.put(str(error))


def keep_appending(url: str, who: str) -> None:
    for number in range(5):
        ledger_at(url, who).append_latest(STREAM, "answered", {"who": who, "number": number})


def test_of_two_promoters_exactly_one_wins_and_the_other_is_told_who(any_store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    racers = [context.Process(target=race, args=(any_store_url, f"p{i}", results)) for i in range(4)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    winner = ledger_at(any_store_url).read(STREAM)[0].who
    assert found.count("won") == 1
    assert all(f"{winner} was first" in text for text in found if text != "won")


def test_racing_answers_are_never_lost(any_store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=keep_appending, args=(any_store_url, f"w{i}")) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    events = ledger_at(any_store_url).read(STREAM)
    assert len({(e.payload["who"], e.payload["number"]) for e in events}) == 15 == len(events)


def stored(count: int = 5) -> dict[str, bytes]:
    events: dict[str, bytes] = {}
    previous = None
    for number in range(count):
        event = Event(
            stream=STREAM,
            number=number,
            type="t",
            time="2026-01-01T00:00:00Z",
            who="me",
            payload={"n": number},
            previous=previous,
        )
        events[f"ledger/{STREAM}/{number:08d}.json"] = event.to_bytes()
        previous = event.digest
    return events


HEAD = Event(stream=STREAM, number=0, type="t", time="x", who="me").digest


def test_an_untouched_stream_has_no_problems() -> None:
    from holdfast.store import digest

    events = stored()
    assert problems_of(STREAM, events) == []
    assert problems_of(STREAM, events, digest(events[f"ledger/{STREAM}/00000004.json"])) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_found(number: int, place: int, flip: int) -> None:
    events = stored()
    key = f"ledger/{STREAM}/{number:08d}.json"
    data = bytearray(events[key])
    data[place % len(data)] ^= flip
    assert problems_of(STREAM, {**events, key: bytes(data)})


@given(st.integers(0, 3))
def test_a_missing_event_is_found(number: int) -> None:
    events = stored()
    del events[f"ledger/{STREAM}/{number:08d}.json"]
    assert any("missing" in problem for problem in problems_of(STREAM, events))


@given(st.permutations(range(5)))
def test_reordered_events_are_found(order: list[int]) -> None:
    events = stored()
    keys = sorted(events)
    moved = {keys[place]: events[keys[number]] for place, number in enumerate(order)}
    assert bool(problems_of(STREAM, moved)) == (order != list(range(5)))


def test_an_inserted_object_is_found() -> None:
    events = stored()
    assert problems_of(STREAM, {**events, f"ledger/{STREAM}/notes.txt": b"x"})
    assert problems_of(STREAM, {**events, f"ledger/{STREAM}/00000005.json": events[f"ledger/{STREAM}/00000004.json"]})


def test_a_cut_tail_is_found_against_an_anchor() -> None:
    from holdfast.store import digest

    events = stored()
    head = digest(events.pop(f"ledger/{STREAM}/00000004.json"))
    assert problems_of(STREAM, events) == []
    assert "tail was cut" in problems_of(STREAM, events, head)[0]


def test_verify_reports_each_stream(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    for stream in ("release/a", "release/b"):
        ledger.append(stream, "registered", {}, expected=0)
        ledger.append(stream, "staged", {}, expected=1)
    ledger.store.delete("ledger/release/b/00000000.json")
    checks = {check.name: check for check in ledger_at(tmp_path).verify()}
    assert checks["ledger.release/a"].verdict is Verdict.PASS
    assert (checks["ledger.release/b"].verdict, checks["ledger.release/b"].reason_code) == (
        Verdict.FAIL,
        "ledger_damaged",
    )
    with pytest.raises(Damaged, match="lacks event 0"):
        ledger_at(tmp_path).read("release/b")


def test_a_changed_event_is_never_read(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    ledger.append(STREAM, "promoted", {"version": "1"}, expected=0)
    ledger.append(STREAM, "promoted", {"version": "2"}, expected=1)
    key = "ledger/release/m/00000000.json"
    ledger.store.put(key, (ledger.store.get(key) or b"").replace(b'"version":"1"', b'"version":"9"'))
    with pytest.raises(Damaged, match="does not follow"):
        ledger_at(tmp_path).read(STREAM)


def test_a_long_stream_is_read_in_order(tmp_path: Path) -> None:
    previous = None
    store = open_store(tmp_path)
    for number in range(1_200):
        event = Event(stream=STREAM, number=number, type="t", time="2026-01-01T00:00:00Z", who="me", previous=previous)
        (tmp_path / "ledger" / STREAM).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"ledger/{STREAM}/{number:08d}.json").write_bytes(event.to_bytes())
        previous = event.digest
    events = Ledger(store).read(STREAM)
    assert [event.number for event in events] == list(range(1_200))
    assert Ledger(store).append(STREAM, "of a later version", {"x": 1}, expected=1_200).number == 1_200


def test_following_reads_what_is_new_and_nothing_else(any_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, follower = ledger_at(any_store_url), ledger_at(any_store_url)
    asked: list[str] = []
    get = follower.store.get
    monkeypatch.setattr(follower.store, "get", lambda key: asked.append(key) or get(key))
    monkeypatch.setattr(follower.store, "list", lambda prefix: pytest.fail("it listed"))
    assert follower.follow(STREAM) == []
    written = [writer.append(STREAM, "judged", {"n": n}, expected=n) for n in range(3)]
    assert follower.follow(STREAM) == written
    asked.clear()
    assert follower.follow(STREAM) == written
    assert asked == [event_key(STREAM, 3)]
    written.append(writer.append(STREAM, "judged", {}, expected=3))
    assert follower.follow(STREAM) == written


def test_following_stops_at_a_changed_event(tmp_path: Path) -> None:
    writer, follower = ledger_at(tmp_path), ledger_at(tmp_path)
    first = writer.append(STREAM, "judged", {}, expected=0)
    assert follower.follow(STREAM) == [first]
    other = Event(stream=STREAM, number=1, type="judged", time=first.time, who="x", previous="sha256:other")
    writer.store.put(event_key(STREAM, 1), other.to_bytes())
    with pytest.raises(Damaged, match="does not follow the event before it"):
        follower.follow(STREAM)


def test_who_and_where_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GITHUB_ACTOR": "octocat",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_RUN_ID": "7",
    }.items():
        monkeypatch.setenv(name, value)
    event = ledger_at(tmp_path).append(STREAM, "staged", {}, expected=0)
    assert event.ci == {"actor": "octocat", "run_url": "https://github.example/a/b/actions/runs/7"}
    assert event.who == "me"
