"""How far what differs from normal references counts beside what was trained, in the map and in the score.

A product that the model was trained on is judged best by what was trained, one that it has never seen by its
references. So there are two gains each, and a product that is known in part has them mixed. They are chosen by
`finetune.fusion` on pictures of the training fold and not trained with the rest: on known products a training needs no
references and would unlearn them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.reference import Residuals

RELIED = 4.0
"""With so many references half of the score's gain counts: how far normals lie apart is told by few of them badly.
The factor of training pictures' best gains with 1, 2, 4 and 8."""


def relied(count: Tensor | float) -> Tensor | float:
    """Share 0..1 of the score's gain that counts with so many references."""
    return count / (count + RELIED)


class ReferenceGain(nn.Module):
    """Distances to the references -> logits that are added to the map and to the image score.

    What counts is how much farther a place is than normal pictures of the product are from one another. With a single
    reference nothing shows that, and it is estimated from how far the picture is from its reference as a whole.

    Attributes:
        score, drawn: [2] logits of score and map for each unit of distance: of a known product, of a new one; of the
            score with ever more references, see RELIED.
        bias: [2] logits of the map of every picture with references, as above.
        lone: [3] offset, slope and knee of the estimate with one reference: offset + slope min(bulk, knee). On a line
            with a fixed camera two normal pictures hardly differ anywhere, and a defect is little farther; where they
            differ as wholes, by more than the knee, how much says nothing more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.score, self.drawn, self.bias, self.lone = (
            nn.Parameter(torch.zeros(size), requires_grad=False) for size in (2, 2, 2, 3)
        )

    def forward(self, differences: Residuals) -> Tensor:
        """[B] to be added to the image logits; 0 without references."""
        if not bool(differences.given.any()):
            return torch.zeros_like(differences.given)
        gain = self._mixed(self.score, differences)
        if differences.count is not None:
            gain = gain * relied(differences.count)
        return differences.given * gain * (differences.top - self.usual(differences))

    def on_map(self, differences: Residuals, size: tuple[int, int]) -> Tensor:
        """[B, 1, height, width] of `size`, to be added to the map's logits; 0 without references."""
        above = differences.mean_distance - self.usual(differences).view(-1, 1, 1, 1)
        above = F.interpolate(above, size=size, mode="bilinear", align_corners=False)
        gain, bias = (self._mixed(value, differences).view(-1, 1, 1, 1) for value in (self.drawn, self.bias))
        return differences.given.view(-1, 1, 1, 1) * (gain * above + bias)

    def usual(self, differences: Residuals) -> Tensor:
        """`Residuals.top` that a normal picture would have, [B]: of the references, or estimated."""
        estimate = self.lone[0] + self.lone[1] * torch.minimum(differences.bulk, self.lone[2])
        if differences.usual is None:
            return estimate
        return torch.where(differences.usual.isnan(), estimate, differences.usual)

    def _mixed(self, pair: Tensor, differences: Residuals) -> Tensor:
        known = differences.known_share
        return known * pair[0] + (1 - known) * pair[1]
