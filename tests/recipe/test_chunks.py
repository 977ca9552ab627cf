"""Fits on tables larger than memory: as good as in memory, repeatable, bounded, and clean behind them."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from multilayer import ConfigError, DataError, Model, MultilayerError, TableWarning, cli, fit
from multilayer.recipe import chunks as streaming
from multilayer.table.schema import infer_schema
from multilayer.table.sources.streamable import Source

N = 3_000
FAST: dict[str, Any] = {"members": 2, "hidden": 16, "epochs": 2, "batch_size": 64, "memory": "800MB"}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Small tables count as large, and are trained on in chunks of some 900 rows; the temporary folder."""
    monkeypatch.setattr(streaming, "CELL_BYTES", 1_000_000)
    monkeypatch.setattr(streaming, "MOST_PACKED", 10**9)
    monkeypatch.setattr(streaming, "CHUNK_ROWS", 1_000)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def flats() -> str:
    """Prices that follow size and city, and whether they are high."""
    with duckdb.connect() as connection:
        connection.execute(f"""COPY (
            SELECT size, city, block, w, day, size * 3 + CASE WHEN city = 'Rome' THEN 50 ELSE 0 END AS price,
                   CASE WHEN size > 60 THEN 'dear' ELSE 'cheap' END AS class
            FROM (SELECT 20 + hash(i) % 100 AS size, CASE hash(i, 1) % 3 WHEN 0 THEN 'Rome' WHEN 1 THEN 'Oslo'
                  END AS city, i % 40 AS block, (i % 2)::INT AS w, DATE '2024-01-01' + (i // 10)::INT AS day
                  FROM range({N}) r(i))) TO 'flats.parquet'""")
    return "flats.parquet"


def streamed(path: str, target: str, **settings: Any) -> Model:
    model = fit(path, target=target, **{**FAST, **settings})
    assert any("streamed" in decision for decision in model.summary["decisions"])
    return model


def bytes_without_times(model: Model) -> bytes:
    summary = {name: value for name, value in model.summary.items() if name != "times"}
    histories = [replace(history, epoch_time_s=[]) for history in model.histories]
    return replace(model, summary=summary, histories=histories).to_bytes()


def test_a_streamed_model_is_as_good_as_one_in_memory(tiny: Path, flats: str) -> None:
    settings = {"drop": ["class", "w", "day"], "epochs": 4}
    model = streamed(flats, "price", **settings)
    in_memory = fit(flats, target="price", **{**FAST, **settings, "memory": 10**15})

    assert not any("streamed" in decision for decision in in_memory.summary["decisions"])
    assert model.score["r2"] > 0.98
    assert model.score["rmse"] < 1.5 * in_memory.score["rmse"]
    assert [c.name for c in model.schema.columns] == [c.name for c in in_memory.schema.columns]
    assert model.encoder.num_features == in_memory.encoder.num_features
    for column, expected in zip(model.schema.columns, in_memory.schema.columns, strict=True):
        assert (column.low, column.high, column.levels) == (expected.low, expected.high, expected.levels)
    assert not list(tiny.glob(".multilayer-*"))


