"""Processes that time on one GPU take turns, so that neither is in the other's figures."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Holds the visible GPUs for timing; waits, and says so, while another process of tilewright does.

    Where the lock cannot be taken at all (another user's file, no folder for it) nobody waits.
    """
    lock = filelock.FileLock(_path(), mode=0o666)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.warning("another run of tilewright is timing on this GPU; waiting for it to be done")
        lock.acquire()
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def _path() -> Path:
    """One file for each set of visible devices."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    name = "".join(c if c.isalnum() else "-" for c in devices)
    return Path(tempfile.gettempdir()) / f"tilewright-gpu-{name}.lock"
