"""Steps alone say all: a model's predictions made again of its steps, by formulas written here."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import multilayer as ml
from multilayer.table.cells import Cells
from multilayer.table.encode import Encoder
from multilayer.table.kinds import KINDS
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import Table, read_table
from multilayer.table.steps import (
    Clip,
    Code,
    Fill,
    Multiply,
    Pick,
    Program,
    Sine,
    SmoothClip,
    Step,
    Subtract,
    Take,
)
from multilayer.tasks.link_steps import LinkStep

N = 120


# An interpreter of its own: x is what came before, m where the cell is missing


def parts(x, name):
    moments = [datetime(1970, 1, 1) if moment is None else moment for moment in x.tolist()]
    of = {
        "month": lambda t: t.month - 1,
        "monthday": lambda t: t.day - 1,
        "yearday": lambda t: t.timetuple().tm_yday - 1,
        "weekday": lambda t: t.weekday(),
        "hour": lambda t: (
            (((t.hour * 60 + t.minute) * 60 + t.second) * 1_000_000 + t.microsecond) / 3_600_000_000
        ),
    }[name]
    return np.array(list(map(of, moments)))


def in_zone(x, zone):
    local = [t and t.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for t in x.tolist()]
    return np.array(local, "datetime64[us]")


def interpolate(x, knots, places):
    i = np.minimum(np.searchsorted(knots[1:-1], x, side="right"), len(knots) - 2)
    slopes = np.diff(places) / np.diff(knots)
    y = slopes[i] * (x - knots[i]) + places[i]
    return np.where(x <= knots[0], places[0], np.where(x >= knots[-1], places[-1], y))


def codes(x, levels):
    return np.array([0 if t is None else levels.index(t) + 2 if t in levels else 1 for t in x.tolist()])


STEPS = {
    "IsMissing": lambda s, x, m: m,
    "Fill": lambda s, x, m: np.where(m, s.value, x),
    "FillDate": lambda s, x, m: np.where(m, np.datetime64("1970-01-01", "us"), x),
    "Tame": lambda s, x, m: np.where(np.abs(x) < 1e-150, 0, np.minimum(np.maximum(x, -1e150), 1e150)),
    "Constant": lambda s, x, m: np.zeros(len(x)) + s.value,
    "Subtract": lambda s, x, m: x - s.value,
    "Multiply": lambda s, x, m: x * s.value,
    "Divide": lambda s, x, m: x / s.value,
    "Clip": lambda s, x, m: np.minimum(np.maximum(x, s.low), s.high),
    "SmoothClip": lambda s, x, m: (z := np.clip(x, -1e8, 1e8)) / np.sqrt(1 + (z / s.bound) ** 2),
    "Interpolate": lambda s, x, m: interpolate(x, s.knots, s.places),
    "Days": lambda s, x, m: np.where(m, np.nan, x.astype(np.int64) / 86_400_000_000),
    "InZone": lambda s, x, m: in_zone(x, s.zone),
    "Part": lambda s, x, m: parts(x, s.name),
    "Sine": lambda s, x, m: np.sin(x),
    "Cosine": lambda s, x, m: np.cos(x),
    "Code": lambda s, x, m: codes(x, list(s.levels)),
    "Equals": lambda s, x, m: x == s.code,
    "Pick": lambda s, x, m: np.array([s.values[min(i, len(s.values) - 1)] for i in x.tolist()]),
    "Bin": lambda s, x, m: np.array([(s.edges < float(each)).sum() for each in x.tolist()]),
    "Vectors": lambda s, x, m: np.array(
        [
            np.zeros(s.vectors.width + 1) if text is None else s.vectors.transform([text])[0]
            for text in x.tolist()
        ]
    ),
    "Take": lambda s, x, m: x[:, s.place],
}
LINK = {
    "First": lambda s, x: x[:, 0].astype(np.float64),
    "Scale": lambda s, x: x * s.factor,
    "Shift": lambda s, x: x + s.by,
    "Clip": lambda s, x: np.minimum(np.maximum(x, s.low), s.high),
    "Exp": lambda s, x: np.exp(x),
    "Sort": lambda s, x: np.array(list(map(sorted, x.tolist()))),
    "Sigmoid": lambda s, x: 1 / (1 + np.exp(-x.astype(np.float64))),
    "BothClasses": lambda s, x: np.column_stack([1 - x, x]),
    "Softmax": lambda s, x: (e := np.exp(x - x.max(1)[:, None])) / e.sum(1)[:, None],
    "OfEach": lambda s, x: np.stack(
        [link(each, x[:, i * s.width : (i + 1) * s.width]) for i, each in enumerate(s.steps)], axis=1
    ),
}


def walk(steps, x, missing=None):
    for step in steps:
        x = STEPS[type(step).__name__](step, x, missing)
    return x


def link(steps, x):
    for step in steps:
        x = LINK[type(step).__name__](step, x)
    return x


def encoded(encoder, columns):
    """Numbers and codes of typed columns, by the steps alone."""
    num, cat = [], []
    for coder in encoder.coders:
        x = columns[coder.column.name]
        missing = np.array([each is None for each in x.tolist()]) if x.dtype == object else x != x
        num += [walk(steps, x, missing) for _, steps in coder.outputs]
        cat += [walk([coder.code], x)] if coder.code else []
    num = np.column_stack(num).astype(np.float32)
    cat = np.column_stack([*cat, np.zeros((len(num), 0))]).astype(np.int64)
    found = encoder.target_encoding.statistics if encoder.target_encoding else ()
    more = [walk(s.steps, (num if s.edges is not None else cat)[:, s.place]) for s in found]
    return np.column_stack([num, *more]).astype(np.float32), cat


def prediction(model, columns):
    """What networks make of rows, by the steps alone and the networks' own layers."""
    num, cat = encoded(model.encoder, columns)
    x = torch.from_numpy(np.column_stack([num, cat]).astype(np.float32))
    with torch.no_grad():
        each = [link(model.task.link_steps, net.eval()(x).numpy()) for net in model.networks]
    return np.average(each, axis=0, weights=model.weights)


