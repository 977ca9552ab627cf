"""`multilayer.runtime`: as `Model`, by NumPy alone."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from multilayer import runtime
from multilayer.errors import ConfigError, ModelFileError, MultilayerError, SchemaError
from multilayer.table.sources.read import Table
from tests.table.test_steps import columns_of_every_kind, schema_of, targets

OTHERS = ("mlp", "realmlp", "resnet", "tabm")


def fitted(name):
    _, columns = columns_of_every_kind(0)
    of_target, options = targets()[name]
    target = list(of_target) if len(of_target) > 1 else "y"
    table = Table({**columns, **of_target})
    return ml.fit(
        table, target=target, schema=schema_of(columns), members=2, epochs=1, hidden=4, seed=0, **options
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Of each task the model, and the same read by the runtime."""
    made = {}

    def of(name):
        if name not in made:
            model = fitted(name)
            path = tmp_path_factory.mktemp("models") / "model.mlp"
            model.save(path)
            made[name] = model, runtime.load(path)
        return made[name]

    return of


def predicted(model, table):
    """All that a model says of a table: predictions, warnings, or the error."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = model.predict_columns(table)
        except MultilayerError as error:
            return type(error), str(error), [str(each.message) for each in told]
    return found, [str(each.message) for each in told]


def assert_same(model, served, table):
    wanted, *told = predicted(model, table)
    found, *told_by_runtime = predicted(served, table)
    assert told == told_by_runtime
    if isinstance(wanted, type):
        assert found is wanted
        return
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        if values.dtype.kind == "f":
            assert np.allclose(found[name], values, rtol=1e-6, atol=1e-6)
        else:
            assert (found[name] == values).all()


@pytest.mark.parametrize("name", targets())
def test_predictions_are_the_models(models, name):
    model, served = models(name)
    _, rows = columns_of_every_kind(1)
    batch, of_runtime = (each.encoder.transform(Table(rows)) for each in (model, served))
    assert batch.num.tobytes() == of_runtime.num.tobytes()
    assert batch.cat.tobytes() == of_runtime.cat.tobytes()
    assert_same(model, served, rows)
    assert_same(model, served, pd.DataFrame(rows))
    assert served.targets == model.targets
    assert served.classes == model.classes
    assert served.quantiles == model.quantiles
    assert served.schema == model.schema
    assert served.score == pytest.approx(model.score, nan_ok=True)


@pytest.mark.parametrize("name", ["two classes", "several classes", "labels", "regression", "quantiles"])
def test_methods_are_the_models(models, name):
    model, served = models(name)
    _, rows = columns_of_every_kind(1)
    for method in ("predict_proba", "predict_quantiles"):
        try:
            wanted = getattr(model, method)(rows)
        except SchemaError as error:
            with pytest.raises(SchemaError) as told:
                getattr(served, method)(rows)
            assert str(told.value) == str(error)
        else:
            assert np.allclose(getattr(served, method)(rows), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("network", OTHERS)
def test_published_networks_predict_the_same(tmp_path, network):
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=80), "z": rng.choice(list("abc"), 80), "y": rng.choice(["no", "yes"], 80)}
    model = ml.fit(table, target="y", network=network, epochs=1, seed=0)
    model.save(tmp_path / "model.mlp")
    assert_same(model, runtime.load(tmp_path / "model.mlp"), {"x": [0.1, None, 9.0], "z": ["a", None, "new"]})


def test_a_monotone_model_with_an_exposure_predicts_the_same(tmp_path):
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=80), "days": rng.uniform(1, 9, 80), "y": rng.poisson(3, 80)}
    model = ml.fit(
        table,
        target="y",
        objective="poisson",
        exposure="days",
        monotone={"x": "increasing"},
        epochs=1,
        seed=0,
    )
    model.save(tmp_path / "model.mlp")
    served = runtime.load(tmp_path / "model.mlp")
    assert_same(model, served, {"x": [0.1, None, 9.0], "days": [1.0, 2.0, 3.0]})
    assert_same(model, served, {"x": [0.1]})
    assert_same(model, served, {"x": [0.1], "days": [-1.0]})


def wrong_tables():
    _, rows = columns_of_every_kind(2, n_rows=5)
    return {
        "absent": {name: values for name, values in rows.items() if name != "number"},
        "more": rows | {"another": [1] * 5},
        "text in numbers": rows | {"number": ["1", "2", "x", "3", "4"]},
        "an infinite number": rows | {"number": [1.0, np.inf, 2.0, 3.0, 4.0]},
        "new levels": rows | {"category": ["Paris"] * 5},
        "of unequal length": rows | {"number": [1.0]},
        "odd": rows | {"number": ["1", "2", "?", "3", "4"]},
        "no rows": {name: values[:0] for name, values in rows.items()},
        "no table": 3,
        "no date": rows | {"date": ["today"] * 5},
    }


@pytest.mark.parametrize("name", wrong_tables())
def test_errors_and_warnings_are_the_models(models, name):
    model, served = models("regression")
    assert_same(model, served, wrong_tables()[name])


def test_a_wrong_file_is_refused_in_words(tmp_path):
    (tmp_path / "no.mlp").write_bytes(b"no model at all")
    with pytest.raises(ModelFileError, match="truncated, damaged or no safetensors"):
        runtime.load(tmp_path / "no.mlp")
    with pytest.raises(ModelFileError, match="there is none"):
        runtime.load(tmp_path / "absent.mlp")


def test_extra_is_one_of_three(models):
    _, served = models("regression")
    with pytest.raises(ConfigError, match="extra must be 'warn', 'ignore' or 'error'"):
        served.predict({"x": [1]}, extra="drop")


BARE = """
import sys

OTHERS = ("torch", "scipy", "sklearn", "numba", "llvmlite", "duckdb", "narwhals", "pandas", "polars",
          "pyarrow", "jaxtyping", "safetensors", "rich", "typer", "threadpoolctl", "matplotlib", "openpyxl")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            raise AssertionError(f"{name} is asked for")

sys.meta_path.insert(0, Blocked())
import json
from multilayer import runtime

model = runtime.load(sys.argv[1])
rows = json.load(open(sys.argv[2]))
print(json.dumps({name: values.tolist() for name, values in model.predict_columns(rows).items()}))
"""


@pytest.mark.parametrize("name", ["two classes", "quantiles"])
def test_nothing_but_numpy_is_asked_for(models, tmp_path, name):
    import json

    model, _ = models(name)
    model.save(tmp_path / "model.mlp")
    _, columns = columns_of_every_kind(1, n_rows=6)
    rows = {
        column: [
            None if value != value else str(value) if kind.dtype.kind == "M" else value
            for value in kind.tolist()
        ]
        for column, kind in columns.items()
    }
    (tmp_path / "rows.json").write_text(json.dumps(rows, default=str))
    rows = json.loads((tmp_path / "rows.json").read_text())
    command = [sys.executable, "-c", BARE, str(tmp_path / "model.mlp"), str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for column, values in model.predict_columns(rows).items():
        if values.dtype.kind == "f":
            assert np.allclose(found[column], values, rtol=1e-6, atol=1e-6)
        else:
            assert found[column] == values.tolist()
