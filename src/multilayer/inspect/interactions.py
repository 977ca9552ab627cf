"""Which columns act together: Friedman's H statistic of pairs.

Source:  Friedman, Popescu 2008, arXiv:0811.1679, equation (44)
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from multilayer.inspect.encoded_table import EncodedTable, Outputs, drawn
from multilayer.inspect.result_table import ResultTable

ROWS = 50  # at which partial dependence is looked at, and over which it is a mean

Floats = NDArray[np.float64]


def interactions(table: EncodedTable, names: Sequence[str], seed: int) -> ResultTable:
    """Of each pair of columns, how much of what they do together is more than the sum of what each does.

    H^2 = sum (F_jk - F_j - F_k)^2 / sum F_jk^2,   F: centred partial dependence at rows of the table

    strength: root of the mean of (F_jk - F_j - F_k)^2, in units of the prediction; h: H, which is large, too,
    where both columns do hardly anything.
    """
    table = table.take(drawn(len(table), ROWS, seed))
    pairs = list(combinations(names, 2))
    outputs = Outputs(table.model, len(table) ** 2 * (len(pairs) + len(names)))

    def dependence(*columns: str) -> Floats:
        places = np.concatenate([table.places[table.place_of(name)] for name in columns])
        x = np.repeat(table.x[None], len(table), axis=0)  # (points, rows, d_in)
        x[:, :, places] = table.x[:, None, places]
        said = outputs(x.reshape(-1, x.shape[2])).reshape(len(table), len(table), -1).mean(axis=1)
        return np.asarray(said - said.mean(axis=0))

    alone = {name: dependence(name) for name in names}
    strength, share = [], []
    for a, b in pairs:
        together = dependence(a, b)
        beyond = (together - alone[a] - alone[b]) ** 2
        strength.append(float(np.sqrt(beyond.mean())))
        whole = (together**2).sum()
        share.append(float(np.sqrt(min(beyond.sum() / whole, 1.0))) if whole > 0 else 0.0)
    order = np.argsort(-np.array(strength), kind="stable")
    return ResultTable(
        {
            "columns": [list(pairs[i]) for i in order],
            "strength": np.array(strength)[order],
            "h": np.array(share)[order],
        },
        "strength: what two columns do together beyond the sum of both, in units of the prediction",
    )
