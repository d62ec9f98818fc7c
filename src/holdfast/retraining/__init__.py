"""When to train again, and who starts it."""

from holdfast.retraining.ask import Answer, Decision, ask, fire, stream_of
from holdfast.retraining.policies import (
    CodeChangeRetrainingPolicy,
    DataDriftRetrainingPolicy,
    RetrainingPolicy,
    RetrainingTrigger,
    ScheduledRetrainingPolicy,
)
from holdfast.retraining.setup import policies_from, trigger_from
from holdfast.retraining.triggers import GitHubWorkflowTrigger, LocalTrigger, Trigger, holdfast_run

__all__ = [
    "Answer",
    "CodeChangeRetrainingPolicy",
    "DataDriftRetrainingPolicy",
    "Decision",
    "GitHubWorkflowTrigger",
    "LocalTrigger",
    "RetrainingPolicy",
    "RetrainingTrigger",
    "ScheduledRetrainingPolicy",
    "Trigger",
    "ask",
    "fire",
    "holdfast_run",
    "policies_from",
    "stream_of",
    "trigger_from",
]
