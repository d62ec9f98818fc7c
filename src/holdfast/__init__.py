"""Holdfast: CI/CD for machine-learning models.

The public names are loaded when they are used, so that `import holdfast` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast._version import __version__

if TYPE_CHECKING:
    from holdfast.config.validation import ModelValidationConfig
    from holdfast.gates.compare import compare
    from holdfast.pipeline.validator import ModelValidator
    from holdfast.retraining import (
        CodeChangeRetrainingPolicy,
        DataDriftRetrainingPolicy,
        RetrainingPolicy,
        RetrainingTrigger,
        ScheduledRetrainingPolicy,
    )
    from holdfast.verdict import CheckResult, Report, Verdict

_PLACES = {
    "CheckResult": "verdict",
    "CodeChangeRetrainingPolicy": "retraining",
    "DataDriftRetrainingPolicy": "retraining",
    "ModelValidationConfig": "config.validation",
    "ModelValidator": "pipeline.validator",
    "Report": "verdict",
    "RetrainingPolicy": "retraining",
    "RetrainingTrigger": "retraining",
    "ScheduledRetrainingPolicy": "retraining",
    "Verdict": "verdict",
    "compare": "gates.compare",
}

__all__ = [
    "CheckResult",
    "CodeChangeRetrainingPolicy",
    "DataDriftRetrainingPolicy",
    "ModelValidationConfig",
    "ModelValidator",
    "Report",
    "RetrainingPolicy",
    "RetrainingTrigger",
    "ScheduledRetrainingPolicy",
    "Verdict",
    "__version__",
    "compare",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    return getattr(importlib.import_module(f"holdfast.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
