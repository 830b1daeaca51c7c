"""Which candidates launch tuning proposes, and what it leaves alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.candidate import Apart, Candidate
from tilewright.contract import breaches
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Estimate, Inspection, Resources, Spills
from tilewright.kernelfile import KernelFile
from tilewright.launches.model import Argument, Launch, Recording
from tilewright.problem import Problem
from tilewright.proposers.base import Proposals, Situation
from tilewright.proposers.tune import LaunchTuning, Setting
from tilewright.proposers.tune.setting import read
from tilewright.proposers.tune.space import Pressure, neighbours
from tilewright.proposers.tune.tunables import find_tunables
from tilewright.stages.model import Stage

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "data" / "kernels"
EXAMPLE = (ROOT / "examples" / "vanilla_rnn" / "current.py").read_text()
REQUESTS = ROOT.parent / "shared" / "requests"
GPU = Gpu(
    name="Test GPU", architecture="Hopper", compute_capability=90, sms=132, memory_bandwidth_gbs=3350.0,
    tflops={}, clock_mhz=1980.0, memory_bytes=80 * 10**9, l2_bytes=50 * 2**20,
    shared_memory_per_sm_bytes=233472, shared_memory_per_block_bytes=232448,
    max_warps_per_sm=64, max_blocks_per_sm=32, source="made up",
)  # fmt: skip
STAGE = Stage(
    name="block_tiling", kind="single", focus="", principle="", metrics=(), rules=(),
    tunes=("tile", "num_warps", "num_stages"), keywords=(), tile_sizes=(16, 32, 64, 128, 256),
    element_sizes=(256, 512, 1024, 2048), num_warps=(2, 4, 8), num_stages=(2, 3, 4),
)  # fmt: skip
PROBLEM = Problem("", Path("problem.py"))


def text(name: str) -> str:
    return (KERNELS / f"{name}.py").read_text()


def inspected(kernel: str, *, programs: int, registers: int = 80, in_loop: int = 0) -> Inspection:
    resources = Resources(0, kernel, 1, registers, Spills(in_loop, 0), 0, 0, 0, programs, 128, 1.0, None)
    return Inspection("Test GPU", Recording((), ()), (resources,), None, None)


def situation(source: str, inspection: Inspection | None = None, stage: Stage = STAGE) -> Situation:
    return Situation(PROBLEM, Candidate(source), inspection, GPU, stage, {})


def propose(source: str, inspection: Inspection | None = None, most: int = 24) -> Proposals:
    return LaunchTuning().propose(replace(situation(source, inspection), most=most))


def settings(proposals: Proposals, kernel: str) -> list[Setting]:
    return [read(c.settings)[kernel] for c in proposals.candidates if kernel in c.settings]


def test_the_example_is_varied_one_kernel_at_a_time_and_jointly() -> None:
    proposals = propose(EXAMPLE)
    assert len(proposals.candidates) == 24
    assert len({c.id for c in proposals.candidates}) == 24
    assert [set(c.settings) for c in proposals.candidates[:3]] == [
        {"step_kernel"},
        {"linear_kernel"},
        {"step_kernel", "linear_kernel"},
    ]
    for candidate in proposals.candidates:
        assert candidate.parent == Candidate(EXAMPLE).id
        assert (candidate.stage, candidate.proposer) == ("block_tiling", "launch tuning")
        assert breaches(KernelFile.parse(candidate.source)) == ()
        current = {t.name: t.current for t in find_tunables(KernelFile.parse(candidate.source), None)[0]}
        assert {name: current[name] for name in candidate.settings} == read(candidate.settings)


def test_proposals_stay_within_the_stage_and_the_smallest_dot() -> None:
    (tunable, _) = find_tunables(KernelFile.parse(EXAMPLE), None)[0]
    near = neighbours(tunable, STAGE, Pressure(), GPU)
    assert len(near) == 2 * 3 * 3 * 3 * 3 - 1
    for setting in near:
        assert setting["BLOCK_B"] in (16, 32)  # 8 would be below what a tensor core takes
        assert setting["BLOCK_H"] in (32, 64, 128)
        assert setting["BLOCK_K"] in (32, 64, 128)
        assert setting.num_warps in STAGE.num_warps and setting.num_stages in STAGE.num_stages


@pytest.mark.parametrize("most", [1, 2, 5, 24])
def test_a_smaller_fallback_is_always_among_them(most: int) -> None:
    proposals = propose(EXAMPLE, most=most)
    assert len(proposals.candidates) == most
    current = {t.name: t.current for t in find_tunables(KernelFile.parse(EXAMPLE), None)[0]}
    assert any(
        all(name in read(c.settings) and read(c.settings)[name].size < current[name].size for name in current)
        for c in proposals.candidates
    )


def test_an_idle_gpu_asks_for_smaller_tiles_first() -> None:
    proposals = propose(EXAMPLE, inspected("step_kernel", programs=4))
    first = settings(proposals, "step_kernel")[0]
    assert (first["BLOCK_B"], first["BLOCK_H"]) == (16, 32)
    assert "4 programs for 132 SMs" in proposals.candidates[0].why


def test_register_pressure_asks_for_less_per_thread_first() -> None:
    heavy = inspected("matmul_kernel", programs=4096, registers=255, in_loop=12)
    (first, *_) = settings(propose(text("matmul"), heavy), "matmul_kernel")
    assert first["BLOCK_M"] * first["BLOCK_N"] / first.num_warps < 64 * 64 / 4
    roomy = inspected("matmul_kernel", programs=4096)
    (first, *_) = settings(propose(text("matmul"), roomy), "matmul_kernel")
    assert first["BLOCK_M"] * first["BLOCK_N"] > 64 * 64


def test_a_kernel_without_a_loop_has_no_stages_to_tune() -> None:
    assert {s.num_stages for s in settings(propose(text("positional")), "scale_kernel")} == {3}


def test_an_option_that_a_parameter_shadows_is_not_tuned() -> None:
    chosen = settings(propose(text("shadowed_option")), "scale_kernel")
    assert {s.num_stages for s in chosen} == {3} and {s.num_warps for s in chosen} == {2, 4, 8}
    assert all(
        "num_stages=2)" in c.source or "num_stages=2," in c.source
        for c in propose(text("shadowed_option")).candidates
    )


def test_a_stage_that_tunes_no_tiles_leaves_them() -> None:
    stage = Stage("block_tiling", "single", "", "", (), (), ("num_warps",), (), num_warps=(2, 8))
    proposals = LaunchTuning().propose(situation(text("positional"), stage=stage))
    assert sorted(str(s) for s in settings(proposals, "scale_kernel")) == [
        "BLOCK=512 num_warps=2 num_stages=3",
        "BLOCK=512 num_warps=8 num_stages=3",
    ]


def test_kernels_fed_by_one_variable_move_together() -> None:
    for candidate in propose(text("shared_variable")).candidates:
        chosen = read(candidate.settings)
        if any(setting["BLOCK"] != 1024 for setting in chosen.values()):
            assert chosen["scale_kernel"]["BLOCK"] == chosen["shift_kernel"]["BLOCK"]
            assert f"BLOCK = {chosen['scale_kernel']['BLOCK']}\n" in candidate.source


def test_an_autotuned_file_is_tried_config_by_config() -> None:
    proposals = propose(text("autotuned"))
    first, second = proposals.candidates[:2]
    assert first.settings == {"scale_kernel": "BLOCK=256 num_warps=4 num_stages=2"}  # as Triton reads it
    assert second.settings == {"scale_kernel": "BLOCK=256 num_warps=2 num_stages=2"}  # as it was meant
    assert any("num_warps inside the dict" in note for note in proposals.notes)
    file = KernelFile.parse(first.source)
    autotune = file.kernel("scale_kernel").autotune
    assert autotune is not None and len(autotune.configs) == 1


@pytest.mark.parametrize(
    ("name", "kernel", "note"),
    [
        ("hard_coded_grid", "scale_kernel", "does not follow it"),
        ("repeated_literal", "scale_kernel", "1024 is also written out in the arithmetic of scale"),
        ("tuple_unpacked", "scale_kernel", "is unpacked from pick"),
        ("shrunk", "scale_kernel", "block is changed in line 18"),
        ("branches_read_elsewhere", "scale_kernel", "also read outside the launch"),
        ("whole_row", "row_kernel", "one tile spans the whole extent"),
    ],
)
def test_tiles_that_cannot_be_varied_safely_are_left_alone(name: str, kernel: str, note: str) -> None:
    source = text(name)
    tunables, notes = find_tunables(KernelFile.parse(source), None)
    assert any(note in one and one.startswith(kernel) for one in notes), notes
    assert all(not t.tiles for t in tunables)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("autotuned_by_function", "the configs come from calling get_configs"),
        ("autotuned_by_comprehension", "the configs come from a list comprehension"),
        ("aliases", "may also launch shift_kernel"),
    ],
)
def test_kernels_that_are_not_understood_are_left_alone(name: str, note: str) -> None:
    proposals = propose(text(name))
    assert any(note in one for one in proposals.notes)
    assert not any("scale_kernel" in c.settings for c in proposals.candidates)


@pytest.mark.parametrize(("given", "varied"), [("True", False), ("waiting", False), ("False", True)])
def test_programs_that_wait_for_one_another_are_left_alone(given: str, varied: bool) -> None:
    launched = text("matmul").replace("num_warps=4)", f"num_warps=4, launch_cooperative_grid={given})")
    assert launched != text("matmul")
    tunables, notes = find_tunables(KernelFile.parse(launched), None)
    assert bool(tunables) is varied
    assert varied or any("launches programs that wait for one another" in note for note in notes)


def test_flags_are_named_and_left_alone() -> None:
    _, notes = find_tunables(KernelFile.parse(text("matmul")), None)
    assert notes == ("matmul_kernel: PRECISION sets no tile, left alone",)


def test_finish_writes_a_few_configs_with_a_smaller_fallback() -> None:
    tuning, here = LaunchTuning(), situation(EXAMPLE)
    winners = [c for c in tuning.propose(here).candidates if len(c.settings) == 2][:3]
    (made,) = tuning.finish(here, winners).candidates
    file = KernelFile.parse(made.source)
    assert breaches(file) == ()
    best = read(winners[0].settings)
    for kernel in file.kernels:
        assert kernel.autotune is not None
        favourite = kernel.autotune.configs[0]
        assert dict(favourite.constants) == dict(best[kernel.name].tiles)
        assert 2 <= len(kernel.autotune.configs) <= 3
    assert all(not set(s.arguments) & {"BLOCK_K"} for s in file.launches)


def test_finish_keeps_the_best_setting_where_autotuning_is_not_safe() -> None:
    tuning, here = LaunchTuning(), situation(text("in_place"))
    finished = tuning.finish(here, tuning.propose(here).candidates[:2])
    assert finished.candidates == ()
    assert "scale_kernel is not autotuned" in finished.notes[0]
    assert "reads and writes x_ptr" in finished.notes[0]


def test_what_was_tuned_kernel_by_kernel_is_joined_in_one_file() -> None:
    tuning, here = LaunchTuning(), situation(EXAMPLE)
    alone = [c for c in tuning.propose(here).candidates if len(c.settings) == 1]
    step, *_ = [c for c in alone if "step_kernel" in c.settings]
    first, second, *_ = [c for c in alone if "linear_kernel" in c.settings]
    (made,) = tuning.finish(here, [first, step, second]).candidates
    favourites = {
        kernel.name: dict(kernel.autotune.configs[0].constants)
        for kernel in KernelFile.parse(made.source).kernels
        if kernel.autotune is not None
    }
    assert favourites == {
        "step_kernel": dict(read(step.settings)["step_kernel"].tiles),
        "linear_kernel": dict(read(first.settings)["linear_kernel"].tiles),
    }


def test_kernels_that_cannot_be_autotuned_are_joined_all_the_same() -> None:
    tuning, source = LaunchTuning(), text("in_place_twice")
    here = situation(source)
    alone = [c for c in tuning.propose(here).candidates if len(c.settings) == 1]
    one, *_ = [c for c in alone if "scale_kernel" in c.settings]
    other, *_ = [c for c in alone if "shift_kernel" in c.settings]
    finished = tuning.finish(here, [one, other])
    (made,) = finished.candidates
    now = {t.name: t.current for t in find_tunables(KernelFile.parse(made.source), None)[0]}
    assert now == {**read(one.settings), **read(other.settings)}
    assert len(finished.notes) == 2 and "@triton.autotune" not in made.source


def test_a_kernel_is_tried_as_often_as_its_share_of_the_time_says() -> None:
    launches = [("step_kernel", 512, 1.0), ("linear_kernel", 1, 128.0)]  # microseconds: 4 to 1
    resources = tuple(
        Resources(i, kernel, count, 80, Spills(0, 0), 0, 0, 0, 500, 128, 1.0, None)
        for i, (kernel, count, _) in enumerate(launches)
    )
    total = Figure(640.0, "us", Evidence.ESTIMATED)
    estimate = Estimate(total, tuple(us for *_, us in launches), "latency", {})
    proposals = propose(EXAMPLE, Inspection("Test GPU", Recording((), ()), resources, None, estimate))
    alone = [next(iter(c.settings)) for c in proposals.candidates if len(c.settings) == 1]
    assert 3 * alone.count("linear_kernel") <= alone.count("step_kernel") <= 5 * alone.count("linear_kernel")


def test_finish_of_nothing_is_nothing() -> None:
    assert LaunchTuning().finish(situation(EXAMPLE), []).candidates == ()


@pytest.mark.parametrize(
    "name",
    [
        "vanilla_rnn_block_tiling",
        "gemm_leakyrelu_memory_access",
        "matmul_chain_no_profile",
        "softplus_grid_and_parallel",
        "transition_layer_advanced_memory",
    ],
)
def test_code_of_real_requests_can_be_tuned(name: str) -> None:
    path = REQUESTS / f"{name}.txt"
    if not path.exists():
        pytest.skip("the shared requests are not beside this checkout")
    after = path.read_text().split("[CURRENT CODE]", 1)[1]
    source = after.split("```python\n", 1)[1].split("\n```", 1)[0]
    tuning, here = LaunchTuning(), replace(situation(source), most=6)
    proposals = tuning.propose(here)
    assert len(proposals.candidates) == 6
    (made,) = tuning.finish(here, proposals.candidates[:3]).candidates
    assert not [b for b in breaches(KernelFile.parse(made.source)) if b.rule == "configs"]


def recorded(source: str, scalars: dict[str, list[str]]) -> Inspection:
    """An inspection that knows the values of some kernels' integers; as many launches as values."""
    launches = tuple(
        Launch(name, (1, 1, 1), (Argument("n", "scalar", "i32", value),), 4, 3, 1)
        for name, values in scalars.items()
        for value in values
    )
    return Inspection(GPU.name, Recording(launches, tuple(range(len(launches)))), (), None, None)


