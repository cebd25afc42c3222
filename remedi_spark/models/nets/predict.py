"""Scores and reasons (integrated gradients) of a torch net, the additive model among them."""

from __future__ import annotations

import io
from typing import Any

from remedi_spark.models.contract import Array
from remedi_spark.models.reference import Reference
from remedi_spark.storage.fitted import Fitted


class NetPredictor:
    """A torch net."""

    def __init__(self, fitted: Fitted) -> None:
        import torch

        from remedi_spark.models.nets.models import build

        stored = torch.load(io.BytesIO(fitted.payload), weights_only=True)
        self._net: Any = build(stored["spec"])
        self._net.load_state_dict(stored["state"])
        self._net.eval()
        self._pool = bool(stored["pool"])

    def __call__(self, x: Array) -> Array:
        """Return margins."""
        from remedi_spark.models.nets.training import margin

        return margin(self._net, x, pool=self._pool)

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return integrated gradients from the net's own reference row, and that row's margin."""
        from remedi_spark.models.nets.attribution import integrated_gradients

        by_slot, start = integrated_gradients(self._net, x, pool=self._pool)
        return reference.by_player(by_slot), start
