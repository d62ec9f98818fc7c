"""When a model should be trained again. A policy answers yes or no with a sentence that holds both numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.errors import OutsideError, UserError
from holdfast.retraining.changes import changed_since, matching

_CLOCK_SKEW = timedelta(hours=1)  # between the machine that trained and the one that asks
_NAMED_FILES = 5  # in a reason


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class RetrainingTrigger:
    """A measured value beside the threshold it must exceed."""

    trigger_type: str
    threshold: float
    current_value: float

    @property
    def should_trigger(self) -> bool:
        return self.current_value > self.threshold


class RetrainingPolicy(ABC):
    """One reason to train again."""

    name = "custom"

    @abstractmethod
    def should_retrain(self, model_name: str) -> tuple[bool, str]:
        """Whether to train `model_name` again, and why or why not in one sentence."""


class DataDriftRetrainingPolicy(RetrainingPolicy):
    """Yes when the drift score exceeds `threshold`.

    `drift_score` is a number that somebody stored, or is asked for the score of a model. None or NaN means unknown.
    Unknown is not 0, so the sentence says that nothing was measured; it is not drift either, so the answer is no:
    training on data that could not be measured repairs nothing, and a schedule beside this policy is the safety net.
    """

    name = "drift"

    def __init__(
        self, threshold: float = 0.15, *, drift_score: float | Callable[[str], float | None] | None = None
    ) -> None:
        self.threshold = _limit(threshold, "drift threshold")
        self.drift_score = drift_score

    def should_retrain(self, model_name: str) -> tuple[bool, str]:
        score = self.drift_score(model_name) if callable(self.drift_score) else self.drift_score
        if score is None or math.isnan(score):
            return False, f"The drift score of {model_name} is unknown, so it is not compared with {self.threshold:g}."
        trigger = RetrainingTrigger(self.name, self.threshold, score)
        return trigger.should_trigger, f"The drift score of {model_name} is {_beside(trigger)}."


class ScheduledRetrainingPolicy(RetrainingPolicy):
    """Yes when the last training is more than `every_days` ago, or when none is known.

    `last_training` is an aware time, or is asked for the one of a model. `clock` gives the aware time now. Raises
    UserError for a time without a zone, OutsideError for a last training that lies in the future.
    """

    name = "schedule"

    def __init__(
        self,
        every_days: float = 7,
        *,
        last_training: datetime | Callable[[str], datetime | None] | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.every_days = _limit(every_days, "number of days")
        if isinstance(last_training, datetime):
            _aware(last_training)
        self.last_training = last_training
        self.clock = clock

    def should_retrain(self, model_name: str) -> tuple[bool, str]:
        last = self.last_training(model_name) if callable(self.last_training) else self.last_training
        if last is None:
            return True, f"No training of {model_name} is recorded, and it is due every {self.every_days:g} days."
        age = _aware(self.clock()) - _aware(last)
        if age < -_CLOCK_SKEW:
            raise OutsideError(f"The last training of {model_name} is recorded at {last.isoformat()}, in the future.")
        trigger = RetrainingTrigger(self.name, self.every_days, max(age, timedelta(0)) / timedelta(days=1))
        return trigger.should_trigger, f"The last training of {model_name} was {_beside(trigger, ' days ago')}."


class CodeChangeRetrainingPolicy(RetrainingPolicy):
    """Yes when a file that matches one of `globs` has changed since the commit of the last training.

    `last_commit` is a commit, or is asked for the one of a model; None means unknown, and the answer is no as for an
    unknown drift. `changed_files` gives the paths changed since a commit; by default it asks git in the current
    folder. Globs are those of `matching`.
    """

    name = "code change"

    def __init__(
        self,
        globs: Sequence[str],
        *,
        last_commit: str | Callable[[str], str | None] | None = None,
        changed_files: Callable[[str], Sequence[str]] = changed_since,
    ) -> None:
        if isinstance(globs, str) or not globs:
            raise UserError(f"Expected a list of globs to watch, found {globs!r}.", hint='Give for example ["src/**"].')
        self.globs = tuple(globs)
        self.last_commit = last_commit
        self.changed_files = changed_files

    def should_retrain(self, model_name: str) -> tuple[bool, str]:
        commit = self.last_commit(model_name) if callable(self.last_commit) else self.last_commit
        watched = " or ".join(self.globs)
        if commit is None:
            return (
                False,
                f"The commit of the last training of {model_name} is unknown, so changes of {watched} are too.",
            )
        changed = self.changed_files(commit)
        found = matching(changed, self.globs)
        trigger = RetrainingTrigger(self.name, 0, len(found))
        named = ", ".join(found[:_NAMED_FILES]) + (", …" if len(found) > _NAMED_FILES else "")
        count = f"{len(found)} of {len(changed)} files changed since {commit[:12]} match {watched}"
        return trigger.should_trigger, f"{count}: {named}." if found else f"{count}."


def _limit(value: float, what: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"Expected a {what} that is finite and not negative, found {value}.")
    return value


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UserError(f"Expected a time with a time zone, found {moment.isoformat()}.", hint="Use UTC.")
    return moment


def _beside(trigger: RetrainingTrigger, unit: str = "") -> str:
    """Both numbers, with as many digits as it takes to tell them apart."""
    value, threshold = trigger.current_value, trigger.threshold
    found = f"{value:.3g}" if f"{value:.3g}" != f"{threshold:.3g}" or value == threshold else repr(float(value))
    return f"{found}{unit}, {'above' if trigger.should_trigger else 'not above'} the limit of {threshold:g}"
