"""The gate: evidence and policy in, checks out. Pure, so a verdict is replayed from its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.config.schema import GatesConfig
from holdfast.gates.evidence import Contender, Rows, seed_from
from holdfast.gates.latency import Timings, latency_checks
from holdfast.gates.quality import quality_checks
from holdfast.gates.slices import slice_checks
from holdfast.stats import Metric
from holdfast.verdict import CheckResult


@dataclass(frozen=True, kw_only=True)
class GateEvidence:
    """Everything one judgement looks at; `champion` is None for a first release."""

    rows: Rows
    candidate: Contender
    champion: Contender | None = None
    anchor: Contender | None = None
    timings: Timings | None = None
    holdout: str = ""
    policy: str = ""


def judge(evidence: GateEvidence, gates: GatesConfig, metrics: Mapping[str, Metric]) -> list[CheckResult]:
    """The checks of `gates` on `evidence`: quality, slices, latency.

    Shapes: labels and predictions (n,) or (n, K). Randomness is seeded from the hashes of candidate, champion,
    holdout and policy, so equal inputs give equal verdicts.
    """
    champion = evidence.champion
    seed = seed_from(
        evidence.candidate.digest, champion.digest if champion else None, evidence.holdout, evidence.policy
    )
    checks = quality_checks(evidence.rows, evidence.candidate, champion, evidence.anchor, gates, metrics, seed=seed)
    if champion is not None:
        checks += slice_checks(evidence.rows, evidence.candidate, champion, gates, dict(metrics), seed=seed)
    if gates.latency is not None and evidence.timings is not None:
        checks += latency_checks(
            evidence.timings,
            gates.latency,
            has_champion=champion is not None,
            confidence=gates.confidence,
            seed=seed,
        )
    return checks


def first_release_notice(champion: Contender | None) -> tuple[str, ...]:
    """What a report says when there is nothing to compare with."""
    if champion is not None:
        return ()
    return ("First release: there is no champion yet, so only the absolute gates were asked.",)
