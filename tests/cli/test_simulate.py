"""`holdfast release simulate` keeps its contract: one JSON document with every field, sentences for what cannot be meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.release.routing import Routing
from tests.cli.conftest import Type
from tests.traffic import write_traffic

DECLARED = ["--rate", "100", "--share", "0.05", "--hours", "72", "--metric", "click", "--max-drop", "0.005"]
DECLARED += ["--champion-mean", "0.10", "--canary-mean", "0.05"]
FIELDS = {
    "schema",
    "repeats",
    "rolled_back",
    "promoted",
    "undecided",
    "invalid",
    "median_canary_requests",
    "p90_canary_requests",
    "median_hours",
    "seconds",
    "decisions",
}
ROW = {"at", "hours", "decision", "metric", "estimate", "low", "high", "reason"}


def test_a_declared_effect(type_: Type) -> None:
    words = [
        *DECLARED,
        "--requests-per-user",
        "20",
        "--icc",
        "0.3",
        "--daily-swing",
        "0.09",
        "--repeats",
        "5",
        "--seed",
        "1",
    ]
    found = json.loads(type_("release", "simulate", *words, "--json").stdout)
    assert set(found) >= FIELDS
    assert (found["repeats"], found["rolled_back"]) == (5, 5)
    assert len(found["decisions"]) == 5
    for row in found["decisions"]:
        assert set(row) >= ROW
        assert row["decision"] == "rollback"
        assert row["metric"] == "click"
        assert row["high"] < -0.005
    assert 0 < found["median_canary_requests"] <= found["p90_canary_requests"]


def test_the_same_seed_gives_the_same_releases(type_: Type) -> None:
    first, second, other = (
        json.loads(type_("release", "simulate", *DECLARED, "--repeats", "2", "--seed", seed, "--json").stdout)[
            "decisions"
        ]
        for seed in ("4", "4", "5")
    )
    assert first == second != other


def test_undecided_is_infinite(type_: Type) -> None:
    words = ["--metric", "click", "--champion-mean", "0.1", "--rate", "0.5", "--hours", "26", "--max-drop", "0.001"]
    found = json.loads(type_("release", "simulate", *words, "--json").stdout)
    assert found["undecided"] == 1
    assert found["median_canary_requests"] is None
    assert "needs about" in found["decisions"][0]["reason"]


def test_people_get_a_table_and_a_page(type_: Type, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = type_("release", "simulate", *DECLARED, "--html", str(page)).output
    assert "rolled back" in text
    assert "<polyline" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--champion-mean 0.1", "needs --metric"),
        ("--metric click", "needs --champion-mean"),
        ("--metric click --champion-mean 0.1 --share 1", "a share between 0 and 1, found 1"),
        ("--metric click --champion-mean 0.1 --share 0", "a share between 0 and 1, found 0"),
        ("--metric click --champion-mean 3", "give --sd for another one"),
        ("--metric click --champion-mean 0.1 --rate 0", "a rate above 0"),
        ("--metric click --champion-mean 0.1 --icc 1", "correlation in [0, 1)"),
        ("--metric click --champion-mean 0.1 --daily-swing 0.5", "takes the mean 0.1 out of [0, 1]"),
        ("--metric click --champion-mean 0.1 --max-drop 0.1 --max-rise 0.1", "contradict each other"),
        ("--metric click --champion-mean 0.1 --max-drop -1", "a margin is not negative"),
        ("--metric click --champion-mean 0.1 --repeats 0", "at least one repeat"),
        ("--metric click --champion-mean 0.1 --rate 100000 --hours 900", "more than 500 million requests"),
        ("--log nowhere.parquet --metric click", "nowhere.parquet"),
    ],
)
def test_what_cannot_be_meant(
    type_: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = type_("release", "simulate", *words.split(), status=None)
    assert result.exit_code in (2, 4)
    assert said in result.output


def test_a_recorded_log(type_: Type, tmp_path: Path) -> None:
    routing = Routing(model="m", epoch=1, champion="1", canary="2", share=0.2, release="r1")
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    write_traffic(tmp_path, begin, 6 * 3600, 20_000, 8_000, routing=routing, clicks=(0.2, 0.1))
    words = ["--log", str(tmp_path / "predictions"), "--outcomes", str(tmp_path / "outcomes"), "--metric", "click"]
    found = json.loads(type_("release", "simulate", *words, "--max-drop", "0.01", "--delay", "1", "--json").stdout)
    assert set(found) >= FIELDS
    assert found["rolled_back"] == 1
    assert found["decisions"][0]["at"].startswith("2026-03-01T0")
