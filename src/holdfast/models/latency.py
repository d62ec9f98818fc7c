"""Milliseconds of single calls of one model or two, the calls of two alternating between two processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.config.schema import ModelConfig
from holdfast.errors import UserError
from holdfast.models.predict import local_target, start
from holdfast.models.process import LoadedModel
from holdfast.models.reference import PredictionFile, Reference
from holdfast.registry import Registry

Blocks = npt.NDArray[np.float64]
MIN_BLOCKS = 30
WARM_UP = 20


class LatencyBlocks(NamedTuple):
    """Milliseconds a call, (blocks, calls in a block), of the candidate and of the champion, if there was one."""

    candidate: Blocks
    champion: Blocks | None


@dataclass(frozen=True)
class Timed:
    """A model to time, and the interpreter of the environment it is served in."""

    reference: Reference
    python: str | Path


def measure_latency(
    candidate: Timed,
    champion: Timed | None,
    table_path: str | Path,
    slices: Sequence[Sequence[int]],
    *,
    model_config: ModelConfig,
    registry: Registry | Callable[[], Registry] | None,
    cwd: str | Path,
    cache: str | Path,
    drop: Iterable[str] = (),
    calls: int = 3000,
    blocks: int = MIN_BLOCKS,
) -> LatencyBlocks:
    """Time at least `calls` single calls of each model, in `blocks` blocks.

    A slice is the row numbers of one call: one row, or all rows of a query; the slices are used in turn, the same ones
    for both models. A block of the one model is followed by the same block of the other, and who begins changes from
    block to block, so that what slows the machine slows both. Fewer calls are made where `calls` of them would not end
    within `model_config.timeout`, but never less than one a block. Errors as `predict`; UserError for a file of
    predictions, which cannot be called.
    """
    contenders = [timed for timed in (candidate, champion) if timed is not None]
    for timed in contenders:
        if isinstance(timed.reference, PredictionFile):
            raise UserError(f"{timed.reference} is a file of predictions, so its latency cannot be measured.")
    with contextlib.ExitStack() as stack:
        models = [
            stack.enter_context(start(timed.python, cwd, model_config, name=f"the model {timed.reference}"))
            for timed in contenders
        ]
        for timed, model in zip(contenders, models, strict=True):
            target = local_target(timed.reference, registry, Path(cache))  # type: ignore[arg-type]
            model.load(target, model_config.predict, model_config.allow_pickle)
            model.give(table_path, drop)
        budget = model_config.timeout.total_seconds() * 1000
        per_block = _calls_in_a_block(models, slices, calls, blocks, budget)
        measured = alternate(models, slices, per_block, blocks)
    return LatencyBlocks(measured[0], measured[1] if len(measured) > 1 else None)


def _calls_in_a_block(
    models: Sequence[LoadedModel], slices: Sequence[Sequence[int]], calls: int, blocks: int, budget_ms: float
) -> int:
    """Warm every model up, and see from it how many calls fit into the budget."""
    wanted = -(-calls // blocks)
    first = block_slices(slices, 0, min(WARM_UP, wanted))
    once = sum(float(np.median(model.time_calls(first, warm_up=len(first)))) for model in models)
    return max(1, min(wanted, int(budget_ms / max(once, 1e-6) / blocks)))


def alternate(
    models: Sequence[LoadedModel], slices: Sequence[Sequence[int]], per_block: int, blocks: int
) -> list[Blocks]:
    """The times of each model, (blocks, per_block) ms; the order of the models turns around at every block."""
    times = [np.empty((blocks, per_block)) for _ in models]
    for block in range(blocks):
        chosen = block_slices(slices, block * per_block, per_block)
        order = range(len(models)) if block % 2 == 0 else reversed(range(len(models)))
        for which in order:
            times[which][block] = models[which].time_calls(chosen, warm_up=1)
    return times


def block_slices(slices: Sequence[Sequence[int]], first: int, count: int) -> list[Sequence[int]]:
    """`count` slices from number `first` on, starting again at the end."""
    return [slices[number % len(slices)] for number in range(first, first + count)]
