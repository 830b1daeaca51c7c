"""Files whose programs, grids and launches are rewritten in tests."""

from __future__ import annotations

from rewriting import HEAD

MATMUL = (
    HEAD
    + """\
def kernel(
    a_ptr, b_ptr, out_ptr, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr
):
{ids}
    rows = {row} * BM + tl.arange(0, BM)
    cols = {col} * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    a_ptrs = a_ptr + rows[:, None] * k + inner[None, :]
    b_ptrs = b_ptr + inner[:, None] * n + cols[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for tile in range(0, tl.cdiv(k, BK)):
        left = k - tile * BK
        a = tl.load(a_ptrs, mask=(rows[:, None] < m) & (inner[None, :] < left), other=0.0)
        b = tl.load(b_ptrs, mask=(inner[:, None] < left) & (cols[None, :] < n), other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += BK
        b_ptrs += BK * n
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], acc.to(out_ptr.dtype.element_ty),
             mask=(rows[:, None] < m) & (cols[None, :] < n))


def matmul(a, b):
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty((m, n), device=a.device, dtype=a.dtype)
    kernel[{grid}](a, b, out, m, n, k, BM=16, BN=16, BK=16)
    return out
"""
)
TWO_AXES = MATMUL.format(
    ids="", row="tl.program_id(0)", col="tl.program_id(1)",
    grid="(triton.cdiv(m, 16), triton.cdiv(n, 16))",
)  # fmt: skip
ONE_AXIS = MATMUL.format(
    ids="    pid = tl.program_id(0)\n    across = tl.cdiv(n, BN)",
    row="(pid // across)",
    col="(pid % across)",
    grid="(triton.cdiv(m, 16) * triton.cdiv(n, 16),)",
)  # fmt: skip

LOOP = (
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


def run(x, w):
    n = w.numel()
    results = [w]
    for step in x:
        packed = torch.empty_like(w)
        pack[(triton.cdiv(n, 64),)](w, packed, n, BLOCK=64)
        out = torch.empty_like(step)
        add[(triton.cdiv(n, 64),)](step, packed, out, n, BLOCK=64)
        results.append(out)
    return torch.stack(results)
"""
)

ROWS = (
    HEAD
    + """\
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    x_ptr += tl.program_id(0) * n
    largest = -float("inf")
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        largest = tl.maximum(largest, tl.max(tl.load(x_ptr + at, mask=at < n, other=-float("inf")), axis=0))
    totals = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        totals += tl.load(x_ptr + at, mask=at < n, other=0.0)
    total = tl.sum(totals, axis=0)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        tl.store(out_ptr + tl.program_id(0) * n + at, x * largest + total, mask=at < n)


def rows(x):
    out = torch.empty_like(x)
    n = x.shape[1]
    kernel[(x.shape[0],)](x, out, n, BLOCK=64)
    return out
"""
)

LINEAR = (
    HEAD
    + """\
def linear_kernel(
    a_ptr, b_ptr, bias_ptr, out_ptr, m, n, k, slope,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):
    pid = tl.program_id(0)
    across = tl.cdiv(n, BN)
    rows = pid // across * BM + tl.arange(0, BM)
    cols = pid % across * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        in_a = (rows < m)[:, None] & (inner < k)[None, :]
        in_b = (inner < k)[:, None] & (cols < n)[None, :]
        a = tl.load(a_ptr + rows[:, None] * k + inner[None, :], mask=in_a, other=0.0)
        b = tl.load(b_ptr + inner[:, None] * n + cols[None, :], mask=in_b, other=0.0)
        acc += tl.dot(a, b)
    bias = tl.load(bias_ptr + cols, mask=cols < n, other=0.0)
    acc += bias[None, :]
    inside = (rows < m)[:, None] & (cols < n)[None, :]
    out_at = out_ptr + rows[:, None] * n + cols[None, :]
    result = activated(acc, slope)
    tl.store(out_at, result.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def activated(x, slope):
    return tl.where(x > 0, x, x * slope)


def linear(a, b, bias):
    m, k = a.shape
    n = b.shape[1]
    out = torch.empty((m, n), device=a.device, dtype=a.dtype)
    grid = lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)
    linear_kernel[grid](a, b, bias, out, m, n, k, 0.5, BM=16, BN=16, BK=16, num_warps=2)
    return out
"""
)

COLUMNS = (
    HEAD
    + """\
def column_sum_kernel(x_ptr, out_ptr, rows, columns, BR: tl.constexpr, BC: tl.constexpr):
    at = tl.program_id(0) * BC + tl.arange(0, BC)
    acc = tl.zeros((BR, BC), dtype=tl.float32)
    for start in range(0, rows, BR):
        row = start + tl.arange(0, BR)
        inside = (row < rows)[:, None] & (at < columns)[None, :]
        acc += tl.load(x_ptr + row[:, None] * columns + at[None, :], mask=inside, other=0.0)
    total = tl.sum(acc, axis=0)
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=at < columns)


def column_sum(x):
    out = torch.empty(x.shape[1], device=x.device, dtype=torch.float16)
    column_sum_kernel[(triton.cdiv(x.shape[1], 16),)](x, out, *x.shape, BR=4, BC=16)
    return out
"""
)
