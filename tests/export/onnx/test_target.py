"""Whole models as ONNX: every task and architecture, in two runtimes, fed as a user feeds them."""

import json

import numpy as np
import onnx
import pytest

import multilayer as ml
from multilayer.errors import ConfigError, DataError, ModelFileError
from multilayer.export import feeds, write
from multilayer.export.drawn import drawn_table
from multilayer.export.onnx.graph import Graph
from multilayer.export.onnx.link import EMITTED as LINK_NODES
from multilayer.export.onnx.network import ACTIVATIONS, outputs_of
from multilayer.export.onnx.network import EMITTED as NETWORK_NODES
from multilayer.runtime import network_steps
from multilayer.runtime.network_steps import Activation, NetworkStep, NetworkSteps, Node
from multilayer.table.sources.read import Table
from multilayer.tasks.link_steps import LinkStep
from tests.export.every_kind import TASKS, model_of
from tests.export.onnx.runtimes import RUNTIMES, by_onnx_runtime, session


def outputs_by_name(data, feed):
    return dict(
        zip([each.name for each in session(data).get_outputs()], by_onnx_runtime(data, feed), strict=True)
    )


def rows_of(model, n=60, seed=4):
    """Rows as a user has them: times of day as text would be refused as seconds, so all columns are typed."""
    return drawn_table(model.encoder, model.exposure, n, seed)


def known(said):
    """Rows of which the letters are known."""
    first = next(said[name] for name in ("probabilities", "prediction") if name in said)
    return ~np.isnan(first.reshape(len(first), -1)).any(axis=1)


@pytest.mark.parametrize("task", TASKS)
def test_a_file_says_what_the_model_says(task, tmp_path):
    model = model_of(task)
    done = model.export("onnx", tmp_path / "m.onnx")
    assert done.parity.encoder == 0
    assert done.parity.output <= 1e-6
    table = rows_of(model)
    data = done.path.read_bytes()
    said = outputs_by_name(data, feeds(done.path, table))
    rows = known(said)
    assert rows.sum() > 50
    if model.task.has_probabilities:
        assert np.allclose(said["probabilities"][rows], model.predict_proba(table)[rows], atol=1e-6)
        assert said["label"][rows].tolist() == model.predict(table)[rows].tolist()
    else:
        assert np.allclose(said["prediction"][rows], model.predict(table)[rows], rtol=1e-5, atol=1e-5)
    if model.quantiles is not None:
        assert np.allclose(
            said["quantiles"][rows], model.predict_quantiles(table)[rows], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("network", "task"),
    [
        ("mlp", "two classes"),
        ("realmlp", "several classes"),
        ("resnet", "regression"),
        ("tabm", "several classes"),
    ],
)
def test_every_architecture(network, task, tmp_path):
    done = write(model_of(task, network), "onnx", tmp_path / "m.onnx")
    assert done.parity.encoder == 0
    assert done.parity.output <= max(1e-6, 4 * done.parity.rounding)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_packed_inputs_give_the_same(runtime, tmp_path):
    model = model_of("several classes")
    packed = model.export("onnx", tmp_path / "p.onnx", inputs="packed")
    table = rows_of(model, 20)
    feed = feeds(packed.path, table)
    assert {name: value.shape for name, value in feed.items()} == {
        "numbers": (20, 6), "dates": (20, 2), "texts": (20, 3)
    }  # fmt: skip
    label, probabilities = RUNTIMES[runtime](packed.path.read_bytes(), feed)
    rows = ~np.isnan(probabilities).any(axis=1)
    assert np.allclose(probabilities[rows], model.predict_proba(table)[rows], atol=1e-6)
    assert label[rows].tolist() == model.predict(table)[rows].tolist()


@pytest.mark.parametrize("labels", [[False, True], [3, 7, 11], [0.5, 1.5], ["x", "yes"], [-5, 2**62]])
def test_labels_come_in_their_own_type(labels, tmp_path):
    x = np.arange(90.0)
    y = np.array(labels)[np.arange(90) % len(labels)]
    task = "multiclass" if len(labels) > 2 else "binary"
    model = ml.fit({"x": x, "y": y}, target="y", task=task, members=2, epochs=1, hidden=4)
    done = model.export("onnx", tmp_path / "m.onnx")
    label, _ = by_onnx_runtime(done.path.read_bytes(), feeds(done.path, {"x": x}))
    assert label.tolist() == model.predict({"x": x}).tolist()
    assert type(label.tolist()[0]) is type(labels[0])


