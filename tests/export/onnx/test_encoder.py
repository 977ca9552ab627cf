"""Encoded rows are those of the library to the last bit, in two runtimes, whatever the rows hold."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from multilayer.export.drawn import drawn_table
from multilayer.export.onnx.encoder import EMITTED, Inputs, encoded, unknown_steps
from multilayer.export.onnx.graph import Graph
from multilayer.export.onnx.letters import is_unknown
from multilayer.export.typed import inputs_of, typed
from multilayer.table.encode import Encoder
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import Table
from multilayer.table.steps import Step
from tests.export.onnx.runtimes import RUNTIMES, by_onnx_runtime
from tests.table.test_steps import N, columns_of_every_kind, schema_of

TYPES = {
    "numbers": ("number", TensorProto.DOUBLE),
    "dates": ("date", TensorProto.INT64),
    "texts": ("text", TensorProto.STRING),
    "written": ("written", TensorProto.INT64),
}


@cache
def graph_of(encoder):
    """An encoder alone, with a matrix for each type."""
    inputs, graph = inputs_of(encoder, None), Graph()
    names = {each: tuple(i.column for i in inputs if i.role == role) for each, (role, _) in TYPES.items()}
    given = {each: each if names[each] else None for each in TYPES}
    num, cat = encoded(graph, encoder, Inputs(**given, names=names))
    infos = [
        helper.make_tensor_value_info(each, kind, ["rows", len(names[each])])
        for each, (_, kind) in TYPES.items()
        if names[each]
    ]
    outputs = [helper.make_tensor_value_info(num, TensorProto.FLOAT, ["rows", None])]
    if cat is not None:
        outputs.append(helper.make_tensor_value_info(cat, TensorProto.INT64, ["rows", None]))
    model = graph.model(infos, outputs, name="encoder", doc="", metadata={}, version="0")
    return inputs, model.SerializeToString()


def feed_of(inputs, encoder, table):
    values = typed(inputs, encoder.schema, table)
    found = {}
    for name, (role, _) in TYPES.items():
        columns = [values[each.name] for each in inputs if each.role == role]
        if columns:
            found[name] = np.column_stack(columns)
    return found


def unknown_rows(encoder, table):
    texts = [c.column.name for c in encoder.coders if c.column.kind == "text"]
    rows = np.zeros(table.n_rows, bool)
    for name in texts:
        rows |= [text is not None and is_unknown(text) for text in table[name].tolist()]
    return rows


def assert_same(encoder, said, table):
    """0 and -0 are the same; of texts that are not known the numbers are NaN."""
    unknown = unknown_rows(encoder, table)
    with np.errstate(over="ignore"):  # of numbers without scale, which float32 has no place for
        want = encoder.transform(table)
    num = said[0].copy()
    assert np.isnan(num).any(axis=1).tolist() == unknown.tolist()
    num[np.isnan(num)] = want.num[np.isnan(num)]
    wrong = [encoder.num_features[i].name for i in np.flatnonzero((num != want.num).any(axis=0))]
    assert not wrong
    assert num.dtype == np.float32
    if len(said) > 1:
        assert np.array_equal(said[1], want.cat)


@cache
def every_kind():
    _, columns = columns_of_every_kind(0)
    encoder = Encoder.fit(Table(columns), schema_of(columns))
    batch = encoder.transform(Table(columns))
    return encoder.learn_target(batch, np.arange(N) % 2 * 1.0, None, np.arange(N) % 5)[0]


def plain():
    columns, _ = columns_of_every_kind(0)
    kinds = {"boolean": "boolean", "ordered": ["S", "M", "L"], "time": "time", "text": "category"}
    return Encoder.plain(infer_schema(Table(columns), kinds=kinds), {"number": 0.5, "date": 19_000.0})


def constant():
    _, columns = columns_of_every_kind(0)
    return Encoder.fit(Table(columns).take([0] * 20), schema_of(columns))


def as_written():
    texts = ["2024-05-01T23:30+03:00", "2024-06-01T01:00-05:00", "2024-07-15T12:00+00:00"] * 10
    columns = {"when": np.array(texts, object), "day": np.arange(30).astype("M8[D]").astype("M8[us]")}
    return Encoder.fit(Table(columns), infer_schema(Table(columns)))


def of_codes_alone():
    columns = {"city": np.array(["Rome", "Oslo", "1", "true"] * 9, object)}
    return Encoder.fit(Table(columns), infer_schema(Table(columns)))


ENCODERS = {made.__name__: made for made in (every_kind, plain, constant, as_written, of_codes_alone)}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ENCODERS)
def test_rows_are_encoded_to_the_same_bits(name, runtime):
    encoder = ENCODERS[name]()
    inputs, data = graph_of(encoder)
    table = drawn_table(encoder, None, 2_000 if runtime == "onnxruntime" else 150, seed=1)
    assert_same(encoder, RUNTIMES[runtime](data, feed_of(inputs, encoder, table)), table)


def test_a_row_alone_is_encoded_as_among_others():
    encoder = every_kind()
    inputs, data = graph_of(encoder)
    table = drawn_table(encoder, None, 40, seed=2)
    together = by_onnx_runtime(data, feed_of(inputs, encoder, table))
    for row in range(0, 40, 7):
        alone = by_onnx_runtime(data, feed_of(inputs, encoder, table.take([row])))
        for a, b in zip(alone, together, strict=True):
            assert np.array_equal(a[0], b[row], equal_nan=True)


def test_there_are_nodes_for_every_step():
    steps = {step for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert steps == EMITTED.keys()
    assert unknown_steps(every_kind()) == []


KNOTS = every_kind().coders[0].arrays()["knots"]
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([*KNOTS, *np.nextafter(KNOTS, np.inf), *np.nextafter(KNOTS, -np.inf)]),
    st.just(np.nan),
)
microseconds = st.one_of(
    st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    st.integers(-5_000, 5_000).map(lambda hours: hours * 3_600_000_000),
    st.just(-(2**63)),
)
texts = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
TESTED = every_kind(), *graph_of(every_kind())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, microseconds, texts, texts), min_size=1, max_size=8))
def test_any_row_is_encoded_to_the_same_bits(rows):
    encoder, inputs, data = TESTED
    columns = dict(drawn_table(encoder, None, len(rows), seed=3).columns)
    number, moment, text, level = zip(*rows, strict=True)
    columns |= {"number": np.array(number), "spread": np.array(number)}
    columns |= {"date": np.array(moment).astype("M8[us]"), "day": np.array(moment).astype("M8[us]")}
    for name, cells in (("text", text), ("category", level)):
        columns[name] = np.empty(len(rows), object)
        columns[name][:] = cells
    table = Table(columns)
    assert_same(encoder, by_onnx_runtime(data, feed_of(inputs, encoder, table)), table)
