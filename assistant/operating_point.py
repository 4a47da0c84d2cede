"""The score from which a picture is called anomalous, and where that comes from: the operating point on the ROC curve.

It depends on what is known: nothing but the stored calibration, what normal and anomalous pictures of a known product
score, normal references, and the false-alarm rate that is asked for.
"""

from __future__ import annotations

from torch import Tensor

from assistant.calibration import Calibration, logit, sigmoid
from assistant.familiar import MOSTLY, SCENE, Familiar
from assistant.reference import References
from assistant.threshold import DEFAULT_RATE

_OTHERS = "normal pictures of other products"


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
        rate: false-alarm rate; None means the balanced point without references and of a known product, and
            DEFAULT_RATE with references of a new one.
    """
    product, share = SCENE, 0.0
    shown = memory.descriptors if memory is not None else descriptor
    if familiar is not None and shown is not None and shown.numel():
        product, share = familiar.product_of(shown)
    normals = memory.normals if memory is not None else None
    way = "alone" if normals is None else "held" if normals else "lone"
    balance = familiar.tipping_of(product, way) if familiar is not None else None
    if rate is None and memory is None:
        common = calibration.threshold, calibration.source
        return _balanced(calibration, common, balance, share, "this one")
    if rate is None and balance is not None:
        common = calibration.threshold_at(DEFAULT_RATE, normals), _asked(DEFAULT_RATE, memory, _OTHERS)
        return _balanced(calibration, common, balance, share, "the references")
    rate = DEFAULT_RATE if rate is None else rate
    threshold, others = calibration.threshold_at(rate, normals), _OTHERS
    own = familiar.normals_of(product, way) if familiar is not None else None
    if own is not None:
        prior, count = own
        threshold = _between(threshold, calibration.threshold_at(rate, normals, prior, count), share)
        if share >= MOSTLY:
            like = "it" if memory is None or memory.count == 1 else "them"
            others = f"{count} known normal pictures that look like {like}"
    return threshold, _asked(rate, memory, others)


def _balanced(
    calibration: Calibration, common: tuple[float, str], balance: tuple[float, int] | None, share: float, like: str
) -> tuple[float, str]:
    """From what serves any product, `common`, to where the known one balances, by the share that it is known."""
    threshold, source = common
    if balance is None:
        return common
    higher, count = balance
    threshold = _between(threshold, sigmoid(logit(calibration.threshold) + higher), share)
    if share >= MOSTLY:
        source = f"balanced point on {count} held-out training pictures that look like {like}"
    return threshold, source


def _asked(rate: float, memory: References | None, others: str) -> str:
    asked = f"{100 * rate:.2g} % false alarms"
    if memory is None:
        return f"{asked} on {others}"
    noun = "reference" if memory.count == 1 else "references"
    return f"{asked}, from {memory.count} normal {noun} and {others}"


def _between(one: float, other: float, share: float) -> float:
    return sigmoid((1 - share) * logit(one) + share * logit(other))
