"""A Python callable made into a ModelNew file: what is read, what goes where, what the text is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tilewright.contract import breaches
from tilewright.entry import Made, file, model_new
from tilewright.entry.work import Members
from tilewright.errors import AmbiguousParameters, InputError, KernelFileError, ProblemError
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem

PROBLEM = """
import torch
import torch.nn as nn

class Model(nn.Module):
    def __init__(self, inner: int, outer: int = 4, slope=0.1):
        super(Model, self).__init__()
        self.gate = nn.Linear(inner, outer)
        self.norm = nn.LayerNorm(outer)

    def forward(self, x: torch.Tensor, mask: torch.Tensor = None):
        return self.norm(self.gate(x))

def get_inputs():
    return [torch.randn(3, 8)]

def get_init_inputs():
    return [8]
"""
MEMBERS = Members(
    {"gate.weight": (4, 8), "gate.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)},
    {"training": "True", "norm.eps": "1e-05", "norm.normalized_shape": "(4,)", "gate.in_features": "8"},
    ("training", "gate", "norm", "forward", "slope"),
)
HEAD = """import torch
import triton
import triton.language as tl


@triton.jit
def copy_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))


"""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the worker that builds Model."""
    monkeypatch.setattr(file, "members_of", lambda problem: MEMBERS)


def made(tmp_path: Path, text: str, name: str = "f", problem: str = PROBLEM, **mapping: str) -> Made:
    path = tmp_path / "kernels.py"
    path.write_text(HEAD + text)
    return model_new(Problem.from_source(problem), f"{path}:{name}", mapping)


def call(found: Made) -> str:
    """What ModelNew's forward returns."""
    return found.source.rpartition("return ")[2].strip()


def test_the_text_stays_and_a_model_new_comes_after_it(built: None, tmp_path: Path) -> None:
    body = "def f(x, gate_weight, gate_bias, weight, bias):\n    return copy_kernel[(1,)](x, x, BLOCK=8)\n"
    found = made(tmp_path, body)
    given, new = (HEAD + body).split("\n"), found.source.split("\n")
    assert new[3] == "import torch.nn as nn", "in place of an empty line"
    assert [line for i, line in enumerate(new[: len(given)]) if i != 3] == given[:3] + given[4:]
    assert found.source.endswith("""

class ModelNew(nn.Module):
    def __init__(self, inner: int, outer: int=4, slope=0.1):
        super().__init__()
        self.gate = nn.Linear(inner, outer)
        self.norm = nn.LayerNorm(outer)

    def forward(self, x: torch.Tensor, mask: torch.Tensor=None):
        return f(x, self.gate.weight, self.gate.bias, self.norm.weight, self.norm.bias)
""")
    assert breaches(KernelFile.parse(found.source), PROBLEM) == ()


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [
        ("x, gate_weight, w=None", "x, self.gate.weight"),
        ("gate_weight, x", "self.gate.weight, x"),
        ("a, gate_weight", "x, self.gate.weight"),
        ("a, mask=None", "x, mask"),
        ("mask, a", "mask, x"),
        ("x, eps", "x, self.norm.eps"),
        ("x, eps=1e-5", "x"),
        ("x, normalized_shape, in_features=3", "x, self.norm.normalized_shape"),
        ("x, training=False", "x, self.training"),
        ("x, inner", "x, self.inner"),
        ("x, slope=0.2", "x, self.slope_"),
        ("x, a=1, gate_bias=None", "x, gate_bias=self.gate.bias"),
        ("x, /, a=1, *, gate_bias", "x, gate_bias=self.gate.bias"),
        ("x, a=1, gate_bias=None, /", "x, 1, self.gate.bias"),
        ("x, *rest, **more", "x"),
    ],
)
def test_names_decide_then_the_order_of_inputs(
    built: None, tmp_path: Path, signature: str, wanted: str
) -> None:
    found = made(tmp_path, f"def f({signature}):\n    pass\n")
    assert call(found) == f"f({wanted})"


