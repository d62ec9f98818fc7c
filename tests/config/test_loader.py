"""Every mistake in a project file has its place and its fix."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.config.loader import load_project
from holdfast.config.secrets import mask
from holdfast.config.validation import ModelValidationConfig
from holdfast.errors import ConfigError, HoldfastError, UserError

GOOD = """\
version: 1
model: search-ranking
registry: sqlite:///mlflow.db
store: .holdfast
data:
  train: data/train.parquet
  label: relevance
  group: query_id
  time: judged_at
  columns:
    user_age: {type: float, min: 0, max: 120, max_null_share: 0.1}
holdout: {name: v1, max_evaluations: 20}
train: {run: "python scripts/train.py", inputs: [src, scripts/train.py], timeout: 24h}
gates:
  metrics:
    ndcg@10: {min: 0.78, max_regression: 0.02, max_total_regression: 0.04}
  slices: {by: [category], max_regression: 0.05, on_inconclusive: report}
  latency: {p99_ms: 200, max_regression_pct: 0.10}
  confidence: 0.95
  on_inconclusive: fail
release:
  canary: {steps: [{share: 0.01, hours: 4}, {share: 0.10}], min_hours: 24, max_hours: 96, unit: user_id}
  guardrails: {outcomes.click: {max_drop: 0.005, absent: zero, delay: 30m}, builtin.error: {max_rise: 0.001}}
