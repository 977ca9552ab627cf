"""A script of one's own: one file of PyTorch and NumPy that predicts, and trains the networks anew."""

import io
import pprint
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.export.networks import arrays_of
from multilayer.export.parity import Said
from multilayer.export.script.training import network_json, training_of
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.typed import Values, inputs_of
from multilayer.model.model import Model
from multilayer.recipe.best_stretch import stretch
from multilayer.table.cells import is_missing
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.kinds import kind_of
from multilayer.table.levels import shortest_text
from multilayer.table.sources.names import listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table
from multilayer.table.sources.values import MISSING_MARKS
from multilayer.tasks.classification import Classification
from multilayer.tasks.link_steps import LinkChain

KINDS = ("number", "boolean", "time", "date", "category", "ordered")  # that a script reads
# Of losses, a share of them: the same training but for rounding, of which later steps make much
SAME_STEP, SAME_EPOCH = 1e-5, 1e-4
EMPTY = "MODEL: dict[str, Any] = {}\n"  # what the settings take the place of


class _Arrays:
    """Arrays that steps name, and the file that they go into."""

    def __init__(self) -> None:
        self.of: dict[str, NDArray[Any]] = {}

    def plain(self, value: Any) -> Any:
        """The value, or of an array its name."""
        if isinstance(value, np.ndarray):
            name = f"array.{len(self.of)}"
            self.of[name] = value
            return name
        return list(value) if isinstance(value, tuple) else value

    def step(self, step: Any) -> tuple[str, dict[str, Any]]:
        """A step as its name and fields."""
        return type(step).__name__, {each.name: self.plain(getattr(step, each.name)) for each in fields(step)}

    def link(self, chain: LinkChain) -> list[Any]:
        """Link steps; those of several targets hold chains of their own."""
        found: list[Any] = []
        for step in chain:
            own: Any = step
            values = {each.name: getattr(step, each.name) for each in fields(own)}
            if "steps" in values:
                values["steps"] = [self.link(each) for each in values["steps"]]
            found.append((type(step).__name__, values))
        return found


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The script of a model, which predicts; with rows it trains, too.

    Raises:
        ConfigError: the model has what a script does not cover.
    """
    _check(model)
    arrays = _Arrays()
    told = _settings(model, arrays)
    if settings.train_on is not None:
        read = model._read(settings.train_on, None)
        training = training_of(model, settings.train_on, read)
        arrays.of |= training.arrays
        told["training"] = training.settings
    program, notes = _program(told, arrays.of), []
    if settings.train_on is not None:
        notes.append(_trained_anew(model, told, program, read))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays.of)

    def run(values: Values) -> Said:
        x = program.inputs(_columns(values))
        return Said(x, program.predicted(x, program.saved_networks()))

    return Artefact(
        _source(model, told).encode(),
        inputs_of(model.encoder, model.exposure),
        run,
        files={".npz": file.getvalue()},
        notes=tuple(notes),
    )


def _check(model: Model) -> None:
    """Refuse columns that a script does not read."""
    for column in model.schema.columns:
        plain = not column.unit and not column.thousands and column.decimal == "."
        if column.kind not in KINDS or column.zone == AS_WRITTEN or not plain or column.infinite == "clip":
            raise ConfigError(
                f"a script reads numbers, booleans, times, dates and categories in plain writing; column "
                f"{column.name!r} is {_in_words(column)}. Export to onnx."
            )
    if model.notation != Notation() or model.exposure is not None:
        raise ConfigError(
            "a script does not cover marks and separators that were declared at fit, or exposures. Export to "
            "onnx."
        )


def _in_words(column: Column) -> str:
    return kind_of(column).name + (", with a unit or separators, offsets of its own, or infinities")


def _settings(model: Model, arrays: _Arrays) -> dict[str, Any]:
    used = [coder for coder in model.encoder.coders if coder.outputs or coder.code is not None]
    found = model.encoder.target_encoding
    for i, net in enumerate(model.networks):
        arrays.of |= {f"network.{i}.{name}": value for name, value in arrays_of(net).items()}
    return {
        "marks": list(MISSING_MARKS),
        "columns": [_column(coder.column) for coder in used],
        "numbers": [
            (feature.name, feature.column, [arrays.step(step) for step in chain])
            for coder in used
            for feature, chain in coder.outputs
        ],
        "categories": [(c.column.name, list(c.code.levels)) for c in used if c.code is not None],
        "statistics": [
            (s.place, None if s.edges is None else arrays.plain(s.edges), arrays.plain(s.values))
            for s in (found.statistics if found else ())
        ],
        "targets": _targets(model),
        "networks": [network_json(config) for config in model.configs],
        "weights": list(model.weights or [1.0] * len(model.networks)),
        "link": arrays.link(model.task.link_steps),
        "outputs": _outputs(model),
    }


def _column(column: Column) -> dict[str, Any]:
    more = {"date_format": column.date_format or "ISO 8601"} if column.kind == "date" else {}
    return {"name": column.name, "kind": column.kind, **more}


def _targets(model: Model) -> list[dict[str, Any]]:
    parts: Sequence[Any] = getattr(model.task, "parts", (model.task,))
    return [
        {
            "name": name,
            "labels": [_label(each) for each in part.labels] if isinstance(part, Classification) else None,
            "center": getattr(part, "center", 0.0),
            "scale": getattr(part, "scale", 1.0),
        }
        for name, part in zip(model.targets, parts, strict=True)
    ]


def _label(label: Any) -> str:
    """As a CSV file has it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _outputs(model: Model) -> list[str]:
    """Names of what the script prints of a row."""
    if isinstance(model.task, Classification):
        return [f"probability_{label}" for label in model.task.labels]
    if model.quantiles is not None:
        ends = [f"quantile_{level:g}" for level in model.quantiles]
        return [f"{end}_{name}" if len(model.targets) > 1 else end for name in model.targets for end in ends]
    what = "probability" if model.task.has_probabilities else "prediction"
    return [f"{what}_{name}" if len(model.targets) > 1 else what for name in model.targets]


