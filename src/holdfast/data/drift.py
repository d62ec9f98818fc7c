"""Drift: a table beside the profile of the champion's training data. A shift counts when it is real and large.

Real: its p-value falls under Holm's procedure over all compared columns at a family-wise `alpha`. Large: its PSI, less
what chance alone would give, exceeds the limit. Both tests count units, not rows, through a design effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from holdfast.data._distance import Distance, distance
from holdfast.data.profile import ColumnProfile, Profile
from holdfast.stats.multiple import holm
from holdfast.verdict import CheckResult, Kind, Verdict

PSI_LIMIT = 0.15


@dataclass(frozen=True)
class ColumnShift:
    """One column compared; `significant` is Holm's answer over all columns that were compared with it."""

    name: str
    distance: Distance
    significant: bool
    limit: float

    @property
    def drifted(self) -> bool:
        """Whether the shift is real and large."""
        return self.significant and self.distance.psi.corrected > self.limit


def compare_profiles(
    reference: Profile | None,
    current: Profile | None,
    *,
    psi_limit: float = PSI_LIMIT,
    alpha: float = 0.05,
    design_effect: float | None = None,
    limits: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
) -> list[CheckResult]:
    """One check of kind "drift" per column of `reference`, worst first, and a notice per column that is new.

    `current` must have been counted against `reference` (`profile_table(table, reference=reference)`). `limits` are
    PSI limits of single columns, `ignore` columns that are expected to move, such as keys; times always move on and
    are not compared. `design_effect` is by default the larger one of the two profiles. Where nothing can be measured
    (no reference, no rows) the answer is inconclusive.
    """
    if reference is None or current is None or not reference.rows or not current.rows:
        return [_unmeasured("drift", _lacking(reference), "no_profile")]
    shifts = measure_shifts(
        reference, current, psi_limit=psi_limit, alpha=alpha, design_effect=design_effect, limits=limits, ignore=ignore
    )
    unit = "unit" if reference.units or current.units else "row"
    checks = [shift_check(shift, f"{shift.name}.drift", "drift", unit=unit) for shift in shifts]
    return [*_structure(reference, current, ignore), *checks, *_unmeasured_columns(reference, current, shifts, ignore)]


def measure_shifts(
    reference: Profile,
    current: Profile,
    *,
    psi_limit: float = PSI_LIMIT,
    alpha: float = 0.05,
    design_effect: float | None = None,
    limits: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
) -> list[ColumnShift]:
    """The columns that both profiles have and that can be compared, the largest shift first."""
    effect = max(reference.design_effect, current.design_effect) if design_effect is None else design_effect
    found = {name: distance(one, two, effect) for name, one, two in _pairs(reference, current, ignore)}
    measured = {name: far for name, far in found.items() if far is not None}
    real = holm([far.psi.p_value for far in measured.values()], alpha)
    limits = limits or {}
    shifts = [
        ColumnShift(name, far, significant, limits.get(name, psi_limit))
        for (name, far), significant in zip(measured.items(), real, strict=True)
    ]
    return sorted(shifts, key=lambda s: (not s.drifted, not s.significant, -s.distance.psi.corrected, s.name))


def drift_score(checks: Iterable[CheckResult]) -> float | None:
    """The largest corrected PSI among columns that differ significantly, 0 where none does; None where unknown."""
    measured = [check for check in checks if check.metric == "psi" and check.estimate is not None]
    if not measured:
        return None
    return max((c.estimate for c in measured if c.details.get("significant") and c.estimate is not None), default=0.0)


def shift_check(shift: ColumnShift, name: str, kind: Kind, *, unit: str = "row") -> CheckResult:
    """The verdict on one column: fail when the shift is real and large."""
    far, found = shift.distance, shift.distance.psi
    size = f"PSI {found.corrected:.3g} beyond chance, limit {shift.limit:g}, p = {found.p_value:.2g}"
    beside = f"; KS {far.ks.value:.3g}" if far.ks is not None else ""
    said = {
        (True, True): "has shifted",
        (True, False): "has shifted a little",
        (False, False): "shows no real shift",
        (False, True): "shows no real shift",
    }[shift.significant, shift.drifted]
    return CheckResult(
        name=name,
        kind=kind,
        verdict=Verdict.FAIL if shift.drifted else Verdict.PASS,
        message=f"{shift.name} {said} against the champion's training data ({size}{beside}).",
        metric="psi",
        estimate=found.corrected,
        threshold=shift.limit,
        direction="lower",
        method=found.method,
        unit=unit,
        n=found.m,
        reason_code="drifted" if shift.drifted else None,
        series=far.bins,
        details=_details(shift),
    )


def _details(shift: ColumnShift) -> dict[str, object]:
    found, beside = shift.distance.psi, shift.distance.ks
    details: dict[str, object] = {
        "column": shift.name,
        "significant": shift.significant,
        "psi": found.value,
        "expected_by_chance": found.expected,
        "p_value": found.p_value,
    }
    if beside is not None:
        details["ks"] = {"value": beside.value, "expected_by_chance": beside.expected, "p_value": beside.p_value}
    return details


def _pairs(
    reference: Profile, current: Profile, ignore: Collection[str]
) -> list[tuple[str, ColumnProfile, ColumnProfile]]:
    return [
        (name, column, current.columns[name])
        for name, column in reference.columns.items()
        if name in current.columns and name not in ignore and column.kind != "temporal"
    ]


def _structure(reference: Profile, current: Profile, ignore: Collection[str]) -> list[CheckResult]:
    """Columns that are gone, of another type, or new."""
    checks = []
    for name, column in reference.columns.items():
        if name in ignore:
            continue
        now = current.columns.get(name)
        if now is None:
            checks.append(_structural(name, f"{name} is missing; the champion was trained with it.", "missing_column"))
        elif now.kind != column.kind and "null" not in (now.type, column.type):
            message = f"{name} is {now.type} where the champion's training data has {column.type}."
            checks.append(_structural(name, message, "type_changed"))
    new = [name for name in current.columns if name not in reference.columns and name not in ignore]
    if new:
        message = f"columns that the champion's training data does not have: {', '.join(new[:12])}."
        checks.append(
            CheckResult(
                name="columns.new", kind="drift", verdict=Verdict.PASS, message=message, level="notice",
                reason_code="new_column", details={"columns": new},
            )
        )  # fmt: skip
    return checks


def _structural(name: str, message: str, reason: str) -> CheckResult:
    return CheckResult(
        name=f"{name}.drift", kind="drift", verdict=Verdict.FAIL, message=message, reason_code=reason,
        details={"column": name},
    )  # fmt: skip


def _unmeasured_columns(
    reference: Profile, current: Profile, shifts: list[ColumnShift], ignore: Collection[str]
) -> list[CheckResult]:
    """Columns of one kind in both tables for which there are no common bins."""
    measured = {shift.name for shift in shifts}
    return [
        _unmeasured(
            f"{name}.drift", f"{name} could not be compared: it was not counted in the reference's bins.", "no_bins"
        )
        for name, one, two in _pairs(reference, current, ignore)
        if name not in measured and (one.kind == two.kind or "null" in (one.type, two.type))
    ]


def _unmeasured(name: str, message: str, reason: str) -> CheckResult:
    return CheckResult(
        name=name,
        kind="drift",
        verdict=Verdict.INCONCLUSIVE,
        message=message,
        reason_code=reason,
        on_inconclusive="hold",
    )


def _lacking(reference: Profile | None) -> str:
    if reference is None:
        return "there is no profile of the champion's training data to compare with."
    return "the reference profile has no rows." if not reference.rows else "the current table has no rows to compare."
