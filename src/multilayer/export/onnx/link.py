"""From networks' outputs to what a model answers: link steps, the mean over networks, labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.onnx.graph import ML, Graph
from multilayer.tasks import link_steps as steps
from multilayer.tasks.classification import Classification
from multilayer.tasks.link_steps import LinkChain, LinkStep
from multilayer.tasks.multi_target import Multilabel
from multilayer.tasks.regression import Quantiles
from multilayer.tasks.task import Task

NO_LABEL = ""  # where probabilities are not known


def linked(graph: Graph, chain: LinkChain, x: str) -> str:
    """All steps of a chain; x: (rows, outputs), float32."""
    for step in chain:
        x = EMITTED[type(step)](graph, step, x)
    return x


def _double(graph: Graph, x: str) -> str:
    """In float64; of what is that already, a runtime makes nothing."""
    return graph.cast(x, np.float64)


def _number(graph: Graph, value: float) -> str:
    return graph.constant(value, np.float64)


def _first(graph: Graph, step: steps.First, x: str) -> str:
    return _double(graph, graph.add("Gather", x, graph.constant(0, np.int64), axis=1))


def _clip(graph: Graph, step: steps.Clip, x: str) -> str:
    """NaN stays."""
    x = _double(graph, x)
    if np.isfinite(step.low):
        low = _number(graph, step.low)
        x = graph.add("Where", graph.add("Less", x, low), low, x)
    if np.isfinite(step.high):
        high = _number(graph, step.high)
        x = graph.add("Where", graph.add("Greater", x, high), high, x)
    return x


def _sort(graph: Graph, step: steps.Sort, x: str) -> str:
    x = _double(graph, x)
    n = graph.add("Slice", graph.add("Shape", x), *(graph.constant([i], np.int64) for i in (1, 2)))
    return graph.add_several("TopK", x, n, n_outputs=2, axis=1, largest=0, sorted=1)[0]


def _sigmoid(graph: Graph, step: steps.Sigmoid, x: str) -> str:
    one = _number(graph, 1.0)
    power = graph.add("Exp", graph.add("Neg", _double(graph, x)))
    return graph.add("Div", one, graph.add("Add", one, power))


def _both_classes(graph: Graph, step: steps.BothClasses, x: str) -> str:
    positive = graph.add("Unsqueeze", x, graph.constant([1], np.int64))
    return graph.concat([graph.add("Sub", _number(graph, 1.0), positive), positive])


def _softmax(graph: Graph, step: steps.Softmax, x: str) -> str:
    axis = graph.constant([1], np.int64)
    z = graph.add("Sub", x, graph.add("ReduceMax", x, axis))
    smallest = graph.constant(steps.SMALLEST_LOGIT)
    z = graph.add("Where", graph.add("Less", z, smallest), smallest, z)
    powers = _double(graph, graph.add("Exp", z))
    return graph.add("Div", powers, graph.add("ReduceSum", powers, axis))


def _of_each(graph: Graph, step: steps.OfEach, x: str) -> str:
    axis = graph.constant([1], np.int64)
    parts = []
    for i, chain in enumerate(step.steps):
        bounds = (graph.constant([each], np.int64) for each in (i * step.width, (i + 1) * step.width, 1))
        part = linked(graph, chain, graph.add("Slice", x, *bounds))
        parts.append(graph.add("Unsqueeze", part, axis))
    return graph.concat(parts)


# What each step is. A test holds that none is absent.
EMITTED: dict[type[LinkStep], Callable[..., str]] = {
    steps.First: lambda graph, step, x: _double(
        graph, graph.add("Gather", x, graph.constant(0, np.int64), axis=1)
    ),
    steps.Scale: lambda graph, step, x: graph.add("Mul", _double(graph, x), _number(graph, step.factor)),
    steps.Shift: lambda graph, step, x: graph.add("Add", _double(graph, x), _number(graph, step.by)),
    steps.Clip: _clip,
    steps.Exp: lambda graph, step, x: graph.add("Exp", _double(graph, x)),
    steps.Sort: _sort,
    steps.Sigmoid: _sigmoid,
    steps.BothClasses: _both_classes,
    steps.Softmax: _softmax,
    steps.OfEach: _of_each,
}


def mean_prediction(
    graph: Graph, task: Task, outputs: str, n_networks: int, weights: Sequence[float] | None
) -> str:
    """The weighted mean of what the link makes of each network's outputs, which are side by side."""
    n_outputs = task.n_outputs
    if n_networks > 1:
        outputs = graph.add("Reshape", outputs, graph.constant([-1, n_outputs], np.int64))
    each = linked(graph, task.link_steps, outputs)  # (rows networks, ...)
    if n_networks == 1:
        return each
    rest = task.link(np.zeros((1, n_outputs), np.float32)).shape[1:]
    each = graph.add("Reshape", each, graph.constant([-1, n_networks, *rest], np.int64))
    w = np.ones(n_networks) if weights is None else np.array(weights, np.float64)
    weighed = graph.add("Mul", each, graph.constant(w.reshape(1, -1, *[1] * len(rest))))
    total = graph.add("ReduceSum", weighed, graph.constant([1], np.int64), keepdims=0)
    return graph.add("Div", total, _number(graph, float(w.sum())))


