"""The benchmarks: their layouts, runs that survive a kill, figures of words, the judge, and the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from assistant import command
from assistant.errors import LookTwiceError, RecordError
from data.clips import read_clips, read_umad, spans_of
from data.exam_sets import write_visa_dr
from data.exams import read_mmad, read_own, read_vane, read_visa_dr
from eval import compare, exams, judge, run, score
from eval.choices import choice_question, parsed_letter
from eval.frames import frames_of, planned
from eval.modes import batch_looks
from eval.tasks import Task, samples_of, with_references
from eval.text_metrics import cosines, embedder, rouge_l

ROOT = Path(__file__).parents[1]
OPTIONS = (("A", "Yes."), ("B", "No."), ("C", "A crack"), ("D", "A crack in glass"))


def picture(file, value=120, side=40, mode="RGB"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), value, np.uint8)).convert(mode).save(file)


def said(function, arguments):
    with pytest.raises(SystemExit) as stopped:
        command.run(function, [str(argument) for argument in arguments])
    return stopped.value.code


CHILD = """
import sys, time
sys.path.insert(0, "tests")
from test_eval import Pretender
from assistant import command
from eval import run

class Slow(Pretender):
    def look(self, image):
        time.sleep(0.05)
        return super().look(image)

run.load = lambda profile: Slow()
command.run(run.run, sys.argv[1:])
"""


def test_a_run_goes_on_after_a_kill_and_ends_as_if_never_stopped(tmp_path):
    for number in range(30):
        picture(tmp_path / "set" / ("good" if number % 2 else "hole") / f"{number}.png", 150 if number % 2 else 30)
    arguments = ["folder", "--data", str(tmp_path / "set"), "--out"]
    start = [sys.executable, "-c", CHILD, *arguments]
    child = subprocess.Popen([*start, str(tmp_path / "run")], cwd=ROOT, stderr=subprocess.DEVNULL)
    file = tmp_path / "run" / "predictions.jsonl"
    while not file.is_file() or file.read_text().count("\n") < 3:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = file.read_text()
    assert 3 <= before.count("\n") < 30
    for out in ("run", "whole"):
        subprocess.run([*start, str(tmp_path / out)], cwd=ROOT, check=True, capture_output=True)
    rows = [
        [json.loads(line) for line in (tmp_path / out / "predictions.jsonl").read_text().splitlines()]
        for out in ("run", "whole")
    ]
    assert file.read_text().startswith(before[: before.rfind("\n") + 1])
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
    assert len(list((tmp_path / "run" / "maps").glob("*.npz"))) == len(rows[0]) == 30
    wrong = subprocess.run([*start, str(tmp_path / "run"), "--no-ask"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and "with ask True, not False" in wrong.stderr


def test_references_are_normals_of_the_product_and_are_not_evaluated(tmp_path):
    for part, folder, count in (("train", "good", 4), ("test", "good", 2), ("test", "hole", 2)):
        for number in range(count):
            picture(tmp_path / "mvtec" / "nut" / part / folder / f"{number}.png")
    for number in range(2):
        picture(tmp_path / "mvtec" / "nut" / "ground_truth" / "hole" / f"{number}_mask.png", 255, mode="L")
    samples = samples_of(Task.mvtec, tmp_path / "mvtec")
    assert len(samples) == 4  # the training part is not evaluated, although nothing is ever trained on the set
    held = with_references(Task.mvtec, tmp_path / "mvtec", samples, 2, seed=0)
    assert len(held) == 4 and {len(sample.references) for sample in held} == {2}
    assert {file.parent.parent.name for sample in held for file in sample.references} == {"train"}
    assert held == with_references(Task.mvtec, tmp_path / "mvtec", samples, 2, seed=0)
    for number in range(3):
        picture(tmp_path / "plain" / "good" / f"{number}.png")
    picture(tmp_path / "plain" / "bad" / "0.png")
    plain = samples_of(Task.folder, tmp_path / "plain")
    held = with_references(Task.folder, tmp_path / "plain", plain, 1, seed=0)
    assert len(held) == 3 and not {s.record.image for s in held} & set(held[0].references)


def test_in_batch_mode_the_odd_picture_of_a_product_scores_highest(inspector, tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for number in range(4):
        pixels = rng.normal(120, 6, (128, 128, 3)).clip(0, 255).astype(np.uint8)
        if number == 2:
            pixels[40:70, 50:90] = 10
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    looks = list(batch_looks(inspector, files))
    assert [look.name for look in looks] == [file.name for file in files]
    scores = [look.score for look in looks]
    assert all(0 <= score <= 1 for score in scores) and max(scores) == scores[2]
    assert looks[2].regions and looks[2].tokens  # the fused map's places, and it can be asked about


def test_visa_dr_of_drawn_defects_is_read_with_its_reference_field(tmp_path):
    write_visa_dr(tmp_path, 2, 96, seed=0)
    records, asked = read_visa_dr(tmp_path)
    assert len(records) == 6 and sum(record.label for record in records) == 3
    assert {record.category for record in records} == {"gear", "nut", "plate"}
    assert {exam.field for exam in asked} == {"answers"} and [turn.kind for turn in asked[0].turns][:2] == [
        "low", "complex",
    ]  # fmt: skip
    rows = json.loads((tmp_path / "visa_dr.json").read_text())
    for row in rows:
        row["gibberish"] = row.pop("answers")
    (tmp_path / "visa_dr.json").write_text(json.dumps(rows))
    with pytest.raises(RecordError, match="no reference answers"):
        read_visa_dr(tmp_path)
    with pytest.raises(RecordError, match=r"no test_data\.json"):
        read_visa_dr(tmp_path / "gear")


def test_mmad_and_vane_questions_are_read(tmp_path):
    picture(tmp_path / "DS-MVTec" / "bottle" / "image" / "1.png")
    picture(tmp_path / "DS-MVTec" / "bottle" / "good.png")
    turn = {"Question": "Is there a defect?", "Options": {"A": "Yes.", "B": "No."}, "Answer": "A",
            "type": "Anomaly Detection"}  # fmt: skip
    row = {"conversation": [turn], "similar_templates": ["DS-MVTec/bottle/good.png"]}
    (tmp_path / "mmad.json").write_text(json.dumps({"DS-MVTec/bottle/image/1.png": row}))
    (exam,) = read_mmad(tmp_path)
    assert (exam.dataset, exam.category, exam.label, len(exam.references)) == ("DS-MVTec", "bottle", 1, 1)
    row["conversation"][0]["Answer"] = "E"
    (tmp_path / "mmad.json").write_text(json.dumps({"DS-MVTec/bottle/image/1.png": row}))
    with pytest.raises(RecordError, match="none of the options"):
        list(read_mmad(tmp_path))
    for number in range(3):
        picture(tmp_path / "vane" / "clip1" / f"{number}.png")
    text = "What is odd? (A) A pass (B) A jump (C) A hat (D) Nothing"
    (tmp_path / "vane" / "qa.json").write_text(json.dumps([{"video": "clip1", "question": text, "answer": "(B)"}]))
    (exam,) = read_vane(tmp_path / "vane")
    assert exam.turns[0].question == "What is odd?" and dict(exam.turns[0].options)["B"] == "A jump"
    assert exam.turns[0].answer == "B" and len(exam.media.files) == 3


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"), ("B. No.", "B"), ("(C)", "C"), ("The answer is D", "D"), ("Answer: B", "B"), ("Yes, it is.", "A"),
        ("I see a crack in glass there", "D"), ("A crack runs through it", "C"), ("Nobody knows", None), ("", None),
    ],
)  # fmt: skip
def test_the_letter_an_answer_means(text, letter):
    options = OPTIONS if text != "I see a crack in glass there" else (OPTIONS[0], OPTIONS[1], OPTIONS[3])
    if text == "A crack runs through it":
        options = (("A", "Yes."), ("B", "No."), ("C", "crack runs"))
    assert parsed_letter(text, options) == letter
    assert choice_question("Well?", OPTIONS).splitlines()[1] == "A. Yes."


def test_choices_count_yes_and_no_alike():
    def turn(right, likely, parsed, kind="Anomaly Detection"):
        options = {"A": "Yes.", "B": "No."}
        return {"turns": [{"type": kind, "options": options, "reference": right, "likely": likely, "parsed": parsed}]}

    rows = [
        turn("A", "A", "A"),
        turn("A", "A", None),
        turn("A", "A", "A"),
        turn("B", "A", "B"),
        turn("B", "B", "B", "x"),
    ]
    found = exams.choices(rows)
    assert found["types"]["Anomaly Detection"]["likely"] == pytest.approx(0.5)  # 3 of 3 and 0 of 1
    assert found["types"]["Anomaly Detection"]["parsed"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["types"]["Anomaly Detection"]["unparsed"] == 0.25 and found["mean"]["likely"] == 0.75


def test_choices_are_a_mean_over_sets_and_over_the_types_of_the_table():
    def turn(dataset, kind, likely):
        options = {"A": "One", "B": "Two"}
        one = {"type": kind, "options": options, "reference": "A", "likely": likely, "parsed": likely}
        return {"dataset": dataset, "turns": [one]}

    rows = [turn("VisA", "Object Details", "A")] * 3 + [turn("GoodsAD", "Object Structure", "B")]
    found = exams.choices([*rows, turn("VisA", "Defect Analysis", "A")])
    assert found["types"]["Object Analysis"] == {"n": 4, "likely": 0.5, "parsed": 0.5, "unparsed": 0, "balanced": 0}
    assert found["mean"]["likely"] == 0.75


def test_detection_by_class_and_together():
    def row(category, label, verdict):
        return {"category": category, "label": label, "verdict": verdict}

    rows = [row("a", 1, "anomalous"), row("a", 0, "anomalous"), row("b", 1, "normal"), row("b", 0, "normal")]
    found = exams.detection(rows)
    assert found["macro"] == {"accuracy": 0.5, "precision": 0.25, "recall": 0.5, "f1": pytest.approx(1 / 3)}
    assert found["micro"]["precision"] == 0.5 and found["micro"]["recall"] == 0.5


def test_words_are_near_their_reference():
    assert rouge_l("the crack is long", "the crack is long") == 1
    assert rouge_l("a b c d", "a x c y") == pytest.approx(0.5)
    embed = embedder()
    near, far = cosines(
        ["A crack in the wall."] * 2, ["There is a crack in the wall.", "The bank opens at nine."], embed
    )
    assert near > 0.8 > 0.3 > far


def test_the_judge_is_asked_once_waits_for_a_busy_endpoint_and_stops_at_its_cap(tmp_path, monkeypatch):
    asked = []

    def endpoint(request):
        asked.append(json.loads(request.content))
        assert request.headers["authorization"] == "Bearer secret" and request.url.path == "/v1/chat/completions"
        if len(asked) == 1:
            return httpx.Response(429)
        reply = {"choices": [{"message": {"content": "Grade: 7"}}], "usage": {"total_tokens": 100}}
        return httpx.Response(200, json=reply)

    monkeypatch.setenv(judge.URL, "http://judge.test/v1")
    monkeypatch.setenv(judge.KEY, "secret")
    monkeypatch.setenv(judge.MODEL, "some-model")
    complete = judge.endpoint(httpx.Client(transport=httpx.MockTransport(endpoint)), wait=0)
    template = judge.PROMPT.read_text(encoding="utf-8")
    grade = judge.cached(complete, template, tmp_path / "judge.jsonl", "some-model", tokens=150)
    assert grade("Where?", "left {answer}", "left") == 7 and len(asked) == 2
    assert "left {answer}" in asked[1]["messages"][0]["content"]
    assert grade("Where?", "left {answer}", "left") == 7 and len(asked) == 2
    assert grade("Where?", "left", "right") == 7 and grade("Why?", "wear", "wear") is None  # 200 of 150 tokens
    again = judge.cached(complete, template, tmp_path / "judge.jsonl", "some-model", tokens=150)
    assert again("Where?", "left", "right") == 7 and len(asked) == 3
    monkeypatch.delenv(judge.URL)
    with pytest.raises(LookTwiceError, match="no endpoint"):
        judge.judge_named("endpoint", tmp_path, judge.PROMPT, 1)
    assert judge.judge_named("off", tmp_path, judge.PROMPT, 1) is None
    assert [judge.grade_in(text) for text in ("8/10", "Grade: 11", "fine", "grade is 3.5")] == [8, None, None, 3.5]


def test_clips_are_read_with_their_frame_labels(tmp_path):
    for name, count in (("fight/a", 6), ("nofight/b", 4)):
        for number in range(count):
            picture(tmp_path / "set" / name / f"{number}.png", number)
    np.save(tmp_path / "set" / "fight" / "a.npy", np.array([0, 0, 1, 1, 0, 1]))
    bad, good = read_clips(tmp_path / "set")
    assert bad.spans == ((2, 3), (5, 5)) and bad.label == 1 and bad.frame_labels([0, 2, 5]) == [0, 1, 1]
    assert good.label == 0 and good.frame_labels([0, 1]) == [0, 0]
    frames = list(frames_of(bad, 3))
    assert [number for number, _ in frames] == planned(6, 3) == [0, 2, 5] and frames[1][1][0, 0, 0] == 2
    (tmp_path / "set" / "annotations.txt").write_text("a Fighting 1 2 -1 -1\nb Normal -1 -1 -1 -1\n")
    assert [clip.spans for clip in read_clips(tmp_path / "set")] == [((1, 2),), ()]
    assert spans_of(np.array([1, 1, 0, 1])) == ((0, 1), (3, 3))
    with pytest.raises(RecordError, match="no clips"):
        list(read_clips(tmp_path / "set" / "fight" / "a"))


def test_umad_frames_get_the_reference_at_the_same_share(tmp_path):
    place = tmp_path / "hall" / "s1"
    for number in range(3):
        picture(place / "G1" / "rgb" / f"{number}.png")
        picture(place / "Q1" / "rgb" / f"{number}.png")
        picture(place / "Q1" / "mask" / f"{number}.png", 255 * (number == 1), mode="L")
    found = list(read_umad(tmp_path))
    assert [record.label for record, _ in found] == [0, 1, 0]
    assert [references[0].name for _, references in found] == ["0.png", "1.png", "2.png"]


def test_questions_of_a_set_are_written_read_and_scored(tmp_path):
    from data import build

    assert said(build.app, ["drawn", tmp_path / "set", "--count", 12, "--side", 96]) == 0
    assert said(build.app, ["questions", tmp_path / "q", "--manifest", tmp_path / "set", "--split", "fit"]) == 0
    asked = list(read_own(tmp_path / "q"))
    assert {exam.label for exam in asked} == {0, 1}
    bad = next(exam for exam in asked if exam.label)
    assert [turn.kind for turn in bad.turns] == ["verdict", "where", "kind", "size"]
    assert bad.record.read_mask().any()

    def row(label, defect, *answers):
        names = zip(("verdict", "where", "kind", "size"), answers, strict=False)
        turns = [{"type": k, "answer": text, "places": p, "reference": "small"} for k, (text, p) in names]
        return {"label": label, "defect": defect, "region_places": ["centre"], "turns": turns}

    rows = [
        row(1, "crack", ("Yes.", []), ("In the centre.", ["centre"]), ("A crack.", []), ("It is small.", [])),
        row(0, "good", ("No.", []), ("Top left.", ["top left"])),
    ]
    found = exams.own(rows, [frozenset({"centre"}), frozenset()])
    assert found["verdict_accuracy"] == found["place_accuracy"] == found["type_accuracy"] == 1
    assert found["size_accuracy"] == found["hallucination_rate"] == 1 and found["agreement"] == 0.5


def scored_run(folder, shift=0.0, count=40):
    rng = np.random.default_rng(1)
    (folder / "maps").mkdir(parents=True)
    lines = []
    for index in range(count):
        label = index % 2
        mask = np.zeros((120, 120), bool)
        mask[40:50, 40:60] = bool(label)
        heatmap = (np.abs(rng.normal(0, 0.1, (120, 120))) + (0.3 + shift) * mask).astype(np.float16)
        np.savez(
            folder / "maps" / f"{index:06d}.npz", heatmap=heatmap, mask=mask,
            thumbnail=np.full((120, 120, 3), 90, np.uint8),
        )  # fmt: skip
        value = float(np.clip(rng.normal(0.4 + (0.2 + shift) * label, 0.15), 0, 1))
        lines.append(
            {
                "dataset": "mvtec", "category": "<b>nut</b>", "image": f"{index}.png", "split": "test", "label": label,
                "size": [120, 120], "defect": "crack" if label else "good", "score": value, "threshold": 0.5,
                "verdict": "anomalous" if value > 0.5 else "normal", "confidence": 0.8, "verdict_probability": value,
                "place": "centre", "word_places": ["centre"], "region_places": ["centre"], "regions": [], "kinds": [],
                "lit": 0.0, "top": 0.4, "explanation": "Yes. <script>alert(1)</script>", "seconds": 0.1,
            }
        )  # fmt: skip
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "run.json").write_text(json.dumps({"task": "mvtec", "mode": "zero_shot", "shots": 0}))


def test_metrics_and_a_report_that_loads_nothing_from_elsewhere(tmp_path, capsys):
    scored_run(tmp_path / "run")
    assert said(score.main, [tmp_path / "run"]) == 0
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (only,) = result["rows"]
    assert (result["task"], result["mode"], result["shots"]) == ("mvtec", "zero_shot", 0)
    wanted = (
        "n_normal n_anomalous image_auroc image_ap f1_max accuracy balanced_accuracy precision recall f1 pixel_auroc "
        "aupro aupimo place_accuracy hallucination_rate faithfulness ece"
    )
    for name in wanted.split():
        assert only[name] is not None, name
    assert only["frame_auroc"] is None and only["f1_max"] == only["image_f1_max"]
    assert {row["system"] for row in result["published"]} >= {"WinCLIP", "AnomalyCLIP"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<div class="key"><div><b>' in page and page.index("<svg") < page.index("<table")
    assert page.count("<svg") == 4 and "(published)" in page and "data:image/" in page
    assert "<script" not in page and "<b>nut" not in page and 'src="http' not in page and "@import" not in page
    assert "(published)" in capsys.readouterr().out


def test_comparing_runs_tells_a_difference_from_luck(tmp_path, capsys):
    scored_run(tmp_path / "a")
    scored_run(tmp_path / "b", shift=0.3)
    scored_run(tmp_path / "c", count=6)
    assert said(compare.main, [tmp_path / "a", tmp_path / "b", "--draws", 200]) == 0
    shown = capsys.readouterr().out
    assert "differs" in shown and "Wilcoxon" in shown
    rows = [json.loads(line) for line in (tmp_path / "a" / "predictions.jsonl").read_text().splitlines()]
    (same, *_) = compare.intervals(rows, rows, [range(len(rows))], 100, 0)
    assert same["difference"] == same["low"] == same["high"] == 0
    assert said(compare.main, [tmp_path / "a", tmp_path / "c", "--draws", 100]) == 0
    assert "6 samples in both" in capsys.readouterr().out
    assert compare.paired_test([0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.7, 0.9, 1, 1, 1]) < 0.05
    assert compare.paired_test([1, 1], [1, 1]) is None


def test_visa_dr_runs_end_to_end(tmp_path, inspector, short_answers, monkeypatch):
    from eval import text_metrics

    write_visa_dr(tmp_path / "set", 2, 96, seed=0)
    monkeypatch.setattr(run, "load", lambda profile: inspector)
    out = tmp_path / "run"
    assert said(run.run, ["visa_dr", "--data", tmp_path / "set", "--out", out, "--limit", 4, "--seed", 1]) == 0
    assert said(text_metrics.main, [out]) == 0
    assert said(score.main, [out]) == 0
    result = json.loads((out / "metrics.json").read_text())
    assert 0 <= result["detection"]["macro"]["accuracy"] <= 1 and result["answer_fields"] == ["answers"]
    assert 0 <= result["reasoning"]["low"]["rouge_l"] <= 1 and result["reasoning"]["complex"]["sbert"] is not None
    assert result["reasoning"]["low"]["judge"] is None and len(result["published"]) == 6
