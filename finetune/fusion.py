"""How far normal references count beside what was trained, in the map and in the score.

    python -m finetune.fusion --data DIR --features RUN/features [--folds RUN] [--steps N] [--profile NAME]

Only two gains are chosen, each from a short list, so that nothing can be overfitted: pictures of the training folds are
held against references of their product and judged twice, by the shipped weights, which know the product, and by a
short run that never saw its set (`finetune.leave_out`). A gain must serve both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from assistant.command import run
from assistant.errors import RecordError
from assistant.memory import joined, see
from assistant.modeling import LookModel
from assistant.processing import fit_size, normalise, resize
from assistant.profiles import Profile, read_profile
from assistant.reference import reference_evidence, reference_summary, residuals
from assistant.weights import LOOK_FILE, LOOK_PARTS, load_parts, save_parts
from data.schema import Record
from finetune.dataset import shrink_mask
from finetune.features import feature_files
from finetune.leave_out import Variant, groups_in, stage_of
from finetune.records import training_records
from finetune.stage import new_model

PICTURES = 20
"""Pictures of a product and label that are judged; those that no weight was fitted on come first."""
MOST = 3
"""Products of a set that are judged."""
LEAST = 10
"""Normal pictures, beside those judged, that a product needs to draw references from."""
SHOTS = (1, 4)
"""How many references they are held against."""
MAP_GAINS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5)
"""Logits of the map for each step of `reference_evidence`."""
SCORE_GAINS = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 4.0)
"""Logits of the score for each unit of `reference_summary`."""
DARK = 0.999
"""Share of the cells of normal pictures that are as dark with references as without."""
MAP_SIDE = 96
"""Longest side of the maps that are compared."""
LIMIT = 0.3
"""False-positive rate up to which the cover of the regions is counted."""


@dataclass(frozen=True, eq=False)
class Case:
    """A picture held against references of its product, as one judge sees it.

    Attributes:
        group: product, number of references, and whether the judge knows the product.
        label: 0 or 1.
        score: fused image logit without the weights of the references.
        summary: [n] of `reference_summary`.
        logits: [h, w] of the map without the references' gain.
        evidence: [h, w] of `reference_evidence`.
        regions: [h, w] int, numbered connected regions of the mask, 0 for normal; None where it is not known.
    """

    group: tuple[str, str, int, bool]
    label: int
    score: float
    summary: np.ndarray
    logits: np.ndarray
    evidence: np.ndarray
    regions: np.ndarray | None


@dataclass(frozen=True)
class Choice:
    """A gain and what it gives, mean over the groups; the same for no gain, and for the references alone."""

    gain: float
    level: int
    before: float
    after: float
    alone: float


def products_of(records: Sequence[Record]) -> dict[tuple[str, str], tuple[list[Record], list[Record]]]:
    """Products that can be judged, at most MOST of a set, by set and category.

    Returns:
        For each the pictures to judge, and other normals to draw references from.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.split in ("fit", "calibrate"):
            groups[record.dataset, record.category].append(record)
    found: dict[tuple[str, str], tuple[list[Record], list[Record]]] = {}
    for product, group in sorted(groups.items()):
        if sum(dataset == product[0] for dataset, _ in found) == MOST:
            continue
        rng = np.random.default_rng(len(group))
        mixed = [group[index] for index in rng.permutation(len(group))]
        mixed.sort(key=lambda record: record.split)  # "calibrate" before "fit"
        normal, anomalous = ([record for record in mixed if record.label == label] for label in (0, 1))
        if anomalous and len(normal) >= PICTURES + LEAST:
            found[product] = (normal[:PICTURES] + anomalous[:PICTURES], normal[PICTURES:])
    return found


