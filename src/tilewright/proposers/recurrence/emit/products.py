"""The products outside the loops of one file: which kernel each takes, and the lines that launch them.

Three kernels stand side by side: over the rows of a whole sequence (`gemm`), of a left operand in parts
(`dense_kernel`), and of operands made float16 beforehand where that pays (`narrow`). Weights that depend on
parameters alone are made once as the kernel wants them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.emit import dense_kernel, gemm, narrow
from tilewright.proposers.recurrence.emit.dense import Dense, sizes_of
from tilewright.proposers.recurrence.emit.projections import Projection
from tilewright.proposers.recurrence.ir import Network

Product: TypeAlias = Projection | Dense


@dataclass(frozen=True)
class Products:
    """Writes what a file needs for its products.

    Args:
        all: in the order of the forward.
        precision: of the operands.
        known: values that depend on parameters alone.
        tiled: products whose result a loop reads in tiles of 8 rows.
        value: how a value of the network is written.
    """

    all: Sequence[Product]
    network: Network
    gpu: Gpu
    precision: str
    known: frozenset[str]
    tiled: frozenset[str]
    value: Callable[[str], str]

    @cached_property
    def narrowed(self) -> tuple[Product, ...]:
        """Those whose operands are made float16 beforehand."""
        return tuple(product for product in self.all if self._pays(product))

    @cached_property
    def over_sequences(self) -> tuple[Projection, ...]:
        return tuple(p for p in self.all if isinstance(p, Projection) and p not in self.narrowed)

    @cached_property
    def in_parts(self) -> tuple[Dense, ...]:
        return tuple(p for p in self.all if isinstance(p, Dense) and p not in self.narrowed)

    @cached_property
    def prepared(self) -> tuple[Product, ...]:
        """Those whose weight is made once: rounded, or narrowed."""
        rounded = self.over_sequences if self.precision == "tf32" else ()
        return tuple(p for p in self.all if p.weight in self.known and p in (*rounded, *self.narrowed))

    @property
    def facts(self) -> list[str]:
        """Lines for the header: what becomes of operands."""
        lines = []
        if self.precision == "tf32" and self.in_parts:
            lines.append("Operands lose the bits below TF32's ten, as the tensor cores drop them.")
        if self.narrowed:
            lines.append("Products outside loops: float16 operands, each row scaled by its own power of two.")
        return lines

    @property
    def imports(self) -> list[str]:
        return [narrow.IMPORT] if self.narrowed else []

    @property
    def activations(self) -> frozenset[str]:
        return frozenset(product.activation for product in self.all if product.activation)

    @property
    def helpers(self) -> frozenset[str]:
        """Helpers of the kernels, of `ops` and `assembly`, the activations' among them."""
        rounding = gemm.USES.get(self.precision, frozenset()) if self.over_sequences else frozenset()
        return self.activations | rounding

    def kernels(self) -> list[str]:
        texts: list[str] = []
        if self.over_sequences:
            texts.append(gemm.kernel(self.precision, self.activations))
        for count in sorted(_counts(self.in_parts)):
            texts.append(dense_kernel.kernel(count, self.precision, self.activations))
        if self.narrowed:
            texts += narrow.kernels(_counts(self.narrowed), self.activations)
        if self._shared(self.in_parts) or self._shared(self.narrowed):
            texts.append(dense_kernel.finish(self.activations))
        return texts

    def wrappers(self) -> list[str]:
        """The functions that launch the kernels."""
        texts: list[str] = []
        if self.over_sequences:
            texts += [gemm.ROUNDED] if self.precision == "tf32" else []
            texts.append(gemm.WRAPPER)
        if self.in_parts:
            shared = self._shared(self.in_parts)
            texts.append(dense_kernel.wrapper(_counts(self.in_parts), splits=shared))
        if self.narrowed:
            texts += narrow.wrappers(_counts(self.narrowed), splits=self._shared(self.narrowed))
        return texts

    def weight_name(self, product: Product) -> str:
        """What a weight is called once it is made."""
        return f"{self.value(product.name)}_weight"

    def made(self, product: Product) -> str:
        """The expression that makes a product's weight as its kernel wants it."""
        weight = self.value(product.weight) + (".t()" if product.transposed else "")
        if product in self.narrowed:
            return f"narrow([{weight}])"
        rounded = self.precision == "tf32" and product in self.over_sequences
        return f"rounded_to_tf32({weight})" if rounded else weight

    def line(self, product: Product) -> str:
        """The line of the forward that computes a product."""
        lefts = ", ".join(self.value(left) for left in _lefts(product))
        function, tile = self._launch(product)
        arguments = [
            lefts if product in self.over_sequences else f"[{lefts}]",
            self.weight_name(product) if product in self.prepared else self.made(product),
            self.value(product.bias) if product.bias else "None",
            f"tile={tile}",
        ]
        if product.name in self.tiled:
            arguments.append("tiled=True")
        if product.activation:
            arguments.append(f'activation="{product.activation}"')
        return f"{self.value(product.name)} = {function}({', '.join(arguments)})"

    def _launch(self, product: Product) -> tuple[str, tuple[int, ...]]:
        """The function that launches a product's kernel, and its tile."""
        if product in self.narrowed:
            return "narrow_product", self._narrow_tile(product).sizes
        if isinstance(product, Dense):
            return "multiply", self._tile(product).sizes
        return "project", gemm.choose_tile(*self._sizes(product), self.gpu).sizes

    def _shared(self, products: Iterable[Product]) -> bool:
        """Whether programs share any of these along K."""
        tiles = (self._narrow_tile(p) if p in self.narrowed else self._tile(p) for p in products)
        return any(tile.split > 1 for tile in tiles)

    def _pays(self, product: Product) -> bool:
        once = isinstance(product, Dense)
        sizes = self._sizes(product)
        return product.weight in self.known and narrow.pays(
            *sizes, self.precision, self.gpu, weight_read_once=once
        )

    def _narrow_tile(self, product: Product) -> narrow.Tile:
        return narrow.choose_tile(*self._sizes(product), self.gpu, shared=isinstance(product, Dense))

    def _tile(self, product: Product) -> dense_kernel.Tile:
        return dense_kernel.choose_tile(*self._sizes(product), self.precision, self.gpu)

    def _sizes(self, product: Product) -> tuple[int, int, int]:
        """Rows, columns and inner size."""
        if isinstance(product, Dense):
            return sizes_of(product, self.network)
        left = self.network.types[product.left].shape
        return math.prod(left[:-1]), self.network.types[product.name].shape[-1], left[-1]


def _lefts(product: Product) -> tuple[str, ...]:
    return product.lefts if isinstance(product, Dense) else (product.left,)


def _counts(products: Iterable[Product]) -> frozenset[int]:
    """In how many parts their left operands come."""
    return frozenset(len(_lefts(product)) for product in products)
