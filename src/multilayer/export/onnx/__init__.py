"""Models as graphs of ONNX, with all preparation of the raw columns in them."""
