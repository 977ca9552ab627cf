"""The schema of a table on disk: kinds from a sample, checked against every text; the rest counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from multilayer.errors import ConfigError, DataError
from multilayer.table.column import Column, Infinite
from multilayer.table.infer import IDENTIFIED, IDENTIFIER, ROW_NUMBERS
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.ordered import check_order
from multilayer.table.levels import as_levels
from multilayer.table.on_disk import StoredTable, Texts, as_in_table, numbers_of
from multilayer.table.schema import Kinds, Schema, declared_schema, infer_schema
from multilayer.table.sources.read import Table
from multilayer.table.text_kind import SIGN_MARKS, are_few


def describe(
    table: StoredTable,
    names: Sequence[str],
    sample: Table,
    kinds: Kinds | None = None,
    declared: Schema | None = None,
    infinite: Infinite = "error",
    allowed: Collection[str] = (),
) -> Schema:
    """The schema of all rows: kinds from the sample, checked against every text; the rest counted exactly.

    Only the number of distinct values of numbers and dates is an estimate, within some per cent, and the
    number of words of text, which is that of the sample.

    declared: goes before `kinds`; what it ignores is not in the table.
    allowed: names that it may have beside, such as the target's.

    Raises:
        DataError, ConfigError: as `infer_schema`.
    """
    features = sample.select(names)
    if declared is not None:
        over = None if infinite == "error" else infinite
        schema = declared_schema(features, declared, infinite=over, allowed=allowed)
        given = set(declared.names)
    else:
        schema = infer_schema(features, kinds=kinds, infinite=infinite)
        given = set(kinds or {})
    texts, strange, odd = {}, {}, {}
    for column in schema.columns:
        if not table.is_text(column.name):
            continue
        kind = kind_of(column)
        if not kind.has_numbers:
            table.clear(column.name, table.signs(column.name) if kind.finds_levels else frozenset())
            continue
        read = texts[column.name] = table.read_texts(replace(column, low=None, high=None))
        if are_few(read.n_odd, read.n_cells):
            table.clear(column.name, read.odd | SIGN_MARKS)
            odd[column.name] = _odd_in_words(read)
        elif column.name in given:
            raise ConfigError(
                f"kinds declares column {column.name!r} as {column.kind}; it also holds "
                f"{min(read.odd)!r}. Mend the values or leave them empty, or declare another kind."
            )
        else:
            strange[column.name] = (
                f"{column.kind}s but for {read.n_odd:,} of its cells, such as {min(read.odd)!r}"
            )
    told_apart = [name for name, why in schema.ignored.items() if why.startswith(IDENTIFIER)]
    levels = [name for name in told_apart if _repeats(table, name)]
    strange |= dict.fromkeys(levels, "")
    if strange:
        categories = {**(kinds or {}), **dict.fromkeys(strange, "category")}
        schema = infer_schema(features, kinds=categories, infinite=infinite)
    schema = Schema(tuple(_with_reasons(column, strange, odd) for column in schema.columns), schema.ignored)
    ignored = {}
    for name, reason in schema.ignored.items():
        facts = table.facts(name)
        is_so = facts.n_missing == table.n_rows or (facts.low == facts.high and facts.n_missing == 0)
        is_so = is_so or reason.startswith((IDENTIFIER, ROW_NUMBERS))
        ignored[name] = reason if is_so else f"{reason} in nearly all rows"
    columns = (_counted(table, column, texts.get(column.name)) for column in schema.columns)
    return Schema(tuple(columns), ignored)


def _repeats(table: StoredTable, name: str) -> bool:
    """Whether values that all differ in the sample occur again in all rows; the count is an estimate."""
    facts = table.facts(name)
    return facts.n_unique < 0.9 * IDENTIFIED * (table.n_rows - facts.n_missing)


def _odd_in_words(read: Texts) -> str:
    if not read.n_odd:
        return ""
    cells = "1 odd cell is" if read.n_odd == 1 else f"{read.n_odd:,} odd cells are"
    return f"{cells} missing, such as {min(read.odd)!r}"


def _with_reasons(column: Column, strange: Mapping[str, str], odd: Mapping[str, str]) -> Column:
    """The column with what was seen of all rows, instead of those of the sample."""
    if column.name in strange:
        return replace(column, reason=strange[column.name] or None)
    if column.name not in odd:
        return column
    parts = [part for part in (column.reason or "").split("; ") if part and " odd cell" not in part]
    return replace(column, reason="; ".join([*parts, *filter(None, [odd[column.name]])]) or None)


def _counted(table: StoredTable, column: Column, texts: Texts | None) -> Column:
    facts = table.facts(column.name)
    if facts.n_infinite and column.infinite == "error":
        raise DataError(
            f"A number must be finite; column {column.name!r} holds {facts.n_infinite:,} infinite values. "
            "Replace infinities by missing values or by a limit, or fit with infinite='clip'."
        )
    column = replace(column, n_missing=facts.n_missing)
    kind = kind_of(column)
    if kind.has_order:
        found = as_levels(table.distinct(column.name, len(column.levels) + 1)).tolist()
        check_order(column, found)
        return replace(column, n_unique=len(found))
    if kind.has_levels:
        n_unique, levels = table.levels(column)
        return replace(column, n_unique=n_unique, levels=levels)
    if column.low is None or column.high is None:
        return column
    column = replace(column, n_unique=max(column.n_unique, facts.n_unique))
    if not kind.has_numbers:
        return column
    if texts is not None:
        return replace(column, low=texts.low, high=texts.high)
    numbers = numbers_of(column, as_in_table(column.name, np.array([facts.low, facts.high])))
    return replace(column, low=float(numbers[0]), high=float(numbers[1]))
