import json

import numpy as np
import pytest

from multilayer.errors import ConfigError, DataError, SchemaError
from multilayer.table.encode import Encoder
from multilayer.table.schema import Schema, check, infer_schema, strange_columns
from multilayer.table.sources.read import Table, read_table


def infer(values, kind=None):
    """The Column that a list of values gives."""
    return infer_schema(read_table({"c": values}), kinds={"c": kind} if kind else None)["c"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "number"),
        ([1.5, 2.0], "number"),
        ([0, 1, 1], "number"),
        (["1", "2.5", " -3e2 ", None], "number"),
        ([True, False], "boolean"),
        ([True, None, False], "boolean"),
        (["true", "FALSE", "True"], "boolean"),
        (["t", "f"], "boolean"),
        (["Yes", "No", None], "boolean"),
        (["y", "N"], "boolean"),
        (["yes", "no", "maybe"], "category"),
        (["t", "no"], "category"),
        (["F", "M"], "category"),
        (["01234", "98178"], "category"),
        (["1", "2", "x"], "category"),
        (["1_000", "2_000"], "category"),
        (["may", "jun"], "category"),
        (["2024", "may 3"], "category"),
    ],
)
def test_kinds_are_inferred(values, kind):
    assert infer(values).kind == kind


def test_columns_know_what_was_seen():
    number = infer([3, 1, 2, 2])
    assert (number.low, number.high, number.n_unique, number.n_missing, number.example) == (
        1.0,
        3.0,
        3,
        0,
        "3",
    )
    category = infer(["b", "a", None, "b", "rare", "a", "c", "c", "c"])
    assert (category.levels, category.n_unique, category.n_missing) == (("c", "a", "b"), 4, 1)
    date = infer(["1970-01-02", "1970-01-11 12:00"])
    assert (date.low, date.high) == (1.0, 10.5)


def test_columns_without_information_are_ignored():
    constant = {"same": [1, 1], "word": ["x", "x"], "none": [None, None]}
    table = read_table({**constant, "x": [1, 2], "half": [7, None]})
    schema = infer_schema(table)
    assert schema.names == ("x", "half")
    assert schema.ignored == {"same": "constant", "word": "constant", "none": "all missing"}


def test_no_usable_column_is_an_error():
    with pytest.raises(DataError, match=r"are ignored: 'a' \(constant\), 'b' \(all missing\)"):
        infer_schema(read_table({"a": [1, 1], "b": [None, None]}))


def test_kinds_override_what_is_inferred():
    assert infer([3.0, 1.0, 3.0, None, 1.0, 2.5, 2.5], "category").levels == ("1", "2.5", "3")
    assert infer([True, False, True, False], "category").levels == ("false", "true")
    assert infer(["01234", "98178"], "number").high == 98178
    assert infer([0, 1], "boolean").kind == "boolean"
    assert infer(["1", "0"], "boolean").kind == "boolean"
    assert infer([20240131, 20240201], "date").low == 19753
    assert infer([True, False], "number").high == 1.0


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (
            ["a", "b"],
            "number",
            "kinds declares column 'c' as number. .* a number in every row; row 1 holds 'a'",
        ),
        (["1", "b"], "number", "row 2 holds 'b'"),
        (["a", "b"], "date", "must hold a date in every row; row 1 holds 'a'"),
        ([1.5, 2.0], "date", "row 1 holds '1.5'"),
        ([2023, 2024], "date", "row 1 holds '2023'"),
        ([True, False], "date", "row 1 holds 'true'"),
        ([0, 1, 2], "boolean", "must hold true or false in every row; row 3 holds '2'"),
        (["yes", "no", "maybe"], "boolean", "row 3 holds 'maybe'"),
        (
            np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[us]"),
            "number",
            "row 1 holds '2024-01-01'",
        ),
        ([1, 2], "numeric", "kind must be one of number, .*, text, or a list of levels .*; got 'numeric'"),
    ],
)
def test_refuses_a_kind_that_cannot_be(values, kind, message):
    with pytest.raises(ConfigError, match=message):
        infer(values, kind)


def test_refuses_kinds_of_unknown_columns():
    with pytest.raises(ConfigError, match=r"names the column 'zpi', which .* Did you mean 'zip'\?"):
        infer_schema(read_table({"zip": [1, 2]}), kinds={"zpi": "category"})


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_refuses_infinities(infinity):
    table = read_table({"ok": [1.0, 2.0, 3.0], "bad": [1.0, infinity, 3.0]})
    with pytest.raises(DataError, match=rf"finite; column 'bad' holds {infinity} in row 2") as caught:
        infer_schema(table)
    assert not isinstance(caught.value, SchemaError)
    schema = infer_schema(read_table({"ok": [1.0, 2.0], "bad": [1.0, 2.0]}))
    with pytest.raises(SchemaError, match=r"finite; column 'bad' holds .* in row 2"):
        check(table, schema)


TRAINING = {
    "age": [30, None, 40],
    "city": ["Oslo", "Rome", "Oslo"],
    "sold": ["yes", "no", None],
    "when": ["1/31/2024", "2/28/2024", None],
    "none": [None, None, None],
}


@pytest.fixture
def schema():
    return infer_schema(read_table(TRAINING))


