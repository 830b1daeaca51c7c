"""Requests as they come in, read from beside the checkout where it has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.request import parse, read_request, render

SAMPLES = Path(__file__).parents[3] / "shared" / "requests"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample requests beside the checkout")

EXPECTED = {
    "gemm_leakyrelu_memory_access": ("memory_access", "fusion", 1),
    "matmul_chain_no_profile": ("grid_and_parallel", "fusion", 0),
    "softplus_grid_and_parallel": ("grid_and_parallel", "single", 1),
    "transition_layer_advanced_memory": ("advanced_memory", "fusion", 0),
    "vanilla_rnn_block_tiling": ("block_tiling", "fusion", 2),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_understood(name: str) -> None:
    path = SAMPLES / f"{name}.txt"
    request = read_request(path)
    stage, kind, kernels = EXPECTED[name]
    assert request.match is not None
    assert (request.match.stage, request.match.kind) == (stage, kind)
    assert request.gpu is not None
    assert (request.gpu.name, request.gpu.sms, request.gpu.shared_memory_per_block_bytes) == (
        "RTX 4090",
        128,
        99 * 1024,
    )
    assert len(request.profile) == kernels
    assert request.code is not None
    compile(request.code, name, "exec")
    assert "class ModelNew(nn.Module)" in request.code
    lines = path.read_text().split("\n")
    assert request.code_line is not None
    for offset, line in enumerate(request.code.splitlines()):
        assert lines[request.code_line - 1 + offset] == line
    assert len(request.output_rules) == 6
    assert parse(render(request)) == request


def test_the_reference_request_s_figures() -> None:
    request = read_request(SAMPLES / "vanilla_rnn_block_tiling.txt")
    assert request.profile["fused_i2h_tanh_kernel"]["launch__grid_size"] == 4.0
    assert request.profile["fused_h2o_kernel"]["lts__t_sector_hit_rate.pct"] == 47.48
    assert request.missing_functions == (
        "tl.tanh",
        "tl.sigmoid",
        "tl.gelu",
        "tl.silu",
        "tl.softmax",
        "tl.mish",
    )
    assert (request.ignored[0].line, request.ignored[0].text) == (21, "f")
    assert {item.why for item in request.ignored[1:]} == {"a placeholder for the answer"}


def test_a_sentence_in_place_of_the_profile_is_kept() -> None:
    request = read_request(SAMPLES / "transition_layer_advanced_memory.txt")
    assert request.profile == {}
    assert request.profile_note.startswith("No NCU metrics")
