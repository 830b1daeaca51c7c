"""Reads what a kernel does out of its Triton IR: which pointers it stores to, how often its loops run.

The IR is parsed from its text, which is the same in every Triton version that this package
supports; operations that are not known here are carried along and evaluate to "unknown".

Grammar of what is kept::

    Function  = name, parameters (name, type)…, body
    Operation = results…, opcode, operands…, text, regions…
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_RESULTS = re.compile(r"^((?:%[\w$.#-]+(?::\d+)?(?:,\s*)?)+)\s*=\s*")
_OPCODE = re.compile(r'^"?([\w.]+)"?')
_VALUE = re.compile(r"%[\w$.-]+(?:#\d+)?")
_LOCATION = re.compile(r"\s*loc\((?:[^()]|\([^()]*\))*\)")
_PARAMETER = re.compile(r"(%[\w$.-]+):\s*((?:!?[\w.]+(?:<(?:[^<>]|<[^<>]*>)*>)?))")
_ITER = re.compile(r"(%[\w$.-]+)\s*=\s*(%[\w$.-]+(?:#\d+)?)")


@dataclass
class Operation:
    """One operation.

    Args:
        results: names it defines; of a multi-result operation `%x:3` the names %x#0, %x#1, %x#2.
        opcode: "arith.addi", "scf.for".
        operands: the values it names, in order, before its type signature.
        text: the whole line, without locations.
        regions: its bodies: one of scf.for, two of scf.if with an else and of scf.while.
        carried: of scf.for, the names its iteration arguments have inside the body.
    """

    results: tuple[str, ...]
    opcode: str
    operands: tuple[str, ...]
    text: str
    regions: list[list[Operation]] = field(default_factory=list)
    carried: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """What stands behind the last top-level colon."""
        return self.text.rsplit(" : ", 1)[-1].strip() if " : " in self.text else ""


@dataclass
class Function:
    """A kernel's entry function. `parameters` maps "%name" to its type, in order."""

    name: str
    parameters: dict[str, str]
    body: list[Operation]

    def walk(self) -> Iterator[tuple[Operation, tuple[Operation, ...]]]:
        """Every operation with the operations that enclose it, outermost first."""
        yield from _walk(self.body, ())


def parse(text: str) -> Function:
    """The public function of a module in Triton IR (or Triton GPU IR).

    Raises:
        ValueError: there is none.
    """
    function: Function | None = None
    stack: list[list[Operation]] = []
    owners: list[Operation | None] = []
    for raw in text.splitlines():
        line = _LOCATION.sub("", raw).strip()
        if function is None:
            if "tt.func public" in line:
                name = re.search(r"@([\w$.]+)", line)
                function = Function(name.group(1) if name else "", {}, [])
                function.parameters = dict(_PARAMETER.findall(line[line.index("(") :]))
                stack, owners = [function.body], [None]
            continue
        if not line or line.startswith(("//", "#", "^")):
            continue
        if line.startswith("}"):
            stack.pop()
            owner = owners.pop()
            if not stack:
                return function
            if owner is not None and re.match(r"^\}\s*(?:else|do|,)\b", line) and line.endswith("{"):
                owner.regions.append([])
                stack.append(owner.regions[-1])
                owners.append(owner)
                if match := re.search(r"\bdo\b", line):
                    owner.text += line[match.start() :]
            continue
        operation = _operation(line)
        stack[-1].append(operation)
        if line.endswith("{"):
            operation.regions.append([])
            stack.append(operation.regions[-1])
            owners.append(operation)
    raise ValueError("no public function in the IR")


def _operation(line: str) -> Operation:
    results: list[str] = []
    rest = line
    if match := _RESULTS.match(line):
        rest = line[match.end() :]
        for name in re.findall(r"%[\w$.-]+(?::\d+)?", match.group(1)):
            base, _, count = name.partition(":")
            results.extend([f"{base}#{i}" for i in range(int(count))] if count else [base])
    opcode = _OPCODE.match(rest)
    code = opcode.group(1) if opcode else rest.split(" ")[0]
    if code in ("scf.for", "scf.while"):
        pairs = _ITER.findall(rest)
        induction = re.match(r"scf\.for\s+(?:unsigned\s+)?(%[\w$.-]+)\s*=", rest)
        bounds = re.search(r"=\s*(%\S+)\s+to\s+(%\S+)\s+step\s+(%\S+)", rest)
        if induction and bounds:
            inits = [init for name, init in pairs if name != induction.group(1)]
            names = [name for name, _ in pairs if name != induction.group(1)]
            return Operation(
                tuple(results), code, (*bounds.groups(), *inits), line, [], (induction.group(1), *names)
            )
        return Operation(
            tuple(results), code, tuple(i for _, i in pairs), line, [], tuple(n for n, _ in pairs)
        )
    return Operation(tuple(results), code, tuple(_VALUE.findall(rest)), line)


