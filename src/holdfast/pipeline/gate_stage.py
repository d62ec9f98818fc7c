"""The gate's place on the road: when it must be asked again, and when the ledger already answers."""

from __future__ import annotations

from holdfast.pipeline.road import Decision, Outcome, Road, decide_by_memory, stage_key
from holdfast.release import ReleaseState
from holdfast.verdict import CheckResult, Report, Verdict


class GateStage:
    """Judge what was trained."""

    name = "gate"

    def decide(self, road: Road) -> Decision:
        workspace, trained = road.workspace, road.outputs["train"]
        state = workspace.state()
        outputs = {"candidate": trained["candidate"], "digest": trained["digest"]}
        settled = None if road.force else self._settled(state, trained["digest"], workspace.policy_digest)
        if settled is not None:
            return Decision(action="skip", reason=settled, outputs=outputs)
        key = stage_key(
            self.name,
            candidate=trained["digest"],
            champion=state.champion.digest if state.champion else None,
            anchor=state.anchor.digest if state.anchor else None,
            holdout=trained["holdout"],
            policy=workspace.policy_digest,
            environment=workspace.fingerprint.digest,
        )
        return decide_by_memory(road, self.name, key, "this candidate has not been judged against this champion")

    @staticmethod
    def _settled(state: ReleaseState, digest: str, policy: str) -> str | None:
        """Why the ledger makes a judgement needless; None where it does not."""
        if state.champion is not None and state.champion.digest == digest:
            return f"this model is the champion (version {state.champion.version})"
        if state.candidate is None or state.candidate.digest != digest:
            return None
        champion = state.champion.version if state.champion else None
        for judgement in state.judgements:
            same = judgement.digest == digest and judgement.champion == champion and judgement.policy == policy
            if same and judgement.verdict is Verdict.PASS:
                return f"version {state.candidate.version} passed against this champion and is staged"
        return None

    def run(self, road: Road) -> Outcome:
        from holdfast.pipeline.gate import gate  # brings scipy, which a run with nothing to do never needs

        gated = gate(road.workspace, road.outputs["train"]["candidate"], say=road.echo)
        report = gated.report
        outputs = {"candidate": gated.subject.uri, "digest": gated.subject.digest, "report": gated.digest}
        return Outcome(
            verdict=report.verdict,
            summary=gate_summary(report),
            outputs=outputs,
            report=report,
            remember=all(map(_may_be_remembered, report.checks)),
        )


def gate_summary(report: Report) -> str:
    """One sentence on a judgement."""
    if report.verdict is Verdict.PASS:
        against = f"against {report.champion}" if report.champion else "first release: absolute gates only"
        return f"{len(report.checks)} {'check' if len(report.checks) == 1 else 'checks'}, {against}."
    return report.failed[0].message if report.failed else "nothing could be measured."


def _may_be_remembered(check: CheckResult) -> bool:
    """Latency depends on the hour, and an open or broken answer may be closed by asking again."""
    return check.kind != "latency" and check.verdict in {Verdict.PASS, Verdict.FAIL}
