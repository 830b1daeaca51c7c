"""What ran in a forward, and what is said of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from tilewright.judge.means.findings import Kind
from tilewright.judge.means.spirit import DeviceKernel, Ran, Work, failing, findings_from, recorded, skipped

pytestmark = pytest.mark.interpreted

LEFT, RIGHT, BIAS = torch.randn(64, 32), torch.randn(32, 48), torch.randn(48)


@InterpretedFunction  # triton.jit where TRITON_INTERPRET is set, which other tests here must not see
def matmul_kernel(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + m[:, None] * K + k[None, :])
    right = tl.load(b + k[:, None] * 48 + n[None, :], mask=n[None, :] < 48, other=0.0)
    tl.store(out + m[:, None] * 48 + n[None, :], tl.dot(left, right), mask=n[None, :] < 48)


@InterpretedFunction
def copy_kernel(x, out, TOTAL: tl.constexpr):
    at = tl.arange(0, TOTAL)
    tl.store(out + at, tl.load(x + at))


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    out = torch.empty(64, 48)
    matmul_kernel[(1,)](left, right, out, M=64, N=64, K=32)
    return out


def copied(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    copy_kernel[(1,)](x, out, TOTAL=triton.next_power_of_2(x.numel()))
    return out


def said(candidate, reference, **more) -> list[Kind]:
    with recorded() as ran:
        candidate()
    with recorded() as reference_ran:
        reference()
    return [
        f.kind for f in findings_from(ran, reference_ran, more.get("skipped", {}), more.get("failing", False))
    ]


@InterpretedFunction
def row_kernel(x, matrix, out, INNER: tl.constexpr, OUTER: tl.constexpr):
    m, k, n = tl.arange(0, 16), tl.arange(0, INNER), tl.arange(0, OUTER)
    left = tl.load(x + 0 * m[:, None] + k[None, :], mask=m[:, None] == 0, other=0.0)
    right = tl.load(matrix + k[:, None] * 48 + n[None, :], mask=n[None, :] < 48, other=0.0)
    first = (m[:, None] == 0) & (n[None, :] < 48)
    tl.store(out + 0 * m[:, None] + n[None, :], tl.dot(left, right), mask=first)


def row_times_matrix(row: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    out = torch.empty(48)
    row_kernel[(1,)](row, matrix, out, INNER=32, OUTER=64)
    return out


def test_an_exact_shortcut_is_reported_by_its_operations() -> None:
    """The rows of a product summed are the summed rows times the matrix: a quarter of the tiles."""
    assert said(lambda: row_times_matrix(LEFT.sum(0), RIGHT), lambda: (LEFT @ RIGHT).sum(0)) == [
        Kind.ALGORITHMIC
    ]
    row = LEFT[0].contiguous()
    assert said(lambda: row_times_matrix(row, RIGHT), lambda: row @ RIGHT) == []
    assert said(lambda: product(LEFT, RIGHT), lambda: LEFT @ RIGHT) == []


def test_launches_and_work_are_counted() -> None:
    with recorded() as ran:
        F.linear(product(LEFT, RIGHT).relu()[:, :32], RIGHT.t().contiguous())
    assert ran.launches == {"matmul_kernel": 1}
    assert ran.touched_bytes == 4 * (64 * 32 + 32 * 48 + 64 * 48)
    assert ran.operators == {
        "aten::relu": Work(1, 0, 2 * 4 * 64 * 48),
        "aten::mm": Work(1, 2 * 64 * 32 * 48, 4 * (64 * 32 + 32 * 48 + 64 * 48)),
    }


@pytest.mark.parametrize(
    "run",
    [
        lambda: torch.nn.LSTM(8, 16)(torch.randn(5, 2, 8)),
        lambda: F.scaled_dot_product_attention(*torch.randn(3, 2, 4, 16, 8)),
        lambda: torch.mv(LEFT, torch.randn(32)),
        lambda: torch.einsum("ik,kj->ij", LEFT, RIGHT),
        lambda: F.conv1d(torch.randn(1, 3, 20), torch.randn(4, 3, 5)),
        lambda: F.bilinear(LEFT, LEFT, torch.randn(3, 32, 32)),
    ],
)
def test_products_have_operations(run) -> None:
    with recorded() as ran, torch.no_grad():
        run()
    assert ran.flops > 0


GEMM = lambda: torch.addmm(BIAS, LEFT, RIGHT)  # noqa: E731
CHAIN = lambda: torch.softmax(LEFT * 2 + 1, 1).relu()  # noqa: E731
HONEST = {
    "one addition": (lambda: product(LEFT, RIGHT) + BIAS, GEMM),
    "glue": (
        lambda: product(
            F.pad(LEFT.double().float(), (0, 0)).reshape(64, 32), torch.cat([RIGHT[:9], RIGHT[9:]])
        ),
        GEMM,
    ),
    "a random draw": (lambda: copied(torch.randn(64, 32)), CHAIN),
    "half a chain": (lambda: copied(copied(LEFT) * 2) + 0, CHAIN),
}
LIBRARY = {
    "all by torch": (lambda: GEMM(), GEMM),
    "a product, then copied": (lambda: copied(GEMM()[:, :32].contiguous()), GEMM),
    "a softmax, then copied": (lambda: copied(torch.softmax(LEFT, 1)), lambda: torch.softmax(LEFT, 1)),
    "a chain in one operator": (
        lambda: copied(F.gelu(F.gelu(LEFT))),
        lambda: 0.5 * LEFT * (1 + torch.erf(LEFT / 2)),
    ),
    "a scale, then copied": (lambda: copied(LEFT * 2), lambda: LEFT * 2),
    "a sum, then copied": (lambda: copied(LEFT.sum(0)), lambda: LEFT.sum(0)),
}


@pytest.mark.parametrize("case", HONEST)
def test_glue_is_not_the_work(case: str) -> None:
    assert said(*HONEST[case]) == []


@pytest.mark.parametrize("case", LIBRARY)
def test_a_library_that_does_the_work_is_named(case: str) -> None:
    assert said(*LIBRARY[case]) == [Kind.LIBRARY]


def test_launches_can_be_left_out_one_kernel_at_a_time() -> None:
    with skipped("copy_kernel"), torch.no_grad():
        right = product(LEFT, RIGHT)
        untouched = copied(torch.ones(4))
    assert torch.allclose(right, LEFT @ RIGHT, atol=1e-4)
    assert not torch.equal(untouched, torch.ones(4))
    assert torch.equal(copied(torch.ones(4)), torch.ones(4))


def test_launches_can_be_made_to_fail() -> None:
    with failing("copy_kernel"):
        product(LEFT, RIGHT)
        with pytest.raises(RuntimeError, match="copy_kernel"):
            copied(LEFT)
    with failing(), pytest.raises(RuntimeError, match="matmul_kernel"):
        product(LEFT, RIGHT)


def test_a_kernel_that_can_be_left_out_is_a_decoy_and_one_that_may_fail_a_fallback() -> None:
    both = {"skipped": {"matmul_kernel": False, "copy_kernel": True}, "failing": True}
    assert said(lambda: product(LEFT, RIGHT), GEMM, **both) == [Kind.DECOY, Kind.FALLBACK]


def test_a_kernel_that_raises_in_an_ordinary_forward_is_a_fallback() -> None:
    def guarded() -> torch.Tensor:
        try:
            return copied(torch.ones(0, 3))
        except Exception:  # noqa: BLE001  as such files do
            return GEMM()

    assert said(guarded, GEMM) == [Kind.LIBRARY, Kind.FALLBACK]


def test_on_a_gpu_the_device_time_decides() -> None:
    ran = Ran(
        launches={"mine": 1},
        touched_bytes=10**9,
        kernels=(
            DeviceKernel("mine", 7, 1e-6),
            DeviceKernel("Memcpy DtoD", 7, 1e-6),
            DeviceKernel("sm90_gemm", 7, 3e-6),
        ),
    )
    (finding,) = findings_from(ran, Ran(), {}, failing=False)
    assert finding.kind is Kind.LIBRARY
    assert "60% of the device time" in finding.what
