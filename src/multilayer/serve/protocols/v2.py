"""The Open Inference Protocol, version 2, with its extension for binary tensors: KServe, Triton, MLServer.

Each column of the model is an input of its name and of shape [n] or [n, 1]; each column of the answer is an
output. null in `data` is a missing value, as MLServer has it.

Source: github.com/kserve/open-inference-protocol; the extension "binary_tensor_data" as Triton describes it.
"""

import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.serve.bodies import JSON, as_array
from multilayer.serve.errors import Problem
from multilayer.serve.protocols.predict import answer_of
from multilayer.serve.request import Answer, Request
from multilayer.serve.served import Served
from multilayer.table.kinds import kind_of

JSON_LENGTH = b"inference-header-content-length"
OCTETS = "application/octet-stream"
PLATFORM = "multilayer"
_TYPES = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_OUTPUT_TYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}


def server(served: Served, request: Request) -> Answer:
    """GET /v2."""
    return _json(
        served,
        {"name": "multilayer", "version": served.model.summary.get("versions", {}).get("multilayer", ""),
         "extensions": ["binary_tensor_data"]},
    )  # fmt: skip


def live(served: Served, request: Request) -> Answer:
    """GET /v2/health/live."""
    return _json(served, {"live": True})


def ready(served: Served, request: Request) -> Answer:
    """GET /v2/health/ready."""
    return _json(served, {"ready": True})


def model_ready(served: Served, request: Request) -> Answer:
    """GET /v2/models/{name}/ready."""
    _check_model(served, request)
    return _json(served, {"name": served.name, "ready": True})


def metadata(served: Served, request: Request) -> Answer:
    """GET /v2/models/{name}."""
    _check_model(served, request)
    inputs = [
        {"name": column.name, "datatype": _input_type(column), "shape": [-1]}
        for column in served.schema.columns
    ]
    if served.model.exposure is not None:
        inputs.append({"name": served.model.exposure, "datatype": "FP64", "shape": [-1]})
    outputs = [
        {"name": name, "datatype": _datatype(values), "shape": [-1]}
        for name, values in served.outputs.items()
    ]
    return _json(
        served,
        {"name": served.name, "versions": [served.version], "platform": PLATFORM,
         "inputs": inputs, "outputs": outputs},
    )  # fmt: skip


def infer(served: Served, request: Request) -> Answer:
    """POST /v2/models/{name}/infer."""
    _check_model(served, request)
    asked, rest = _parts(served, request)
    inputs = _Inputs(served, rest)
    columns = {}
    for each in _listed(asked, "inputs"):
        name = each.get("name")
        if not isinstance(name, str) or name in columns:
            raise _wrong(f"Each input must have a name of its own; got {name!r}. Name it as a column.")
        columns[name] = inputs.cells(name, each)
    if inputs.rest_from != len(rest):
        raise _wrong("The body must end with the last tensor; it goes on. Mend binary_data_size.", 400)
    if not columns:
        raise _wrong("There must be an input for each column of the model; got none. Add them.")
    predicted = served.rows.predict(served.reader.of_columns(columns))
    outputs, data = _outputs(asked, predicted.columns)
    written = {
        "model_name": served.name,
        "model_version": served.version,
        **({"id": asked["id"]} if "id" in asked else {}),
        "outputs": outputs,
    }
    text = served.reader.msgspec.json.encode(written)
    if not data:
        return answer_of(text, JSON, predicted)
    answer = answer_of(text + data, OCTETS, predicted)
    headers = ((JSON_LENGTH, str(len(text)).encode()),)
    return Answer(
        answer.body, OCTETS, headers=headers, n_rows=answer.n_rows, n_bad=answer.n_bad, counts=answer.counts
    )


def _json(served: Served, value: Mapping[str, Any]) -> Answer:
    return Answer(served.reader.msgspec.json.encode(value))


def _wrong(detail: str, status: int = HTTPStatus.UNPROCESSABLE_ENTITY) -> Problem:
    return Problem(status, detail)


def _check_model(served: Served, request: Request) -> None:
    name, *version = request.parts
    if name != served.name:
        raise _wrong(f"The model that is served is {served.name!r}; got {name!r}. Mend the path.", 404)
    if version and version[0] != served.version:
        raise _wrong(f"The version served is {served.version}; got {version[0]!r}. Leave it out.", 404)


def _input_type(column: Any) -> str:
    kind = kind_of(column)
    if column.kind == "boolean":
        return "BOOL"
    return "FP64" if column.kind == "number" and kind.has_numbers and not column.unit else "BYTES"


