"""The kernel engine: trains a plain network in compiled loops, with the contract of the autograd engine."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.training import kernels as k
from multilayer.training import loss_kernels, update_kernels
from multilayer.training.autograd import denormals_flushed
from multilayer.training.blas import blas_threads, product_for, product_threads
from multilayer.training.forward import (
    FlatWeights,
    Forward,
    arguments,
    as_rows,
    chunk_of,
    compiled_ops,
    floats,
    round_up,
)
from multilayer.training.layer_kernels import LAYERS
from multilayer.training.losses import GammaLoss, Loss, QuantileLoss, TweedieLoss
from multilayer.training.optim import EarlyEpsilonAdam, LeanAdamW, LeanSGD, Muon, lr_scale
from multilayer.training.plan import Plan, UnknownToKernels, read_plan

logger = logging.getLogger("multilayer")


def why_not(
    net: nn.Module, loss: Loss | Callable[..., Tensor], optimizer: torch.optim.Optimizer, x: Any = None
) -> str | None:
    """Why the kernels cannot train this, in a sentence; None when they can.

    x: the rows, where known: their shape is looked at as well.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1))
    >>> why_not(net, nn.MSELoss(), torch.optim.Adam(net.parameters()))
    'the kernels do not know the layer Sequential.1 (Softmax).'
    """
    try:
        plan = read_plan(net)
        _check_optimizer(optimizer, plan)
        if x is not None:
            _check_columns(net, plan, tuple(x.shape))
    except UnknownToKernels as reason:
        return str(reason)
    return None


class KernelEngine:
    """Trains a module by compiled kernels. The module's parameters and buffers are the trained weights at
    every moment.

    Its tensors become views of one flat buffer; frozen parameters (`requires_grad=False`) stay as they are.
    The moments
    of Adam, SGD and Muon are kept in `optimizer.state`, as PyTorch does, so that another run goes on where
    this one ended.

    Args:
        net: the module; its parameters are trained in place.
        x: float32 (n_rows, ...), all training rows.
        y: targets (n_rows, ...), or None for a loss of the output alone.
        weight: float32 (n_rows,), or None.
        loss: a torch.nn loss, a `Loss`, or a callable of output, or output and target. Losses that the
        kernels do not know
            are differentiated by autograd, with respect to the output only.
        optimizer: holds the module's parameters.
        clip_norm: largest norm of all gradients together, or None.
        accumulate: batches for one update, or "forever": an update each batch, and gradients that are never
        cleared.
        seed: of dropout.
        threads: of one matrix product.

    Raises:
        ConfigError: the kernels cannot train this (see `why_not`), or weights with a loss that takes none.
        DataError: rows, codes or targets that do not fit the network and the loss.
    """

    name = "kernels"

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
        accumulate: int | Literal["forever"],
        seed: int,
        threads: int = 1,
    ) -> None:
        try:
            self.plan = read_plan(net)
            _check_optimizer(optimizer, self.plan)
            _check_columns(net, self.plan, tuple(x.shape))
        except UnknownToKernels as reason:
            raise ConfigError(
                f"the kernel engine cannot train this: {reason} Use the autograd engine."
            ) from None
        self.net, self.optimizer, self.threads = net, optimizer, threads
        self.clip_norm, self.accumulate, self.seed = clip_norm, accumulate, seed
        self.loss = loss if isinstance(loss, Loss) else Loss(loss, y is not None, False)
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.use(x, y, weight)
        if self.row_weights is not None and self.loss.module is None and not self.loss.takes_weight:
            raise ConfigError(
                "sample_weight with a loss of your own needs it to take the weights as last argument."
            )
        self._flatten()
        self.sizes = np.zeros(10, np.int64)
        _announce_compilation()
        self.ops = compiled_ops(self.plan, threads)
        self.ops_to_predict = compiled_ops(self.plan)
        self.loss_at = 0 if self.spec is None else k.loss_address(self.spec.kernel)
        self.release()
        self.accumulates = accumulate != 1
        self.total = floats(self.plan.flat_size if self.accumulates else 1)

    def use(self, x: Any, y: Any, weight: Any) -> None:
        """Train on these rows from now on."""
        self.x = as_rows(x, self.plan)
        self.y = None if y is None else np.ascontiguousarray(y)
        self.row_weights = None if weight is None else np.ascontiguousarray(weight, np.float32)
        self.weight = _ones(len(self.x)) if self.row_weights is None else self.row_weights
        self.spec = _loss_spec(self.loss, self.plan.d_out, self.y, len(self.x))

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
            raise DataError(
                "BatchNorm1d needs at least 2 rows in a batch to have a variance; got a batch of 1. "
                "Change batch_size so that the last batch has more rows."
            )
        self._reserve(int(rows.max(initial=1)))
        self.weights.attach()
        args = self._arguments(order, bounds, lr_factors)
        has_own_loss = self.spec is None  # which may call BLAS itself
        limit = blas_threads if has_own_loss else product_threads
        with limit(self.threads), denormals_flushed():
            losses = self._run(args)
        for counter, place in self.plan.counters:
            counter.fill_(int(self.weights.ints[place]))
        self._publish_state()
        return losses

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
        batch = plan.value_width * round_up(batch_size) + max(way_back, _update_scratch(self.optimizer))
        return 4 * max(batch, plan.value_width * chunk_of(plan))

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Outputs in evaluation mode, in bounded memory: (n_rows, d_out), or (n_rows,) behind
        nn.Flatten(0).
        """
        self.weights.attach()
        return Forward(self.plan, self.ops_to_predict, self.weights)(x)

    @property
    def is_finite(self) -> bool:
        """Whether every parameter is; running statistics do not count."""
        weights = (slot for slot in self.plan.slots if isinstance(slot.tensor, nn.Parameter))
        return all(np.isfinite(self.weights.array[slot.start : slot.stop]).all() for slot in weights)

    def close(self) -> None:
        """Give every tensor memory of its own, so that saving one does not carry the whole buffer."""
        for slot in self.plan.slots:
            slot.tensor.data = slot.tensor.detach().clone()
        for parameter, state in self.optimizer.state.items():
            own = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
            self.optimizer.state[parameter] = state | own

    def _flatten(self) -> None:
        size = self.plan.flat_size
        self.weights = FlatWeights(self.plan)
        self.grad, self.moment1, self.moment2 = floats(size), floats(size), floats(size)
        self._adopt_state()
        self.moments = self._own_moments()

    def _moments_of(self, slot_start: int, tensor: Tensor) -> tuple[Tensor, Tensor]:
        stop = slot_start + tensor.numel()
        first, second = torch.from_numpy(self.moment1), torch.from_numpy(self.moment2)
        return first[slot_start:stop].view(tensor.shape), second[slot_start:stop].view(tensor.shape)

    def _adopt_state(self) -> None:
        """Go on from moments that the optimiser has already, and keep them there from now on."""
        self.updates = 0
        for slot in self.plan.slots:
            state = self.optimizer.state.get(slot.tensor)
            if not state:
                continue
            first, second = self._moments_of(slot.start, slot.tensor)
            if state.get("momentum_buffer") is not None:
                first.copy_(state["momentum_buffer"])
                self.updates = max(self.updates, 1)
            if "exp_avg" in state:
                first.copy_(state["exp_avg"])
                second.copy_(state["exp_avg_sq"])
                self.updates = max(self.updates, int(state["step"]))

    def _own_moments(self) -> list[tuple[dict[str, Any], Tensor, Tensor, Tensor]]:
        """Of each parameter that trains: its group, itself, and views of its moments."""
        starts = {id(slot.tensor): slot.start for slot in self.plan.slots if slot.trainable}
        return [
            (group, parameter, *self._moments_of(starts[id(parameter)], parameter))
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if id(parameter) in starts
        ]

    def _publish_state(self) -> None:
        updates = float(self.sizes[8])
        for group, parameter, first, second in self.moments:
            if "betas" in group:
                state = {"step": torch.tensor(updates), "exp_avg": first, "exp_avg_sq": second}
                self.optimizer.state[parameter] = state
            elif group["momentum"]:  # SGD's or Muon's
                self.optimizer.state[parameter] = {"momentum_buffer": first}

    def _reserve(self, rows: int) -> None:
        """Room for batches of so many rows."""
        if rows <= self.cap:
            return
        plan = self.plan
        self.cap = round_up(rows)
        self.values = floats(plan.value_width * self.cap)
        on_the_way_back = (2 * plan.width + plan.skip_width) * self.cap
        self.gradients = floats(max(on_the_way_back, _update_scratch(self.optimizer)))
        self.stats = floats(plan.stat_size + 1)

    def _arguments(
        self, order: NDArray[np.int64], bounds: NDArray[np.int64], lr_factors: NDArray[np.float64]
    ) -> dict[str, Any]:
        accumulate = 0 if self.accumulate == "forever" else int(self.accumulate)
        batches = self.sizes[7]
        updates = self.sizes[8] if batches else self.updates
        self.sizes[:] = (
            self.cap,
            self.plan.width,
            self.plan.v_out,
            0,
            accumulate,
            self.seed,
            self.plan.d_out,
            batches,
            updates,
            self.loss_at,
        )
        segments, hyper = _groups(self.optimizer, self.plan, self.base_lrs)
        if (is_muon := hyper[:, k.ROWS] > 0).any():
            hyper[is_muon, k.MUON_PRODUCT_AT] = k.product_address(product_for(self.threads))
            hyper[is_muon, k.MUON_GRAM_AT] = k.product_address(product_for(self.threads, symmetric=True))
        return {
            "order": np.ascontiguousarray(order, np.int64),
            "bounds": np.ascontiguousarray(bounds, np.int64),
            "lr_factors": np.ascontiguousarray(lr_factors, np.float64),
            "segments": segments,
            "hyper": hyper,
        }

    def _run(self, args: dict[str, Any]) -> NDArray[np.float64]:
        losses = np.empty(len(args["lr_factors"]))
        run = self._runner(args, losses)
        if self.spec is None:
            self._run_custom(run, args["order"], args["bounds"], losses)
        else:
            run(k.TRAIN)
        return losses

    def _runner(self, args: dict[str, Any], losses: NDArray[np.float64]) -> Callable[[int], None]:
        """`kernels.run` over these batches, waiting for its mode only."""
        spec = self.spec or _NO_LOSS
        loss_ints = np.array([self.loss.is_mean, *spec.ints], np.int64)
        loss_reals = np.array([spec.real, self.clip_norm or 0.0])
        arrays = arguments(
            ops=self.ops,
            reals=self.plan.reals,
            ints=self.weights.ints,
            P=self.weights.array,
            G=self.grad,
            total=self.total,
            M=self.moment1,
            V=self.moment2,
            A=self.values,
            D=self.gradients,
            S=self.stats,
            x=self.x,
            labels=spec.labels,
            target=spec.target,
            weight=self.weight,
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

    def _run_custom(
        self,
        run: Callable[[int], None],
        order: NDArray[np.int64],
        bounds: NDArray[np.int64],
        losses: NDArray[np.float64],
    ) -> None:
        """Kernels forward and backward; the loss, and its derivative by the output, through autograd.

        Rows of y and weights are taken once for all batches, and one call goes from the gradient of a batch
        to the output of the next.
        """
        rows, sizes = torch.from_numpy(order[bounds[0] : bounds[-1]]), np.diff(bounds).tolist()
        targets, weights = _split(self.y, rows, sizes), _split(self.row_weights, rows, sizes)
        places = {n: self._outputs_of(n) for n in set(sizes)}
        self.sizes[3] = 0
        run(k.FORWARD)
        with torch.enable_grad():
            for step, (n, target, weight) in enumerate(zip(sizes, targets, weights, strict=True)):
                outputs, gradients = places[n]
                out = outputs.clone().requires_grad_()
                value = self._loss_of(out, target, weight)
                gradients.copy_(_derivative(value, out))
                losses[step] = float(value.detach())
                self.sizes[3] = step
                run(k.BACKWARD)

    def _outputs_of(self, n: int) -> tuple[Tensor, Tensor]:
        """Where the outputs of n rows stand, and where their gradient is to go."""
        plan = self.plan
        shape = (n,) if plan.flattens else (n, plan.d_out)
        start, size = plan.v_out * self.cap, n * plan.d_out
        outputs, gradients = self.values[start : start + size], self.gradients[:size]
        return torch.from_numpy(outputs).view(shape), torch.from_numpy(gradients).view(shape)

    def _loss_of(self, out: Tensor, target: Tensor | None, weight: Tensor | None) -> Tensor:
        value = self.loss(out, target, weight)
        if not isinstance(value, Tensor) or value.ndim:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise DataError(f"a loss must give one number for a batch; got {came}. Take its mean.")
        return value


_ONE = torch.ones(())


def _derivative(value: Tensor, out: Tensor) -> Tensor:
    """What `torch.autograd.grad(value, out)` gives, without 60 to 100 microseconds of checks in Python."""
    engine: Any = torch.autograd.Variable._execution_engine
    (derivative,) = engine.run_backward((value,), (_ONE,), False, False, (out,), False, accumulate_grad=False)
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
        logger.warning("Compiling the training kernels, some 10 seconds; this happens once on a machine.")


def warm_up() -> None:
    """Compile everything that the kernel engine may ever need, so that no later run waits for it."""
    for kernel in (kernel for pair in LAYERS for kernel in pair):
        k.layer_address(kernel)
    for n_threads in (1, 2):
        k.product_address(product_for(n_threads))
        k.product_address(product_for(n_threads, symmetric=True))
    for loss in (loss_kernels.pointwise, loss_kernels.cross_entropy, loss_kernels.quantile):
        k.loss_address(loss)
    for update in (
        update_kernels.adam,
        update_kernels.signed_adam,
        update_kernels.sgd,
        update_kernels.muon,
    ):
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


_REFUSED_OPTIONS = ("amsgrad", "maximize", "differentiable")
_KNOWN_OPTIMIZERS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Muon,
    EarlyEpsilonAdam,
    LeanAdamW,
    LeanSGD,
    Muon,
)
_NOT_DECOUPLED = (torch.optim.Adam, EarlyEpsilonAdam)


