from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from remedi_spark.errors import InputError
from remedi_spark.maths.kernels import kernel_window
from remedi_spark.models.nets.fds import FDS
from tests.in_step import in_step

X = torch.tensor([1.0, 3, 2, 6, 10, 4, 8])[:, None]
Y = torch.tensor([3, 3, 5, 5, 9, 7, 2])


def rows(seed: int, n: int = 4_000, dim: int = 3, buckets: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, buckets, (n,), generator=generator)
    mixing = torch.randn(buckets, dim, dim, generator=generator)
    noise = torch.randn(n, dim, generator=generator)
    return torch.einsum("nij,nj->ni", mixing[labels], noise) + labels[:, None] ** 2 / 10, labels


def test_fixture_of_the_running_statistics():
    fds = FDS(1, bucket_num=10, bucket_start=3)
    fds.update(X, Y)
    assert fds.running_mean.flatten().tolist() == [4, 0, 4, 0, 4, 0, 10]
    assert fds.running_var.flatten().tolist() == [13, 1, 8, 1, 0, 1, 0]
    fds.update(X + 10, Y)
    assert fds.running_mean.flatten().tolist() == pytest.approx([5, 0, 5, 0, 5, 0, 11])
    assert fds.rows_seen.tolist() == [6, 0, 4, 0, 2, 0, 2]


def test_a_bucket_first_seen_later_starts_from_what_it_has_then():
    fds = FDS(1, bucket_num=6)
    fds.update(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]))
    fds.update(torch.tensor([[7.0], [9.0]]), torch.tensor([4, 4]))
    assert fds.running_mean[:, 0].tolist() == [2, 0, 0, 0, 8, 0]


def test_smoothing_equals_the_published_arithmetic_when_every_bucket_is_full():
    x, y = rows(0)
    fds = FDS(3, bucket_num=8, skip_empty=False)
    fds.update(x, y)
    window = kernel_window("gaussian", 5, 2, "sum")
    mean = np.stack([x[y == b].numpy().mean(0) for b in range(8)])
    var = np.stack([x[y == b].numpy().var(0, ddof=1) for b in range(8)])
    smoothed_mean, smoothed_var = (convolve1d(s, window, axis=0, mode="mirror") for s in (mean, var))
    factor = np.sqrt(np.clip(smoothed_var / var, 0.1, 10))
    expected = (x.numpy() - mean[y]) * factor[y] + smoothed_mean[y]
    assert fds.smooth(x, y).numpy() == pytest.approx(expected, abs=1e-4)
    everywhere = FDS(3, bucket_num=8)
    everywhere.update(x, y)
    assert torch.allclose(everywhere.smooth(x, y), fds.smooth(x, y), atol=1e-5)


def test_full_covariance_whitens_and_recolours():
    x, y = rows(1, n=40_000)
    fds = FDS(3, bucket_num=8, covariance="full", kernel_size=3)
    fds.update(x, y)
    moved = fds.smooth(x, y)
    window = torch.tensor(kernel_window("gaussian", 3, 2, "sum"), dtype=torch.float32)
    neighbours = [x[y == b] for b in (3, 4, 5)]
    covariance = sum(w * torch.cov(part.T) for w, part in zip(window, neighbours, strict=True))
    mean = sum(w * part.mean(0) for w, part in zip(window, neighbours, strict=True))
    # Bucket 4's map stays inside the clip with these rows, so its moved rows have the smoothed statistics exactly.
    singular = torch.linalg.svdvals(fds.scale[4])
    assert singular.min() > 0.1**0.5 and singular.max() < 10**0.5
    assert torch.allclose(torch.cov(moved[y == 4].T), covariance, atol=1e-3)
    assert torch.allclose(moved[y == 4].mean(0), mean, atol=1e-4)


def test_full_and_diagonal_agree_on_one_feature():
    x, y = rows(2, dim=1)
    moved = []
    for covariance in ("diagonal", "full"):
        fds = FDS(1, bucket_num=8, covariance=covariance)
        fds.update(x, y)
        moved.append(fds.smooth(x, y))
    assert torch.allclose(*moved, atol=1e-4)
    assert not torch.allclose(moved[0], x, atol=0.1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_empty_buckets_take_no_part(covariance):
    # Like features in buckets 2 and 4 and nothing between: smoothing must not pull them towards zero.
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) + 100
    x = torch.cat([x, x])
    y = torch.tensor([2, 4]).repeat_interleave(400)
    fds = FDS(2, bucket_num=7, covariance=covariance)
    fds.update(x, y)
    assert torch.allclose(fds.smooth(x, y), x, atol=1e-2)
    as_published = FDS(2, bucket_num=7, covariance=covariance, skip_empty=False)
    as_published.update(x, y)
    assert as_published.smooth(x, y).mean() < 80


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_what_does_not_vary_is_left_alone(covariance):
    x, y = rows(3)
    x[:, 1] = 5
    single = y.clone()
    single[single == 6] = 5
    single[0] = 6
    fds = FDS(3, bucket_num=8, covariance=covariance)
    fds.update(x, single)
    moved = fds.smooth(x, single)
    assert torch.isfinite(moved).all()
    assert torch.allclose(moved[:, 1], x[:, 1], atol=1e-4)
    assert torch.equal(moved[0], x[0])  # one row has no variance to rescale
    assert not torch.allclose(moved[:, 0], x[:, 0], atol=0.1)


