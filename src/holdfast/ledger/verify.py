"""What is wrong with a stream of stored events. Pure: bytes in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import Damaged
from holdfast.ledger.event import read_event
from holdfast.store import digest


def problems_of(stream: str, stored: Mapping[str, bytes], anchor: str | None = None) -> list[str]:
    """Every reason not to believe the events `stored` (key → bytes) of `stream`, in order; empty where all is well."""
    problems = [f"{key} is no event of this stream" for key in sorted(stored) if not _is_event_key(stream, key)]
    keys = sorted(key for key in stored if _is_event_key(stream, key))
    numbers = [int(key[-13:-5]) for key in keys]
    problems += [f"event {n} is missing" for n in sorted(set(range(max(numbers, default=-1) + 1)) - set(numbers))]
    before: str | None = None
    expected_digests = set()
    for number, key in zip(numbers, keys, strict=True):
        found = digest(stored[key])
        expected_digests.add(found)
        problems += _event_problems(
            stream, number, key, stored[key], before, check_previous=number == 0 or before is not None
        )
        before = found if number + 1 in numbers else None
    if anchor is not None and anchor not in expected_digests:
        problems.append(f"the recorded head {anchor[:19]}… is not among its events: its tail was cut or rewritten")
    return problems


def _event_problems(
    stream: str, number: int, key: str, data: bytes, before: str | None, *, check_previous: bool
) -> list[str]:
    try:
        event = read_event(data, key)
    except Damaged:
        return [f"event {number} was changed"]
    if (event.stream, event.number) != (stream, number):
        return [f"event {number} says it is event {event.number} of {event.stream}"]
    if check_previous and event.previous != before:
        return [f"event {number} does not follow the event before it"]
    return []


def _is_event_key(stream: str, key: str) -> bool:
    name = key.removeprefix(f"ledger/{stream}/")
    return name != key and len(name) == 13 and name.endswith(".json") and name[:8].isdigit()
