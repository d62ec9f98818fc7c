"""What a model is given and what it gives, whatever protocol brought it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["frame", "tensor", "tensors"]


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """Arrays with a common first axis, the rows of a request.

    A `frame` has named columns (n,), a `tensor` one array (n, …) with the name that the client gave it or "", `tensors` are
    several named arrays (n, …). Numbers and booleans have numpy's dtypes; an array of dtype object holds str, bytes, None,
    datetime, and whatever JSON can hold.
    """

    kind: Kind
    names: tuple[str, ...]
    arrays: tuple[npt.NDArray[Any], ...]

    @property
    def rows(self) -> int:
        """How many rows there are; 0 for no arrays."""
        return len(self.arrays[0]) if self.arrays else 0


def tensor(array: Any, name: str = "") -> Payload:
    """One array as a payload."""
    return Payload("tensor", (name,), (np.asarray(array),))
