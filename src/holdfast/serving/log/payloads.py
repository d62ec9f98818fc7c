"""Many records as one buffer and two arrays of offsets: no Python object is made of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Payloads(Sequence[bytes]):
    """Payload i is `data[begins[i]:ends[i]]`; `begins` and `ends`, (n,), ascend, and other bytes may lie between."""

    def __init__(self, data: bytes, begins: Ints, ends: Ints) -> None:
        self.data, self.begins, self.ends = data, begins, ends

    @classmethod
    def of(cls, payloads: Sequence[bytes]) -> Payloads:
        """Any payloads, one after the other; what is in one buffer already stays as it is."""
        if isinstance(payloads, Payloads):
            return payloads
        sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
        ends = np.cumsum(sizes)
        return cls(b"".join(payloads), ends - sizes, ends)

    def __len__(self) -> int:
        return len(self.begins)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Payloads: ...
    def __getitem__(self, place: int | slice) -> bytes | Payloads:
        if isinstance(place, slice):
            return Payloads(self.data, self.begins[place], self.ends[place])
        return self.data[self.begins[place] : self.ends[place]]

    def parts(self, most: int) -> Iterator[Payloads]:
        """All of them in their order: neighbours that lie within `most` bytes, at least one."""
        begin = 0
        while begin < len(self):
            end = int(np.searchsorted(self.ends, self.begins[begin] + most, "right"))
            end = max(end, begin + 1)
            yield self[begin:end]
            begin = end
