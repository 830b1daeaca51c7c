"""Names for what a rewrite adds."""

from __future__ import annotations

import ast


def fresh(node: ast.AST, wanted: str) -> str:
    """The wanted name, or one like it that a piece of code does not use yet."""
    taken = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    taken |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    taken |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name
