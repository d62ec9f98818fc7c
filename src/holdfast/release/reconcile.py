"""Make the registry's aliases match the ledger, from any crash, any number of times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.errors import Conflict, OutsideError, Refused
from holdfast.ledger import Ledger
from holdfast.registry import Registry
from holdfast.release.ownership import HEAD_TAG, LEDGER_TAG, check_head, check_owner
from holdfast.release.state import ReleaseState, ReleaseVersion, fold

PROJECTED_TAG = "holdfast.projected"  # where each alias is, or is on its way to, by our own hand
_TRIES = 20

Foreign = Literal["accept", "restore"]


@dataclass(frozen=True)
class Reconciled:
    """What was done to the registry, one sentence each, and the aliases whose version is gone from it for good."""

    changes: tuple[str, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"changes": list(self.changes), "gone": dict(self.gone)}

    def complaints(self, model: str) -> list[str]:
        """One sentence for every version that is gone."""
        return [
            f"version {number} of {model}, the {alias}, no longer exists in the registry."
            for alias, number in self.gone.items()
        ]


def stream_of(model: str) -> str:
    """The ledger stream of a model's releases."""
    return f"release/{model}"


def read_state(ledger: Ledger, model: str) -> ReleaseState:
    """The state of `model`'s release as the ledger tells it now."""
    return fold(ledger.read(stream_of(model)))


def reconcile(ledger: Ledger, registry: Registry, model: str, *, foreign: Foreign | None = None) -> Reconciled:
    """Set every alias that the ledger has spoken of to where it belongs; an alias that is lost is set again.

    Raises Refused where somebody else moved an alias, which is written into the ledger once, until `foreign` says to
    accept it or to restore ours; Refused where the model belongs to another ledger; Damaged where the ledger's tail was
    cut; OutsideError where a version that should be named no longer exists, after everything else was set.
    """
    done = converge(ledger, registry, model, foreign=foreign)
    if done.gone:
        raise OutsideError(
            " ".join(done.complaints(model)),
            hint="Everything else matches the ledger. Roll back, or promote another version.",
            reason_code="version_gone",
        )
    return done


def converge(ledger: Ledger, registry: Registry, model: str, *, foreign: Foreign | None = None) -> Reconciled:
    """`reconcile` that goes on where a version is gone, because a rollback may be what mends it."""
    changes: list[str] = []
    for _ in range(_TRIES):
        tags = registry.model_tags(model)
        events = ledger.read(stream_of(model))
        state = fold(events)
        check_owner(state, tags, model)
        check_head(events, tags, model)
        if not state.versions:
            return Reconciled()
        settled = _settle(ledger, registry, model, state, tags, foreign)
        if settled is not None:
            changes += settled
            continue
        made, gone = _project(registry, model, state, tags)
        changes += made
        if len(ledger.read(stream_of(model))) == state.length:
            return Reconciled(tuple(changes), gone)
    raise OutsideError(f"the ledger of {model} kept changing while the registry was made to match it.")


def foreign_aliases(
    wanted: Mapping[str, str | None], actual: Mapping[str, str], ours: Mapping[str, list[str | None]]
) -> dict[str, str]:
    """The aliases that stand neither where they belong nor where we have put them. Pure."""
    return {
        alias: actual[alias]
        for alias, number in wanted.items()
        if alias in actual and actual[alias] not in (number, *ours.get(alias, []))
    }


def described(registry: Registry, model: str, number: str, state: ReleaseState) -> ReleaseVersion:
    """What the ledger keeps of a version that somebody else released."""
    if number in state.versions:
        return state.versions[number]
    found = registry.version(model, number)
    if found is None:
        raise OutsideError(f"version {number} of {model} is not in the registry.", reason_code="version_gone")
    uri = f"models:/{model}/{number}"
    digest = found.tags.get("holdfast.digest", f"unknown:{uri}")
    return ReleaseVersion(version=number, digest=digest, uri=uri, run_id=found.run_id)


