"""The kernel engine: trains a plain network in compiled loops, with the contract of the autograd engine."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.training.autograd import (
    NO_GRADIENT,
    ONE_ROW,
    AutogradEngine,
    check_scalar,
    clear_gradients,
    denormals_flushed,
)
from multilayer.training.kernels import loop as k
from multilayer.training.kernels import losses as loss_kernels
from multilayer.training.kernels import updates as update_kernels
from multilayer.training.kernels.activations import ACTIVATIONS
from multilayer.training.kernels.blas import blas_threads, product_for, product_threads
from multilayer.training.kernels.embeddings import EMBEDDINGS
from multilayer.training.kernels.layers import LAYERS
from multilayer.training.kernels.loss_rules import NO_LOSS, loss_spec
from multilayer.training.kernels.optimizer_state import Trained, check_optimizer
from multilayer.training.kernels.plain import (
    foreign_to_function,
)
from multilayer.training.kernels.plan import Plan, UnknownToKernels
from multilayer.training.kernels.predict import (
    Forward,
    Located,
    arguments,
    as_rows,
    chunk_of,
    floats,
    round_up,
)
from multilayer.training.kernels.readers import read_plan
from multilayer.training.losses import Loss
from multilayer.training.random_state import RandomState, taking_turn

logger = logging.getLogger("multilayer")


def why_not(
    net: nn.Module,
    loss: Loss | Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    x: Any = None,
    y: Any = None,
) -> str | None:
    """Why the kernels cannot train this, in a sentence; None when they can.

    x, y: the rows, where known: their shapes are looked at as well.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1))
    >>> why_not(net, nn.MSELoss(), torch.optim.Adam(net.parameters()))
    'the kernels do not know the layer Sequential.1 (Softmax).'
    """
    try:
        read_run(net, loss, optimizer, x, y)
    except UnknownToKernels as reason:
        return str(reason)
    return None


def read_run(
    net: nn.Module,
    loss: Loss | Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    x: Any,
    y: Any,
    accumulate: int | str = 1,
) -> Plan:
    """The plan of what is to be trained.

    Raises:
        UnknownToKernels: the kernels cannot train it.
    """
    if x is not None and not hasattr(x, "shape"):
        raise UnknownToKernels("the network takes several inputs; the kernels know one array.")
    if isinstance(y, tuple):
        raise UnknownToKernels("the loss takes several targets; the kernels know one array.")
    if accumulate == "forever":
        raise UnknownToKernels("the kernels clear gradients for each update.")
    reason = foreign_to_function(loss.function if isinstance(loss, Loss) else loss)
    if reason is not None:
        raise UnknownToKernels(f"the loss {reason}")
    with taking_turn():  # nobody has the network in another mode meanwhile
        plan = read_plan(net)
    check_optimizer(optimizer, plan)
    if x is not None:
        _check_columns(net, plan, tuple(x.shape))
    return plan


class KernelEngine:
    """Trains a module by compiled kernels, where its parameters, buffers and the optimiser's state are.

    Frozen parameters (`requires_grad=False`) and modules in `eval()` stay as they are. The moments of Adam,
    SGD and Muon are kept in `optimizer.state`, as PyTorch does, so that another run goes on where this one
    ended. A loss that the kernels do not know, but that depends on nothing else than output, target and
    constants, is differentiated by autograd, with respect to the output.

    Args:
        net: the module; its parameters are trained in place.
        x: float32 (n_rows, ...), all training rows.
        y: targets (n_rows, ...), or None for a loss of the output alone.
        weight: float32 (n_rows,), or None.
        loss: a torch.nn loss, a `Loss`, or a callable of output, or of output and target.
        optimizer: holds the module's parameters.
        clip_norm: largest norm of all gradients together, or None.
        clip_value: largest gradient of any one number, or None.
        accumulate: batches for one update.
        seed: of dropout, and of what a loss draws.
        threads: of one matrix product.

    Raises:
        ConfigError: the kernels cannot train this (see `why_not`), or weights with a loss that takes none.
        DataError: rows, codes or targets that do not fit the network and the loss.
    """

    name: Literal["kernels"] = "kernels"

    def __init__(
        self,
        net: nn.Module,
        x: Any,
        y: Any,
        weight: Any,
        *,
        loss: Loss | Callable[..., Tensor],
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None,
        accumulate: int,
        seed: int,
        clip_value: float | None = None,
        threads: int = 1,
        plan: Plan | None = None,
    ) -> None:
        """plan: what `read_run` has read of these just now."""
        self.net, self.optimizer, self.threads = net, optimizer, threads
        self.clip_norm, self.clip_value, self.accumulate = clip_norm, clip_value, accumulate
        self.seed, self.random = seed, RandomState(seed)
        self.loss = loss if isinstance(loss, Loss) else Loss(loss, y is not None, False)
        self.sizes = np.zeros(k.N_SIZES, np.int64)
        self.grad = self.total = floats(0)
        _announce_compilation()
        try:
            self._adopt(plan or read_run(net, self.loss, optimizer, x, y, accumulate))
        except UnknownToKernels as reason:
            raise ConfigError(
                f"the kernel engine cannot train this: {reason} Use the autograd engine."
            ) from None
        self.use(x, y, weight)
        if self.row_weights is not None and self.loss.module is None and not self.loss.takes_weight:
            raise ConfigError("sample_weight with a loss of your own needs it to take the weights.")
        clear_gradients(optimizer)
        self.release()

    def use(self, x: Any, y: Any, weight: Any) -> None:
        """Train on these rows from now on."""
        self.rows = (x, y, weight)
        self.x = as_rows(x, self.plan)
        self.y = None if y is None else np.ascontiguousarray(y)
        self.row_weights: NDArray[np.float32] | None = (
            None if weight is None else np.ascontiguousarray(weight, np.float32)
        )
        self.weight = _ones(len(self.x)) if self.row_weights is None else self.row_weights
        self._read_loss()

    def refresh(self) -> str | None:
        """Look at network, loss and optimiser anew, as code of a user's may have changed them.

        Returns:
            in a sentence why the kernels cannot go on; None where they can.
        """
        try:
            plan = read_run(self.net, self.loss, self.optimizer, self.rows[0], self.rows[1])
        except UnknownToKernels as reason:
            return str(reason)
        self._adopt(plan)
        self.use(*self.rows)  # which may have been changed in place
        return None

    def read_optimizer(self) -> str | None:
        """As `refresh`, but of the optimiser's settings and state alone."""
        try:
            check_optimizer(self.optimizer, self.plan)
        except UnknownToKernels as reason:
            return str(reason)
        self.trained = Trained.read(self.optimizer, self.plan, self.threads)
        return None

    def hand_over(self) -> AutogradEngine:
        """The autograd engine, going on with the same network, rows and settings."""
        weight = self.rows[2]
        engine = AutogradEngine(
            self.net,
            *self.rows[:2],
            None if weight is None else torch.as_tensor(weight),
            loss=self.loss,
            optimizer=self.optimizer,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            accumulate=self.accumulate,
            seed=self.seed,
            threads=self.threads,
        )
        engine.random = self.random
        return engine

    def run_epoch(
        self, order: NDArray[np.int64], bounds: NDArray[np.int64], lr_factors: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Train on rows order[bounds[s]:bounds[s+1]] in step s, at lr_factors[s] times each group's lr.

        Returns:
            the loss of every step, before its update.

        Raises:
            DataError: a batch of one row with BatchNorm1d.
        """
        rows = np.diff(bounds)
        if self.plan.mixes_rows != "never" and len(rows) and rows.min() < 2:
            raise DataError(ONE_ROW)
        self._follow()
        self._reserve(int(rows.max(initial=1)))
        args = self._arguments(order, bounds, lr_factors)
        has_own_loss = self.spec is None  # which may call BLAS itself
        limit = blas_threads if has_own_loss else product_threads
        try:
            with limit(self.threads), denormals_flushed():
                return self._run(args)
        finally:
            self.trained.publish(self.optimizer)

    def _follow(self) -> None:
        """Look at the network anew, if a tensor of it has been put somewhere else."""
        if not self.located.is_current and (reason := self.refresh()) is not None:
            raise ConfigError(f"the network was changed, and the kernels cannot go on: {reason}")

    def load(self) -> None:
        """Load the compiled loop, once in a process, so that no step is measured to take that long."""
        self._run(self._arguments(np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0)))

    def release(self) -> None:
        """Free the buffers of batches until the next one comes."""
        self.cap = 0
        self.values = self.gradients = self.stats = floats(0)

    @property
    def kept_bytes(self) -> int:
        """Memory of the weights, their gradient and two moments."""
        return 4 * (4 * self.plan.flat_size + len(self.total))

    def running_bytes(self, batch_size: int) -> int:
        """Memory of the buffers while a batch, or a chunk of a prediction, goes through."""
        plan = self.plan
        way_back = (2 * plan.width + plan.skip_width) * round_up(batch_size)
        batch = plan.value_width * round_up(batch_size) + max(way_back, self.trained.scratch)
        return 4 * max(batch, plan.value_width * chunk_of(plan))

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Outputs in evaluation mode, in bounded memory: (n_rows, d_out), or (n_rows,) behind
        nn.Flatten(0).
        """
        self._follow()
        return Forward(self.located if self.threads == 1 else Located(self.plan))(x)

    @property
    def is_finite(self) -> bool:
        """Whether every parameter that trains is; running statistics do not count."""
        with np.errstate(over="ignore", invalid="ignore"):  # of a sum of squares: then each is looked at
            return all(
                np.isfinite(np.dot(values, values)) or bool(np.isfinite(values).all())
                for values in self.parameters
            )

    def close(self) -> None:
        """Nothing to give back: module and optimiser own their numbers all the time."""

    def masses(self) -> NDArray[np.float32]:
        """What each row counts in the mean that the loss is."""
        y = None if self.y is None else torch.from_numpy(self.y)
        weight = None if self.row_weights is None else torch.from_numpy(self.row_weights)
        mass = self.loss.mass(y, weight)
        return _ones(len(self.x)) if mass is None else np.ascontiguousarray(mass, np.float32)

    def _adopt(self, plan: Plan) -> None:
        """Train by this plan from now on."""
        if plan.flat_size != len(self.grad):
            self.grad = floats(plan.flat_size)
            self.total = floats(plan.flat_size if self.accumulate != 1 else 1)
        self.plan: Plan = plan
        self.located = Located(plan, self.threads)
        self.parameters = [slot.tensor.detach().numpy().ravel() for slot in plan.slots if slot.trainable]
        self.trained = Trained.read(self.optimizer, plan, self.threads)

    def _read_loss(self) -> None:
        self.spec = loss_spec(self.loss, self.plan.d_out, self.y, len(self.x), self.row_weights is not None)
        self.loss_at = 0 if self.spec is None else k.loss_address(self.spec.kernel)
        self.mass = self.weight if self.accumulate == 1 else self.masses()

    def _reserve(self, rows: int) -> None:
        """Room for batches of so many rows."""
        if rows <= self.cap:
            return
        plan = self.plan
        self.cap = round_up(rows)
        self.values = floats(plan.value_width * self.cap)
        on_the_way_back = (2 * plan.width + plan.skip_width) * self.cap
        self.gradients = floats(max(on_the_way_back, self.trained.scratch))
        self.stats = floats(plan.stat_size + 1)

    def _arguments(
        self, order: NDArray[np.int64], bounds: NDArray[np.int64], lr_factors: NDArray[np.float64]
    ) -> dict[str, Any]:
        plan, n_batches = self.plan, self.sizes[k.N_BATCHES]
        batch_at = 0
        self.sizes[:] = (  # in the order of k.CAP to k.LOSS_AT
            self.cap, plan.width, plan.v_out, batch_at, self.accumulate, self.seed, plan.d_out, n_batches,
            self.loss_at,
        )  # fmt: skip
        return {
            "order": np.ascontiguousarray(order, np.int64),
            "bounds": np.ascontiguousarray(bounds, np.int64),
            "lr_factors": np.ascontiguousarray(lr_factors, np.float64),
            "segments": self.trained.segments,
            "hyper": self.trained.hyper,
        }

    def _run(self, args: dict[str, Any]) -> NDArray[np.float64]:
        losses = np.empty(len(args["lr_factors"]))
        if self.spec is None:
            self._run_custom(args, losses)
        else:
            self._runner(args, losses)(k.TRAIN)
        return losses

    def _runner(self, args: dict[str, Any], losses: NDArray[np.float64]) -> Callable[[int], None]:
        """`kernels.run` over these batches, waiting for its mode only."""
        spec = self.spec or NO_LOSS
        loss_ints = np.array([self.loss.is_mean, *spec.ints], np.int64)
        loss_reals = np.array([spec.real, self.clip_norm or 0.0, self.clip_value or 0.0])
        arrays = arguments(
            ops=self.located.ops,
            reals=self.plan.reals,
            ints=self.plan.ints,
            G=self.grad,
            total=self.total,
            A=self.values,
            D=self.gradients,
            S=self.stats,
            x=self.x,
            labels=spec.labels,
            target=spec.target,
            weight=self.weight,
            mass=self.mass,
            loss_ints=loss_ints,
            loss_reals=loss_reals,
            columns=spec.columns,
            factors=spec.factors,
            sizes=self.sizes,
            losses=losses,
            **args,
        )
        in_order = tuple(arrays.values())
        return lambda mode: k.run(mode, *in_order)

    def _run_custom(self, args: dict[str, Any], losses: NDArray[np.float64]) -> None:
        """Kernels forward and backward; the loss, and its derivative by the output, through autograd.

        Rows of y and weights are taken once for all batches, and one call goes from the gradient of a batch
        to the output of the next.
        """
        order, bounds = args["order"], args["bounds"]
        rows, sizes = torch.from_numpy(order[bounds[0] : bounds[-1]]), np.diff(bounds).tolist()
        targets, weights = _split(self.y, rows, sizes), _split(self.row_weights, rows, sizes)
        places = {n: self._outputs_of(n) for n in set(sizes)}
        leaves = {n: torch.zeros_like(outputs).requires_grad_() for n, (outputs, _) in places.items()}
        run = self._runner(args, losses)
        self.sizes[k.BATCH_AT] = 0
        with self.random.in_place() as state, torch.inference_mode(False), torch.enable_grad():
            run(k.FORWARD)
            loss, turn = self.loss, state.turn
            for step, (n, target, weight) in enumerate(zip(sizes, targets, weights, strict=True)):
                outputs, gradients = places[n]
                out = (
                    outputs + leaves[n]
                )  # no leaf, as no network's output is one: a loss may change it in place
                value = loss(out, target, weight)
                if type(value) is not Tensor or value.ndim:
                    check_scalar(value)
                gradients.copy_(_derivative(value, leaves[n]))
                losses[step] = value.item()
                self.sizes[k.BATCH_AT] = step
                if turn.n_waiting:  # kernels draw nothing: another thread that waits to draw may do so now
                    with state.set_aside():
                        run(k.BACKWARD)
                else:
                    run(k.BACKWARD)

    def _outputs_of(self, n: int) -> tuple[Tensor, Tensor]:
        """Where the outputs of n rows stand, and where their gradient is to go."""
        plan = self.plan
        shape = (n,) if plan.flattens else (n, plan.d_out)
        start, size = plan.v_out * self.cap, n * plan.d_out
        outputs, gradients = self.values[start : start + size], self.gradients[:size]
        return torch.from_numpy(outputs).view(shape), torch.from_numpy(gradients).view(shape)


_ONE = torch.ones(())


def _derivative(value: Tensor, leaf: Tensor) -> Tensor:
    """What `torch.autograd.grad(value, leaf)` gives, without 60 to 100 microseconds of checks in Python.

    Raises:
        DataError: the loss does not depend on the output.
    """
    if not value.requires_grad:
        raise DataError(NO_GRADIENT)
    engine: Any = torch.autograd.Variable._execution_engine
    one = _ONE if value.dtype == _ONE.dtype else torch.ones_like(check_scalar(value))
    (derivative,) = engine.run_backward((value,), (one,), False, False, (leaf,), False, accumulate_grad=False)
    return derivative


_ONES: WeakValueDictionary[int, NDArray[np.float32]] = WeakValueDictionary()


def _ones(n: int) -> NDArray[np.float32]:
    """Weights of rows that all count alike, one array for all members of a pack."""
    ones = _ONES.get(n)
    if ones is None:
        ones = _ONES[n] = np.ones(n, np.float32)
    return ones


def _split(values: NDArray[Any] | None, rows: Tensor, sizes: list[int]) -> Sequence[Tensor | None]:
    """The values of these rows, one tensor a batch."""
    return [None] * len(sizes) if values is None else torch.from_numpy(values)[rows].split(sizes)


@lru_cache(maxsize=1)
def _announce_compilation() -> None:
    if not k.is_compiled():
        logger.warning("Compiling the training loops, about 10 seconds; this happens once on each machine.")


def warm_up() -> None:
    """Compile everything that the kernel engine may ever need, so that no later run waits for it."""
    for kernel in chain(*LAYERS, *ACTIVATIONS, *EMBEDDINGS):
        k.layer_address(kernel)
    for n_threads in (1, 2):
        k.product_address(product_for(n_threads))
        k.product_address(product_for(n_threads, symmetric=True))
    for loss in loss_kernels.LOSSES:
        k.loss_address(loss)
    for update in update_kernels.UPDATES:
        k.update_address(update)
    net = nn.Linear(1, 1)
    engine = KernelEngine(
        net,
        np.zeros((2, 1), np.float32),
        np.zeros((2, 1), np.float32),
        None,
        loss=nn.MSELoss(),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.0),
        clip_norm=None,
        accumulate=1,
        seed=0,
    )
    engine.run_epoch(np.arange(2), np.array([0, 2]), np.ones(1))


def _check_columns(net: nn.Module, plan: Plan, shape: tuple[int, ...]) -> None:
    if int(np.prod(shape[1:])) != plan.d_in:
        raise UnknownToKernels(f"the first layer takes {plan.d_in} inputs and x has shape {shape}.")
    leaves = [m for m in net.modules() if not list(m.children())]
    if len(shape) != 2 and not (leaves and type(leaves[0]) is nn.Flatten):
        raise UnknownToKernels(
            f"x has shape {shape}; the kernels take rows of several axes only in front of nn.Flatten."
        )