def cases_of(
    product: tuple[str, str], tested: Sequence[Record], known: Sequence[Record], judges: dict[bool, LookModel]
) -> list[Case]:
    """All cases of a product.

    Args:
        product: set and category.
        tested: pictures to judge.
        known: normals to draw references from.
        judges: by whether they know the product, without gains; their towers are the same.
    """
    model = judges[True]
    vision = model.config.vision_config
    drawn = [known[index] for index in np.random.default_rng(0).permutation(len(known))[: max(SHOTS)]]
    first = drawn[0].read_image()
    size = fit_size(first.shape[1], first.shape[0], vision)
    with torch.inference_mode():
        parts = [see(model, normalise(resize(r.read_image(), size), vision)[None]).part for r in drawn]
    memories = {shots: joined(parts[:shots], shots) for shots in SHOTS}
    cases = []
    for record in tested:
        pixels = record.read_image()
        fitted = resize(pixels, fit_size(pixels.shape[1], pixels.shape[0], vision))
        with torch.inference_mode():
            features = model.tower(normalise(fitted, vision)[None])
            high, wide = features.levels[0].shape[-2:]
            shrink = min(1.0, MAP_SIDE / max(high, wide))
            cells = (max(1, round(high * shrink)), max(1, round(wide * shrink)))
            regions = regions_of(record, cells)
            for shots, memory in memories.items():
                differences = residuals(features.levels[1:], [memory])
                summary = torch.cat(reference_summary(differences)).numpy()
                evidence = _drawn_at(reference_evidence(differences), cells)
                for familiar, judge in judges.items():
                    seen = judge.judge(features, differences)
                    logits = _drawn_at(seen.heatmap_logits, cells)
                    group = (*product, shots, familiar)
                    score = float(seen.score_logit[0])
                    cases.append(Case(group, record.label, score, summary, logits, evidence, regions))
    return cases


def _drawn_at(drawn: Tensor, cells: tuple[int, int]) -> np.ndarray:
    """A map [1, 1, H, W] at another size, [h, w]."""
    return F.interpolate(drawn, cells, mode="bilinear", align_corners=False)[0, 0].numpy()


def regions_of(record: Record, cells: tuple[int, int]) -> np.ndarray | None:
    """Numbered regions [h, w] of a record's mask, 0 where it is normal; None for an anomaly of unknown place."""
    if record.label == 0:
        return np.zeros(cells, int)
    mask = record.read_mask() if record.supervision == "mask" else None
    return None if mask is None else ndimage.label(shrink_mask(mask, cells[::-1]), np.ones((3, 3)))[0]


def clear_gains(model: LookModel) -> LookModel:
    """The model without anything by which references count beside what was trained."""
    with torch.no_grad():
        model.heatmap.reference_gain.zero_()
        model.heatmap.reference_bias.zero_()
        model.fusion.weight[:, -model.compared :] = 0
    return model


