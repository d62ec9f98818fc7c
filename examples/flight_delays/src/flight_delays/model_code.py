"""The classifier as MLflow serves it: loaded from its own files, nothing is unpickled."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd

from flight_delays.model import Delays


class DelayModel(mlflow.pyfunc.PythonModel):
    """Flights in, probabilities of being late out."""

    def load_context(self, context: Any) -> None:
        self.delays = Delays.load(context.artifacts["delays"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        return self.delays.predict(model_input)


mlflow.models.set_model(DelayModel())
