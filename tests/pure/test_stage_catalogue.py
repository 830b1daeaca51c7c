"""The stage catalogue, and the stage that a focus means."""

from __future__ import annotations

import pytest

from tilewright.errors import InputError
from tilewright.stages.catalogue import KINDS, match_focus, stages
from tilewright.stages.model import Stage

ORDER = ["algorithm", "grid_and_parallel", "block_tiling", "memory_access", "advanced_memory"]
EVERY = [stage for kind in KINDS for stage in stages(kind)]

every_stage = pytest.mark.parametrize("stage", EVERY, ids=lambda stage: f"{stage.name}-{stage.kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_five_stages_in_order(kind: str) -> None:
    assert [stage.name for stage in stages(kind)] == ORDER
    assert {stage.kind for stage in stages(kind)} == {kind}


@every_stage
def test_a_stage_says_what_it_does_and_what_to_read(stage: Stage) -> None:
    assert stage.focus
    assert stage.principle
    assert stage.rules
    assert stage.tunes
    assert all("__" in metric for metric in stage.metrics)
    assert 2 <= stage.max_configs <= 3


@every_stage
def test_ranges_belong_to_what_the_stage_tunes(stage: Stage) -> None:
    assert bool(stage.tile_sizes) == bool(stage.element_sizes) == ("tile" in stage.tunes)
    assert bool(stage.num_warps) == ("num_warps" in stage.tunes)
    assert bool(stage.num_stages) == ("num_stages" in stage.tunes)
    for powers in (stage.tile_sizes, stage.element_sizes, stage.num_warps):
        assert all(size & (size - 1) == 0 for size in powers)
        assert list(powers) == sorted(set(powers))


@every_stage
def test_a_focus_of_ours_means_its_own_stage(stage: Stage) -> None:
    match = match_focus(stage.focus, "\n".join([stage.principle, *stage.rules]))
    assert match is not None
    assert (match.stage, match.kind) == (stage.name, stage.kind)


@pytest.mark.parametrize(
    ("focus", "stage", "kind"),
    [
        ("Pick BLOCK_M and BLOCK_N under register limits", "block_tiling", "single"),
        ("tiling of the fused epilogue", "block_tiling", "fusion"),
        ("Coalesced memory access", "memory_access", "single"),
        ("Shared memory, double-buffering and prefetch", "advanced_memory", "single"),
        ("num_warps / num_stages", "advanced_memory", "single"),
        ("GRID LAYOUT of the whole network", "grid_and_parallel", "network"),
        ("Algorithmic rewrite to remove kernel launches", "algorithm", "single"),
    ],
)
def test_other_wordings_are_matched_by_keyword(focus: str, stage: str, kind: str) -> None:
    match = match_focus(focus)
    assert match is not None
    assert (match.stage, match.kind) == (stage, kind)
    assert match.score >= len(match.keywords) > 0


def test_between_equals_the_one_mentioned_first_wins() -> None:
    first, second = match_focus("grid, then cache"), match_focus("cache, then grid")
    assert first and second
    assert (first.stage, second.stage) == ("grid_and_parallel", "memory_access")


def test_a_focus_without_a_keyword_means_nothing() -> None:
    assert match_focus("make it nice") is None


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose among single, fusion, network"):
        stages("tiny")
