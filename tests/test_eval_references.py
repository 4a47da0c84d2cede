"""What references give: the protocol on a tiny set, resumed, and the training-free maps against plain numpy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assistant import command
from assistant.errors import RecordError
from assistant.familiar import SCENE
from assistant.own_residual import directions
from data.readers import read_manifest
from eval import compared, references
from eval.held import Judge
from eval.plain_maps import nearest_map, subspace_map
from eval.products import draw, products_of, training_parts
from eval.references import numbers, rows_of
from finetune import calibrate, new_products
from finetune import references as fitting
from finetune.calibrate import LEAST_WORD_SCALE, words_and_look
from finetune.known_products import familiar_of
from finetune.references import Held, attained, match_cut, prior_of
from tests.test_memory import picture
from tests.tiny import tiny_inspector


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six train normals, and two normals and two anomalies with masks to test; the same of an evaluation-only set."""
    rows = []
    for dataset in ("stripes", "mvtec"):
        for number in range(10):
            fold, label = ("train", 0) if number < 6 else ("val", int(number >= 8))
            pixels, mask = picture(number), np.zeros((96, 96), np.uint8)
            row = {"dataset": dataset, "category": "cloth", "label": label, "fold": fold, "defect": "hole"}
            row["orig_split"] = "train" if number < 4 else "test"
            if label:
                pixels[40:56, 40:56], mask[40:56, 40:56] = 0, 255
                row["mask"] = f"{dataset}{number}-mask.png"
                Image.fromarray(mask).save(tmp_path / row["mask"])
            row["image"] = f"{dataset}{number}.png"
            Image.fromarray(pixels).save(tmp_path / row["image"])
            rows.append(json.dumps(row))
    (tmp_path / "manifest.jsonl").write_text("\n".join(rows))
    return tmp_path


def test_references_come_from_the_training_side_and_tests_do_not(data):
    records, training = list(read_manifest(data)), training_parts(data)
    (own,) = products_of(records, "stripes", training)
    assert len(own.known) == 6 and len(own.tested) == 4 and not set(own.known) & set(own.tested)
    (bottle,) = products_of(records, "mvtec/cloth", training)
    assert len(bottle.known) == 4 and len(bottle.tested) == 10
    assert len(products_of(records, "stripes", training, most=1)[0].tested) == 2
    assert draw(own, 2, 3) == draw(own, 4, 3)[:2] and draw(own, 6, 0) != draw(own, 6, 1)
    with pytest.raises(RecordError, match="no normals"):
        products_of(records, "wood", training)


@pytest.mark.parametrize("text", ["", "a", "0,1", "1;2"])
def test_lists_of_numbers(text):
    assert numbers("4,1,4", 1) == [1, 4]
    with pytest.raises(RecordError, match="not a list of numbers"):
        numbers(text, 1)


def test_a_run_is_resumed_and_gives_the_figures(data, tmp_path, monkeypatch, capsys):
    inspector, out = tiny_inspector(), tmp_path / "run"
    monkeypatch.setattr(references, "load", lambda profile: inspector)
    arguments = ["--data", str(data), "--out", str(out), "--shots", "1,2", "--seeds", "0,1"]
    arguments += ["--categories", "stripes,mvtec/cloth"]

    def start(*more: str) -> int:
        with pytest.raises(SystemExit) as end:
            command.run(references.main, [*arguments, *more])
        return end.value.code or 0

    assert start() == 0
    first = json.loads((out / "metrics.json").read_text())
    assert {(row["category"], row["shots"]) for row in first["rows"]} == {
        (category, shots) for category in ("stripes", "mvtec/cloth") for shots in (0, 1, 2)
    }
    for row in first["mean"]:
        ways = ("fused", "nearest", "subspace") if row["shots"] else ("fused",)
        assert all(0 <= row[f"{way}_{figure}"] <= 1 for way in ways for figure in ("auroc", "aupro"))
        assert 0 <= row["false_alarms"] <= 1
    assert first["mean"][1]["nearest_auroc"] > 0.9  # a black square on stripes: a map without training sees it
    kept = json.loads((out / "rows" / "mvtec-cloth-2-0.json").read_text())
    assert len(kept["labels"]) == 8  # what was drawn as reference is not tested
    (out / "rows" / "stripes-cloth-1-1.json").unlink()
    monkeypatch.setattr(Judge, "judge", counted(Judge.judge, calls := []))
    assert start() == 0 and len(calls) == 4
    again = json.loads((out / "metrics.json").read_text())
    for one, other in zip(first["mean"], again["mean"], strict=True):
        assert one == pytest.approx(other)
    assert start("--limit", "1") == 2


