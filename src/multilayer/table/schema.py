"""The schema of a table: the kind, range and levels of each column; and how another table differs from it."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from multilayer import notebook
from multilayer.errors import ConfigError, DataError, SchemaError, nearest
from multilayer.table.cells import distinct_texts
from multilayer.table.column import Column, Infinite, KindName
from multilayer.table.column_json import column_from_json, column_to_json
from multilayer.table.infer import declare, describe
from multilayer.table.kinds import KINDS, is_as_written, kind_of
from multilayer.table.levels import as_levels, has_lost_digits, is_wide, level_finder
from multilayer.table.odd_cells import without_odd_cells
from multilayer.table.sources.names import column_name, is_index_name, listed, unknown_column
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source

Kinds = Mapping[Any, Any]  # name -> a kind's name, or the levels of an ordered category, lowest first

LEFT_OUT = "left out"
_MOST_SHOWN = 50  # columns of a printed schema
_MOST_NAMED = 30  # columns whose values differ, in an error
MANY_NEW = 2  # levels: one that was never seen comes up by itself
NEARLY = 0.95  # of the cells
FREQUENT = 0.9  # of the levels at fit: where many were rare, new ones are to be expected


@dataclass(frozen=True)
class Schema:
    """The columns that a model uses, in table order, and why it ignores others. `ml.infer_schema` makes one.

    A schema never changes: `replace` and `without` return edited ones. `ml.fit(schema=...)` takes the kinds
    from a schema, and measures ranges and levels again.

    ignored: name -> "constant", "all missing", "no finite value", "left out", or that it is an identifier

    >>> schema = infer_schema({"rooms": [3, 4, 4], "zip": [150, 170, 150], "floor": [1, 1, 1]})
    >>> schema.names, schema["rooms"].high, schema.ignored
    (('rooms', 'zip'), 4.0, {'floor': 'constant'})
    >>> print(schema.replace("zip", kind="category").without("rooms"))
    column  kind      missing  distinct  range or levels
    zip     category        0         2  as declared
    floor   ignored                      constant
    rooms   ignored                      left out
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    columns: tuple[Column, ...]
    ignored: dict[str, str]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the used columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def __getitem__(self, name: str) -> Column:
        if name not in self._by_name:
            ignored = f" It ignores {name!r}: {self.ignored[name]}." if name in self.ignored else ""
            raise SchemaError(f"The schema has no column {name!r}.{ignored or nearest(name, self.names)}")
        return self._by_name[name]

    def replace(
        self,
        name: str,
        *,
        kind: KindName | Sequence[Any] | None = None,
        date_format: str | None = None,
        zone: str | None = None,
        infinite: Infinite | None = None,
    ) -> "Schema":
        """Return a schema in which one column is declared anew; what is not given stays.

        Args:
            name: name of the column.
            kind: "number", "boolean", "category", "ordered", "date", "time", "duration" or "text"; or the
                levels of an ordered category, lowest first. Ranges and levels are measured in `ml.fit`.
            date_format: for dates as text: "ISO 8601", or a pattern of Python's strptime.
            zone: for dates: the time zone whose clock counts, such as "Europe/Oslo" or "+02:00".
            infinite: "error" refuses infinite numbers, "clip" replaces them by the largest and smallest one.

        Raises:
            SchemaError: the schema does not use such a column.
            ConfigError: there is no such kind, or its kind has no such property.

        >>> schema = infer_schema({"size": ["L", "S", "S", "L"], "id": [1, 2, 3, 4]})
        >>> schema.replace("size", kind=["S", "M", "L"])["size"].levels
        ('S', 'M', 'L')
        """
        column = self[name]
        if kind is not None:
            column = replace(declare(name, kind), n_missing=column.n_missing, example=column.example,
                             n_unique=column.n_unique, infinite=column.infinite)  # fmt: skip
        changes: dict[str, Any] = {"date_format": date_format, "zone": zone, "infinite": infinite}
        changes = {key: value for key, value in changes.items() if value is not None}
        for key in changes:
            wanted = [kind.name for kind in KINDS.values() if key in kind.settings]
            if column.kind not in wanted:
                raise ConfigError(
                    f"{key} is for columns of kind {' or '.join(wanted)}; {name!r} is {column.kind}. "
                    "Give its kind too, or leave this out."
                )
        column = replace(column, **changes)
        return Schema(tuple(column if old.name == name else old for old in self.columns), self.ignored)

    def without(self, *names: str) -> "Schema":
        """Return a schema that leaves these columns out; tables to predict may have them or not.

        Raises:
            SchemaError: the schema has no such column.
        """
        left_out = {name: self.ignored.get(name, LEFT_OUT) for name in names}
        for name in left_out.keys() - self.ignored.keys():
            self[name]  # or an error that names the nearest
        kept = tuple(column for column in self.columns if column.name not in left_out)
        return Schema(kept, {**self.ignored, **left_out})

    def to_json(self) -> dict[str, Any]:
        """The schema in dicts, lists, texts and numbers."""
        return {
            "columns": list(map(column_to_json, self.columns)),
            "ignored": dict(self.ignored),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schema":
        """The schema that `to_json` wrote, edited or not.

        Raises:
            ConfigError: a column is described twice or in a way that `kinds` would refuse, too.
        """
        columns = tuple(map(column_from_json, data["columns"]))
        schema = cls(columns, dict(data.get("ignored", {})))
        repeated = [name for name, n in Counter([*schema.names, *schema.ignored]).items() if n > 1]
        if repeated:
            raise ConfigError(
                f"A schema must describe each column once; {listed(repeated)} is there more than once. "
                f"Remove one."
            )
        return schema

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """The schema in a JSON file, as `multilayer schema --out` writes it and a user may have edited it.

        Raises:
            ConfigError: there is no such file, or it holds no schema.
        """
        rule = "A schema must be a JSON file that `multilayer schema --out` wrote, edited or not;"
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except ConfigError:
            raise
        except OSError as error:
            raise ConfigError(f"{rule} {str(path)!r} cannot be read: {error.strerror}.") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{rule} {str(path)!r} holds something else ({error}). Mend it.") from None

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        rows: list[tuple[str, ...]] = [
            (c.name, c.kind, str(c.n_missing), str(c.n_unique), _values_text(c))
            for c in self.columns[:_MOST_SHOWN]
        ]
        rows += [(name, "ignored", "", "", why) for name, why in list(self.ignored.items())[:_MOST_SHOWN]]
        rows += _rest([column.kind for column in self.columns[_MOST_SHOWN:]])
        header = ("column", "kind", "missing", "distinct", "range or levels")
        return notebook.panel(f"Schema of {len(self.columns):,} columns", notebook.table(header, rows))

    def __str__(self) -> str:
        rows = [("column", "kind", "missing", "distinct", "range or levels")]
        rows += [
            (c.name, c.kind, str(c.n_missing), str(c.n_unique), _values_text(c))
            for c in self.columns[:_MOST_SHOWN]
        ]
        rows += _rest([column.kind for column in self.columns[_MOST_SHOWN:]])
        ignored = list(self.ignored.items())
        rows += [(name, "ignored", "", "", reason) for name, reason in ignored[:_MOST_SHOWN]]
        rows += _rest([reason for _, reason in ignored[_MOST_SHOWN:]])
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
            for a, b, c, d, e in rows
        )


