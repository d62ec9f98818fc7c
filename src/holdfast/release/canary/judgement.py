"""What a judgement of a canary is. Pure data; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.verdict import CheckResult


class Decision(StrEnum):
    """What to do now."""

    CONTINUE = "continue"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "rollback"
    INVALID = "invalid"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Judgement:
    """A decision, why, the check that made it (None where it was all of them, or none), and every check."""

    decision: Decision
    reason: str
    metric: str | None = None
    checks: tuple[CheckResult, ...] = ()

    @property
    def check(self) -> CheckResult | None:
        """The check that made the decision."""
        return next((check for check in self.checks if check.name == self.metric), None)
