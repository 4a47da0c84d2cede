"""The heatmap head: a pixel-supervised map on one absolute scale, and the tokens that speak of it.

AnomalyGPT (Gu et al., AAAI 2024, arXiv 2308.15366) reads a map from a decoder and feeds it to the language model
through a small prompt learner; this head is trained with masks and is never normalised per picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.configuration import LookTwiceHeatmapConfig, LookTwiceSelectorConfig, LookTwiceVisionConfig
from assistant.look_twice import Selection
from assistant.own_residual import top_mean
from assistant.reference import RESIDUALS, Residuals
from assistant.reference_gain import ReferenceGain


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.GELU())


class HeatmapHead(nn.Module):
    """Adapted levels, level maps and residuals -> logit map at the finest stride, and the map's own image logit."""

    def __init__(
        self, config: LookTwiceHeatmapConfig, selector: LookTwiceSelectorConfig, vision: LookTwiceVisionConfig
    ) -> None:
        super().__init__()
        size, fine = config.size, config.fine_size
        levels = len(vision.channels)
        inputs = (levels - 1) * selector.size + levels + (levels - 1) * len(RESIDUALS) + 1
        self.top_shares = tuple(config.top_shares)
        self.coarse = nn.Sequential(nn.Conv2d(inputs, size, 1), _block(size, size), _block(size, size))
        self.up = nn.Conv2d(size, fine, 1)
        self.skip = nn.Conv2d(selector.size, fine, 1)
        self.fine = _block(2 * fine, fine)
        self.out = nn.Conv2d(fine, 1, 1)
        # a small prior of anomalous pixels keeps the first steps of the focal loss calm (Lin et al. 2017, section 3.3)
        nn.init.constant_(self.out.bias, -4.0)
        self.references = ReferenceGain()
        self.score_scale = nn.Parameter(torch.tensor(1.0))
        self.score_bias = nn.Parameter(torch.tensor(2.0))

    def forward(self, selection: Selection, residuals: Residuals) -> tuple[Tensor, Tensor, Tensor]:
        """-> (logits [B, 1, H, W] at the finest level, image logit [B], features [B, C, H, W]).

        The image logit is that of the trained map alone: the score counts the references by itself.
        """
        second = selection.adapted[1].shape[-2:]
        finest = selection.adapted[0].shape[-2:]
        parts = [*selection.adapted[1:], *selection.level_logits, *residuals.maps]
        resized = [
            part
            if part.shape[-2:] == second
            else F.interpolate(part, size=second, mode="bilinear", align_corners=False)
            for part in parts
        ]
        resized.append(residuals.given.view(-1, 1, 1, 1).expand(-1, 1, *second))
        coarse = self.up(self.coarse(torch.cat(resized, dim=1)))  # [B, fine, H/2, W/2]
        up = F.interpolate(coarse, size=finest, mode="bilinear", align_corners=False)
        features = self.fine(torch.cat([up, self.skip(selection.adapted[0])], dim=1))  # [B, fine, H, W]
        logits = self.out(features)  # [B, 1, H, W]
        top = torch.stack([top_mean(logits, share) for share in self.top_shares]).mean(dim=0)  # [B]
        if bool(residuals.given.any()):
            logits = logits + self.references.on_map(residuals, finest)
        return logits, F.softplus(self.score_scale) * top + self.score_bias, features


def score_fusion(levels: int) -> nn.Linear:
    """The layer that makes the image score from the selector's logit, the map's, and `own_summary` of the levels."""
    layer = nn.Linear(2 + levels, 1)
    with torch.no_grad():
        # the map ranks unseen products better than the selector's own head does, so it leads from the start
        layer.weight.copy_(torch.tensor([[0.3, 0.7, *[0.0] * levels]]))
        layer.bias.zero_()
    return layer


def map_summary(logits: Tensor, features: Tensor, cells: tuple[int, int]) -> Tensor:
    """The map cell by cell: its highest value, its mean, and the head's features where it is lit.

    Args:
        logits: [B, 1, H, W] map logits.
        features: [B, C, H, W] features of the heatmap head.
        cells: (rows, columns) of the grid.

    Returns:
        [B, rows * columns, C + 2].
    """
    values = torch.sigmoid(logits)
    peak = F.adaptive_max_pool2d(values, cells)  # [B, 1, r, c]
    mean = F.adaptive_avg_pool2d(values, cells)
    weighted = F.adaptive_avg_pool2d(features * values, cells) / mean.clamp_min(1e-4)
    return torch.cat([peak, mean, weighted], dim=1).flatten(2).transpose(1, 2)


def restated(summary: Tensor, logits: Tensor, cells: tuple[int, int]) -> Tensor:
    """A `map_summary` with the highest and mean values of another map [B, 1, H, W] of the same picture."""
    values = torch.sigmoid(logits)
    stated = torch.cat([F.adaptive_max_pool2d(values, cells), F.adaptive_avg_pool2d(values, cells)], dim=1)
    return torch.cat([stated.flatten(2).transpose(1, 2), summary[:, :, 2:]], dim=2)


class MapTokens(nn.Module):
    """The map in a few tokens: one for each cell of a grid, and a few learned ones.

    A cell's token is made of its highest and mean value and the head's features there, weighted by the map.
    """

    def __init__(self, config: LookTwiceHeatmapConfig, width: int) -> None:
        super().__init__()
        features = config.fine_size
        self.cells = tuple(config.cells)
        self.mlp = nn.Sequential(nn.Linear(features + 2, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.place = nn.Parameter(torch.zeros(self.cells[0] * self.cells[1], width))
        self.free = nn.Parameter(torch.randn(config.free_tokens, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, summary: Tensor) -> Tensor:
        """Summary [B, cells, C + 2] of `map_summary` -> tokens [B, cells + free, width]."""
        cells = self.mlp(summary) + self.place
        return self.norm(torch.cat([cells, self.free.expand(summary.shape[0], -1, -1)], dim=1))
