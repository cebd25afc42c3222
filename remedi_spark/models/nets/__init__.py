"""Torch nets: ``fit`` (on Spark), ``training``, ``models``, ``predict``, ``attribution`` (reasons), ``onnx``."""
