"""MMAD, VANE-Bench, UMAD and clips from their folders to their figures, with the real model on look-alikes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from assistant import command
from eval import run, score
from eval.asking import letter_probabilities
from eval.choices import choice_question
from eval.predictions import read_predictions

OPTIONS = (("A", "Yes."), ("B", "No."))
KINDS = (("A", "A scratch."), ("B", "A hole."), ("C", "A stain."), ("D", "None."))


def surface(seed: int, spot: bool = False, side: int = 96) -> np.ndarray:
    """[side, side, 3] uint8 grey noise, with or without a black spot."""
    pixels = np.random.default_rng(seed).normal(130, 10, (side, side, 3)).clip(0, 255).astype(np.uint8)
    if spot:
        pixels[side // 2 : side // 2 + 14, 30:44] = 5
    return pixels


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def ran(inspector, monkeypatch, tmp_path):
    """A task over a folder, predicted and scored: -> (rows, metrics, report)."""
    monkeypatch.setattr(run, "load", lambda profile: inspector)
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 4)

    def start(task, data, *more):
        out = tmp_path / f"run-{task}-{len(more)}"
        for function, arguments in (
            (run.run, [task, "--data", str(data), "--out", str(out), *more]),
            (score.main, [str(out)]),
        ):
            with pytest.raises(SystemExit) as stopped:
                command.run(function, arguments)
            assert stopped.value.code == 0
        return read_predictions(out), json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()

    return start


def mmad(root) -> None:
    """Three pictures of one product in MMAD's layout, two questions each and a template."""
    rows = {}
    save(root / "DS-MVTec" / "bottle" / "template.png", surface(9))
    for number, spot in enumerate((False, True, True)):
        name = f"DS-MVTec/bottle/image/{number}.png"
        save(root / name, surface(number, spot))
        turns = [
            {"Question": "Is there any defect in the object?", "Options": dict(OPTIONS), "Answer": "A" if spot else "B",
             "type": "Anomaly Detection"},
            {"Question": "What kind of defect is it?", "Options": dict(KINDS), "Answer": "B" if spot else "D",
             "type": "Defect Classification"},
        ]  # fmt: skip
        rows[name] = {"conversation": turns, "similar_templates": ["DS-MVTec/bottle/template.png"]}
    (root / "mmad.json").write_text(json.dumps(rows))


def test_mmad_from_folder_to_table_with_and_without_a_template(ran, tmp_path):
    mmad(tmp_path / "set")
    rows, result, page = ran("mmad", tmp_path / "set")
    assert [row["label"] for row in rows] == [0, 1, 1] and all(len(row["turns"]) == 2 for row in rows)
    for turn in (turn for row in rows for turn in row["turns"]):
        assert sum(turn["letters"].values()) == pytest.approx(1, abs=1e-5) and turn["likely"] in turn["options"]
        assert turn["letters"][turn["likely"]] == max(turn["letters"].values())
    types = result["choices"]["types"]
    assert set(types) == {"Anomaly Detection", "Defect Classification"}
    right = {
        label: np.mean(
            [row["turns"][0]["likely"] == row["turns"][0]["reference"] for row in rows if row["label"] == label]
        )
        for label in (0, 1)
    }
    assert types["Anomaly Detection"]["likely"] == pytest.approx((right[0] + right[1]) / 2)
    assert result["rows"][0]["image_auroc"] is not None and result["rows"][0]["faithfulness"] is None
    assert "GPT-4o (published)" in page and "mean of the types" in page
    held, shot, _ = ran("mmad", tmp_path / "set", "--mode", "reference", "--shots", "1")
    assert {row["references"] for row in held} == {1} and (shot["mode"], shot["shots"]) == ("reference", 1)


@pytest.fixture
def exact(inspector):
    """The inspector with its language model in float32: in bfloat16 the steps of the logits settle probabilities."""
    language = inspector.model.language_model
    given = next(language.parameters()).dtype
    language.float()
    yield inspector
    language.to(given)  # of bfloat16 float32 is a copy without loss


