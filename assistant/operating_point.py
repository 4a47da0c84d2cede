"""The score from which a picture is called anomalous, and where that comes from: the operating point on the ROC curve.

It depends on what is known: nothing but the stored calibration, what normal and anomalous pictures of a known product
score, normal references, and the false-alarm rate that is asked for.
"""

from __future__ import annotations

from torch import Tensor

from assistant.calibration import Calibration, logit, sigmoid
from assistant.familiar import SCENE, Familiar
from assistant.reference import References
from assistant.threshold import DEFAULT_RATE

MOSTLY = 0.5
"""Share of a known product from which its pictures are named as where a threshold comes from."""


def operating_point(
    calibration: Calibration,
    familiar: Familiar | None,
    descriptor: Tensor | None,
    memory: References | None,
    rate: float | None,
) -> tuple[float, str]:
    """Threshold 0..1 and a sentence saying where it comes from.

    Args:
        calibration, familiar: of the model.
        descriptor: [1, D] unit vector of the picture, None where none is at hand.
        memory: its references, None without.
        rate: false-alarm rate; None means DEFAULT_RATE with references and the balanced point without.
    """
    product, share = SCENE, 0.0
    shown = memory.descriptors if memory is not None else descriptor
    if familiar is not None and shown is not None and shown.numel():
        product, share = familiar.product_of(shown)
    if memory is None and rate is None:
        return _balanced(calibration, familiar, product, share)
    rate = DEFAULT_RATE if rate is None else rate
    normals = memory.normals if memory is not None else None
    threshold = calibration.threshold_at(rate, normals)
    way = "alone" if normals is None else "held" if normals else "lone"
    own = familiar.normals_of(product, way) if familiar is not None else None
    others, like = "normal pictures of other products", "it" if memory is None or memory.count == 1 else "them"
    if own is not None:
        prior, count = own
        threshold = _between(threshold, calibration.threshold_at(rate, normals, prior, count), share)
        if share >= MOSTLY:
            others = f"{count} known normal pictures that look like {like}"
    asked = f"{100 * rate:.2g} % false alarms"
    if memory is None:
        return threshold, f"{asked} on {others}"
    noun = "reference" if memory.count == 1 else "references"
    return threshold, f"{asked}, from {memory.count} normal {noun} and {others}"


def _balanced(calibration: Calibration, familiar: Familiar | None, product: int, share: float) -> tuple[float, str]:
    higher, count = familiar.tipping_of(product) if familiar is not None else (0.0, 0)
    if not higher:
        return calibration.threshold, calibration.source
    threshold = sigmoid(logit(calibration.threshold) + share * higher)
    if share < MOSTLY:
        return threshold, calibration.source
    return threshold, f"balanced point on {count} held-out training pictures that look like this one"


def _between(one: float, other: float, share: float) -> float:
    return sigmoid((1 - share) * logit(one) + share * logit(other))
