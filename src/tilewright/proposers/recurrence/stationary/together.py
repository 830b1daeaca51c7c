"""One launch for a loop and the products around it: the kernel, and what its two dialects share.

The first programs run the loop. The others, the workers, compute the loop's stream and then what is made of
its result, 16 to 64 rows at a time in the order of time. All share a board in memory, at first all its bits
set:

    counters   of finished tiles of the stream, one an epoch of steps, from -1 on
    stream     float32 [steps, batch tiles, columns, 8]
    result     float16 [1 + steps, batch tiles, columns, 8], what the loop starts from first

so that every thread of the loop reads and writes pairs of neighbours. The loop waits for an epoch as a whole,
one epoch ahead: each is as long as all before it, which makes the waits few. Epochs begin at a multiple of 32
steps of at least 8 rows, where a tile begins too, so that no tile is of two epochs. A worker's release of a
counter follows a barrier of its program, so that whoever acquires it sees the whole tile. The result has no
counter: no float16 that a float32 is rounded to has all bits set, so a worker reads until none of what it
reads has.

Workers wait for nobody before the loop's first step, and all programs run at once: a cooperative launch of at
most one a multiprocessor. So no wait is for ever.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tilewright.proposers.recurrence.emit.emitted import Packed
from tilewright.proposers.recurrence.stationary.around import (
    AFTER_COLUMNS,
    BEFORE_COLUMNS,
    COUNTERS,
    FIRST_STEPS,
    INNER,
    Around,
)
from tilewright.proposers.recurrence.stationary.board import SHARED
from tilewright.proposers.recurrence.stationary.kernel import Kernel
from tilewright.proposers.recurrence.stationary.plan import TILE
from tilewright.proposers.recurrence.stationary.writer import plain

SHARED_BYTES = 99 * 1024  # of a block, on every GPU from compute capability 8.0 on
ALIGNED = 32  # numbers, of each piece of the packed products
GRID = "programs_at_once"
WORDS = frozenset({"steps", "board", "tensors", "sizes", "grid", "like", "compiled"})  # of `launch`
GRID_FUNCTION = '''@functools.cache
def programs_at_once(device, least):
    """Programs of a launch that wait for one another: one a multiprocessor, so that all of them run."""
    if device.type != "cuda":
        return least + 3
    count = {sms}
    if torch.cuda.is_available():
        count = torch.cuda.get_device_properties(device).multi_processor_count
    if count <= least:
        raise RuntimeError(f"a loop in {{least}} programs needs more multiprocessors than {{count}}")
    return count
'''


@dataclass(frozen=True)
class Templates:
    """The functions of one dialect, with words in brackets for what differs between loops.

    Args:
        stages: how many blocks of K of the product before the loop are in shared memory at once.
    """

    shared: str
    before: str
    after: str
    decorator: str
    language: str
    helpers: frozenset[str]
    stages: int


def together(kernel: Kernel, around: Around, templates: Templates, name: str) -> str:
    """The source of the loop, of what the workers run, and of the kernel that tells them apart."""
    texts = [templates.shared, templates.before, *([templates.after] if around.after else [])]
    words = _words(kernel, around, templates, name)
    loop = kernel.source()
    written = [_filled(text, words, around) for text in texts]
    return "\n\n".join([*written, loop, _kernel(kernel, around, templates, name)])


def _words(kernel: Kernel, around: Around, templates: Templates, name: str) -> dict[str, str]:
    member, outputs, warps = kernel.member, around.outputs, kernel.plan.warps
    block = templates.stages * (around.rows + BEFORE_COLUMNS) * 4  # bytes of one element of K
    inner = INNER if INNER * block <= SHARED_BYTES else INNER // 2
    words = {
        "NAME": name,
        "FIRST": FIRST_STEPS,
        "BATCH_ROWS": kernel.programs * TILE,
        "BATCH": member.batch,
        "INNER": around.inner,
        "STREAM": around.stream,
        "RESULT": around.width,
        "HELD": kernel.held_columns,
        "POWER": around.power,
        "OUTPUTS": outputs,
        "BEFORE_M": around.rows,
        "BEFORE_N": BEFORE_COLUMNS,
        "AFTER_M": around.after_rows,
        "AFTER_N": AFTER_COLUMNS,
        "BLOCK_K": inner,
        "STAGES": templates.stages,
        "LANES_K": inner // 4,  # 16 bytes each
        "LANES_N": 128 // inner,
        "WARPS": warps,
        "BEFORE_WARPS": _warps(around.rows, warps),
        "AFTER_WARPS": _warps(around.after_rows, warps),
        "BEFORE_TILES": -(-member.streams[0].width // BEFORE_COLUMNS),
        "AFTER_TILES": -(-outputs // AFTER_COLUMNS),
    }
    return {word: str(value) for word, value in words.items()}


def _warps(rows: int, warps: int) -> str:
    """Warps along the rows and along the columns of a tile: two by two, 64 rows need fewer registers."""
    along = 2 if rows > 32 else 1
    return f"{along}, {warps // along}"


def _filled(text: str, words: dict[str, str], around: Around) -> str:
    """A template with its words replaced and the lines that are for a bias kept or left out."""
    biased = {"# before bias": around.before.bias is not None}
    biased["# after bias"] = around.after is not None and around.after.bias is not None
    lines = []
    for line in text.strip("\n").split("\n"):
        mark = next((mark for mark in biased if line.endswith(mark)), None)
        if mark is None or biased[mark]:
            lines.append(line if mark is None else line[: -len(mark)].rstrip())
    text = "\n".join(lines) + "\n"
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(f"<{word}>", words[word])
    return text


def _kernel(kernel: Kernel, around: Around, templates: Templates, name: str) -> str:
    tl, offsets = templates.language, _offsets(around)
    loop = [parameter.split(":")[0] for parameter in kernel.parameters]
    others = [parameter for parameter in kernel.parameters if parameter.split(":")[0] not in SHARED]
    tensors = ["board", "x", "products", *(["output"] if around.after else []), *others]
    sizes = ["steps", "epochs", *(f"x_{axis}" for axis in "tbk" if not around.contiguous)]
    parameters = [*tensors, *(f"{size}: {tl}.constexpr" for size in sizes)]
    given = ["board" if parameter == "counters" else parameter for parameter in loop]
    size = kernel.programs * TILE * kernel.member.streams[0].width
    strides = (kernel.member.batch * around.inner, around.inner, 1)
    x = ["x", *(map(str, strides) if around.contiguous else ("x_t", "x_b", "x_k"))]
    before = [f"products + {offset}" for offset in offsets[:1] + offsets[1:2] * bool(around.before.bias)]
    lines = [
        f"@{templates.decorator}",
        f"def {name}_kernel({', '.join(parameters)}):",
        f'    """The loop in the first {kernel.programs} program(s), the products in the others."""',
        f"    stream = (board + {COUNTERS}).to({tl}.pointer_type({tl}.float32))",
    ]
    if around.after:
        offset = f"{COUNTERS} + steps * {size}"
        lines.append(f"    result = (board + ({offset})).to({tl}.pointer_type({tl}.float16))")
    lines += [
        f"    if {tl}.program_id(0) < {kernel.programs}:",
        f"        {kernel.name}({', '.join(given)})",
        "    else:",
        f"        worker = {tl}.program_id(0) - {kernel.programs}",
        f"        workers = {tl}.num_programs(0) - {kernel.programs}",
        f"        {name}_before(worker, workers, {', '.join([*x, *before])}, stream, board, steps, epochs)",
    ]
    if around.after:
        after = [f"products + {offset}" for offset in offsets[2:3] + offsets[3:] * bool(around.after.bias)]
        lines.append(f"        {name}_after(worker, workers, result, {', '.join(after)}, output, steps)")
    return "\n".join(lines) + "\n"


def _pieces(around: Around) -> list[tuple[str, int]]:
    """The weights and biases of the products, flat, and how many numbers each has; none where no bias is."""
    found: list[tuple[str, int]] = []
    sizes = [(around.stream, around.inner), (around.outputs, around.width)]
    for product, (rows, inner) in zip((around.before, around.after), sizes, strict=True):
        if product is not None:
            weight = f"{product.weight}.t()" if product.transposed else product.weight
            found.append((f"{weight}.reshape(-1)", rows * inner))
            found.append((product.bias or "", rows if product.bias else 0))
    return found


def _offsets(around: Around) -> list[int]:
    """Where each piece begins in the packed products: at a multiple of 128 bytes."""
    return list(itertools.accumulate((_padded(count) for _, count in _pieces(around)), initial=0))[:-1]


def _padded(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


def packed_products(around: Around, name: str) -> Packed:
    """The weights and biases of the products around a loop, one after another in one tensor."""
    texts = []
    for text, count in _pieces(around):
        rest = _padded(count) - count
        if count:
            texts.append(f"torch.nn.functional.pad({text}, (0, {rest}))" if rest else text)
    products = [product for product in (around.before, around.after) if product is not None]
    weights = tuple(value for product in products for value in (product.weight, product.bias) if value)
    return Packed(f"{name}_products", weights, f"torch.cat([{', '.join(texts)}])")


def launch(kernel: Kernel, around: Around, name: str) -> list[str]:
    """The lines of the launching function from the board to the launch; `steps` and results are there.

    Triton's own look at every argument of a launch takes half of its time on the host (33 us; 16 without, on
    an H200's), so a launch like an earlier one goes to what Triton compiled for that.
    """
    x, rows = plain(around.before.left), kernel.programs * TILE
    stream, result = rows * around.stream, rows * kernel.held_columns // 2
    size = f"{COUNTERS} + steps * {stream}" + (f" + (steps + 1) * {result}" if around.after else "")
    tensors = ["board", f"{x}.contiguous()" if around.contiguous else x, f"{name}_products"]
    tensors += [*([plain(around.after.name)] if around.after else []), *kernel.arguments]
    sizes = ["steps", f"((steps - 1) // {FIRST_STEPS}).bit_length() + 1"]
    sizes += [] if around.contiguous else [f"*{x}.stride()"]
    return [
        f"    if steps * {max(stream, 2 * result)} >= 2**31:",
        '        raise ValueError(f"{steps} steps are more than 32-bit addresses reach")',
        f"    board = torch.full(({size},), -1, dtype=torch.int32, device={x}.device)",
        f"    tensors = ({', '.join(tensors)})",
        f"    sizes = ({', '.join(sizes)})",
        f"    grid = ({GRID}({x}.device, {kernel.programs}), 1, 1)",
        f"    like = ({x}.device, sizes, *[tensor.data_ptr() % 16 for tensor in tensors])",
        f"    if compiled := {name}_compiled.get(like):  # without Triton's look at every argument",
        "        compiled[grid](*tensors, *sizes)",
        "    else:",
        f"        {name}_compiled[like] = {name}_kernel[grid](",
        "            *tensors,",
        "            *sizes,",
        f"            num_warps={kernel.plan.warps},",
        "            num_stages=1,",
        "            launch_cooperative_grid=True,",
        "        )",
    ]
