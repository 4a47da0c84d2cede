"""Normal references made into a memory: bounded in size, whatever their order, with what a threshold is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from assistant.calibration import Calibration
from assistant.familiar import Familiar
from assistant.look_model import LookModel, LookOutput
from assistant.mirrors import VARIANTS
from assistant.reference import Alone, References, Residuals, apart
from assistant.types import Look
from assistant.vision import VisionFeatures, describe

MAX_ROWS = 32
"""Pictures and variants of pictures whose patches are kept: the distances to a row take 20 MB and 2 ms a look."""
MAX_JUDGED = 32
"""References that are held against the others, for the threshold and for doubts about them."""
NOT_COMPARED = "These weights have learned nothing from references: they change the threshold, not map and score."
"""Said of looks that `compares` is false of."""
LEAST_IN_PLACE = 3
"""References that show what is usual of a place: of two, neither could be held against others as pictures will be."""
ODD_RATE = 0.01
"""A reference is called odd when fewer than this share of normals would look so suspicious against the others."""
NEW_TO_ME = "The model has learned from nothing like this picture: normal references would make the verdict surer."
"""Said of a picture that is judged all the same."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One normal picture as the tower sees it.

    Attributes:
        features: as the model's `see` gives them of the picture.
        part: the memory of this picture alone, with its variants.
        descriptor: [1, D], see `describe`.
        alone: of `LookModel.alone`, where the picture is held against many; None where it is made each time.
    """

    features: VisionFeatures
    part: References
    descriptor: Tensor
    alone: Alone | None = None


def see(model: LookModel, pixels: Tensor) -> Seen:
    """A normal picture [1, 3, H, W], normalised, through the tower."""
    features = model.see(pixels)
    # of several views the first is the whole, of several mirror images the picture itself; descriptors are counted with
    # outside of the device
    described = describe(features.tokens[:1], features.grid, model.config.visual_grid).cpu()
    return Seen(features, model.remember(pixels, features), described)


def assemble(
    model: LookModel,
    seen: Sequence[Seen],
    calibration: Calibration,
    numbers: Sequence[int],
    familiar: Familiar | None = None,
) -> References:
    """One memory of several pictures of one size; of many pictures `kept_of` are in it.

    Args:
        model: judges each picture against the others.
        seen: at least one picture, in an order that does not depend on how they were given.
        calibration: of the model.
        numbers: what each of them is called in notes, from 1 on.
        familiar: what the model knows; left out, it knows no product.
    """
    descriptors = torch.cat([one.descriptor for one in seen])
    known = familiar.known(descriptors) if familiar else 0.0
    kept = kept_of(model, seen)
    memory = replace(joined([seen[index].part for index in kept], len(seen)), known=known)
    held = held_out(model, seen, memory, kept)
    strange = _strangers(descriptors, calibration.match_cut)
    notes = [] if getattr(model, "compares", True) else [NOT_COMPARED]
    if strange and 2 * len(strange) < len(seen):
        named = sorted(numbers[index] for index in strange)
        notes += [f"Reference {number} shows another product than the other references." for number in named]
    elif strange:
        notes.append("The references disagree: they show different products.")
    alike = {index: differences for index, differences in held.items() if index not in strange}
    told = _judged(model, seen, alike)
    odd = _odd({index: logit for index, (logit, _) in told.items()}, calibration)
    for number in sorted(numbers[index] for index in odd):
        notes.append(f"Reference {number} looks anomalous against the other references: please check it.")
    if odd:
        alike = {index: differences for index, differences in alike.items() if index not in odd}
        told = _judged(model, seen, alike)
    return replace(
        memory,
        descriptors=descriptors,
        normals=tuple(logit for logit, _ in told.values()),
        peaks=tuple(peak for _, peak in told.values()),
        notes=tuple(notes),
        usual=usual_of(model, alike.values()),
    )


def held_out(model: LookModel, seen: Sequence[Seen], memory: References, kept: Sequence[int]) -> dict[int, Residuals]:
    """What differs of each picture, at most MAX_JUDGED, from the others that a memory keeps; {} for a single one."""
    held = {}
    for index in range(min(len(seen), MAX_JUDGED)):
        rows = [row for row, other in enumerate(kept) if other != index]
        if rows:
            against = memory
            if index in kept:
                measured = memory.apart[rows][:, rows] if len(memory.apart) else memory.apart
                others = joined([seen[kept[row]].part for row in rows], len(rows), measured)
                against = replace(others, known=memory.known, count=memory.count)  # judged as pictures will be
            held[index] = model.compare(seen[index].features, against)
    return held


def usual_of(model: LookModel, held: Iterable[Residuals]) -> float | None:
    """`References.usual`: how far pictures are from the others in the mean."""
    tops = [model.top(differences) for differences in held]
    return float(np.mean(tops)) if tops else None


def _judged(model: LookModel, seen: Sequence[Seen], held: Mapping[int, Residuals]) -> dict[int, tuple[float, float]]:
    """Fused image logit and highest map logit of pictures held against the others, by their index."""
    usual = usual_of(model, held.values())
    if usual is None:
        return {}
    found = {}
    for index, differences in held.items():
        expected = replace(differences, usual=torch.full_like(differences.given, usual), alone=seen[index].alone)
        found[index] = facts_of(model.decide(seen[index].features, expected))
    return found


def facts_of(output: LookOutput) -> tuple[float, float]:
    """Fused image logit and highest map logit of a look at one picture."""
    return float(output.score_logit[0]), float(output.heatmap_logits.amax())


def kept_of(model: LookModel, seen: Sequence[Seen]) -> list[int]:
    """Which of several pictures a memory keeps, in order: all, or a coreset where their rows are more than MAX_ROWS.

    It is spread over what they look like: seeds of k-means++ (Arthur and Vassilvitskii 2007) on their descriptors.
    Pictures are kept whole, since a patch counts in its place as well.
    """
    rows = getattr(model, "max_rows", MAX_ROWS)
    most = max(2, rows // seen[0].part.levels[0].shape[0])
    return _coreset(torch.cat([one.descriptor for one in seen]), most)


def judged(model: LookModel, seen: Seen, memory: References | None) -> tuple[float, float]:
    """`facts_of` one picture, held against a memory or, without any, by itself."""
    return facts_of(model.decide(seen.features, replace(model.compare(seen.features, memory), alone=seen.alone)))


def distance_to(memory: References, descriptor: Tensor) -> float:
    """Cosine distance 0..2 of a picture's descriptor [1, D] to the nearest reference; 0 when none is described."""
    if not memory.descriptors.numel():
        return 0.0
    return 1 - float((memory.descriptors @ descriptor.T).amax())


