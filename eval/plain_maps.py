"""Two maps of what differs from normal references that nothing was trained for: what references give by themselves.

Both take unit vectors of the tower's levels, patch by patch, and add their maps up over the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from assistant.own_residual import directions

KEPT_VARIANCE = 0.99
"""Share of the references' variance that their subspace holds."""
MOST_COMPONENTS = 96
CHUNK = 1024
"""Patches whose distances are taken at once: bounds memory."""


PlainMap = Callable[[Sequence[Tensor]], Tensor]
"""Levels [1, C_l, h_l, w_l] of a picture -> [h_1, w_1] at the first level's size: mean of the levels' maps."""


def nearest_map(known: Sequence[Tensor], most: int = 0) -> PlainMap:
    """Distance of each patch to the nearest patch of the references (PatchCore, Roth et al., CVPR 2022), 0..2.

    Args:
        known: [K, C_l, h_l, w_l] of the references, a tensor a level.
        most: at most this many of the references' patches a level, always the same ones; 0 means all.
    """

    def fit(memory: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        if most and len(memory) > most:
            memory = memory[np.sort(np.random.default_rng(0).choice(len(memory), most, replace=False))]
        index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(memory)

        def distances(patches: np.ndarray) -> np.ndarray:
            parts = [index.kneighbors(patches[start : start + CHUNK])[0] for start in range(0, len(patches), CHUNK)]
            return np.concatenate(parts)[:, 0]

        return distances

    return _fitted(known, fit)


def subspace_map(known: Sequence[Tensor]) -> PlainMap:
    """Length of what of each patch lies outside the references' principal subspace (the residual of SubspaceAD).

    Args:
        known: as for `nearest_map`.
    """

    def fit(memory: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        fitted = PCA(n_components=min(MOST_COMPONENTS, *memory.shape), svd_solver="covariance_eigh").fit(memory)
        share = np.cumsum(fitted.explained_variance_ratio_)
        basis = fitted.components_[: int(np.searchsorted(share, KEPT_VARIANCE)) + 1]

        def outside(patches: np.ndarray) -> np.ndarray:
            centred = patches - fitted.mean_
            return np.linalg.norm(centred - centred @ basis.T @ basis, axis=1)

        return outside

    return _fitted(known, fit)


def _fitted(known: Sequence[Tensor], fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]) -> PlainMap:
    each = [fit(_patches(level)) for level in known]

    def drawn(levels: Sequence[Tensor]) -> Tensor:
        finest, maps = levels[0].shape[-2:], []
        for level, distance in zip(levels, each, strict=True):
            found = torch.from_numpy(distance(_patches(level))).float().view(1, 1, *level.shape[-2:])
            maps.append(F.interpolate(found, size=finest, mode="bilinear", align_corners=False))
        return torch.stack(maps).mean(dim=0)[0, 0]

    return drawn


def _patches(level: Tensor) -> np.ndarray:
    """[K, C, h, w] -> [K h w, C] unit vectors."""
    return directions(level).permute(0, 2, 3, 1).flatten(0, 2).numpy()