def counted(function, calls):
    def wrapped(*arguments):
        calls.append(1)
        return function(*arguments)

    return wrapped


def test_pairs_put_together_are_the_comparison_with_all_references_at_once(data):
    (product,) = products_of(list(read_manifest(data)), "mvtec/cloth", training_parts(data))
    judge = Judge(tiny_inspector(), product)
    model, calibration = judge.model, judge.inspector.calibration
    for gain in model.heatmap.references.parameters():  # as chosen ones would: references count in map and score
        gain.data += 0.3
    for shots in (0, 1, 2, 4):
        held = judge.held(draw(product, shots, 1)) if shots else None
        memory = held.memory if held else None
        for record in product.tested[:6]:
            features = judge.tested(record).whole()
            with torch.inference_mode():
                wanted = model.decide(features, model.compare(features, memory))
            found = judge.judge(record, held)
            score, heat = found["fused"]
            assert score == pytest.approx(calibration.score(float(wanted.score_logit[0])), abs=1e-5)
            assert torch.allclose(heat, wanted.heatmap_logits[0, 0], atol=1e-5)
            if held:
                plain = nearest_map(memory.levels)([level[:1] for level in features.levels[1:]])
                assert torch.allclose(found["nearest"][1], plain, atol=2e-3)  # the root of rounding, for patches alike


def test_each_picture_is_seen_once_and_compared_with_each_reference_once(data, monkeypatch):
    (product,) = products_of(list(read_manifest(data)), "stripes", training_parts(data))
    judge = Judge(tiny_inspector(), product)
    seen, alike = [], []
    monkeypatch.setattr(judge.model.tower, "forward", counted(judge.model.tower.forward, seen))
    monkeypatch.setattr(compared, "place_residual", counted(compared.place_residual, alike))
    kept = {(k, seed): rows_of(judge, k, seed, False, 0.05) for seed in (0, 1) for k in (1, 2, 4)}
    drawn = {record.image for seed in (0, 1) for record in draw(product, 4, seed)}
    mirrors = judge.model.config.mirrors
    once = len(product.tested) + len(drawn)  # with the mirror images that a look is the mean of
    assert len(seen) == once + (4 - mirrors) * len(drawn)  # a reference's other mirror images
    assert len(alike) == 3 * len(product.tested) * len(drawn)  # three levels
    fresh = rows_of(Judge(tiny_inspector(), product), 4, 1, False, 0.05)
    for way, scores in fresh["scores"].items():
        assert kept[4, 1]["scores"][way] == pytest.approx(scores, abs=1e-5)
        assert kept[4, 1]["aupro"][way] == pytest.approx(fresh["aupro"][way], abs=1e-5)


def test_words_are_judged_with_and_without_references(data, tmp_path, monkeypatch):
    inspector, out = tiny_inspector(), tmp_path / "run"
    monkeypatch.setattr(references, "load", lambda profile: inspector)
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 3)
    arguments = ["--data", str(data), "--out", str(out), "--shots", "1", "--seeds", "0", "--categories", "stripes"]
    with pytest.raises(SystemExit) as end:
        command.run(references.main, [*arguments, "--ask"])
    assert not end.value.code
    assert all("verdict_accuracy" in row for row in json.loads((out / "metrics.json").read_text())["rows"])


