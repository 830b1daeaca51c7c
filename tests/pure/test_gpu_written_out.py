"""A GPU that is written out as labelled figures, or read off a device."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tilewright.errors import InputError
from tilewright.gpu.catalogue import GIB, KIB, MIB, catalogue, find
from tilewright.gpu.device import DeviceProperties
from tilewright.gpu.fields import gpu_from_fields, read_field
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import gpu_of
from tilewright.request.render import fields_of


@pytest.mark.parametrize(
    ("label", "text", "field", "value"),
    [
        ("GPU Name", "4090", "name", "4090"),
        ("GPU", "L4", "name", "L4"),
        ("Architecture", "Hopper", "architecture", "Hopper"),
        ("Compute Capability", "8.9", "compute_capability", 89),
        ("Compute capability", "sm_120", "compute_capability", 120),
        ("CUDA capability", "10.0", "compute_capability", 100),
        ("Number of SMs", "128", "sms", 128),
        ("Streaming Multiprocessors", "1,024", "sms", 1024),
        ("Memory Bandwidth", "1008 GB/s", "memory_bandwidth_gbs", 1008.0),
        ("HBM bandwidth", "3.35 TB/s", "memory_bandwidth_gbs", 3350.0),
        ("TF32 Tensor Core TFLOPS", "82.6 with dense", "tflops.tf32", 82.6),
        ("BFLOAT16 Tensor Core TFLOPS", "165.2", "tflops.bf16", 165.2),
        ("Half precision tensor throughput", "330 TFLOPS with sparsity", "tflops.fp16", 165.0),
        ("FP8 Tensor TFLOPS", "1321 sparse, 660 dense", "tflops.fp8", 660.0),
        ("FP16 tensor", "2.25 PFLOPS dense", "tflops.fp16", 2250.0),
        ("INT8 TOPS", "660.6", "tflops.int8", 660.6),
        ("Maximum number of registers per thread", "255", "max_registers_per_thread", 255),
        ("Register file per SM", "256 KB", "registers_per_sm", 65536),
        ("Registers per SM", "64K", "registers_per_sm", 65536),
        ("Maximum threads per block", "1024", "max_threads_per_block", 1024),
        ("Maximum threads per SM", "1536", "max_warps_per_sm", 48),
        ("Maximum concurrent warps per SM", "64", "max_warps_per_sm", 64),
        ("Maximum blocks per SM", "24", "max_blocks_per_sm", 24),
        ("Warp size", "32", "warp_size", 32),
        ("Shared memory capacity per SM", "100 KB", "shared_memory_per_sm_bytes", 100 * KIB),
        ("Maximum shared memory per thread block", "99 KiB", "shared_memory_per_block_bytes", 99 * KIB),
        ("L2 cache (global, all SM shared)", "72 MB", "l2_bytes", 72 * MIB),
        ("VRAM", "24 GB", "memory_bytes", 24 * GIB),
        ("Boost clock", "2.52 GHz", "clock_mhz", 2520.0),
    ],
)
def test_labels_are_read_by_their_words(label: str, text: str, field: str, value: Any) -> None:
    assert read_field(label, text) == {field: pytest.approx(value) if isinstance(value, float) else value}


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("Colour", "green"),
        ("Number of SMs", "many"),
        ("L2 bandwidth", "5 TB/s"),
        ("NVLink bandwidth", "900 GB/s"),
        ("SMs", "0"),
    ],
)
def test_a_line_that_says_nothing_usable_is_empty(label: str, text: str) -> None:
    assert read_field(label, text) == {}


def test_what_is_given_wins_and_the_rest_comes_from_the_entry_of_the_name() -> None:
    gpu = gpu_from_fields([("GPU Name", "4090"), ("Number of SMs", "100"), ("FP16 tensor", "99 TFLOPS")])
    entry = find("RTX 4090")
    assert (gpu.name, gpu.sms, gpu.tflops["fp16"]) == ("RTX 4090", 100, 99.0)
    assert (gpu.l2_bytes, gpu.tflops["tf32"]) == (entry.l2_bytes, entry.tflops["tf32"])
    filled = gpu.source.split(" from the catalogue's RTX 4090")[0]
    assert "l2_bytes" in filled
    assert "tflops.tf32" in filled
    assert "sms" not in filled
    assert "tflops.fp16" not in filled


def test_an_unknown_chip_takes_its_limits_from_its_compute_capability() -> None:
    gpu = gpu_from_fields(
        [
            ("GPU", "Prototype X"),
            ("Compute Capability", "8.6"),
            ("SMs", "10"),
            ("Memory Bandwidth", "500 GB/s"),
        ]
    )
    assert (gpu.name, gpu.max_blocks_per_sm, gpu.shared_memory_per_block_bytes) == (
        "Prototype X",
        16,
        99 * KIB,
    )
    assert gpu.tflops == {}
    assert "max_blocks_per_sm" in gpu.source
    assert "from compute capability 8.6" in gpu.source
    assert "clock_mhz, memory_bytes, l2_bytes from RTX 3090" in gpu.source


def test_a_name_that_contradicts_its_compute_capability_lends_nothing() -> None:
    fields = [("GPU", "4090"), ("Compute Capability", "9.0"), ("SMs", "10"), ("Memory Bandwidth", "500 GB/s")]
    gpu = gpu_from_fields(fields)
    assert gpu.name == "4090"
    assert gpu.tflops == {}
    assert gpu.max_warps_per_sm == 64


def test_what_nothing_can_supply_is_asked_for() -> None:
    with pytest.raises(
        InputError, match=r"leaves out compute_capability, memory_bandwidth_gbs; add lines such as .*8\.9"
    ):
        gpu_from_fields([("GPU", "Prototype X"), ("SMs", "10")])


@pytest.mark.parametrize("gpu", catalogue(), ids=lambda gpu: gpu.name)
def test_a_gpu_written_out_reads_back_the_same(gpu: Gpu) -> None:
    again = gpu_from_fields(fields_of(gpu))
    assert dataclasses.replace(again, source=gpu.source, aliases=gpu.aliases) == gpu
    assert again.source == "the request"


H100 = DeviceProperties(
    name="NVIDIA H100 80GB HBM3",
    compute_capability=90,
    sms=132,
    memory_bytes=85_000_000_000,
    l2_bytes=52_428_800,
    clock_rate_khz=1_980_000,
    memory_clock_rate_khz=2_619_000,
    memory_bus_bits=5120,
    registers_per_sm=65536,
    threads_per_sm=2048,
    shared_memory_per_sm_bytes=233_472,
    shared_memory_per_block_bytes=232_448,
)


def test_a_device_of_the_catalogue_keeps_its_sizes_and_takes_the_rates() -> None:
    gpu = gpu_of(H100)
    assert (gpu.name, gpu.memory_bytes) == ("H100 SXM", 85_000_000_000)
    assert gpu.tflops == find("h100").tflops
    assert gpu.source.startswith("read off the device; rates and bandwidth: NVIDIA H100")


@pytest.mark.parametrize("change", [{"name": "NVIDIA H100 Odd"}, {"sms": 16}])
def test_another_device_is_built_from_what_was_read(change: dict[str, Any]) -> None:
    gpu = gpu_of(dataclasses.replace(H100, **change))
    assert gpu.source == "read off the device"
    assert gpu.tflops == {}
    assert gpu.memory_bandwidth_gbs == pytest.approx(3352, abs=1)
    assert (gpu.max_warps_per_sm, gpu.max_blocks_per_sm) == (64, 32)
