"""`holdfast.compare`: two sets of predictions, no project."""

from __future__ import annotations

import numpy as np
import pytest

import holdfast
from holdfast.errors import UserError
from holdfast.verdict import Report, Verdict

RNG = np.random.default_rng(0)
QUERIES = np.repeat(np.arange(116), 20)
GRADES = RNG.integers(0, 4, len(QUERIES))
GOOD = GRADES + RNG.normal(0, 1.2, len(QUERIES))
BAD = GRADES + RNG.normal(0, 2.4, len(QUERIES))


def test_a_worse_ranking_fails_with_its_interval() -> None:
    report = holdfast.compare(GRADES, GOOD, BAD, metric="ndcg@10", groups=QUERIES, max_regression=0.02)
    check = report.checks[0]
    assert report.verdict is Verdict.FAIL
    assert check.high < -0.02 < 0
    assert (check.unit, check.n, check.scale) == ("query", 116, "absolute")
    assert check.low < check.estimate < check.high


def test_a_better_ranking_passes_and_the_minimum_is_asked_too() -> None:
    report = holdfast.compare(GRADES, BAD, GOOD, metric="ndcg@10", groups=QUERIES, max_regression=0.02, min=0.5)
    assert report.verdict is Verdict.PASS
    assert [check.kind for check in report.checks] == ["absolute", "regression"]


def test_equal_predictions_of_few_rows_are_open() -> None:
    labels = np.ones(50, dtype=int)
    report = holdfast.compare(labels, labels, labels, metric="accuracy", max_regression=0.02)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.checks[0].needed_n is None or report.checks[0].needed_n > 50


def test_lower_is_better_has_its_threshold_above() -> None:
    truth = RNG.normal(size=500)
    report = holdfast.compare(
        truth, truth + 0.1 * RNG.normal(size=500), truth + RNG.normal(size=500), metric="rmse", max_regression=0.05
    )
    check = report.checks[0]
    assert (report.verdict, check.direction, check.threshold) == (Verdict.FAIL, "lower", 0.05)
    assert check.low > 0.05


def test_the_users_own_metric() -> None:
    def share_above(labels: np.ndarray, predictions: np.ndarray) -> float:
        return float((predictions > labels).mean())

    report = holdfast.compare(
        GRADES[:400],
        GOOD[:400],
        GOOD[:400] + 1,
        metric="above",
        function=share_above,
        higher_is_better=False,
        max_regression=0.1,
    )
    assert report.verdict is Verdict.FAIL


def test_text_labels_and_gain() -> None:
    labels = np.asarray(["a", "b"] * 200, dtype=object)
    wrong = np.where(np.arange(400) % 10 == 0, "c", labels).astype(object)
    assert holdfast.compare(labels, labels, wrong, metric="f1_macro", max_regression=0.01).verdict is Verdict.FAIL
    kinds = {
        gain: holdfast.compare(GRADES, None, GOOD, metric="ndcg", groups=QUERIES, min=0.1, gain=gain).checks[0].estimate
        for gain in ("exponential", "linear")
    }
    assert kinds["exponential"] != kinds["linear"]


def test_the_report_is_replayed_from_its_record() -> None:
    report = holdfast.compare(GRADES, GOOD, BAD, metric="ndcg@10", groups=QUERIES, max_regression=0.02)
    assert Report.from_json(report.to_json()).checks == report.checks
    again = holdfast.compare(GRADES, GOOD, BAD, metric="ndcg@10", groups=QUERIES, max_regression=0.02)
    assert again.checks == report.checks


NAN = np.where(np.arange(len(GRADES)) == 3, np.nan, GOOD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metric": "ndgc@10"}, "ndcg"),
        ({"groups": None}, "per group"),
        ({"groups": QUERIES[:-1]}, "groups has 2,319 rows"),
        ({"candidate": BAD[:-1]}, "candidate has 2,319 rows and the labels have 2,320"),
        ({"candidate": NAN}, "not finite (rows 3)"),
        ({"champion": NAN}, "champion has 1 predictions"),
        ({"labels": [], "candidate": [], "champion": [], "groups": []}, "no rows"),
        ({"max_regression": -0.1}, "cannot be -0.1"),
        ({"max_regression": float("nan")}, "cannot be nan"),
        ({"confidence": 95}, "confidence must lie between"),
    ],
)
def test_bad_input_is_one_sentence(change: dict, words: str) -> None:
    given = {
        "labels": GRADES,
        "champion": GOOD,
        "candidate": BAD,
        "metric": "ndcg@10",
        "groups": QUERIES,
        "max_regression": 0.02,
    }
    given |= change
    labels, champion, candidate = given.pop("labels"), given.pop("champion"), given.pop("candidate")
    with pytest.raises(UserError) as caught:
        holdfast.compare(labels, champion, candidate, **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_public_names_are_exactly_these() -> None:
    assert set(holdfast.__all__) <= set(dir(holdfast))
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    with pytest.raises(AttributeError):
        holdfast.nothing  # noqa: B018
