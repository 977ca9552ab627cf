"""Everyone who learns a table in `benchmarks.quality`, behind one small interface, at default settings.

A contestant takes rows prepared or raw, and fits on a training and a validation part. What it gives back
predicts: `predict` for regression, `predict_proba` for classes, one column each in the order of
`Problem.classes`. Packages are imported when a contestant is loaded: importing is not timed.

What early stopping or a choice of snapshots looks at is the validation part, the same rows for everyone.
CatBoost's default, HistGradientBoosting and scikit-learn's MLP do not use it; those whose name ends in 80 get
both parts as one, as from a user who has no validation rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.preparation import Preparation


@dataclass(frozen=True)
class Problem:
    """What there is to learn. classes: labels as text, sorted; None for regression."""

    target: str
    drop: tuple[str, ...]
    classes: tuple[str, ...] | None
    threads: int
    seed: int


@dataclass(frozen=True)
class Part:
    """Rows to fit on. x: raw with the target, or prepared; y: class numbers 0, 1 and so on, or the target."""

    x: pd.DataFrame
    y: NDArray[Any]


class Fitted(Protocol):
    """What a fit gives."""

    def predict(self, x: pd.DataFrame, /) -> Any:
        """Expected values, for regression."""

    def predict_proba(self, x: pd.DataFrame, /) -> Any:
        """Probabilities (n_rows, n_classes)."""


Fit = Callable[[Part, Part], Fitted]


@dataclass(frozen=True)
class Contestant:
    """How to load a method, and what it needs.

    load:     imports, and gives the function that fits
    packages: to be installed
    prepare:  learns from training rows how to make features; None hands over raw tables
    both:     training and validation rows come as one training part; the validation part has no rows
    """

    load: Callable[[Problem], Fit]
    packages: tuple[str, ...]
    prepare: Callable[[pd.DataFrame], Preparation] | None
    both: bool = False

    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


class _Ours:
    """A `multilayer.Model`, its columns in the order of `classes`."""

    def __init__(self, model: Any, classes: Sequence[str] | None) -> None:
        self.model = model
        self.predict = model.predict
        if classes is not None:
            labels = [str(label) for label in model.classes]
            self.order = [labels.index(label) for label in classes]

    def predict_proba(self, x: pd.DataFrame) -> NDArray[np.float64]:
        return self.model.predict_proba(x)[:, self.order]


def ours(problem: Problem, *, quality: str | None = None, network: str | None = None) -> Fit:
    """`multilayer.fit` on the raw table; without validation rows it holds some out by itself."""
    import multilayer

    learn = multilayer.fit  # loads what it stands on
    settings: dict[str, Any] = {"target": problem.target, "drop": problem.drop, "seed": problem.seed}
    settings |= {} if quality is None else {"quality": quality}
    settings |= {} if network is None else {"network": network}

    def fit(train: Part, valid: Part) -> Fitted:
        held_out: dict[str, Any] = {"validation": valid.x} if len(valid.y) else {}
        return _Ours(learn(train.x, **settings, **held_out), problem.classes)

    return fit


def catboost(problem: Problem, *, trees: int | None = None) -> Fit:
    """Text columns as `cat_features`. trees: with so many, the validation part stops early and chooses."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    make = CatBoostRegressor if problem.classes is None else CatBoostClassifier
    settings: dict[str, Any] = {"verbose": False, "allow_writing_files": False}
    settings |= {"thread_count": problem.threads, "random_seed": problem.seed}

    def fit(train: Part, valid: Part) -> Fitted:
        categories = _categories(train.x)
        if trees is None:
            return make(**settings).fit(train.x, train.y, cat_features=categories)
        model = make(iterations=trees, early_stopping_rounds=50, use_best_model=True, **settings)
        return model.fit(train.x, train.y, cat_features=categories, eval_set=(valid.x, valid.y))

    return fit


