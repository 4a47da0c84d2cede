"""Figures against hand values, and a run that goes on where it stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from assistant import command, load
from assistant.errors import RecordError
from assistant.prompts import DEFAULT_QUESTION
from assistant.types import Finding, Look, Region
from data import build
from data.photos import photograph
from data.synth import draw_defect
from eval import card, kinds, metrics, report, run, score, sheet
from eval.asking import answer, answers
from eval.predictions import complete_lines, read_predictions
from eval.run import Task, predict, records_of
from eval.score import score_run
from eval.tables import COLUMNS, Shown
from finetune import calibrate, look


def row(label=1, score=0.5, verdict="anomalous", places=(), regions=(), lit=0.0, words="Yes."):
    return {
        "dataset": "d", "category": "c", "label": label, "score": score, "verdict": verdict, "lit": lit,
        "place": regions[0] if regions else None, "word_places": list(places), "region_places": list(regions),
        "explanation": words,
    }  # fmt: skip


def test_the_likeliest_kind_of_a_look_needs_no_words():
    seen = [
        row(1, words="") | {"defect": "blowhole", "kinds": [["hole", 0.7], ["crack", 0.2]]},
        row(1, words="") | {"defect": "crack", "kinds": [["hole", 0.7], ["crack", 0.2]]},
        row(1, words="") | {"defect": "crack", "kinds": []},
        row(1, words="") | {"defect": "casting_defect", "kinds": [["hole", 0.7]]},
        row(0, words="") | {"defect": "good", "kinds": [["hole", 0.7]]},
    ]
    assert kinds.likeliest_kind_accuracy(seen) == pytest.approx(1 / 3)
    assert kinds.confusion(kinds.likeliest_kinds(seen)) == {"crack": {"hole": 1, kinds.NO_KIND: 1}, "hole": {"hole": 1}}
    assert kinds.likeliest_kind_accuracy(seen[3:]) is None
    assert kinds.likeliest_kind_accuracy([row(1) | {"defect": "crack"}]) is None  # a run of an older version


def test_image_auroc_by_hand_and_with_one_class():
    rows = [row(0, 0.1), row(0, 0.4), row(1, 0.35), row(1, 0.8)]
    assert metrics.image_auroc(rows) == 0.75  # 3 of 4 pairs in order
    assert metrics.image_auroc([row(0, 0.4), row(1, 0.4)]) == 0.5
    assert metrics.image_auroc(rows[:2]) is None


def test_balanced_accuracy_counts_unsure_as_wrong():
    rows = [row(0, verdict="normal"), row(0, verdict="unsure"), row(1), row(1), row(1, verdict="normal"), row(1)]
    assert metrics.balanced_accuracy(rows) == pytest.approx((0.5 + 0.75) / 2)
    assert metrics.balanced_accuracy(rows[:2]) is None


def test_yes_or_no_is_of_the_words_or_of_the_likelier_side():
    words = [row(0, verdict="unsure", words="No."), row(1, verdict="unsure", words="Yes."), row(1, words="Perhaps.")]
    assert metrics.yes_no(words) == pytest.approx((1 + 0.5) / 2) and metrics.balanced_accuracy(words) == 0.25
    silent = [row(0, words="") | {"verdict_probability": 0.49}, row(1, words="") | {"verdict_probability": 0.5}]
    assert metrics.yes_no(silent) == 1 and metrics.yes_no(silent[:1]) is None
    assert metrics.yes_no([*silent, row(1, words="")]) is None
    assert metrics.yes_no([*silent, row(0, words="Yes.") | {"verdict_probability": 0.1}]) == 0.75  # words come first


def test_all_samples_together_and_the_mean_of_sets_are_two_figures(tmp_path, capsys):
    def stated(dataset, label, probability, defect="good", likeliest=()):
        return row(label, probability, "anomalous" if probability > 0.5 else "normal", words="") | {
            "dataset": dataset, "verdict_probability": probability, "defect": defect, "image": str(probability),
            "kinds": list(likeliest), "split": "val",
        }  # fmt: skip

    rows = [stated("a", 0, 0.1), stated("a", 1, 0.9, "crack", [["crack", 0.8]]), stated("b", 0, 0.6)]
    rows += [stated("b", 1, 0.7, "hole"), stated("b", 1, 0.3, "x|[y", [["hole", 0.9]]), stated("b", 0, 0.2)]
    write_run(tmp_path / "run", rows, [])
    result = score_run(tmp_path / "run")
    per_set = [metrics.ece(rows[:2]), metrics.ece(rows[2:])]
    assert result["mean"]["ece"] == pytest.approx(np.mean(per_set)) and result["all"]["ece"] == metrics.ece(rows)
    assert result["mean"]["ece"] != pytest.approx(result["all"]["ece"], abs=1e-3)
    assert result["mean"]["yes_no"] == 0.75 and result["all"]["yes_no"] == pytest.approx(2 / 3)
    assert "image_auroc" not in result["all"]
    assert result["look_kinds"] == {"crack": {"crack": 1}, "hole": {kinds.NO_KIND: 1}}
    for function in (score.main, card.main):
        with pytest.raises(SystemExit) as stopped:
            command.run(function, [str(tmp_path / "run")])
        assert stopped.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "all samples together" in shown and "yes or no" in shown and "hole" in shown
    page = (tmp_path / "run" / "report.html").read_text()
    assert "all samples together" in page and "<td class=right>1</td>" in page
    assert "| crack | **1** |" in shown
    (tmp_path / "run" / "metrics.json").write_text('{"rows": []}')
    with pytest.raises(SystemExit) as stopped:
        command.run(card.main, [str(tmp_path / "run")])
    assert stopped.value.code == 2 and "no figures of this version" in capsys.readouterr().err


def test_the_true_place_is_outlined_and_not_covered():
    mask = np.zeros((20, 20), bool)
    mask[8:12, 8:12] = True
    plain = np.full((20, 20, 3), 90, np.uint8)
    drawn = report.outlined(plain, mask)
    changed = (drawn != plain).any(axis=2)
    assert changed.any() and not changed[mask].any() and not changed[:5].any() and (plain == 90).all()
    assert report.outlined(plain, None) is plain is report.outlined(plain, np.zeros_like(mask))


def test_cells_of_markdown_hold_no_markup_of_the_files():
    shown = Shown("t", ["set", "a"], [("", ["x|[y](z)", "1"]), ("mean", ["m", ""]), ("published", ["p_q", "2"])])
    assert card.markdown(shown).splitlines() == [
        "| set | a |", "| --- | --- |", r"| x\|\[y](z) | 1 |", "| **m** |  |", r"| *p\_q* | *2* |",
    ]  # fmt: skip


def test_verdict_figures_by_hand_and_against_scikit_learn():
    rows = [row(0, verdict="normal"), row(0, verdict="unsure"), row(0), row(1), row(1), row(1, verdict="unsure")]
    assert metrics.accuracy(rows) == pytest.approx(3 / 6)
    assert metrics.precision(rows) == pytest.approx(2 / 3)  # "unsure" on a normal picture calls nothing
    assert metrics.recall(rows) == pytest.approx(2 / 3)
    assert metrics.f1(rows) == pytest.approx(2 / 3)
    truth, called = [r["label"] for r in rows], [int(r["verdict"] == "anomalous") for r in rows]
    assert metrics.precision(rows) == pytest.approx(precision_score(truth, called))
    assert metrics.recall(rows) == pytest.approx(recall_score(truth, called))
    assert metrics.f1(rows) == pytest.approx(f1_score(truth, called))


def test_verdict_figures_are_none_where_a_group_cannot_give_them():
    silent = [row(0, verdict="normal"), row(1, verdict="normal")]
    assert metrics.precision(silent) is None and metrics.recall(silent) == 0 and metrics.f1(silent) == 0
    bad_only = [row(1), row(1, verdict="normal")]
    assert metrics.recall(bad_only) == 0.5
    assert metrics.accuracy(bad_only) is metrics.precision(bad_only) is metrics.f1(bad_only) is None
    assert metrics.recall([row(0)]) is None


def test_image_f1_max_is_the_best_of_all_thresholds():
    rows = [row(0, 0.1), row(0, 0.6), row(1, 0.5), row(1, 0.8), row(1, 0.9)]
    assert metrics.image_f1_max(rows) == pytest.approx(6 / 7)  # from 0.5 up: 3 found, 1 false
    truth, scores = [r["label"] for r in rows], np.array([r["score"] for r in rows])
    assert metrics.image_f1_max(rows) == pytest.approx(max(f1_score(truth, scores >= at) for at in scores))
    assert metrics.image_f1_max(rows[:2]) is None


def test_ece_by_hand():
    def stated(label, probability):
        return row(label) | {"verdict_probability": probability}

    rows = [stated(1, 0.95), stated(1, 1.0), stated(0, 0.91), stated(0, 0.12), stated(1, 0.18)]
    last, second = abs((0.95 + 1.0 + 0.91) / 3 - 2 / 3), abs(0.15 - 0.5)
    assert metrics.ece(rows) == pytest.approx(3 / 5 * last + 2 / 5 * second)
    assert metrics.ece([stated(1, 1.0), stated(0, 0.0)]) == 0
    assert metrics.ece([*rows, row(1)]) is None and metrics.ece([]) is None


def test_normal_top_is_none_for_runs_that_did_not_keep_it():
    rows = [row(0) | {"top": 0.2}, row(0) | {"top": 0.4}, row(1) | {"top": 0.9}]
    assert metrics.normal_top(rows) == pytest.approx(0.3)
    assert metrics.normal_top([*rows, row(0)]) is None and metrics.normal_top(rows[2:]) is None
    heatmap = np.linspace(0, 1, 200).reshape(10, 20)
    assert run.top_mean(heatmap) == pytest.approx((1 + 198 / 199) / 2)
    assert run.top_mean(np.full((2, 2), 0.25)) == 0.25  # at least one pixel


def said(defect, words, label=1):
    return row(label, words=words) | {"defect": defect}


def test_kinds_count_on_known_anomalies_whose_answer_says_yes():
    rows = [
        said("scratches", "Yes. There is a scratch in the centre."),
        said("open,short,spur", "Yes. I see a circuit fault at the centre left."),
        said("open,pinhole", "Yes. There is a hole in the top left."),
        said("crack", "Yes. It looks like a scratch in the centre."),
        said("crack", "Yes. There is a defect in the centre."),
        said("crack", "No. I see no crack."),  # no defect seen: nothing to name
        said("casting_defect", "Yes. There is a crack in the centre."),  # the set does not say which kind
        said("good", "Yes. There is a crack in the centre.", label=0),
        said("crack", ""),
    ]
    assert kinds.kind_accuracy(rows) == pytest.approx(2 / 5)
    assert kinds.wrong_kind_rate(rows) == pytest.approx(2 / 5) and kinds.wrong_kind_rate(rows[5:]) is None
    table = kinds.confusion(kinds.named_kinds(rows))
    assert table == {
        "circuit fault": {"circuit fault": 1, "hole": 1},
        "crack": {"scratch": 1, kinds.NO_KIND: 1},
        "scratch": {"scratch": 1},
    }
    assert list(table) == sorted(table) and list(table["crack"])[-1] == kinds.NO_KIND
    assert kinds.kind_accuracy(rows[5:]) is None and kinds.confusion(kinds.named_kinds(rows[5:])) == {}


def test_pixel_auroc_pools_all_pixels_and_skips_unknown_masks():
    rng = np.random.default_rng(0)
    heatmap, mask = rng.random((8, 8)), rng.random((8, 8)) > 0.7
    other = rng.random((4, 6))
    truths = [(heatmap, mask), (other, np.zeros((4, 6), bool)), (np.ones((3, 3)), None)]
    values = np.concatenate([heatmap.ravel(), other.ravel()]).astype(np.float32)
    wanted = roc_auc_score(np.concatenate([mask.ravel(), np.zeros(24, bool)]), values)
    assert metrics.pixel_auroc(truths) == pytest.approx(wanted)
    assert metrics.pixel_auroc(truths[1:]) is metrics.pixel_ap(truths[1:]) is None
    coarse = [(np.round(heatmap, 1), mask), (np.round(other, 1), np.zeros((4, 6), bool))]  # many equal values
    values = np.concatenate([part.ravel() for part, _ in coarse]).astype(np.float32)
    masks = np.concatenate([part.ravel() for _, part in coarse])
    assert metrics.pixel_auroc(coarse) == pytest.approx(roc_auc_score(masks, values))
    assert metrics.pixel_ap(coarse) == pytest.approx(average_precision_score(masks, values))
    assert metrics.pixel_ap([(np.ones((2, 2)), np.ones((2, 2), bool))]) is None  # no normal pixel


def test_places_are_held_against_the_mask():
    mask = np.zeros((9, 9), bool)
    mask[:3, :3] = True
    truth = (np.zeros((9, 9)), mask)
    rows = [row(regions=["top left"], places=["top left"]), row(regions=["centre"], places=["top left"]), row()]
    assert metrics.map_place_accuracy(rows, [truth] * 3) == 0.5
    assert metrics.map_place_recall(rows, [truth] * 3) == pytest.approx(1 / 3)  # the third is dark
    assert metrics.word_place_accuracy(rows, [truth] * 3) == 1.0
    assert metrics.word_place_recall(rows, [truth] * 3) == pytest.approx(2 / 3)
    assert metrics.word_place_recall(rows[2:], [truth]) is None  # it was not asked


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


def write_run(folder, rows, arrays):
    """A run's files as `eval.run` leaves them."""
    (folder / "maps").mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(values) + "\n" for values in rows))
    for index, kept in enumerate(arrays):
        np.savez(folder / "maps" / f"{index:06d}.npz", **kept)


