"""A folder of pictures on a tiny LLaVA-OneVision, and in tiles on both profiles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.utils import logging
from typer.testing import CliRunner

from assistant.__main__ import app
from assistant.batch import PlainEngine, run_batch
from assistant.calibration import Calibration
from assistant.entries import list_entries
from assistant.import_expert import import_expert
from assistant.onevision_loading import checkpoint_config
from tests.tiny import tiny_inspector
from tests.tiny_onevision import tiny_checkpoint, tiny_expert, tiny_look

logging.disable_progress_bar()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three of one size, one of them with a small dark spot."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(120, 140, (200, 300, 3), dtype=np.uint8)
        if number == 1:
            pixels[150:156, 210:216] = 0
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def listed(*words: object) -> dict:
    done = CliRunner().invoke(app, [str(word) for word in (*words, "--batch", "--json")])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_folder_is_listed_with_the_weights_that_are_named(checkpoint, pictures, tmp_path):
    weights = tiny_look(checkpoint, tmp_path / "weights")
    plain = listed(pictures, "--profile", weights, "--out", tmp_path / "run")
    assert plain["profile"] == "weights" and len(plain["rows"]) == 3
    same = listed(pictures, "--profile", checkpoint, "--adapter", weights, "--out", tmp_path / "other")
    scores = [{row["file"]: row["score"] for row in one["rows"]} for one in (plain, same)]
    assert scores[0] == scores[1]
    tiled = listed(pictures, "--profile", weights, "--tiles", "128", "--out", tmp_path / "run")
    assert len(list((tmp_path / "run").glob("looks-*"))) == 2  # kept apart: in tiles a picture looks otherwise
    assert all(row["score"] >= scores[0][row["file"]] for row in tiled["rows"])
    again = listed(pictures, "--profile", weights, "--tiles", "128", "--out", tmp_path / "run")
    assert again["rows"] == tiled["rows"]


def test_an_imported_expert_lists_a_folder_without_a_calibration(checkpoint, pictures, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    file = tiny_expert(copy, tmp_path / "expert.pth")
    import_expert(file, checkpoint_config(copy), str(copy), copy / "looktwice")
    found = listed(pictures, "--profile", copy, "--out", tmp_path / "run")
    assert all(0 <= row["score"] <= 1 for row in found["rows"])


def test_a_spot_that_only_a_tile_sees_stays_in_the_list(pictures, tmp_path, monkeypatch):
    """A batch keeps small heatmaps: what is lit in one pixel of the large one must not be averaged away."""
    inspector = tiny_inspector(normal_mean=-2.0, normal_between=0.5, normal_within=1.0)
    monkeypatch.setattr(Calibration, "load", lambda file: inspector.calibration)
    look = inspector.look

    def spotted(source: object, **more: object) -> object:
        seen = look(source, **more)
        heatmap = np.zeros((1000, 1280), np.float32)
        heatmap[640, 900] = 0.9
        return type(seen)(**{**vars(seen), "heatmap": heatmap, "thumbnail": np.zeros((1000, 1280, 3), np.uint8)})

    monkeypatch.setattr(inspector, "look", spotted)
    batch = run_batch(list_entries(pictures)[0], tmp_path / "run", "embedded", PlainEngine(inspector, tiles=128))
    kept = batch.store.load_look(batch.rows[0].key).look("").heatmap
    assert kept.shape == (375, 480)
    y, x = np.unravel_index(int(kept.argmax()), kept.shape)
    assert kept.max() == pytest.approx(0.9, abs=0.05) and abs(x - 900 * 0.375) < 2 and abs(y - 640 * 0.375) < 2


def test_the_threshold_of_a_picture_in_tiles_is_its_own(pictures, tmp_path, monkeypatch):
    inspector = tiny_inspector(normal_mean=-2.0, normal_between=0.5, normal_within=1.0)
    monkeypatch.setattr(Calibration, "load", lambda file: inspector.calibration)
    Path(tmp_path / "parts").mkdir()
    for file in pictures.iterdir():
        shutil.copy(file, tmp_path / "parts")
    Image.fromarray(np.full((60, 60, 3), 90, np.uint8)).save(tmp_path / "parts" / "small.png")
    engine = PlainEngine(inspector, tiles=128)
    batch = run_batch(list_entries(tmp_path / "parts")[0], tmp_path / "run", "embedded", engine)
    for row in batch.rows:
        alone = inspector.look(tmp_path / "parts" / row.name, tiles=128)
        assert row.score == pytest.approx(alone.score, abs=1e-5)
        assert row.over_threshold == (row.score >= alone.threshold)
        assert row.threshold == batch.look(row).threshold == pytest.approx(alone.threshold)
    assert any("Thresholds differ" in note for note in batch.notes)