@dataclass(frozen=True)
class Answer:
    """An output of the graph.

    tensor: its tensor inside; shape: behind the axis of rows; what: for its doc_string
    """

    name: str
    tensor: str
    dtype: Any
    shape: tuple[int, ...]
    what: str


def answers(graph: Graph, task: Task, prediction: str, amounts: str) -> list[Answer]:
    """What a model says of each row: labels and probabilities, numbers, quantiles and numbers.

    prediction: the mean over the networks; amounts: the same times the exposure, where there is one
    """
    if isinstance(task, Classification):
        label, dtype = _labels(graph, task, _decided(graph, task, prediction))
        return [
            Answer("label", label, dtype, (), "the label that is predicted"),
            Answer("probabilities", prediction, np.float64, (len(task.labels),), _in_order(task.labels)),
        ]
    if isinstance(task, Multilabel):
        return _several_labels(graph, task, prediction)
    rest = task.link(np.zeros((1, task.n_outputs), np.float32)).shape[1:]
    if task.quantile_levels is None:
        return [Answer("prediction", amounts, np.float64, rest, "the number that is predicted")]
    one: Any = getattr(task, "parts", (task,))[0]
    assert isinstance(one, Quantiles)
    middle = graph.add("Gather", amounts, graph.constant(one.middle, np.int64), axis=len(rest))
    levels = ", ".join(f"{level:g}" for level in task.quantile_levels)
    return [
        Answer("prediction", middle, np.float64, rest[:-1], "the quantile nearest to the median"),
        Answer("quantiles", amounts, np.float64, rest, f"the quantiles {levels}, ascending"),
    ]


def _in_order(labels: Sequence[Any]) -> str:
    return f"the probability of each label, in this order: {', '.join(map(str, labels))}"


def _decided(graph: Graph, task: Classification, prediction: str) -> str:
    """The code of the label, int64 (rows,); behind the last one where the probabilities are NaN."""
    second = graph.add("Gather", prediction, graph.constant(1, np.int64), axis=1)
    if task.threshold is not None:
        is_second = graph.add("GreaterOrEqual", second, _number(graph, task.threshold))
        code = graph.cast(is_second, np.int64)
    else:
        code = graph.add("ArgMax", prediction, axis=1, keepdims=0)
    return graph.add("Where", graph.add("IsNaN", second), graph.constant(len(task.labels), np.int64), code)


def _labels(graph: Graph, task: Classification, code: str) -> tuple[str, Any]:
    """Labels of codes, in the type that they came in."""
    labels = task.label_array()
    if labels.dtype == object:
        label = graph.add(
            "LabelEncoder",
            code,
            domain=ML,
            keys_int64s=list(range(len(labels))),
            values_strings=[str(each) for each in labels.tolist()],
            default_string=NO_LABEL,
        )
        return label, np.object_
    wide = {"b": np.bool_, "f": np.float64, "u": np.uint64}.get(labels.dtype.kind, np.int64)
    none: Any = {"b": False, "f": np.nan, "u": np.iinfo(np.uint64).max}.get(
        labels.dtype.kind, np.iinfo(np.int64).min
    )
    table: NDArray[Any] = np.append(labels.astype(wide), np.array([none], wide))
    return graph.add("Gather", graph.constant(table), code), wide


def _several_labels(graph: Graph, task: Multilabel, prediction: str) -> list[Answer]:
    axis = graph.constant([1], np.int64)
    columns, dtypes = [], []
    for i, part in enumerate(task.parts):
        positive = graph.add("Gather", prediction, graph.constant([i], np.int64), axis=1)
        both = graph.concat([graph.add("Sub", _number(graph, 1.0), positive), positive])
        label, dtype = _labels(graph, part, _decided(graph, part, both))
        columns.append(graph.add("Unsqueeze", label, axis))
        dtypes.append(dtype)
    n = len(task.parts)
    what = f"the probability of each label, in this order: {', '.join(task.names)}"
    found = [Answer("probabilities", prediction, np.float64, (n,), what)]
    if len(set(dtypes)) == 1:
        labels = f"what is predicted of each label, in this order: {', '.join(task.names)}"
        return [Answer("label", graph.concat(columns), dtypes[0], (n,), labels), *found]
    each = zip(task.names, columns, dtypes, strict=True)
    return [
        Answer(f"label {name}", c, d, (1,), f"what is predicted of {name}") for name, c, d in each
    ] + found
