"""What people and controllers may ask of a release, and what a decision is. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.release.canary.judgement import Judgement
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.routing import Routing
from holdfast.release.trips import Trip


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Make a registered version the candidate."""

    version: str


@dataclass(frozen=True, kw_only=True)
class Promote:
    """Make `version` (default: the staged candidate) the champion, on the word of `report` or by `override`.

    `policy` is the policy as declared now and `policy_digest` its hash; `anchor` says that the candidate beat the anchor.
    """

    policy: Mapping[str, Any]
    policy_digest: str
    version: str | None = None
    report: str | None = None
    override: str | None = None
    anchor: bool = False


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Go back to `to` (default: the previous champion)."""

    to: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ResetAnchor:
    """Measure total loss from the present champion on."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a controller sees of the world at `now` (UTC text).

    `routing` is what the router holds (None: it was never told, or is away; then `reachable` is False), `health` whether a
    version answers (absent: the router cannot tell) and `why` what is in the way of one that does not, `files` whether a
    version can be fetched from the registry (absent: the registry is away). `judgement` is what the evidence says, `look` the
    planned look that it belongs to and `report` the digest of the stored report. `lapsed`: the router was left alone for
    longer than its lease. `trip`: what the breaker of one of the gateway's replicas has told.
    """

    now: str
    reachable: bool = True
    routing: Routing | None = None
    health: Mapping[str, bool] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bool] = field(default_factory=dict)
    judgement: Judgement | None = None
    look: int | None = None
    report: str | None = None
    lapsed: bool = False
    trip: Trip | None = None

    def is_dead(self, version: str) -> bool:
        """Whether the version is known not to answer."""
        return self.health.get(version) is False


@dataclass(frozen=True, kw_only=True)
class Start:
    """Put `version` (default: the staged candidate) before a part of the users, by `plan`.

    `weak` says why the plan cannot succeed; `override` takes it, and a missing report, on somebody's name. `router` is the name
    of the router that will shift traffic, `now` UTC text.
    """

    plan: CanaryPlan
    policy: Mapping[str, Any]
    policy_digest: str
    router: str
    now: str
    version: str | None = None
    report: str | None = None
    override: str | None = None
    anchor: bool = False
    weak: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Do what is due."""

    seen: Observation


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Leave the shares as they are until somebody resumes."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on after a hold."""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Promote the canary now, on somebody's name."""

    reason: str
    seen: Observation


@dataclass(frozen=True, kw_only=True)
class Return:
    """Take everybody back to the champion now."""

    seen: Observation
    reason: str | None = None
    into: Literal["rolled_back", "aborted"] = "rolled_back"


@dataclass(frozen=True, kw_only=True)
class DrillOut:
    """Begin to try the way back."""

    share: float
    router: str


@dataclass(frozen=True, kw_only=True)
class DrillBack:
    """Take the drill's users back."""


@dataclass(frozen=True, kw_only=True)
class DrillEnd:
    """Record what the drill found; `problems` is empty where the way back works."""

    problems: tuple[str, ...]
    seconds: Mapping[str, float]


Command = (
    Stage
    | Promote
    | Rollback
    | ResetAnchor
    | Start
    | Tick
    | Hold
    | Resume
    | Finish
    | Return
    | DrillOut
    | DrillBack
    | DrillEnd
)


@dataclass(frozen=True)
class Decided:
    """The next event's type, payload and evidence, and what the user should hear beside it."""

    type: str
    payload: Mapping[str, Any]
    evidence: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
