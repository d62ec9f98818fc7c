"""The stored report behind a promotion: does it say what the ledger says that it says?"""

from __future__ import annotations

import json
from typing import Any

from holdfast.errors import Damaged, Refused
from holdfast.release.state import ReleaseVersion
from holdfast.store import Store
from holdfast.verdict import CheckResult, Report, Verdict


def stored_report(store: Store, name: str) -> Report:
    """The report called `name`, verified; Damaged where it is lost or is none."""
    try:
        return Report.from_json(json.loads(store.get_object(name)))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Damaged(f"{name} in the store {store.url} is no report.", reason_code="no_report") from None


def confirm(report: Report, version: ReleaseVersion, champion: ReleaseVersion | None, policy: str) -> None:
    """Refused where `report` does not pass, or names another candidate, champion or policy. Pure."""
    inputs = report.inputs
    against = None if champion is None else champion.digest
    named = {"candidate": version.digest, "policy": policy, "champion": against}
    wrong = [what for what, expected in named.items() if inputs.get(what) != expected]
    if report.verdict is not Verdict.PASS:
        reason = f"says {report.verdict.value}, not pass"
    elif wrong:
        reason = f"names another {wrong[0]}"
    else:
        return
    raise Refused(
        f"the stored report on version {version.version} {reason}.",
        hint=f"Type: holdfast gate --candidate {version.uri or version.version}",
        reason_code="evidence",
    )


def score_of(report: Report) -> dict[str, Any] | None:
    """The candidate's value of the first metric that has a margin, else of the first that was measured. Pure.

    It is kept with the promotion, so that the best champion of a time can be told later; None where there is none.
    """
    primary = next((check.metric for check in report.checks if check.kind == "regression"), None)
    measured = [check for check in report.checks if check.kind == "absolute" and check.estimate is not None]
    chosen = next((c for c in measured if c.metric == primary), None) or next(iter(measured), None)
    return None if chosen is None else _score(chosen, report)


def _score(check: CheckResult, report: Report) -> dict[str, Any]:
    return {
        "metric": check.metric,
        "value": check.estimate,
        "direction": check.direction,
        "holdout": report.inputs.get("holdout"),
    }