def test_the_nearest_map_is_the_distance_to_the_nearest_patch():
    torch.manual_seed(0)
    known, level = torch.randn(2, 5, 6, 6), torch.randn(1, 5, 6, 6)
    patches, memory = (directions(x).permute(0, 2, 3, 1).flatten(0, 2) for x in (level, known))
    wanted = torch.cdist(patches, memory).amin(dim=1).view(6, 6)
    assert torch.allclose(nearest_map([known])([level]), wanted, atol=1e-5)


def test_the_subspace_map_is_what_no_reference_patch_has():
    known, level = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    known[0, 0], known[0, 1, :, ::3] = 1, 1
    level[0, 0] = 1
    level[0, 3, 4, 4] = 5
    found = subspace_map([known])([level])
    assert found[4, 4] == found.max() > 0.5 and found[0, 0] < found[4, 4] / 5


def test_the_prior_weighs_sets_and_not_products():
    prior = prior_of({("a", "1"): [0.0, 2.0], ("a", "2"): [0.0, 2.0], ("b", "1"): [3.0, 3.0]})
    assert prior.mean == pytest.approx(2.0) and prior.within == pytest.approx(0.5**0.5)
    assert prior.between == pytest.approx((1 / (1 - 3 / 8)) ** 0.5)


def test_attained_rates_are_of_unseen_normals():
    rng = np.random.default_rng(0)
    held = []
    for product in range(30):
        middle = rng.normal(0, 1)
        for shots in (1, 8):
            known = tuple(rng.normal(middle, 0.5, shots if shots > 1 else 0))
            held.append(Held((f"set{product}", "x"), shots, known, tuple(rng.normal(middle, 0.5, 400))))
    found = attained(held)
    assert found["gaussian"][8] == pytest.approx(0.05, abs=0.02)
    assert found["gaussian"][1] == pytest.approx(0.05, abs=0.03)
    assert set(found["conformal"]) == {8} and found["conformal"][8] > 0.05  # 8 values can promise 1 in 9


def test_match_cut_and_familiar_from_groups_of_descriptors():
    rng = np.random.default_rng(0)

    def group(centre: int, count: int = 20) -> torch.Tensor:
        rows = torch.tensor(rng.normal(0, 0.05, (count, 8)), dtype=torch.float32)
        rows[:, centre] += 1
        return torch.nn.functional.normalize(rows, dim=1)

    groups = {("a", "", 0): group(0), ("b", "", 0): group(1), ("own", "", 0): group(2, 3)}
    assert 0.005 < match_cut(groups) < 0.3
    familiar = familiar_of(groups)
    near = [familiar.distance(one[None]) <= familiar.cut for number in (0, 1, 2) for one in group(number)]
    assert familiar.cut < 0.1 and 0.9 < np.mean(near)  # of other pictures than those the middles were made of
    assert all(familiar.distance(one[None]) > 0.7 > 10 * familiar.cut for one in group(5))


def test_words_and_look_find_their_weights_and_never_turn_yes_around(data):
    record = list(read_manifest(data))
    records = [record[0], record[9]] * 400
    rng = np.random.default_rng(0)
    evidence = rng.normal(0, 2, 800)
    labels = np.array([r.label for r in records])
    differences = 2 * labels - 1 + rng.normal(0, 1, 800)
    noisy = 0.5 * (2 * labels - 1) + rng.normal(0, 1, 800)
    word, bias, look = words_and_look(list(differences), list(noisy), records)
    assert word == pytest.approx(2, rel=0.3) and look == pytest.approx(1, rel=0.4) and abs(word * bias) < 0.4
    word, _, look = words_and_look(list(-differences), list(noisy), records)
    assert word == LEAST_WORD_SCALE and look > 0
    word, _, look = words_and_look(list(differences), list(-noisy), records)
    assert word > 0 and look == 0
    assert len(evidence) == 800


