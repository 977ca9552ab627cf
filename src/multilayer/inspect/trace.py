"""`trace`: what every layer of a network does to a batch, as data that can be printed."""

import copy
import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from multilayer.errors import DataError, extra, nearest
from multilayer.training.autograd import REFUSALS, first_that_fits, is_torchs
from multilayer.training.random_state import RandomState
from multilayer.training.user_arrays import Inputs, as_inputs, call, parts_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LayerTrace:
    """One layer's part in a `Trace`.

    name:         where it stands in the network, such as "0" or "encoder.1"; "input" for the batch itself
    kind:         the layer as PyTorch prints it
    shape:        of the output
    n_parameters: trainable numbers in it
    output:       what came out
    mean, std:    of all output values; std is over all of them, with divisor n
    zeros:        share of output values that are exactly zero
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    n_parameters: int
    output: Tensor
    mean: float
    std: float
    zeros: float


class Trace:
    """The layers that a batch went through, in the order in which they ran.

    Iterate over it, take a layer by number or name, print it, or turn it `to_frame()`.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> layers = trace(net, torch.zeros(4, 2))
    >>> layers["1"].shape, len(layers)
    ((4, 3), 3)
    """

    def __init__(self, layers: list[LayerTrace], n_parameters: int, mode: str) -> None:
        self.layers = layers
        self.n_parameters = n_parameters
        self.mode = mode

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerTrace]:
        return iter(self.layers)

    def __getitem__(self, key: int | str) -> LayerTrace:
        if isinstance(key, int):
            return self.layers[key]
        for layer in reversed(self.layers):
            if layer.name == key:
                return layer
        names = [layer.name for layer in self.layers]
        raise KeyError(f"no layer {key!r}; layers: {', '.join(names)}.{nearest(key, names)}")

    @property
    def output(self) -> Tensor:
        """What the network gave."""
        return self.layers[-1].output

    def to_frame(self) -> "pd.DataFrame":
        """A pandas DataFrame with a row for each layer, without the output values.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pd = extra("pandas", needed_by="to_frame", install="pandas")
        rows = [{k: v for k, v in vars(layer).items() if k != "output"} for layer in self.layers]
        return pd.DataFrame(rows).set_index("name")

    def __repr__(self) -> str:
        rows = [HEADER, *self._cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
        lines = [
            "  ".join(
                c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in [*lines, self._footer()])

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self._cells())
        return (
            f"<table><thead>{row(HEADER, 'th')}</thead><tbody>{body}</tbody></table><p>{self._footer()}</p>"
        )

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                layer.name,
                layer.kind,
                " x ".join(map(str, layer.shape)),
                f"{layer.n_parameters:,}" if layer.n_parameters else "",
                f"{layer.mean:.4f}",
                f"{layer.std:.4f}",
                f"{layer.zeros:.0%}",
            )
            for layer in self.layers
        ]

    def _footer(self) -> str:
        return f"{self.n_parameters:,} trainable parameters; network in {self.mode} mode"


HEADER = ("layer", "what it is", "output", "parameters", "mean", "std", "zeros")


def trace(net: nn.Module, x: Any) -> Trace:
    """Send a batch through a network and record the output of each layer; the network itself does not change.

    The network runs in the mode that it is in: call `net.eval()` first to see it as it predicts. In training
    mode BatchNorm uses the statistics of the batch. Its running statistics and torch's random state are
    restored afterwards.

    Args:
        net: any module; its layers without children are recorded.
        x: the batch (n_rows, ...): NumPy, tensor, DataFrame; or several, in a tuple or dict, as in `train`.

    Returns:
        the `Trace`; its first entry, "input", is the batch itself.

    Raises:
        DataError: x holds text, or does not fit a layer, which is named.

    >>> net = nn.Sequential(nn.ReLU(), nn.Flatten())
    >>> trace(net, [[-1.0, 1.0], [0.0, 4.0]])
    layer  what it is                        output  parameters    mean     std  zeros
    input  batch                             2 x 2               1.0000  1.8708    25%
    0      ReLU()                            2 x 2               1.2500  1.6394    50%
    1      Flatten(start_dim=1, end_dim=-1)  2 x 2             1.2500  1.6394    50%
    0 trainable parameters; network in training mode
    """
    batch = _input(net, x)
    layers = [_record(name, "batch", 0, part) for name, part in _named(batch)]
    seen: set[int] = set()
    running: list[str] = []

    def before(name: str, module: nn.Module) -> None:
        running.append(f"{name} ({module})")

    def after(name: str, module: nn.Module, output: Any) -> None:
        running.pop()
        if isinstance(output, Tensor):
            own = [p for p in module.parameters() if p.requires_grad and id(p) not in seen]
            seen.update(map(id, own))
            layers.append(_record(name, str(module), sum(p.numel() for p in own), output))

    handles = []
    for name, module in leaves(net):
        handles.append(module.register_forward_pre_hook(lambda m, _, name=name: before(name, m)))
        handles.append(module.register_forward_hook(lambda m, _, out, name=name: after(name, m, out)))
    buffers = copy.deepcopy(list(net.buffers()))
    try:
        with torch.no_grad(), RandomState(0, of_all=not is_torchs(net)).in_place():
            call(net, batch)
    except DataError:
        raise
    except REFUSALS as error:
        at = f"layer {running[-1]}" if running else "the network"
        shapes = ", ".join(str(tuple(part.shape)) for part in parts_of(batch))
        raise DataError(
            f"{at} cannot take what comes to it: {error}. The batch has shape {shapes}."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        for buffer, value in zip(net.buffers(), buffers, strict=True):
            buffer.copy_(value)
    total = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return Trace(layers, total, "training" if net.training else "evaluation")


def leaves(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules without children, by name; a network that is one itself is named by its class."""
    found = [(name, module) for name, module in net.named_modules() if not list(module.children())]
    return [(name or type(module).__name__, module) for name, module in found]


def _record(name: str, kind: str, n_parameters: int, output: Tensor) -> LayerTrace:
    values = output.detach().double()
    return LayerTrace(
        name=name,
        kind=kind,
        shape=tuple(output.shape),
        n_parameters=n_parameters,
        output=output.detach().clone(),
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        zeros=float((values == 0).double().mean()),
    )


def _input(net: nn.Module, x: Any) -> Inputs:
    """The batch as the network can take it; as numbers where it can take it in no way, to see where it
    fails.
    """
    candidates = as_inputs(net, x)
    if len(candidates) == 1:
        return candidates[0]
    try:
        return first_that_fits(net, candidates)[0]
    except REFUSALS:
        return candidates[0]


def _named(batch: Inputs) -> list[tuple[str, Tensor]]:
    """The parts of a batch, with names for the record."""
    if isinstance(batch, Tensor):
        return [("input", batch)]
    parts = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return [(f"input {key}", part) for key, part in parts]
