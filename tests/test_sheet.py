"""The contact sheet of a run's answers, from its files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from assistant import command
from eval import sheet

ROOT = Path(__file__).parents[1]
WORDS = "Yes. There is a crack in the centre, about 0.7 % of the picture. It is small, elongated and darker."


def prediction(label=1, verdict="anomalous", words=WORDS, **more):
    region = {
        "box": [40, 30, 90, 80], "place": "centre", "area": 0.05, "peak": 0.9, "mean": 0.7, "tone": "darker",
        "shape": "elongated",
    }  # fmt: skip
    return {
        "dataset": "wood", "category": "board", "image": "1.png", "label": label,
        "defect": "crack" if label else "good",
        "score": 0.8, "verdict": verdict, "confidence": 0.9, "explanation": words, "size": [160, 120],
        "regions": [region],
    } | more  # fmt: skip


def write_run(folder, rows, thumbnails=True, shape=(72, 96)):
    (folder / "maps").mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(0)
    for index in range(len(rows)):
        heatmap = np.zeros(shape, np.float16)
        heatmap[20:40, 30:50] = 0.9
        kept = {"heatmap": heatmap}
        if thumbnails:
            kept["thumbnail"] = rng.integers(90, 160, (*shape, 3), dtype=np.uint8)
        np.savez_compressed(folder / "maps" / f"{index:06d}.npz", **kept)
    return folder


def colours(image):
    return {tuple(int(v) for v in colour) for colour in np.asarray(image).reshape(-1, 3)}


def drawn(run, out, *arguments):
    with pytest.raises(SystemExit) as stopped:
        command.run(sheet.main, [str(run), str(out), *arguments])
    return stopped.value.code


def test_a_sheet_is_as_wide_as_its_columns_and_the_same_each_time(tmp_path):
    rows = [prediction(i % 2, image=f"{i}.png", words=WORDS * (1 + i % 2)) for i in range(7)]
    run = write_run(tmp_path / "run", [*rows, prediction(words="")])
    assert drawn(run, tmp_path / "a.png", "--count", "4") == drawn(run, tmp_path / "b.png", "--count", "4") == 0
    assert drawn(run, tmp_path / "c.png", "--count", "4", "--seed", "9") == 0
    first = np.asarray(Image.open(tmp_path / "a.png"))
    assert first.shape[1] == sheet.GAP + 4 * (sheet.CELL + sheet.GAP)
    np.testing.assert_array_equal(first, np.asarray(Image.open(tmp_path / "b.png")))
    third = np.asarray(Image.open(tmp_path / "c.png"))
    assert first.shape != third.shape or (first != third).any()


def test_more_answers_than_a_page_holds_make_several(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sheet, "ROWS", 1)
    run = write_run(tmp_path / "run", [prediction()] * 6)
    assert drawn(run, tmp_path / "out.png") == 0
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["out-1.png", "out-2.png"]
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("row", "outcome", "truth"),
    [
        (prediction(1, "anomalous"), sheet.RIGHT, sheet.ANOMALOUS),
        (prediction(1, "normal"), sheet.WRONG, sheet.ANOMALOUS),
        (prediction(0, "normal"), sheet.RIGHT, sheet.NORMAL),
        (prediction(0, "anomalous"), sheet.WRONG, sheet.NORMAL),
        (prediction(0, "unsure"), sheet.UNSURE, sheet.NORMAL),
    ],
)
def test_label_and_outcome_have_their_colours(row, outcome, truth):
    cell = sheet.draw_cell(row, np.zeros((72, 96), np.float16), np.full((72, 96, 3), 128, np.uint8))
    marks = {sheet.RIGHT, sheet.WRONG, sheet.UNSURE, sheet.ANOMALOUS, sheet.NORMAL}
    assert colours(cell) & marks == {outcome, truth}


def test_heat_and_boxes_are_drawn_on_the_right_half_only():
    heatmap = np.zeros((72, 96), np.float16)
    heatmap[20:40, 30:50] = 0.9
    grey = np.full((72, 96, 3), 128, np.uint8)
    hot, cold = sheet.draw_cell(prediction(), heatmap, grey), sheet.draw_cell(prediction(regions=[]), heatmap * 0, grey)
    changed = np.nonzero((np.asarray(hot) != np.asarray(cold)).any(axis=(0, 2)))[0]
    assert changed.size and changed.min() >= sheet.CELL - sheet.MARGIN - sheet.PANEL
    without = {name: value for name, value in prediction().items() if name not in ("size", "regions")}
    assert (np.asarray(sheet.draw_cell(without, heatmap, grey)) != np.asarray(hot)).any()  # heat, but no box


def test_odd_shapes_and_texts_stay_inside_the_cell():
    row = prediction(
        words="Yes \u2013 caf\u00e9 " + "x" * 400 + " word" * 150,
        image="n" * 200 + ".png",
        defect="d" * 200,
        category="c" * 99,
    )
    for shape in ((192, 3), (3, 192), (1, 1)):
        cell = sheet.draw_cell(row, np.ones(shape, np.float16), np.zeros((*shape, 3), np.uint8))
        assert cell.width == sheet.CELL and cell.height < 700
        assert colours(cell.crop((0, 0, 4, cell.height))) == {sheet.PAPER}
        assert colours(cell.crop((sheet.CELL - 4, 0, sheet.CELL, cell.height))) == {sheet.PAPER}


def test_wrapped_keeps_every_word_and_the_width():
    font = ImageFont.load_default(size=14)
    lines = sheet.wrapped(WORDS, font, 120)
    assert " ".join(lines) == WORDS and max(font.getlength(line) for line in lines) <= 120
    long = sheet.wrapped("a" + "b" * 99 + " c", font, 60)
    assert "".join(long) == "a" + "b" * 99 + " c" and max(font.getlength(line) for line in long) <= 60
    assert sheet.wrapped("", font, 60) == [""]
    assert sheet.wrapped("caf\u00e9 \u2013 \u2713", font, 600) == ["cafe - ?"]


def test_a_run_without_words_or_thumbnails_is_named_in_a_sentence(tmp_path, capsys):
    silent = write_run(tmp_path / "silent", [prediction(words="")])
    old = write_run(tmp_path / "old", [prediction()], thumbnails=False)
    good = write_run(tmp_path / "good", [prediction()])
    for run, out, reason in (
        (silent, tmp_path / "out.png", "no words"),
        (old, tmp_path / "out.png", "no thumbnails"),
        (good, tmp_path / "none" / "out.png", "cannot be written"),
    ):
        assert drawn(run, out) == 2
        shown = capsys.readouterr()
        assert reason in shown.err and len(shown.err.strip().splitlines()) == 1 and not shown.out
    assert not list(tmp_path.glob("*.png"))


def test_no_model_is_loaded():
    code = "import eval.sheet, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
