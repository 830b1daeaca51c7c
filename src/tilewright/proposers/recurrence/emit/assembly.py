"""The inline-assembly helpers of the kernels that keep every value in the accumulator's layout.

Their text is `judge.assembly.FORMS`, which also says what each means under Triton's interpreter.
"""

from __future__ import annotations

from tilewright.judge.interpreted.assembly import FORMS, Form
from tilewright.proposers.recurrence import ops


def helper(name: str, form: Form, parameters: str, doc: str, dtype: str) -> str:
    """A @triton.jit function whose body is one form of assembly."""
    quoted = f'"""{form.asm}"""' if "\n" in form.asm else f'"{form.asm}"'
    return f'''@triton.jit
def {name}({parameters}):
    """{doc}"""
    return tl.inline_asm_elementwise(
        {quoted},
        "{form.constraints}",
        [{parameters}],
        dtype={dtype},
        is_pure={form.pure},
        pack={form.pack},
    )
'''


def _helper(name: str, form: str, parameters: str, doc: str, dtype: str) -> str:
    return helper(name, FORMS[form], parameters, doc, dtype)


HELPERS = {
    "load_like": _helper(
        "load_like", "load", "address, like", "float32 at each address, in the layout of like.", "tl.float32"
    ),
    "load_pair_like": _helper(
        "load_pair_like",
        "load_pair",
        "address, like",
        "float32 at each address, in the layout of like, whose threads hold pairs of neighbours.",
        "tl.float32",
    ),
    "load_half_like": _helper(
        "load_half_like",
        "load_weight",
        "address, like",
        "float16 at each address, in the layout of like; read once, before the loop.",
        "tl.float16",
    ),
    "load_bfloat16_like": _helper(
        "load_bfloat16_like",
        "load_weight",
        "address, like",
        "bfloat16 at each address, in the layout of like; read once, before the loop.",
        "tl.bfloat16",
    ),
    "prefetch": _helper(
        "prefetch", "prefetch", "address", "Has what lies at each address brought to L2.", "tl.int32"
    ),
    "store_like": _helper(
        "store_like", "store", "address, value", "Stores value in the layout it has.", "tl.int32"
    ),
    "store_like_if": _helper(
        "store_like_if",
        "store_if",
        "address, value, wanted",
        "Stores value where wanted is not 0, in the layout it has.",
        "tl.int32",
    ),
    "store_halves_like": _helper(
        "store_halves_like",
        "store_halves",
        "address, value",
        "Stores float16 in the layout it has, whose threads hold pairs of neighbours.",
        "tl.int32",
    ),
    "approximate_tanh": _helper(
        "approximate_tanh",
        "approximate_tanh",
        "x",
        "tanh within 2^-11 of its magnitude, about the step of half precision; exact -1 and 1 at the ends.",
        "tl.float32",
    ),
    "approximate_sigmoid": _helper(
        "approximate_sigmoid",
        "approximate_sigmoid",
        "x",
        "0.5 + 0.5 tanh(x / 2), within 2^-12; exact 0 and 1 at the ends.",
        "tl.float32",
    ),
}

# The same for Gluon, where a @triton.jit function cannot be called.
HELPERS |= {
    f"gluon_{name}": text.replace("@triton.jit", "@gluon.jit")
    .replace(f"def {name}(", f"def gluon_{name}(")
    .replace("tl.", "gl.")
    for name, text in (HELPERS | ops.HELPERS).items()
    if name in ops.HELPERS or name.startswith("approximate_")
}
HELPERS["gluon_barrier"] = '''@gluon.jit
def gluon_barrier(x):
    """All threads of the program meet; x is any number. Triton's own name for it changes with its version."""
    return gl.inline_asm_elementwise(
        "bar.sync 0; mov.b32 $0, 0;",
        "=r,r",
        [x],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
'''
