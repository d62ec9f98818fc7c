"""What a gate judges from: the rows of one holdout and the predictions of up to three models on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The holdout's rows: labels (n,), the unit of each row (n,) or None, slice columns name → (n,)."""

    labels: Array
    groups: Array | None = None
    unit: str = "row"
    slices: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model in the comparison: how reports call it, the hash of its content, its predictions on the rows.

    `predictions` is (n,) or (n, K) and None where they are not to be had; `missing` then says why, and what to type.
    """

    name: str
    digest: str | None = None
    predictions: Array | None = None
    predictions_digest: str | None = None
    missing: str | None = None

    def same_model(self, other: Contender) -> bool:
        return self.digest is not None and self.digest == other.digest


def seed_from(*parts: str | None) -> int:
    """A seed that depends on its inputs' hashes only, so that the same evidence gives the same verdict."""
    text = "\n".join(part or "" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
