"""The precision that a file computes its matrix products in, read from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from tilewright.kernelfile.flow import assignments, bind_call, is_constexpr
from tilewright.kernelfile.kernels import JitFunction, read_autotune
from tilewright.kernelfile.launches import LaunchReader
from tilewright.kernelfile.model import Dot, LaunchSite, Scalar
from tilewright.kernelfile.scopes import Folded, FunctionNode, Names, fold, last_name, with_defaults

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")  # what an operand may lose, least first
INPUT_PRECISIONS = {
    "ieee": "float32",
    "tf32x3": "float32",  # three TF32 products recover float32's mantissa
    "bf16x6": "float32",
    "bf16x3": "tf32",  # 16 bits of mantissa: above TF32, below float32
    "tf32": "tf32",
}
HALVES = {
    "float16": "float16", "fp16": "float16", "half": "float16", "bfloat16": "bfloat16", "bf16": "bfloat16",
    "float8e4nv": "bfloat16", "float8e5": "bfloat16", "float8e4b15": "bfloat16",  # below every class here
}  # fmt: skip
MOST_PARTS = 3
OF_PARTS = {  # bits of mantissa: 16 and 24 of two and three bfloat16, 22 of two float16
    ("bfloat16", 2): "tf32",
    ("bfloat16", 3): "float32",
    ("float16", 2): "tf32",
    ("float16", 3): "float32",
}
DOTS = frozenset({"dot", "mma_v2", "warpgroup_mma", "tcgen05_mma"})
TORCH_PRODUCTS = frozenset({
    "matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "addbmm", "addmv", "linear", "einsum", "tensordot",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "scaled_dot_product_attention",
})  # fmt: skip
MAX_STEPS = 8


def lowest(precisions: Iterable[str]) -> str:
    """The one that loses most; float32 for none at all."""
    return max(precisions, key=PRECISIONS.index, default="float32")


class DotReader:
    """Reads every tl.dot of a file."""

    def __init__(
        self,
        names: Names,
        functions: Mapping[str, JitFunction],
        launches: LaunchReader,
        sites: tuple[LaunchSite, ...],
    ) -> None:
        self.names = names
        self.functions = functions
        self.launches = launches
        self.sites = sites
        self._defined = {id(f.node): _definitions(f.node) for f in functions.values()}
        self._parts = {id(f.node): _parts(self._defined[id(f.node)]) for f in functions.values()}

    def read(self) -> dict[str, tuple[Dot, ...]]:
        """The dots of each jit function, by its name."""
        found: dict[str, tuple[Dot, ...]] = {}
        for name, function in self.functions.items():
            calls = [n for n in ast.walk(function.node) if isinstance(n, ast.Call)]
            products = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in DOTS]
            found[name] = tuple(self._dot(name, call) for call in sorted(products, key=lambda c: c.lineno))
        return found

    def torch_products(self) -> tuple[Dot, ...]:
        """Matrix products left to PyTorch, where the file lowers their precision."""
        found: list[Dot] = []
        for call, scope in self.names.calls:
            name = last_name(call.func)
            if name in TORCH_PRODUCTS:
                arguments = [*call.args, *(k.value for k in call.keywords)]
                casts = [c for a in arguments for c in self.launches.torch_casts(a, scope)]
                if casts:
                    found.append(Dot(call.lineno, lowest(casts), f"{name} of operands cast to {casts[0]}"))
            elif name == "set_float32_matmul_precision" and call.args:
                match fold(call.args[0]):
                    case Folded(value="high" | "medium" as level):
                        found.append(Dot(call.lineno, "tf32", f"float32 matmul precision set to {level}"))
                    case _:
                        pass
        for node in ast.walk(self.names.tree):
            match node:
                case ast.Assign(targets=[ast.Attribute(attr="allow_tf32")], value=ast.Constant(value=True)):
                    found.append(Dot(node.lineno, "tf32", "allow_tf32 switched on"))
                case _:
                    pass
        return tuple(found)

    def _dot(self, kernel: str, call: ast.Call) -> Dot:
        given = {k.arg: k.value for k in call.keywords if k.arg}
        order = ("input", "other", "acc", "input_precision", "allow_tf32")
        for name, argument in zip(order, call.args, strict=False):
            given.setdefault(name, argument)
        operands = [given[name] for name in ("input", "other", "a", "b") if name in given]
        if all(isinstance(o, ast.Call) and last_name(o.func) == "zeros" for o in operands):
            return Dot(call.lineno, "float32", "zeros, of which only the layout counts")
        for operand in operands:
            casts = set(self._casts(operand, self.functions[kernel].node, set()))
            if casts:
                half = lowest(casts)
                return Dot(call.lineno, half, f"{ast.unparse(operand)} is cast to {half} in {kernel}")
        for operand in operands:
            pointers = self._pointers(operand, self.functions[kernel].node, set())
            stored = lowest(self._stored(kernel, pointers))
            if stored != "float32":
                return Dot(call.lineno, stored, f"{ast.unparse(operand)} is read from {stored} memory")
        if "input_precision" in given and not _is_none(given["input_precision"]):
            modes = self.possible(kernel, given["input_precision"])
            found = {INPUT_PRECISIONS.get(str(mode), "tf32") for mode in modes}
            return Dot(call.lineno, lowest(found), f"input_precision={ast.unparse(given['input_precision'])}")
        if "allow_tf32" in given and not _is_none(given["allow_tf32"]):
            allowed = self.possible(kernel, given["allow_tf32"])
            precision = "float32" if allowed <= {False} else "tf32"
            return Dot(call.lineno, precision, f"allow_tf32={ast.unparse(given['allow_tf32'])}")
        return Dot(call.lineno, "tf32", "Triton's default for float32 operands")

    def possible(self, kernel: str, node: ast.expr, steps: int = 0) -> set[Scalar]:
        """The literals that an expression in a kernel can stand for; {None} among them when unknown."""
        literal = fold(node)
        if literal is not None:
            return {literal.value}
        if steps > MAX_STEPS:
            return {None}
        match node:
            case ast.IfExp(body=body, orelse=other):
                return self.possible(kernel, body, steps + 1) | self.possible(kernel, other, steps + 1)
            case ast.Name(id=name):
                function = self.functions[kernel].node
                parameters = {a.arg: d for a, d in with_defaults(function.args)}
                if name in parameters:
                    return self._parameter(kernel, name, parameters[name], steps)
                scope = self.names.scopes[function]
                only = scope.only(name)
                if only is not None:
                    return self.possible(kernel, only[1], steps + 1)
                return {None}
            case ast.Call(args=[argument]) if last_name(node.func) == "constexpr":
                return self.possible(kernel, argument, steps + 1)
            case _:
                return {None}

    def _parameter(self, kernel: str, name: str, default: ast.expr | None, steps: int) -> set[Scalar]:
        """What launches, configs and other kernels give a parameter."""
        found: set[Scalar] = set()
        for site in (s for s in self.sites if s.kernel == kernel):
            passed = site.passed(name)
            if passed is None:
                found |= self._unpassed(kernel, name, default, unclear=bool(site.reason))
            elif passed.value.known:
                found.add(passed.value.literal)
            else:
                found |= set(passed.value.choices) or {None}
        for caller, function in self.functions.items():
            for call in (n for n in ast.walk(function.node) if isinstance(n, ast.Call)):
                if last_name(call.func) == kernel:
                    given = dict(bind_call(call, self.functions[kernel].node))
                    expression = given.get(name, default)
                    found |= {None} if expression is None else self.possible(caller, expression, steps + 1)
        return found or self._unpassed(kernel, name, default, unclear=False)

    def _unpassed(self, kernel: str, name: str, default: ast.expr | None, *, unclear: bool) -> set[Scalar]:
        autotune = read_autotune(self.names, self.functions[kernel].decorators)
        configs = autotune.configs if autotune else ()
        tuned = {value for config in configs for key, value in config.constants if key == name}
        if tuned:
            return tuned
        literal = fold(default)
        return {None} if unclear or literal is None else {literal.value}

    def _casts(self, node: ast.AST, function: FunctionNode, seen: set[str]) -> Iterable[str]:
        """Half-precision casts between an operand and the loads it comes from."""
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="to"), args=[kind, *_]):
                yield from self._cast(value, kind, function, seen)
                return
            case ast.Call(func=callee, args=[value, kind, *_]) if last_name(callee) == "cast":
                yield from self._cast(value, kind, function, seen)
                return
            case ast.Call(func=callee) if last_name(callee) in DOTS | {"load"}:
                return
            case ast.Name(id=name) if name not in seen:
                seen.add(name)
                for value in self._defined[id(function)].get(name, ()):
                    yield from self._casts(value, function, seen)
                return
            case _:
                pass
        for child in ast.iter_child_nodes(node):
            yield from self._casts(child, function, seen)

    def _cast(self, value: ast.expr, kind: ast.expr, function: FunctionNode, seen: set[str]) -> Iterable[str]:
        """A value cast to half precision; several such parts of it keep more together than one."""
        parts = self._parts[id(function)].get(ast.unparse(value), 1)
        for half in self._half(kind, function):
            yield OF_PARTS.get((half, min(parts, MOST_PARTS)), half)
        if parts == 1:  # a rest is computed from what was cast before, and loses nothing by that
            yield from self._casts(value, function, seen)

    def _half(self, kind: ast.expr, function: FunctionNode) -> Iterable[str]:
        name = last_name(kind)
        if name in HALVES:
            yield HALVES[name]
        elif isinstance(kind, ast.Name):  # a dtype that the launch passes
            parameters = [a.arg for a, _ in with_defaults(function.args) if is_constexpr(a.annotation)]
            kernel = next((n for n, f in self.functions.items() if f.node is function), "")
            for site in (s for s in self.sites if s.kernel == kernel and kind.id in parameters):
                passed = site.passed(kind.id)
                given = passed.value.text.split(".")[-1] if passed else ""
                if given in HALVES:
                    yield HALVES[given]

    def _pointers(self, node: ast.AST, function: FunctionNode, seen: set[str]) -> set[str]:
        """Parameters that an operand is computed from, through its loads."""
        found: set[str] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in seen:
                found.add(part.id)
                seen.add(part.id)
                for value in self._defined[id(function)].get(part.id, ()):
                    found |= self._pointers(value, function, seen)
        return found & {a.arg for a, _ in with_defaults(function.args) if not is_constexpr(a.annotation)}

    def _stored(self, kernel: str, pointers: set[str]) -> Iterable[str]:
        """Half-precision casts that wrappers apply to tensors before they pass them."""
        for call, scope in self.names.calls:
            for site in self.sites:
                if site.kernel != kernel or site.place != self.names.place(call):
                    continue
                order = [a.arg for a, _ in with_defaults(self.functions[kernel].node.args)]
                given = dict(zip(order, call.args, strict=False))
                given |= {k.arg: k.value for k in call.keywords if k.arg}
                for pointer in pointers & set(given):
                    yield from self.launches.torch_casts(given[pointer], scope)


def _definitions(function: FunctionNode) -> dict[str, list[ast.expr]]:
    """Every expression that a function assigns to each of its names."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        for target, value in assignments(node):
            for leaf in ast.walk(target):
                if isinstance(leaf, ast.Name):
                    found.setdefault(leaf.id, []).append(value)
    return found


