"""Which rows are equal: by what is learnt from, and nothing else."""

import multilayer as ml


def test_rows_that_differ_in_what_a_schema_leaves_out_are_equal_as_with_drop() -> None:
    table = {"id": list(range(80)), "a": [0, 1] * 40, "y": [0.0, 1.0] * 40}
    schema = ml.infer_schema({name: table[name] for name in ("id", "a")}).without("id")

    by_schema = ml.fit(table, target="y", schema=schema, epochs=2, members=2)
    dropped = ml.fit(table, target="y", drop=["id"], epochs=2, members=2)

    assert by_schema.summary["rows"] == dropped.summary["rows"]
    assert (by_schema.predict(table) == dropped.predict(table)).all()
