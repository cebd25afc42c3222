"""CatBoost: ``fit``, ``predict``, ``reasons`` (from its JSON, ``json_model``), ``onnx``."""
