"""The nets: each maps encoded rows (n, width) to logits (n, members).

Every net first embeds its input as fields (n, fields, dim) and then reads the fields alone, which is what makes
attribution in embedding space possible. Sources: TabM, arXiv 2410.24210, and FT-Transformer, arXiv 2106.11959 (the
authors' packages); DeepFM, arXiv 1703.04247.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rtdl_revisiting_models import FTTransformerBackbone
from tabm import EnsembleView, LinearEnsemble, make_tabm_backbone
from torch import Tensor, nn

from remedi_spark.models.nets.columns import StandardColumns
from remedi_spark.models.nets.inputs import InputStats, TabularInput


class FieldNet(nn.Module):
    """A net on embedded fields."""

    input: TabularInput
    head: nn.Module

    def __init__(self, stats: InputStats, embedding_dim: int) -> None:
        super().__init__()
        self.input = TabularInput(stats, embedding_dim)
        self._stats = stats

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: (n, width) -> (n, members)."""
        return self.from_fields(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Embed: (n, width) -> (n, fields, dim)."""
        fields: Tensor = self.input(x)
        return fields

    def from_fields(self, fields: Tensor) -> Tensor:
        """Return logits: (n, fields, dim) -> (n, members)."""
        return self.read_out(self.last_hidden(fields), fields)

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return the features that the head reads: (n, fields, dim) -> (n, d)."""
        raise NotImplementedError

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return logits of :meth:`last_hidden`, (n, d), and of the fields that by-pass it -> (n, members)."""
        raise NotImplementedError

    def slots(self) -> list[int]:
        """Position in the encoded row of each field."""
        return [*self._stats.numbers, *self._stats.codes]

    def reference_row(self, width: int) -> npt.NDArray[np.float64]:
        """Return one encoded row of training medians and most frequent levels, shape (1, width)."""
        row = np.zeros((1, width))
        row[0, self._stats.numbers] = self._stats.center
        return row


class MLP(FieldNet):
    """A ReLU MLP."""

    def __init__(self, stats: InputStats, *, embedding_dim: int, hidden: list[int], dropout: float) -> None:
        super().__init__(stats, embedding_dim)
        self.body, width = _relu_layers(self.input.fields * embedding_dim, hidden, dropout)
        self.head = nn.Linear(width, 1)

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return the last layer of the body: (n, fields, dim) -> (n, d)."""
        hidden: Tensor = self.body(fields.flatten(1))
        return hidden

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return logits: (n, d) -> (n, 1)."""
        logits: Tensor = self.head(hidden)
        return logits


class TabM(FieldNet):
    """``members`` MLPs in one: they share weights and differ by rank-one adapters (BatchEnsemble)."""

    def __init__(
        self, stats: InputStats, *, embedding_dim: int, members: int, blocks: int, width: int, dropout: float
    ) -> None:
        super().__init__(stats, embedding_dim)
        self.members = members
        self.view = EnsembleView(k=members)
        self.backbone = make_tabm_backbone(
            d_in=self.input.fields * embedding_dim,
            n_blocks=blocks,
            d_block=width,
            dropout=dropout,
            k=members,
            start_scaling_init="normal",  # the authors' choice where inputs are embedded
            start_scaling_init_chunks=[embedding_dim] * self.input.fields,
        )
        self.head = LinearEnsemble(width, 1, k=members)

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return the members' last layers side by side: (n, fields, dim) -> (n, members * width)."""
        shared = self.view(fields.flatten(1))  # (n, members, fields * dim)
        hidden: Tensor = self.backbone(shared).flatten(1)
        return hidden

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return one logit a member: (n, members * width) -> (n, members)."""
        # Not len(hidden): a traced graph would keep the number of rows that it was traced with.
        by_member = hidden.unflatten(1, (self.members, hidden.shape[1] // self.members))  # type: ignore[no-untyped-call]
        logits: Tensor = self.head(by_member).squeeze(-1)
        return logits


class DeepFM(FieldNet):
    """logit = linear(v) + ½ Σ_d [(Σ_i v_id)² − Σ_i v_id²] + MLP(v), all on the same field embeddings v.

    Departures from the paper: numeric fields are embedded too, so the linear term is a weight on every embedding
    (a piecewise-linear curve for a number, a weight a level for a category); the pairwise term grows with fields², so
    it is divided by the fields and starts at zero behind a learned factor.
    """

    def __init__(self, stats: InputStats, *, embedding_dim: int, hidden: list[int], dropout: float) -> None:
        super().__init__(stats, embedding_dim)
        self.linear = nn.Linear(self.input.fields * embedding_dim, 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.pairwise = nn.Parameter(torch.zeros(1))
        self.body, width = _relu_layers(self.input.fields * embedding_dim, hidden, dropout)
        self.head = nn.Linear(width, 1)

    def from_fields(self, fields: Tensor) -> Tensor:
        """Return logits: (n, fields, dim) -> (n, 1)."""
        flat = fields.flatten(1)
        logits: Tensor = self._wide(flat, fields) + self.head(self.body(flat))
        return logits

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return the last layer of the deep part: (n, fields, dim) -> (n, d)."""
        hidden: Tensor = self.body(fields.flatten(1))
        return hidden

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return logits: (n, d) and (n, fields, dim) -> (n, 1)."""
        logits: Tensor = self._wide(fields.flatten(1), fields) + self.head(hidden)
        return logits

    def _wide(self, flat: Tensor, fields: Tensor) -> Tensor:
        crossed = 0.5 * (fields.sum(1).square() - fields.square().sum(1)).sum(1, keepdim=True)  # (n, 1)
        wide: Tensor = self.linear(flat) + self.pairwise * crossed / fields.shape[1]
        return wide


class FTTransformer(FieldNet):
    """A transformer whose tokens are the fields and one class token, which is read out.

    Departure from the paper: numbers are embedded piecewise linearly, as for the other nets.
    """

    def __init__(self, stats: InputStats, *, embedding_dim: int, blocks: int, heads: int, dropout: float) -> None:
        super().__init__(stats, embedding_dim)
        self.token = nn.Parameter(torch.empty(embedding_dim).uniform_(-(embedding_dim**-0.5), embedding_dim**-0.5))
        self.backbone = FTTransformerBackbone(
            d_out=None,
            n_blocks=blocks,
            d_block=embedding_dim,
            attention_n_heads=heads,
            attention_dropout=dropout,
            ffn_d_hidden_multiplier=4 / 3,  # the authors' choice for ReGLU
            ffn_dropout=dropout,
            residual_dropout=0.0,
        )
        self.normalise = nn.LayerNorm(embedding_dim)
        self.head = nn.Linear(embedding_dim, 1)

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return what is read from the class token: (n, fields, dim) -> (n, dim)."""
        token = self.token.expand(len(fields), 1, -1)
        return torch.relu(self.normalise(self.backbone(torch.cat([token, fields], dim=1))))

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return logits: (n, dim) -> (n, 1)."""
        logits: Tensor = self.head(hidden)
        return logits


class Additive(FieldNet):
    """logit = bias + Σ_i curve_i(x_i), one field a feature: a piecewise-linear curve, or one weight a level.

    Without interactions it ranks well where positives are few, and it errs elsewhere than trees do, which is what an
    ensemble gains from. Source: generalised additive models (Hastie and Tibshirani, 1986), linear splines.
    """

    def __init__(self, stats: InputStats) -> None:
        super().__init__(stats, 1)
        self.head = nn.Linear(1, 1)
        nn.init.ones_(self.head.weight)

    def last_hidden(self, fields: Tensor) -> Tensor:
        """Return the sum of the curves: (n, fields, 1) -> (n, 1)."""
        return fields.sum(1)

    def read_out(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Return logits: (n, 1) -> (n, 1)."""
        logits: Tensor = self.head(hidden)
        return logits

    def design(self, x: Tensor) -> Tensor:
        """Return the columns that the parameters weigh: (n, width) -> (n, columns), the last one constant."""
        return torch.cat([*self.input.design(x), torch.ones(len(x), 1)], dim=1)

    def set_weights(self, weights: Tensor) -> None:
        """Take the parameters from one weight a column of :meth:`design`."""
        with torch.no_grad():
            self.input.set_weights(weights[:-1])
            self.head.bias.copy_(weights[-1:])  # type: ignore[operator]


class WithLinearTerm(FieldNet):
    """logit = net(x) + bias + Σ_c weight_c column_c(x): a net and a linear correction on its standardised inputs.

    The last coordinate of each embedded field is the field's share of the linear term, so that attribution sees it.
    """

    def __init__(self, stats: InputStats, *, net: dict[str, Any], mean: list[float], scale: list[float]) -> None:
        nn.Module.__init__(self)  # the fields are those of the inner net, which has its own input layer
        self._stats = stats
        self.net = build({**net, "stats": stats.to_dict()})
        self.columns = StandardColumns(stats, mean, scale)
        self.weight = nn.Parameter(torch.zeros(len(mean), dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def embed(self, x: Tensor) -> Tensor:
        """Embed: (n, width) -> (n, fields, dim + 1)."""
        fields = self.net.embed(x)
        terms = self.columns(x) * self.weight  # (n, columns)
        share = terms.new_zeros(fields.shape[:2]).index_add(1, self.columns.fields, terms)
        return torch.cat([fields, share.to(fields.dtype).unsqueeze(-1)], dim=-1)

    def from_fields(self, fields: Tensor) -> Tensor:
        """Return logits: (n, fields, dim + 1) -> (n, members)."""
        linear = fields[..., -1].sum(1, keepdim=True) + self.bias.to(fields.dtype)
        return self.net.from_fields(fields[..., :-1]) + linear


def _relu_layers(width: int, hidden: list[int], dropout: float) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    for after in hidden:
        layers += [nn.Linear(width, after), nn.ReLU(), nn.Dropout(dropout)]
        width = after
    return nn.Sequential(*layers), width


NETS: dict[str, type[FieldNet]] = {
    "additive": Additive,
    "mlp": MLP,
    "tabm": TabM,
    "deepfm": DeepFM,
    "ft_transformer": FTTransformer,
    "with_linear_term": WithLinearTerm,
}


def build(spec: dict[str, Any]) -> FieldNet:
    """Build a net from its JSON-able specification ``{"kind", "stats", **arguments}``."""
    arguments = {key: value for key, value in spec.items() if key not in ("kind", "stats")}
    return NETS[spec["kind"]](InputStats(**spec["stats"]), **arguments)
