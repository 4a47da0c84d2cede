"""Mutual scoring against a direct implementation of the paper's equations, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assistant import mutual


def features(count: int, seed: int = 0, grids: tuple[tuple[int, int, int], ...] = ((4, 6, 6), (6, 3, 3))) -> list:
    """`count` pictures of random levels [C, h, w] around one common pattern."""
    generator = torch.Generator().manual_seed(seed)
    common = [torch.randn(grid, generator=generator) for grid in grids]
    return [[level + 0.3 * torch.randn(level.shape, generator=generator) for level in common] for _ in range(count)]


def direct_patches(level: np.ndarray, size: int) -> np.ndarray:
    """[h * w, C]: the mean of each neighbourhood inside the picture, cell by cell, made a unit vector."""
    channels, height, width = level.shape
    reach = size // 2
    rows = []
    for y in range(height):
        for x in range(width):
            near = level[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            mean = near.reshape(channels, -1).mean(axis=1)
            rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def direct_scores(pictures: list, index: int, level: int, size: int) -> np.ndarray:
    """Equations 3 and 4: nearest patch in each other picture, mean of the lowest share of these distances."""
    own = direct_patches(pictures[index][level].numpy().astype(np.float64), size)
    columns = []
    for other, picture in enumerate(pictures):
        if other != index:
            theirs = direct_patches(picture[level].numpy().astype(np.float64), size)
            columns.append(np.linalg.norm(own[:, None] - theirs[None], axis=2).min(axis=1))
    nearest = np.sort(np.stack(columns, axis=1), axis=1)
    return nearest[:, : max(1, round(mutual.LOWEST * nearest.shape[1]))].mean(axis=1)


def test_patch_scores_are_those_of_the_paper() -> None:
    pictures = features(7)
    pool = mutual.make_pool([str(i) for i in range(7)], pictures)
    for index in (0, 4):
        others = torch.tensor([i for i in range(7) if i != index])
        for level in range(2):
            for number, size in enumerate(mutual.SIZES):
                asked = mutual.patches_of(pictures[index][level], size)
                found = mutual.patch_scores(asked, pool.patches[level][number], others)
                expected = direct_scores(pictures, index, level, size)
                np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_map_is_the_mean_over_levels_and_sizes() -> None:
    pictures = features(5, grids=((4, 5, 7), (3, 5, 7)))  # one grid: nothing is interpolated
    found = mutual.mutual_map("2", pictures[2], mutual.make_pool("01234", pictures))
    expected = np.mean([direct_scores(pictures, 2, level, size) for level in (0, 1) for size in mutual.SIZES], axis=0)
    assert found is not None and found.shape == (5, 7)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-5)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = features(9)
    pool = mutual.make_pool("012345678", pictures)
    whole = mutual.mutual_map("3", pictures[3], pool)
    monkeypatch.setattr(mutual, "CHUNK", 2)
    torch.testing.assert_close(mutual.mutual_map("3", pictures[3], pool), whole)


def test_the_odd_place_of_the_odd_picture_scores_highest() -> None:
    pictures = features(10)
    pictures[6][0][:, 1, 4] += 6
    pool = mutual.make_pool("0123456789", pictures)
    maps = [mutual.mutual_map(str(index), picture, pool) for index, picture in enumerate(pictures)]
    scores = [mutual.map_score(found) for found in maps]
    assert int(np.argmax(scores)) == 6
    assert abs(int(maps[6].argmax()) - (6 + 4)) in (0, 1, 6)  # the cell itself or a neighbour that holds its mean


def test_a_picture_alone_has_no_score_and_other_grids_are_compared() -> None:
    (alone,) = features(1)
    assert mutual.mutual_map("a", alone, mutual.make_pool("a", [alone])) is None
    other = [torch.randn(4, 8, 4), torch.randn(6, 4, 2)]
    pool = mutual.make_pool("ab", [alone, other])
    assert mutual.mutual_map("b", other, pool).shape == (8, 4)


def test_large_levels_are_halved_and_the_pool_is_bounded_whatever_the_order() -> None:
    assert mutual.halved(torch.ones(2, 48, 48)).shape == (2, 24, 24)
    assert mutual.halved(torch.ones(2, 101, 77)).shape == (2, 26, 20)
    assert torch.equal(mutual.halved(torch.ones(1, 31, 31)), torch.ones(1, 16, 16))
    keys = [f"{number:03d}" for number in range(200)]
    pool = mutual.choose_pool(keys)
    assert len(pool) == mutual.MAX_OTHERS + 1 and pool == mutual.choose_pool(keys[::-1])
    assert mutual.choose_pool(keys[:5]) == keys[:5]


def test_scores_are_smoothed_over_the_nearest_pictures() -> None:
    angle = np.radians([0, 5, 10, 90, 95])
    descriptors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    scores = np.array([1.0, 1.0, 4.0, 2.0, 2.0])
    found = mutual.smoothed(scores, descriptors)
    weights = mutual.NEIGHBOUR_WEIGHT * np.cos(np.radians([5, 10, 90]))  # of the first picture's three nearest
    expected = (1.0 + weights @ np.array([1.0, 4.0, 2.0])) / (1 + weights.sum())
    assert found[0] == pytest.approx(expected)
    assert mutual.smoothed(np.array([3.0]), descriptors[:1]).tolist() == [3.0]
