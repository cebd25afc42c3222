"""Feature distribution smoothing (arXiv 2102.09554, section 3.2): neighbouring labels should have like features.

Where the published code differs from the paper, this follows the paper: all statistics are of one finished epoch (in
the code the bucket's own are an epoch ahead of the smoothed ones); ``smooth`` returns a new tensor (the code smooths in
place, and measures features that it has moved); a bucket first seen later starts from what it has then (the code mixes
it with mean 0); buckets never seen take no part in the smoothing (in the code they have mean 0 and variance 1;
``skip_empty=False`` does as the code does).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from remedi_spark.errors import InputError, nearest
from remedi_spark.maths.kernels import Kernel, kernel_window

Covariance = Literal["diagonal", "full"]

LEAST_FACTOR, MOST_FACTOR = 0.1, 10.0
"""How much the variance along a direction may shrink or grow (reference code)."""


_CHUNK = 256
"""Rows that are summed at once: twice the memory of all features at float64 costs more time than the sums."""


class FDS(nn.Module):
    """Moves the last hidden layer's features from their label bucket's statistics to those smoothed over buckets.

    Each epoch of training::

        hidden = network(x)
        loss = criterion(head(fds.smooth(hidden, bucket)), y)   # every batch
        ...
        fds.update(all_hidden, all_buckets)                     # once, at the end

    ``smooth`` does nothing before the first ``update``, in eval mode, to buckets never seen, and to features (with
    ``full``: directions) that do not vary inside the bucket, so also to a bucket with a single row.

    Args:
        feature_dim: width d of the features.
        bucket_num: buckets are numbered ``bucket_start`` … ``bucket_num`` − 1.
        bucket_start: the first bucket.
        kernel: as in ``kernel_window``.
        kernel_size: odd, at most the number of buckets.
        sigma: as in ``kernel_window``.
        momentum: share f of the old statistics in new = (1 − f) · epoch + f · old, in [0, 1).
        covariance: ``diagonal`` scales each feature by itself, as in the code; ``full`` whitens and recolours with the
            covariance, as in the paper (equation 6).
        skip_empty: see the module's text.
    """

    running_mean: Tensor
    running_var: Tensor
    rows_seen: Tensor
    scale: Tensor
    shift: Tensor
    smoothing: Tensor

    def __init__(
        self,
        feature_dim: int,
        *,
        bucket_num: int,
        bucket_start: int = 0,
        kernel: Kernel = "gaussian",
        kernel_size: int = 5,
        sigma: float = 2.0,
        momentum: float = 0.9,
        covariance: Covariance = "diagonal",
        skip_empty: bool = True,
    ) -> None:
        super().__init__()
        window = kernel_window(kernel, kernel_size, sigma, "sum")
        buckets = bucket_num - bucket_start
        _check(feature_dim, buckets, kernel_size, momentum, covariance)
        self.feature_dim, self.bucket_start, self.buckets = feature_dim, bucket_start, buckets
        self.momentum, self.covariance, self.skip_empty = momentum, covariance, skip_empty
        unit = torch.ones(feature_dim) if covariance == "diagonal" else torch.eye(feature_dim)
        each = unit.expand(buckets, *unit.shape)
        self.register_buffer("running_mean", torch.zeros(buckets, feature_dim))
        self.register_buffer("running_var", each.clone())
        self.register_buffer("rows_seen", torch.zeros(buckets, dtype=torch.int64))
        self.register_buffer("scale", each.clone())
        self.register_buffer("shift", torch.zeros(buckets, feature_dim))
        self.register_buffer("smoothing", _smoothing_matrix(window, buckets), persistent=False)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Take in the unsmoothed features of one epoch, and prepare ``smooth`` for the next.

        In a distributed run every worker must call this, with its own rows, even if it has none; all end with the
        statistics of all rows together.

        Args:
            features: shape (n, d), finite.
            labels: bucket numbers, shape (n,) or (n, 1), rounded down; outside the buckets the nearest one counts.
        """
        self._check_shapes(features, labels)
        counts, mean, var = self._epoch_statistics(features.detach(), self._bucket_of(labels))
        if not torch.isfinite(mean).all():  # of the means: to look at every feature takes as long again
            raise InputError(
                "features: found a null or infinite value, expected finite features; has training diverged?"
            )
        seen = counts > 0
        kept = torch.where(self.rows_seen > 0, self.momentum, 0.0)[seen].to(self.running_mean)
        self.running_mean[seen] = torch.lerp(mean[seen].to(self.running_mean), self.running_mean[seen], kept[:, None])
        kept = kept.view(-1, *[1] * (var.dim() - 1))
        self.running_var[seen] = torch.lerp(var[seen].to(self.running_var), self.running_var[seen], kept)
        self.rows_seen += counts.long()
        self._prepare_maps()

    def smooth(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return (x − μ) · sqrt(clip(σ̃² / σ², 0.1, 10)) + μ̃ in training mode, ``features`` otherwise.

        Arguments as in ``update``, for any batch, an empty one included.
        """
        self._check_shapes(features, labels)
        if not self.training:
            return features
        bucket = self._bucket_of(labels)
        shift = self.shift[bucket].to(features)
        if self.covariance == "diagonal":
            return features * self.scale[bucket].to(features) + shift
        moved = torch.empty_like(features)
        for each in torch.unique(bucket):  # one product a bucket: a d x d matrix for every row would not fit in memory
            rows = bucket == each
            moved = moved.index_put((rows.nonzero().squeeze(1),), features[rows] @ self.scale[each].to(features).T)
        return moved + shift

    def _bucket_of(self, labels: Tensor) -> Tensor:
        number = torch.floor(labels.detach().reshape(-1)).long() - self.bucket_start
        return number.clamp(0, self.buckets - 1)

    def _epoch_statistics(self, x: Tensor, bucket: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, mean and unbiased (co)variance of each bucket over all workers; the variance of one row is 0.

        The mean is agreed on first and squares are summed about it, which keeps float precision where a plain sum of
        squares loses it.
        """
        counts = _all_reduced(torch.bincount(bucket, minlength=self.buckets).double())
        parts = list(zip(torch.split(x, _CHUNK), torch.split(bucket, _CHUNK), strict=True))
        sums = x.new_zeros(self.buckets, self.feature_dim, dtype=torch.float64)
        for rows, where in parts:
            sums.index_add_(0, where, rows.double())
        mean = _all_reduced(sums) / counts.clamp(min=1)[:, None]
        squares = x.new_zeros(self.running_var.shape, dtype=torch.float64)
        for rows, where in parts:
            self._add_squares(squares, rows.double().sub_(mean[where]), where)
        squares = _all_reduced(squares)
        degrees = (counts - 1).clamp(min=1)
        return counts, mean, squares / degrees.view(-1, *[1] * (squares.dim() - 1))

    def _add_squares(self, squares: Tensor, centred: Tensor, bucket: Tensor) -> None:
        if self.covariance == "diagonal":
            squares.index_add_(0, bucket, centred.square_())
            return
        for each in torch.unique(bucket):
            rows = centred[bucket == each]
            squares[each] += rows.T @ rows

    def _prepare_maps(self) -> None:
        """Set ``scale`` and ``shift`` of each bucket, so that smoothed features are scale · x + shift."""
        varies = self.running_var.flatten(1).abs().sum(1) > 0
        mean = self._smoothed(self.running_mean, self.rows_seen > 0)
        var = self._smoothed(self.running_var, (self.rows_seen > 0) & varies)
        known = (self.rows_seen > 0) & varies
        maps = _diagonal_maps if self.covariance == "diagonal" else _full_maps
        scale, shift = maps(self.running_mean[known], self.running_var[known], mean[known], var[known])
        self.scale[known], self.shift[known] = scale, shift

    def _smoothed(self, statistics: Tensor, usable: Tensor) -> Tensor:
        """Smooth over buckets; with ``skip_empty`` over the usable ones, kernel weights scaled to a total of 1."""
        weights = self.smoothing
        if self.skip_empty:
            weights = weights * usable
            weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        return torch.einsum("bc,c...->b...", weights.to(statistics), statistics)

    def _check_shapes(self, features: Tensor, labels: Tensor) -> None:
        if features.dim() != 2 or features.shape[1] != self.feature_dim:
            raise InputError(f"features: found shape {tuple(features.shape)}, expected (n, {self.feature_dim})")
        if labels.shape not in {(len(features),), (len(features), 1)}:
            raise InputError(
                f"labels: found shape {tuple(labels.shape)}, expected ({len(features)},), a bucket number a row"
            )
        if not torch.isfinite(labels).all():
            raise InputError("labels: found a null or infinite value, expected bucket numbers; drop such rows")


def _diagonal_maps(m1: Tensor, v1: Tensor, m2: Tensor, v2: Tensor) -> tuple[Tensor, Tensor]:
    varies = v1 > 0
    factor = torch.where(varies, v2 / v1.where(varies, torch.ones_like(v1)), 1.0)
    scale = factor.clamp(LEAST_FACTOR, MOST_FACTOR).sqrt()
    return scale, torch.where(varies, m2 - scale * m1, 0.0)


def _full_maps(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> tuple[Tensor, Tensor]:
    """Whiten with Σ^(−1/2) and recolour with Σ̃^(1/2) inside the span of the bucket's features; leave the rest alone.

    The stretch is clipped as the diagonal one is, which the paper does not say: with fewer rows than features Σ is
    close to singular, and whitening would blow up noise.
    """
    values, vectors = torch.linalg.eigh(c1.double())
    tiny = values.amax(1, keepdim=True) * values.shape[1] * torch.finfo(torch.float32).eps
    spans = (values > tiny).to(values)
    inverse_root = torch.where(values > tiny, values.clamp(min=0), 1.0).rsqrt() * spans
    whiten = (vectors * inverse_root[:, None]) @ vectors.mT
    within = (vectors * spans[:, None]) @ vectors.mT
    target_values, target_vectors = torch.linalg.eigh(within @ c2.double() @ within)
    recolour = (target_vectors * target_values.clamp(min=0).sqrt()[:, None]) @ target_vectors.mT
    left, stretch, right = torch.linalg.svd(recolour @ whiten)
    used = stretch > torch.finfo(torch.float32).eps
    stretch = torch.where(used, stretch.clamp(LEAST_FACTOR**0.5, MOST_FACTOR**0.5), 0.0)
    inside = (left * stretch[:, None]) @ right
    scale = inside + torch.eye(values.shape[1], dtype=values.dtype, device=values.device) - within
    m1, m2 = m1.double(), m2.double()
    shift = torch.einsum("bij,bj->bi", within, m2) - torch.einsum("bij,bj->bi", inside, m1)
    return scale.to(c1), shift.to(c1)


def _smoothing_matrix(window: np.ndarray[tuple[int], np.dtype[np.float64]], buckets: int) -> Tensor:
    """Row b has the kernel's weights of all buckets for bucket b, shape (buckets, buckets); the ends reflect."""
    half = len(window) // 2
    source = np.pad(np.arange(buckets), half, mode="reflect")
    matrix = np.zeros((buckets, buckets))
    for bucket in range(buckets):
        np.add.at(matrix[bucket], source[bucket : bucket + len(window)], window)
    return torch.from_numpy(matrix).float()


def _all_reduced(total: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total


def _check(feature_dim: int, buckets: int, kernel_size: int, momentum: float, covariance: str) -> None:
    if feature_dim < 1:
        raise InputError(f"feature_dim: found {feature_dim}, expected the width of the features, at least 1")
    if buckets < 2:
        raise InputError(
            f"bucket_num: found {buckets} bucket(s) from bucket_start on, expected at least 2 to smooth over"
        )
    if kernel_size > buckets:
        raise InputError(f"kernel_size: found {kernel_size} for {buckets} buckets, expected an odd number up to that")
    if not 0 <= momentum < 1:
        raise InputError(f"momentum: found {momentum}, expected the share of old statistics, in [0, 1)")
    known = get_args(Covariance)
    if covariance not in known:
        raise InputError(
            f"covariance: found {covariance!r}, expected one of {', '.join(known)}{nearest(covariance, known)}"
        )
