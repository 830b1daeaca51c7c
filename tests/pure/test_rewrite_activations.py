"""Which spellings of activations are recognised, and which only look like one."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten

from tilewright.proposers.rewrite.activations import Activations
from tilewright.proposers.rewrite.base import Declined

SIGMOID = "x / (1.0 + tl.exp2(x * -1.4426950408889634))"
GELU = "x / (1.0 + tl.exp2((x + 0.044715 * x * x * x) * -2.302208198136057))"
INNER = "u = 0.7978845608 * (x + 0.044715 * x * x * x)"


def kernel(*lines: str, helpers: str = "") -> str:
    body = "\n    ".join(lines)
    head = HEAD.replace("@triton.jit\n", f"{helpers}@triton.jit\n")
    return f"""{head}def kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    {body}
    tl.store(out_ptr + at, y)


def run(x):
    out = torch.empty_like(x)
    kernel[(1,)](x, out, BLOCK=64)
    return out
"""


def rewrite(source: str) -> str:
    head, name, _ = source.partition("@triton.jit\ndef kernel")
    if "def " in head:  # the kernel stands first, as `rewritten` takes the first one
        imports, _, helpers = head.partition("@triton.jit\n")
        source = imports + name + source.partition("@triton.jit\ndef kernel")[2]
        source = source.replace("\n\n\ndef run", f"\n\n\n@triton.jit\n{helpers.strip()}\n\n\ndef run")
    return "\n".join(changes(source, rewritten(Activations(), source)))


HELPERS = """@triton.jit
def sigmoid(v):
    return 1 / (1 + tl.exp(-v))


"""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["y = 1.0 / (1.0 + tl.exp(-x))"], "y = 1.0 / (1.0 + tl.exp2(x * -1.4426950408889634))"),
        (["y = x * (1.0 / (1.0 + tl.exp(-x)))"], f"y = {SIGMOID}"),
        (["s = 1 / (tl.exp(-x) + 1)", "y = s * x"], f"y = {SIGMOID}"),
        (["y = tl.exp(-0.5 * (x + 1) / 2)"], "y = tl.exp2((x + 1) * -0.36067376022224085)"),
        ([INNER, "e = tl.exp(2 * u)", "t = (e - 1) / (e + 1)", "y = 0.5 * x * (1 + t)"], f"y = {GELU}"),
        ([INNER, "y = x * 0.5 * (1 + (2 / (1 + tl.exp(-2 * u)) - 1))"], f"y = {GELU}"),
        ([INNER, "g = 0.5 * (1 + (1 - 2 / (tl.exp(2 * u) + 1)))", "y = g * x"], f"y = {GELU}"),
        (
            [
                INNER,
                "d = tl.exp(-2 * tl.abs(u))",
                "m = (1 - d) / (1 + d)",
                "y = 0.5 * x * (1 + tl.where(u < 0, -m, m))",
            ],
            f"y = {GELU}",
        ),
    ],
)
def test_a_cheaper_form_takes_the_place_of_the_spelling(lines: list[str], expected: str) -> None:
    assert rewrite(kernel(*lines)) == expected


def test_two_exponentials_become_one_in_a_function() -> None:
    after = rewrite(kernel("a = tl.exp(x)", "b = tl.exp(-x)", "y = (a - b) / (a + b)"))
    assert after.splitlines()[0] == "y = tanh(x)"
    assert "decay = tl.exp2(tl.abs(x) * -2.8853900817779268)" in after


def test_functions_of_the_file_are_recognised_and_rewritten() -> None:
    after = rewrite(kernel("y = x * sigmoid(1.702 * x)", helpers=HELPERS))
    assert after.splitlines() == [
        "y = x / (1.0 + tl.exp2(x * -2.4554669595930156))",
        "return 1 / (1 + tl.exp2(v * -1.4426950408889634))",
    ]
    gelu = rewrite(kernel(INNER, "y = 0.5 * x * (1 + (2 * sigmoid(2 * u) - 1))", helpers=HELPERS))
    assert gelu.splitlines()[0] == f"y = {GELU}"


@pytest.mark.parametrize(
    "line",
    [
        "y = x * (1.0 / (2.0 + tl.exp(-x)))",
        "y = x * (1.0 / (1.0 - tl.exp(-x)))",
        "y = (tl.exp(x) - tl.exp(-x)) / (tl.exp(x) + tl.exp(-2 * x))",
        "y = (tl.exp(x) - tl.exp(-at)) / (tl.exp(x) + tl.exp(-at))",
        "y = 0.5 * x * (1 + tl.where(x < 0, 1.0, -1.0) * tl.exp(-x))",
        "y = 0.5 * x * (2 + (tl.exp(x) - 1) / (tl.exp(x) + 1))",
    ],
)
def test_what_only_looks_like_one_keeps_its_form(line: str) -> None:
    """Only the exponentials in it are written anew."""
    after = rewrite(kernel(line))
    plain = after.replace("tl.exp2(x * 1.4426950408889634)", "tl.exp(x)")
    plain = plain.replace("tl.exp2(x * -1.4426950408889634)", "tl.exp(-x)")
    plain = plain.replace("tl.exp2(at * -1.4426950408889634)", "tl.exp(-at)")
    assert plain.replace("tl.exp2(x * -2.8853900817779268)", "tl.exp(-2 * x)") == line


def test_an_operand_that_changes_in_between_is_not_followed() -> None:
    after = rewrite(kernel("s = 1 / (1 + tl.exp(-x))", "x += 1.0", "y = x * s"))
    assert after == "s = 1 / (1 + tl.exp2(x * -1.4426950408889634))"


@pytest.mark.parametrize(
    ("line", "reason"),
    [("y = x + 1", "no exponential"), ("y = tl.exp(x.to(tl.float64))", "line 11: it computes in float64")],
)
def test_it_declines(line: str, reason: str) -> None:
    with pytest.raises(Declined, match=reason):
        rewrite(kernel(line))
