"""A network to train and everyone who trains it: our kernels, PyTorch, JAX, scikit-learn, skorch, Lightning.

A maker takes a `Case` and returns a function that trains so many steps more, on batches drawn without
replacement. All learn the same network by Adam at 1e-3 on cross-entropy.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.losses import Loss

Run = Callable[[int], None]
STEPS_PER_EPOCH = 4


@dataclass(frozen=True)
class Case:
    """A network and its batches. head: a last linear layer; without, the last hidden layer is the output."""

    batch: int
    d_in: int
    width: int
    depth: int
    d_out: int
    batch_norm: bool
    head: bool = True

    def __str__(self) -> str:
        sizes = [self.d_in, *[self.width] * self.depth, *([self.d_out] if self.head else [])]
        return f"{self.batch} x {'-'.join(map(str, sizes))}"

    def network(self) -> nn.Sequential:
        """Linear, ReLU and, if wanted, BatchNorm1d for each hidden layer."""
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        d = self.d_in
        for _ in range(self.depth):
            layers += [nn.Linear(d, self.width), nn.ReLU()]
            layers += [nn.BatchNorm1d(self.width)] if self.batch_norm else []
            d = self.width
        return nn.Sequential(*layers, *([nn.Linear(d, self.d_out)] if self.head else []))

    def rows(self, n_steps: int = STEPS_PER_EPOCH) -> tuple[Tensor, Tensor]:
        """x float32 and classes y, for an epoch of so many steps."""
        make = torch.Generator().manual_seed(0)
        n = self.batch * n_steps
        return torch.randn(n, self.d_in, generator=make), torch.randint(0, self.d_out, (n,), generator=make)

    def batches(self, n_steps: int) -> Iterator[Tensor]:
        """Row numbers of each step; a new order each epoch."""
        for step in range(n_steps):
            at = step % STEPS_PER_EPOCH
            if not at:
                order = torch.randperm(self.batch * STEPS_PER_EPOCH)
            yield order[at * self.batch : (at + 1) * self.batch]


def torch_eager(case: Case, *, fused: bool = False, compiled: bool = False) -> Run:
    """The loop that everyone writes."""
    net, (x, y), loss = case.network(), case.rows(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)
    forward = _compiled(net) if compiled else net

    def run(n_steps: int) -> None:
        for rows in case.batches(n_steps):
            optimizer.zero_grad()
            loss(forward(x[rows]), y[rows]).backward()
            optimizer.step()

    return run


def _compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """By torch.compile, from nothing: a cache on disk would hide how long it takes."""
    import torch._inductor.config as settings

    warnings.filterwarnings("ignore", "dynamo_pgo")  # that its cache is off, as it should be
    torch._dynamo.reset()
    settings.compile_threads = 1  # no worker processes that stay
    settings.force_disable_caches = True
    return torch.compile(net)


def kernels(case: Case, *, custom_loss: bool = False) -> Run:
    """Our kernels. custom_loss: a function of ours instead of a loss that the kernels know."""
    net, (x, y), rng = case.network(), case.rows(), np.random.default_rng(0)
    engine = KernelEngine(
        net,
        x,
        y,
        None,
        loss=_own_loss if custom_loss else Loss(nn.CrossEntropyLoss(), True),
        optimizer=torch.optim.Adam(net.parameters(), lr=1e-3),
        clip_norm=None,
        accumulate=1,
        seed=0,
    )

    def run(n_steps: int) -> None:
        epochs = -(-n_steps // STEPS_PER_EPOCH)
        order = np.concatenate([rng.permutation(len(x)) for _ in range(epochs)])
        engine.run_epoch(order, np.arange(n_steps + 1) * case.batch, np.ones(n_steps))

    return run


def _own_loss(out: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(out, target)


def gemm_floor(case: Case) -> Run:
    """The matrix products of a step and nothing else, by PyTorch."""
    products = []
    for layer in (module for module in case.network() if isinstance(module, nn.Linear)):
        weight = layer.weight.detach()
        x, out = torch.randn(case.batch, layer.in_features), torch.randn(case.batch, layer.out_features)
        products.append((x, weight, out, torch.empty_like(x), torch.empty_like(weight)))

    def run(n_steps: int) -> None:
        for _ in range(n_steps):
            for x, weight, out, _, _ in products:
                torch.mm(x, weight.T, out=out)
            for i, (x, weight, out, d_x, d_weight) in enumerate(products):
                torch.mm(out.T, x, out=d_weight)
                if i:  # nobody needs the gradient of the inputs
                    torch.mm(out, weight, out=d_x)

    return run


def scikit_learn(case: Case) -> Run:
    """MLPClassifier; it has no batch normalisation."""
    from sklearn.neural_network import MLPClassifier

    sizes = (case.width,) * case.depth
    model = MLPClassifier(sizes, batch_size=case.batch, alpha=0.0, random_state=0)

    def run(n_steps: int) -> None:
        x, y = case.rows(n_steps)
        model.partial_fit(x.numpy(), y.numpy(), classes=np.arange(case.d_out))

    return run


def skorch(case: Case) -> Run:
    """NeuralNetClassifier without validation and printing."""
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        case.network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=1,
        batch_size=case.batch,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.initialize()

    def run(n_steps: int) -> None:
        x, y = case.rows(n_steps)
        net.partial_fit(x.numpy(), y.numpy())

    return run


def lightning(case: Case) -> Run:
    """A LightningModule under a bare Trainer."""
    import lightning as pl
    from torch.utils.data import DataLoader, TensorDataset

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = case.network()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    module = Module()

    def run(n_steps: int) -> None:
        batches = DataLoader(TensorDataset(*case.rows(n_steps)), batch_size=case.batch, shuffle=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that more workers might load the rows faster
            pl.Trainer(max_epochs=1, accelerator="cpu", barebones=True).fit(module, batches)

    return run


@contextmanager
def on_one_core() -> Iterator[None]:
    """This thread, and all that it starts, on one core. JAX has no setting that holds it to one thread."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def jax_scan(case: Case) -> Run:
    """All steps in one compiled `scan`. Running statistics of BatchNorm are kept, as PyTorch keeps them."""
    with on_one_core():
        import jax
        import jax.numpy as jnp

        jax.devices()  # starts JAX's threads, as many as there are cores to be seen

    x, y = (jnp.asarray(part.numpy()) for part in case.rows())
    linear = [m for m in case.network() if isinstance(m, nn.Linear)]
    params = [
        {"w": jnp.asarray(m.weight.detach().numpy().T), "b": jnp.asarray(m.bias.detach().numpy())}
        for m in linear
    ]
    if case.batch_norm:
        for layer in params[: case.depth]:
            layer |= {"gamma": jnp.ones(case.width), "beta": jnp.zeros(case.width)}
    running = [(jnp.zeros(case.width), jnp.ones(case.width)) for _ in range(case.depth)]
    zeros = jax.tree_util.tree_map(jnp.zeros_like, params)

    def loss(params: Any, rows: Any) -> tuple[Any, Any]:
        h, seen = x[rows], []
        for layer in params[: case.depth]:
            h = jax.nn.relu(h @ layer["w"] + layer["b"])
            if case.batch_norm:
                mean, variance = h.mean(0), h.var(0)
                seen.append((mean, variance * (case.batch / (case.batch - 1))))
                h = (h - mean) / jnp.sqrt(variance + 1e-5) * layer["gamma"] + layer["beta"]
        if case.head:
            h = h @ params[-1]["w"] + params[-1]["b"]
        return -jnp.take_along_axis(jax.nn.log_softmax(h), y[rows][:, None], axis=1).mean(), seen

    def step(state: Any, rows: Any) -> tuple[Any, Any]:
        params, first, second, running, t = state
        (value, seen), gradient = jax.value_and_grad(loss, has_aux=True)(params, rows)
        t = t + 1
        tree_map = jax.tree_util.tree_map
        first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        lr, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = tree_map(lambda p, m, v: p - lr * m / (jnp.sqrt(v) / root + 1e-8), params, first, second)
        if case.batch_norm:
            running = tree_map(lambda old, new: 0.9 * old + 0.1 * new, running, seen)
        return (params, first, second, running, t), value

    train = jax.jit(lambda state, order: jax.lax.scan(step, state, order))
    state = (params, zeros, zeros, running, jnp.zeros(()))

    def run(n_steps: int) -> None:
        nonlocal state
        order = np.stack([rows.numpy() for rows in case.batches(n_steps)])
        state, losses = train(state, order)
        losses.block_until_ready()

    return run