def test_a_threshold_decides(tmp_path):
    x = np.linspace(0, 1, 200)
    y = np.where(x + 0.5 * np.sin(99 * x) > 0.5, "yes", "no")
    model = ml.fit({"x": x, "y": y}, target="y", members=2, epochs=3, hidden=4, threshold=0.3)
    done = model.export("onnx", tmp_path / "m.onnx")
    label, probabilities = by_onnx_runtime(done.path.read_bytes(), feeds(done.path, {"x": x}))
    assert label.tolist() == model.predict({"x": x}).tolist()
    assert (label != np.array(["no", "yes"])[probabilities.argmax(axis=1)]).any()


def test_labels_of_several_types_have_an_output_each(tmp_path):
    n = 80
    table = {"x": np.arange(n), "a": np.arange(n) % 2, "b": np.array(["u", "v"])[np.arange(n) // 3 % 2]}
    model = ml.fit(table, target=["a", "b"], task="multilabel", members=2, epochs=1, hidden=4)
    done = model.export("onnx", tmp_path / "m.onnx")
    said = outputs_by_name(done.path.read_bytes(), feeds(done.path, table))
    assert said["label a"][:, 0].tolist() == model.predict(table)[:, 0].tolist()
    assert said["label b"][:, 0].tolist() == model.predict(table)[:, 1].tolist()


def test_predictions_are_multiplied_with_an_exposure(tmp_path):
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=200), "years": rng.uniform(0.1, 2, 200), "n": rng.poisson(1.0, 200)}
    model = ml.fit(table, target="n", objective="poisson", exposure="years", members=2, epochs=2, hidden=4)
    done = model.export("onnx", tmp_path / "m.onnx", rows=table)
    assert done.on_rows.output <= max(1e-6, 4 * done.on_rows.rounding)
    (prediction,) = by_onnx_runtime(done.path.read_bytes(), feeds(done.path, table))
    assert np.allclose(prediction, model.predict(table), rtol=1e-5)


def test_columns_may_be_called_as_outputs_are(tmp_path):
    table = {"label": np.arange(60.0), "probabilities": np.arange(60.0) % 7, "y": np.arange(60) % 2}
    done = ml.fit(table, target="y", members=2, epochs=1, hidden=4).export("onnx", tmp_path / "m.onnx")
    said = outputs_by_name(done.path.read_bytes(), feeds(done.path, table))
    assert list(said) == ["label_", "probabilities_"]


def test_dates_with_an_offset_each_have_a_second_input(tmp_path):
    texts = ["2024-05-01T23:30+03:00", "2024-06-01T01:00-05:00", "2024-07-15T12:00+00:00"] * 20
    table = {"when": texts, "x": np.arange(60.0), "y": np.arange(60) % 3}
    model = ml.fit(table, target="y", members=2, epochs=1, hidden=4)
    done = model.export("onnx", tmp_path / "m.onnx", rows=table)
    assert done.on_rows.encoder == 0
    feed = feeds(done.path, table)
    assert feed["when (as written)"][0, 0] - feed["when"][0, 0] == 3 * 3_600_000_000
    _, probabilities = by_onnx_runtime(done.path.read_bytes(), feed)
    assert np.allclose(probabilities, model.predict_proba(table), atol=1e-6)


def test_versions_are_the_oldest_that_do(tmp_path):
    proto = onnx.load(model_of("regression").export("onnx", tmp_path / "m.onnx").path)
    assert proto.ir_version == 8
    versions = {each.domain: each.version for each in proto.opset_import}
    assert versions == {"": 18, "ai.onnx.ml": 3, "com.microsoft": 1}
    onnx.checker.check_model(proto, full_check=False)


def test_a_file_tells_what_it_is_and_holds_rows_to_verify_it_with(tmp_path):
    model = model_of("two classes")
    proto = onnx.load(model.export("onnx", tmp_path / "m.onnx").path)
    metadata = {each.key: each.value for each in proto.metadata_props}
    rows = json.loads(metadata["verification"])
    assert len(rows["prediction"]) == 12
    assert {len(values) for values in rows["inputs"].values()} == {12}
    assert len(json.loads(metadata["multilayer"])["sha256"]) == 64
    assert all(each.doc_string for each in (*proto.graph.input, *proto.graph.output))
    assert '"" where it is missing' in {i.name: i for i in proto.graph.input}["category"].doc_string


