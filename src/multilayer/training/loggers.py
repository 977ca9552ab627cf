"""Callbacks that write losses where other tools look for them: a CSV file, TensorBoard, MLflow.

Each is called with a `Progress` after each epoch, of `train`, `train_pack` or `fit`. They change nothing of
the run. A pack has one line: the mean over its networks.
"""

import csv
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from multilayer.errors import DataError, OutputError, extra

FIELDS = ("epoch", "train_loss", "val_loss", "lr", "elapsed_s")


class _Logger(ABC):
    """What all have: `with` closes them."""

    _multilayer_changes = "nothing"  # of networks and optimisers; see training/pack.py

    @abstractmethod
    def __call__(self, progress: Any) -> None:
        """Write an epoch."""

    def close(self) -> None:  # noqa: B027 (a CSV file has nothing open between epochs)
        """Finish what is open; nothing is lost without it, but what waits to be sent."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _numbers(progress: Any) -> dict[str, float]:
    """Losses and rate of an epoch, those that there are."""
    found = {"train_loss": progress.train_loss, "val_loss": progress.val_loss, "lr": progress.lr}
    return {name: float(value) for name, value in found.items() if value is not None}


class CSVLogger(_Logger):
    """A line an epoch in a CSV file: epoch, train_loss, val_loss, lr, elapsed_s. Each is on disk at once.

    Args:
        path: of the file.
        append: go on in a file that is there; without it, a run starts the file anew.

    Raises, when it is called:
        OutputError: the file cannot be written.

    >>> import multilayer as ml, torch
    >>> x = torch.randn(40, 2)
    >>> logger = CSVLogger("run.csv")
    >>> history = ml.train(ml.mlp(2, [4], 1), x, x[:, :1], loss="mse", epochs=2, callbacks=logger)
    >>> Path("run.csv").read_text().splitlines()[0]
    'epoch,train_loss,val_loss,lr,elapsed_s'
    """

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._last_epoch = 0

    def __call__(self, progress: Any) -> None:
        """Write an epoch."""
        is_new = progress.epoch <= self._last_epoch or not self._last_epoch
        begins = is_new and not (self.append and self.path.exists())
        row = {"epoch": progress.epoch, **_numbers(progress), "elapsed_s": round(progress.elapsed_s, 3)}
        try:
            with self.path.open("w" if begins else "a", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                if begins:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise OutputError(
                f"{self.path} must be a file that can be written; {error.strerror or error}. Change the path."
            ) from None
        self._last_epoch = progress.epoch


class TensorBoardLogger(_Logger):
    """Scalars `loss/train`, `loss/validation` and `lr` by epoch, for `tensorboard --logdir`.

    Args:
        log_dir: a folder; each run has one of its own, as TensorBoard compares folders. None makes one below
            "runs", as PyTorch's writer does.

    Raises:
        MissingExtraError: tensorboard is not installed.

    >>> import multilayer as ml, torch
    >>> x = torch.randn(40, 2)
    >>> with TensorBoardLogger("runs/first") as logger:
    ...     _ = ml.train(ml.mlp(2, [4], 1), x, x[:, :1], loss="mse", epochs=2, callbacks=logger)
    >>> len(list(Path("runs/first").glob("events.*")))
    1
    """

    _TAGS = (("train_loss", "loss/train"), ("val_loss", "loss/validation"), ("lr", "lr"))

    def __init__(self, log_dir: str | Path | None = None) -> None:
        install = "'multilayer[tensorboard]'"
        extra("tensorboard", needed_by="TensorBoardLogger", install=install)
        writer = extra("torch.utils.tensorboard", needed_by="TensorBoardLogger", install=install)
        self.writer: Any = writer.SummaryWriter(None if log_dir is None else str(log_dir))

    def __call__(self, progress: Any) -> None:
        """Write an epoch."""
        numbers = _numbers(progress)
        for name, tag in self._TAGS:
            if name in numbers:
                self.writer.add_scalar(tag, numbers[name], progress.epoch)
        self.writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()


class MLflowLogger(_Logger):
    """Metrics `train_loss`, `val_loss` and `lr` by epoch, in a run of MLflow.

    In the active run, where `mlflow.start_run` began one; else in a run of its own, which `close` ends.

    Args:
        experiment: name of the experiment of a run of its own; None is the active one.
        run_name: of a run of its own.
        run_id: a run that is there, in place of all this.
        tracking_uri: where MLflow keeps runs; None is as it is set.

    Attributes:
        run_id: of the run.

    Raises:
        MissingExtraError: mlflow is not installed.
        DataError, when it is called: a loss is not finite, which MLflow does not take.

    >>> import multilayer as ml, torch
    >>> x = torch.randn(40, 2)
    >>> with MLflowLogger("flats", tracking_uri="sqlite:///runs.db") as logger:  # doctest: +SKIP
    ...     history = ml.train(ml.mlp(2, [4], 1), x, x[:, :1], loss="mse", epochs=2, callbacks=logger)
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        run_name: str | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
    ) -> None:
        mlflow = extra("mlflow", needed_by="MLflowLogger", install="'multilayer[mlflow]'")
        self.client: Any = mlflow.MlflowClient(tracking_uri=tracking_uri)
        active = mlflow.active_run() if experiment is None and tracking_uri is None else None
        self._is_own = run_id is None and active is None
        if run_id is not None:
            self.run_id = run_id
        elif active is not None:
            self.run_id = active.info.run_id
        else:
            self.run_id = self.client.create_run(
                self._experiment_id(experiment), run_name=run_name
            ).info.run_id

    def _experiment_id(self, name: str | None) -> str:
        if name is None:
            return "0"
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self.client.create_experiment(name))

    def __call__(self, progress: Any) -> None:
        """Write an epoch."""
        for name, value in _numbers(progress).items():
            if not math.isfinite(value):
                raise DataError(f"MLflow takes finite numbers; {name} of epoch {progress.epoch} is {value}.")
            self.client.log_metric(self.run_id, name, value, step=progress.epoch)

    def close(self) -> None:
        """End a run of its own."""
        if self._is_own:
            self.client.set_terminated(self.run_id)
