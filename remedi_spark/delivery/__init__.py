"""Hand-over of scores and models: files, PostgreSQL, ONNX, MLflow."""
