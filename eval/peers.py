"""Training-free peers on the model's own tower: what a user would otherwise pick, fitted to normal references alone.

Each takes the levels of the references, [K, C_l, h_l, w_l] float32, finest first, and gives a function from a
picture's levels, [1, C_l, h_l, w_l], to its image score and map. References and pictures come at one size. Scores and
maps are distances, 0 and up, without an absolute scale.

The models of anomalib, which tests hold these against, bring their own towers and cannot be imported without its
trainer; what is left of them on given features is short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from sklearn.covariance import LedoitWolf
from torch import Tensor

from assistant.own_residual import top_mean
from eval.plain_maps import nearest_map

Levels = Sequence[Tensor]
Judge = Callable[[Levels], tuple[float, Tensor]]
"""Levels of a picture -> (image score, map [h, w] at the size of one of the levels)."""

MIDDLE = slice(1, 3)
"""Levels at strides 8 and 16, which PatchCore and PaDiM are built on: finer ones know edges only, the last classes."""
MOST_PATCHES = 32_768
"""Patches of all references that a memory is chosen from, and that a covariance of patches is estimated on."""
CORESET, LEAST_CORESET = 0.1, 1024
"""Share of the patches that PatchCore keeps, and how many it keeps in any case: a small memory needs no thinning."""
NEIGHBOURS = 9
"""Patches of the memory that weigh PatchCore's image score."""
PADIM_CHANNELS, PADIM_RIDGE = 100, 0.01
"""Channels that PaDiM draws, and what it adds to the diagonal of each covariance."""
TOP = 0.01
"""Share of a map whose mean is the image score of the nearest neighbours."""
SMOOTHING = 4.0
"""Standard deviation of the blur of PatchCore's and PaDiM's maps, pixels of the picture as the tower sees it."""


class Model(StrEnum):
    """Who judges a run: this project's model, or a peer."""

    looktwice = "looktwice"
    patchcore = "patchcore"
    padim = "padim"
    gaussian = "gaussian"
    wide_nn = "wide_nn"


def patchcore(known: Levels) -> Judge:
    """PatchCore (Roth et al., CVPR 2022): distance of each patch to the nearest of a coreset of normal patches.

    The image score is the largest distance s* times 1 - exp(s*) / sum exp(distances to the nearest patch's NEIGHBOURS),
    equation 7: less where the memory is sparse anyway.
    """
    memory = coreset(drawn(_rows(_locally(known))))

    def judge(levels: Levels) -> tuple[float, Tensor]:
        embedding = _locally(levels)
        patches = _rows(embedding)
        nearest, chosen = torch.cdist(patches, memory).min(dim=1)
        return _weighed(patches, nearest, chosen, memory), _smooth(nearest.view(embedding.shape[-2:]))

    return judge


def _weighed(patches: Tensor, nearest: Tensor, chosen: Tensor, memory: Tensor) -> float:
    """PatchCore's image score from patches [N, C], their distances [N] to memory [M, C] and the indices [N] there."""
    worst = int(nearest.argmax())
    if len(memory) < 2:
        return float(nearest[worst])
    count = min(NEIGHBOURS, len(memory))
    around = torch.cdist(memory[chosen[worst]][None], memory)[0].topk(count, largest=False).indices
    distances = torch.cdist(patches[worst][None], memory[around])[0]
    return float(nearest[worst] * (1 - torch.softmax(distances, dim=0)[0]))


def coreset(patches: Tensor) -> Tensor:
    """Greedy k-centre choice of a CORESET of rows [N, C]: each next one is the farthest from those chosen."""
    count = min(len(patches), max(LEAST_CORESET, round(CORESET * len(patches))))
    if count == len(patches):
        return patches
    chosen = [0]
    distances = torch.linalg.vector_norm(patches - patches[0], dim=1)
    squares = patches.square().sum(dim=1)
    for _ in range(count - 1):
        chosen.append(int(distances.argmax()))
        centre = patches[chosen[-1]]
        reached = (squares + squares[chosen[-1]] - 2 * (patches @ centre)).clamp_min(0).sqrt()
        distances = torch.minimum(distances, reached)
        distances[chosen[-1]] = 0
    return patches[chosen]


