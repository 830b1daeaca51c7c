"""How an entry is called, and with which arguments; read from its text."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from tilewright.entry.find import Entry
from tilewright.errors import KernelFileError, Where
from tilewright.kernelfile.scopes import last_name, with_defaults

MAX_STEPS = 8


@dataclass(frozen=True)
class Argument:
    """One argument of an entry.

    Args:
        default: its text; None where the argument must be given.
        positional, keyword: how it may be given.
    """

    name: str
    default: str | None
    positional: bool
    keyword: bool

    @property
    def required(self) -> bool:
        return self.default is None


@dataclass(frozen=True)
class Callee:
    """What to write in front of the brackets, "linear" or "LayerNorm.apply", and what goes between them."""

    call: str
    arguments: tuple[Argument, ...]


def read_callee(entry: Entry, tree: ast.Module) -> Callee:
    """Read the signature of an entry: a function, a lambda, a torch.autograd.Function or its apply.

    Raises:
        KernelFileError: there is none of this name, or it is not one of these; the line is named.
    """
    return _read(entry, tree, entry.name, entry.name, 0)


def _read(entry: Entry, tree: ast.Module, name: str, call: str, steps: int) -> Callee:
    bound = _binding(tree, name)
    if bound is None or steps > MAX_STEPS:
        functions = ", ".join(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
        raise KernelFileError(
            f"no function {name}",
            where=Where(entry.path),
            mend=f"its functions are: {functions}" if functions else "name a file that defines it",
        )
    where = Where(entry.path, bound.lineno)
    match bound:
        case ast.FunctionDef(args=arguments) | ast.Assign(value=ast.Lambda(args=arguments)):
            return Callee(call, _arguments(arguments))
        case ast.ClassDef():
            return Callee(f"{call}.apply", _autograd(bound, where))
        case ast.Assign(value=ast.Name(id=other)):
            return _read(entry, tree, other, call, steps + 1)
        case ast.Assign(value=ast.Attribute(value=ast.Name(id=other), attr="apply")):
            return Callee(call, _read(entry, tree, other, other, steps + 1).arguments)
        case ast.Import() | ast.ImportFrom():
            raise KernelFileError(
                f"{name} is imported there", where=where, mend="name the file that defines it"
            )
        case _:
            raise KernelFileError(
                f"{name} is no function whose arguments can be read",
                where=where,
                mend="name a function, or a torch.autograd.Function",
            )


def _binding(tree: ast.Module, name: str) -> ast.stmt | None:
    """The last top-level statement that binds a name, also inside `if`, `try` and `with`."""
    last: ast.stmt | None = None
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop(0)
        match node:
            case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
                last = node if bound == name else last
            case ast.Assign(targets=targets) if any(
                isinstance(target, ast.Name) and target.id == name for target in targets
            ):
                last = node
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                last = node if any((alias.asname or alias.name) == name for alias in aliases) else last
            case ast.If() | ast.Try() | ast.With():
                pending[:0] = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)]
            case _:
                pass
    return last


def _autograd(node: ast.ClassDef, where: Where) -> tuple[Argument, ...]:
    """The arguments of a torch.autograd.Function: its forward's without ctx; apply takes no keywords."""
    bases = [last_name(base) for base in node.bases]
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    if "Module" in bases:
        raise KernelFileError(
            f"{node.name} is an nn.Module",
            where=where,
            mend="rename it to ModelNew, and give the file itself",
        )
    if "Function" not in bases or "forward" not in methods:
        raise KernelFileError(
            f"{node.name} is no torch.autograd.Function with a forward",
            where=where,
            mend="name a function, or a torch.autograd.Function",
        )
    arguments = _arguments(methods["forward"].args, by_keyword=False)
    return arguments if "setup_context" in methods else arguments[1:]


def _arguments(arguments: ast.arguments, *, by_keyword: bool = True) -> tuple[Argument, ...]:
    """All but *args and **kwargs, to which nothing is passed."""
    only = {a.arg for a in arguments.kwonlyargs}
    unnamed = {a.arg for a in arguments.posonlyargs}
    rest = {a.arg for a in (arguments.vararg, arguments.kwarg) if a}
    return tuple(
        Argument(
            a.arg,
            ast.unparse(default) if default is not None else None,
            a.arg not in only,
            by_keyword and a.arg not in unnamed,
        )
        for a, default in with_defaults(arguments)
        if a.arg not in rest and (by_keyword or a.arg not in only)
    )
