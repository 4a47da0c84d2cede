"""Boards beside their templates: how pairs are found, what counts as found, and the command on drawn boards."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from assistant.command import run
from assistant.errors import RecordError
from assistant.types import Look, Region
from data.pairs import pairs_of
from data.readers import read_manifest
from eval.templates import WAYS, Seen, figures, main, moved_boxes, seen_as


def boards(folder: Path, count: int = 3) -> Path:
    """A manifest of drawn boards, each with a template of the next number."""
    lines = []
    for number in range(1, 2 * count, 2):
        rng = np.random.default_rng(number)
        template = np.zeros((160, 160, 3), np.uint8)
        for _ in range(25):
            x, y = rng.integers(0, 150, 2).tolist()
            cv2.line(template, (x, y), rng.integers(0, 160, 2).tolist(), (255, 255, 255), 3)
        board = template.copy()
        board[60:80, 60:80] = 255 - board[60:80, 60:80]
        for file, pixels, label in ((number, board, 1), (number + 1, template, 0)):
            Image.fromarray(pixels).save(folder / f"{file:05d}.png")
            line = {"image": f"{file:05d}.png", "dataset": "deeppcb", "category": "pcb", "label": label, "fold": "val"}
            line |= {"defect": "open", "boxes": [[60, 60, 80, 80, "open"]]} if label else {"defect": "good"}
            lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_boards_are_paired_with_their_templates(tmp_path: Path):
    records = list(read_manifest(boards(tmp_path) / "manifest.jsonl"))
    found = pairs_of(records)
    assert [(one.image.stem, two.image.stem) for one, two in found] == [
        ("00001", "00002"), ("00003", "00004"), ("00005", "00006"),
    ]  # fmt: skip
    with pytest.raises(RecordError, match="no boards"):
        pairs_of([record for record in records if record.label])


def look_of(regions: list[tuple[int, int, int, int]], score: float = 0.6) -> Look:
    heat = np.zeros((10, 10), np.float32)
    heat[:2] = 0.7
    found = tuple(Region(box, "top left", 0.01, 0.9, 0.7, "darker", "compact") for box in regions)
    return Look((100, 100), score, heat, found, np.zeros((10, 10, 3), np.uint8), {})


def test_what_regions_touch_counts():
    seen = seen_as(look_of([(0, 0, 10, 10), (50, 50, 60, 60)]), [(5, 5, 20, 20), (30, 30, 40, 40), (10, 0, 20, 9)])
    assert (seen.label, seen.lit, seen.found, seen.right) == (1, 0.2, pytest.approx(1 / 3), 0.5)
    assert seen_as(look_of([]), [(0, 0, 1, 1)]).found == 0 and seen_as(look_of([]), [(0, 0, 1, 1)]).right is None
    normal = seen_as(look_of([], 0.2), ())
    assert normal.label == 0 and normal.found is None
    table = figures([seen, normal, Seen(1, -1.0, 0.0, 0.0)])
    assert table == {
        "image AUROC": 1.0 if normal.evidence < -1 else 0.5, "balanced accuracy": 0.75, "lit on templates": 0.2,
        "defects found": pytest.approx(1 / 6), "regions on defects": 0.5,
    }  # fmt: skip


def test_boxes_move_with_their_board(tmp_path: Path):
    board, _ = pairs_of(list(read_manifest(boards(tmp_path) / "manifest.jsonl")))[0]
    taken, boxes = moved_boxes(board, np.random.default_rng(4))
    again, _ = moved_boxes(board, np.random.default_rng(4))
    assert np.array_equal(taken, again) and not np.array_equal(taken, board.read_image())
    ((left, top, right, bottom),) = boxes
    assert abs(left - 60) < 8 and abs(bottom - 80) < 8 and 15 < right - left < 26 and 15 < bottom - top < 26


def test_the_command_compares_three_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        run(main, ["--data", str(boards(tmp_path)), "--limit", "2"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "2 boards" in said and all(way.split()[0] in said for way in WAYS)
