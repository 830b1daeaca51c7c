"""Where else a result is to be fast: on another GPU, or at other sizes of the same problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.problem import Problem


@dataclass(frozen=True)
class Place:
    """One further target of a run.

    Args:
        label: what reports call it.
        source: the text of the problem at its sizes; None for the run's own problem.
        gpu: what it runs on there.
    """

    label: str
    source: str | None
    gpu: Gpu

    def problem(self, own: Problem) -> Problem:
        """The problem there, given the run's own."""
        return own if self.source is None else Problem.from_source(self.source, self.label)


def places(gpus: Sequence[Gpu], problems: Sequence[Problem], target: Gpu) -> tuple[Place, ...]:
    """The run's own problem on further GPUs, then further sizes on its target."""
    others = [gpu for number, gpu in enumerate(gpus) if gpu != target and gpu not in gpus[:number]]
    return (
        *(Place(gpu.name, None, gpu) for gpu in others),
        *(Place(problem.path.name, problem.source, target) for problem in problems),
    )
