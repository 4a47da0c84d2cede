"""Sets thresholds and scales on pictures that no weight was fitted on, and writes them beside the weights.

python -m finetune.calibrate look --data DIR          after the look stage
python -m finetune.calibrate references --data DIR    after it: false-alarm rates, and what matches and is familiar
python -m finetune.calibrate words --data DIR         after the language stage
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from assistant.calibration import Calibration
from assistant.command import run
from assistant.errors import RecordError
from assistant.familiar import WAYS, Familiar
from assistant.inspector import Inspector
from assistant.loading import compose
from assistant.look_model import LookModel
from assistant.profiles import read_profile
from assistant.prompts import DEFAULT_QUESTION
from assistant.reference import References
from assistant.threshold import DEFAULT_RATE, PRIOR_WEIGHT, Normals
from assistant.weights import CALIBRATION_FILE, FAMILIAR_FILE
from data.schema import Record
from finetune.dataset import mask_at
from finetune.known_products import (
    OWN_SET,
    balanced_points,
    familiar_of,
    look_at_record,
    sets_of,
    sides_alone,
    steepness,
)
from finetune.leave_out import left_out_judges
from finetune.new_products import measure_new, new_prior, trust_of
from finetune.records import training_records, two_sided
from finetune.references import (
    Held,
    attained,
    descriptors_of,
    held_prior,
    match_cut,
    measure,
    normals_of_sets,
    prior_of,
    scales_of,
    sides_held,
)

LIT_NORMAL = 0.004
"""Mean share of a normal picture that may be lit, 0..1: normals stay dark."""
WORD_SHOTS = 4
"""References of the looks that the words are calibrated on."""
LEAST_WORD_SCALE = 1e-3
"""The words always count for something: the first spoken word is turned by a bias that is divided by their scale."""


class Part(StrEnum):
    """What is calibrated."""

    look = "look"
    references = "references"
    words = "words"


def main(
    part: Annotated[
        Part, typer.Argument(help="look: scores and map; references: false-alarm rates; words: the yes or no.")
    ],
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    profile: str = "embedded",
    left_out: Annotated[
        Path | None, typer.Option(help="Run folder of finetune.leave_out: its weights say what new products score.")
    ] = None,
) -> None:
    """Calibrates and rewrites calibration.json."""
    chosen = read_profile(profile)
    training = [record for record in training_records(data, chosen) if record.split in ("fit", "calibrate")]
    records = [record for record in training if record.split == "calibrate"]
    if not two_sided(records):
        raise RecordError(f"No set in {data} has normal and anomalous pictures held out for calibration.")
    file = chosen.weights / CALIBRATION_FILE
    if part is Part.look:
        inspector = Inspector(profile, compose(chosen, stage="look"))
        calibration = calibrate_look(inspector, records)
    elif part is Part.references:
        inspector = Inspector(profile, compose(chosen, stage="look"))
        judges = left_out_judges(left_out, chosen) if left_out else []
        calibration, familiar, *both = calibrate_references(inspector, records, training, judges)
        familiar.save(chosen.weights / FAMILIAR_FILE)
        for products, rates in zip(("known products", "new products"), both, strict=True):
            for way, shares in rates.items():
                said = ", ".join(f"{100 * share:.1f} % with {shots}" for shots, share in shares.items())
                typer.echo(f"false alarms at {100 * DEFAULT_RATE:.0f} % of {products}, {way}: {said}")
    else:
        inspector = Inspector(profile, compose(chosen))
        calibration = calibrate_words(inspector, records)
    calibration.save(file)
    typer.echo(f"wrote {file}: {calibration}")


def calibrate_look(inspector: Inspector, records: list[Record]) -> Calibration:
    """Platt scaling of the image logit with every set and label of equal weight; the map's bias."""
    logits, maps, masks = [], [], []
    for record in tqdm(records, desc="looks", unit="picture"):
        output = look_at_record(inspector, record)
        logits.append(float(output.score_logit[0]))
        maps.append(output.heatmap_logits[0, 0].float().numpy())
        masks.append(mask_at(record, maps[-1].shape))
    both = two_sided(records)
    scale, bias = platt([logits[i] for i in both], [records[i] for i in both])
    normal = [(records[i].dataset, maps[i]) for i in range(len(records)) if records[i].label == 0]
    known = [(records[i].dataset, maps[i], masks[i]) for i in range(len(records)) if masks[i] is not None]
    sets = sorted({records[i].dataset for i in both})
    return Calibration(
        score_scale=scale,
        score_bias=bias,
        threshold=0.5,
        pixel_bias=-pixel_cut(normal, known),
        source=f"balanced point on {len(both)} held-out training pictures of {len(sets)} sets",
    )


