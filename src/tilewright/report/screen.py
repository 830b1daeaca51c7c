"""A finished run as a person reads it on a terminal. Every figure shows its evidence."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tilewright.evidence import Evidence
from tilewright.inspect.model import Inspection
from tilewright.judge.verdict import Verdict
from tilewright.runs import Tried
from tilewright.stages.summary import Gain, StageReport, Summary, There


def render(summary: Summary, tried: list[Tried], folder: Path) -> RenderableType:
    """The headline, the reasons to believe it, what was tried, and where the files are."""
    parts: list[RenderableType] = [Text(headline(summary), style="bold"), Text("")]
    parts.append(_facts(summary))
    if summary.findings:
        parts.append(_list("What holds the given code back", summary.findings))
    parts.append(_stages(summary.stages))
    kept = next((t.inspection for t in tried if t.id == summary.best and t.inspection), None)
    if kept is not None:
        parts.append(_list(f"best.py on {summary.gpu}", tuple(on_target(kept))))
    if summary.elsewhere:
        parts.append(_list("Elsewhere", tuple(map(_there, summary.elsewhere))))
    candidates = [t for t in tried if t.stage != "given"]
    if candidates:
        parts.append(_candidates(candidates))
    if summary.spent.more:
        parts.append(_list("With a larger budget", summary.spent.more))
    if summary.notes:
        parts.append(_list("Notes", summary.notes))
    parts.append(Text(f"\nFiles: {folder}/best.py, summary.json, log.jsonl, candidates/"))
    return Group(*parts)


def check_it(folder: Path, digest: str) -> str:
    """The command that checks a run, on one line to copy, with the digest to quote beside the result."""
    return f"Check it: tilewright verify {shlex.quote(str(folder))} --digest {digest}"


def headline(summary: Summary) -> str:
    """The result in one line."""
    if summary.improved and summary.gain is None:
        return f"A correct file for {summary.gpu}; nothing is known of how much faster it is."
    if not summary.improved or summary.gain is None:
        return f"No faster file found for {summary.gpu}; best.py is the code as given."
    gain = summary.gain
    if not gain.shown:
        against = f"not shown to be faster than {summary.baseline}"
        return f"A correct file for {summary.gpu}, {against}: {_times(gain)}"
    how = gain.ratio.evidence.value
    on = f" {gain.ratio.gpu}" if gain.ratio.evidence is Evidence.MEASURED_ON else ""
    return f"{gain.ratio.value:.2f}x ({how}{on}) for {summary.gpu}: {_times(gain)}"


def _there(there: There) -> str:
    """One further place in one line."""
    at = there.label if there.label == there.gpu else f"{there.label} on {there.gpu}"
    if there.problem:
        return f"{at}: cannot run there: {there.problem}"
    if there.gain is None:
        return f"{at}: nothing is known of how much faster it is"
    ratio = there.gain.ratio
    shown = "" if there.gain.shown else ", which shows no gain"
    return f"{at}: {ratio.value:.2f}x ({ratio.evidence.value}){shown}: {_times(there.gain)}"


def _times(gain: Gain) -> str:
    interval = f"ratio {gain.low:.3f} to {gain.high:.3f}; " if gain.low != gain.high else ""
    return f"{gain.before.value:.0f} -> {gain.after.value:.0f} us a forward ({interval}{gain.basis})"


def _facts(summary: Summary) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("same function", same(summary.verdict))
    if summary.improved and summary.given is not None:
        grid.add_row("code as given", same(summary.given))
    grid.add_row("ran on", summary.device or "nothing")
    grid.add_row("claim rests on", f"{summary.evidence.value} evidence")
    grid.add_row("took", _took(summary))
    return grid


def _took(summary: Summary) -> str:
    """The time, what it went into, and how many candidates had a share in that."""
    seconds, candidates = summary.spent.seconds, summary.spent.candidates
    parts = [
        ", ".join(f"{work} {spent:.0f} s" for work, spent in seconds.items() if spent >= 0.5),
        ", ".join(f"{count} {done}" for done, count in candidates.items()),
    ]
    return "; ".join([f"{summary.seconds:.0f} s", *filter(None, parts)])


def same(verdict: Verdict) -> str:
    """A verdict in one line, with error and budget."""
    if not verdict.correct:
        return f"{verdict.outcome.value}: {verdict.reason}"
    worst = max(verdict.errors, key=lambda e: e.norm_error / max(e.norm_budget, 1e-300), default=None)
    error = f"error {worst.norm_error:.2e} of {worst.norm_budget:.2e} allowed, " if worst else ""
    sizes = f", sizes cut to run here: {verdict.sizes}" if verdict.sizes else ""
    return f"yes ({verdict.evidence.value}; {error}{verdict.trials} fresh inputs, {verdict.precision}{sizes})"


def on_target(inspection: Inspection) -> Iterator[str]:
    """A line for each kernel of a file, as compiled for the target, and its estimated time by cause."""
    estimate = inspection.estimate
    for r in inspection.resources:
        shared = r.shared_static_bytes + r.shared_dynamic_bytes
        spilled = f", {r.spills.total} words spilled, {r.spills.in_loop} of them in a loop"
        facts = (
            f"{r.registers_per_thread} registers{spilled if r.spills.total else ''}, {shared} bytes shared"
        )
        if r.occupancy:
            facts += f", {r.occupancy.theoretical_pct:.0f}% occupancy limited by {r.occupancy.limiter}"
        took = f"; {estimate.per_launch_us[r.launch]:.1f} us a launch (estimated)" if estimate else ""
        yield f"{r.kernel}: {facts} (compiled){took}"
    if estimate:
        shares = ", ".join(
            f"{cause} {share:.0%}" for cause, share in estimate.breakdown.items() if share >= 0.005
        )
        total = estimate.total_us
        yield f"one forward: {total.value:.0f} us ({total.evidence.value}): {shares}"


def _list(title: str, lines: tuple[str, ...]) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), *(Text(f"  - {line}") for line in lines))


def _stages(reports: tuple[StageReport, ...]) -> RenderableType:
    def lines() -> Iterator[Text]:
        for report in reports:
            done = (
                f"{report.tried} tried, {report.runnable} run on the target, {report.correct} correct"
                if report.tried
                else "nothing tried"
            )
            yield Text(f"  {report.stage}: {done}" + (f"; kept {report.kept}" if report.kept else ""))
            for step in report.steps:
                gave = f"{step.gave.value:.2f}x ({step.gave.evidence.value})" if step.gave else "kept"
                yield Text(f"    {gave}: {step.proposer}: {step.why}")
            for note in report.notes:
                yield Text(f"    {note}", style="dim")

    return Group(Text("\nStages", style="bold"), *lines())


def _candidates(tried: list[Tried], most: int = 8) -> RenderableType:
    """Those that were judged first, then the others in the order tried, `most` in all."""
    shown = sorted(tried, key=lambda t: t.verdict is None)[:most]
    lines: list[Text] = [Text(f"\nCandidates ({len(shown)} of {len(tried)}, all in log.jsonl)", style="bold")]
    for t in shown:
        resources = t.inspection.resources if t.inspection else ()
        estimate = t.inspection.estimate if t.inspection else None
        facts = [t.id, t.outcome]
        if resources:
            facts.append("/".join(str(r.registers_per_thread) for r in resources) + " registers")
            spilled = sum(r.spills.total for r in resources)
            facts.extend([f"{spilled} words spilled"] if spilled else [])
            facts.append("/".join(f"{r.occupancy.theoretical_pct:.0f}%" for r in resources if r.occupancy))
        if estimate:
            facts.append(f"{estimate.total_us.value:.0f} us estimated")
        lines.append(Text("  " + ", ".join(facts)))
        lines.append(Text(f"    {t.why}", style="dim"))
    return Group(*lines)
