"""Whose registered model is it: the ledger's tags on it, and a champion that no ledger knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.errors import Damaged, Refused, UserError
from holdfast.ledger import Event
from holdfast.registry import Registry
from holdfast.release.state import ReleaseState

LEDGER_TAG = "holdfast.ledger"  # the id of the ledger's first event
HEAD_TAG = "holdfast.head"  # the digest of its last one, which shows a cut tail


def check_owner(state: ReleaseState, tags: Mapping[str, str], model: str) -> None:
    """Refused where the registered model belongs to another ledger."""
    owner = tags.get(LEDGER_TAG)
    if not owner or owner in (state.ledger_id, state.taken_over):
        return
    ours = "which is empty" if state.ledger_id is None else f"{state.ledger_id[:8]}…"
    raise Refused(
        f"the registered model {model} belongs to another ledger ({owner[:8]}…) than the one in this store ({ours}).",
        hint="Point `store:` at the store that released it; if that is lost, type `holdfast ledger adopt`.",
        reason_code="second_ledger",
    )


def check_head(events: Sequence[Event], tags: Mapping[str, str], model: str) -> None:
    """Damaged where the head that the registry remembers is not among `events`: the tail was cut or rewritten.

    Read `tags` before `events`, else a head that was written in between looks lost.
    """
    head = tags.get(HEAD_TAG)
    ours = bool(events) and tags.get(LEDGER_TAG) == events[0].id
    if head and ours and all(event.digest != head for event in reversed(events)):
        raise Damaged(
            f"the ledger of {model} has lost its last events: the registry remembers a head that is not among them.",
            hint="Type `holdfast ledger verify`, and restore the store from its backup.",
            reason_code="cut_tail",
        )


def guard_first_release(state: ReleaseState, registry: Registry, model: str, *, role: str = "champion") -> None:
    """UserError where the ledger is silent on `role` but the registry has one: that is not a first release."""
    if role in state.mentioned:
        return
    number = registry.aliases(model).get(role)
    if number is None and role == "champion":
        staged = registry.stage_champion(model)
        number = None if staged is None else staged.version
    if number is not None:
        raise UserError(
            f"the registry has a {role} of {model} (version {number}) that this ledger does not know.",
            hint="Type `holdfast ledger adopt` to record it, or point `store:` at its ledger.",
            reason_code=f"unknown_{role}",
        )
