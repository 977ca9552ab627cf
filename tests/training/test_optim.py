import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from multilayer.errors import ConfigError
from multilayer.nn.embeddings import TableEmbedding
from multilayer.training.optim import ADAMW, LeanAdamW, Muon, orthogonalise
from tests.reference.muon import muon


def matrices(seed=0):
    """A wide, a square and a tall matrix, and targets that pull at them."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(5, 12), (8, 8), (16, 4)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_equals_the_published_algorithm(nesterov):
    gradients = [matrices(seed) for seed in range(1, 21)]
    for i, theta in enumerate(matrices()):
        parameter = torch.nn.Parameter(theta.clone())
        optimizer = Muon([parameter], lr=0.03, weight_decay=0.0, momentum=0.9, nesterov=nesterov)
        pulls = [step[i] for step in gradients]
        expected = muon(theta.numpy(), [G.numpy() for G in pulls], eta=0.03, mu=0.9, nesterov=nesterov)
        for G, after in zip(pulls, expected, strict=True):
            parameter.grad = G.clone()
            optimizer.step()
            assert_close(
                parameter.detach(), torch.from_numpy(after), rtol=1e-6, atol=1e-6
            )  # eps: added, or least


def fifty_steps(optimizers, parameters):
    """Steps down sum |W - target|^1.5, where the gradient changes as W moves."""
    targets = [target.to(p.dtype) for target, p in zip(matrices(9), parameters, strict=True)]
    for _ in range(50):
        sum(((p - t).abs() ** 1.5).sum() for p, t in zip(parameters, targets, strict=True)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return [p.detach() for p in parameters]


MUON_OPTIONS = [
    {},
    {"weight_decay": 0.0, "momentum": 0.8, "nesterov": False},
    {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
    {"adjust_lr_fn": "original", "ns_coefficients": (2.0, -1.5, 0.5), "eps": 1e-3},
]


@pytest.mark.parametrize("options", MUON_OPTIONS, ids=str)
def test_muon_stays_on_torchs_trajectory_for_fifty_steps(options, monkeypatch):
    """torch.optim.Muon rounds to bfloat16 on its way; without that, the two are one."""
    mine, theirs = ([torch.nn.Parameter(W.clone()) for W in matrices()] for _ in "12")
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)

    ours = fifty_steps([Muon(mine, lr=0.02, **options)], mine)
    torchs = fifty_steps([torch.optim.Muon(theirs, lr=0.02, **options)], theirs)

    for a, b in zip(ours, torchs, strict=True):
        assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_muon_is_torchs_but_for_bfloat16():
    """Numbers of 8 bits: 2^-9 an operation, some 2 % of an update after 15 products."""
    mine, theirs = ([torch.nn.Parameter(W.float()) for W in matrices()] for _ in "12")

    ours = fifty_steps([Muon(mine, lr=0.02)], mine)
    torchs = fifty_steps([torch.optim.Muon(theirs, lr=0.02)], theirs)

    for a, b, start in zip(ours, torchs, matrices(), strict=True):
        assert (a - b).norm() < 0.05 * (a - start).norm()


def test_the_rest_stays_on_adamws_trajectory_for_fifty_steps():
    mine, theirs = ([torch.nn.Parameter(W.clone()) for W in matrices()] for _ in "12")
    own = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    groups = [{"params": mine[:1]}, {"params": mine[1:2], "use_muon": False}]
    optimizer = Muon([*groups, {"params": mine[2:], "use_muon": False, **own}], lr=0.02, weight_decay=0.0)
    twins = [
        Muon(theirs[:1], lr=0.02, weight_decay=0.0),
        torch.optim.AdamW(theirs[1:2]),
        torch.optim.AdamW(theirs[2:], **own),
    ]

    for a, b in zip(fifty_steps([optimizer], mine), fifty_steps(twins, theirs), strict=True):
        assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_network_is_sorted_into_hidden_matrices_and_the_rest():
    net = nn.Sequential(
        TableEmbedding(2, [30], periodic=[0]),
        nn.Linear(14, 8),
        nn.LayerNorm(8),
        nn.Linear(8, 8),
        nn.Linear(8, 3),
    )
    net[2].weight.requires_grad_(False)
    names = {id(p): name for name, p in net.named_parameters()}

    hidden, rest = Muon.for_network(net, lr=0.05, adamw_lr=0.002).param_groups
    assert [names[id(p)] for p in hidden["params"]] == ["1.weight", "3.weight"]
    assert len(rest["params"]) == len(names) - 3
    assert (hidden["lr"], rest["lr"], rest["use_muon"]) == (0.05, 0.002, False)
    assert rest.keys() == {"params", *ADAMW}

    hidden, _ = Muon.for_network(net, first_layer=False).param_groups
    assert [names[id(p)] for p in hidden["params"]] == ["3.weight"]
    (only,) = Muon.for_network(nn.Linear(3, 1)).param_groups
    assert not only["use_muon"]


def test_muons_state_survives_saving_and_copying():
    parameters = [torch.nn.Parameter(W.float()) for W in matrices()]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "use_muon": False}]
    optimizer = Muon(groups, lr=0.02)
    fifty_steps([optimizer], parameters)
    copied, twins = copy.deepcopy((optimizer, parameters))
    loaded = Muon(copy.deepcopy(groups), lr=1.0)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    others = [p for group in loaded.param_groups for p in group["params"]]
    with torch.no_grad():
        for p, other in zip(parameters, others, strict=True):
            other.copy_(p)

    after = fifty_steps([optimizer], parameters)
    for a, b, c in zip(after, fifty_steps([copied], twins), fifty_steps([loaded], others), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_a_closure_is_called_with_gradients_on_and_its_loss_comes_back():
    (W, *_) = [torch.nn.Parameter(W.float()) for W in matrices()]
    optimizer = Muon([W])

    def closure():
        loss = W.square().sum()
        loss.backward()
        return loss

    before = W.detach().clone()
    assert optimizer.step(closure) == before.square().sum()
    assert not torch.equal(W, before)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_orthogonalised_singular_values_are_about_one(rows, columns, seed):
    G = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if torch.linalg.svdvals(G).min() < 0.03 * G.norm():
        return  # five steps do not lift these up to one
    values = torch.linalg.svdvals(orthogonalise(G))
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_no_gradient_leaves_a_matrix_where_it_is():
    W = torch.nn.Parameter(torch.ones(2, 3))
    W.grad = torch.zeros(2, 3)
    Muon([W], weight_decay=0.0).step()
    assert torch.equal(W, torch.ones(2, 3))


def test_muon_refuses_vectors_and_settings_out_of_range():
    W, b = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2))
    with pytest.raises(
        ConfigError, match=r"trains matrices; got a parameter of shape \(2,\).*for_network\(net\)"
    ):
        Muon([W, b])
    with pytest.raises(
        ConfigError, match="adjust_lr_fn must be 'original', 'match_rms_adamw' or None; got 'rms'"
    ):
        Muon([W], adjust_lr_fn="rms")
    for option in ("lr", "weight_decay", "momentum", "eps"):
        with pytest.raises(ConfigError, match=f"{option} must not be negative; got -1"):
            Muon([W], **{option: -1.0})
    with pytest.raises(ConfigError, match="ns_steps must not be negative; got -1"):
        Muon([W], ns_steps=-1)
    with pytest.raises(ConfigError, match=r"lr must not be negative; got -0\.5"):
        Muon([{"params": [b], "use_muon": False, "lr": -0.5}])


@pytest.mark.parametrize("name", ["LeanAdamW", "Muon"])
def test_making_it_does_not_import_the_compiler(name: str) -> None:
    code = (
        f"import sys, torch; from multilayer.training.optim import {name}; "
        f"{name}([torch.nn.Parameter(torch.zeros(2, 2))]); assert 'torch._dynamo' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def test_training_with_muon_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch, multilayer as ml; net = torch.nn.Linear(2, 1, bias=False); x = torch.ones(8, 2); "
        "ml.train(net, x, x[:, :1], loss='mse', optimizer=ml.Muon([net.weight]), epochs=2, "
        "engine='autograd'); assert 'torch._dynamo' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


@pytest.mark.parametrize("set_to_none", [True, False])
def test_muon_clears_gradients(set_to_none: bool) -> None:
    used, unused = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = Muon([used, unused])
    used.sum().backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    assert unused.grad is None
    assert used.grad is None if set_to_none else bool((used.grad == 0).all())


def test_a_lean_adamw_takes_the_steps_of_adamw() -> None:
    made = []
    for kind in (LeanAdamW, torch.optim.AdamW):
        parameter = torch.nn.Parameter(torch.arange(3.0))
        optimizer = kind([{"params": [parameter], "weight_decay": 0.1}], lr=0.1, betas=(0.9, 0.95))
        for _ in range(5):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
        made.append(parameter.detach().numpy())
    assert np.array_equal(*made)