class Pretender:
    """An inspector that finds the dark square of a picture and has something to say about it."""

    runtime = None

    def look(self, image):
        pixels = np.asarray(Image.open(image))
        heatmap = (pixels.mean(axis=2) < 60).astype(np.float32)
        region = Region((100, 40, 160, 80), "centre", 0.02, 1.0, 1.0, "darker", "compact")
        look = Look(
            pixels.shape[1::-1], float(heatmap.max()), heatmap, (region,) if heatmap.any() else (), pixels, tokens={}
        )
        object.__setattr__(look, "kinds", (("hole", np.float32(0.75)), ("crack", np.float32(0.25))))
        return look

    def ask(self, look, question, history=()):
        yield from ("Yes. There is ", "a hole in the centre.") if look.regions else ("No.",)

    def finding(self, look, words):
        verdict = "anomalous" if look.regions else "normal"
        return Finding(verdict, 0.9, 0.1 + 0.8 * look.score, look.score, 0.5, "", look.regions, words)


def test_a_run_keeps_what_score_and_sheet_need_and_goes_on(tmp_path, monkeypatch, capsys):
    for name in ("good/1.png", "hole/2.png", "good/3.png"):
        pixels = np.full((120, 256, 3), 150, np.uint8)
        pixels[40:80, 100:160] -= 120 * ("hole" in name)
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / name)
    monkeypatch.setattr(run, "load", lambda profile: Pretender())
    arguments = ["folder", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    file = tmp_path / "run" / "predictions.jsonl"
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            command.run(run.run, arguments)
        assert stopped.value.code == 0
        rows = read_predictions(tmp_path / "run")
        assert [values["image"] for values in rows] == ["1.png", "3.png", "2.png"]
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))  # as if stopped before the last one
    assert rows[2]["kinds"] == [["hole", 0.75], ["crack", 0.25]] and rows[2]["size"] == [256, 120]
    assert rows[2]["regions"][0]["box"] == [100, 40, 160, 80] and (rows[0]["top"], rows[2]["top"]) == (0, 1)
    with np.load(tmp_path / "run" / "maps" / "000002.npz") as arrays:
        assert arrays["heatmap"].shape == (90, 192) and arrays["heatmap"].dtype == np.float16
        assert arrays["thumbnail"].shape == (90, 192, 3) and arrays["thumbnail"].dtype == np.uint8
        assert "mask" not in arrays
    with pytest.raises(SystemExit) as stopped:
        command.run(sheet.main, [str(tmp_path / "run"), str(tmp_path / "sheet.png")])
    assert stopped.value.code == 0 and (tmp_path / "sheet.png").is_file()