def _source(model: Model, told: Mapping[str, Any]) -> str:
    """The text of the script."""
    source = files("multilayer.export.script").joinpath("program.py").read_text(encoding="utf-8")
    assert source.count(EMPTY) == 1
    settings = pprint.pformat(dict(told), width=110, compact=True, sort_dicts=False)
    source = source.replace(EMPTY, f"MODEL: dict[str, Any] = {settings}\n")
    targets = " ".join(listed(model.targets).split()).replace('"', "'").replace("\\", "/")
    return source.replace("NAME: predicts TARGET, and", f"A model of {targets}, by multilayer: predicts, and")


def _program(told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The script's functions, on these settings."""
    source = files("multilayer.export.script").joinpath("program.py").read_text(encoding="utf-8")
    program = ModuleType("exported_script")
    vars(program)["__file__"] = "exported_script.py"
    exec(compile(source, "exported_script.py", "exec"), vars(program))  # our own text, without settings
    program.MODEL, program.ARRAYS = told, dict(arrays)  # type: ignore[attr-defined]
    return program


def _columns(values: Values) -> dict[str, NDArray[Any]]:
    """Typed columns as the script has them: None for missing texts."""
    found: dict[str, NDArray[Any]] = {}
    for name, column in values.items():
        texts = [*(text or None for text in column.tolist()), None] if column.dtype == object else None
        found[name] = column if texts is None else np.array(texts, object)[:-1]
    return found


# Training


def _trained_anew(model: Model, told: dict[str, Any], program: Any, table: Table) -> str:
    """Train by the script, find which epochs each network is the mean of, and say how close that comes.

    Raises:
        ConfigError: the script does not come close.
    """
    settings = told["training"]
    rows = program.training_rows(_texts_of(model, table))
    epochs = [list(program.epochs_of(number, rows)) for number in settings["members"]]
    apart = [
        _relative(of[0][1], model.histories[number].step_loss[: len(of[0][1])])
        for number, of in zip(settings["members"], epochs, strict=True)
    ]
    at_first, usual = max(max(each[:2]) for each in apart), float(np.median([max(each) for each in apart]))
    if not (at_first <= SAME_STEP and usual <= SAME_EPOCH):
        raise ConfigError(
            f"a script must train as the library did; the losses of the first steps differ by {at_first:.2g} "
            f"of them, and those of the first epoch by {usual:.2g}. Export without train_on, or to onnx."
        )
    states = [[state for state, _ in of] for of in epochs]
    given = [arrays_of(net) for net in model.networks]
    kept, networks = [], []
    for number, of, wanted in zip(settings["members"], states, given, strict=False):
        candidates = _candidates(len(of), model.histories[number].best_epoch)
        means = {bounds: _mean(program, of[slice(*bounds)]) for bounds in candidates}
        best = min(means, key=lambda bounds: _distance(means[bounds], wanted))
        kept.append(best)
        net = program.network(settings["network"])
        net.load_state_dict(means[best])
        networks.append(net.eval())
    settings["epochs_kept"] = kept
    x = rows[0].numpy()
    ours = program.predicted(x, program.saved_networks())
    theirs = program.predicted(x, [*networks, *program.saved_networks()[len(networks) :]])
    difference = np.abs(ours - theirs)
    size = 1.0 if model.task.has_probabilities else float(ours.std()) or 1.0
    mean, most = float(difference.mean()) / size, float(difference.max()) / size
    unit = "" if model.task.has_probabilities else " standard deviations of the predictions"
    return (
        f"trained anew, the losses of the first two steps differ by {at_first:.2g} of them at most, those of "
        f"the first epoch of most networks by {usual:.2g}, and the predictions in the end by {mean:.2g} on "
        f"average and {most:.2g} at most{unit}"
    )


def _relative(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Differences as a share of the numbers; infinite where there are not as many."""
    if len(ours) != len(theirs):
        return [float("inf")]
    a, b = np.array(ours), np.array(theirs)
    return np.nan_to_num(np.abs(a - b) / np.maximum(np.abs(b), 1e-6), nan=np.inf).tolist()


def _candidates(n_epochs: int, best_epoch: int) -> list[tuple[int, int]]:
    """Stretches of epochs that a network may be the mean of, from 0."""
    ends = range((n_epochs + 1) // 2, n_epochs + 1)
    return list(dict.fromkeys([*(stretch(n_epochs, end) for end in ends), (best_epoch - 1, best_epoch)]))


def _mean(program: Any, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: program.mean([state[name] for state in states]) for name in states[0]}


def _distance(state: Mapping[str, Any], wanted: Mapping[str, NDArray[Any]]) -> float:
    pairs = (
        (state[name].numpy().ravel(), wanted[name].ravel()) for name in wanted if "num_batches" not in name
    )
    return float(sum(((a - b) ** 2).sum() for a, b in pairs))


def _texts_of(model: Model, table: Table) -> dict[str, list[str | None]]:
    """The columns of a table as a CSV file has them."""
    found: dict[str, list[str | None]] = {}
    for name in table.names:
        values = table[name]
        gaps = is_missing(values)
        found[name] = [None if gap else shortest_text(v) for v, gap in zip(values, gaps, strict=True)]
    return found


SCRIPT = Target(
    name="script",
    ending=".py",
    what="a script of PyTorch and NumPy that predicts, and trains the networks anew",
    takes=frozenset({"train_on"}),
    make=make,
)
