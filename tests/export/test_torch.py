"""Programs of `torch.export` say what the library says, and weights stand beside them."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load

import multilayer as ml
from multilayer.errors import ConfigError
from multilayer.export.torch.encoder import DONE
from multilayer.export.torch.network import ACTIVATIONS, LINK, NETWORK
from multilayer.runtime import network_steps
from multilayer.runtime.network_steps import NetworkStep
from multilayer.table.sources.read import Table
from multilayer.table.steps import Step, Take, Vectors
from multilayer.tasks.link_steps import LinkStep
from tests.export.every_kind import model_of
from tests.table.test_steps import columns_of_every_kind, targets

KINDS = {"boolean": "boolean", "ordered": ["S", "M", "L"], "duration": "duration"}


@pytest.mark.parametrize("task", ["two classes", "several quantiles", "labels", "positive"])
def test_a_program_says_what_the_model_says(task, tmp_path):
    _, columns = columns_of_every_kind(0)
    columns = {name: values for name, values in columns.items() if name != "text"}
    of_target, options = targets()[task]
    target = list(of_target) if len(of_target) > 1 else "y"
    model = ml.fit(
        Table({**columns, **of_target}), target=target, kinds=KINDS, members=2, epochs=1, hidden=4, **options
    )
    done = model.export("torch", tmp_path / "m.pt2", rows=Table(columns))
    for each in (done.parity, done.on_rows):
        assert each.encoder <= 1e-6
        assert each.output <= 1e-6
    extra = {"multilayer.json": ""}
    torch.export.load(done.path, extra_files=extra)
    about = json.loads(extra["multilayer.json"])
    assert [each["column"] for each in about["codes"]].count("ordered") == 2
    weights = load(done.paths[1].read_bytes())
    for i, net in enumerate(model.networks):
        for name, value in net.state_dict().items():
            assert np.array_equal(weights[f"network.{i}.{name}"].reshape(value.shape), value.numpy())


@pytest.mark.parametrize("network", ["realmlp", "resnet", "tabm"])
def test_every_architecture(network, tmp_path):
    x = np.random.default_rng(0).normal(size=(120, 3))
    table = {"a": x[:, 0], "b": x[:, 1], "c": np.array(["u", "v", "w"])[np.arange(120) % 3]}
    table["y"] = np.where(x[:, 2] > 0, "p", "n")
    model = ml.fit(table, target="y", network=network, epochs=1, hidden=(8, 8))
    done = model.export("torch", tmp_path / "m.pt2")
    assert done.parity.output <= 1e-6


def test_free_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="tensors, which hold no text; 'text' is free text"):
        model_of("regression").export("torch", tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []


def test_settings_of_another_form_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="int8 is a setting of onnx; got it for torch"):
        model_of("regression").export("torch", tmp_path / "m.pt2", int8=True)


def test_weights_do_not_take_the_place_of_the_program(tmp_path):
    table = {"x": np.arange(60.0), "y": np.arange(60) % 2}
    model = ml.fit(table, target="y", members=2, epochs=1, hidden=4)
    with pytest.raises(ConfigError, match="Choose another ending"):
        model.export("torch", tmp_path / "m.safetensors")


def test_every_step_is_there():
    own = {step for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert own - {Vectors, Take} == DONE.keys()
    of_networks = {each for each in NetworkStep.__subclasses__() if each.__module__ == network_steps.__name__}
    assert of_networks == NETWORK.keys()
    assert {
        each for each in LinkStep.__subclasses__() if each.__module__ == LinkStep.__module__
    } == LINK.keys()
    assert ACTIVATIONS.keys() == network_steps.ACTIVATIONS.keys()
