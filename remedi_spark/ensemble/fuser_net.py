"""The fuser: hybrid experts under one gate, all folds trained at once.

logit = Σ_e g_e f_e(u) with g = softmax(u·W + c). Experts: ``convex``, a per-row convex combination of the base logits;
``stack``, one linear combination of them for all rows; ``mlp``, a fixed combination plus an MLP on the relative
features. All three start as the same greedy selection of base models (:mod:`remedi_spark.ensemble.selection`), and
every parameter is penalised towards that start: with few positives the fuser stays there.
Source: REMEDI (arXiv 2505.07245) says "mixture of hybrid experts"; the experts and the penalty are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remedi_spark.config.chain import EXPERTS

_START_GATES = (0.25, 0.5, 0.25)
_LEAST_WEIGHT = 1e-3
"""Of a model that was not selected: a weight of 0 has no logarithm, and could never grow."""


class Fuser(nn.Module):
    """``heads`` fusers side by side, one a (fold, seed): logits (n, M), inputs (n, U) -> fused logits (n, heads)."""

    absent: Tensor
    base: Tensor
    """What the ``mlp`` expert adds to, (heads, models)."""

    def __init__(self, heads: int, models: int, inputs: int, hidden: int, experts: Sequence[str] = EXPERTS) -> None:
        super().__init__()
        self.register_buffer("base", torch.full((heads, models), 1 / models))
        self.register_buffer("absent", torch.tensor([name not in experts for name in EXPERTS]))
        self.gate_weight = nn.Parameter(torch.zeros(heads, inputs, len(EXPERTS)))
        self.gate_bias = nn.Parameter(torch.tensor(_START_GATES).log().expand(heads, -1).clone())
        self.mix_weight = nn.Parameter(torch.zeros(heads, inputs, models))
        self.mix_bias = nn.Parameter(torch.zeros(heads, models))
        self.stack_weight = nn.Parameter(torch.zeros(heads, models))
        self.stack_bias = nn.Parameter(torch.zeros(heads))
        self.hidden_weight = nn.Parameter(torch.randn(heads, inputs, hidden) * inputs**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(heads, hidden))
        self.out_weight = nn.Parameter(torch.zeros(heads, hidden))

    def forward(self, logits: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return fused logits (n, heads) and gates (n, heads, experts)."""
        # Rows last: sums and softmax over a few experts or models then run along whole vectors of rows.
        x, logits = inputs.T, logits.T
        mix = self._linear(self.mix_weight, self.mix_bias, x).softmax(1)
        convex = (mix * logits).sum(1)
        stack = self.stack_weight @ logits + self.stack_bias.unsqueeze(1)
        hidden = F.relu(self._linear(self.hidden_weight, self.hidden_bias, x))
        mlp = self.base @ logits + (self.out_weight.unsqueeze(1) @ hidden).squeeze(1)
        pull = self._linear(self.gate_weight, self.gate_bias, x)
        gates = pull.masked_fill(self.absent.unsqueeze(1), -torch.inf).softmax(1)
        fused = (torch.stack([convex, stack, mlp], dim=1) * gates).sum(1)
        return fused.T, gates.permute(2, 0, 1)

    @staticmethod
    def _linear(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """Return (heads, outputs, n): weights (heads, inputs, outputs), biases (heads, outputs), x (inputs, n)."""
        heads, inputs, outputs = weight.shape
        flat = weight.transpose(1, 2).reshape(heads * outputs, inputs)
        return torch.addmm(bias.reshape(-1, 1), flat, x).view(heads, outputs, -1)

    def start_at(self, weights: Tensor) -> None:
        """Make every expert of a head the same combination of the base logits; weights (heads, models), sum 1."""
        with torch.no_grad():
            self.base.copy_(weights)
            self.stack_weight.copy_(weights)
            self.mix_bias.copy_(weights.clamp_min(_LEAST_WEIGHT).log())

    def distance(self, start: dict[str, Tensor]) -> Tensor:
        """Return ½ Σ (θ − θ₀)² over all parameters, by head, shape (heads,)."""
        parts = [(p - start[name]).square().flatten(1).sum(1) for name, p in self._by_head()]
        return 0.5 * torch.stack(parts).sum(0)

    def _by_head(self) -> list[tuple[str, Tensor]]:
        return [(name, p.unsqueeze(1) if p.dim() == 1 else p) for name, p in self.named_parameters()]


@dataclass(frozen=True)
class FuserSpec:
    """How to build and feed a stored fuser; JSON-able.

    ``fold_of_head`` gives the fold that each head never saw; ``center`` and ``scale`` standardise the inputs.
    """

    models: int
    inputs: int
    hidden: int
    fold_of_head: list[int]
    center: list[float]
    scale: list[float]
    experts: tuple[str, ...] = EXPERTS

    def build(self) -> Fuser:
        """Return the untrained fuser."""
        return Fuser(len(self.fold_of_head), self.models, self.inputs, self.hidden, self.experts)

    def standardise(self, inputs: Any) -> Tensor:
        """Return inputs (n, U) centred and scaled, nulls at the centre, outliers clipped at 5 deviations."""
        center, scale = torch.tensor(self.center), torch.tensor(self.scale)
        return torch.nan_to_num((torch.as_tensor(inputs) - center) / scale).clamp(-5, 5).float()