def choose_score(cases: Sequence[Case]) -> Choice:
    """Gain and residual level of the nearest patch's summary that rank pictures best, mean AUROC of the groups.

    Raises:
        RecordError: no group holds normal and anomalous pictures.
    """
    groups = [group for group in _grouped(cases) if len({case.label for case in group}) == 2]
    if not groups:
        raise RecordError("No product has normal and anomalous pictures beside enough normal references.")

    def quality(value: Callable[[Case], float]) -> float:
        return float(np.mean([roc_auc_score([c.label for c in g], [value(c) for c in g]) for g in groups]))

    levels = range(len(cases[0].summary) // 4)
    ranked = {
        (gain, level): quality(lambda case, gain=gain, level=level: case.score + gain * case.summary[4 * level])
        for level in levels
        for gain in SCORE_GAINS
    }
    gain, level = max(ranked, key=lambda key: ranked[key])
    alone = quality(lambda case: case.summary[4 * level])
    return Choice(gain, level, ranked[0.0, level], ranked[gain, level], alone)


def choose_map(cases: Sequence[Case]) -> Choice | None:
    """Gain of the map that covers regions best (`cover`), mean of the groups with masks; None when there are none."""
    groups = [group for group in _grouped(cases) if any(c.label and c.regions is not None for c in group)]
    if not groups:
        return None

    def quality(value: Callable[[Case], np.ndarray]) -> float:
        return float(np.mean([cover([(value(c), c.regions) for c in g if c.regions is not None]) for g in groups]))

    ranked = {gain: quality(lambda case, gain=gain: case.logits + gain * case.evidence) for gain in MAP_GAINS}
    gain = max(ranked, key=lambda key: ranked[key])
    return Choice(gain, 0, ranked[0.0], ranked[gain], quality(lambda case: case.evidence))


def cover(truths: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """How well maps [h, w] cover numbered regions [h, w], each region weighing the same, up to LIMIT false positives.

    The partial area under the ROC curve of weighted cells, which is the area under the per-region-overlap curve
    (Bergmann et al., IJCV 2021, section 5.3) but for McClish's standardisation: 0.5 is chance, 1 perfect.
    """
    values, target, weight = [], [], []
    for drawn, regions in truths:
        sizes = np.bincount(regions.ravel(), minlength=1).astype(float)
        sizes[0] = 1.0
        values.append(drawn.ravel())
        target.append(regions.ravel() > 0)
        weight.append(1 / np.maximum(sizes, 1)[regions.ravel()])
    return float(
        roc_auc_score(
            np.concatenate(target), np.concatenate(values), sample_weight=np.concatenate(weight), max_fpr=LIMIT
        )
    )


def bias_of(cases: Sequence[Case], gain: float) -> float:
    """What keeps the cells of normal pictures as dark with references as without, at DARK of them."""
    normal = [case for case in cases if case.label == 0 and case.group[-1]]
    before = np.quantile(np.concatenate([case.logits.ravel() for case in normal]), DARK)
    after = np.quantile(np.concatenate([(case.logits + gain * case.evidence).ravel() for case in normal]), DARK)
    return float(before - after)


def apply(model: LookModel, cases: Sequence[Case], score: Choice, drawn: Choice | None) -> None:
    """Sets what was chosen. The scores of known normals stay, in the mean of the groups, where they are without."""
    normal = [[case.summary[4 * score.level] for case in group if case.label == 0] for group in _grouped(cases)]
    middle = float(np.mean([np.mean(values) for values in normal if values]))
    with torch.no_grad():
        compared = model.fusion.weight[0, -model.compared :]
        compared.zero_()
        compared[4 * score.level] = score.gain
        compared[-1] = -score.gain * middle
        if drawn is not None:
            model.heatmap.reference_gain.fill_(drawn.gain)
            model.heatmap.reference_bias.fill_(bias_of(cases, drawn.gain))


def _grouped(cases: Sequence[Case]) -> list[list[Case]]:
    groups: dict[tuple[str, str, int, bool], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    return list(groups.values())


def judges_of(
    chosen: Profile, records: Sequence[Record], files: list[Path], folds: Path, steps: int
) -> list[tuple[tuple[str, ...], LookModel]]:
    """The short runs of `finetune.leave_out`, with the sets that each never saw; what is missing is trained."""
    found = []
    for number, group in groups_in(records):
        model = new_model(chosen)
        torch.manual_seed(0)
        stage_of(model, files, group, folds / f"{Variant.base}-{number}", steps, Variant.base)
        found.append((group, clear_gains(model.eval())))
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest.jsonl.")],
    features: Annotated[Path, typer.Option(help="Cached features of the look stage.")] = Path("runs/look/features"),
    folds: Annotated[Path, typer.Option(help="Run folder of finetune.leave_out; what is missing is trained.")] = Path(
        "runs/leave-out"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of each of its runs.")] = 300,
    profile: Annotated[str, typer.Option(help="Its look.safetensors gets the new weights.")] = "embedded",
) -> None:
    """Chooses both gains and rewrites the look weights."""
    chosen = read_profile(profile)
    records = training_records(data, chosen)
    strangers = judges_of(chosen, records, feature_files(features), folds, steps)
    model = new_model(chosen)
    load_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    clear_gains(model.eval())
    cases: list[Case] = []
    for product, (tested, known) in tqdm(products_of(records).items(), desc="products"):
        judges = {True: model}
        for group, judge in strangers:
            if product[0] in group:
                judges[False] = judge
        cases += cases_of(product, tested, known, judges)
    score, drawn = choose_score(cases), choose_map(cases)
    for name, found in (("image AUROC", score), ("cover of regions", drawn)):
        if found is not None:
            typer.echo(
                f"{name} with references: {found.before:.3f} without a gain, {found.after:.3f} with {found.gain} "
                f"(level {found.level}), {found.alone:.3f} by the references alone"
            )
    apply(model, cases, score, drawn)
    save_parts(model, LOOK_PARTS, chosen.weights / LOOK_FILE)
    typer.echo(f"wrote {chosen.weights / LOOK_FILE}")


if __name__ == "__main__":
    run(main)
