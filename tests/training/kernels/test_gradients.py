"""The way back of every kernel, against central differences of its definition.

The definitions are in `tests/reference`, in float64, and know nothing of the kernels, which compute in
float32. What a kernel is given is the same number on both sides: a first Linear without bias sees one-hot
rows, so that its weights, transposed, are the layer's input z, and its gradient is that of z, entry by entry,
none of them rounded. The loss of a layer is sum(c y), c in float32, so that c is the gradient that comes in.

Tolerance. u = 2^-24 is the rounding of one operation. A sum of n products, each rounded up to k times on the
way, is off by at most about (n + k) u times the sum of their sizes (Higham 2002, Section 3.1). A gradient
here is the sum over i of c_i J_ij, with the numeric Jacobian J: the sizes are |c_i J_ij|, and n is how many
of them are not 0. Where J_ij is itself a difference of larger terms (a slope that crosses zero, a norm's mean
taken off), these are of the size of the largest slope, so one product of that size is added. k = 24: the
longest way of one number is Mish's, three functions of up to 4 roundings each and a dozen operations.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.nn.blocks import Residual
from multilayer.nn.embeddings import PeriodicEmbedding, PiecewiseLinearEmbedding, TableEmbedding
from multilayer.training.kernels.activations import ACTIVATIONS as ACTIVATION_KERNELS
from multilayer.training.kernels.embeddings import EMBEDDINGS
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.kernels.layers import LAYERS
from multilayer.training.kernels.readers import read_plan
from multilayer.training.losses import GammaLoss, Loss, QuantileLoss, TweedieLoss
from tests.reference import embeddings, layers, losses

U = 2.0**-24
K = 24
H = 2.0**-17  # of central differences: errors of some 1e-10, a thousandth of U

Array = NDArray[np.float64]


def by_kernels(
    net: nn.Module, x: Tensor, y: Tensor, loss: object, weight: Tensor | None = None
) -> tuple[float, list[Array]]:
    """Loss, and gradient of each parameter: what the momentum of SGD is after one step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.5)
    options = {"clip_norm": None, "accumulate": 1, "seed": 0}
    engine = KernelEngine(net, x, y, weight, loss=loss, optimizer=optimizer, **options)
    (value,) = engine.run_epoch(np.arange(len(x)), np.array([0, len(x)]), np.ones(1))
    return value, [optimizer.state[p]["momentum_buffer"].double().numpy() for p in net.parameters()]


def jacobian(f: Callable[[Array], Array], v: Array) -> Array:
    """(size of f(v), size of v), by central differences."""
    columns = []
    for place in np.ndindex(v.shape):
        step = np.zeros_like(v)
        step[place] = H
        columns.append((f(v + step) - f(v - step)).ravel() / (2 * H))
    return np.stack(columns, axis=1)


def check_layer(net: nn.Module, x: Tensor, reference: Callable[..., Array], condition: float = 1.0) -> None:
    """reference: the output, from the parameters in their order. condition: see `test_periodic_embedding`."""
    numbers = [p.detach().double().numpy().copy() for p in net.parameters()]
    c, seen = torch.randn(reference(*numbers).shape), []

    def loss(out: Tensor, target: Tensor) -> Tensor:
        seen.append(out.detach().double().numpy().copy())
        return (out * target).sum()

    _, gradients = by_kernels(net, x, c, Loss(loss, True))
    y = reference(*numbers)
    assert np.abs(seen[0] - y).max() <= K * U * condition * np.abs(y).max()
    for i, (number, gradient) in enumerate(zip(numbers, gradients, strict=True)):
        J = jacobian(lambda v, i=i: reference(*numbers[:i], v, *numbers[i + 1 :]), number)
        products = c.double().numpy().reshape(-1, 1) * J
        size = np.abs(products).sum(0) + np.abs(J).max() * float(c.abs().max())
        allowed = ((products != 0).sum(0) + K) * U * condition * size
        error = np.abs(gradient.ravel() - products.sum(0))
        assert (error <= allowed).all(), f"parameter {i}: {(error / allowed).max():.2f} of what is allowed"


def picking(z: Tensor) -> nn.Linear:
    """Gives row i of z for the i-th one-hot row."""
    pick = nn.Linear(len(z), z.shape[1], bias=False)
    pick.weight.data = z.T.contiguous()
    return pick


def check(layer: nn.Module, z: Tensor, reference: Callable[..., Array]) -> None:
    """reference: of z and the layer's parameters in their order."""
    net = nn.Sequential(picking(z), layer)
    check_layer(net, torch.eye(len(z)), lambda W, *parameters: reference(W.T, *parameters))


def with_drawn_parameters(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -0.5, 1.5)
    return layer


