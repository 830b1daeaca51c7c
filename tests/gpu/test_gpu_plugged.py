"""The GPU in this machine."""

from __future__ import annotations

import pytest

from tilewright.gpu.plugged import plugged_in

pytestmark = pytest.mark.gpu


def test_the_device_agrees_with_its_catalogue_entry_and_torch() -> None:
    import torch

    from tilewright.gpu.catalogue import catalogue

    gpu = plugged_in()
    assert gpu is not None
    assert gpu.compute_capability == int("".join(map(str, torch.cuda.get_device_capability(0))))
    entry = next((known for known in catalogue() if known.name == gpu.name), None)
    if entry is not None:
        assert (gpu.sms, gpu.max_warps_per_sm) == (entry.sms, entry.max_warps_per_sm)
        assert gpu.l2_bytes == entry.l2_bytes
        assert gpu.shared_memory_per_sm_bytes == entry.shared_memory_per_sm_bytes
        assert gpu.shared_memory_per_block_bytes == entry.shared_memory_per_block_bytes
        assert gpu.registers_per_sm == entry.registers_per_sm
        assert gpu.clock_mhz == pytest.approx(entry.clock_mhz, rel=0.1)
        assert gpu.memory_bytes == pytest.approx(entry.memory_bytes, rel=0.1)