def test_an_argument_of_the_constructor_is_kept_for_the_call(built: None, tmp_path: Path) -> None:
    found = made(tmp_path, "def f(x, slope):\n    pass\n")
    assert "        self.slope_ = slope\n\n    def forward" in found.source, (
        "slope is the model's own already"
    )


def test_what_is_left_over_is_named_with_what_it_could_be(built: None, tmp_path: Path) -> None:
    with pytest.raises(AmbiguousParameters) as error:
        made(tmp_path, "def f(x, mask, w, b):\n    pass\n")
    assert "f's argument w" in str(error.value) and "--map w=NAME" in str(error.value)
    assert "gate.weight [4, 8], gate.bias [4], norm.weight [4]" in str(error.value)
    assert "gate.in_features" not in str(error.value)


def test_the_last_argument_takes_the_last_parameter(built: None, tmp_path: Path) -> None:
    body = "def f(x, mask, gate_weight, gate_bias, norm_weight, shift):\n    pass\n"
    assert call(made(tmp_path, body)).endswith("self.norm.weight, self.norm.bias)")


def test_the_users_map_comes_first_and_the_rest_of_it_is_the_judges(built: None, tmp_path: Path) -> None:
    found = made(
        tmp_path, "def f(a, x=None, eps=1e-5):\n    pass\n",
        x="gate.weight", a="x", eps="norm.eps", other="norm.bias",
    )  # fmt: skip
    assert call(found) == "f(x, self.gate.weight, self.norm.eps)"
    assert found.mapping == {"other": "norm.bias"}
    assert "it takes no gate.bias, norm.weight, norm.bias" in found.note
    with pytest.raises(AmbiguousParameters, match=r"the value of nothing, which Model does not have"):
        made(tmp_path, "def f(x):\n    pass\n", x="nothing")


def test_an_input_that_goes_nowhere_is_an_error(built: None, tmp_path: Path) -> None:
    problem = PROBLEM.replace("mask: torch.Tensor = None", "mask")
    with pytest.raises(AmbiguousParameters, match=r"forward's mask goes into no argument of f.*--map a=mask"):
        made(tmp_path, "def f(x, a=None):\n    pass\n", problem=problem)
    with pytest.raises(AmbiguousParameters, match="name a function that takes it"):
        made(tmp_path, "def f(x):\n    pass\n", problem=problem)


FUNCTION = """
class F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale=2.0, gate_bias=None):
        return x

    @staticmethod
    def backward(ctx, dy):
        return dy, None, None


f = F.apply
g = F
h = lambda x, gate_weight: x
"""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("F", "F.apply(x, 2.0, self.gate.bias)"),
        ("F.apply", "F.apply(x, 2.0, self.gate.bias)"),
        ("f", "f(x, 2.0, self.gate.bias)"),
        ("g", "g.apply(x, 2.0, self.gate.bias)"),
        ("h", "h(x, self.gate.weight)"),
    ],
)
def test_autograd_functions_aliases_and_lambdas(built: None, tmp_path: Path, name: str, wanted: str) -> None:
    assert call(made(tmp_path, FUNCTION, name)) == wanted


def test_a_function_with_setup_context_has_no_ctx(built: None, tmp_path: Path) -> None:
    text = FUNCTION.replace("ctx, x", "x").replace(
        "    @staticmethod\n    def backward", "    def setup_context"
    )
    assert call(made(tmp_path, text, "F")) == "F.apply(x, 2.0, self.gate.bias)"


