"""Who serves: the state folded from the ledger, what may happen next, and a registry made to match."""

from holdfast.release.actions import Done, adopt, promote, record_judgement, register, rollback, stage, status
from holdfast.release.decide import Promote, Rollback, decide_promotion, decide_rollback, decide_stage, loosened
from holdfast.release.reconcile import HEAD_TAG, Reconciled, guard_first_release, read_state, reconcile, stream_of
from holdfast.release.state import Judgement, ReleaseState, ReleaseVersion, evolve, fold
from holdfast.release.story import story

__all__ = [
    "HEAD_TAG",
    "Done",
    "Judgement",
    "Promote",
    "Reconciled",
    "ReleaseState",
    "ReleaseVersion",
    "Rollback",
    "adopt",
    "decide_promotion",
    "decide_rollback",
    "decide_stage",
    "evolve",
    "fold",
    "guard_first_release",
    "loosened",
    "promote",
    "read_state",
    "reconcile",
    "record_judgement",
    "register",
    "rollback",
    "stage",
    "status",
    "story",
    "stream_of",
]