def _walk(
    body: list[Operation], inside: tuple[Operation, ...]
) -> Iterator[tuple[Operation, tuple[Operation, ...]]]:
    for operation in body:
        yield operation, inside
        for region in operation.regions:
            yield from _walk(region, (*inside, operation))


STORES = frozenset(
    {
        "tt.store",
        "tt.atomic_rmw",
        "tt.atomic_cas",
        "tt.descriptor_store",
        "tt.descriptor_reduce",
        "tt.descriptor_scatter",
        "ttg.async_tma_copy_local_to_global",
        "ttng.async_tma_copy_local_to_global",
        "ttng.async_tma_reduce",
    }
)
LOADS = frozenset(
    {
        "tt.load",
        "tt.descriptor_load",
        "tt.descriptor_gather",
        "ttg.async_copy_global_to_local",
        "ttng.async_tma_copy_global_to_local",
    }
)
_READ_AS_WELL = {"tt.atomic_rmw", "tt.atomic_cas", "tt.descriptor_reduce"}
_ASSEMBLY_STORE = re.compile(r"\b(?:st|red|atom)\.")
_ASSEMBLY_LOAD = re.compile(r"\b(?:ld|atom)\.")


def accesses(function: Function) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the pointer parameters that a kernel reads from and those that it writes to.

    A pointer is followed back through arithmetic, loops and branches, and not through loads: an
    index that was loaded says nothing about where the address points. A pointer handed to a
    function that was not inlined counts as both.
    """
    sources = _sources(function)
    pointers = {name for name, kind in function.parameters.items() if "ptr" in kind or "tensordesc" in kind}
    reads: set[str] = set()
    writes: set[str] = set()
    for operation, _ in function.walk():
        reached = operation.operands
        assembly = operation.opcode == "tt.elementwise_inline_asm"
        if operation.opcode in STORES or operation.opcode in LOADS:
            reached = operation.operands[:1]
        elif not assembly and operation.opcode != "tt.call":
            continue
        found = _origins(reached, sources, pointers)
        call = operation.opcode == "tt.call"
        if call or operation.opcode in STORES or (assembly and _ASSEMBLY_STORE.search(operation.text)):
            writes |= found
        reading = operation.opcode in LOADS or operation.opcode in _READ_AS_WELL
        if call or reading or (assembly and _ASSEMBLY_LOAD.search(operation.text)):
            reads |= found
    return frozenset(n[1:] for n in reads), frozenset(n[1:] for n in writes)


def _sources(function: Function) -> dict[str, tuple[str, ...]]:
    """For each value, the values that it may take its pointer from."""
    sources: dict[str, tuple[str, ...]] = {}
    for operation, _ in function.walk():
        yields = [
            inner.operands
            for region in operation.regions
            for inner in region
            if inner.opcode in ("scf.yield", "scf.condition")
        ]
        if operation.opcode in LOADS:
            continue
        if operation.opcode == "scf.for":
            initial = operation.operands[3:]
            for i, name in enumerate(operation.carried[1:]):
                sources[name] = (initial[i], *(y[i] for y in yields if i < len(y)))
            for i, name in enumerate(operation.results):
                sources[name] = (initial[i], *(y[i] for y in yields if i < len(y)))
        elif operation.regions:
            everything = tuple(value for y in yields for value in y) + operation.operands
            for name in (*operation.results, *operation.carried):
                sources[name] = everything
        else:
            for name in operation.results:
                sources[name] = operation.operands
    return sources


def _origins(values: tuple[str, ...], sources: dict[str, tuple[str, ...]], pointers: set[str]) -> set[str]:
    pending, seen = list(values), set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        pending.extend(sources.get(value, ()))
        whole = value.split("#")[0]
        if whole != value and value not in sources:
            pending.append(whole)
    return seen & pointers
