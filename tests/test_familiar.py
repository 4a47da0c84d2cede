"""What a model knows: which product a picture is of, and that a known product has a threshold of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from assistant.calibration import Calibration, logit, sigmoid
from assistant.errors import WeightsError
from assistant.familiar import SCENE, WAYS, Familiar
from assistant.memory import doubt_of
from assistant.operating_point import operating_point
from assistant.reference import References
from assistant.threshold import Normals, gaussian_cut
from finetune.known_products import LEAST_STEEP, SHRUNK, balanced_point, balanced_points, steepness
from tests.test_memory import picture
from tests.tiny import tiny_inspector

CALIBRATION = Calibration(
    source="of all", normal_mean=-1.0, normal_between=1.0, normal_within=0.8, lone_mean=-0.5, lone_between=1.0,
    lone_within=1.0, held_mean=-0.8, held_between=0.9, held_within=0.9,
)  # fmt: skip


TIPPING = torch.tensor([[1.2, 0.3, 0.9], [0.0, torch.nan, torch.nan]], dtype=torch.float64)


def known() -> Familiar:
    """Two products on the first two axes, of which the first has been measured, and a scene on the third."""
    normals = torch.full((2, len(WAYS), 4), torch.nan, dtype=torch.float64)
    normals[0] = torch.tensor([[0.5, 0.1, 0.4, 40], [0.2, 0.1, 0.5, 40], [0.1, 0.1, 0.3, 40]])
    return Familiar(
        torch.eye(3, 4), cut=0.6, new=0.2, products=torch.tensor([0, 1, SCENE]),
        near=torch.tensor([0.1, 0.3], dtype=torch.float64), far=torch.tensor([0.3, 0.5], dtype=torch.float64),
        tipping=TIPPING, judged=torch.tensor([67, 0]), normals=normals,
    )  # fmt: skip


def at(axis: int, distance: float) -> torch.Tensor:
    """A descriptor [1, 4] this far from the centre on an axis, and at a right angle to the others."""
    row = torch.zeros(1, 4)
    row[0, axis], row[0, 3] = 1 - distance, (1 - (1 - distance) ** 2) ** 0.5
    return row


def test_it_is_kept_and_a_bad_file_is_one_sentence(tmp_path: Path) -> None:
    file, kept = tmp_path / "familiar.safetensors", known()
    kept.save(file)
    read = Familiar.load(file, 4)
    for name in ("centres", "products", "near", "far", "judged"):
        assert torch.equal(getattr(read, name), getattr(kept, name)), name
    assert torch.equal(read.tipping.nan_to_num(9.0), kept.tipping.nan_to_num(9.0))
    assert torch.equal(read.normals.nan_to_num(), kept.normals.nan_to_num()) and read.normals[1].isnan().all()
    assert (read.cut, read.new) == (0.6, 0.2) and read.distance(kept.centres[1:2]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(WeightsError, match="another tower"):
        Familiar.load(file, 6)
    whole = file.read_bytes()
    for name, value in (
        ("products", torch.tensor([0, 2, SCENE])), ("near", torch.tensor([0.4, 0.3])), ("judged", torch.zeros(1)),
        ("far", torch.zeros(1)),
    ):  # fmt: skip
        file.write_bytes(whole)
        save_file(load_file(file) | {name: value}, file)
        with pytest.raises(WeightsError, match="what cannot be"):
            Familiar.load(file, 4)
    file.write_bytes(whole[:40])
    with pytest.raises(WeightsError, match="damaged"):
        Familiar.load(file, 4)


def test_pictures_of_one_known_product_match_however_far_they_are_from_each_other() -> None:
    kept, far = known(), replace(CALIBRATION, match_cut=1e-3)
    one, other = at(1, 0.1), at(1, 0.25)
    assert kept.are_one(one, other) and not kept.are_one(one, at(0, 0.0)) and not kept.are_one(at(2, 0.0), at(2, 0.0))
    assert not kept.are_one(one, at(1, 0.45))  # hardly of it
    memory = References((), 1, other, ())
    assert not doubt_of(one, memory, far, kept) and "do not match" in doubt_of(one, memory, far, None)
    assert "do not match" in doubt_of(at(0, 0.0), memory, far, kept)


def test_a_file_from_before_products_were_told_apart_still_loads(tmp_path: Path) -> None:
    file = tmp_path / "familiar.safetensors"
    old = {"centres": torch.eye(3, 4), "learned": torch.tensor([True, False, True])}
    save_file(old | {"distances": torch.tensor([0.5, 0.1, 0.3])}, file)
    read = Familiar.load(file, 4)
    assert read.products.tolist() == [0, SCENE, 1] and (read.cut, read.new) == pytest.approx((0.5, 0.3))
    assert read.known(at(2, 0.2)) == pytest.approx(0.5, abs=1e-5) and read.known(at(1, 0.0)) == 0
    assert operating_point(CALIBRATION, read, at(0, 0.0), None, None) == (0.5, "of all")


def test_a_file_from_before_points_with_references_still_loads(tmp_path: Path) -> None:
    file = tmp_path / "familiar.safetensors"
    known().save(file)
    save_file(load_file(file) | {"tipping": torch.tensor([1.2, 0.0], dtype=torch.float64)}, file)
    read = Familiar.load(file, 4)
    assert read.tipping_of(0, "alone") == (pytest.approx(1.2), 67)
    assert read.tipping_of(0, "lone") is read.tipping_of(0, "held") is None


def test_a_product_is_known_as_far_as_its_own_pictures_reach() -> None:
    kept = known()
    assert kept.product_of(at(0, 0.05)) == (0, 1.0) and kept.product_of(at(0, 0.35)) == (SCENE, 0.0)
    assert kept.known(at(0, 0.2)) == pytest.approx(0.5, abs=1e-5)
    assert kept.product_of(at(1, 0.25)) == (1, 1.0)  # this product varies more
    assert kept.known(torch.cat([at(0, 0.1), at(0, 0.3)])) == pytest.approx(0.5, abs=1e-5)  # of several their mean
    assert kept.known(at(2, 0.0)) == 0  # a scene is no product that was learned


def test_a_known_product_has_its_own_balanced_point() -> None:
    def point(descriptor: torch.Tensor) -> tuple[float, str]:
        return operating_point(CALIBRATION, known(), descriptor, None, None)

    assert point(at(0, 0.0)) == (
        pytest.approx(sigmoid(1.2)), "balanced point on 67 held-out training pictures that look like this one",
    )  # fmt: skip
    assert point(at(0, 0.25)) == (pytest.approx(sigmoid(0.3)), "of all")  # hardly it
    assert point(at(1, 0.0)) == point(at(2, 0.0)) == (0.5, "of all")
    assert operating_point(CALIBRATION, None, at(0, 0.0), None, None) == (0.5, "of all")


def test_a_rate_is_kept_on_the_normals_of_a_known_product() -> None:
    threshold, source = operating_point(CALIBRATION, known(), at(0, 0.0), None, 0.1)
    assert logit(threshold) == pytest.approx(gaussian_cut((), 0.1, Normals(0.5, 0.1, 0.4), 40))
    assert source == "10 % false alarms on 40 known normal pictures that look like it"
    other, source = operating_point(CALIBRATION, known(), at(1, 0.0), None, 0.1)
    assert other == CALIBRATION.threshold_at(0.1) and source.endswith("on normal pictures of other products")
    half, _ = operating_point(CALIBRATION, known(), at(0, 0.2), None, 0.1)
    assert logit(half) == pytest.approx((logit(threshold) + logit(other)) / 2, abs=1e-4)


@pytest.mark.parametrize(("normals", "way"), [((), 1), ((-0.4, 0.1, 0.3), 2)])
def test_references_of_a_known_product_start_from_its_normals(normals: tuple[float, ...], way: int) -> None:
    shown = at(0, 0.0).repeat(max(1, len(normals)), 1)
    memory = References((), max(1, len(normals)), shown, normals)
    threshold, source = operating_point(CALIBRATION, known(), at(2, 0.0), memory, 0.05)
    mean, between, within, _ = known().normals[0, way].tolist()
    assert logit(threshold) == pytest.approx(gaussian_cut(normals, 0.05, Normals(mean, between, within), 40))
    assert f"from {memory.count} normal reference" in source and "40 known normal pictures that look like" in source
    stranger = replace(memory, descriptors=at(2, 0.0).repeat(len(shown), 1))
    threshold, source = operating_point(CALIBRATION, known(), at(0, 0.0), stranger, None)
    assert threshold == CALIBRATION.threshold_at(0.05, normals) and "other products" in source  # references decide
    assert (threshold, source) == operating_point(CALIBRATION, known(), at(0, 0.0), stranger, 0.05)


@pytest.mark.parametrize(("normals", "higher"), [((), 0.3), ((-0.4, 0.1, 0.3), 0.9)])
def test_references_of_a_known_product_are_judged_where_it_balances(normals: tuple[float, ...], higher: float) -> None:
    memory = References((), max(1, len(normals)), at(0, 0.0).repeat(max(1, len(normals)), 1), normals)
    threshold, source = operating_point(CALIBRATION, known(), None, memory, None)
    assert threshold == pytest.approx(sigmoid(higher))
    assert source == "balanced point on 67 held-out training pictures that look like the references"
    partly = replace(memory, descriptors=at(0, 0.25).repeat(memory.count, 1))
    threshold, source = operating_point(CALIBRATION, known(), None, partly, None)
    new = CALIBRATION.threshold_at(0.05, normals)
    assert logit(threshold) == pytest.approx(0.25 * higher + 0.75 * logit(new), abs=1e-4)
    assert source.startswith("5 % false alarms, from")
    other = replace(memory, descriptors=at(1, 0.0).repeat(memory.count, 1))  # known, but where it balances is not
    assert operating_point(CALIBRATION, known(), None, other, None)[0] == new


def test_a_balanced_point_is_never_lower_than_that_of_all() -> None:
    assert balanced_point([1.0, 2.0] * 6, [4.0, 5.0] * 6) == pytest.approx(3 * 12 / (12 + SHRUNK))
    assert balanced_point([-3.0] * 9, [1.0] * 9) == 0
    assert balanced_point([3.0] * 9, []) == balanced_point([], [3.0]) == 0
    assert 0 < balanced_point([1.0], [3.0]) < balanced_point([1.0] * 20, [3.0] * 20) < 2


def test_how_much_a_logit_says_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, 4000)
    labels = rng.uniform(size=4000) < 1 / (1 + np.exp(-0.7 * values))
    one = (values[~labels].tolist(), values[labels].tolist())
    assert steepness({"a": one}) == pytest.approx(0.7, abs=0.05)
    assert steepness({"a": tuple([2 * value for value in side] for side in one)}) == pytest.approx(0.35, abs=0.03)
    assert steepness({"a": one, "normals only": ([1.0], [])}) == steepness({"a": one})
    assert steepness({"a": (one[1], one[0])}) == LEAST_STEEP and steepness({}) == 1
    points = balanced_points({"a": ([1.0] * 6, [4.0] * 6), "normals only": ([2.0], []), "nothing": ([], [])})
    assert points[0] > 0 and points[1] == 0 and points[2].isnan()


def test_the_look_takes_the_threshold_of_its_product() -> None:
    model = tiny_inspector()
    centre = F.normalize(model.remember([picture(0)]).descriptors, dim=1)
    edges = torch.tensor([0.2], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    before = model.look(picture(1))
    model.familiar = Familiar(
        centre, 2.0, 1.0, torch.zeros(1, dtype=torch.int64), *edges, torch.tensor([[0.7] * 3]), torch.tensor([50]),
        torch.full((1, len(WAYS), 4), torch.nan),
    )  # fmt: skip
    after = model.look(picture(1))
    assert after.score == before.score and after.threshold == pytest.approx(sigmoid(0.7))
    assert after.evidence == pytest.approx(before.evidence - 0.7, abs=1e-6) and "50 held-out" in after.threshold_source
    assert before.known == 0 and after.known == 1
    memory = model.remember([picture(0), picture(2)])
    assert model.look(picture(1), replace(memory, known=0.4)).known == 0.4  # with references those say what it is
    model.calibration = replace(model.calibration, held_weight=3.0)
    held = model.look(picture(1), replace(memory, known=0.5))
    assert held.weight == 2 and model.look(picture(1)).weight == 1
    assert held.evidence == pytest.approx(2 * (logit(held.score) - logit(held.threshold)))
