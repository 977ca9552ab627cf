"""How to train: chosen from a table's shape, or set by the user."""

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, nearest
from multilayer.nn.blocks import make_activation
from multilayer.recipe.networks import PUBLISHED
from multilayer.tasks.classification import Classification
from multilayer.tasks.task import Kind as TaskKind
from multilayer.tasks.task import Task

Whole = int | np.integer[Any]
Real = float | Whole
Quality = Literal["fast", "default", "best"]
QUALITIES: Mapping[str, float] = {"fast": 0.25, "default": 1, "best": 3}  # networks, against the default's
# task -> networks, and widths of their hidden layers
NETWORKS: Mapping[TaskKind, tuple[int, tuple[int, ...]]] = {
    "regression": (12, (96, 64)),
    "binary": (16, (64, 64)),
    "multiclass": (16, (128, 128)),
    "multilabel": (16, (128, 128)),
}
TO_TRAIN = 0.95  # of a time budget; the rest is for the choice among epochs
WIDE = 200  # columns of a table from which on BatchNorm does harm


@dataclass(frozen=True)
class Config:
    """How to train on a table. `for_shape` chooses from the table's shape alone.

    members:      networks, trained side by side from different seeds
    hidden:       widths of the hidden layers
    activation, norm, dropout: as in `mlp`
    epochs:       most passes over the training rows; the cosine schedule ends there
    batch_size:   rows a step
    lr:           peak learning rate of AdamW; matrices of hidden layers take twenty times that, by Muon
    weight_decay: of both, on weight matrices; None: 0.1, for classes 0.2 and more (`NoiseDecay`)
    patience:     epochs without a better validation loss before training stops
    snapshots:    epochs of each network that may be chosen for noisy classes: those of lowest validation loss
    entries:      snapshots that are chosen then, at most, repetitions counted
    target_statistics: whether columns are also encoded by the target's mean (`TargetStatistics`)
    network:      "default", or a network of the literature with its own training, by name (`PUBLISHED`)
    """

    members: int = 12
    hidden: tuple[int, ...] = (96, 64)
    activation: str = "relu"
    norm: str | None = None
    dropout: float = 0.0
    epochs: int = 20
    batch_size: int = 256
    lr: float = 1e-2
    weight_decay: float | None = None
    patience: int = 8
    snapshots: int = 6
    entries: int = 24
    target_statistics: bool = False
    network: str = "default"

    @classmethod
    def for_shape(
        cls, n_rows: int, n_columns: int = 1, kind: TaskKind = "regression", quality: Quality = "default"
    ) -> "Config":
        """The default for a table of this shape: some 750 steps, in batches that grow with the table.

        Two classes, which are often noisy, take smaller networks than several, which share hidden layers
        (`NETWORKS`). Large tables take half as many, as chance is smaller there. Classes take BatchNorm;
        what is not two classes takes PReLU, a slope for each unit below 0.
        "fast" trains a quarter of the default's networks, "best" three times as many, in even numbers.

        >>> config = Config.for_shape(20_000)
        >>> config.batch_size, config.epochs, config.members
        (512, 19, 12)
        """
        sizes = [(2_000, 64), (5_000, 128), (10_000, 256), (60_000, 512)]
        batch_size = next((size for limit, size in sizes if n_rows < limit), 1024)
        epochs = int(np.clip(round(750 * batch_size / n_rows), 6, 20))
        members, hidden = NETWORKS[kind]
        share = 1 if n_rows < 100_000 else 0.5
        more = QUALITIES[quality]
        return cls(
            members=2 * max(1, round(members * share * more / 2)),  # even: many machines have two cores
            hidden=hidden,
            epochs=epochs,
            entries=round(2 * members * max(1, more)),
            batch_size=batch_size,
            activation="relu" if kind == "binary" else "prelu",
            norm="batch" if kind != "regression" and n_columns <= WIDE and n_rows >= WIDE else None,
            target_statistics=kind == "binary",
        )


