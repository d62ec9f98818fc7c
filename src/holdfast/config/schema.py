"""What a project may declare, as typed models. Pure: no files, no environment.

Field names are the keys of `holdfast.yaml`. Durations are text such as `90s`, `30m`, `24h`, `7d`; shares are fractions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from holdfast.config.serving import ServingConfig
from holdfast.config.types import Confidence, Duration, Names, Share, Strict
from holdfast.verdict import OnInconclusive


class ModelConfig(Strict):
    """The model's name and how its predictions are asked for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    predict: str = "predict"  # the method of the model that gives predictions: predict, predict_proba, …
    positive: Any = 1  # the label that counts as positive in binary metrics
    allow_pickle: list[str] = []  # flavors or loaders that may unpickle, by name
    python: str | None = None  # the interpreter of the environment models run in; default: the train command's
    timeout: Duration = timedelta(minutes=10)  # for one load and one pass over the holdout


class ColumnConfig(Strict):
    """What one column must look like; what is not declared is not checked."""

    type: Literal["int", "float", "string", "bool", "timestamp", "date"] | None = None
    required: bool = True
    min: float | None = None
    max: float | None = None
    max_null_share: Share | None = None
    values: list[Any] | None = None  # allowed values
    max_unseen_share: Share | None = None  # categories the champion's training data did not have
    unique: bool = False
    max_drift: float | None = None  # corrected PSI against the champion's training data


class ClassesConfig(Strict):
    """The balance of the label's classes."""

    min_share: Share | None = None
    max_share: Share | None = None
    min_rows: int | None = None


class DataConfig(Strict):
    """The training table and what must hold of it."""

    train: str
    label: str
    key: Names | None = None  # what names a row; default: all columns
    group: str | None = None  # the unit of randomness; default: the row
    time: str | None = None
    columns: dict[str, ColumnConfig] = {}
    classes: ClassesConfig | None = None
    min_rows: int = Field(default=1, ge=1)
    max_row_change: float | None = Field(default=None, gt=0)  # |rows / champion's rows − 1|
    time_ordered: bool = False
    max_age: Duration | None = None  # of the newest row
    max_drift: float | None = None  # corrected PSI of any column against the champion's training data
    extra_columns: Literal["allow", "notice", "fail"] = "allow"