def test_the_same_seed_gives_the_same_model_on_any_number_of_threads(
    tiny: Path, flats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = streamed(flats, "class", seed=3)
    monkeypatch.setattr(streaming, "n_cores", lambda: 3)
    assert bytes_without_times(streamed(flats, "class", seed=3)) == bytes_without_times(first)
    assert bytes_without_times(streamed(flats, "class", seed=4)) != bytes_without_times(first)


def test_roles_of_columns(tiny: Path, flats: str) -> None:
    model = streamed(
        flats, "class", sample_weight="w", groups="block", drop="price", kinds={"size": "category"}
    )

    assert model.dropped == ("price", "block", "w")
    assert model.schema.names == ("size", "city", "day")
    assert model.schema["size"].kind == "category"
    assert any("by groups of 'block'" in decision for decision in model.summary["decisions"])
    assert any(feature.channel == "target" for feature in model.encoder.num_features)
    rows = model.summary["rows"]
    assert rows["train"] < N and rows["validation"] <= 250


def test_quantiles_directions_and_an_edited_schema(tiny: Path, flats: str) -> None:
    schema = infer_schema(flats).without("day", "class", "w").replace("block", kind="category")
    model = streamed(flats, "price", quantiles=(0.1, 0.9), monotone={"size": 1}, schema=schema)

    assert model.quantiles == (0.1, 0.9)
    assert model.schema["block"].kind == "category" and model.schema.ignored["day"] == "left out"
    assert any("never falls with 'size'" in decision for decision in model.summary["decisions"])
    low, high = model.predict_quantiles({"size": [30, 100], "city": ["Rome"] * 2, "block": [3, 3]}).T
    assert (low <= high).all() and low[1] >= low[0]
    assert Model.from_bytes(model.to_bytes()).predict(flats).shape == (N,)


def test_class_weights_are_counted_in_all_rows_and_a_threshold_is_chosen(tiny: Path, flats: str) -> None:
    model = streamed(flats, "class", class_weight="balanced", threshold="f1", drop=["price", "w"])

    classes = duckdb.sql(f"SELECT class, count(*) FROM '{flats}' GROUP BY 1 ORDER BY 1").fetchall()
    expected = [f"{label!r} {N / 2 / n:.4g}" for label, n in classes]
    said = next(d for d in model.summary["decisions"] if d.startswith("class weights"))
    assert all(text in said for text in expected)
    assert model.summary["constant"] == pytest.approx([n / N for _, n in classes])
    assert any("threshold" in decision for decision in model.summary["decisions"])
    assert model.score["accuracy"] > 0.9


def test_text_and_marks_of_missing_values(tiny: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"""COPY (SELECT i % 50 AS y, CASE WHEN i % 7 THEN i % 50 ELSE -999 END AS x,
            'room number ' || i || ' has walls of colour ' || (i % 50) AS notes FROM range({N}) r(i))
            TO 'notes.parquet'""")
    model = streamed("notes.parquet", "y", missing=-999, objective="absolute_error")

    assert [column.kind for column in model.schema.columns] == ["number", "text"]
    assert (model.schema["x"].low, model.schema["x"].n_missing) == (0, 429)
    assert model.notation.missing == ("-999",)
    row = {"x": [-999, None], "notes": ["room number 1 has walls of colour 1"] * 2}
    assert np.ptp(model.predict(row)) == 0


def test_lists_in_columns_are_refused(tiny: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT i AS y, i AS x, [i, 2] AS e FROM range({N}) r(i)) TO 'lists.parquet'"
        )
    with pytest.raises(ConfigError, match=r"'e'.*leave memory= out"):
        fit("lists.parquet", target="y", **FAST)
    assert streamed("lists.parquet", "y", drop="e").dropped == ("e",)


def test_the_latest_rows_validate(tiny: Path, flats: str) -> None:
    model = streamed(flats, "price", time="day", validation=0.25, drop="class")
    assert model.summary["rows"]["train"] == pytest.approx(0.75 * N, abs=20)


def stream_of(path: str, target: str) -> Any:
    source = Source.find(path)
    assert source is not None
    budget = streaming.Budget(800 * 10**6, 10**9, True, source)
    return streaming.opened(budget, streaming.Roles(target, (), None, None, None), 0)


def test_a_pass_visits_every_training_row(tiny: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT i * 0.5 AS x, i FROM range({N}) r(i)) TO 'count.parquet'")
    with stream_of("count.parquet", "i") as stream:
        task, _ = stream.task(None)
        encoder, _ = stream.encoder(stream.schema(), task, None)
        valid = stream.validation(encoder, task, 100)
        with streaming.Chunks(stream, encoder, task, None, 700, 2) as chunks:
            assert chunks.n_chunks == 5 and chunks.n_epochs == 10 and chunks.n_rows <= 700
            seen = [[numbers(chunks.take().code) for _ in range(5)] for _ in range(2)]

    held = numbers(valid.code)
    assert len(set(held)) == 100
    for of_pass in seen:
        visited = [number for chunk in of_pass for number in chunk]
        assert set(visited) == set(range(N)) - set(held)
        assert len(visited) - len(set(visited)) < 5
    assert seen[0] != seen[1]  # another order of the chunks
    assert sorted(map(sorted, seen[0])) == sorted(map(sorted, seen[1]))