def test_a_text_of_unknown_letters_has_no_answer_and_feeds_composes_what_it_can(tmp_path):
    model = model_of("two classes")
    done = model.export("onnx", tmp_path / "m.onnx")
    table = rows_of(model, 2)
    columns = dict(table.columns) | {"text": np.array(["cre\u0300me", "a\u0301\u0323\u0308"], object)}
    feed = feeds(done.path, Table(columns))
    assert feed["text"][0, 0] == "crème"
    _, probabilities = by_onnx_runtime(done.path.read_bytes(), feed)
    assert np.allclose(probabilities[0], model.predict_proba(Table(columns))[0], atol=1e-6)
    assert np.isnan(probabilities[1]).all()  # no single letter has all of these marks
    label, probabilities = by_onnx_runtime(
        done.path.read_bytes(), feed | {"text": np.array([["cre\u0300me"], ["x"]], object)}
    )
    assert np.isnan(probabilities[0]).all() and not np.isnan(probabilities[1]).any()
    assert label[0] == ""


def test_weights_of_8_bits_are_smaller_and_their_loss_is_said(tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 6))
    table = {f"x{i}": x[:, i] for i in range(6)} | {"y": x[:, 0] * x[:, 1]}
    model = ml.fit(table, target="y", members=2, epochs=3, hidden=(64, 64))
    full = model.export("onnx", tmp_path / "full.onnx", rows=table)
    small = model.export("onnx", tmp_path / "small.onnx", rows=table, int8=True)
    assert small.n_bytes < full.n_bytes
    assert 1e-6 < small.on_rows.output < 0.5
    assert any("rmse" in note for note in small.notes)


def test_what_cannot_be_fed_is_refused(tmp_path):
    done = model_of("regression").export("onnx", tmp_path / "m.onnx")
    table = rows_of(model_of("regression"), 2)
    broken = dict(table.columns) | {"category": np.array(["a\ud800", "Oslo"], object)}
    with pytest.raises(DataError, match=r"whole letters; column 'category' holds half of one .* in row 1"):
        feeds(done.path, Table(broken))
    with pytest.raises(DataError, match="category"):
        feeds(done.path, table.drop(["category"]))
    (tmp_path / "other.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ModelFileError, match="must be an ONNX file that multilayer wrote"):
        feeds(tmp_path / "other.onnx", table)
    with pytest.raises(ModelFileError, match="cannot be read"):
        feeds(tmp_path / "absent.onnx", table)


def test_settings_are_checked(tmp_path):
    model = model_of("regression")
    with pytest.raises(ConfigError, match=r"written as onnx.*Did you mean 'onnx'"):
        model.export("onx", tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="inputs must be 'columns' or 'packed'; got 'rows'"):
        model.export("onnx", tmp_path / "m.onnx", inputs="rows")


# Every step


def test_there_are_nodes_for_every_step_of_networks_and_links():
    names = {step for step in NetworkStep.__subclasses__() if step.__module__ == network_steps.__name__}
    assert names == NETWORK_NODES.keys()
    assert {
        step for step in LinkStep.__subclasses__() if step.__module__ == LinkStep.__module__
    } == LINK_NODES.keys()
    assert ACTIVATIONS.keys() == network_steps.ACTIVATIONS.keys()


def _float32(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


ONE_STEP = [
    *(Activation(name) for name in network_steps.ACTIVATIONS),
    network_steps.PReLU(_float32(6)),
    network_steps.LayerNorm(_float32(6), _float32(6)),
    network_steps.Linear(_float32(2, 3), _float32(2), groups=2),
    network_steps.LinearOfEach(_float32(3, 4, 2), _float32(3, 4)),
    network_steps.Mean(3),
    network_steps.LogSoftmax(2),
    network_steps.LogMeanExp(3),
    network_steps.Cosine(),
]


@pytest.mark.parametrize("step", ONE_STEP, ids=lambda step: getattr(step, "name", type(step).__name__))
def test_each_step_of_a_network_is_the_same_in_a_graph(step):
    from onnx import TensorProto, helper

    network, graph = NetworkSteps((Node(step, (0,)),)), Graph()
    y = outputs_of(graph, [network], "x")
    value = helper.make_tensor_value_info
    model = graph.model(
        [value("x", TensorProto.FLOAT, ["rows", 6])], [value(y, TensorProto.FLOAT, ["rows", None])],
        name="step", doc="", metadata={}, version="0",
    )  # fmt: skip
    x = np.concatenate([_float32(30, 6) * 5, np.zeros((1, 6), np.float32)])
    for run in RUNTIMES.values():
        assert np.allclose(run(model.SerializeToString(), {"x": x})[0], network.run(x), rtol=2e-6, atol=2e-6)
