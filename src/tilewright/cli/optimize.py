"""`tilewright optimize`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from tilewright.cli.common import (
    allow_option,
    console,
    emit,
    entry_option,
    gpu_option,
    json_option,
    log,
    map_option,
    parameter_map,
    read_source,
)
from tilewright.errors import InputError
from tilewright.judge.means.findings import Kind
from tilewright.problem import Problem

EPILOG = (
    "Example: tilewright optimize examples/vanilla_rnn/problem.py "
    "--current examples/vanilla_rnn/current.py --gpu h100 -o runs/rnn"
)


@click.command(epilog=EPILOG)
@click.argument("problem_path", metavar="PROBLEM.py")
@click.option("--current", metavar="CODE.py", help="Today's ModelNew file, if there is one.")
@entry_option
@click.option("--request", "request_path", metavar="REQUEST.txt", help="A specialist request to answer.")
@click.option(
    "--profile",
    "profile_path",
    metavar="FILE",
    help="Nsight Compute metrics of today's code, as `tilewright profile -o FILE` writes them.",
)
@gpu_option
@click.option(
    "--also-gpu",
    "also_gpus",
    metavar="NAME",
    multiple=True,
    help="A further GPU that the file is to be fast on, by estimate; repeatable.",
)
@click.option(
    "--also-problem",
    "also_problems",
    metavar="PROBLEM.py",
    multiple=True,
    help="The problem at further sizes, at which the file is to be right and fast too; repeatable.",
)
@click.option("--stages", metavar="NAME,…", default="", help="Stages to run, in this order; default: all.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "float16", "bfloat16"]),
    help="What matrix products may be computed in; default: what today's code uses, float32 without any.",
)
@click.option(
    "--dialect",
    type=click.Choice(["triton", "gluon"]),
    default="triton",
    show_default=True,
    help="What new kernels are written in: triton.language, or Gluon with explicit layouts.",
)
@click.option(
    "--plan",
    metavar="NAME",
    help="How time loops are run, and no other way: stationary (weights in the registers of one program), "
    "spread (over the registers of programs that wait for one another) or streamed (spread, and read from L2 "
    "every step); default: what fits and is expected to be fastest.",
)
@map_option
@allow_option
@click.option(
    "--budget",
    default="5m",
    show_default=True,
    help="Start no new candidate after this long; the first one is judged in any case.",
)
@click.option(
    "--candidates",
    type=click.IntRange(1),
    metavar="N",
    help="Try no more than N candidates; default: as many as there is time for.",
)
@click.option(
    "-o", "--output", metavar="DIR", default="runs/latest", show_default=True, help="The run's folder."
)
@click.option("--force", is_flag=True, help="Replace a run that the folder already holds.")
@json_option
def command(
    problem_path: str,
    current: str | None,
    entry: str | None,
    request_path: str | None,
    profile_path: str | None,
    gpu: str | None,
    also_gpus: tuple[str, ...],
    also_problems: tuple[str, ...],
    stages: str,
    precision: str | None,
    dialect: str,
    plan: str | None,
    pairs: tuple[str, ...],
    allow: tuple[Kind, ...],
    budget: str,
    candidates: int | None,
    output: str,
    force: bool,
    as_json: bool,
) -> int:
    """Write the fastest Triton file that computes what PROBLEM.py computes.

    Leaves best.py, summary.json and the log of every candidate in the folder given with -o, for
    `tilewright verify` to check anywhere. The same command resumes a run that was interrupted. Exit code
    1 when the result is not proven correct.
    """
    from tilewright import api
    from tilewright.manifest import digest_of
    from tilewright.report.screen import check_it, render
    from tilewright.request import read_profile_file, read_request
    from tilewright.runs import read_log
    from tilewright.worker import plain

    ways = {"--current": current, "--entry": entry, "--request": request_path}
    given = [way for way, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} both give the current code", mend="give one of the two")
    problem = Problem.from_file(problem_path)
    source = read_source(current) if current is not None else None
    request = read_request(Path(request_path)) if request_path is not None else None
    profile = read_profile_file(Path(profile_path)) if profile_path is not None else None
    for ignored in profile.ignored if profile else ():
        log.print(f"{profile_path}:{ignored.line}: ignored: {ignored.why}", markup=False)
    budget_seconds = api.seconds(budget)
    with log.status("starting") as status:

        def say(text: str) -> None:
            if log.is_terminal:
                status.update(text)
            log.print(text, style="dim")

        summary = api.optimize(
            problem,
            output,
            current=source,
            entry=entry,
            request=request,
            profile=profile.figures if profile else None,
            gpu=gpu,
            stages=[name.strip() for name in stages.split(",") if name.strip()],
            precision=precision,
            dialect=dialect,
            plan=plan,
            mapping=parameter_map(pairs),
            allow=allow,
            also_gpus=also_gpus,
            also_problems=[Problem.from_file(path) for path in also_problems],
            budget_seconds=budget_seconds,
            budget_candidates=candidates,
            force=force,
            say=say,
        )
    digest = digest_of(Path(output))
    if as_json:
        emit({**plain(summary), "manifest": digest})
    else:
        console.print(render(summary, read_log(Path(output)), Path(output)))
        click.echo(check_it(Path(output), digest))
    return 0 if summary.verdict.correct else 1
