"""A network's outputs from the compiled kernels: to judge an epoch by, and for a model to predict with."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.training.autograd import denormals_flushed
from multilayer.training.forked import Lock
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.blas import product_for, product_threads
from multilayer.training.kernels.plan import Plan

CHUNK_FLOATS = 1 << 20  # values of one forward pass: 4 MB, half of a common last-level cache
_COMPILING = Lock()


class Located:
    """A plan's layers with the addresses of their kernels and of the module's tensors.

    Tensors stay where they are: whoever else looks at their memory (a NumPy array, a flat vector, another
    process) sees what is trained, and the kernels see what is written there. That memory is kept alive.

    Args:
        plan: of the module.
        n_threads: for each matrix product.

    Attributes:
        ops: int64 (n_ops, N_FIELDS).
    """

    def __init__(self, plan: Plan, n_threads: int = 1) -> None:
        self.plan = plan
        self._constants = floats(2 * plan.ones)
        self._constants[plan.ones :] = 1
        self._memory = [slot.tensor.detach() for slot in plan.slots]
        self._counters = [counter.detach() for counter, _ in plan.counters]
        self._addresses = _addresses_of(plan)
        at = {slot.start: address for slot, address in zip(plan.slots, self._addresses, strict=False)}
        at |= {0: self._constants.ctypes.data, plan.ones: self._constants[plan.ones :].ctypes.data}
        self.ops = compiled_ops(plan, n_threads)
        for place, address in _TENSORS:
            self.ops[:, address] = [at[start] for start in self.ops[:, place].tolist()]
        for counter, row in plan.counters:
            self.ops[row, k.AUX2] = counter.data_ptr()

    @property
    def is_current(self) -> bool:
        """Whether every tensor of the module still is where it was found."""
        return _addresses_of(self.plan) == self._addresses


_TENSORS = ((k.P0, k.P0_AT), (k.P1, k.P1_AT), (k.B0, k.B0_AT), (k.B1, k.B1_AT))


def _addresses_of(plan: Plan) -> list[int]:
    """Of every tensor of the module, then of its counters."""
    return [slot.tensor.data_ptr() for slot in plan.slots] + [
        tensor.data_ptr() for tensor, _ in plan.counters
    ]


@dataclass(frozen=True)
class _Buffers:
    """What one thread works in: room for so many rows, and the arguments of `kernels.run`."""

    cap: int
    values: NDArray[np.float32]
    arguments: dict[str, NDArray[Any]]


class Forward:
    """Outputs of one network in evaluation mode, in bounded memory. Threads may call it at the same time.

    Buffers are kept from call to call, a set for each thread that was in a call at the same time.

    Args:
        located: the network's layers and where its tensors are.

    >>> from torch import nn
    >>> from multilayer.training.kernels.readers import read_plan
    >>> forward_of(read_plan(nn.Linear(2, 3)))(np.zeros((5, 2), np.float32)).shape
    (5, 3)
    """

    def __init__(self, located: Located) -> None:
        self.located, self.plan = located, located.plan
        self.chunk = chunk_of(self.plan)
        self._free: list[_Buffers] = []

    def __call__(self, rows: Any) -> NDArray[np.float32]:
        """Outputs (n_rows, d_out) of rows (n_rows, ...), or (n_rows,) behind nn.Flatten(0).

        Raises:
            DataError: as `as_rows`.
        """
        plan, rows = self.plan, as_rows(rows, self.plan)
        chunk = max(1, len(rows)) if plan.mixes_rows == "always" else self.chunk
        out = np.empty((len(rows), plan.d_out), np.float32)
        buffers = self._take(min(chunk, round_up(max(1, len(rows)))))
        start_of_out = plan.v_out * buffers.cap
        with product_threads(1), denormals_flushed():
            for start in range(0, len(rows), chunk):
                part = rows[start : start + chunk]
                self._run(buffers, part)
                last = buffers.values[start_of_out : start_of_out + len(part) * plan.d_out]
                out[start : start + len(part)] = last.reshape(len(part), plan.d_out)
        self._free.append(buffers)
        return out[:, 0] if plan.flattens else out

    def _take(self, cap: int) -> _Buffers:
        try:
            buffers = self._free.pop()
        except IndexError:
            return self._make(cap)
        return buffers if buffers.cap >= cap else self._make(cap)

    def _make(self, cap: int) -> _Buffers:
        plan = self.plan
        values, sizes = floats(plan.value_width * cap), np.zeros(k.N_SIZES, np.int64)
        sizes[[k.CAP, k.WIDTH, k.OUTPUT_AT]] = cap, plan.width, plan.v_out
        sizes[[k.ACCUMULATE, k.N_OUTPUTS]] = 1, plan.d_out
        given = arguments(
            ops=self.located.ops,
            reals=plan.reals,
            ints=plan.ints,
            A=values,
            S=floats(plan.stat_size + 1),
            order=np.arange(cap),
            bounds=np.zeros(2, np.int64),  # see _run
            sizes=sizes,
        )
        return _Buffers(cap, values, given)

    def _run(self, buffers: _Buffers, rows: NDArray[np.float32]) -> None:
        given = buffers.arguments
        given["x"], given["bounds"][1] = rows, len(rows)
        k.run(k.PREDICT, *given.values())
        given["x"] = _BLANKS["x"]  # hold no user's table


def forward_of(plan: Plan) -> Forward:
    """The forward pass of a module, by its plan."""
    return Forward(Located(plan))


def compiled_ops(plan: Plan, n_threads: int = 1) -> NDArray[np.int64]:
    """A plan's rows with the addresses of their kernels, compiled or loaded now, by one thread at a time.

    n_threads: for each matrix product
    """
    ops = plan.ops.copy()
    with _COMPILING:
        ops[:, k.PRODUCT_AT] = k.product_address(product_for(n_threads))
        for op, (forward, backward) in zip(ops, plan.kernels, strict=True):
            op[[k.FORWARD_AT, k.BACKWARD_AT]] = k.layer_address(forward), k.layer_address(backward)
    return ops


def chunk_of(plan: Plan) -> int:
    """Rows that go through a network at once."""
    return max(64, min(4096, CHUNK_FLOATS // plan.value_width))


def as_rows(x: Any, plan: Plan) -> NDArray[np.float32]:
    """Rows as the kernels take them: float32 (n_rows, d_in) in C order, codes within their columns' ranges.

    Raises:
        DataError: another number of inputs, or a code that a column does not have.
    """
    rows = np.require(x, np.float32, ("C", "W"))  # a read-only array has a type of its own, compiled anew
    if math.prod(rows.shape[1:]) != plan.d_in:
        raise DataError(f"the network takes {plan.d_in} inputs a row; got {rows.shape[1:]}.")
    rows = rows.reshape(len(rows), plan.d_in)
    if plan.code_ranges:
        _check_codes(rows, plan.code_ranges)
    return rows


def _check_codes(rows: NDArray[np.float32], ranges: dict[int, int]) -> None:
    columns, n_codes = list(ranges), np.array([*ranges.values()], np.float32)
    codes = rows[:, columns]
    fits = (codes >= 0) & (codes < n_codes)
    if not fits.all():
        bad = int(np.argmin(fits.all(axis=0)))
        raise DataError(
            f"column {columns[bad]} holds category codes, whole numbers from 0 to {n_codes[bad] - 1:g}; "
            f"got {codes[:, bad].min():g} to {codes[:, bad].max():g}."
        )


def floats(n: int) -> NDArray[np.float32]:
    """Zeros that start on a cache line."""
    raw = np.zeros(n + 16, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + n]


def round_up(rows: int) -> int:
    """Rows of a buffer: a multiple of 16, so that every layer's output starts on a cache line."""
    return -(-rows // 16) * 16


# The arguments of `kernels.run` after its mode, in its order, each with an array of its type for "none".
_FLOATS, _INTS, _REALS = np.zeros(1, np.float32), np.zeros(1, np.int64), np.zeros(0)
_BLANKS: dict[str, NDArray[Any]] = {
    "ops": np.zeros((0, k.N_FIELDS), np.int64),
    "reals": np.zeros((0, k.N_REALS), np.float32),
    "ints": _INTS,
    **dict.fromkeys(("G", "total", "A", "D", "S"), _FLOATS),
    "segments": np.zeros((0, k.N_PLACES), np.int64),
    "hyper": np.zeros((0, k.N_HYPER)),
    "x": np.zeros((1, 1), np.float32),
    "labels": _INTS,
    "target": np.zeros((1, 1), np.float32),
    "weight": _FLOATS,
    "mass": _FLOATS,
    "order": _INTS,
    "bounds": _INTS,
    "lr_factors": _REALS,
    "loss_ints": np.zeros(2, np.int64),
    "loss_reals": np.zeros(3),
    "columns": _FLOATS,
    "factors": _FLOATS,
    "sizes": np.zeros(k.N_SIZES, np.int64),
    "losses": _REALS,
}


def arguments(**given: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What `kernels.run` takes after its mode, in its order; nothing where nothing is given."""
    return {**_BLANKS, **given}
