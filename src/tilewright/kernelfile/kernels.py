"""Finds the @triton.jit functions of a file and reads their decorators."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tilewright.kernelfile.flow import Flow, is_constexpr
from tilewright.kernelfile.model import Autotune, Config, Dot, Kernel, Parameter, Scalar
from tilewright.kernelfile.scopes import FunctionNode, Names, Scope, fold, last_name, with_defaults

OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
DEFAULT_WARPS, DEFAULT_STAGES = 4, 3  # triton.Config and a launch without options, 3.6 and 3.9


@dataclass(frozen=True)
class JitFunction:
    """A jit function's node, and its decorators, those applied as calls further down included."""

    node: FunctionNode
    decorators: tuple[ast.expr, ...]


def find_jit_functions(names: Names) -> dict[str, JitFunction]:
    """Every function that triton.jit decorates, by the name that the file calls it."""
    functions: dict[str, FunctionNode] = {}
    found: dict[str, JitFunction] = {}
    for node in ast.walk(names.tree):
        if isinstance(node, FunctionNode):
            functions.setdefault(node.name, node)
            if any(_is_jit(d) for d in node.decorator_list):
                found[node.name] = JitFunction(node, tuple(node.decorator_list))
    for statement in names.tree.body:  # kernel = triton.autotune(…)(triton.jit(function))
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        applied: list[ast.expr] = []
        inner: ast.expr = statement.value
        while isinstance(inner, ast.Call) and len(inner.args) == 1 and _is_decorator(inner.func):
            applied.append(inner.func)
            inner = inner.args[0]
        if applied and isinstance(inner, ast.Name) and inner.id in functions:
            node = functions[inner.id]
            decorators = (*applied, *node.decorator_list)
            if any(_is_jit(d) for d in decorators):
                found[statement.targets[0].id] = JitFunction(node, decorators)
                if inner.id != statement.targets[0].id:
                    found.pop(inner.id, None)
    return found


def read_kernels(
    names: Names,
    functions: Mapping[str, JitFunction],
    launched: Iterable[str],
    dots: Mapping[str, tuple[Dot, ...]],
) -> tuple[Kernel, ...]:
    """The kernels in the order written."""
    flow = Flow({name: function.node for name, function in functions.items()})
    uses = {name: flow.uses(name) for name in functions}
    called = {callee for one in uses.values() for callee in one.calls}
    launched = set(launched)
    kernels = []
    for name, function in functions.items():
        node, found = function.node, uses[name]
        parameters = tuple(
            Parameter(a.arg, is_constexpr(a.annotation), None if d is None else ast.unparse(d))
            for a, d in with_defaults(node.args)
        )
        order = [p.name for p in parameters]
        kernels.append(
            Kernel(
                name=name,
                line=node.lineno,
                place=names.place(node),
                parameters=parameters,
                autotune=read_autotune(names, function.decorators),
                heuristics=heuristics(function.decorators),
                helper=name in called and name not in launched,
                gluon=any("gluon" in ast.unparse(d) for d in function.decorators),
                calls=tuple(sorted(found.calls)),
                dots=dots.get(name, ()),
                reads=tuple(p for p in order if p in found.reads),
                writes=tuple(p for p in order if p in found.writes),
                sizes=tuple(p for p in order if p in found.sizes),
                tiles=found.tiles(tuple(p.name for p in parameters if p.constexpr)),
                loops=found.loops,
            )
        )
    return tuple(sorted(kernels, key=lambda kernel: kernel.line))


def read_autotune(names: Names, decorators: Iterable[ast.expr]) -> Autotune | None:
    """The @triton.autotune among a function's decorators."""
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and last_name(decorator.func) == "autotune":
            break
    else:
        return None
    given = {k.arg: k.value for k in decorator.keywords if k.arg}
    for position, name in enumerate(("configs", "key")):
        if len(decorator.args) > position:
            given.setdefault(name, decorator.args[position])
    key = tuple(
        str(part.value) for part in getattr(given.get("key"), "elts", ()) if isinstance(part, ast.Constant)
    )
    place = names.place(decorator)
    if "configs" not in given:
        return Autotune(place, (), key, reason="no configs are given")
    try:
        listing, scope = _display(names, given["configs"], names.module)
        configs = tuple(read_config(names, element, scope) for element in listing.elts)
    except NotUnderstood as error:
        return Autotune(place, (), key, reason=str(error))
    return Autotune(place, configs, key, names.place(listing), names.place(given["configs"]))


