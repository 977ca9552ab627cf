"""SQL: one SELECT that predicts, for DuckDB and PostgreSQL."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.export.networks import steps_of_networks
from multilayer.export.outputs import names_of_outputs
from multilayer.export.parity import Run, Said
from multilayer.export.sql import encoder as of_encoder
from multilayer.export.sql import network as of_network
from multilayer.export.sql.stages import SOURCE, Stages, name, number
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.typed import MISSING_DATE, Input, Values, inputs_of
from multilayer.model.model import Model
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table

_TYPES = {"number": "DOUBLE", "text": "VARCHAR", "date": "TIMESTAMP"}


def query(model: Model) -> str:
    """The SELECT.

    Raises:
        ConfigError: columns, networks or targets that it cannot do.
    """
    if model.exposure is not None:
        raise ConfigError("a query predicts without an exposure; this model has one. Export to onnx or c.")
    of_encoder.refuse(model.encoder)
    networks = steps_of_networks(model)
    of_network.refuse(networks)
    stages = Stages()
    x = of_encoder.encoded(model.encoder, stages)
    said: list[list[str]] = []
    for i, network in enumerate(networks):
        kept = [*(column for each in said for column in each), *(x if i < len(networks) - 1 else [])]
        found = of_network.outputs(network, x, stages, kept, f"n{i}_")
        said.append(of_network.linked(model.task.link_steps, found, stages, kept, f"p{i}_"))
    weights = [1.0] * len(networks) if model.weights is None else list(model.weights)
    means = [
        f"({' + '.join(f'{number(w)} * {each[k]}' for w, each in zip(weights, said, strict=True))}) / "
        f"{number(sum(weights))}"
        for k in range(len(said[0]))
    ]
    head = (
        f"-- Predicts {' '.join(listed(model.targets).split())}, in DuckDB and PostgreSQL 12 or newer.\n"
        f"-- Written by multilayer {version('multilayer')}.\n-- Write the name of your table for {SOURCE}.\n"
    )
    return head + stages.query(dict(zip(names_of_columns(model), means, strict=True))) + ";\n"


def names_of_columns(model: Model) -> list[str]:
    """What the SELECT calls its predictions."""
    if model.task.has_probabilities:
        return [f"probability of {output}" for output in names_of_outputs(model)]
    return [f"prediction of {output}" for output in names_of_outputs(model)]


def asking(model: Model, text: str, inputs: Sequence[Input], shape: tuple[int, ...]) -> Run:
    """What asks DuckDB about rows."""
    shown = ", ".join(map(name, names_of_columns(model)))

    def run(values: Values) -> Said:
        import duckdb

        found = {each.column: _as_duckdb(each, values[each.name]) for each in inputs}
        with duckdb.connect(config={"threads": 1}) as connection:
            types = ", ".join(f"{name(each.column)} {_TYPES[each.role]}" for each in inputs)
            connection.execute(f"CREATE TABLE {SOURCE} ({types})")
            marks = ", ".join("?" * len(inputs))
            rows = list(zip(*found.values(), strict=True))
            connection.executemany(f"INSERT INTO {SOURCE} VALUES ({marks})", rows)
            answer = connection.execute(f"SELECT {shown} FROM ({text.rstrip().rstrip(';')})").fetchall()
        return Said(None, np.array(answer, np.float64).reshape(len(rows), *shape))

    return run


def _as_duckdb(each: Input, values: NDArray[Any]) -> list[Any]:
    if each.role == "text":
        return [text or None for text in values.tolist()]
    if each.role == "date":
        moments = values.astype("datetime64[us]").tolist()
        return [None if us == MISSING_DATE else moment for us, moment in zip(values, moments, strict=True)]
    return [None if value != value else value for value in values.tolist()]


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The query of a model.

    Raises:
        ConfigError: columns, networks or targets that it cannot do.
    """
    text = query(model)
    inputs = inputs_of(model.encoder, model.exposure)
    shape = model.task.link(np.zeros((1, model.task.n_outputs), np.float32)).shape[1:]
    notes = (
        f"predictions stand behind the columns of your table as {listed(names_of_columns(model)[:4])}",
        "NULL is missing; it checks nothing, so infinite numbers get an answer",
    )
    return Artefact(text.encode(), inputs, asking(model, text, inputs, shape), notes=notes)


SQL = Target(
    name="sql",
    ending=".sql",
    what="one SELECT of a small model, for DuckDB and PostgreSQL",
    takes=frozenset(),
    make=make,
)
