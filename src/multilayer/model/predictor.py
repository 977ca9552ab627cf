"""`Predictor`: the mean of several networks' predictions, computed by compiled kernels or by PyTorch."""

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.machine import n_cores
from multilayer.signals import held_back
from multilayer.training.autograd import forward_in_chunks, mixes_rows, torch_threads
from multilayer.training.forked import Lock

if TYPE_CHECKING:
    from multilayer.training.kernels.predict import Forward

Outputs = Callable[[NDArray[np.float32]], NDArray[np.float32]]

ROWS_A_TASK = 2048  # rows that one thread takes at a time: fixed, so that results do not depend on threads
ROWS_ALIKE = 4  # a call is filled up to a multiple: MKL adds up the last one to three rows in another order
MANY_ROWS = 50_000  # from here on, kernels are worth the time that loading them takes


class Predictor:
    """The weighted mean of what several networks make of encoded rows. Threads may call it at the same time.

    y = sum_i w_i link(net_i(x)) / sum_i w_i

    The first call settles whether kernels or PyTorch predict, so that predictions do not depend on how often
    they were asked for, and no later call waits. Kernels predict if they are loaded in this process already,
    for example by training, or if the first call has at least 50,000 rows and they are compiled. Otherwise,
    and for networks that the kernels do not know, PyTorch predicts, as loading the kernels takes about 0.2 s.
    Both agree within the rounding of float32. Large tables are predicted in bounded memory, on as many
    threads as there are cores, with the same bits as on one thread. With the kernels, and with PyTorch's MKL
    on x86, the prediction of a row does not depend on the rows beside it either.

    Weights are read where they are at every call, layers once.

    Shape:   x: (n_rows, columns) -> whatever link gives, (n_rows, ...)

    Args:
        networks: the trained networks.
        link: from outputs (n_rows, d_out) to what is averaged, such as probabilities; row by row.
        weights: one for each network; None weighs all alike.
        kernels: whether kernels predict, if they know the networks; True loads them in the first call, and
            None decides as described above.

    >>> networks = [nn.Linear(3, 1), nn.Linear(3, 1)]
    >>> Predictor(networks, lambda out: out[:, 0].astype(np.float64))(np.zeros((5, 3), np.float32)).shape
    (5,)
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        link: Callable[[NDArray[np.float32]], NDArray[np.float64]],
        weights: Sequence[float] | None = None,
        *,
        kernels: bool | None = None,
    ) -> None:
        self.networks, self.link, self.kernels = tuple(networks), link, kernels
        self._is_by_kernels = kernels
        self.weights = (1.0,) * len(self.networks) if weights is None else tuple(weights)
        self._mixes_rows = any(map(mixes_rows, self.networks))
        self._lock = Lock()
        self._forwards: tuple[Forward, ...] | None = None  # None: not looked at; empty: PyTorch's business

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies carry no buffers and no addresses. PyTorch predicts in copies of what it predicts.

        Kernels do so where they are loaded, as in this process, or are worth loading.
        """
        kernels = False if self._is_by_kernels is False else self.kernels
        return partial(Predictor, kernels=kernels), (self.networks, self.link, self.weights)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The mean for rows that are encoded as the networks want them.

        Raises:
            DataError: another number of columns, or a category code that a column does not have.
        """
        if self._is_by_kernels is None:
            with self._lock:
                if self._is_by_kernels is None:
                    self._is_by_kernels = _are_loaded() or (len(x) >= MANY_ROWS and _are_compiled())
        forwards = self._attached() if self._is_by_kernels else ()
        if not forwards:
            return self._mean([partial(self._by_torch, net) for net in self.networks], x)
        return self._in_tasks(forwards, x)

    def _attached(self) -> "tuple[Forward, ...]":
        """The networks' forward passes, on their weights of now; none if the kernels do not know them all."""
        forwards = self._forwards
        if forwards is None or not all(forward.located.is_current for forward in forwards):
            with self._lock:
                forwards = self._forwards = _forwards(self.networks)
        return forwards

    def _by_torch(self, net: nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(net.parameters()).device
        with self._lock, torch_threads(1):  # threads belong to the process, modes to the network
            return forward_in_chunks(net, torch.from_numpy(x).to(device)).cpu().numpy()

    def _mean(self, outputs: Sequence[Outputs], x: NDArray[np.float32]) -> NDArray[np.float64]:
        n_rows = len(x)
        if not self._mixes_rows:
            x = np.concatenate([x, np.zeros((-n_rows % ROWS_ALIKE, x.shape[1]), np.float32)])
        links = (self.link(output(x)[:n_rows]) for output in outputs)
        total = sum(w * said for w, said in zip(self.weights, links, strict=True))
        return np.asarray(total / sum(self.weights))

    def _in_tasks(self, outputs: Sequence[Outputs], x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Pieces of the table side by side, each through all networks."""
        if len(x) <= ROWS_A_TASK:
            return self._mean(outputs, x)
        from multilayer.training.pack import run_together, thread_pool

        parts: dict[int, NDArray[np.float64]] = {}

        def predict(start: int) -> None:
            parts[start] = self._mean(outputs, x[start : start + ROWS_A_TASK])

        starts = range(0, len(x), ROWS_A_TASK)
        with thread_pool(n_cores()) as pool:
            run_together([partial(predict, start) for start in starts], pool, threading.Event())
        return np.concatenate([parts[start] for start in starts])


def _are_loaded() -> bool:
    """Whether this process has run a kernel; asks without loading them."""
    run = getattr(
        sys.modules.get("multilayer.training.kernels.loop"), "run", None
    )  # another thread may import it
    return run is not None and bool(run.overloads)


def _are_compiled() -> bool:
    with held_back():  # the import is a part of what loading takes
        from multilayer.training.kernels.loop import is_compiled

    return is_compiled()


def _forwards(networks: Sequence[nn.Module]) -> "tuple[Forward, ...]":
    with held_back():
        from multilayer.training.kernels.plan import UnknownToKernels
        from multilayer.training.kernels.predict import forward_of
        from multilayer.training.kernels.readers import read_plan

    try:
        plans = [read_plan(net) for net in networks]
    except UnknownToKernels:
        return ()
    if any(plan.mixes_rows == "always" for plan in plans):
        return ()  # an output depends on the rows beside it: no place for pieces of a table
    return tuple(forward_of(plan) for plan in plans)
