"""Who serves: the state folded from the ledger, what may happen next, and a registry made to match."""

from holdfast.release.actions import promote, record_judgement, register, reset_anchor, rollback, stage, status
from holdfast.release.adoption import adopt
from holdfast.release.commands import Decided, Promote, ResetAnchor, Rollback, Stage
from holdfast.release.commit import Done
from holdfast.release.decide import decide
from holdfast.release.ownership import HEAD_TAG, LEDGER_TAG, guard_first_release
from holdfast.release.policy import policy_notices
from holdfast.release.reconcile import Reconciled, read_state, reconcile, stream_of
from holdfast.release.state import Judgement, ReleaseState, ReleaseVersion, evolve, fold
from holdfast.release.story import story

__all__ = [
    "HEAD_TAG",
    "LEDGER_TAG",
    "Decided",
    "Done",
    "Judgement",
    "Promote",
    "Reconciled",
    "ReleaseState",
    "ReleaseVersion",
    "ResetAnchor",
    "Rollback",
    "Stage",
    "adopt",
    "decide",
    "evolve",
    "fold",
    "guard_first_release",
    "policy_notices",
    "promote",
    "read_state",
    "reconcile",
    "record_judgement",
    "register",
    "reset_anchor",
    "rollback",
    "stage",
    "status",
    "story",
    "stream_of",
]
