"""Gate statistics beside the scikit-learn loop: the same rows, the same number of resamples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from holdfast.stats import compare, get_metric

ROWS = 100_000
RESAMPLES = 10_000
QUERIES, DOCUMENTS = 100_000, 20
Array = npt.NDArray[Any]


def main() -> None:
    """Print seconds and ratios; the loop runs a stated part of its resamples and is scaled up."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, ROWS)
    champion, candidate = (np.where(rng.random(ROWS) < share, labels, 1 - labels) for share in (0.90, 0.905))
    print(f"{ROWS:,} rows × {RESAMPLES:,} resamples; the loop runs 40 (AUC: 10) of them and is scaled")
    _bootstrap("accuracy", sk.accuracy_score, labels, champion, candidate, 40)
    _bootstrap("f1", sk.f1_score, labels, champion, candidate, 40)
    scores = [labels * 0.8 + rng.normal(size=ROWS) for _ in range(2)]
    _bootstrap("roc_auc", sk.roc_auc_score, labels, scores[0], scores[1], 10)
    _ndcg(rng)


def _bootstrap(
    name: str, peer: Callable[[Array, Array], float], labels: Array, champion: Array, candidate: Array, loop: int
) -> None:
    ours = min(_timed(lambda: compare(get_metric(name), labels, champion, candidate))[0] for _ in range(3))
    found = compare(get_metric(name), labels, champion, candidate)
    rng = np.random.default_rng(1)

    def resampled() -> list[float]:
        drawn = []
        for _ in range(loop):
            rows = rng.integers(0, ROWS, ROWS)
            drawn.append(peer(labels[rows], candidate[rows]) - peer(labels[rows], champion[rows]))
        return drawn

    seconds, drawn = _timed(resampled)
    theirs = seconds * RESAMPLES / loop
    half = 1.96 * float(np.std(drawn, ddof=1))
    print(
        f"  {name:9} {ours:8.4f} s  loop {theirs:7.0f} s  {theirs / ours:9,.0f}×  (target 1,000×)   "
        f"half-width {(found.high - found.low) / 2:.5f}, loop {half:.5f} from {loop} resamples"
    )


def _ndcg(rng: np.random.Generator) -> None:
    queries = np.repeat(np.arange(QUERIES), DOCUMENTS)
    grades = rng.integers(0, 4, len(queries))
    first, second = (grades + rng.normal(0, 2, len(queries)) for _ in range(2))
    metric = get_metric("ndcg@10")
    one = min(_timed(lambda: metric.value(grades, first, queries))[0] for _ in range(3))
    both = min(_timed(lambda: compare(metric, grades, first, second, queries))[0] for _ in range(3))
    some = 2_000
    gains = (2.0**grades - 1).reshape(-1, DOCUMENTS)[:some]

    def loop() -> float:
        scores = first.reshape(-1, DOCUMENTS)
        return float(np.mean([sk.ndcg_score([gains[q]], [scores[q]], k=10) for q in range(some) if gains[q].any()]))

    seconds, value = _timed(loop)
    theirs = seconds * QUERIES / some
    same = metric.value(grades[: some * DOCUMENTS], first[: some * DOCUMENTS], queries[: some * DOCUMENTS])
    print(f"NDCG@10 of {QUERIES:,} queries × {DOCUMENTS}; scikit-learn runs {some:,} queries and is scaled")
    print(f"  one model  {one:7.3f} s  scikit-learn {theirs:6.1f} s  {theirs / one:6.0f}×  (target 100×)")
    ratio = 2 * theirs / both
    print(
        f"  comparison {both:7.3f} s  scikit-learn {2 * theirs:6.1f} s  {ratio:6.0f}×   off by {abs(same - value):.1e}"
    )


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


if __name__ == "__main__":
    main()
