"""A model predicts from raw tables, and its file gives back the same model or a clear error."""

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score, roc_auc_score

from multilayer import (
    ConfigError,
    DataError,
    Model,
    ModelFileError,
    OutputError,
    SchemaError,
    TableWarning,
    fit,
)

N_ROWS = 60
FAST: dict[str, Any] = {"members": 1, "hidden": 8, "epochs": 3, "batch_size": 16}
LABELS = {
    "text": ["no", "yes"],
    "digits": ["10", "9"],
    "bool": [False, True],
    "int": [3, 70],
    "float": [0.25, 1.5],
}


def people(n_rows: int = N_ROWS) -> dict[str, Any]:
    """A number with gaps, a category, a boolean, a date, a constant, a number to drop."""
    rng = np.random.default_rng(0)
    age = rng.normal(40, 12, n_rows).round(1)
    age[::9] = np.nan
    return {
        "age": age,
        "city": rng.choice(["Oslo", "Rome", "Lima"], n_rows).astype(object),
        "member": rng.random(n_rows) < 0.5,
        "joined": [f"2024-0{1 + i % 9}-15" for i in range(n_rows)],
        "planet": ["Earth"] * n_rows,
        "id": np.arange(n_rows),
    }


def codes(n_classes: int) -> np.ndarray:
    """A class of each row that shows in the city."""
    city = people()["city"]
    return np.unique(city, return_inverse=True)[1] % n_classes


def income() -> np.ndarray:
    return 1000.0 + 50 * np.nan_to_num(people()["age"], nan=40.0) + 300 * codes(3)


def without(table: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values for name, values in table.items() if name not in names}


