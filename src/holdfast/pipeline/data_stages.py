"""The first two stations: is the data sound, and what part of it is sealed away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from holdfast._version import __version__
from holdfast.data.holdout import Holdout, find_holdout, freeze, load_holdout
from holdfast.data.profile import Profile
from holdfast.pipeline.road import Decision, Outcome, Road, decide_by_memory, stage_key
from holdfast.pipeline.workspace import Workspace
from holdfast.store import canonical_json
from holdfast.verdict import CheckResult, Report, Verdict, utc_text


def data_digest(workspace: Workspace) -> str:
    """The hash of the training table's content; files are read again only when size, mtime or inode changed."""
    path = workspace.cache / "hashes.json"
    try:
        memory: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        memory = {}
    found = workspace.table.content_hash(memory)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(memory))
    temporary.replace(path)
    return found


def check_training_data(workspace: Workspace) -> tuple[Report, Profile]:
    """Validate `data.train` as declared and against the profile of the champion's data."""
    from holdfast.data.checks import check_data  # brings scipy, which a run with nothing to do never needs

    reference = workspace.champion_profile("table_profile")
    checks, profile = check_data(workspace.table, workspace.config.data, reference=reference, now=workspace.clock())
    report = Report(
        title="Training data",
        checks=tuple(checks),
        model=workspace.model,
        inputs={"data": data_digest(workspace), "holdout": None, "commit": None},
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )
    return report, profile


class DataStage:
    """Validate the training table."""

    name = "data"

    def decide(self, road: Road) -> Decision:
        workspace = road.workspace
        config = workspace.config.data
        key = stage_key(
            self.name,
            data=data_digest(workspace),
            config=config.model_dump(mode="json"),
            reference=workspace.champion_lineage().get("table_profile"),
        )
        if config.max_age is not None:
            return Decision(action="run", reason="freshness is asked anew each time", key=key)
        return decide_by_memory(road, self.name, key, "this data has not been checked")

    def run(self, road: Road) -> Outcome:
        report, profile = check_training_data(road.workspace)
        outputs = {
            "data": report.inputs["data"],
            "table_profile": road.workspace.store.put_object(canonical_json(profile.to_json())),
        }
        return Outcome(
            verdict=report.verdict, summary=data_summary(report.checks, profile), outputs=outputs, report=report
        )


def data_summary(checks: tuple[CheckResult, ...], profile: Profile) -> str:
    """One sentence on a data check."""
    bad = [check for check in checks if check.counts_as not in (None, Verdict.PASS)]
    asked = f"{profile.rows:,} rows, {len(checks)} checks"
    return f"{asked}, all sound." if not bad else f"{asked}, {len(bad)} failed: {bad[0].message}"


class HoldoutStage:
    """Freeze the holdout once; verify every byte of it ever after."""

    name = "holdout"

    def decide(self, road: Road) -> Decision:
        workspace = road.workspace
        name = workspace.config.holdout.name
        if find_holdout(workspace.store, name) is None:
            return Decision(action="run", reason=f"holdout {name} is not frozen yet")
        holdout = open_holdout(workspace)
        return Decision(action="skip", reason=f"holdout {name} is frozen and intact", outputs=_outputs(holdout))

    def run(self, road: Road) -> Outcome:
        holdout = freeze_holdout(road.workspace)
        rows, units = holdout.manifest["rows"], holdout.manifest["units"]
        summary = f"froze {holdout.name}: {rows:,} rows of {units:,} units, sealed in the ledger."
        return Outcome(verdict=Verdict.PASS, summary=summary, outputs=_outputs(holdout), remember=False)


def _outputs(holdout: Holdout) -> Mapping[str, Any]:
    return {"holdout": holdout.digest, "name": holdout.name}


def freeze_holdout(workspace: Workspace) -> Holdout:
    """Split the declared share off `data.train` and seal it under the declared name."""
    return freeze(
        workspace.table,
        workspace.config.data,
        workspace.config.holdout,
        workspace.store,
        workspace.ledger,
        now=workspace.clock(),
        cache=workspace.cache,
    )


def open_holdout(workspace: Workspace) -> Holdout:
    """The frozen holdout, verified."""
    return load_holdout(workspace.store, workspace.ledger, workspace.config.holdout.name, workspace.cache)
