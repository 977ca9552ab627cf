"""How values become the tensors that a graph takes: a column each, or a matrix for each type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.typed import Input, Values

PACKED = {"number": "numbers", "date": "dates", "written": "dates as written", "text": "texts"}


def feed_of(inputs: Sequence[Input], values: Values, *, packed: bool) -> dict[str, NDArray[Any]]:
    """The values as the graph takes them: (rows, 1) each, or a matrix for each type."""
    if not packed:
        return {each.name: values[each.name][:, None] for each in inputs}
    feed = {each.name: values[each.name][:, None] for each in inputs if each.role == "exposure"}
    for role, name in PACKED.items():
        if of_role := [each for each in inputs if each.role == role]:
            feed[name] = np.column_stack([values[each.name] for each in of_role])
    return feed
