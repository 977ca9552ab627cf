"""What the classifier and the regressor share: scikit-learn's contract, and the way to either algorithm."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.estimators.attributes import constant_model
from multilayer.estimators.fitted import Fitted, RecipeFit, TextbookFit
from multilayer.estimators.input import as_column, check_same_rows, is_sparse, table_of
from multilayer.estimators.of_model import ModelFit, as_names, classes_of, features_of, has_names, settings_of
from multilayer.estimators.plain_rows import PlainRows
from multilayer.estimators.settings import recipe_settings, textbook_settings, why_textbook
from multilayer.machine import n_cores
from multilayer.model.model import Model
from multilayer.recipe.fit import fit as fit_recipe
from multilayer.tasks.task import Kind as TaskKind
from multilayer.textbook import solver
from multilayer.textbook.network import Textbook, Weights, draw_weights
from multilayer.training.pack import Progress

logger = logging.getLogger("multilayer")

Weight = NDArray[np.float64] | None


class Estimator(BaseEstimator, ABC):
    """Settings as scikit-learn stores them, its fitted attributes, and in `_fitted` what there is besides."""

    def _store(self, settings: Mapping[str, Any]) -> None:
        """Keep each setting under its name, whatever it is: `fit` is the judge.

        settings: `locals()` of an `__init__`
        """
        for name, value in settings.items():
            if name != "self":
                setattr(self, name, value)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        return tags

    # ---- what was fitted

    @classmethod
    def from_model(cls, model: Model | str | Path) -> "Estimator":
        """A fitted estimator over a model of `ml.fit`, or over the file of one, as of `multilayer fit`.

        It predicts what the model predicts, and has the settings that the fit was called with, so that
        `sklearn.base.clone`, and with it `cross_val_score`, fits anew in the same way: kinds of columns as
        they were read, columns left out that were. Rows for it are frames with the columns of the fit, in
        any order, or arrays, if the model was fitted on one or uses all columns of its table. Groups, time
        and weights of rows, which were columns of the table, are no settings of an estimator: a clone holds
        rows out at random, and takes weights in `fit(sample_weight=)`.

        Raises:
            ConfigError: the other class is for this model; or there is no estimator of it, as it has an
                exposure, labels other than 0 and 1 in several targets, or came of scikit-learn's own
                algorithm.
            ModelFileError: as `Model.load`.

        >>> import multilayer as ml
        >>> table = {"size": list(range(40)), "price": [2.0 * size for size in range(40)]}
        >>> model = ml.fit(table, target="price", epochs=2, members=2)
        >>> ml.MLPRegressor.from_model(model).get_params()["max_iter"]
        2
        """
        model = model if isinstance(model, Model) else Model.load(model)
        settings, classes = settings_of(model), classes_of(model)
        if (classes is None) == is_classifier(cls()):
            raise ConfigError(
                f"MLPClassifier is for classes and MLPRegressor for numbers; this model is a "
                f"{model.task.kind}. Take the other, or let model.as_estimator() choose."
            )
        estimator = cls(**settings)
        estimator._fitted = ModelFit(model)
        names = features_of(model)
        estimator.n_features_in_ = len(names)
        if has_names(model):
            estimator.feature_names_in_ = as_names(names)
        if classes is not None:
            estimator.classes_ = classes
        estimator._keep_losses(model)
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return self._trained() is not None

    def _trained(self) -> Fitted | None:
        """What the last fit left; a network whose weights were set by hand is one of the textbook's."""
        fitted: Fitted | None = vars(self).get("_fitted")
        return TextbookFit(PlainRows()) if fitted is None and "coefs_" in vars(self) else fitted

    def _checked_fit(self) -> Fitted:
        """What to predict with.

        Raises:
            NotFittedError: there is nothing yet.
        """
        check_is_fitted(self)
        fitted = self._trained()
        assert fitted is not None
        return fitted

    def __getattr__(self, name: str) -> Any:
        """Fitted attributes that are read off what was trained; called for absent names."""
        fitted: Fitted | None = self.__dict__.get("_fitted")
        if fitted is not None:
            value = fitted.model(self) if name == "model_" else fitted.attribute(name)
            if value is not None:
                return value
            if name in fitted.absent:
                raise AttributeError(f"{type(self).__name__} has no {name!r}: {fitted.absent[name]}")
        near = "" if name.startswith("_") else nearest(name, self.__dict__)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}.{near}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(["model_"] if "_fitted" in vars(self) else [])]

    def _forget(self) -> None:
        """Drop what an earlier fit left, but for what scikit-learn's checks of X keep."""
        kept = ("n_features_in_", "feature_names_in_")
        for name in [name for name in vars(self) if name.endswith("_") and name not in kept]:
            delattr(self, name)
        for name in ("_fitted", "_optimizer", "_no_improvement_count"):
            self.__dict__.pop(name, None)

    # ---- the recipe

    def _textbook_reason(self, X: Any) -> str | None:
        """Why scikit-learn's own algorithm is to run; None for the recipe."""
        reason = why_textbook(self.get_params(deep=False))
        return reason if reason or not is_sparse(X) else "a sparse X"

    def _fit_recipe(self, X: Any, y: NDArray[Any], weight: Weight, task: TaskKind) -> None:
        """Fit the recipe on checked targets; a weight of 0 is a row that is not there."""
        table = table_of(self, X, reset=True)
        check_same_rows(table.n_rows, len(y))
        if weight is not None and not weight.all():
            rows = np.flatnonzero(weight)
            table, y, weight = table.take(rows), y[rows], weight[rows]
        if task == "regression" and (y == y[:1]).all():
            self._set_model(constant_model(table, y))
            return
        params = self.get_params(deep=False)
        self._set_model(
            fit_recipe(
                table,
                y=y if y.ndim == 2 else as_column(y),
                task=task,
                sample_weight=weight,
                seed=_seed(params["random_state"]),
                n_threads=_threads(params["n_jobs"]),
                verbose=False,
                callbacks=[_report] if params["verbose"] else (),
                **recipe_settings(params),
            )
        )

    def _set_model(self, model: Model) -> None:
        model.summary["decisions"] = [
            *model.summary["decisions"],
            "algorithm: the recipe, as no setting asks for scikit-learn's own (solver='adam' would)",
        ]
        self._fitted: Fitted = RecipeFit(model)
        self._keep_losses(model)

    def _keep_losses(self, model: Model) -> None:
        self.loss_curve_: list[float] = [float(loss) for loss in model.history.train_loss]
        self.loss_: float = self.loss_curve_[-1] if self.loss_curve_ else 0.0
        self.n_iter_: int = len(self.loss_curve_)

    # ---- the textbook

    def _network_to_train(self, *, one_epoch: bool) -> TextbookFit | None:
        """The network that a call goes on with; None where it begins a new one."""
        fitted = self._trained()
        return fitted if isinstance(fitted, TextbookFit) and (one_epoch or self.warm_start) else None

    def _plain_rows(self, X: Any, network: TextbookFit | None) -> tuple[PlainRows, Any]:
        """How X becomes numbers, by the network's rule or by a new one; and its rows."""
        if network is None:
            return PlainRows.learn(self, X)
        return network.rows, network.rows.read(self, X, learns=True)

    def _fit_textbook(
        self,
        network: TextbookFit,
        x: Any,
        y: NDArray[Any],
        weight: Weight,
        loss: str,
        *,
        is_new: bool,
        one_epoch: bool,
    ) -> None:
        """Train on checked rows from `coefs_`, or from new weights; y is (n_rows, n_outputs)."""
        params = self.get_params(deep=False)
        settings = textbook_settings(params, loss, type(self).__name__, network.reason)
        if one_epoch and settings.early_stopping:
            raise ConfigError("partial_fit does not support early_stopping=True")
        if params["verbose"]:
            settings = replace(settings, report=_write)
        rng = check_random_state(params["random_state"])
        if is_new:
            self._start(network, settings, x, y, rng)
        if self.n_outputs_ != y.shape[1]:
            raise DataError(f"y must have {self.n_outputs_} columns as before; got {y.shape[1]}.")
        run = self._run(network, settings)
        try:
            solver.fit(run, settings, x, y, weight, self.out_activation_, rng, one_epoch=one_epoch)
        finally:
            self._publish(network, run, settings)

    def _start(
        self, network: TextbookFit, settings: Textbook, x: Any, y: NDArray[Any], rng: np.random.RandomState
    ) -> None:
        sizes = [x.shape[1], *settings.hidden, y.shape[1]]
        weights = draw_weights(sizes, settings.activation, rng, x.dtype)
        self.coefs_: list[NDArray[Any]] = weights.coefs
        self.intercepts_: list[NDArray[Any]] = weights.intercepts
        self.n_layers_, self.n_outputs_ = len(sizes), y.shape[1]
        self.out_activation_ = self._link(network, settings, y.shape[1])
        self._publish(network, solver.Run.start(settings, weights), settings)

    @abstractmethod
    def _link(self, network: TextbookFit, settings: Textbook, n_outputs: int) -> str:
        """What the textbook's outputs go through: scikit-learn's `out_activation_`."""

    def _run(self, network: TextbookFit, settings: Textbook) -> solver.Run:
        """Where training stands, from the attributes, which may be set by hand."""
        there = vars(self)
        run = solver.Run.start(settings, Weights(list(self.coefs_), list(self.intercepts_)))
        run.optimizer, run.steps = there.get("_optimizer"), network.steps
        run.t, run.best_loss = there.get("t_", 0), there.get("best_loss_", run.best_loss)
        run.loss_curve = there.get("loss_curve_", run.loss_curve)
        run.no_improvement_count = there.get("_no_improvement_count", 0)
        if settings.early_stopping and there.get("validation_scores_"):
            run.validation_scores = there["validation_scores_"]
            run.best_validation_score = there["best_validation_score_"]
            run.best_weights = network.best_weights
        return run

    def _publish(self, network: TextbookFit, run: solver.Run, settings: Textbook) -> None:
        """Where training stands, in scikit-learn's attributes; what it has none for, in `_fitted`."""
        self.coefs_, self.intercepts_ = run.weights.coefs, run.weights.intercepts
        self.t_, self.n_iter_ = run.t, run.epochs
        if np.isfinite(run.loss) or run.epochs:
            self.loss_ = run.loss
        best_weights = network.best_weights if settings.solver == "lbfgs" else run.best_weights
        self._fitted = replace(network, engine=run.engine, steps=run.steps, best_weights=best_weights)
        if settings.solver == "lbfgs":
            return
        self.loss_curve_, self.best_loss_ = run.loss_curve, run.best_loss
        self.validation_scores_: list[float] | None = run.validation_scores
        self.best_validation_score_: float | None = run.best_validation_score
        self._no_improvement_count, self._optimizer = run.no_improvement_count, run.optimizer

    def _has_partial_fit(self) -> bool:
        if getattr(self, "solver", None) != "lbfgs":
            return True
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )

    def _leave_recipe(self) -> None:
        """Start a new network where the recipe was fitted: its several networks cannot go on as one."""
        fitted = self._trained()
        if fitted is None or fitted.goes_on:
            return
        logger.warning(
            "partial_fit starts a new network of scikit-learn's own algorithm: this %s was fitted by the "
            "recipe, which it cannot go on from. Fit with solver='adam' to go on.",
            type(self).__name__,
        )
        classes = vars(self).get("classes_")
        self._forget()
        if classes is not None:
            self.classes_ = classes


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """An int is the seed; anything else that scikit-learn takes is drawn from."""
    drawn = check_random_state(random_state)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(drawn.randint(np.iinfo(np.int32).max))


def _threads(n_jobs: int | None) -> int | None:
    """Networks at a time; -1 is all cores, -2 all but one."""
    return n_jobs if n_jobs is None or n_jobs > 0 else max(1, n_cores() + 1 + n_jobs)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _report(progress: Progress) -> None:
    """A line an epoch on standard output, as scikit-learn's own `verbose` writes."""
    held_out = "" if progress.val_loss is None else f", validation loss = {progress.val_loss:.6f}"
    _write(f"Iteration {progress.epoch}, loss = {progress.train_loss:.6f}{held_out}")