def columns_of_every_kind(seed, n_rows=N):
    """Typed columns, as steps begin with them, and the same as a user has them."""
    rng = np.random.default_rng(seed)

    def some(values, missing):
        values = np.array(values)[rng.integers(0, len(values), n_rows)]
        values = values.astype(object) if values.dtype.kind == "U" else values
        gaps = rng.random(n_rows) < 0.1 * missing
        gap = None if values.dtype == object else "NaT" if values.dtype.kind == "M" else np.nan
        values[gaps] = gap
        return values

    minutes = np.datetime64("2023-01-01", "us") + (rng.integers(0, 10**6, 60) * 60_000_000).astype("m8[us]")
    words = rng.choice(["red", "old", "big", "house", "river", "near", "far", "quiet"], (40, 5))
    typed = {
        "number": some(rng.normal(size=90), True),
        "spread": some(np.exp(9 * rng.normal(size=90)), False),
        "two": some([1.5, 4.0], True),
        "boolean": some([0.0, 1.0], True),
        "category": some(["Rome", "Oslo", "Lima", f"only {seed}"], True),
        "ordered": some(["S", "M", "L"], True),
        "date": some(minutes, True),
        "day": some(minutes.astype("M8[D]").astype("M8[us]"), False),
        "time": some(rng.integers(0, 86_400, 50).astype(float), True),
        "duration": some(rng.exponential(9_999, 50), True),
        "text": some([" ".join(each) for each in words], True),
    }
    clock = [
        None if t != t else f"{t // 3600:.0f}:{t // 60 % 60:02.0f}:{t % 60:02.0f}" for t in typed["time"]
    ]
    return typed, typed | {"time": np.array(clock, object)}


def schema_of(columns):
    kinds = {"boolean": "boolean", "ordered": ["S", "M", "L"], "duration": "duration", "text": "text"}
    return infer_schema(Table(columns), kinds=kinds).replace("day", zone="America/New_York")


def test_there_is_a_column_of_every_kind():
    """Else no test would take the one that is absent through the runtime and the exports."""
    _, columns = columns_of_every_kind(0)
    assert {column.kind for column in schema_of(columns).columns} == {*KINDS}


def targets(seed=3):
    rng = np.random.default_rng(seed)
    amount = np.exp(rng.normal(size=N))
    return {
        "regression": ({"y": amount}, {}),
        "two classes": ({"y": np.array(["no", "yes"], object)[rng.integers(0, 2, N)]}, {}),
        "several classes": ({"y": np.array(["a", "b", "c"], object)[rng.integers(0, 3, N)]}, {}),
        "quantiles": ({"y": amount}, {"quantiles": (0.1, 0.5, 0.9)}),
        "positive": ({"y": amount}, {"objective": "gamma"}),
        "logarithm": ({"y": amount}, {"objective": "log"}),
        "several numbers": ({"y": amount, "z": rng.normal(size=N)}, {}),
        "several quantiles": ({"y": amount, "z": rng.normal(size=N)}, {"quantiles": (0.2, 0.8)}),
        "labels": ({"y": rng.integers(0, 2, N), "z": rng.integers(0, 2, N)}, {"task": "multilabel"}),
    }


def predicted(model, table):
    """What the model says for itself, in the shape of a prediction."""
    if model.task.has_probabilities:
        return model.predict_proba(table)
    return model.predict(table) if model.task.quantile_levels is None else model.predict_quantiles(table)


@pytest.mark.parametrize("name", targets())
def test_predictions_come_of_steps_alone(name):
    _, columns = columns_of_every_kind(0)
    columns_of_target, options = targets()[name]
    target = list(columns_of_target) if len(columns_of_target) > 1 else "y"
    model = ml.fit(
        Table({**columns, **columns_of_target}),
        target=target,
        schema=schema_of(columns),
        members=2,
        epochs=1,
        hidden=4,
        seed=0,
        **options,
    )
    assert {column.kind for column in model.schema.columns} == {
        "number", "boolean", "category", "ordered", "date", "time", "duration", "text"
    }  # fmt: skip
    typed, rows = columns_of_every_kind(1)
    num, cat = encoded(model.encoder, typed)
    batch = model.encoder.transform(read_table(rows))
    assert num.tobytes() == batch.num.tobytes()
    assert cat.tobytes() == batch.cat.tobytes()
    assert np.allclose(prediction(model, typed), predicted(model, rows), rtol=1e-6, atol=1e-6)


