"""The inside of a worker process: `python -m tilewright.worker FOLDER`.

Reads FOLDER/job.json, runs its task, writes FOLDER/result.json. Errors of tilewright's own family
travel back as values; anything else is a crash, whose traceback stays in the worker's output.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilewright.errors import TilewrightError
from tilewright.processes.child import die_with_parent


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text())
    watched = job.get("under", False)
    if not watched:  # a tool may start programs from a thread that ends: Linux takes that for its end
        die_with_parent()
    module_name, _, function_name = job["task"].partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        answer: dict[str, Any] = {"value": plain(function(job["payload"]))}
    except TilewrightError as error:
        where = [str(error.where.path), error.where.line] if error.where else None
        answer = {
            "error": {"class": type(error).__name__, "what": error.what, "where": where, "mend": error.mend}
        }
    unfinished = folder / "result.json.part"
    unfinished.write_text(json.dumps(answer))
    unfinished.rename(folder / "result.json")
    sys.stdout.flush()
    if not watched:  # a tool's own exit handlers finish its work
        os._exit(0)  # a task's leftover threads and exit handlers have no say


def plain(value: Any) -> Any:
    """A dataclass, enum, path or container as JSON values; non-finite floats become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    match value:
        case enum.Enum():
            return value.value
        case Path():
            return str(value)
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


if __name__ == "__main__":
    main(sys.argv[1:])