def test_words_made_side_by_side_are_those_made_one_by_one(monkeypatch):
    monkeypatch.setattr("assistant.packaged.native_bfloat16", lambda: False)  # its rounding would settle near ties
    inspector = load("embedded")
    monkeypatch.setattr("eval.asking.MAX_WORDS", 24)
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 24)
    brick = photograph("brick.png")[:256, :256]
    bad = draw_defect(brick, np.random.default_rng(0), "hole", strength=1.0).image
    looks = [
        inspector.look(brick),
        inspector.look(bad),
        inspector.look(bad, [brick]),  # its prompt is longer and has comparison tokens
        inspector.look(np.full((200, 300, 3), 128, np.uint8)),
    ]
    together = answers(inspector, looks, DEFAULT_QUESTION)
    firsts = [inspector.first_words.pop(seen) for seen in looks]
    assert together == [answer(inspector, seen, DEFAULT_QUESTION) for seen in looks]
    assert len(set(together)) > 1 and all(together)
    assert looks[3].doubt and "I cannot be sure" in together[3] and not any(seen.doubt for seen in looks[:3])
    for seen, first in zip(looks, firsts, strict=True):
        inspector.yes_probability(seen)
        assert inspector.first_words[seen] == pytest.approx(first, abs=1e-3)
    assert answers(inspector, looks[:1], "Where is it?") == [answer(inspector, looks[0], "Where is it?")]
    monkeypatch.setattr("eval.asking.MAX_WORDS", 72)
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 72)
    monkeypatch.setattr("assistant.prompts.LIKELY", 1.1)  # so that no kind is likely: no answer names a cause
    unlikely = answers(inspector, looks[1:2], DEFAULT_QUESTION)
    assert unlikely == [answer(inspector, looks[1], DEFAULT_QUESTION)]
    assert unlikely[0].endswith("kind of defect it is stays unclear.")


