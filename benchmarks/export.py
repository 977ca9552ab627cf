"""Exported models beside the library: largest differences, sizes, and times of a row, 1,000 and many.

python -m benchmarks.export FOLDER [--only NAME ...] [--rows N] [--many N] [--out FILE]

FOLDER holds tables and a `suite.json`, as for `benchmarks.quality`. Each table is fitted fast, written in
every form, and both are asked about random rows and about rows of the table that were not trained on. Times
are processor time, on one thread; beside them a pipeline of scikit-learn (HistGradientBoosting behind an
encoder), and CatBoost where it is installed.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

import multilayer as ml
from benchmarks.suite import Entry, read_suite
from multilayer.errors import MultilayerError
from multilayer.export import TARGETS, feeds

LEAST_S = 0.2  # of processor time that something is repeated for
AT_ONCE = 10_000  # rows of a call, of many


def main() -> None:
    """Measure all tables, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=8_000, help="of a table to fit on, at most")
    parser.add_argument("--many", type=int, default=100_000, help="rows of the largest prediction")
    parser.add_argument("--out", type=Path, default=None, help="a file of lines of JSON")
    asked = parser.parse_args()
    for entry in read_suite(asked.folder, asked.only):
        found = measure(entry, asked.rows, asked.many)
        print(in_words(found), flush=True)
        if asked.out is not None:
            with asked.out.open("a") as file:
                file.write(json.dumps(found) + "\n")


def measure(entry: Entry, n_rows: int, n_many: int) -> dict[str, Any]:
    """All of one table."""
    table = entry.read().drop(columns=list(entry.drop)).dropna(subset=[entry.target])
    table = table.sample(n=min(len(table), n_rows), random_state=0)
    train, test = entry.split(table, 0)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model = ml.fit(train, target=entry.target, quality="fast", seed=0, verbose=False)
        model.save(Path(folder, "m.mlp"))
        found: dict[str, Any] = {
            "table": entry.name,
            "n_columns": len(model.schema.columns),
            "bytes": {"mlp": Path(folder, "m.mlp").stat().st_size},
            "forms": {},
        }
        for name, target in TARGETS.items():
            path = Path(folder, f"m{target.ending}")
            found["forms"][name] = written(model, name, path, test, found["bytes"])
        test = test.drop(columns=entry.target)
        many = test.sample(n=n_many, replace=True, random_state=0)
        found["seconds"] = dict(times(model, Path(folder, "m.onnx"), train, entry.target, many))
    return found


def written(model: ml.Model, name: str, path: Path, test: pd.DataFrame, sizes: dict[str, int]) -> Any:
    """The differences of a form, or why there is none."""
    try:
        done = model.export(name, path, rows=test)
    except MultilayerError as error:
        return str(error)
    sizes[name] = done.n_bytes
    return {"random rows": done.parity.to_json(), "rows of the table": done.on_rows.to_json()}


def times(
    model: ml.Model, path: Path, train: pd.DataFrame, target: str, many: pd.DataFrame
) -> Iterator[tuple[str, Any]]:
    """Seconds of processor time for 1, 1,000 and many rows, of each that predicts."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    sizes = (1, 1_000, len(many))
    fed = {n: feeds(path, many.head(n)) for n in sizes}

    def by_runtime(n: int) -> None:
        for start in range(0, n, AT_ONCE):
            piece = slice(start, start + AT_ONCE)
            session.run(None, {name: values[piece] for name, values in fed[n].items()})

    yield "ONNX Runtime, typed columns", {n: seconds(lambda n=n: by_runtime(n)) for n in sizes}
    yield "multilayer, from the frame", {n: seconds(lambda n=n: model.predict(many.head(n))) for n in sizes}
    others = trees(train, target)
    yield (
        "scikit-learn, from the frame",
        {n: seconds(lambda n=n: others.predict(many.head(n))) for n in sizes},
    )
    if (catboost := catboost_of(train, target)) is not None:
        by_rows = {n: seconds(lambda n=n: catboost(many.head(n))) for n in sizes}
        yield "CatBoost, from the frame", by_rows


def seconds(run: Callable[[], object]) -> float:
    """The least processor time of a call."""
    run()
    best, spent = np.inf, 0.0
    while spent < LEAST_S:
        start = time.process_time()
        run()
        took = time.process_time() - start
        best, spent = min(best, took), spent + max(took, 1e-6)
    return float(best)


def trees(train: pd.DataFrame, target: str) -> Any:
    """HistGradientBoosting behind an encoder, as scikit-learn's documentation has it."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    x, y = train.drop(columns=target), train[target]
    x = x.loc[:, x.nunique() > 1]  # which it refuses
    is_number = pd.api.types.is_numeric_dtype(y) and y.nunique() > 20
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    others = make_column_selector(dtype_exclude=np.number)
    numbers = make_column_selector(dtype_include=np.number)
    columns = make_column_transformer((encoder, others), ("passthrough", numbers))
    forest = HistGradientBoostingRegressor if is_number else HistGradientBoostingClassifier
    return make_pipeline(columns, forest(random_state=0)).fit(x, y)


def catboost_of(train: pd.DataFrame, target: str) -> Callable[[pd.DataFrame], object] | None:
    """CatBoost with its defaults but for fewer trees, or None where it is not installed."""
    try:
        import catboost
    except ImportError:
        return None
    x, y = train.drop(columns=target), train[target]
    texts = x.select_dtypes(exclude=np.number).columns.tolist()

    def plain(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{name: frame[name].astype(str) for name in texts})

    is_number = pd.api.types.is_numeric_dtype(y) and y.nunique() > 20
    cls = catboost.CatBoostRegressor if is_number else catboost.CatBoostClassifier
    model = cls(iterations=200, verbose=False, thread_count=1, cat_features=texts).fit(plain(x), y)
    return lambda frame: model.predict(plain(frame), thread_count=1)


def in_words(found: dict[str, Any]) -> str:
    """A block of lines for a table."""
    lines = [f"{found['table']}: {found['n_columns']} columns; bytes {found['bytes']}"]
    for name, form in found["forms"].items():
        if isinstance(form, str):
            lines.append(f"  {name}: {form}")
            continue
        for rows, each in form.items():
            encoder = "-" if each["encoder"] is None else f"{each['encoder']:.2g}"
            said = f"encoder {encoder}, output {each['output']:.2g}, {each['unknown']} unknown"
            lines.append(f"  {name}, {each['n_rows']:,} {rows}: {said}")
    for name, by_rows in found["seconds"].items():
        told = ", ".join(f"{n:,} rows {value * 1e3:.3g} ms" for n, value in by_rows.items())
        lines.append(f"  {name}: {told}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
