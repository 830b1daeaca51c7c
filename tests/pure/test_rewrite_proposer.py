"""Source rewrites as a proposer: which candidates come of them, what is said, and how winners are stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.candidate import Candidate
from tilewright.gpu.catalogue import find
from tilewright.inspect.model import Inspection
from tilewright.kernelfile import Kernel
from tilewright.launches.model import Argument, Launch, Recording
from tilewright.problem import Problem
from tilewright.proposers.base import Situation
from tilewright.proposers.rewrite import REWRITES, Declined, SourceRewrites, View
from tilewright.proposers.rewrite.base import Inapplicable
from tilewright.stages.catalogue import stages

H100 = find("h100")
STAGES = {stage.name: stage for stage in stages("single")}
SOURCE = """import triton
import triton.language as tl


@triton.jit
def helper(x):
    return x


@triton.jit
def first_kernel(x, out, n, BLOCK: tl.constexpr):
    tl.store(out, helper(tl.load(x)) + n)


@triton.jit
def second_kernel(x, out, BLOCK: tl.constexpr):
    tl.store(out, tl.load(x))


def run(x, out):
    first_kernel[(1,)](x, out, 5, BLOCK=16)
    second_kernel[(1,)](x, out, BLOCK=16)
"""


class Comment:
    """A stand-in: marks a kernel's `def` line, in two ways; not those whose name is in `refuses`."""

    stages = frozenset({"memory_access"})

    def __init__(self, name: str, refuses: type[Declined] | None = None) -> None:
        self.name = name
        self.refuses = refuses

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        if self.refuses and kernel.name == "second_kernel":
            raise self.refuses("line 15: not this one")
        return ("a", "b")

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        lines = view.file.source.split("\n")
        if f"# {self.name}" in lines[kernel.line - 1]:
            raise Declined("it is marked already")
        lines[kernel.line - 1] += f"  # {self.name} {choice}"
        return "\n".join(lines)


def situation(source: str = SOURCE, stage: str = "memory_access") -> Situation:
    launch = Launch("first_kernel", (1, 1, 1), (Argument("n", "scalar", "i32", "5"),), 4, 3, 1)
    inspection = Inspection(H100.name, Recording((launch,), (0,)), (), None, None)
    return Situation(Problem("", Path("p.py")), Candidate(source), inspection, H100, STAGES[stage], {})


def test_each_way_of_each_rewrite_of_each_kernel_is_a_candidate_of_its_own() -> None:
    proposals = SourceRewrites([Comment("one")]).propose(situation())
    assert [dict(c.settings) for c in proposals.candidates] == [
        {f"{kernel}: one": choice} for kernel in ("first_kernel", "second_kernel") for choice in "ab"
    ]
    assert proposals.notes == ()
    assert {c.parent for c in proposals.candidates} == {Candidate(SOURCE).id}


def test_what_is_declined_is_said_and_what_does_not_apply_is_not() -> None:
    proposals = SourceRewrites([Comment("one", Declined), Comment("two", Inapplicable)]).propose(situation())
    assert len(proposals.candidates) == 4
    assert proposals.notes == ("second_kernel: one: declined: line 15: not this one",)


def test_only_the_stages_own_rewrites_are_tried() -> None:
    assert SourceRewrites([Comment("one")]).propose(situation(stage="block_tiling")).candidates == ()


def test_winners_are_stacked_one_more_each_time() -> None:
    rewrites = SourceRewrites([Comment("one"), Comment("two")])
    here = situation()
    winners = [c for c in rewrites.propose(here).candidates if "a" in c.settings.values()]
    stacked = rewrites.finish(here, winners).candidates
    assert [len(c.settings) for c in stacked] == [2, 3, 4]
    assert stacked[-1].source.count("# one a") == stacked[-1].source.count("# two a") == 2
    assert rewrites.finish(here, winners[:1]).candidates == ()


def test_of_two_ways_of_one_rewrite_the_better_is_kept() -> None:
    rewrites = SourceRewrites([Comment("one")])
    here = situation()
    both = [c for c in rewrites.propose(here).candidates if "first_kernel: one" in c.settings]
    assert rewrites.finish(here, both).candidates == ()


def test_without_recorded_launches_nothing_is_rewritten() -> None:
    blind = replace(situation(), inspection=None)
    proposals = SourceRewrites().propose(blind)
    assert proposals.candidates == () and "not known" in proposals.notes[0]


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
def test_every_rewrite_belongs_to_a_stage_of_the_catalogue_and_says_when_it_is_safe(rewrite: object) -> None:
    assert getattr(rewrite, "stages", None) and rewrite.stages <= set(STAGES)  # type: ignore[attr-defined]
    assert "Safe" in str(type(rewrite).__doc__)


def test_no_two_rewrites_share_a_name() -> None:
    assert len({rewrite.name for rewrite in REWRITES}) == len(REWRITES)
