"""What the kernels train by: a module as a flat table of layers, and how such a plan is put together.

A plan is a table of layers (`ops`, `reals`: columns as in `loop.py`) and a list of the module's tensors with
the place of each one's gradient in one flat buffer. `readers.py` says what each layer of a module adds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.training.kernels import layers
from multilayer.training.kernels import loop as k

Kernels = tuple[Callable[..., Any], Callable[..., Any]]
Reader = Callable[["PlanBuilder", Any, str], None]  # adds a module of that name in the network
ALIGN = 16  # floats: 64 bytes, a cache line


class UnknownToKernels(Exception):
    """The kernels cannot run this; the message is a sentence that says what and where."""


@dataclass(frozen=True)
class Slot:
    """One float32 tensor of the module, and where its gradient goes.

    name:      as in `net.named_parameters()`, for messages
    tensor:    the parameter or buffer itself
    start:     first float of its gradient in the flat buffer
    trainable: a parameter that wants a gradient
    """

    name: str
    tensor: Tensor
    start: int
    trainable: bool

    @property
    def stop(self) -> int:
        """One past the last float."""
        return self.start + self.tensor.numel()

    @property
    def is_parameter(self) -> bool:
        """Whether it is one, or a buffer."""
        return isinstance(self.tensor, nn.Parameter)


@dataclass(frozen=True)
class Plan:
    """A module as the kernels see it.

    ops, reals:  one row a layer: int64 (n_ops, N_FIELDS), float32 (n_ops, N_REALS)
    kernels:     forward and backward of each layer, not compiled yet
    ints:        int64: column numbers of embeddings
    slots:       the module's float32 tensors and where their gradients go
    counters:    the module's int64 scalars (batches tracked) and the row of ops that counts there
    code_ranges: columns of x that hold codes -> number of codes
    flat_size:   floats in the flat buffer; places of zeros for missing biases first, then of ones for missing
                 weights
    ones:        where the ones start; as many as zeros
    d_in, d_out: columns of input and output; v_out is the output's place among the values
    flattens:    the output has no second axis: (batch,)
    width:       widest gradient; value_width, skip_width, stat_size: floats a row, a row, and in all
    mixes_rows:  "never", "training" (BatchNorm1d) or "always" (BatchNorm1d without running statistics)
    signs:       start of a weight whose entries keep signs (`SignedLinear`) -> the signs
    """

    ops: NDArray[np.int64]
    kernels: tuple[Kernels, ...]
    reals: NDArray[np.float32]
    ints: NDArray[np.int64]
    slots: tuple[Slot, ...]
    counters: tuple[tuple[Tensor, int], ...]
    code_ranges: dict[int, int]
    flat_size: int
    ones: int
    d_in: int
    d_out: int
    v_out: int
    flattens: bool
    width: int
    value_width: int
    skip_width: int
    stat_size: int
    mixes_rows: str
    signs: dict[int, Tensor]


class PlanBuilder:
    """Collects layers. `value` is where the newest output stands among the values (floats a row), `d` its
    width.

    readers: what adds a module of each class
    """

    def __init__(self, readers: Mapping[type[nn.Module], Reader], d_in: int, widest: int) -> None:
        self.readers = readers
        self.ops: list[NDArray[np.int64]] = []
        self.kernels: list[Kernels] = []
        self.reals: list[tuple[float, float]] = []
        self.ints: list[int] = []
        self.slots: list[Slot] = []
        self.counters: list[tuple[Tensor, int]] = []
        self.code_ranges: dict[int, int] = {}
        self.zeros, self.ones = 0, aligned(widest)
        self.flat_size = 2 * aligned(widest)
        self.d_in = self.d = self.width = d_in
        self.value, self.value_width = 0, d_in
        self.skip_width = self.stat_size = 0
        self.trainable_below = False
        self.flattens = False
        self.mixes_rows = "never"
        self.signs: dict[int, Tensor] = {}

    def read(self, module: nn.Module, name: str) -> None:
        """Add a module and what it holds."""
        kind = type(module)
        if self.flattens:
            raise UnknownToKernels(
                f"{name} stands behind nn.Flatten(0); the kernels know Flatten(0) as last layer only."
            )
        if kind not in self.readers:
            raise UnknownToKernels(f"the kernels do not know the layer {name} ({kind.__name__}).")
        self.readers[kind](self, module, name)

    def expect(self, d: int, name: str) -> None:
        """The layer takes d inputs."""
        if d != self.d:
            raise UnknownToKernels(f"layer {name} expects {d} inputs and gets {self.d}.")

    def tensor(
        self, name: str, tensor: Tensor | None, shape: tuple[int, ...], if_missing: int = 0
    ) -> tuple[int, bool]:
        """The place of a tensor of that shape, and whether it trains. A missing one stands at if_missing."""
        if tensor is None:
            return if_missing, False
        if tuple(tensor.shape) != shape:
            raise UnknownToKernels(f"{name} has shape {tuple(tensor.shape)} where its layer expects {shape}.")
        trainable = isinstance(tensor, nn.Parameter) and tensor.requires_grad
        self.slots.append(Slot(name, tensor, self.flat_size, trainable))
        start, self.flat_size = self.flat_size, self.flat_size + aligned(tensor.numel())
        return start, trainable

    def new_value(self, d: int) -> int:
        """Room for d floats a row."""
        start, self.value_width = self.value_width, self.value_width + d
        return start

    def add(
        self,
        kernels: Kernels,
        *,
        d_out: int | None = None,
        trains: bool = False,
        reals: tuple[float, float] = (0.0, 0.0),
        keep_value: bool = False,
        **fields: int,
    ) -> None:
        """Add a layer; its output gets new room, or stays where it is (keep_value)."""
        d_out = self.d if d_out is None else d_out
        v_out = self.value if keep_value else self.new_value(d_out)
        needs = k.NEEDS_WEIGHT * trains | k.NEEDS_INPUT * self.trainable_below
        row = np.zeros(k.N_FIELDS, np.int64)
        row[[k.SWAPS, k.D_IN, k.D_OUT, k.V_IN, k.V_OUT, k.NEEDS]] = (
            kernels is layers.LINEAR,
            self.d,
            d_out,
            self.value,
            v_out,
            needs,
        )
        for field, value in fields.items():
            row[_FIELDS[field]] = value
        self.ops.append(row)
        self.kernels.append(kernels)
        self.reals.append(reals)
        self.trainable_below |= trains
        self.value, self.d = v_out, d_out
        self.width = max(self.width, d_out)

    def finish(self) -> Plan:
        """The plan of all that was added."""
        if not any(slot.trainable for slot in self.slots):
            raise UnknownToKernels(
                "nothing in the network trains: every parameter is frozen, or there is none."
            )
        return Plan(
            ops=np.array(self.ops, np.int64),
            kernels=tuple(self.kernels),
            reals=np.array(self.reals, np.float32),
            ints=np.array([*self.ints, 0], np.int64),
            slots=tuple(self.slots),
            counters=tuple(self.counters),
            code_ranges=self.code_ranges,
            flat_size=self.flat_size,
            ones=self.ones,
            d_in=self.d_in,
            d_out=self.d,
            v_out=self.value,
            flattens=self.flattens,
            width=self.width,
            value_width=self.value_width,
            skip_width=self.skip_width,
            stat_size=self.stat_size,
            mixes_rows=self.mixes_rows,
            signs=self.signs,
        )


_FIELDS = {name: getattr(k, name.upper()) for name in ("p0", "p1", "b0", "b1", "stat", "aux", "aux2", "aux3")}


def aligned(n: int) -> int:
    """The floats that n take where each tensor starts on a cache line of its own."""
    return -(-n // ALIGN) * ALIGN
