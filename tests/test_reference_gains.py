"""How far references count: gains are taken where they help, and pictures without references keep their looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from assistant.errors import RecordError
from assistant.look_model import mean_look
from assistant.reference import residuals
from data.schema import Record
from eval.aupro import aupro
from finetune.fusion import clear_gains
from finetune.gain_cases import (
    DRAWS,
    LEAST,
    MOST_REFERENCES,
    PICTURES,
    Case,
    Picture,
    PlainSight,
    cases_of,
    own_product,
    pictured,
    products_of,
)
from finetune.gain_choices import (
    DARK,
    LIMIT,
    bias_of,
    choose,
    choose_lone,
    choose_map,
    choose_score,
    cover,
    least_as_good,
)
from tests.tiny import tiny_model

NONE = (0.0, 0.0, 0.0)


def cases(rng: np.random.Generator, telling: bool, familiar: bool = True, usual: float | None = 0.5) -> list[Case]:
    """Forty pictures of one product; the distance tells normals from anomalies, or nothing does."""
    found = []
    for number in range(40):
        label = number % 2
        top, bulk = rng.normal(0.5, 0.05), rng.normal(0.4, 0.05)
        regions = np.zeros((12, 12), int)
        distance = rng.normal(0.4, 0.03, (12, 12))
        if label:
            regions[2:5, 3:7] = 1
            regions[8, 8] = 2
        if telling:
            top += 0.3 * label
            distance += 0.3 * (regions > 0)
        group = ("set", "part", 1 if usual is None else 4, familiar)
        found.append(Case(group, label, rng.normal(), top, bulk, usual, rng.normal(size=(12, 12)), distance, regions))
    return found


def test_a_distance_that_tells_counts():
    known = cases(np.random.default_rng(0), True)
    choice, drawn = choose_score(known, NONE), choose_map(known)
    assert choice.gain > 0 and choice.after > choice.before + 0.2 and choice.alone > 0.9
    assert drawn.gain > 0 and drawn.after > drawn.before + 0.2


def test_references_that_tell_nothing_do_not_count():
    known = [replace(case, score=3.0 * case.label, logits=3.0 * (case.regions > 0) + 0 * case.logits)
             for case in cases(np.random.default_rng(0), False)]  # fmt: skip
    assert choose_score(known, NONE).gain == 0 and choose_map(known).gain == 0


def test_of_gains_that_are_as_good_within_one_standard_error_the_least_counts():
    weight = np.full(3, 1 / 3)
    helps_two_of_three = {0.0: np.array([0.90, 0.80, 0.85]), 8.0: np.array([0.912, 0.791, 0.861])}
    assert least_as_good(helps_two_of_three, weight) == 0.0
    helps_all = {0.0: np.array([0.7, 0.7, 0.7]), 8.0: np.array([0.8, 0.79, 0.81]), 16.0: np.array([0.81, 0.78, 0.82])}
    assert least_as_good(helps_all, weight) == 8.0
    assert least_as_good(helps_two_of_three, np.array([1.0, 0.0, 0.0])) == 8.0  # a single product has no error


def test_sets_weigh_the_same_however_many_groups_they_have():
    rng = np.random.default_rng(1)
    helped = cases(rng, True)
    spoiled = [
        replace(case, group=("other", str(n), 4, True), score=2.0 * case.label, top=1 - case.top)
        for n in range(6)
        for case in cases(rng, True)
    ]
    assert 0 < choose_score(helped, NONE).gain and choose_score(helped + spoiled[:40], NONE) != choose_score(
        helped, NONE
    )
    both, one = choose_score(helped + spoiled, NONE), choose_score(helped + spoiled[:40], NONE)
    assert both.before == pytest.approx(one.before, abs=0.05)


def test_with_one_reference_what_all_places_share_is_taken_off_up_to_the_knee():
    rng = np.random.default_rng(2)
    found = []
    for number in range(24):  # products whose pictures lie at quite different distances as wholes
        apart = rng.uniform(0.1, 0.9)
        for case in cases(rng, True, familiar=False, usual=None):
            moved = replace(case, group=(f"set{number}", "part", 1, False), bulk=apart, score=0.0)
            found.append(replace(moved, top=0.1 + min(apart, 0.5) + 0.06 * case.label + rng.normal(0, 0.02)))
    offset, slope, knee = choose_lone(found)
    assert (slope, knee) == (1.0, 0.5) and offset == pytest.approx(0.1, abs=0.01)
    assert choose_lone([replace(case, top=case.top - min(case.bulk, 0.5)) for case in found])[1] == 0.0


def test_known_and_new_products_get_gains_of_their_own():
    rng = np.random.default_rng(3)
    known = [replace(case, score=3.0 * case.label, top=1 - case.top) for case in cases(rng, True)]
    new = cases(rng, True, familiar=False) + cases(rng, True, familiar=False, usual=None)
    found = choose(known + new)
    assert float(found.score[0]) == 0 and float(found.score[1]) > 0 and float(found.drawn[1]) > 0


def test_groups_of_one_label_cannot_be_ranked():
    with pytest.raises(RecordError, match="normal and anomalous"):
        choose_score([replace(case, label=0) for case in cases(np.random.default_rng(0), True)], NONE)


def test_the_cover_of_regions_is_the_area_under_the_per_region_overlap_curve():
    rng = np.random.default_rng(3)
    for _ in range(30):
        masks = [rng.random((9, 11)) < share for share in (0.0, 0.1, 0.3)]
        maps = [np.round(rng.normal(size=mask.shape) + mask, 1) for mask in masks]  # with ties
        regions = [ndimage.label(mask, np.ones((3, 3)))[0] for mask in masks]
        chance, whole = LIMIT**2 / 2, LIMIT
        area = aupro(list(zip(maps, masks, strict=True)), LIMIT) * LIMIT
        expected = 0.5 * (1 + (area - chance) / (whole - chance))
        assert cover(list(zip(maps, regions, strict=True))) == pytest.approx(expected, abs=1e-6)


def test_what_is_chosen_moves_no_look_without_references():
    model = tiny_model()[0].look_model.eval()
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 128, 128)
    features = model.tower(pixels[:1])
    memory = model.remember(pixels[1:])
    alone, held = residuals(features.levels[1:], [None]), residuals(features.levels[1:], [memory])
    with torch.no_grad():
        before, bare = model.judge(features, alone), model.judge(features, held)
    rng = np.random.default_rng(0)
    chosen = choose(cases(rng, True) + cases(rng, True, usual=None, familiar=False))
    model.heatmap.references.load_state_dict(chosen.state_dict())
    with torch.no_grad():
        after, fused = model.judge(features, alone), model.judge(features, held)
    assert torch.equal(before.score_logit, after.score_logit)
    assert torch.equal(before.heatmap_logits, after.heatmap_logits)
    assert not torch.equal(bare.heatmap_logits, fused.heatmap_logits)
    assert torch.equal(bare.map_logit, fused.map_logit)  # the score counts the references by itself
    with torch.no_grad():
        cleared = clear_gains(model).judge(features, held)
    assert torch.equal(cleared.heatmap_logits, bare.heatmap_logits)
    assert float(cleared.score_logit[0]) != pytest.approx(float(fused.score_logit[0]))


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_references_enter_the_score_by_their_gain_alone_and_the_map_by_what_was_trained_too(share: float):
    model = tiny_model()[0].look_model.eval()
    model.config.fusion_share, model.config.mirrors = share, 1
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 128, 128)
    features, memory = model.see(pixels[:1]), model.remember(pixels[1:])
    held, none = model.compare(features, memory), model.compare(features, None)
    alone, trained = model.decide(features, none), model.judge(features, held)
    beside = model.decide(features, held)
    assert float(beside.score_logit) == pytest.approx(float(alone.score_logit), abs=1e-5)
    assert float(trained.score_logit) != pytest.approx(float(alone.score_logit), abs=1e-3)
    assert torch.equal(beside.heatmap_logits, trained.heatmap_logits)
    assert not torch.equal(beside.heatmap_logits, alone.heatmap_logits)
    told = model.alone(features)  # made once for all that it is held against
    assert torch.equal(model.decide(features, replace(held, alone=told)).score_logit, beside.score_logit)
    higher = told._replace(score_logit=told.score_logit + 1)
    assert float(model.decide(features, replace(held, alone=higher)).score_logit - beside.score_logit) == (
        pytest.approx(1, abs=1e-5)
    )
    model.heatmap.references.score.fill_(5.0)
    gain = float(model.heatmap.references(held))
    assert gain and float(model.decide(features, held).score_logit) == pytest.approx(
        float(alone.score_logit) + gain, abs=1e-4
    )
    assert float(model.single(features, held).score_logit) == pytest.approx(float(alone.score_logit) + gain, abs=1e-4)


@torch.no_grad()
def test_kinds_of_a_known_product_are_named_without_references_and_of_a_new_one_beside_them():
    model = tiny_model()[0].look_model.eval()
    model.config.mirrors = 2
    model.heatmap.references.drawn.fill_(30.0)  # the map beside references is another one
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 128, 128)
    features, memory = model.see(pixels[:1]), model.remember(pixels[1:])

    def kinds(known: float) -> torch.Tensor:
        return model.decide(features, model.compare(features, replace(memory, known=known))).kind_logits

    alone = model.decide(features, model.compare(features, None)).kind_logits
    beside = mean_look(
        model.judge(features, model.compare(features, memory)), 2, tuple(model.config.heatmap_config.cells)
    ).kind_logits
    assert not torch.allclose(alone, beside, atol=1e-4)
    assert torch.allclose(kinds(1.0), alone, atol=1e-5) and torch.allclose(kinds(0.0), beside, atol=1e-5)
    assert torch.allclose(kinds(0.5), (alone + beside) / 2, atol=1e-5)


def test_normal_pictures_are_as_dark_with_references_as_without():
    known = cases(np.random.default_rng(5), True)
    bias = bias_of(known, 8.0, NONE)
    normal = [case for case in known if case.label == 0]
    before = np.quantile([case.logits for case in normal], DARK)
    after = [case.logits + 8.0 * (case.distance - case.usual) + bias for case in normal]
    assert np.quantile(after, DARK) == pytest.approx(before)


def test_a_product_is_judged_on_held_out_pictures_first_and_never_on_its_references(tmp_path):
    def record(number: int, label: int, split: str) -> Record:
        return Record(tmp_path / f"{number}.png", label, dataset="set", category="part", split=split, defect="x")

    normal = [record(n, 0, "calibrate" if n < 5 else "fit") for n in range(PICTURES + LEAST)]
    anomalous = [record(100 + n, 1, "fit") for n in range(3)]
    ((tested, known),) = products_of(normal + anomalous + [record(200, 0, "val")]).values()
    assert {r.image for r in normal[:5]} <= {r.image for r in tested} and len(known) == LEAST
    assert not {r.image for r in tested} & {r.image for r in known} and len(tested) == PICTURES + 3
    assert not products_of(normal[1:] + anomalous)  # too few to draw from


def test_cases_of_real_pictures(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    records = []
    for number in range(3):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(file)
        records.append(Record(file, int(number > 1), dataset="set", category="part", split="fit", defect="x"))
    known = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(MOST_REFERENCES)]
    model = tiny_model()[0].look_model.eval()
    found = cases_of(
        ("set", "part"),
        pictured(records),
        known,
        {True: [model], False: [model]},
        PlainSight(model.config.vision_config),
    )
    assert [(case.label, case.group) for case in found] == [
        (label, ("set", "part", len(draw), familiar))
        for label in (0, 0, 1)
        for draw in DRAWS
        for familiar in (True, False)
    ]
    assert all(case.logits.shape == case.distance.shape and case.bulk < case.top for case in found)
    assert {case.usual is None for case in found if case.group[2] == 1} == {True}
    assert all(case.usual > 0 for case in found if case.group[2] == 4)
    assert found[0].regions is not None and found[-1].regions is None  # an anomaly without a mask


def test_drawn_products_have_normals_that_differ_and_defects_where_the_mask_is():
    tested, known = own_product(3)
    assert [picture.label for picture in tested][:4] == [0] * 4 and any(picture.label for picture in tested)
    for picture in tested:
        assert isinstance(picture, Picture) and bool(picture.mask.any()) is bool(picture.label)
    assert len({one.tobytes() for one in known}) == len(known) == MOST_REFERENCES
    assert np.array_equal(own_product(3)[0][-1].pixels, tested[-1].pixels)