@pytest.fixture(autouse=True)
def _by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of this file predict by PyTorch, whichever test has loaded kernels before: equal means bits."""
    monkeypatch.setattr("multilayer.model.predictor._are_loaded", lambda: False)


@pytest.fixture(scope="module")
def binary() -> Model:
    y = np.array(LABELS["text"], dtype=object)[codes(2)]
    return fit(people() | {"buys": y}, target="buys", drop=["id"], **FAST)


@pytest.fixture(scope="module")
def multiclass() -> Model:
    return fit(people() | {"group": codes(3) + 5}, target="group", task="multiclass", drop=["id"], **FAST)


@pytest.fixture(scope="module")
def regression() -> Model:
    return fit(people() | {"income": income()}, target="income", drop=["id"], **FAST)


@pytest.fixture(params=["binary", "multiclass", "regression"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(request.param)


def outputs(model: Model) -> np.ndarray:
    return model.predict(people()) if model.classes is None else model.predict_proba(people())


class TestFile:
    def test_loaded_model_predicts_the_same_bits(self, model: Model) -> None:
        model.save("m.mlp")
        loaded = Model.load("m.mlp")

        assert np.array_equal(outputs(loaded), outputs(model))
        assert np.array_equal(loaded.predict(people()), model.predict(people()))
        assert loaded.classes == model.classes
        assert loaded.schema == model.schema
        assert loaded.history == model.history
        assert loaded.summary == model.summary
        assert loaded.score == model.score
        assert repr(loaded) == repr(model)

    def test_saving_again_gives_the_same_bytes(self, model: Model) -> None:
        Path("m.mlp").write_bytes(model.to_bytes())

        assert all(Model.load("m.mlp").to_bytes() == model.to_bytes() for _ in range(5))

    def test_any_safetensors_reader_opens_it_and_finds_one_json_text(self, binary: Model) -> None:
        binary.save("m.mlp")

        with safe_open("m.mlp", framework="numpy") as file:
            metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

        assert list(metadata) == ["multilayer"]
        text = json.loads(metadata["multilayer"])
        assert text["format"] == 1
        assert text["target"] == "buys"
        assert text["task"]["classes"] == ["no", "yes"]
        assert {array.dtype.kind for array in tensors.values()} <= set("fiu")

    def test_holds_header_and_numbers_and_nothing_else(self, binary: Model) -> None:
        data = binary.to_bytes()
        n_header = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + n_header])
        header.pop("__metadata__")

        spans = sorted(entry["data_offsets"] for entry in header.values())

        assert spans[0][0] == 0
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert 8 + n_header + spans[-1][1] == len(data)

    def test_loading_runs_no_pickle(self, binary: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("unpickled")

        binary.save("m.mlp")
        for module, name in [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")]:
            monkeypatch.setattr(module, name, refuse)

        assert np.array_equal(outputs(Model.load("m.mlp")), outputs(binary))

    def test_loading_leaves_the_random_state(self, binary: Model) -> None:
        binary.save("m.mlp")
        state = torch.get_rng_state()

        Model.load("m.mlp")

        assert torch.equal(torch.get_rng_state(), state)

    def test_scores_that_are_not_defined_are_nan_again(self) -> None:
        table = people() | {"buys": codes(2)}
        one_class = {name: np.asarray(values)[codes(2) == 1] for name, values in table.items()}
        model = fit(table, target="buys", validation=one_class, **FAST)
        model.save("m.mlp")

        loaded = Model.load("m.mlp")

        assert np.isnan(loaded.score["roc_auc"])
        assert np.isnan(model.score["roc_auc"])
        assert repr(loaded) == repr(model)

    def test_losses_that_are_not_finite_are_nan_again(self, binary: Model) -> None:
        broken = replace(binary, histories=[replace(binary.history, train_loss=[0.5, float("inf")])])
        broken.save("m.mlp")

        assert np.isnan(Model.load("m.mlp").history.train_loss[1])
        assert "0.5 -> nan" in repr(Model.load("m.mlp").history)

    def test_several_networks_are_averaged_and_come_back(self, binary: Model, multiclass: Model) -> None:
        y = np.array(LABELS["text"], dtype=object)[codes(2)]
        other = fit(people() | {"buys": y}, target="buys", drop=["id"], seed=0, members=1, hidden=8, epochs=1)
        n = len(binary.networks) - (binary.linear is not None)  # the only linear network comes last
        first = replace(binary, networks=binary.networks[:n], weights=(1.0,) * n, linear=None)
        weights = (*(first.weights or ()), *(other.weights or ()))
        shares = sum(first.weights or ()), sum(other.weights or ())
        both = replace(
            first, networks=[*first.networks, *other.networks], weights=weights, linear=other.linear
        )
        both.save("m.mlp")

        said = [model.predict_proba(people()) for model in (first, other)]
        mean = np.average(said, axis=0, weights=shares)

        np.testing.assert_allclose(both.predict_proba(people()), mean, atol=1e-12)
        assert np.array_equal(outputs(Model.load("m.mlp")), outputs(both))

    def test_pickling_by_the_user_keeps_the_predictions(self, binary: Model) -> None:
        assert np.array_equal(outputs(pickle.loads(pickle.dumps(binary))), outputs(binary))


def flip(place: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start + int(place * (len(data) - 1 - start))] ^= 1
        path.write_bytes(data)

    return damage


def edit_text(old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = path.read_bytes()
        assert len(old) == len(new)
        assert old in data
        path.write_bytes(data.replace(old, new, 1))

    return damage


def drop_tensor(path: Path) -> None:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    arrays.pop(next(name for name in arrays if name.startswith("network.")))
    save_file(arrays, path, metadata)


def cut(n_bytes: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:n_bytes]) and None


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (cut(0), "cannot be read as a model"),
    "cut in the length": (cut(4), "cannot be read as a model"),
    "cut in the header": (cut(100), "cannot be read as a model"),
    "cut in the tensors": (cut(-100), "cannot be read as a model"),
    "cut at the end": (cut(-1), "cannot be read as a model"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "cannot be read as a model"),
    "random bytes": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "cannot be read as a model",
    ),
    "text": (lambda path: path.write_text("age,city\n1,Rome\n" * 99), "cannot be read as a model"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1, 2, 3] * 99)), "cannot be read as a model"),
    "first tensor byte": (flip(0.0), "changed since it was saved"),
    "middle tensor byte": (flip(0.5), "changed since it was saved"),
    "last tensor byte": (flip(1.0), "changed since it was saved"),
    "tensor dropped": (drop_tensor, "changed since it was saved"),
    "target renamed": (
        edit_text(rb"\"target\": \"buys\"", rb"\"target\": \"bugs\""),
        "changed since it was saved",
    ),
    "JSON broken": (edit_text(rb"\"target\": \"buys\"", rb"\"target\": [[[[[[[["), "changed since"),
    "newer format": (
        edit_text(rb"{\"format\": 1", rb"{\"format\": 7"),
        "has format 7; this version reads up to 1. Update multilayer",
    ),
    "foreign": (
        lambda path: save_file({"weight": np.zeros(3)}, path, {"format": "pt"}),
        "is a safetensors file, but no multilayer model",
    ),
    "foreign without metadata": (
        lambda path: save_file({"weight": np.zeros(3)}, path),
        "is a safetensors file, but no multilayer model",
    ),
}


class TestLoadingRefuses:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_or_foreign_file(self, binary: Model, damage: str) -> None:
        do, message = DAMAGES[damage]
        path = Path("m.mlp")
        binary.save(path)
        do(path)

        with pytest.raises(ModelFileError, match=message) as caught:
            Model.load(path)

        assert "m.mlp" in str(caught.value)

    def test_every_cut(self, binary: Model) -> None:
        data, path = binary.to_bytes(), Path("m.mlp")
        for n_bytes in range(1, len(data), len(data) // 40):
            path.write_bytes(data[:n_bytes])
            with pytest.raises(ModelFileError, match="cannot be read as a model"):
                Model.load(path)

    def test_parts_that_do_not_fit_each_other(self, binary: Model) -> None:
        replace(binary, config=replace(binary.config, hidden=(9, 9))).save("m.mlp")

        with pytest.raises(ModelFileError, match="its parts do not make a model"):
            Model.load("m.mlp")

    def test_a_missing_file_with_the_nearest_name(self, binary: Model) -> None:
        binary.save("houses.mlp")

        with pytest.raises(ModelFileError, match=r"there is none at hauses.mlp. Did you mean 'houses.mlp'\?"):
            Model.load("hauses.mlp")

    def test_a_missing_folder(self) -> None:
        with pytest.raises(ModelFileError, match="The folder nowhere is absent, too"):
            Model.load("nowhere/houses.mlp")

    def test_a_folder(self) -> None:
        Path("models").mkdir()
        with pytest.raises(ModelFileError, match=r"must be a file; models is a folder"):
            Model.load("models")


class TestSaving:
    @pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
    @pytest.mark.parametrize("where", ["fsync", "replace"])
    def test_a_failing_disk_leaves_the_old_file_and_no_other(
        self, binary: Model, monkeypatch: pytest.MonkeyPatch, reason: int, where: str
    ) -> None:
        def fail(*_: Any) -> None:
            raise OSError(reason, os.strerror(reason))

        Path("m.mlp").write_bytes(b"old")
        monkeypatch.setattr(os if where == "fsync" else Path, where, fail)

        with pytest.raises(OutputError, match=f"could not be written: {os.strerror(reason)}"):
            binary.save("m.mlp")

        assert Path("m.mlp").read_bytes() == b"old"
        assert os.listdir() == ["m.mlp"]

    def test_an_interruption_leaves_the_old_file_and_no_other(
        self, binary: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        Path("m.mlp").write_bytes(b"old")
        monkeypatch.setattr(os, "fsync", interrupt)

        with pytest.raises(KeyboardInterrupt):
            binary.save("m.mlp")

        assert Path("m.mlp").read_bytes() == b"old"
        assert os.listdir() == ["m.mlp"]

    def test_a_model_that_cannot_be_written_leaves_the_old_file(self, binary: Model) -> None:
        Path("m.mlp").write_bytes(b"old")

        with pytest.raises(TypeError):
            replace(binary, summary={"strange": object()}).save("m.mlp")

        assert Path("m.mlp").read_bytes() == b"old"
        assert os.listdir() == ["m.mlp"]

    def test_replaces_an_older_file_and_leaves_no_other(self, binary: Model) -> None:
        Path("m.mlp").write_bytes(b"old")

        binary.save("m.mlp")

        assert os.listdir() == ["m.mlp"]
        assert Model.load("m.mlp").target == "buys"

    def test_takes_the_longest_name_that_a_file_can_have(self, binary: Model) -> None:
        name = "m" * 251 + ".mlp"

        binary.save(name)

        assert Model.load(name).target == "buys"

    def test_a_link_stays_a_link(self, binary: Model) -> None:
        Path("real.mlp").write_bytes(b"old")
        Path("m.mlp").symlink_to("real.mlp")

        binary.save("m.mlp")

        assert Path("m.mlp").is_symlink()
        assert Model.load("real.mlp").target == "buys"

    def test_refuses_a_folder(self, binary: Model) -> None:
        Path("models").mkdir()
        with pytest.raises(OutputError, match=r"is a folder\. Add a file name"):
            binary.save("models")

    def test_refuses_an_absent_folder(self, binary: Model) -> None:
        with pytest.raises(OutputError, match="the folder of an output must exist"):
            binary.save("nowhere/m.mlp")

    def test_refuses_a_pipe(self, binary: Model) -> None:
        os.mkfifo("pipe")
        with pytest.raises(OutputError, match="is a device or a pipe"):
            binary.save("pipe")

    def test_refuses_a_place_that_may_not_be_written(
        self, binary: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(OutputError, match="permission denied"):
            binary.save("m.mlp")
        assert os.listdir() == []

    def test_output_errors_are_os_errors(self, binary: Model) -> None:
        with pytest.raises(OSError, match="must exist"):
            binary.save(Path("nowhere") / "m.mlp")


class TestPredict:
    def test_probabilities_sum_to_one_in_the_order_of_classes(self, binary: Model, multiclass: Model) -> None:
        for model in (binary, multiclass):
            assert model.classes is not None
            probs = model.predict_proba(people())

            assert probs.shape == (N_ROWS, len(model.classes))
            assert (probs >= 0).all()
            np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-12)
            best = [model.classes[i] for i in probs.argmax(axis=1)]
            assert model.predict(people()).tolist() == best
            assert list(model.classes) == sorted(model.classes)

    @pytest.mark.parametrize("kind", LABELS)
    @pytest.mark.parametrize("saved", [False, True])
    def test_labels_come_back_as_they_went_in(self, kind: str, saved: bool) -> None:
        labels = LABELS[kind]
        member = {"member": people()["member"]}
        y = [labels[int(value)] for value in member["member"]]
        model = fit(member | {"y": y}, target="y", hidden=16, epochs=12, batch_size=16, lr=0.02)
        if saved:
            model.save("m.mlp")
            model = Model.load("m.mlp")

        predicted = model.predict(member).tolist()

        assert model.classes == tuple(labels)
        assert predicted == y
        assert {type(label) for label in predicted} == {type(labels[0])}

    def test_target_and_dropped_and_ignored_columns_are_optional(self, binary: Model) -> None:
        full = people() | {"buys": ["no"] * N_ROWS}
        bare = without(people(), "id", "planet")

        expected = binary.predict_proba(bare)

        for table in (
            full,
            people(),
            without(full, "id"),
            without(full, "planet"),
            bare | {"id": ["?"] * 60},
        ):
            assert np.array_equal(binary.predict_proba(table), expected)

    def test_order_of_columns_does_not_matter(self, model: Model) -> None:
        turned = dict(reversed(people().items()))
        expected = outputs(model)

        got = model.predict(turned) if model.classes is None else model.predict_proba(turned)

        assert np.array_equal(got, expected)

    def test_rows_are_predicted_one_by_one_as_together(self, regression: Model) -> None:
        one = {name: values[7:8] for name, values in people().items()}

        np.testing.assert_allclose(regression.predict(one), regression.predict(people())[7:8], rtol=1e-5)

    def test_missing_and_unseen_values_are_taken(self, model: Model) -> None:
        strange = {"age": [None], "city": ["Paris"], "member": [None], "joined": [None]}

        out = model.predict(strange)

        assert out.shape == (1,)
        assert model.classes is not None or np.isfinite(out).all()

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "evaluate"])
    def test_refuses_missing_columns_and_names_all(self, binary: Model, method: str) -> None:
        table = without(people(), "age", "city") | {"buys": ["no"] * N_ROWS}
        with pytest.raises(SchemaError, match="columns 'age', 'city', which this table lacks"):
            getattr(binary, method)(table)

    def test_suggests_the_nearest_name_for_a_missing_column(self, binary: Model) -> None:
        with pytest.raises(SchemaError, match=r"'city', which this table lacks\. Did you mean 'citty'\?"):
            binary.predict(without(people(), "city") | {"citty": people()["city"]})

    def test_extra_columns_are_not_used_and_one_warning_says_so(self, binary: Model) -> None:
        wider = people() | {"salary": range(N_ROWS), "size": range(N_ROWS)}
        with pytest.warns(TableWarning) as caught:
            shown = binary.predict_proba(wider)
        assert [str(each.message) for each in caught] == [
            "Columns that were not there at fit are not used: 'salary', 'size'."
        ]
        np.testing.assert_array_equal(shown, binary.predict_proba(people()))
        np.testing.assert_array_equal(shown, binary.predict_proba(wider, extra="ignore"))

    def test_extra_columns_are_refused_when_asked(self, binary: Model) -> None:
        wider = people() | {"salary": range(N_ROWS), "size": range(N_ROWS)}
        with pytest.raises(SchemaError, match="without the columns 'salary', 'size', which this table has"):
            binary.predict(wider, extra="error")
        with pytest.raises(ConfigError, match=r"extra must be .*; got 'eror'\. Did you mean 'error'"):
            binary.predict(wider, extra="eror")

    def test_row_numbers_that_pandas_wrote_are_no_extra_column(self, binary: Model) -> None:
        written = people() | {"Unnamed: 0": range(N_ROWS), "__index_level_0__": range(N_ROWS)}
        np.testing.assert_array_equal(binary.predict(written), binary.predict(people()))

    def test_a_few_odd_cells_are_missing_and_named(self, binary: Model) -> None:
        age: list[Any] = ["41"] * N_ROWS
        age[16] = "old"
        with pytest.warns(TableWarning, match="'age' was read as number at fit, .* row 17 holds 'old'"):
            shown = binary.predict_proba(people() | {"age": age})
        age[16] = None
        np.testing.assert_array_equal(shown, binary.predict_proba(people() | {"age": age}))

    def test_refuses_text_where_numbers_were(self, binary: Model) -> None:
        for age in (["old"] * N_ROWS, ["41", *["old"] * (N_ROWS - 1)]):
            with pytest.raises(SchemaError, match=r"'age' must hold a number .* row \d holds 'old'"):
                binary.predict(people() | {"age": age})
        with pytest.raises(SchemaError, match=r"'age' must hold a number in every row; row 1 holds 'old'"):
            binary.predict({name: values[:1] for name, values in people().items()} | {"age": ["old"]})

    def test_refuses_infinities(self, binary: Model) -> None:
        with pytest.raises(SchemaError, match="'age' holds inf in row 1"):
            binary.predict(people() | {"age": [np.inf] * N_ROWS})

    def test_refuses_probabilities_of_a_number(self, regression: Model) -> None:
        with pytest.raises(SchemaError, match=r"predicts the number 'income'\. Use predict"):
            regression.predict_proba(people())

    def test_numbers_stay_inside_the_range_of_the_training_rows(self, regression: Model) -> None:
        far = regression.predict(people() | {"age": np.full(N_ROWS, 1e6)})

        assert regression.task.low <= far.min()
        assert far.max() <= regression.task.high
        assert regression.task.low >= income().min()

    def test_many_rows_at_once_are_predicted_as_few_and_as_by_torch(self, regression: Model) -> None:
        x = np.random.default_rng(0).normal(size=(5000, regression.config.n_num)).astype(np.float32)
        x = np.concatenate([x, np.zeros((5000, len(regression.config.cardinalities)), np.float32)], axis=1)

        together = regression.from_inputs(x)

        in_parts = [regression.from_inputs(x[start : start + 100]) for start in range(0, 5000, 100)]
        np.testing.assert_allclose(together, np.concatenate(in_parts), rtol=1e-5)
        with torch.inference_mode():
            outs = [net.eval()(torch.from_numpy(x)).numpy() for net in regression.networks]
        mean = np.average([*map(regression.task.link, outs)], axis=0, weights=regression.weights)
        np.testing.assert_allclose(together, mean, rtol=1e-5)

    def test_a_model_that_is_loaded_to_predict_a_few_rows_loads_no_compiler(self, regression: Model) -> None:
        regression.save("m.mlp")
        row = {
            "age": [41.0],
            "city": ["Oslo"],
            "member": [True],
            "joined": ["2024-01-15"],
            "planet": ["Earth"],
        }
        code = f"""
