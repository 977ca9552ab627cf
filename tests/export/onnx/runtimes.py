"""Two runtimes of ONNX, and the operator that the second one lacks."""

import warnings
from functools import cache

import numpy as np
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class Tokenizer(OpRun):
    """com.microsoft.Tokenizer, as far as it takes texts apart into letters."""

    op_domain = "com.microsoft"

    def _run(self, x, mark=None, mincharnum=None, pad_value=None, separators=None, **others):
        assert (mark, mincharnum, separators) == (0, 1, [""]), others
        width = max(map(len, x.ravel().tolist()), default=0)
        cells = np.full((*x.shape, width), pad_value, dtype=object)
        for place in np.ndindex(x.shape):
            cells[(*place, slice(0, len(x[place])))] = list(x[place])
        return (cells,)


@cache
def session(data: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@cache
def evaluator(data: bytes):
    return ReferenceEvaluator(data, new_ops=[Tokenizer])


def by_onnx_runtime(data: bytes, feed):
    return session(data).run(None, feed)


def by_reference(data: bytes, feed):
    with warnings.catch_warnings(), np.errstate(over="ignore"):  # hashes overflow on purpose
        warnings.simplefilter("ignore", RuntimeWarning)
        return evaluator(data).run(None, feed)


RUNTIMES = {"onnxruntime": by_onnx_runtime, "onnx.reference": by_reference}
