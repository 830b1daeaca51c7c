"""A ModelNew file as a value."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from tilewright.errors import KernelFileError, Where
from tilewright.kernelfile.kernels import JitFunction, find_jit_functions, read_kernels
from tilewright.kernelfile.launches import LaunchReader
from tilewright.kernelfile.model import Class, Dot, Import, Kernel, LaunchSite, Method, Section
from tilewright.kernelfile.precision import DotReader, lowest
from tilewright.kernelfile.scopes import FunctionNode, Names, last_name, with_defaults
from tilewright.problem import parse, read_text

PLAIN_CALLS = frozenset({"constexpr", "Config", "dict", "range", "sqrt", "log", "log2"})


@dataclass(frozen=True)
class KernelFile:
    """What a ModelNew file says, read from its text; nothing of it is executed.

    Args:
        sections: its top-level statements in order.
        kernels: its @triton.jit functions in order, helpers included.
        launches: every `kernel[grid](…)`; a call that may launch one of several kernels appears once
            for each.
        torch_products: matrix products left to PyTorch whose precision the file lowers.
    """

    source: str
    path: Path
    sections: tuple[Section, ...]
    imports: tuple[Import, ...]
    kernels: tuple[Kernel, ...]
    launches: tuple[LaunchSite, ...]
    wrappers: tuple[str, ...]
    classes: tuple[Class, ...]
    torch_products: tuple[Dot, ...] = ()

    @classmethod
    def parse(cls, source: str, path: str | Path = "candidate.py") -> KernelFile:
        """Read the text of a file; `path` is only what messages call it.

        Raises:
            KernelFileError: it is not Python.
        """
        path = Path(path)
        tree = parse(source, path, KernelFileError)
        names = Names(source, tree)
        functions = find_jit_functions(names)
        reader = LaunchReader(names, functions)
        sites = reader.read()
        dots = DotReader(names, functions, reader, sites)
        sections = tuple(_section(statement, functions) for statement in tree.body)
        return cls(
            source=source,
            path=path,
            sections=sections,
            imports=_imports(tree),
            kernels=read_kernels(names, functions, (s.kernel for s in sites), dots.read()),
            launches=sites,
            wrappers=tuple(s.name for s in sections if s.kind == "wrapper"),
            classes=read_classes(tree),
            torch_products=dots.torch_products(),
        )

    @classmethod
    def from_file(cls, path: str | Path) -> KernelFile:
        """Read a file.

        Raises:
            KernelFileError: no such file, not text, or not Python.
        """
        return cls.parse(read_text(Path(path), KernelFileError, "ModelNew file"), path)

    @property
    def precision(self) -> str:
        """What the file computes its matrix products in: the lowest of those it uses.

        "float32" (IEEE or emulated by several TF32 products, or no product at all), "tf32", "float16"
        or "bfloat16". Kernels that nothing launches do not count, unless no launch was found at all.
        """
        return lowest(dot.precision for dot in self.dots)

    @property
    def dots(self) -> tuple[Dot, ...]:
        """Every product that `precision` looks at."""
        launched = {site.kernel for site in self.launches}
        reached = launched | {callee for k in self.kernels if k.name in launched for callee in k.calls}
        live = [k for k in self.kernels if k.name in reached] or self.kernels
        return (*(dot for kernel in live for dot in kernel.dots), *self.torch_products)

    def kernel(self, name: str) -> Kernel:
        """The kernel of this name.

        Raises:
            KernelFileError: there is none.
        """
        for kernel in self.kernels:
            if kernel.name == name:
                return kernel
        known = ", ".join(k.name for k in self.kernels) or "none"
        raise KernelFileError(
            f"no kernel named {name}", where=Where(self.path), mend=f"its kernels are: {known}"
        )

    def model(self) -> Class:
        """The class ModelNew.

        Raises:
            KernelFileError: there is none.
        """
        for one in self.classes:
            if one.name == "ModelNew":
                return one
        others = [one for one in self.classes if any(base.endswith("Module") for base in one.bases)]
        raise KernelFileError(
            "no class ModelNew",
            where=Where(self.path, others[-1].line if others else None),
            mend="rename it to `class ModelNew(nn.Module)`" if others else "add `class ModelNew(nn.Module)`",
        )

    def require_kernels(self) -> tuple[Kernel, ...]:
        """The kernels, at least one.

        Raises:
            KernelFileError: no function is decorated with @triton.jit.
        """
        if not self.kernels:
            raise KernelFileError(
                "no @triton.jit kernel", where=Where(self.path), mend="add one, and launch it from ModelNew"
            )
        return self.kernels

    def sites(self, kernel: str) -> tuple[LaunchSite, ...]:
        return tuple(site for site in self.launches if site.kernel == kernel)


def read_classes(tree: ast.Module) -> tuple[Class, ...]:
    """The top-level classes of a module."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = tuple(_method(n) for n in node.body if isinstance(n, FunctionNode))
            found.append(Class(node.name, node.lineno, tuple(ast.unparse(b) for b in node.bases), methods))
    return tuple(found)


def _method(node: FunctionNode) -> Method:
    described = []
    arguments = node.args
    keyword_only = {a.arg for a in arguments.kwonlyargs}
    for argument, default in with_defaults(arguments):
        name = argument.arg
        if argument is arguments.vararg:
            name = f"*{name}"
        elif argument is arguments.kwarg:
            name = f"**{name}"
        elif name in keyword_only:
            name = f"{name} (keyword only)"
        described.append(name if default is None else f"{name}={ast.unparse(default)}")
    return Method(node.name, node.lineno, tuple(described[1:]))


def _imports(tree: ast.Module) -> tuple[Import, ...]:
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(a.name, a.asname or a.name, node.lineno) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [Import(f"{module}.{a.name}", a.asname or a.name, node.lineno) for a in node.names]
    return tuple(sorted(found, key=lambda one: one.line))


def _section(node: ast.stmt, functions: dict[str, JitFunction]) -> Section:
    kind, name = "statement", ""
    match node:
        case ast.Import() | ast.ImportFrom():
            kind = "import"
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            kind = "kernel" if name in functions else "wrapper"
        case ast.ClassDef(name=name):
            kind = "class"
        case ast.Expr(value=ast.Constant(value=str())):
            kind = "docstring"
        case ast.If(test=test) if "__name__" in ast.unparse(test):
            kind = "main"
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            kind = _assigned(name, value, functions)
        case ast.Assign(targets=[ast.Tuple()], value=value) if _is_plain(value):
            kind = "constant"
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is None or _is_plain(value):
            kind = "constant"
        case _:
            pass
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return Section(kind, name, first, node.end_lineno or node.lineno)


def _assigned(name: str, value: ast.expr, functions: dict[str, JitFunction]) -> str:
    if name in functions:
        return "kernel"
    if isinstance(value, ast.Lambda):
        return "wrapper"
    return "constant" if _is_plain(value) else "statement"


def _is_plain(value: ast.expr) -> bool:
    """Literals, arithmetic and containers of them, names, tl.constexpr(…), dtypes and triton.Config(…)."""
    for node in ast.walk(value):
        if isinstance(node, ast.Lambda | ast.Await | ast.Yield):
            return False
        if isinstance(node, ast.Call) and last_name(node.func) not in PLAIN_CALLS:
            return False
    return True