class NotUnderstood(Exception):
    """A list of configs is made in a way that reading alone does not follow; the message says how."""


def _display(names: Names, node: ast.expr, scope: Scope) -> tuple[ast.List | ast.Tuple, Scope]:
    """The list display that an expression stands for."""
    match node:
        case ast.List() | ast.Tuple():
            return node, scope
        case ast.Name(id=name):
            only = scope.only(name)
            if only is None:
                raise NotUnderstood(f"the list {name} is not assigned exactly once")
            return _display(names, only[1], only[0])
        case ast.ListComp():
            raise NotUnderstood("the configs come from a list comprehension")
        case ast.Call(func=function):
            raise NotUnderstood(f"the configs come from calling {ast.unparse(function)}")
        case _:
            raise NotUnderstood(f"the configs are computed as {ast.unparse(node)[:60]}")


def read_config(names: Names, node: ast.expr, scope: Scope) -> Config:
    """A `triton.Config({…}, num_warps=…)` with literal values.

    Raises:
        NotUnderstood: it is anything else.
    """
    if isinstance(node, ast.Name) and (only := scope.only(node.id)):
        return read_config(names, only[1], only[0])
    if not isinstance(node, ast.Call) or last_name(node.func) != "Config":
        raise NotUnderstood(f"{ast.unparse(node)[:60]} is not a triton.Config")
    given = {k.arg: k.value for k in node.keywords if k.arg}
    if strange := sorted(set(given) - {"kwargs", "num_warps", "num_stages"}):
        raise NotUnderstood(f"a config sets {', '.join(strange)}")
    for name, argument in zip(("kwargs", "num_warps", "num_stages"), node.args, strict=False):
        given.setdefault(name, argument)
    constants: list[tuple[str, Scalar]] = []
    ignored: list[tuple[str, Scalar]] = []
    for key, value in read_dict(given.get("kwargs")):
        literal = _literal(names, value, scope)
        (ignored if key in OPTIONS else constants).append((key, literal))
    return Config(
        names.place(node),
        tuple(constants),
        _option(names, given.get("num_warps"), scope, DEFAULT_WARPS),
        _option(names, given.get("num_stages"), scope, DEFAULT_STAGES),
        tuple(ignored),
    )


def read_dict(node: ast.expr | None) -> list[tuple[str, ast.expr]]:
    """The entries of `{"A": 1}` or `dict(A=1)`.

    Raises:
        NotUnderstood: it is anything else.
    """
    match node:
        case ast.Dict(keys=keys, values=values):
            pairs = [
                (key.value, value)
                for key, value in zip(keys, values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
            if len(pairs) == len(keys):
                return pairs
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            named = [(k.arg, k.value) for k in keywords if k.arg is not None]
            if len(named) == len(keywords):
                return named
        case _:
            pass
    raise NotUnderstood(f"{ast.unparse(node) if node else 'nothing'} is not a dict of named constants")


def _literal(names: Names, node: ast.expr, scope: Scope) -> Scalar:
    value = names.resolve(node, scope)
    if not value.known:
        raise NotUnderstood(f"in a config, {value.reason}")
    return value.literal


def _option(names: Names, node: ast.expr | None, scope: Scope, default: int) -> int:
    value = default if node is None else _literal(names, node, scope)
    return value if isinstance(value, int) else default


def heuristics(decorators: Iterable[ast.expr]) -> tuple[str, ...]:
    """Names of the constants that @triton.heuristics computes."""
    computed: list[str] = []
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and last_name(decorator.func) == "heuristics":
            for argument in (*decorator.args, *(k.value for k in decorator.keywords)):
                keys = argument.keys if isinstance(argument, ast.Dict) else []
                computed += [str(c.value) for k in keys if k is not None and (c := fold(k))]
    return tuple(computed)


def _is_jit(decorator: ast.expr) -> bool:
    """`@triton.jit`, `@jit`, `@gluon.jit`, called or not; not torch's own jit."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return last_name(function) == "jit" and not ast.unparse(function).startswith(("torch.", "numba."))


def _is_decorator(function: ast.expr) -> bool:
    inner = function.func if isinstance(function, ast.Call) else function
    return _is_jit(function) or last_name(inner) in ("autotune", "heuristics")
