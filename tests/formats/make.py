"""Small models of every task, kind of column and architecture, with rows and predictions, for one format.

    PYTHONPATH=src:. python tests/formats/make.py tests/formats/1

Run once when a format is released, and never again for it: files that are made anew prove nothing.
"""

import json
import sys
from pathlib import Path

import numpy as np

import multilayer as ml
from multilayer.table.sources.read import Table
from tests.table.test_steps import N, columns_of_every_kind, schema_of, targets

TINY = {"members": 2, "epochs": 1, "hidden": 4, "seed": 0}


def models():
    """Name -> model."""
    _, columns = columns_of_every_kind(0)
    for name, (of_target, options) in targets().items():
        target = list(of_target) if len(of_target) > 1 else "y"
        table = Table({**columns, **of_target})
        yield name, ml.fit(table, target=target, schema=schema_of(columns), **TINY, **options)
    rng = np.random.default_rng(0)
    few = {"number": columns["number"], "category": columns["category"]}
    y = np.where(rng.random(N) < 0.5, "yes", "no").astype(object)
    for network in ("mlp", "realmlp", "resnet", "tabm"):
        hidden = (4, 4) if network == "resnet" else 4
        yield network, ml.fit({**few, "y": y}, target="y", network=network, epochs=1, hidden=hidden, seed=0)
    options = {"objective": "poisson", "exposure": "days", "monotone": {"number": "increasing"}}
    counted = {**few, "days": rng.uniform(1, 9, N), "y": rng.poisson(3, N)}
    yield "monotone with exposure", ml.fit(counted, target="y", missing=["?"], **options, **TINY)
    line = {"a": rng.normal(size=400), "b": rng.choice(list("xyz"), 400)}
    line["y"] = 3 * line["a"] + (line["b"] == "x") + rng.normal(size=400)
    yield "linear", ml.fit(line, target="y", **TINY)


def rows_for(model):
    """Columns as they stand in JSON."""
    _, columns = columns_of_every_kind(1, n_rows=8)
    columns |= {"days": np.linspace(1, 8, 8), "a": np.linspace(-2, 2, 8), "b": np.array([*"xyzwxyz", None])}
    known = (*model.schema.names, *([model.exposure] if model.exposure else []))
    cells = {name: columns[name].tolist() for name in known}
    cells = {name: [None if cell != cell else cell for cell in values] for name, values in cells.items()}
    return json.loads(json.dumps(cells, default=str))


def main(folder):
    folder.mkdir(parents=True)
    for name, model in models():
        stem = name.replace(" ", "_")
        model.save(folder / f"{stem}.mlp")
        rows = rows_for(model)
        said = {column: values.tolist() for column, values in model.predict_columns(rows).items()}
        (folder / f"{stem}.json").write_text(json.dumps({"rows": rows, "predictions": said}))
        print(stem, (folder / f"{stem}.mlp").stat().st_size, model.linear is not None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
