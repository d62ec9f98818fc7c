"""What combinations of packages answered, kept in a file so that a bisection goes on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.environment.search import Answer, Changes
from holdfast.verdict import CheckResult

SCHEMA = 1


@dataclass
class Trial:
    """What one combination said: how often the check passed and failed there, or why it could not be asked."""

    passes: int = 0
    fails: int = 0
    reason: str | None = None
    result: CheckResult | None = None
    built: float = 0.0
    asked: float = 0.0

    def answer(self, lead: int) -> Answer | None:
        """The answer, once it leads by so many; None before that."""
        if self.reason is not None:
            return Answer.UNTESTABLE
        if abs(self.passes - self.fails) < lead:
            return None
        return Answer.PASS if self.passes > self.fails else Answer.FAIL

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "result": None if self.result is None else self.result.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trial:
        result = document["result"]
        return cls(**{**document, "result": None if result is None else CheckResult.from_json(result)})


def read_trials(path: Path) -> dict[Changes, Trial]:
    """Earlier answers; none where the file is not there or cannot be read, which costs time only."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            return {}
        return {frozenset(item["changes"]): Trial.from_json(item["trial"]) for item in document["trials"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_trials(path: Path, trials: Mapping[Changes, Trial]) -> None:
    kept = [{"changes": sorted(combination), "trial": trial.to_json()} for combination, trial in trials.items()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"schema": SCHEMA, "trials": kept}), "utf-8")
    temporary.replace(path)
