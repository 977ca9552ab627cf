"""Odd cells are missing, named and counted, in files as in frames, at fit as at prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import multilayer as ml
from multilayer import DataError, TableWarning, infer_schema, read_table
from multilayer.table.odd_cells import as_learnt, as_numbers_of_target, without_odd_cells

TINY: dict[str, Any] = {"epochs": 2, "members": 1, "hidden": 8}
CELLS = [str(k / 4) for k in range(80)]


def of(source: str, cells: list[Any]) -> Any:
    """A column of text and another, in one of several containers."""
    if source == "csv":
        lines = [f"{'' if cell is None else cell},{k % 7}" for k, cell in enumerate(cells)]
        Path("t.csv").write_text("\n".join(["x,z", *lines]) + "\n")
        return "t.csv"
    columns = {"x": cells, "z": [k % 7 for k in range(len(cells))]}
    if source == "records":
        return pd.DataFrame(columns).to_dict("records")
    return {"pandas": pd.DataFrame, "polars": pl.DataFrame, "dict": dict}[source](columns)


@pytest.mark.parametrize("source", ["csv", "pandas", "polars", "dict", "records"])
@pytest.mark.parametrize(
    "odd", ["None", "n/a", "<NA>", "#DIV/0!", "#REF!", "soon", "?", "-", "0000-00-00", "."]
)
def test_one_odd_cell_is_missing_and_named_in_every_container(source: str, odd: str) -> None:
    column = infer_schema(of(source, [*CELLS, odd]))["x"]
    assert (column.kind, column.n_missing, column.high) == ("number", 1, 19.75)
    assert column.reason == f"1 odd cell is missing: row 81 holds {odd!r}"


@pytest.mark.parametrize("source", ["csv", "pandas", "polars", "dict", "records"])
@pytest.mark.parametrize("mark", ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", None])
def test_of_marks_that_everybody_knows_nothing_is_said(source: str, mark: str | None) -> None:
    column = infer_schema(of(source, [*CELLS, mark]))["x"]
    assert (column.kind, column.n_missing, column.reason) == ("number", 1, None)


def test_objects_that_are_no_text_keep_their_column() -> None:
    column = infer_schema({"x": [*np.arange(40) / 4, "x", 3, None], "z": range(43)})["x"]
    assert (column.kind, column.n_missing) == ("number", 2)


def test_several_odd_cells_are_counted_and_the_first_named() -> None:
    odd = {f"odd {k}": k for k in range(4)}
    assert infer_schema(of("dict", [*odd, *CELLS]))["x"].reason == (
        "4 odd cells are missing: row 1 holds 'odd 0', row 2 holds 'odd 1', row 3 holds 'odd 2', and 1 more"
    )


def test_rows_are_counted_through_all_files() -> None:
    Path("a.csv").write_text("x\n" + "\n".join([*CELLS, "None"]) + "\n")
    Path("b.csv").write_text("x\n" + "\n".join(["None", *CELLS]) + "\n")
    assert infer_schema(["a.csv", "b.csv"])["x"].reason == (
        "2 odd cells are missing: row 81 holds 'None', row 82 holds 'None'"
    )


def test_a_fit_says_what_it_passed_over_among_its_decisions() -> None:
    table = of("dict", [*CELLS, "soon"])
    model = ml.fit(table, y=np.arange(81) / 2, **TINY)
    assert model.schema["x"].kind == "number"
    assert (
        "kinds: 'x' is read as number (1 odd cell is missing: row 81 holds 'soon')"
        in model.summary["decisions"]
    )
    clean = ml.fit(of("dict", [*CELLS, None]), y=np.arange(81) / 2, **TINY)
    np.testing.assert_array_equal(model.predict(of("dict", CELLS)), clean.predict(of("dict", CELLS)))


def test_a_fit_names_the_row_as_it_was_given() -> None:
    table = {name: [*values, *values] for name, values in of("dict", [*CELLS, "soon"]).items()}
    model = ml.fit(table, y=[*range(81), *range(81)], **TINY)  # equal rows are merged for training
    assert model.schema["x"].reason == "2 odd cells are missing: row 81 holds 'soon', row 162 holds 'soon'"


def test_a_declared_kind_has_odd_cells_too() -> None:
    table = of("dict", [*CELLS, "soon"])
    assert infer_schema(table, kinds={"x": "number"})["x"].n_missing == 1
    assert infer_schema(table, kinds={"x": "category"})["x"].n_missing == 0
    with pytest.raises(ml.ConfigError, match=r"'x' as number.*row 81 holds 'soon'"):
        infer_schema(of("dict", [*CELLS, *["soon"] * 20]), kinds={"x": "number"})


def test_declared_dates_have_odd_cells_and_the_format_of_the_others() -> None:
    table = {"d": [f"{1 + k % 28:02}/03/2024" for k in range(40)] + ["2024-04-01", "soon"], "z": range(42)}
    for kinds in (None, {"d": "date"}):
        column = infer_schema(table, kinds=kinds)["d"]
        assert (column.kind, column.date_format, column.n_missing) == ("date", "%d/%m/%Y", 1)
        assert column.high == (np.datetime64("2024-04-01") - np.datetime64(0, "D")).astype(int)


def test_declared_numbers_may_have_a_unit() -> None:
    column = infer_schema({"x": ["3 kg", "4 kg"] * 9}, kinds={"x": "number"})["x"]
    assert (column.unit, column.high, column.reason) == ("kg", 4, "as declared; in kg")


def test_at_prediction_a_few_are_missing_and_many_are_left_to_be_refused() -> None:
    schema = infer_schema(of("dict", CELLS))
    table, said = as_learnt(read_table({"x": [*CELLS, "soon"]}), schema.columns)
    assert table["x"][80] is None
    assert said == ["column 'x' was read as number at fit, and 1 odd cell is missing: row 81 holds 'soon'"]
    for cells in (["soon"], ["1", "soon"], [*CELLS, *["soon"] * 9]):
        table, said = as_learnt(read_table({"x": cells}), schema.columns)
        assert "soon" in table["x"] and not said


def test_at_prediction_a_sign_is_what_it_was_at_fit() -> None:
    both = infer_schema({"c": ["+", "-"] * 20, "d": ["a", "b", "-"] * 13 + ["a"]})
    assert (both["c"].levels, both["d"].levels) == (("+", "-"), ("a", "b"))
    table, said = as_learnt(read_table({"c": ["-"], "d": ["-"]}), both.columns)
    assert (table["c"].tolist(), table["d"].tolist(), said) == (["-"], [None], [])


def test_units_are_read_at_prediction_and_other_units_named() -> None:
    model = ml.fit({"w": [f"{k} kg" for k in range(40)]}, y=np.arange(40) / 2, **TINY)
    assert "kinds: 'w' is read as number (in kg)" in model.summary["decisions"]
    expected = model.predict({"w": [3.0, 4.0, 5.0]})
    np.testing.assert_array_equal(model.predict({"w": ["3 kg", "4kg", "5"]}), expected)
    with pytest.warns(TableWarning, match="row 3 holds '5 lb'"):
        assert len(model.predict({"w": ["3 kg", "4 kg", "5 lb"]})) == 3


def test_validation_rows_may_have_odd_cells_and_a_warning_names_them() -> None:
    table, y = of("dict", CELLS), np.arange(80) / 2
    with pytest.warns(TableWarning, match="In the rows to validate on, column 'x' .* row 3 holds 'soon'"):
        ml.fit(table, y=y, validation=({"x": ["1", "2", "soon"], "z": [1, 2, 3]}, [1.0, 2.0, 3.5]), **TINY)


def test_a_table_without_odd_cells_is_as_it_was() -> None:
    table = read_table({"x": ["a", "b", None], "y": [1, 2, 3]})
    clean = without_odd_cells(table, {})
    assert clean.odd == {} and all(clean[name] is table[name] for name in table.names)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_textbook_names_odd_cells_too() -> None:
    frame = pd.DataFrame({"x": [*CELLS, "soon"]})
    net = ml.MLPRegressor(solver="lbfgs", max_iter=2)
    with pytest.warns(
        TableWarning, match="In X, column 'x' was read as number at fit, .* row 81 holds 'soon'"
    ):
        net.fit(frame, np.arange(81) / 2)
    assert net.n_features_in_ == 1 and np.isfinite(net.predict(frame[:80])).all()


class TestTarget:
    NUMBERS = (*(f"{k / 4}" for k in range(80)),)

    def test_numbers_as_text_are_numbers(self) -> None:
        found = as_numbers_of_target(np.array(["$3", "$4.5", "?"] * 8, dtype=object))
        assert found is not None
        assert found[0][:2].tolist() == [3, 4.5] and np.isnan(found[0][2])
        assert found[1] is not None and found[1].n == 8
        assert as_numbers_of_target(np.array(["a", "b"], dtype=object)) is None

    def test_make_a_regression(self) -> None:
        model = ml.fit({"x": range(80), "y": [f"{cell} kg" for cell in self.NUMBERS]}, target="y", **TINY)
        assert model.task.kind == "regression"
        assert "read: the target 'y' holds numbers in kg" in model.summary["decisions"]
        assert model.evaluate({"x": range(80), "y": self.NUMBERS}).keys() >= {"rmse"}
        with pytest.raises(DataError, match=r"'y' holds numbers, and every row needs .* row 11 holds 'soon'"):
            model.evaluate({"x": range(11), "y": [*self.NUMBERS[:10], "soon"]})

    @pytest.mark.parametrize("odd", ["?", "soon", "None"])
    def test_an_odd_cell_is_named_and_its_row_left_out_when_asked(self, odd: str) -> None:
        table = {"x": range(81), "y": [*self.NUMBERS, odd], "w": [1.0] * 81}
        with pytest.raises(DataError, match=f"a target; in 'y', .* row 81 holds '[{odd}]*'.*drop_miss"):
            ml.fit(table, target="y", **TINY)
        model = ml.fit(table, target="y", sample_weight="w", drop_missing_target=True, **TINY)
        assert model.task.kind == "regression"
        assert model.summary["decisions"][0] == (
            f"read: in the target 'y', 1 odd cell is missing: row 81 holds {odd!r}; 1 row without a target "
            f"left out"
        )

    def test_in_another_unit_is_refused(self) -> None:
        model = ml.fit({"x": range(80), "y": [f"{cell} kg" for cell in self.NUMBERS]}, target="y", **TINY)
        model = ml.Model.from_bytes(model.to_bytes())
        expected = model.evaluate({"x": range(80), "y": self.NUMBERS})
        assert model.evaluate({"x": range(80), "y": [f"{cell}kg" for cell in self.NUMBERS]}) == expected
        with pytest.raises(DataError, match="'y' held numbers in kg at fit, and is in lb now"):
            model.evaluate({"x": range(80), "y": [f"{cell} lb" for cell in self.NUMBERS]})

    def test_per_unit_of_an_exposure_is_divided_by_it(self) -> None:
        exposure = [1.0, 2.0] * 40
        options: dict[str, Any] = {"objective": "poisson", "exposure": "e", "target": "y", **TINY}
        text = {"x": range(80), "e": exposure, "y": [f"{k % 5}" for k in range(80)]}
        numbers = text | {"y": [k % 5 for k in range(80)]}
        expected = ml.fit(numbers, **options).predict(numbers)
        np.testing.assert_array_equal(ml.fit(text, **options).predict(numbers), expected)
        odd = text | {"y": [*text["y"][:79], "x"]}
        with pytest.raises(DataError, match="in 'y', 1 odd cell is missing: row 80 holds 'x'"):
            ml.fit(odd, **options)

    def test_of_validation_rows_may_be_text_where_rows_of_the_table_are_left_out(self) -> None:
        table = {"x": range(81), "y": [*self.NUMBERS, "?"]}
        held = {"x": range(5), "y": ["1", "2", "3", "4.5", "5"]}
        options: dict[str, Any] = {"target": "y", "drop_missing_target": True, **TINY}
        assert ml.fit(table, validation=held, **options).summary["rows"] == {"train": 80, "validation": 5}
        with pytest.raises(DataError, match="in 'y', 1 odd cell is missing: row 2 holds 'None'"):
            ml.fit(table, validation={"x": [1, 2], "y": ["1", "None"]}, **options)

    def test_labels_stay_labels(self) -> None:
        assert ml.fit({"x": range(40), "y": ["1", "2"] * 20}, target="y", **TINY).classes == ("1", "2")
        assert ml.fit({"x": range(40), "y": ["+", "-"] * 20}, target="y", **TINY).classes == ("+", "-")
        given = ml.fit({"x": range(40)}, y=np.array([" a", "None"] * 20, dtype=object), **TINY)
        assert given.classes == (" a", "None")  # y is taken as it comes

    def test_of_which_each_row_is_a_class_is_refused(self) -> None:
        with pytest.raises(
            DataError, match="the target 'y', nearly each of the 60 rows has a label of its own"
        ):
            ml.fit({"x": range(60), "y": [f"n{k}" for k in range(60)]}, target="y", **TINY)

    def test_a_missing_label_says_what_to_do(self) -> None:
        table = {"x": range(41), "y": ["a", "b"] * 20 + [None]}
        with pytest.raises(DataError, match=r"1 of 41 have none \(first: row 41\).*--drop-missing-target"):
            ml.fit(table, target="y", **TINY)
        assert ml.fit(table, target="y", drop_missing_target=True, **TINY).classes == ("a", "b")


@pytest.mark.parametrize("mark", ["\\N", "(null)", "<NULL>"])
def test_marks_of_databases_are_missing_in_files_and_frames(mark: str) -> None:
    cells = [mark if i % 5 == 0 else str(i) for i in range(50)]
    Path("t.csv").write_text("n,y\n" + "".join(f"{cell},1\n" for cell in cells))
    for source in ({"n": cells}, "t.csv"):
        column = infer_schema(read_table(source).select(["n"]))["n"]
        assert (column.kind, column.n_missing) == ("number", 10) and repr(mark) in str(column.reason)
