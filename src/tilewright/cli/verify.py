"""`tilewright verify`: is a run folder what it claims to be?"""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from tilewright.cli.common import console, emit, json_option, log
from tilewright.machine import Machine
from tilewright.verify.model import Line, Standing, Verification

EPILOG = "Example: tilewright verify runs/rnn"
STYLES = {Standing.AGREES: "green", Standing.DIFFERS: "bold red", Standing.NOT_CHECKED: "yellow"}


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="DIR")
@click.option("--digest", metavar="HEX", help="The manifest's SHA-256 as the run's author quoted it.")
@click.option("--no-rerun", is_flag=True, help="Check files and records only; run none of the code.")
@click.option("--trials", type=click.IntRange(1), default=3, show_default=True, help="Fresh sets of inputs.")
@json_option
def command(folder: str, digest: str | None, no_rerun: bool, trials: int, as_json: bool) -> int:
    """Check what a run of `optimize` left in DIR: say line by line what agrees and what differs.

    First the files against the manifest and the records against one another, speedup included. Then, if
    nothing differs, the code itself: contract, correctness on the recorded seeds and on fresh ones,
    memory safety, what the compiler makes of it, and its speed where there is a GPU. What cannot be
    checked on this machine is named with the reason. Nothing is written into DIR. Exit code 1 when
    something differs.
    """
    from tilewright.verify.api import verify

    with log.status("reading the records") as status:
        verification = verify(folder, quoted=digest, rerun=not no_rerun, trials=trials, say=status.update)
    if as_json:
        emit(verification)
    else:
        _show(verification)
    return 0 if verification.agrees else 1


def _show(verification: Verification) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in verification.lines:
        standing = Text(line.standing.value, style=STYLES[line.standing])
        table.add_row(standing, Text(_clean(f"{line.what}: {_details(line)}")))
    console.print(table)
    console.print()
    for machine in verification.machines:
        console.print(Text(_clean(f"made on     {_described(machine)}")))
    console.print(Text(f"checked on  {_described(verification.here)}"))
    if verification.digest is not None:
        click.echo(f"digest      {verification.digest}")
    counts = {s: sum(line.standing is s for line in verification.lines) for s in Standing}
    console.print(Text(", ".join(f"{n} {standing.value}" for standing, n in counts.items()), style="bold"))


def _details(line: Line) -> str:
    """The reason, and both values where they are written differently, one where they are not."""
    if line.recorded and line.found and line.recorded != line.found:
        return "\n  ".join(filter(None, [line.why, f"recorded  {line.recorded}", f"found     {line.found}"]))
    return "; ".join(filter(None, [line.why, line.found or line.recorded]))


def _described(machine: Machine) -> str:
    driver = f" (driver {machine.driver})" if machine.driver else ""
    commit = f" ({machine.commit})" if machine.commit else ""
    return (
        f"{machine.device or 'no GPU'}{driver}, {machine.system}, tilewright {machine.tilewright}{commit},"
        f" Python {machine.python}, torch {machine.torch}, triton {machine.triton}, {machine.at}"
    )


def _clean(text: str) -> str:
    """Text from a folder that somebody else wrote, without what could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
