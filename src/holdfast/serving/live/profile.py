"""What requests bring in, counted beside the champion's training data: by hour and variant, so that drift can be told.

    live/MODEL/profile/HOUR/REPLICA    {"parts": {REFERENCE: {VARIANT: profile}}}

Replicas count between the same edges, those of the stored profile, so their counts add up to the count of all their requests.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from holdfast.data.profile import Profile, ProfileBuilder
from holdfast.data.served import Frame, served_batch, served_schema, stacked
from holdfast.errors import Damaged, HoldfastError, OutsideError
from holdfast.serving.live.pending import Pending
from holdfast.serving.payload import Payload
from holdfast.store import Store, canonical_json

ROOM = 200_000  # rows of inputs between two flushes; their memory is the requests' own
EVERY = 60_000_000  # microseconds between two writes of an hour
HOUR = 3_600_000_000
FORMAT = 1
_MANY = 16_384  # rows that are counted together
_OPEN = 2  # hours that are counted at the same time: requests of the last one may still come in

Profiles = Mapping[str, Profile]  # by variant


class LiveProfile:
    """The profile of this replica's inputs, of frames only.

    `reference` is the profile of the champion's training data and `name` its digest; of its `columns` (all by default) those
    that a request lacks are counted as null. A replica that starts again goes on from what it wrote last, up to `EVERY` ago.
    """

    def __init__(
        self,
        replica: str,
        store: Store,
        model: str,
        reference: Profile,
        name: str,
        *,
        columns: Iterable[str] | None = None,
        room: int = ROOM,
    ) -> None:
        self.replica, self.store, self.model = replica, store, model
        self.reference, self.name = reference, name
        chosen = reference.columns if columns is None else [column for column in columns if column in reference.columns]
        self.kinds = {column: reference.columns[column].kind for column in chosen}
        self._inputs: Pending[tuple[int, str, Payload]] = Pending(room)
        self._hours: dict[int, _Hour] = {}
        self.unwritten = 0  # hours whose counts were lost, because the store was away for too long

    @property
    def lost(self) -> int:
        """Requests that are not in the profile, because there was no room."""
        return self._inputs.lost

    def observe(self, time: int, variant: str, inputs: Payload) -> None:
        """Inputs of a request at `time`, UTC microseconds. On the event loop."""
        if inputs.kind == "frame":
            self._inputs.add((time, variant, inputs), inputs.rows)

    def flush(self, now: int) -> None:
        """Count what came; write what is due. OutsideError where the store is away: the counts stay for the next time."""
        alike: dict[tuple[int, str, tuple[str, ...]], list[Payload]] = defaultdict(list)
        for time, variant, inputs in self._inputs.take():
            alike[time // HOUR, variant, inputs.names].append(inputs)
        for (hour, variant, names), found in sorted(alike.items()):
            rows = sum(inputs.rows for inputs in found)
            frame = stacked(names, [inputs.arrays for inputs in found], self.kinds)
            self._hour(hour).add(variant, rows, frame)
        for number, counted in self._hours.items():
            if number < now // HOUR or not 0 <= now - counted.written < EVERY:
                counted.write(now)

    def close(self, now: int) -> None:
        """Write everything."""
        for hour in self._hours.values():
            hour.write(now)

    def _hour(self, number: int) -> _Hour:
        hour = self._hours.get(number)
        if hour is None:
            while len(self._hours) >= _OPEN:
                self._give_up(self._hours.pop(min(self._hours)))
            hour = self._hours[number] = _Hour(self, number)
        return hour

    def _give_up(self, hour: _Hour) -> None:
        """The last try to write an hour for which there is no room any more."""
        try:
            hour.write(hour.written)
        except OutsideError:
            self.unwritten += 1


class _Hour:
    """The counts of one hour, on top of what was written of it before this process began."""

    def __init__(self, of: LiveProfile, number: int) -> None:
        self.of, self.written = of, 0
        self.key = f"{_folder(of.model, number * HOUR)}{of.replica}"
        self._held: dict[str, list[tuple[int, Frame]]] = defaultdict(list)
        self._builders: dict[str, ProfileBuilder] = {}
        self._before: Mapping[str, Profiles] | None = None
        self._is_changed = False

    def add(self, variant: str, rows: int, frame: Frame) -> None:
        """Rows to be counted: many at a time, which costs little more than a few."""
        self._held[variant].append((rows, frame))
        self._is_changed = True
        if sum(rows for rows, _ in self._held[variant]) >= _MANY:
            self._count(variant)

    def _count(self, variant: str) -> None:
        kinds, frames = self.of.kinds, self._held.pop(variant)
        builder = self._builders.get(variant)
        if builder is None:
            builder = ProfileBuilder(served_schema(kinds), self.of.reference, sampled=False)
            self._builders[variant] = builder
        builder.add(served_batch(frames, kinds))

    def write(self, now: int) -> None:
        """Put the counts into the store, where they have changed."""
        if not self._is_changed:
            return
        if self._before is None:
            self._before = _stored(self.of.store, self.key)
        for variant in list(self._held):
            self._count(variant)
        before = self._before.get(self.of.name, {})
        now_here = {variant: builder.finish() for variant, builder in self._builders.items()}
        parts = {**self._before, self.of.name: _added(before, now_here)}
        document = {
            "format": FORMAT,
            "parts": {
                name: {variant: profile.to_json() for variant, profile in profiles.items()}
                for name, profiles in parts.items()
            },
        }
        self.of.store.put(self.key, canonical_json(document))
        self._is_changed, self.written = False, now


def hour_profiles(store: Store, model: str, micros: int, name: str) -> Profiles:
    """The inputs of all replicas in the hour in which `micros` lies, by variant, counted beside the reference `name`.

    Damaged for a document that is none, OutsideError where the store is away.
    """
    found = [_read(store.get(key), key) for key in store.list(_folder(model, micros))]
    return reduce(_added, (parts.get(name, {}) for parts in found), {})


def _folder(model: str, micros: int) -> str:
    hour = datetime.fromtimestamp(micros // HOUR * 3600, UTC)
    return f"live/{model}/profile/{hour:%Y-%m-%dT%H}/"


def _added(one: Profiles, other: Profiles) -> Profiles:
    both = {variant: one[variant].merge(other[variant]) for variant in one.keys() & other.keys()}
    return {**one, **other, **both}


def _stored(store: Store, key: str) -> Mapping[str, Profiles]:
    """What this replica wrote before; what cannot be read is begun anew."""
    try:
        return _read(store.get(key), key)
    except Damaged:
        return {}


def _read(content: bytes | None, key: str) -> Mapping[str, Profiles]:
    if content is None:
        return {}
    try:
        document: Any = json.loads(content)
        parts = {FORMAT: document["parts"]}[document["format"]]
        return {
            name: {variant: Profile.from_json(profile) for variant, profile in profiles.items()}
            for name, profiles in parts.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, HoldfastError):
        raise Damaged(f"{key} in the store is no profile of requests that this Holdfast reads.") from None
