"""The kernels of a spread group: one function for each run of members, and the one that is launched."""

from __future__ import annotations

from itertools import accumulate
from textwrap import indent

from tilewright.proposers.recurrence.spread.body import variable
from tilewright.proposers.recurrence.spread.function import (
    Function,
    given,
    inner_of,
    prefixes,
    results,
    tile_columns,
)
from tilewright.proposers.recurrence.spread.helpers import bits_helper, flag_helpers, gates_helper
from tilewright.proposers.recurrence.spread.members import Members, Run, form
from tilewright.proposers.recurrence.spread.plan import Layout
from tilewright.proposers.recurrence.spread.reading import Reading


def kernels(members: Members, layout: Layout, name: str) -> tuple[str, tuple[str, ...]]:
    """The source of all @triton.jit functions, and the helpers of `ops` that they call."""
    texts: dict[tuple[object, ...], tuple[str, str]] = {}
    helpers: set[str] = set()
    splits: set[int] = set()
    reading = Reading(name, layout, members.operand)
    calls: list[str] = []
    start = 0
    for number, run in enumerate(members.runs):
        member = members.all[run.first]
        key = form(member, members.types)
        if key not in texts:
            function = f"{name}_steps" if len(members.runs) == 1 else f"{name}_steps_{len(texts)}"
            writer = Function(members, run, layout, name, function, reading)
            texts[key] = (function, writer.text())
            helpers |= writer.step.helpers
            splits |= writer.step.splits
        end = start + layout.ctas[run.first] * run.count
        calls.append(_branch(members, layout, run, number, texts[key][0], start, end))
        start = end
    flags = ["flags"] if layout.piece else []
    parameters = ",\n    ".join(["published", *flags, *launch_parameters(members), "steps", "batch"])
    rows = f"first_row = tl.program_id(1) * {layout.rows}"
    launched = (
        f"@triton.jit\ndef {name}_kernel(\n    {parameters},\n):\n"
        f'    """Every CTA takes its part of one member through all steps."""\n'
        f"    cta = tl.program_id(0)\n    {rows}\n    cells = steps * batch\n{''.join(calls)}"
    )
    parts = [gates_helper(name, count) for count in sorted(splits) if count > 1]
    if layout.piece:
        parts += flag_helpers(name)
    parts += reading.helpers()
    parts += [bits_helper(name, members.operand), *(text for _, text in texts.values()), launched]
    return "\n\n".join(parts), tuple(sorted(helpers))


def launch_parameters(members: Members) -> list[str]:
    """Parameters of the launched kernel between `published` and the sizes."""
    return [p for number, run in enumerate(members.runs) for p in run_parameters(members, run, number)]


def run_parameters(members: Members, run: Run, number: int) -> list[str]:
    """What one run is given: weights and results for all its members together, the rest for each."""
    member = members.all[run.first]
    loop = member.loop
    names = [f"{variable(p.name)}_weight_{number}" for p in loop.products]
    for index in range(run.first, run.first + run.count):
        names += [f"{base}_{index}" for base in given(member)]
    for stream in member.outside:
        names += [f"{variable(stream)}_{part}_{run.first}" for part in ("values", "t", "b", "w")]
    return [*names, *(f"{result}_{number}" for result in results(member))]


def _branch(
    members: Members, layout: Layout, run: Run, number: int, function: str, start: int, end: int
) -> str:
    """The part of the launched kernel that calls the function of one run."""
    member = members.all[run.first]
    ctas = layout.ctas[run.first]
    before = prefixes(members, layout)
    stride = len(member.published) * ctas * layout.units
    lines: list[str] = []
    index = "" if run.count == 1 else f" + member * {stride}"
    if run.count > 1:
        behind = f"(cta - {start})" if start else "cta"
        lines += [f"member = {behind} // {ctas}"]
        for base in given(member):
            lines.append(f"{base} = {base}_{run.first}")
            for offset in range(1, run.count):
                lines += [f"if member == {offset}:", f"    {base} = {base}_{run.first + offset}"]
    place = f"cta - {start}" if start else "cta"
    arguments = [f"({place}) % {ctas}" if run.count > 1 else place, "first_row", "steps", "batch"]
    width = ctas * layout.units
    for position in range(len(member.published)):
        arguments.append(f"published + cells * ({before[run.first] + position * width}{index})")
    for follows in member.follows.values():
        lower = members.all[follows.member]
        width = layout.ctas[follows.member] * layout.units
        assert follows.published < len(lower.published)
        arguments.append(f"published + cells * ({before[follows.member] + follows.published * width}{index})")
    if layout.piece:
        index = "" if run.count == 1 else f" + member * {ctas}"
        *starts, total = [0, *accumulate(layout.ctas)]
        for first in (run.first, *(follows.member for follows in member.follows.values())):
            arguments.append(f"flags + tl.program_id(1) * {total} + {starts[first]}{index}")
    for product in member.loop.products:
        size = ctas * inner_of(layout, member, run.first, product) * tile_columns(layout, member, product)
        arguments.append(
            f"{variable(product.name)}_weight_{number}" + (f" + member * {size}" if run.count > 1 else "")
        )
    arguments += given(member) if run.count > 1 else [f"{base}_{run.first}" for base in given(member)]
    for stream in member.outside:
        arguments += [f"{variable(stream)}_{part}_{run.first}" for part in ("values", "t", "b", "w")]
    for base, result in zip(results(member), member.results, strict=True):
        values = f"cells * {member.hidden}" if result.every_step else f"batch * {member.hidden}"
        arguments.append(f"{base}_{number}" + (f" + member * ({values})" if run.count > 1 else ""))
    listed = ",\n        ".join(arguments)
    call = f"{function}(\n        {listed},\n    )"
    last = run is members.runs[-1]
    if len(members.runs) == 1:
        return indent("\n".join([*lines, call.replace("\n    ", "\n")]) + "\n", "    ").replace(
            "\n        ", "\n        "
        )
    condition = "else:" if last else f"{'if' if number == 0 else 'elif'} cta < {end}:"
    return f"    {condition}\n" + indent("\n".join([*lines, call]) + "\n", "        ").replace(
        "\n            )", "\n        )"
    )
