"""`Model`: a trained network with all that it takes to predict from a raw table, in one safe file."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors
from torch import nn

from multilayer.errors import DataError, ModelFileError, OutputError, SchemaError, nearest
from multilayer.nn.networks import NetworkConfig
from multilayer.table.encode import Batch, Encoder
from multilayer.table.read import Table, listed, read_table
from multilayer.table.schema import Schema, check
from multilayer.training.history import History
from multilayer.training.predictor import Predictor
from multilayer.training.task import Label, Task

FORMAT = 1  # every format ever released stays readable


@dataclass
class Model:
    """A fitted model: from a raw table to predictions.

    target:   name of the column that it predicts
    task:     classes or units of the target
    encoder:  turns raw columns into numbers and codes; `schema` is its part
    config:   the networks' architecture
    networks: the trained networks (snapshots of members); their predictions are averaged
    histories: how each network trained; `history` is the first
    summary:  rows, scores on the validation rows, decisions made for the user, seed, versions, times
    dropped:  columns that were left out at fit; they may be there at prediction, or not
    weights:  of the networks in the average; None weighs all alike

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> model = ml.fit(table, target="y", epochs=2)
    >>> model.predict_proba({"x": [0.5]}).shape
    (1, 2)
    """

    target: str
    task: Task
    encoder: Encoder
    config: NetworkConfig
    networks: list[nn.Module]
    histories: list[History]
    summary: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None

    @property
    def schema(self) -> Schema:
        """Kinds, ranges and levels of the columns."""
        return self.encoder.schema

    @property
    def history(self) -> History:
        """How the first network trained."""
        return self.histories[0]

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels, in the order of `predict_proba`'s columns; None for regression."""
        return self.task.classes or None

    @property
    def score(self) -> dict[str, float]:
        """Metrics on the validation rows; NaN where one is not defined, such as roc_auc of a single class."""
        return {name: _nan_if_none(value) for name, value in self.summary.get("score", {}).items()}

    def predict(self, table: Any) -> NDArray[Any]:
        """The most probable label, or the expected value, of each row; shape (n_rows,).

        Compiled kernels predict once they are loaded in the process (by training, 50,000 rows or 100 calls),
        PyTorch until then: the last digit may differ between the two, within the rounding of float32.

        Args:
            table: anything that `read_table` takes, with the columns of the fit, in any order; the target is
                optional.

        Raises:
            SchemaError: missing or unknown columns, or values that are not of their column's kind.
        """
        prediction = self._predictions(read_table(table))
        return prediction if self.classes is None else self.task.labels(prediction)

    def predict_proba(self, table: Any) -> NDArray[np.float64]:
        """Probability of each class; shape (n_rows, n_classes), columns in the order of `classes`.

        Raises:
            SchemaError: as `predict`; or the model is a regression.
        """
        if self.classes is None:
            raise SchemaError(
                f"predict_proba needs classes; this model predicts the number {self.target!r}. Use predict."
            )
        return self._predictions(read_table(table))

    def evaluate(self, table: Any, *, sample_weight: Any = None) -> dict[str, float]:
        """Metrics on a table that has the target, and the same for a baseline that knows no features.

        Returns:
            log_loss, accuracy, (binary) roc_auc; or rmse, mae, r2; and `baseline_` + each: class shares or
            mean of the rows that the model was trained on.

        Raises:
            SchemaError: the target column is absent; otherwise as `predict`.
            DataError: a missing target, a class that was not there at fit, unusable weights.
        """
        read = read_table(table)
        code = self.target_codes(read)
        weight = None if sample_weight is None else check_weights(sample_weight, read.n_rows)
        return self.scores(code, self._predictions(read), weight)

    def target_codes(self, table: Table) -> NDArray[np.generic]:
        """The target of these rows as the task codes it; errors as `evaluate`."""
        if self.target not in table.names:
            raise SchemaError(
                f"evaluating needs the target column {self.target!r}; got columns {listed(table.names)}."
                f"{nearest(self.target, table.names)}"
            )
        return self.task.encode(table[self.target])

    def scores(
        self,
        code: NDArray[np.generic],
        prediction: NDArray[np.float64],
        weight: NDArray[np.float32] | None,
    ) -> dict[str, float]:
        """What `evaluate` returns, of probabilities or values that are there already."""
        scores = self.task.score(code, prediction, weight)
        baseline = self.task.score(code, self._baseline(len(code)), weight)
        return scores | {f"baseline_{name}": value for name, value in baseline.items()}

    def _baseline(self, n_rows: int) -> NDArray[np.float64]:
        shares = self.summary.get("class_shares")
        if shares is None:
            return np.full(n_rows, self.task.center)
        return np.tile(np.array(shares), (n_rows, 1))

    def _predictions(self, table: Table) -> NDArray[np.float64]:
        check(table, self.schema, allowed_extra=(self.target, *self.dropped))
        return self.from_inputs(network_inputs(self.encoder.transform(table)))

    def from_inputs(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities or values from encoded rows, averaged over the networks."""
        return self._predictor(x)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.networks, self.task.link, self.weights)

    def save(self, path: str | Path) -> None:
        """Write the model to one file. A crash on the way leaves what stood there before.

        Raises:
            OutputError: the folder is absent or not writable, or the disk is full.
        """
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file that `save` writes: safetensors, one JSON text in its metadata, no pickle."""
        tensors, encoder = self.encoder.state()
        arrays = {f"encoder.{name}": np.ascontiguousarray(array) for name, array in tensors.items()}
        for i, net in enumerate(self.networks):
            for name, value in net.state_dict().items():
                arrays[f"network.{i}.{name}"] = np.ascontiguousarray(value.cpu().numpy())
        text = json.dumps(
            {
                "format": FORMAT,
                "target": self.target,
                "dropped": list(self.dropped),
                "task": self.task.to_json(),
                "encoder": encoder,
                "network": self.config.to_json(),
                "n_networks": len(self.networks),
                "weights": self.weights,
                "histories": [finite(history.to_dict()) for history in self.histories],
                "summary": finite(self.summary),
            },
            allow_nan=False,
        )
        # One entry of metadata only, as safetensors writes several in random order; the checksum is a tensor.
        return bytes(to_safetensors(arrays | {"sha256": _digest(text, arrays)}, {"multilayer": text}))

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a model that `save` wrote. Nothing in the file is run.

        Raises:
            ModelFileError: absent, truncated, changed since it was written, of a newer format, or not a
                multilayer model.
        """
        meta, arrays = _read(Path(path))
        try:
            return cls._from(meta, arrays)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ModelFileError(
                f"{path} has an intact checksum, but its parts do not make a model ({error}). "
                "Save the model again."
            ) from error

    @classmethod
    def _from(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "Model":
        config = NetworkConfig.from_json(meta["network"])
        return cls(
            target=meta["target"],
            task=Task.from_json(meta["task"]),
            encoder=Encoder.from_state(_below("encoder.", arrays), meta["encoder"]),
            config=config,
            networks=[_network(config, _below(f"network.{i}.", arrays)) for i in range(meta["n_networks"])],
            histories=[_history(values) for values in meta["histories"]],
            summary=meta["summary"],
            dropped=tuple(meta["dropped"]),
            weights=None if meta.get("weights") is None else tuple(meta["weights"]),
        )

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.score.items())
        n = sum(p.numel() for net in self.networks for p in net.parameters())
        return (
            f"Model({self.task.kind} of {self.target!r}, {len(self.schema.names)} columns, {n:,} parameters; "
            f"validation: {scores})"
        )


def _history(values: dict[str, Any]) -> History:
    return History(**{name: _nan_if_none(value) for name, value in values.items()})


def network_inputs(batch: Batch) -> NDArray[np.float32]:
    """Encoded rows as one matrix for a network: numbers, then codes (whole, exact in float32 below 2^24)."""
    return np.concatenate([batch.num, batch.cat.astype(np.float32)], axis=1)


def check_weights(weight: Any, n_rows: int) -> NDArray[np.float32]:
    """Weights of rows, checked.

    Raises:
        DataError: not one finite number for each row, a negative one, or all zero.
    """
    w = np.asarray(weight)
    right = w.shape == (n_rows,) and w.dtype.kind in "fiub"
    if not right or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise DataError(
            f"sample_weight must be {n_rows} finite numbers, none negative and not all zero; "
            f"got shape {w.shape}, type {w.dtype}{f', from {w.min()} to {w.max()}' if right else ''}."
        )
    return w.astype(np.float32)


def _network(config: NetworkConfig, arrays: dict[str, NDArray[Any]]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        net = config.build()
    net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return net.eval()


def _below(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digest(text: str, arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if path.is_dir():
        raise ModelFileError(f"a model must be a file; {path} is a folder. Name a file inside it.")
    if not path.is_file():
        raise ModelFileError(f"a model file must exist; there is none at {path}.{_nearest_file(path)}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a model: it is truncated, damaged or no safetensors file ({error}). "
            "Copy it again, or save the model again."
        ) from error
    if "multilayer" not in metadata:
        raise ModelFileError(
            f"{path} is a safetensors file, but no multilayer model. Pass a file that Model.save wrote."
        )
    text = metadata["multilayer"]
    newer = re.match(r'{"format": (\d+)', text)
    if newer and int(newer[1]) > FORMAT:
        raise ModelFileError(
            f"{path} has format {newer[1]}; this version reads up to {FORMAT}. "
            "Update multilayer: pip install -U multilayer"
        )
    if not np.array_equal(arrays.pop("sha256", np.zeros(0)), _digest(text, arrays)):
        raise ModelFileError(
            f"{path} has been changed since it was saved: its checksum does not fit. Save the model again."
        )
    return json.loads(text), arrays


def _nearest_file(path: Path) -> str:
    folder = path.parent
    return (
        nearest(path.name, (p.name for p in folder.iterdir()))
        if folder.is_dir()
        else f" The folder {folder} is absent, too."
    )


def check_writable(path: str | Path) -> Path:
    """The path, if a file could be written there.

    Raises:
        OutputError: it is a folder, its folder is absent, or it may not be written.
    """
    path = Path(path).resolve()  # the file behind a link is replaced, not the link
    if path.is_dir():
        raise OutputError(f"an output must be a file; {path} is a folder. Add a file name.")
    if path.exists() and not path.is_file():
        raise OutputError(f"an output must be a plain file; {path} is a device or a pipe. Choose another.")
    if not path.parent.is_dir():
        raise OutputError(f"the folder of an output must exist; {path.parent} does not. Make it first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"{path} may not be written: permission denied. Choose another place.")
    return path


def write_atomically(path: str | Path, data: bytes | Iterable[bytes]) -> None:
    """Write to a temporary name beside it, flush to disk, then rename: readers see the old file or the new.

    data: the content, or its pieces in their order.

    Raises:
        OutputError: as `check_writable`; or the disk is full. What stood there is untouched.
    """
    path = check_writable(path)
    temporary = path.with_name(f".{uuid4().hex}.tmp")  # never longer than the name a file system allows
    try:
        with temporary.open("xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}. What stood there is untouched."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """The same plain values with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _nan_if_none(value: Any) -> Any:
    """Undo `finite`, as far as it can be: numbers that were not finite are NaN again."""
    if isinstance(value, dict):
        return {k: _nan_if_none(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_nan_if_none(v) for v in value]
    return math.nan if value is None else value