def _parts(defined: Mapping[str, list[ast.expr]]) -> dict[str, int]:
    """In how many parts a value is cast to half precision, by its text and by that of each rest.

    `low = x - high.to(tl.float32)`, where `high = x.to(tl.bfloat16)`, is the rest of x.
    """
    rest: dict[str, str] = {}
    for name, values in defined.items():
        for value in values:
            match value:
                case ast.BinOp(left=left, op=ast.Sub(), right=right) if _cast_back(right, left, defined):
                    rest[ast.unparse(left)] = name
                case _:
                    pass
    found: dict[str, int] = {}
    for first in rest.keys() - set(rest.values()):
        chain = [first]
        while (after := rest.get(chain[-1])) is not None and after not in chain:
            chain.append(after)
        found |= dict.fromkeys(chain, len(chain))
    return found


def _cast_back(node: ast.expr, value: ast.expr, defined: Mapping[str, list[ast.expr]]) -> bool:
    """Whether a node is `high.to(float32)` of a `high` that is this value cast."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=high), attr="to")):
            calls = [d.func for d in defined.get(high, ()) if isinstance(d, ast.Call)]
            casts = [c.value for c in calls if isinstance(c, ast.Attribute) and c.attr == "to"]
            return ast.unparse(value) in map(ast.unparse, casts)
        case _:
            return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