def test_a_run_is_scored_from_its_files_alone(tmp_path, inspector):
    brick = photograph("brick.png")[:256, :256]
    bad = draw_defect(brick, np.random.default_rng(0), "hole", strength=1.0)
    for name, pixels in (("good", brick), ("hole", bad.image)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / name / "1.png")
    rows, arrays = zip(
        *(predict(inspector, record, ask=False) for record in records_of(Task.folder, tmp_path / "set", "")),
        strict=True,
    )
    for values, kept in zip(rows, arrays, strict=True):
        heatmap = kept["heatmap"]
        assert max(heatmap.shape) <= 192 and 0 <= heatmap.min() <= heatmap.max() <= 1
        assert kept["thumbnail"].shape == (*heatmap.shape, 3) and kept["thumbnail"].dtype == np.uint8
        assert values["size"] == [256, 256] and heatmap.mean() <= values["top"] <= 1
        assert [region["place"] for region in values["regions"]] == values["region_places"]
    write_run(tmp_path / "run", rows, arrays)
    result = score_run(tmp_path / "run")
    (only,) = result["rows"]
    assert (only["n_normal"], only["n_anomalous"]) == (1, 1)
    assert set(COLUMNS) <= set(only) and only["image_auroc"] in (0.0, 0.5, 1.0)