def test_letters_are_as_likely_as_the_model_itself_finds_them(exact):
    look = exact.look(surface(1, spot=True))
    question = choice_question("What kind of defect is it?", KINDS)
    found = letter_probabilities(exact, look, question, KINDS)
    ids, tokens = exact.prompt(look, question, ())
    fields = {name: value for name, value in vars(tokens).items() if value is not None}
    losses = []
    for letter, _ in KINDS:  # each letter as the answer, its loss taken by the language model's own labels
        (token,) = exact.processor.tokenizer(letter, add_special_tokens=False).input_ids
        whole = torch.cat([ids, torch.tensor([[token]])], dim=1)
        labels = torch.full_like(whole, -100)
        labels[0, -1] = token
        with torch.inference_mode():
            losses.append(float(exact.model(whole, labels=labels, **fields).loss))
    wanted = torch.softmax(-torch.tensor(losses), dim=0).tolist()
    assert list(found.values()) == pytest.approx(wanted, abs=1e-3)
    assert max(found, key=found.get) == KINDS[int(np.argmax(wanted))][0]


def test_vane_asks_about_the_most_suspicious_frame_of_a_clip(ran, tmp_path):
    for number in range(3):
        save(tmp_path / "set" / "clip1" / f"{number}.png", surface(0, spot=number == 1))
    row = {"video": "clip1", "question": "What is odd? (A) A spot (B) A jump (C) A hat (D) Nothing", "answer": "(A)"}
    (tmp_path / "set" / "qa.json").write_text(json.dumps([row]))
    rows, result, page = ran("vane", tmp_path / "set")
    (turn,) = rows[0]["turns"]
    assert set(turn["letters"]) == set("ABCD") and rows[0]["label"] is None and result["rows"] == []
    assert result["choices"]["types"]["question"]["n"] == 1 and "by letter likelihood" in page


def test_umad_holds_a_frame_against_the_same_place_before(ran, tmp_path):
    place = tmp_path / "set" / "hall" / "s1"
    for number in range(3):
        mask = np.zeros((96, 96), np.uint8)
        mask[48:62, 30:44] = 255 * (number > 0)
        save(place / "G1" / "rgb" / f"{number}.png", surface(20 + number))
        save(place / "Q1" / "rgb" / f"{number}.png", surface(30 + number, spot=number > 0))
        save(place / "Q1" / "mask" / f"{number}.png", mask)
    rows, result, _ = ran("umad", tmp_path / "set", "--mode", "reference", "--no-ask")
    assert {row["references"] for row in rows} == {1} and [row["label"] for row in rows] == [0, 1, 1]
    (only,) = result["rows"]
    assert (only["dataset"], only["category"], only["n_normal"], only["n_anomalous"]) == ("umad", "hall", 1, 2)
    assert only["image_auroc"] == 1 and only["pixel_auroc"] > 0.8 and only["aupro"] is not None


def test_clips_are_scored_frame_by_frame(ran, tmp_path):
    for name, spots in (("fight/a", (2, 3)), ("nofight/b", ())):
        for number in range(5):
            save(tmp_path / "set" / name / f"{number}.png", surface(number, spot=number in spots))
    np.save(tmp_path / "set" / "fight" / "a.npy", np.array([0, 0, 1, 1, 0]))
    rows, result, page = ran("video", tmp_path / "set")
    assert [len(row["frame_scores"]) for row in rows] == [5, 5] and rows[0]["frame_labels"] == [0, 0, 1, 1, 0]
    alone = roc_auc_score(rows[0]["frame_labels"], rows[0]["frame_scores"])
    assert alone == 1  # within the clip; below its frames stand beside those of the other one
    (shown,) = result["rows"]  # both folders together: one alone has one label
    assert shown["n_normal"] == shown["n_anomalous"] == 1 and shown["image_auroc"] is not None
    assert shown["frame_auroc"] > 0.8 and 0 <= shown["when_iou"] <= 1 and shown["when_hit"] in (0, 1)
    assert "(published)" in page