def calibrate_references(
    inspector: Inspector,
    held_out: Sequence[Record],
    training: Sequence[Record],
    judges: Sequence[tuple[tuple[str, ...], LookModel]] = (),
) -> tuple[Calibration, Familiar, dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """The calibration with all priors and the match cut, what is familiar, and what the thresholds attain.

    Args:
        inspector: of calibrated weights.
        held_out: pictures that no weight was fitted on.
        training: pictures of the whole training fold.
        judges: of `leave_out.left_out_judges`, to say what normals of new products score; without any known ones do.

    Returns:
        (calibration, familiar, `attained` of known products, `attained` of new ones, empty without judges).
    """
    descriptors = descriptors_of(inspector, training)
    inspector.familiar = familiar_of(descriptors)
    alone, held = measure(inspector, held_out)
    normal, new = prior_of(alone), measure_new(inspector, judges, training) if judges else []
    held_scale, lone_scale = scales_of(normal, held)
    names = [name for name in sets_of(descriptors) if name != OWN_SET]
    scales = dict(zip(WAYS, (1.0, lone_scale, held_scale), strict=True))
    sides = [sides_alone(inspector, held_out, names)]
    sides += [sides_held(names, held, way, scales[way]) for way in WAYS[1:]]
    counts = torch.tensor([len(normal) + len(odd) for normal, odd in sides[0].values()])
    tipping = torch.stack([balanced_points(one) for one in sides], dim=1)
    slope, lone_slope, held_slope = (steepness(one) for one in sides)
    inspector.familiar = replace(
        inspector.familiar, tipping=tipping, judged=counts, normals=normals_of_sets(names, alone, held, scales)
    )
    calibration = replace(
        inspector.calibration, **named("normal", normal),
        held_scale=held_scale, lone_scale=lone_scale,
        held_weight=held_slope / slope, lone_weight=lone_slope / slope, match_cut=match_cut(descriptors),
    )  # fmt: skip
    calibration, rates = with_new(calibration, new or held, bool(new))
    return calibration, inspector.familiar, attained(held), rates


def with_new(
    calibration: Calibration, held: Sequence[Held], new: bool
) -> tuple[Calibration, dict[str, dict[int, float]]]:
    """The calibration with what thresholds of new products beside references follow from, and what they attain.

    Args:
        calibration: with the scales of this command.
        held: normal pictures of new products, or of known ones.
        new: which of them; known ones stand in where nothing is known of new ones, and nothing is said of rates then.
    """
    prior = new_prior if new else held_prior
    trust = trust_of(held) if new else PRIOR_WEIGHT
    lone, several = (prior(held, lone=single) for single in (True, False))
    dark = new_prior(held, lone=False, of=attrgetter("peaks")) if new else Normals(0.0, 0.0, 0.0)
    return replace(
        calibration, held_trust=trust,
        **named("lone", lone, calibration.lone_scale), **named("held", several, calibration.held_scale),
        **named("peak", dark),
    ), attained(held, DEFAULT_RATE, new_prior, trust) if new else {}  # fmt: skip


def named(name: str, prior: Normals, scale: float = 1.0) -> dict[str, float]:
    """A prior under its names in `Calibration`, times a scale."""
    return {f"{name}_{key}": scale * value for key, value in asdict(prior).items()}


def calibrate_words(inspector: Inspector, records: list[Record]) -> Calibration:
    """The verdict's probability from the first word's Yes-No difference and the look's evidence, two-sided sets only.

    Every second look has references, drawn from the other normals of its product: one verdict serves both.
    """
    records = [records[i] for i in two_sided(records)]
    memories = _Memories(inspector, records)
    differences, evidence = [], []
    for number, record in enumerate(tqdm(records, desc="words", unit="picture")):
        look = inspector.look(record.image, memories.without(record) if number % 2 else ())
        ids, tokens = inspector.prompt(look, DEFAULT_QUESTION, ())
        differences.append(inspector.runtime.first_word(ids, tokens))
        evidence.append(look.evidence)
    word_scale, word_bias, look_scale = words_and_look(differences, evidence, records)
    found = replace(inspector.calibration, word_scale=word_scale, word_bias=word_bias, look_scale=look_scale)
    for name, value in agreement(found, differences, evidence, records).items():
        typer.echo(f"on these pictures, {name}: {value:.3f}")
    return found


def agreement(
    calibration: Calibration, differences: list[float], evidence: list[float], records: list[Record]
) -> dict[str, float]:
    """How good score, words and their sum are: balanced accuracies (mean of the sets), and where they contradict."""
    words = [difference + calibration.word_bias for difference in differences]
    pairs = list(zip(differences, evidence, strict=True))
    both = [calibration.combined(*pair) for pair in pairs]
    against = [calibration.contradicts(*pair) for pair in pairs]
    found = {
        f"balanced accuracy of {name}": _balanced(values, records)
        for name, values in (("the score", evidence), ("the words", words), ("both", both))
    }
    found["share where the words outvote the score"] = float(np.mean(against))
    right = [(seen > 0) == record.label for seen, record, odd in zip(evidence, records, against, strict=True) if odd]
    return found | ({"share of those where the score is right": float(np.mean(right))} if right else {})


def _balanced(values: list[float], records: list[Record]) -> float:
    groups: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for value, record in zip(values, records, strict=True):
        groups[record.dataset, record.label].append((value > 0) == record.label)
    return float(np.mean([np.mean(group) for group in groups.values()]))


class _Memories:
    """References of each product for looks at its other pictures; each is made once."""

    def __init__(self, inspector: Inspector, records: list[Record]) -> None:
        self._inspector = inspector
        self._normals: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in records:
            if record.label == 0:
                self._normals[record.dataset, record.category].append(record)
        self._made: dict[tuple[str, str, int], References] = {}

    def without(self, record: Record) -> References | tuple[()]:
        """A memory of WORD_SHOTS normals of the product that this picture is not among; () when there are too few."""
        normals = self._normals[record.dataset, record.category]
        for part in range(2):
            chosen = normals[part * WORD_SHOTS : (part + 1) * WORD_SHOTS]
            if len(chosen) == WORD_SHOTS and record not in chosen:
                key = (record.dataset, record.category, part)
                if key not in self._made:
                    self._made[key] = self._inspector.remember([one.image for one in chosen])
                return self._made[key]
        return ()


def words_and_look(
    differences: list[float], evidence: list[float], records: list[Record]
) -> tuple[float, float, float]:
    """(word_scale, word_bias, look_scale) of p = sigmoid(word_scale (difference + word_bias) + look_scale evidence).

    Logistic regression, every (set, label) group of equal weight. A Yes never speaks against an anomaly, nor does
    evidence: a weight that comes out under its least value is held there and the rest is fitted again.
    """
    weights, bias = _logistic(np.column_stack([differences, evidence]), records)
    if weights[1] < 0:
        (word,), bias = _logistic(np.array(differences)[:, None], records)
        weights = (word, 0.0)
    if weights[0] < LEAST_WORD_SCALE:
        (look,), bias = _logistic(np.array(evidence)[:, None], records)
        weights = (LEAST_WORD_SCALE, max(look, 0.0))
        bias -= LEAST_WORD_SCALE * float(np.mean(differences))
    return float(weights[0]), float(bias / weights[0]), float(weights[1])


def platt(values: list[float], records: list[Record]) -> tuple[float, float]:
    """(scale, bias) of p = sigmoid(scale * value + bias), every (set, label) group of equal weight (Platt 1999)."""
    (scale,), bias = _logistic(np.array(values)[:, None], records)
    return scale, bias


def _logistic(features: np.ndarray, records: list[Record]) -> tuple[tuple[float, ...], float]:
    """Coefficients and intercept of a logistic regression on [n, k] features, (set, label) groups of equal weight."""
    groups: dict[tuple[str, int], int] = defaultdict(int)
    for record in records:
        groups[record.dataset, record.label] += 1
    weight = np.array([1 / groups[record.dataset, record.label] for record in records])
    fitted = LogisticRegression(C=1e3).fit(
        features, [record.label for record in records], weight * len(records) / len(groups)
    )
    return tuple(float(value) for value in fitted.coef_[0]), float(fitted.intercept_[0])


def pixel_cut(normal: list[tuple[str, np.ndarray]], known: list[tuple[str, np.ndarray, np.ndarray]]) -> float:
    """Map logit from which a pixel is suspicious.

    The best mean F1 of pixels over sets with masks, but never below the value at which normals of the sets have
    LIT_NORMAL of their pixels lit in the mean.
    """
    cuts = np.linspace(-5.0, 3.0, 65)
    lit: dict[str, list[np.ndarray]] = defaultdict(list)
    for dataset, logits in normal:
        lit[dataset].append(_share_above(logits, cuts))
    dark = np.mean([np.mean(rows, axis=0) for rows in lit.values()], axis=0) <= LIT_NORMAL
    hits: dict[str, list[np.ndarray]] = defaultdict(list)
    for dataset, logits, mask in known:
        inside = _share_above(logits[mask], cuts) * mask.sum()
        overall = _share_above(logits, cuts) * mask.size
        hits[dataset].append(2 * inside / np.maximum(overall + mask.sum(), 1))
    quality = np.mean([np.mean(rows, axis=0) for rows in hits.values()], axis=0)
    return float(cuts[max(int(np.argmax(dark)), int(np.argmax(quality)))])


def _share_above(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    ordered = np.sort(values.ravel())
    return 1 - np.searchsorted(ordered, cuts) / max(1, ordered.size)


if __name__ == "__main__":
    run(main)
