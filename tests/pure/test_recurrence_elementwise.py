"""What elementwise operators are written as keeps float32's digits, near zero too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tilewright.proposers.recurrence.frontend.elementwise import RULES, Value
from tilewright.proposers.recurrence.ops import OPS

RELATIVE = 8 * torch.finfo(torch.float32).eps


class Computing:
    """A writer whose nodes are computed at once, in float32."""

    def __init__(self) -> None:
        self.values: dict[str, torch.Tensor] = {}

    def __call__(self, op: str, *args: Any) -> Value:
        tensors = [self.values[a.name] if isinstance(a, Value) else torch.tensor(a) for a in args]
        name = f"value_{len(self.values)}"
        self.values[name] = OPS[op].torch(*tensors)
        return Value(name, 1, self.values[name].dtype == torch.bool)

    def run(self, rule: str, x: torch.Tensor) -> torch.Tensor:
        self.values["x"] = x
        return self.values[RULES[rule](self, Value("x", 1)).name]


@pytest.mark.parametrize(
    ("rule", "meant", "lowest", "highest"),
    [
        ("expm1", torch.expm1, -100.0, 80.0),
        ("log1p", torch.log1p, -0.99, 1e30),
        ("elu", F.elu, -100.0, 100.0),
        ("softplus", F.softplus, -80.0, 100.0),
        ("log_sigmoid_forward", F.logsigmoid, -100.0, 80.0),
        ("sinh", torch.sinh, -80.0, 80.0),
        ("tanh", torch.tanh, -100.0, 100.0),
    ],
)
def test_a_rule_keeps_the_digits_of_small_results(
    rule: str, meant: Any, lowest: float, highest: float
) -> None:
    sizes = torch.logspace(-30, 30, 4001)
    x = torch.cat((sizes, -sizes, torch.linspace(-8, 8, 4001), torch.zeros(1)))
    x = x[(x >= lowest) & (x <= highest)]
    expected = meant(x.double())
    error = (Computing().run(rule, x).double() - expected).abs()
    # An exponential of a number with float32's digits has that many fewer the larger the number.
    allowed = RELATIVE * expected.abs() * (1 + x.abs().clamp(max=100) / 8) + torch.finfo(torch.float32).tiny
    worst = (error / allowed).argmax()
    assert error[worst] <= allowed[worst], (x[worst], expected[worst], error[worst] / expected[worst].abs())
