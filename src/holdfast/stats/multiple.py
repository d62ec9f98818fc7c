"""Many questions at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which null hypotheses fall with a family-wise error of `alpha`: Holm's step-down (Holm 1979).

    The answers stand in the order of `p_values`. Valid for any dependence. Raises ValueError for a p-value or an
    `alpha` outside [0, 1], NaN among them: a test that could not be made has p = 1.
    """
    if any(not 0 <= p <= 1 for p in (*p_values, alpha)):
        raise ValueError("expected p-values and alpha between 0 and 1")
    rejected = [False] * len(p_values)
    for passed, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > alpha / (len(p_values) - passed):
            break
        rejected[index] = True
    return rejected