def _values_text(column: Column) -> str:
    """Its range or its levels, what is set, and why it is of its kind."""
    return "; ".join(filter(None, (kind_of(column).show(column), column.reason)))


def _rest(kinds: Sequence[str]) -> list[tuple[str, str, str, str, str]]:
    """The row of a printed schema that stands for those that are not shown."""
    if not kinds:
        return []
    counts = ", ".join(f"{count:,} {kind}" for kind, count in Counter(kinds).items())
    return [(f"and {len(kinds):,} more", "", "", "", counts)]


def infer_schema(table: Any, *, kinds: Kinds | None = None, infinite: Infinite = "error") -> Schema:
    """Find the kind of each column: number, boolean, category, ordered, date, time, duration or text.

    If the type of a column says its kind, that decides: an ordered categorical or an enum is ordered, other
    categoricals are categories, a timedelta is a duration. A column of text is boolean if all of it is
    true/false, t/f, yes/no or y/n; number if all of it is numbers (but "01234", with a leading zero, is a
    code); date if all of it is dates of one format; time if it is times of day (08:15); duration if it is
    durations ("1 days 02:00:00"). Numbers may have separators, and a unit that is the same throughout ("3
    kg", "$3", "3 %"). If at most one cell in 20 does not fit, such odd cells count as missing, and are named.
    A column whose values are mostly distinct and mostly of several words is text; all others are categories.

    Args:
        table: anything that `read_table` takes.
        kinds: name -> kind, for columns that would be read as another kind: zip codes written as numbers are
            a category. A list of levels, lowest first, makes an ordered category.
        infinite: "error" refuses infinite numbers; "clip" replaces them by the largest and smallest finite
            one.

    Raises:
        ConfigError: kinds names an unknown column or kind, or a column cannot be read as its kind.
        DataError: a number is infinite, or no column is left to learn from.

    >>> table = {"zip": [94301, 10001, 94301], "sold": ["yes", "no", "no"]}
    >>> [column.kind for column in infer_schema(table).columns]
    ['number', 'boolean']
    >>> infer_schema(table, kinds={"zip": "category"})["zip"].levels
    ('94301',)
    """
    kinds = {column_name(name): kind for name, kind in (kinds or {}).items()}
    declared = {name: declare(name, kind) for name, kind in kinds.items()}
    texts = frozenset(name for name, column in declared.items() if is_as_written(column))
    table = read_source(table, Notation(texts=texts))
    for name in kinds:
        if name not in table.columns:
            raise unknown_column("kinds", name, table.columns)
    table = without_odd_cells(table, declared)
    found = {name: describe(table, name, declared.get(name), infinite) for name in table.names}
    return _of(found, {})


