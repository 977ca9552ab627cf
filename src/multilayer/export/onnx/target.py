"""ONNX: raw columns in, predictions out, in any runtime of ONNX."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from multilayer.errors import ConfigError, counted, extra
from multilayer.export.networks import steps_of_networks
from multilayer.export.onnx.encoder import Inputs, encoded, needs_letters, unknown_steps
from multilayer.export.onnx.feed import PACKED, feed_of
from multilayer.export.onnx.graph import Graph
from multilayer.export.onnx.link import Answer, answers, mean_prediction
from multilayer.export.onnx.network import outputs_of
from multilayer.export.onnx.session import session_of
from multilayer.export.parity import Said, said_by_model
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.typed import Input, Values, inputs_of, typed
from multilayer.model.model import Model
from multilayer.output import finite
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table

if TYPE_CHECKING:
    import onnx

LARGEST_FILE = 2**31 - 2**20  # bytes: protobuf's limit
_MEANING = {
    "number": "a number, NaN where it is missing; true and false are 1 and 0, times and durations in seconds",
    "date": "microseconds since 1970-01-01 in UTC, -9223372036854775808 where it is missing",
    "written": "what clock and calendar of the date's text show, as microseconds since 1970-01-01",
    "text": 'text, "" where it is missing; never "None" or "nan"',
    "exposure": "a number above 0 that the prediction is multiplied with",
}


class _Written:
    """A model on its way into a graph."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.inputs = inputs_of(model.encoder, model.exposure)
        self.graph = Graph()
        self.encoded, self.prediction = "", ""
        self.answers: list[Answer] = []
        self._write()

    def _write(self) -> None:
        graph, model = self.graph, self.model
        with graph.part("encoder"):
            num, cat = encoded(graph, model.encoder, self._stacks())
            parts = [num] if cat is None else [num, graph.cast(cat, np.float32)]
            self.encoded = graph.concat(parts)
        networks = steps_of_networks(model)
        outputs = outputs_of(graph, networks, self.encoded)
        with graph.part("answer"):
            mean = mean_prediction(graph, model.task, outputs, len(networks), model.weights)
            amounts = self._times_exposure(mean)
            self.prediction = amounts
            self.answers = [self._free(each) for each in answers(graph, model.task, mean, amounts)]

    def _times_exposure(self, mean: str) -> str:
        exposures = [each for each in self.inputs if each.role == "exposure"]
        if not exposures:
            return mean
        n_axes = self.model.task.link(np.zeros((1, self.model.task.n_outputs), np.float32)).ndim
        shape = self.graph.constant([-1, *[1] * (n_axes - 1)], np.int64)
        return self.graph.add("Mul", mean, self.graph.add("Reshape", exposures[0].name, shape))

    def _free(self, answer: Answer) -> Answer:
        """An output of another name than the inputs."""
        name = answer.name
        while name in self._names:
            name += "_"
        return Answer(name, answer.tensor, answer.dtype, answer.shape, answer.what)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(value.name for value in self.value_infos())

    def _of(self, role: str) -> list[Input]:
        return [each for each in self.inputs if each.role == role]

    def _stacks(self) -> Inputs:
        """The columns of each type side by side."""
        graph = self.graph
        found: dict[str, str | None] = {}
        for role in PACKED:
            of_role = self._of(role)
            if not of_role:
                found[role] = None
            elif self.settings.inputs == "packed":
                found[role] = PACKED[role]
            else:
                found[role] = graph.concat([each.name for each in of_role])
        names = {
            "numbers": tuple(each.column for each in self._of("number")),
            "dates": tuple(each.column for each in self._of("date")),
            "texts": tuple(each.column for each in self._of("text")),
        }
        return Inputs(found["number"], found["date"], found["text"], self._all_written(found), names)

    def _all_written(self, found: Mapping[str, str | None]) -> str | None:
        """A column beside each date; of those that need none, the date."""
        written, dates = found["written"], found["date"]
        if written is None or dates is None:
            return None
        columns = [each.column for each in self._of("written")]
        names = [each.column for each in self._of("date")]
        both = self.graph.concat([dates, written])
        places = [len(names) + columns.index(name) if name in columns else i for i, name in enumerate(names)]
        return self.graph.columns(both, places, len(names) + len(columns))

    def value_infos(self) -> list[Any]:
        """The inputs, as ONNX has them."""
        from onnx import TensorProto, helper

        types = {"date": TensorProto.INT64, "written": TensorProto.INT64, "text": TensorProto.STRING}

        def info(name: str, role: str, width: int, what: str) -> Any:
            return helper.make_tensor_value_info(
                name, types.get(role, TensorProto.DOUBLE), ["rows", width], doc_string=what
            )

        if self.settings.inputs == "columns":
            columns = {column.name: column for column in self.model.schema.columns}
            return [info(i.name, i.role, 1, _told(i, columns.get(i.column))) for i in self.inputs]
        found = []
        for role, name in PACKED.items():
            if of_role := self._of(role):
                names = ", ".join(each.column for each in of_role)
                found.append(info(name, role, len(of_role), f"{_MEANING[role]}. Columns: {names}"))
        found += [info(i.name, i.role, 1, _MEANING[i.role]) for i in self._of("exposure")]
        return found

    def proto(self, metadata: Mapping[str, str]) -> "onnx.ModelProto":
        """The model, with what it says of itself."""
        from onnx import helper

        outputs = []
        for each in self.answers:
            self.graph.add("Identity", each.tensor, out=each.name)
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype))
            outputs.append(
                helper.make_tensor_value_info(each.name, kind, ["rows", *each.shape], doc_string=each.what)
            )
        return self.graph.model(
            self.value_infos(),
            outputs,
            name="multilayer",
            doc=_about(self.model),
            metadata=dict(metadata),
            version=version("multilayer"),
        )

    def verification(self, values: Values, said: Said) -> str:
        """Rows as the file takes them, and what it must say of them, as JSON."""
        output = next(each.name for each in self.answers if each.tensor == self.prediction)
        rows = {name: array.tolist() for name, array in values.items()}
        found = finite({"inputs": rows, "prediction": said.prediction.tolist(), "output": output})
        return json.dumps(found)

    def with_insides(self, proto: "onnx.ModelProto") -> bytes:
        """The same with the encoded row and the prediction as outputs, to compare them."""
        import onnx
        from onnx import TensorProto, helper

        more = onnx.ModelProto()
        more.CopyFrom(proto)
        for name, kind in ((self.encoded, TensorProto.FLOAT), (self.prediction, TensorProto.DOUBLE)):
            more.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        return bytes(more.SerializeToString())


