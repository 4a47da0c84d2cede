"""Datasets on disk to records; bad rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant.errors import RecordError
from data.readers import read_folder, read_manifest
from data.schema import Record, held_out

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 6), "grey").save(tmp_path / "a.png")
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:5] = True
    Image.fromarray(mask).save(tmp_path / "m.png")
    return tmp_path


def write(folder, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def row(**changes):
    return {"image": "a.png", "dataset": "d", "category": "c", "label": 0, "defect": "good", "fold": "val"} | changes


def test_a_row_becomes_a_record_with_picture_and_mask(folder):
    write(folder, row(label=1, defect="crack", mask="m.png", license="CC0"), "", row())
    first, second = read_manifest(folder)
    assert (first.label, first.defect, first.split, first.licence, first.supervision) == (
        1,
        "crack",
        "val",
        "CC0",
        "mask",
    )
    assert first.read_image().shape == (6, 8, 3)
    assert first.read_mask().sum() == 4
    assert second.supervision == "mask" and second.read_mask().sum() == 0


def test_boxes_fill_a_mask_and_a_bare_label_gives_none(folder):
    write(folder, row(label=1, boxes=[[1, 1, 4, 3, "short"]]), row(label=1))
    boxed, bare = read_manifest(folder)
    assert boxed.supervision == "boxes" and boxed.read_mask().sum() == 6
    assert bare.supervision == "label" and bare.read_mask() is None


def test_mvtec_is_only_ever_tested_on(folder):
    (folder / "MVTec_AD").mkdir()
    Image.new("L", (4, 4)).save(folder / "MVTec_AD" / "b.png")
    write(
        folder, row(dataset="mvtec", fold="train"), row(dataset="mvtec_loco"), row(category="mvtec-tile"),
        row(image="MVTec_AD/b.png"), row(fold="train"),
    )  # fmt: skip
    splits = [record.split for record in read_manifest(folder)]
    assert splits[:4] == ["test"] * 4 and splits[4] in ("fit", "calibrate")


def test_clips_are_left_to_the_video_reader(folder):
    write(folder, {"frames": ["a.png"], "dataset": "d"}, row())
    assert len(list(read_manifest(folder))) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        (row(label=2), "label is 2"),
        (row(fold="dev"), "fold is 'dev'"),
        (row(image="none.png"), "no file none.png"),
        (row(mask="none.png"), "no file none.png"),
        (row(boxes=[[1, 2]]), "wrong type"),
        (row(boxes=[[4, 1, 1, 3, "short"]]), r"the box \[4, 1, 1, 3\] is not"),
        (row(boxes=[[-4, 1, 1, 3, "short"]]), "is not x1 < x2"),
        (row(boxes=[[1e999, 1, 1, 3, "short"]]), "wrong type"),
        (row(image=["a.png"]), "path has the wrong type"),
        (row(image="../a.png"), "leads out"),
        (row(image="x/../../a.png"), "leads out"),
        (row(image="/etc/hostname"), "leads out"),
        (row(image="a" * 5000), "no file"),
        (row(mask="../m.png"), "leads out"),
        ("[" * 100_000, "nested too deeply"),
        ({"image": "a.png"}, "'dataset' is missing"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder, bad, reason):
    write(folder, row(), bad)
    with pytest.raises(RecordError, match=f"manifest.jsonl line 2: .*{reason}"):
        list(read_manifest(folder))


def test_bytes_that_are_no_text_are_named_with_their_line(folder):
    (folder / "manifest.jsonl").write_bytes(json.dumps(row()).encode() + b"\n\xff\xfe\n")
    with pytest.raises(RecordError, match="line 2: not UTF-8"):
        list(read_manifest(folder))


@pytest.mark.parametrize(
    ("mode", "value", "name"),
    [("1", 1, "x.png"), ("L", 1, "x.png"), ("L", 255, "x.jpg"), ("RGB", (1, 0, 0), "x.png"), ("I;16", 7, "x.png")],
)
def test_masks_may_carry_any_value_but_0(tmp_path, mode, value, name):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    mask = Image.new(mode, (16, 16))
    mask.paste(value, (0, 0, 8, 16))
    mask.save(tmp_path / name)
    found = Record(tmp_path / "a.png", 1, "d", "c", mask=tmp_path / name).read_mask()
    assert found.dtype == bool and found[:, :8].all() and not found[:, 8:].any()


def test_a_folder_of_masks_counts_as_their_union(folder):
    (folder / "several").mkdir()
    for index in (0, 1):
        mask = np.zeros((6, 8), np.uint8)
        mask[index, :3] = 200 + index
        Image.fromarray(mask).save(folder / "several" / f"{index:03d}.png")
    record = Record(folder / "a.png", 1, "d", "c", mask=folder / "several")
    assert record.read_mask().sum() == 6 and record.supervision == "mask"


def test_what_cannot_be_decoded_or_does_not_fit_is_one_sentence(folder):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:40])
    for file in (folder / "broken.png", folder / "none.png"):
        with pytest.raises(RecordError, match=f"{file.name} cannot be read as a picture"):
            Record(file, 0, "d", "c").read_image()
    Image.new("1", (3, 3)).save(folder / "small.png")
    with pytest.raises(RecordError, match="mask small.png is 3 x 3 pixels, its picture a.png is 8 x 6"):
        Record(folder / "a.png", 1, "d", "c", mask=folder / "small.png").read_mask()


def test_a_missing_manifest_is_one_sentence(tmp_path):
    with pytest.raises(RecordError, match="no manifest"):
        list(read_manifest(tmp_path))


def test_a_plain_folder_knows_good_from_anything_else(folder):
    for name in ("good", "scratch"):
        (folder / name).mkdir()
        Image.new("RGB", (4, 4)).save(folder / name / "1.png")
    records = list(read_folder(folder))
    assert [(record.defect, record.label) for record in records] == [("good", 0), ("scratch", 1)]
    with pytest.raises(RecordError, match="no pictures"):
        list(read_folder(folder / "good"))


def test_holding_out_is_stable_and_keeps_neighbours_together():
    assert held_out("ksdd", "commutator", 0, 40) == held_out("ksdd", "commutator", 0, 59)
    share = np.mean([held_out("set", "product", 0, 20 * block) for block in range(2000)])
    assert 0.09 < share < 0.15


@pytest.mark.skipif(not SHARED.is_dir(), reason="the development data is not beside the project")
def test_the_development_data_reads_whole_and_keeps_its_folds():
    records = list(read_manifest(SHARED))
    assert len(records) > 5000
    assert {record.split for record in records if record.dataset == "mvtec"} == {"test"}
    assert not [record for record in records if record.dataset == "mvtec" and record.split != "test"]
    assert {record.split for record in records} == {"fit", "calibrate", "val", "test"}
