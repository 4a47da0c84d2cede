"""Score and thresholds of weights that were trained further, set anew on pictures held out for calibration.

A short training moves the scores of what was known before, of one product more than of another. Their order holds, and
the stored thresholds do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.calibration import Calibration
from assistant.familiar import SCENE, Familiar
from assistant.look_model import LookModel
from finetune.calibrate import platt
from finetune.features import Origin, read_batch
from finetune.known_products import balanced_point
from finetune.records import two_sided


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture that no weight was fitted on: where it comes from, its fused image logit, its descriptor [1, D]."""

    origin: Origin
    logit: float
    descriptor: Tensor


def judged(model: LookModel, files: Sequence[Path]) -> list[Judged]:
    """Those of the sets with both labels in cached features, see `features.make_features`."""
    rows = []
    with torch.inference_mode():
        for batch in map(read_batch, files):
            output = model.single(batch.features, batch.residuals)
            descriptors = F.normalize(output.tokens.seen, dim=1)
            rows += [
                Judged(origin, float(output.score_logit[row]), descriptors[row : row + 1])
                for row, origin in enumerate(batch.origins)
            ]
    return [rows[number] for number in two_sided([row.origin for row in rows])]


def recalibrated(
    calibration: Calibration, familiar: Familiar | None, before: Sequence[Judged], after: Sequence[Judged]
) -> tuple[Calibration, Familiar | None]:
    """Calibration and what is familiar, moved as the scores of the same pictures have moved.

    Args:
        calibration, familiar: of the old weights; familiar None where nothing is.
        before, after: the pictures by the old and by the new weights; without any nothing changes.
    """
    if not before:
        return calibration, familiar
    (old_scale, old_bias), (scale, bias) = (
        platt([row.logit for row in rows], [row.origin for row in rows]) for rows in (before, after)
    )
    if min(old_scale, scale) <= 0:  # they tell nothing apart
        return calibration, familiar
    # the stored numbers are of looks with mirror images: what has moved counts, not where single looks lie
    share = calibration.score_scale / old_scale
    moved = replace(
        calibration,
        score_scale=share * scale,
        score_bias=calibration.score_bias + share * (bias - old_bias),
    )
    if familiar is None:
        return moved, None
    higher = balances(moved, familiar, after) - balances(calibration, familiar, before)
    # never lowered, as in `balanced_point`; fmax leaves what was not measured
    return moved, replace(familiar, tipping=torch.fmax(familiar.tipping, familiar.tipping + higher[:, None]))


def balances(calibration: Calibration, familiar: Familiar, rows: Sequence[Judged]) -> Tensor:
    """[G] `known_products.balanced_point` of the pictures of each known product, NaN where there are none."""
    sides: dict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for row in rows:
        product, _ = familiar.product_of(row.descriptor)
        if product != SCENE:
            sides[product][row.origin.label].append(calibration.logit(row.logit))
    points = torch.full((len(familiar.tipping),), torch.nan, dtype=torch.float64)
    for product, both in sides.items():
        if product < len(points) and all(both):
            points[product] = balanced_point(*both)
    return points
