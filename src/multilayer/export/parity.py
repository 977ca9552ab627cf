"""How close an artefact comes to the library, on rows that both are asked about."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.networks import steps_of_networks
from multilayer.export.typed import Input, Values, typed
from multilayer.model.model import Model
from multilayer.model.table_model import network_inputs
from multilayer.table.sources.read import Table
from multilayer.tasks.task import Task

ROWS_AT_ONCE = 500
FLOAT32_ERROR = 1e-6  # of networks that are the same but for the order in which they add up

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Said:
    """What an artefact says of rows.

    encoded:    the numbers and codes that networks take, (n_rows, n_columns); None where it does not tell
    prediction: probabilities, numbers or quantiles, as `Model` has them, (n_rows, ...)
    again:      of the library, the same by NumPy, which rounds in another order; None of an artefact
    """

    encoded: Floats | None
    prediction: Floats
    again: Floats | None = None


@dataclass(frozen=True)
class Parity:
    """The largest differences between an artefact and the library.

    n_rows:  that both were asked about
    encoder: of an encoded number or code; None where the artefact does not tell
    output:  of a probability; of a number, as a share of it plus what one unit of a network's output is
    rounding: the same between two ways of the library: kernels or PyTorch, and NumPy
    unknown: rows of which the artefact says NaN, as it does not know their text's letters
    """

    n_rows: int
    encoder: float | None
    output: float
    rounding: float = 0.0
    unknown: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def in_words(self) -> str:
        """One line."""
        said = f"largest difference on {self.n_rows:,} rows: "
        if self.encoder is not None:
            said += f"encoder {self.encoder:.2g}, "
        said += f"output {self.output:.2g}"
        return said + (
            f"; {self.unknown} more rows with letters that it does not know" if self.unknown else ""
        )


Run = Callable[[Values], Said]


def parity(model: Model, inputs: tuple[Input, ...], table: Table, run: Run) -> Parity:
    """Ask both about all rows."""
    ours, theirs = [], []
    for start in range(0, table.n_rows, ROWS_AT_ONCE):
        piece = table.take(np.arange(start, min(start + ROWS_AT_ONCE, table.n_rows)))
        ours.append(said_by_model(model, piece))
        theirs.append(run(typed(inputs, model.schema, piece)))
    is_probability = model.task.has_probabilities
    return compared(_together(ours), _together(theirs), unit_of(model.task), is_probability=is_probability)


def said_by_model(model: Model, table: Table) -> Said:
    """What the library says of rows that were read and checked."""
    x = network_inputs(model.encoder.transform(table))
    prediction = model.from_inputs(x)
    exposure = None
    if model.exposure is not None:
        exposure = np.asarray(table[model.exposure], np.float64).reshape(-1, *[1] * (prediction.ndim - 1))
        prediction = prediction * exposure
    linked = [model.task.link(steps.run(x)) for steps in steps_of_networks(model)]
    again = np.average(linked, axis=0, weights=model.weights)
    return Said(x, prediction, again if exposure is None else again * exposure)


def cost_in_words(model: Model, inputs: tuple[Input, ...], table: Table, run: Run) -> str:
    """The metric of a rounded artefact beside the library's, on rows that have the target."""
    code, weight = model._codes_and_weights(table, None)
    name = model.task.metric
    scores = []
    for said in (said_by_model(model, table), run(typed(inputs, model.schema, table))):
        prediction = said.prediction.astype(np.float64)
        if model.exposure is not None:
            exposure = np.asarray(table[model.exposure], np.float64)
            prediction = prediction / exposure.reshape(-1, *[1] * (prediction.ndim - 1))
        scores.append(model.task.score(code, prediction, weight)[name])
    return f"{name} {scores[1]:.6g} in 8 bits, {scores[0]:.6g} in full, on the rows given"


def unit_of(task: Task) -> Floats:
    """What a prediction changes by where outputs of networks go from 0 to 1; 1 of probabilities."""
    if task.has_probabilities:
        return np.ones(1)
    ends = (np.full((1, task.n_outputs), end, np.float32) for end in (0.0, 1.0))
    low, high = map(task.link, ends)
    return np.abs(high - low)


def compared(ours: Said, theirs: Said, unit: Floats, *, is_probability: bool) -> Parity:
    """The largest differences; a row that is NaN in all that the artefact says is not known to it.

    unit: of predictions (1, ...)
    """
    shape = ours.prediction.shape
    if theirs.prediction.shape != shape:
        raise ValueError(f"predictions have the shape {theirs.prediction.shape}, not {shape}")
    unknown = np.isnan(theirs.prediction.reshape(len(theirs.prediction), -1)).all(axis=1)
    known = ~unknown
    encoder = None
    if theirs.encoded is not None and ours.encoded is not None:
        encoder = _largest(ours.encoded[known], theirs.encoded[known])
    a, b = ours.prediction[known], theirs.prediction[known]
    size = np.abs(a) + unit if not is_probability else np.ones_like(a)
    output = _largest_share(a, b, size)
    rounding = 0.0 if ours.again is None else _largest_share(a, ours.again[known], size)
    return Parity(int(known.sum()), encoder, output, rounding, int(unknown.sum()))


def _largest_share(a: Floats, b: Floats, size: Floats) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(a == b, 0.0, np.abs(a - b) / size)
    return float(np.nan_to_num(shares, nan=np.inf).max(initial=0.0))


def _largest(a: Floats, b: Floats) -> float:
    if a.shape != b.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a.astype(np.float64) - b))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def _together(parts: list[Said]) -> Said:
    encoded = None
    if all(part.encoded is not None for part in parts):
        encoded = np.concatenate([part.encoded for part in parts if part.encoded is not None])
    again = [part.again for part in parts if part.again is not None]
    prediction = np.concatenate([part.prediction for part in parts])
    return Said(encoded, prediction, np.concatenate(again) if again else None)
