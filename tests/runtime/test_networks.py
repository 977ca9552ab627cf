"""Networks as steps: every architecture gives what its PyTorch module gives, by formulas of its own, too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from multilayer.nn.blocks import ACTIVATIONS, NORMS
from multilayer.nn.monotone import keep_signs
from multilayer.nn.networks import ARCHITECTURES, NetworkConfig
from multilayer.runtime import network_steps as steps
from multilayer.runtime import networks
from multilayer.runtime.networks import network_steps

PLAIN = NetworkConfig(n_num=5, cardinalities=(4, 30, 2), periodic=(1, 3), hidden=(16, 8), d_out=3)
TABM = replace(PLAIN, architecture="tabm", periodic=(), keep=(0, 2), piecewise=(1, 3, 4), n_bins=6)
CONFIGS = {
    "default of numbers": replace(PLAIN, d_out=1, activation="prelu"),
    "default of two classes": replace(PLAIN, d_out=1, norm="batch", dropout=0.1),
    "default of classes": replace(PLAIN, activation="prelu", norm="batch"),
    "without hidden layers": replace(PLAIN, hidden=()),
    "without numbers": NetworkConfig(n_num=0, cardinalities=(4, 30), periodic=(), hidden=(4,), d_out=1),
    "of numbers alone": NetworkConfig(n_num=3, cardinalities=(), periodic=(), hidden=(4,), d_out=2),
    "some numbers kept": replace(PLAIN, keep=(4, 0), piecewise=(2,), n_bins=3, d_piecewise=2),
    "none kept": replace(PLAIN, keep=()),
    "monotone": replace(PLAIN, rising=(0,), falling=(2,), unused=(4,), periodic=(1,), hidden=(9, 4)),
    "monotone with norm": replace(PLAIN, rising=(0, 2, 4, 1, 3), cardinalities=(), periodic=(), norm="batch"),
    "linear": replace(PLAIN, architecture="linear", periodic=(), hidden=(), keep=(0, 2, 3)),
    "linear of two classes": replace(PLAIN, architecture="linear", periodic=(), hidden=(), d_out=1),
    "mlp": replace(PLAIN, keep=(0, 2), periodic=(), dropout=0.1),
    "resnet": replace(PLAIN, architecture="resnet", periodic=(), hidden=(8, 16, 12), dropout=0.1),
    "realmlp": replace(PLAIN, architecture="realmlp", activation="selu"),
    "realmlp of numbers": replace(PLAIN, architecture="realmlp", activation="mish", d_out=1),
    "realmlp with slopes": replace(PLAIN, architecture="realmlp", activation="prelu"),
    "tabm": TABM,
    "tabm of two classes": replace(TABM, link="sigmoid", d_out=1),
    "tabm of classes": replace(TABM, link="softmax"),
    "tabm without hidden layers": replace(TABM, hidden=()),
    **{name: replace(PLAIN, activation=name, norm="layer") for name in ACTIVATIONS},
}


def trained(config, seed=0):
    """A network whose every number is as if it had been trained: none is as it starts."""
    torch.manual_seed(seed)
    net = config.build()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(torch.rand_like(value) * 2 + 0.01)
            elif value.dtype == torch.float32 and not name.endswith("edges"):
                value.add_(0.3 * torch.randn_like(value))
    keep_signs(net)
    return net.eval()


def state(net):
    """Its arrays, as a model file has them."""
    return {name: np.ascontiguousarray(value.numpy()) for name, value in net.state_dict().items()}


def rows(config, n=200, seed=1):
    rng = np.random.default_rng(seed)
    num = rng.uniform(-3, 3, (n, config.n_num))
    codes = [rng.integers(0, c, (n, 1)) for c in config.cardinalities]
    return np.hstack([num, *codes]).astype(np.float32)


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_give_what_the_module_gives(name):
    config = CONFIGS[name]
    net, x = trained(config), rows(config)
    found = network_steps(config.to_json(), state(net)).run(x)
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)).numpy()
        exact = net.double()(torch.from_numpy(x.astype(np.float64))).numpy()
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (200, config.d_out)
    small = 1e-6 * max(1, np.abs(exact).max())
    assert np.abs(found - wanted).max() <= 2 * small
    assert (
        np.abs(found - exact).max() <= small + 2 * np.abs(wanted - exact).max()
    )  # PyTorch's is rounded, too


def test_every_architecture_norm_and_activation_is_tried():
    assert {config.architecture for config in CONFIGS.values()} == ARCHITECTURES.keys()
    assert ARCHITECTURES.keys() <= networks.ARCHITECTURES.keys()
    assert {config.activation for config in CONFIGS.values()} == ACTIVATIONS.keys()
    assert {config.norm for config in CONFIGS.values()} == NORMS.keys()


# An interpreter of its own, number by number: what a reader in another language does

ONE = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else np.exp(x) - 1,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (np.exp(x) - 1)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    "tanh": np.tanh,
    "gelu": lambda x: float(nn.functional.gelu(torch.tensor(x, dtype=torch.float64))),
}


def groups(x, n):
    return np.reshape(x, (n, -1)).astype(np.float64)


FORMULAS = {
    "Columns": lambda s, x: [x[i] for i in s.places],
    "Lookup": lambda s, x: list(s.table[int(x[s.place])]),
    "Affine": lambda s, x: [a * v + b for a, v, b in zip(s.scale, x, s.shift, strict=True)],
    "Linear": lambda s, x: np.concatenate([s.weight @ part + s.bias for part in groups(x, s.groups)]),
    "LinearOfEach": lambda s, x: np.concatenate(
        [w @ part + b for w, part, b in zip(s.weight, groups(x, len(s.weight)), s.bias, strict=True)]
    ),
    "Ramp": lambda s, x: [
        min(max((v - a) / w, low), high)
        for v, a, w, low, high in zip(x, s.start, s.width, s.low, s.high, strict=True)
    ],
    "Activation": lambda s, x: [ONE[s.name](float(v)) for v in x],
    "PReLU": lambda s, x: [v if v > 0 else a * v for a, v in zip(s.slope, x, strict=True)],
    "Cosine": lambda s, x: [np.cos(float(v)) for v in x],
    "LayerNorm": lambda s, x: s.scale * (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5) + s.shift,
    "Concatenate": lambda s, *x: [v for part in x for v in part],
    "Add": lambda s, x, z: [a + b for a, b in zip(x, z, strict=True)],
    "Mean": lambda s, x: groups(x, s.groups).mean(axis=0),
    "LogSoftmax": lambda s, x: np.concatenate(
        [part - np.log(np.exp(part).sum()) for part in groups(x, s.groups)]
    ),
    "LogMeanExp": lambda s, x: np.log(np.exp(groups(x, s.groups)).mean(axis=0)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_come_of_the_formulas_alone(name):
    config = CONFIGS[name]
    network, x = network_steps(config.to_json(), state(trained(config))), rows(config, n=3)
    found = network.run(x)
    for row, output in zip(x, found, strict=True):
        values = [row.astype(np.float64)]
        for node in network.nodes:
            formula = FORMULAS[type(node.step).__name__]
            values.append(np.array(formula(node.step, *(values[place] for place in node.inputs))))
        assert values[-1] == pytest.approx(output, rel=2e-6, abs=2e-6)


def test_every_step_is_met_and_has_a_formula_here():
    names = {step.__name__ for step in steps.NetworkStep.__subclasses__()}
    networks = [network_steps(each.to_json(), state(trained(each))) for each in CONFIGS.values()]
    assert {type(node.step).__name__ for net in networks for node in net.nodes} == names == FORMULAS.keys()
    assert ONE.keys() == steps.ACTIVATIONS.keys()


def test_values_are_float32_of_two_axes_and_inputs_stand_before():
    for config in CONFIGS.values():
        network = network_steps(config.to_json(), state(trained(config)))
        values = [rows(config, n=3)]
        for i, node in enumerate(network.nodes):
            assert all(0 <= place <= i for place in node.inputs)
            values.append(node.step.run(*(values[place] for place in node.inputs)))
            assert values[-1].dtype == np.float32
            assert values[-1].shape[0] == 3
            assert values[-1].ndim == 2


def test_a_monotone_network_is_one_whatever_the_file_holds():
    config = CONFIGS["monotone"]
    arrays = state(trained(config))
    forged = {name: -value if name.endswith("weight") else value for name, value in arrays.items()}
    net = config.build()
    net.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in forged.items()})
    keep_signs(net)
    x = rows(config)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(x)).numpy()
    assert np.allclose(network_steps(config.to_json(), forged).run(x), wanted, atol=1e-6)


WRONG = {
    "absent": (lambda a: a.pop("3.weight"), "weights are absent: 3.weight"),
    "too many": (lambda a: a.update(more=np.zeros(1, np.float32)), "weights are too many: more"),
    "shape": (lambda a: a.update({"3.bias": np.zeros(9, np.float32)}), r"size mismatch for 3.bias: .*\(9,\)"),
    "type": (lambda a: a.update({"3.bias": np.zeros(8)}), "size mismatch for 3.bias: .*float64"),
    "not finite": (lambda a: a.update({"3.bias": np.full(8, np.inf, np.float32)}), "3.bias is not finite"),
    "columns": (
        lambda a: a.update({"0.periodic_columns": np.array([0, 1])}),
        "periodic_columns are others than in the text",
    ),
    "no axis": (lambda a: a.update({"0.periodic.weight": np.array(1.0)}), "weights are absent: 0.periodic"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused_in_words(name):
    change, message = WRONG[name]
    config = PLAIN
    arrays = state(trained(config))
    change(arrays)
    with pytest.raises(ValueError, match=message):
        network_steps(config.to_json(), arrays)


def test_bins_that_do_not_rise_are_refused():
    arrays = state(trained(TABM))
    arrays["embedding.piecewise.edges"] = -arrays["embedding.piecewise.edges"]
    with pytest.raises(ValueError, match="edges must rise"):
        network_steps(TABM.to_json(), arrays)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="there is no architecture 'tree'"):
        network_steps(PLAIN.to_json() | {"architecture": "tree"}, {})
