"""The forms a data check's result takes."""

from __future__ import annotations

from typing import Any

from holdfast.verdict import CheckResult, Verdict


def result(name: str, passed: bool, message: str, reason: str, **fields: Any) -> CheckResult:
    """Pass or fail; the reason code is kept for a failure only."""
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return CheckResult(
        name=name, kind="data", verdict=verdict, message=message, reason_code=None if passed else reason, **fields
    )


def failed(name: str, message: str, reason: str, **fields: Any) -> CheckResult:
    """A failure."""
    return result(name, False, message, reason, **fields)


def notice(name: str, message: str, reason: str, **fields: Any) -> CheckResult:
    """Something to know that decides nothing."""
    return CheckResult(
        name=name, kind="data", verdict=Verdict.PASS, message=message, level="notice", reason_code=reason, **fields
    )


def unmeasured(name: str, what: str, why: str = "no champion profile yet", reason: str = "no_reference") -> CheckResult:
    """A declared check that cannot be made; by default because there is no champion to compare with."""
    return CheckResult(
        name=name,
        kind="data",
        verdict=Verdict.INCONCLUSIVE,
        message=f"{why}: {what} was not compared.",
        level="notice",
        on_inconclusive="report",
        reason_code=reason,
    )
