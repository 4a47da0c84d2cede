"""How far references count: gains are taken where they help, and pictures without references keep their looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from assistant.errors import RecordError
from assistant.reference import residuals
from data.schema import Record
from eval.aupro import aupro
from finetune.fusion import (
    DARK,
    LEAST,
    LIMIT,
    PICTURES,
    Case,
    apply,
    bias_of,
    cases_of,
    choose_map,
    choose_score,
    clear_gains,
    cover,
    products_of,
)
from tests.tiny import tiny_model

LEVELS = 3


def cases(rng: np.random.Generator, telling: int, familiar: bool = True) -> list[Case]:
    """Forty pictures of which one summary (the nearest patch of level `telling`; -1: none) and the evidence tell."""
    found = []
    for number in range(40):
        label = number % 2
        summary = rng.normal(size=4 * LEVELS)
        regions = np.zeros((12, 12), int)
        evidence = rng.normal(0, 0.3, (12, 12))
        if label:
            regions[2:5, 3:7] = 1
            regions[8, 8] = 2
        if telling >= 0:
            summary[4 * telling] += 3 * label
            evidence += 3 * (regions > 0)
        group = ("set", "part", 1, familiar)
        found.append(Case(group, label, rng.normal(), summary, rng.normal(size=(12, 12)), evidence, regions))
    return found


@pytest.mark.parametrize("level", range(LEVELS))
def test_the_level_that_tells_is_found_and_counted(level):
    choice = choose_score(cases(np.random.default_rng(level), level))
    assert choice.level == level and choice.gain > 0 and choice.after > choice.before + 0.2
    drawn = choose_map(cases(np.random.default_rng(level), level))
    assert drawn.gain > 0 and drawn.after > drawn.before + 0.2


def test_references_that_tell_nothing_do_not_count():
    known = [replace(case, score=3.0 * case.label, logits=3.0 * (case.regions > 0) + 0 * case.logits)
             for case in cases(np.random.default_rng(0), -1)]  # fmt: skip
    assert choose_score(known).gain == 0 and choose_map(known).gain == 0


def test_a_gain_must_serve_known_and_unseen_products():
    rng = np.random.default_rng(1)
    unseen = cases(rng, 0, familiar=False)
    spoiled = [replace(case, score=2.0 * case.label, summary=-case.summary) for case in cases(rng, 0)]
    alone = choose_score(unseen)
    both = choose_score(unseen + spoiled)
    assert both.gain < alone.gain


def test_groups_of_one_label_cannot_be_ranked():
    with pytest.raises(RecordError, match="normal and anomalous"):
        choose_score([replace(case, label=0) for case in cases(np.random.default_rng(0), 0)])


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
    known = cases(np.random.default_rng(0), 1)
    score, drawn = choose_score(known), choose_map(known)
    apply(model, known, score, drawn)
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


def test_normal_pictures_are_as_dark_with_references_as_without():
    known = cases(np.random.default_rng(5), 0)
    bias = bias_of(known, 0.8)
    normal = [case for case in known if case.label == 0]
    before = np.quantile([case.logits for case in normal], DARK)
    assert np.quantile([case.logits + 0.8 * case.evidence + bias for case in normal], DARK) == pytest.approx(before)


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
    for number in range(6):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(file)
        records.append(Record(file, int(number > 4), dataset="set", category="part", split="fit", defect="x"))
    model = tiny_model()[0].look_model.eval()
    found = cases_of(("set", "part"), records[3:], records[:3], {True: model})
    assert [(case.label, case.group) for case in found] == [
        (label, ("set", "part", shots, True)) for label in (0, 0, 1) for shots in (1, 4)
    ]
    assert all(case.logits.shape == case.evidence.shape for case in found)
    assert found[0].regions is not None and found[-1].regions is None  # an anomaly without a mask
