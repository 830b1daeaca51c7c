"""What the workers of a launch run, in Gluon: see `stationary.together`, which fills in words in brackets."""

from __future__ import annotations

from tilewright.proposers.recurrence.stationary.together import Templates

IMPORTS = ("from triton.experimental.gluon.language.nvidia.ampere import async_copy",)

_SHARED = '''
@gluon.jit
def <NAME>_begin(epoch):
    """The first step of an epoch: 0, <FIRST>, twice that, and so on."""
    return gl.where(epoch == 0, 0, <FIRST> << gl.maximum(epoch - 1, 0))


@gluon.jit
def <NAME>_await(counters, epoch, steps):
    """Returns once every tile of an epoch's stream is there and can be read."""
    first = <NAME>_begin(epoch) * <BATCH_ROWS> // <BEFORE_M>
    end = (gl.minimum(<NAME>_begin(epoch + 1), steps) * <BATCH_ROWS> + <BEFORE_M> - 1) // <BEFORE_M>
    while gl.atomic_add(counters + epoch, 0, sem="acquire") < (end - first) * <BEFORE_TILES> - 1:
        pass


@gluon.jit
def <NAME>_copy(shared, index, at, k, wanted):
    """Starts to copy the columns k of rows to one of the shared buffers; zeros beyond the last column."""
    inside = wanted & (k < <INNER>)
    # Its name in newer and in older versions; getattr, because Triton looks up other names in both branches.
    if hasattr(async_copy, "async_load"):
        getattr(async_copy, "async_load")(shared.index(index), at, mask=inside)
    else:
        getattr(async_copy, "async_copy_global_to_shared")(shared.index(index), at, mask=inside)
'''

_BEFORE = '''
@gluon.jit
def <NAME>_before(
    worker, workers, x, x_t, x_b, x_k, weight,
    bias,  # before bias
    stream, counters, steps, epochs,
):
    """x @ weight.T + bias, as [steps, batch tiles, <STREAM>, 8], tile by tile in the order of time."""
    accumulator: gl.constexpr = gl.NVMMADistributedLayout(
        version=[2, 0], warps_per_cta=[<BEFORE_WARPS>], instr_shape=[16, 8]
    )
    left: gl.constexpr = gl.DotOperandLayout(0, accumulator, k_width=1)
    right: gl.constexpr = gl.DotOperandLayout(1, accumulator, k_width=1)
    copied: gl.constexpr = gl.BlockedLayout([1, 4], [<LANES_N>, <LANES_K>], [<WARPS>, 1], [1, 0])
    turned: gl.constexpr = gl.SwizzledSharedLayout(4, 1, 8, order=[1, 0])
    stages: gl.constexpr = <STAGES>
    x_shared = gl.allocate_shared_memory(gl.float32, [stages, <BEFORE_M>, <BLOCK_K>], turned)
    weight_shared = gl.allocate_shared_memory(gl.float32, [stages, <BEFORE_N>, <BLOCK_K>], turned)
    k = gl.arange(0, <BLOCK_K>, layout=gl.SliceLayout(0, copied))[None, :]
    copied_row = gl.arange(0, <BEFORE_M>, layout=gl.SliceLayout(1, copied))[:, None]
    copied_column = gl.arange(0, <BEFORE_N>, layout=gl.SliceLayout(1, copied))[:, None]
    rows = steps * <BATCH_ROWS>
    for tile in range(worker, (rows + <BEFORE_M> - 1) // <BEFORE_M> * <BEFORE_TILES>, workers):
        x_row = tile // <BEFORE_TILES> * <BEFORE_M> + copied_row
        of_batch = x_row % <BATCH_ROWS>
        x_there = (x_row < rows) & (of_batch < <BATCH>)
        x_at = x + (x_row // <BATCH_ROWS>).to(gl.int64) * x_t + of_batch * x_b + k * x_k
        weight_row = tile % <BEFORE_TILES> * <BEFORE_N> + copied_column
        weight_there = weight_row < <STREAM>
        weight_at = weight + weight_row * <INNER> + k
        for stage in gl.static_range(stages - 1):
            start = stage * <BLOCK_K>
            <NAME>_copy(x_shared, stage, x_at + start * x_k, k + start, x_there)
            <NAME>_copy(weight_shared, stage, weight_at + start, k + start, weight_there)
            async_copy.commit_group()
        row = gl.arange(0, <BEFORE_M>, layout=gl.SliceLayout(1, accumulator))[:, None]
        row += tile // <BEFORE_TILES> * <BEFORE_M>
        column = gl.arange(0, <BEFORE_N>, layout=gl.SliceLayout(0, accumulator))[None, :]
        column += tile % <BEFORE_TILES> * <BEFORE_N>
        there = (row < rows) & (column < <STREAM>)
        acc = gl.zeros([<BEFORE_M>, <BEFORE_N>], gl.float32, accumulator)
        acc = gl.load(bias + column + row * 0, mask=there, other=0.0)  # before bias
        for block in range((<INNER> + <BLOCK_K> - 1) // <BLOCK_K>):
            async_copy.wait_group(stages - 2)
            x_part = gluon_nearest_tf32(x_shared.index(block % stages).load(left))
            weight_part = gluon_nearest_tf32(weight_shared.index(block % stages).permute((1, 0)).load(right))
            following = block + stages - 1
            start = following * <BLOCK_K>
            <NAME>_copy(x_shared, following % stages, x_at + start * x_k, k + start, x_there)
            <NAME>_copy(weight_shared, following % stages, weight_at + start, k + start, weight_there)
            async_copy.commit_group()
            acc = mma_v2(x_part, weight_part, acc, input_precision="tf32")
        async_copy.wait_group(0)
        gl.store(stream + ((row // 8 * <STREAM> + column) * 8 + row % 8), acc, mask=there)
        first = tile // <BEFORE_TILES> * <BEFORE_M> // <BATCH_ROWS>
        epoch = 0
        for later in gl.static_range(1, epochs):
            epoch += (first >= (<FIRST> << (later - 1))).to(gl.int32)
        gluon_barrier(tile)
        gl.atomic_add(counters + epoch, 1, sem="release")
'''

