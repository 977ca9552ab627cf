"""What runs an epoch of the textbook algorithm: NumPy in the type of X, or the kernels in float32."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.special

from multilayer.textbook.network import (
    ACTIVATIONS,
    Array,
    Rows,
    Textbook,
    Weights,
    loss_and_gradient,
    outputs,
)
from multilayer.training.history import EngineName

if TYPE_CHECKING:
    import torch
    from torch import nn

LOSS_PIECES = 8  # pieces of an epoch after which the kernel engine looks at the L2 term
UNBOUNDED = 1e30  # Huber's delta: half the squared error everywhere


@dataclass
class Optimizer:
    """What Adam or SGD carries from one update to the next.

    learning_rate: in use now
    first, second: Adam's moments; first is SGD's velocity: what was last added to each array of `Weights.all`
    updates:       so far
    """

    learning_rate: float
    first: list[Array]
    second: list[Array]
    updates: int = 0

    @classmethod
    def start(cls, settings: Textbook, weights: Weights) -> "Optimizer":
        """Before the first update."""
        zeros = [np.zeros_like(w) for w in weights.all]
        second = [np.zeros_like(w) for w in weights.all] if settings.solver == "adam" else []
        return cls(float(settings.learning_rate_init), zeros, second)


class NumpyEngine:
    """Trains weights and the optimiser's state in place; sparse rows are made dense by batches."""

    name: ClassVar[EngineName] = "NumPy"

    def __init__(
        self,
        weights: Weights,
        optimizer: Optimizer,
        settings: Textbook,
        x: Rows,
        y: Array,
        row_weight: Array | None,
        out_activation: str,
    ) -> None:
        self._weights, self.optimizer, self.settings = weights, optimizer, settings
        self.x, self.y, self.row_weight, self.out_activation = x, y, row_weight, out_activation

    def run_epoch(self, order: Array, bounds: Array, learning_rate: float) -> float:
        """Train on rows order[bounds[s]:bounds[s + 1]] in step s; the mean loss before the updates."""
        total = 0.0
        whole = len(bounds) == 2  # one batch of all rows: their order changes nothing but rounding
        for begin, end in pairwise(bounds):
            rows = slice(None) if whole else order[begin:end]
            row_weight = None if self.row_weight is None else self.row_weight[rows]
            if row_weight is not None and not row_weight.any():
                continue
            x = self.x[rows]
            loss, gradients = loss_and_gradient(
                self._weights,
                x.toarray() if hasattr(x, "toarray") else x,
                self.y[rows],
                row_weight,
                self.settings,
                self.out_activation,
            )
            total += loss * (end - begin)
            step = self._adam if self.settings.solver == "adam" else self._sgd
            for w, change in zip(self._weights.all, step(gradients, learning_rate), strict=True):
                w += change
        return float(total / bounds[-1])

    def _adam(self, gradients: list[Array], learning_rate: float) -> list[Array]:
        o, b1, b2 = self.optimizer, self.settings.beta_1, self.settings.beta_2
        o.updates += 1
        o.first = [b1 * m + (1 - b1) * g for m, g in zip(o.first, gradients, strict=True)]
        o.second = [b2 * v + (1 - b2) * (g**2) for v, g in zip(o.second, gradients, strict=True)]
        rate = self.settings.learning_rate_init * np.sqrt(1 - b2**o.updates) / (1 - b1**o.updates)
        o.learning_rate = float(rate)
        epsilon = self.settings.epsilon
        return [-rate * m / (np.sqrt(v) + epsilon) for m, v in zip(o.first, o.second, strict=True)]

    def _sgd(self, gradients: list[Array], learning_rate: float) -> list[Array]:
        o, momentum = self.optimizer, self.settings.momentum
        o.updates += 1
        o.first = [momentum * v - learning_rate * g for v, g in zip(o.first, gradients, strict=True)]
        if not self.settings.nesterovs_momentum:
            return o.first
        return [momentum * v - learning_rate * g for v, g in zip(o.first, gradients, strict=True)]

    def outputs(self, x: Rows) -> Array:
        """Of these rows, behind the last activation."""
        return outputs(self._weights, x, self.settings.activation, self.out_activation)

    def weights(self) -> Weights:
        """As they are now."""
        return self._weights

    def close(self) -> None:
        """Nothing to bring back."""


