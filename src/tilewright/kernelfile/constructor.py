"""The reference's constructor, and whatever of the problem's module it needs, as text for ModelNew."""

from __future__ import annotations

import ast
import inspect
import keyword
from dataclasses import dataclass

from tilewright.errors import ProblemError, Where
from tilewright.problem import Problem

PROVIDED = frozenset({"torch", "nn", "triton", "tl"})  # every ModelNew file imports these


@dataclass(frozen=True)
class Constructor:
    """What ModelNew takes over from Model.

    Args:
        imports: lines beyond torch, torch.nn and triton.
        constants: assignments; definitions: functions and classes of the problem's module.
        methods: `__init__` and the methods it calls, as written there with `super()` shortened, indented
            for the class body; None where Model has no constructor of its own.
        forward: the parameters of forward without self, in order, with defaults.
    """

    imports: tuple[str, ...]
    constants: tuple[str, ...]
    definitions: tuple[str, ...]
    methods: tuple[str, ...]
    forward: ast.arguments


def read_constructor(problem: Problem) -> Constructor:
    """Read Model's constructor from the problem's text.

    Raises:
        ProblemError: Model is not a plain nn.Module with a forward of its own, or its constructor reads
            Model, get_inputs or get_init_inputs.
    """
    tree = ast.parse(problem.source)
    bound = _bindings(tree)
    model = bound.get("Model")
    if not isinstance(model, ast.ClassDef):
        raise _not_carried(problem, "Model is not a class of the problem's file")
    if [ast.unparse(base) for base in model.bases] not in (["nn.Module"], ["torch.nn.Module"]):
        raise _not_carried(problem, "Model derives from more than nn.Module", model.lineno)
    methods = {item.name: item for item in model.body if isinstance(item, ast.FunctionDef)}
    if "forward" not in methods:
        raise _not_carried(problem, "Model has no forward of its own", model.lineno)
    attributes = [
        item for item in model.body if isinstance(item, ast.Assign | ast.AnnAssign) and "__init__" in methods
    ]
    wanted = _called_methods(methods)
    for name in wanted:
        _Super().visit(methods[name])
    signature = ast.Expr(ast.Lambda(methods["forward"].args, ast.Constant(None)))
    needed = _needed([signature, *attributes, *(methods[name] for name in wanted)], bound, problem)
    nodes = [bound[name] for name in needed]
    for name in wanted:
        _clean_docstring(methods[name])
    return Constructor(
        tuple(dict.fromkeys(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))),
        tuple(dict.fromkeys(ast.unparse(n) for n in nodes if isinstance(n, ast.Assign | ast.AnnAssign))),
        tuple(dict.fromkeys(ast.unparse(n) for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef))),
        tuple(ast.unparse(item) for item in [*attributes, *(methods[name] for name in wanted)]),
        methods["forward"].args,
    )


def attribute(path: str) -> str:
    """ "net.0.weight" → "self.net[0].weight"."""
    text = "self"
    for part in path.split("."):
        if part.isdecimal():
            text += f"[{part}]"
        elif part.isidentifier() and not keyword.iskeyword(part):
            text += f".{part}"
        else:
            return f'self.get_parameter("{path}")'
    return text


def _not_carried(problem: Problem, why: str, line: int | None = None) -> ProblemError:
    return ProblemError(
        why,
        where=Where(problem.path, line),
        mend="make it a plain nn.Module, whose constructor can be taken over",
    )


def _clean_docstring(function: ast.FunctionDef) -> None:
    """Take the indentation out of a docstring: the text is indented anew in ModelNew."""
    match function.body[0]:
        case ast.Expr(value=ast.Constant(value=str() as text)) as first:
            clean = inspect.cleandoc(text)
            margin = "\n    " if "\n" in clean else ""
            first.value = ast.Constant(clean.replace("\n", "\n    ") + margin)
        case _:
            pass


def _bindings(tree: ast.Module) -> dict[str, ast.stmt]:
    """Each name of the module's top level with the statement that binds it."""
    bound: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound[name] = node
            case ast.Assign(targets=targets):
                leaves = [leaf for target in targets for leaf in ast.walk(target)]
                bound |= {leaf.id: node for leaf in leaves if isinstance(leaf, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound[name] = node
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    single = type(node)(**{**vars(node), "names": [alias]})
                    bound[(alias.asname or alias.name).split(".")[0]] = single
            case _:
                pass
    return bound


def _called_methods(methods: dict[str, ast.FunctionDef]) -> list[str]:
    """`__init__` and every method it reaches through self."""
    reached: list[str] = []
    pending = ["__init__"] if "__init__" in methods else []
    while pending:
        name = pending.pop(0)
        if name in reached:
            continue
        reached.append(name)
        for node in ast.walk(methods[name]):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=attr) if attr in methods:
                    pending.append(attr)
                case _:
                    pass
    return reached


def _needed(nodes: list[ast.stmt], bound: dict[str, ast.stmt], problem: Problem) -> list[str]:
    """Names of the module that these statements read, through one another, in the file's order."""
    needed: set[str] = set()
    pending: list[ast.AST] = list(nodes)
    while pending:
        for leaf in _free(pending.pop()):
            if leaf.id in needed | PROVIDED or leaf.id not in bound:
                continue
            if leaf.id in ("Model", "get_inputs", "get_init_inputs"):
                raise _not_carried(problem, f"the constructor reads {leaf.id}", leaf.lineno)
            needed.add(leaf.id)
            pending.append(bound[leaf.id])
    order = list(bound)
    return sorted(needed, key=order.index)


def _free(node: ast.AST) -> list[ast.Name]:
    """Names that a statement reads from outside itself: a function's own variables are left out."""
    if isinstance(node, ast.ClassDef):
        own = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.ClassDef)}
        inside = [leaf for item in node.body for leaf in _free(item)]
        outside = [leaf for item in [*node.bases, *node.decorator_list] for leaf in _free(item)]
        return [leaf for leaf in [*inside, *outside] if leaf.id not in own]
    names = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.Name)]
    if not isinstance(node, ast.FunctionDef):
        return names
    own = {leaf.arg for leaf in ast.walk(node) if isinstance(leaf, ast.arg)}
    own |= {leaf.id for leaf in names if isinstance(leaf.ctx, ast.Store)}
    around = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    signature = [leaf for part in around for leaf in ast.walk(part) if isinstance(leaf, ast.Name)]
    return [*signature, *(leaf for leaf in names if leaf.id not in own)]


class _Super(ast.NodeTransformer):
    """`super(Model, self)` becomes `super()`, which does not name the class."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="super"), args=[ast.Name(id="Model"), ast.Name()]):
                node.args = []
            case _:
                pass
        return node
