"""The names that code uses, and names for what a rewrite adds."""

from __future__ import annotations

import ast


def names_in(node: ast.AST) -> set[str]:
    """Every name that a piece of code reads or binds as a variable."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def bound_in(node: ast.AST) -> set[str]:
    """Every name that a piece of code gives a value, or takes it from."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


def fresh(node: ast.AST, wanted: str) -> str:
    """The wanted name, or one like it that a piece of code does not use yet."""
    taken = names_in(node)
    taken |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    taken |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name
