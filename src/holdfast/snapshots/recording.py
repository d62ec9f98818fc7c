"""Record a snapshot, and check a project against one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from holdfast.config.schema import DataConfig, SnapshotFunction, SnapshotsConfig
from holdfast.data.tables import Table
from holdfast.errors import Refused, UserError
from holdfast.snapshots.checks import Affected, Rows, check_function
from holdfast.snapshots.inputs import make_inputs
from holdfast.snapshots.running import Place, Ran, rows_of, run_once, run_twice
from holdfast.snapshots.snapshot import PARTS, Golden, Snapshot, load_table, save_table
from holdfast.store import Store
from holdfast.verdict import CheckResult, Verdict


def record(
    config: SnapshotsConfig,
    data: DataConfig,
    table: Table,
    where: Place,
    store: Store,
    *,
    model: str,
    environment: str,
) -> Snapshot:
    """Choose inputs from `table`, run every declared function on them, and keep the inputs in the store.

    Raises UserError where nothing is declared, Refused for a function that does not give the same answer twice, and
    what the first function that cannot be run raised.
    """
    if not config.functions:
        raise UserError(
            "holdfast.yaml declares no snapshots.",
            hint="Declare one: `snapshots: {functions: {tokens: {function: module:name, input: COLUMN}}}`.",
        )
    inputs = make_inputs(config, data, table)
    kept = {part: inputs[part] for part in PARTS if part in inputs}
    functions = whole_tables(config, data, table)
    ran = run_twice(functions, kept, where)
    for name, one in ran.items():
        _refuse_broken(name, functions[name], one, kept)
    hashes = _population(functions, inputs.get("population"), where)
    golden = {
        name: Golden(
            function=functions[name].function,
            call=functions[name].call,
            input=functions[name].input,
            kinds=one.kinds,
            outputs=one.outputs,
            population=hashes.get(name, []),
        )
        for name, one in ran.items()
    }
    return Snapshot(
        model=model,
        environment=environment,
        inputs={part: save_table(store, found) for part, found in inputs.items()},
        functions=golden,
    )


def whole_tables(config: SnapshotsConfig, data: DataConfig, table: Table) -> dict[str, SnapshotFunction]:
    """The declared functions, those of a whole table with all its columns but the label."""
    columns = [name for name in table.columns if name != data.label]
    return {
        name: function if function.input else function.model_copy(update={"input": columns})
        for name, function in config.functions.items()
    }


def check(
    config: SnapshotsConfig,
    snapshot: Snapshot,
    where: Place,
    store: Store,
    *,
    count: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> list[CheckResult]:
    """One check for every function that is declared or recorded.

    Where something changed and `count` is set, the real inputs that are affected are counted.
    """
    declared = {n: _as_recorded(f, snapshot.functions.get(n)) for n, f in config.functions.items()}
    both = {name: function for name, function in declared.items() if function is not None}
    tables = {part: load_table(store, digest) for part, digest in snapshot.inputs.items() if part in PARTS}
    ran = run_twice(both, tables, where)
    results = {name: _checked(name, snapshot, ran[name], both[name], tables) for name in both}
    guilty = {n: both[n] for n, result in results.items() if result.reason_code == "snapshot_differs"}
    if guilty and count and "population" in snapshot.inputs:
        say("counting the real inputs that are affected")
        population = load_table(store, snapshot.inputs["population"])
        hashes = _population(guilty, population, where)
        for name, function in guilty.items():
            affected = count_affected(snapshot.functions[name].population, hashes.get(name, []), population, function)
            results[name] = _checked(name, snapshot, ran[name], function, tables, affected)
    others = [_not_in_both(n, n in config.functions) for n in sorted(declared.keys() ^ snapshot.functions.keys())]
    redeclared = [_redeclared(name) for name, f in declared.items() if f is None and name in snapshot.functions]
    return [*results.values(), *others, *redeclared]


def count_affected(
    before: list[str], after: list[str], population: pa.Table, function: SnapshotFunction
) -> Affected | None:
    """Different inputs whose output has another hash; None where they were not recorded."""
    if not before or len(before) != len(after):
        return None
    seen: dict[tuple[str, ...], bool] = {}
    rows = rows_of(population, function.input)
    for values, one, two in zip(rows, before, after, strict=True):
        key = tuple(map(str, values))
        seen[key] = seen.get(key, False) or one != two
    return Affected(sum(seen.values()), len(seen))


def inputs_of(tables: Mapping[str, pa.Table], function: SnapshotFunction) -> Rows:
    """What the function was given, by part."""
    return {part: rows_of(table, function.input) for part, table in tables.items()}


def _checked(
    name: str,
    snapshot: Snapshot,
    ran: Ran,
    function: SnapshotFunction,
    tables: Mapping[str, pa.Table],
    affected: Affected | None = None,
) -> CheckResult:
    return check_function(name, snapshot.functions[name], ran, function, inputs_of(tables, function), affected)


def _as_recorded(function: SnapshotFunction, golden: Golden | None) -> SnapshotFunction | None:
    """The declared function with the columns it was recorded with; None where it is not recorded, or otherwise."""
    if golden is None or golden.function != function.function or golden.call != function.call:
        return None
    if function.input and function.input != golden.input:
        return None
    return function.model_copy(update={"input": golden.input})


def _population(
    functions: Mapping[str, SnapshotFunction], table: pa.Table | None, where: Place
) -> dict[str, list[Any]]:
    if table is None:
        return {}
    ran = run_once(functions, {"population": table}, where, hashes=True)
    return {name: one.outputs["population"] for name, one in ran.items() if one.error is None}


def _refuse_broken(name: str, function: SnapshotFunction, ran: Ran, tables: Mapping[str, pa.Table]) -> None:
    if ran.error is not None:
        raise ran.error
    if ran.unsteady is not None:
        golden = Golden(
            function=function.function, call=function.call, input=function.input, kinds=ran.kinds, outputs=ran.outputs
        )
        found = check_function(name, golden, ran, function, inputs_of(tables, function))
        raise Refused(found.message, hint="Make it depend on its input alone, then record it.")


def _not_in_both(name: str, is_declared: bool) -> CheckResult:
    what = "is declared and was not recorded" if is_declared else "was recorded and is not declared any more"
    return _open(name, f"{name} {what}: there is nothing to compare.")


def _redeclared(name: str) -> CheckResult:
    return _open(name, f"{name} was recorded with another function, way of calling or columns: nothing to compare.")


def _open(name: str, message: str) -> CheckResult:
    hint = " Type `holdfast snapshot record` to see and accept it."
    return CheckResult(
        name=f"snapshot.{name}",
        kind="snapshot",
        verdict=Verdict.INCONCLUSIVE,
        message=message + hint,
        reason_code="not_recorded",
    )
