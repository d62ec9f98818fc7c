"""How a training command may say which run it made."""

from __future__ import annotations

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.training.results import choose_run, from_github_output, from_run_file, run_id_in_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("0a1b2c\n", {"run_id": "0a1b2c"}),
        ('"0a1b2c"', {"run_id": "0a1b2c"}),
        ("12345", {"run_id": "12345"}),
        (
            '{"run_id": "0a1b", "train_data": "x.parquet", "n": 3, "no": null}',
            {"run_id": "0a1b", "train_data": "x.parquet", "n": "3"},
        ),
    ],
)
def test_run_file(text: str, expected: dict[str, str]) -> None:
    assert from_run_file(text) == expected


@pytest.mark.parametrize("text", ["[1]", "two words", "../run", '{"run_id": '])
def test_run_file_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="HOLDFAST_RUN_FILE should hold"):
        from_run_file(text)


def test_github_output() -> None:
    text = "run_id=old\nrun_id = new \nnotes<<END\nfirst=1\nsecond\nEND\nempty=\nnot a pair\nlast<<X\nunfinished"
    assert from_github_output(text) == {"run_id": "new", "notes": "first=1\nsecond", "empty": ""}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run_id=0a1b", "0a1b"),
        ("INFO run_id: 0a1b (finished)", "0a1b"),
        ('{"run_id": "0a1b"}', "0a1b"),
        ("run_id = 'x-1.2'", "x-1.2"),
        ("parent_run_id=0a1b", None),
        ("tags.run_id=0a1b", None),
        ("run_id=", None),
        ("the run id 0a1b", None),
    ],
)
def test_line(line: str, expected: str | None) -> None:
    assert run_id_in_line(line) == expected


def test_choice() -> None:
    assert choose_run({"run_id": "a"}, ["b", "c"]) == "a"
    assert choose_run({}, ["b"]) == "b"
    with pytest.raises(OutsideError, match=r"logged 2 MLflow runs \(b, c\)") as several:
        choose_run({}, ["b", "c"])
    with pytest.raises(OutsideError, match="named no run") as none:
        choose_run({}, [])
    assert "HOLDFAST_RUN_FILE" in str(none.value.hint)
    assert (several.value.reason_code, none.value.reason_code) == ("many_runs", "no_run")
