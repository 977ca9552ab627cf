"""ONNX Runtime, on one thread."""

from typing import Any

from multilayer.errors import extra


def session_of(data: bytes) -> Any:
    """A session of a graph's bytes.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    runtime: Any = extra("onnxruntime", needed_by="an ONNX file", install="'multilayer[onnx]'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