monitoring: {drift: {psi: 0.15}, every: 1h}
retraining: {drift: 0.15, every_days: 7, on_change: [src/**], cooldown_hours: 12}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "holdfast.yaml"
    file.write_text(text, "utf-8")
    return file


def test_a_good_file_is_read(tmp_path: Path) -> None:
    loaded = load_project(write(tmp_path, GOOD), {})
    assert loaded.config.model.name == "search-ranking"
    assert loaded.config.train.timeout.total_seconds() == 86_400
    assert loaded.root == tmp_path
    assert loaded.path("data/x") == tmp_path / "data" / "x"
    assert loaded.policy()["metrics"]["ndcg@10"]["min"] == 0.78


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("  group: query_id", "  gruop: query_id", "8:3", ["unknown key 'gruop'", "Did you mean group?"]),
        ("label: relevance", "label: [a]", "7:10", ["data.label", "found a list"]),
        ("min: 0.78", "min: high", "16:20", ["gates.metrics.ndcg@10.min", "found text"]),
        ("confidence: 0.95", "confidence: 95", "19:15", ["gates.confidence", "less than 1"]),
        ("timeout: 24h", "timeout: 24 hours", "13:83", ["train.timeout", "90s, 30m, 24h or 7d"]),
        ("version: 1", "version: 2", "1:10", ["version"]),
        ("on_inconclusive: fail", "on_inconclusive: no", "20:20", ["gates.on_inconclusive"]),
        ("    ndcg@10:", "    ndgc@10:", "16:5", ["no metric 'ndgc@10'", "Did you mean ndcg@10?"]),
        ("  group: query_id\n", "", "15:5", ["measured per query", "data: {group: COLUMN}"]),
        ("holdout: {name: v1,", "holdout: {by: time, name: v1,", None, []),
        ("store: .holdfast", "store: .holdfast\nstore: other", "5:1", ["'store' is written twice"]),
        ("  label: relevance\n", "", "6:3", ["data.label is missing"]),
        ("model: search-ranking", "model: {name: x, positve: 1}", "2:18", ["positve", "Did you mean positive?"]),
        ("share: 0.10", "share: 1.5", "22:53", ["release.canary.steps.1.share"]),
        (
            "{min: 0.78, max_regression: 0.02, max_total_regression: 0.04}",
            "{gain: linear}",
            "16:14",
            ["at least one of"],
        ),
        ("data:\n", "data: [\n", None, ["no YAML"]),
        ("data:\n", "serving: {mode: in_process, memory: 2GB}\ndata:\n", None, ["processes and memory", "in_process"]),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, place: str | None, words: list[str]) -> None:
    assert old in GOOD
    file = write(tmp_path, GOOD.replace(old, new, 1))
    if not words:
        load_project(file, {})
        return
    with pytest.raises(ConfigError) as caught:
        load_project(file, {})
    text = str(caught.value)
    for word in words:
        assert word in text, text
    if place:
        assert text.startswith(f"{file}:{place}:"), text


def test_a_holdout_by_time_needs_a_time(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.replace("  time: judged_at\n", "").replace("{name: v1,", "{by: time, name: v1,"))
    with pytest.raises(ConfigError, match="needs to know the time"):
        load_project(file, {})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.replace("  group:", "  gruop:").replace("confidence: 0.95", "confidence: 95"))
    with pytest.raises(ConfigError) as caught:
        load_project(file, {})
    assert "gruop" in str(caught.value)
    assert "gates.confidence" in str(caught.value)


def test_variables_of_the_environment(tmp_path: Path) -> None:
    text = GOOD.replace("sqlite:///mlflow.db", "postgresql://ml:${PASSWORD}@db/mlflow").replace("0.95", "${LEVEL:-0.9}")
    loaded = load_project(write(tmp_path, text), {"PASSWORD": "hunter2-secret", "LEVEL": "0.9"})
    assert loaded.config.registry == "postgresql://ml:hunter2-secret@db/mlflow"
    assert loaded.config.gates.confidence == 0.9
    assert "hunter2" not in mask(f"{loaded.config.registry} failed")
    assert mask("the password hunter2-secret leaked at 0.9") == "the password *** leaked at 0.9"
    assert mask("http://me:word@host/x") == "http://me:***@host/x"


def test_a_missing_variable_has_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":3:11: the environment has no variable WHERE"):
        load_project(write(tmp_path, GOOD.replace("sqlite:///mlflow.db", "${WHERE}")), {})


def test_an_escaped_variable_is_text(tmp_path: Path) -> None:
    loaded = load_project(write(tmp_path, GOOD.replace("label: relevance", "label: $${relevance}")), {})
    assert loaded.config.data.label == "${relevance}"


def test_errors_never_show_a_secret(tmp_path: Path) -> None:
    text = GOOD.replace("confidence: 0.95", "confidence: ${TOKEN}")
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, text), {"TOKEN": "s3cr3t-token"})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"\xff\xfe\x00", b"just text", b"a: !!python/object:os.system {}"]
)
def test_what_is_no_project_is_one_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError):
        load_project(file, {})


def test_a_missing_file_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holdfast init"):
        load_project(tmp_path / "holdfast.yaml", {})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_mutation_is_read_or_is_a_deliberate_error(tmp_path: Path, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(GOOD) - 1))
    length = data.draw(st.integers(0, 12))
    middle = data.draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6))
    try:
        load_project(write(tmp_path, GOOD[:begin] + middle + GOOD[begin + length :]), {})
    except HoldfastError as error:
        assert str(error)


def test_a_file_of_thresholds_replaces_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(
        "min_accuracy: null\nmin_f1: null\nmax_accuracy_regression: null\nmetrics:\n  ndcg@10: {min: 0.5}\n"
    )
    begin, end = GOOD.index("gates:"), GOOD.index("release:")
    loaded = load_project(
        write(tmp_path, GOOD[:begin] + "gates: {file: gates.yaml, confidence: 0.9}\n" + GOOD[end:]), {}
    )
    gates = loaded.config.gates
    assert (list(gates.metrics), gates.confidence, gates.latency.p99_ms) == (["ndcg@10"], 0.9, 200.0)


def test_thresholds_and_their_defaults(tmp_path: Path) -> None:
    default = ModelValidationConfig()
    assert (default.min_accuracy, default.min_f1, default.max_latency_p99_ms) == (0.80, 0.78, 200.0)
    assert (default.max_accuracy_regression, default.max_latency_regression_pct) == (0.02, 0.10)
    gates = default.to_gates()
    assert set(gates.metrics) == {"accuracy", "f1_weighted"}
    assert gates.metrics["accuracy"].max_regression == 0.02
    assert ModelValidationConfig(min_accuracy=None, max_accuracy_regression=None, min_f1=None).to_gates().metrics == {}
    file = tmp_path / "v.yaml"
    file.write_text("min_acuracy: 0.5\n")
    with pytest.raises(ConfigError, match=r"v.yaml:1:1: unknown key 'min_acuracy'. Did you mean min_accuracy\?"):
        ModelValidationConfig.from_yaml(file)
    assert pickle.loads(pickle.dumps(default)) == default
