"""How far references count in score and map: what is usual is taken off, and known products trust what was trained."""

from __future__ import annotations

import pytest
import torch

from assistant.reference import References, Residuals, facts_of
from assistant.reference_gain import ReferenceGain, relied


def differences(
    distance: float, bulk: float, usual: float | None = None, known: float = 0.0, count: int = 4
) -> Residuals:
    """A picture of 10 x 10 cells whose two farthest are at `distance` and the rest at `bulk`, on every level."""
    level = torch.full((1, 3, 10, 10), bulk)
    level[0, 1, 4, 4:6] = distance
    memory = References((level,), count, usual=usual, known=known)
    return Residuals(
        (level, level.clone(), level.clone()), torch.zeros(1, 8, 10, 10), **facts_of([memory], level.device)
    )


@pytest.fixture
def gains() -> ReferenceGain:
    found = ReferenceGain()
    for name, pair in (("score", (4.0, 20.0)), ("drawn", (5.0, 10.0)), ("bias", (0.5, 1.0)), ("lone", (0.1, 0.5, 0.6))):
        getattr(found, name).copy_(torch.tensor(pair))
    return found


def test_what_counts_is_the_distance_over_that_of_normal_pictures(gains):
    assert float(gains(differences(0.9, 0.3, usual=0.4))[0]) == pytest.approx(relied(4) * 20 * 0.5, abs=1e-5)
    assert float(gains(differences(0.4, 0.3, usual=0.4))[0]) == pytest.approx(0, abs=1e-5)


def test_with_one_reference_the_usual_follows_from_the_picture_as_a_whole(gains):
    assert float(gains(differences(0.9, 0.4, count=1))[0]) == pytest.approx(
        relied(1) * 20 * (0.9 - (0.1 + 0.5 * 0.4)), abs=1e-5
    )


def test_more_references_count_more_and_never_more_than_wholly(gains):
    found = [float(gains(differences(0.9, 0.3, 0.4, count=count))[0]) for count in (1, 2, 4, 8, 4000)]
    assert found == sorted(found) and found[2] == pytest.approx(found[-1] / 2, rel=2e-3)
    assert found[-1] == pytest.approx(20 * 0.5, rel=2e-3)


def test_beyond_the_knee_how_far_it_is_as_a_whole_says_nothing_more(gains):
    assert float(gains(differences(0.9, 0.8, count=1))[0]) == pytest.approx(
        relied(1) * 20 * (0.9 - (0.1 + 0.5 * 0.6)), abs=1e-5
    )


def test_a_known_product_has_its_own_gain_and_one_between_has_both(gains):
    new, known, half = (float(gains(differences(0.9, 0.3, 0.4, share))[0]) for share in (0.0, 1.0, 0.5))
    assert known == pytest.approx(relied(4) * 2.0, abs=1e-5) and half == pytest.approx((new + known) / 2, abs=1e-5)


def test_the_map_is_raised_where_it_differs_and_lowered_where_it_does_not(gains):
    drawn = gains.on_map(differences(0.9, 0.1, usual=0.4), (10, 10))[0, 0]
    assert float(drawn[4, 4]) == pytest.approx(10 * 0.5 + 1, abs=1e-5)
    assert float(drawn[0, 0]) == pytest.approx(10 * -0.3 + 1, abs=1e-5)
    assert gains.on_map(differences(0.9, 0.1, usual=0.4), (20, 30)).shape == (1, 1, 20, 30)


def test_without_references_nothing_counts(gains):
    alone = differences(0.9, 0.1, usual=0.4)
    alone = Residuals(alone.maps, alone.difference, **facts_of([None], torch.device("cpu")))
    assert not gains(alone).any() and "distance" not in vars(alone)  # no look without references works for them
    assert not gains.on_map(alone, (10, 10)).any()


def test_where_a_training_knows_no_facts_the_gains_of_a_new_product_count(gains):
    bare = differences(0.9, 0.4)
    bare = Residuals(bare.maps, bare.difference, bare.given)
    assert float(gains(bare)[0]) == pytest.approx(20 * (0.9 - (0.1 + 0.5 * 0.4)), abs=1e-5)
    assert not any(parameter.requires_grad for parameter in gains.parameters())
