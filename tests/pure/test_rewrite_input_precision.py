"""How far tl.dot may round its operands: the text, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rewriting import HEAD, changes, view

from tilewright.kernelfile import KernelFile
from tilewright.launches.model import Recording
from tilewright.proposers.rewrite.base import Declined, View
from tilewright.proposers.rewrite.input_precision import InputPrecision

KERNEL = (
    HEAD
    + """\
def kernel(a_ptr, b_ptr, out_ptr, SIDE: tl.constexpr, PRECISION: tl.constexpr):
    at = tl.arange(0, SIDE)[:, None] * SIDE + tl.arange(0, SIDE)[None, :]
    acc = tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at), input_precision=PRECISION)
    acc = tl.dot(tl.load(b_ptr + at), tl.load(a_ptr + at), acc, allow_tf32=False)
    tl.store(out_ptr + at, acc)


def run(a, b, out):
    kernel[(1,)](a, b, out, SIDE=64, PRECISION="ieee")
"""
)


def seen(source: str, precision: str, stored: str = "*fp32") -> View:
    """The kernel as launched with operands of a type, by a file that may compute in a precision."""
    made = view(source)
    (launch,) = made.recording.launches
    arguments = tuple(replace(a, type=stored) if a.kind == "tensor" else a for a in launch.arguments)
    recording = Recording((replace(launch, arguments=arguments),), (0,))
    return replace(made, recording=recording, precision=precision)


def test_ieee_products_become_three_on_tensor_cores() -> None:
    found = seen(KERNEL, "float32")
    kernel = found.file.kernels[0]
    assert InputPrecision().choices(found, kernel) == ("tf32x3",)
    text = InputPrecision().apply(found, kernel, "tf32x3")
    assert changes(KERNEL, text) == [
        'acc = tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at), input_precision="tf32x3")',
        'acc = tl.dot(tl.load(b_ptr + at), tl.load(a_ptr + at), acc, input_precision="tf32x3")',
    ]
    assert KernelFile.parse(text).precision == "float32"
    with pytest.raises(Declined, match="as far as float32 allows"):
        InputPrecision().choices(seen(text, "float32"), KernelFile.parse(text).kernels[0])


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_one_product_where_the_file_may_round_to_tf32(precision: str) -> None:
    found = seen(KERNEL, precision)
    kernel = found.file.kernels[0]
    assert InputPrecision().choices(found, kernel) == ("tf32", "tf32x3")
    assert KernelFile.parse(InputPrecision().apply(found, kernel, "tf32")).precision == "tf32"


@pytest.mark.parametrize(
    "source, stored, why",
    [
        (KERNEL, "*bf16", "is \\*bf16"),
        (KERNEL.replace('"ieee"', '"tf32"').replace("allow_tf32=False", ""), "*fp32", "nothing is left"),
        (KERNEL.replace("a_ptr + at)", "a_ptr + at).to(tl.float16)"), "*fp32", "nothing is left"),
        (KERNEL.replace("acc, allow_tf32=False", 'acc, "ieee"'), "*fp32", "by position"),
        (KERNEL.replace("tl.dot(", "tl.maximum("), "*fp32", "no tl.dot"),
    ],
)
def test_left_alone(source: str, stored: str, why: str) -> None:
    found = seen(source, "tf32", stored)
    with pytest.raises(Declined, match=why):
        InputPrecision().choices(found, found.file.kernels[0])


def test_a_gpu_without_tf32() -> None:
    found = seen(KERNEL, "float32")
    older = replace(found, gpu=replace(found.gpu, compute_capability=75))
    with pytest.raises(Declined, match="no TF32"):
        InputPrecision().choices(older, older.file.kernels[0])
