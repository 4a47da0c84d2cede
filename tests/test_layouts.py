"""Every layout on disk becomes the same records; what is wrong with a set is named; sets pack into parquet."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from PIL import Image

from assistant.errors import RecordError
from data.layouts import LAYOUTS, read_records, root_of
from data.layouts_talks import read_talks
from data.parquet import GROUP_ROWS, write_records
from data.schema import Record

ROOT = Path(__file__).parents[1]


def picture(file: Path, value: int = 90, size: tuple[int, int] = (12, 10)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(file)
    return file


def masked(file: Path, value: int = 255, row: int = 2) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((10, 12), np.uint8)
    mask[row, 3:7] = value
    Image.fromarray(mask).save(file)
    return file


def tree(root: Path, category: str = "nut") -> Path:
    """A category as MVTec has it: two good to train on, one good and two defects to test on."""
    for name in ("train/good/000.png", "train/good/001.png", "test/good/000.png", "test/scratch/000.png"):
        picture(root / category / name)
    picture(root / category / "test/bent/007.png")
    masked(root / category / "ground_truth/scratch/000_mask.png")
    masked(root / category / "ground_truth/bent/007.png")
    return root


def visa(root: Path, *rows: list[str]) -> Path:
    for name in ("Normal/0001.JPG", "Normal/0002.JPG", "Anomaly/000.JPG"):
        picture(root / "candle/Data/Images" / name)
    masked(root / "candle/Data/Masks/Anomaly/000.png", value=1)
    (root / "split_csv").mkdir(exist_ok=True)
    with (root / "split_csv/1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])
    return root


NORMAL = ["candle", "train", "normal", "candle/Data/Images/Normal/0001.JPG", ""]
TESTED = ["candle", "test", "normal", "candle/Data/Images/Normal/0002.JPG", ""]
ANOMALY = ["candle", "test", "anomaly", "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"]


def entry(**changes) -> dict:
    return {
        "img_path": "a.png", "mask_path": "", "cls_name": "nut", "specie_name": "good", "anomaly": 0
    } | changes  # fmt: skip


def meta(root: Path, parts: object) -> Path:
    picture(root / "a.png")
    masked(root / "m.png")
    (root / "meta.json").write_text(parts if isinstance(parts, str) else json.dumps(parts))
    return root


def talk(*words: str, **changes) -> dict:
    said = [{"from": ("human", "gpt")[index % 2], "value": word} for index, word in enumerate(words)]
    return {"id": "x-1", "image": "a.png", "conversations": said} | changes


def talks(root: Path, *rows: object) -> Path:
    picture(root / "a.png")
    (root / "conversations.json").write_text(json.dumps(list(rows)))
    return root


def test_a_tree_gives_labels_masks_and_splits(tmp_path):
    records = list(read_records(tree(tree(tmp_path / "set"), "bolt")))
    assert [record.category for record in records] == ["bolt"] * 5 + ["nut"] * 5
    nut = records[5:]
    assert [(record.label, record.defect) for record in nut] == [
        (0, "good"), (0, "good"), (1, "bent"), (0, "good"), (1, "scratch")
    ]  # fmt: skip
    assert {record.split for record in nut[:2]} <= {"fit", "calibrate"}
    assert {record.split for record in nut[2:]} == {"test"} and {record.dataset for record in nut} == {"set"}
    assert [record.read_mask().sum() for record in nut] == [0, 0, 4, 0, 4]


def test_one_category_is_a_tree_too_and_is_named_after_the_folder_above(tmp_path):
    alone = list(read_records(tree(tmp_path / "set") / "nut"))
    assert alone == list(read_records(tmp_path / "set"))


@pytest.mark.parametrize("below", ["", "nut"])
def test_a_tree_of_mvtec_is_only_ever_tested_on(tmp_path, below, monkeypatch):
    root = tree(tmp_path / "MVTec_ad") / below
    assert {record.split for record in read_records(root)} == {"test"}
    monkeypatch.chdir(root)
    assert {record.split for record in read_records(Path())} == {"test"}


def test_loco_has_several_masks_a_picture_and_a_validation_part(tmp_path):
    root = tree(tmp_path / "loco")
    picture(root / "nut/validation/good/000.png")
    picture(root / "nut/test/logical_anomalies/003.png")
    for index in (0, 1):
        masked(root / f"nut/ground_truth/logical_anomalies/003/{index:03d}.png", 250 - index, row=2 + index)
    records = list(read_records(root))
    (logical,) = [record for record in records if record.defect == "logical_anomalies"]
    assert logical.read_mask().sum() == 8
    assert [record.split for record in records].count("val") == 1


def test_a_tree_without_ground_truth_gives_labels_only(tmp_path):
    picture(tmp_path / "set/01/train/ok/0.bmp")
    picture(tmp_path / "set/01/test/ko/0.bmp")
    first, second = read_records(tmp_path / "set")
    assert (first.defect, second.defect, second.supervision) == ("good", "ko", "label")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda nut: (nut / "ground_truth/bent/007.png").unlink(), "nut/test/bent/007.png: there is no mask"),
        (lambda nut: (nut / "test/bent/007.png").unlink(), "bent/007.png: there is no picture to this mask"),
        (lambda nut: picture(nut / "test/8.png"), "nut/test/8.png: the picture is not in a folder"),
        (lambda nut: masked(nut / "ground_truth/bent/007_mask.png"), "both 007.png and 007_mask.png are for 007"),
        (lambda nut: masked(nut / "ground_truth/rust/0_mask.png"), "there is no nut/test/rust"),
    ],
)
def test_a_tree_with_holes_is_named(tmp_path, spoil, reason):
    spoil(tree(tmp_path) / "nut")
    with pytest.raises(RecordError, match=reason):
        list(read_records(tmp_path, "mvtec"))


def test_visa_reads_its_csv_and_masks_that_hold_the_number_1(tmp_path):
    root = visa(tmp_path, NORMAL, TESTED, ANOMALY)
    records = list(read_records(root))
    assert [record.label for record in records] == [0, 0, 1]
    assert records[0].split in ("fit", "calibrate") and [record.split for record in records[1:]] == ["test"] * 2
    assert records[2].read_mask().sum() == 4 and records[2].category == "candle"
    assert list(read_records(root / "split_csv" / "1cls.csv")) == records
    assert root_of(root / "split_csv" / "1cls.csv") == root_of(root) == root


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([*ANOMALY[:4], ""], "an anomalous picture has no mask"),
        ([*ANOMALY[:4], "none.png"], "there is no file none.png"),
        ([*ANOMALY[:4], "../m.png"], "leads out"),
        (["candle", "test", "bad", *ANOMALY[3:]], "label is 'bad'"),
        (["candle", "dev", *ANOMALY[2:]], "split is 'dev'"),
        (["candle", "test", "normal", "/etc/hostname", ""], "leads out"),
        (["candle", "test", "normal"], "there are not 5 values"),
        ([*ANOMALY, "more"], "there are not 5 values"),
    ],
)
def test_a_bad_row_of_visa_is_named_with_its_line(tmp_path, row, reason):
    with pytest.raises(RecordError, match=f"1cls.csv line 3: .*{reason}"):
        list(read_records(visa(tmp_path, NORMAL, row)))


def test_a_csv_that_is_none_is_one_sentence(tmp_path):
    file = visa(tmp_path) / "split_csv" / "1cls.csv"
    file.write_text("object,split,label,image\n")
    with pytest.raises(RecordError, match="line 1: the column 'mask' is missing"):
        list(read_records(tmp_path))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not a csv"):
        list(read_records(tmp_path))


def test_meta_reads_parts_classes_and_bare_labels(tmp_path):
    bad = entry(anomaly=1, specie_name="crack", mask_path="m.png")
    root = meta(tmp_path / "s", {"train": {"nut": [entry()]}, "test": {"nut": [bad, entry(anomaly=1)]}})
    first, second, third = read_records(root)
    assert first.split in ("fit", "calibrate") and (first.dataset, first.category) == ("s", "nut")
    assert (second.defect, second.read_mask().sum(), second.split) == ("crack", 4, "test")
    assert third.supervision == "label"
    assert len(list(read_records(root / "meta.json"))) == 3
    mvtec = meta(tmp_path / "mvtec", {"train": {"nut": [entry()]}})
    assert [record.split for record in read_records(mvtec)] == ["test"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ("{", "meta.json: not JSON"),
        ('{"test":\n{"nut" []}}', "not JSON .*line 2"),
        ([], "not an object with the parts"),
        ({"dev": {}}, "the part 'dev' is not"),
        ({"test": []}, "meta.json test: not an object"),
        ({"test": {"nut": {}}}, "meta.json test.nut: not a list"),
        ({"test": {"nut": [entry(), 3]}}, r"test.nut\[1\]: not a JSON object"),
        ({"test": {"nut": [entry(), {"img_path": "a.png"}]}}, r"nut\[1\]: the key 'mask_path' is missing"),
        ({"test": {"nut": [entry(), entry(anomaly=2)]}}, r"nut\[1\]: anomaly is 2"),
        ({"test": {"nut": [entry(), entry(img_path="b.png")]}}, r"nut\[1\]: there is no file b.png"),
        ({"test": {"nut": [entry(), entry(anomaly=1, mask_path="../m.png")]}}, r"nut\[1\]: .*leads out"),
    ],
)
def test_a_bad_entry_of_meta_is_named_with_its_key_path(tmp_path, parts, reason):
    with pytest.raises(RecordError, match=reason):
        list(read_records(meta(tmp_path, parts), "meta"))


def test_talks_keep_their_turns_and_lose_the_mark(tmp_path):
    rows = talk("<image>\nIs it fine?", "No, it is cracked.", "Where?", "Left."), talk("What is it?\n<image>", "A nut.")
    first, second = read_talks(talks(tmp_path, *rows))
    assert first.turns == (("Is it fine?", "No, it is cracked."), ("Where?", "Left."))
    assert (first.identifier, first.label, second.label) == ("x-1", 0, None)
    assert second.turns == (("What is it?", "A nut."),)


def test_talks_find_their_pictures_in_another_folder(tmp_path):
    root = talks(tmp_path, talk("<image>\nBad?", "Yes."))
    (root / "words").mkdir()
    (root / "conversations.json").rename(root / "words" / "c.json")
    assert [said.image for said in read_talks(root / "words" / "c.json", root)] == [root / "a.png"]


def test_the_label_of_a_talk_is_the_yes_or_no_it_begins_with(tmp_path):
    root = talks(tmp_path, talk("<image>\nBad?", "Yes. A crack."), talk("Bad?", "No."), talk("What?", "A nut."))
    records = read_records(root)
    assert [next(records).label, next(records).label] == [1, 0]
    with pytest.raises(RecordError, match=r"conversations.json \[2\]: the first answer begins with neither"):
        next(records)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (3, "not a JSON object"),
        ({"conversations": []}, "the key 'image' is missing"),
        (talk("Bad?"), "not a list of questions and answers"),
        (talk("Bad?", "Yes.", image=["a.png", "a.png"]), "2 pictures, not one"),
        (talk("Bad?", "Yes.", image="../a.png"), "leads out"),
        (talk("Bad?", ""), r"conversations\[1\] has no words"),
        (talk("<image> <image> Bad?", "Yes."), "a further <image>"),
        (talk(conversations=[{"from": "system", "value": "x"}, {}]), r"conversations\[0\] is not from human"),
    ],
)
def test_a_bad_talk_is_named_with_its_key_path(tmp_path, row, reason):
    with pytest.raises(RecordError, match=rf"conversations.json \[1\]: .*{reason}"):
        list(read_talks(talks(tmp_path, talk("Bad?", "No."), row)))


def test_a_plain_folder_is_found_by_its_normals(tmp_path):
    picture(tmp_path / "ok/1.png")
    picture(tmp_path / "dent/1.png")
    assert [(record.label, record.split) for record in read_records(tmp_path)] == [(1, "test"), (0, "test")]


def test_what_fits_no_layout_names_those_that_were_tried(tmp_path):
    picture(tmp_path / "images/1.png")
    picture(tmp_path / "masks/1.png")
    with pytest.raises(RecordError) as caught:
        read_records(tmp_path)
    assert all(name in str(caught.value) for name in LAYOUTS)
    with pytest.raises(RecordError, match="There is no layout 'coco'. Use auto, manifest"):
        read_records(tmp_path, "coco")
    with pytest.raises(RecordError, match="There is nothing at"):
        read_records(tmp_path / "none")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_that_is_not_there_is_one_sentence(tmp_path, layout):
    with pytest.raises(RecordError):
        list(read_records(tmp_path, layout))


def test_parquet_holds_pictures_masks_and_boxes_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("data.parquet.GROUP_ROWS", 2)
    image, mask = picture(tmp_path / "i/a.png"), masked(tmp_path / "i/m.png", value=1)
    rows = [
        Record(image, 1, "d", "c", "crack", mask, licence="CC0"),
        Record(image, 1, "d", "c", "short", boxes=((1, 1, 4, 3, "short"),)),
        Record(image, 0, "d", "c"),
    ]
    write_records(tmp_path / "fit.parquet", iter(rows), tmp_path)
    assert pq.ParquetFile(tmp_path / "fit.parquet").num_row_groups == 2 < GROUP_ROWS
    read = Dataset(pq.read_table(tmp_path / "fit.parquet"))
    assert read.features["label"].names == ["normal", "anomalous"]
    first, second, third = read
    assert first["image"].size == (12, 10) and np.asarray(first["mask"]).sum() == 4 and first["licence"] == "CC0"
    assert second["mask"] is None and second["boxes"] == [{"x1": 1, "y1": 1, "x2": 4, "y2": 3, "type": "short"}]
    assert (third["label"], third["mask"], third["defect"]) == (0, None, "good")
    kept = pq.read_table(tmp_path / "fit.parquet").column("image")[0].as_py()
    assert kept == {"bytes": image.read_bytes(), "path": "i/a.png"}


def test_a_damaged_picture_leaves_no_half_file(tmp_path):
    image = picture(tmp_path / "a.png")
    image.write_bytes(image.read_bytes()[:50])
    with pytest.raises(RecordError, match="a.png cannot be read"):
        write_records(tmp_path / "fit.parquet", [Record(image, 0, "d", "c")], tmp_path)
    assert list(tmp_path.iterdir()) == [image]


@pytest.fixture
def build(tmp_path, capsys, monkeypatch):
    """Runs `python -m data.build` beside the tree set/: exit code and stderr."""
    from assistant.command import run
    from data.build import app

    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "set")

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            run(app, words)
        return left.value.code, capsys.readouterr().err

    return call


def test_the_records_command_packs_a_split_with_its_datasheet(build):
    assert build("records", "out", "--data", "set", "--split", "test", "--licence", "CC BY 4.0")[0] == 0
    assert len(pq.read_table("out/test.parquet")) == 3
    sheet = Path("out/DATASHEET.md").read_text()
    assert "| scratch | 1 |" in sheet and "| set | 3 |" in sheet and "| CC BY 4.0 | 3 |" in sheet
    code, error = build("records", "out", "--data", "set", "--split", "fit")
    assert code == 2 and "already holds test.parquet" in error


def test_the_conversations_command_takes_any_layout_and_can_be_read_again(build):
    assert build("conversations", "talk", "--data", "set", "--layout", "mvtec", "--split", "test")[0] == 0
    said = list(read_talks(Path("talk"), Path("set")))
    assert [row.label for row in said] == [1, 0, 1]
    assert said[0].image == Path("set").absolute() / "nut/test/bent/007.png"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("records new --data set --split val", "no records of the split 'val' in set"),
        ("records set/nut/test/good/000.png --data set --split test", "cannot be made"),
        ("conversations new --data none", "There is nothing at none"),
        ("records new --data set --layout coco", "There is no layout 'coco'"),
        ("records new --data set --layout visa", "There is no split_csv"),
    ],
)
def test_what_the_commands_cannot_use_is_one_sentence(build, words, reason):
    code, error = build(*words.split())
    assert code == 2 and reason in error and error.count("\n") == 1
    assert not Path("new").exists()


def test_reading_needs_no_torch():
    code = "import data.layouts, data.textile, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
