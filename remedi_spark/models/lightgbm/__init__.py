"""LightGBM: ``fit`` (by SynapseML, ``task`` or ``ring``), ``predict``, ``reasons`` (of ``trees``), ``onnx``."""