def _check_optimizer(optimizer: torch.optim.Optimizer, plan: Plan) -> None:
    if type(optimizer) not in _KNOWN_OPTIMIZERS:
        raise UnknownToKernels(f"the kernels do not know the optimiser {type(optimizer).__name__}.")
    if getattr(optimizer, "_optimizer_step_pre_hooks", None) or getattr(
        optimizer, "_optimizer_step_post_hooks", None
    ):
        raise UnknownToKernels("the optimiser has step hooks, which the kernels would not call.")
    known = {id(slot.tensor) for slot in plan.slots}
    for group in optimizer.param_groups:
        for option in _REFUSED_OPTIONS:
            if group.get(option):
                raise UnknownToKernels(
                    f"the kernels do not know {option}=True of {type(optimizer).__name__}."
                )
        if plan.signs and ("betas" not in group or _uses_muon(group)):
            raise UnknownToKernels(
                f"the kernels keep signs of weights with Adam and AdamW, not with {type(optimizer).__name__}."
            )
        if any(id(parameter) not in known for parameter in group["params"]):
            raise UnknownToKernels("the optimiser holds parameters that are not the network's.")


def _groups(
    optimizer: torch.optim.Optimizer, plan: Plan, base_lrs: list[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Stretches of the flat buffer that train (start, stop), and the settings of each."""
    group_of = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    segments: list[list[int]] = []
    hyper: list[NDArray[np.float64]] = []
    last = -1
    for slot in plan.slots:
        if not slot.trainable or id(slot.tensor) not in group_of:
            continue
        group = group_of[id(slot.tensor)]
        options = optimizer.param_groups[group]
        if slot.start in plan.signs:
            segments.append([slot.start, slot.stop])
            hyper.append(_hyper(optimizer, options, base_lrs[group], slot.tensor))
            hyper[-1][k.UPDATE_AT] = k.update_address(update_kernels.signed_adam)
            hyper[-1][k.SIGNS_AT] = plan.signs[slot.start] - slot.start
            last = -1
            continue
        if segments and last == group and slot.start - segments[-1][1] < 16 and not _uses_muon(options):
            segments[-1][1] = slot.stop  # neighbours, but for padding, which stays zero
        else:
            segments.append([slot.start, slot.stop])
            hyper.append(_hyper(optimizer, options, base_lrs[group], slot.tensor))
        last = group
    return np.array(segments, np.int64).reshape(-1, 2), np.array(hyper).reshape(-1, k.N_HYPER)


def _uses_muon(options: dict[str, Any]) -> bool:
    return "ns_steps" in options


def _update_scratch(optimizer: torch.optim.Optimizer) -> int:
    """Floats that an update needs beside parameters and moments."""
    matrices = [p for group in optimizer.param_groups if _uses_muon(group) for p in group["params"]]
    return max((update_kernels.muon_scratch(*matrix.shape) for matrix in matrices), default=0)


def _hyper(
    optimizer: torch.optim.Optimizer, options: dict[str, Any], lr: float, tensor: Tensor
) -> NDArray[np.float64]:
    """A group's settings as the kernels want them; Muon's hold for one matrix, the tensor."""
    row = np.zeros(k.N_HYPER)
    row[[k.LR, k.WEIGHT_DECAY]] = lr, float(options["weight_decay"])
    if _uses_muon(options):
        row[k.UPDATE_AT] = k.update_address(update_kernels.muon)
        row[[k.BETA1, k.EPS, k.NESTEROV]] = options["momentum"], options["eps"], options["nesterov"]
        row[[k.NS_A, k.NS_B, k.NS_C]] = options["ns_coefficients"]
        d_out, d_in = tensor.shape
        row[[k.ROWS, k.COLUMNS, k.NS_STEPS]] = d_out, d_in, options["ns_steps"]
        row[k.SCALE] = lr_scale((d_out, d_in), options["adjust_lr_fn"])
    elif "betas" in options:
        row[k.UPDATE_AT] = k.update_address(update_kernels.adam)
        row[[k.BETA1, k.BETA2]] = [float(beta) for beta in options["betas"]]
        row[k.EPS] = options["eps"]
        row[k.DECOUPLED] = type(optimizer) not in _NOT_DECOUPLED or options.get(
            "decoupled_weight_decay", False
        )
        row[k.NESTEROV] = isinstance(optimizer, EarlyEpsilonAdam)
    else:
        row[k.UPDATE_AT] = k.update_address(update_kernels.sgd)
        row[[k.BETA1, k.BETA2, k.NESTEROV]] = (
            options["momentum"],
            options["dampening"],
            options["nesterov"],
        )
    return row


@dataclass(frozen=True)
class _LossSpec:
    """A loss as the kernels see it. ints, real: its options as the kernel wants them; columns: positive
    weights; factors: class or column weights.
    """

    kernel: Callable[..., Any]
    ints: tuple[int, ...]
    labels: NDArray[np.int64]
    target: NDArray[np.float32]
    columns: NDArray[np.float32]
    factors: NDArray[np.float32]
    real: float = 0.0


def _loss_spec(loss: Loss, d_out: int, y: NDArray[Any] | None, n_rows: int) -> _LossSpec | None:
    """None: autograd differentiates the loss."""
    module: Any = loss.module
    if module is None or y is None or not loss.takes_target or loss.takes_weight:
        return None
    kind = type(module)
    if kind not in _KNOWN_LOSSES or module.reduction not in ("mean", "sum"):
        return None
    ones = np.ones(d_out, np.float32)
    if kind is nn.CrossEntropyLoss:
        return _cross_entropy_spec(module, d_out, y)
    if kind is QuantileLoss:
        return _quantile_spec(module, d_out, y, n_rows)
    code, real = _KNOWN_LOSSES[kind](module)
    if code is None:
        return None
    target = np.ascontiguousarray(y, np.float32)
    if target.size != n_rows * d_out:
        raise DataError(
            f"output and target must have the same shape; got {d_out} outputs a row and y {y.shape}."
        )
    columns = _per_column(getattr(module, "pos_weight", None), d_out)
    factors = _per_column(getattr(module, "weight", None), d_out)
    if columns is None or factors is None:
        return None
    target = target.reshape(n_rows, d_out)
    return _LossSpec(
        loss_kernels.pointwise, (code,), _NO_LABELS, target, columns * ones, factors * ones, real
    )


def _per_column(values: Tensor | None, d_out: int) -> NDArray[np.float32] | None:
    if values is None:
        return np.ones(1, np.float32)
    if values.numel() not in (1, d_out):
        return None
    return values.detach().reshape(-1).numpy().astype(np.float32)


def _cross_entropy_spec(module: Any, d_out: int, y: NDArray[Any]) -> _LossSpec | None:
    factors = np.ones(d_out, np.float32) if module.weight is None else _per_column(module.weight, d_out)
    if factors is None or len(factors) != d_out:
        raise DataError(
            f"class weights must be one for each of the {d_out} outputs; got {module.weight.numel()}."
        )
    smoothing = float(module.label_smoothing)
    if y.dtype.kind == "f":
        if y.shape != (len(y), d_out):
            raise DataError(
                f"class probabilities must have one column for each of {d_out} outputs; got {y.shape}."
            )
        target = np.ascontiguousarray(y, np.float32)
        return _LossSpec(
            loss_kernels.cross_entropy, (-100, 1), _NO_LABELS, target, _NO_TARGET[0], factors, smoothing
        )
    labels = np.ascontiguousarray(y, np.int64).reshape(-1)
    counted = labels[labels != module.ignore_index]
    if len(counted) and (counted.min() < 0 or counted.max() >= d_out):
        raise DataError(
            f"class codes must be from 0 to {d_out - 1}, one for each of the network's {d_out} outputs; "
            f"got {counted.min()} to {counted.max()}. Code the classes 0, 1, 2, ..."
        )
    options = (int(module.ignore_index), 0)
    return _LossSpec(
        loss_kernels.cross_entropy, options, labels, _NO_TARGET, _NO_TARGET[0], factors, smoothing
    )


def _quantile_spec(module: QuantileLoss, d_out: int, y: NDArray[Any], n_rows: int) -> _LossSpec:
    n_quantiles = len(module.quantiles)
    target = np.ascontiguousarray(y, np.float32)
    if target.size * n_quantiles != n_rows * d_out:
        raise DataError(
            f"output must have a column for each of {n_quantiles} quantiles of each target; "
            f"got {d_out} outputs a row and y {y.shape}."
        )
    target = target.reshape(n_rows, d_out // n_quantiles)
    quantiles = np.array(module.quantiles, np.float32)
    return _LossSpec(loss_kernels.quantile, (n_quantiles,), _NO_LABELS, target, quantiles, _NO_TARGET[0])


def _poisson(module: Any) -> tuple[int | None, float]:
    return (loss_kernels.POISSON if module.log_input and not module.full else None), 0.0


_KNOWN_LOSSES: dict[type[nn.Module], Callable[[Any], tuple[int | None, float]]] = {
    nn.BCEWithLogitsLoss: lambda m: (loss_kernels.BINARY, 0.0),
    nn.CrossEntropyLoss: lambda m: (None, 0.0),  # has a kernel of its own
    GammaLoss: lambda m: (loss_kernels.GAMMA, 0.0),
    TweedieLoss: lambda m: (loss_kernels.TWEEDIE, m.power),
    nn.HuberLoss: lambda m: (loss_kernels.HUBER, float(m.delta)),
    nn.L1Loss: lambda m: (loss_kernels.L1, 0.0),
    nn.MSELoss: lambda m: (loss_kernels.MSE, 0.0),
    nn.PoissonNLLLoss: _poisson,
    nn.SmoothL1Loss: lambda m: (loss_kernels.SMOOTH_L1, float(m.beta)),
    QuantileLoss: lambda m: (None, 0.0),  # as cross-entropy
}


_NO_LABELS = np.zeros(1, np.int64)
_NO_TARGET = np.zeros((1, 1), np.float32)
_NO_LOSS = _LossSpec(
    loss_kernels.pointwise, (loss_kernels.MSE,), _NO_LABELS, _NO_TARGET, _NO_TARGET[0], _NO_TARGET[0]
)


def _check_columns(net: nn.Module, plan: Plan, shape: tuple[int, ...]) -> None:
    if int(np.prod(shape[1:])) != plan.d_in:
        raise UnknownToKernels(f"the first layer takes {plan.d_in} inputs and x has shape {shape}.")
    leaves = [m for m in net.modules() if not list(m.children())]
    if len(shape) != 2 and not (leaves and type(leaves[0]) is nn.Flatten):
        raise UnknownToKernels(
            f"x has shape {shape}; the kernels take rows of several axes only in front of nn.Flatten."
        )
