"""Hand-over: scores to a warehouse by JDBC or as files, the student as ONNX."""
