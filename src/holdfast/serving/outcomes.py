"""What happened after a prediction, as clients report it: checked entry by entry, and put into the log."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from holdfast.serving.log.encoding import encode_outcome

FIELDS = ("prediction_id", "name", "value", "time", "row", "event_id")
LONGEST_NAME = 200  # characters of an id or a name
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_ROWS = 2**31
_SHOWN = 100  # refused entries that a client is told of
_TOGETHER = 250  # entries that are looked at before other requests have their turn


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome. `time` is UTC microseconds; `row` None is the whole request; `event_id` is the sender's own name for it."""

    prediction_id: str
    time: int
    name: str
    value: float
    row: int | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that cannot be used: its place in what was sent, from 0, and why in one sentence."""

    place: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"place": self.place, "reason": self.reason}


def checked(entries: Iterable[Any], now: datetime, first: int = 0) -> tuple[list[Outcome], list[RefusedEntry]]:
    """The usable entries and the refused ones, the first of which has place `first`. Pure.

    An entry is an object with `prediction_id`, `name` and `value` (a finite number or a boolean), and if wanted `time` (ISO
    8601, without a zone UTC; default `now`), `row` (of a request with several) and `event_id` (what is sent again counts once).
    """
    outcomes, refused = [], []
    for place, entry in enumerate(entries, first):
        try:
            outcomes.append(_outcome(entry, now))
        except _Unusable as error:
            refused.append(RefusedEntry(place, str(error)))
    return outcomes, refused


class _Unusable(Exception):
    """Why an entry cannot be used."""


class RecentEvents:
    """The last `most` event ids, so that what a client sends again soon is not logged again. The join counts once anyhow."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._known: OrderedDict[str, None] = OrderedDict()

    def new(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Those whose event id is not known, each id once; those without an id all."""
        seen: set[str] = set()
        found = []
        for outcome in outcomes:
            if outcome.event_id is None:
                found.append(outcome)
            elif outcome.event_id not in self._known and outcome.event_id not in seen:
                seen.add(outcome.event_id)
                found.append(outcome)
        return found

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Remember what was logged."""
        for outcome in outcomes:
            if outcome.event_id is not None:
                self._known[outcome.event_id] = None
        while len(self._known) > self._most:
            self._known.popitem(last=False)


class OutcomeIntake:
    """Takes what a client posts and says what became of it. `append` puts a payload into the log of outcomes."""

    def __init__(self, append: Callable[[bytes], Awaitable[object]], now: Callable[[], datetime]) -> None:
        self._append, self._now = append, now
        self._recent = RecentEvents()

    async def __call__(self, entries: Sequence[Any]) -> Mapping[str, Any]:
        """Counts of accepted, repeated and refused entries, and why the first of those were refused.

        Raises what `append` raises; then some may be in the log, and sending all of them again is right.
        """
        now, accepted, usable = self._now(), 0, 0
        reasons: list[dict[str, Any]] = []
        for first in range(0, len(entries), _TOGETHER):
            outcomes, refused = checked(entries[first : first + _TOGETHER], now, first)
            new = self._recent.new(outcomes)
            await asyncio.gather(*(self._append(encoded(outcome)) for outcome in new))
            await asyncio.sleep(0)  # also where nothing was to be written
            self._recent.add(new)
            accepted, usable = accepted + len(new), usable + len(outcomes)
            reasons += [entry.to_json() for entry in refused[: _SHOWN - len(reasons)]]
        return {
            "accepted": accepted,
            "repeated": usable - accepted,
            "refused": len(entries) - usable,
            "reasons": reasons,
        }


def encoded(outcome: Outcome) -> bytes:
    """The outcome as a payload of the log."""
    return encode_outcome(
        outcome.event_id or "", outcome.prediction_id, outcome.time, outcome.name, outcome.value, outcome.row
    )


def _outcome(entry: Any, now: datetime) -> Outcome:
    """Raises _Unusable with one sentence."""
    if not isinstance(entry, Mapping):
        raise _Unusable(f"expected an object with prediction_id, name and value, found {_kind(entry)}.")
    for key in entry:
        if key not in FIELDS:
            raise _Unusable(f"expected the fields {', '.join(FIELDS)}, found {str(key)[:50]!r}.")
    return Outcome(
        _text(entry, "prediction_id", required=True) or "",
        _micros(entry.get("time"), now),
        _text(entry, "name", required=True) or "",
        _number(entry.get("value")),
        _row(entry.get("row")),
        _text(entry, "event_id", required=False),
    )


def _text(entry: Mapping[str, Any], field: str, *, required: bool) -> str | None:
    value = entry.get(field)
    if value is None and not required:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and field != "name":
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        found = f"{len(value)} characters" if isinstance(value, str) else _kind(value)
        raise _Unusable(f"expected {field} to be text of 1 to {LONGEST_NAME} characters, found {found}.")
    if not value.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _Unusable(f"expected {field} to be printable text, found {value[:50]!r}.")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, (bool, int, float, Decimal)):
        raise _Unusable(f"expected value to be a number or a boolean, found {_kind(value)}.")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise _Unusable(f"expected value to be a finite number, found {str(value)[:50]}.")
    return number


def _micros(value: Any, now: datetime) -> int:
    moment = now if value is None else value
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError:
            raise _Unusable(f"expected time in ISO 8601 such as 2027-03-01T12:00:00Z, found {value[:50]!r}.") from None
    if not isinstance(moment, datetime):
        raise _Unusable(f"expected time in ISO 8601 such as 2027-03-01T12:00:00Z, found {_kind(value)}.")
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        moment = _LAST
    if not _FIRST <= moment < _LAST:
        raise _Unusable(f"expected time to be between 2000 and 2099, found {str(value)[:50]}.")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _row(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # a column of numbers with gaps
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_ROWS:
        raise _Unusable(f"expected row to be the number of a row of the request, from 0, found {str(value)[:50]!r}.")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
