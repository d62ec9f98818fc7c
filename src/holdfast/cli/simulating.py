"""What `holdfast release simulate` prints: counts, quantiles, the first decisions, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import Output
from holdfast.errors import UserError

if TYPE_CHECKING:
    from holdfast.release.canary.plan import CanaryPlan
    from holdfast.release.simulation.many import Simulation
    from holdfast.release.simulation.run import Turn

SHOWN = 8


def declared(out: Output, options: dict[str, Any]) -> int:
    """A declared effect on declared traffic."""
    from holdfast.pipeline.simulating import Declared, plan_words
    from holdfast.release.simulation.many import decision_rows, simulate

    for name in ("metric", "champion_mean"):
        if options[name] is None:
            raise UserError(
                f"declared traffic needs --{name.replace('_', '-')}.", hint="Or name a recorded log with --log."
            )
    if options["repeats"] < 1:
        raise UserError("expected at least one repeat.")
    defaults = {"share": 0.05, "hours": 72.0, "canary_mean": options["champion_mean"]}
    given = {**options, **{name: value for name, value in defaults.items() if options[name] is None}}
    asked = Declared(**{f.name: given[f.name] for f in fields(Declared) if f.name in given})
    plan, traffic = asked.plan(), asked.traffic()
    with out.working(f"simulating {options['repeats']:,} × {asked.rate * asked.hours * 3600:,.0f} requests"):
        found = simulate(traffic, plan, repeats=options["repeats"], seed=options["seed"], jobs=options["jobs"])
    told(out, plan, found, found.first.turns if options["repeats"] == 1 else found.ends)
    _page(plan, found, options)
    out.emit({**found.to_json(), "decisions": decision_rows(found.ends), "plan": plan_words(plan)})
    return 0


def recorded(out: Output, options: dict[str, Any]) -> int:
    """A recorded log."""
    from holdfast.pipeline.replaying import Asked, replay_log
    from holdfast.pipeline.simulating import plan_words
    from holdfast.release.simulation.many import decision_rows

    asked = Asked(**{f.name: options[f.name] for f in fields(Asked) if f.name in options})
    with out.working(f"replaying {asked.log}"):
        replayed = replay_log(asked)
    for notice in replayed.notices:
        out.say(f"notice: {notice}", style="yellow")
    told(out, replayed.plan, replayed.found, replayed.found.first.turns)
    document = {
        **replayed.found.to_json(),
        "decisions": decision_rows(replayed.found.first.turns, begin=replayed.begin),
        "plan": plan_words(replayed.plan),
        "notices": list(replayed.notices),
    }
    if replayed.equals is not None:
        equals = replayed.equals.to_json()
        document["equals"] = equals
        out.say(
            f"with nothing different, users dealt anew {equals['repeats']} times: rolled back {equals['rolled_back']}, "
            f"promoted {equals['promoted']}, undecided {equals['undecided']}"
        )
    _page(replayed.plan, replayed.found, options)
    out.emit(document)
    return 0


def told(out: Output, plan: CanaryPlan, found: Simulation, turns: Sequence[Turn]) -> None:
    """For people: what happened to how many, when, and why."""
    document = found.to_json()
    count = document["repeats"]
    for name, style in (("promoted", "green"), ("rolled_back", "red"), ("invalid", "magenta"), ("undecided", "yellow")):
        number = document[name]
        if number or count > 1:
            out.say(
                f"{name.replace('_', ' '):<12}{number:>7,}  {number / count:7.1%}", style=style if number else "dim"
            )
    if count > 1:
        requests, hours = document["median_canary_requests"], document["median_hours"]
        middle = "undecided" if requests is None else f"{requests:,} canary requests, {hours:,.2f} h"
        out.say(f"{'median':<12}{middle}")
    out.say(
        f"asked at {', '.join(f'{look:g} h' for look in plan.looks) or 'no whole day'}, α {plan.alpha:g} for rollback",
        style="dim",
    )
    for turn in turns[:SHOWN]:
        out.say(f"{turn.hours:8.2f} h  {turn.judgement.decision.value:<9} {turn.judgement.reason}")
    if len(turns) > SHOWN:
        out.say(f"          … and {len(turns) - SHOWN:,} more (--json)", style="dim")


def _page(plan: CanaryPlan, found: Simulation, options: dict[str, Any]) -> None:
    if options["html"] is None:
        return
    from datetime import UTC, datetime

    from holdfast.release.canary.reporting import canary_report
    from holdfast.reports import write_html
    from holdfast.verdict import utc_text

    report = canary_report(
        plan,
        found.first.end.judgement,
        found.first.series,
        hours=found.first.end.hours,
        created=utc_text(datetime.now(UTC)),
        notices=(
            "a simulation; the first release is drawn." if options["log"] is None else "a replay of a recorded log.",
        ),
    )
    write_html(report, options["html"])