def _parts(served: Served, request: Request) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the binary tensors behind it."""
    text, rest = request.body, b""
    if (length := request.headers.get(JSON_LENGTH)) is not None:
        if not length.isdigit() or int(length) > len(text):
            raise _wrong(
                f"Inference-Header-Content-Length must be the length of the JSON; got {length!r}.", 400
            )
        text, rest = text[: int(length)], text[int(length) :]
    elif request.content_type not in (JSON, OCTETS):
        raise _wrong(f"Content-Type must be {JSON}; got {request.content_type!r}.", 415)
    asked = served.reader.decoded(text)
    if not isinstance(asked, dict):
        raise _wrong("A request must be an object with inputs. Mend it.")
    if not isinstance(asked.get("id", ""), str):
        raise _wrong("id must be text. Mend it, or leave it out.")
    return asked, rest


def _listed(asked: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = asked.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _wrong(f"{name} must be a list of objects. Mend it.")
    return found


def _parameters(each: Mapping[str, Any]) -> Mapping[str, Any]:
    found = each.get("parameters", {})
    if not isinstance(found, dict):
        raise _wrong("parameters must be an object. Mend it, or leave it out.")
    return found


class _Inputs:
    """Reads the cells of inputs, from JSON or from the bytes behind it, in their order."""

    def __init__(self, served: Served, rest: bytes) -> None:
        self.served, self.rest, self.rest_from = served, rest, 0

    def cells(self, name: str, each: Mapping[str, Any]) -> list[Any]:
        """The cells of one input, one for each row."""
        datatype: Any = each.get("datatype")
        shape: Any = each.get("shape")
        if datatype != "BYTES" and datatype not in _TYPES:
            raise _wrong(
                f"Input {name!r} must be of datatype BYTES or {', '.join(_TYPES)}; got {datatype!r}."
            )
        are_sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not are_sizes or len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise _wrong(f"The shape of input {name!r} must be [rows] or [rows, 1]; got {shape!r}.")
        self.served.reader.check_rows(shape[0])
        parameters = _parameters(each)
        if "binary_data_size" in parameters:
            cells = self._binary(name, datatype, shape[0], parameters["binary_data_size"])
        else:
            cells = _plain(name, datatype, each.get("data"), len(shape))
        if len(cells) != shape[0]:
            raise _wrong(f"Input {name!r} must have {shape[0]} values, as its shape says; got {len(cells)}.")
        if parameters.get("content_type") == "base64":
            cells = [_of_base64(name, cell) for cell in cells]
        return [None if cell != cell else cell for cell in cells]

    def _binary(self, name: str, datatype: str, n_rows: int, size: Any) -> list[Any]:
        if type(size) is not int or not 0 <= size <= len(self.rest) - self.rest_from:
            raise _wrong(f"binary_data_size of input {name!r} must be bytes that came; got {size!r}.", 400)
        data = self.rest[self.rest_from : self.rest_from + size]
        self.rest_from += size
        if datatype == "BYTES":
            return list(_texts(name, data))
        kind = np.dtype(_TYPES[datatype])
        if size != kind.itemsize * n_rows:
            raise _wrong(f"Input {name!r} must have {kind.itemsize * n_rows} bytes; it has {size}.", 400)
        return np.frombuffer(data, kind).tolist()


def _texts(name: str, data: bytes) -> Iterator[str]:
    """Texts with their lengths in four bytes before each."""
    start = 0
    while start < len(data):
        if start + 4 > len(data):
            raise _wrong(f"The bytes of input {name!r} end within a length. Mend them.", 400)
        (length,) = struct.unpack_from("<I", data, start)
        start += 4
        if start + length > len(data):
            raise _wrong(f"The bytes of input {name!r} end within a text. Mend them.", 400)
        try:
            yield data[start : start + length].decode()
        except UnicodeError:
            raise _wrong(f"Texts of input {name!r} must be UTF-8. Mend them.", 400) from None
        start += length


def _plain(name: str, datatype: str, data: Any, n_axes: int) -> list[Any]:
    if not isinstance(data, list):
        raise _wrong(f"data of input {name!r} must be a list; got {type(data).__name__}.")
    if n_axes == 2 and data and isinstance(data[0], list):
        if not all(isinstance(cell, list) and len(cell) == 1 for cell in data):
            raise _wrong(f"data of input {name!r} must be lists of one value, as its shape says. Mend it.")
        data = [cell[0] for cell in data]
    wanted: Any = str if datatype == "BYTES" else bool if datatype == "BOOL" else (int, float)
    for cell in data:
        is_number = not isinstance(cell, bool) or datatype == "BOOL"
        if cell is not None and not (isinstance(cell, wanted) and is_number):
            raise _wrong(f"data of input {name!r} must be {datatype}; got {cell!r}. Mend it.")
    return data


def _of_base64(name: str, cell: Any) -> Any:
    try:
        return cell if cell is None else b64decode(cell, validate=True).decode()
    except (Base64Error, ValueError, TypeError):
        raise _wrong(f"Input {name!r} must hold base64 of UTF-8; got {cell!r}. Mend it.") from None


def _datatype(values: NDArray[Any]) -> str:
    return _OUTPUT_TYPES.get(values.dtype.kind, "BYTES")


def _outputs(
    asked: Mapping[str, Any], columns: Mapping[str, list[Any]]
) -> tuple[list[dict[str, Any]], bytes]:
    """The outputs that are asked for, all of them otherwise; and the bytes of those that are to be binary."""
    by_default = _parameters(asked).get("binary_data_output", False)
    wanted = _listed(asked, "outputs") if asked.get("outputs") else [{"name": name} for name in columns]
    outputs, data = [], b""
    for each in wanted:
        name: Any = each.get("name")
        if name not in columns:
            raise _wrong(f"Outputs are {', '.join(columns)}; got {name!r}. Mend its name.")
        values = as_array(columns[name])
        written: dict[str, Any] = {
            "name": name,
            "datatype": _datatype(values),
            "shape": [len(values)],
        }
        if _parameters(each).get("binary_data", by_default) is True:
            part = _bytes_of(values)
            written["parameters"] = {"binary_data_size": len(part)}
            data += part
        else:
            written["data"] = values.tolist()
        outputs.append(written)
    return outputs, data


def _bytes_of(values: NDArray[Any]) -> bytes:
    if values.dtype != object:
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    texts = [str(value).encode() for value in values.tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
