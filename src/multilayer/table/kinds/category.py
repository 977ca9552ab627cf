"""Categories: values that are the same or not, of any type, each as its text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from multilayer.file_values import fits, need
from multilayer.table.column import Column
from multilayer.table.kinds.kind import (
    Arrays,
    Coder,
    Kind,
    Learning,
    Stored,
    Weight,
    any_values,
    as_declared,
    as_everywhere,
    as_it_is,
    as_texts,
    cells_of_texts,
    no_candidates,
    no_codes,
    of_no_texts,
)
from multilayer.table.kinds.unscaled import LEVELS
from multilayer.table.levels import as_levels, count_levels, frequent_levels, has_lost_digits, weighed_levels
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.steps import Code, Outputs

_MOST_SHOWN = 4
_LONGEST_SHOWN = 20  # characters


def _of_note(name: str, note: Note) -> Column:
    return Column(name, "category", reason="a categorical")


def _measure(column: Column, values: NDArray[Any]) -> Column:
    counts = count_levels(as_levels(values))
    if has_lost_digits(values):
        lost = "the last digits of its numbers beyond 2^53 were lost, as they came as floats"
        column = replace(column, reason="; ".join(filter(None, (column.reason, lost))))
    return replace(column, n_unique=len(counts), levels=frequent_levels(counts, len(values)))


def shown_levels(column: Column, mark: str) -> str:
    """The first levels, with a mark between them."""
    short = (
        level if len(level) <= _LONGEST_SHOWN else level[: _LONGEST_SHOWN - 1] + "…"
        for level in column.levels[:_MOST_SHOWN]
    )
    more = f"{mark}… ({len(column.levels)} levels)" if len(column.levels) > _MOST_SHOWN else ""
    return mark.join(short) + more


def _show(column: Column) -> str:
    return shown_levels(column, ", ")


@dataclass(frozen=True)
class Category(Coder):
    """A category as a code: 0 missing, 1 rare or never seen, then the levels."""

    column: Column
    levels: tuple[str, ...]

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], weight: Weight = None) -> "Category":
        """Learn from the values of training rows which levels are frequent."""
        levels = as_levels(values)
        if weight is None:
            return cls(column, frequent_levels(count_levels(levels), len(values)))
        return cls(column, frequent_levels(*weighed_levels(levels, weight)))

    @property
    def outputs(self) -> Outputs:
        """None."""
        return ()

    @cached_property
    def code(self) -> Code:
        """The code."""
        return Code(self.levels)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "category", "levels": list(self.levels)}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Category":
        """The inverse of `to_json`."""
        return cls(column, tuple(plan["levels"]))


def check_levels(plan: Mapping[str, Any]) -> None:
    """ValueError unless the JSON of a category is whole."""
    levels: Any = plan.get("levels")
    need(fits(levels, list[str]) and len(set(levels)) == len(levels), "levels must be texts, each once")


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Category:
    return Category.fit(column, values, learning.weight)


CATEGORY = Kind(
    name="category",
    plural="categories",
    wanted="text",
    settings=frozenset(),
    dtypes="",
    is_numeric=False,
    is_closed=True,
    has_levels=True,
    has_order=False,
    may_number_rows=False,
    may_name_rows=True,
    read=as_texts,
    cells=cells_of_texts,
    numbers=None,
    parser=None,
    of_texts=of_no_texts,
    candidates=no_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=as_it_is,
    fits_note=any_values,
    of_note=_of_note,
    measure=_measure,
    show=_show,
    fit=_fit,
    coders={
        "category": Stored(Category.from_json, lambda plan, n_levels: 0, check_levels, has_code=True),
        "levels": LEVELS,
    },
)
