"""Judge a run's model against the thresholds and the champion; exit status 1 where it does not pass.

python scripts/validate_model.py --run-id RUN --model-name search-ranking --config config/validation_gates.yaml

The test table is `data/test.parquet`, which scripts/split_data.py takes from the sealed holdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import mlflow

from holdfast import ModelValidationConfig, ModelValidator

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge a trained ranker.")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--model-name", default="search-ranking")
    parser.add_argument("--config", default=str(ROOT / "config" / "validation_gates.yaml"))
    parser.add_argument("--test-data", default=str(ROOT / "data" / "test.parquet"))
    given = parser.parse_args()
    validator = ModelValidator(
        ModelValidationConfig.from_yaml(given.config),
        given.test_data,
        mlflow.MlflowClient(),
        label="relevance",
        group="query_id",
    )
    result = validator.validate(f"runs:/{given.run_id}/model", given.model_name)
    print(json.dumps(result, indent=2))
    return 0 if result["overall_passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
