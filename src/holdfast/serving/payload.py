"""What a model is given and what it gives, whatever protocol brought it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["frame", "tensor", "tensors"]
_FEW = 64  # numbers that are looked at sooner one by one than by numpy


@dataclass(slots=True, eq=False)  # frozen, each of a request's would cost half a microsecond more
class Payload:
    """Arrays with a common first axis, the rows of a request.

    A `frame` has named columns (n,), a `tensor` one array (n, …) with the name that the client gave it or "", `tensors` are
    several named arrays (n, …). Numbers and booleans have numpy's dtypes; an array of dtype object holds str, bytes, None,
    datetime, and whatever JSON can hold. `params` are MLflow's, for models that take some: JSON values by name.
    """

    kind: Kind
    names: tuple[str, ...]
    arrays: tuple[npt.NDArray[Any], ...]
    params: Mapping[str, Any] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are; 0 for no arrays."""
        return len(self.arrays[0]) if self.arrays else 0


def tensor(array: Any, name: str = "") -> Payload:
    """One array as a payload."""
    return Payload("tensor", (name,), (np.asarray(array),))


def is_finite(array: npt.NDArray[Any]) -> bool:
    """Whether an array of floats or complex numbers has neither NaN nor an infinity in it."""
    if array.size <= _FEW and array.ndim == 1 and array.dtype.kind == "f":
        return all(map(math.isfinite, array.tolist()))
    return bool(np.isfinite(array).all())
