"""The classifier: LightGBM over six features, saved as two text files."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from flight_delays.features import NAMES, features, learn_rates


class Delays:
    """A table of flights in, the probability of being late out."""

    def __init__(self, booster: lightgbm.Booster, rates: dict[str, dict[str, float]]) -> None:
        self.booster, self.rates = booster, rates

    @classmethod
    def fit(cls, rows: pd.DataFrame, rounds: int = 120, seed: int = 0) -> Delays:
        """Train on flights with the label `late`; same rows, same classifier."""
        rates = learn_rates(rows)
        data = lightgbm.Dataset(features(rows, rates).to_numpy(float), rows["late"].to_numpy(), feature_name=NAMES)
        settings = {
            "objective": "binary",
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_data_in_leaf": 200,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 2,
            "verbose": -1,
        }
        return cls(lightgbm.train(settings, data, rounds), rates)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities (n,)."""
        if rows.empty:
            return np.empty(0)
        return np.asarray(self.booster.predict(features(rows, self.rates).to_numpy(float), num_threads=1))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / "booster.txt")
        (folder / "rates.json").write_text(json.dumps(self.rates, sort_keys=True), "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Delays:
        rates = json.loads((Path(folder) / "rates.json").read_text("utf-8"))
        return cls(lightgbm.Booster(model_file=Path(folder) / "booster.txt"), rates)