def base_config(
    network: str, quality: str, n_rows: int, n_columns: int, task: Task, directions: Mapping[str, int]
) -> Config:
    """The default for a table of this shape, or what a network of the literature asks for."""
    checked = _checked_quality(quality)
    if network == "default":
        config = Config.for_shape(n_rows, n_columns, task.kind, checked)
        return replace(config, activation="relu") if directions else config  # a slope may turn negative
    if network not in PUBLISHED:
        known = ", ".join(map(repr, ("default", *PUBLISHED)))
        near = nearest(str(network), ("default", *PUBLISHED))
        raise ConfigError(f"network must be one of {known}; got {network!r}.{near}")
    if checked != "default":
        raise ConfigError(
            f"quality={quality!r} is for the default network; {network!r} is trained as its paper says. "
            "Leave it out, or set epochs and members."
        )
    if directions or (task.kind == "regression" and task.loss != "mse") or task.kind == "multilabel":
        raise ConfigError(
            f"network={network!r} predicts classes or means, without constraints; got "
            f"{_asked_of(task, directions)}. Leave network out, as the default does all of it, or that."
        )
    return Config(network=network, **PUBLISHED[network].settings(n_rows, task))


def _asked_of(task: Task, directions: Mapping[str, int]) -> str:
    """What a network of the literature was asked for and does not do."""
    if directions:
        return f"monotone={dict(directions)!r}"
    return task.aim_in_words() or f"the task {task.kind}"


def with_settings(
    base: Config,
    members: Whole | None,
    hidden: Whole | Sequence[Whole] | None,
    epochs: Whole | None,
    batch_size: Whole | None,
    lr: Real | None,
    patience: Whole | None,
) -> Config:
    """A config with what the user set; None leaves a setting as it is."""
    given: dict[str, Any] = {"members": members, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    given["patience"] = patience
    if hidden is not None:
        widths = (hidden, hidden) if isinstance(hidden, int | np.integer) else hidden
        given["hidden"] = tuple(plain(width) for width in widths)
    chosen = {name: plain(value) for name, value in given.items() if value is not None}
    for name in ("members", "epochs", "batch_size", "lr", "patience"):
        check_positive(name, chosen.get(name))
    return replace(base, **chosen)


def with_network(config: Config, activation: str | None, weight_decay: Real | None) -> Config:
    """A config with the activation and weight decay that the user set, if any."""
    if weight_decay is not None:
        if not weight_decay >= 0:
            raise ConfigError(f"weight_decay must not be negative; got {weight_decay!r}.")
        config = replace(config, weight_decay=float(weight_decay))
    if activation is not None:
        make_activation(activation)  # refuses an unknown name before anything is trained
        config = replace(config, activation=activation)
    return config


def _checked_quality(quality: str) -> Quality:
    if quality not in QUALITIES:
        raise ConfigError(
            f"quality must be 'fast', 'default' or 'best'; got {quality!r}.{nearest(str(quality), QUALITIES)}"
        )
    return quality  # type: ignore[return-value]


def plain(value: Any) -> Any:
    """A NumPy number as a Python one, which a model file can hold."""
    return value.item() if isinstance(value, np.generic) else value


def check_positive(name: str, value: Real | None) -> None:
    """Refuse a setting that is 0 or negative."""
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be positive; got {value!r}.")


def check_settings(task: Task, class_weight: Any, has_exposure: bool) -> None:
    """Refuse class weights and exposures that do not go with the task."""
    if class_weight is not None and not isinstance(task, Classification):
        raise ConfigError(
            f"class_weight is for one target of classes; the task is {task.kind}. Leave it out."
        )
    if has_exposure and not task.takes_exposure:
        raise ConfigError(
            "exposure is for the objectives 'poisson', 'gamma' and 'tweedie'. Choose one of them, or leave "
            "the exposure out."
        )


def class_factors(
    task: Task, class_weight: Any, code: NDArray[np.generic], weight: NDArray[np.float32] | None
) -> NDArray[np.float64] | None:
    """What the rows of each class weigh beside their own weights; None where all weigh alike."""
    if class_weight is None or not isinstance(task, Classification):
        return None
    return task.class_factors(class_weight, code, weight)


def seconds_left(budget: Real | None, started: float) -> float | None:
    """Of a time budget that began when `time.perf_counter` was at `started`, without `TO_TRAIN`'s rest."""
    return None if budget is None else max(TO_TRAIN * float(budget) - (clock.perf_counter() - started), 0.01)
