"""Spreadsheets (.xlsx) as columns, read by openpyxl where it is installed."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

from multilayer.errors import DataError, MultilayerError, extra
from multilayer.machine import total_memory
from multilayer.table.sources.frames import of_mapping
from multilayer.table.sources.names import column_names, listed
from multilayer.table.sources.values import Columns

_BROKEN = (  # what openpyxl, and what unpacks and parses for it, raise on a damaged file
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)
MOST_ROWS = 1 << 20  # of a sheet
SPREADSHEET_EXTENSIONS = (".xlsx", ".xlsm")


def of_spreadsheet(path: Path, *, has_names: bool = True) -> tuple[Columns, list[str]]:
    """The first sheet that holds anything, its first row as names; and what was done, in words.

    Blank rows and columns around the table are left out; what a formula gave when the file was saved is its
    value.

    Raises:
        DataError: it is no spreadsheet, or holds no table.
        MissingExtraError: openpyxl is not installed.
    """
    openpyxl: Any = extra("openpyxl", needed_by=f"reading {path.name}", install="openpyxl")
    try:
        _refuse_endless(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = {sheet.title: _rows(sheet) for sheet in book.worksheets}
        book.close()
    except MultilayerError:
        raise
    except (*_BROKEN, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise DataError(
            f"{str(path)!r} cannot be read as a spreadsheet: {error}. Check the file, or save it as CSV."
        ) from None
    title = next((title for title, rows in sheets.items() if rows), None)
    if title is None:
        raise DataError(f"A table needs a header and rows; the spreadsheet {str(path)!r} is empty.")
    names, *rows = sheets[title] if has_names else [list(range(len(sheets[title][0]))), *sheets[title]]
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    read = of_mapping(dict(zip(column_names(names), map(list, columns), strict=True)))
    several = f"of {len(sheets)} sheets ({listed(list(sheets), 4)}), {title!r} was read"
    return read, [several] if len(sheets) > 1 else []


def _refuse_endless(path: Path) -> None:
    """A few kilobytes that are packed may become any number of cells."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if 8 * size > total_memory():
        raise DataError(
            f"A table must fit into memory; {str(path)!r} takes {size / 1e9:.1f} GB unpacked, which does "
            "not. Check the file, or save it as CSV and stream it (memory=)."
        )


def _rows(sheet: Any) -> list[list[Any]]:
    """The rows of a sheet that hold anything, from the first column to the last that do."""
    sheet.reset_dimensions()  # what a file says of its size may be wrong by billions of cells
    found = sheet.iter_rows(max_row=MOST_ROWS, values_only=True)
    rows = [list(row) for row in found if any(cell is not None for cell in row)]
    used = [i for row in rows for i, cell in enumerate(row) if cell is not None]
    if not used:
        return []
    first, stop = min(used), max(used) + 1
    return [(row + [None] * stop)[first:stop] for row in rows]
