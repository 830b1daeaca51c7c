"""Long lines of written code, broken so that they mean the same."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.proposers.recurrence.emit.layout import WIDTH, fit

NAMES = [f"a_rather_long_name_{i}" for i in range(8)]


@pytest.mark.parametrize(
    "line",
    [
        f"result = function({', '.join(NAMES)})",
        f"{', '.join(NAMES)} = function({', '.join(NAMES)}, tile=(1, 2, 3))",
        f"    self._prepared = ({', '.join(NAMES)},)",
        f"w = torch.stack([{', '.join(NAMES)}]).view(1, 4, 256, 256).permute(0, 3, 1).to(torch.float16)",
        f'torch._assert(torch.isfinite({NAMES[0]}).all(), "{NAMES[0]}: beyond, (say), float16" * 2, 1)',
    ],
)
def test_a_long_line_is_broken_and_means_the_same(line: str) -> None:
    broken = fit(line)
    assert max(map(len, broken.splitlines())) <= WIDTH
    assert ast.dump(ast.parse(broken.strip())) == ast.dump(ast.parse(line.strip()))


VALUES = st.recursive(
    st.sampled_from([*NAMES, "1", "'a, (b'", "x.shape[0]"]),
    lambda inner: st.lists(inner, min_size=1, max_size=5).map(lambda items: f"f({', '.join(items)})"),
    max_leaves=30,
)


@given(VALUES)
def test_any_call_means_the_same(value: str) -> None:
    line = f"y = {value}"
    assert ast.dump(ast.parse(fit(line))) == ast.dump(ast.parse(line))
