"""The autograd engine: any module, any loss, any `torch.optim` optimiser, any device, one step at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import DataError
from multilayer.nn.monotone import keep_signs
from multilayer.training.losses import Loss


class AutogradEngine:
    """Trains a module by PyTorch's autograd. The kernel engine follows the same contract.

    Args:
        net: the module; its parameters are trained in place.
        x, y, weight: all training rows, on the module's device, in the types that module and loss want.
        loss: gives one number for a batch.
        optimizer: holds the module's parameters.
        clip_norm: largest norm of all gradients together, or None.
        accumulate: batches for one update, or "forever": an update each batch, and gradients never cleared.
        seed: of dropout.
        threads: for PyTorch's operations; None leaves its setting.
    """

    name = "autograd"

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        y: Tensor | None,
        weight: Tensor | None,
        *,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None,
        accumulate: int | Literal["forever"],
        seed: int = 0,
        threads: int | None = 1,
    ) -> None:
        self.net = net
        self.use(x, y, weight)
        self.loss, self.optimizer = loss, optimizer
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.seed, self.threads = seed, threads
        self.random_state: list[Tensor] | None = None
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad(set_to_none=True)

    def use(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Train on these rows from now on."""
        self.x, self.y, self.weight = x, y, weight

    def run_epoch(
        self, order: NDArray[np.int64], bounds: NDArray[np.int64], lr_factors: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Train on rows order[bounds[s]:bounds[s+1]] in step s, at lr_factors[s] times each group's lr.

        Returns:
            the loss of every step, before its update.
        """
        rows = torch.from_numpy(order[bounds[0] : bounds[-1]]).to(self.x.device)
        x, y, weight = self.x[rows], _take(self.y, rows), _take(self.weight, rows)
        losses, starts, n_steps = [], (bounds - bounds[0]).tolist(), len(lr_factors)
        shares = self._shares(starts, weight)
        self.net.train()
        with self._own_state():
            for step in range(n_steps):
                batch = slice(starts[step], starts[step + 1])
                value = self.loss(
                    self.net(x[batch]),
                    None if y is None else y[batch],
                    None if weight is None else weight[batch],
                )
                _check_scalar(value)
                (value * shares[step]).backward()
                if self._ends_group(step, n_steps):
                    self._update(float(lr_factors[step]))
                losses.append(value.detach())
        return torch.stack(losses).double().cpu().numpy()

    def predict(self, x: Tensor) -> Tensor:
        """Outputs in evaluation mode, in bounded memory."""
        with torch_threads(self.threads):
            return forward_in_chunks(self.net, x)

    @contextmanager
    def _own_state(self) -> Iterator[None]:
        """PyTorch's random state, threads and denormals as this engine wants them; restored afterwards."""
        cuda = [self.x.device] if self.x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), denormals_flushed(), torch_threads(self.threads):
            if self.random_state is None:
                torch.manual_seed(self.seed)
            else:
                torch.set_rng_state(self.random_state[0])
                for device, state in zip(cuda, self.random_state[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield
            self.random_state = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, cuda)]

    def load(self) -> None:
        """Nothing: there is nothing to load."""

    def release(self) -> None:
        """Nothing to free between epochs."""

    @property
    def kept_bytes(self) -> int:
        """Memory of the parameters, their gradients and two moments."""
        return 4 * sum(p.numel() * p.element_size() for p in self.net.parameters())

    def running_bytes(self, batch_size: int) -> int:
        """Memory of one batch of rows; what PyTorch keeps for the way back is not counted."""
        return batch_size * self.x[:1].numel() * self.x.element_size()

    @property
    def is_finite(self) -> bool:
        """Whether every parameter is; running statistics do not count."""
        return all(bool(torch.isfinite(p).all()) for p in self.net.parameters())

    def close(self) -> None:
        """Nothing to give back: module and optimiser own their numbers all the time."""

    def _ends_group(self, step: int, n_steps: int) -> bool:
        return self.accumulate == "forever" or (step + 1) % self.accumulate == 0 or step + 1 == n_steps

    def _shares(self, starts: list[int], weight: Tensor | None) -> list[float]:
        """Each batch's share in its update: for a mean loss its rows (or their weights) among all of them."""
        n_steps, k = len(starts) - 1, self.accumulate
        if k == "forever" or k == 1 or not self.loss.is_mean:
            return [1.0] * n_steps
        sizes = [b - a if weight is None else float(weight[a:b].sum()) for a, b in pairwise(starts)]
        groups = [sum(sizes[first : first + k]) for first in range(0, n_steps, k)]
        return [size / groups[step // k] if size else 0.0 for step, size in enumerate(sizes)]

    def _update(self, lr_factor: float) -> None:
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * lr_factor
        try:
            self.optimizer.step()
        finally:
            for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = lr
        keep_signs(self.net)
        if self.accumulate != "forever":
            self.optimizer.zero_grad(set_to_none=True)


def _check_scalar(value: Any) -> None:
    if not isinstance(value, Tensor):
        raise DataError(f"a loss must give a tensor of one number for a batch; got {type(value).__name__}.")
    if value.ndim:
        raise DataError(
            f"a loss must give one number for a batch; got shape {tuple(value.shape)}. Take its mean."
        )


def _take(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _output(net: nn.Module, x: Tensor) -> Tensor:
    out = net(x)
    if not isinstance(out, Tensor):
        raise DataError(
            f"a network must give one tensor, with a row for each row of x; got {type(out).__name__}. "
            "Wrap it in a module whose forward returns the part that the loss is for."
        )
    return out


@torch.no_grad()
def forward_in_chunks(net: nn.Module, x: Tensor, chunk: int | None = None) -> Tensor:
    """Outputs of a module in evaluation mode, in bounded memory; its mode is as before afterwards.

    chunk: rows at once; None is what the module says as `rows_at_once`, else 8,192.

    Raises:
        DataError: the module gives something else than a tensor.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    size: Any = getattr(net, "rows_at_once", 8192) if chunk is None else chunk
    try:
        return torch.cat([_output(net, x[start : start + size]) for start in range(0, max(len(x), 1), size)])
    finally:
        for module, mode in modes:
            module.training = mode


_DENORMAL = 1e-310


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Treat numbers too small for full precision as zero in this thread, as they were slow to compute with.

    Adam's moments of dead units are many such. The thread's setting is restored afterwards.
    """
    was_on = _DENORMAL * 0.5 == 0  # torch has no getter
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


@contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Run PyTorch's operations on n threads (None: as many as it has); the former number comes back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