import sys
from multilayer import Model
print(Model.load("m.mlp").predict({row})[0], "numba" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

        value, has_compiler = done.stdout.split()
        np.testing.assert_allclose(float(value), regression.predict(row)[0], rtol=1e-5)
        assert has_compiler == "False"

    def test_leaves_threads_and_random_state(self, binary: Model) -> None:
        threads, state = torch.get_num_threads(), torch.get_rng_state()

        binary.predict(people())

        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), state)


class TestEvaluate:
    def test_binary_scores_are_those_of_scikit_learn(self, binary: Model) -> None:
        y = np.array(LABELS["text"], dtype=object)[codes(2)]
        probs = binary.predict_proba(people())

        scores = binary.evaluate(people() | {"buys": y})

        assert scores["log_loss"] == pytest.approx(log_loss(y, probs))
        assert scores["accuracy"] == pytest.approx(accuracy_score(y, binary.predict(people())))
        assert scores["roc_auc"] == pytest.approx(roc_auc_score(y, probs[:, 1]))
        shares = np.array(binary.summary["class_shares"])
        assert scores["baseline_log_loss"] == pytest.approx(log_loss(y, np.tile(shares, (N_ROWS, 1))))
        assert scores["baseline_accuracy"] == pytest.approx(np.mean(codes(2) == shares.argmax()))
        assert scores["baseline_roc_auc"] == 0.5

    def test_multiclass_scores(self, multiclass: Model) -> None:
        scores = multiclass.evaluate(people() | {"group": codes(3) + 5})

        names = {"log_loss", "accuracy"}
        assert set(scores) == names | {f"baseline_{name}" for name in names} | {"trained_on"}
        assert scores["log_loss"] == pytest.approx(log_loss(codes(3), multiclass.predict_proba(people())))

    def test_regression_scores(self, regression: Model) -> None:
        y, predicted = income(), regression.predict(people())

        scores = regression.evaluate(people() | {"income": y})

        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((y - predicted) ** 2)))
        assert scores["mae"] == pytest.approx(mean_absolute_error(y, predicted))
        assert scores["r2"] == pytest.approx(r2_score(y, predicted))
        assert scores["baseline_mae"] == pytest.approx(np.abs(y - regression.task.center).mean())

    def test_is_the_same_after_loading(self, model: Model) -> None:
        y: Any = {"buys": np.array(["no", "yes"], dtype=object)[codes(2)], "group": codes(3) + 5}
        table = people() | {model.target: y.get(model.target, income())}
        model.save("m.mlp")

        # Who predicts is settled by each model's first prediction: rounding may differ.
        assert Model.load("m.mlp").evaluate(table) == pytest.approx(model.evaluate(table), rel=1e-6)

    def test_weights_count_rows(self, regression: Model) -> None:
        weight = np.arange(N_ROWS) < 20
        first = {name: np.asarray(values)[:20] for name, values in people().items()}

        weighted = regression.evaluate(people() | {"income": income()}, sample_weight=weight)

        alone = regression.evaluate(first | {"income": income()[:20]})
        assert weighted == pytest.approx(alone)

    @pytest.mark.parametrize("weight", [[1.0], [-1.0] * N_ROWS, [0] * N_ROWS, ["a"] * N_ROWS])
    def test_refuses_unusable_weights(self, regression: Model, weight: list[Any]) -> None:
        with pytest.raises(DataError, match=f"sample_weight must be {N_ROWS} finite numbers"):
            regression.evaluate(people() | {"income": income()}, sample_weight=weight)

    def test_needs_the_target_and_suggests_the_nearest_name(self, binary: Model) -> None:
        with pytest.raises(SchemaError, match=r"needs the target column 'buys'.*Did you mean 'buyes'\?"):
            binary.evaluate(people() | {"buyes": ["no"] * N_ROWS})

    def test_refuses_a_class_that_was_not_there(self, binary: Model) -> None:
        with pytest.raises(DataError, match=r"that was there at fit \(no, yes\); got perhaps"):
            binary.evaluate(people() | {"buys": ["no"] * 59 + ["perhaps"]})

    def test_refuses_a_missing_target(self, binary: Model) -> None:
        with pytest.raises(DataError, match="1 of 60 have none"):
            binary.evaluate(people() | {"buys": ["no"] * 59 + [None]})


