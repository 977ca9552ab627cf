"""An edited schema is checked as `kinds=` is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from multilayer import ConfigError, Schema
from multilayer.table.column import Column
from multilayer.table.column_json import column_from_json, column_to_json

SIZES = ["medium"] * 20 + ["large"] * 12 + ["small"] * 8
TABLE = pd.DataFrame({"size": SIZES, "when": ["2024-01-31", "2024-02-01"] * 20, "y": np.arange(40) / 2})


def edited(**changes: Any) -> str:
    """The file of a schema in which the first column was edited."""
    schema = ml.infer_schema(TABLE[["size", "when"]]).to_json()
    schema["columns"][0] |= changes
    Path("s.json").write_text(json.dumps(schema))
    return "s.json"


def test_what_is_written_is_read() -> None:
    schema = ml.infer_schema(TABLE, kinds={"size": ["small", "medium", "large"]})
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    for column in ml.infer_schema(TABLE).columns:
        assert column_from_json(column_to_json(column)) == column


def test_an_order_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"its levels in their order, .* 'size' has 'levels_by_freq"):
        ml.fit(TABLE, target="y", schema=edited(kind="ordered"))


def test_levels_in_another_order_are_an_order() -> None:
    order = ["small", "medium", "large"]
    schema = edited(kind="ordered", levels=order)
    model = ml.fit(TABLE, target="y", schema=schema, epochs=2, members=1, hidden=4)
    by_kinds = ml.fit(TABLE, target="y", kinds={"size": order}, epochs=2, members=1, hidden=4)
    assert model.schema["size"].levels == tuple(order)
    np.testing.assert_array_equal(model.predict(TABLE), by_kinds.predict(TABLE))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a level twice": ({"kind": "ordered", "levels": ["small", "medium", "small"]}, "each once and none"),
    "one level": ({"kind": "ordered", "levels": ["small"]}, "at least 2 levels"),
    "levels as text": ({"kind": "ordered", "levels": "small<large"}, "Levels must be a list"),
    "an unknown kind": ({"kind": "categorie"}, "got 'categorie' for column 'size'. Did you mean 'category'"),
    "no kind": ({"kind": None}, "A kind must be one of"),
    "an unknown entry": ({"levls": []}, "'size' has 'levls'. Did you mean 'levels'"),
    "no name": ({"name": 3}, "an object with a name"),
    "a name twice": ({"name": "when"}, "describe each column once; 'when' is there more than once"),
    "no such infinite": ({"infinite": "drop"}, "infinite must be .*; that of 'size' is 'drop'"),
    "no format": ({"kind": "date", "date_format": "dd/mm/yyyy"}, "'size' is 'dd/mm/yyyy'"),
    "no zone": ({"kind": "date", "zone": "Oslo"}, "A time zone must be .*; got 'Oslo'"),
    "a number as text": ({"low": "3"}, "low must be a number; that of 'size' is '3'"),
    "text as a number": ({"unit": 3}, "unit must be text; that of 'size' is 3"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ml.fit(TABLE, target="y", schema=edited(**changes))


def test_levels_that_the_order_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must name every level; column 'size' holds 'small' in row 33"):
        ml.fit(TABLE, target="y", schema=edited(kind="ordered", levels=["medium", "large"]))


def test_whole_numbers_may_be_levels() -> None:
    values = column_to_json(Column("n", "category", levels=("2", "1")))
    assert column_from_json(values | {"kind": "ordered", "levels": [1, 2]}).levels == ("1", "2")
