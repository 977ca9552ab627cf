"""The kernel engine: trains a plain network in compiled loops, with the contract of the autograd engine."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.training import kernels as k
from multilayer.training import loss_kernels, update_kernels
from multilayer.training.autograd import denormals_flushed
from multilayer.training.blas import BLAS
from multilayer.training.layer_kernels import LAYERS
from multilayer.training.losses import Loss
from multilayer.training.plan import Plan, UnknownToKernels, read_plan

logger = logging.getLogger("multilayer")

CHUNK_FLOATS = 1 << 20  # values of one forward pass in `predict`: 4 MB, half of a common last-level cache


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
    of Adam and SGD are kept in `optimizer.state`, as PyTorch does, so that another run goes on where this
    one ended.

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
    ) -> None:
        try:
            self.plan = read_plan(net)
            _check_optimizer(optimizer, self.plan)
            _check_columns(net, self.plan, tuple(x.shape))
        except UnknownToKernels as reason:
            raise ConfigError(
                f"the kernel engine cannot train this: {reason} Use the autograd engine."
            ) from None
        self.net, self.optimizer = net, optimizer
        self.clip_norm, self.accumulate, self.seed = clip_norm, accumulate, seed
        self.loss = loss if isinstance(loss, Loss) else Loss(loss, y is not None, False)
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.x = _as_rows(x, self.plan)
        self.y = None if y is None else np.ascontiguousarray(y)
        n_rows = len(self.x)
        self.weight = (
            np.ones(n_rows, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
        )
        self.is_weighted = weight is not None
        self.spec = _loss_spec(self.loss, self.plan.d_out, self.y, n_rows)
        if self.is_weighted and self.loss.module is None and not self.loss.takes_weight:
            raise ConfigError(
                "sample_weight with a loss of your own needs it to take the weights as last argument."
            )
        self._flatten()
        self.sizes = np.zeros(10, np.int64)
        _announce_compilation()
        self.ops = _compiled_ops(self.plan)
        self.loss_at = 0 if self.spec is None else k.loss_address(self.spec.kernel)
        self.cap = 0
        self.accumulates = accumulate != 1
        self.total = _floats(self.plan.flat_size if self.accumulates else 1)

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
        self._attach()
        args = self._arguments(order, bounds, lr_factors)
        with one_blas_thread(), denormals_flushed():
            losses = self._run_custom(args, len(rows)) if self.spec is None else self._run(args)
        for counter, place in self.plan.counters:
            counter.fill_(int(self.ints[place]))
        self._publish_state()
        return losses

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Outputs in evaluation mode, in bounded memory: (n_rows, d_out), or (n_rows,) behind
        nn.Flatten(0).
        """
        plan = self.plan
        rows = _as_rows(x, plan)
        self._attach()
        chunk = max(64, min(4096, CHUNK_FLOATS // plan.value_width))
        if plan.mixes_rows == "always":
            chunk = max(1, len(rows))
        cap = min(chunk, _round_up(max(1, len(rows))))
        values, stats = _floats(plan.value_width * cap), _floats(plan.stat_size + 1)
        out = np.empty((len(rows), plan.d_out), np.float32)
        index = np.arange(cap)
        sizes = self.sizes.copy()
        sizes[0], sizes[3] = cap, 0
        with one_blas_thread(), denormals_flushed():
            for start in range(0, len(rows), chunk):
                part = rows[start : start + chunk]
                self._call(
                    k.PREDICT, values, _EMPTY, stats, sizes, part, index, bounds=np.array([0, len(part)])
                )
                last = values[plan.v_out * cap :][: len(part) * plan.d_out]
                out[start : start + len(part)] = last.reshape(len(part), plan.d_out)
        return out[:, 0] if plan.flattens else out

    def close(self) -> None:
        """Give every tensor memory of its own, so that saving one does not carry the whole buffer."""
        for slot in self.plan.slots:
            slot.tensor.data = slot.tensor.detach().clone()
        for parameter, state in self.optimizer.state.items():
            own = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
            self.optimizer.state[parameter] = state | own

    def _flatten(self) -> None:
        plan = self.plan
        self.flat, self.grad = _floats(plan.flat_size), _floats(plan.flat_size)
        self.moment1, self.moment2 = _floats(plan.flat_size), _floats(plan.flat_size)
        self.flat[plan.ones : 2 * plan.ones] = 1
        self.ints = plan.ints.copy()
        self.flat_tensor = torch.from_numpy(self.flat)
        self._attach()
        self._adopt_state()

    def _attach(self) -> None:
        """Make every tensor of the module a view of the flat buffer, where it is not (any more)."""
        base = self.flat_tensor.data_ptr()
        for slot in self.plan.slots:
            tensor = slot.tensor
            if tensor.data_ptr() != base + 4 * slot.start:
                view = self.flat_tensor[slot.start : slot.stop].view(tensor.shape)
                view.copy_(tensor.detach())
                tensor.data = view
        for counter, place in self.plan.counters:
            self.ints[place] = int(counter)

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

    def _publish_state(self) -> None:
        updates = int(self.sizes[8])
        trained = {id(slot.tensor): slot for slot in self.plan.slots if slot.trainable}
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                slot = trained.get(id(parameter))
                if slot is None:
                    continue
                first, second = self._moments_of(slot.start, parameter)
                if "betas" in group:
                    self.optimizer.state[parameter] = {
                        "step": torch.tensor(float(updates)),
                        "exp_avg": first,
                        "exp_avg_sq": second,
                    }
                elif group["momentum"]:
                    self.optimizer.state[parameter] = {"momentum_buffer": first}

    def _reserve(self, rows: int) -> None:
        """Room for batches of so many rows."""
        if rows <= self.cap:
            return
        plan = self.plan
        self.cap = _round_up(rows)
        self.values = _floats(plan.value_width * self.cap)
        self.gradients = _floats((2 * plan.width + plan.skip_width) * self.cap)
        self.stats = _floats(plan.stat_size + 1)

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
        return {
            "order": np.ascontiguousarray(order, np.int64),
            "bounds": np.ascontiguousarray(bounds, np.int64),
            "lr_factors": np.ascontiguousarray(lr_factors, np.float64),
            "segments": segments,
            "hyper": hyper,
        }

    def _call(
        self,
        mode: int,
        values: NDArray[np.float32],
        gradients: NDArray[np.float32],
        stats: NDArray[np.float32],
        sizes: NDArray[np.int64],
        x: NDArray[np.float32],
        order: NDArray[np.int64],
        *,
        bounds: NDArray[np.int64] | None = None,
        lr_factors: NDArray[np.float64] | None = None,
        segments: NDArray[np.int64] | None = None,
        hyper: NDArray[np.float64] | None = None,
        losses: NDArray[np.float64] | None = None,
    ) -> None:
        spec = self.spec or _NO_LOSS
        loss_ints = np.array([self.loss.is_mean, *spec.ints], np.int64)
        loss_reals = np.array([spec.real, self.clip_norm or 0.0])
        k.run(
            mode,
            self.ops,
            self.plan.reals,
            self.ints,
            self.flat,
            self.grad,
            self.total,
            self.moment1,
            self.moment2,
            values,
            gradients,
            stats,
            _NO_ROWS if segments is None else segments,
            _NO_HYPER if hyper is None else hyper,
            x,
            spec.labels,
            spec.target,
            self.weight,
            order,
            _NO_LABELS if bounds is None else bounds,
            _NO_LOSSES if lr_factors is None else lr_factors,
            loss_ints,
            loss_reals,
            spec.columns,
            spec.factors,
            sizes,
            _NO_LOSSES if losses is None else losses,
        )

    def _run(self, args: dict[str, Any]) -> NDArray[np.float64]:
        losses = np.empty(len(args["lr_factors"]))
        self._call(
            k.TRAIN, self.values, self.gradients, self.stats, self.sizes, self.x, losses=losses, **args
        )
        return losses

    def _run_custom(self, args: dict[str, Any], n_steps: int) -> NDArray[np.float64]:
        """Kernels forward and backward; the loss, and its derivative by the output, through autograd."""
        losses = np.empty(n_steps)
        order, bounds = args["order"], args["bounds"]
        y = None if self.y is None else torch.from_numpy(self.y)
        weight = torch.from_numpy(self.weight) if self.is_weighted else None
        for step in range(n_steps):
            self.sizes[3] = step
            self._call(k.FORWARD, self.values, self.gradients, self.stats, self.sizes, self.x, **args)
            rows = torch.from_numpy(order[bounds[step] : bounds[step + 1]])
            losses[step] = self._differentiate(
                len(rows), None if y is None else y[rows], None if weight is None else weight[rows]
            )
            self._call(k.BACKWARD, self.values, self.gradients, self.stats, self.sizes, self.x, **args)
        return losses

    def _differentiate(self, n: int, target: Tensor | None, weight: Tensor | None) -> float:
        plan = self.plan
        shape = (n,) if plan.flattens else (n, plan.d_out)
        start = plan.v_out * self.cap
        out = (
            torch.from_numpy(self.values[start : start + n * plan.d_out].copy()).view(shape).requires_grad_()
        )
        with torch.enable_grad():
            value = self.loss(out, target, weight)
        if value.ndim:
            raise DataError(
                f"a loss must give one number for a batch; got shape {tuple(value.shape)}. Take its mean."
            )
        (gradient,) = torch.autograd.grad(value, out)
        self.gradients[: n * plan.d_out] = gradient.reshape(-1).numpy()
        return float(value.detach())


@lru_cache(maxsize=1)
def _announce_compilation() -> None:
    if not k.is_compiled():
        logger.warning("Compiling the training kernels, some 10 seconds; this happens once on a machine.")


def warm_up() -> None:
    """Compile everything that the kernel engine may ever need, so that no later run waits for it."""
    for kernel in (kernel for pair in LAYERS for kernel in pair):
        k.layer_address(kernel)
    for loss in (loss_kernels.pointwise, loss_kernels.cross_entropy):
        k.loss_address(loss)
    for update in (update_kernels.adam, update_kernels.sgd):
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


def _compiled_ops(plan: Plan) -> NDArray[np.int64]:
    ops = plan.ops.copy()
    for op, (forward, backward) in zip(ops, plan.kernels, strict=True):
        op[[k.FORWARD_AT, k.BACKWARD_AT]] = k.layer_address(forward), k.layer_address(backward)
    return ops


_REFUSED_OPTIONS = ("amsgrad", "maximize", "differentiable")


def _check_optimizer(optimizer: torch.optim.Optimizer, plan: Plan) -> None:
    if type(optimizer) not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
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
        if any(id(parameter) not in known for parameter in group["params"]):
            raise UnknownToKernels("the optimiser holds parameters that are not the network's.")


def _groups(
    optimizer: torch.optim.Optimizer, plan: Plan, base_lrs: list[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Stretches of the flat buffer that train (start, stop, group), and the settings of each group."""
    group_of = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    segments: list[list[int]] = []
    for slot in plan.slots:
        if not slot.trainable or id(slot.tensor) not in group_of:
            continue
        group = group_of[id(slot.tensor)]
        if segments and segments[-1][2] == group and slot.start - segments[-1][1] < 16:
            segments[-1][1] = slot.stop  # neighbours, but for padding, which stays zero
        else:
            segments.append([slot.start, slot.stop, group])
    hyper = np.zeros((len(optimizer.param_groups), 8))
    for row, options, lr in zip(hyper, optimizer.param_groups, base_lrs, strict=True):
        row[[k.LR, k.WEIGHT_DECAY]] = lr, float(options["weight_decay"])
        if "betas" in options:
            row[k.UPDATE_AT] = k.update_address(update_kernels.adam)
            row[[k.BETA1, k.BETA2]] = [float(beta) for beta in options["betas"]]
            row[k.EPS] = options["eps"]
            row[k.DECOUPLED] = isinstance(optimizer, torch.optim.AdamW) or options.get(
                "decoupled_weight_decay", False
            )
        else:
            row[k.UPDATE_AT] = k.update_address(update_kernels.sgd)
            row[[k.BETA1, k.BETA2, k.NESTEROV]] = (
                options["momentum"],
                options["dampening"],
                options["nesterov"],
            )
    return np.array(segments, np.int64).reshape(-1, 3), hyper


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


def _poisson(module: Any) -> tuple[int | None, float]:
    return (loss_kernels.POISSON if module.log_input and not module.full else None), 0.0


_KNOWN_LOSSES: dict[type[nn.Module], Callable[[Any], tuple[int | None, float]]] = {
    nn.BCEWithLogitsLoss: lambda m: (loss_kernels.BINARY, 0.0),
    nn.CrossEntropyLoss: lambda m: (None, 0.0),  # has a kernel of its own
    nn.HuberLoss: lambda m: (loss_kernels.HUBER, float(m.delta)),
    nn.L1Loss: lambda m: (loss_kernels.L1, 0.0),
    nn.MSELoss: lambda m: (loss_kernels.MSE, 0.0),
    nn.PoissonNLLLoss: _poisson,
    nn.SmoothL1Loss: lambda m: (loss_kernels.SMOOTH_L1, float(m.beta)),
}


def _floats(n: int) -> NDArray[np.float32]:
    """Zeros that start on a cache line."""
    raw = np.zeros(n + 16, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + n]


def _round_up(rows: int) -> int:
    return -(-rows // 16) * 16


_EMPTY = _floats(1)
_NO_LABELS = np.zeros(1, np.int64)
_NO_TARGET = np.zeros((1, 1), np.float32)
_NO_ROWS, _NO_HYPER, _NO_LOSSES = np.zeros((0, 3), np.int64), np.zeros((0, 8)), np.zeros(0)
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


def _as_rows(x: Any, plan: Plan) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(x, np.float32)
    if int(np.prod(rows.shape[1:])) != plan.d_in:
        raise DataError(f"the network takes {plan.d_in} inputs a row; got x of shape {rows.shape}.")
    rows = rows.reshape(len(rows), plan.d_in)
    for column, n_codes in plan.code_ranges.items():
        codes = rows[:, column]
        if len(codes) and not (codes.min() >= 0 and codes.max() < n_codes):
            raise DataError(
                f"column {column} holds category codes, whole numbers from 0 to {n_codes - 1}; "
                f"got {codes.min():g} to {codes.max():g}."
            )
    return rows


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread for calls from this thread; the setting of others, and of everything else, stays."""
    restore = BLAS.limit_to_one_thread()
    try:
        yield
    finally:
        restore()