def lightgbm(problem: Problem) -> Fit:
    """Up to 4,000 trees, early stopping."""
    from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping

    make = LGBMRegressor if problem.classes is None else LGBMClassifier

    def fit(train: Part, valid: Part) -> Fitted:
        model = make(n_estimators=4000, n_jobs=problem.threads, random_state=problem.seed, verbose=-1)
        stop = early_stopping(50, verbose=False)
        return model.fit(train.x, train.y, eval_set=[(valid.x, valid.y)], callbacks=[stop])

    return fit


def lightgbm_plain(problem: Problem) -> Fit:
    """The default: 100 trees, no validation rows."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    make = LGBMRegressor if problem.classes is None else LGBMClassifier
    model = make(n_jobs=problem.threads, random_state=problem.seed, verbose=-1)
    return lambda train, _: model.fit(train.x, train.y)


def linear(problem: Problem) -> Fit:
    """Ridge or logistic regression on standardised numbers and 0/1 columns, its penalty by folds."""
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV

    def fit(train: Part, valid: Part) -> Fitted:
        if problem.classes is None:
            return _standardised(train, RidgeCV(np.logspace(-3, 4, 22)))
        folds = min(5, int(np.bincount(train.y).min()))
        penalties = {"Cs": np.logspace(-4, 4, 10), "scoring": "neg_log_loss", "max_iter": 2000}
        return _standardised(
            train, LogisticRegressionCV(cv=max(2, folds), n_jobs=problem.threads, **penalties)
        )

    return fit


def forest(problem: Problem) -> Fit:
    """500 trees on 0/1 columns, else scikit-learn's defaults; each class has a vote more, for log loss."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    make = RandomForestRegressor if problem.classes is None else RandomForestClassifier

    def fit(train: Part, valid: Part) -> Fitted:
        model = make(500, n_jobs=problem.threads, random_state=problem.seed)
        fitted = _standardised(train, model)
        return fitted if problem.classes is None else _Voted(fitted, 500)

    return fit


class _Voted:
    """Probabilities of a forest that are never 0."""

    def __init__(self, model: Any, n_trees: int) -> None:
        self.model, self.n_trees = model, n_trees
        self.predict = model.predict

    def predict_proba(self, x: pd.DataFrame) -> NDArray[np.float64]:
        votes = self.n_trees * self.model.predict_proba(x) + 1
        return votes / votes.sum(axis=1, keepdims=True)


