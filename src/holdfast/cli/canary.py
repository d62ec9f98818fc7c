"""`holdfast release start | advance | control | pause | resume | abort | drill | explain`: a canary, by commands."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.output import Output, command, config_option
from holdfast.errors import OutsideError

if TYPE_CHECKING:
    from holdfast.pipeline.canary import Canary, Planned
    from holdfast.release.commit import Done
    from holdfast.release.controller import Ticked


def _open(config_path: Path) -> Canary:
    from holdfast.pipeline.canary import Canary
    from holdfast.pipeline.workspace import Workspace

    return Canary(Workspace.open(config_path))


def _done(out: Output, done: Done, **more: Any) -> int:
    for notice in done.notices:
        out.say(f"notice: {notice}", style="yellow")
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json(), **more})
    return 0


@click.command("start", short_help="put the candidate before a part of the users, if the plan can succeed")
@config_option
@click.option("--version", "number", help="The version to try (default: the staged candidate).")
@click.option("--report", "report_digest", help="The digest of its passing report (default: the newest that fits).")
@click.option("--override", metavar="REASON", help="Without a passing report, or with a plan that can hardly succeed.")
@click.option("--dry-run", is_flag=True, help="Only say what this traffic can resolve by when.")
@command
def start(
    out: Output,
    config_path: Path,
    number: str | None,
    report_digest: str | None,
    override: str | None,
    *,
    dry_run: bool,
) -> int:
    """Put the candidate before a part of the users, if its report, a fresh drill and the plan allow it.

    First it says what the champion's recent traffic can resolve, and refuses a plan that cannot succeed.
    """
    canary = _open(config_path)
    with out.working("reading the champion's recent traffic"):
        planned = canary.planned()
    _plan(out, planned)
    if dry_run:
        out.emit({"schema": 1, **planned.to_json()})
        return 1 if planned.weak else 0
    done = canary.start(planned, version=number, report=report_digest, override=override)
    code = _done(out, done, **planned.to_json())
    out.say("Next: holdfast release control (or advance, once) shifts traffic.", style="dim")
    return code


def _plan(out: Output, planned: Planned) -> None:
    from holdfast.release.explaining import plan_lines

    for line in plan_lines(planned.plan):
        out.say(f"  {line}", style="dim")
    if not planned.resolutions:
        return
    looks = "".join(f"{look:>9g} h" for look in planned.plan.looks)
    out.say(f"  what this traffic can resolve:{'':<8}{looks}   margin   promoted if equal")
    for found in planned.resolutions:
        cells = "".join(f"{_amount(margin, found.relative):>11}" for margin in found.margins)
        chance = f"{found.chance:.0%}"
        style = "red" if found.chance < 0.5 else "yellow" if found.chance < 0.8 else None
        out.say(f"  {found.guardrail:<38}{cells}{_amount(found.margin, found.relative):>9}   {chance:>5}", style=style)


def _amount(value: float, relative: bool) -> str:
    return f"{value:.1%}" if relative else f"{value:.3g}"


@click.command("drill", short_help="try the way back on the living system, harming nobody")
@config_option
@command
def drill(out: Output, config_path: Path) -> int:
    """Try the way back on the living system: the champion becomes its own canary for a moment, and harms nobody."""
    canary = _open(config_path)
    found = canary.drill()
    details = dict(found.details or {})
    for name, seconds in details.get("seconds", {}).items():
        out.say(f"  {name:<5} the router was told and read back in {1000 * seconds:.0f} ms", style="dim")
    for problem in details.get("problems", ()):
        out.say(f"✗ {problem}", style="red")
    if found.ok:
        out.say(f"✓ the way back to version {found.champion} works.", style="green")
    out.emit({"schema": 1, "verdict": "pass" if found.ok else "fail", "drill": found.id, **details})
    return 0 if found.ok else 1


@click.command("advance", short_help="do once what is due; for a cron job")
@config_option
@command
def advance(out: Output, config_path: Path) -> int:
    """Do once what is due: for a cron job, where no controller runs."""
    canary = _open(config_path)
    lease = canary.lease()
    controller = canary.controller(lease=lease)
    ticked = controller.tick()
    patient = time.monotonic() + lease.patience + 1  # as long as it takes to know that who held the lease is dead
    while not ticked.leader and not ticked.complaints and time.monotonic() < patient:
        time.sleep(0.2)
        ticked = controller.tick()
    lease.release()
    return _ticked(out, ticked)


def _ticked(out: Output, ticked: Ticked) -> int:
    if not ticked.leader and not ticked.complaints:
        out.say("another controller is acting; nothing was done here.", style="yellow")
    for line in ticked.events:
        out.say(f"✓ {line}", style="green")
    for line in ticked.complaints:
        out.say(f"! {line}", style="yellow")
    if ticked.leader and not ticked.events and not ticked.complaints:
        out.say("nothing is due.", style="dim")
    attempt = ticked.state.attempt if ticked.state is not None else None
    out.emit(
        {
            "schema": 1,
            "leader": ticked.leader,
            "events": list(ticked.events),
            "complaints": list(ticked.complaints),
            "release": None if attempt is None else {"id": attempt.id, "status": attempt.status.value},
        }
    )
    return 4 if ticked.complaints else 0


@click.command("control", short_help="steer until stopped; another one takes over if it dies")
@config_option
@click.option("--every", type=float, default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--until-done", is_flag=True, help="End when no release is under way any more.")
@command
def control(out: Output, config_path: Path, every: float, *, until_done: bool) -> int:
    """Steer until stopped. Of several that run, one acts; another takes over within ten seconds of its death."""
    canary = _open(config_path)
    lease = canary.lease()
    controller = canary.controller(lease=lease)
    said: tuple[str, ...] = ()
    out.say(f"steering {canary.workspace.model} through {canary.router.name}; Ctrl-C lets go.", style="dim")
    try:
        while True:
            ticked = controller.tick()
            for line in ticked.events:
                out.say(f"{_now(canary)}  {line}")
            if ticked.complaints != said:
                for line in ticked.complaints:
                    out.say(f"{_now(canary)}  ! {line}", style="yellow")
                said = ticked.complaints
            if until_done and ticked.leader and (ticked.state is None or ticked.state.living is None):
                break
            time.sleep(every)
    finally:
        with contextlib.suppress(OutsideError):  # a store that is away lets the lease end by itself
            lease.release()
    return _ended(out, ticked)


def _now(canary: Canary) -> str:
    return canary.workspace.clock().strftime("%H:%M:%S")


def _ended(out: Output, ticked: Ticked) -> int:
    attempt = ticked.state.attempt if ticked.state is not None else None
    status = None if attempt is None else attempt.status.value
    out.say(
        "no release was ever started."
        if attempt is None
        else f"release {attempt.id} is {str(status).replace('_', ' ')}."
    )
    out.emit({"schema": 1, "release": None if attempt is None else {"id": attempt.id, "status": status}})
    return {"rolled_back": 1, "invalid": 4}.get(status or "", 0)


@click.command("pause", short_help="leave the shares as they are; harm still ends it")
@config_option
@click.option("--reason", required=True, help="Why; the ledger keeps it.")
@command
def pause(out: Output, config_path: Path, reason: str) -> int:
    """Leave the shares as they are. Harm still ends the release."""
    from holdfast.release import canaries

    work = _open(config_path).workspace
    return _done(out, canaries.pause(work.ledger, work.model, reason=reason))


@click.command("resume", short_help="go on after a pause or a hold")
@config_option
@command
def resume(out: Output, config_path: Path) -> int:
    """Go on after a pause or a hold."""
    from holdfast.release import canaries

    work = _open(config_path).workspace
    return _done(out, canaries.resume(work.ledger, work.model))


@click.command("abort", short_help="everybody back to the champion, without a verdict")
@config_option
@click.option("--reason", help="Why; the ledger keeps it.")
@command
def abort(out: Output, config_path: Path, reason: str | None) -> int:
    """End the release without a verdict: everybody back to the champion; the candidate may be tried again."""
    from holdfast.release import canaries

    canary = _open(config_path)
    work = canary.workspace
    return _done(out, canaries.take_back(work.ledger, canary.router, work.model, reason=reason, into="aborted"))


@click.command("explain", short_help="why a release ended as it did, from the ledger")
@click.argument("release", required=False)
@config_option
@click.option("--html", type=click.Path(path_type=Path), help="Write the page with each guardrail's course.")
@command
def explain(out: Output, release: str | None, config_path: Path, html: Path | None) -> int:
    """The story of RELEASE (default: the latest): its plan, what happened, what decided it, what would have settled it."""
    from holdfast.pipeline.releasing import read_report
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import explaining, stream_of
    from holdfast.reports import render_terminal, write_html

    work = Workspace.open(config_path)
    found = explaining.explain(work.ledger.read(stream_of(work.model)), release)
    attempt = found.attempt
    out.say(
        f"release {attempt.id} of version {attempt.candidate} against {attempt.champion}: {attempt.status.value}",
        style="bold",
    )
    for line in (*found.plan, *found.story):
        out.say(f"  {line}", style="dim" if line in found.plan else None)
    report = None if found.report is None else read_report(work, found.report)
    if report is not None:
        render_terminal(report, out.console)
        for line in explaining.open_lines(report):
            out.say(f"  {line}", style="yellow")
        if html is not None:
            write_html(report, html, story=found.story)
    out.emit(
        {
            "schema": 1,
            "release": attempt.id,
            "status": attempt.status.value,
            "candidate": attempt.candidate,
            "champion": attempt.champion,
            "plan": attempt.plan.to_json(),
            "story": list(found.story),
            "reason": attempt.why,
            "metric": attempt.metric,
            "report": None if report is None else report.to_json(),
        }
    )
    return 0


COMMANDS = (start, advance, control, pause, resume, abort, drill, explain)