def test_does_nothing_before_the_first_update_and_at_inference():
    x, y = rows(4)
    fds = FDS(3, bucket_num=8)
    assert torch.equal(fds.smooth(x, y), x)
    fds.update(x, y)
    assert not torch.equal(fds.smooth(x, y), x)
    fds.eval()
    assert fds.smooth(x, y) is x


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_leaves_its_input_alone_and_lets_the_gradient_through(covariance):
    x, y = rows(5, n=200)
    fds = FDS(3, bucket_num=8, covariance=covariance)
    fds.update(x, y)
    leaf = x.clone().requires_grad_()
    fds.smooth(leaf, y[:, None]).sum().backward()
    assert torch.equal(leaf.detach(), x)
    scale = fds.scale[y]
    expected = scale if covariance == "diagonal" else scale.sum(1)
    assert torch.allclose(leaf.grad, expected, atol=1e-5)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_state_dict_keeps_everything(covariance):
    x, y = rows(6)
    first, second = (FDS(3, bucket_num=8, covariance=covariance) for _ in range(2))
    first.update(x, y)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.smooth(x, y), first.smooth(x, y))
    for fds in (first, second):
        fds.update(x + 1, y)
    assert torch.equal(second.smooth(x, y), first.smooth(x, y))


def test_large_offsets_keep_their_variance():
    x = torch.tensor([[1e4 + 1], [1e4 + 3], [1e4], [1e4]])
    fds = FDS(1, bucket_num=2, kernel_size=1)
    fds.update(x, torch.tensor([0, 0, 1, 1]))
    assert fds.running_var.flatten().tolist() == [2, 0]


def test_empty_batch():
    fds = FDS(3, bucket_num=8)
    assert fds.smooth(torch.zeros(0, 3), torch.zeros(0)).shape == (0, 3)
    fds.update(torch.zeros(0, 3), torch.zeros(0))
    assert fds.rows_seen.sum() == 0


def states_after_two_epochs(first: slice, second: slice) -> dict[str, dict[str, torch.Tensor]]:
    x, y = rows(7)
    states = {}
    for covariance in ("diagonal", "full"):
        fds = FDS(3, bucket_num=8, covariance=covariance)
        fds.update(x[first], y[first])
        fds.update(x[second] * 2, y[second])
        states[covariance] = fds.state_dict()
    return states


def share(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    # The first worker has no rows in the second epoch: it must take part nevertheless.
    first, second = (slice(0, 900), slice(0, 0)) if rank == 0 else (slice(900, None), slice(None))
    return states_after_two_epochs(first, second)


def test_two_workers_equal_one(tmp_path):
    alone = states_after_two_epochs(slice(None), slice(None))
    for states in in_step(share, tmp_path):
        for covariance, state in alone.items():
            for name, value in state.items():
                assert torch.allclose(states[covariance][name], value, rtol=1e-5, atol=1e-5), (covariance, name)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"kernel_size": 4}, "kernel_size: found 4, expected an odd"),
        ({"kernel_size": 9}, "kernel_size: found 9 for 8 buckets"),
        ({"bucket_num": 1, "kernel_size": 1}, r"bucket_num: found 1 bucket\(s\)"),
        ({"bucket_start": 8}, r"bucket_num: found 0 bucket\(s\)"),
        ({"momentum": 1.0}, "momentum: found 1"),
        ({"covariance": "ful"}, "did you mean 'full'"),
        ({"kernel": "gauss"}, "did you mean 'gaussian'"),
        ({"feature_dim": 0}, "feature_dim: found 0"),
    ],
)
def test_bad_arguments_are_named(changed, word):
    with pytest.raises(InputError, match=word):
        FDS(**({"feature_dim": 3, "bucket_num": 8} | changed))


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (torch.zeros(4, 2), torch.zeros(4), r"features: found shape \(4, 2\), expected \(n, 3\)"),
        (torch.zeros(4, 3), torch.zeros(3), r"labels: found shape \(3,\)"),
        (torch.full((4, 3), torch.nan), torch.zeros(4), "features: found a null or infinite value"),
        (torch.zeros(4, 3), torch.full((4,), torch.inf), "labels: found a null or infinite value"),
    ],
)
def test_bad_batches_are_named(x, y, word):
    with pytest.raises(InputError, match=word):
        FDS(3, bucket_num=8).update(x, y)


def test_torch_is_loaded_only_for_fds():
    script = (
        "import sys; from remedi_spark.maths.label_density import LabelDensity, width_edges; "
        "LabelDensity.from_histogram(width_edges(1, 2, 2), [1, 1]); "
        "assert 'torch' not in sys.modules and 'pyspark' not in sys.modules; "
        "import remedi_spark.models.nets.fds; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
