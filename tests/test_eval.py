"""Figures against hand values, and a run that goes on where it stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from assistant import command
from data import build
from eval import metrics, run, score
from eval.predictions import complete_lines, read_predictions
from eval.run import Task, predict, records_of
from eval.score import COLUMNS, score_run
from finetune import calibrate, look


def row(label=1, score=0.5, verdict="anomalous", places=(), regions=(), lit=0.0, words="Yes."):
    return {
        "dataset": "d", "category": "c", "label": label, "score": score, "verdict": verdict, "lit": lit,
        "place": regions[0] if regions else None, "word_places": list(places), "region_places": list(regions),
        "explanation": words,
    }  # fmt: skip


def test_image_auroc_by_hand_and_with_one_class():
    rows = [row(0, 0.1), row(0, 0.4), row(1, 0.35), row(1, 0.8)]
    assert metrics.image_auroc(rows) == 0.75  # 3 of 4 pairs in order
    assert metrics.image_auroc([row(0, 0.4), row(1, 0.4)]) == 0.5
    assert metrics.image_auroc(rows[:2]) is None


def test_balanced_accuracy_counts_unsure_as_wrong():
    rows = [row(0, verdict="normal"), row(0, verdict="unsure"), row(1), row(1), row(1, verdict="normal"), row(1)]
    assert metrics.balanced_accuracy(rows) == pytest.approx((0.5 + 0.75) / 2)
    assert metrics.balanced_accuracy(rows[:2]) is None


def test_pixel_auroc_pools_all_pixels_and_skips_unknown_masks():
    rng = np.random.default_rng(0)
    heatmap, mask = rng.random((8, 8)), rng.random((8, 8)) > 0.7
    other = rng.random((4, 6))
    truths = [(heatmap, mask), (other, np.zeros((4, 6), bool)), (np.ones((3, 3)), None)]
    values = np.concatenate([heatmap.ravel(), other.ravel()]).astype(np.float32)
    wanted = roc_auc_score(np.concatenate([mask.ravel(), np.zeros(24, bool)]), values)
    assert metrics.pixel_auroc(truths) == pytest.approx(wanted)
    assert metrics.pixel_auroc(truths[1:]) is None


def test_places_are_held_against_the_mask():
    mask = np.zeros((9, 9), bool)
    mask[:3, :3] = True
    truth = (np.zeros((9, 9)), mask)
    rows = [row(regions=["top left"], places=["top left"]), row(regions=["centre"], places=["top left"]), row()]
    assert metrics.map_place_accuracy(rows, [truth] * 3) == 0.5
    assert metrics.word_place_accuracy(rows, [truth] * 3) == 1.0


@pytest.mark.parametrize(
    ("case", "agrees"),
    [
        (row(places=["centre"], regions=["centre", "top left"]), True),
        (row(places=["top left", "centre"], regions=["centre", "top left"]), False),
        (row(places=["centre", "bottom left"], regions=["centre"]), False),
        (row(places=[], regions=["centre"]), False),
        (row(places=[], regions=[]), True),
        (row(0, verdict="normal", places=[], regions=["centre"], words="No."), True),
        (row(0, verdict="normal", places=["centre"], regions=[], words="No."), False),
    ],
)
def test_words_and_map_agree_or_do_not(case, agrees):
    assert metrics.words_agree(case) is agrees


def test_hallucinations_are_claims_on_normals():
    rows = [row(0, words="No. Fine."), row(0, words="Yes. A crack."), row(0, words="No.", places=["centre"]), row(1)]
    assert metrics.hallucination_rate(rows) == pytest.approx(2 / 3)
    assert metrics.lit_on_normals([row(0, lit=0.02), row(0), row(1, lit=0.9)]) == pytest.approx(0.01)


def test_a_torn_last_line_is_cut_off(tmp_path):
    file = tmp_path / "predictions.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert len(complete_lines(file)) == 2
    assert read_predictions(tmp_path) == [{"a": 1}, {"a": 2}]


def test_a_run_is_scored_from_its_files_alone(tmp_path, inspector):
    from data.photos import photograph
    from data.synth import draw_defect

    brick = photograph("brick.png")[:256, :256]
    bad = draw_defect(brick, np.random.default_rng(0), "hole", strength=1.0)
    for name, pixels in (("good", brick), ("hole", bad.image)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / name / "1.png")
    (tmp_path / "run" / "maps").mkdir(parents=True)
    with (tmp_path / "run" / "predictions.jsonl").open("w") as lines:
        for index, record in enumerate(records_of(Task.folder, tmp_path / "set", "")):
            values, heatmap = predict(inspector, record, ask=False)
            assert max(heatmap.shape) <= 192 and 0 <= heatmap.min() <= heatmap.max() <= 1
            np.savez(tmp_path / "run" / "maps" / f"{index:06d}.npz", heatmap=heatmap)
            lines.write(json.dumps(values) + "\n")
    result = score_run(tmp_path / "run")
    (only,) = result["rows"]
    assert (only["n_normal"], only["n_anomalous"]) == (1, 1)
    assert set(COLUMNS) <= set(only) and only["image_auroc"] in (0.0, 0.5, 1.0)


def test_commands_end_with_a_sentence_and_code_2(tmp_path, capsys):
    for function, arguments in (
        (run.run, ["manifest", "--data", str(tmp_path), "--out", str(tmp_path / "o")]),
        (score.main, [str(tmp_path)]),
        (calibrate.main, ["look", "--data", str(tmp_path)]),
        (look.train, ["--data", str(tmp_path)]),
        (build.app, ["conversations", str(tmp_path / "c"), "--data", str(tmp_path)]),
    ):
        with pytest.raises(SystemExit) as stopped:
            command.run(function, arguments)
        captured = capsys.readouterr()
        assert stopped.value.code == 2
        assert len(captured.err.strip().splitlines()) == 1 and not captured.out


def test_a_set_without_held_out_pictures_cannot_calibrate(tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    row_ = {"image": "a.png", "dataset": "d", "category": "c", "label": 0, "defect": "good", "fold": "train"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row_) + "\n")
    with pytest.raises(SystemExit) as stopped:
        command.run(calibrate.main, ["look", "--data", str(tmp_path)])
    assert stopped.value.code == 2 and "held out for calibration" in capsys.readouterr().err
