"""Whether an exported file says on this machine what it said where it was exported."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from multilayer.errors import ConfigError, ModelFileError
from multilayer.export.feeds import metadata_of, reader_of
from multilayer.export.onnx.feed import feed_of
from multilayer.export.onnx.session import session_of
from multilayer.export.parity import Parity, Said, compared, unit_of
from multilayer.export.targets import TARGETS
from multilayer.model.verification import LARGEST_DIFFERENCE


def verify(path: str | Path) -> Parity:
    """Let ONNX Runtime predict the rows that stand in an ONNX file, and compare.

    Raises:
        ModelFileError: the file is absent, none of ours, holds no rows, or predicts otherwise here.
        ConfigError: it is of a form that is checked in another way, which is said.
        MissingExtraError: onnxruntime is not installed.

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> ml.fit(table, target="y", epochs=2).export("onnx", "ab.onnx").parity.encoder
    0.0
    >>> verify("ab.onnx").output < 1e-6
    True
    """
    ending = Path(path).suffix.lower()
    for target in TARGETS.values():
        if target.ending == ending and target.checked_by:
            raise ConfigError(
                f"verify runs model files and ONNX files; {path} is of the form {target.name}. "
                f"{target.checked_by}"
            )
    reader = reader_of(path)
    data = Path(path).read_bytes()
    try:
        kept = json.loads(dict(metadata_of(data))["verification"])
        values = {each.name: _array(kept["inputs"][each.name], each.role) for each in reader.inputs}
        expected, output = np.array(kept["prediction"], np.float64), str(kept["output"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path} must hold rows with their predictions; it does not ({error}). Export the model again."
        ) from None
    try:
        feed = feed_of(reader.inputs, values, packed=reader.is_packed)
        (prediction,) = session_of(data).run([output], feed)
    except (RuntimeError, ValueError) as error:  # of which all of ONNX Runtime's are
        raise ModelFileError(
            f"{path} must run in ONNX Runtime; it says: {error}. Use 1.21 or newer."
        ) from None
    is_probability = reader.task.has_probabilities
    found = compared(
        Said(None, expected), Said(None, prediction), unit_of(reader.task), is_probability=is_probability
    )
    if not found.n_rows or found.output > LARGEST_DIFFERENCE:
        raise ModelFileError(
            f"predictions must be those that stand in {path} (within {LARGEST_DIFFERENCE:g}); "
            f"{found.in_words}. Copy the file again, or use another release of ONNX Runtime."
        )
    return found


def _array(cells: list[Any], role: str) -> Any:
    if role == "text":
        texts = np.empty(len(cells), object)
        texts[:] = cells
        return texts
    if role in ("date", "written"):
        return np.array(cells, np.int64)
    return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
