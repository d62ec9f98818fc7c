"""The names of metrics, as a project may write them."""

from __future__ import annotations

import re

METRIC_NAMES = (
    "accuracy",
    "f1",
    "f1_weighted",
    "f1_macro",
    "precision",
    "recall",
    "roc_auc",
    "log_loss",
    "brier",
    "mae",
    "rmse",
    "r2",
    "ndcg",
    "ndcg@10",
    "mrr",
    "recall@10",
)
METRIC = re.compile("|".join((*(re.escape(name) for name in METRIC_NAMES), r"ndcg@[1-9]\d*", r"recall@[1-9]\d*")))