class KernelEngine:
    """Trains in compiled loops, in float32; `close` brings the optimiser's state back.

    The loss that it reports holds the L2 term as it is after each of `LOSS_PIECES` parts of an epoch; with
    weights of rows, after each batch.
    """

    name: ClassVar[EngineName] = "kernels"

    def __init__(
        self,
        weights: Weights,
        optimizer: Optimizer,
        settings: Textbook,
        x: Rows,
        y: Array,
        row_weight: Array | None,
        out_activation: str,
    ) -> None:
        from multilayer.training.kernels import engine  # importing it is a part of loading the kernels

        self.optimizer, self.settings, self.out_activation = optimizer, settings, out_activation
        self.row_weight, self.dtype = row_weight, weights.coefs[0].dtype
        self.n_outputs = y.shape[1]
        self.net, self.parameters = _as_network(weights, settings.activation)
        self.rate = optimizer.learning_rate
        self.torch_optimizer = _as_torch(optimizer, settings, self.parameters)
        loss, target = _loss(out_activation, y)
        self.constants = _poisson_constants(y) if out_activation == "exp" else None
        self.kernels = engine.KernelEngine(
            self.net,
            _single(x),
            target,
            None if row_weight is None else row_weight.astype(np.float32),
            loss=loss,
            optimizer=self.torch_optimizer,
            clip_norm=None,
            accumulate=1,
            seed=0,
            threads=settings.threads,
        )

    def run_epoch(self, order: Array, bounds: Array, learning_rate: float) -> float:
        """As `NumpyEngine.run_epoch`."""
        if self.settings.solver == "sgd" and learning_rate != self.rate:
            for state in self.torch_optimizer.state.values():  # scikit-learn's velocity has the rate in it
                if "momentum_buffer" in state:
                    state["momentum_buffer"] *= self.rate / learning_rate
            self.rate = learning_rate
        rate = self.settings.learning_rate_init if self.settings.solver == "adam" else learning_rate
        order = np.arange(len(order)) if len(bounds) == 2 else order
        total, before = 0.0, self._squares()
        for first, last, n in self._pieces(order, bounds):
            self.torch_optimizer.param_groups[0]["weight_decay"] = self.settings.alpha / n
            self.kernels.read_optimizer()
            piece = bounds[first : last + 1]
            losses = self.kernels.run_epoch(order, piece, np.full(last - first, rate))
            after = self._squares()
            l2 = 0.5 * self.settings.alpha / n * (before if last - first == 1 else (before + after) / 2)
            losses = losses / (self.n_outputs if self.out_activation == "identity" else 1) + l2
            total += float(losses @ np.diff(piece)) + self._constant(order[piece[0] : piece[-1]])
            before = after
        return total / float(bounds[-1])

    def _pieces(self, order: Array, bounds: Array) -> list[tuple[int, int, float]]:
        """First and last place in bounds, and the rows or the weight of a batch, alike in all of a piece."""
        sizes = np.diff(bounds)
        if self.row_weight is not None:
            sums = np.add.reduceat(self.row_weight[order], bounds[:-1])
            return [(s, s + 1, float(n)) for s, n in enumerate(sums) if n > 0]
        n_full = len(sizes) if sizes[-1] == sizes[0] else len(sizes) - 1
        cuts = np.unique(np.linspace(0, n_full, LOSS_PIECES + 1).round().astype(int))
        pieces = [(int(a), int(b), float(sizes[0])) for a, b in pairwise(cuts)]
        return pieces + [(s, s + 1, float(sizes[s])) for s in range(n_full, len(sizes))]

    def _constant(self, rows: Array) -> float:
        """What PyTorch's Poisson loss leaves out of half the deviance, summed over these rows."""
        if self.constants is None:
            return 0.0
        if self.row_weight is None:
            return float(self.constants[rows].sum())
        return float(np.average(self.constants[rows], weights=self.row_weight[rows]) * len(rows))

    def _squares(self) -> float:
        return sum(float(w.detach().square().sum()) for w in self.parameters[: len(self.parameters) // 2])

    def outputs(self, x: Rows) -> Array:
        """As `NumpyEngine.outputs`."""
        out = self.kernels.predict(_single(x)).astype(self.dtype)
        ACTIVATIONS[self.out_activation](out)
        return out

    def weights(self) -> Weights:
        """As they are now, in the type of X."""
        arrays = [_array(p, self.dtype) for p in self.parameters]
        return Weights(arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :])

    def close(self) -> None:
        """Bring the moments back to the optimiser that came."""
        self.kernels.close()
        o, states = self.optimizer, [self.torch_optimizer.state.get(p, {}) for p in self.parameters]
        if self.settings.solver == "adam" and states[0]:
            o.first = [_array(state["exp_avg"], self.dtype) for state in states]
            o.second = [_array(state["exp_avg_sq"], self.dtype) for state in states]
            o.updates, b1, b2 = int(states[0]["step"]), self.settings.beta_1, self.settings.beta_2
            o.learning_rate = float(
                self.settings.learning_rate_init * np.sqrt(1 - b2**o.updates) / (1 - b1**o.updates)
            )
        elif self.settings.solver == "sgd" and "momentum_buffer" in states[0]:
            o.first = [_array(-self.rate * state["momentum_buffer"], self.dtype) for state in states]
            o.updates += 1


def _single(x: Array) -> Array:
    """In float32; what does not fit becomes infinite, and the fit ends in an error that says so."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, np.float32)


def _array(tensor: "torch.Tensor", dtype: Any) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy().T.astype(dtype))


def _as_network(weights: Weights, activation: str) -> tuple["nn.Sequential", list["nn.Parameter"]]:
    """The network in PyTorch, and its parameters in the order of `Weights.all`."""
    import torch
    from torch import nn

    makers = {"identity": nn.Identity, "logistic": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
    linears = []
    for w, b in zip(weights.coefs, weights.intercepts, strict=True):
        linear = nn.utils.skip_init(nn.Linear, *w.shape)
        linear.weight.data = torch.from_numpy(_single(w.T))
        linear.bias.data = torch.from_numpy(_single(b))
        linears.append(linear)
    layers = [layer for linear in linears for layer in (linear, makers[activation]())][:-1]
    parameters = [linear.weight for linear in linears] + [linear.bias for linear in linears]
    return nn.Sequential(*layers), parameters


def _as_torch(
    optimizer: Optimizer, settings: Textbook, parameters: list["nn.Parameter"]
) -> "torch.optim.Optimizer":
    """PyTorch's optimiser with the same state; matrices first, and the rate left to each step."""
    import torch

    from multilayer.training.optim import EarlyEpsilonAdam, LeanSGD

    half = len(parameters) // 2
    groups: list[dict[str, Any]] = [{"params": parameters[:half]}, {"params": parameters[half:]}]
    first = [torch.from_numpy(_single(m.T)) for m in optimizer.first]
    if settings.solver == "adam":
        adam = EarlyEpsilonAdam(
            groups, lr=1.0, betas=(settings.beta_1, settings.beta_2), eps=settings.epsilon
        )
        second = [torch.from_numpy(_single(v.T)) for v in optimizer.second]
        for p, m, v in zip(parameters, first, second, strict=True):
            adam.state[p] = {"step": torch.tensor(float(optimizer.updates)), "exp_avg": m, "exp_avg_sq": v}
        return adam
    nesterov = settings.nesterovs_momentum and settings.momentum > 0
    sgd = LeanSGD(groups, lr=1.0, momentum=settings.momentum, nesterov=nesterov)
    if optimizer.updates and settings.momentum > 0:
        for p, velocity in zip(parameters, first, strict=True):
            sgd.state[p] = {"momentum_buffer": velocity / -optimizer.learning_rate}
    return sgd


def _loss(out_activation: str, y: Array) -> tuple[Any, Array]:
    """A loss of the kernels whose mean over rows is summed over outputs, as in scikit-learn; and its y."""
    from torch import nn

    from multilayer.training.losses import Loss

    if out_activation == "softmax":
        return Loss(nn.CrossEntropyLoss(), True), y.argmax(axis=1).astype(np.int64)
    makers: dict[str, Any] = {
        "exp": nn.PoissonNLLLoss,
        "identity": lambda: nn.HuberLoss(delta=UNBOUNDED),
        "logistic": nn.BCEWithLogitsLoss,
    }
    return Loss(makers[out_activation](), True, sums_outputs=True), _single(y)


def _poisson_constants(y: Array) -> Array:
    return np.asarray((scipy.special.xlogy(y, y) - y).sum(axis=1))