def numbers(code: Any) -> list[int]:
    return [int(value) for value in code]


def test_rows_of_the_sample_are_encoded_out_of_their_folds(tiny: Path, flats: str) -> None:
    with stream_of(flats, "class") as stream:
        task, _ = stream.task(None)
        encoder, batch = stream.encoder(stream.schema(), task, 5)
        stream.validation(encoder, task, 100)  # the sample begins 150 rows behind
        with streaming.Chunks(stream, encoder, task, batch, 1_000, 1) as chunks:
            given = np.concatenate([chunks.take().x.copy() for _ in range(chunks.n_chunks)])
        plain = stream.encoded(encoder, task, stream.first, N)[0]
    own = np.concatenate([batch.num, batch.cat], axis=1)
    gap = stream.n_aside - stream.first
    assert gap > 0
    np.testing.assert_array_equal(given[:gap], plain[:gap])
    np.testing.assert_array_equal(given[gap:800], own[: 800 - gap].astype(np.float32))
    assert not np.array_equal(given[gap:800], plain[gap:800])


def test_interrupting_gives_the_best_model_so_far_and_leaves_nothing(tiny: Path, flats: str) -> None:
    def interrupt(progress: Any) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    model = streamed(flats, "price", callbacks=[interrupt])
    assert model.summary["interrupted"]
    assert model.history.epochs == 2
    assert not list(tiny.glob(".multilayer-*"))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"target": None, "y": [1.0] * N}, "must hold the target"),
        ({"sample_weight": np.ones(N)}, "must be a column"),
        ({"validation": "flats.parquet"}, "share of its rows"),
        ({"groups": "block", "time": "day"}, "not by both"),
        ({"drop": "price"}, "cannot be dropped"),
        ({"target": ["price", "size"]}, "one target.*leave memory= out"),
        ({"exposure": "w", "objective": "poisson"}, "no exposure.*leave memory= out"),
        ({"network": "tabm"}, "'tabm' needs its table in memory.*leave memory= out"),
        ({"thousands": ","}, "thousands= is not read.*leave memory= out"),
        ({"class_weight": "balanced"}, "for one target of classes"),
    ],
)
def test_what_streaming_cannot_do_is_refused(
    tiny: Path, flats: str, settings: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        fit(flats, **{"target": "price", **FAST, **settings})


@pytest.mark.parametrize(
    ("column", "settings", "match"),
    [
        ("CASE WHEN i % 1000 THEN i END AS y, 1 AS w", {}, "3 of 3,000 have none"),
        ("i AS y, CASE WHEN i = 5 THEN -1 ELSE 1 END AS w", {"sample_weight": "w"}, "'w', from -1"),
        ("i AS y, 1 AS w", {"drop": ["x", "w"]}, "one column beside the target"),
        ("i - 9 AS y, 1 AS w", {"objective": "poisson"}, r"0 or above.*in a shuffled sample"),
        ("'c' || (i % 11) AS y, 1 AS w", {"task": "regression"}, "numbers"),
    ],
)
def test_bad_columns_are_refused(tiny: Path, column: str, settings: dict[str, Any], match: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT hash(i) % 99 AS x, {column} FROM range({N}) r(i)) TO 'bad.parquet'")
    with pytest.raises(DataError, match=match):
        fit("bad.parquet", target="y", **{**FAST, **settings})
    assert not list(tiny.glob(".multilayer-*"))


@pytest.mark.parametrize("memory", ["much", "2 PB", -1, "100MB"])
def test_memory_must_be_a_size(memory: Any) -> None:
    with pytest.raises(ConfigError, match="memory must be"):
        fit({"x": [1.0, 2.0], "y": [1.0, 2.0]}, target="y", memory=memory)


def test_only_large_files_are_streamed(flats: str) -> None:
    assert streaming.budget_for(flats, None) is None
    assert streaming.budget_for({"x": [1]}, "1GiB") is None
    assert streaming.budget_for(flats, "800MB", query="SELECT * FROM self") is None
    with pytest.raises(DataError, match="no file"):
        streaming.budget_for("absent.parquet", "1GiB")


def test_the_command_line_predicts_in_pieces_what_it_predicts_at_once(
    flats: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(flats, target="class", members=1, hidden=4, epochs=1, memory=10**15).save("m.mlp")
    run: Callable[[list[str]], Any] = lambda words: CliRunner().invoke(cli.app, words)  # noqa: E731
    results = {}
    for memory in ("800MB", "1000000GB"):
        for name in ("p.csv", "p.parquet"):
            result = run(["predict", "m.mlp", flats, "--out", name, "--memory", memory])
            assert result.exit_code == 0, result.output
            assert "3,000 predictions" in result.stdout
        printed = run(["predict", "m.mlp", flats, "--memory", memory]).stdout
        assert printed == Path("p.csv").read_text()
        score = run(["evaluate", "m.mlp", flats, "--memory", memory]).stdout
        results[memory] = (np.array(duckdb.sql("SELECT * FROM 'p.parquet'").fetchall()), score)

    pieces, at_once = results.values()
    assert len(pieces[0]) == N
    np.testing.assert_array_equal(pieces[0][:, 2], at_once[0][:, 2])
    np.testing.assert_allclose(pieces[0][:, :2].astype(float), at_once[0][:, :2].astype(float), atol=1e-5)
    assert pieces[1] == at_once[1]
    assert not list(tiny.glob(".multilayer-*"))


PEAK = """
import multilayer as ml
model = ml.fit("big.parquet", target="y", memory="800MB", members=1, hidden=4, epochs=1, time_budget={budget})
assert any("streamed" in decision for decision in model.summary["decisions"])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_the_process_stays_within_the_memory_given() -> None:
    with duckdb.connect() as connection:
        numbers = ", ".join(f"random() AS x{i}" for i in range(14))
        connection.execute(f"COPY (SELECT {numbers}, random() AS y FROM range(1000000)) TO 'big.parquet'")
    code = PEAK.format(budget=8)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 800e6  # in memory it takes some 1.2 GB


@pytest.mark.parametrize("share", [None, 0.25, 0.9])
@pytest.mark.parametrize("ties", [1, 7, 400])
def test_a_cut_by_time_is_that_of_a_fit_in_memory(tiny: Path, share: float | None, ties: int) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT hash(i) % 1000 AS x, i AS y, i // {ties} AS t, (i < 1200)::INT AS w FROM "
            "range(2000) r(i)) TO 'times.parquet'"
        )
    how = {"time": "t", "sample_weight": "w", "validation": share or 0.1}
    model = streamed("times.parquet", "y", **how)
    in_memory = fit("times.parquet", target="y", **{**FAST, **how, "memory": 10**15})

    # Rows of weight 0 have no part in it.
    assert model.summary["rows"]["train"] == in_memory.summary["rows"]["train"]


def test_files_of_one_table_may_have_their_columns_in_another_order(tiny: Path) -> None:
    x, c = np.arange(600) / 7, np.array(["a", "b", "1"])[np.arange(600) % 3]
    y = x + (c == "a")
    Path("parts").mkdir()
    for name, order, rows in (("1", "xcy", range(300)), ("2", "ycx", range(300, 600))):
        columns = {"x": x, "c": c, "y": y}
        lines = [",".join(order), *(",".join(str(columns[k][i]) for k in order) for i in rows)]
        Path(f"parts/{name}.csv").write_text("\n".join(lines))
    model = streamed("parts/*.csv", "y", epochs=30)
    assert model.schema["c"].levels == ("1", "a", "b")
    assert model.score["r2"] > 0.9

    Path("parts/2.csv").write_text("x,z,y\n1,a,2\n")
    with pytest.raises(DataError, match=r"must have the same columns; .*2\.csv' has others"):
        streamed("parts/*.csv", "y")


def test_errors_of_a_table_in_pieces_name_rows_of_the_file(
    tiny: Path, flats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(flats, target="price", drop=["class", "w", "day"], **{**FAST, "memory": 10**15})
    monkeypatch.setattr(streaming, "PIECE_ROWS", 100)
    lines = ["size,city,block,price", *(f"{20 + i % 9},Rome,1,50" for i in range(1_000))]
    lines[751] = "wide,Rome,1,50"
    Path("odd.csv").write_text("\n".join(lines))
    with (
        pytest.warns(TableWarning, match="1 odd cell is missing: row 751 holds 'wide'"),
        streaming.in_order(model, "odd.csv", "800MB") as pieces,
    ):
        assert pieces is not None
        model.evaluate_pieces(pieces)
    lines[751:781] = ["wide,Rome,1,50"] * 30
    Path("odd.csv").write_text("\n".join(lines))
    with (
        pytest.raises(MultilayerError, match="row 751 holds 'wide'"),
        streaming.in_order(model, "odd.csv", "800MB") as pieces,
    ):
        assert pieces is not None
        model.evaluate_pieces(pieces)


def test_levels_keep_the_digits_that_a_file_writes(tiny: Path) -> None:
    rows = [
        f"{version},{code},{i % 7}" for i in range(500) for version, code in [("1.10", "12E3"), ("1.1", "A7")]
    ]
    Path("codes.csv").write_text("\n".join(["version,code,y", *rows]) + "\n")
    model = streamed("codes.csv", "y", task="regression", kinds={"version": "category"})
    in_memory = fit(
        "codes.csv",
        target="y",
        task="regression",
        kinds={"version": "category"},
        **{**FAST, "memory": 10**15},
    )

    for column in (model.schema["version"], in_memory.schema["version"]):
        assert column.levels == ("1.1", "1.10")
    Path("some.csv").write_text("\n".join(["version,code", *["1.10,12E3"] * 500]) + "\n")
    with streaming.in_order(model, "some.csv", "800MB") as pieces:
        assert pieces is not None
        found = np.concatenate([model.predict(piece) for piece in pieces])
    assert found == pytest.approx(model.predict("codes.csv")[:1].repeat(500))


@pytest.mark.parametrize("way", ["{:.2f} %", "{:,.2f}", "{:.2f}"], ids=["unit", "thousands", "an odd cell"])
def test_a_target_of_numbers_in_text_is_refused_and_no_class_for_each(tiny: Path, way: str) -> None:
    y = [way.format(1_000 + i % 700 / 7) for i in range(2_000)]
    y[5] = "?" if way == "{:.2f}" else y[5]
    pd.DataFrame({"x": range(2_000), "y": y}).to_csv("t.csv", index=False)
    with pytest.raises(DataError, match=r"must be numbers without units.*leave memory= out"):
        fit("t.csv", target="y", **FAST)
    labels = pd.DataFrame({"x": range(2_000), "y": [f"word {i}" for i in range(2_000)]})
    labels.to_csv("t.csv", index=False)
    with pytest.raises(DataError, match=r"nearly each of the .* rows has a label of its own"):
        fit("t.csv", target="y", **FAST)


def test_an_index_that_pandas_wrote_is_called_so_as_in_memory(tiny: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0] * 1_000, "y": [3.0, 4.5, 7.0, 1.0] * 500}).to_csv("t.csv")
    model = streamed("t.csv", "y")
    assert model.schema.ignored == {"Unnamed: 0": "row numbers, as pandas writes its index"}


def test_a_kind_of_the_target_is_refused(tiny: Path, flats: str) -> None:
    with pytest.raises(ConfigError, match="the target 'price' was declared as 'category'"):
        fit(flats, target="price", kinds={"price": "category"}, **FAST)
    with pytest.raises(ConfigError, match="the target 'price' was declared as 'category'"):
        fit(flats, target="price", schema=infer_schema(flats).replace("price", kind="category"), **FAST)
