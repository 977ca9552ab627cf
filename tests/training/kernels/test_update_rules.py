import copy

import numpy as np
import pytest
import torch
from torch import nn

import multilayer as ml
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.kernels.update_rules import RULES, UpdateRule, rule_of
from multilayer.training.kernels.updates import UPDATES

# Options at which a rule is not sure, each with a value that is not the default
UNKNOWN = {"amsgrad": True, "maximize": True, "differentiable": True, "capturable": True}


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3, 4))]


@pytest.mark.parametrize("kind", RULES)
def test_every_option_is_honoured_or_refused(kind):
    taken = [name for name in UNKNOWN if name in kind.__init__.__code__.co_varnames]
    for name in taken:
        made = kind(parameters(), lr=0.1)
        made.param_groups[0][name] = UNKNOWN[name]
        assert (
            rule_of(made, made.param_groups[0]) == f"the kernels do not know {name}=True of {kind.__name__}."
        )
    for how in ("foreach", "fused"):
        made = kind(parameters(), lr=0.1)
        made.param_groups[0][how] = True
        assert isinstance(rule_of(made, made.param_groups[0]), UpdateRule)


@pytest.mark.parametrize("kind", RULES)
def test_what_a_rule_honours_it_reads(kind):
    """Another value of an option changes what the kernels are told, or is the rate, which is told apart."""
    other = {"betas": (0.5, 0.6), "ns_coefficients": (1.0, 2.0, 3.0), "adjust_lr_fn": "match_rms_adamw"}
    made = kind(parameters(), lr=0.1, **({"momentum": 0.9} if "SGD" in kind.__name__ else {}))
    group = made.param_groups[0]
    rule = rule_of(made, group)
    tall = nn.Parameter(torch.zeros(8, 2))
    before = rule.hyper(group, tall)
    for name in rule.options - {"lr", "use_muon"}:
        if name not in group:
            continue
        changed = other.get(
            name, not group[name] if isinstance(group[name], bool) else 0.25 if name != "ns_steps" else 3
        )
        assert rule.hyper(group | {name: changed}, tall) != before, name


def test_a_subclass_is_another_optimiser():
    class Mine(torch.optim.SGD):
        pass

    made = Mine(parameters(), lr=0.1)
    assert rule_of(made, made.param_groups[0]) == "the kernels do not know the optimiser Mine."


def test_keys_of_ones_own_in_a_group_are_nobodys_option():
    made = torch.optim.SGD([{"params": parameters(), "name": "all", "tags": [1]}], lr=0.1)
    assert isinstance(rule_of(made, made.param_groups[0]), UpdateRule)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_decoupled_weight_decay_follows_the_group(kind):
    nets = [nn.Linear(3, 1)]
    nets.append(copy.deepcopy(nets[0]))
    x, y = torch.randn(32, 3), torch.randn(32, 1)
    for net, engine in zip(nets, ("kernels", "autograd"), strict=True):
        made = kind(net.parameters(), lr=0.05, weight_decay=0.5, eps=1e-3)
        made.param_groups[0]["decoupled_weight_decay"] = kind is torch.optim.Adam
        ml.train(net, x, y, loss="mse", optimizer=made, epochs=3, batch_size=8, engine=engine)
    torch.testing.assert_close(nets[0].weight, nets[1].weight, rtol=1e-4, atol=1e-6)


def test_each_parameter_counts_its_own_steps():
    net = ml.mlp(3, [4], 1)
    net[0].requires_grad_(False)
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    x, y = torch.randn(16, 3), torch.randn(16, 1)
    engine = KernelEngine(
        net, x, y, None, loss=nn.MSELoss(), optimizer=adam, clip_norm=None, accumulate=1, seed=0
    )
    batches = np.arange(16), np.array([0, 8, 16]), np.ones(2)
    engine.run_epoch(*batches)
    net[0].requires_grad_(True)
    assert engine.refresh() is None
    engine.run_epoch(*batches)
    assert [int(adam.state[p]["step"]) for p in net.parameters()] == [2, 2, 4, 4]


def test_moments_that_are_not_like_their_parameter_go_to_autograd():
    net = nn.Linear(3, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    sgd.state[net.weight]["momentum_buffer"] = torch.zeros(1, 3, dtype=torch.float64)
    history = ml.train(
        net, torch.randn(2000, 3), torch.randn(2000, 1), loss="mse", optimizer=sgd, epochs=1, batch_size=2
    )
    assert history.engine == "autograd"
    assert (
        history.engine_reason == "the optimiser's momentum_buffer of a parameter is not like the parameter."
    )


@pytest.mark.parametrize("kind", RULES)
def test_the_kernel_of_every_rule_is_compiled_ahead(kind):
    made = kind(parameters(), lr=0.1)
    rule = rule_of(made, made.param_groups[0])
    assert {rule.kernel, rule.keeps_signs} - {None} <= {*UPDATES}
