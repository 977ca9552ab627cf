"""The autograd engine: any module, any loss, any `torch.optim` optimiser, any device, one step at a time."""

import copy
import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.nn.monotone import keep_signs
from multilayer.training.forked import check_threads
from multilayer.training.losses import Loss
from multilayer.training.random_state import RandomState
from multilayer.training.user_arrays import Inputs, Target, batches_of, call, each, n_rows_of, parts_of, taken

logger = logging.getLogger("multilayer")


class AutogradEngine:
    """Trains a module by PyTorch's autograd. The kernel engine follows the same contract.

    Every module trains in the mode that it is in: one in `eval()` stays there.

    Args:
        net: the module; its parameters are trained in place.
        x, y, weight: all training rows, on the module's device, in the types that module and loss want.
        loss: gives one number for a batch.
        optimizer: holds the module's parameters.
        clip_norm: largest norm of all gradients together, or None.
        clip_value: largest gradient of any one number, or None.
        accumulate: batches for one update, or "forever": an update each batch, and gradients never cleared.
        seed: of dropout, and of whatever network and loss draw.
        threads: for PyTorch's operations; None leaves its setting.

    Raises:
        ConfigError: gradients that are never cleared, with an optimiser that computes them several times.
    """

    name: Literal["autograd"] = "autograd"

    def __init__(
        self,
        net: nn.Module,
        x: Inputs,
        y: Target,
        weight: Tensor | None,
        *,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None,
        accumulate: int | Literal["forever"],
        clip_value: float | None = None,
        seed: int = 0,
        threads: int | None = 1,
    ) -> None:
        self.net = net
        self.use(x, y, weight)
        self.loss, self.optimizer = loss, optimizer
        self.clip_norm, self.clip_value, self.accumulate = clip_norm, clip_value, accumulate
        self.threads = threads
        self.random = RandomState(seed, parts_of(x)[0].device, of_all=not is_torchs(net, loss.module))
        self.needs_closure = needs_closure(optimizer)
        self.has_told_of_others = False  # that the optimiser holds, and that get no gradient
        if self.needs_closure and accumulate == "forever":
            raise ConfigError(
                f"accumulate='forever' never clears gradients; {type(optimizer).__name__} computes them "
                "several times for an update. Leave accumulate at 1."
            )
        clear_gradients(optimizer)

    def use(self, x: Inputs, y: Target, weight: Tensor | None) -> None:
        """Train on these rows from now on."""
        self.x, self.y, self.weight = x, y, weight

    def refresh(self) -> None:
        """Nothing: each step looks at network, loss and optimiser anew."""

    def read_optimizer(self) -> None:
        """Nothing, likewise."""

    def masses(self) -> NDArray[np.float32]:
        """What each row counts in the mean that the loss is."""
        mass = self.loss.mass(self.y, self.weight)
        return np.ones(n_rows_of(self.x), np.float32) if mass is None else mass.float().cpu().numpy()

    def run_epoch(
        self, order: NDArray[np.int64], bounds: NDArray[np.int64], lr_factors: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Train on rows order[bounds[s]:bounds[s+1]] in step s, at lr_factors[s] times each group's lr.

        Returns:
            the loss of every step, before its update.

        Raises:
            DataError: a loss that is no scalar or does not depend on the network, BatchNorm with one row.
        """
        rows = torch.from_numpy(order[bounds[0] : bounds[-1]])
        sizes = np.diff(bounds).tolist()
        n_steps, k = len(lr_factors), 1 if self.accumulate == "forever" else int(self.accumulate)
        losses: list[Tensor] = []
        with self._own_state():
            batches = batches_of(self.x, self.y, self.weight, rows, sizes)
            shares = self.loss.shares(batches, k)
            if self.accumulate != "forever":
                clear_gradients(self.optimizer)
            for first in range(0, n_steps, k):
                update = range(first, min(first + k, n_steps))
                parts = [(*batches[step], shares[step]) for step in update]
                losses += self._update(parts, float(lr_factors[update[-1]]))
            return torch.stack(losses).double().cpu().numpy()

    def predict(self, x: Inputs) -> Tensor:
        """Outputs in evaluation mode, in bounded memory."""
        with self._own_state():
            return forward_in_chunks(self.net, x)

    @contextmanager
    def _own_state(self) -> Iterator[None]:
        """PyTorch's random state, threads, modes and denormals as this engine wants them; restored
        afterwards.
        """
        with (
            self.random.in_place(),
            denormals_flushed(),
            torch_threads(self.threads),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            yield

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
        return batch_size * sum(part[:1].numel() * part.element_size() for part in parts_of(self.x))

    @property
    def is_finite(self) -> bool:
        """Whether every parameter that trains is; running statistics, or a frozen mask, do not count."""
        return all(bool(torch.isfinite(p).all()) for p in self.net.parameters() if p.requires_grad)

    def close(self) -> None:
        """Nothing to give back: module and optimiser own their numbers all the time."""

    def _update(self, parts: Sequence[tuple[Any, ...]], lr_factor: float) -> list[Tensor]:
        """One update from some batches, each (x, y, weight, share); their losses before it."""
        first: list[Tensor] = []

        def closure() -> Tensor:
            """Gradients anew, for optimisers that ask several times for one update."""
            if first:
                clear_gradients(self.optimizer)
            losses = self._gradients(parts)
            if not first:
                first.extend(losses)
            return torch.stack([loss * part[3] for loss, part in zip(losses, parts, strict=True)]).sum()

        if not self.needs_closure:
            closure()  # before the factor is on: the loss may set the rate itself
        if not self.has_told_of_others:
            self._tell_of_others()
        with self._rates(lr_factor):
            if self.needs_closure:
                self.optimizer.step(closure)  # type: ignore[arg-type]
            else:
                self.optimizer.step()
        keep_signs(self.net)
        if self.accumulate != "forever":
            clear_gradients(self.optimizer)
        return first

    def _tell_of_others(self) -> None:
        """Warn, once, of parameters that are not the network's and that no gradient reaches: they stay."""
        if self.needs_closure:
            return  # gradients come within its step
        self.has_told_of_others = True
        own = {id(p) for p in self.net.parameters()}
        held = (p for group in self.optimizer.param_groups for p in group["params"])
        n_idle = sum(id(p) not in own and p.requires_grad and p.grad is None for p in held)
        if n_idle:
            logger.warning(
                "The optimizer holds parameters that are not the network's, and the first loss does not "
                "reach them (%d in all): without a gradient they stay as they are. Put what is to train into "
                "the network.",
                n_idle,
            )

    def _gradients(self, parts: Sequence[tuple[Any, ...]]) -> list[Tensor]:
        losses = []
        for x, y, weight, share in parts:
            value = check_scalar(self.loss(_forward(self.net, x), y, weight))
            losses.append(value.detach())
            if share == 0:
                continue  # none of its rows counts
            if not value.requires_grad:
                raise DataError(NO_GRADIENT)
            (value if share == 1 else value * share).backward()
        held = (p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None)
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(held, self.clip_value)
        elif self.clip_norm is not None:
            nn.utils.clip_grad_norm_(held, self.clip_norm)
        return losses

    @contextmanager
    def _rates(self, factor: float) -> Iterator[None]:
        """Every group's learning rate times a factor, for one update."""
        if factor == 1:
            yield  # and what the optimiser makes of its own rate stays
            return
        groups = [group for group in self.optimizer.param_groups if "lr" in group]
        given = [group["lr"] for group in groups]
        for group, lr in zip(groups, given, strict=True):
            group["lr"] = lr * factor
        try:
            yield
        finally:
            for group, lr in zip(groups, given, strict=True):
                group["lr"] = lr


def clear_gradients(optimizer: torch.optim.Optimizer) -> None:
    """`zero_grad()`, without importing PyTorch's compiler, as PyTorch's own does: 2 s of a small run."""
    is_own = type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad and "zero_grad" not in vars(
        optimizer
    )
    if not is_own:
        optimizer.zero_grad(set_to_none=True)
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser computes gradients itself, several times for an update, as LBFGS does.

    >>> p = [nn.Parameter(torch.zeros(1))]
    >>> needs_closure(torch.optim.LBFGS(p)), needs_closure(torch.optim.SGD(p))
    (True, False)
    """
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def is_torchs(*modules: nn.Module | None) -> bool:
    """Whether all are PyTorch's modules, or ours, throughout: they draw from PyTorch's generator alone."""
    inner = [part for module in modules if module is not None for part in module.modules()]
    known = ("torch.nn.", "multilayer.")
    return None not in modules and all(type(part).__module__.startswith(known) for part in inner)


def check_scalar(value: Any) -> Tensor:
    """The loss of a batch, if it is one number.

    Raises:
        DataError: it is not.
    """
    if not isinstance(value, Tensor):
        raise DataError(f"a loss must give a tensor of one number for a batch; got {type(value).__name__}.")
    if value.ndim:
        raise DataError(
            f"a loss must give one number for a batch; got shape {tuple(value.shape)}. Take its mean."
        )
    if value.is_complex():
        raise DataError("a loss must give a real number for a batch; got a complex one. Take its abs().")
    return value


def _forward(net: nn.Module, x: Inputs) -> Any:
    try:
        return call(net, x)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(ONE_ROW) from error


NO_GRADIENT = (
    "a loss must depend on the network's output, for gradients to follow from it; it does not. "
    "Leave out detach(), item(), argmax() and NumPy in the loss."
)
ONE_ROW = (
    "BatchNorm needs at least 2 rows in a batch to have a variance; got a batch of 1. "
    "Change batch_size so that every batch has more rows."
)


def call_without_graph(net: nn.Module, x: Inputs) -> Any:
    """What a network makes of a copy of its inputs, without what autograd keeps for the way back.

    A network that differentiates within its forward pass (a force from an energy, the terms of a differential
    equation) gets its graph all the same.
    """
    try:
        with torch.no_grad():
            return call(net, copy_of(x))
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
    with torch.inference_mode(False), torch.enable_grad():
        return _detached(call(net, copy_of(x)))


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, dict):
        return {key: _detached(part) for key, part in output.items()}
    return tuple(map(_detached, output)) if isinstance(output, tuple | list) else output


def _output(net: nn.Module, x: Inputs) -> Tensor:
    out = call_without_graph(net, x)
    if not isinstance(out, Tensor):
        raise DataError(
            f"a network must give one tensor, with a row for each row of x; got {type(out).__name__}. "
            "Wrap it in a module whose forward returns the part that the loss is for."
        )
    return out


@torch.no_grad()
def forward_in_chunks(net: nn.Module, x: Inputs, chunk: int | None = None) -> Tensor:
    """Outputs of a module in evaluation mode, in bounded memory; its mode is as before afterwards.

    chunk: rows at once; None is what the module says as `rows_at_once`, else 8,192.

    Raises:
        DataError: the module gives something else than a tensor.
    """
    size: Any = getattr(net, "rows_at_once", 8192) if chunk is None else chunk
    n_rows = n_rows_of(x)
    with evaluating(net):
        if n_rows <= size or mixes_rows(net):
            return _output(net, x)
        starts = range(0, n_rows, size)
        return torch.cat([_output(net, taken(x, slice(start, start + size))) for start in starts])


def mixes_rows(net: nn.Module) -> bool:
    """Whether a row's output hangs on the rows beside it in `eval()`, too, as of a norm without running
    statistics.

    >>> mixes_rows(nn.BatchNorm1d(2)), mixes_rows(nn.BatchNorm1d(2, track_running_stats=False))
    (False, True)
    """
    norms = (module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return any(norm.running_mean is None for norm in norms)


def copy_of(x: Inputs) -> Inputs:
    """The caller's rows for a network that may write to its input."""
    copied: Inputs = each(torch.clone, x)
    return copied


REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)  # of a network that cannot take its input


