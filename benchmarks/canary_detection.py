"""How soon harm is found and how often equals are rolled back: Holdfast beside Kayenta's rule, a peeking z-test, Bonferroni.

All four look at the same simulated traffic. Kayenta's rule: each hour a Mann–Whitney test of the canary's minutes against the
champion's, at 98 %. The z-tests take requests for independent, one-sided 5 %: at every look, or with the error divided by
the looks and guardrails.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from tests.release.simulation.cases import FIVE, independent, plan, returning

from holdfast.evidence.sums import Evidence
from holdfast.release.canary.judge import alarms
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.simulation.run import blocks
from holdfast.release.simulation.stream import Stream
from holdfast.release.simulation.traffic import Traffic
from holdfast.stats.arms import CANARY, CHAMPION

Array = npt.NDArray[np.float64]
RULES = ("holdfast", "kayenta", "peeking z", "bonferroni")
LOOKS_IN_72_HOURS = 300 + 300 + 71 * 60
REPEATS = 40


@dataclass(frozen=True)
class Case:
    """Traffic, policy, how many hours are looked at, and how many canary requests are promised in the median."""

    name: str
    traffic: Traffic
    plan: CanaryPlan
    hours: float
    promised: int | None = None


CASES = (
    Case(
        "CTR 10 → 9 %, 1 guardrail, max_drop 0",
        independent(0.09, ("a",)),
        plan(("a",), 0.0, automatic=False),
        24,
        8_000,
    ),
    Case("CTR 10 → 9 %, 5 guardrails, 0.005", independent(0.09, FIVE), plan(FIVE, 0.005), 24, 40_000),
    Case("CTR 10 → 5 %, 5 guardrails, 0.005", independent(0.05, FIVE), plan(FIVE, 0.005), 6, 1_500),
    Case(
        "NDCG 0.82 → 0.67, 1 guardrail",
        independent(0.67, ("a",), champion=0.82, sd=0.25),
        plan(("a",), 0.0, automatic=False),
        2,
        120,
    ),
    Case("no difference, users once, max_drop 0", independent(0.10, ("a",)), plan(("a",), 0.0, automatic=False), 48),
    Case("no difference, users return, max_drop 0", returning(0.10, ("a",)), plan(("a",), 0.0, automatic=False), 48),
    Case("no difference, users return, 5 × 0.005", returning(0.10), plan(FIVE, 0.005), 48),
)


@dataclass
class Peers:
    """When each rule rolls back first, in canary requests; infinite while it does not."""

    plan: CanaryPlan
    sd: float | None
    first: dict[str, float]
    before: dict[str, Array]

    def look(self, evidence: Evidence) -> None:
        """All rules over one block of looks."""
        requests = evidence.requests[:, CANARY]
        self._note("holdfast", alarms(self.plan, 0, evidence), requests)
        for guardrail in (g for g in self.plan.guardrails if g.measure.source == "outcome"):
            sums = evidence.sums[guardrail.name]
            total, mass = sums.total.sum(axis=-1), sums.mass.sum(axis=-1)
            p = stats.norm.cdf(self._z(total, mass, guardrail.margin))
            self._note("peeking z", p < 0.05, requests)
            self._note("bonferroni", p < 0.05 / LOOKS_IN_72_HOURS / len(self.plan.guardrails), requests)
            self._kayenta(guardrail.name, guardrail.margin, total, mass, requests)

    def _z(self, total: Array, mass: Array, margin: float) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = total / mass
            pooled = total.sum(axis=-1) / mass.sum(axis=-1)
            variance = pooled * (1 - pooled) if self.sd is None else np.full(len(total), self.sd**2)
            found: Array = (means[:, CANARY] - means[:, CHAMPION] + margin) / np.sqrt(
                variance * (1 / mass).sum(axis=-1)
            )
        return np.nan_to_num(found)

    def _kayenta(self, name: str, margin: float, total: Array, mass: Array, requests: Array) -> None:
        """Each whole hour of minutes: is the canary lower by more than the margin?"""
        pieces = np.concatenate([self.before.get(name, np.zeros((0, 5))), np.c_[total, mass, requests]])
        while len(pieces) > 60:
            hour, pieces = pieces[:61], pieces[60:]
            steps = np.diff(hour[:, :4], axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                canary, champion = steps[:, 1] / steps[:, 3], steps[:, 0] / steps[:, 2]
            p = stats.mannwhitneyu(canary + margin, champion, alternative="less", nan_policy="omit").pvalue
            self._note("kayenta", np.array([p < 0.01]), hour[-1:, 4])
        self.before[name] = pieces

    def _note(self, rule: str, raised: npt.NDArray[np.bool_], requests: Array) -> None:
        if raised.any():
            self.first[rule] = min(self.first[rule], float(requests[int(raised.argmax())]))


def one(case: Case, seed: int) -> dict[str, float]:
    """One release, looked at by all rules until each has rolled back or the hours are over."""
    stream = Stream(case.traffic, case.plan, 0, np.random.default_rng(seed))
    found = Peers(case.plan, case.traffic.metrics[0].sd, dict.fromkeys(RULES, np.inf), {})
    for begin, looks, seconds in grid(case):
        found.look(stream.block(begin, looks, seconds))
        if all(np.isfinite(value) for value in found.first.values()):
            break
    return found.first


def grid(case: Case) -> Iterator[tuple[int, int, int]]:
    """Every minute; every 2 seconds where harm shows within minutes."""
    if case.promised is not None and case.promised < 2_000:
        return blocks(round(case.hours * 3600))
    return ((begin, 60, 60) for begin in range(0, round(case.hours * 3600), 3600))


def main(repeats: int = REPEATS, each: Callable[[str], None] = print) -> None:
    """Medians of canary requests until the rollback (∞: not within the hours), and shares of releases rolled back."""
    each(f"  {'':<40}" + "".join(f"{rule:>14}" for rule in RULES) + f"{'promised':>12}")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        for number, case in enumerate(CASES):
            seeds = [1000 * number + n for n in range(repeats)]
            found = list(pool.map(functools.partial(one, case), seeds, chunksize=2))
            medians = [float(np.median([run[rule] for run in found])) for rule in RULES]
            backs = [float(np.mean([np.isfinite(run[rule]) for run in found])) for rule in RULES]
            if case.promised is not None:
                each(f"  {case.name:<40}" + "".join(f"{_count(m):>14}" for m in medians) + f"{case.promised:>12,}")
            each(
                f"  {'  rolled back in ' + format(case.hours, 'g') + ' h' if case.promised else case.name:<40}"
                + "".join(f"{b:>14.0%}" for b in backs)
            )


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "∞"


if __name__ == "__main__":
    main()
