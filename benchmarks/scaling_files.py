"""The points of the scaling benchmark as files: problems, and what the recurrence compiler proposes first.

Needs no GPU. A point has a folder of its own: the problem, the file where there is one, and what was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recording import this_commit
from scaling_records import Point

from tilewright.gpu.catalogue import find
from tilewright.problem import Problem
from tilewright.proposers.base import Situation
from tilewright.proposers.recurrence.proposer import RecurrenceCompiler
from tilewright.serial import from_json, to_json
from tilewright.stages.catalogue import stages

PRECISION = "tf32"
TEMPLATE = '''"""{title} over {steps} steps from zero states."""

import torch
import torch.nn as nn

STEPS = {steps}
BATCH = {batch}
HIDDEN = {hidden}


class Model(nn.Module):
    """x [STEPS, BATCH, HIDDEN] -> the output at every step [STEPS, BATCH, HIDDEN]."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.rnn = nn.{layer}(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, _ = self.rnn(x)
        return output


def get_inputs():
    return [torch.randn(STEPS, BATCH, HIDDEN)]


def get_init_inputs():
    return [HIDDEN]
'''
TITLES = {"rnn": "An Elman RNN", "lstm": "An LSTM", "gru": "A GRU"}


@dataclass(frozen=True)
class Prepared:
    """What was said of a point.

    Args:
        gpu: the one it was written for.
        written_by: the commit, and whether what ran was more than that.
        plan: what the file does; empty when the point was declined.
        notes: what the compiler left alone and why.
    """

    point: Point
    gpu: str
    written_by: str
    plan: str
    notes: tuple[str, ...]


def problem_text(point: Point) -> str:
    return TEMPLATE.format(
        title=TITLES[point.kind], steps=point.steps, batch=point.batch, hidden=point.hidden,
        layer=point.kind.upper(),
    )  # fmt: skip


def home_of(point: Point, folder: Path) -> Path:
    return folder / str(point).replace("/", "_")


def problem_path(home: Path) -> Path:
    return home / "problem.py"


def file_path(home: Path) -> Path:
    return home / "file.py"


def prepare(point: Point, folder: Path, gpu: str, commit: str | None = None) -> Prepared:
    """Write a point's folder anew.

    Args:
        commit: what to say wrote it where the checkout carries no git history.

    Raises:
        OSError: it cannot be written.
        TilewrightError: no such GPU, or the problem does not run.
    """
    home = home_of(point, folder)
    home.mkdir(parents=True, exist_ok=True)
    said, file = home / "said.json", file_path(home)
    for old in (said, file):
        old.unlink(missing_ok=True)
    problem_path(home).write_text(problem_text(point), encoding="utf-8")
    problem = Problem.from_file(problem_path(home))
    stage = next(stage for stage in stages("network") if stage.name in RecurrenceCompiler.stages)
    target = find(gpu)
    proposals = RecurrenceCompiler().propose(Situation(problem, None, None, target, stage, {}, PRECISION))
    plan = ""
    if proposals.candidates:
        first = proposals.candidates[0]
        file.write_text(first.source, encoding="utf-8")
        plan = first.settings["plan"]
    commit, dirty = this_commit(commit)
    written_by = commit[:12] + (" with local changes" if dirty else "")
    prepared = Prepared(point, target.name, written_by, plan, proposals.notes)
    said.write_text(to_json(prepared) + "\n", encoding="utf-8")
    return prepared


def prepared_in(folder: Path, chosen: list[Point]) -> list[Prepared]:
    """What `prepare` left, in the order of `chosen`.

    Raises:
        OSError, ValueError: a folder cannot be read.
    """
    paths = [home_of(point, folder) / "said.json" for point in chosen]
    return [from_json(path.read_text(encoding="utf-8"), Prepared) for path in paths if path.exists()]
