"""Screening on a GPU: real kernels, one that faults and one that never ends among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.candidate import Apart
from tilewright.problem import Problem
from tilewright.screening.api import screen

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

DATA = Path(__file__).parents[1] / "data" / "judge"
PROBLEM = Problem.from_file(DATA / "scale_problem.py")
SCALE = (DATA / "scale.py").read_text()
STORE = "    tl.store(out_ptr + at, x * weight + bias, mask=ok)\n"


def variant(store: str) -> str:
    assert STORE in SCALE
    return SCALE.replace(STORE, store)


FAULTS = variant("    tl.store(out_ptr + at.to(tl.int64) * 1000000007, x * weight + bias, mask=ok)\n")
NEVER_ENDS = variant(
    "    seen = tl.load(weight_ptr, volatile=True)\n"
    "    while seen == tl.load(weight_ptr, volatile=True):\n"
    "        seen = tl.load(weight_ptr, volatile=True)\n" + STORE
)
SKIPS_WORK = variant("    tl.store(out_ptr + at, x * weight + bias, mask=ok & (at < total // 2))\n")


def test_a_fault_and_a_kernel_that_never_ends_cost_themselves_and_nobody_else() -> None:
    blocks = [
        (
            f"block {size}",
            SCALE.replace("BLOCK=64", f"BLOCK={size}").replace("numel(), 64)", f"numel(), {size})"),
        )
        for size in (32, 128)
    ]
    others = [("faults", FAULTS), ("never ends", NEVER_ENDS), ("skips work", SKIPS_WORK)]
    result = screen(PROBLEM, [("given", SCALE), *blocks, *others], keep=2, seconds=20.0, visit_seconds=20.0)
    problems = {one.label: one.problem for one in result.candidates if one.problem}
    assert set(problems) == {"faults", "never ends", "skips work"}, problems
    # Which error it is depends on where the address leads.
    assert problems["faults"].startswith("crash") and "CUDA error" in problems["faults"]
    assert "did not finish its turn" in problems["never ends"]
    assert problems["skips work"].startswith(("wrong", "mismatch"))
    assert {one.label for one in result.candidates[:3]} == {"given", "block 32", "block 128"}
    assert 1 <= result.restarts <= 3
    assert all(0.0 < us < 1e5 for one in result.candidates[:3] for us in one.device_us)


MANY = SCALE.replace(
    "        return scale(x, self.weight, self.bias)",
    "        for _ in range(4):\n"
    "            x = scale(x, torch.ones_like(self.weight), torch.zeros_like(self.bias))\n"
    "        return scale(x, self.weight, self.bias)",
)


def test_a_kernel_is_timed_alone_with_the_arguments_of_its_forward() -> None:
    """The forward launches it 5 times and does much beside, which is added to both alike.

    No more, so that a busy host too has launched all of them while the stream is held up.
    """
    assert MANY != SCALE
    result = screen(
        PROBLEM,
        [("given", MANY), ("alike", MANY + "\n"), ("beside", MANY.replace("range(4)", "range(40)"))],
        keep=3,
        seconds=20.0,
        apart=dict.fromkeys(("alike", "beside"), Apart("given", ("scale_kernel",))),
    )
    assert not any(one.problem for one in result.candidates), result
    times = {one.label: one.time_us for one in result.candidates}
    assert times["alike"] == pytest.approx(times["given"], rel=0.2)
    assert times["beside"] > times["given"]
