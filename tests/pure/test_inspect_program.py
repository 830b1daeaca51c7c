"""What a kernel does, counted off its IR."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tilewright.inspect.program import count
from tilewright.inspect.ttir import accesses, parse
from tilewright.launches.model import Argument, Launch

IR = (Path(__file__).parents[1] / "data" / "kernels_inspect" / "loop.ttir").read_text()


def launch(n: int, grid: int = 1) -> Launch:
    return Launch("k", (grid, 1, 1), (Argument("n", "scalar", "i32", str(n)),), 4, 3, 1)


def kernel(last: str = "arith.addi %n, %c0 : i32"):
    return parse(IR.replace("LAST", last))


def test_a_pointer_is_followed_through_a_loop_and_not_through_a_load():
    reads, writes = accesses(kernel())
    assert reads == {"x", "index"}
    assert writes == {"out"}


@given(st.integers(0, 10_000))
def test_iterations_follow_from_the_launch_arguments(n):
    program = count(kernel(), launch(n))
    assert program.iterations == -(-n // 64)
    assert program.notes == ()
    body = program.innermost[0]
    assert body.load_bytes == 32 * 64 * 4
    assert [(d.m, d.n, d.k, d.rate) for d in body.dots] == [(32, 32, 64, "tf32")]


def test_a_bound_that_depends_on_the_program_is_averaged():
    program = count(kernel("arith.muli %pid, %c64 : i32"), launch(0, grid=5))
    assert program.iterations == 2.0  # 0, 1, 2, 3 and 4 iterations


def test_a_bound_that_depends_on_data_is_assumed_and_said():
    program = count(kernel("tt.load %index : !tt.ptr<i32>"), launch(0))
    assert program.iterations == 1.0
    assert "depend on data" in program.notes[0]


def work(*operations: str) -> tuple[int, int]:
    """Elementwise and special operations of the loop's body with these put into it."""
    lines = "".join(f"      {line} : tensor<32x64xf32> loc(#loc)\n" for line in operations)
    at = IR.index("      %w = tt.trans")
    ir = (IR[:at] + lines + IR[at:]).replace("LAST", "arith.addi %n, %c0 : i32")
    body = count(parse(ir), launch(64)).innermost[0]
    return body.element_ops, body.slow_ops


def test_a_natural_exponential_is_one_to_base_2_and_a_multiplication():
    assert work("%e = math.exp %v") == work("%s = arith.mulf %v, %v", "%e = math.exp2 %s")
    assert work("%e = math.log %v") == work("%e = math.log2 %v", "%s = arith.mulf %e, %v")
    assert work("%e = math.exp2 %v") == (32 * 64, 32 * 64)
