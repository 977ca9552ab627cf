"""A model as a folder that MLflow loads: `mlflow.pyfunc.load_model` and `mlflow models serve` read it."""

import json
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multilayer.errors import ConfigError, OutputError, nearest
from multilayer.output import write_atomically
from multilayer.runtime.model import RuntimeModel

if TYPE_CHECKING:
    from multilayer.model.table_model import TableModel

METHODS = ("predict", "predict_proba", "predict_quantiles", "predict_columns")
MODEL_FILE = "model.mlp"
LOADER = "multilayer.serve.mlflow_model"
_PARAMS = [
    {"name": "predict_method", "type": "string", "default": METHODS[0], "shape": None, "required": False}
]


def save_mlflow(model: "TableModel | str | Path", folder: str | Path) -> Path:
    """Write a model as a folder that MLflow loads as a Python function, by NumPy alone.

    MLflow itself is not needed to write it. The loaded function predicts labels or numbers; with
    `params={"predict_method": "predict_proba"}`, or "predict_quantiles" or "predict_columns", what the method
    of that name gives.

    The signature declares this parameter and no columns: MLflow would refuse cells that the model takes, such
    as whole numbers where there were fractions, and check them a second time. What they hold stands in
    `model_schema.json`.

    Args:
        model: a model, or its file.
        folder: to be made; MLflow calls it the model's URI.

    Raises:
        OutputError: the folder is there and holds something, or cannot be written.
        ModelFileError: the file is none of a model.

    >>> import multilayer as ml
    >>> from multilayer.serve import save_mlflow
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> folder = save_mlflow(ml.fit(table, target="y", epochs=2, members=2), "model")
    >>> sorted(path.name for path in folder.iterdir())
    ['MLmodel', 'model.mlp', 'model_schema.json', 'python_env.yaml', 'requirements.txt']
    """
    to = Path(folder)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise OutputError(f"the folder of an MLflow model must be new or empty; {to} is not. Name another.")
    data = Path(model).read_bytes() if isinstance(model, str | Path) else _bytes_of(model)
    served = RuntimeModel.from_bytes(data)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{to} cannot be made: {error.strerror}. Name another folder.") from None
    needed = [f"multilayer=={metadata.version('multilayer')}", "numpy"]
    python = ".".join(map(str, sys.version_info[:3]))
    files = {
        MODEL_FILE: data,
        "requirements.txt": "".join(f"{line}\n" for line in needed).encode(),
        "python_env.yaml": _yaml({"python": python, "dependencies": ["-r requirements.txt"]}).encode(),
        "model_schema.json": json.dumps(served.schema.to_json(), indent=1).encode(),
        "MLmodel": _yaml(_description(served, len(data), python)).encode(),
    }
    for name, content in files.items():
        write_atomically(to / name, content)
    return to


def _bytes_of(model: "TableModel") -> bytes:
    to_bytes = getattr(model, "to_bytes", None)
    if to_bytes is None:
        raise ConfigError("save_mlflow needs a fitted `Model`, or the name of its file. Pass one of these.")
    return to_bytes()


def _description(model: RuntimeModel, n_bytes: int, python: str) -> dict[str, Any]:
    return {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": MODEL_FILE,
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": python,
            },
            "multilayer": {
                "data": MODEL_FILE,
                "version": metadata.version("multilayer"),
                "predicts": list(model.targets),
            },
        },
        "signature": {"inputs": None, "outputs": None, "params": json.dumps(_PARAMS)},
        "model_size_bytes": n_bytes,
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


def _yaml(values: Mapping[str, Any]) -> str:
    """Mappings, lists and plain values as YAML; a plain value as JSON, which is YAML, too."""
    return "".join(f"{line}\n" for line in _lines(values))


def _lines(values: Mapping[str, Any]) -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(value))
        else:
            yield f"{key}: {json.dumps(value)}"


class MlflowModel:
    """What MLflow calls: a model's predictions of a frame.

    Args:
        model: by NumPy.
    """

    def __init__(self, model: RuntimeModel) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predictions of a frame, a mapping of columns or a list of records; see `save_mlflow`."""
        method = (params or {}).get("predict_method", METHODS[0])
        if method not in METHODS:
            near = nearest(str(method), METHODS)
            raise ConfigError(f"predict_method must be one of {', '.join(METHODS)}; got {method!r}.{near}")
        found = getattr(self.model, method)(model_input)
        if method == "predict_columns":
            from multilayer.errors import extra

            return extra("pandas", needed_by="predict_columns", install="pandas").DataFrame(found)
        return found

    def get_raw_model(self) -> RuntimeModel:
        """The model of multilayer."""
        return self.model


def _load_pyfunc(path: str) -> MlflowModel:
    """What MLflow calls to load the model, by this name."""
    return MlflowModel(RuntimeModel.load(path))
