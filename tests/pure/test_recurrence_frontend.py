"""From a problem's text to loops: what comes out computes what the reference computes, step by step."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.judge.inputs.constants import size_constants, with_sizes
from tilewright.problem import Problem
from tilewright.proposers.recurrence.encode import decode, encode
from tilewright.proposers.recurrence.frontend.passes import compile_network
from tilewright.proposers.recurrence.frontend.tape import is_random
from tilewright.proposers.recurrence.ir import Declined, Name, Recurrence
from tilewright.proposers.recurrence.verify import VerifyError, verify
from tilewright.proposers.recurrence.work import network_of

sys.path.append(str(Path(__file__).parents[1] / "data" / "recurrence"))
from reference_cells import CELLS
from references import WIDE, agrees, compiled, problem


@pytest.mark.parametrize("name", CELLS)
def test_loops_compute_what_the_reference_computes(name: str) -> None:
    network = compiled(CELLS[name])
    assert network.recurrences
    assert decode(json.loads(json.dumps(encode(network)))) == network


STEPS = [
    "F.softplus(v)", "F.gelu(v)", "F.gelu(v, approximate='tanh')", "F.silu(v)", "F.elu(v)", "F.selu(v)",
    "F.celu(v, 0.7)", "F.leaky_relu(v, 0.2)", "F.hardtanh(v)", "F.relu6(v)", "F.hardsigmoid(v)",
    "F.hardswish(v)", "F.mish(v)", "F.logsigmoid(v)", "F.softsign(v)", "F.tanhshrink(v)", "F.softshrink(v)",
    "F.hardshrink(v)", "F.threshold(v, 0.1, 0.0)", "v.clamp(-0.5, 0.5)", "v.clamp(min=0)",
    "torch.exp(-v.abs())", "v ** 3", "1 - v", "1 / (1 + v * v)", "torch.sqrt(v * v + 1)",
    "v.pow(-2).clamp(max=2)", "torch.maximum(v, torch.zeros_like(v))", "v.masked_fill(v > 0.3, 0.25)",
    "torch.lerp(v, torch.tanh(v), 0.3)", "torch.addcmul(v, v, v, value=0.1)",
    "torch.sign(v) * torch.log1p(v.abs())",
    "torch.where((v > 0) & ~(v >= 1), v, torch.cos(v))", "v - v.mean(-1, keepdim=True)",
    "v / (v.norm(dim=-1, keepdim=True) + 1)", "v / (v.var(-1, keepdim=True) + 1e-5).sqrt()",
    "v / v.std(dim=1, keepdim=True)", "v.sum(1, keepdim=True) / 5 + v", "F.layer_norm(v, (H,))",
    "torch.softmax(v, -1)", "F.log_softmax(v, 1)", "v - torch.logsumexp(v, 1, keepdim=True)",
    "v - v.max(1, keepdim=True).values", "v * v.amin(-1, keepdim=True)", "torch.floor(v) + torch.ceil(2 * v)",
    "torch.round(v * 3) - torch.trunc(v * 4)", "torch.remainder(v, 0.7)", "torch.logaddexp(v, v * v)",
    "torch.sinh(v) - torch.cosh(v)", "torch.log2(v.abs() + 1) + torch.tan(v / 3)",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_an_elementwise_step(step: str) -> None:
    source = problem(
        "self.w = nn.Linear(I, H); self.u = nn.Linear(H, H)",
        "x",
        f"""
        h, outputs = torch.zeros(x.size(1), H), []
        for t in range(x.size(0)):
            v = self.w(x[t]) + self.u(h)
            h = torch.tanh({step})
            outputs.append(h)
        return torch.stack(outputs)
        """,
    )
    assert len(compiled(source).recurrences) == 1


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["LSTM", "GRU", "RNN"]),
    layers=st.integers(1, 3),
    both=st.booleans(),
    batch_first=st.booleans(),
    bias=st.booleans(),
    relu=st.booleans(),
    projection=st.booleans(),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
)
def test_layers_of_torch(
    kind: str, layers: int, both: bool, batch_first: bool, bias: bool, relu: bool, projection: bool,
    sizes: tuple[int, int, int, int],
) -> None:  # fmt: skip
    steps, batch, inner, hidden = sizes
    extra = ", nonlinearity='relu'" if kind == "RNN" and relu else ""
    if kind == "LSTM" and projection and hidden > 1:
        extra = f", proj_size={hidden - 1}"
    shape = (batch, steps, inner) if batch_first else (steps, batch, inner)
    source = problem(
        f"self.layer = nn.{kind}({inner}, {hidden}, {layers}, bias={bias}, batch_first={batch_first}, "
        f"bidirectional={both}{extra})",
        "x",
        "return self.layer(x)",
        f"[torch.randn({shape})]",
    )
    network = compiled(source)
    if steps > 1:
        assert len(network.recurrences) == layers * (2 if both else 1)
        assert {loop.steps for loop in network.recurrences} == {steps}


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(2, 6), *[st.integers(1, 4)] * 3),
    layers=st.integers(1, 3),
    same=st.booleans(),
    backwards=st.booleans(),
    every=st.booleans(),
)
def test_layers_stepped_together_become_a_loop_each(
    sizes: tuple[int, int, int, int], layers: int, same: bool, backwards: bool, every: bool
) -> None:
    steps, batch, inner, hidden = sizes
    inner = hidden if same else inner
    source = problem(
        f"self.cells = nn.ModuleList([nn.GRUCell({inner} if k == 0 else {hidden}, {hidden}) "
        f"for k in range({layers})])",
        "x",
        f"""
        h = [torch.zeros({batch}, {hidden}) for _ in self.cells]
        outputs = []
        for t in {"reversed(range" if backwards else "list(range"}({steps})):
            row = x[t]
            for k, cell in enumerate(self.cells):
                h[k] = row = cell(row, h[k])
            outputs.append(row)
        return {"torch.stack(outputs)," if every else ""} torch.stack(h)
        """,
        f"[torch.randn({steps}, {batch}, {inner})]",
    )
    network = compiled(source)
    assert [loop.steps for loop in network.recurrences] == [steps] * layers
    assert all(loop.reverse == backwards for loop in network.recurrences)


def test_what_no_state_enters_leaves_the_loop() -> None:
    """One product over all steps before the loop, one after it, one in it; biases added outside."""
    source = problem(
        "self.i2h = nn.Linear(I + H, H); self.h2o = nn.Linear(H, O)",
        "x, h",
        """
        outputs = []
        for t in range(x.size(0)):
            h = torch.tanh(self.i2h(torch.cat((x[t], h), dim=1)))
            outputs.append(self.h2o(h))
        return torch.stack(outputs)
        """,
        "[torch.randn(T, B, I), torch.randn(B, H)]",
    )
    network = compiled(source)
    (loop,) = network.recurrences
    assert [type(item).__name__ for item in loop.body] == ["Product", "Node", "Node"]
    assert not loop.operands
    targets = [s.target for s in network.statements if not isinstance(s, Recurrence)]
    assert targets.count("aten.addmm.default") == 2
    assert "aten.mm.default" not in targets


def test_half_precision_is_computed_in_float32_and_left_as_it_came() -> None:
    network = compiled(CELLS["tokens, a mask, and weights of half precision"])
    assert [network.types[name].dtype for name in network.inputs] == ["int64", "bool", "bfloat16"]
    assert isinstance(network.outputs, Name)
    assert network.types[network.outputs.name].dtype == "bfloat16"


def test_without_a_product_the_whole_step_is_one_loop() -> None:
    """What it computes around its states costs nothing there, and a pass over the sequences outside."""
    source = problem(
        "self.kv = nn.Linear(I, 2 * H); self.w = nn.Parameter(torch.rand(H))",
        "x",
        """
        k, v = self.kv(x).chunk(2, -1)
        a, n, p, outputs = torch.zeros(B, H), torch.zeros(B, H), torch.full((B, H), -1e9), []
        for t in range(T):
            q = torch.maximum(p + self.w, k[t])
            old, new = torch.exp(p + self.w - q), torch.exp(k[t] - q)
            a, n, p = old * a + new * v[t], old * n + new, q
            outputs.append(torch.tanh(a / n) * torch.sigmoid(v[t]))
        return torch.stack(outputs)
        """,
    )
    network = compiled(source)
    (loop,) = network.recurrences
    assert len(loop.states) == 3
    targets = {s.target for s in network.statements if not isinstance(s, Recurrence)}
    assert not targets & {f"aten.{name}.default" for name in ("exp", "tanh", "sigmoid", "maximum")}


def test_only_the_last_step_is_projected_when_only_it_is_returned() -> None:
    source = problem(
        "self.cell = nn.GRUCell(I, H); self.o = nn.Linear(H, O)",
        "x",
        """
        h = torch.zeros(B, H)
        for t in range(T):
            h = self.cell(x[t], h)
            y = self.o(h)
        return y
        """,
    )
    network = compiled(source)
    assert [r.every_step for r in network.recurrences[0].results] == [False]


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_end_of_a_sequence_needs_one_step_of_the_backward_direction(batch_first: bool) -> None:
    source = problem(
        f"self.lstm = nn.LSTM(I, H, 2, batch_first={batch_first}, bidirectional=True)",
        "x",
        f"return self.lstm(x)[0][{':, -1' if batch_first else '-1'}]",
    )
    network = compiled(source)
    steps = {loop.name: loop.steps for loop in network.recurrences}
    length = 3 if batch_first else 6
    assert steps == {"lstm_l0": length, "lstm_l0_reverse": length, "lstm_l1": length, "lstm_l1_reverse": 1}
    last = next(loop for loop in network.recurrences if loop.name == "lstm_l1")
    assert [r.every_step for r in last.results] == [False]


def test_a_matrix_for_each_gate_becomes_one_product() -> None:
    source = problem(
        """
        self.w = nn.ModuleList([nn.Linear(I, H) for _ in range(4)])
        self.u = nn.ModuleList([nn.Linear(H, H, bias=False) for _ in range(4)])
        """,
        "x",
        """
        h = c = torch.zeros(B, H)
        for t in range(T):
            i, f, g, o = (w(x[t]) + u(h) for w, u in zip(self.w, self.u))
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h
        """,
    )
    network = compiled(source)
    assert [product.width for product in network.recurrences[0].products] == [20]
    assert sum(getattr(s, "target", "") == "aten.addmm.default" for s in network.statements) == 1


def test_random_draws_keep_their_order() -> None:
    source = problem(
        "self.u = nn.Linear(H, H)",
        "x",
        """
        h, outputs = torch.randn(B, H), []
        for t in range(T):
            unused = torch.rand(2)
            h = torch.tanh(self.u(h) + x[t] + 0.1 * torch.randn_like(h))
            outputs.append(h)
        return torch.stack(outputs), torch.randn(2)
        """,
        WIDE,
    )
    network = compiled(source)
    drawn = [s.target for s in network.statements if is_random(s)]
    assert drawn == [
        "aten.randn.default",
        *["aten.rand.default", "aten.randn.default"] * 6,
        "aten.randn.default",
    ]


def test_a_worker_returns_the_network() -> None:
    network = network_of(Problem.from_source(CELLS["gru cell over the rows of x"]))
    assert network == compile_network(CELLS["gru cell over the rows of x"], "problem.py")


def test_a_constructor_that_converts_its_modules() -> None:
    source = problem(
        "self.cell = nn.GRUCell(I, H).double().to(torch.float32); self.rnn = nn.RNN(H, H).half().float()",
        "x",
        """
        h, outputs = torch.zeros(B, H), []
        for t in range(T):
            h = self.cell(x[t], h)
            outputs.append(h)
        return self.rnn(torch.stack(outputs))[0]
        """,
    )
    assert len(compiled(source).recurrences) == 2


def test_a_constructor_that_reads_its_weights_is_declined() -> None:
    source = problem(
        "self.u = nn.Linear(H, H); self.scale = float(self.u.weight.max())",
        "x",
        "return self.u(x) / self.scale",
        WIDE,
    )
    with pytest.raises(Declined, match="constructor reads") as declined:
        compile_network(source, "problem.py")
    assert declined.value.line is not None


def test_forward_without_repetition_gives_calls_only() -> None:
    network = compiled(problem("self.o = nn.Linear(I, O)", "x", "return torch.tanh(self.o(x)).sum(0)"))
    assert not network.recurrences


def test_long_loops_compile_in_seconds() -> None:
    source = problem(
        "self.x2h = nn.Linear(I, 4 * H); self.h2h = nn.Linear(H, 4 * H)",
        "x",
        """
        h = c = torch.zeros(x.size(0), H)
        out = torch.zeros(x.size(0), x.size(1), H)
        for t in range(x.size(1)):
            i, f, g, o = (self.x2h(x[:, t, :]) + self.h2h(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            out[:, t, :] = h
        return out
        """,
        "[torch.randn(B, 512, I)]",
    )
    started = time.perf_counter()
    network = compile_network(source, "problem.py")
    assert time.perf_counter() - started < 60  # 3 s on an idle machine
    assert [loop.steps for loop in network.recurrences] == [512]
    assert len(network.statements) < 15


BREAKS: dict[str, Callable[[Recurrence], Recurrence]] = {
    "cannot become": lambda loop: replace(loop, following=(("h", "recurrent"),)),
    "misses a state": lambda loop: replace(loop, following=()),
    "unknown": lambda loop: replace(loop, body=loop.body[1:]),
    "bound twice": lambda loop: replace(loop, body=(*loop.body, loop.body[-1])),
    "has shape": lambda loop: replace(loop, steps=loop.steps + 1),
    "no operation": lambda loop: replace(loop, body=(*loop.body[:-1], replace(loop.body[-1], op="tan"))),
    "cuts outside": lambda loop: replace(
        loop, body=tuple(replace(i, args=(i.args[0], 13, 5)) if i.name == "z_in" else i for i in loop.body)
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_the_verifier_finds_what_a_pass_breaks(broken: str) -> None:
    network = compile_network(problem("self.gru = nn.GRU(I, H)", "x", "return self.gru(x)[0]"), "problem.py")
    statements = tuple(BREAKS[broken](s) if isinstance(s, Recurrence) else s for s in network.statements)
    with pytest.raises(VerifyError, match=broken):
        verify(replace(network, statements=statements))
    with pytest.raises(VerifyError, match="never bound"):
        verify(replace(network, outputs=Name("nothing")))


def kernelbench() -> list[Path]:
    """KernelBench's recurrent problems of level 3, where they lie on this machine."""
    beside = Path(__file__).parents[3] / "shared" / "kernelbench"
    folder = Path(os.environ.get("TILEWRIGHT_KERNELBENCH", beside))
    return sorted(folder.glob("3[3-9]_*.py")) + sorted(folder.glob("4[0-2]_*.py"))


SMALL = {"batch_size": 3, "sequence_length": 5, "seq_len": 5, "input_size": 6, "hidden_size": 7,
         "num_layers": 2, "output_size": 4}  # fmt: skip


def test_kernelbench_problems() -> None:
    files = kernelbench()
    if not files:
        pytest.skip("no KernelBench files; set TILEWRIGHT_KERNELBENCH to their folder")
    for file in files:
        source = file.read_text()
        network = compile_network(source, str(file))
        steps_once = file.name.startswith("33_")
        assert bool(network.recurrences) != steps_once
        small = {name: value for name, value in SMALL.items() if name in size_constants(source)}
        reduced = with_sizes(source, small)
        agrees(reduced, compile_network(reduced, str(file)))
