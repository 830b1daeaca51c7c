"""What Triton's compiler refuses in a kernel and its interpreter, which runs it as Python, lets pass.

The compiler looks a global name up by rules of its own and knows some of Python's statements and expressions
(`CodeGenerator` in triton/compiler/code_generator.py). Where a kernel may use anything, all that a file
computes could stand in a kernel and be none of Triton.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import triton.language as tl
from triton.compiler.code_generator import CodeGenerator
from triton.compiler.errors import CompilationError
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpretedFunction

LANGUAGE = ("triton.language", "triton.experimental.gluon.language")
FRIENDS = ("triton", "math")
HANDLE = "handle"  # what a tensor is to the interpreter: numpy's arrays
PARTS = (ast.FormattedValue, ast.Starred)  # taken by whatever they are part of
_checked: set[Callable[..., Any]] = set()


def install() -> None:
    """Have kernels read before they are interpreted. Once for a process."""
    original = interpreter.GridExecutor.__call__

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        check(executor.fn)
        return original(executor, *args, **kwargs)

    interpreter.GridExecutor.__call__ = call


def check(function: Callable[..., Any]) -> None:
    """Raises CompilationError for a kernel, or a function that it calls, that the compiler would refuse."""
    if function in _checked:
        return
    _checked.add(function)
    source = textwrap.dedent(inspect.getsource(function))
    start = re.search(r"^def\s", source, re.MULTILINE)
    source = source[start.start() if start else 0 :]
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    local = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    local |= {argument.arg for argument in ast.walk(tree) if isinstance(argument, ast.arg)}
    for node in _within(tree):
        if what := _refused(node, scope, local):
            raise CompilationError(source, node, what)
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for called in (scope[name] for name in named & scope.keys() - local):
        if isinstance(called, InterpretedFunction):
            check(called.fn)


def _within(tree: ast.FunctionDef) -> Iterator[ast.AST]:
    for statement in tree.body:
        yield from ast.walk(statement)


def _refused(node: ast.AST, scope: dict[str, Any], local: set[str]) -> str:
    """Why the compiler would not take this; empty where it would."""
    kind = type(node).__name__
    written = isinstance(node, ast.stmt | ast.expr) and not isinstance(node, PARTS)
    if written and not hasattr(CodeGenerator, f"visit_{kind}"):
        return f"unsupported AST node type: {kind}"
    if isinstance(node, ast.FunctionDef):
        return "nested function definition is not supported."
    if isinstance(node, ast.Attribute) and node.attr == HANDLE:
        return "a tensor's handle belongs to the interpreter; compiled there is none"
    if isinstance(node, ast.Attribute) and callable(_attribute(node, scope, local)):
        return f"{ast.unparse(node)} is Python's own, and no function of triton.language"
    if isinstance(node, ast.Name) and node.id in scope and node.id not in local | set(vars(builtins)):
        value = scope[node.id]
        if not _usable(value):
            return f"Cannot access global variable {node.id} from within @jit'ed function"
    return ""


def _attribute(node: ast.expr, scope: dict[str, Any], local: set[str]) -> Any:
    """What an attribute of a module stands for, unless the module is Triton's or mathematics'; else None."""
    match node:
        case ast.Name(id=name) if name in scope and name not in local:
            module = scope[name]
            foreign = isinstance(module, types.ModuleType) and module.__name__.split(".")[0] not in FRIENDS
            return module if foreign else None
        case ast.Attribute(value=owner, attr=name):
            return getattr(_attribute(owner, scope, local), name, None)
        case _:
            return None


def _usable(value: Any) -> bool:
    """Whether a kernel may name this global."""
    return (
        isinstance(value, types.ModuleType | tl.constexpr | tl.dtype | InterpretedFunction)
        or (isinstance(value, type) and issubclass(value, tuple))
        or getattr(value, "__triton_builtin__", False)
        or getattr(value, "__triton_aggregate__", False)
        or str(getattr(value, "__module__", "")).startswith(LANGUAGE)
        or type(value).__name__ == "ConstexprFunction"
    )
