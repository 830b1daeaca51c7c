"""The eager loop under torch.compile, tried in a process of its own first.

Compiling a loop of hundreds of steps can take minutes and cannot be interrupted from within. So each
variant is compiled by a probe, `python benchmarks/compiled_loop.py MODE tf32|fp32`, that can be
killed; what it compiled stays in PyTorch's cache on disk, and compiling again in the benchmark's own
process then takes seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MODES = ("default", "reduce-overhead")


class DidNotFinish(Exception):
    """A probe ran past its time limit, or failed."""


@dataclass(frozen=True)
class Probe:
    """A running probe.

    Args:
        said: what it writes to stderr; a file, because a pipe that nobody reads would stop it.
        started, seconds: when it started on the monotonic clock, and how long it may take.
    """

    process: subprocess.Popen[bytes]
    said: IO[bytes]
    started: float
    seconds: float

    @classmethod
    def start(cls, command: list[str], seconds: float) -> Probe:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the probe
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        return cls(process, said, time.monotonic(), seconds)

    def finish(self) -> None:
        """Wait for the end; one that ended on its own before this call has finished in time.

        Raises:
            DidNotFinish: it failed, or ran past its limit and was killed.
        """
        try:
            self.process.wait(max(0.0, self.started + self.seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise DidNotFinish(f"compilation did not finish in {self.seconds:g} s") from None
        if self.process.returncode:
            self.said.seek(0)
            lines = self.said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise DidNotFinish(f"compilation failed: {lines[-1][:200]}")

    def kill(self) -> None:
        """End the probe and the compile workers it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(mode: str, tf32: bool, seconds: float) -> Probe:
    """Start compiling a variant of the loop in a process of its own."""
    return Probe.start([sys.executable, str(Path(__file__)), mode, "tf32" if tf32 else "fp32"], seconds)


def compiled(model: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """The model under torch.compile; compiles at the first call."""
    import torch

    compiled_model: Callable[..., Any] = torch.compile(model, mode=None if mode == "default" else mode)
    return compiled_model


def main(mode: str, precision: str) -> None:
    """The probe: compile, run until CUDA graphs, where the mode has them, are recorded too."""
    import torch
    from sides import allow_tf32
    from vanilla_rnn import reference_case

    case = reference_case(torch.device("cuda"), seed=0)
    allow_tf32(precision == "tf32")
    run = compiled(case.model, mode)
    with torch.no_grad():
        for _ in range(3):
            run(*case.inputs)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main(*sys.argv[1:])
