"""The ranker as MLflow serves it: loaded from its own files, nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from search_ranking.fuzzy import FuzzyRanker


class RankingModel(mlflow.pyfunc.PythonModel):
    """Rows with `query` and `product_title` in, scores out."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["ranker"])
        if (folder / "fuzzy.json").exists():
            self.ranker = FuzzyRanker.load(folder)
        else:
            from search_ranking.pipelines import Ranker  # brings LightGBM, which the oldest ranker does without

            self.ranker = Ranker.load(folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        return self.ranker.predict(model_input)


mlflow.models.set_model(RankingModel())