def test_numbers_without_scale_come_of_steps_alone():
    columns, _ = columns_of_every_kind(0)
    kinds = {"boolean": "boolean", "ordered": ["S", "M", "L"], "time": "time", "text": "category"}
    encoder = Encoder.plain(infer_schema(Table(columns), kinds=kinds), {"number": 0.5, "date": 19_000.0})
    typed, _ = columns_of_every_kind(1)
    num, _ = encoded(encoder, typed)
    assert num.tobytes() == encoder.transform(Table(typed)).num.tobytes()


def test_every_step_is_met_and_has_a_formula_here():
    _, columns = columns_of_every_kind(0)
    schema = schema_of(columns)
    encoder = Encoder.fit(Table(columns), schema)
    encoder, _ = encoder.learn_target(
        encoder.transform(Table(columns)), np.arange(N) % 2 * 1.0, None, np.arange(N) % 5
    )
    flat = Encoder.fit(Table(columns).take([0] * 20), schema)  # columns that do not vary
    plain = Encoder.plain(schema.without("text"), {})
    assert encoder.target_encoding is not None
    met = {type(step) for s in encoder.target_encoding.statistics for step in s.steps}
    for coder in (*encoder.coders, *flat.coders, *plain.coders):
        met |= {type(step) for _, steps in coder.outputs for step in steps}
        met |= set() if coder.code is None else {type(coder.code)}
    names = {step.__name__ for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert {step.__name__ for step in met} == names == STEPS.keys()
    assert {step.__name__ for step in LinkStep.__subclasses__()} == LINK.keys()


def test_clock_and_calendar_as_written_come_of_the_texts():
    texts = ["2024-05-01T23:30+03:00", "2024-06-01T01:00-05:00", "2024-07-15T12:00+00:00"] * 10
    columns = {"when": np.array(texts, object)}
    encoder = Encoder.fit(Table(columns), infer_schema(Table(columns)))
    num = encoder.transform(Table(columns)).num
    place = [feature.name for feature in encoder.num_features].index("when (hour sin)")
    hours = np.array([23.5, 1.0, 12.0] * 10)
    assert np.array_equal(num[:, place], np.sin(hours * (2 * np.pi / 24)).astype(np.float32))


numbers = st.floats(-1e6, 1e6)
ONE_NUMBER = st.one_of(
    st.builds(Fill, numbers),
    st.builds(Subtract, numbers),
    st.builds(Multiply, numbers),
    st.builds(Clip, st.floats(-9, 0), st.floats(0, 9)),
    st.just(Sine()),
    st.just(SmoothClip(3.0)),
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.none() | numbers, min_size=1, max_size=9),
    st.lists(ONE_NUMBER, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.lists(ONE_NUMBER, max_size=3)), min_size=1, max_size=6),
)
def test_what_chains_share_runs_once_and_changes_nothing(values, first, others):
    cells = Cells.of(np.array([np.nan if value is None else value for value in values]))
    chains = [tuple(first)]
    for n_shared, more in others:
        chains.append((*chains[-1][:n_shared], *more))
    for found, chain in zip(Program(chains).run(cells), chains, strict=True):
        x = cells.values
        for step in chain:
            x = step.run(x, cells)
        assert found.tobytes() == x.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_columns_of_an_array_come_in_the_order_that_they_are_taken(places):
    class Wide(Step):
        def run(self, x, cells):
            return np.multiply.outer(x, np.arange(5.0))

    cells = Cells.of(np.array([1.0, 2.0]))
    wide = Wide()
    program = Program([(wide, Take(place)) for place in places])
    found = np.column_stack(list(program.run(cells)))
    assert np.array_equal(found, np.multiply.outer([1.0, 2.0], np.array(places)))


def test_texts_are_looked_up_once_each():
    class Counting(Step):
        def run(self, x, cells):
            seen.extend(x.tolist())
            return np.arange(len(x))

    seen: list[str | None] = []
    cells = Cells.of_texts(np.array(["b", None, "a", "b", "b"], object))
    (codes,) = Program([(Counting(),)]).run(cells)
    assert seen == ["b", None, "a"]
    assert codes.tolist() == [0, 1, 2, 0, 0]


def test_a_level_is_found_in_other_writings():
    texts = np.array(["True", "1.0", "1", "x", None], object)
    cells = Cells.of_texts(texts)
    (found,) = Program([(Code(("true", "1")),)]).run(cells)
    assert found.tolist() == [2, 3, 3, 1, 0]
    (picked,) = Program([(Code(("true", "1")), Pick(np.array([0.0, 0.5, 1.0])))]).run(cells)
    assert picked.tolist() == [1.0, 1.0, 1.0, 0.5, 0.0]
