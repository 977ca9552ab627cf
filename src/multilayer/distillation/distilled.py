"""`Distilled`: a student, and what it is worth beside its teacher."""

from dataclasses import dataclass
from typing import Any

from multilayer.errors import counted
from multilayer.inspect.result_table import ResultTable
from multilayer.model.model import Model


@dataclass(frozen=True)
class Judged:
    """How one of the three does on rows that none of them saw.

    score:     metrics by name
    agreement: share of rows with the teacher's label; of numbers, share of the teacher's variance explained
    n_bytes:   of its file; None where it has none
    row_ms:    of processor time for the prediction of a row, the median of 15
    """

    score: dict[str, float]
    agreement: float
    n_bytes: int | None
    row_ms: float


@dataclass(frozen=True, eq=False)
class Distilled:
    """What `distill` gives.

    model:     the student
    plain:     the same network, trained on labels alone
    judged:    "teacher", "student", "plain student" -> how each does on the test rows
    loss:      the metric by which gains are told
    n_rows:    trained on; n_more: rows made of them beside; n_test: rows that none of the three saw
    """

    model: Model
    plain: Model
    judged: dict[str, Judged]
    loss: str
    n_rows: int
    n_more: int
    n_test: int

    @property
    def gain_kept(self) -> float:
        """Share of what the teacher gains over the plain student that the student keeps, in `loss`.

        NaN where the teacher is no better than the plain student: there is nothing to be kept.
        """
        of = {name: each.score[self.loss] for name, each in self.judged.items()}
        gain = of["plain student"] - of["teacher"]
        return (of["plain student"] - of["student"]) / gain if gain > 0 else float("nan")

    @property
    def table(self) -> ResultTable:
        """The three side by side."""
        metrics = list(self.judged["student"].score)
        columns: dict[str, Any] = {"model": list(self.judged)}
        columns |= {name: [each.score[name] for each in self.judged.values()] for name in metrics}
        columns["agreement"] = [each.agreement for each in self.judged.values()]
        sizes = [each.n_bytes for each in self.judged.values()]
        columns["kB"] = [float("nan") if size is None else size / 1000 for size in sizes]
        columns["ms a row"] = [each.row_ms for each in self.judged.values()]
        return ResultTable(columns, self._in_words)

    @property
    def _in_words(self) -> str:
        words = (
            f"on {counted(self.n_test, 'row')} that none of them saw; the students were trained on "
            f"{counted(self.n_rows, 'row')}, the first on {counted(self.n_more, 'row')} made of them, too."
        )
        if self.gain_kept == self.gain_kept:
            words += f" It keeps {self.gain_kept:.0%} of the teacher's gain in {self.loss}."
        else:
            words += (
                f" The teacher's {self.loss} is no better than the plain student's: nothing was to be gained."
            )
        return words

    def __str__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()
