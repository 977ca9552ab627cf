"""Rows that are set aside before a fit, to tell afterwards how sure its predictions are."""

from dataclasses import replace
from typing import Any

import numpy as np

from multilayer.errors import ConfigError, DataError
from multilayer.model.intervals import FEWEST_ROWS
from multilayer.recipe.chunks import budget_for
from multilayer.recipe.data import require
from multilayer.recipe.wanted import Wanted
from multilayer.table.cells import is_missing
from multilayer.table.sources.names import column_name
from multilayer.table.sources.read import read_source
from multilayer.table.split import split

OWN = 1  # added to the seed: the rows are not those that a split of the same seed would validate on


def set_aside(table: Any, wanted: Wanted) -> tuple[Any, Wanted, Any]:
    """What to fit on, as it is wanted now, and the rows to conformalize on; None where none are wanted.

    Rows are drawn at random; by whole groups where there are groups; the latest where there is a time.

    Raises:
        ConfigError: what does not go with a share of the rows.
        DataError: too few rows.
    """
    share = wanted.calibration
    if share is None or not _is_number(share):
        return table, wanted, share
    _refuse_beside(wanted)
    notation = replace(wanted.notation, texts=wanted.declared.as_written)
    if budget_for(table, wanted.memory, notation, wanted.query) is not None:
        raise ConfigError(
            "a share of the rows is set aside of a table in memory; this one is streamed. Pass the rows to "
            "calibrate on as a table of their own (calibration=table), or give memory=."
        )
    read = read_source(table, notation, query=wanted.query)
    names = wanted.target if isinstance(wanted.target, list | tuple) else [wanted.target]
    targets = [column_name(name) for name in names]
    require(read, targets)
    if wanted.drop_missing_target:
        missing = np.any([is_missing(read[name]) for name in targets], axis=0)
        read = read.take(np.flatnonzero(~missing))
    n = int(share) if share >= 1 else round(share * read.n_rows)
    if not FEWEST_ROWS <= n < read.n_rows:
        raise DataError(
            f"calibration sets rows aside, at least {FEWEST_ROWS} and fewer than there are; got {share!r} of "
            f"{read.n_rows:,} rows. Ask for others, or add rows."
        )
    roles = {name: column for name in ("groups", "time") if (column := getattr(wanted, name)) is not None}
    require(read, list(roles.values()))
    fitted, aside = split(
        read.n_rows,
        fraction=n / read.n_rows,
        seed=wanted.seed + OWN,
        **{name: read[column] for name, column in roles.items()},
    )
    return read.take(fitted), replace(wanted, query=None), read.take(aside)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _refuse_beside(wanted: Wanted) -> None:
    """ConfigError for values beside the table, which would not be parted with it."""
    beside = {
        "y": wanted.y,
        "sample_weight": None if isinstance(wanted.sample_weight, str) else wanted.sample_weight,
        "exposure": None if isinstance(wanted.exposure, str) else wanted.exposure,
    }
    given = [name for name, value in beside.items() if value is not None]
    if given or wanted.target is None:
        raise ConfigError(
            f"a share of the rows can be set aside where the table holds all that belongs to a row; "
            f"{given[0] if given else 'target'} is not in it. Name a column, or pass calibration=table."
        )
