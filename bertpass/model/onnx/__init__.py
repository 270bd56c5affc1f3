"""A checkpoint as an ONNX graph, written node by node."""