_AFTER = '''
@gluon.jit
def <NAME>_after(
    worker, workers, result, weight,
    bias,  # after bias
    output, steps,
):
    """result @ weight.T + bias, tile by tile as the loop writes its result."""
    accumulator: gl.constexpr = gl.NVMMADistributedLayout(
        version=[2, 0], warps_per_cta=[<AFTER_WARPS>], instr_shape=[16, 8]
    )
    left: gl.constexpr = gl.DotOperandLayout(0, accumulator, k_width=1)
    right: gl.constexpr = gl.DotOperandLayout(1, accumulator, k_width=1)
    loaded: gl.constexpr = gl.BlockedLayout([8, 1], [2, 16], [1, <WARPS>], [0, 1])
    turned: gl.constexpr = gl.SwizzledSharedLayout(4, 1, 8, order=[1, 0])
    shared = gl.allocate_shared_memory(gl.float32, [<AFTER_M>, <POWER>], turned)
    rows = steps * <BATCH_ROWS>
    bits = result.to(gl.pointer_type(gl.int16)) + <BATCH_ROWS> * <HELD>
    k = gl.arange(0, <POWER>, layout=gl.SliceLayout(1, right))[:, None]
    loaded_k = gl.arange(0, <POWER>, layout=gl.SliceLayout(0, loaded))[None, :]
    for tile in range(worker, (rows + <AFTER_M> - 1) // <AFTER_M> * <AFTER_TILES>, workers):
        column = gl.arange(0, <AFTER_N>, layout=gl.SliceLayout(0, right))[None, :]
        column += tile % <AFTER_TILES> * <AFTER_N>
        wanted = (column < <OUTPUTS>) & (k < <RESULT>)
        weight_part = gl.load(weight + column * <RESULT> + k, mask=wanted, other=0.0)
        weight_part = gluon_nearest_tf32(weight_part)
        first = tile // <AFTER_TILES> * <AFTER_M>
        row = first + gl.arange(0, <AFTER_M>, layout=gl.SliceLayout(1, accumulator))[:, None]
        column = gl.arange(0, <AFTER_N>, layout=gl.SliceLayout(0, accumulator))[None, :]
        column += tile % <AFTER_TILES> * <AFTER_N>
        acc = gl.zeros([<AFTER_M>, <AFTER_N>], gl.float32, accumulator)
        there = (row < rows) & (column < <OUTPUTS>)
        acc = gl.load(bias + column + row * 0, mask=there, other=0.0)  # after bias
        loaded_row = first + gl.arange(0, <AFTER_M>, layout=gl.SliceLayout(1, loaded))[:, None]
        place = bits + ((loaded_row // 8 * <HELD> + loaded_k) * 8 + loaded_row % 8)
        wanted = (loaded_row < rows) & (loaded_k < <RESULT>)
        final = ((gl.minimum(first + <AFTER_M>, rows) // 8 - 1) * <HELD> + <RESULT>) * 8
        while gl.load(bits + (final - 1), volatile=True) == -1:  # one element until it is near
            pass
        found = gl.load(place, mask=wanted, other=0, volatile=True)
        while gl.max(gl.max((found == -1).to(gl.int32), 0), 0) != 0:
            found = gl.load(place, mask=wanted, other=0, volatile=True)
        shared.store(found.to(gl.float16, bitcast=True).to(gl.float32))
        acc = mma_v2(gluon_nearest_tf32(shared.load(left)), weight_part, acc, input_precision="tf32")
        of_batch = row % <BATCH_ROWS>
        out = output + ((row // <BATCH_ROWS> * <BATCH> + of_batch) * <OUTPUTS> + column)
        gl.store(out, acc, mask=there & (of_batch < <BATCH>))
'''

_HELPERS = frozenset({"gluon_nearest_tf32", "gluon_barrier"})
TEMPLATES = Templates(_SHARED, _BEFORE, _AFTER, "gluon.jit", "gl", _HELPERS, stages=4)
