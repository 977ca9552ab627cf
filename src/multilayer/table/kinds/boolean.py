"""Booleans: true and false, in several ways of writing, also as 0 and 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import fits, need
from multilayer.table.column import Column
from multilayer.table.kinds.kind import (
    Arrays,
    Candidate,
    Coder,
    Kind,
    Learning,
    Parse,
    Stored,
    allowed,
    any_values,
    as_declared,
    as_everywhere,
    as_it_is,
    cells_of,
    converted,
    mismatch,
    no_codes,
    note_of_kind,
)
from multilayer.table.kinds.unscaled import PLAIN, one_number
from multilayer.table.steps import Chain, Clip, Divide, Feature, Fill, Multiply, Outputs, Subtract

PAIRS = (("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"))
WANTED = "true or false"

_MOST_WRITINGS = 6  # of two values: yes, Yes, YES, no, No, NO
_ZERO_AND_ONE = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_TRUTH = _ZERO_AND_ONE | {text: float(i) for pair in PAIRS for i, text in enumerate(pair)}


def as_booleans(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as 0 and 1 in float64 (n_rows,), NaN where missing.

    Reads bool, 0 and 1, and true/false, t/f, yes/no, y/n in any case.
    """
    if values.dtype == object:
        return converted(WANTED, column, values, _parse, np.array([np.nan]))
    if values.dtype.kind == "M":
        raise mismatch(WANTED, column, values, 0)
    return allowed(WANTED, column, values, lambda truths: (truths == 0) | (truths == 1))


def _parse(text: str) -> float | None:
    return _TRUTH.get(text.strip().lower())


def _parser(column: Column, texts: Sequence[str]) -> Parse:
    return _parse


def _of_texts(name: str, texts: Sequence[str]) -> Column | None:
    few = len(texts) <= _MOST_WRITINGS
    is_pair = few and {text.strip().lower() for text in texts} in map(set, PAIRS)
    return Column(name, "boolean") if is_pair else None


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    if 2 * sum(map(_is_truth, sample)) <= len(sample):
        return ()
    lower = {text.lower() for text in texts}
    is_pair = any(lower >= set(pair) for pair in PAIRS)
    return (Candidate(Column(name, "boolean"), _is_truth),) if is_pair else ()


def _is_truth(text: str) -> bool:
    return any(text.lower() in pair for pair in PAIRS)


def _measure(column: Column, values: NDArray[Any]) -> Column:
    truths = as_booleans(column, values)
    n_unique = len(np.unique(truths[~np.isnan(truths)]))
    return replace(column, n_unique=n_unique, low=None, high=None, levels=())


def _show(column: Column) -> str:
    return ""


@dataclass(frozen=True)
class Flag(Coder):
    """A boolean, or a number with two values: -1 for the low one, 1 for the high one, 0 where missing."""

    column: Column
    low: float
    high: float
    before: Chain = ()  # steps that come first

    @cached_property
    def outputs(self) -> Outputs:
        """One number."""
        between = (Subtract(self.low), Divide(self.high - self.low), Clip(0.0, 1.0))
        chain: Chain = (*self.before, *between, Multiply(2.0), Subtract(1.0), Fill(0.0))
        return ((Feature(self.column.name, self.column.name, "boolean"), chain),)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "flag", "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Flag":
        """The inverse of `to_json`, of a boolean."""
        return cls(column, plan["low"], plan["high"])


def check_flag(plan: Mapping[str, Any]) -> None:
    """ValueError unless the JSON of a `Flag` is whole."""
    low: Any = plan.get("low")
    high: Any = plan.get("high")
    need(fits([low, high], list[float]) and low < high, "'low' must be below 'high'")


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Flag:
    return Flag(column, 0.0, 1.0)


BOOLEAN = Kind(
    name="boolean",
    plural="booleans",
    wanted=WANTED,
    settings=frozenset(),
    dtypes="b",
    is_numeric=False,
    is_closed=True,
    has_levels=False,
    has_order=False,
    may_number_rows=False,
    may_name_rows=False,
    read=as_booleans,
    cells=cells_of(as_booleans),
    numbers=as_booleans,
    parser=_parser,
    of_texts=_of_texts,
    candidates=_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=as_it_is,
    fits_note=any_values,
    of_note=note_of_kind,
    measure=_measure,
    show=_show,
    fit=_fit,
    coders={"flag": Stored(Flag.from_json, one_number, check_flag), "plain": PLAIN},
)
