"""Nsight Compute's command line: where it is, what to run, and what it says when it reads nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tilewright.errors import SetupError

PROGRAM = "ncu"
USUAL_PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute/*")
SECTION = (
    "SpeedOfLight"  # also lists the units that a throughput is the busiest of, under each GPU's own names
)
MOST_RESULTS = 500  # kernels profiled in one forward; each is run again for every pass of counters
NO_PERMISSION = "ERR_NVGPUCTRPERM"
COMPLAINT = re.compile(r"^==(ERROR|WARNING)==\s*(.+)$", re.MULTILINE)


def find() -> str:
    """The path of `ncu`.

    Raises:
        SetupError: it is not installed.
    """
    if program := shutil.which(PROGRAM):
        return program
    root = Path("/")
    for place in USUAL_PLACES:
        for folder in sorted(root.glob(place.lstrip("/")), reverse=True):  # the newest version first
            if program := shutil.which(PROGRAM, path=str(folder)):
                return program
    raise SetupError(
        "Nsight Compute is not installed: there is no ncu on PATH",
        mend="install the CUDA toolkit or Nsight Compute itself, and put the folder of ncu on PATH",
    )


def command(program: str, metrics: Sequence[str], report: Path, log: Path) -> tuple[str, ...]:
    """What to put before a program's command line, so that its profiled range is read.

    Clocks are left as they are: locking them needs rights of its own, and figures in percent of a peak do
    not depend on them. Caches are flushed before each pass, Nsight Compute's own default: a kernel's
    figures are those of a cold start, and the same in every pass.

    Args:
        metrics: names to collect beside those of SECTION.
        report: where the report is written, with the ending ".ncu-rep".
        log: where Nsight Compute's own messages go, apart from what the program prints.
    """
    return (
        program,
        *("--profile-from-start", "off"),
        *("--target-processes", "all"),
        *("--clock-control", "none"),
        *("--launch-count", str(MOST_RESULTS)),
        *("--section", SECTION),
        *("--metrics", ",".join(metrics)),
        *("--log-file", str(log)),
        *("--force-overwrite", "--export", str(report)),
    )


def failed(log: str) -> bool:
    """Whether Nsight Compute's messages tell of an error of its own."""
    return any(kind == "ERROR" for kind, _ in COMPLAINT.findall(log))


def refusal(log: str) -> SetupError:
    """Why no kernel was read, from Nsight Compute's messages."""
    if NO_PERMISSION in log:
        return SetupError(
            f"the driver lets only administrators read the GPU's counters ({NO_PERMISSION})",
            mend="load the nvidia module with NVreg_RestrictProfilingToAdminUsers=0, or run as root; in a"
            " container also --cap-add=SYS_ADMIN",
        )
    said = sorted(COMPLAINT.findall(log))  # errors before warnings
    why = f": {said[0][1][:300]}" if said else ", and says nothing about it"
    return SetupError(f"Nsight Compute read no kernel{why}", mend="run ncu by hand on a small program")
