"""The user's training command, its run, and its lineage."""

from __future__ import annotations

from holdfast.training.run import TrainingResult, train

__all__ = ["TrainingResult", "train"]
