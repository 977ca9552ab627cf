"""What `fit` is asked for, with its defaults for all else."""

import inspect
from typing import Any

from multilayer import fit
from multilayer.recipe.wanted import Wanted


def wanted(**given: Any) -> Wanted:
    """The arguments of `fit`, as it checks them."""
    parameters = inspect.signature(fit).parameters.items()
    defaults = {name: parameter.default for name, parameter in parameters if name != "table"}
    unknown = set(given) - set(defaults)
    assert not unknown, unknown
    return Wanted.make({**defaults, **given})
