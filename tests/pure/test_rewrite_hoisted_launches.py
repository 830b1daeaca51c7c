"""Launches moved out of Python loops: the text, and what is left alone."""

from __future__ import annotations

import pytest
from rewriting import HEAD, rewritten, view

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.hoisted_launches import HoistedLaunches

KERNELS = (
    HEAD
    + """\
def pack(w_ptr, packed_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(packed_ptr + at, tl.load(w_ptr + at, mask=at < n) * 2.0, mask=at < n)


@triton.jit
def add(x_ptr, packed_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(x_ptr + at, mask=at < n) + tl.load(packed_ptr + at, mask=at < n)
    tl.store(out_ptr + at, total, mask=at < n)


def scaled(x):
    return x * 2


def touched(x):
    x.mul_(2)
    return x


"""
)
OUTSIDE = """\
def run(x, w):
    n = w.numel()
    packed = torch.empty_like(w)
    results = []
    for step in x:
        # the same every time
        pack[(triton.cdiv(n, 64),)](
            w, packed, n,
            BLOCK=64,
        )
        out = torch.empty_like(step)
        add[(triton.cdiv(n, 64),)](step, packed, out, n, BLOCK=64)
        results.append(scaled(out))
    return torch.stack(results)
"""
HOISTED = """\
    results = []
    # the same every time
    pack[(triton.cdiv(n, 64),)](
        w, packed, n,
        BLOCK=64,
    )
    for step in x:
        out = torch.empty_like(step)
"""
INSIDE = OUTSIDE.replace("    packed = torch.empty_like(w)\n", "").replace(
    "        # the same every time\n", "        packed = torch.empty_like(w)\n"
)


def test_a_launch_moves_before_the_loop() -> None:
    text = rewritten(HoistedLaunches(), KERNELS + OUTSIDE, n=1000)
    assert text.replace(HOISTED, "") == (KERNELS + OUTSIDE).replace(
        OUTSIDE[OUTSIDE.index("    results") : OUTSIDE.index("        add[")], ""
    )
    with pytest.raises(Declined, match="does not stand in a Python loop"):
        rewritten(HoistedLaunches(), text, n=1000)


def test_a_buffer_for_it_alone_moves_along() -> None:
    text = rewritten(HoistedLaunches(), KERNELS + INSIDE, n=1000)
    lines = [line.strip() for line in text.splitlines()]
    at = lines.index("for step in x:")
    assert lines[at - 5 : at] == [
        "packed = torch.empty_like(w)", "pack[(triton.cdiv(n, 64),)](", "w, packed, n,", "BLOCK=64,", ")",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("w, packed, n,", "step, packed, n,", "step changes from turn to turn"),
        ("w, packed, n,", "w.contiguous(), packed, n,", "w.contiguous is called"),
        ("w, packed, n,", "packed, packed, n,", "reads what it writes"),
        ("w, packed, n,", "w[0], packed, n,", "is taken in every turn"),
        ("add[", "w.add_(step)\n        add[", "w, which is written there, may be part"),
        ("add[", "packed.zero_()\n        add[", "also writes packed"),
        ("add[", "packed[0] = 1\n        add[", "also writes packed"),
        ("add[(triton.cdiv(n, 64),)](step, packed, out", "add[(1,)](step, out, packed", "also writes packed"),
        ("results.append(scaled(out))", "results.append(touched(packed))", "touched writes in line 25"),
        ("results.append(scaled(out))", "results.append(self.act(packed))", "may change what the launch"),
        ("        # the same", "        scaled(packed)\n        # the same", "before it is written"),
        ("packed = torch.empty_like(w)", "packed = torch.zeros_like(w)", "holds something"),
        ("packed = torch.empty_like(w)", "packed = w[0]", "reads what it writes"),
        ("results.append(scaled(out))", "if out.sum() > 0:\n            break", "always run to its end"),
        ("    for step in x:", "    size = lambda: step\n    for step in x:", None),
        ("pack[(triton.cdiv(n, 64),)]", "pack[lambda meta: (len(step),)]", "step changes"),
        ("add[", "n = n - 1\n        add[", "n changes from turn to turn"),
    ],
)  # fmt: skip
def test_left_alone(old: str, new: str, why: str | None) -> None:
    assert old in OUTSIDE
    seen = view(KERNELS + OUTSIDE.replace(old, new), n=1000)
    if why is None:
        assert HoistedLaunches().choices(seen, seen.file.kernels[0])
        return
    with pytest.raises(Declined, match=why):
        HoistedLaunches().choices(seen, seen.file.kernels[0])


def test_a_buffer_of_every_turn_that_is_kept_is_left_alone() -> None:
    source = KERNELS + INSIDE.replace("scaled(out)", "packed")
    seen = view(source, n=1000)
    with pytest.raises(Declined, match="may outlive it"):
        HoistedLaunches().choices(seen, seen.file.kernels[0])
