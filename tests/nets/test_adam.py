"""The steps are those of torch's optimisers, and torch's compiler is not loaded for them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from remedi_spark.models.nets.adam import Adam

ONE_STEP = """
import sys, torch
from remedi_spark.models.nets.adam import Adam
weight = torch.ones(3, requires_grad=True)
optimiser = Adam([weight], learning_rate=0.1, weight_decay=0.1)
weight.sum().backward()
optimiser.step()
optimiser.zero_grad()
sys.exit("torch._dynamo" in sys.modules)
"""


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def _trained(net: nn.Module, optimiser: Any) -> list[Tensor]:
    """Ten steps; the first layer has no gradient in every third of them."""
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    for step in range(10):
        optimiser.zero_grad()
        hidden = net[1](net[0](x))  # type: ignore[index]
        net[2](hidden.detach() if step % 3 == 2 else hidden).square().mean().backward()  # type: ignore[index]
        optimiser.step()
    return [p.detach() for p in net.parameters()]


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_are_those_of_torch(decay: float) -> None:
    net, reference = _net(), _net()
    other = torch.optim.AdamW(reference.parameters(), lr=0.05, weight_decay=decay)
    expected = _trained(reference, other)
    found = _trained(net, Adam(net.parameters(), learning_rate=0.05, weight_decay=decay))
    assert not torch.allclose(found[0], next(_net().parameters()))
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_without_decay_it_is_plain_adam() -> None:
    net, reference = _net(), _net()
    expected = _trained(reference, torch.optim.Adam(reference.parameters(), lr=0.05))
    found = _trained(net, Adam(net.parameters(), learning_rate=0.05))
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_the_compiler_is_not_loaded() -> None:
    assert subprocess.run([sys.executable, "-c", ONE_STEP], check=False).returncode == 0