def test_scores_of_an_old_run_and_the_printed_kinds(tmp_path, capsys):
    rows = [
        said("crack", "Yes. There is a scratch in the centre."),
        said("crack", "Yes. There is a crack in the centre."),
        said("good", "No.", label=0) | {"verdict": "normal", "score": 0.1},
    ]
    mask = np.zeros((6, 6), bool)
    mask[2:4, 2:4] = True
    write_run(
        tmp_path / "run",
        rows,
        [{"heatmap": m.astype(np.float16), "mask": m} for m in (mask, mask, np.zeros_like(mask))],
    )
    with pytest.raises(SystemExit) as stopped:
        command.run(score.main, [str(tmp_path / "run")])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0 and "true kind" in shown and "kind accuracy" in " ".join(shown.split())
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert result["kinds"] == {"crack": {"crack": 1, "scratch": 1}}
    assert result["mean"]["kind_accuracy"] == 0.5 and result["mean"]["aupro"] == 1 == result["mean"]["pixel_ap"]
    assert result["mean"]["normal_top"] is None and result["mean"]["ece"] is None


def test_only_the_sets_that_are_asked_for(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    row_ = {"image": "a.png", "category": "c", "label": 0, "defect": "good", "fold": "val"}
    lines = [json.dumps(row_ | {"dataset": name}) for name in ("wood", "steel", "wood")]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    assert len(records_of(Task.manifest, tmp_path, "val")) == 3
    assert [r.dataset for r in records_of(Task.manifest, tmp_path, "val", "wood")] == ["wood", "wood"]
    assert len(records_of(Task.manifest, tmp_path, "val", " steel, wood,")) == 3
    with pytest.raises(RecordError, match="'brick'.*steel, wood"):
        records_of(Task.manifest, tmp_path, "val", "wood,brick")


def test_a_run_does_not_go_on_with_other_pictures(tmp_path, capsys):
    for name in ("good/1.png", "bad/2.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name)
    write_run(tmp_path / "run", [{"image": "1.png"}], [])  # folders are read in order: bad/2.png comes first
    with pytest.raises(SystemExit) as stopped:
        command.run(run.run, ["folder", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2 and "other pictures" in capsys.readouterr().err


def test_commands_end_with_a_sentence_and_code_2(tmp_path, capsys):
    for function, arguments in (
        (run.run, ["manifest", "--data", str(tmp_path), "--out", str(tmp_path / "o")]),
        (score.main, [str(tmp_path)]),
        (sheet.main, [str(tmp_path), str(tmp_path / "sheet.png")]),
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
