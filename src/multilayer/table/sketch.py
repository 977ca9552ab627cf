"""Which rows a model was trained on: enough to say how many of others are among them. NumPy only."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.merge_rows import row_hashes

SIZE = 4_096  # hashes that are kept: an estimate of a share is off by 1 or 2 percent, and they take 16 KB
LEAST = 20  # rows that can be looked up, to say anything by: else chance says it


@dataclass(frozen=True, eq=False)
class Sketch:
    """The smallest hashes of a table's rows, shortened to 32 bits, of which no row can be read.

    Whoever has a row, target and all, can ask whether it was among those trained on, as with any trained
    model that remembers its rows; one in 2^32 / n others is said to be, too.

    Source:  Broder 1997, "On the resemblance and containment of documents": the smallest hashes are a sample
    Differs: rows are the elements; the sample is looked up, where there two are compared

    hashes:  the smallest, ascending (n,), uint32
    limit:   hashes up to this one are all there
    part:    share of the training rows that it was made of
    repeats: share of those rows that repeat another: new rows will as often be among them by themselves
    """

    hashes: NDArray[np.uint32]
    limit: int
    part: float = 1.0
    repeats: float = 0.0

    @classmethod
    def of(cls, columns: Sequence[NDArray[Any]], part: float = 1.0, repeats: float = 0.0) -> "Sketch":
        """Of the rows of these columns.

        >>> Sketch.of([np.arange(10.0)]).among([np.arange(5.0, 25.0)])
        (20, 5)
        """
        distinct = np.unique(_short(columns))
        limit = int(distinct[SIZE - 1]) if len(distinct) > SIZE else 2**32 - 1
        return cls(distinct[:SIZE], limit, part, repeats)

    def among(self, columns: Sequence[NDArray[Any]]) -> tuple[int, int]:
        """How many rows of these columns can be looked up, and how many of them are there."""
        asked = _short(columns)
        asked = asked[asked <= self.limit]
        return len(asked), int(np.isin(asked, self.hashes).sum())

    def share(self, asked: int, found: int) -> float:
        """Share of rows trained on, from what `among` gave; NaN where too few could be looked up."""
        if not asked or (asked < LEAST and self.limit < 2**32 - 1):
            return float("nan")
        return min(1.0, found / asked / self.part)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file."""
        text = base64.b64encode(self.hashes.astype("<u4").tobytes()).decode()
        return {"hashes": text, "limit": self.limit, "part": self.part, "repeats": self.repeats}

    @classmethod
    def from_json(cls, values: Any) -> "Sketch | None":
        """The inverse of `to_json`; None for what is none, as in files of before."""
        try:
            hashes = np.frombuffer(base64.b64decode(values["hashes"], validate=True), "<u4").astype(np.uint32)
            limit, part, repeats = int(values["limit"]), float(values["part"]), float(values["repeats"])
        except (TypeError, KeyError, ValueError, OverflowError):
            return None
        is_sound = 0 <= limit < 2**32 and 0 < part <= 1 and 0 <= repeats <= 1
        return cls(hashes, limit, part, repeats) if is_sound else None


def _short(columns: Sequence[NDArray[Any]]) -> NDArray[np.uint32]:
    return (row_hashes(columns) >> np.uint64(32)).astype(np.uint32)
