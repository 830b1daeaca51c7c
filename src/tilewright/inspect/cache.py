"""Inspections kept on disk by the content of all that they depend on, so that nothing is compiled twice.

A key covers the problem, the candidate, the target, the versions of torch, Triton and Python, and every
source file of tilewright itself; whatever changes one of them starts afresh. Only what can run on the target
is kept: a failure may be the machine's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.problem import Problem
from tilewright.serial import from_json, to_json
from tilewright.worker import plain

MOST_ENTRIES = 4096  # of some 20 KB; beyond that the half that was unused for longest goes
PACKAGE = Path(__file__).parents[1]


def load(problem: Problem, source: str, gpu: Gpu) -> Inspection | None:
    """What is on record of a candidate; None where nothing is, or nothing that can be read."""
    path = _path(problem, source, gpu)
    try:
        inspection = from_json(path.read_text(encoding="utf-8"), Inspection)
        path.touch()
    except (OSError, ValueError):
        return None
    return inspection


def store(problem: Problem, source: str, gpu: Gpu, inspection: Inspection) -> None:
    """Keep an inspection; a folder that cannot be written keeps nothing."""
    if not inspection.runs:
        return
    path = _path(problem, source, gpu)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(to_json(inspection, indent=None), encoding="utf-8")
        unfinished.replace(path)
        _trim(path.parent)
    except OSError:
        return


def folder() -> Path:
    """Where inspections are kept: in TILEWRIGHT_CACHE, else below XDG_CACHE_HOME or ~/.cache."""
    own, base = os.environ.get("TILEWRIGHT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path.home() / ".cache"
    return (Path(own) if own else home / "tilewright") / "inspections"


def _path(problem: Problem, source: str, gpu: Gpu) -> Path:
    parts = [_setting(), problem.source, str(problem.path), json.dumps(plain(gpu), sort_keys=True), source]
    digest = hashlib.sha256("\0".join(hashlib.sha256(part.encode()).hexdigest() for part in parts).encode())
    return folder() / f"{digest.hexdigest()}.json"


@lru_cache(maxsize=1)
def _setting() -> str:
    """Versions and tilewright's own sources, as one digest."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("torch", "triton"):
        try:
            digest.update(metadata.version(name).encode())
        except metadata.PackageNotFoundError:
            digest.update(b"none")
    for path in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.toml")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _trim(where: Path) -> None:
    entries = list(where.glob("*.json"))
    if len(entries) > MOST_ENTRIES:
        entries.sort(key=lambda path: path.stat().st_mtime)
        for path in entries[: len(entries) // 2]:
            path.unlink(missing_ok=True)
