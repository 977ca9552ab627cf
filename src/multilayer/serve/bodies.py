"""Bodies of requests to `/predict` in each format, as rows; and answers in each format."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import StringIO
from typing import Any

import numpy as np

from multilayer.errors import MissingExtraError, extra
from multilayer.serve.errors import Problem, RowError
from multilayer.serve.limits import Limits
from multilayer.serve.row_schema import RowSchema, install, list_of
from multilayer.serve.rows import Predicted, Rows, shown, wrong_cell
from multilayer.table.kinds import kind_of
from multilayer.table.sources.names import column_name

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
NAMES = {JSON: "JSON", NDJSON: "NDJSON", CSV: "CSV", ARROW: "Arrow"}
ALIASES = {
    "application/jsonl": NDJSON,
    "application/jsonlines": NDJSON,
    "application/x-jsonlines": NDJSON,
    "application/ndjson": NDJSON,
    "text/json": JSON,
}
_WHERE = re.compile(r" - at `\$(?:\[\d+\])?(?:\.(.*))?`$", re.DOTALL)


@dataclass(frozen=True)
class Body:
    """The rows of a body, and the form that they had: the answer has the same.

    form: "row" for one object, "rows" for a list, "columns" for an object of lists
    """

    rows: Rows
    form: str
    row: Mapping[str, Any] | None = None  # the only one, of plain values


class BodyReader:
    """Reads bodies for one model.

    Args:
        schema: of its rows.
        limits: of requests.
    """

    def __init__(self, schema: RowSchema, limits: Limits) -> None:
        self.msgspec: Any = install()
        self.schema, self.limits = schema, limits
        decoder = self.msgspec.json.Decoder
        self._any, self._row, self._rows = decoder(), decoder(schema.row), decoder(list_of(schema.row))
        self._columns = decoder(schema.table) if schema.is_flat else None

    def read(self, content_type: str, body: bytes) -> Body:
        """The rows of a body.

        Raises:
            Problem: it cannot be read, or is none of rows.
        """
        kind = ALIASES.get(content_type, content_type)
        if kind not in READERS:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"A body must be {', '.join(READERS)}; Content-Type is {content_type!r}. Name what is sent, "
                "as curl does by -H 'Content-Type: application/json'.",
            )
        found = READERS[kind](self, body)
        self.check_rows(found.rows.n_rows)
        return found

    def check_rows(self, n_rows: int) -> None:
        """Refuse too many rows, and none."""
        if n_rows > self.limits.rows:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A request may have {self.limits.rows:,} rows; got {n_rows:,}. Send several requests.",
            )
        if not n_rows:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "A request must have at least one row; got none. Add rows."
            )

    def decoded(self, body: bytes, decoder: Any = None) -> Any:
        """JSON as plain values, or as a decoder's type.

        Raises:
            Problem: it is malformed, nested too deep, or holds a number that is none.
            msgspec.ValidationError: it is not of the decoder's type.
        """
        try:
            return (decoder or self._any).decode(body)
        except RecursionError:
            raise self._too_deep() from None
        except (self.msgspec.DecodeError, UnicodeError) as error:
            if decoder is not None and isinstance(error, self.msgspec.ValidationError):
                raise
            raise Problem(
                HTTPStatus.BAD_REQUEST, f"The body must be JSON; it cannot be read: {error}. Mend it."
            ) from None

    def _too_deep(self) -> Problem:
        return Problem(
            HTTPStatus.BAD_REQUEST,
            f"JSON may have {self.limits.depth} levels of lists and objects; this has more. Flatten it.",
        )

    def check_depth(self, value: Any) -> None:
        """Refuse values that are nested deeper than the limit."""
        level, depth = [value], 0
        while level := [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, list | dict)
        ]:
            depth += 1
            if depth >= self.limits.depth:
                raise self._too_deep()

    # rows

    def of_row(self, struct: Any) -> Mapping[str, Any]:
        """A row that a decoder made, by the names of its columns."""
        if not self.schema.is_flat:
            return dict(struct)
        return dict(zip(self.schema.names, self.schema.values(struct), strict=True))

    def of_structs(self, structs: list[Any], errors: Iterable[RowError] = (), n_rows: int | None = None,
                   places: list[int] | None = None) -> Rows:  # fmt: skip
        """Rows that a decoder made, column by column."""
        if not self.schema.is_flat:
            columns: dict[str, list[Any]] = {}
            for i, row in enumerate(structs):
                for name in row:
                    if name not in columns:
                        columns[name] = [None] * i
                for name, cells in columns.items():
                    cells.append(row.get(name))
        else:
            cells_of = zip(*map(self.schema.values, structs), strict=True)
            columns = {name: list(cells) for name, cells in zip(self.schema.names, cells_of, strict=True)}
        return Rows(columns, len(structs) if n_rows is None else n_rows, tuple(errors), places)

    def of_records(self, records: list[Any]) -> Rows:
        """Rows as plain values, each checked by itself."""
        structs, errors, places = [], [], []
        for i, record in enumerate(records):
            try:
                structs.append(self.msgspec.convert(record, self.schema.row))
                places.append(i)
            except self.msgspec.ValidationError as error:
                errors += self.errors_of(record, i + 1, str(error))
        if not structs:
            return Rows({name: [] for name in self.schema.names}, len(records), tuple(errors), [])
        return self.of_structs(structs, errors, len(records), places)

    def errors_of(self, record: Any, row: int, said: str) -> list[RowError]:
        """All that is wrong with a row that a decoder refused."""
        if not isinstance(record, dict):
            return [
                RowError(row, f"A row must be an object of columns and values; got {shown(record)}. Mend it.")
            ]
        if not self.schema.is_flat:
            return [RowError(row, f"{said}. Mend it.")]
        errors = []
        for name, rule in self.schema.rules.items():
            if name not in record:
                errors.append(
                    RowError(row, f"Column {name!r} is absent. Add it, with null if missing.", name)
                )
                continue
            try:
                self.msgspec.convert(record[name], rule.kind)
            except self.msgspec.ValidationError:
                errors.append(RowError(row, self.wrong(name, record[name]), name))
        known = {*self.schema.names, *self.schema.beside}
        if self.schema.refuse_extra:
            errors += [
                RowError(row, f"The model does not know a column {name!r}. Leave it out.", name)
                for name in record
                if name not in known
            ]
        return errors or [RowError(row, f"{said}. Mend it.")]

    def wrong(self, name: str, cell: Any) -> str:
        """What is wrong with a cell of a column."""
        column = next((each for each in self.schema.columns if each.name == name), None)
        if column is None:
            return f"Column {name!r} must hold a number; got {shown(cell)}. Mend it."
        if kind_of(column).has_levels:
            return f"Column {name!r} must hold one value, text as a rule; got {shown(cell)}. Mend it."
        return wrong_cell(column, cell)

    # columns

    def of_columns(self, columns: Any) -> Rows:
        """Columns as plain values, checked cell by cell."""
        if not isinstance(columns, dict) or not all(isinstance(cells, list) for cells in columns.values()):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "Columns must be an object of names and lists of values, one for each row. Mend them.",
            )
        lengths = {name: len(cells) for name, cells in columns.items()}
        if len(set(lengths.values())) > 1:
            first = next(iter(lengths))
            other = next(name for name in lengths if lengths[name] != lengths[first])
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"All columns must have as many values; {first!r} has {lengths[first]} and {other!r} has "
                f"{lengths[other]}. Mend them.",
            )
        n_rows = next(iter(lengths.values()), 0)
        self.check_rows(n_rows)
        if not self.schema.is_flat:
            self.check_depth(columns)
            return Rows(columns, n_rows)
        errors: list[RowError] = []
        checked: dict[str, list[Any]] = {}
        for name, cells in columns.items():
            rule = self.schema.rules.get(name)
            if rule is None:
                checked[name] = [None] * n_rows
                continue
            try:
                checked[name] = self.msgspec.convert(cells, list_of(rule.kind))
            except self.msgspec.ValidationError:
                checked[name] = cells
                for i, cell in enumerate(cells):
                    try:
                        self.msgspec.convert(cell, rule.kind)
                    except self.msgspec.ValidationError:
                        errors.append(RowError(i + 1, self.wrong(name, cell), name))
        return without_rows(checked, n_rows, errors)


def without_rows(columns: Mapping[str, list[Any]], n_rows: int, errors: list[RowError]) -> Rows:
    """Columns without the rows that have errors."""
    if not errors:
        return Rows(columns, n_rows)
    bad = {error.row - 1 for error in errors}
    places = [i for i in range(n_rows) if i not in bad]
    kept = {name: [cells[i] for i in places] for name, cells in columns.items()}
    return Rows(kept, n_rows, tuple(sorted(errors, key=lambda error: error.row)), places)


# Readers


def _of_json(reader: BodyReader, body: bytes) -> Body:
    start = body.lstrip(b" \t\r\n")[:1]
    try:
        if start == b"[":
            structs = reader.decoded(body, reader._rows)
            reader.check_rows(len(structs))
            if len(structs) == 1:
                row = _plain_row(reader, structs[0])
                return Body(Rows.of_row(row), "rows", row)
            if not reader.schema.is_flat:
                reader.check_depth(structs)
            return Body(reader.of_structs(structs), "rows")
        row = _plain_row(reader, reader.decoded(body, reader._row))
        return Body(Rows.of_row(row), "row", row)
    except reader.msgspec.ValidationError as error:
        said = str(error)
    if start == b"{" and reader._columns is not None:
        try:
            struct = reader.decoded(body, reader._columns)
            columns = dict(zip(reader.schema.names, reader.schema.values(struct), strict=True))
            return Body(reader.of_columns(columns), "columns")
        except reader.msgspec.ValidationError:
            pass
    plain = reader.decoded(body)
    if isinstance(plain, list):
        reader.check_rows(len(plain))
        return Body(reader.of_records(plain), "rows")
    if isinstance(plain, dict):
        wanted = [plain[name] for name in reader.schema.names if name in plain]
        if wanted and all(isinstance(cells, list) for cells in wanted):
            return Body(reader.of_columns(plain), "columns")
        errors = tuple(reader.errors_of(plain, 1, said))
        return Body(Rows({name: [] for name in reader.schema.names}, 1, errors, []), "row")
    raise Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"The body must be a row (an object), a list of rows, or an object of columns; got {shown(plain)}. "
        "GET /schema tells what a row holds.",
    )


def _plain_row(reader: BodyReader, struct: Any) -> Mapping[str, Any]:
    row = reader.of_row(struct)
    if not reader.schema.is_flat:
        reader.check_depth(row)
    return row


def _of_ndjson(reader: BodyReader, body: bytes) -> Body:
    lines = [line for line in body.split(b"\n") if line.strip()]
    reader.check_rows(len(lines))
    structs, errors, places = [], [], []
    for i, line in enumerate(lines):
        try:
            structs.append(reader.decoded(line, reader._row))
            places.append(i)
        except reader.msgspec.ValidationError as error:
            errors += reader.errors_of(reader.decoded(line), i + 1, str(error))
        except Problem as problem:
            errors.append(RowError(i + 1, problem.detail.replace("The body", "A line")))
    if not reader.schema.is_flat:
        reader.check_depth(structs)
    if not structs:
        return Body(Rows({name: [] for name in reader.schema.names}, len(lines), tuple(errors), []), "rows")
    return Body(reader.of_structs(structs, errors, len(lines), places), "rows")


def _of_csv(reader: BodyReader, body: bytes) -> Body:
    try:
        text = body.decode("utf-8-sig")
        lines = [row for row in csv.reader(StringIO(text, newline=""), strict=True) if row]
    except UnicodeError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"CSV must be in UTF-8; {error}. Send it so.") from None
    except csv.Error as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body must be CSV; {error}. Mend it.") from None
    if not lines:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "CSV must begin with names of columns; got nothing.")
    names = [column_name(name) for name in lines[0]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"Each column must have a name of its own; {twice!r} is there twice. Rename one.",
        )
    cells = lines[1:]
    reader.check_rows(len(cells))
    errors = [
        RowError(i + 1, f"A row must have {len(names)} cells, as many as there are names; got {len(row)}.")
        for i, row in enumerate(cells)
        if len(row) != len(names)
    ]
    filled = (row if len(row) == len(names) else [""] * len(names) for row in cells)
    columns = {
        name: [cell or None for cell in column]
        for name, column in zip(names, zip(*filled, strict=True), strict=True)
    }
    return Body(without_rows(columns, len(cells), errors), "rows")


def _of_arrow(reader: BodyReader, body: bytes) -> Body:
    arrow = _pyarrow()
    try:
        table = arrow.ipc.open_stream(body).read_all()
        table.validate(full=True)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The body must be a stream of Arrow; it cannot be read: {error}."
        ) from None
    reader.check_rows(table.num_rows)
    names = [column_name(name) for name in table.column_names]
    if len(set(names)) < len(names):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Each column of Arrow must have a name of its own.")
    columns = {name: _values(arrow, table.column(i)) for i, name in enumerate(names)}
    return Body(Rows(columns, table.num_rows), "rows")


def _values(arrow: Any, column: Any) -> Any:
    kind = column.type
    if (arrow.types.is_floating(kind) or arrow.types.is_integer(kind)) and not column.null_count:
        return column.to_numpy()
    return column.to_pylist()


def _pyarrow() -> Any:
    try:
        extra("pyarrow.ipc", needed_by="Arrow in requests", install="pyarrow")
        return extra("pyarrow", needed_by="Arrow in requests", install="pyarrow")
    except MissingExtraError as error:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{error}, where the server runs.") from None


READERS: Mapping[str, Callable[[BodyReader, bytes], Body]] = {
    JSON: _of_json,
    NDJSON: _of_ndjson,
    CSV: _of_csv,
    ARROW: _of_arrow,
}


# Writers


def records_of(predicted: Predicted) -> list[dict[str, Any]]:
    """One object for each row of the request; of a row with errors, these."""
    columns = predicted.columns
    made = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not predicted.errors:
        return made
    records: list[dict[str, Any]] = [{"errors": errors} for errors in predicted.errors_of_rows()]
    for place, record in zip(predicted.places, made, strict=True):
        records[place] = record
    return records


def columns_of(predicted: Predicted) -> dict[str, list[Any]]:
    """The columns of an answer; null in rows with errors, which have a column of their own."""
    errors = {"errors": predicted.errors_of_rows()} if predicted.errors else {}
    return {**predicted.filled(), **errors}


def _to_json(msgspec: Any, form: str, predicted: Predicted) -> bytes:
    if form == "columns":
        return msgspec.json.encode(columns_of(predicted))
    records = records_of(predicted)
    return msgspec.json.encode(records[0] if form == "row" else records)


def _to_ndjson(msgspec: Any, form: str, predicted: Predicted) -> bytes:
    return msgspec.json.Encoder().encode_lines(records_of(predicted))


def _to_csv(msgspec: Any, form: str, predicted: Predicted) -> bytes:
    columns = _flat_columns(predicted)
    file = StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().encode()


def _to_arrow(msgspec: Any, form: str, predicted: Predicted) -> bytes:
    arrow = _pyarrow()
    table = arrow.table(_flat_columns(predicted))
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _flat_columns(predicted: Predicted) -> dict[str, list[Any]]:
    """The columns of an answer in a format without objects: errors are text."""
    columns = predicted.filled()
    if not predicted.errors:
        return columns
    of_rows = predicted.errors_of_rows()
    texts = [None if each is None else " ".join(e["message"] for e in each) for each in of_rows]
    return {**columns, "errors": texts}


WRITERS: Mapping[str, Callable[[Any, str, Predicted], bytes]] = {
    JSON: _to_json,
    NDJSON: _to_ndjson,
    CSV: _to_csv,
    ARROW: _to_arrow,
}


def as_array(values: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """A column of an answer as an array: object for texts."""
    if any(isinstance(value, str) or value is None for value in values):
        return np.array(values, dtype=object)
    return np.array(values)