def _told(given: Input, column: Any) -> str:
    """The doc_string of an input."""
    words = f"column {given.column!r}: {_MEANING[given.role]}"
    if column is not None and column.levels:
        shown = listed(column.levels[:20])
        words += f". Levels: {shown}{', ...' if len(column.levels) > 20 else ''}"
    elif given.role == "number" and column is not None and column.low is not None:
        words += f". At fit from {column.low:g} to {column.high:g}"
    return words


def _about(model: Model) -> str:
    words = (
        f"Predicts {listed(model.targets)} ({model.task.kind}) from "
        f"{counted(len(model.schema.names), 'raw column')}: all preparation of them is in the graph. Written "
        "by multilayer."
    )
    if needs_letters(model.encoder):
        words += " Of text with letters that it does not know the answer is NaN."
    return words


def _metadata(model: Model, inputs: Sequence[Input], settings: Settings) -> dict[str, str]:
    about = {
        "version": version("multilayer"),
        "sha256": hashlib.sha256(model.to_bytes()).hexdigest(),
        "inputs": [each.to_json() for each in inputs],
        "packed": settings.inputs == "packed",
        "target": model.target,
        "task": model.task.to_json(),
        "dropped": list(model.dropped),
        "notation": model.notation.to_json(),
        "exposure": model.exposure,
    }
    named = {"model_author": settings.author, "model_license": settings.license}  # the names that ONNX has
    return {
        "multilayer": json.dumps(about),
        "schema": json.dumps(model.schema.to_json()),
        **{name: text for name, text in named.items() if text is not None},
    }


def _props(proto: Any) -> dict[str, str]:
    return {each.key: each.value for each in proto.metadata_props}


class _Session:
    """Asks ONNX Runtime."""

    def __init__(self, data: bytes, inputs: Sequence[Input], *, packed: bool) -> None:
        self._session = session_of(data)
        self._inputs, self._packed = inputs, packed
        self._names = [output.name for output in self._session.get_outputs()][-2:]

    def __call__(self, values: Values) -> Said:
        """The encoded row and the prediction, which stand behind the outputs."""
        feed = feed_of(self._inputs, values, packed=self._packed)
        encoded, prediction = self._session.run(self._names, feed)
        return Said(encoded, prediction)


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The file of a model.

    Raises:
        ConfigError: it has what no graph can do, or it is too large.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    onnx: Any = extra("onnx", needed_by="an export to ONNX", install="'multilayer[onnx]'")
    if unknown := unknown_steps(model.encoder):
        raise ConfigError(
            f"an ONNX graph cannot do the steps {listed(unknown)} of this encoder. Export to torch."
        )
    written = _Written(model, settings)
    proto = written.proto(_metadata(model, written.inputs, settings))
    if proto.ByteSize() > LARGEST_FILE:
        raise ConfigError(
            f"an ONNX file holds at most 2 GB; this one would have {proto.ByteSize() / 1e9:.1f}."
        )
    onnx.checker.check_model(proto)
    packed = settings.inputs == "packed"
    notes = [f"inputs: {', '.join(value.name for value in written.value_infos())}"]
    notes += [f"outputs: {', '.join(each.name for each in written.answers)}"]
    most = Artefact.most_output
    insides = written.with_insides(proto)
    if settings.int8:
        from multilayer.export.onnx.int8 import in_int8

        proto, insides, most = (
            in_int8(proto.SerializeToString()),
            in_int8(insides).SerializeToString(),
            np.inf,
        )
        notes.append("weights are rounded to 8 bits")
    run = _Session(insides, written.inputs, packed=packed)
    values = typed(written.inputs, model.schema, kept)
    said = run(values) if settings.int8 else said_by_model(model, kept)
    onnx.helper.set_model_props(proto, _props(proto) | {"verification": written.verification(values, said)})
    return Artefact(proto.SerializeToString(), written.inputs, run, most_output=most, notes=tuple(notes))


ONNX = Target(
    name="onnx",
    ending=".onnx",
    what="a graph for ONNX Runtime, with all preparation in it",
    takes=frozenset({"inputs", "int8", "author", "license"}),
    make=make,
    checked_by="",
)
