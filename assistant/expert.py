"""The look-twice selector as Anomaly-OneVision publishes it, for pictures in several views.

Xu et al., CVPR 2025, arXiv 2502.07601, section 3. The base view says what the object is, every view is then looked at
knowing that. Against the paper there is one addition: residuals of reference.py enter the level maps through a layer
that begins at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.look_twice import Selection
from assistant.onevision_config import OneVisionConfig
from assistant.reference import RESIDUALS, Residuals
from assistant.siglip import ViewFeatures


@dataclass(frozen=True, eq=False)
class ViewSelection(Selection):
    """A selection over V views of B pictures; `suspicious` [V, n, D] holds the query tokens only.

    Attributes:
        whole: [B, D] the global suspicious token of each picture.
    """

    whole: Tensor


class ExpertSelector(nn.Module):
    """Significance maps, suspicious tokens and image scores from the features of views."""

    def __init__(self, config: OneVisionConfig) -> None:
        super().__init__()
        selector, vision = config.selector_config, config.vision_config
        size, width = selector.size, vision.token_size
        self.temperature, self.query_grid = selector.temperature, tuple(selector.query_grid)
        self.pool = nn.Linear(config.positions, 1)  # over token positions
        self.descriptor = nn.Sequential(nn.Linear(width, size), nn.GELU(), nn.Linear(size, size))
        self.anomalous = nn.Parameter(torch.randn(size))
        self.normal = nn.Parameter(torch.randn(size))
        self.adapters = nn.ModuleList(nn.Linear(channels, size) for channels in vision.channels)
        self.prompts = nn.ModuleList(nn.Linear(2 * size, size) for _ in vision.channels)
        self.query = nn.Linear(width, size)
        self.key = nn.Linear(width, size)
        self.score = nn.Sequential(nn.Linear(width, size), nn.GELU(), nn.Linear(size, 1))
        self.residual = nn.ModuleList(nn.Conv2d(len(RESIDUALS), 1, 1) for _ in vision.channels[1:])
        for layer in self.residual:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: ViewFeatures, residuals: Residuals) -> ViewSelection:
        """Features and residuals of V views of B pictures -> ViewSelection."""
        views, tokens = features.views, features.tokens  # tokens [V, N, D]
        bases = self.pool(tokens[views.bases].transpose(1, 2)).squeeze(-1)  # [B, D]
        descriptor = self.descriptor(bases)[views.owners]  # [V, d]: the base view's for every view
        adapted, logits = [], []
        for number, level in enumerate(features.levels):
            patches = self.adapters[number](level.flatten(2).transpose(1, 2))  # [V, N, d]
            anomalous, normal = (
                F.normalize(self.prompts[number](torch.cat([e.expand_as(descriptor), descriptor], dim=1)), dim=1)
                for e in (self.anomalous, self.normal)
            )  # [V, d] each
            difference = torch.einsum("vnd,vd->vn", F.normalize(patches, dim=2), anomalous - normal)
            adapted.append(patches.transpose(1, 2).unflatten(2, level.shape[-2:]))
            logits.append((difference / self.temperature).unflatten(1, level.shape[-2:]).unsqueeze(1))
        for number, layer in enumerate(self.residual):
            logits[number + 1] = logits[number + 1] + layer(residuals.maps[number])
        # a softmax over two cosines is the sigmoid of their difference
        significance = torch.stack([torch.sigmoid(level) for level in logits]).mean(dim=0)  # [V, 1, h, w]
        square = tokens.transpose(1, 2).unflatten(2, features.grid)  # [V, D, h, w]
        queries, pooled = self._pooled(square, significance)  # [V, n, D], [V, n]
        attention = self.query(queries) @ self.key(tokens).transpose(1, 2) * self.key.out_features**-0.5
        suspicious = attention.softmax(dim=-1) @ tokens  # [V, n, D]
        weight = (pooled * significance.mean(dim=(1, 2, 3)).unsqueeze(1)).unsqueeze(-1)  # [V, n, 1]
        whole = torch.stack(
            [
                (w * s).sum(dim=(0, 1)) / w.sum().clamp_min(1e-12)
                for w, s in zip(weight.split(views.counts), suspicious.split(views.counts), strict=True)
            ]
        )  # [B, D]
        return ViewSelection(
            level_logits=tuple(logits),
            significance=significance,
            adapted=tuple(adapted),
            suspicious=suspicious,
            comparison=self._pooled(residuals.difference, significance)[0],
            score_logit=self.score(whole).squeeze(-1),
            whole=whole,
        )

    def _pooled(self, square: Tensor, significance: Tensor) -> tuple[Tensor, Tensor]:
        """[V, D, h, w] pooled to the query grid, weighted by significance -> [V, n, D], pooled significance [V, n]."""
        pooled = F.adaptive_avg_pool2d(significance, self.query_grid)  # [V, 1, rows, columns]
        weighted = F.adaptive_avg_pool2d(significance * square, self.query_grid) / pooled.clamp_min(1e-6)
        return weighted.flatten(2).transpose(1, 2), pooled.flatten(1)
