"""One sample -> one line of predictions.jsonl and the arrays kept beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from assistant.inspector import Inspector
from assistant.prompts import DEFAULT_QUESTION, places_in
from assistant.types import Look
from data.clips import Clip
from data.exams import Exam
from data.schema import Record
from eval.asking import answers, asked
from eval.choices import YES_NO, verdict_in
from eval.frames import frames_of

MAP_SIDE = 192
"""Longest side of a kept heatmap, pixels."""
TOP = 0.01
"""Share of a map's pixels whose mean is kept as "top"."""
FRAMES = 16
"""Frames of a clip that are looked at unless more are asked for."""

STEP = 0.1
"""Seconds between two scores of a clip."""

Looking = Callable[[Any], Look]
"""A picture's file or pixels -> its look, with whatever references belong to it."""


def predict(
    inspector: Inspector, record: Record, ask: bool, looking: Looking | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One line of predictions.jsonl, and what is kept beside it.

    Args:
        inspector: gives words and finding.
        record: the picture and its truth.
        ask: whether words are made; without them `explanation` is empty.
        looking: how it is looked at; the inspector's own look when left out.

    Returns:
        The row, and {"heatmap": [h, w] float32, "thumbnail": [h, w, 3] uint8 RGB}, at most MAP_SIDE long.
    """
    [result] = predict_each(inspector, [record], ask, [looking])
    return result


def predict_each(
    inspector: Inspector, records: Sequence[Record], ask: bool, lookings: Sequence[Looking | None]
) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """As `predict`, for several pictures whose words are made side by side; "seconds" is their share of the time."""
    start = time.perf_counter()
    looks = [(looking or inspector.look)(record.image) for record, looking in zip(records, lookings, strict=True)]
    words = answers(inspector, looks, DEFAULT_QUESTION) if ask else [""] * len(looks)
    results = [
        (row_of(inspector, record, look, said), kept_of(look))
        for record, look, said in zip(records, looks, words, strict=True)
    ]
    for row, _ in results:
        row["seconds"] = round((time.perf_counter() - start) / len(records), 4)
    return results


def row_of(inspector: Inspector, record: Record, look: Look, words: str) -> dict[str, Any]:
    """The line of a picture that was looked at and spoken of, but for the time it took."""
    finding = inspector.finding(look, words)
    return {
        "dataset": record.dataset,
        "category": record.category,
        "image": record.image.name,
        "split": record.split,
        "size": list(look.size),
        "label": record.label,
        "defect": record.defect,
        "score": finding.score,
        "threshold": finding.threshold,
        "verdict": finding.verdict,
        "confidence": finding.confidence,
        "verdict_probability": finding.verdict_probability,
        "place": look.regions[0].place if look.regions else None,
        "word_places": list(places_in(words)),
        "region_places": [region.place for region in look.regions],
        "regions": finding.to_dict()["regions"],
        "kinds": [[str(name), float(probability)] for name, probability in look.kinds],
        "references": look.references,
        "lit": float((look.heatmap >= 0.5).mean()),
        "top": top_mean(look.heatmap),
        "explanation": words,
        "warnings": list(finding.warnings),
    }


def predict_yes_no(
    inspector: Inspector, record: Record, ask: bool, looking: Looking | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """As `predict`, the verdict being the generated answer to YES_NO: anomalous if it contains Yes or yes."""
    look = (looking or inspector.look)(record.image)
    row, kept = predict(inspector, record, False, lambda _: look)
    if ask:
        said = "".join(inspector.ask(look, YES_NO)).strip()
        row |= {
            "explanation": said, "word_places": list(places_in(said)), "stated_verdict": row["verdict"],
            "verdict": verdict_in(said),
        }  # fmt: skip
    return row, kept


def predict_exam(
    inspector: Inspector, exam: Exam, looking: Looking | None = None, frames: int = FRAMES
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The line of a picture or clip with questions; of a clip the most suspicious of its frames is asked about."""
    start = time.perf_counter()
    looking = looking or inspector.look
    if isinstance(exam.media, Clip):
        looks = [looking(pixels) for _, pixels in frames_of(exam.media, frames)]
        look = max(looks, key=lambda one: one.score)
    else:
        look = looking(exam.media)
    if exam.record is not None:
        row, kept = predict(inspector, exam.record, False, lambda _: look)
    else:
        row, kept = {
            "dataset": exam.dataset, "category": exam.category, "image": exam.media.name, "label": exam.label,
            "size": list(look.size), "score": look.score, "threshold": inspector.calibration.threshold,
            "place": look.regions[0].place if look.regions else None,
            "region_places": [region.place for region in look.regions], "references": look.references,
        }, kept_of(look)  # fmt: skip
    row |= {"kind": "exam", "field": exam.field, "turns": list(asked(inspector, look, exam))}
    row["seconds"] = round(time.perf_counter() - start, 4)
    return row, kept


def predict_clip(
    inspector: Inspector, clip: Clip, looking: Looking | None = None, frames: int = FRAMES, normal: Any = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The line of a clip: a score a frame, the clip's score being the highest; verdict and map of that frame.

    A video file is looked at as a clip, its scores are those of every STEP seconds, between looks on a straight line.
    Frames in a folder, and a video whose frame numbers are labelled, are looked at as single pictures.

    Args:
        normal: of the place, as `look_clip` takes it.
    """
    start = time.perf_counter()
    if clip.is_video and not clip.spans:
        look = inspector.look_clip(clip.files[0], normal, most_keys=1)
        facts = look.clip
        times = np.arange(0, max(facts.duration, STEP), STEP).round(3)
        known = facts.frames
        scores = np.interp(times, [one.time for one in known], [one.score for one in known]).tolist()
        numbers = list(range(len(times)))
        labels = [0] * len(times) if clip.spans == () else clip.time_labels(times.tolist())
        extra = {
            "step": STEP, "camera": facts.camera, "looks": len(known), "normal": facts.normal,
            "spans": [[span.start, span.end] for span in facts.spans],
        }  # fmt: skip
    else:
        numbers, looks = [], []
        for number, pixels in frames_of(clip, frames):
            numbers.append(number)
            looks.append((looking or inspector.look)(pixels))
        look = max(looks, key=lambda one: one.score)
        scores, labels, extra = [float(one.score) for one in looks], clip.frame_labels(numbers), {}
    finding = inspector.finding(look, "")
    row = {
        "kind": "clip",
        "dataset": clip.dataset,
        "category": clip.category,
        "image": clip.name,
        "size": list(look.size),
        "label": clip.label,
        "defect": "",
        "score": look.score,
        "threshold": finding.threshold,
        "verdict": finding.verdict,
        "confidence": finding.confidence,
        "verdict_probability": finding.verdict_probability,
        "place": look.regions[0].place if look.regions else None,
        "word_places": [],
        "region_places": [region.place for region in look.regions],
        "regions": finding.to_dict()["regions"],
        "references": look.references,
        "lit": float((look.heatmap >= 0.5).mean()),
        "top": top_mean(look.heatmap),
        "explanation": "",
        "frames": numbers,
        "frame_scores": [round(score, 6) for score in scores],
        "frame_labels": labels,
        **extra,
        "seconds": round(time.perf_counter() - start, 4),
    }
    return row, kept_of(look)


def kept_of(look: Look) -> dict[str, np.ndarray]:
    """{"heatmap": [h, w] float32, "thumbnail": [h, w, 3] uint8 RGB}, at most MAP_SIDE long."""
    shrink = min(1.0, MAP_SIDE / max(look.heatmap.shape))
    size = tuple(max(1, round(side * shrink)) for side in look.heatmap.shape[::-1])
    return {
        "heatmap": np.asarray(Image.fromarray(look.heatmap).resize(size, Image.Resampling.BOX)),
        "thumbnail": np.asarray(Image.fromarray(look.thumbnail).resize(size, Image.Resampling.BOX)),
    }


def top_mean(heatmap: np.ndarray) -> float:
    """Mean of the strongest TOP of a map's pixels [h, w], at least one; 0..1."""
    count = max(1, round(TOP * heatmap.size))
    return float(np.partition(heatmap, -count, axis=None)[-count:].mean())


def truth_of(record: Record, heatmap: np.ndarray) -> dict[str, np.ndarray]:
    """{"mask": [h, w] bool} at the heatmap's size when the record has an exact mask or is normal, else nothing."""
    if record.supervision != "mask":
        return {}
    mask = record.read_mask()
    if mask is None:
        return {}
    size = (heatmap.shape[1], heatmap.shape[0])
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
    return {"mask": share > 0.25}
