"""Losses of the look stage: focal and dice on the map, balanced cross-entropy on the image logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float = 2.0, alpha: float = 0.75) -> Tensor:
    """Binary focal loss (Lin et al., ICCV 2017, equation 5), summed over pixels and divided by the weight's sum.

    Args:
        logits, target, weight: [B, 1, H, W]; target in 0..1; weight 0 leaves a pixel out.

    Returns:
        [B], one value a picture; 0 where every weight is 0.
    """
    probability = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = probability * target + (1 - probability) * (1 - target)
    balance = alpha * target + (1 - alpha) * (1 - target)
    loss = balance * (1 - right).pow(gamma) * entropy * weight
    return loss.flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1.0)


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - dice overlap (Milletari et al., 3DV 2016) of [B, 1, H, W] maps -> [B]; 0 for empty targets."""
    probability = torch.sigmoid(logits) * weight
    target = target * weight
    overlap = (probability * target).flatten(1).sum(1)
    total = probability.flatten(1).sum(1) + target.flatten(1).sum(1)
    wanted = target.flatten(1).sum(1) > 0
    return torch.where(wanted, 1 - (2 * overlap + 1) / (total + 1), torch.zeros_like(total))