def _standardised(train: Part, model: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = _categories(train.x)
    numbers = [name for name in train.x.columns if name not in categories]
    encode = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((StandardScaler(), numbers), (encode, categories))
    return make_pipeline(columns, model).fit(train.x, train.y)


def xgboost(problem: Problem) -> Fit:
    """4,000 trees, early stopping."""
    from xgboost import XGBClassifier, XGBRegressor

    make = XGBRegressor if problem.classes is None else XGBClassifier

    def fit(train: Part, valid: Part) -> Fitted:
        model = make(
            n_estimators=4000,
            early_stopping_rounds=50,
            enable_categorical=True,
            n_jobs=problem.threads,
            random_state=problem.seed,
        )
        return model.fit(train.x, train.y, eval_set=[(valid.x, valid.y)], verbose=False)

    return fit


def hist_gradient_boosting(problem: Problem) -> Fit:
    """Scikit-learn's defaults: with more than 10,000 rows it holds a tenth out and stops early."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    make = HistGradientBoostingRegressor if problem.classes is None else HistGradientBoostingClassifier

    def fit(train: Part, valid: Part) -> Fitted:
        model = make(categorical_features="from_dtype", random_state=problem.seed)
        return model.fit(train.x, train.y)

    return fit


def sklearn_mlp(problem: Problem) -> Fit:
    """The default MLP behind one-hot encoding and standard scaling, of a numerical target too."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def fit(train: Part, valid: Part) -> Fitted:
        categories = _categories(train.x)
        numbers = [name for name in train.x.columns if name not in categories]
        encode = OneHotEncoder(handle_unknown="ignore")
        columns = make_column_transformer((StandardScaler(), numbers), (encode, categories))
        if problem.classes is not None:
            return make_pipeline(columns, MLPClassifier(random_state=problem.seed)).fit(train.x, train.y)
        net = MLPRegressor(random_state=problem.seed)
        scaled = TransformedTargetRegressor(net, transformer=StandardScaler())
        return make_pipeline(columns, scaled).fit(train.x, train.y)

    return fit


def pytabkit(problem: Problem, *, name: str, **settings: Any) -> Fit:
    """RealMLP_TD or TabM_D of the package, with the validation part as such."""
    from pytabkit.models.sklearn import sklearn_interfaces

    kind = "Regressor" if problem.classes is None else "Classifier"
    make = getattr(sklearn_interfaces, f"{name}_{kind}")
    settings |= {"device": "cpu", "n_threads": problem.threads, "random_state": problem.seed}

    def fit(train: Part, valid: Part) -> Fitted:
        names = _categories(train.x)
        return make(**settings).fit(train.x, train.y, X_val=valid.x, y_val=valid.y, cat_col_names=names)

    return fit


def tabm_ple(problem: Problem) -> Fit:
    """TabM with piecewise-linear embeddings, by the authors' packages and their example's training."""
    from benchmarks import tabm_ple as example

    def fit(train: Part, valid: Part) -> Fitted:
        return example.fit(train.x, train.y, valid.x, valid.y, problem.classes, problem.seed)

    return fit


def _categories(x: pd.DataFrame) -> list[str]:
    return [name for name in x.columns if not pd.api.types.is_float_dtype(x[name])]


_text = partial(Preparation, style="text")
_categorical = partial(Preparation, style="categories")
_at_most_250 = partial(Preparation, style="categories", max_levels=250)  # it takes 255
_filled = partial(Preparation, style="filled")

_OURS, _CATBOOST = ("multilayer",), ("catboost",)
CONTESTANTS = {
    "ours": Contestant(ours, _OURS, None),
    "ours-fast": Contestant(partial(ours, quality="fast"), _OURS, None),
    "ours-best": Contestant(partial(ours, quality="best"), _OURS, None),
    "ours-80": Contestant(ours, _OURS, None, both=True),
    **{
        f"ours-{name}": Contestant(partial(ours, network=name), _OURS, None)
        for name in ("mlp", "resnet", "realmlp", "tabm")
    },
    "catboost": Contestant(catboost, _CATBOOST, _text),
    "catboost-80": Contestant(catboost, _CATBOOST, _text, both=True),
    "catboost-4000": Contestant(partial(catboost, trees=4000), _CATBOOST, _text),
    "lightgbm": Contestant(lightgbm, ("lightgbm",), _categorical),
    "lightgbm-80": Contestant(lightgbm_plain, ("lightgbm",), _categorical, both=True),
    "linear-80": Contestant(linear, ("sklearn",), _filled, both=True),
    "forest-80": Contestant(forest, ("sklearn",), _filled, both=True),
    "xgboost": Contestant(xgboost, ("xgboost",), _categorical),
    "hgb": Contestant(hist_gradient_boosting, ("sklearn",), _at_most_250),
    "sklearn-mlp": Contestant(sklearn_mlp, ("sklearn",), _filled),
    "realmlp": Contestant(partial(pytabkit, name="RealMLP_TD"), ("pytabkit",), _filled),
    "realmlp-ce": Contestant(  # what its documentation recommends where log loss or AUC count
        partial(pytabkit, name="RealMLP_TD", val_metric_name="cross_entropy", use_ls=False),
        ("pytabkit",),
        _filled,
    ),
    "tabm": Contestant(partial(pytabkit, name="TabM_D"), ("pytabkit",), _filled),
    "tabm-ple": Contestant(tabm_ple, ("tabm", "rtdl_num_embeddings"), _filled),
}