IDENTITY = nn.LeakyReLU(1.0)  # keeps a ReLU behind it from being computed with the Linear
ACTIVATIONS: list[tuple[nn.Module, Callable[[Array], Array]]] = [
    (nn.Sequential(IDENTITY, nn.ReLU()), layers.relu),
    (nn.ReLU(), layers.relu),
    (nn.LeakyReLU(0.2), lambda z: layers.leaky_relu(z, float(np.float32(0.2)))),
    (nn.PReLU(init=0.3), layers.prelu),
    (nn.PReLU(4, init=-0.2), layers.prelu),
    (nn.ELU(0.7), lambda z: layers.elu(z, float(np.float32(0.7)))),
    (nn.SELU(), layers.selu),
    (nn.GELU(), layers.gelu),
    (nn.GELU(approximate="tanh"), layers.gelu_tanh),
    (nn.SiLU(), layers.silu),
    (nn.Mish(), layers.mish),
    (nn.Tanh(), layers.tanh),
    (nn.Sigmoid(), layers.sigmoid),
    (nn.Softplus(), lambda z: layers.softplus(z, 1.0, 20.0)),
    (nn.Softplus(beta=2.0, threshold=3.0), lambda z: layers.softplus(z, 2.0, 3.0)),
]

EPS = float(np.float32(1e-3))
NORMS: list[tuple[Callable[[], nn.Module], Callable[..., Array]]] = [
    (lambda: nn.BatchNorm1d(5, eps=1e-3), lambda *a: layers.batch_norm(*a, eps=EPS)),
    (lambda: nn.BatchNorm1d(5, eps=1e-3, affine=False), lambda *a: layers.batch_norm(*a, eps=EPS)),
    (
        lambda: nn.BatchNorm1d(5, eps=1e-3, track_running_stats=False),
        lambda *a: layers.batch_norm(*a, eps=EPS),
    ),
    (lambda: nn.LayerNorm(5, eps=1e-3), lambda *a: layers.layer_norm(*a, eps=EPS)),
    (lambda: nn.LayerNorm(5, eps=1e-3, bias=False), lambda *a: layers.layer_norm(*a, eps=EPS)),
    (lambda: nn.LayerNorm(5, eps=1e-3, elementwise_affine=False), lambda *a: layers.layer_norm(*a, eps=EPS)),
]


@pytest.mark.parametrize("case", range(len(ACTIVATIONS)), ids=lambda case: str(ACTIVATIONS[case][0]))
def test_activation(case: int) -> None:
    torch.manual_seed(0)
    layer, reference = ACTIVATIONS[case]
    check(layer, torch.linspace(-6, 6, 36).view(9, 4), reference)  # no kink within H of these


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, nn.ReLU()], ids=str)
def test_linear(bias: bool, activation: nn.Module | None) -> None:
    torch.manual_seed(1)
    layer = with_drawn_parameters(nn.Linear(5, 7, bias=bias))
    z = torch.randn(8, 5)
    if activation is None:
        check(layer, z, layers.linear)
    else:
        check(nn.Sequential(layer, activation), z, lambda *a: layers.relu(layers.linear(*a)))


@pytest.mark.parametrize("case", range(len(NORMS)), ids=lambda case: str(NORMS[case][0]()))
def test_norm(case: int) -> None:
    torch.manual_seed(2)
    make, reference = NORMS[case]
    check(with_drawn_parameters(make()), torch.randn(9, 5) * 2 + 0.5, reference)


def test_dropout_with_the_mask_that_was_drawn() -> None:
    torch.manual_seed(3)
    z, p = torch.rand(9, 5) + 0.5, 0.4
    net, seen = nn.Sequential(picking(z), nn.Dropout(p)), []

    def loss(out: Tensor, target: Tensor) -> Tensor:
        seen.append(out.detach().numpy() != 0)
        return (out * target).sum()

    c = torch.randn(9, 5)
    _, (gradient,) = by_kernels(net, torch.eye(9), c, Loss(loss, True))
    numeric = jacobian(lambda v: layers.dropout(v, seen[0], float(np.float32(p))), z.double().numpy())

    assert 0 < seen[0].mean() < 1
    exact = (c.double().numpy().reshape(1, -1) @ numeric).reshape(9, 5)
    assert (np.abs(gradient.T - exact) <= K * U * np.abs(exact)).all()


def test_residual() -> None:
    torch.manual_seed(4)
    inner = with_drawn_parameters(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)))

    def reference(z: Array, V: Array, a: Array, W: Array, b: Array) -> Array:
        return layers.residual(z, lambda v: layers.linear(np.tanh(layers.linear(v, V, a)), W, b))

    check(Residual(inner), torch.randn(7, 4), reference)


