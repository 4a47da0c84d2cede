"""Peers on given features against anomalib's own mathematics, and their runs on a small set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf

from assistant import command
from eval import compare, peers, run, score
from eval.peers import CORESET, FITS, LEAST_CORESET, MIDDLE, Model, coreset, gaussian, padim, patchcore, wide_nn
from eval.predictions import keys_of
from tests.tiny import tiny_inspector

CASES = range(100)


def levels(seed, count=3, side=8, odd=False):
    """Levels of `count` pictures, 4 of them, strides 4 to 32 of a picture of 8 x `side` px; `odd` changes a corner."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for number, channels in enumerate((3, 4, 5, 6)):
        size = max(1, side * 2 >> number)
        level = torch.randn(count, channels, size, size, generator=rng)
        level[:, 0] += 5  # normal features have a direction in common
        if odd:
            level[:, 0, : max(1, size // 4), : max(1, size // 4)] -= 12
        found.append(level)
    return found


@pytest.mark.parametrize("seed", CASES)
def test_patchcore_is_that_of_anomalib_on_the_same_memory(seed, anomalib):
    known, seen = levels(seed, 1 + seed % 3), levels(seed + 1000, 1)
    theirs = object.__new__(anomalib.PatchcoreModel)
    torch.nn.Module.__init__(theirs)
    theirs.num_neighbors, theirs.layers = peers.NEIGHBOURS, ["a", "b"]

    def embedding(of):
        pooled = [torch.nn.AvgPool2d(3, 1, 1)(level) for level in of[MIDDLE]]
        return theirs.generate_embedding(dict(zip(theirs.layers, pooled, strict=True)))

    theirs.memory_bank = theirs.reshape_embedding(embedding(known))
    patches = theirs.reshape_embedding(embedding(seen))
    distances, locations = theirs.nearest_neighbors(patches, n_neighbors=1)
    wanted = theirs.compute_anomaly_score(distances.reshape(1, -1), locations.reshape(1, -1), patches)
    found, heat = patchcore(known)(seen)
    assert found == pytest.approx(float(wanted), abs=1e-4)  # theirs takes distances as differences of squares
    assert heat.shape == (64, 64) and float(heat.max()) <= float(distances.max()) + 1e-4


@pytest.mark.parametrize("seed", CASES)
def test_padim_is_that_of_anomalib(seed, anomalib, monkeypatch):
    monkeypatch.setattr(peers, "_smooth", lambda heat: heat)
    known, seen = levels(seed, 3 + seed % 5), levels(seed + 1000, 1)
    order = np.random.default_rng(0).permutation(9)

    def embedding(of):
        first, second = of[MIDDLE]
        return torch.cat([first, torch.nn.functional.interpolate(second, first.shape[-2:], mode="nearest")], 1)[
            :, order
        ]

    stats = anomalib.Gaussian().fit(embedding(known))
    wanted = anomalib.PadimMap.compute_distance(embedding(seen), stats)[0, 0]
    found, heat = padim(known)(seen)
    assert torch.allclose(heat, wanted, rtol=2e-3, atol=1e-4)  # theirs adds another 1e-5 to the ridge
    assert found == pytest.approx(float(heat.max()))


@pytest.mark.parametrize("seed", CASES)
def test_the_gaussian_is_the_mahalanobis_distance_of_pooled_features(seed):
    known, seen = levels(seed, 2 + seed % 6), levels(seed + 1000, 1)
    wanted = 0.0
    for of, one in zip(known, seen, strict=True):
        fitted = LedoitWolf().fit(of.mean(dim=(2, 3)).double().numpy())
        wanted += float(fitted.mahalanobis(one.mean(dim=(2, 3)).double().numpy())[0]) ** 0.5
    found, heat = gaussian(known)(seen)
    assert found == pytest.approx(wanted, abs=1e-4) and heat.shape == seen[0].shape[-2:]


def test_a_coreset_takes_the_farthest_next():
    rows = torch.randn(LEAST_CORESET * 2, 3, generator=torch.Generator().manual_seed(0))
    found = coreset(rows)
    assert len(found) == LEAST_CORESET > CORESET * len(rows) and torch.equal(found[0], rows[0])
    known, distances = found[:20].numpy(), []
    for number in range(1, 20):
        nearest = np.linalg.norm(rows.numpy()[:, None] - known[None, :number], axis=2).min(axis=1)
        assert np.linalg.norm(known[number] - known[:number], axis=1).min() == pytest.approx(nearest.max(), abs=1e-4)
        distances.append(nearest.max())
    assert distances == sorted(distances, reverse=True) and len(coreset(rows[:50])) == 50


@pytest.mark.parametrize("fit", FITS.values(), ids=lambda fit: fit.__name__)
@pytest.mark.parametrize("count", [1, 6])
def test_every_peer_sees_an_odd_corner(fit, count):
    if fit is gaussian and count == 1:
        count = 4  # one reference and its mirror images
    judge = fit(levels(0, count))
    (plain, _), (odd, heat) = judge(levels(50, 1)), judge(levels(50, 1, odd=True))
    rows, columns = heat.shape
    assert odd > plain and np.isfinite(odd)
    assert heat[: rows // 4, : columns // 4].mean() > heat[rows // 2 :, columns // 2 :].mean() * 1.2


def test_the_wide_memory_is_thinned_always_alike(monkeypatch):
    monkeypatch.setattr(peers, "MOST_PATCHES", 40)
    one, other = (wide_nn(levels(0, 3))(levels(9, 1)) for _ in range(2))
    assert one[0] == other[0] and torch.equal(one[1], other[1])
    monkeypatch.setattr(peers, "MOST_PATCHES", 10_000)
    assert wide_nn(levels(0, 3))(levels(9, 1))[0] < one[0]  # a larger memory holds nearer neighbours


def folder(place):
    """Train normals of two products, one of them without any, and test pictures with a dark square."""
    rng = np.random.default_rng(0)
    for product, normals in (("cloth", 3), ("wire", 0)):
        for part, kind, count in (("train", "good", normals), ("test", "good", 2 * bool(normals)), ("test", "hole", 2)):
            for number in range(count):
                pixels = rng.normal(120, 4, (96, 96, 3)).clip(0, 255).astype(np.uint8)
                mask = np.zeros((96, 96), np.uint8)
                if kind == "hole":
                    pixels[40:64, 24:48], mask[40:64, 24:48] = 0, 255
                    truth = place / product / "ground_truth" / "hole" / f"{number}_mask.png"
                    truth.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(truth)
                file = place / product / part / kind / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
    return place


def said(function, arguments):
    with pytest.raises(SystemExit) as stopped:
        command.run(function, [str(argument) for argument in arguments])
    return stopped.value.code


def test_peers_run_score_and_go_on(tmp_path, monkeypatch, capsys):
    inspector = tiny_inspector()
    monkeypatch.setattr(run, "load", lambda profile: inspector)
    data = folder(tmp_path / "mvtec")
    for model in FITS:
        arguments = ["mvtec", "--data", data, "--out", tmp_path / model, "--model", model]
        assert said(run.run, [*arguments, "--limit", 0]) == 0
        assert "Left out, for" in capsys.readouterr().err
        rows = [json.loads(line) for line in (tmp_path / model / "predictions.jsonl").read_text().splitlines()]
        assert len(rows) == 4 and {row["category"] for row in rows} == {"cloth"}
        assert {row["references"] for row in rows} == {3} and {row["verdict"] for row in rows} == {None}
        assert said(score.main, [tmp_path / model]) == 0
        result = json.loads((tmp_path / model / "metrics.json").read_text())
        (only,) = result["rows"]
        assert (result["model"], result["mode"], result["shots"]) == (model, "reference", 0)
        assert only["image_auroc"] == 1 and only["pixel_auroc"] > 0.6 and only["balanced_accuracy"] is None
        assert f"model {model}" in (tmp_path / model / "report.html").read_text()
    own = ["mvtec", "--data", data, "--out", tmp_path / "own", "--no-ask"]
    assert said(run.run, own) == 0  # anomalies of the product without normals are in it as well
    capsys.readouterr()
    others = [part for model in ("padim", "wide_nn") for part in ("--beside", tmp_path / model)]
    assert said(score.main, [tmp_path / "own", *others]) == 0
    assert "padim, all normals, by product" in capsys.readouterr().out
    lines = json.loads((tmp_path / "own" / "metrics.json").read_text())["beside"]
    assert [line["system"] for line in lines] == [
        "LookTwice embedded, zero-shot", "padim, all normals", "wide_nn, all normals",
    ]  # fmt: skip
    assert {(line["n_normal"], line["n_anomalous"]) for line in lines} == {(2, 2)}
    alone = json.loads((tmp_path / "padim" / "metrics.json").read_text())["mean"]
    assert {name: lines[1][name] for name in alone} == alone
    assert "padim, all normals, by product" in (tmp_path / "own" / "report.html").read_text()
    assert said(compare.main, [tmp_path / "own", tmp_path / "padim", "--draws", 100]) == 0
    shown = capsys.readouterr().out
    assert "4 samples in both" in shown and "image auroc" in shown and "accuracy" not in shown
    again = ["mvtec", "--data", data, "--out", tmp_path / "padim"]
    assert said(run.run, [*again, "--model", "patchcore"]) == 2
    assert "with model padim, not patchcore" in capsys.readouterr().err
    shots = ["mvtec", "--data", data, "--out", tmp_path / "one", "--model", "wide_nn", "--mode", "reference"]
    assert said(run.run, [*shots, "--shots", 1]) == 0
    assert json.loads((tmp_path / "one" / "run.json").read_text())["shots"] == 1


@pytest.mark.parametrize(
    ("task", "more", "sentence"),
    [("mvtec", ["--mode", "batch"], "needs normal references"), ("mmad", [], "cannot take mmad")],
)
def test_what_a_peer_cannot_do_is_said(tmp_path, capsys, monkeypatch, task, more, sentence):
    monkeypatch.setattr(run, "samples_of", lambda *_: [object()])
    arguments = [task, "--data", tmp_path, "--out", tmp_path / "o", "--model", "padim", *more]
    assert said(run.run, arguments) == 2
    shown = capsys.readouterr().err
    assert sentence in shown and len(shown.strip().splitlines()) == 1


def test_without_any_normal_there_is_no_peer(tmp_path, capsys):
    data = folder(tmp_path / "set")
    arguments = ["mvtec", "--data", data / "wire", "--out", tmp_path / "o", "--model", Model.gaussian]
    assert said(run.run, arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_rows_are_told_apart_though_every_defect_numbers_its_pictures_anew():
    def row(defect, image="000.png"):
        return {"dataset": "mvtec", "category": "nut", "defect": defect, "image": image, "label": int(defect != "good")}

    whole = [row("good"), row("bent"), row("bent"), row("good", "001.png")]
    assert len(set(keys_of(whole))) == 4
    assert compare.paired(whole, whole[1:]) == ([1, 2, 3], [0, 1, 2])
