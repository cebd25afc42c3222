"""Feature distribution smoothing inside the training of any net, at no extra pass over the rows.

The reference code (arXiv 2102.09554) runs the network over all training rows once more at the end of an epoch. Here the
features are kept as the epoch's own steps make them, before they are moved: they are up to an epoch old, as any running
statistic is, and cost nothing to compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from remedi_spark.maths.kernels import Kernel
from remedi_spark.models.nets.fds import FDS
from remedi_spark.models.nets.models import FieldNet

_KEPT_CELLS = 2**26
"""Features kept of an epoch, on each worker (4 bytes each); batches are random, so the first of them are a sample."""


@dataclass(frozen=True)
class FeatureSmoothing:
    """How to smooth; plain values.

    Attributes:
        edges: rising edges of the buckets in the target's own unit, b + 1 of them.
        kernel, kernel_size, sigma, momentum: as in :class:`remedi_spark.models.nets.fds.FDS`; a kernel larger than the
            buckets is cut to them.
    """

    edges: tuple[float, ...]
    kernel: Kernel
    kernel_size: int
    sigma: float
    momentum: float

    @property
    def buckets(self) -> int:
        """Number of buckets."""
        return len(self.edges) - 1


@dataclass
class Smoother:
    """Moves features in every training step and measures them at the end of every epoch."""

    settings: FeatureSmoothing
    _fds: FDS | None = None
    _features: list[Tensor] = field(default_factory=list)
    _buckets: list[Tensor] = field(default_factory=list)
    _cells: int = 0

    def logits(self, net: FieldNet, x: Tensor, target: Tensor) -> Tensor:
        """Return the net's logits of rows (n, width) with targets (n,), by way of smoothed features."""
        fields = net.embed(x)
        hidden = net.last_hidden(fields)
        if self._fds is None:
            self._fds = self._module(hidden.shape[1])
        bucket = self._bucket_of(target)
        if self._cells < _KEPT_CELLS:
            self._features.append(hidden.detach())
            self._buckets.append(bucket)
            self._cells += hidden.numel()
        return net.read_out(self._fds.smooth(hidden, bucket), fields)

    def end_epoch(self, net: FieldNet) -> None:
        """Take in the epoch's features; every worker of the process group must call this together."""
        if self._fds is None:  # no rows here so far; the others may have some
            self._fds = self._module(net.last_hidden(net.embed(_one_row(net))).shape[1])
        width = self._fds.feature_dim
        features = torch.cat(self._features) if self._features else torch.empty(0, width)
        buckets = torch.cat(self._buckets) if self._buckets else torch.empty(0, dtype=torch.long)
        self._fds.update(features, buckets)
        self._features, self._buckets, self._cells = [], [], 0

    def _bucket_of(self, target: Tensor) -> Tensor:
        inner = torch.tensor(self.settings.edges[1:-1])
        return torch.bucketize(target, inner, right=True)

    def _module(self, width: int) -> FDS:
        settings = self.settings
        size = min(settings.kernel_size, settings.buckets - 1 + settings.buckets % 2)
        return FDS(
            width, bucket_num=settings.buckets, kernel=settings.kernel, kernel_size=size, sigma=settings.sigma,
            momentum=settings.momentum,
        )  # fmt: skip


def _one_row(net: FieldNet) -> Tensor:
    return torch.from_numpy(net.reference_row(1 + int(np.max(net.slots()))))
