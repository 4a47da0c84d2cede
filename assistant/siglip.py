"""The SigLIP tower of a LLaVA-OneVision checkpoint as a vision tower: views -> levels and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from assistant.anyres import Views
from assistant.vision import VisionFeatures

AT_ONCE = 8
"""Views that go through the tower together, so that memory does not grow with the picture."""


@dataclass(frozen=True, eq=False)
class ViewFeatures(VisionFeatures):
    """What the tower sees of views; batch dimension V.

    Attributes:
        views: whose features these are.
    """

    views: Views


class SiglipTower(nn.Module):
    """Reads levels out of a frozen SigLIP; the tower itself stays a part of its language checkpoint.

    Args:
        tower: transformers' SiglipVisionModel; held, not registered: its tensors are saved, moved and sharded there.
        taps: blocks, counted from 0, after which features become levels.
        feature_layer: hidden state that the language model sees, as the checkpoint's `vision_feature_layer`.
    """

    def __init__(self, tower: nn.Module, taps: Sequence[int], feature_layer: int) -> None:
        super().__init__()
        self._held = (tower,)
        self.states = [tap + 1 for tap in taps] + [feature_layer]  # hidden state 0 is the embedding

    @property
    def siglip(self) -> nn.Module:
        """The tower that is held."""
        return self._held[0]

    def forward(self, views: Views) -> ViewFeatures:
        """Views -> ViewFeatures in float32 on the tower's device."""
        parameter = next(self.siglip.parameters())
        parts: list[list[torch.Tensor]] = []
        with torch.no_grad():
            for pixels in views.pixels.split(AT_ONCE):
                inputs = pixels.to(parameter.device, parameter.dtype)
                hidden = self.siglip(inputs, output_hidden_states=True).hidden_states
                parts.append([hidden[state].float() for state in self.states])  # [v, N, D] each
        *levels, tokens = (torch.cat(part) for part in zip(*parts, strict=True))
        side = round(tokens.shape[1] ** 0.5)
        squares = tuple(level.transpose(1, 2).unflatten(2, (side, side)) for level in levels)  # [V, D, side, side]
        return ViewFeatures(squares, tokens, (side, side), views)
