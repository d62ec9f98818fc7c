"""What may happen next: a state and a command give the next event, or a reason why not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.release import roles, steering
from holdfast.release.commands import (
    Command,
    Decided,
    DrillBack,
    DrillEnd,
    DrillOut,
    Finish,
    Hold,
    Promote,
    ResetAnchor,
    Resume,
    Return,
    Rollback,
    Stage,
    Start,
    Tick,
)
from holdfast.release.state import ReleaseState


def decide(state: ReleaseState, command: Command) -> Decided | None:
    """The event that `command` leads to; None where it is so already, or where nothing is due.

    Raises Refused, with the reason and the next command to type, where the rules forbid it, and UserError where the
    command names what does not exist.
    """
    return _RULES[type(command)](state, command)


_RULES: Mapping[type, Callable[[ReleaseState, Any], Decided | None]] = {
    Stage: roles.decide_stage,
    Promote: roles.decide_promotion,
    Rollback: roles.decide_rollback,
    ResetAnchor: roles.decide_reset,
    Start: steering.decide_start,
    Tick: steering.decide_tick,
    Hold: steering.decide_hold,
    Resume: steering.decide_resume,
    Finish: steering.decide_finish,
    Return: steering.decide_return,
    DrillOut: steering.decide_drill_out,
    DrillBack: steering.decide_drill_back,
    DrillEnd: steering.decide_drill_end,
}
