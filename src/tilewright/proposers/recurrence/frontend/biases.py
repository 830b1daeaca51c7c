"""A bias after a product over whole sequences, as the product's own. Worker side."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

from tilewright.proposers.recurrence.frontend.tape import names_in, reads
from tilewright.proposers.recurrence.ir import Call, Name, Network, Statement, Tensor


def fuse_biases(network: Network) -> Network:
    """add([N] bias, reshape(mm(a, b))) as reshape(addmm(bias, a, b)) where only the add reads mm."""
    made = {s.name: s for s in network.statements if isinstance(s, Call)}
    uses = Counter(n for s in network.statements for n in reads(s))
    uses.update(names_in(network.outputs))
    fused: dict[str, tuple[Call, ...]] = {}
    dropped: set[str] = set()
    types = dict(network.types)
    for call in made.values():
        if call.target != "aten.add.Tensor" or call.kwargs or not all(isinstance(a, Name) for a in call.args):
            continue
        first, second = (cast(Name, a).name for a in call.args)
        for bias, rest in ((first, second), (second, first)):
            view = made.get(rest)
            product = view
            if view is not None and view.target == "aten.reshape.default":
                product = made.get(cast(Name, view.args[0]).name)
            if view is None or product is None or product.target != "aten.mm.default":
                continue
            shape = types[call.name].shape
            columns = types[product.name].shape[1]
            if types[bias].shape != (columns,) or shape[-1] != columns or types[rest].shape != shape:
                continue
            if uses[rest] > 1 or uses[product.name] > 1:
                continue
            dropped |= {rest, product.name}
            name = f"{call.name}_product" if view is not product else call.name
            types[name] = Tensor(types[product.name].shape, types[call.name].dtype)
            args = (Name(bias), *product.args)
            fused[call.name] = (Call(name, "aten.addmm.default", args, line=product.line),)
            if view is not product:
                again = Call(call.name, view.target, (Name(name), shape), line=call.line)
                fused[call.name] += (again,)
            break
    statements: list[Statement] = []
    for statement in network.statements:
        if isinstance(statement, Call) and statement.name in fused:
            statements.extend(fused[statement.name])
        elif not (isinstance(statement, Call) and statement.name in dropped):
            statements.append(statement)
    types = {n: t for n, t in types.items() if n not in dropped}
    return replace(network, statements=tuple(statements), types=types)