def test_the_training_table_passes(schema):
    check(read_table(TRAINING), schema)
    check(read_table({**TRAINING, "price": [1, 2, 3]}), schema, allowed_extra=["price"])
    check(read_table({name: values[:1] for name, values in TRAINING.items() if name != "none"}), schema)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": [1.5, "old", 2]}, "'age' must hold a number .*; row 2 holds 'old'. Mend the value"),
        (
            {"age": np.array(["2024-01-01"] * 3, dtype="datetime64[us]")},
            "'age' must hold a number .*; row 1 holds '2024",
        ),
        ({"sold": ["yes", "no", "perhaps"]}, "'sold' must hold true or false .*; row 3 holds 'perhaps'"),
        ({"sold": [0, 1, 2]}, "'sold' must hold true or false .*; row 3 holds '2'"),
        ({"when": ["1/31/2024", "31/1/2024", None]}, "a date like '1/31/2024' .*; row 2 holds '31/1/2024'"),
        ({"when": [True, False, True]}, "Column 'when' must hold a date"),
        (
            {"colour": ["a", "b", "c"], "size": [1, 2, 3]},
            "without the columns 'colour', 'size', which .* Drop them",
        ),
        ({"colour": ["a", "b", "c"]}, "without the column 'colour', which .* Drop it"),
        ({"age": None, "ages": [1, 2, 3]}, r"column 'age', which this table lacks. Did you mean 'ages'\?"),
        ({"age": None, "city": None}, "columns 'age', 'city', which this table lacks. Add or rename"),
    ],
)
def test_refuses_a_table_of_another_schema(schema, change, message):
    columns = {name: values for name, values in {**TRAINING, **change}.items() if values is not None}
    with pytest.raises(SchemaError, match=message):
        check(read_table(columns), schema)


def test_prediction_tables_may_write_values_in_other_ways(schema):
    check(
        read_table(
            {
                "age": ["30", " 4e1", None],
                "city": [7, 8, 9],
                "sold": [True, False, True],
                "when": ["2024-01-31", "2024-02-01", None],
            }
        ),
        schema,
    )
    check(
        read_table(
            {
                "age": [True, False, True],
                "city": [True, False, True],
                "sold": [0.0, 1.0, None],
                "when": np.array(["2024-01-31"] * 3, dtype="datetime64[D]"),
            }
        ),
        schema,
    )
    check(read_table({"age": [None], "city": [None], "sold": [None], "when": [None]}), schema)


def test_schema_survives_json_and_prints_as_a_table(schema):
    copy = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert copy == schema
    assert str(schema).splitlines() == [
        "column  kind      missing  distinct  range or levels",
        "age     number          1         2  30 to 40",
        "city    category        0         2  Oslo",
        "sold    boolean         1         2",
        "when    date            1         2  2024-01-31 to 2024-02-28",
        "none    ignored                      all missing",
    ]


def test_an_unknown_column_of_a_schema_suggests_the_nearest(schema):
    with pytest.raises(SchemaError, match=r"no column 'ctiy'. Did you mean 'city'\?"):
        schema["ctiy"]


def test_inference_does_not_depend_on_row_order():
    table = Table({"c": np.array(["b", "a", "b", "a", "c"], dtype=object), "x": np.arange(5.0)})
    turned = infer_schema(table.take([4, 3, 2, 1, 0]))
    assert turned["c"].levels == infer_schema(table)["c"].levels


class TestOtherWritings:
    def test_levels_are_found_whatever_their_type(self):
        table = {"c": [True, False] * 20, "n": [1, 2] * 20, "o": [3, 1] * 20}
        kinds = {"c": "category", "n": "category", "o": "ordered"}
        schema = infer_schema(table, kinds=kinds)
        encoder = Encoder.fit(read_table(table), schema)

        def encoded(c, n, o):
            batch = encoder.transform(read_table({"c": c, "n": n, "o": o}))
            return batch.cat.tolist(), batch.num.tolist()

        expected = encoded([True, False], [1, 2], [1, 3])
        assert encoded(["True", "FALSE"], ["1.0", "2"], ["1.00", "3"]) == expected
        assert encoded(["true", "false"], [1.0, 2.0], [1.0, 3.0]) == expected
        assert encoded(["yes", "01"], ["01", "1.5"], ["2", "x"])[0] == [[1, 1, 1], [1, 1, 1]]

    def test_of_levels_that_are_alike_the_same_text_is_found(self):
        table = read_table({"c": ["1", "1.0", "true", "True"] * 10})
        schema = infer_schema(table, kinds={"c": "category"})
        encoder = Encoder.fit(table, schema)
        assert len(set(encoder.transform(table).cat[:4, 0].tolist())) == 4

    def test_a_column_of_levels_that_were_never_seen_is_named(self):
        letters = ["a", "b"] * 20
        schema = infer_schema({"c": letters, "d": letters, "e": [f"k{k // 2}" for k in range(40)]})
        new = {"c": ["A", "B", "A"], "d": ["a", "B", "C"], "e": ["x", None, None]}
        assert strange_columns(read_table(new), schema) == [
            "column 'c' holds levels that were not there at fit, such as 'A', 'B', and hardly "
            "any that were there, such as 'a', 'b'"
        ]

    def test_levels_that_were_mostly_rare_at_fit_are_expected_to_be_new(self):
        schema = infer_schema({"c": [f"k{k}" for k in range(15)] + ["a"] * 25, "z": range(40)})
        assert strange_columns(read_table({"c": ["x", "y"]}), schema) == []
