"""The fuser: hybrid experts under one gate, all folds trained at once.

logit = Σ_e g_e f_e(u) with g = softmax(u·W + c). Experts: ``convex``, a per-row convex combination of the base logits;
``stack``, a logistic stack of them with weights of at least 0; ``mlp``, the mean logit plus an MLP on the relative
features. Every parameter is penalised towards the start, where half of the fuser *is* the mean of the base logits and
half a strongly penalised stack, both known in closed form: with few positives it stays there.
Source: REMEDI (arXiv 2505.07245) says "mixture of hybrid experts"; the experts and the penalty are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPERTS = ("convex", "stack", "mlp")
_START_GATES = (0.25, 0.5, 0.25)


class Fuser(nn.Module):
    """``heads`` fusers side by side, one a (fold, seed): logits (n, M), inputs (n, U) -> fused logits (n, heads)."""

    absent: Tensor

    def __init__(self, heads: int, models: int, inputs: int, hidden: int, experts: Sequence[str] = EXPERTS) -> None:
        super().__init__()
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
        mean = logits.mean(1, keepdim=True)
        mix = (torch.einsum("nu,hum->nhm", inputs, self.mix_weight) + self.mix_bias).softmax(-1)
        convex = torch.einsum("nhm,nm->nh", mix, logits)
        stack = torch.einsum("nm,hm->nh", logits, self.stack_weight) + self.stack_bias
        hidden = F.relu(torch.einsum("nu,hud->nhd", inputs, self.hidden_weight) + self.hidden_bias)
        mlp = mean + torch.einsum("nhd,hd->nh", hidden, self.out_weight)
        pull = torch.einsum("nu,hue->nhe", inputs, self.gate_weight) + self.gate_bias
        gates = pull.masked_fill(self.absent, -torch.inf).softmax(-1)
        fused = (torch.stack([convex, stack, mlp], dim=-1) * gates).sum(-1)
        return fused, gates

    def start_stack(self, stacks: Tensor) -> None:
        """Take the stack expert of every head from (heads, models + 1): weights, then the intercept."""
        with torch.no_grad():
            self.stack_weight.copy_(stacks[:, :-1])
            self.stack_bias.copy_(stacks[:, -1])

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
