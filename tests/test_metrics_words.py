"""Figures of places, boxes, words and choices against plain counting, on random cases with ties and empty sets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from nltk.stem.porter import PorterStemmer
from skimage.measure import label as label_regions
from skimage.measure import regionprops
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support
from torchvision.ops import box_iou

from assistant.knowledge import canonical, kind_in
from assistant.types import PLACES
from eval import clips, exams, kinds, metrics
from eval.levels import seen
from eval.text_metrics import rouge_l

CASES = range(100)
SIDE = 27
"""A multiple of three: each ninth of the picture is a square of SIDE / 3."""


def random_case(seed):
    """Rows with regions and words, and (heatmap, mask) of each: empty masks, ties, unknown masks, one label only."""
    rng = np.random.default_rng([11, seed])
    rows, truths = [], []
    for _ in range(int(rng.integers(1, 12))):
        label = int(rng.integers(0, 2)) if seed % 10 else seed // 10 % 2
        mask = np.zeros((SIDE, SIDE), bool)
        for _ in range(int(rng.integers(0, 4)) if label else 0):
            y, x = rng.integers(0, SIDE - 6, 2)
            mask[y : y + rng.integers(1, 7), x : x + rng.integers(1, 7)] = True
        heatmap = np.round(rng.random((SIDE, SIDE)), 1)  # many highest values
        regions = []
        for _ in range(int(rng.integers(0, 4))):
            x, y = rng.integers(0, 20, 2)
            regions.append({"box": [int(x), int(y), int(x + rng.integers(1, 8)), int(y + rng.integers(1, 8))]})
        if mask.any() and rng.random() < 0.5:  # a box about where one is
            ys, xs = np.nonzero(mask)
            regions.append({"box": [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]})
        places = [str(rng.choice(PLACES)) for _ in regions]
        words = [place for place in places if rng.random() < 0.6]
        words += [str(rng.choice(PLACES))] if rng.random() < 0.2 else []
        score, threshold = round(float(rng.random()), 1), 0.5
        said = str(
            rng.choice(["Yes. There is a crack.", "No.", "Perhaps.", "Yes. A hole.", ""], p=[0.3, 0.3, 0.1, 0.2, 0.1])
        )
        rows.append(
            {
                "label": label, "size": [SIDE, SIDE], "regions": regions, "place": places[0] if places else None,
                "region_places": places, "word_places": words if said else [], "explanation": said, "score": score,
                "threshold": threshold, "verdict": str(rng.choice(["anomalous", "normal", "unsure"])),
                "defect": str(rng.choice(["crack", "hole", "casting_defect"])) if label else "good",
                "kinds": [[str(rng.choice(["crack", "hole"])), 0.7]] if rng.random() < 0.8 else [],
                "lit": round(float(rng.random()), 2), "top": round(float(rng.random()), 2),
            }
        )  # fmt: skip
        truths.append(None if rng.random() < 0.15 else (heatmap, mask))
    return rows, truths


def share(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def same(found, wanted):
    return found is None if wanted is None else found == pytest.approx(wanted, abs=1e-6)


def ninths(mask):
    """Place words that hold at least a fifth of the mask, pixel by pixel."""
    counts = Counter(PLACES[3 * (3 * y // SIDE) + 3 * x // SIDE] for y, x in np.argwhere(mask))
    return {name for name, count in counts.items() if count >= 0.2 * mask.sum()}


@pytest.mark.parametrize("seed", CASES)
def test_places_pointing_and_boxes_are_counted_one_by_one(seed):
    rows, truths = random_case(seed)
    known = [(row, *truth) for row, truth in zip(rows, truths, strict=True) if truth is not None and truth[1].any()]
    wanted = share(row["place"] in ninths(mask) for row, _, mask in known if row["place"])
    assert same(metrics.map_place_accuracy(rows, truths), wanted)
    wanted = share(bool(row["place"]) and row["place"] in ninths(mask) for row, _, mask in known)
    assert same(metrics.map_place_recall(rows, truths), wanted)
    wanted = share(row["word_places"][0] in ninths(mask) for row, _, mask in known if row["word_places"])
    assert same(metrics.word_place_accuracy(rows, truths), wanted)
    told = [bool(row["word_places"]) and row["word_places"][0] in ninths(mask) for row, _, mask in known]
    assert same(
        metrics.word_place_recall(rows, truths), share(told) if any(r["word_places"] for r, *_ in known) else None
    )
    hits = []
    for _, heatmap, mask in known:
        first = min((y, x) for y in range(SIDE) for x in range(SIDE) if heatmap[y, x] == heatmap.max())
        hits.append(bool(mask[first]))
    assert same(metrics.pointing(truths), share(hits))
    found = []
    for row, _, mask in known:
        for part in regionprops(label_regions(mask, connectivity=2)):
            y1, x1, y2, x2 = part.bbox
            boxes = torch.tensor([region["box"] for region in row["regions"]], dtype=torch.float64).reshape(-1, 4)
            overlaps = box_iou(torch.tensor([[x1, y1, x2, y2]], dtype=torch.float64), boxes)
            found.append(bool((overlaps >= 0.5).any()))
    assert same(metrics.box_rate(rows, truths), share(found))
    assert [None if t is None else seen(t).cells for t in truths] == [
        None if t is None else ninths(t[1]) for t in truths
    ]


@pytest.mark.parametrize("seed", CASES)
def test_words_are_counted_one_by_one(seed):
    rows, _ = random_case(seed)
    spoken = [row for row in rows if row["explanation"]]

    def fits_map(row):
        said, shown = row["word_places"], row["region_places"]
        return bool(shown) and said[0] == shown[0] and all(place in shown for place in said)

    def faithful(row):
        word = row["explanation"].split(".")[0]
        right = word == "Perhaps" or (word == "Yes") == (row["score"] >= row["threshold"])
        return right and (not row["word_places"] or fits_map(row))

    def agrees(row):
        return fits_map(row) if row["word_places"] else not (row["region_places"] and row["verdict"] == "anomalous")

    assert same(metrics.faithfulness(rows), share(map(faithful, spoken)))
    assert same(metrics.agreement(rows), share(map(agrees, spoken)))
    told = [row for row in spoken if row["word_places"] or not agrees(row)]
    assert same(metrics.place_agreement(rows), share(map(agrees, told)))
    normals = [row for row in spoken if row["label"] == 0]
    claims = share(row["explanation"].startswith("Yes") or len(row["word_places"]) > 0 for row in normals)
    assert same(metrics.hallucination_rate(rows), claims)
    assert same(metrics.lit_on_normals(rows), share(row["lit"] for row in rows if row["label"] == 0))
    assert same(metrics.normal_top(rows), share(row["top"] for row in rows if row["label"] == 0))
    bad = [row for row in rows if row["label"] == 1 and row["defect"] in ("crack", "hole")]
    named = [row["defect"] in row["explanation"] for row in bad if row["explanation"].startswith("Yes")]
    assert same(kinds.kind_accuracy(rows), share(named))
    told = [(row["defect"], kind_in(row["explanation"])) for row in bad if row["explanation"].startswith("Yes")]
    assert same(kinds.wrong_kind_rate(rows), share(name not in (None, truth) for truth, name in told))
    likeliest = [bool(row["kinds"]) and row["kinds"][0][0] == canonical(row["defect"]) for row in bad]
    assert same(kinds.likeliest_kind_accuracy(rows), share(likeliest))


@pytest.mark.parametrize("seed", CASES)
def test_detection_is_that_of_scikit_learn_class_by_class(seed):
    rows, _ = random_case(seed)
    rng = np.random.default_rng([12, seed])
    rows = [row | {"category": str(rng.choice(["a", "b", "c"]))} for row in rows]
    found = exams.detection(rows)

    def figures(part):
        truth = [row["label"] for row in part]
        called = [int(row["verdict"] == "anomalous") for row in part]
        precision, recall, f1, _ = precision_recall_fscore_support(truth, called, average="binary", zero_division=0)
        return {"accuracy": np.mean(np.equal(truth, called)), "precision": precision, "recall": recall, "f1": f1}

    classes = [figures([row for row in rows if row["category"] == name]) for name in {row["category"] for row in rows}]
    for name, value in figures(rows).items():
        assert found["micro"][name] == pytest.approx(value, abs=1e-6)
        assert found["macro"][name] == pytest.approx(np.mean([one[name] for one in classes]), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*single label:UserWarning", "ignore:y_pred contains classes:UserWarning")
@pytest.mark.parametrize("seed", CASES)
def test_choices_are_balanced_as_in_scikit_learn(seed):
    rng = np.random.default_rng([13, seed])
    options = {"A": "Yes.", "B": "No."}
    turns = []
    for _ in range(int(rng.integers(1, 30))):
        right = str(rng.choice(["A", "B"])) if seed % 10 else "B"
        parsed = [None, "A", "B"][int(rng.integers(0, 3))]
        turn = {"type": str(rng.choice(["Anomaly Detection", "Defect Analysis"])), "options": options}
        turns.append(turn | {"reference": right, "likely": str(rng.choice(["A", "B"])), "parsed": parsed})
    found = exams.choices([{"dataset": "d", "turns": turns}])
    per_type = []
    for kind, figures in found["types"].items():
        part = [turn for turn in turns if turn["type"] == kind]
        truth, likely = [turn["reference"] for turn in part], [turn["likely"] for turn in part]
        if kind == "Anomaly Detection":
            wanted = balanced_accuracy_score(truth, likely)  # the mean of recalls over the labels that occur
        else:
            wanted = share(a == b for a, b in zip(truth, likely, strict=True))
        assert figures["likely"] == pytest.approx(wanted, abs=1e-6) and figures["n"] == len(part)
        assert figures["unparsed"] == pytest.approx(share(turn["parsed"] is None for turn in part))
        right = [
            share(turn["parsed"] == letter for turn in part if turn["reference"] == letter)
            for letter in sorted(set(truth))
        ]
        if kind == "Anomaly Detection":
            assert figures["parsed"] == pytest.approx(np.mean(right), abs=1e-6)
        per_type.append(wanted)
    assert found["mean"]["likely"] == pytest.approx(np.mean(per_type), abs=1e-6)


def longest_common(one, other):
    """Length of the longest common subsequence by the textbook's table."""
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, a in enumerate(one, start=1):
        for j, b in enumerate(other, start=1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    return table[-1, -1]


@pytest.mark.parametrize("seed", CASES)
def test_rouge_l_is_that_of_the_textbook(seed):
    rng = np.random.default_rng([14, seed])
    vocabulary = "the crack cracks runs running across a glass plate plates and it is in of hole holes broken".split()
    texts = [list(rng.choice(vocabulary, int(rng.integers(0 if seed % 5 == 0 else 1, 15)))) for _ in range(2)]
    stemmer = PorterStemmer()
    # the official script stems words of more than three letters only
    stems = [[stemmer.stem(word) if len(word) > 3 else word for word in text] for text in texts]
    common = longest_common(*stems)
    precision, recall = (common / max(1, len(text)) for text in (stems[1], stems[0]))
    wanted = 2 * precision * recall / (precision + recall) if common else 0.0
    assert rouge_l(" ".join(texts[0]), " ".join(texts[1])) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("seed", CASES)
def test_when_is_counted_frame_by_frame(seed):
    rng = np.random.default_rng([15, seed])
    rows, wanted = [], []
    for _ in range(int(rng.integers(1, 5))):
        labels = rng.integers(0, 2, 12).tolist() if seed % 10 else [seed // 10 % 2] * 12
        scores = np.round(rng.random(12), 1).tolist()
        rows.append({"frame_labels": labels, "frame_scores": scores, "threshold": 0.5})
        pairs = [(score >= 0.5, label == 1) for score, label in zip(scores, labels, strict=True)]
        if sum(labels):
            wanted.append(sum(a and b for a, b in pairs) / sum(a or b for a, b in pairs))
    assert same(clips.when_iou(rows), share(wanted))
    if seed % 10 == 0:
        assert clips.frame_auroc(rows) is clips.frame_ap(rows) is clips.pate(rows) is None
