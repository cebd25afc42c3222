"""XGBoost: ``fit`` (by ``xgboost.spark``, one task or ``ring``), ``predict`` with its own reasons, ``onnx``."""