def _settle(
    ledger: Ledger,
    registry: Registry,
    model: str,
    state: ReleaseState,
    tags: Mapping[str, str],
    foreign: Foreign | None,
) -> list[str] | None:
    """Deal with one alias that somebody else moved, and say what was done; None where there is none."""
    strange = foreign_aliases(state.aliases(), registry.aliases(model), _ours(tags))
    back = [alias for alias in state.foreign if alias not in strange]
    try:
        if back:
            return _restored(ledger, model, state, back[0], f"{back[0]} is where it belongs again")
        if not strange:
            return None
        alias, number = next(iter(strange.items()))
        expected = state.aliases()[alias]
        if state.foreign.get(alias) != number:
            payload = {"alias": alias, "expected": expected, "found": number}
            ledger.append(stream_of(model), "foreign_change", payload, expected=state.length)
            return []
        if foreign is None:
            raise Refused(
                f"somebody else moved the alias {alias} from {_called(expected)} to {_called(number)}.",
                hint="Type `holdfast release reconcile --accept` or `--restore`.",
                reason_code="foreign_change",
            )
        if foreign == "accept":
            found = {"alias": alias, "version": described(registry, model, number, state).to_json()}
            ledger.append(stream_of(model), "accepted", found, expected=state.length)
            return [f"accepted {alias} = version {number}"]
        return _put_back(ledger, registry, model, state, alias)
    except Conflict:  # somebody wrote at the same time: look again
        return []


def _put_back(ledger: Ledger, registry: Registry, model: str, state: ReleaseState, alias: str) -> list[str]:
    """An alias where it belongs; where that version is gone for good it stays, until another version has the role."""
    expected, actual = state.aliases()[alias], registry.aliases(model)
    if expected is None or registry.version(model, expected) is not None:
        _set(registry, model, alias, expected)
        sentence = f"{alias} = {_called(expected)} again (was {_called(actual.get(alias))})"
        return _restored(ledger, model, state, alias, sentence)
    places = {**_ours(registry.model_tags(model)), alias: [expected, actual.get(alias)]}
    registry.set_model_tag(model, PROJECTED_TAG, _text(places))
    sentence = f"{alias} stays at {_called(actual.get(alias))}, because {_called(expected)} no longer exists"
    return _restored(ledger, model, state, alias, sentence)


def _restored(ledger: Ledger, model: str, state: ReleaseState, alias: str, sentence: str) -> list[str]:
    payload = {"alias": alias, "version": state.aliases().get(alias)}
    ledger.append(stream_of(model), "restored", payload, expected=state.length)
    return [sentence]


def _project(
    registry: Registry, model: str, state: ReleaseState, tags: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Set what differs; the sentences, and the aliases whose version is gone."""
    actual, wanted = registry.aliases(model), state.aliases()
    if LEDGER_TAG not in tags:
        registry.ensure_model(model)
    different = {alias: number for alias, number in wanted.items() if actual.get(alias) != number}
    gone = {a: n for a, n in different.items() if n is not None and registry.version(model, n) is None}
    now = dict(tags)
    _tag(registry, model, now, {LEDGER_TAG: state.ledger_id or ""})
    todo = {alias: number for alias, number in different.items() if alias not in gone}
    if todo:  # said before it is done, so that after a crash in between it is known to be our own hand
        _tag(registry, model, now, {PROJECTED_TAG: _text({a: [actual.get(a), n] for a, n in wanted.items()})})
    changes = []
    for alias, number in todo.items():
        _set(registry, model, alias, number)
        changes.append(_told(alias, number, actual.get(alias)))
    places = {a: [n] if a not in gone or a not in actual else [n, actual[a]] for a, n in wanted.items()}
    final = {PROJECTED_TAG: _text(places), HEAD_TAG: state.head or ""}
    _tag(registry, model, now, final)
    return changes, gone


def _tag(registry: Registry, model: str, known: dict[str, str], wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        if known.get(name) != value:
            registry.set_model_tag(model, name, value)
            known[name] = value


def _set(registry: Registry, model: str, alias: str, number: str | None) -> None:
    if number is None:
        registry.delete_alias(model, alias)
    else:
        registry.set_alias(model, alias, number)


def _told(alias: str, number: str | None, before: str | None) -> str:
    if number is None:
        return f"removed {alias} (was version {before})"
    return f"{alias} = version {number}" + (f" (was version {before})" if before else "")


def _ours(tags: Mapping[str, str]) -> dict[str, list[str | None]]:
    """Where our own hand has put each alias, by the tag; nothing where it cannot be read."""
    try:
        found = json.loads(tags.get(PROJECTED_TAG, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {alias: value for alias, value in found.items() if isinstance(value, list)}


def _text(places: Mapping[str, list[str | None]]) -> str:
    return json.dumps(places, sort_keys=True)


def _called(number: str | None) -> str:
    return "nowhere" if number is None else f"version {number}"
