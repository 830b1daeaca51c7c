"""What the workers of a launch run, in Triton: see `stationary.together`, which fills in the brackets."""

from __future__ import annotations

from tilewright.proposers.recurrence.stationary.together import Templates

_SHARED = '''
@triton.jit
def <NAME>_begin(epoch):
    """The first step of an epoch: 0, <FIRST>, twice that, and so on."""
    return tl.where(epoch == 0, 0, <FIRST> << tl.maximum(epoch - 1, 0))


@triton.jit
def <NAME>_await(counters, epoch, steps):
    """Returns once every tile of an epoch's stream is there and can be read."""
    first = <NAME>_begin(epoch) * <BATCH_ROWS> // <BEFORE_M>
    end = (tl.minimum(<NAME>_begin(epoch + 1), steps) * <BATCH_ROWS> + <BEFORE_M> - 1) // <BEFORE_M>
    while tl.atomic_add(counters + epoch, 0, sem="acquire") < (end - first) * <BEFORE_TILES> - 1:
        pass
'''

_BEFORE = '''
@triton.jit
def <NAME>_before(
    worker, workers, x, x_t, x_b, x_k, weight,
    bias,  # before bias
    stream, counters, steps, epochs,
):
    """x @ weight.T + bias, as [steps, batch tiles, <STREAM>, 8], tile by tile in the order of time."""
    rows = steps * <BATCH_ROWS>
    for tile in range(worker, (rows + <BEFORE_M> - 1) // <BEFORE_M> * <BEFORE_TILES>, workers):
        row = tile // <BEFORE_TILES> * <BEFORE_M> + tl.arange(0, <BEFORE_M>)
        column = tile % <BEFORE_TILES> * <BEFORE_N> + tl.arange(0, <BEFORE_N>)
        step = row // <BATCH_ROWS>
        of_batch = row % <BATCH_ROWS>
        x_rows = x + step.to(tl.int64) * x_t + of_batch * x_b
        there = (row < rows) & (of_batch < <BATCH>)
        acc = tl.zeros((<BEFORE_M>, <BEFORE_N>), tl.float32)
        for start in tl.range(0, <INNER>, <BLOCK_K>, num_stages=<STAGES>):
            k = start + tl.arange(0, <BLOCK_K>)
            inside = (k < <INNER>)[None, :] | (<INNER> % <BLOCK_K> == 0)
            left = tl.load(x_rows[:, None] + k[None, :] * x_k, mask=there[:, None] & inside, other=0.0)
            right = tl.load(
                weight + column[:, None] * <INNER> + k[None, :],
                mask=(column < <STREAM>)[:, None] & inside,
                other=0.0,
            )
            right = tl.trans(nearest_tf32(right))
            acc = tl.dot(nearest_tf32(left), right, acc, input_precision="tf32")
        acc += tl.load(bias + column, mask=column < <STREAM>, other=0.0)[None, :]  # before bias
        place = (row[:, None] // 8 * <STREAM> + column[None, :]) * 8 + row[:, None] % 8
        tl.store(stream + place, acc, mask=(row < rows)[:, None] & (column < <STREAM>)[None, :])
        first = tile // <BEFORE_TILES> * <BEFORE_M> // <BATCH_ROWS>
        epoch = 0
        for later in tl.static_range(1, epochs):
            epoch += (first >= (<FIRST> << (later - 1))).to(tl.int32)
        tl.debug_barrier()
        tl.atomic_add(counters + epoch, 1, sem="release")
'''

_AFTER = '''
@triton.jit
def <NAME>_published(place, wanted):
    """float16 that the loop writes there, once all of it is there."""
    bits = tl.load(place, mask=wanted, other=0, volatile=True)
    while tl.max((bits == -1).to(tl.int32)) != 0:
        bits = tl.load(place, mask=wanted, other=0, volatile=True)
    return bits.to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def <NAME>_after(
    worker, workers, result, weight,
    bias,  # after bias
    output, steps,
):
    """result @ weight.T + bias, tile by tile as the loop writes its result."""
    rows = steps * <BATCH_ROWS>
    bits = result.to(tl.pointer_type(tl.int16)) + <BATCH_ROWS> * <HELD>
    k = tl.arange(0, <POWER>)
    for tile in range(worker, (rows + <AFTER_M> - 1) // <AFTER_M> * <AFTER_TILES>, workers):
        first = tile // <AFTER_TILES> * <AFTER_M>
        row = first + tl.arange(0, <AFTER_M>)
        column = tile % <AFTER_TILES> * <AFTER_N> + tl.arange(0, <AFTER_N>)
        right = tl.load(
            weight + column[:, None] * <RESULT> + k[None, :],
            mask=(column < <OUTPUTS>)[:, None] & (k < <RESULT>)[None, :],
            other=0.0,
        )
        right = nearest_tf32(right)
        added = tl.load(bias + column, mask=column < <OUTPUTS>, other=0.0)  # after bias
        place = (row[:, None] // 8 * <HELD> + k[None, :]) * 8 + row[:, None] % 8
        final = ((tl.minimum(first + <AFTER_M>, rows) // 8 - 1) * <HELD> + <RESULT>) * 8
        while tl.load(bits + (final - 1), volatile=True) == -1:  # one element until it is near
            pass
        left = <NAME>_published(bits + place, (row < rows)[:, None] & (k < <RESULT>)[None, :])
        acc = tl.dot(nearest_tf32(left), tl.trans(right), input_precision="tf32")
        acc += added[None, :]  # after bias
        step = row // <BATCH_ROWS>
        of_batch = row % <BATCH_ROWS>
        out = output + (step * <BATCH> + of_batch)[:, None] * <OUTPUTS> + column[None, :]
        there = (row < rows) & (of_batch < <BATCH>)
        tl.store(out, acc, mask=there[:, None] & (column < <OUTPUTS>)[None, :])
'''

TEMPLATES = Templates(_SHARED, _BEFORE, _AFTER, "triton.jit", "tl", frozenset({"nearest_tf32"}), stages=3)
