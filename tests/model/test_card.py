"""The card of a model says what its file holds, and its head is YAML."""

import json

import numpy as np
import pytest

import multilayer as ml
from multilayer.model.card import card


def model_of(y, **options):
    rng = np.random.default_rng(0)
    table = {"a|b": rng.normal(size=80), "<script>": rng.choice(["u", "v*"], 80).astype(object), "y": y}
    return ml.fit(table, target="y", members=2, epochs=1, hidden=4, **options)


def head(text):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_head_says_task_and_scores():
    model = model_of(np.array(["no: 1", "yes"], object)[np.arange(80) % 2])
    found = head(card(model))
    assert found["pipeline_tag"] == "tabular-classification"
    assert found["library_name"] == "multilayer"
    (index,) = found["model-index"]
    assert index["name"] == "Model of 'y'"
    scores = {each["type"]: each["value"] for each in index["results"][0]["metrics"]}
    assert scores == pytest.approx(dict(model.score), rel=1e-5)


def test_numbers_are_a_regression():
    assert head(card(model_of(np.arange(80.0))))["pipeline_tag"] == "tabular-regression"


def test_names_are_no_markup():
    text = card(model_of(np.arange(80.0)))
    assert "| a\\|b | number |" in text
    assert "<script>" not in text
    assert "v\\*" in text


def test_every_decision_stands_there():
    model = model_of(np.arange(80.0))
    text = card(model)
    assert text.count("\n- ") >= len(model.summary["decisions"])
    assert json.dumps(model.summary["seed"]) in text
