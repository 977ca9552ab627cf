"""scikit-learn's own tests of its MLP, run in full on ours: `sklearn/neural_network/tests/test_mlp.py`.

The installed file is executed with our classes in the place of scikit-learn's, twice: with scikit-learn's
defaults spelled out, and as a user has them who only changes the import. Nothing of it is copied.
"""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sklearn.neural_network
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from multilayer import MLPClassifier, MLPRegressor

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.filterwarnings("default")]  # theirs warn

# Tests that fail although scikit-learn's defaults are given -> the reason, as in docs/compatibility.md
EXCEPTIONS = {
    "test_gradient": "calls the private method `_loss_grad_lbfgs`; tests/textbook has a test of gradients",
}
# Tests that fail with the defaults of ours, which leave the algorithm to the recipe -> the reason
EXCEPTIONS_OF_DEFAULTS = {
    "test_alpha": "expects less weight in each layer; hidden ones shrink, and the output makes up for it",
    "test_learning_rate_warmstart": "reads the default of learning_rate_init as a number; ours is None",
    "test_nonfinite_params": "expects an error for numbers near 1e308; the recipe scales them",
    "test_early_stopping_stratified": "expects an error for a class of one row; the recipe goes on",
    "test_minimum_input_sample_size": "expects an error for two rows; the recipe fits them",
    "test_mlp_early_stopping_string_labels": "reads validation_scores_, which the recipe has not",
    "test_mlp_loading_from_joblib_partial_fit": "fits a single row; the recipe needs two",
    "test_preserve_feature_names[MLPClassifier]": "fits a single class; the recipe needs two",
}


def defaults_of(theirs: type) -> dict[str, Any]:
    """scikit-learn's defaults of a class, `solver="adam"` among them, which selects the textbook."""
    parameters = inspect.signature(theirs).parameters.values()
    return {p.name: p.default for p in parameters}


def with_their_defaults(name: str, ours: type, theirs: type) -> type:
    """A subclass of ours that starts from scikit-learn's defaults, under a name that pickle finds here."""

    def __init__(self: Any, **settings: Any) -> None:
        ours.__init__(self, **defaults_of(theirs) | settings)

    __init__.__signature__ = inspect.signature(ours.__init__)  # type: ignore[attr-defined, misc]
    return type(name, (ours,), {"__init__": __init__, "__module__": __name__})


def executed_with(classifier: type, regressor: type) -> ModuleType:
    """Their test module with these classes under their names."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.neural_network, "MLPClassifier", classifier)
        patch.setattr(sklearn.neural_network, "MLPRegressor", regressor)
        spec.loader.exec_module(module)
    return module


def class_of_tests(module: ModuleType, exceptions: dict[str, str]) -> type:
    """A test class of the module's functions; those of the table, by the test's full name, must fail."""
    tests = {name: staticmethod(value) for name, value in vars(module).items() if name.startswith("test_")}
    assert {name.partition("[")[0] for name in exceptions} <= tests.keys()

    @pytest.fixture(autouse=True)
    def fails_as_the_table_says(self: Any, request: pytest.FixtureRequest) -> None:
        if reason := exceptions.get(request.node.name):
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    return type("Tests", (), {**tests, "fails_as_the_table_says": fails_as_the_table_says})


@pytest.fixture
def global_random_seed() -> int:
    return 42


Classifier = with_their_defaults("Classifier", MLPClassifier, TheirClassifier)
Regressor = with_their_defaults("Regressor", MLPRegressor, TheirRegressor)
TestWithTheirDefaults = class_of_tests(executed_with(Classifier, Regressor), EXCEPTIONS)
TestWithOurDefaults = pytest.mark.slow(
    class_of_tests(executed_with(MLPClassifier, MLPRegressor), EXCEPTIONS | EXCEPTIONS_OF_DEFAULTS)
)
