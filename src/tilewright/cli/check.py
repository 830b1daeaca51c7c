"""`tilewright check`: does a file compute what the problem computes, and keep the contract."""

from __future__ import annotations

from dataclasses import dataclass

import click
from rich.table import Table
from rich.text import Text

from tilewright.cli.common import (
    allow_option,
    console,
    emit,
    entry_option,
    gpu_option,
    json_option,
    log,
    map_option,
    problem_option,
    read_code,
    read_source,
    resolve_gpu,
)
from tilewright.contract import Breach
from tilewright.judge.means.findings import Kind
from tilewright.judge.sanitizer import TOOLS
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem
from tilewright.workers import Limits

EPILOG = "Example: tilewright check examples/vanilla_rnn/current.py --problem examples/vanilla_rnn/problem.py"
SANITIZED = Limits(seconds=1800.0, memory_bytes=64 * 2**30)
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")


@dataclass(frozen=True)
class Checked:
    """What `--json` prints."""

    code: str
    problem: str
    verdict: Verdict
    breaches: tuple[Breach, ...]

    @property
    def passed(self) -> bool:
        return self.verdict.correct and not self.breaches


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[CODE.py]", required=False)
@entry_option
@problem_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What matrix products may be computed in; default: what the code, or --baseline, uses.",
)
@click.option("--baseline", metavar="CODE.py", help="Today's code, whose precision sets the error budget.")
@map_option
@allow_option
@gpu_option
@click.option("--trials", type=click.IntRange(1), default=3, show_default=True, help="Fresh sets of inputs.")
@click.option(
    "--interpreter-seconds",
    type=click.FloatRange(1.0),
    default=16.0,
    show_default=True,
    help="Without a GPU, how long the interpreter may take for all calls; sizes are cut down to fit.",
)
@click.option("--sanitize", type=click.Choice(TOOLS), help="Also run under compute-sanitizer; needs a GPU.")
@json_option
def command(
    path: str | None,
    entry: str | None,
    problem: Problem,
    precision: str | None,
    baseline: str | None,
    pairs: tuple[str, ...],
    allow: tuple[Kind, ...],
    gpu: str | None,
    trials: int,
    interpreter_seconds: float,
    sanitize: str | None,
    as_json: bool,
) -> int:
    """Check that CODE.py computes what the problem's Model computes, and keeps the output contract.

    With a GPU the kernels run there at full size; without one under Triton's interpreter, at sizes
    cut down where needed. Exit code 1 when the answer is anything but yes: also where the file answers
    rightly by means, or within limits, that --allow does not name.
    """
    from tilewright.contract import breaches
    from tilewright.judge.api import check
    from tilewright.kernelfile import KernelFile

    code = read_code(path, entry, problem, pairs)
    kernel_file = KernelFile.parse(code.source, code.path)
    today = KernelFile.parse(read_source(baseline), baseline) if baseline is not None else kernel_file
    target = resolve_gpu(gpu) if gpu is not None else None
    found = breaches(kernel_file, problem.source)
    with log.status("running both sides"):
        verdict = check(
            problem,
            code.source,
            path=code.path,
            precision=precision or today.precision,
            target=target,
            mapping=code.mapping,
            trials=trials,
            interpreter_seconds=interpreter_seconds,
            allow=allow,
            sanitize=sanitize,
            limits=SANITIZED if sanitize else None,
        )
    checked = Checked(code.path, str(problem.path), verdict, tuple(found))
    if as_json:
        emit(checked)
    else:
        _show(checked)
    return 0 if checked.passed else 1


def _show(checked: Checked) -> None:
    verdict = checked.verdict
    titles = {Outcome.CORRECT: "correct", Outcome.NOT_CHECKED: "not checked here"}
    title = titles.get(verdict.outcome, verdict.outcome.value)
    console.print(Text(f"{title}: {verdict.reason}" if verdict.reason else title, style="bold"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("evidence", f"{verdict.evidence.value}, on {verdict.device or 'no device'}")
    if verdict.trials:
        grid.add_row("inputs", f"{verdict.trials} fresh sets, {verdict.sizes or 'full size'}")
    for error in verdict.errors:
        grid.add_row(
            f"output {error.output}",
            f"error {error.norm_error:.2e} in norm, {verdict.precision} budget {error.norm_budget:.2e};"
            f" {error.max_error:.2e} at most, budget {error.max_budget:.2e}",
        )
    if verdict.regimes:
        grid.add_row("also tried", "; ".join(verdict.regimes))
    for finding in verdict.findings:
        grid.add_row("found", f"{finding.kind}: {finding.what}")
    if verdict.outcome is Outcome.NOT_ALLOWED:
        kinds = ",".join(dict.fromkeys(finding.kind.value for finding in verdict.findings))
        grid.add_row("policy", f"--allow {kinds} would let it pass")
    for note in verdict.notes:
        grid.add_row("note", note)
    if verdict.isolation:
        grid.add_row("isolation", verdict.isolation)
    grid.add_row("contract", "kept" if not checked.breaches else f"{len(checked.breaches)} breaches")
    console.print(grid)
    for breach in checked.breaches:
        console.print(Text(f"  {checked.code}:{breach.line}: {breach.what}; {breach.mend}"))
