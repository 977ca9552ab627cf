"""The record of a training run, as data: losses, metrics, times, learning rates, the engine."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, get_args

from multilayer import notebook
from multilayer.errors import counted, extra
from multilayer.report import charts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


EngineName = Literal["kernels", "autograd", "NumPy", ""]


class Stop(StrEnum):
    """Why a run ended; `History.stopped` says it in words."""

    FINISHED = "finished"  # all epochs are done
    NO_BETTER = "no better"  # the validation loss has not fallen for as many epochs as patience allows
    OUT_OF_TIME = "out of time"  # the time budget is used up
    LEFT_OUT = "left out"  # the time budget did not suffice for this network of a pack
    CALLBACK = "callback"  # a callback returned True
    INTERRUPTED = "interrupted"  # Ctrl-C
    DIVERGED = "diverged"  # a loss or a weight was no longer finite


@dataclass
class History:
    """The record of one training run; every list except `step_loss` has one entry for each epoch.

    train_loss:   mean loss of the epoch's batches, each before its update
    val_loss:     loss on the validation rows after the epoch; empty without validation
    step_loss:    loss of every batch, in order
    lr:           learning rate of the first parameter group at the end of the epoch
    weight_decay: weight decay of that group in the epoch
    epoch_time_s: seconds that the epoch took
    metrics:      name -> values on the validation rows
    engine:       what computed the steps at the end of the run: compiled "kernels", PyTorch's "autograd", or,
                  in scikit-learn's own algorithm, also "NumPy"
    engine_reason: why the kernels did not run, or only for some epochs, in words
    best_epoch:   epoch (from 1) whose weights were kept; the last one without validation
    stop:         why training ended; None while it has not
    stopped:      the same in words
    findings:     what the doctor's contracts of the first step say, each as `Finding.to_json` gives it

    >>> History(train_loss=[0.5, 0.4], step_loss=[0.5, 0.4], best_epoch=2)
    History: 2 epochs, 2 steps, train loss 0.5 -> 0.4, kept epoch 2
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    weight_decay: list[float] = field(default_factory=list)
    epoch_time_s: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    engine: EngineName = ""
    engine_reason: str = ""
    best_epoch: int = 0
    stop: Stop | None = None
    stopped: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Number of epochs that ran; a last one that broke off counts."""
        return len(self.train_loss)

    def end(self, stop: Stop, words: str) -> None:
        """Say why the run ended."""
        self.stop, self.stopped = stop, words

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(vars(self)) | {"stop": None if self.stop is None else str(self.stop)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "History":
        """The inverse of `to_dict`, also of older files (`upgraded`)."""
        values = upgraded(values)
        stop = values.get("stop")
        return cls(**values | {"stop": None if stop is None else Stop(stop)})

    def to_frame(self) -> "pd.DataFrame":
        """A pandas DataFrame with a row for each epoch, indexed by epoch from 1.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pd = extra("pandas", needed_by="to_frame", install="pandas")
        columns = {"train_loss": self.train_loss, "val_loss": self.val_loss, "lr": self.lr}
        columns |= {"weight_decay": self.weight_decay, "epoch_time_s": self.epoch_time_s, **self.metrics}
        gap = float("nan")  # in a last epoch that broke off
        filled = {k: [*v, *[gap] * (self.epochs - len(v))] for k, v in columns.items() if v}
        return pd.DataFrame(filled, index=pd.RangeIndex(1, self.epochs + 1, name="epoch"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the loss curves into `ax`, or into new axes; returns them.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure = extra("matplotlib.figure", needed_by="plot", install="'multilayer[plot]'")
        if ax is None:
            ax = figure.Figure(figsize=(6, 4), layout="constrained").subplots()
            vars(ax)["_repr_png_"] = partial(_as_png, ax.figure)  # a notebook shows the picture, not the name
        epochs = range(1, self.epochs + 1)
        ax.plot(epochs, self.train_loss, marker=".", label="train")
        if self.val_loss:
            ax.plot(epochs[: len(self.val_loss)], self.val_loss, marker=".", label="validation")
            ax.axvline(self.best_epoch, color="grey", linestyle=":", label=f"kept: epoch {self.best_epoch}")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def _repr_html_(self) -> str:
        """What a notebook shows: the run in words, and its losses."""
        words = repr(self).removeprefix("History: ")
        if not self.train_loss:
            return notebook.panel("History", notebook.paragraph(words))
        epochs = range(1, self.epochs + 1)
        lines = [charts.Line("train", epochs, self.train_loss)]
        if self.val_loss:
            lines.append(charts.Line("validation", epochs[: len(self.val_loss)], self.val_loss))
        mark = (self.best_epoch, f"kept: epoch {self.best_epoch}") if self.val_loss else None
        chart = charts.line_chart("Loss after each epoch", lines, "epoch", "loss", mark_x=mark)
        return notebook.panel("History", notebook.paragraph(f"{words[:1].upper()}{words[1:]}."), chart)

    def __repr__(self) -> str:
        if not self.train_loss:
            return "History: no epochs"
        parts = [
            counted(self.epochs, "epoch"),
            counted(len(self.step_loss), "step"),
            _arrow("train loss", self.train_loss),
        ]
        if self.val_loss:
            parts.append(_arrow("validation loss", self.val_loss))
        parts.append(f"kept epoch {self.best_epoch}")
        why = f" ({self.engine_reason.rstrip('.')})" if self.engine_reason else ""
        engine = f"engine {self.engine}{why}" if self.engine else ""
        return "History: " + ", ".join([*parts, *filter(None, (engine, self.stopped))])


def _as_png(figure: Any) -> bytes:
    """The picture of a figure of matplotlib."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=96)
    return file.getvalue()


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """What `to_dict` gave in any version, as it is now: engine and reason were one text until 0.1.0.

    >>> upgraded({"engine": "autograd: as asked"})
    {'engine': 'autograd', 'engine_reason': 'as asked'}
    """
    engine = values.get("engine")
    if not isinstance(engine, str) or "engine_reason" in values or engine in get_args(EngineName):
        return values
    name, _, reason = engine.partition(" " if engine.startswith("autograd from") else ": ")
    return {**values, "engine": name, "engine_reason": reason}


def _arrow(name: str, values: list[float]) -> str:
    return f"{name} {values[0]:.4g} -> {values[-1]:.4g}"
