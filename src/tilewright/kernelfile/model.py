"""What is known of a ModelNew file from its text alone."""

from __future__ import annotations

from dataclasses import dataclass

Scalar = int | float | bool | str | None


@dataclass(frozen=True, order=True)
class Place:
    """A stretch of text. Lines count from 1, columns from 0 in characters; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Value:
    """An expression that is passed as a constant, followed back to the literal behind it.

    Args:
        text: the expression as written.
        origin: "here" (a literal on the spot), "variable" (a name, an attribute or an entry of a table
            that is bound once, or a parameter that one call gives), "default" (the default of a parameter
            that no call in the file overrides), "choice" (several literals in different branches),
            "bounded" (min of a literal and something else), "computed" (anything else).
        known: whether `literal` is the value for certain.
        literal: the value when known; of a "bounded" one the most it can be.
        place: where that literal is written; editing it changes the value, or the bound.
        names: variables passed through on the way to the literal, outermost first.
        choices: the literals of a "choice", in order of appearance.
        reason: why there is no literal; empty when known.
    """

    text: str
    origin: str
    known: bool = False
    literal: Scalar = None
    place: Place | None = None
    names: tuple[str, ...] = ()
    choices: tuple[Scalar, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel. `default` is its default as written, None without one."""

    name: str
    constexpr: bool
    default: str | None = None


@dataclass(frozen=True)
class Config:
    """One triton.Config.

    Args:
        constants: what it passes to the kernel, launch options left out.
        num_warps, num_stages: as Triton takes them, its defaults 4 and 3 where not given.
        ignored: launch options written inside the dict of constants. Triton lets its own attributes
            win over them, so they have no effect (triton.Config.all_kwargs, 3.6 and 3.9).
    """

    place: Place
    constants: tuple[tuple[str, Scalar], ...]
    num_warps: int = 4
    num_stages: int = 3
    ignored: tuple[tuple[str, Scalar], ...] = ()


@dataclass(frozen=True)
class Autotune:
    """An @triton.autotune decorator.

    Args:
        configs: its configurations, empty when they were not understood.
        reason: why they were not understood; empty when they were.
        configs_place: the list display that holds them; None when there is none.
        argument_place: the expression handed to the decorator, a name or the list itself.
        key: the parameters whose values select a configuration.
    """

    place: Place
    configs: tuple[Config, ...]
    key: tuple[str, ...]
    configs_place: Place | None = None
    argument_place: Place | None = None
    reason: str = ""


@dataclass(frozen=True)
class Tile:
    """How a kernel uses a constexpr that sets the extent of a tile.

    Args:
        by_program: a program's place is its index times this extent, so the grid must follow it.
        by_loop: a loop in the kernel advances by it.
        persistent: the kernel itself loops over all tiles, whatever the grid.
    """

    name: str
    by_program: bool
    by_loop: bool
    persistent: bool

    @property
    def covers(self) -> bool:
        """One tile spans the whole extent: a smaller one would leave work undone."""
        return not (self.by_program or self.by_loop or self.persistent)


@dataclass(frozen=True)
class Dot:
    """A tl.dot, and the precision that its operands carry into the product.

    Args:
        precision: "float32", "tf32", "float16" or "bfloat16".
        how: what that was read from, for messages.
    """

    line: int
    precision: str
    how: str


