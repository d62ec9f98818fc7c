"""Make the registry's aliases match the ledger, from any crash, any number of times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import OutsideError, Refused, UserError
from holdfast.ledger import Ledger
from holdfast.registry import Registry
from holdfast.release.state import ReleaseState, fold

LEDGER_TAG = "holdfast.ledger"
HEAD_TAG = "holdfast.head"
PROJECTED_TAG = "holdfast.projected"
_TRIES = 5


@dataclass(frozen=True)
class Reconciled:
    """What was done to the registry, one sentence each; nothing where it matched."""

    changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"changes": list(self.changes)}


def stream_of(model: str) -> str:
    """The ledger stream of a model's releases."""
    return f"release/{model}"


def read_state(ledger: Ledger, model: str) -> ReleaseState:
    """The state of `model`'s release as the ledger tells it now."""
    return fold(ledger.read(stream_of(model)))


def reconcile(
    ledger: Ledger, registry: Registry, model: str, *, foreign: Literal["accept", "restore"] | None = None
) -> Reconciled:
    """Set every alias that the ledger has spoken of to where it belongs.

    An alias that is neither there nor where we last set it was moved by somebody else: that is written into the ledger
    and Refused, until `foreign` says to accept it or to restore ours. An alias that is gone is set again. Raises
    OutsideError where a version that should be named no longer exists, Refused where the model belongs to another ledger.
    """
    changes: list[str] = []
    for _ in range(_TRIES):
        state = read_state(ledger, model)
        if state.length == 0:
            return Reconciled()
        changes += _project(ledger, registry, model, state, foreign)
        if read_state(ledger, model).length == state.length:
            return Reconciled(tuple(changes))
    raise OutsideError(f"the ledger of {model} kept changing while the registry was made to match it.")


def _project(
    ledger: Ledger, registry: Registry, model: str, state: ReleaseState, foreign: Literal["accept", "restore"] | None
) -> list[str]:
    tags, actual = registry.model_tags(model), registry.aliases(model)
    check_owner(state, tags, model)
    projected = _projected(tags)
    strange = foreign_aliases(state.aliases(), actual, projected)
    if strange:
        return _foreign(ledger, registry, model, state, strange, foreign)
    changes = [
        sentence
        for alias, number in state.aliases().items()
        if (sentence := _set(registry, model, alias, number, actual.get(alias))) is not None
    ]
    wanted = {LEDGER_TAG: state.ledger_id or "", HEAD_TAG: state.head or "", PROJECTED_TAG: _text(state)}
    if actual or changes or tags:
        for name, value in wanted.items():
            if tags.get(name) != value:
                registry.set_model_tag(model, name, value)
    return changes


def foreign_aliases(
    wanted: Mapping[str, str | None], actual: Mapping[str, str], projected: Mapping[str, str | None]
) -> dict[str, str]:
    """The aliases that stand neither where they belong nor where we last set them."""
    return {
        alias: actual[alias]
        for alias, number in wanted.items()
        if alias in actual and actual[alias] not in (number, projected.get(alias))
    }


def check_owner(state: ReleaseState, tags: Mapping[str, str], model: str) -> None:
    """Refused where the registered model belongs to another ledger."""
    owner = tags.get(LEDGER_TAG)
    if owner and state.ledger_id and owner != state.ledger_id:
        raise Refused(
            f"the registered model {model} belongs to another ledger ({owner[:8]}…, not {state.ledger_id[:8]}…).",
            hint="Point `store:` at the store that released it.",
            reason_code="second_ledger",
        )


def guard_first_release(state: ReleaseState, registry: Registry, model: str) -> None:
    """UserError where the ledger is empty but the registry has a champion: that is not a first release."""
    if state.champion is not None:
        return
    number = registry.aliases(model).get("champion")
    if number is None:
        staged = registry.stage_champion(model)
        number = None if staged is None else staged.version
    if number is not None:
        raise UserError(
            f"the registry has a champion of {model} (version {number}) that this ledger does not know.",
            hint="Type `holdfast ledger adopt` to record it, or point `store:` at its ledger.",
            reason_code="unknown_champion",
        )


def _foreign(
    ledger: Ledger,
    registry: Registry,
    model: str,
    state: ReleaseState,
    strange: Mapping[str, str],
    foreign: Literal["accept", "restore"] | None,
) -> list[str]:
    stream = stream_of(model)
    alias, number = next(iter(strange.items()))
    ours = state.aliases()[alias]
    if state.foreign.get(alias) != number:
        payload = {"alias": alias, "expected": ours, "found": number}
        ledger.append(stream, "foreign_change", payload, expected=state.length)
        return []
    if foreign is None:
        raise Refused(
            f"somebody else moved the alias {alias} from {_called(ours)} to {_called(number)}.",
            hint="Type `holdfast release reconcile --accept` or `--restore`.",
            reason_code="foreign_change",
        )
    if foreign == "accept":
        version = adopted_version(registry, model, number, state)
        ledger.append(stream, "accepted", {"alias": alias, "version": version}, expected=state.length)
        return [f"accepted {alias} = version {number}"]
    sentence = _set(registry, model, alias, ours, number) or ""
    ledger.append(stream, "restored", {"alias": alias, "version": ours}, expected=state.length)
    return [sentence]


def adopted_version(registry: Registry, model: str, number: str, state: ReleaseState) -> dict[str, Any]:
    """What the ledger keeps of a version that somebody else released."""
    if number in state.versions:
        return state.versions[number].to_json()
    found = registry.version(model, number)
    if found is None:
        raise OutsideError(f"version {number} of {model} is not in the registry.")
    uri = f"models:/{model}/{number}"
    return {
        "version": number,
        "digest": found.tags.get("holdfast.digest", f"unknown:{uri}"),
        "uri": uri,
        "run_id": found.run_id,
        "lineage": {},
    }


def _set(registry: Registry, model: str, alias: str, number: str | None, actual: str | None) -> str | None:
    if actual == number:
        return None
    if number is None:
        registry.delete_alias(model, alias)
        return f"removed {alias} (was version {actual})"
    if registry.version(model, number) is None:
        raise OutsideError(
            f"version {number} of {model}, the {alias}, no longer exists in the registry.",
            hint="Roll back with `holdfast release rollback --to N`, or register it again.",
            reason_code="version_gone",
        )
    registry.set_alias(model, alias, number)
    return f"{alias} = version {number}" + (f" (was version {actual})" if actual else "")


def _projected(tags: Mapping[str, str]) -> dict[str, str | None]:
    try:
        found = json.loads(tags.get(PROJECTED_TAG, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(state: ReleaseState) -> str:
    return json.dumps(state.aliases(), sort_keys=True)


def _called(number: str | None) -> str:
    return "nowhere" if number is None else f"version {number}"
