"""The student as an MLflow model: MLflow stores this file and runs it to load the model, so that nothing is pickled."""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from remedi_spark.scoring.bundle import load


class Student(PythonModel):  # type: ignore[misc]
    """A bundle behind MLflow's interface: raw features in, ``score`` out."""

    def load_context(self, context: Any) -> None:
        """Load the bundle, checksums and all."""
        self._bundle = load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one score a row."""
        return pd.DataFrame({"score": self._bundle.predict(model_input)}, index=model_input.index)


set_model(Student())
