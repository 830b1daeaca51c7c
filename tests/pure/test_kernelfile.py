"""Reading a ModelNew file from its text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import KernelFileError
from tilewright.kernelfile import KernelFile, Value

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "data" / "kernels"
REQUESTS = ROOT.parent / "shared" / "requests"


def load(name: str) -> KernelFile:
    return KernelFile.from_file(KERNELS / f"{name}.py")


def passed(file: KernelFile, parameter: str = "BLOCK", site: int = 0) -> Value:
    found = file.launches[site].passed(parameter)
    assert found is not None
    return found.value


def request_code(name: str) -> str:
    path = REQUESTS / f"{name}.txt"
    if not path.exists():
        pytest.skip("the shared requests are not beside this checkout")
    after = path.read_text().split("[CURRENT CODE]", 1)[1]
    return after.split("```python\n", 1)[1].split("\n```", 1)[0]


def test_the_example_is_understood() -> None:
    file = KernelFile.from_file(ROOT / "examples" / "vanilla_rnn" / "current.py")
    assert [k.name for k in file.kernels] == ["step_kernel", "linear_kernel"]
    assert [(s.kernel, s.function) for s in file.launches] == [
        ("step_kernel", "rnn_step"),
        ("linear_kernel", "linear"),
    ]
    step = file.kernel("step_kernel")
    assert step.reads == ("x_ptr", "h_ptr", "w_ptr", "bias_ptr")
    assert step.writes == ("out_ptr",)
    assert step.sizes == ("batch", "inputs", "hidden")
    assert [(t.name, t.by_program, t.by_loop) for t in step.tiles] == [
        ("BLOCK_B", True, False),
        ("BLOCK_H", True, False),
        ("BLOCK_K", False, True),
    ]
    assert {n: passed(file, n).literal for n in step.constexprs} == {
        "BLOCK_B": 16,
        "BLOCK_H": 64,
        "BLOCK_K": 64,
    }
    assert file.precision == "tf32"
    assert file.wrappers == ("rnn_step", "linear")


@pytest.mark.parametrize(
    ("request_name", "kernels", "precision", "tiles"),
    [
        ("vanilla_rnn_block_tiling", ["fused_i2h_tanh_kernel", "fused_h2o_kernel"], "tf32", 3),
        ("gemm_leakyrelu_memory_access", ["fused_gemm_mul_leaky_relu_kernel"], "tf32", 3),
        ("matmul_chain_no_profile", ["linear_kernel"], "tf32", 3),
        ("softplus_grid_and_parallel", ["softplus_kernel"], "float32", 1),
        ("transition_layer_advanced_memory", ["conv1x1_gemm_kernel"], "tf32", 3),
    ],
)
def test_code_of_real_requests(request_name: str, kernels: list[str], precision: str, tiles: int) -> None:
    file = KernelFile.parse(request_code(request_name))
    assert [k.name for k in file.kernels] == kernels
    assert sorted({s.kernel for s in file.launches}) == sorted(kernels)
    assert not any(s.reason for s in file.launches)
    assert file.precision == precision
    assert all(len(k.tiles) == tiles for k in file.kernels)
    assert file.model().methods[-1].name == "forward"


def test_every_way_to_launch_is_found() -> None:
    file = load("aliases")
    found = [
        (s.kernel, value.literal) for s in file.launches if (p := s.passed("BLOCK")) and (value := p.value)
    ]
    assert found == [
        ("scale_kernel", 256),  # functools.partial
        ("scale_kernel", 512),  # a module-level alias
        ("scale_kernel", 64),  # in a nested function, from its parameter
        ("scale_kernel", 128),  # through **options
        ("shift_kernel", 128),
        ("scale_kernel", 32),  # in a lambda
        ("scale_kernel", 16),  # wrap_triton
        ("scale_kernel", 1024),  # .run
    ]
    by_partial, alias, nested, chosen = (file.launches[i] for i in (0, 1, 2, 3))
    assert [a.how for a in by_partial.arguments] == ["position", "position", "position", "partial"]
    assert alias.num_warps is not None and alias.num_warps.literal == 2
    assert nested.function == "nested"
    assert passed(file, site=2).names == ("block",)
    assert chosen.rivals == ("shift_kernel",)
    assert chosen.num_stages is not None and chosen.num_stages.literal == 2


@pytest.mark.parametrize(
    ("name", "origin", "literal", "reason"),
    [
        ("hard_coded_grid", "here", 1024, ""),
        ("shared_variable", "variable", 1024, ""),
        ("tuple_literal", "variable", 512, ""),
        ("default_of_wrapper", "default", 512, ""),
        ("config_splat", "here", 256, ""),
        ("positional", "here", 512, ""),
        ("tuple_unpacked", "computed", None, "block is unpacked from pick(x.numel())"),
        ("shrunk", "computed", None, "block is changed in line 18"),
        ("branches", "choice", None, "block depends on a branch"),
        ("default_overridden", "computed", None, "block is a parameter that callers pass"),
    ],
)
def test_where_a_constant_comes_from(name: str, origin: str, literal: int | None, reason: str) -> None:
    value = passed(load(name))
    assert (value.origin, value.literal, value.reason) == (origin, literal, reason)
    assert value.known == (literal is not None)


def test_a_computed_constant_names_what_computes_it() -> None:
    assert passed(load("whole_row"), site=1).reason == "computed by triton.next_power_of_2"


def test_grids() -> None:
    assert load("hard_coded_grid").launches[0].grid.literals == (1023, 1024)
    assert load("repeated_literal").launches[0].grid.meta == ("BLOCK",)
    assert "BLOCK" in load("shared_variable").launches[0].grid.names


def test_configs() -> None:
    autotune = load("autotuned").kernel("scale_kernel").autotune
    assert autotune is not None
    assert autotune.key == ("n",)
    assert [(dict(c.constants), c.num_warps, c.num_stages, dict(c.ignored)) for c in autotune.configs] == [
        ({"BLOCK": 1024}, 8, 3, {}),
        ({"BLOCK": 256}, 4, 2, {"num_warps": 2}),  # written inside the dict, where it has no effect
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("autotuned_by_function", "the configs come from calling get_configs"),
        ("autotuned_by_comprehension", "the configs come from a list comprehension"),
    ],
)
def test_configs_that_cannot_be_read_say_why(name: str, reason: str) -> None:
    autotune = load(name).kernel("scale_kernel").autotune
    assert autotune is not None
    assert (autotune.configs, autotune.reason) == ((), reason)


def test_tiles_know_how_they_are_used() -> None:
    assert load("whole_row").kernel("row_kernel").tiles[0].covers
    assert load("persistent").kernel("scale_kernel").tiles[0].persistent
    helper = load("matmul").kernel("load_tile")
    assert helper.helper


def test_reads_and_writes_are_followed_through_helpers() -> None:
    kernel = load("matmul").kernel("matmul_kernel")
    assert (kernel.reads, kernel.writes) == (("a_ptr", "b_ptr"), ("c_ptr",))
    assert kernel.sizes == ("M", "N", "K")


def test_a_scalar_under_another_name_is_no_pointer() -> None:
    kernel = load("shadowed_option").kernel("scale_kernel")
    assert (kernel.reads, kernel.writes, kernel.sizes) == (("x_ptr",), ("out_ptr",), ("n",))


def test_a_wrapper_that_rebinds_its_tensor_often_is_read_quickly() -> None:
    steps = "".join(
        "    a = layer(a, a, b)\n    b = layer(b, a, a).float() if a.dtype == torch.float16 else b\n"
        for _ in range(40)
    )
    source = MATMUL.replace("    (m, k), n =", steps + "    (m, k), n =")
    assert KernelFile.parse(source).precision == "float32"


MATMUL = (KERNELS / "matmul.py").read_text()
TWO_PARTS = (
    "        high = a.to(tl.bfloat16)\n"
    "        rest = a - high.to(tl.float32)\n"
    "        low = rest.to(tl.bfloat16)\n"
    "        acc += tl.dot(low, b, input_precision=PRECISION)\n"
)
THREE_PARTS = (
    "        lower = rest - low.to(tl.float32)\n"
    "        acc += tl.dot(lower.to(tl.bfloat16), b, input_precision=PRECISION)\n"
)
ZEROS = "        like = tl.dot(tl.zeros((16, 16), tl.float16), tl.zeros((16, 16), tl.float16))\n"
HIGH = {"tl.dot(a, b,": "tl.dot(high, b,"}


@pytest.mark.parametrize(
    ("edits", "precision"),
    [
        ({}, "float32"),
        ({'"ieee"': '"tf32x3"'}, "float32"),
        ({'"ieee"': '"tf32"'}, "tf32"),
        ({", input_precision=PRECISION": ""}, "tf32"),
        ({"input_precision=PRECISION": "allow_tf32=False"}, "float32"),
        ({"input_precision=PRECISION": "allow_tf32=True"}, "tf32"),
        ({"num_warps=4": 'PRECISION="tf32"'}, "tf32"),  # the launch overrides the default
        ({"tl.dot(a, b,": "tl.dot(a.to(tl.float16), b.to(tl.float16),"}, "float16"),
        (
            {"        acc +=": "        a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)\n        acc +="},
            "bfloat16",
        ),
        ({"matmul_kernel[grid](a, b,": "matmul_kernel[grid](a.half(), b.half(),"}, "float16"),
        (
            {"return matmul(a, b)": "return torch.matmul(a.to(torch.bfloat16), b.to(torch.bfloat16))"},
            "bfloat16",
        ),
        ({'"ieee"': '"tf32" if K > 4 else "ieee"'}, "tf32"),
        ({"        acc +=": TWO_PARTS + "        acc +="} | HIGH, "tf32"),
        ({"        acc +=": TWO_PARTS + THREE_PARTS + "        acc +="} | HIGH, "float32"),
        ({"        acc +=": TWO_PARTS.replace("a - ", "b - ") + "        acc +="} | HIGH, "bfloat16"),
        ({"        acc +=": ZEROS + "        acc +="}, "float32"),
    ],
)
def test_precision_is_the_lowest_in_use(edits: dict[str, str], precision: str) -> None:
    source = MATMUL
    for old, new in edits.items():
        assert old in source
        source = source.replace(old, new)
    assert KernelFile.parse(source).precision == precision


def test_a_kernel_nobody_launches_does_not_lower_the_precision() -> None:
    unused = MATMUL.replace("matmul_kernel(", "other_kernel(").split("def matmul(")[0].split("@triton.jit")[2]
    source = MATMUL + "\n\n@triton.jit" + unused.replace('"ieee"', '"tf32"')
    assert KernelFile.parse(source).precision == "float32"


def test_errors_name_the_line_and_the_mend() -> None:
    with pytest.raises(KernelFileError, match=r"broken\.py:2: is not Python"):
        KernelFile.parse("x = 1\ndef f(:\n", "broken.py")
    with pytest.raises(KernelFileError, match=r"no @triton\.jit kernel; add one"):
        KernelFile.parse("x = 1\n").require_kernels()
    with pytest.raises(KernelFileError, match=r"a\.py:2: no class ModelNew; rename it"):
        KernelFile.parse("import torch\nclass Net(torch.nn.Module): pass\n", "a.py").model()
    with pytest.raises(KernelFileError, match="its kernels are: scale_kernel"):
        load("positional").kernel("missing")


@settings(deadline=None)
@given(st.text(alphabet="abk[](){}=,:.*'\"\n \t0123lambdeforinxMETA@", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        KernelFile.parse(text)
    except KernelFileError:
        return


LITERALS = st.one_of(st.integers(-5, 5000), st.booleans(), st.none(), st.sampled_from(["ieee", "tf32"]))


@settings(deadline=None)
@given(value=LITERALS, how=st.sampled_from(["keyword", "variable", "module", "default", "splat", "position"]))
def test_a_literal_is_found_wherever_it_is_written(value: object, how: str) -> None:
    kernel = "import triton\n@triton.jit\ndef k(p, C: tl.constexpr):\n    pass\n"
    written = {
        "keyword": f"def f(x):\n    k[(1,)](x, C={value!r})\n",
        "variable": f"def f(x):\n    c = {value!r}\n    k[(1,)](x, C=c)\n",
        "module": f"CONST = {value!r}\ndef f(x):\n    k[(1,)](x, C=CONST)\n",
        "default": f"def f(x, c={value!r}):\n    k[(1,)](x, C=c)\n",
        "splat": f"def f(x):\n    options = dict(C={value!r})\n    k[(1,)](x, **options)\n",
        "position": f"def f(x):\n    k[(1,)](x, {value!r})\n",
    }[how]
    found = passed(KernelFile.parse(kernel + written), "C")
    assert found.known and found.literal == value
