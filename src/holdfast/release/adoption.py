"""A registry that was released by hand becomes the starting state of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import Refused, UserError
from holdfast.ledger import Ledger
from holdfast.registry import Registry, without_passwords
from holdfast.release.commands import Decided
from holdfast.release.commit import Done, commit
from holdfast.release.ownership import LEDGER_TAG
from holdfast.release.reconcile import converge, described
from holdfast.release.state import ROLES, ReleaseState


def adopt(ledger: Ledger, registry: Registry, model: str, known: Mapping[str, Mapping[str, Any]] | None = None) -> Done:
    """Record the registry's aliases (or its stage Production) as the state to start from.

    A registered model that belongs to another ledger is taken over, which that ledger is told at its next step. `known`
    may say more of a version than the registry does: its digest and lineage. Raises Refused where the ledger knows a
    champion already, UserError where there is nothing to adopt.
    """
    _, decided = commit(ledger, model, lambda state: _decided(state, registry, model, known or {}))
    done = converge(ledger, registry, model)
    number = decided.payload["aliases"].get("champion") if decided else None
    message = (
        f"adopted version {number} as the champion of {model}." if number else f"adopted {model}, without champion."
    )
    return Done(message, number or "", (*(decided.notices if decided else ()), *done.complaints(model)))


def _decided(state: ReleaseState, registry: Registry, model: str, known: Mapping[str, Mapping[str, Any]]) -> Decided:
    if state.champion is not None:
        raise Refused(f"the ledger knows a champion already: version {state.champion.version}.")
    aliases = _aliases(registry, model)
    owner = registry.model_tags(model).get(LEDGER_TAG) or None
    taken_over = None if owner in (state.ledger_id, state.taken_over) else owner
    if not aliases and taken_over is None:
        where = without_passwords(registry.uri)
        raise UserError(
            f"{model} has no champion in {where}, so there is nothing to adopt.", hint="Type `holdfast run`."
        )
    versions = [
        {**described(registry, model, number, state).to_json(), **known.get(number, {})}
        for number in sorted(set(aliases.values()), key=int)
    ]
    payload = {"aliases": aliases, "versions": versions, "taken_over": taken_over}
    notice = (
        f"the model belonged to the ledger {taken_over[:8]}…, which is refused from now on." if taken_over else None
    )
    return Decided("adopted", payload, notices=(notice,) if notice else ())


def _aliases(registry: Registry, model: str) -> dict[str, str]:
    found = {role: number for role, number in registry.aliases(model).items() if role in ROLES}
    if "champion" not in found:
        staged = registry.stage_champion(model)
        if staged is not None:
            found["champion"] = staged.version
    return found