def declared_schema(
    table: Table, schema: Schema, *, infinite: Infinite | None = None, allowed: Collection[str] = ()
) -> Schema:
    """The schema with its kinds, and ranges and levels as they are in this table.

    Args:
        table: columns to learn from.
        schema: what the user declared.
        infinite: what becomes of infinities in every column; None leaves that to each.
        allowed: names that the schema may have beside, such as the target's.

    Raises:
        SchemaError: columns are in one of the two only.
        ConfigError, DataError: as `infer_schema`.

    >>> schema = infer_schema({"zip": [1, 2, 2], "id": [1, 2, 3]}).without("id")
    >>> schema = schema.replace("zip", kind="category")
    >>> table = read_source({"zip": [7, 8, 8, 7], "id": [1, 2, 3, 4]}, Notation())
    >>> declared_schema(table, schema)["zip"].levels
    ('7', '8')
    """
    absent = [name for name in schema.names if name not in table.columns and name not in allowed]
    extra = [name for name in table.names if name not in schema._by_name and name not in schema.ignored]
    problems = list(_differences(absent, extra, "The schema has", "The schema lacks"))
    if problems:
        raise SchemaError("\n".join(problems))
    columns = [column for column in schema.columns if column.name in table.columns]
    table = without_odd_cells(table, {column.name: column for column in columns})
    found = {column.name: describe(table, column.name, column, infinite) for column in columns}
    return _of(found, {name: why for name, why in schema.ignored.items() if name in table.columns})


def _of(found: Mapping[str, Column | str], ignored: Mapping[str, str]) -> Schema:
    """The schema of what was found of each column."""
    columns = tuple(column for column in found.values() if isinstance(column, Column))
    ignored = {**{name: why for name, why in found.items() if isinstance(why, str)}, **ignored}
    if not columns:
        reasons = ", ".join(f"{name!r} ({reason})" for name, reason in list(ignored.items())[:12])
        raise DataError(
            "A model needs at least one column that varies; all columns of this table are ignored: "
            f"{reasons}. Add columns, or more rows."
        )
    return Schema(columns, ignored)


