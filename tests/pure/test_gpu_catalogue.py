"""The GPU catalogue: its figures hold together, and names are found as people type them."""

from __future__ import annotations

import pytest

from tilewright.errors import InputError, UnknownGpu
from tilewright.gpu.catalogue import KIB, architecture, architectures, catalogue, find
from tilewright.gpu.model import Gpu

# CUDA C++ Programming Guide, technical specifications: warps, blocks, shared KB per SM and per block.
LIMITS = {
    80: (64, 32, 164, 163),
    86: (48, 16, 100, 99),
    89: (48, 24, 100, 99),
    90: (64, 32, 228, 227),
    100: (64, 32, 228, 227),
    120: (48, 24, 100, 99),
}
FP32_LANES_PER_SM = {80: 64, 86: 128, 89: 128, 90: 128, 100: 128, 120: 128}

every_gpu = pytest.mark.parametrize("gpu", catalogue(), ids=lambda gpu: gpu.name)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("rtx4090", "RTX 4090"),
        ("RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("geforce-rtx-3090", "RTX 3090"),
        ("rtx_5090", "RTX 5090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("rtx6000ada", "RTX 6000 Ada"),
        ("nvidia a10", "A10"),
        ("L4", "L4"),
        ("l40s", "L40S"),
        ("a100", "A100 80GB"),
        ("a100-80gb", "A100 80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("h100", "H100 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("H100 SXM5", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("b200", "B200"),
    ],
)
def test_names_are_found_as_people_and_drivers_write_them(typed: str, name: str) -> None:
    assert find(typed).name == name


def test_every_name_and_alias_finds_its_own_entry() -> None:
    for gpu in catalogue():
        for name in (gpu.name, *gpu.aliases):
            assert find(name) is gpu


@pytest.mark.parametrize(
    ("typed", "nearest"), [("rtx4080", "RTX 4090"), ("h1000", "H100 SXM"), ("l40", "L40S")]
)
def test_an_unknown_name_offers_the_nearest(typed: str, nearest: str) -> None:
    with pytest.raises(UnknownGpu, match=f"no GPU named '{typed}'.*did you mean .*{nearest}"):
        find(typed)


@pytest.mark.parametrize(
    "typed", ["RTX 4090 Laptop GPU", "RTX 4090 D", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""]
)
def test_a_variant_is_not_taken_for_the_chip_it_is_named_after(typed: str) -> None:
    with pytest.raises(UnknownGpu):
        find(typed)


@every_gpu
def test_limits_are_those_of_the_compute_capability(gpu: Gpu) -> None:
    warps, blocks, per_sm, per_block = LIMITS[gpu.compute_capability]
    assert (gpu.max_warps_per_sm, gpu.max_blocks_per_sm) == (warps, blocks)
    assert (gpu.shared_memory_per_sm_bytes, gpu.shared_memory_per_block_bytes) == (
        per_sm * KIB,
        per_block * KIB,
    )
    assert (
        gpu.shared_memory_per_block_bytes + gpu.shared_memory_reserved_bytes <= gpu.shared_memory_per_sm_bytes
    )
    assert gpu.registers_per_sm == 65536
    assert gpu.max_threads_per_sm >= gpu.max_threads_per_block


@every_gpu
def test_the_float32_rate_follows_from_lanes_and_clock(gpu: Gpu) -> None:
    lanes = gpu.sms * FP32_LANES_PER_SM[gpu.compute_capability]
    assert gpu.tflops["fp32"] == pytest.approx(2 * lanes * gpu.clock_mhz * 1e6 / 1e12, rel=0.01)


@every_gpu
def test_tensor_rates_double_as_the_operand_halves(gpu: Gpu) -> None:
    rates = gpu.tflops
    assert rates["bf16"] == rates["fp16"] == pytest.approx(2 * rates["tf32"], rel=0.02)
    assert ("fp8" in rates) == (gpu.compute_capability >= 89)
    if "fp8" in rates:
        assert rates["fp8"] == pytest.approx(2 * rates["fp16"], rel=0.02)


def test_geforce_accumulates_in_float32_at_half_the_rate_of_its_professional_sibling() -> None:
    per_sm_and_mhz = {
        name: find(name).tflops["fp16"] / find(name).sms / find(name).clock_mhz
        for name in ("RTX 4090", "RTX 6000 Ada")
    }
    assert per_sm_and_mhz["RTX 6000 Ada"] == pytest.approx(2 * per_sm_and_mhz["RTX 4090"], rel=0.01)


@every_gpu
def test_every_entry_names_its_source(gpu: Gpu) -> None:
    assert "NVIDIA" in gpu.source


def test_every_architecture_has_a_representative_in_the_catalogue() -> None:
    for limits in architectures().values():
        assert find(limits.representative).compute_capability // 10 == limits.compute_capability // 10


def test_an_unknown_compute_capability_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"compute capability 7\.5; use one of 8, 8\.6"):
        architecture(75)
