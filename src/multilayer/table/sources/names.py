"""Names of columns: text, without blanks around it, all different."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from multilayer.errors import ConfigError, DataError, nearest


def column_name(name: Any) -> str:
    """The text that a column is called by, whatever its source calls it.

    A tuple, as in the MultiIndex of pandas, is joined by dots; a whole float is written as an integer.

    >>> column_name(" age "), column_name(3), column_name(3.0), column_name(("size", "", "width"))
    ('age', '3', '3', 'size.width')
    """
    if isinstance(name, tuple):
        return ".".join(part for part in map(column_name, name) if part)
    if name is None or name != name:
        return ""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return str(name).strip()


_NUMBER = re.compile(r"[+-]?\d*\.?\d+", re.ASCII)
_INDEX_NAMES = re.compile(r"Unnamed: 0(\.\d+)*(_level_\d+)?|__index_level_\d+__")


def is_index_name(name: str) -> bool:
    """Whether pandas, or a reader of its files, calls the row numbers of a frame so.

    >>> is_index_name("Unnamed: 0"), is_index_name("__index_level_0__"), is_index_name("index")
    (True, True, False)
    """
    return _INDEX_NAMES.fullmatch(name) is not None


def column_names(names: Iterable[Any]) -> list[str]:
    """`column_name` of each; one without a name is called by its place, as pandas does in reading a file.

    Raises:
        DataError: two columns have the same name.

    >>> column_names(["a", "", None])
    ['a', 'Unnamed: 1', 'Unnamed: 2']
    """
    texts = [column_name(name) or f"Unnamed: {place}" for place, name in enumerate(names)]
    refuse_duplicates(texts)
    return texts


def refuse_duplicates(names: Sequence[str]) -> None:
    """DataError if a name occurs twice: which of the two is meant later could only be guessed."""
    repeated = {name: count for name, count in Counter(names).items() if count > 1}
    if repeated:
        name, count = next(iter(repeated.items()))
        raise DataError(
            f"Column names must differ; {listed(repeated)} occurs more than once: {name!r} {count} times "
            "(blanks around names do not count). Rename one or leave it out; in pandas, "
            f"frame.loc[:, ~frame.columns.duplicated()] keeps the first of each.{_if_no_names(names)}"
        )


def _if_no_names(names: Sequence[str]) -> str:
    """What to do where names are numbers, as the first row of a file without a header is."""
    n = sum(_NUMBER.fullmatch(name) is not None for name in names)
    return " If the file has no header, pass header=False (--no-header)." if 2 * n >= len(names) else ""


def listed(names: Collection[str], limit: int = 12) -> str:
    """Names for an error message, cut short when there are many.

    >>> listed(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in list(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def require_columns(wanted: Iterable[str], names: Collection[str], *hints: str) -> None:
    """DataError if one of the wanted columns is not among these names; hints: what may explain it."""
    for name in wanted:
        if name not in names:
            raise DataError(
                f"The table has no column {name!r}.{nearest(name, names)} Its columns: {listed(names)}."
                f"{''.join(f' {hint}' for hint in hints)}"
            )


def unknown_column(setting: str, name: str, names: Collection[str]) -> ConfigError:
    """The error of a setting for a column that is not among these names."""
    return ConfigError(
        f"{setting} names the column {name!r}, which the table does not have."
        f"{nearest(name, names)} Its columns: {listed(names)}."
    )


def unusable(name: str, what: str) -> DataError:
    """The error of a column whose values a table cannot hold."""
    return DataError(
        f"Column {name!r} holds {what}; a column must hold numbers, booleans, text, dates, lists of numbers "
        f"or dicts of these. Leave it out (drop=[{name!r}]), or turn it into such columns."
    )
