"""What a run was made on: versions and device. Read without importing torch or Triton."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tilewright.version import VERSION

DRIVER = Path("/proc/driver/nvidia/version")
PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Machine:
    """The software and the device of this machine; empty where something is absent or cannot be read.

    Args:
        device: the GPU's name; empty without one.
        driver: the version of NVIDIA's kernel module.
        commit: of tilewright's own checkout; empty for an installed package. "+" at its end says that
            tracked files differed from it.
        tilewright, python, torch, triton, numpy: versions.
        system: operating system and processor family.
        at: when this was read, ISO 8601, UTC.
    """

    device: str
    driver: str
    commit: str
    tilewright: str
    python: str
    torch: str
    triton: str
    numpy: str
    system: str
    at: str


def this_machine(device: str = "") -> Machine:
    """The machine that this process runs on.

    Args:
        device: the GPU's name, which only a worker process can ask for.
    """
    return Machine(
        device=device,
        driver=_driver(),
        commit=_commit(),
        tilewright=VERSION,
        python=platform.python_version(),
        torch=_version("torch"),
        triton=_version("triton"),
        numpy=_version("numpy"),
        system=f"{platform.system()} {platform.machine()}",
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _driver() -> str:
    try:
        found = re.search(r"Kernel Module\s.*?(\d+\.\d+(?:\.\d+)?)", DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def _commit() -> str:
    """Only of a checkout that tracks this file: a package installed below somebody's checkout is not it."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return ""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit or ''}{'+' if changes else ''}"


def _git(*arguments: str) -> str | None:
    """What git says in this package's folder; None where it is missing or fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
