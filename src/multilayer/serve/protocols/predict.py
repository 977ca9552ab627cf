"""Our own protocol: the answer has the form and the format of the question."""

from multilayer.serve.bodies import ALIASES, JSON, WRITERS
from multilayer.serve.request import Answer, Request
from multilayer.serve.rows import Predicted
from multilayer.serve.served import Served

BAD_ROWS = ("refuse", "report")


def predict(served: Served, request: Request) -> Answer:
    """POST /predict."""
    report = request.option("bad_rows", BAD_ROWS) == "report"
    content_type = request.content_type
    written = request.accepted(WRITERS, ALIASES.get(content_type, content_type or JSON))
    body = served.reader.read(content_type, request.body)
    if body.row is not None:
        predicted = served.rows.predict_row(body.row, report=report)
    else:
        predicted = served.rows.predict(body.rows, report=report)
    data = WRITERS[written](served.reader.msgspec, body.form, predicted)
    return answer_of(data, written, predicted)


def answer_of(data: bytes, content_type: str, predicted: Predicted) -> Answer:
    """The answer, with what the metrics count of it."""
    return Answer(
        data,
        content_type,
        n_rows=len(predicted.places),
        n_bad=len({error.row for error in predicted.errors}),
        counts=predicted.counts,
    )