def test_repr_says_what_it_is(regression: Model) -> None:
    assert repr(regression).startswith("Model(regression of 'income', 4 columns, ")
    assert "rmse" in repr(regression)


class TestBytes:
    def test_give_the_model_back(self, binary: Model) -> None:
        data = binary.to_bytes()

        copy = Model.from_bytes(data)

        assert data == copy.to_bytes()
        np.testing.assert_allclose(binary.predict_proba(people()), copy.predict_proba(people()), rtol=1e-6)

    @pytest.mark.parametrize(
        "damage", [b"", b"no model at all", lambda d: d[:-9], lambda d: d[:-1] + b"\xff"]
    )
    def test_that_are_damaged(self, binary: Model, damage: Any) -> None:
        data = damage(binary.to_bytes()) if callable(damage) else damage

        with pytest.raises(ModelFileError, match=r"cannot be read as a model|checksum"):
            Model.from_bytes(data)


FIRST_REQUEST = """
import sys
from multilayer import Model

model = Model.load("m.mlp")
loaded = set(sys.modules)
model.predict({"note": ["a quiet street"], "day": ["2024-05-01"], "size": [3.0]})
print(sorted(set(sys.modules) - loaded))
"""


def test_the_first_request_loads_nothing() -> None:
    n = 90
    table = {
        "note": [f"a {'quiet' if i % 2 else 'busy'} street number {i} of the town" for i in range(n)],
        "day": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(n)],
        "size": [float(i) for i in range(n)],
        "y": [float(i % 2) + i / n for i in range(n)],
    }
    model = fit(table, target="y", kinds={"note": "text"}, **FAST)
    assert [column.kind for column in model.schema.columns] == ["text", "date", "number"]
    model.save("m.mlp")
    done = subprocess.run([sys.executable, "-c", FIRST_REQUEST], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr
