"""The inline assembly that Triton's interpreter is given a meaning for; any other stays uninterpretable.

`tl.inline_asm_elementwise` applies PTX to each element. It has no layout of its own and takes that of its
operands, so loads and stores written this way stay in the layout of a matrix product's accumulator.
Addresses are int64 (triton 3.6 does not mix pointers with floats); an operand named `like` is not read:
it lends its layout. The interpreter's tanh is exact where tanh.approx.f32 is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tilewright.judge.interpreted import exchange
from tilewright.judge.interpreted.cooperative import BATON, SPIN

_APPROXIMATE_SIGMOID = """{
.reg .f32 e;
mul.f32 e, $1, 0f3F000000;
tanh.approx.f32 e, e;
fma.rn.f32 $0, e, 0f3F000000, 0f3F000000;
}"""
_STORE_IF = """{
.reg .pred p;
setp.ne.s32 p, $3, 0;
@p st.global.f32 [$1], $2;
mov.b32 $0, 0;
}"""

_STORE_HALVES = "st.global.b32 [$2], $4; mov.b32 $0, 0; mov.b32 $1, 0;"


@dataclass(frozen=True)
class Form:
    """One form of inline assembly.

    Args:
        asm, constraints: as `tl.inline_asm_elementwise` takes them.
        pure: whether it may be moved or dropped by the compiler.
        meaning: the same on numpy arrays of the operands and the numpy dtype of the result.
        pack: elements at a time: those that a thread holds next to one another.
    """

    asm: str
    constraints: str
    pure: bool
    meaning: Callable[[Sequence[Any], Any], Any]
    pack: int = 1


def _load(operands: Sequence[Any], dtype: Any) -> Any:
    import numpy as np
    from triton._C.libtriton import interpreter

    address = np.ascontiguousarray(operands[0]).astype(np.uint64)
    return interpreter.load(address, np.ones(address.shape, bool), np.zeros(address.shape, dtype), dtype)


def _store(operands: Sequence[Any], dtype: Any) -> Any:
    import numpy as np
    from triton._C.libtriton import interpreter

    address = np.ascontiguousarray(operands[0]).astype(np.uint64)
    mask = operands[2] != 0 if len(operands) == 3 else np.ones(address.shape, bool)
    interpreter.store(address, np.ascontiguousarray(operands[1]), np.ascontiguousarray(mask))
    BATON.stores += 1
    return np.zeros(address.shape, dtype)


def _approximate_tanh(operands: Sequence[Any], dtype: Any) -> Any:
    import numpy as np

    return np.tanh(operands[0]).astype(dtype)


def _approximate_sigmoid(operands: Sequence[Any], dtype: Any) -> Any:
    import numpy as np

    half = np.float32(0.5)
    return (half + half * np.tanh(half * operands[0])).astype(dtype)


def _same(operands: Sequence[Any], dtype: Any) -> Any:
    return operands[0]


def _nothing(operands: Sequence[Any], dtype: Any) -> Any:
    import numpy as np

    return np.zeros(operands[0].shape, dtype)


def _with_bits(
    meaning: Callable[[Sequence[Any], int], Any], bits: int, operands: Sequence[Any], dtype: Any
) -> Any:
    return meaning(operands, bits)


FORMS = {
    "load": Form("ld.global.f32 $0, [$1];", "=f,l,f", False, _load),
    "load_weight": Form("ld.global.nc.b16 $0, [$1];", "=h,l,h", True, _load),
    "load_pair": Form("ld.global.v2.f32 {$0, $1}, [$2];", "=f,=f,l,l,f,f", False, _load, 2),
    "store": Form("st.global.f32 [$1], $2; mov.b32 $0, 0;", "=r,l,f", False, _store),
    "store_if": Form(_STORE_IF, "=r,l,f,r", False, _store),
    "store_halves": Form(_STORE_HALVES, "=r,=r,l,l,r", False, _store, 2),
    "prefetch": Form("prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", False, _nothing),
    "approximate_tanh": Form("tanh.approx.f32 $0, $1;", "=f,f", True, _approximate_tanh),
    "approximate_sigmoid": Form(_APPROXIMATE_SIGMOID, "=f,f", True, _approximate_sigmoid),
    "release": Form(exchange.RELEASE, exchange.PUBLISH_CONSTRAINTS[32], False, _store),
    "acquire": Form(exchange.ACQUIRE, exchange.ACQUIRE_CONSTRAINTS, False, exchange.mean_acquire),
    "pause": Form(exchange.PAUSE, exchange.SAME_CONSTRAINTS, False, _same),
    "keep_16": Form(exchange.SAME, exchange.SAME_CONSTRAINTS, True, _same, 2),
    "keep_32": Form(exchange.SAME_FLOAT, exchange.SAME_FLOAT_CONSTRAINTS, True, _same),
}


for _bits in (16, 32):
    FORMS[f"publish_{_bits}"] = Form(
        exchange.PUBLISH.format(bits=_bits), exchange.PUBLISH_CONSTRAINTS[_bits], False, _store
    )
    FORMS[f"take_apart_{_bits}"] = Form(
        exchange.TAKE_APART[_bits],
        exchange.TAKE_APART_CONSTRAINTS[_bits],
        True,
        partial(_with_bits, exchange.mean_take_apart, _bits),
    )
    FORMS[f"hold_{_bits}"] = Form(exchange.SAME, exchange.SAME_CONSTRAINTS, False, _same, 32 // _bits)


def arrived(operand: str, count: int, pack: int) -> Form:
    """The wait for `count` tiles of words, `pack` of each in a thread; see `exchange.arrived`."""
    asm, constraints = exchange.arrived(operand, count, pack)
    meaning = partial(_with_bits, exchange.mean_arrived, exchange.BITS[operand])
    return Form(asm, constraints, False, meaning, pack)


class _Results:
    """What the builder's call returns: its results by number."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self._handles = handles

    def get_result(self, index: int) -> Any:
        return self._handles[index]


def enable() -> None:
    """Let the interpreter run the forms above; other assembly raises NotImplementedError as before."""
    import numpy as np
    from triton.runtime import interpreter

    original = interpreter.InterpreterBuilder.create_inline_asm
    known = {(form.asm, form.constraints, form.pack): form.meaning for form in FORMS.values()}

    def create(
        builder: Any, asm: str, constraints: str, values: Any, types: Any, pure: bool, pack: int
    ) -> Any:
        key = (asm, constraints, pack)
        if key not in known and SPIN in asm:
            known.update(_waits(len(types), pack))
        if key not in known:
            return original(builder, asm, constraints, values, types, pure, pack)
        scalars = [kind.scalar for kind in types]
        found = known[key]([value.data for value in values], interpreter._get_np_dtype(scalars[0]))
        shape = np.broadcast_shapes(*(value.data.shape for value in values))
        results = zip(found if isinstance(found, list) else [found], scalars, strict=True)
        return _Results(
            [interpreter.TensorHandle(np.broadcast_to(data, shape), scalar) for data, scalar in results]
        )

    interpreter.InterpreterBuilder.create_inline_asm = create


def _waits(count: int, pack: int) -> dict[tuple[str, str, int], Callable[[Sequence[Any], Any], Any]]:
    forms = [arrived(operand, count, pack) for operand in exchange.BITS]
    return {(form.asm, form.constraints, form.pack): form.meaning for form in forms}
