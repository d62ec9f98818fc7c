"""Golden outputs in a unit test, by one line: `def test_tokens(holdfast_snapshot): holdfast_snapshot(tokenize)`.

The function is called with the hostile corpus (or with `inputs`), twice, and compared with the file that stands beside
the test. `pytest --holdfast-record` writes the files and says what it accepted; nothing else does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdfast.config.schema import Tolerance

SCHEMA = 1
SHOWN = 8
_RECORDED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("holdfast").addoption(
        "--holdfast-record", action="store_true", help="Write golden snapshots anew, and say what that accepts."
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(_RECORDED, []):
        terminalreporter.write_line(line)


@pytest.fixture
def holdfast_snapshot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare what a function gives with its golden file.

    `holdfast_snapshot(function, inputs=None, relative=1e-6, name=None)`: `inputs` are values, or tuples of arguments
    (default: the hostile corpus of texts); `relative` is the tolerance of numbers; `name` tells several snapshots of one
    test apart. The test fails where an output changed, where two calls disagree, and where nothing is recorded.
    """

    def compare(
        function: Callable[..., Any],
        inputs: Iterable[Any] | None = None,
        *,
        relative: float = 1e-6,
        name: str | None = None,
    ) -> None:
        __tracebackhide__ = True
        from holdfast.config.schema import Tolerance

        rows = _rows(inputs)
        outputs = _outputs(function, rows)
        path = _place(request, name)
        tolerance = Tolerance(relative=relative)
        recorded = _read(path)
        if request.config.getoption("--holdfast-record"):
            _record(request.config, path, recorded, rows, outputs, tolerance)
            return
        if recorded is None:
            pytest.fail(f"no snapshot is recorded in {path}: type `pytest --holdfast-record`.", pytrace=False)
        lines = list(_differences(recorded, rows, outputs, tolerance))
        if lines:
            pytest.fail("\n".join([f"{len(lines)} outputs are not those of {path}:", *lines[:SHOWN]]), pytrace=False)

    return compare


def _rows(inputs: Iterable[Any] | None) -> list[tuple[Any, ...]]:
    if inputs is None:
        from holdfast.snapshots.hostile import TEXTS

        return [(text,) for _, text in TEXTS]
    return [value if isinstance(value, tuple) else (value,) for value in inputs]


def _outputs(function: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What the function gives, called twice in opposite orders; the test fails where the two disagree."""
    __tracebackhide__ = True
    from holdfast.snapshots import calls

    try:
        first = [calls.attempted(function, row) for row in rows]
        second = [calls.attempted(function, row) for row in reversed(rows)][::-1]
    except calls.NotComparable as error:
        pytest.fail(f"the function {error}.", pytrace=False)
    for row, one, two in zip(rows, first, second, strict=True):
        if json.dumps(one) != json.dumps(two):
            pytest.fail(f"two calls with {_shown(row)} gave two answers: {one!r} and {two!r}.", pytrace=False)
    return first


def _place(request: pytest.FixtureRequest, name: str | None) -> Path:
    test = re.sub(r"[^\w.-]+", "_", request.node.name + (f"-{name}" if name else ""))
    return Path(request.path.parent) / "snapshots" / request.path.stem / f"{test}.json"


def _read(path: Path) -> dict[str, Any] | None:
    __tracebackhide__ = True
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        pytest.fail(f"{path} is no JSON: take it back from version control, or record it again.", pytrace=False)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        pytest.fail(f"{path} is no snapshot of schema {SCHEMA}: record it again.", pytrace=False)
    return document


def _record(
    config: pytest.Config,
    path: Path,
    recorded: dict[str, Any] | None,
    rows: Sequence[tuple[Any, ...]],
    outputs: list[Any],
    tolerance: Tolerance,
) -> None:
    lines = [] if recorded is None else list(_differences(recorded, rows, outputs, tolerance))
    said = config.stash.setdefault(_RECORDED, [])
    if recorded is not None and not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = [{"input": [_typed(value) for value in row], "output": out} for row, out in zip(rows, outputs, strict=True)]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"schema": SCHEMA, "outputs": pairs}, indent=1) + "\n", "utf-8")
    temporary.replace(path)
    said.append(f"holdfast: recorded {len(pairs)} outputs in {path}")
    said += [f"  accepted: {line}" for line in lines[:SHOWN]]


def _differences(
    recorded: dict[str, Any], rows: Sequence[tuple[Any, ...]], outputs: list[Any], tolerance: Tolerance
) -> Iterator[str]:
    """One line for every input whose output is another, or which is not recorded or not asked any more."""
    from holdfast.snapshots.comparing import same
    from holdfast.snapshots.telling import marked

    golden = {json.dumps(pair["input"]): pair["output"] for pair in recorded["outputs"]}
    for row, output in zip(rows, outputs, strict=True):
        key = json.dumps([_typed(value) for value in row])
        if key not in golden:
            yield f"  {_shown(row)}: not recorded"
        elif not same(before := golden.pop(key), output, tolerance):
            old, new = marked(before, output)
            yield f"  {_shown(row)}: {old} → {new}"
        golden.pop(key, None)
    yield from (f"  {key[:80]}: recorded, and not asked any more" for key in golden)


def _typed(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _shown(row: Sequence[Any]) -> str:
    from holdfast.snapshots.telling import shown_input

    return shown_input(row) or "(empty)"
