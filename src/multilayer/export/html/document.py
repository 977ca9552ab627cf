"""A model as what `reader.js` reads: its steps in JSON, and their arrays in letters."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.networks import steps_of_networks
from multilayer.export.onnx.dates import transitions
from multilayer.export.outputs import names_of_outputs
from multilayer.export.typed import Input, inputs_of
from multilayer.model.model import Model
from multilayer.table.column import AS_WRITTEN
from multilayer.table.kinds.kind import Coder
from multilayer.table.steps import Chain, InZone, Step, Vectors

FORMAT = 1
_POOL_OF = {"float32": "f4", "float64": "f8", "int64": "i8", "uint32": "u4"}
# Letters of base64.b85encode that mean something in HTML, and those that stand for them
_LETTERS = str.maketrans("<&>", ",.:")


class _Pools:
    """Arrays of each type one behind the other; equal ones stand there once."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _POOL_OF.values()}
        self._lengths = dict.fromkeys(self._parts, 0)
        self._place_of: dict[tuple[str, bytes], int] = {}

    def add(self, array: NDArray[Any]) -> dict[str, Any]:
        """What stands for it in JSON."""
        pool, flat = _POOL_OF[array.dtype.name], np.ascontiguousarray(array).ravel()
        key = pool, flat.tobytes()
        if key not in self._place_of:
            self._place_of[key] = self._lengths[pool]
            self._parts[pool].append(flat)
            self._lengths[pool] += len(flat)
        return {"array": [pool, self._place_of[key], list(array.shape)]}

    @property
    def lengths(self) -> dict[str, int]:
        """Numbers of each type that is there, in their order."""
        return {name: n for name, n in self._lengths.items() if n}

    def in_letters(self) -> str:
        """All arrays: of each type the first bytes of all, then the second; deflated; in 85 letters."""
        planes = []
        for name in self.lengths:
            joined = np.concatenate(self._parts[name])
            size = joined.dtype.itemsize
            little = joined.astype(joined.dtype.newbyteorder("<"), copy=False)
            planes.append(little.view(np.uint8).reshape(-1, size).T.tobytes())
        return base64.b85encode(zlib.compress(b"".join(planes), 9)).decode().translate(_LETTERS)


class _Encoder:
    """The steps of all columns, each once."""

    def __init__(self, pools: _Pools) -> None:
        self.steps: list[dict[str, Any]] = []
        self._pools = pools
        self._place_of: dict[int, int] = {}
        self._kept: list[Step] = []  # so that no other step gets the identity of one

    def place(self, step: Step) -> int:
        """Where a step stands."""
        if id(step) not in self._place_of:
            self._place_of[id(step)] = len(self.steps)
            self._kept.append(step)
            self.steps.append(_of_encoder(step, self._pools))
        return self._place_of[id(step)]

    def chain(self, chain: Chain) -> list[int]:
        """Where its steps stand."""
        return [self.place(step) for step in chain]


def _of_encoder(step: Step, pools: _Pools) -> dict[str, Any]:
    if isinstance(step, InZone):
        if step.zone == AS_WRITTEN:
            return {"step": "AsWritten"}
        quarters, offsets = transitions(step.zone)
        return {"step": "InZone", "quarters": pools.add(quarters), "offsets": pools.add(offsets)}
    if isinstance(step, Vectors):
        vectors = step.vectors
        arrays = {name: pools.add(array) for name, array in vectors.arrays().items()}
        return {"step": "Vectors", "n_word_terms": vectors.n_word_terms, "folded": _folded(), **arrays}
    return plain(step, pools)


def plain(step: Any, pools: _Pools) -> dict[str, Any]:
    """A step by its name and fields."""
    found: dict[str, Any] = {"step": type(step).__name__}
    for each in fields(step):
        value = getattr(step, each.name)
        if isinstance(value, np.ndarray):
            found[each.name] = pools.add(value)
        elif each.name == "steps":
            found[each.name] = [[plain(one, pools) for one in chain] for chain in value]
        elif isinstance(value, float) and np.isinf(value):
            found[each.name] = "inf" if value > 0 else "-inf"
        else:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def _folded() -> list[tuple[str, str]]:
    """Letters that are others when case does not count."""
    letters = (chr(i) for i in range(0x110000) if not 0xD800 <= i <= 0xDFFF)
    return [(letter, letter.casefold()) for letter in letters if letter.casefold() != letter]


def document(model: Model) -> tuple[dict[str, Any], str, tuple[Input, ...]]:
    """The JSON of a model, its arrays in letters, and what it takes."""
    inputs = inputs_of(model.encoder, model.exposure)
    pools = _Pools()
    encoder = _Encoder(pools)
    columns = [
        _column(coder, inputs, encoder)
        for coder in model.encoder.coders
        if coder.outputs or coder.code is not None
    ]
    found = model.encoder.target_encoding
    statistics = [
        {"place": each.place, "of_code": each.edges is None, "chain": encoder.chain(each.steps)}
        for each in (found.statistics if found else ())
    ]
    networks = [
        [{"step": plain(node.step, pools), "inputs": list(node.inputs)} for node in network.nodes]
        for network in steps_of_networks(model)
    ]
    exposure = next((each.name for each in inputs if each.role == "exposure"), None)
    about = {
        "format": FORMAT,
        "columns": columns,
        "statistics": statistics,
        "networks": networks,
        "weights": [1.0] * len(networks) if model.weights is None else list(model.weights),
        "link": [plain(step, pools) for step in model.task.link_steps],
        "exposure": exposure,
        "steps": encoder.steps,
        "outputs": names_of_outputs(model),
        "pools": pools.lengths,
    }
    return about, pools.in_letters(), inputs


def _column(coder: Coder, inputs: Sequence[Input], encoder: _Encoder) -> dict[str, Any]:
    own = [each for each in inputs if each.column == coder.column.name and each.role != "exposure"]
    (first, *written) = own
    return {
        "input": first.name,
        "role": first.role,
        "written": written[0].name if written else None,
        "chains": [encoder.chain(chain) for _, chain in coder.outputs],
        "code": None if coder.code is None else encoder.place(coder.code),
    }
