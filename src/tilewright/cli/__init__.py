"""The command line: one module a command. Parses, calls the API, prints.

Exit codes: 0 done, 1 the verdict is no, 2 the input or the set-up is wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType

import click

from tilewright import workers
from tilewright.cli.common import console_error, emit
from tilewright.errors import Interrupted, TilewrightError
from tilewright.version import VERSION

COMMANDS = ("optimize", "verify", "inspect", "profile", "check", "bench", "gpus", "request")


class Commands(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tilewright.cli.{name}").command
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: tilewright optimize problem.py --current kernel.py --gpu h100 -o runs/first",
)
@click.version_option(VERSION)
def cli() -> None:
    """A Triton kernel optimization specialist.

    A problem, the current code and a target GPU go in; a faster Triton file comes out, with proof
    that it computes the same and evidence for every figure.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    workers.allow_workers()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        code = cli.main(arguments, prog_name="tilewright", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt, Interrupted):
        console_error("interrupted")
        return 130
    except TilewrightError as error:
        if "--json" in arguments:
            where = str(error.where) if error.where else None
            emit(
                {
                    "error": {
                        "kind": type(error).__name__,
                        "what": error.what,
                        "where": where,
                        "mend": error.mend,
                    }
                }
            )
        console_error(str(error))
        return 2
    except click.ClickException as error:
        console_error(error.format_message())
        return 2
    except Exception:  # an extension module may turn the interrupt into an error of its own
        if not workers.stopping():
            raise
        console_error("interrupted")
        return 130
    return code if isinstance(code, int) else 0


def _stop(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C and kill: threads that wait for a worker must not keep the command alive."""
    workers.stop_all()
    raise KeyboardInterrupt
