"""PyTorch: a program of `torch.export` that takes typed columns, and the networks' weights beside it."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError
from multilayer.export.networks import arrays_of, steps_of_networks
from multilayer.export.parity import Said
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.torch.encoder import EncoderModule, codes_of
from multilayer.export.torch.network import Ensemble
from multilayer.export.typed import Input, Values, inputs_of, typed
from multilayer.model.model import Model
from multilayer.table.cells import Cells
from multilayer.table.kinds import kind_of
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table
from multilayer.table.steps import Code

N_EXAMPLE = 3  # rows that the program is traced with
SINE_ERROR = 1e-6  # of the sine of PyTorch beside NumPy's, in float32


class Program(nn.Module):
    """From typed columns to encoded rows and predictions.

    Shape:   numbers: float64 (rows, columns); dates, written, codes: int64; exposure: float64 (rows, 1)
             -> encoded rows, float32 (rows, columns), and the prediction, float64 (rows, ...)
    """

    def __init__(self, model: Model, inputs: tuple[Input, ...]) -> None:
        super().__init__()
        self.encoder = EncoderModule(model.encoder, inputs)
        steps = steps_of_networks(model)
        weights = np.ones(len(steps)) if model.weights is None else np.array(model.weights, np.float64)
        self.ensemble = Ensemble(steps, model.task, weights)
        self._has_exposure = model.exposure is not None

    def forward(
        self, numbers: Tensor, dates: Tensor, written: Tensor, codes: Tensor, exposure: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encoded rows, and the prediction."""
        x = self.encoder(numbers, dates, written, codes)
        prediction = self.ensemble(x)
        if self._has_exposure:
            prediction = prediction * exposure.reshape(-1, *[1] * (prediction.ndim - 1))
        return x, prediction


def tensors_of(
    inputs: Sequence[Input], codes: Sequence[tuple[str, Code]], values: Values
) -> tuple[Tensor, ...]:
    """The values as the program takes them; texts by the codes of their columns."""
    n_rows = len(next(iter(values.values())))

    def side_by_side(columns: Sequence[NDArray[Any]], dtype: Any) -> Tensor:
        stacked: NDArray[Any] = np.stack(columns, axis=1) if columns else np.zeros((n_rows, 0))
        return torch.from_numpy(np.ascontiguousarray(stacked.astype(dtype)))

    def of_role(role: str) -> list[NDArray[Any]]:
        return [values[each.name] for each in inputs if each.role == role]

    return (
        side_by_side(of_role("number"), np.float64),
        side_by_side(of_role("date"), np.int64),
        side_by_side(of_role("written"), np.int64),
        side_by_side([_looked_up(code, values[name]) for name, code in codes], np.int64),
        side_by_side(of_role("exposure"), np.float64),
    )


def _looked_up(code: Code, values: NDArray[Any]) -> NDArray[np.int64]:
    texts: NDArray[np.object_] = np.array([text or None for text in values.tolist()], object)
    cells = Cells.of_texts(texts)
    assert cells.rows is not None
    return code.run(cells.values, cells)[cells.rows]


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The program of a model, with its weights beside it.

    Raises:
        ConfigError: it has columns of free text.
    """
    from safetensors.numpy import save as to_safetensors

    texts = [column.name for column in model.schema.columns if kind_of(column).is_free_text]
    if texts:
        raise ConfigError(
            f"a PyTorch program takes tensors, which hold no text; {listed(texts)} is free "
            "text. Export to onnx."
        )
    inputs = inputs_of(model.encoder, model.exposure)
    codes = codes_of(model.encoder)
    program = Program(model, inputs).eval()
    first = kept.take(np.arange(min(N_EXAMPLE, kept.n_rows)))
    example = tensors_of(inputs, codes, typed(inputs, model.schema, first))
    rows = torch.export.Dim("rows")
    with torch.no_grad():
        exported = torch.export.export(program, example, dynamic_shapes=[{0: rows}] * len(example))
    about = {
        "inputs": [each.to_json() for each in inputs],
        "codes": [{"column": name, "levels": list(code.levels)} for name, code in codes],
        "target": model.target,
        "task": model.task.to_json(),
    }
    file = io.BytesIO()
    torch.export.save(exported, file, extra_files={"multilayer.json": json.dumps(about)})
    weights = {
        f"network.{i}.{name}": array
        for i, net in enumerate(model.networks)
        for name, array in arrays_of(net).items()
    }
    loaded = torch.export.load(io.BytesIO(file.getvalue())).module()

    def run(values: Values) -> Said:
        encoded, prediction = loaded(*tensors_of(inputs, codes, values))
        return Said(encoded.detach().numpy(), prediction.detach().numpy())

    return Artefact(
        file.getvalue(),
        inputs,
        run,
        files={".safetensors": bytes(to_safetensors(weights))},
        most_encoder=SINE_ERROR,
        notes=(
            "inputs: numbers, dates, dates as written, codes, exposure; outputs: encoded rows, prediction",
        ),
    )


TORCH = Target(
    name="torch",
    ending=".pt2",
    what="a program of torch.export that takes typed columns, and the networks' weights",
    takes=frozenset(),
    make=make,
)