def doubt_of(descriptor: Tensor, memory: References | None, calibration: Calibration, familiar: Familiar | None) -> str:
    """Why nothing can be decided about a picture that looks like this as a whole, "" when it can.

    Args:
        descriptor: [1, D] unit vector of the picture.
        memory: its references, None without.
        calibration, familiar: of the model.
    """
    if memory is not None:
        far = 0 < calibration.match_cut < distance_to(memory, descriptor)
        if far and familiar is not None and familiar.are_one(descriptor, memory.descriptors):
            far = False  # a product that varies much, as boards do, and is known to
        return "The references do not match this picture: they seem to show another product." if far else ""
    if familiar is not None and familiar.distance(descriptor) > familiar.cut:
        return "The picture is unlike anything the model knows: nothing can be decided without references."
    return ""


def strangeness(look: Look, familiar: Familiar | None) -> tuple[str, ...]:
    """NEW_TO_ME for a look at a picture, without references, of no known product and far from all that is known."""
    alone = not look.references and not look.doubt and look.clip is None and not look.views
    if familiar is None or not alone or "visual" not in look.tokens:
        return ()
    seen = F.normalize(torch.from_numpy(look.tokens["visual"]).float().mean(dim=0, keepdim=True), dim=1)
    return (NEW_TO_ME,) if familiar.distance(seen) > familiar.new and not familiar.known(seen) else ()


def joined(parts: Sequence[References], count: int, measured: Tensor | None = None) -> References:
    """The memories of single pictures as one, of `count` pictures.

    Args:
        parts: of one size; those that keep the pictures are held against one another place by place.
        count: how many pictures were given.
        measured: `References.apart` of them where it is known already.
    """
    levels = tuple(torch.cat(levels) for levels in zip(*(part.levels for part in parts), strict=True))
    fine, shown = torch.cat([part.fine for part in parts]), torch.cat([part.shown for part in parts])
    whole = References(levels, count, fine=fine, shown=shown, rows=parts[0].rows)
    if measured is None and len(fine) >= LEAST_IN_PLACE:
        measured = apart(levels[0][::VARIANTS])
    return whole if measured is None else replace(whole, apart=measured)


def _coreset(descriptors: Tensor, most: int) -> list[int]:
    """Rows of [n, D] that cover it best, at most `most`, in order."""
    if len(descriptors) <= most:
        return list(range(len(descriptors)))
    _, chosen = kmeans_plusplus(descriptors.double().numpy(), most, random_state=0)
    return sorted(set(chosen.tolist()))


def _strangers(descriptors: Tensor, cut: float) -> list[int]:
    """Rows of [n, D] that are farther than `cut` from the middle one of the others; none while no cut is known."""
    if cut <= 0 or len(descriptors) < 2:
        return []
    distance = 1 - (descriptors @ descriptors.T).double().numpy()
    others = [np.median(np.delete(row, index)) for index, row in enumerate(distance)]
    return [index for index, middle in enumerate(others) if middle > cut]


def _odd(logits: dict[int, float], calibration: Calibration) -> list[int]:
    """References that would be called anomalous at ODD_RATE, judged by the others' logits; the worst first.

    One at a time: an anomalous reference widens what counts as normal until it is set aside.
    """
    left, odd = dict(logits), []
    while len(left) > 2 or (len(left) == 2 and not odd):
        worst = max(left, key=lambda index: left[index])
        others = [value for index, value in left.items() if index != worst]
        if calibration.score(left[worst], others) < calibration.threshold_at(ODD_RATE, others):
            break
        odd.append(worst)
        del left[worst]
    return odd
