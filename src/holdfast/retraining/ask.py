"""Ask the policies, keep their answers, and start at most one training within the cooldown.

The stream `retraining/MODEL` of the ledger holds `answered` (one for each policy asked), `triggered` (about to start),
then `started` or `failed`. `triggered` is written first, and only as the event right after those that were read: a
crash or a second process at any moment can lose a training until the cooldown is over, but cannot start it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.errors import Conflict, HoldfastError, OutsideError
from holdfast.ledger import Event, Ledger
from holdfast.retraining.policies import RetrainingPolicy
from holdfast.retraining.triggers import Trigger
from holdfast.verdict import utc_text

_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one policy said; `retrain` is None where it could not be asked."""

    policy: str
    retrain: bool | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """All answers, whether one of them was yes, and until when the cooldown of the last start lasts (None: over)."""

    model: str
    answers: tuple[Answer, ...]
    cooling_until: datetime | None = None

    @property
    def wanted(self) -> bool:
        return any(answer.retrain for answer in self.answers)

    @property
    def should_start(self) -> bool:
        return self.wanted and self.cooling_until is None

    @property
    def reason(self) -> str:
        """The sentences that decided."""
        deciding = [a.reason for a in self.answers if a.retrain] if self.wanted else [a.reason for a in self.answers]
        text = " ".join(deciding) or "No policy was asked."
        if self.wanted and self.cooling_until is not None:
            text += f" The cooldown of the last start lasts until {utc_text(self.cooling_until)}."
        return text


def stream_of(model: str) -> str:
    """The ledger stream of a model's retraining."""
    return f"retraining/{model}"


def ask(
    policies: Sequence[RetrainingPolicy],
    model: str,
    ledger: Ledger,
    *,
    clock: Callable[[], datetime],
    cooldown: timedelta,
) -> Decision:
    """Ask every policy about `model` and write each answer with its reason into the ledger.

    A policy that fails for something outside (OutsideError) is recorded as not answered and the others are asked;
    a UserError is raised.
    """
    answers = tuple(_answer(policy, model) for policy in policies)
    for answer in answers:
        payload = {"policy": answer.policy, "retrain": answer.retrain, "reason": answer.reason}
        ledger.append_latest(stream_of(model), "answered", payload)
    until = _cooling_until(ledger.read(stream_of(model)), clock(), cooldown)
    return Decision(model=model, answers=answers, cooling_until=until)


def fire(
    decision: Decision,
    trigger: Trigger,
    ledger: Ledger,
    *,
    clock: Callable[[], datetime],
    cooldown: timedelta,
) -> str | None:
    """Start the training that `decision` asks for; the trigger's sentence, or None where nothing was started.

    Nothing is started without a wish, or within the cooldown, which is looked up again because another process may
    have been faster. A start that fails is recorded and its error raised; the cooldown holds all the same.
    """
    if not decision.wanted or not _claim(decision, trigger, ledger, clock, cooldown):
        return None
    stream = stream_of(decision.model)
    try:
        summary = trigger.start(decision.model)
    except BaseException as error:
        message = error.message if isinstance(error, HoldfastError) else f"interrupted by {type(error).__name__}"
        ledger.append_latest(stream, "failed", {"trigger": trigger.name, "reason": message})
        raise
    ledger.append_latest(stream, "started", {"trigger": trigger.name, "summary": summary})
    return summary


def _answer(policy: RetrainingPolicy, model: str) -> Answer:
    try:
        retrain, reason = policy.should_retrain(model)
    except OutsideError as error:
        return Answer(policy=policy.name, retrain=None, reason=str(error))
    return Answer(policy=policy.name, retrain=bool(retrain), reason=reason)


def _claim(
    decision: Decision, trigger: Trigger, ledger: Ledger, clock: Callable[[], datetime], cooldown: timedelta
) -> bool:
    """Write `triggered` unless the cooldown lasts; a lost race only means to look again."""
    stream = stream_of(decision.model)
    payload = {"trigger": trigger.name, "reason": decision.reason}
    for _ in range(_TRIES):
        events = ledger.read(stream)
        if _cooling_until(events, clock(), cooldown) is not None:
            return False
        try:
            ledger.append(stream, "triggered", payload, expected=len(events))
        except Conflict:
            continue
        return True
    raise Conflict(f"The stream {stream} changed {_TRIES} times while a start was to be written into it.")


def _cooling_until(events: Sequence[Event], now: datetime, cooldown: timedelta) -> datetime | None:
    """When the cooldown after the last `triggered` ends; None where it is over or nothing was ever started."""
    starts = [event.time for event in events if event.type == "triggered"]
    if not starts:
        return None
    until = datetime.fromisoformat(starts[-1]) + cooldown
    return until if now < until else None