SIZED = """
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 2.0, mask=at < n)


def scale(x):
    out = torch.empty_like(x)
    grid = lambda META: (triton.cdiv(x.numel(), META["BLOCK"]),)
    scale_kernel[grid](x, out, x.numel(), BLOCK=512)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
"""


def test_kernels_that_the_forward_does_not_launch_are_left_alone() -> None:
    backward = """
@triton.jit
def backward_kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 0.5, mask=at < n)


def backward(x, out):
    grid = lambda META: (triton.cdiv(x.numel(), META["BLOCK"]),)
    backward_kernel[grid](x, out, x.numel(), BLOCK=512)


class ModelNew"""
    source = SIZED.replace("class ModelNew", backward)
    here = replace(situation(source, recorded(source, {"scale_kernel": ["1000"]})), most=9)
    proposals = LaunchTuning().propose(here)
    assert {name for c in proposals.candidates for name in c.settings} == {"scale_kernel"}
    assert "backward_kernel is left alone: the forward does not launch it" in proposals.notes
    assert min(s.size for s in settings(proposals, "scale_kernel")) < Setting((("BLOCK", 512),), 4, 3).size


def test_sizes_as_constants_are_searched_together_with_the_tiles() -> None:
    here = replace(situation(SIZED, recorded(SIZED, {"scale_kernel": ["1000"]})), most=9)
    proposals = LaunchTuning().propose(here)
    constant = ["n: tl.constexpr" in c.source for c in proposals.candidates]
    assert constant == [True, True, False, True, False, True, False, True, False]
    assert proposals.candidates[0].why == "sizes as constants"
    tiles = [read(c.settings)["scale_kernel"] for c in proposals.candidates]
    assert tiles[0] == Setting((("BLOCK", 512),)) and tiles[1] == tiles[2] != tiles[0]
    # Beside its own form a candidate differs in the kernels that it varies, and in nothing else.
    given, constants = (
        Apart(one, ("scale_kernel",)) for one in (Candidate(SIZED).id, proposals.candidates[0].id)
    )
    assert [c.apart for c in proposals.candidates] == [None, *[constants, given] * 4]
    assert any("configurations around the present one were proposed" in note for note in proposals.notes)


