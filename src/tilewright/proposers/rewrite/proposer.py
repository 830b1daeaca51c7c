"""Source rewrites as a proposer: each alone, then those that paid on top of one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tilewright.candidate import Candidate
from tilewright.kernelfile import Kernel, KernelFile
from tilewright.proposers.base import Proposals, Situation
from tilewright.proposers.rewrite.base import Declined, Inapplicable, Rewrite, View
from tilewright.proposers.rewrite.registry import REWRITES


@dataclass(frozen=True)
class Step:
    """One rewrite of one kernel."""

    rewrite: Rewrite
    kernel: str
    choice: str

    @property
    def key(self) -> str:
        """What a candidate's settings call it."""
        return f"{self.kernel}: {self.rewrite.name}"


class SourceRewrites:
    """Ways to write a file's kernels that leave alone what they compute."""

    name = "source rewrites"
    winners = 3
    portable = False

    def __init__(self, rewrites: Sequence[Rewrite] = REWRITES) -> None:
        self.rewrites = tuple(rewrites)
        self.stages = frozenset[str]().union(*(rewrite.stages for rewrite in self.rewrites))

    def propose(self, situation: Situation) -> Proposals:
        """Each rewrite of this stage, of each kernel and in each way, as a candidate of its own.

        Raises:
            KernelFileError: the best candidate is not Python or holds no kernel.
        """
        if situation.best is None:
            return Proposals((), ("there is no code yet that could be rewritten",))
        view = _view(situation, situation.best.source)
        if view is None:
            return Proposals((), ("its launches are not known, so nothing is rewritten",))
        candidates: dict[str, Candidate] = {}
        notes: list[str] = []
        for kernel in view.file.require_kernels():
            if kernel.helper or kernel.gluon:
                continue
            for rewrite in self.rewrites:
                if situation.stage.name not in rewrite.stages:
                    continue
                try:
                    for step, text in _steps(rewrite, view, kernel):
                        made = _candidate(situation, situation.best, text, [step])
                        if text != situation.best.source:
                            candidates.setdefault(made.id, made)
                except Inapplicable:
                    continue
                except Declined as reason:
                    notes.append(f"{kernel.name}: {rewrite.name}: declined: {reason}")
        return Proposals(tuple(candidates.values()), tuple(notes))

    def finish(self, situation: Situation, winners: Sequence[Candidate]) -> Proposals:
        """The best winner with the others' rewrites on top, one more each time."""
        if len(winners) < 2:
            return Proposals(())
        made: list[Candidate] = []
        source, taken = winners[0].source, dict(winners[0].settings)
        for winner in winners[1:]:
            for step in self._read(winner):
                if step.key in taken or (view := _view(situation, source)) is None:
                    continue
                try:
                    source = step.rewrite.apply(view, view.file.kernel(step.kernel), step.choice)
                except Declined:
                    continue
                taken[step.key] = step.choice
                why = f"{'; '.join(taken)} together"
                made.append(
                    Candidate(source, situation.stage.name, self.name, why, winners[0].id, dict(taken))
                )
        return Proposals(tuple(made))

    def _read(self, candidate: Candidate) -> Iterator[Step]:
        """The steps that a candidate's settings stand for."""
        known = {rewrite.name: rewrite for rewrite in self.rewrites}
        for key, choice in candidate.settings.items():
            kernel, _, name = key.partition(": ")
            yield Step(known[name], kernel, choice)


def _view(situation: Situation, source: str) -> View | None:
    if situation.inspection is None:
        return None
    file = KernelFile.parse(source)
    return View(file, situation.inspection.recording, situation.gpu, situation.precision)


def _steps(rewrite: Rewrite, view: View, kernel: Kernel) -> Iterator[tuple[Step, str]]:
    for choice in rewrite.choices(view, kernel):
        yield Step(rewrite, kernel.name, choice), rewrite.apply(view, kernel, choice)


def _candidate(situation: Situation, parent: Candidate, text: str, steps: Sequence[Step]) -> Candidate:
    why = "; ".join(f"{step.key}, {step.choice}" for step in steps)
    settings = {step.key: step.choice for step in steps}
    return Candidate(text, situation.stage.name, SourceRewrites.name, why, parent.id, settings)