def padim(known: Levels) -> Judge:
    """PaDiM (Defard et al., ICPR 2021): Mahalanobis distance to a Gaussian at each place; the score is the map's top.

    Of the channels PADIM_CHANNELS are drawn, as in the paper. One reference has no covariance but the ridge.
    """
    channels = np.random.default_rng(0).permutation(sum(level.shape[1] for level in known[MIDDLE]))[:PADIM_CHANNELS]
    places = _joined(known[MIDDLE], "nearest")[:, channels].flatten(2).permute(2, 0, 1)  # [P, K, C]
    mean = places.mean(dim=1, keepdim=True)
    centred = places - mean
    covariance = centred.transpose(1, 2) @ centred / max(1, places.shape[1] - 1)
    covariance.diagonal(dim1=1, dim2=2).add_(PADIM_RIDGE)
    precision = torch.linalg.inv(covariance)

    def judge(levels: Levels) -> tuple[float, Tensor]:
        embedding = _joined(levels[MIDDLE], "nearest")[:, channels]
        delta = embedding.flatten(2).permute(2, 0, 1) - mean  # [P, 1, C]
        squared = (delta @ precision @ delta.transpose(1, 2))[:, 0, 0]
        heat = _smooth(squared.clamp_min(0).sqrt().view(embedding.shape[-2:]))
        return float(heat.max()), heat

    return judge


def gaussian(known: Levels) -> Judge:
    """Gaussian-AD (Rippel et al., ICPR 2020): Mahalanobis distances of each level's pooled features, added up.

    The covariance is shrunk (Ledoit and Wolf 2004). The method draws no map: ours is the same distance, patch by patch,
    to a Gaussian of all patches of the level, as a share of its dimensions' root, mean of the levels.
    """
    pooled = [_distance(level.mean(dim=(2, 3))) for level in known]
    patches = [_distance(drawn(_rows(level))) for level in known]

    def judge(levels: Levels) -> tuple[float, Tensor]:
        finest, maps = levels[0].shape[-2:], []
        for level, distance in zip(levels, patches, strict=True):
            heat = distance(_rows(level)).view(1, 1, *level.shape[-2:]) / level.shape[1] ** 0.5
            maps.append(F.interpolate(heat, finest, mode="bilinear", align_corners=False))
        far = sum(distance(level.mean(dim=(2, 3))) for level, distance in zip(levels, pooled, strict=True))
        return float(far[0]), torch.stack(maps).mean(dim=0)[0, 0]

    return judge


def _distance(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Mahalanobis distance to the shrunk Gaussian of rows [N, C], as a function [M, C] -> [M]."""
    fitted = LedoitWolf().fit(rows.double().numpy())
    mean, precision = torch.from_numpy(fitted.location_), torch.from_numpy(fitted.precision_)

    def distance(points: Tensor) -> Tensor:
        delta = points.double() - mean
        return ((delta @ precision) * delta).sum(dim=1).clamp_min(0).sqrt().float()

    return distance


def wide_nn(known: Levels) -> Judge:
    """Nearest neighbours on the wide: every level from stride 8 on, unit vectors, no coreset; see `nearest_map`.

    The score is the mean of the map's TOP.
    """
    drawn_map = nearest_map(known[1:], most=MOST_PATCHES)

    def judge(levels: Levels) -> tuple[float, Tensor]:
        heat = drawn_map(levels[1:])
        return float(top_mean(heat[None, None], TOP)[0]), heat

    return judge


FITS: dict[Model, Callable[[Levels], Judge]] = {
    Model.patchcore: patchcore, Model.padim: padim, Model.gaussian: gaussian, Model.wide_nn: wide_nn,
}  # fmt: skip
MIRRORED = {Model.gaussian, Model.wide_nn}
"""Peers that get few references' mirror images as well: a covariance needs more than one picture."""


def drawn(rows: Tensor, most: int = MOST_PATCHES) -> Tensor:
    """At most `most` of the rows [N, C], always the same ones, in their order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))]


def _locally(levels: Levels) -> Tensor:
    """Middle levels, each cell the mean of its 3x3 neighbourhood, at the size of the finer one: [K, C, h, w]."""
    return _joined([F.avg_pool2d(level, 3, stride=1, padding=1) for level in levels[MIDDLE]], "bilinear")


def _joined(levels: Levels, mode: str) -> Tensor:
    """Channels of all levels at the first one's size, [K, sum C_l, h_1, w_1]."""
    finest = levels[0].shape[-2:]
    settings = {} if mode == "nearest" else {"align_corners": False}
    return torch.cat([levels[0], *(F.interpolate(level, finest, mode=mode, **settings) for level in levels[1:])], dim=1)


def _rows(features: Tensor) -> Tensor:
    """[K, C, h, w] -> [K h w, C]."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def _smooth(heat: Tensor) -> Tensor:
    """[h, w] at stride 8 -> [8 h, 8 w], smoothed."""
    large = F.interpolate(heat[None, None], scale_factor=8, mode="bilinear", align_corners=False)[0, 0]
    return torch.from_numpy(gaussian_filter(large.numpy(), SMOOTHING))
