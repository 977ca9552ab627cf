"""What of a model file becomes its encoder: checked before anything is built from it."""

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import are_finite, fits, is_count, need
from multilayer.model.check_fields import Arrays, about, check_fields, short
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.dates import ISO, time_zone
from multilayer.table.encode import Encoder
from multilayer.table.kinds import KINDS
from multilayer.table.steps import RARE
from multilayer.table.target_encoding import LARGEST

MOST_DAYS = 1e8  # from 1970, that datetime64[us] can be
_ABSENT = np.zeros((0, 0), bool)


def check_encoder(values: Any) -> tuple[int, list[int]]:
    """ValueError unless a schema and coders are whole; numbers without those of texts and the target, and
    the number of codes of each category.
    """
    need(isinstance(values, dict), "an object is needed")
    schema, coders = values.get("schema"), values.get("coders")
    need(
        isinstance(schema, dict) and isinstance(coders, list),
        "schema and coders are needed",
    )
    columns, ignored = schema.get("columns"), schema.get("ignored", {})
    need(
        isinstance(columns, list) and len(columns) == len(coders) > 0,
        "each column needs a coder",
    )
    need(fits(ignored, dict[str, str]), "'ignored' must be texts by name")
    for column, coder in zip(columns, coders, strict=True):
        need(
            isinstance(column, dict) and fits(column.get("name"), str),
            "each column needs a name",
        )
        with about(f"column {column['name']!r}"):
            check_column(column)
            _check_coder(coder, column)
    names = [column["name"] for column in columns]
    need(
        len({*names, *ignored}) == len(names) + len(ignored),
        "a column stands there twice",
    )
    stored = [
        KINDS[column["kind"]].coders[coder["coder"]] for column, coder in zip(columns, coders, strict=True)
    ]
    cardinalities = [
        len(coder["levels"]) + RARE + 1 for coder, each in zip(coders, stored, strict=True) if each.has_code
    ]
    statistics = values.get("target", [])
    need(isinstance(statistics, list), "'target' must be a list")
    for statistic in statistics:
        need(isinstance(statistic, dict), "a target statistic must be an object")
        need(fits(statistic.get("column"), str), "a target statistic needs its column")
        for name in ("place", "n_values"):
            need(
                is_count(statistic.get(name)),
                f"a target statistic's {name!r} must be a whole number",
            )
        need("n_edges" in statistic, "a target statistic's 'n_edges' is absent")
        n_edges = statistic["n_edges"]
        need(
            n_edges is None or is_count(n_edges),
            "a target statistic's 'n_edges' must be a whole number",
        )
        need(
            statistic["n_values"] > (n_edges or 0),
            "a target statistic needs a value for each bin",
        )
        need(
            n_edges is not None or statistic["place"] < len(cardinalities),
            "there is no such category",
        )
    n_levels = (len(_levels_of(column)) for column in columns)
    n_numbers = sum(each.n_numbers(*rest) for each, *rest in zip(stored, coders, n_levels, strict=True))
    return len(statistics) + n_numbers, cardinalities


def check_column(values: Any) -> None:
    """ValueError unless these are the fields of a `Column` that a table can be read by."""
    by_frequency = values.get("levels_by_frequency", [])
    need(fits(by_frequency, list[str]), "levels must be texts")
    need(not by_frequency or values.get("kind") == "category", "a category alone has levels by frequency")
    need("levels_by_frequency" not in values or "levels" not in values, "levels are there in two ways")
    check_fields(Column, {name: value for name, value in values.items() if name != "levels_by_frequency"})
    levels = _levels_of(values)
    need(len(set(levels)) == len(levels), "a level stands there twice")
    _check_writing(values.get("thousands", ""), values.get("decimal", "."))
    need(
        min(values.get("n_missing", 0), values.get("n_unique", 0)) >= 0,
        "counts must not be negative",
    )
    low, high = values.get("low"), values.get("high")
    need(
        (low is None) == (high is None) and (low is None or low <= high),
        "'low' is above 'high'",
    )
    is_day = low is None or values["kind"] != "date" or max(abs(low), abs(high)) < MOST_DAYS
    need(is_day, "'low' and 'high' are no dates")
    zone, pattern = values.get("zone"), values.get("date_format")
    if zone not in (None, AS_WRITTEN):
        time_zone(zone)
    if pattern not in (None, ISO):
        _check_pattern(pattern)


