"""Values equal scikit-learn's; ranking metrics equal the mean over tied orders."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from holdfast.stats import compare, estimate, get_metric

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 400)
HARD = np.where(RNG.random(400) < 0.8, Y, 1 - Y)
SOFT = np.clip(Y * 0.3 + RNG.random(400) * 0.7, 0.001, 0.999)
TEXT = RNG.choice(list("abc"), 400).astype(object)
SAID = np.where(RNG.random(400) < 0.7, TEXT, "a").astype(object)
THREE = RNG.dirichlet([1, 1, 1], 400)
REAL = RNG.normal(size=400)

CASES = {
    "accuracy": (Y, HARD, sk.accuracy_score(Y, HARD)),
    "f1": (Y, HARD, sk.f1_score(Y, HARD)),
    "precision": (Y, HARD, sk.precision_score(Y, HARD)),
    "recall": (Y, HARD, sk.recall_score(Y, HARD)),
    "f1_weighted": (TEXT, SAID, sk.f1_score(TEXT.astype(str), SAID.astype(str), average="weighted")),
    "f1_macro": (TEXT, SAID, sk.f1_score(TEXT.astype(str), SAID.astype(str), average="macro")),
    "roc_auc": (Y, SOFT, sk.roc_auc_score(Y, SOFT)),
    "log_loss": (Y, SOFT, sk.log_loss(Y, SOFT)),
    "brier": (Y, SOFT, sk.brier_score_loss(Y, SOFT)),
    "mae": (REAL, REAL + SOFT, sk.mean_absolute_error(REAL, REAL + SOFT)),
    "rmse": (REAL, REAL + SOFT, sk.root_mean_squared_error(REAL, REAL + SOFT)),
    "r2": (REAL, REAL + SOFT, sk.r2_score(REAL, REAL + SOFT)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_values_equal_scikit_learn(name: str) -> None:
    labels, predictions, expected = CASES[name]
    assert get_metric(name).value(labels, predictions) == pytest.approx(expected, abs=1e-12)
    assert estimate(get_metric(name), labels, predictions).value == pytest.approx(expected, abs=1e-12)


def test_probabilities_of_several_classes() -> None:
    assert get_metric("log_loss").value(TEXT, THREE) == pytest.approx(sk.log_loss(TEXT.astype(str), THREE))


def test_another_positive_class() -> None:
    text = np.where(Y == 1, "spam", "ham").astype(object)
    said = np.where(HARD == 1, "spam", "ham").astype(object)
    expected = sk.f1_score(text.astype(str), said.astype(str), pos_label="spam")
    assert get_metric("f1", positive="spam").value(text, said) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ndcg_with_ties_equals_scikit_learn(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    n = sum(sizes)
    grades = np.asarray(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    scores = np.asarray(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    k = data.draw(st.sampled_from([1, 3, 10]))
    gain = data.draw(st.sampled_from(["exponential", "linear"]))
    queries = np.repeat(np.arange(len(sizes)), sizes)
    gains = 2**grades - 1 if gain == "exponential" else grades
    expected = [
        sk.ndcg_score([gains[inside]], [scores[inside]], k=k)
        for inside in (queries == q for q in range(len(sizes)))
        if inside.sum() > 1 and grades[inside].any()
    ]
    metric = get_metric(f"ndcg@{k}", gain=gain)
    if not expected:
        with pytest.raises(ValueError, match="no query"):
            metric.value(grades, scores, queries)
        return
    shuffled = np.random.default_rng(n).permutation(n)
    assert metric.value(grades, scores, queries) == pytest.approx(np.mean(expected))
    assert metric.value(grades[shuffled], scores[shuffled], queries[shuffled]) == pytest.approx(np.mean(expected))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=6).filter(
        lambda v: any(g for g, _ in v)
    )
)
def test_mrr_and_recall_are_means_over_the_tied_orders(rows: list[tuple[int, int]]) -> None:
    grades, scores = (np.asarray(part, dtype=float) for part in zip(*rows, strict=True))
    orders = [
        order for order in permutations(range(len(rows))) if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    ranks = [1 / (1 + next(i for i, row in enumerate(order) if grades[row])) for order in orders]
    hits = [sum(grades[row] for row in order[:2]) / grades.sum() for order in orders]
    groups = np.zeros(len(rows))
    assert get_metric("mrr").value(grades, scores, groups) == pytest.approx(np.mean(ranks))
    assert get_metric("recall@2").value(grades, scores, groups) == pytest.approx(np.mean(hits))


def test_queries_that_cannot_be_judged_are_left_out_and_counted() -> None:
    queries = np.repeat(np.arange(60), 3)
    grades = RNG.integers(0, 3, 180).astype(float)
    grades[:6] = 0
    grades = np.r_[grades, 2.0]
    queries = np.r_[queries, 99]
    found = estimate(get_metric("ndcg@10"), grades, RNG.random(181), queries)
    assert found.details["left_out"]["only one document"] == 1
    assert found.details["left_out"]["no relevant document"] >= 2
    assert found.n == 61 - sum(found.details["left_out"].values())


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "groups", "words"),
    [
        ("accuracy", Y, HARD[:-1], None, "400 labels and 399 predictions"),
        ("accuracy", Y, SOFT, None, "needs classes"),
        ("accuracy", TEXT, HARD, None, "never agree"),
        ("accuracy", np.array([]), np.array([]), None, "no rows"),
        ("f1", np.zeros(400, dtype=int), HARD, None, "no label is 1"),
        ("roc_auc", np.ones(400), SOFT, None, "both classes"),
        ("roc_auc", Y, np.where(Y, np.nan, SOFT), None, "not finite"),
        ("log_loss", Y, SOFT * 3, None, "between 0 and 1"),
        ("r2", np.ones(400), SOFT, None, "all labels are equal"),
        ("ndcg@10", Y, SOFT, None, "which rows belong to one query"),
        ("ndcg@10", Y - 5, SOFT, Y, "not negative"),
        ("ndcg@10", Y * 0, SOFT, Y, "no query has a relevant"),
    ],
)
def test_what_cannot_be_measured_is_said(
    name: str, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        compare(get_metric(name), labels, predictions, predictions, groups)


@pytest.mark.parametrize(
    ("name", "near"), [("acuracy", "accuracy"), ("ndgc@10", "ndcg"), ("f1_makro", "f1_macro"), ("xyz", "there are")]
)
def test_unknown_names_offer_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=near):
        get_metric(name)
