"""Every error that tilewright raises on purpose, one class per cause.

TilewrightError                 exit code 2, one line, no traceback
├── InputError                  what the user handed over is missing or wrong
│   ├── ProblemError            a problem file (Model, get_inputs, get_init_inputs)
│   ├── KernelFileError         a ModelNew file
│   ├── RequestError            a specialist request
│   ├── UnknownGpu              a GPU name that is not known
│   ├── AmbiguousParameters     Model and ModelNew parameters that match in more than one way
│   └── RunFolderError          a run folder that is taken, not writable, or not a run
├── SetupError                  something this machine lacks (Triton, a GPU, a tool)
└── WorkerError                 a worker process did not come back with a result
    ├── WorkerTimeout           it ran past its time limit
    ├── WorkerOutOfMemory       it ran past its memory limit
    ├── WorkerCrashed           it died (signal, abort, sys.exit)
    └── NotTimed                two sides could not be compared: one failed while it was timed
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Where:
    """A place in a file. `line` counts from 1; None when the whole file is meant."""

    path: Path | str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line is not None else str(self.path)


class TilewrightError(Exception):
    """Base of all deliberate errors.

    Args:
        what: what is wrong, one line.
        where: the file and line it is about.
        mend: what the user can do about it; the message ends in it.
    """

    def __init__(self, what: str, *, where: Where | None = None, mend: str = "") -> None:
        self.what = " ".join(what.split())
        self.where = where
        self.mend = " ".join(mend.split())
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {self.mend}" if self.mend else ""
        return f"{place}{self.what}{remedy}"


class InputError(TilewrightError):
    """What the user handed over is missing or wrong."""


class ProblemError(InputError):
    """A problem file cannot be used."""


class KernelFileError(InputError):
    """A ModelNew file cannot be used."""


class RequestError(InputError):
    """A specialist request cannot be used."""


class UnknownGpu(InputError):
    """No GPU of this name is known."""


class AmbiguousParameters(InputError):
    """Parameters of Model and ModelNew match in more than one way, or not at all."""


class RunFolderError(InputError):
    """A run folder is taken, cannot be written, or holds no run."""


class SetupError(TilewrightError):
    """This machine lacks something that the command needs."""


class Interrupted(TilewrightError):
    """The user stopped the command."""


class WorkerError(TilewrightError):
    """A worker process did not come back with a result."""


class WorkerTimeout(WorkerError):
    """A worker ran past its time limit."""


class WorkerOutOfMemory(WorkerError):
    """A worker ran past its memory limit."""


class WorkerCrashed(WorkerError):
    """A worker died: a signal, an abort, or an exit without a result."""


class NotTimed(WorkerError):
    """Sides could not be timed against one another: one failed, or its clock does not tell the truth."""
