"""Poisoned memory on a GPU: what the caching allocator hands out, and guard zones around kernels' outputs."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("shared")]


@pytest.mark.parametrize("finite", [False, True])
def test_free_memory_is_handed_out_poisoned_and_live_memory_is_kept(finite: bool) -> None:
    import torch

    from tilewright.judge.means.poison import FINITE, poison_free_memory

    kept = [torch.full((size,), 3.0, device="cuda") for size in (10, 1000, 10**6)]
    freed = [torch.zeros(size, device="cuda") for size in (10, 1000, 10**6, 10**7)]
    between = torch.full((100,), 3.0, device="cuda")
    total = sum(tensor.untyped_storage().nbytes() for tensor in freed)
    del freed
    assert poison_free_memory(finite=finite) >= total
    handed = [torch.empty(size, device="cuda") for size in (10, 1000, 10**6, 10**7)]
    others = [
        torch.empty(1000, dtype=dtype, device="cuda")
        for dtype in (torch.float16, torch.bfloat16, torch.float64)
    ]  # all of them before anything is compared: that takes memory too, and lets it go
    assert all(bool((one == FINITE).all() if finite else one.isnan().all()) for one in handed)
    assert finite or all(bool(one.isnan().all()) for one in others)
    assert all(bool((tensor == 3).all()) for tensor in [*kept, between])


def test_memory_that_a_running_kernel_still_uses_is_waited_for() -> None:
    import torch

    from tilewright.judge.means.poison import poison_free_memory

    a = torch.ones(2048, 2048, device="cuda")
    for _ in range(20):
        a = (a @ a).clamp(max=1.0)  # each product is freed for the host while the device is still at it
    poison_free_memory()
    assert (a == 1).all()


def test_free_memory_of_another_stream_is_filled_too() -> None:
    import torch

    from tilewright.judge.means.poison import poison_free_memory

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.zeros(5000, device="cuda").add_(1)
    poison_free_memory()
    with torch.cuda.stream(stream):
        assert torch.empty(5000, device="cuda").isnan().all()


def test_a_write_past_the_end_on_the_device_breaks_a_guard() -> None:
    import torch

    from tilewright.judge.means.poison import Poisoned

    mode = Poisoned(guard_bytes=4096)
    with mode:
        out = torch.empty(100, device="cuda")
    out.zero_()
    torch.cuda.synchronize()
    whole = torch.as_strided(out, (103,), (1,))
    whole[100:] = 1.0
    torch.cuda.synchronize()
    (line,) = mode.broken_guards()
    assert "12 bytes written after the end of a float32 [100]" in line
