"""What a model says of itself first: score, spread, simple models, what to do next."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer.model.first_words import first_words, html_words, verdict

TABLE = {"x": list(range(160)), "y": [i % 40 + 0.25 for i in range(160)]}


@pytest.fixture(scope="module")
def model() -> ml.Model:
    return ml.fit(TABLE, target="y", members=8, epochs=2, hidden=4)


def compared(model: ml.Model, **verdicts: str) -> ml.Model:
    scores = {"this model": {"rmse": 1.0}, "constant": {"rmse": 2.0}}
    found = {"metric": "rmse", "scored": 20, "fitted_on": 140, "scores": scores}
    named = {name.replace("_", " "): said for name, said in verdicts.items()}
    return replace(model, summary=model.summary | {"comparison": found | {"verdict": named}})


def test_the_score_has_the_spread_of_its_folds(model: ml.Model) -> None:
    assert model.statistics is not None and model.statistics.held_out is not None
    parts = [part["rmse"] for part in model.statistics.held_out.scores]
    expected = np.std(parts, ddof=1) / np.sqrt(len(parts))

    assert len(parts) == 8
    assert f"± {expected:.{1 - int(np.floor(np.log10(expected)))}f}" in first_words(model)
    assert "Predicts 'y' from 1 column, learnt from 160 rows in" in str(model)
    assert "Next: model.predict(table)" in str(model)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (
            {"linear_model": "better", "boosted_trees": "better"},
            "better than a linear model and boosted trees",
        ),
        ({"linear_model": "alike", "boosted_trees": "better"}, "A linear model predicts about as well"),
        (
            {"linear_model": "better", "boosted_trees": "alike"},
            "about as well as boosted trees, and better than",
        ),
        ({"linear_model": "better", "boosted_trees": "worse"}, "Boosted trees predict better here"),
        ({"linear_model": "worse", "boosted_trees": "alike"}, "A linear model predicts better here"),
        (
            {"linear_model": "worse", "boosted_trees": "worse"},
            "A linear model and boosted trees predict better here",
        ),
    ],
)
def test_the_verdict_says_where_a_simple_model_is_as_good(
    model: ml.Model, verdicts: dict[str, str], words: str
) -> None:
    assert words in verdict(compared(model, **verdicts))


def test_no_better_than_a_constant_is_said() -> None:
    noise = np.random.default_rng(0)
    table = {"x": noise.normal(size=160), "y": noise.normal(size=160)}
    model = ml.fit(table, target="y", members=8, epochs=2, hidden=4)

    assert "no better than a constant" in verdict(model)


def test_notebooks_show_html_in_their_own_colours(model: ml.Model) -> None:
    page = html_words(compared(model, linear_model="better"))

    assert page == compared(model, linear_model="better")._repr_html_()
    assert "Model of &#x27;y&#x27;" in page and "<svg" in page and "this model" in page
    assert "color:inherit" in page and "#fff" not in page and "background:white" not in page


def test_schema_and_history_have_html_and_escape_names() -> None:
    schema = ml.infer_schema({"<b>": [1, 2, 3], "same": [1, 1, 1]})

    assert "&lt;b&gt;" in schema._repr_html_() and "<b>" not in schema._repr_html_()
    assert "constant" in schema._repr_html_()
    history = ml.History(train_loss=[0.5, 0.4], val_loss=[0.6, 0.5], step_loss=[0.5, 0.4], best_epoch=2)
    assert "kept: epoch 2" in history._repr_html_() and "<polyline" in history._repr_html_()
    assert "no epochs" in ml.History()._repr_html_()


def test_a_notebook_shows_the_picture_of_history_plot() -> None:
    axes: Any = ml.History(train_loss=[0.5, 0.4]).plot()

    assert axes._repr_png_().startswith(b"\x89PNG")
