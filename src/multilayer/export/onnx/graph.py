"""`Graph`: an ONNX graph while it is being written, node by node."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET, ML_OPSET, IR = 18, 3, 8  # of ONNX 1.13, which every runtime since 2023 reads
ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"


class Graph:
    """Nodes and constants of a graph; every tensor has a name that says where it belongs.

    >>> graph = Graph()
    >>> with graph.part("encoder"):
    ...     graph.add("Abs", "x"), graph.add("Abs", "z"), graph.add("Abs", "x")
    ('/encoder/Abs', '/encoder/Abs_1', '/encoder/Abs')
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._taken: dict[str, int] = {}
        self._parts: list[str] = []
        self._done: dict[tuple[Any, ...], str] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Names of what is added inside begin with this, too."""
        self._parts.append(name)
        try:
            yield
        finally:
            self._parts.pop()

    def add(self, op: str, *inputs: str, domain: str = "", out: str | None = None, **attributes: Any) -> str:
        """A node with one output, whose name this gives; the same one for the same inputs and attributes."""
        key = (op, domain, inputs, repr(sorted(attributes.items())) if len(attributes) < 3 else None)
        if key in self._done and out is None and key[-1] is not None:
            return self._done[key]
        (done,) = self.add_several(op, *inputs, n_outputs=1, domain=domain, out=out, **attributes)
        self._done[key] = done
        return done

    def add_several(
        self,
        op: str,
        *inputs: str,
        n_outputs: int,
        domain: str = "",
        out: str | None = None,
        **attributes: Any,
    ) -> list[str]:
        """A node with several outputs; out: the name of the only one, where it must have a certain one."""
        from onnx import helper

        name = self._name(op)
        outputs = [name if i == 0 else f"{name}:{i}" for i in range(n_outputs)] if out is None else [out]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, domain=domain, **attributes))
        return outputs

    def constant(self, values: Any, dtype: Any = None) -> str:
        """A constant; the same one for the same values."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype)).reshape(np.shape(values))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._name("constant")
            self._arrays[self._constants[key]] = array
        return self._constants[key]

    def _name(self, what: str) -> str:
        name = "/".join(["", *self._parts, what])
        n = self._taken[name] = self._taken.get(name, -1) + 1
        return f"{name}_{n}" if n else name

    # What many need

    def cast(self, x: str, dtype: Any) -> str:
        """X in another type."""
        from onnx import helper

        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def concat(self, parts: Sequence[str], axis: int = 1) -> str:
        """The parts side by side."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=axis)

    def columns(self, x: str, places: Sequence[int], width: int) -> str:
        """These columns of x, of which there are `width`."""
        if list(places) == list(range(width)):
            return x
        return self.add("Gather", x, self.constant(list(places), np.int64), axis=1)

    def floor_divide(self, x: str, by: int) -> str:
        """X // by in int64, towards minus infinity; runtimes divide towards zero, or in float64."""
        d = self.constant(by, np.int64)
        return self.add("Div", self.add("Sub", x, self.add("Mod", x, d)), d)

    def _used(self, outputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The nodes that outputs depend on, and their constants as tensors."""
        from onnx import numpy_helper

        needed = {output.name for output in outputs}
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        arrays = {name: array for name, array in self._arrays.items() if name in needed}
        return nodes[::-1], [numpy_helper.from_array(array, name) for name, array in arrays.items()]

    def model(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        name: str,
        doc: str,
        metadata: dict[str, str],
        version: str,
    ) -> "onnx.ModelProto":
        """The whole of it, as a model of the oldest versions that have all it needs."""
        from onnx import helper

        nodes, constants = self._used(outputs)
        graph = helper.make_graph(nodes, name, list(inputs), list(outputs), constants, doc_string=doc)
        versions = {"": OPSET, ML: ML_OPSET, MICROSOFT: 1}
        domains = {"", *(node.domain for node in nodes)}
        opsets = [helper.make_opsetid(each, versions[each]) for each in sorted(domains)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR,
            producer_name="multilayer",
            producer_version=version,
            doc_string=doc,
        )
        helper.set_model_props(model, metadata)
        return model
