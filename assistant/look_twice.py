"""The look-twice selector: first look at the whole, second look at each patch knowing what the whole is.

After Anomaly-OneVision (Xu et al., CVPR 2025, arXiv 2502.07601), section 3; written anew for towers whose levels
differ in stride and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.configuration import LookTwiceSelectorConfig, LookTwiceVisionConfig
from assistant.reference import RESIDUALS, Residuals
from assistant.vision import VisionFeatures


@dataclass(frozen=True, eq=False)
class Selection:
    """What the selector found.

    Attributes:
        level_logits: one [B, 1, H_l, W_l] a level: (cos to anomalous - cos to normal) / temperature.
        significance: [B, 1, H, W] 0..1 at the finest level: mean over levels of the anomalous channel.
        adapted: one [B, d, H_l, W_l] a level: patches in the selector's space, not normalised.
        suspicious: [B, 1 + n, D] the global suspicious token, then the n tokens of the query grid.
        comparison: [B, n, D] where each query cell differs from the references; 0 without references.
        score_logit: [B] the selector's own image logit.
    """

    level_logits: tuple[Tensor, ...]
    significance: Tensor
    adapted: tuple[Tensor, ...]
    suspicious: Tensor
    comparison: Tensor
    score_logit: Tensor

    def rows(self, step: int) -> Selection:
        """Of every `step`-th picture, from the first on."""
        kept = {
            name: tuple(one[::step] for one in value) if isinstance(value, tuple) else value[::step]
            for name, value in vars(self).items()
        }
        return Selection(**kept)


class LookTwiceSelector(nn.Module):
    """Significance map, suspicious tokens and image score from a tower's features."""

    def __init__(self, config: LookTwiceSelectorConfig, vision: LookTwiceVisionConfig) -> None:
        super().__init__()
        size, width = config.size, vision.token_size
        self.temperature = config.temperature
        self.query_grid = tuple(config.query_grid)
        self.pool = nn.Linear(width, 1)
        self.descriptor = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, size), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(size, size)
        )
        self.anomalous = nn.Parameter(torch.randn(size) * size**-0.5)
        self.normal = nn.Parameter(torch.randn(size) * size**-0.5)
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, channels), nn.Conv2d(channels, size, 1)) for channels in vision.channels
        )
        self.prompts = nn.ModuleList(nn.Linear(2 * size, size) for _ in vision.channels)
        # every level but the finest has a residual; at zero a new model is the paper's selector
        self.residual = nn.ModuleList(nn.Conv2d(len(RESIDUALS), 1, 1) for _ in vision.channels[1:])
        for layer in self.residual:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.query = nn.Linear(width, size)
        self.key = nn.Linear(width, size)
        self.score = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, size), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(size, 1)
        )

    def forward(self, features: VisionFeatures, residuals: Residuals) -> Selection:
        """VisionFeatures and Residuals of B pictures -> Selection."""
        tokens = features.tokens  # [B, N, D]
        mix = self.pool(tokens).softmax(dim=1)  # [B, N, 1]
        descriptor = self.descriptor((mix * tokens).sum(dim=1))  # [B, d]

        adapted, logits = [], []
        for level, adapter, prompt in zip(features.levels, self.adapters, self.prompts, strict=True):
            patches = adapter(level)  # [B, d, H_l, W_l]
            directions = F.normalize(patches, dim=1)
            anomalous, normal = (
                F.normalize(prompt(torch.cat([embedding.expand_as(descriptor), descriptor], dim=1)), dim=1)
                for embedding in (self.anomalous, self.normal)
            )  # [B, d] each
            difference = torch.einsum("bdhw,bd->bhw", directions, anomalous - normal)
            adapted.append(patches)
            logits.append(difference.unsqueeze(1) / self.temperature)  # [B, 1, H_l, W_l]
        for number, layer in enumerate(self.residual):
            logits[number + 1] = logits[number + 1] + layer(residuals.maps[number])

        finest = logits[0].shape[-2:]
        # softmax over {normal, anomalous} of two cosines is the sigmoid of their difference
        maps = [F.interpolate(torch.sigmoid(x), size=finest, mode="bilinear", align_corners=False) for x in logits]
        significance = torch.stack(maps).mean(dim=0)  # [B, 1, H, W]
        suspicious, pooled = self._suspicious(tokens, features.grid, significance)
        comparison = self._pooled(residuals.difference, significance)[0]
        weight = pooled / pooled.sum(dim=1, keepdim=True).clamp_min(1e-6)  # [B, n]
        global_token = (weight.unsqueeze(-1) * suspicious).sum(dim=1, keepdim=True)  # [B, 1, D]
        return Selection(
            level_logits=tuple(logits),
            significance=significance,
            adapted=tuple(adapted),
            suspicious=torch.cat([global_token, suspicious], dim=1),
            comparison=comparison,
            score_logit=self.score(global_token.squeeze(1)).squeeze(-1),
        )

    def _suspicious(self, tokens: Tensor, grid: tuple[int, int], significance: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] and significance [B, 1, H, W] -> suspicious tokens [B, n, D], pooled significance [B, n]."""
        square = tokens.transpose(1, 2).unflatten(2, grid)  # [B, D, h, w]
        queries, pooled = self._pooled(square, significance)
        attention = self.query(queries) @ self.key(tokens).transpose(1, 2) * self.key.out_features**-0.5  # [B, n, N]
        return attention.softmax(dim=-1) @ tokens, pooled

    def _pooled(self, square: Tensor, significance: Tensor) -> tuple[Tensor, Tensor]:
        """[B, D, h, w] pooled to the query grid, weighted by significance -> [B, n, D], pooled significance [B, n]."""
        weight = F.adaptive_avg_pool2d(significance, square.shape[-2:])  # [B, 1, h, w]
        pooled = F.adaptive_avg_pool2d(weight, self.query_grid)  # [B, 1, rows, columns]
        weighted = F.adaptive_avg_pool2d(weight * square, self.query_grid) / pooled.clamp_min(1e-6)
        return weighted.flatten(2).transpose(1, 2), pooled.flatten(1)
