"""How far a named kind of a new product is believed follows from what weights say of sets that they never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from assistant.calibration import Calibration
from assistant.errors import RecordError
from data.schema import Record
from finetune.gain_cases import LEAST
from finetune.new_kinds import DRAWS, Named, kind_scale, likely_and_right, named_by
from tests.tiny import one_product, tiny_inspector, tiny_model


def told(rng: np.random.Generator, dataset: str, sure: float, count: int = 400) -> list[Named]:
    """Looks whose kinds are as likely as their logits say, before these were made `sure` times as far apart."""
    logits = torch.from_numpy(rng.normal(0, 1.5, (count, 5))).float()
    kinds = [int(rng.choice(5, p=row)) for row in torch.softmax(logits.double(), dim=1).numpy()]
    return [Named(dataset, kind, sure * row) for kind, row in zip(kinds, logits, strict=True)]


def test_the_scale_undoes_what_makes_a_head_too_sure():
    assert kind_scale(told(np.random.default_rng(0), "a", 4.0)) == pytest.approx(0.25, abs=0.04)
    assert kind_scale(told(np.random.default_rng(1), "a", 1.0)) == pytest.approx(1.0, abs=0.12)
    wrong = [
        replaced._replace(kind=int(replaced.logits.argmin())) for replaced in told(np.random.default_rng(2), "a", 1.0)
    ]
    assert kind_scale(wrong) < 0.01  # what is named by such a head says nothing


def test_sets_weigh_the_same_however_many_pictures_they_have():
    rng = np.random.default_rng(3)
    honest, boastful = told(rng, "a", 1.0, 200), told(rng, "b", 8.0, 200)
    once, more = kind_scale(honest + boastful), kind_scale(honest + boastful + boastful)
    assert once == pytest.approx(more, abs=1e-3)
    assert kind_scale(honest + [one._replace(dataset="a") for one in boastful + boastful]) < once


def test_without_a_picture_there_is_nothing_to_measure():
    with pytest.raises(RecordError, match="known kind"):
        kind_scale([])


def test_after_the_scale_what_is_likely_is_right_as_often_as_said():
    named = told(np.random.default_rng(4), "a", 5.0, 2000)
    (before, wrongly), (after, rightly) = (likely_and_right(named, scale, 0.5) for scale in (1.0, kind_scale(named)))
    assert before > 0.95 and after < 0.8 and rightly > wrongly + 0.05


def records(folder: Path) -> list[Record]:
    """LEAST normal and two anomalous pictures of a set, one of a kind that nothing names; two more of another set."""
    rows = [("unseen", 0, "good")] * LEAST + [
        ("unseen", 1, "hole"),
        ("unseen", 1, "nothing known"),
        ("seen", 1, "hole"),
    ]
    found = []
    for number, (dataset, label, defect) in enumerate(rows):
        pixels = np.random.default_rng(number).integers(0, 255, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        found.append(Record(folder / f"{number}.png", label, dataset=dataset, category="c", split="fit", defect=defect))
    return found


def test_a_judge_names_kinds_of_what_it_was_kept_from_with_the_gains_that_are_shipped(tmp_path):
    (own, processor), (judge, _) = tiny_model(), tiny_model()
    own.look_model.heatmap.references.drawn.fill_(20.0)
    given = own.look_model, [(("unseen", "absent"), judge.look_model)], records(tmp_path), processor
    named = named_by(*given)
    assert [one.dataset for one in named] == ["unseen"] * (1 + len(DRAWS))
    assert {one.kind for one in named} == {own.look_model.config.heatmap_config.kinds.index("hole")}
    alone, *beside = (one.logits for one in named)
    assert all(not torch.equal(alone, other) for other in beside)
    own.look_model.heatmap.references.drawn.fill_(0.0)
    plain = [one.logits for one in named_by(*given)]
    assert torch.equal(plain[0], alone) and not torch.equal(plain[1], beside[0])
    assert not named_by(own.look_model, [(("absent",), judge.look_model)], records(tmp_path), processor)


def test_kinds_of_a_new_product_are_told_with_less_trust_and_of_a_known_one_as_they_are():
    assert Calibration().kind_trust(0.0) == 1.0  # not measured
    calibration = Calibration(kind_scale=0.2)
    assert [calibration.kind_trust(known) for known in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.6, 1.0])
    inspector = tiny_inspector(score_bias=5.0)
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    trusted = inspector.look(picture)
    inspector.calibration = replace(inspector.calibration, kind_scale=0.0)
    new = inspector.look(picture)
    assert trusted.kinds and [share for _, share in new.kinds] == pytest.approx([1 / 3] * 3)
    seen = F.normalize(torch.from_numpy(new.tokens["visual"]).float().mean(dim=0, keepdim=True), dim=1)
    inspector.familiar = one_product(seen, 0.5, 0.1, 0.4, 0.5)
    known = inspector.look(picture)
    assert known.known == 1 and known.kinds == trusted.kinds
