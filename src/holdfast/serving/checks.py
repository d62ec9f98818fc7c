"""Is an answer one that may be given? Row count, shape, finite numbers. Pure."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from holdfast.serving.payload import Payload, is_finite
from holdfast.serving.served import ModelSpec, TensorSpec

Layout = tuple[tuple[int, bool], ...]  # of each array its axes, and whether it holds numbers


def nonsense(outputs: Payload, rows: int, spec: ModelSpec, layout: Layout | None = None) -> str | None:
    """Why `outputs` cannot be the answer to `rows` rows; None where it can.

    The shapes are those of `spec`; where it says nothing, `layout`, which clients were given so far.
    """
    if not outputs.arrays:
        return "it gave no output"
    for place, array in enumerate(outputs.arrays):
        if array.ndim < 1 or len(array) != rows:
            return f"it gave {len(array) if array.ndim else 'no'} rows for {rows}"
        if array.dtype.kind in "fc" and not is_finite(array):
            return f"its output {outputs.names[place]!r} is not finite"
    if spec.outputs:
        return _against_spec(outputs, spec.outputs)
    if layout is not None and layout_of(outputs) != layout:
        return "its output has another shape than the champion's"
    return None


def layout_of(outputs: Payload) -> Layout:
    """What must stay the same from one version to the next for clients to go on."""
    return tuple((array.ndim, array.dtype.kind != "O") for array in outputs.arrays)


def _against_spec(outputs: Payload, wanted: tuple[TensorSpec, ...]) -> str | None:
    if len(outputs.arrays) != len(wanted):
        return f"it gave {len(outputs.arrays)} outputs, its signature has {len(wanted)}"
    by_name = dict(zip(outputs.names, outputs.arrays, strict=True))
    for place, spec in enumerate(wanted):
        array = by_name.get(spec.name, outputs.arrays[place])
        if not _fits(array, spec):
            return f"the output {spec.name!r} has shape {array.shape}, its signature says {spec.shape}"
    return None


def _fits(array: npt.NDArray[Any], spec: TensorSpec) -> bool:
    """Whether each axis has the length that the spec says; −1 takes any, and a column is (n, 1) or (n,)."""
    shape, wanted = array.shape, spec.shape
    if len(wanted) == len(shape) + 1 and wanted[-1] in (1, -1):
        shape = (*shape, 1)
    elif len(wanted) == len(shape) - 1 and shape[-1] == 1:  # MLServer gives every vector a second axis
        shape = shape[:-1]
    return len(shape) == len(wanted) and all(w in (-1, n) for w, n in zip(wanted, shape, strict=True))
