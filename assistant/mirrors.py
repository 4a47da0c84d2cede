"""Mirror images and quarter turns of pictures and maps: one numbering of both, a picture followed by its own."""

from __future__ import annotations

import torch
from torch import Tensor

MIRRORED: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes along which a picture is turned over for each of its mirror images; the first is the picture itself."""
VARIANTS = len(MIRRORED)
"""Rows of a memory for each picture: itself and its mirror images."""


def mirror(values: Tensor, number: int) -> Tensor:
    """Mirror image `number` of [.., H, W], 0 to VARIANTS - 1; it is its own inverse."""
    return values.flip(MIRRORED[number]) if number else values


def mirrored(pixel_values: Tensor, variants: int = VARIANTS) -> Tensor:
    """Pictures [K, 3, H, W], each followed by its first `variants` - 1 mirror images -> [variants K, 3, H, W].

    A texture's patches occur mirrored too, and a tower that was trained on upright photographs sees those otherwise.
    """
    return torch.stack([mirror(pixel_values, number) for number in range(variants)], dim=1).flatten(0, 1)


def turn(values: Tensor, number: int) -> Tensor:
    """Quarter turn `number` of [.., H, W], 0 to VARIANTS - 1: that mirror image, rows and columns exchanged."""
    return mirror(values, number).transpose(-1, -2)


def turned(pixel_values: Tensor, turns: int) -> Tensor:
    """The first quarter turns of pictures [K, 3, H, W], those of each picture in a row -> [turns K, 3, W, H]."""
    return torch.stack([turn(pixel_values, number) for number in range(turns)], dim=1).flatten(0, 1)