def test_a_size_that_changes_with_every_launch_is_no_constant() -> None:
    counting = recorded(SIZED, {"scale_kernel": [str(n) for n in range(9)]})
    proposals = LaunchTuning().propose(situation(SIZED, counting))
    assert proposals.candidates and not any("n: tl.constexpr" in c.source for c in proposals.candidates)


def test_the_winners_autotune_keeps_the_sizes_in_its_key() -> None:
    """A file whose sizes are constants by now still tunes anew for another size."""
    here = situation(SIZED, recorded(SIZED, {"scale_kernel": ["1000"]}))
    winner = LaunchTuning().propose(here).candidates[1]
    (finished,) = LaunchTuning().finish(here, [winner]).candidates
    assert "n: tl.constexpr" in finished.source and 'key=["n"]' in finished.source


COUNTED = SIZED.replace(
    'grid = lambda META: (triton.cdiv(x.numel(), META["BLOCK"]),)', "n = x.numel()"
).replace(
    "scale_kernel[grid](x, out, x.numel(), BLOCK=512)",
    "scale_kernel[(triton.cdiv(n, 512),)](x, out, n, BLOCK=512)",
)


def test_a_literal_in_the_grid_moves_with_the_tile_that_it_counts() -> None:
    sources = [c.source for c in propose(COUNTED).candidates]
    assert "scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024)" in "".join(sources)
    for source in sources:
        assert re.findall(r"cdiv\(n, (\d+)\)", source) == re.findall(r"BLOCK=(\d+)", source)


