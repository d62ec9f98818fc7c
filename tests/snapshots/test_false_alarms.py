"""No difference where nothing that counts differs: the lock installed twice, another Python patch, threads, seed, locale, zone.

The functions are the search example's, in environments made from its lock file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import DataConfig, SnapshotFunction, SnapshotsConfig
from holdfast.data.tables import open_table
from holdfast.environment import fingerprint
from holdfast.environment.build import build_environment, find_uv
from holdfast.environment.locks import read_lock
from holdfast.snapshots import Place, Snapshot, check, record, running
from holdfast.store import Store, open_store

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "search_ranking"
FUNCTIONS = {
    "words": SnapshotFunction(function="search_ranking.features:title_words", input=["product_title"]),
    "letters": SnapshotFunction(function="search_ranking.matching:letters", input=["query", "product_title"]),
    "age": SnapshotFunction(function="search_ranking.features:normalize_user_age", call="column", input=["user_age"]),
    "features": SnapshotFunction(function="search_ranking.pipelines:FeaturePipeline.transform", call="table"),
}
CONFIG = SnapshotsConfig(functions=FUNCTIONS, rows=300, population=500)
TITLES = [
    "Vega™ phone case — white “Limited”",
    "ノートパソコン 新品",
    "USB-C cable, 2 m",
    'Ümlaut® ½ inch 15.6"',
    "plain wooden spoon",
]


def interpreters() -> list[str]:
    """Every installed Python of this one's minor version, this one first."""
    words = [find_uv(), "python", "list", "--only-installed", "--no-python-downloads", "--output-format", "json"]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}."
    by_patch = {item["version"]: item["path"] for item in found if item["version"].startswith(minor)}
    here = ".".join(map(str, sys.version_info[:3]))
    return [sys.executable, *(path for version, path in by_patch.items() if version != here)]


def make(folder: Path, python: str) -> Path:
    return build_environment(
        read_lock(EXAMPLE / "incident" / "requirements.lock").packages, folder, python=python, cwd=EXAMPLE
    ).python


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Store, Path]:
    """A snapshot of the four functions, and the environment it was recorded in."""
    folder = tmp_path_factory.mktemp("recorded")
    rows = 400
    columns = {
        "query": [f"{TITLES[n % 5].lower()} {n % 7}" for n in range(rows)],
        "product_title": [f"{TITLES[n % 5]} {n}" for n in range(rows)],
        "category": ["audio", "pets", None, "toys"] * (rows // 4),
        "user_age": [float(n % 90) for n in range(rows)],
        "days_ago": [float(n) for n in range(rows)],
        "label": [0] * rows,
    }
    pq.write_table(pa.table(columns), folder / "t.parquet")
    store = open_store(folder / "store")
    python = make(folder / "first" / "venv", sys.executable)
    where = Place(python, EXAMPLE)
    data = DataConfig(train="t.parquet", label="label")
    return (
        record(CONFIG, data, open_table(folder / "t.parquet"), where, store, model="m", environment="e"),
        store,
        python,
    )


def differences(recorded: tuple[Snapshot, Store, Path], python: Path | None = None) -> list[str]:
    snapshot, store, own = recorded
    checks = check(CONFIG, snapshot, Place(python or own, EXAMPLE), store)
    assert len(checks) == len(FUNCTIONS)
    return [result.message for result in checks if result.verdict.value != "pass"]


PYTHONS = interpreters()


@pytest.mark.parametrize("python", [*(pytest.param(p, marks=pytest.mark.slow) for p in PYTHONS[:-1]), PYTHONS[-1]])
def test_the_same_lock_again_with_every_patch_of_python(
    recorded: tuple[Snapshot, Store, Path], tmp_path: Path, python: str
) -> None:
    again = make(tmp_path / "venv", python)
    assert differences(recorded, again) == []
    assert fingerprint(again).digest == fingerprint(recorded[2]).digest


@pytest.mark.parametrize(
    "variables",
    [
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kolkata"},
        {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4", "LC_ALL": "C.UTF-8", "TZ": "America/New_York"},
    ],
)
def test_threads_locale_and_time_zone(
    recorded: tuple[Snapshot, Store, Path], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert differences(recorded) == []


def test_hash_seeds(recorded: tuple[Snapshot, Store, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HASH_SEEDS", ("77", "99"))
    assert differences(recorded) == []