@dataclass(frozen=True)
class Kernel:
    """A @triton.jit function.

    Args:
        line: of its `def`; `place` is the whole function without decorators.
        heuristics: constants that @triton.heuristics computes.
        helper: other kernels call it and nothing launches it.
        gluon: written in Triton's lower-level Gluon language.
        calls: helper functions it calls.
        dots: the products in its body, those of its helpers not included.
        reads, writes: pointer parameters that it loads from and stores to, helpers included.
        sizes: scalar parameters that bound a loop, a mask or a count of tiles.
        tiles: constexprs that set the extent of a tile.
        loops: whether it, or a helper of it, holds a loop, which is what num_stages acts on.
    """

    name: str
    line: int
    place: Place
    parameters: tuple[Parameter, ...]
    autotune: Autotune | None
    heuristics: tuple[str, ...]
    helper: bool
    gluon: bool
    calls: tuple[str, ...]
    dots: tuple[Dot, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    sizes: tuple[str, ...]
    tiles: tuple[Tile, ...]
    loops: bool

    @property
    def constexprs(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters if p.constexpr)


@dataclass(frozen=True)
class Passed:
    """One argument of a launch.

    Args:
        how: "position", "keyword", "star" (one of several integers that *tensor.stride() and the like
            may stand for), "splat" (through **) or "partial" (bound earlier).
        place: the expression that the call hands over; the expression behind ** for a splat.
        storage: the variable whose memory a tensor argument lives in, views followed back.
        elsewhere: whether the variable that carries it is also read outside launches.
    """

    parameter: str
    value: Value
    how: str
    place: Place
    storage: str
    elsewhere: bool = False


@dataclass(frozen=True)
class Grid:
    """The grid of a launch.

    Args:
        meta: constants that it reads through its argument, META["BLOCK"].
        divisors: those of `meta` that divide an extent there, as in cdiv(n, META["BLOCK"]).
        names: variables that it is computed from, their own definitions followed.
        literals: integers written in it or in those definitions.
        counted: the literals by which cdiv divides an extent there, with their places.
    """

    text: str
    meta: tuple[str, ...] = ()
    divisors: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    literals: tuple[int, ...] = ()
    counted: tuple[tuple[int, Place], ...] = ()


@dataclass(frozen=True)
class LaunchSite:
    """A `kernel[grid](…)` in the text.

    Args:
        place: the call.
        function: the function or method that it stands in; empty at top level.
        arguments: what it passes, in the order written.
        options: launch options that it passes, num_warps and the like.
        rivals: other kernels that the same call may launch instead.
        literals: integers in the function where arithmetic is done with them, each as often as it is
            written.
        reason: why its arguments could not be matched with the kernel's parameters; empty when they could.
    """

    kernel: str
    line: int
    place: Place
    function: str
    arguments: tuple[Passed, ...]
    grid: Grid
    options: tuple[Passed, ...] = ()
    rivals: tuple[str, ...] = ()
    literals: tuple[int, ...] = ()
    reason: str = ""

    def passed(self, parameter: str) -> Passed | None:
        return next((a for a in self.arguments if a.parameter == parameter), None)

    def option(self, name: str) -> Passed | None:
        return next((o for o in self.options if o.parameter == name), None)

    @property
    def cooperative(self) -> bool:
        """Whether all its programs run at once, as those must that wait for one another."""
        found = self.option("launch_cooperative_grid")
        return found is not None and not (found.value.known and not found.value.literal)

    @property
    def num_warps(self) -> Value | None:
        """The value given for num_warps; None leaves Triton's default."""
        found = self.option("num_warps")
        return found.value if found else None

    @property
    def num_stages(self) -> Value | None:
        """The value given for num_stages; None leaves Triton's default."""
        found = self.option("num_stages")
        return found.value if found else None


@dataclass(frozen=True)
class Import:
    """One imported module: `module` is what it loads, `name` what it is called in the file."""

    module: str
    name: str
    line: int


@dataclass(frozen=True)
class Section:
    """One top-level statement.

    Args:
        kind: "docstring", "import", "constant", "kernel", "wrapper" (any other function), "class",
            "main" (`if __name__ == …`) or "statement" (anything else).
        name: what it defines; empty when nothing.
    """

    kind: str
    name: str
    line: int
    end_line: int


@dataclass(frozen=True)
class Method:
    """A method's parameters without self, each as "name" or "name=default"; "*args", "**kwargs" too."""

    name: str
    line: int
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Class:
    name: str
    line: int
    bases: tuple[str, ...]
    methods: tuple[Method, ...]