class HoldoutConfig(Strict):
    """How the holdout is split off and how often it may be asked."""

    name: str = Field(default="v1", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    share: float = Field(default=0.2, gt=0, lt=1)
    by: Literal["unit", "time"] = "unit"  # time: the latest units
    seed: int = 0
    max_evaluations: int = Field(default=20, ge=1)


class Tolerance(Strict):
    """How far a number may move: |after − before| ≤ absolute + relative · max(|before|, |after|)."""

    relative: float = Field(default=1e-6, ge=0)
    absolute: float = Field(default=1e-12, ge=0)


class SnapshotFunction(Strict):
    """A function of the project whose outputs are golden.

    `call: value` calls it once a row with the value (or values) of `input`, `column` once with that column as a
    Series, `table` once with the rows as a DataFrame.
    """

    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    call: Literal["value", "column", "table"] = "value"
    input: Names = []  # columns; for a table: default all but the label
    tolerance: Tolerance = Tolerance()
    outputs: dict[str, Tolerance] = {}  # by the output's name, for functions that give several

    @model_validator(mode="after")
    def _some_input(self) -> SnapshotFunction:
        if self.call == "value" and not self.input:
            raise ValueError("expected `input: COLUMN`, the column whose values are given to the function")
        if self.call == "column" and len(self.input) != 1:
            raise ValueError("expected one column in `input`")
        return self


class SnapshotsConfig(Strict):
    """Golden features: which functions, on how many inputs."""

    functions: dict[str, SnapshotFunction] = {}
    rows: int = Field(default=400, ge=1, le=100_000)  # of the real data; the hostile corpus comes beside them
    hostile: bool = True
    population: int = Field(default=20_000, ge=0)  # real inputs whose outputs are kept as hashes: who else is affected
    timeout: Duration = timedelta(minutes=1)  # for one function


class TrainConfig(Strict):
    """The user's training command."""

    run: str
    inputs: list[str] = []  # files, folders or globs whose content makes the stage stale
    timeout: Duration = timedelta(hours=24)
    seed: int = 0
    parameters: dict[str, Any] = {}  # given to the command as HOLDFAST_PARAM_NAME and recorded
    model_path: str = "model"  # the artifact of the run that holds the model


class MetricGate(Strict):
    """Limits of one metric; at least one of them."""

    min: float | None = None
    max: float | None = None
    max_regression: float | None = Field(default=None, ge=0)
    max_total_regression: float | None = Field(default=None, ge=0)  # default: twice max_regression
    gain: Literal["exponential", "linear"] = "exponential"
    function: str | None = None  # module:function of the user's own metric
    higher_is_better: bool | None = None  # for the user's own metric
    on_inconclusive: OnInconclusive | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> MetricGate:
        if self.min is None and self.max is None and self.max_regression is None:
            raise ValueError("expected at least one of min, max and max_regression")
        return self


class SliceGates(Strict):
    """The same comparison inside each value of some columns."""

    by: Names
    max_regression: float = Field(ge=0)
    min_units: int = Field(default=20, ge=2)
    on_inconclusive: OnInconclusive = "report"


class LatencyGate(Strict):
    """p99 of single calls, in milliseconds, and against the champion as a share of its p99."""

    p99_ms: float | None = Field(default=None, gt=0)
    max_regression_pct: float | None = Field(default=None, ge=0)  # a fraction: 0.10 is ten per cent
    calls: int = Field(default=3000, ge=1)
    batch_rows: int = Field(default=1, ge=1)  # rows in one call; for ranking, one unit is one call
    on_inconclusive: OnInconclusive = "report"


class EnvironmentGate(Strict):
    """The champion re-scored in another environment; what it costs is judged by the margins of `metrics`."""

    tolerance: float = Field(default=1e-6, ge=0)  # relative; a prediction moved by less has not moved
    on_change: Literal["notice", "fail"] = "notice"  # where predictions move and it does not cost


class ExplainConfig(Strict):
    """How far a failed gate goes to find out which change did it."""

    runs: int = Field(default=4, ge=0)  # trainings with one change alone
    max_minutes: float = Field(default=10, gt=0)  # for all of them


class GatesConfig(Strict):
    """The policy that can stop a release."""

    file: str | None = None  # a ModelValidationConfig file instead
    metrics: dict[str, MetricGate] = {}
    slices: SliceGates | None = None
    latency: LatencyGate | None = None
    environment: EnvironmentGate = EnvironmentGate()
    explain: ExplainConfig = ExplainConfig()
    confidence: Confidence = 0.95
    on_inconclusive: OnInconclusive = "fail"


class CanaryStep(Strict):
    """One share of the units, and for how many hours; the last step lasts until the end."""

    share: float = Field(gt=0, lt=1)
    hours: float | None = Field(default=None, gt=0)


class CanaryConfig(Strict):
    """The steps of a canary, and when it must be decided."""

    steps: list[CanaryStep] = Field(min_length=1)
    min_hours: float = Field(default=24, gt=0)  # of the last step, before promotion is asked; whole days are asked
    max_hours: float = Field(default=96, gt=0)  # of all steps together
    unit: str = "user"  # what `unit` is called in what people read
    unit_window: Duration = timedelta(hours=12)  # how long a unit is followed for promotion, from its first request
    on_undecided: Literal["hold", "extend", "rollback"] = "hold"  # at max_hours, where neither is shown
    extend_hours: float = Field(default=48, gt=0)  # for `extend`
    drill_max_age: Duration = timedelta(days=7)  # how fresh the proof of the way back must be
    warm_timeout: Duration = timedelta(minutes=10)  # for the canary to answer
    lease: Duration = timedelta(
        seconds=30
    )  # after which a router that nobody told again sends everybody to the champion


class Guardrail(Strict):
    """How much worse an outcome or a built-in measure may become."""

    max_drop: float | None = Field(default=None, ge=0)
    max_rise: float | None = Field(default=None, ge=0)
    absent: Literal["zero", "missing"] | None = None
    delay: Duration | None = None
    cap: float | None = None  # larger values count as this, so that one request cannot decide


class LogConfig(Strict):
    """Where predictions and outcomes are recorded: a Parquet or CSV file, or a folder of Parquet files."""

    predictions: str
    outcomes: str | None = None


class ReleaseConfig(Strict):
    """How a staged candidate reaches production."""

    canary: CanaryConfig | None = None
    guardrails: dict[str, Guardrail] = {}
    router: str | None = None  # file:PATH, haproxy:SOCKET, …; without one nothing shifts traffic
    log: LogConfig | None = None


class DriftConfig(Strict):
    """When a column counts as drifted."""

    psi: float = Field(default=0.15, gt=0)


class MonitoringConfig(Strict):
    """What is watched, and how often."""

    drift: DriftConfig = DriftConfig()
    every: Duration = timedelta(hours=1)
    alarms_per_month: float = Field(default=1.0, gt=0)  # tolerated false alarms


class WorkflowConfig(Strict):
    """The GitHub workflow that retrains."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    file: str
    ref: str = "main"
    token_env: str = "GITHUB_TOKEN"
    api: str = "https://api.github.com"


class RetrainingConfig(Strict):
    """When a retraining is asked for, and who starts it."""

    drift: float | None = None
    every_days: float | None = Field(default=None, gt=0)
    on_change: list[str] = []
    cooldown_hours: float = Field(default=12, ge=0)
    workflow: WorkflowConfig | None = None  # default: `holdfast run` here


class Project(Strict):
    """A whole `holdfast.yaml`."""

    version: Literal[1] = 1
    model: Annotated[ModelConfig, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)]
    registry: str = "sqlite:///mlflow.db"
    store: str = ".holdfast"
    data: DataConfig
    holdout: HoldoutConfig = HoldoutConfig()
    train: TrainConfig | None = None
    snapshots: SnapshotsConfig = SnapshotsConfig()
    gates: GatesConfig = GatesConfig()
    release: ReleaseConfig = ReleaseConfig()
    serving: ServingConfig = ServingConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    retraining: RetrainingConfig = RetrainingConfig()
