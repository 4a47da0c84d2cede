"""Training with corrections: the pieces on small samples, and the bookkeeping of versions. The whole is a script."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from assistant.calibration import Calibration
from assistant.errors import CorrectionError
from assistant.familiar import Familiar
from assistant.profiles import read_profile
from assistant.versions import FACTS_FILE, SHIPPED, current, resolved, versions
from assistant.weights import CALIBRATION_FILE, FAMILIAR_FILE, LOOK_FILE
from data.dials import draw_dial, draw_dials
from data.schema import Record
from finetune.corrected import CorrectedSamples, Figures, few, figures_of
from finetune.dataset import LookDataset
from finetune.features import Origin, make_features
from finetune.recalibrate import Judged, recalibrated
from finetune.retrain import better, holds, keep, main, mixture, read_corrections
from finetune.stage import BatchDataset, LookStage, new_model
from tests.tiny import tiny_config, tiny_model

FLAT = Figures(0.8, 0.8, 0.8, 0.2, 0.3, 10)


def records(folder: Path, count: int, label: int, name: str = "corrections") -> list[Record]:
    made = []
    for number in range(count):
        file = folder / f"{name}-{label}-{number}.png"
        Image.fromarray(np.full((64, 64, 3), 40 + 10 * number, np.uint8)).save(file)
        made.append(Record(file, label, name, "dial", "unknown" if label else "good"))
    return made


def test_half_of_the_samples_are_corrections_and_each_is_the_same_on_every_call(tmp_path: Path) -> None:
    own, known = records(tmp_path, 2, 0) + records(tmp_path, 2, 1), records(tmp_path, 2, 0, "known")
    samples = CorrectedSamples(own, known, tiny_config().vision_config, 64, 16, seed=3)
    seen = [samples.sample(number) for number in range(64)]
    share = np.mean([sample.dataset == "corrections" for sample in seen])
    assert 0.3 < share < 0.7 and {"known", "own"} & {sample.dataset for sample in seen}
    assert np.array_equal(seen[5].pixels, samples.sample(5).pixels)
    for start in range(0, 64, 16):
        assert len({sample.pixels.shape for sample in seen[start : start + 16]}) == 1


def test_figures_by_hand() -> None:
    scores, labels = {"a": [0.1, 0.9, 0.4], "b": [0.7]}, {"a": [0, 1, 1], "b": [1]}
    values = {"a": [np.array([0.0, 1.0, 2.0, 3.0])]}
    truths = {"a": [np.array([False, False, True, True])]}
    found = figures_of(scores, labels, values, truths, {"a": [0.5] * 3, "b": [0.5]})
    assert found == Figures(1.0, 1.0, 0.75, 0.25, pytest.approx((0.1 + 0.1 + 0.6 + 0.3) / 4), 4)
    higher = figures_of(scores, labels, values, truths, {"a": [0.5, 0.95, 0.3], "b": [0.5]})
    assert (higher.error, higher.image_auroc) == (0.25, 1.0)  # another one is missed, and one is found
    assert figures_of({}, {}, {}, {}, {}) == Figures(0.5, 0.5, 0.5, 0.0, 0.0, 0)


def test_new_weights_are_kept_only_when_validation_does_not_fall() -> None:
    assert holds(FLAT, FLAT) and not holds(FLAT, replace(FLAT, image_auroc=0.799))
    assert holds(FLAT, replace(FLAT, image_auroc=0.79, pixel_auroc=0.82))
    assert not holds(FLAT, replace(FLAT, image_auroc=0.77, pixel_auroc=0.99))  # one figure may not pay for another
    assert better(FLAT, replace(FLAT, error=0.1)) and better(FLAT, replace(FLAT, distance=0.2))
    assert not better(FLAT, replace(FLAT, error=0.3, distance=0.0)) and not better(FLAT, FLAT)


def _rows(shifts: dict[str, float], seed: int = 0) -> list[Judged]:
    """Pictures of three sets, normal around -1 and anomalous around 1, their logits moved by what each set is."""
    rng, rows = np.random.default_rng(seed), []
    for number, (name, shift) in enumerate(shifts.items()):
        shown = torch.nn.functional.one_hot(torch.tensor([number]), 4).float()
        for index in range(80):
            label = index % 2
            origin = Origin(label, "good", name, name, 0)
            rows.append(Judged(origin, 2.0 * label - 1 + rng.normal(0, 0.7) + shift, shown))
    return rows


def test_what_a_training_has_moved_the_calibration_follows() -> None:
    sets = {"a": 0.0, "b": 0.0, "c": 0.0}
    familiar = Familiar(
        torch.eye(4)[:3], 0.5, 0.5, torch.arange(3), torch.full((3,), 0.1), torch.full((3,), 0.3),
        torch.tensor([[0.0, 0.1, 0.1], [0.5, 0.5, torch.nan], [0.0, 0.0, 0.0]]).double(), torch.tensor([9, 9, 9]),
    )  # fmt: skip
    stored = Calibration(score_scale=2.0, score_bias=0.5)
    assert recalibrated(stored, familiar, [], []) == (stored, familiar)
    same, known = recalibrated(stored, familiar, _rows(sets), _rows(sets))
    assert same == stored and torch.equal(known.tipping.nan_to_num(), familiar.tipping.nan_to_num())
    before, after = _rows(sets), _rows(dict.fromkeys(sets, 1.5))
    moved, _ = recalibrated(stored, None, before, after)
    for old, new in zip(before[:10], after[:10], strict=True):
        assert moved.logit(new.logit) == pytest.approx(stored.logit(old.logit), abs=0.02)
    _, known = recalibrated(stored, familiar, before, _rows(sets | {"b": 2.0}))
    higher = known.tipping - familiar.tipping
    assert float(higher[1, 0]) > 0.5 and float(higher[1, 1]) == pytest.approx(float(higher[1, 0]))
    assert float(known.tipping.nan_to_num().min()) >= 0 and bool(known.tipping[1, 2].isnan())
    assert float(known.tipping[0, 0]) == 0  # a known product's threshold is never lowered


def test_what_is_not_corrected_keeps_its_scores_while_corrections_are_learnt(tmp_path: Path) -> None:
    model = tiny_model()[0].look_model
    drawn = LookDataset([], model.config.vision_config, 8, batch=8, seed=0)
    files = make_features(model, drawn, tmp_path)
    whole = BatchDataset(files, 1, ["crack"], changing=["corrections"])[0]
    assert whole["kept"].tolist() == [1.0] * 8 and "kept" not in BatchDataset(files, 1, ["crack"])[0]
    first = LookStage(copy.deepcopy(model), mix_style=False, holding=True)
    assert abs(first(**whole)["loss"].item()) < 1e-6  # nothing has moved yet
    assert first.state_dict().keys() == LookStage(copy.deepcopy(model)).state_dict().keys()
    half = whole | {"kept": torch.tensor([0.0, 1.0] * 4)}
    moved, learnt = {}, {}
    for holding in (True, False):
        torch.manual_seed(0)
        stage = LookStage(copy.deepcopy(model), mix_style=False, holding=holding).train()
        before = stage.judge(whole).map_logit.detach()
        steps = torch.optim.Adam([*stage.model.heatmap.parameters(), *stage.model.selector.parameters()], lr=3e-3)
        for _ in range(12):
            steps.zero_grad()
            stage(**half if holding else half | {"kept": None})["loss"].backward()
            steps.step()
        away = stage.eval().judge(whole).map_logit.detach() - before
        signs = 2 * whole["labels"] - 1
        moved[holding], learnt[holding] = float(away[1::2].abs().mean()), float((away * signs)[::2].mean())
    assert moved[True] < moved[False] / 2
    assert learnt[True] > 0 < learnt[False]


def test_a_mixture_lies_between() -> None:
    old, new = {"w": torch.zeros(2), "n": torch.tensor(3)}, {"w": torch.ones(2), "n": torch.tensor(5)}
    found = mixture(old, new, 0.25)
    assert found["w"].tolist() == [0.25, 0.25] and int(found["n"]) == 5
    assert mixture(old, new, 1.0)["w"].tolist() == [1, 1]


def test_a_model_that_judges_drops_nothing() -> None:
    assert not any(part.training for part in new_model(read_profile("embedded")).modules())


def test_few_takes_evenly_from_each_set_and_label(tmp_path: Path) -> None:
    rows = records(tmp_path, 9, 0) + records(tmp_path, 2, 1) + records(tmp_path, 5, 1, "other")
    chosen = few(rows, 3)
    assert len(chosen) == 3 + 2 + 3 and chosen[0] is rows[0] and chosen[2] is rows[8]


def test_a_version_is_whole_chosen_and_can_be_left_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKTWICE_DATA", str(tmp_path / "data"))
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    save_file({"w": torch.zeros(2)}, weights / LOOK_FILE)
    out, language = tmp_path / "run", tmp_path / "run" / "language"
    language.mkdir(parents=True)
    save_file({"w": torch.ones(2)}, out / LOOK_FILE)
    Calibration().save(weights / CALIBRATION_FILE)
    Calibration(score_bias=3.0).save(out / CALIBRATION_FILE)
    (language / "language.safetensors").write_bytes(b"new")
    chosen = replace(read_profile("embedded"), weights=weights)
    version = keep("embedded", chosen, out, language, {"corrections": 2, "val": asdict(FLAT)})
    folder = tmp_path / "data" / "weights" / "embedded" / version
    assert versions("embedded") == (SHIPPED, version) and resolved("embedded") == f"embedded@{version}"
    assert load_file(folder / LOOK_FILE)["w"].tolist() == [1, 1] and (folder / "language.safetensors").is_file()
    assert json.loads((folder / FACTS_FILE).read_text())["corrections"] == 2 and not (folder / FAMILIAR_FILE).exists()
    assert Calibration.load(folder / CALIBRATION_FILE).score_bias == 3  # what it was set to goes with the weights
    assert load_file(weights / LOOK_FILE)["w"].tolist() == [0, 0]  # what it began with is untouched
    assert [child.name for child in folder.parent.iterdir() if child.name.startswith(".")] == []
    main(go_back=True)
    assert current("embedded") == SHIPPED


def test_without_corrections_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorrectionError, match="No corrections are named"):
        main()
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(CorrectionError, match="no corrections in"):
        read_corrections(tmp_path)


def test_dials_are_new_every_time_and_every_second_one_is_faulty() -> None:
    dials = draw_dials(4, 7)
    assert [bool(mask.any()) for _, mask in dials] == [False, True, False, True]
    assert not np.array_equal(dials[0][0], dials[2][0])
    assert np.array_equal(draw_dial(np.random.default_rng(1)), draw_dial(np.random.default_rng(1)))
