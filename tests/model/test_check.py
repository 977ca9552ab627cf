"""A model file that was changed and signed anew is refused, or gives finite answers; indices never leave."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from multilayer import Model, ModelFileError, fit
from multilayer.model.check_network import may_overflow
from multilayer.model.check_task import check_task
from multilayer.model.file import digest, unpack
from multilayer.tasks.make import make_task

ROOT = Path(__file__).parents[2]
N_ROWS = 60


def table() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "x": rng.normal(size=N_ROWS),
        "c": rng.choice([f"level {i}" for i in range(12)], N_ROWS).astype(object),
        "day": [f"2024-{1 + i % 12:02}-0{1 + i % 9}" for i in range(N_ROWS)],
        "words": [f"room {i} was clean and quiet on day {i % 7}" for i in range(N_ROWS)],
        "y": rng.choice(["no", "yes"], N_ROWS).astype(object),
    }


@pytest.fixture(scope="module")
def data() -> bytes:
    model = fit(table(), target="y", epochs=1, members=1, hidden=8)
    assert len(model.networks) == 2  # one of them linear
    return model.to_bytes()


def forged(data: bytes, edit: Callable[[dict[str, Any], dict[str, Any]], Any]) -> bytes:
    """The file with other JSON and arrays, signed anew."""
    meta, arrays = unpack(data, "it", "")
    arrays = {name: array.copy() for name, array in arrays.items()}
    edit(meta, arrays)
    text = json.dumps(meta)
    return bytes(save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))


def setting(*path: Any, to: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def edit(meta: dict[str, Any], _: dict[str, Any]) -> None:
        for key in path[:-1]:
            meta = meta[key]
        meta[path[-1]] = to

    return edit


def array(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def edit(_: dict[str, Any], arrays: dict[str, Any]) -> None:
        key = next(key for key in arrays if key.endswith(name))
        arrays[key] = np.asarray(change(arrays[key]))

    return edit


def without(*path: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def edit(meta: dict[str, Any], _: dict[str, Any]) -> None:
        for key in path[:-1]:
            meta = meta[key]
        del meta[path[-1]]

    return edit


COLUMNS, CODERS = ("encoder", "schema", "columns"), ("encoder", "coders")
EDITS: dict[str, tuple[Callable[..., Any], str]] = {
    # sizes
    "wide layers": (setting("network", "hidden", to=[30_000, 30_000]), "layers need 90"),
    "a layer of no width": (
        setting("network", "hidden", to=[0]),
        "widths must be at least 1",
    ),
    "many frequencies": (setting("network", "n_frequencies", to=2**30), "layers need"),
    "many networks": (setting("n_networks", to=10**9), "each network needs a weight"),
    "no network": (setting("n_networks", to=0), "at least one network"),
    "another number of inputs": (
        setting("network", "n_num", to=10**6),
        "other numbers than rows have",
    ),
    "another number of outputs": (
        setting("network", "d_out", to=3),
        "it has 3 outputs, and its task 1",
    ),
    "more codes": (
        setting("network", "cardinalities", to=[2**30]),
        "other categories than rows have",
    ),
    # indices
    "columns far outside": (
        setting("network", "keep", to=[2**30]),
        "'keep' must be places",
    ),
    "columns before the first": (
        setting("network", "keep", to=[-1]),
        "'keep' must be places",
    ),
    "a column twice": (
        setting("network", "keep", to=[0, 0]),
        "'keep' has a place twice",
    ),
    "waves of columns far outside": (
        array("periodic_columns", lambda a: a * 0 + 2**40),
        "periodic_columns are others than in the text",
    ),
    "statistics of a column far outside": (
        setting("encoder", "target", 0, "place", to=2**40),
        "there is no such category",
    ),
    # types and values
    "an unknown kind": (
        setting(*COLUMNS, 0, "kind", to="numbr"),
        "'kind' cannot be 'numbr'",
    ),
    "a kind of another coder": (
        setting(*COLUMNS, 0, "kind", to="date"),
        "kind date has no coder 'number'",
    ),
    "an unknown coder": (
        setting(*CODERS, 0, "coder", to="none"),
        "there is no coder 'none'",
    ),
    "truth for a number": (
        setting(*CODERS, 0, "center", to=True),
        "'center' must be a number",
    ),
    "a width below 0": (
        setting(*CODERS, 0, "width", to=-1.0),
        "'width' must not be negative",
    ),
    "a level twice": (setting(*CODERS, 1, "levels", to=["a"] * 12), "texts, each once"),
    "an unknown part of a date": (
        setting(*CODERS, 2, "parts", to=["era"]),
        "'parts' must be of a date",
    ),
    "an impossible zone": (setting(*COLUMNS, 2, "zone", to="+99:99"), "column 'day'"),
    "a zone that is a path": (
        setting(*COLUMNS, 2, "zone", to="../../etc/passwd"),
        "A time zone must be",
    ),
    "an impossible date format": (
        setting(*COLUMNS, 2, "date_format", to="%Q"),
        "dates cannot be written",
    ),
    "a date that is none": (setting(*COLUMNS, 2, "high", to=1e30), "'low' and 'high' are no dates"),
    "an unknown field": (
        setting(*COLUMNS, 0, "color", to="red"),
        "'color' is not known",
    ),
    "no coders": (without("encoder", "coders"), "schema and coders are needed"),
    "one coder fewer": (without(*CODERS, 0), "each column needs a coder"),
    "an architecture of others": (
        setting("network", "architecture", to="x"),
        "no architecture 'x'",
    ),
    "an activation of others": (
        setting("network", "activation", to="x"),
        "no activation 'x'",
    ),
    "dropout of everything": (
        setting("network", "dropout", to=1.0),
        "'dropout' must be",
    ),
    "a linear network of hidden layers": (
        setting("linear", "architecture", to="mlp"),
        "must be of the architecture",
    ),
    "a linear network of other numbers": (setting("linear", "keep", to=[99]), "'keep' must be places"),
    "a linear network for more outputs": (
        setting("linear", "d_out", to=2),
        "linear network: it has 2 outputs",
    ),
    "a linear network without weights": (
        array("1.1.weight", lambda w: w[:, :1]),
        "layers need|size mismatch",
    ),
    "no linear network where there is one": (
        setting("linear", to=None),
        "are absent, or too many|its layers need",
    ),
    "weights of zero": (setting("weights", to=[0.0, 0.0]), "must not be negative, or all 0"),
    "weights below zero": (
        setting("weights", to=[1.0, -1.0]),
        "must not be negative, or all 0",
    ),
    "weights beyond float64": (
        setting("weights", to=[1e308, 1e308]),
        "are too large or too small",
    ),
    "weights for others": (
        setting("weights", to=[1.0, 1.0, 1.0]),
        "each network needs a weight",
    ),
    "labels of a huge type": (
        setting("task", "dtype", to="U999999999"),
        "labels cannot be of type",
    ),
    "labels of another type": (
        setting("task", "dtype", to="int8"),
        "are not of type int8",
    ),
    "labels twice": (
        setting("task", "classes", to=["no", "no"]),
        "labels must be sorted, each once",
    ),
    "one label": (setting("task", "classes", to=["no"]), "at least two classes"),
    "another kind of task": (
        setting("task", "kind", to="multiclass"),
        "2 classes are binary",
    ),
    "a threshold of 2": (
        setting("task", "threshold", to=2.0),
        "a threshold must be within 0 and 1",
    ),
    "a target that is a column": (
        setting("target", to="x"),
        "the target is among the columns",
    ),
    "statistics without edges": (
        without("encoder", "target", 0, "n_edges"),
        "'n_edges' is absent",
    ),
    "a column that is dropped": (
        setting("dropped", to=["x"]),
        "a column that is used is dropped, too",
    ),
    "an exposure that is dropped": (
        lambda meta, _: meta.update(dropped=["e"], exposure="e"),
        "the exposure is left out",
    ),
    "a mark that is a number": (
        setting("notation", "missing", to=[3]),
        r"'missing' cannot be \[3\]",
    ),
    "an impossible separator": (
        setting("notation", "thousands", to="x"),
        "thousands must be one of",
    ),
    "an encoding that is none": (
        setting("notation", "encoding", to="base64"),
        "encoding must be one that Python knows",
    ),
    "a header that is a text": (setting("notation", "header", to="yes"), "'header' cannot be 'yes'"),
    "levels by frequency that are numbers": (
        setting(*COLUMNS, 1, "levels_by_frequency", to=[1, 2]),
        "levels must be texts",
    ),
    "levels by frequency of a number": (
        setting(*COLUMNS, 0, "levels_by_frequency", to=["a"]),
        "a category alone",
    ),
    "levels in two ways": (setting(*COLUMNS, 1, "levels", to=["a", "b"]), "levels are there in two ways"),
    "a separator of no letter": (setting(*COLUMNS, 0, "decimal", to=""), "separators must be a sign"),
    "one separator for both": (
        setting(*COLUMNS, 0, "thousands", to="."),
        "must be separated otherwise",
    ),
    "a unit that is a number": (setting(*COLUMNS, 0, "unit", to=3), "'unit' cannot be 3"),
    "units of targets that are numbers": (
        setting("summary", "target_units", to={"y": 3}),
        "'target_units' must be texts by name",
    ),
    "settings that are a list": (
        setting("summary", "asked", to=["seed"]),
        "'asked' must be settings by name",
    ),
    "no history": (setting("histories", to=[]), "a model has a history"),
    "a history of texts": (
        setting("histories", 0, "train_loss", to=["x"]),
        "'train_loss' cannot be",
    ),
    "a score that is a text": (
        setting("summary", "score", "log_loss", to="x"),
        "must be numbers by name",
    ),
    "a baseline of another width": (
        setting("summary", "constant", to=[0.1] * 3),
        "could not be broadcast",
    ),
    # arrays
    "a weight that is no number": (
        array("1.weight", lambda a: a * np.nan),
        "is not finite",
    ),
    "weights beyond float32": (
        array("1.weight", lambda a: a * 0 + 3e38),
        "is too large",
    ),
    "weights of another type": (
        array("1.weight", lambda a: a.astype(np.float64)),
        "size mismatch",
    ),
    "weights of another shape": (
        array("1.weight", lambda a: a.T.copy()),
        "size mismatch",
    ),
    "an array more": (
        lambda _, arrays: arrays.update(more=np.zeros(3)),
        "arrays that are not a model's",
    ),
    "knots that fall": (array("knots", lambda a: a[::-1].copy()), "knots must rise"),
    "knots that are too few": (
        array("knots", lambda a: a[:-1].copy()),
        "'encoder.?knots|'knots' must be",
    ),
    "places beyond the ends": (array("places", lambda a: a * 9), "places must rise"),
    "words far outside": (
        array("text.3.buckets", lambda a: a + 2**30),
        "words come first",
    ),
    "words of weight 0": (array("text.3.weights", lambda a: a * 0), "must be above 0"),
    "statistics beyond float32": (
        array("target_values", lambda a: a * 0 + 1e300),
        "are too large",
    ),
    "statistics that are too few": (
        array("target_values", lambda a: a[:-1].copy()),
        "'target_values' must be",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_forged_file_is_refused(data: bytes, name: str) -> None:
    edit, message = EDITS[name]

    with pytest.raises(ModelFileError, match=rf"its parts do not make a model \(.*(?:{message})") as caught:
        Model.from_bytes(forged(data, edit))

    assert type(caught.value.__cause__).__name__ in (
        "ValueError",
        "ConfigError",
        "ModelFileError",
    )


def test_an_unchanged_file_that_is_signed_anew_is_the_model(data: bytes) -> None:
    assert Model.from_bytes(forged(data, lambda *_: None)).to_bytes() == data


def test_codes_beyond_those_that_statistics_were_learnt_of_have_none(
    data: bytes,
) -> None:
    def drop_the_last(meta: dict[str, Any], arrays: dict[str, Any]) -> None:
        plan = meta["encoder"]["target"][0]
        n, name = plan["n_values"], "encoder.target_values"
        arrays[name] = np.delete(arrays[name], [n - 3, n - 2])
        plan["n_values"] = n - 2

    model = Model.from_bytes(forged(data, drop_the_last))

    assert np.isfinite(model.predict_proba(table())).all()


def test_weights_whose_products_may_be_beyond_float32_are_suspected() -> None:
    large = {f"{i}.weight": np.full((8, 8), 1e14, np.float32) for i in range(3)}
    usual = {f"{i}.weight": np.full((8, 8), 3.0, np.float32) for i in range(9)}

    assert may_overflow([usual, large])
    assert not may_overflow([usual])


def test_weights_that_overflow_at_a_prediction_are_an_error_there(data: bytes) -> None:
    model = Model.from_bytes(data)
    for parameter in model.networks[0].parameters():
        parameter.data.fill_(3e38)

    with pytest.raises(ModelFileError, match="must predict finite numbers"):
        model.predict_proba(table())


def test_hundreds_of_random_edits_are_refused_or_harmless() -> None:
    """In a process of its own, where no type checker refuses first; `make nightly` makes 100,000."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(ROOT / "tests" / "forgery.py"),
        "800",
        "1",
    ]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(r"800 forged model files: \d+ refused, \d+ loads", done.stdout)
    assert "refused by" not in done.stdout  # by what no check foresaw


@pytest.mark.parametrize("objective", ["log", "poisson", "gamma", "tweedie"])
def test_a_positive_target_needs_a_positive_range(objective: str) -> None:
    task = make_task(np.array([1.0, 2.0, 4.0]), objective=objective).to_json()
    check_task(task, "y")
    with pytest.raises(ValueError):
        check_task(task | {"low": -2.0, "high": -1.0}, "y")
