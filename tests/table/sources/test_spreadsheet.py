"""Spreadsheets are read where openpyxl is installed, and else it is said."""

import datetime as dt
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multilayer import DataError, MissingExtraError, infer_schema, read_table


def test_without_openpyxl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    Path("t.xlsx").write_bytes(b"PK")
    with pytest.raises(MissingExtraError, match=r"reading t\.xlsx needs openpyxl.*pip install openpyxl"):
        read_table("t.xlsx")


class TestWithOpenpyxl:
    @pytest.fixture
    def book(self) -> Any:
        return pytest.importorskip("openpyxl").Workbook()

    def test_a_table_anywhere_on_the_first_sheet_that_has_one(self, book: Any) -> None:
        sheet = book.create_sheet("Data")
        rows = [("n", "when", "c"), (1, dt.datetime(2024, 1, 31), "a"), (2.5, None, " b ")]
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                sheet.cell(3 + row, 2 + column, cell)
        book.save("t.xlsx")

        table = read_table("t.xlsx")

        assert table.names == ("n", "when", "c")
        assert table["n"].tolist() == [1, 2.5] and table["c"].tolist() == ["a", "b"]
        assert table["when"][0] == np.datetime64("2024-01-31")
        assert table.remarks == ("of 2 sheets ('Sheet', 'Data'), 'Data' was read",)

    def test_errors_of_formulas_are_missing_and_named(self, book: Any) -> None:
        for row, cell in enumerate(["n", *range(20), "#DIV/0!"], start=1):
            book.active.cell(row, 1, cell)
        book.save("t.xlsx")
        column = infer_schema("t.xlsx")["n"]
        assert (column.kind, column.reason) == ("number", "1 odd cell is missing: row 21 holds '#DIV/0!'")

    def test_a_sheet_without_names_and_an_empty_one(self, book: Any) -> None:
        book.save("t.xlsx")
        with pytest.raises(DataError, match=r"the spreadsheet 't\.xlsx' is empty"):
            read_table("t.xlsx")
        book.active.append([1, "a"])
        book.save("t.xlsx")
        assert read_table("t.xlsx", header=False)["1"].tolist() == ["a"]

    def test_a_size_that_the_file_only_says_it_has(self, book: Any) -> None:
        for row in (("n", "c"), (1, "a"), (2, "b")):
            book.active.append(row)
        book.save("whole.xlsx")
        with zipfile.ZipFile("whole.xlsx") as whole, zipfile.ZipFile("t.xlsx", "w") as archive:
            for name in whole.namelist():
                archive.writestr(name, whole.read(name).replace(b"A1:B3", b"A1:XFD1048576"))
        table = read_table("t.xlsx")
        assert table["n"].tolist() == [1, 2] and table["c"].tolist() == ["a", "b"]

    def test_one_that_takes_more_than_memory_is_refused(
        self, book: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book.active.append([1, "a"])
        book.save("t.xlsx")
        monkeypatch.setattr("multilayer.table.sources.spreadsheet.total_memory", lambda: 1_000)
        with pytest.raises(DataError, match=r"must fit into memory; 't\.xlsx' takes .* GB unpacked"):
            read_table("t.xlsx")

    def test_a_file_that_is_none(self) -> None:
        pytest.importorskip("openpyxl")
        Path("t.xlsx").write_bytes(b"PK no spreadsheet")
        with pytest.raises(DataError, match=r"'t\.xlsx' cannot be read as a spreadsheet"):
            read_table("t.xlsx")
