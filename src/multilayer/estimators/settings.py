"""Settings of the estimators: what each may be, and whether it asks for the recipe or for the textbook.

Every setting of `sklearn.neural_network` is None by default, which leaves it to the recipe. One that only
scikit-learn's own algorithm has, such as `solver`, selects that algorithm, the textbook; there None is
scikit-learn's default.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, get_args

import numpy as np

from multilayer.errors import ConfigError, nearest
from multilayer.nn.blocks import ACTIVATIONS
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.table.column import Infinite
from multilayer.table.schema import Schema
from multilayer.tasks.classification import THRESHOLD_METRICS
from multilayer.tasks.make import OBJECTIVES
from multilayer.textbook.network import Textbook

Params = Mapping[str, Any]
Rule = tuple[Callable[[Any], bool], str]

RECIPE_NAMES = {"logistic": "sigmoid"}  # scikit-learn's names of activations, where ours differ
TEXTBOOK_ACTIVATIONS = ("identity", "logistic", "relu", "tanh")
SOLVERS = ("adam", "lbfgs", "sgd")
SCHEDULES = ("adaptive", "constant", "invscaling")
LOSSES = ("poisson", "squared_error")

# Settings that the recipe has no use for: whatever they are, they ask for the textbook
TEXTBOOK_ONLY = (
    "solver",
    "learning_rate",
    "power_t",
    "tol",
    "momentum",
    "nesterovs_momentum",
    "beta_1",
    "beta_2",
    "epsilon",
    "max_fun",
)
# and those that ask for it with one value: the recipe always shuffles, always validates, always starts anew
TEXTBOOK_VALUES: Mapping[str, Any] = {
    "shuffle": False,
    "early_stopping": False,
    "warm_start": True,
    "loss": "poisson",
}


# What only the recipe has -> what leaves it unset
RECIPE_ONLY: Mapping[str, Any] = {
    "members": None,
    "quality": "default",
    "network": "default",
    "monotone": None,
    "schema": None,
    "missing": (),
    "infinite": "error",
    "threshold": None,
    "objective": None,
    "quantiles": None,
}
# Settings of one name and meaning here and in `recipe.fit`
_AS_THEY_ARE = (*RECIPE_ONLY, "kinds", "time_budget")


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and bool(0 < value < np.inf)


def _is_share(value: Any) -> bool:
    return _is_number(value) and bool(0 <= value < 1)


def _is_not_negative(value: Any) -> bool:
    return _is_number(value) and bool(0 <= value < np.inf)


def _is_seed(value: object) -> bool:
    right = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return right and 0 <= int(value) < 2**32  # type: ignore[call-overload]


def _is_widths(value: object) -> bool:
    return is_count(value) or (isinstance(value, Sequence | np.ndarray) and all(is_count(v) for v in value))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _one_of(names: Sequence[str]) -> Rule:
    return (lambda value: isinstance(value, str) and value in names), "None or one of " + ", ".join(
        map(repr, names)
    )


_COUNT: Rule = (is_count, "None or an int of at least 1")
_POSITIVE: Rule = (_is_positive, "None or a float in the range (0, inf)")
_FROM_0: Rule = (_is_not_negative, "None or a float in the range [0, inf)")
_SHARE: Rule = (_is_share, "None or a float in the range [0, 1)")
_FLAG: Rule = (_is_flag, "None or a bool")

# setting -> (what it may be besides None, the rule in words); worded as scikit-learn words its own
RULES: Mapping[str, Rule] = {
    "hidden_layer_sizes": (_is_widths, "None, an int of at least 1 or a sequence of such"),
    "activation": _one_of(sorted({*ACTIVATIONS, *TEXTBOOK_ACTIVATIONS})),
    "solver": _one_of(SOLVERS),
    "alpha": _FROM_0,
    "batch_size": (lambda v: is_count(v) or str(v) == "auto", "'auto' or an int of at least 1"),
    "learning_rate": _one_of(SCHEDULES),
    "learning_rate_init": _POSITIVE,
    "power_t": _FROM_0,
    "max_iter": _COUNT,
    "shuffle": _FLAG,
    "tol": _FROM_0,
    "verbose": (lambda v: _is_flag(v) or _is_not_negative(v), "a bool or an int of at least 0"),
    "warm_start": (_is_flag, "a bool"),
    "momentum": (lambda v: _is_number(v) and 0 <= v <= 1, "None or a float in the range [0, 1]"),
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": _SHARE,
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "epsilon": _POSITIVE,
    "n_iter_no_change": (
        lambda v: is_count(v) or (_is_number(v) and v == np.inf),
        "None, an int of at least 1 or inf",
    ),
    "max_fun": _COUNT,
    "loss": _one_of(LOSSES),
    "class_weight": (
        lambda v: isinstance(v, Mapping | list) or str(v) == "balanced",
        "None, 'balanced', a mapping of labels to weights, or a list of such",
    ),
    "quality": (lambda v: str(v) in get_args(Quality), "'fast', 'default' or 'best'"),
    "members": _COUNT,
    "time_budget": _POSITIVE,
    "kinds": (lambda v: isinstance(v, Mapping), "None or a mapping of column names to kinds"),
    "schema": (lambda v: isinstance(v, Schema | str | PathLike), "None, a Schema or a path to one"),
    "infinite": (lambda v: isinstance(v, str) and v in get_args(Infinite), "'error' or 'clip'"),
    "threshold": (
        lambda v: str(v) in THRESHOLD_METRICS or (_is_number(v) and 0 < v < 1),
        f"None, a float in the range (0, 1) or one of {', '.join(map(repr, THRESHOLD_METRICS))}",
    ),
    "objective": _one_of(list(OBJECTIVES)),
    "quantiles": (
        lambda v: _is_number(v) or isinstance(v, Sequence | np.ndarray),
        "None, a float or a sequence of floats in the range (0, 1)",
    ),
    "monotone": (lambda v: isinstance(v, Mapping), "None or a mapping of column names to directions"),
    "network": (
        lambda v: isinstance(v, str) and v in get_args(NetworkName),
        ", ".join(map(repr, get_args(NetworkName))),
    ),
    "random_state": (
        lambda v: _is_seed(v) or isinstance(v, np.random.RandomState) or v is np.random,
        "None, an int from 0 to 2**32 - 1 or a numpy.random.RandomState",
    ),
    "n_jobs": (
        lambda v: isinstance(v, int | np.integer) and not isinstance(v, bool) and v != 0,
        "None or an int other than 0",
    ),
}
# None has no meaning here
_NEEDED = frozenset({"batch_size", "infinite", "network", "quality", "verbose", "warm_start"})


def check_settings(params: Params, owner: str) -> None:
    """Refuse a setting that is out of its range.

    Raises:
        ConfigError: the first such setting, its rule, and what came.

    >>> check_settings({"alpha": -1}, "MLPClassifier")
    Traceback (most recent call last):
    multilayer.errors.ConfigError: The 'alpha' parameter of MLPClassifier must be None or a float in the range
    [0, inf). Got -1 instead.
    """
    for name, value in params.items():
        if name not in RULES:
            continue
        is_right, rule = RULES[name]
        if not (is_right(value) or (value is None and name not in _NEEDED)):
            near = nearest(value, rule.split("'")[1::2]) if isinstance(value, str) else ""
            raise ConfigError(
                f"The {name!r} parameter of {owner} must be {rule}. Got {value!r} instead.{near}"
            )


def why_textbook(params: Params) -> str | None:
    """The setting that asks for scikit-learn's own algorithm, in words; None where none does.

    >>> why_textbook({"solver": "sgd", "tol": 0.1}), why_textbook({"alpha": 0.1})
    ("solver='sgd'", None)
    """
    for name in TEXTBOOK_ONLY:
        if params.get(name) is not None:
            return f"{name}={params[name]!r}"
    for name, value in TEXTBOOK_VALUES.items():
        if params.get(name) is not None and params[name] == value:
            return f"{name}={params[name]!r}"
    return None


def _is_unset(params: Params, name: str, unset: Any) -> bool:
    value = params.get(name)
    if value is None or (name == "members" and value == 1):
        return True
    return type(value) is type(unset) and bool(value == unset)


def textbook_settings(params: Params, loss: str, owner: str, reason: str) -> Textbook:
    """The textbook's settings; those that are None become scikit-learn's defaults.

    Raises:
        ConfigError: a setting that only the recipe has.
    """
    asked = [name for name, unset in RECIPE_ONLY.items() if not _is_unset(params, name, unset)]
    for name in asked[:1]:
        raise ConfigError(
            f"{name}={params[name]!r} belongs to the recipe, and {reason} asks {owner} for scikit-learn's "
            "own algorithm, which trains one network on numbers as they come. Leave one of them out."
        )
    if params["activation"] not in (None, *TEXTBOOK_ACTIVATIONS):
        raise ConfigError(
            f"scikit-learn's own algorithm, which {reason} asks for, has the activations "
            f"{', '.join(TEXTBOOK_ACTIVATIONS)}; got {params['activation']!r}."
        )
    given: dict[str, Any] = {}
    for name, field in Textbook.__dataclass_fields__.items():
        if params.get(name) is not None and name not in ("batch_size", "loss"):
            value = params[name]
            given[name] = field.type(value) if isinstance(field.type, type) else value
    if params["hidden_layer_sizes"] is not None:
        given["hidden"] = widths(params["hidden_layer_sizes"])
    if params["batch_size"] != "auto":
        given["batch_size"] = int(params["batch_size"])
    return Textbook(**(given | {"loss": loss, "threads": max(1, params["n_jobs"] or 1)}))


def recipe_settings(params: Params) -> dict[str, Any]:
    """Arguments of `recipe.fit`; None leaves one to it.

    Raises:
        ConfigError: a validation share of 0, as the recipe always validates.
    """
    if params["validation_fraction"] == 0:
        raise ConfigError(
            "validation_fraction=0 leaves nothing to validate on. Leave it out, or pass early_stopping=False "
            "for scikit-learn's own algorithm, which trains on all rows."
        )
    patience, share = params["n_iter_no_change"], params["validation_fraction"]
    if patience == np.inf:
        patience = np.iinfo(np.int32).max
    sizes, activation = params["hidden_layer_sizes"], params["activation"]
    return {
        "hidden": None if sizes is None else widths(sizes),
        "activation": RECIPE_NAMES.get(activation, activation),
        "weight_decay": params["alpha"],
        "batch_size": None if params["batch_size"] == "auto" else int(params["batch_size"]),
        "lr": params["learning_rate_init"],
        "epochs": params["max_iter"],
        "patience": patience,
        "validation": None if share is None else float(share),
        **{name: params[name] for name in _AS_THEY_ARE if name in params},
    }


def widths(sizes: Any) -> tuple[int, ...]:
    """Widths of the hidden layers; an int is one layer.

    >>> widths(5), widths([8, 4])
    ((5,), (8, 4))
    """
    return (int(sizes),) if isinstance(sizes, int | np.integer) else tuple(int(size) for size in sizes)