def check(table: Table, schema: Schema, *, allowed_extra: Collection[str] = ()) -> None:
    """Refuse a table that a model fitted on this schema cannot use, and name all that is wrong with it.

    allowed_extra: names that may be there unused, such as the target.

    Raises:
        SchemaError: columns are missing or extra, or values are not of their kind. It names the columns
            and, of each with a wrong value, the first such row (1: the first data row) and its value.

    >>> schema = infer_schema({"rooms": [3, 4]})
    >>> check(read_source({"romos": [3.0]}, Notation()), schema)
    Traceback (most recent call last):
    ...
    multilayer.errors.SchemaError: The model was fitted with the column 'rooms', which this table lacks. ...
    """
    extra = extra_columns(table, schema, allowed_extra)
    absent = [name for name in schema.names if name not in table.columns]
    problems = list(_differences(absent, extra, "The model was fitted with", "The model was fitted without"))
    wrong = list(_wrong_values(table, schema))
    problems += wrong[:_MOST_NAMED]
    if len(wrong) > _MOST_NAMED:
        problems.append(f"So do {len(wrong) - _MOST_NAMED} more columns.")
    if problems:
        raise SchemaError("\n".join(problems))


def extra_columns(table: Table, schema: Schema, allowed: Collection[str] = ()) -> list[str]:
    """Names of columns that were not there at fit; the row numbers that pandas writes into files are none."""
    known = {*schema.names, *schema.ignored, *allowed}
    return [name for name in table.names if name not in known and not is_index_name(name)]


def strange_columns(table: Table, schema: Schema) -> list[str]:
    """A sentence on each category that holds hardly a level of the fit, though these were frequent there."""
    said = []
    for column in schema.columns:
        if not kind_of(column).has_levels or len(column.levels) < FREQUENT * column.n_unique:
            continue
        levels = as_levels(table[column.name])
        distinct = distinct_texts(levels)
        known = level_finder(column.levels)
        new = {level: None for level in distinct if known(level) is None}
        cells = [level for level in levels.tolist() if level is not None]
        if len(new) < MANY_NEW or sum(level in new for level in cells) < NEARLY * len(cells):
            continue
        said.append(
            f"column {column.name!r} holds levels that were not there at fit, such as {listed(new, 3)}, and "
            f"hardly any that were there, such as {listed(column.levels, 3)}"
        )
    return said


def _differences(absent: Sequence[str], extra: Sequence[str], having: str, lacking: str) -> Iterator[str]:
    """A sentence on columns that the table lacks, and one on those that only the table has."""
    if absent:
        many = len(absent) > 1
        hints = "".join(dict.fromkeys(nearest(name, extra) for name in absent[:3]))
        yield (
            f"{having} the column{'s' * many} {listed(absent, 30)}, which this table lacks."
            f"{hints} Add or rename the column{'s' * many}."
        )
    if extra:
        many = len(extra) > 1
        yield (
            f"{lacking} the column{'s' * many} {listed(extra, 30)}, which this table has. "
            f"Drop {'them' if many else 'it'}, or fit again with {'them' if many else 'it'}."
        )


def _wrong_values(table: Table, schema: Schema) -> Iterator[str]:
    """A sentence on each column with a value that is not of its kind."""
    for column in schema.columns:
        if column.name not in table.columns:
            continue
        kind = kind_of(column)
        if not kind.has_numbers:
            if any(map(is_wide, column.levels)) and has_lost_digits(table[column.name]):
                yield (
                    f"Column {column.name!r} held whole numbers beyond 2^53 at fit and holds floats now, "
                    "which have lost their last digits. Keep them whole: as Int64 (pandas), as text, or "
                    "without missing values."
                )
        else:
            try:
                kind.read(column, table[column.name])
            except SchemaError as error:
                yield str(error)
