"""What a candidate was seen to do beside computing its outputs, and which of it the policy allows.

A finding is an observation, some made inside the candidate's own process, where a hostile file could
silence the observer. Correctness and time never rest on findings: they come from outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be found; the value is what `--allow` takes."""

    LIBRARY = "library"  # torch operators do the work that a kernel of the file should do
    FALLBACK = "fallback"  # when its kernel fails the file answers by other means
    DECOY = "decoy"  # a kernel runs whose results are not used
    PRECISION = "lower-precision"  # products in fewer bits than was asked for
    SIZES = "fixed-sizes"  # wrong at other sizes, and does not refuse them
    STRIDES = "contiguous-only"  # wrong on strided or misaligned inputs, and does not refuse them
    STREAM = "stream"  # work on a stream that the caller does not wait for
    THREAD = "thread"  # starts threads
    PROCESS = "process"  # starts processes, sends signals, or ends its own
    PATCH = "patch"  # replaces functions of other modules
    PROBE = "probe"  # reads stack frames, the garbage collector, or its judge's modules
    FILES = "files"  # reads or writes files of its own
    NETWORK = "network"  # opens sockets
    HIDDEN_TIME = "hidden-time"  # the clock outside its process saw more time than the one inside
    TOO_FAST = "too-fast"  # faster than its bytes and operations allow on this GPU
    ALGORITHMIC = "algorithmic"  # gives the same values with less work


ALWAYS_ALLOWED = frozenset({Kind.ALGORITHMIC})


@dataclass(frozen=True)
class Finding:
    """One thing seen.

    Args:
        what: one line for people, naming the line, kernel, function or size concerned.
    """

    kind: Kind
    what: str


def forbidden(findings: Iterable[Finding], allowed: Collection[Kind]) -> list[Finding]:
    """Those that neither the policy nor its default allows, in the order found."""
    return [finding for finding in findings if finding.kind not in ALWAYS_ALLOWED | set(allowed)]
