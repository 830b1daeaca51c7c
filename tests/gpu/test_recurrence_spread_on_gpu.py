"""Spread recurrences on a GPU: CTAs that wait for one another, with changing inputs and for a long time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "recurrence"))
import cells  # noqa: E402

from tilewright.proposers.recurrence import ops  # noqa: E402
from tilewright.proposers.recurrence.emit import assembly  # noqa: E402
from tilewright.proposers.recurrence.spread.emit import emit  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("shared")]
IMPORTS = "import torch\nimport triton\nimport triton.language as tl\n\n"


def built(
    folder: Path,
    kind: str,
    layers: int,
    steps: int,
    batch: int,
    hidden: int,
    directions: int = 1,
    *,
    streamed: bool = False,
    precision: str = "tf32",
):
    """A function of the network's values, the group, and values to start with."""
    from tilewright.gpu.plugged import plugged_in

    group, types, values = cells.group(kind, layers, steps, batch, hidden, directions=directions)
    made = emit(group, types, plugged_in(), precision, "spread", streamed=streamed)
    texts = ops.HELPERS | assembly.HELPERS
    path = folder / "made.py"
    path.write_text(IMPORTS + "\n\n".join([*(texts[n] for n in made.helpers), made.kernels, made.wrapper]))
    spec = importlib.util.spec_from_file_location("made", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = {name: value.cuda() for name, value in values.items()}
    packed = {p.name: eval(p.expression, {"torch": torch, **values}) for p in made.packed}

    def call(known: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        known = known | packed
        results = module.spread(*(known[name] for name in made.arguments))
        return dict(zip(made.results, results, strict=True))

    return call, group, values


def error(results: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> float:
    return max(((r.double() - want[n]).norm() / want[n].norm()).item() for n, r in results.items())


def changed(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: torch.randn_like(v) if n.startswith("pre_") else v for n, v in values.items()}


@pytest.mark.parametrize("streamed", [False, True], ids=["spread", "streamed"])
@pytest.mark.parametrize(
    ("kind", "layers", "directions", "batch"), [("lstm", 6, 1, 10), ("gru", 1, 2, 18), ("elman", 2, 1, 1)]
)
def test_every_launch_is_right_whatever_it_is_given(
    tmp_path: Path, kind: str, layers: int, directions: int, batch: int, streamed: bool
) -> None:
    call, group, values = built(tmp_path, kind, layers, 32, batch, 256, directions, streamed=streamed)
    for _ in range(20):
        given = changed(values)
        # operands of 11 bits of mantissa, over 32 steps and as many as 6 layers
        assert error(call(given), cells.run(group, given)) < 4e-3


@pytest.mark.parametrize("streamed", [False, True], ids=["spread", "streamed"])
@pytest.mark.parametrize("kind", ["lstm", "elman"])
def test_float32_keeps_the_digits_of_small_states(tmp_path: Path, kind: str, streamed: bool) -> None:
    call, group, values = built(tmp_path, kind, 1, 16, 10, 256, streamed=streamed, precision="float32")
    given = {n: v / 256 if n.startswith(("pre_", "h0", "c0")) else v for n, v in values.items()}
    assert error(call(given), cells.run(group, given)) < 4e-6


@pytest.mark.parametrize(
    ("batch", "hidden", "streamed"), [(10, 256, False), (10, 256, True), (130, 512, True)]
)
def test_launches_with_the_same_inputs_agree_bit_for_bit(
    tmp_path: Path, batch: int, hidden: int, streamed: bool
) -> None:
    call, _, values = built(tmp_path, "lstm", 1, 256, batch, hidden, streamed=streamed)
    for _ in range(1000):
        given = changed(values)
        first, second = call(given), call(given)
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("streamed", [False, True], ids=["spread", "streamed"])
def test_a_long_run_ends(tmp_path: Path, streamed: bool) -> None:
    call, _, values = built(tmp_path, "gru", 1, 20000, 10, 128, streamed=streamed)
    last = call(values)["hn_0"]
    torch.cuda.synchronize()
    assert torch.isfinite(last).all()
    assert (last.abs() <= 1).all()
