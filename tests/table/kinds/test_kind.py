"""Each kind of column does all that a kind does: it is read, measured, shown, encoded and stored."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import multilayer as ml
from multilayer.errors import SchemaError
from multilayer.table.cells import Cells, is_missing
from multilayer.table.column import KIND_NAMES, Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import KINDS, kind_of
from multilayer.table.kinds.kind import Coder, Kind, Learning
from multilayer.table.schema import Schema, infer_schema
from multilayer.table.sources.read import Table

DOCS = Path(__file__).parents[3] / "docs"
# kind -> cells as text, what the column is read as at least, and a text that is none of it
EXAMPLES = {
    "number": (["1.5", "-2", "3e2", "7"], "-2 to 300", "many"),
    "boolean": (["yes", "no"], "", "maybe"),
    "category": (["Rome", "Oslo", "Lima"], "Rome, Lima, Oslo", None),
    "ordered": (["low", "middle", "high"], "low < middle < high", None),
    "date": (["2024-05-31", "2024-06-01 12:00", "1999-12-31"], "1999-12-31 to 2024-06-01 12:00", "soon"),
    "time": (["8:15", "23:59", "0:00"], "00:00 to 23:59", "noon"),
    "duration": (["1 days 02:00:00", "0 days 00:30:00"], "30 min to 1.083 d", "long"),
    "text": (
        [f"it was {how} and {what}" for how in ("hot", "wet") for what in "abcde"],
        "5 to 5 words",
        None,
    ),
}
N = 40


def column_and_values(name):
    texts = EXAMPLES[name][0]
    values = np.array([texts[i % len(texts)] for i in range(N)] + [None], object)
    declared = EXAMPLES["ordered"][0] if name == "ordered" else name
    return infer_schema(Table({"c": values}), kinds={"c": declared})["c"], values


def test_names_and_examples_are_those_of_the_kinds():
    assert KIND_NAMES == tuple(KINDS) == tuple(EXAMPLES)
    assert all(name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize("name", KINDS)
def test_every_slot_is_filled(name):
    kind = KINDS[name]
    for slot in fields(Kind):
        value = getattr(kind, slot.name)
        optional = slot.name in ("numbers", "parser") and not kind.has_numbers
        assert value is not None or optional, slot.name
        assert not (optional and value), slot.name
    assert kind.coders


@pytest.mark.parametrize("name", KINDS)
def test_a_column_is_read_and_measured_and_shown(name):
    column, values = column_and_values(name)
    kind = kind_of(column)
    assert kind.name == name
    read = kind.read(column, values)
    assert len(read) == len(values)
    assert (column.n_missing, column.n_unique) == (1, len(EXAMPLES[name][0]))
    assert kind.show(column) == EXAMPLES[name][1]
    if kind.numbers is not None:
        numbers = kind.numbers(column, values)
        assert np.isnan(numbers[-1])
        assert name == "boolean" or [numbers[:-1].min(), numbers[:-1].max()] == [column.low, column.high]


@pytest.mark.parametrize("name", KINDS)
def test_a_column_without_values_is_read_and_encoded(name):
    column, values = column_and_values(name)
    kind = KINDS[name]
    coder = kind.fit(column, values, Learning(None, 0, 4))
    for empty in (np.full(3, np.nan), np.full(3, None, object)):
        assert is_missing(kind.read(column, empty)).all()
        assert all(np.isfinite(x).all() for x in coder.encode(kind.cells(column, empty)))
        assert coder.code is None or not coder.codes(kind.cells(column, empty)).any()


@pytest.mark.parametrize("name", [name for name, (_, _, wrong) in EXAMPLES.items() if wrong])
def test_a_text_that_is_not_of_the_kind_is_refused_in_its_words(name):
    column, values = column_and_values(name)
    kind = KINDS[name]
    assert kind.parser is not None
    wrong = EXAMPLES[name][2]
    parse = kind.parser(column, EXAMPLES[name][0])
    assert parse(wrong) is None
    assert None not in map(parse, EXAMPLES[name][0])
    with pytest.raises(SchemaError, match=f"must hold {kind.wanted}.*row 2 holds '{wrong}'"):
        kind.read(column, np.array([values[0], wrong], object))


@pytest.mark.parametrize("name", [name for name, (_, _, wrong) in EXAMPLES.items() if not wrong])
def test_of_a_kind_without_a_parser_any_text_is_a_value(name):
    column, _ = column_and_values(name)
    assert KINDS[name].read(column, np.array(["anything", None], object)).tolist() == ["anything", None]


@pytest.mark.parametrize("name", KINDS)
def test_texts_are_taken_for_the_kind_that_they_are(name):
    texts = EXAMPLES[name][0]
    found = [other for other, kind in KINDS.items() if kind.of_texts("c", texts) is not None]
    if KINDS[name].of_texts("c", texts) is None:  # of words: no text shows that
        assert not found
    else:
        assert found[0] == name
        assert any(
            candidate.column.kind == name and all(map(candidate.reads, texts))
            for candidate in KINDS[name].candidates("c", texts, texts)
        )


@pytest.mark.parametrize("name", KINDS)
def test_a_coder_gives_finite_numbers_and_survives_its_json(name):
    column, values = column_and_values(name)
    kind = KINDS[name]
    coder = kind.fit(column, values, Learning(None, 0, 4))
    cells = kind.cells(column, values)
    assert isinstance(coder, Coder)
    assert isinstance(cells, Cells)
    plan = json.loads(json.dumps(coder.to_json()))
    arrays = {"knots": np.zeros(0), "places": np.zeros(0)} | coder.arrays()
    again = kind.coders[plan["coder"]].make(column, plan, arrays)
    assert again.features == coder.features
    assert (again.code is None) == (coder.code is None) == (not kind.has_levels)
    for first, second in zip(coder.encode(cells), again.encode(cells), strict=True):
        assert len(first) == len(values)
        assert np.isfinite(first).all()
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", KINDS)
def test_every_coder_of_a_kind_survives_its_json(name):
    column, values = column_and_values(name)
    plan = {
        "center": 1.0, "width": 2.0, "has_missing": True, "n_knots": 3, "low": 0.0, "high": 1.0, "fill": 0.5,
        "parts": ["month", "hour"], "newest": 9.0, "local": True, "levels": ["a", "b"], "n_word_terms": 0,
    }  # fmt: skip
    given = {
        "knots": np.array([1.0, 2.0, 4.0]),
        "places": np.array([-1.0, 0.0, 1.0]),
        "buckets": np.zeros(0, np.uint32),
        "weights": np.zeros(0, np.float32),
        "projection": np.zeros((0, 0), np.float32),
        "center": np.zeros(1),
        "scale": np.ones(1),
    }
    for coder_name, stored_so in KINDS[name].coders.items():
        stored_so.check(plan)
        stored_so.check_arrays(plan, {key: given[key] for key in stored_so.own_arrays})
        coder = stored_so.make(column, plan, given)
        assert stored_so.n_numbers(plan, len(column.levels)) == len(coder.features)
        assert stored_so.has_code == (coder.code is not None)
        assert {*stored_so.own_arrays} == coder.arrays().keys() - {"knots", "places"}
        stored = coder.to_json()
        assert stored["coder"] == coder_name
        assert all(plan[key] == value for key, value in stored.items() if key != "coder")
        assert all(np.array_equal(array, given[key]) for key, array in coder.arrays().items())
        assert all(np.isfinite(x).all() for x in coder.encode(KINDS[name].cells(column, values)))


def test_every_kind_goes_through_a_schema_and_an_encoder_of_one_table():
    columns = {name: column_and_values(name)[1] for name in KINDS}
    kinds = {"ordered": EXAMPLES["ordered"][0], "text": "text"}
    schema = infer_schema(Table(columns), kinds=kinds)
    assert [column.kind for column in schema.columns] == list(KINDS)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    encoder = Encoder.fit(Table(columns), schema)
    arrays, rest = encoder.state()
    again = Encoder.from_state(arrays, json.loads(json.dumps(rest)))
    batch, same = encoder.transform(Table(columns)), again.transform(Table(columns))
    assert batch.num.tobytes() == same.num.tobytes()
    assert batch.cat.tobytes() == same.cat.tobytes()


GROUPS = {
    "is_numeric": {"number", "duration"},
    "is_closed": {"boolean", "category", "ordered"},
    "is_quantity": {"number", "date", "time", "duration"},
    "has_numbers": {"number", "boolean", "date", "time", "duration"},
    "has_levels": {"category", "ordered"},
    "has_order": {"ordered"},
    "finds_levels": {"category"},
    "is_free_text": {"text"},
}


@pytest.mark.parametrize("group", GROUPS)
def test_groups(group):
    assert {name for name, kind in KINDS.items() if getattr(kind, group)} == GROUPS[group]


@pytest.mark.parametrize("name", KINDS)
def test_documentation_names_the_kind(name):
    for said in (ml.fit.__doc__, Schema.replace.__doc__, infer_schema.__doc__, Encoder.__doc__):
        assert said is not None
        assert name in said
    assert name in (DOCS / "glossary.md").read_text(encoding="utf-8")


def test_settings_are_fields_of_a_column():
    names = {each.name for each in fields(Column)}
    assert all(kind.settings <= names for kind in KINDS.values())
    schema = infer_schema({"a": [1.5, 2.5], "b": ["x", "y"]})
    assert schema.replace("a", infinite="clip")["a"].infinite == "clip"
    with pytest.raises(ml.ConfigError, match="for columns of kind number or duration; 'b' is category"):
        schema.replace("b", infinite="clip")
    with pytest.raises(ml.ConfigError, match="zone is for columns of kind date; 'a' is number"):
        schema.replace("a", zone="Europe/Oslo")
