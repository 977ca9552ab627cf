"""Every error that a user can cause. Each message says the rule, what came, and what to do.

MultilayerError
├── DataError            a table or an array cannot be used               (also a ValueError)
│   └── SchemaError      a table does not match what the model was fitted on
├── ConfigError          a setting is wrong                               (also a ValueError)
├── ModelFileError       a model file cannot be read
├── OutputError          a file cannot be written                         (also an OSError)
└── MissingExtraError    an optional package is not installed             (also an ImportError)

TableWarning             something in a table was passed over, such as a column that is not used
"""

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class MultilayerError(Exception):
    """The base class of all errors that multilayer raises on purpose.

    >>> import multilayer as ml
    >>> try:
    ...     ml.read_table([])
    ... except ml.MultilayerError as error:
    ...     print(error)
    A table needs at least one row; got an empty list.
    """


class DataError(MultilayerError, ValueError):
    """A table or an array cannot be used as it is.

    >>> import multilayer as ml
    >>> ml.read_table({"rooms": [3, 4], "city": ["Oslo"]})
    Traceback (most recent call last):
        ...
    multilayer.errors.DataError: All columns of a table must have the same length; ...
    """


class SchemaError(DataError):
    """A table does not match the table that the model was fitted on.

    >>> import multilayer as ml
    >>> model = ml.fit({"x": range(20), "y": range(20)}, target="y", epochs=1, members=1)
    >>> model.predict({"z": [1.0]})
    Traceback (most recent call last):
        ...
    multilayer.errors.SchemaError: The model was fitted with the column 'x', which this table lacks. ...
    """


class ConfigError(MultilayerError, ValueError):
    """A setting is unknown, out of range, or contradicts another one.

    >>> import multilayer as ml
    >>> ml.mlp(2, [8], 1, dropout=1.5)
    Traceback (most recent call last):
        ...
    multilayer.errors.ConfigError: dropout must be at least 0 and below 1; got 1.5.
    """


class ModelFileError(MultilayerError):
    """A model file is missing or damaged, has a newer format, or is not a file of multilayer.

    >>> import multilayer as ml
    >>> ml.Model.load("prices.mlp")
    Traceback (most recent call last):
        ...
    multilayer.errors.ModelFileError: a model file must exist; there is none at prices.mlp.
    """


class OutputError(MultilayerError, OSError):
    """A file could not be written; what stood there before is untouched.

    >>> import multilayer as ml
    >>> model = ml.fit({"x": range(20), "y": range(20)}, target="y", epochs=1, members=1)
    >>> model.save("absent/prices.mlp")
    Traceback (most recent call last):
        ...
    multilayer.errors.OutputError: the folder of an output must exist; ...
    """


class MissingExtraError(MultilayerError, ImportError):
    """An optional package is needed and not installed.

    >>> extra("a_package", needed_by="this example", install="a-package")
    Traceback (most recent call last):
        ...
    multilayer.errors.MissingExtraError: this example needs a_package, which is not installed: ...
    """


class TableWarning(UserWarning):
    """Something in a table was passed over: unused columns, or cells that do not fit their column.

    >>> import warnings
    >>> import multilayer as ml
    >>> model = ml.fit({"x": range(20), "y": range(20)}, target="y", epochs=1, members=1)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     predicted = model.predict({"x": [1.0], "z": [2.0]})
    >>> caught[0].category.__name__
    'TableWarning'
    """


def warn(message: str, category: type[Warning] = TableWarning) -> None:
    """A warning that names the line of the caller outside of this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("multilayer"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message that suggests the closest known name, or an empty text.

    >>> nearest("pirce", ["price", "rooms"])
    " Did you mean 'price'?"
    >>> nearest("zzz", ["price"])
    ''
    """
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def counted(n: int, thing: str) -> str:
    """A number of things in words.

    >>> counted(1, "step"), counted(2_000, "epoch")
    ('1 step', '2,000 epochs')
    """
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def extra(module: str, *, needed_by: str, install: str) -> ModuleType:
    """An optional package's module, or an error that says who needs it and how to install it.

    Raises:
        MissingExtraError: it is not installed.

    >>> extra("json", needed_by="this example", install="json").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{needed_by} needs {package}, which is not installed: pip install {install}"
        ) from error
