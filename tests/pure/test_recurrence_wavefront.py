"""Layers joined as a wavefront, directions side by side, and sizes that may differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from tilewright.proposers.recurrence.emit.projections import projections
from tilewright.proposers.recurrence.emit.sizes import compared
from tilewright.proposers.recurrence.ir import (
    Call,
    Name,
    Network,
    Node,
    Product,
    Recurrence,
    Result,
    State,
    Statement,
    Stream,
    Tensor,
)
from tilewright.proposers.recurrence.plan.wavefront import depth_of, fuse_layers, side_by_side, wavefronts

H = 8


def loop(name: str, pre: str, initial: str, steps: int, batch: int, reverse: bool = False) -> Recurrence:
    """tanh(pre[t] + h @ u.T)."""
    return Recurrence(
        name, steps, batch, reverse,
        states=(State("h", H, initial),),
        streams=(Stream("p", H, pre),),
        operands=(),
        body=(
            Product("u", "h", f"{name}_u", H, H),
            Node("s", "add", (Name("p"), Name("u")), H),
            Node("h_next", "tanh", (Name("s"),), H),
        ),
        following=(("h", "h_next"),),
        results=(Result(f"{name}_all", "h_next", True), Result(f"{name}_end", "h_next", False)),
    )  # fmt: skip


def layers(steps: int = 6, batch: int = 3, count: int = 3, backwards: bool = False) -> Network:
    """Stacked layers, with a product over the whole sequence before each; the last in reverse if wanted."""
    rows = steps * batch
    types = {"x": Tensor((steps, batch, H)), "h0": Tensor((batch, H))}
    parameters, statements, below = {}, list[Statement](), "x"
    for i in range(count):
        name = f"l{i}"
        parameters |= {f"{name}_u": f"u.{i}", f"{name}_w": f"w.{i}", f"{name}_b": f"b.{i}"}
        types |= {f"{name}_u": Tensor((H, H)), f"{name}_w": Tensor((H, H)), f"{name}_b": Tensor((H,))}
        types |= {f"{name}_{end}": Tensor((rows, H)) for end in ("flat", "product")}
        types |= {f"{name}_pre": Tensor((steps, batch, H)), f"{name}_all": Tensor((steps, batch, H))}
        types |= {f"{name}_end": Tensor((batch, H)), f"{name}_t": Tensor((H, H))}
        statements += [
            Call(f"{name}_flat", "aten.view.default", (Name(below), (rows, H))),
            Call(f"{name}_t", "aten.t.default", (Name(f"{name}_w"),)),
            Call(f"{name}_product", "aten.addmm.default",
                 (Name(f"{name}_b"), Name(f"{name}_flat"), Name(f"{name}_t"))),
            Call(f"{name}_pre", "aten.view.default", (Name(f"{name}_product"), (steps, batch, H))),
            loop(name, f"{name}_pre", "h0", steps, batch, backwards and i == count - 1),
        ]  # fmt: skip
        below = f"{name}_all"
    return Network(("x", "h0"), parameters, types, tuple(statements), Name(below))


def test_a_product_between_two_layers_moves_into_the_upper_loop() -> None:
    fused = fuse_layers(layers())
    upper = fused.recurrences[1]
    assert [stream.value for stream in upper.streams] == ["l0_all"]
    assert [(p.left, p.weight) for p in upper.products] == [("p_below", "l1_w"), ("h", "l1_u")]
    assert [operand.value for operand in upper.operands] == ["l1_b"]
    assert fused.recurrences[0] == layers().recurrences[0], "the lowest layer reads the input"


def test_layers_in_one_direction_are_one_wavefront() -> None:
    groups = wavefronts(fuse_layers(layers()))
    assert [[m.name for m in group.members] for group in groups] == [["l0", "l1", "l2"]]
    assert depth_of(groups[0]) == 3


def test_a_layer_in_the_other_direction_waits_for_all_steps() -> None:
    groups = wavefronts(fuse_layers(layers(backwards=True)))
    assert [[m.name for m in group.members] for group in groups] == [["l0", "l1"], ["l2"]]


def test_a_layer_that_begins_where_the_one_below_ended_stays_apart() -> None:
    network = layers(count=2)
    upper = replace(network.recurrences[1], states=(State("h", H, "l0_end"),))
    network = replace(network, statements=(*network.statements[:-1], upper))
    groups = wavefronts(fuse_layers(network))
    assert [[m.name for m in group.members] for group in groups] == [["l0"], ["l1"]]


def test_loops_that_do_not_wait_for_one_another_run_side_by_side() -> None:
    network = layers(count=1)
    types = network.types | {"r_all": Tensor((6, 3, H)), "r_end": Tensor((3, H)), "r_u": Tensor((H, H))}
    other = loop("r", "l0_pre", "h0", 6, 3, reverse=True)
    network = replace(network, types=types, statements=(*network.statements, other))
    groups = side_by_side(network, wavefronts(network))
    assert [[m.name for m in group.members] for group in groups] == [["l0", "r"]]
    assert depth_of(groups[0]) == 1
    apart = replace(layers(count=2), types=layers(count=2).types)
    assert len(side_by_side(apart, wavefronts(apart))) == 2, "unfused layers wait for one another"


def test_products_over_a_sequence_are_found_through_views() -> None:
    found = projections(layers(count=1))
    assert [(p.name, p.left, p.weight, p.bias, p.transposed) for p in found] == [
        ("l0_pre", "x", "l0_w", "l0_b", False)
    ]
    assert found[0].covers == {"l0_product", "l0_pre"}


def test_sizes_that_differ_between_traces_become_expressions() -> None:
    sizes = compared(layers(6, 3), [layers(7, 11), layers(13, 5)])
    assert sizes.symbols == {"steps": ("x", 0), "batch": ("x", 1)}
    assert sizes.inputs == {"x": (None, None, H), "h0": (None, H)}
    assert sizes.literals["l0_flat"] == {(1, 0): "steps * batch"}
    assert sizes.literals["l0_pre"] == {(1, 0): "steps", (1, 1): "batch"}


def test_a_network_that_changes_with_its_sizes_holds_at_its_own_only() -> None:
    assert compared(layers(6, 3), [layers(7, 11), layers(13, 5, count=2)]).symbols == {}