def test_what_the_constructor_needs_of_the_problem_comes_along(built: None, tmp_path: Path) -> None:
    problem = (
        PROBLEM.replace("import torch.nn as nn", "import torch.nn as nn\nfrom math import sqrt\nWIDTH = 4")
        .replace("nn.LayerNorm(outer)", "Norm(WIDTH)")
        .replace("class Model", "class Norm(nn.LayerNorm):\n    root = sqrt(2)\n\n\nclass Model")
    )
    found = made(tmp_path, "def f(x):\n    pass\n", problem=problem).source
    assert found.index("from math import sqrt") < found.index("@triton.jit")
    assert found.index("WIDTH = 4\n") < found.index("class Norm(") < found.index("class ModelNew")
    assert breaches(KernelFile.parse(found), problem) != (), "nothing launches the kernel"
    with pytest.raises(KernelFileError, match="WIDTH is one thing here and another in the problem"):
        made(tmp_path, "WIDTH = 8\n\n\ndef f(x):\n    pass\n", problem=problem)
    assert (
        made(tmp_path, "WIDTH = 4\n\n\ndef f(x):\n    pass\n", problem=problem).source.count("WIDTH = 4") == 1
    )


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("def g(x):\n    pass\n", "f", "no function f; its functions are: copy_kernel, g"),
        ("", "copy_kernel", "py:7: copy_kernel is a kernel; name the function that launches it"),
        ("class f(torch.nn.Module):\n    pass\n", "f", "py:12: f is an nn.Module; rename it to ModelNew"),
        ("class f:\n    pass\n", "f", "py:12: f is no torch.autograd.Function"),
        ("f = make()\n", "f", "py:12: f is no function whose arguments can be read"),
        ("from math import sqrt as f\n", "f", "py:12: f is imported there"),
        ("from .others import g\ndef f(x):\n    pass\n", "f", "py:12: `from .others import g` is relative"),
        ("class ModelNew:\n    pass\ndef f(x):\n    pass\n", "f", "has a ModelNew already"),
        ("nn = 3\ndef f(x):\n    pass\n", "f", "nn is not torch.nn"),
    ],
)
def test_what_cannot_be_an_entry_says_why(
    built: None, tmp_path: Path, text: str, name: str, message: str
) -> None:
    with pytest.raises(KernelFileError) as error:
        made(tmp_path, text, name)
    assert message in str(error.value)


def test_a_constructor_that_cannot_be_taken_over_is_the_problems_matter(built: None, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"Model derives from more than nn\.Module"):
        made(
            tmp_path, "def f(x):\n    pass\n", problem=PROBLEM.replace("Model(nn.Module)", "Model(nn.Linear)")
        )
    with pytest.raises(ProblemError, match=r"Model.forward takes \*x"):
        made(tmp_path, "def f(x):\n    pass\n", problem=PROBLEM.replace("self, x: torch.Tensor", "self, *x"))


@pytest.mark.parametrize(
    "entry", ["kernels", "kernels.py", "kernels.py:", ":f", "kernels.py:a.b", "k.py:f()"]
)
def test_an_entry_that_names_no_function(entry: str) -> None:
    with pytest.raises(InputError, match=r"is not FILE.py:FUNCTION or package.module:FUNCTION"):
        model_new(Problem.from_source(PROBLEM), entry)


def imported(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of Python alone, which needs neither torch nor Triton to be imported."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_modules_and_callables_are_found_without_being_imported(
    built: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem.from_source(PROBLEM)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "fast.py").write_text(HEAD + "def f(x):\n    pass\n")
    found = model_new(problem, "ops.fast:f")
    assert found.path == tmp_path / "ops" / "fast.py" and call(found) == "f(x)"
    with pytest.raises(InputError, match=r"no module ops\.slow on Python's path; name its file"):
        model_new(problem, "ops.slow:f")

    (tmp_path / "plain.py").write_text("class F:\n    pass\n\n\ndef f(x, gate_bias):\n    return lambda: x\n")
    module = imported(tmp_path / "plain.py", "plain", monkeypatch)
    assert call(model_new(problem, module.f)) == "f(x, self.gate.bias)"
    with pytest.raises(InputError, match="is not defined at the top level of a module"):
        model_new(problem, module.f(1, 2))
    with pytest.raises(InputError, match="built-in function len> is no function written in Python"):
        model_new(problem, len)
    with pytest.raises(InputError, match="int has no Python source"):
        model_new(problem, int)
    monkeypatch.setattr(module.f, "__module__", "__main__")
    with pytest.raises(InputError, match="f is defined in the script that runs"):
        model_new(problem, module.f)
