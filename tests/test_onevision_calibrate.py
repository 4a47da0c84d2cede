"""After stage 1 of a tiny LLaVA-OneVision: how far references count, thresholds, and what is familiar."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from transformers.utils import logging

from assistant import load
from assistant.command import run
from assistant.familiar import SCENE, Familiar
from assistant.import_expert import import_expert
from assistant.memory import NOT_COMPARED
from assistant.onevision_loading import checkpoint_config
from assistant.reference_gain import relied
from assistant.weights import CALIBRATION_FILE, FAMILIAR_FILE, LOOK_FILE
from data.layouts import read_records
from finetune import calibrate, fusion
from finetune.gain_cases import Picture, cases_of
from finetune.references import descriptors_of
from tests.tiny_onevision import tiny_checkpoint, tiny_expert, tiny_look

logging.disable_progress_bar()


def plate(number: int, spot: bool = False) -> np.ndarray:
    """[60, 90, 3] uint8 of an even surface, with a dark square on it or not."""
    rng = np.random.default_rng(number)
    picture = (150 + rng.normal(0, 4, (60, 90, 1))).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    if spot:
        y, x = rng.integers(4, 40), rng.integers(4, 70)
        picture[y : y + 14, x : x + 14] = 20
    return picture


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Forty normals and six with a spot, some of both held out by their number."""
    folder, rows = tmp_path_factory.mktemp("plates"), []
    for number in (*range(40), *range(120, 126)):
        name, label = f"{number:03d}.png", int(number >= 120)
        picture = plate(number, bool(label))
        Image.fromarray(picture).save(folder / name)
        row = {"image": name, "dataset": "plates", "category": "c", "label": label, "fold": "train", "defect": "good"}
        if label:
            Image.fromarray((picture[..., 0] == 20).astype(np.uint8) * 255).save(folder / f"m{name}")
            row |= {"defect": "hole", "mask": f"m{name}"}
        rows.append(json.dumps(row) + "\n")
    (folder / "manifest.jsonl").write_text("".join(rows))
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def weights(bare, tmp_path):
    return tiny_look(bare, tmp_path / "weights")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """As the commands do it, on fewer pictures of our own and fewer draws."""
    monkeypatch.setattr("finetune.fusion.OWN_PRODUCTS", 1)
    monkeypatch.setattr("finetune.references.OWN", 2)
    monkeypatch.setattr("finetune.references.MOST", 12)
    monkeypatch.setattr("finetune.references.SHOTS", (1, 2))


def command(main, *words: object) -> int:
    with pytest.raises(SystemExit) as left:
        run(main, [str(word) for word in words])
    return left.value.code or 0


def apart(inspector) -> float:
    """How much higher the score of a plate with a spot is than that of a normal one, held against three others."""
    memory = inspector.remember([plate(number) for number in (1, 2, 3)])
    with torch.inference_mode():
        normal, odd = (
            float(inspector.model.look(inspector.processor.pixels(picture), memory).score_logit[0])
            for picture in (plate(50), plate(51, True))
        )
    return odd - normal


def test_gains_are_chosen_and_references_tell_what_random_weights_do_not(weights, plates, capsys):
    before, plain = load_file(weights / LOOK_FILE), load(str(weights))
    alone, held = plain.look(plate(51, True)), apart(plain)
    assert command(fusion.main, "--data", plates, "--profile", weights) == 0
    said = capsys.readouterr().out
    assert "known products, image AUROC with references" in said and "new products, cover of regions" in said
    after, chosen = load_file(weights / LOOK_FILE), load(str(weights))
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("heatmap.references.") for name in moved)
    assert float(after["heatmap.references.score"].min()) > 0  # the spot is far from every normal plate
    again = chosen.look(plate(51, True))
    assert again.score == alone.score and np.array_equal(again.heatmap, alone.heatmap)
    assert apart(chosen) > held + 0.5


def test_cases_are_what_a_look_gives(weights):
    """Score to the last digits; the map is never brighter than the case's."""
    inspector = load(str(weights))
    look, sight = inspector.model.look_model, inspector.processor
    tested = [Picture(plate(51, True), None, 1), Picture(plate(50), None, 0)]
    known = [plate(number) for number in range(1, 9)]
    cases = cases_of(("set", "part"), tested, known, {False: [look]}, sight)
    gain, drawn, bias = 7.0, 5.0, -0.5
    with torch.no_grad():
        for name, value in (("score", gain), ("drawn", drawn), ("bias", bias)):
            getattr(look.heatmap.references, name).fill_(value)
    several = [case for case in cases if case.group[2] == len(known)]
    assert len(several) == 2 and several[0].top > several[1].top
    memory = inspector.remember(known)
    for case, picture in zip(several, tested, strict=True):
        assert memory.usual == pytest.approx(case.usual, abs=1e-6)
        with torch.inference_mode():
            output = inspector.model.look(sight.pixels(picture.pixels), memory)
        counted = relied(len(known)) * gain * (case.top - case.usual)
        assert float(output.score_logit[0]) == pytest.approx(case.score + counted, abs=1e-4)
        most = case.logits + drawn * (case.distance - case.usual) + bias
        seen = output.heatmap_logits[0, 0].numpy()
        assert seen.shape == most.shape and (seen <= most + 1e-4).all() and np.abs(seen - most).mean() < 1.0


def test_what_has_no_gains_and_strangers_of_another_tower_are_one_sentence(bare, weights, plates, tmp_path, capsys):
    copy = shutil.copytree(bare, tmp_path / "copy")
    expert = tiny_expert(copy, tmp_path / "expert.pth")
    import_expert(expert, checkpoint_config(copy), str(copy), copy / "looktwice")
    assert command(fusion.main, "--data", plates, "--profile", copy) == 2
    assert "no heatmap head, in which references count. Train one" in capsys.readouterr().err
    assert command(fusion.main, "--data", plates, "--profile", weights, "--stranger", "embedded-open") == 2
    assert "embedded-open looks through another tower" in capsys.readouterr().err
    alone = load(str(copy))
    memory = alone.remember([plate(1), plate(2)])
    look = alone.look(plate(50), memory)
    assert NOT_COMPARED in look.warnings and look.references == 2
    assert np.array_equal(look.heatmap, alone.look(plate(50)).heatmap)
    assert NOT_COMPARED not in load(str(weights)).remember([plate(1)]).notes


def test_thresholds_false_alarms_and_words_are_calibrated(weights, plates, capsys, short_answers):
    for part in ("look", "references", "words"):
        assert command(calibrate.main, part, "--data", plates, "--profile", weights) == 0
    assert "false alarms at 5 % of known products, gaussian:" in capsys.readouterr().out
    known = json.loads((weights / CALIBRATION_FILE).read_text())
    assert "held-out training pictures of 1 sets" in known["source"] and known["match_cut"] > 0
    calibrated = load(str(weights))
    assert calibrated.calibration.normal_within > 0
    look = calibrated.look(plate(60))
    assert not look.doubt and "balanced point" in look.threshold_source
    familiar = Familiar.load(weights / FAMILIAR_FILE, 32)
    records = [record for record in read_records(plates) if record.label]
    (described,) = (group for key, group in descriptors_of(calibrated, records).items() if key[0] == "plates")
    assert described.shape == (6, 32)  # one a picture, whatever its views
    with torch.inference_mode():
        seen = calibrated.model.look(calibrated.processor.pixels(records[0].read_image())).tokens.seen
    assert (described @ F.normalize(seen, dim=1).T).max() == pytest.approx(1, abs=1e-5)
    assert (familiar.products != SCENE).any()
