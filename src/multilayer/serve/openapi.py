"""The OpenAPI 3.1 document of a server, and the JSON Schema of what it predicts, from the model's schema."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from multilayer.serve.bodies import ARROW, CSV, JSON, NDJSON
from multilayer.serve.errors import PROBLEM
from multilayer.serve.metrics import CONTENT_TYPE as METRICS
from multilayer.serve.protocols.mlflow import METHODS, TEXT
from multilayer.serve.protocols.predict import BAD_ROWS
from multilayer.serve.protocols.v2 import OCTETS
from multilayer.serve.row_schema import DRAFT
from multilayer.serve.served import Served

_TYPES = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}
Json = dict[str, Any]


def schema(served: Served) -> Json:
    """JSON Schema (draft 2020-12) of a row, with that of its prediction beside it."""
    return {
        "$schema": DRAFT,
        **served.schema.to_json(),
        "$defs": {"Prediction": _prediction(served)},
    }


def document(served: Served, *, with_token: bool) -> Json:
    """The OpenAPI document: every route, what it takes and what it answers."""
    paths = {
        "/predict": {"post": _predict(served)},
        "/schema": {"get": _get("JSON Schema of a row", {JSON: {"type": "object"}}, "schema")},
        "/openapi.json": {"get": _get("This document", {JSON: {"type": "object"}}, "openapi")},
        "/docs": {
            "get": _get("A page to read and try", {"text/html": {"type": "string"}}, "docs")
            | {"security": []}
        },
        "/health": {"get": _health("Whether the server is alive", "health")},
        "/ready": {"get": _health("Whether it takes requests", "ready", may_be_busy=True)},
        "/metrics": {"get": _get("Counters for Prometheus", {METRICS: {"type": "string"}}, "metrics")},
        "/invocations": {"post": _invocations(served)},
        "/ping": {"get": _of_mlflow("Health, for MLflow and SageMaker", "ping") | {"security": []}},
        "/version": {"get": _of_mlflow("MLflow's version", "version")},
        **_v2(served),
    }
    components: Json = {
        "schemas": {
            "Row": served.schema.to_json(),
            "Columns": _columns(served),
            "Prediction": _prediction(served),
            "PredictionColumns": _prediction_columns(served),
            "RowErrors": _ROW_ERRORS,
            "Problem": _PROBLEM,
            "InferenceError": _INFERENCE_ERROR,
            "MlflowError": _MLFLOW_ERROR,
        }
    }
    security: Json = {}
    if with_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        security["security"] = [{"token": []}]
    else:
        for of_path in paths.values():
            for operation in of_path.values():
                operation.pop("security", None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {', '.join(served.model.targets)}",
            "version": served.version,
            "description": f"The model {served.name}, served by multilayer.",
        },
        "paths": paths,
        "components": components,
        **security,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _type_of(values: NDArray[Any]) -> Json:
    return {"type": _TYPES.get(values.dtype.kind, "string")}


def _prediction(served: Served) -> Json:
    properties = {name: _type_of(values) for name, values in served.outputs.items()}
    return {"type": "object", "title": "Prediction", "properties": properties, "required": list(properties)}


def _prediction_columns(served: Served) -> Json:
    properties: Json = {
        name: {"type": "array", "items": {"type": [_type_of(values)["type"], "null"]}}
        for name, values in served.outputs.items()
    }
    errors = {"errors": {"type": "array", "items": {"anyOf": [_errors_list(), {"type": "null"}]}}}
    return {"type": "object", "properties": properties | errors, "required": list(properties)}


def _columns(served: Served) -> Json:
    most = served.limits.rows
    properties = {
        name: {"type": "array", "items": rule.schema, "minItems": 1, "maxItems": most}
        for name, rule in served.schema.rules.items()
    }
    required = {"required": list(properties)} if served.schema.is_flat else {}
    return {
        "type": "object",
        "title": "Columns",
        "description": "Columns, each a list with one value a row: all lists are of one length.",
        "properties": properties,
        **required,
        "additionalProperties": {"type": "array"} if not served.schema.refuse_extra else False,
    }


def _errors_list() -> Json:
    return {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "row": {"type": "integer", "description": "1 is the first"},
                "column": {"type": "string"},
                "message": {"type": "string"},
            },
            "required": ["row"],
        },
    }


_ROW_ERRORS: Json = {"type": "object", "properties": {"errors": _errors_list()}, "required": ["errors"]}
_PROBLEM: Json = {
    "type": "object",
    "title": "Problem (RFC 9457)",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": _errors_list(),
    },
    "required": ["type", "title", "status", "detail"],
}
_INFERENCE_ERROR: Json = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
_MLFLOW_ERROR: Json = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error_code", "message"],
}
_WORDS = {
    400: "The request cannot be read.",
    401: "The token is absent or wrong.",
    404: "There is no such model.",
    406: "No format that we know is accepted.",
    408: "The request took too long to come.",
    413: "The body is too large, or has too many rows.",
    415: "The body has a format that we do not know.",
    422: "The rows do not fit the model.",
    500: "A fault of the server.",
    503: "The server has too many requests at once, or is about to stop.",
    504: "The prediction took too long.",
}
_OF_BODIES = (400, 401, 408, 413, 415, 422, 500, 503, 504)


def _errors(statuses: tuple[int, ...], content_type: str, name: str) -> Json:
    content = {content_type: {"schema": _ref(name)}}
    return {str(status): {"description": _WORDS[status], "content": content} for status in statuses}


def _of_mlflow(summary: str, operation: str) -> Json:
    found = _get(summary, {TEXT: {"type": "string"}}, operation)
    found["responses"] |= _errors((401, 503), JSON, "MlflowError")
    return found


def _get(summary: str, content: Mapping[str, Json], operation: str) -> Json:
    answer = {"description": summary, "content": {kind: {"schema": form} for kind, form in content.items()}}
    responses = {"200": answer, **_errors((401,), PROBLEM, "Problem")}
    return {"summary": summary, "operationId": operation, "responses": responses}


def _health(summary: str, operation: str, *, may_be_busy: bool = False) -> Json:
    content = {JSON: {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}}
    found = _get(summary, content, operation)
    found["responses"] = {
        "200": found["responses"]["200"],
        **(_errors((503,), PROBLEM, "Problem") if may_be_busy else {}),
    }
    return found | {"security": []}


def _rows(served: Served) -> Json:
    return {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": served.limits.rows}


def _predict(served: Served) -> Json:
    forms = [_ref("Row"), _rows(served), *([_ref("Columns")] if served.schema.is_flat else [])]
    answers = [
        _ref("Prediction"),
        _ref("RowErrors"),
        {"type": "array", "items": {"anyOf": [_ref("Prediction"), _ref("RowErrors")]}},
        _ref("PredictionColumns"),
    ]
    texts = {kind: {"schema": {"type": "string"}} for kind in (NDJSON, CSV, ARROW)}
    return {
        "summary": "Predict rows",
        "description": "A row, a list of rows or an object of columns; the answer has the form of the "
        "question, and its format, unless Accept names another one. With bad_rows=report, rows that do "
        "not fit have their errors in the place of a prediction.",
        "operationId": "predict",
        "parameters": [
            {
                "name": "bad_rows",
                "in": "query",
                "schema": {"type": "string", "enum": list(BAD_ROWS), "default": BAD_ROWS[0]},
            }
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": {"anyOf": forms}}} | texts},
        "responses": {
            "200": {
                "description": "Predictions",
                "content": {JSON: {"schema": {"anyOf": answers}}} | texts,
            },
            **_errors((406, *_OF_BODIES), PROBLEM, "Problem"),
        },
    }


def _invocations(served: Served) -> Json:
    params = {"type": "object", "properties": {"predict_method": {"enum": _methods(served)}}}
    names = list(served.schema.rules)
    split = {
        "type": "object",
        "properties": {
            "columns": {"const": names},
            "data": {
                "type": "array",
                "minItems": 1,
                "maxItems": served.limits.rows,
                "items": {
                    "type": "array",
                    "prefixItems": [rule.schema for rule in served.schema.rules.values()],
                    "items": False,
                    "minItems": len(names),
                },
            },
        },
        "required": ["columns", "data"],
    }
    rows = {name: _rows(served) for name in ("dataframe_records", "instances", "inputs")}
    forms = [
        {
            "type": "object",
            "properties": {name: form, "params": params},
            "required": [name],
            "additionalProperties": False,
        }
        for name, form in (rows | {"dataframe_split": split}).items()
    ]
    answer = {
        "type": "object",
        "properties": {"predictions": {"type": "array"}},
        "required": ["predictions"],
    }
    texts = {kind: {"schema": {"type": "string"}} for kind in (NDJSON, CSV)}
    return {
        "summary": "Predict rows, as MLflow's scoring server does",
        "operationId": "invocations",
        "requestBody": {"required": True, "content": {JSON: {"schema": {"anyOf": forms}}} | texts},
        "responses": {
            "200": {"description": "Predictions", "content": {JSON: {"schema": answer}}},
            **_errors(_OF_BODIES, JSON, "MlflowError"),
        },
    }


def _methods(served: Served) -> list[str]:
    without = set()
    if not served.model.task.has_probabilities:
        without.add("predict_proba")
    if served.model.quantiles is None:
        without.add("predict_quantiles")
    return [method for method in METHODS if method not in without]


def _v2(served: Served) -> Json:
    model: Json = {"name": "model", "in": "path", "required": True, "schema": {"const": served.name}}

    def of(summary: str, operation: str, *more: int, security: bool = True) -> Json:
        found = _get(summary, {JSON: {"type": "object"}}, operation)
        found["responses"] = {
            "200": found["responses"]["200"],
            **_errors(more, JSON, "InferenceError"),
        }
        return found if security else found | {"security": []}

    infer: Json = of("Predict rows, as KServe and Triton do", "v2_infer", 404, *_OF_BODIES)
    request = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": _V2_INPUT, "minItems": 1},
        },
        "required": ["inputs"],
    }
    infer["requestBody"] = {
        "required": True,
        "content": {JSON: {"schema": request}, OCTETS: {"schema": {"type": "string"}}},
    }
    infer["responses"]["200"]["content"] |= {OCTETS: {"schema": {"type": "string"}}}
    name = "/v2/models/{model}"
    with_name = {"parameters": [model]}
    return {
        "/v2": {"get": of("Name and extensions of the server", "v2_server", 401)},
        "/v2/health/live": {"get": of("Whether the server is alive", "v2_live", security=False)},
        "/v2/health/ready": {"get": of("Whether it is ready", "v2_ready", 503, security=False)},
        name: {"get": of("Inputs and outputs", "v2_model", 401, 404) | with_name},
        f"{name}/ready": {"get": of("Whether the model is ready", "v2_model_ready", 401, 404) | with_name},
        f"{name}/infer": {"post": infer | with_name},
    }


_V2_INPUT: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
    "required": ["name", "shape", "datatype"],
}