def test_periodic_embedding() -> None:
    """Its cosines turn up to some 6 times: rounding the angle is `condition` times rounding a number."""
    torch.manual_seed(5)
    layer, x = PeriodicEmbedding(3, d_embedding=2, n_frequencies=4), torch.randn(8, 3)
    turns = (x[..., None].abs() * layer.frequency.detach().abs() + 0.5).max()

    check_layer(
        layer,
        x,
        lambda c, b, W: embeddings.periodic(x.double().numpy(), c, b, W),
        condition=2 * math.pi * float(turns),
    )


EDGES = [[-1.0, -0.5, 0.25, 1.0, 2.0], [0.0, 1.0], [-2.0, 0.5, 0.75]]  # exact in float32


def test_piecewise_linear_embedding() -> None:
    """Inside, between and outside the edges. A bin's weights reach it through a running sum over its bins."""
    torch.manual_seed(9)
    layer = with_drawn_parameters(PiecewiseLinearEmbedding.of_edges(EDGES, d_embedding=3))
    x = torch.tensor(
        [[-3.0, -0.5, -2.0], [-1.0, 0.0, 0.5], [0.125, 0.5, 0.625], [1.5, 1.0, 3.0], [9, 7, 0.75]]
    )
    edges = [np.array(row) for row in EDGES]

    check_layer(
        layer,
        x,
        lambda a, b, W: embeddings.piecewise_linear(x.double().numpy(), edges, a, b, W),
        condition=1 + len(EDGES[0]),
    )


def test_piecewise_linear_embedding_of_a_number_that_never_varied() -> None:
    """A column of no bin at all is embedded by its line."""
    torch.manual_seed(10)
    layer = with_drawn_parameters(PiecewiseLinearEmbedding(1, d_embedding=3, n_bins=2))
    layer.edges.fill_(0.5)
    x = torch.tensor([[0.25], [0.5], [3.0]])

    check_layer(layer, x, lambda a, b, W: x.double().numpy() * a[0] + b[0] + 0 * W.sum())


@pytest.mark.parametrize("periodic", [[], [1]], ids=["categories", "numbers and categories"])
def test_table_embedding(periodic: list[int]) -> None:
    torch.manual_seed(6)
    cardinalities, n_num = [3, 12, 20], 2 * len(periodic)
    layer = TableEmbedding(n_num, cardinalities, periodic=periodic, d_periodic=3, d_category=4)
    num = torch.randn(9, n_num)
    codes = torch.stack([torch.randint(0, n, (9,)) for n in cardinalities], 1)

    def reference(*parameters: Array) -> Array:
        *waves, first, second = parameters
        parts = [num.double().numpy()]
        if periodic:
            parts.append(embeddings.periodic(parts[0][:, periodic], *waves))
        parts.append(embeddings.category(codes.numpy(), [np.eye(3), first, second]))
        return np.concatenate(parts, axis=1)

    turns = (num.abs().max() * 3 + 0.5) if periodic else 1 / (2 * math.pi)
    check_layer(layer, torch.cat([num, codes.float()], 1), reference, condition=2 * math.pi * float(turns))


def test_table_embedding_with_a_choice_of_numbers() -> None:
    torch.manual_seed(11)
    layer = TableEmbedding(4, [3], keep=[2, 0], piecewise=[3, 1], d_piecewise=2, n_bins=4)
    with_drawn_parameters(layer)
    num, codes = torch.rand(7, 4) * 3 - 1.5, torch.arange(7)[:, None] % 3  # outside the edges, too
    edges = [np.linspace(-1, 1, 5)] * 2

    def reference(*parameters: Array) -> Array:
        z = num.double().numpy()
        curves = embeddings.piecewise_linear(z[:, [3, 1]], edges, *parameters)
        return np.concatenate([z[:, [2, 0]], curves, embeddings.category(codes.numpy(), [np.eye(3)])], axis=1)

    check_layer(layer, torch.cat([num, codes.float()], 1), reference, condition=5.0)


def test_these_are_all_the_layers_that_there_are() -> None:
    """A kernel that is added later needs a test here."""
    nets = [
        *(nn.Sequential(picking(torch.zeros(2, 4)), layer) for layer, _ in ACTIVATIONS),
        *(nn.Sequential(picking(torch.zeros(2, 5)), make()) for make, _ in NORMS),
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), Residual(nn.Linear(2, 2))),
        TableEmbedding(2, [3, 12], periodic=[1], piecewise=[0]),
    ]
    assert {pair for net in nets for pair in read_plan(net).kernels} == {
        *LAYERS,
        *ACTIVATION_KERNELS,
        *EMBEDDINGS,
    }


