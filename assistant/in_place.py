"""What is out of place: farther from the same place of several references than they are from one another there.

Of a part that lies alike under a camera each time, every place has a look of its own, which single patches do not know
of: where a hole is missing there is plain metal, as there is beside every hole. So positions are compared, as PaDiM
does (Defard et al., ICPR 2021, arXiv 2011.08785), but with distances to a few references instead of a Gaussian, for
which there are too few. References that lie differently differ everywhere, and nothing is out of place beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MARGIN = 0.05
"""Distance that a place may be beyond what the references show there: two or three do not show all that is usual."""
ELSEWHERE = 0.9
"""Quantile of a picture's places that may not be beyond it either, or it lies or is lit otherwise as a whole."""
SHARE = 0.005
"""Share of a picture's places whose mean speaks for the whole picture: a part that is missing is small."""


def spread_of(apart: Tensor) -> Tensor | None:
    """How far each place of normal pictures is from the nearest of the others at most, [h, w]; None for fewer than two.

    Args:
        apart: [K, K, h, w] distance 0..2 of each place of the first to the same place of the second.
    """
    if len(apart) < 2:
        return None
    itself = torch.eye(len(apart), dtype=torch.bool, device=apart.device)[..., None, None]
    return apart.masked_fill(itself, torch.inf).amin(dim=1).amax(dim=0)


def out_of_place(place: Tensor, spreads: Sequence[Tensor | None]) -> Tensor | None:
    """How far places are beyond what is usual there, [B, 1, h, w], >= 0; None where nothing is known of any picture.

    Args:
        place: [B, h, w] distance 0..2 to the same place of the references.
        spreads: of `spread_of`, one a picture, None where there is none; of a grid of another size it says nothing.
    """
    found, known = torch.zeros_like(place), False
    for row, (distance, spread) in enumerate(zip(place, spreads, strict=True)):
        if spread is not None and spread.shape == distance.shape:
            beyond, known = distance - spread, True
            found[row] = (beyond - MARGIN - beyond.flatten().quantile(ELSEWHERE).clamp_min(0)).clamp_min(0)
    return found[:, None] if known else None
