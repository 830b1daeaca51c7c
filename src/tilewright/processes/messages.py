"""What whoever starts a process, its server and the process itself say to one another.

A request is LEADS or FOLLOWS, with files: one end of a socket pair, the file of the output, those sent along.
Through that pair the new process reads its Job, to the end, and the server answers with the process id and a
pidfd, or minus an errno, and later with the exit code, or minus the number of the signal.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEADS, FOLLOWS = b"L", b"F"
MOST_FILES = 8
CODE = struct.Struct("i")


@dataclass(frozen=True)
class Job:
    """What the child of a server is to become, as JSON carries it.

    Args:
        module: its `main` is called with the arguments, as `python -m module` would.
        environment: all variables.
        folder: where it runs; absolute.
        descriptors: the numbers under which it finds the files sent along, after its output.
    """

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    descriptors: Sequence[int]
