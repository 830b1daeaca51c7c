"""NVIDIA's compute-sanitizer over a candidate's process, on demand. Judge's side.

memcheck finds accesses outside of allocations and misaligned ones, racecheck hazards in shared memory,
initcheck reads of memory that nobody wrote, synccheck barriers that not all threads reach.
"""

from __future__ import annotations

import re
import shutil

from tilewright.errors import SetupError

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
PROGRAM = "compute-sanitizer"
ERROR = re.compile(
    r"^=========\s+((?:Invalid|Error|Warning|Race|Uninitialized|Barrier|Misaligned)\b.*)$", re.M
)
COUNT = re.compile(r"^========= (?:ERROR SUMMARY|RACECHECK SUMMARY): (\d+)", re.M)


def command(tool: str) -> tuple[str, ...]:
    """What to run the cell under.

    Raises:
        SetupError: compute-sanitizer is not installed.
    """
    program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/local/cuda/bin")
    if program is None:
        raise SetupError(
            f"there is no {PROGRAM} here", mend="install the CUDA toolkit, or leave --sanitize out"
        )
    return (program, "--tool", tool, "--target-processes", "all")


def errors(said: str) -> list[str]:
    """The distinct errors in what the program printed; empty when it found none.

    Raises:
        SetupError: it printed no summary, so it has not run.
    """
    count = COUNT.search(said)
    if count is None:
        last = (said.strip().splitlines() or ["nothing"])[-1]
        raise SetupError(f"{PROGRAM} printed no summary but {last[:200]!r}", mend="run it by hand to see why")
    if int(count[1]) == 0:
        return []
    return list(dict.fromkeys(match[1].strip() for match in ERROR.finditer(said))) or [f"{count[1]} errors"]