def unfit(x: Inputs, problem: Exception) -> DataError:
    """The error of rows that a network refuses, in words."""
    shapes = ", ".join(str(tuple(part.shape[1:])) for part in parts_of(x))
    return DataError(
        f"x must fit the network; it cannot take rows of shape {shapes}: {problem}. multilayer.trace(net, x) "
        "names the layer."
    )


def first_that_fits(net: nn.Module, candidates: Sequence[Inputs]) -> tuple[Inputs, Tensor]:
    """The first of these inputs that the network can take, and what it makes of the first two rows.

    Nothing of the network, of the inputs, and no generator changes: what is not PyTorch's is tried on a copy.

    Raises:
        DataError: the network gives something else than a tensor.
        RuntimeError, ValueError, IndexError, TypeError: of the first, where it can take none.

    >>> x, out = first_that_fits(nn.Embedding(3, 2), [torch.tensor([1, 2]), torch.tensor([1.0, 2.0])])
    >>> x.dtype, out.shape
    (torch.int64, torch.Size([2, 2]))
    """
    problems = []
    device = parts_of(candidates[0])[0].device
    for x in candidates:
        try:
            with (
                RandomState(0, device, of_all=not is_torchs(net)).in_place(),
                torch.autocast(device.type, enabled=False),
            ):
                return x, forward_in_chunks(_to_try(net), taken(x, slice(0, 2)))
        except DataError:
            raise
        except REFUSALS as error:
            problems.append(error)
    raise problems[0]


def _to_try(net: nn.Module) -> nn.Module:
    """A copy, if something in it may change when it is called; itself, if it is still to learn its shapes."""
    tensors = [*net.parameters(), *net.buffers()]
    lazy = any(isinstance(p, nn.UninitializedParameter | nn.UninitializedBuffer) for p in tensors)
    if is_torchs(net) or lazy:
        return net
    try:
        return copy.deepcopy(net)
    except (RuntimeError, TypeError, AttributeError):  # it holds what cannot be copied
        return net


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Every module in `eval()`; afterwards each is in the mode in which it was."""
    modes = [(module, module.training) for module in net.modules()]
    if not any(mode for _, mode in modes):
        yield  # as a model's networks always are
        return
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:  # some do more than to note it, such as to merge their weights
            if type(module).train is not nn.Module.train and module.training != mode:
                module.train(mode)
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
    check_threads(n or before)
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
