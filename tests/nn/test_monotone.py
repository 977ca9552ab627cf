"""Monotone networks: whatever their weights, the output follows the signs at every point."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from multilayer.errors import ConfigError
from multilayer.nn.monotone import (
    FALLING,
    FREE,
    RISING,
    UNUSED,
    SignedLinear,
    keep_signs,
    monotone_mlp,
)
from multilayer.nn.networks import NetworkConfig
from multilayer.training.loop import train
from multilayer.training.optim import Muon

KINDS = st.lists(st.sampled_from([RISING, FALLING, FREE, UNUSED]), min_size=1, max_size=5)


def randomised(net: nn.Module, seed: int) -> nn.Module:
    """Large random weights and statistics, then what every update ends with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=generator))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
                module.running_var.uniform_(0.01, 9, generator=generator)  # type: ignore[union-attr]
    keep_signs(net)
    return net.double().eval()


def assert_signs_kept(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, SignedLinear):
            w, sign = layer.weight.detach(), layer.sign
            assert bool(((w * sign >= 0) | (sign == 2)).all())
            assert bool((w[sign == 0] == 0).all())


class TestMonotoneMlp:
    @settings(max_examples=60, deadline=None)
    @given(
        kinds=KINDS,
        hidden=st.lists(st.integers(1, 9), max_size=3),
        norm=st.sampled_from([None, "batch"]),
        seed=st.integers(0, 10_000),
        size=st.sampled_from([1e-3, 1.0, 1e6]),
    )
    def test_holds_for_any_weights_at_any_point(
        self, kinds: list[int], hidden: list[int], norm: str | None, seed: int, size: float
    ) -> None:
        net = randomised(monotone_mlp(kinds, hidden, 1, norm=norm), seed)
        rng = np.random.default_rng(seed)
        low = torch.from_numpy(rng.normal(size=(50, len(kinds))) * size)
        step = torch.from_numpy(rng.exponential(size=low.shape) * size)
        way = torch.tensor([{RISING: 1.0, FALLING: -1.0}.get(kind, 0.0) for kind in kinds])
        other = torch.tensor([float(kind == UNUSED) for kind in kinds])
        with torch.no_grad():
            before, after = net(low), net(low + step * way)
            moved = net(low + step * other)

        assert bool((after >= before - 1e-12 * (1 + before.abs())).all())
        assert torch.equal(moved, before)

    @pytest.mark.parametrize("kinds", [[FALLING], [RISING, FREE]])
    def test_follows_curves_that_bend_both_ways(self, kinds: list[int]) -> None:
        torch.manual_seed(0)
        net = monotone_mlp(kinds, [32, 32], 1)
        x = torch.rand(256, len(kinds)) * 4 - 2
        way = -1.0 if kinds[0] == FALLING else 1.0
        y = way * torch.tanh(3 * x[:, :1])  # convex below 0, concave above
        y = y + (torch.cos(2 * x[:, 1:]) if len(kinds) > 1 else 0)
        history = train(net, x, y, loss="mse", epochs=40, batch_size=32, optimizer=_adam, engine="autograd")

        assert history.train_loss[-1] < 0.02 * float(y.var())
        assert_signs_kept(net)

    def test_refuses_layer_norm(self) -> None:
        with pytest.raises(ConfigError, match="'layer' mixes the inputs"):
            monotone_mlp([RISING], [4], 1, norm="layer")
        with pytest.raises(ConfigError, match="norm must be"):
            monotone_mlp([RISING], [4], 1, norm="group")

    def test_config_refuses_other_activations(self) -> None:
        config = NetworkConfig(1, (), (), (4,), 1, activation="silu", rising=(0,))
        with pytest.raises(ConfigError, match="takes the activation 'relu'"):
            config.build()

    def test_config_without_monotone_fields_loads(self) -> None:
        old = NetworkConfig(1, (), (), (4,), 1).to_json()
        for name in ("rising", "falling", "unused"):
            old.pop(name)

        assert NetworkConfig.from_json(old).rising == ()

    def test_signs_are_no_part_of_the_saved_weights(self) -> None:
        assert not any("sign" in name for name in monotone_mlp([RISING], [4], 1).state_dict())


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.02)


class TestEngines:
    def fitted(self, engine: str, norm: str | None, weight_decay: float = 0.1) -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        net = monotone_mlp([RISING, FALLING, FREE, UNUSED], [8, 6], 1, norm=norm)
        x = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=weight_decay)
        history = train(
            net, x, -x[:, :1] + x[:, 2:3], loss="mse", epochs=3, batch_size=10, optimizer=optimizer,
            clip_norm=1.0, engine=engine,
        )  # fmt: skip
        return net, history

    @pytest.mark.parametrize("norm", [None, "batch"])
    def test_kernels_train_as_autograd_does(self, norm: str | None) -> None:
        by_kernels, history = self.fitted("kernels", norm)
        by_autograd, other = self.fitted("autograd", norm)

        np.testing.assert_allclose(history.train_loss, other.train_loss, rtol=1e-2 if norm else 1e-4)
        for a, b in zip(by_kernels.parameters(), by_autograd.parameters(), strict=True):
            if (
                norm is None
            ):  # behind BatchNorm biases have gradients of 0 but for rounding, which Adam blows up
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        assert_signs_kept(by_kernels)
        assert_signs_kept(by_autograd)

    def test_other_optimisers_train_by_autograd_and_say_why(self) -> None:
        for make in (lambda net: torch.optim.SGD(net.parameters(), lr=0.1), Muon.for_network):
            net = monotone_mlp([RISING, FREE], [4], 1)
            x = torch.randn(20, 2)
            history = train(net, x, -x[:, :1], loss="mse", epochs=2, optimizer=make(net), engine="auto")

            assert "the kernels keep signs of weights with Adam and AdamW, not with" in history.engine_reason
            assert_signs_kept(net)
