"""Processes that time on one GPU do so alone, so that nobody else's work is in their figures.

Two kernels of different processes share a GPU by taking slices of time, of some milliseconds each: beside a
check, a kernel of 0.2 ms was timed at 300 ms (H200). So whoever times holds the device exclusively, and what
only computes there shares it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0  # before a wait is worth a word; checks of one run wait for one another for moments
LOOK_SECONDS = 0.02


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Holds the visible GPUs alone, for timing; waits, and says so, while another process uses them.

    Must not be entered inside of `sharing`, for which it would wait for ever. Where a lock cannot be taken at
    all (another user's file, no folder for it, Windows) nobody waits.
    """
    with _held(alone=True):
        yield


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Uses the visible GPUs beside others who share them; waits, and says so, while a process times there."""
    with _held(alone=False):
        yield


@contextlib.contextmanager
def _held(*, alone: bool) -> Iterator[None]:
    # Whoever comes waits at the gate, so that a stream of sharers does not keep a turn waiting for ever.
    with contextlib.ExitStack() as held, contextlib.ExitStack() as gate:
        with contextlib.suppress(OSError):
            gate.enter_context(_locked(_path("gate"), alone=True))
            held.enter_context(_locked(_path("gpu"), alone=alone))
            gate.close()
        yield


@contextlib.contextmanager
def _locked(path: Path, *, alone: bool) -> Iterator[None]:
    """A lock that the system lets go of when this process ends, however it does."""
    if sys.platform == "win32":
        raise OSError("no such locks on Windows")
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        if not _taken(descriptor, how):
            logger.warning("another check or timing is at work on this GPU; waiting for it to be done")
            fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int, how: int) -> bool:
    """Whether the lock could be had soon."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_SECONDS)


def _path(name: str) -> Path:
    """One file for each set of visible devices."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    allowed = "".join(c if c.isalnum() else "-" for c in devices)
    return Path(tempfile.gettempdir()) / f"tilewright-{name}-{allowed}.lock"