Reference = Callable[[Array, Array], Array]
COLUMNS = torch.tensor([1.0, 3.0, 0.25])
POINTWISE: list[tuple[nn.Module, str, Reference, Array | float]] = [
    (nn.MSELoss(), "real", losses.mse, 1.0),
    (nn.L1Loss(), "real", losses.l1, 1.0),
    (nn.HuberLoss(delta=0.5), "real", lambda o, y: losses.huber(o, y, 0.5), 1.0),
    (nn.SmoothL1Loss(beta=0.5), "real", lambda o, y: losses.smooth_l1(o, y, 0.5), 1.0),
    (nn.PoissonNLLLoss(), "count", losses.poisson, 1.0),
    (GammaLoss(), "positive", losses.gamma, 1.0),
    (TweedieLoss(), "count", lambda o, y: losses.tweedie(o, y, 1.5), 1.0),
    (TweedieLoss(1.25), "positive", lambda o, y: losses.tweedie(o, y, 1.25), 1.0),
    (nn.BCEWithLogitsLoss(), "unit", losses.binary_cross_entropy, 1.0),
    (
        nn.BCEWithLogitsLoss(pos_weight=COLUMNS),
        "unit",
        lambda o, y: losses.binary_cross_entropy(o, y, COLUMNS.double().numpy()),
        1.0,
    ),
    (nn.BCEWithLogitsLoss(COLUMNS), "unit", losses.binary_cross_entropy, COLUMNS.double().numpy()),
    (QuantileLoss(0.3), "real", lambda o, y: losses.quantile(o, y, [float(np.float32(0.3))]), 1.0),
    (QuantileLoss([0.25, 0.5, 0.875]), "one", lambda o, y: losses.quantile(o, y, [0.25, 0.5, 0.875]), 1.0),
]


def target_of(kind: str, n: int) -> Tensor:
    drawn = {
        "real": lambda: torch.randn(n, 3),
        "one": lambda: torch.randn(n, 1),
        "unit": lambda: torch.rand(n, 3),
        "positive": lambda: torch.rand(n, 3) * 3 + 0.1,
        "count": lambda: torch.poisson(torch.full((n, 3), 2.0)),
    }
    return drawn[kind]()


def check_loss(
    loss: nn.Module, y: Tensor, weight: Tensor | None, reference: Callable[[Array], float]
) -> None:
    """reference: the loss of the batch, from its outputs. A batch has 12 rows and 3 outputs."""
    out = torch.randn(12, 3) * 2
    value, (gradient,) = by_kernels(picking(out), torch.eye(12), y, loss, weight)
    exact = jacobian(lambda v: np.array(reference(v)), out.double().numpy()).reshape(12, 3)
    assert (np.abs(gradient.T - exact) <= K * U * (np.abs(exact) + np.abs(exact).max())).all()
    expected = reference(out.double().numpy())
    assert abs(value - expected) <= K * U * max(1.0, abs(expected))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", range(len(POINTWISE)), ids=lambda case: str(POINTWISE[case][0]))
def test_pointwise_loss(case: int, reduction: str, weighted: bool) -> None:
    torch.manual_seed(7)
    loss, kind, pointwise, column_weight = POINTWISE[case]
    y = target_of(kind, 12)
    weight = torch.rand(12) if weighted else None
    w = np.ones(12) if weight is None else weight.double().numpy()
    reduce = losses.mean if reduction == "mean" else losses.total
    loss.reduction = reduction

    check_loss(loss, y, weight, lambda out: reduce(pointwise(out, y.double().numpy()), w, column_weight))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("class_weight", [None, COLUMNS], ids=["", "class weights"])
@pytest.mark.parametrize("kind", ["codes", "some ignored", "probabilities"])
def test_cross_entropy(
    kind: str, class_weight: Tensor | None, smoothing: float, reduction: str, weighted: bool
) -> None:
    torch.manual_seed(8)
    loss = nn.CrossEntropyLoss(class_weight, ignore_index=-7, reduction=reduction, label_smoothing=smoothing)
    y = torch.randint(0, 3, (12,)) if kind != "probabilities" else torch.randn(12, 3).softmax(1)
    if kind == "some ignored":
        y[::4] = -7
    weight = torch.rand(12) if weighted else None

    def reference(out: Array) -> float:
        return losses.cross_entropy(
            out,
            y.numpy() if y.ndim == 1 else y.double().numpy(),
            np.ones(12) if weight is None else weight.double().numpy(),
            class_weight=np.ones(3) if class_weight is None else class_weight.double().numpy(),
            smoothing=smoothing,
            ignored=-7,
            is_mean=reduction == "mean",
        )

    check_loss(loss, y, weight, reference)
