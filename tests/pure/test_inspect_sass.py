"""Spills are read off a listing, apart for loops."""

from tilewright.inspect.sass import instructions, loops, spills


def listing(*lines: str) -> str:
    """Lines of SASS as cuobjdump prints them, 16 bytes apart."""
    encoding = "/* 0x0000000000000000 */"
    return "\n".join(
        f"        /*{16 * i:04x}*/                   {line} ;      {encoding}" for i, line in enumerate(lines)
    )


CODE = listing(
    "LDC R1, c[0x0][0x28]",
    "STL.64 [R1], R2",  # 2 words before the loop
    "LDL R4, [R1+0x8]",  # loop from here: 1 word
    "STL.128 [R1+0x10], R8",  # 4 words
    "@P0 BRA 0x20",
    "LDL.LU.64 R2, [R1]",  # 2 words behind it
    "EXIT",
    "BRA 0x70",
)


def test_spills_inside_and_outside_loops():
    found = spills(instructions(CODE))
    assert (found.in_loop, found.outside) == (5, 4)


def test_the_branch_behind_the_last_instruction_is_no_loop():
    assert loops(instructions(CODE)) == [(0x20, 0x40)]


def test_uniform_branches_with_a_predicate_operand_make_loops():
    assert loops(instructions(listing("NOP", "BRA.U UP0, 0x0"))) == [(0, 16)]