def _levels_of(column: dict[str, Any]) -> list[str]:
    """Of a column in JSON; in files of before, those of a category are `levels`, too."""
    levels: list[str] = column.get("levels_by_frequency", column.get("levels", []))
    return levels


def _check_writing(thousands: str, decimal: str) -> None:
    need(len(decimal) == 1 and len(thousands) <= 1, "separators must be a sign")
    need(thousands != decimal, "decimals and thousands must be separated otherwise")


def _check_pattern(pattern: str) -> None:
    """ValueError for what strptime cannot read by."""
    moment = datetime(2003, 2, 1, 14, 5, 6, tzinfo=UTC)
    try:
        datetime.strptime(moment.strftime(pattern), pattern)
    except (ValueError, re.error, LookupError, TypeError) as error:
        raise ValueError(f"dates cannot be written as {short(pattern)}") from error


def _check_coder(values: Any, column: dict[str, Any]) -> None:
    need(isinstance(values, dict), "a coder must be an object")
    name = values.get("coder")
    need(type(name) is str, f"there is no coder {name!r}")
    need(any(name in kind.coders for kind in KINDS.values()), f"there is no coder {name!r}")
    coders = KINDS[column["kind"]].coders
    need(name in coders, f"a column of kind {column['kind']} has no coder {name!r}")
    coders[name].check(values)


def check_encoder_arrays(values: dict[str, Any], arrays: Arrays) -> None:
    """ValueError unless the encoder's arrays are those that its JSON, already checked, speaks of."""
    arrays = dict(arrays)
    coders, statistics = values["coders"], values.get("target")
    n_knots = sum(coder.get("n_knots", 0) for coder in coders)
    knots, places = (_floats(arrays, name, n_knots) for name in ("knots", "places"))
    start = 0
    for n in (coder.get("n_knots", 0) for coder in coders):
        part = slice(start, start + n)
        need((np.diff(knots[part]) > 0).all(), "knots must rise")
        need(
            (np.diff(places[part]) >= 0).all() and (np.abs(places[part]) <= 1).all(),
            "places must rise",
        )
        start += n
    for i, (coder, column) in enumerate(zip(coders, values["schema"]["columns"], strict=True)):
        name = coder["coder"]
        stored = KINDS[column["kind"]].coders[name]
        own = {each: arrays.pop(f"{name}.{i}.{each}", _ABSENT) for each in stored.own_arrays}
        with about(f"{name} {i}"):
            stored.check_arrays(coder, own)
    if statistics is not None:
        edges = _floats(arrays, "target_edges", sum(plan["n_edges"] or 0 for plan in statistics))
        found = _floats(arrays, "target_values", sum(plan["n_values"] for plan in statistics))
        need((np.abs(found) <= LARGEST).all(), "target statistics are too large")
        start = 0
        for plan in statistics:
            n = plan["n_edges"] or 0
            need((np.diff(edges[start : start + n]) >= 0).all(), "edges must rise")
            start += n
    need(not arrays, f"the encoder has no array {next(iter(arrays), None)!r}")


def _floats(arrays: dict[str, NDArray[Any]], name: str, n: int) -> NDArray[np.float64]:
    """Take so many finite float64 out of the arrays."""
    array = arrays.pop(name, _ABSENT)
    need(are_finite(array, np.float64, (n,)), f"{name!r} must be {n:,} finite float64")
    return np.asarray(array)


def check_statistics(encoder: Encoder) -> None:
    """ValueError unless target statistics of numbers are of numbers that are there."""
    n_coded = sum(feature.channel != "target" for feature in encoder.num_features)
    for statistic in encoder.target_encoding.statistics if encoder.target_encoding else ():
        need(
            statistic.edges is None or statistic.place < n_coded,
            "a target statistic has no column",
        )