def test_fitting_references_on_a_tiny_set(data, monkeypatch):
    monkeypatch.setattr(fitting, "LEAST", 4)
    monkeypatch.setattr(fitting, "SHOTS", (1, 2))
    monkeypatch.setattr(fitting, "JUDGED", (1, 2))
    monkeypatch.setattr(fitting, "OWN", 2)
    records = [record for record in read_manifest(data) if record.dataset == "stripes"]
    calibration, familiar, rates, of_new = calibrate.calibrate_references(tiny_inspector(), records, records)
    assert of_new == {}
    assert calibration.normal_within > 0 and calibration.held_within > 0 and 0 < calibration.match_cut < 2
    assert calibration.lone_within > 0 and bool((familiar.near < familiar.far).all())
    assert familiar.centres.shape[1] == 320 and set(rates["gaussian"]) == {1, 2}
    (product,), (judged,) = set(familiar.products.tolist()) - {SCENE}, familiar.judged.tolist()
    assert judged == len(records) and familiar.tipping.shape == (1, 3) and bool((familiar.tipping[0] >= 0).all())
    for way, prior in (("alone", "normal"), ("lone", "lone"), ("held", "held")):  # it is the only product
        own, count = familiar.normals_of(product, way)
        assert own.mean == pytest.approx(getattr(calibration, f"{prior}_mean"), abs=1e-6) and count >= 4


def test_what_new_products_score_comes_from_weights_that_were_kept_from_them(data, monkeypatch):
    for name, value in (("LEAST", 4), ("SHOTS", (1, 2)), ("JUDGED", (1, 2)), ("OWN", 2)):
        monkeypatch.setattr(fitting, name, value)
    for name, value in (("MOST", 6), ("DRAWS", 1), ("OWN_PRODUCTS", 2)):
        monkeypatch.setattr(new_products, name, value)
    records = [record for record in read_manifest(data) if record.dataset == "stripes"]
    inspector = tiny_inspector()
    own, judge = inspector.model.look_model, tiny_inspector().model.look_model
    raised = []
    for shift in (0.0, 3.0):
        monkeypatch.setattr(judge, "decide", _shifted(type(judge).decide, judge, shift))
        raised.append(calibrate.calibrate_references(inspector, records, records, [(("stripes",), judge)]))
        assert inspector.model.look_model is own and inspector.familiar is not None
    (plain, familiar, _, rates), (higher, same, _, _) = raised
    assert set(rates["gaussian"]) == {1, 2}
    for way in ("held", "lone"):
        shift = 3 * inspector.calibration.score_scale * getattr(plain, f"{way}_scale")
        assert getattr(higher, f"{way}_mean") - getattr(plain, f"{way}_mean") == pytest.approx(shift, rel=1e-3)
    assert plain.peak_within > 0 and higher.peak_mean == plain.peak_mean  # the map is the same
    assert higher.normal_mean == plain.normal_mean  # and what known products score is as it was
    assert torch.equal(same.normals.nan_to_num(), familiar.normals.nan_to_num())


def _shifted(decide, judge, shift: float):
    def shifted(features, differences):
        output = decide(judge, features, differences)
        return dataclasses.replace(output, score_logit=output.score_logit + shift)

    return shifted


def test_logits_that_scatter_more_with_references_are_scaled_down():
    from assistant.threshold import Normals

    rng = np.random.default_rng(0)
    held = [
        fitting.Held(
            (f"set{n}", "part"), shots, tuple(known) if shots > 1 else (), tuple(middle + rng.normal(0, 2, 50))
        )
        for n in range(40)
        for shots, middle in ((1, rng.normal(0, 3)), (4, rng.normal(0, 3)))
        for known in [np.full(4, middle)]
    ]
    held_scale, lone_scale = fitting.scales_of(Normals(0.0, 0.6, 0.8), held)
    assert held_scale == pytest.approx(1 / 2, rel=0.05)  # the references say where a product's normals lie
    assert lone_scale == pytest.approx(1 / 13**0.5, rel=0.2)  # a single one does not
    calm = [
        fitting.Held(("set", "part"), 4, (0.0, 0.0), (0.1, -0.1)),
        fitting.Held(("set", "part"), 1, (), (0.1, -0.1)),
    ]
    assert fitting.scales_of(Normals(0.0, 0.6, 0.8), calm) == (1.0, 1.0)