@pytest.mark.parametrize(
    "other",
    [
        ("    n = x.numel()", "    n = triton.cdiv(x.numel(), 512) * 512"),
        ("cdiv(n, 512),)", "cdiv(n, 512), triton.cdiv(n, 512))"),
        ("cdiv(n, 512),)", "(n + 511) // 512,)"),
    ],
)
def test_a_literal_that_is_written_once_more_is_left_alone(other: tuple[str, str]) -> None:
    source = COUNTED.replace(*other).replace("triton.(n", "(n")
    assert source != COUNTED
    tunables, _ = find_tunables(KernelFile.parse(source), None)
    assert all(not t.tiles for t in tunables)


BOUNDED = SIZED.replace("BLOCK=512", "BLOCK=block").replace(
    "    grid =", "    block = min(512, triton.next_power_of_2(x.numel()))\n    grid ="
)


def test_the_bound_of_a_tile_is_varied_where_it_is_what_sets_it() -> None:
    seen = recorded(BOUNDED, {"scale_kernel": ["4000"]})
    launch = replace(
        seen.recording.launches[0],
        arguments=(*seen.recording.launches[0].arguments, Argument("BLOCK", "constexpr", "constexpr", "512")),
    )
    inspection = replace(seen, recording=Recording((launch,), (0,)))
    sources = "".join(c.source for c in propose(BOUNDED, inspection).candidates)
    assert "block = min(1024, triton.next_power_of_2(x.numel()))" in sources
    smaller = replace(launch, arguments=(Argument("BLOCK", "constexpr", "constexpr", "128"),))
    unset = replace(seen, recording=Recording((smaller,), (0,)))
    _, notes = find_tunables(KernelFile.parse(BOUNDED), unset)
    assert any("is 128, which its bound does not set" in note for note in notes)


STARRED = SIZED.replace("(x, out, n, BLOCK", "(x, out, n, sx, so, BLOCK").replace(
    "(x, out, x.numel(), BLOCK", "(x, out, x.numel(), *x.stride(), *out.stride(), BLOCK"
)


def test_strides_passed_by_a_star_hide_nothing_that_is_tuned() -> None:
    (site,) = KernelFile.parse(STARRED).launches
    assert site.reason == ""
    assert [(a.parameter, a.how) for a in site.arguments if a.how == "star"] == [
        ("sx", "star"),
        ("so", "star"),
    ]
    assert [a.parameter for a in site.arguments if a.how != "star"] == ["x", "out", "n", "BLOCK"]
    assert len(propose(STARRED).candidates) > 1


def test_a_star_of_something_else_hides_which_argument_is_which() -> None:
    for hidden in ("*arguments", "*x.split(2)"):
        (site,) = KernelFile.parse(STARRED.replace("*x.stride()", hidden)).launches
        assert f"{hidden} hides which argument is which" in site.reason
