"""What kind of defect: named from the features where the map is lit and from the lit region's shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.configuration import LookTwiceHeatmapConfig, LookTwiceSelectorConfig, LookTwiceVisionConfig
from assistant.look_twice import Selection
from assistant.prompts import BANDS
from assistant.types import Region

SHAPE_FACTS = 5
"""Numbers of `shape_facts`."""
SPOKEN_KINDS = 3
"""Kinds of defect a look names."""


class KindHead(nn.Module):
    """Lit features, the picture's mean features and the shape of the lit part -> one logit a kind."""

    def __init__(
        self, config: LookTwiceHeatmapConfig, selector: LookTwiceSelectorConfig, vision: LookTwiceVisionConfig
    ) -> None:
        super().__init__()
        inputs = 2 * len(vision.channels) * selector.size
        self.norm = nn.LayerNorm(inputs)
        self.dropout = nn.Dropout(selector.dropout)
        self.mlp = nn.Sequential(
            nn.Linear(inputs + SHAPE_FACTS, selector.size), nn.GELU(), nn.Linear(selector.size, len(config.kinds))
        )

    def forward(self, selection: Selection, logits: Tensor) -> Tensor:
        """Selection and map logits [B, 1, H, W] -> [B, kinds]; no gradient reaches the map or the adapters."""
        return self.name(self.facts(selection, logits))

    def facts(self, selection: Selection, logits: Tensor) -> Tensor:
        """What a kind is told by: features where the map is lit, of the whole picture, and the lit shape -> [B, n]."""
        lit = torch.sigmoid(logits.detach())
        parts = []
        for level in selection.adapted:
            level = level.detach()
            weight = F.adaptive_avg_pool2d(lit, level.shape[-2:])
            everywhere = level.mean(dim=(2, 3))  # [B, d]
            there = (level * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp_min(1e-4)
            parts += [there - everywhere, everywhere]
        return torch.cat([*parts, shape_facts(lit)], dim=1)

    def name(self, facts: Tensor) -> Tensor:
        """Facts [B, n] -> logits [B, kinds]."""
        features = self.dropout(self.norm(facts[:, :-SHAPE_FACTS]))
        return self.mlp(torch.cat([features, facts[:, -SHAPE_FACTS:]], dim=1))


def shape_facts(lit: Tensor) -> Tensor:
    """Size and form of the lit part of a map [B, 1, H, W] in 0..1 -> [B, 5].

    Log area, peak, log elongation (ratio of the principal spreads), log spread along the longer axis, and solidity
    (area over the area of an ellipse with the same spread); each of order 1.
    """
    weight = lit[:, 0].double() + 1e-9
    height, width = weight.shape[-2:]
    side = (height * width) ** 0.5
    total = weight.sum(dim=(1, 2))
    rows = torch.arange(height, device=lit.device).view(1, -1, 1) / side
    columns = torch.arange(width, device=lit.device).view(1, 1, -1) / side

    def mean(values: Tensor) -> Tensor:
        return (weight * values).sum(dim=(1, 2)) / total

    y, x = rows - mean(rows).view(-1, 1, 1), columns - mean(columns).view(-1, 1, 1)
    yy, xx, xy = mean(y * y) + 1e-6, mean(x * x) + 1e-6, mean(x * y)
    middle, spread = (yy + xx) / 2, (((yy - xx) / 2) ** 2 + xy**2).sqrt()
    longer, shorter = middle + spread, (middle - spread).clamp_min(1e-7)
    area = total / (height * width)
    ellipse = 4 * torch.pi * (longer * shorter).sqrt()
    facts = [
        area.log() / 4,
        lit.flatten(1).amax(dim=1).double(),
        (longer / shorter).log() / 4,
        longer.log() / 4,
        (area / ellipse).clamp(1e-4, 1e2).log() / 4,
    ]
    return torch.stack(facts, dim=1).to(lit.dtype)


def likely_kinds(
    score: float, regions: Sequence[Region], logits: Tensor, names: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """The SPOKEN_KINDS likeliest kinds of defect with their probabilities; () when a look is not suspicious.

    Args:
        score: 0..1; below the lowest band, and without a region, there is nothing to name.
        regions: of the map.
        logits: [kinds].
        names: of the kinds.
    """
    if score < BANDS[0][0] and not regions:
        return ()
    shares, order = torch.softmax(logits.float(), dim=0).topk(min(SPOKEN_KINDS, len(names)))
    return tuple((names[index], float(share)) for index, share in zip(order.tolist(), shares.tolist(), strict=True))
