"""What MLflow's scoring server answers, and with it SageMaker and Vertex AI: /invocations and /ping."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from multilayer.serve.bodies import CSV, JSON, NDJSON, READERS, records_of
from multilayer.serve.errors import Problem
from multilayer.serve.protocols.predict import answer_of
from multilayer.serve.request import Answer, Request
from multilayer.serve.rows import Predicted, Rows
from multilayer.serve.served import Served

SPOKEN = "3.0.0"  # of MLflow, whose protocol this is
METHODS = ("predict", "predict_proba", "predict_quantiles", "predict_columns")
TEXT = "text/plain; charset=utf-8"


def ping(served: Served, request: Request) -> Answer:
    """GET /ping."""
    return Answer(b"\n", TEXT)


def version(served: Served, request: Request) -> Answer:
    """GET /version."""
    return Answer(SPOKEN.encode(), TEXT)


def invocations(served: Served, request: Request) -> Answer:
    """POST /invocations."""
    kind, method = request.content_type, "predict"
    if kind == JSON:
        rows, method = _of_json(served, served.reader.decoded(request.body))
    elif kind in (CSV, NDJSON):
        rows = READERS[kind](served.reader, request.body).rows
    else:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"A body must be {JSON}, {CSV} or {NDJSON}; Content-Type is {kind!r}. Convert it.",
        )
    predicted = served.rows.predict(rows)
    written = {"predictions": _ANSWERS[method](served, predicted)}
    return answer_of(served.reader.msgspec.json.encode(written), JSON, predicted)


def _wrong(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _of_json(served: Served, body: Any) -> tuple[Rows, str]:
    """The rows of a body, and which predictions are wanted of them."""
    forms = [name for name in _FORMS if isinstance(body, dict) and name in body]
    if len(forms) != 1:
        raise _wrong(
            f"The body must be an object with exactly one of {', '.join(_FORMS)}; got "
            f"{', '.join(forms) or 'none of them'}. Mend it."
        )
    params = body.get("params") or {}
    method = params.get("predict_method", METHODS[0]) if isinstance(params, dict) else None
    if method not in METHODS:
        raise _wrong(f"params must be an object whose predict_method is one of {', '.join(METHODS)}.")
    if method == "predict_proba" and not served.model.task.has_probabilities:
        raise _wrong("predict_proba needs classes; this model predicts numbers. Use predict.")
    if method == "predict_quantiles" and served.model.quantiles is None:
        raise _wrong("predict_quantiles needs a model of quantiles; this one predicts none. Use predict.")
    return _FORMS[forms[0]](served, body[forms[0]]), method


def _of_split(served: Served, split: Any) -> Rows:
    """{"columns": names, "data": rows}."""
    names: Any = split.get("columns") if isinstance(split, dict) else None
    data: Any = split.get("data") if isinstance(split, dict) else None
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not are_names or not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise _wrong(
            "dataframe_split must be an object of columns, a list of names, and data, a list of rows."
        )
    if len(set(names)) < len(names):
        raise _wrong("The columns of dataframe_split must have names of their own. Rename one.")
    wrong = next((i for i, row in enumerate(data) if len(row) != len(names)), None)
    if wrong is not None:
        raise _wrong(
            f"Each row of dataframe_split must have {len(names)} values; row {wrong + 1} has "
            f"{len(data[wrong])}. Mend it."
        )
    cells_of = [list(cells) for cells in zip(*data, strict=True)] or [[] for _ in names]
    return served.reader.of_columns(dict(zip(names, cells_of, strict=True)))


def _of_records(served: Served, records: Any) -> Rows:
    """[{name: value}]."""
    if not isinstance(records, list):
        raise _wrong("dataframe_records must be a list of objects, one a row. Mend it.")
    served.reader.check_rows(len(records))
    served.reader.check_depth(records)
    return served.reader.of_records(records)


def _of_instances(served: Served, instances: Any) -> Rows:
    """[{name: value}], as TensorFlow Serving has it; or an object of columns."""
    if isinstance(instances, dict):
        return _of_inputs(served, instances)
    if not isinstance(instances, list) or not all(isinstance(row, dict) for row in instances):
        raise _wrong("instances must be a list of objects, one a row, as columns have names. Mend it.")
    return _of_records(served, instances)


def _of_inputs(served: Served, inputs: Any) -> Rows:
    """{name: values}, or rows as `dataframe_records`."""
    if isinstance(inputs, list):
        return _of_instances(served, inputs)
    return served.reader.of_columns(inputs)


_FORMS: Mapping[str, Callable[[Served, Any], Rows]] = {
    "dataframe_split": _of_split,
    "dataframe_records": _of_records,
    "instances": _of_instances,
    "inputs": _of_inputs,
}


def _predictions(served: Served, predicted: Predicted) -> list[Any]:
    """What `Model.predict` gives: of several targets a list for each row."""
    columns = predicted.columns
    if "prediction" in columns:
        return columns["prediction"]
    names = [f"prediction_{name}" for name in served.model.targets]
    return list(map(list, zip(*(columns[name] for name in names), strict=True)))


def _others(served: Served, predicted: Predicted) -> list[Any]:
    """Probabilities or quantiles, a list for each row."""
    columns = [values for name, values in predicted.columns.items() if not name.startswith("prediction")]
    return list(map(list, zip(*columns, strict=True)))


_ANSWERS: Mapping[str, Callable[[Served, Predicted], list[Any]]] = {
    "predict": _predictions,
    "predict_proba": _others,
    "predict_quantiles": _others,
    "predict_columns": lambda served, predicted: records_of(predicted),
}
