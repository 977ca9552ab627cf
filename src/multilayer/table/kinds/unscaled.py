"""Coders that scale nothing, for networks that are to see numbers as they come: see `Encoder.plain`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from multilayer.file_values import fits, need
from multilayer.table.column import Column
from multilayer.table.kinds.kind import Arrays, Coder, Stored, no_check
from multilayer.table.steps import RARE, Chain, Code, Equals, Feature, Fill, Outputs


@dataclass(frozen=True)
class Plain(Coder):
    """A number, boolean, date, time or duration as one number, unscaled."""

    column: Column
    fill: float  # for missing values
    before: Chain = ()  # steps that make a number of a cell

    @cached_property
    def outputs(self) -> Outputs:
        """One number."""
        return ((Feature(self.column.name, self.column.name, "plain"), (*self.before, Fill(self.fill))),)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "plain", "fill": self.fill}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Plain":
        """The inverse of `to_json`, of kinds whose cells are numbers."""
        return cls(column, plan["fill"])


@dataclass(frozen=True)
class Levels(Coder):
    """A category as a column of 0 and 1 for each of its levels."""

    column: Column

    @cached_property
    def outputs(self) -> Outputs:
        """One for each level."""
        name, code = self.column.name, Code(self.column.levels)
        return tuple(
            (Feature(f"{name} = {level}", name, "level"), (code, Equals(RARE + 1 + i)))
            for i, level in enumerate(self.column.levels)
        )

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "levels"}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Levels":
        """The inverse of `to_json`."""
        return cls(column)


def one_number(plan: Mapping[str, Any], n_levels: int) -> int:
    """A coder that always gives one number."""
    return 1


def check_plain(plan: Mapping[str, Any]) -> None:
    """ValueError unless the JSON of a `Plain` is whole."""
    need(fits(plan.get("fill"), float), "'fill' must be a number")
    need(abs(plan["fill"]) <= np.finfo(np.float32).max, "'fill' is too large")


PLAIN = Stored(Plain.from_json, one_number, check_plain)
LEVELS = Stored(Levels.from_json, lambda plan, n_levels: n_levels, no_check)
